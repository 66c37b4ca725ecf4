"""The kernel lock where an engine runs only one vCPU at a time: threads take turns."""

from __future__ import annotations

from _thread import LockType, allocate_lock
from collections import deque
from collections.abc import Callable
from typing import Final

from noah.abi.time import CLOCK_MONOTONIC
from noah.host.api import Clock

_TURN: Final = 4_000_000  # ns


class Turns:
    """A lock that goes to the next in the order of asking. Who holds it while others ask has a turn of 4 ms."""

    __slots__ = ("_clock", "_end", "_held", "_mutex", "_queue", "over", "stop")

    def __init__(self, clock: Clock, stop: Callable[[], None]) -> None:
        """`stop`: bring the holder out of guest code; called by somebody else when its turn is over."""
        self._clock = clock
        self._mutex = allocate_lock()  # for what follows
        self._held = False
        self._queue: deque[LockType] = deque()
        self._end = 0
        self.over = False
        self.stop = stop

    def acquire(self) -> None:
        with self._mutex:
            if not self._held:
                self._held = True
                return
            turn = allocate_lock()
            turn.acquire()
            if not self._queue:
                self._begin()
            self._queue.append(turn)
        left = _TURN
        while not turn.acquire(timeout=left / 1e9):
            with self._mutex:
                left = max(0, self._end - self._clock.clock_gettime(CLOCK_MONOTONIC))
                hurry = not left and bool(self._queue) and self._queue[0] is turn
            if hurry:
                self.over = True
                self.stop()
            left = left or _TURN

    def _begin(self) -> None:
        self.over = False
        self._end = self._clock.clock_gettime(CLOCK_MONOTONIC) + _TURN

    def release(self) -> None:
        with self._mutex:
            self.over = False
            if self._queue:
                self._queue.popleft().release()
                self._begin()
            else:
                self._held = False

    def give_way(self) -> None:
        """The holder wants its turn to be over."""
        self.over = bool(self._queue)
