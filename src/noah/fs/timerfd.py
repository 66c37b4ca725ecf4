"""Timers that can be waited for (timerfd_create(2)): the host's, or reckoned here."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EAGAIN, EINVAL, LinuxError
from noah.abi.fcntl import O_NONBLOCK, O_RDWR
from noah.abi.poll import POLLIN, POLLRDNORM
from noah.abi.time import (
    CLOCK_BOOTTIME,
    CLOCK_BOOTTIME_ALARM,
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    CLOCK_REALTIME_ALARM,
    TFD_TIMER_ABSTIME,
)
from noah.fs.anonymous import AnonymousFile, MadeUpFile, fill
from noah.host.values import TimerState

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.vfs.caller import Caller
    from noah.vfs.file import Views

KIND: Final = b"[timerfd]"
_U64: Final = struct.Struct("<Q")
_SOON_NS: Final = 5_000_000  # so long may it take until a wait notices that another thread has set the timer
_CLOCKS: Final = {
    CLOCK_REALTIME: CLOCK_REALTIME,
    CLOCK_MONOTONIC: CLOCK_MONOTONIC,
    CLOCK_BOOTTIME: CLOCK_BOOTTIME,
    CLOCK_REALTIME_ALARM: CLOCK_REALTIME,
    CLOCK_BOOTTIME_ALARM: CLOCK_BOOTTIME,
}


class TimerFile(AnonymousFile):
    """The host's timerfd."""

    __slots__ = ("_events",)

    def __init__(self, caller: Caller, fd: int, flags: int | None = None) -> None:
        self._events = caller.host.events
        super().__init__(caller, fd, KIND, flags)

    def settime(self, flags: int, value_ns: int, interval_ns: int) -> TimerState:
        """timerfd_settime(2); the state before."""
        return self._events.timerfd_settime(self.fd, flags, value_ns, interval_ns)

    def gettime(self) -> TimerState:
        return self._events.timerfd_gettime(self.fd)


class ReckonedTimer(MadeUpFile):
    """A timer that is nothing but the time at which it ends. Each process that has it keeps its own word of it."""

    __slots__ = ("_clock", "_end", "_host", "_interval")

    kind = KIND

    def __init__(self, host: Host, clock: int, flags: int) -> None:
        super().__init__(flags)
        self._host = host
        self._clock = _CLOCKS[clock]
        self._end = 0  # on the clock; 0: not running
        self._interval = 0

    def _left(self) -> int:
        """ns until the end, negative when it is over."""
        return self._end - self._host.clock.clock_gettime(self._clock)

    def settime(self, flags: int, value_ns: int, interval_ns: int) -> TimerState:
        old = self.gettime()
        self._interval = interval_ns
        self._end = 0
        if value_ns:
            absolute = flags & TFD_TIMER_ABSTIME
            self._end = value_ns if absolute else self._host.clock.clock_gettime(self._clock) + value_ns
        return old

    def gettime(self) -> TimerState:
        if not self._end:
            return TimerState(0, self._interval)
        left = self._left()
        if left <= 0 and self._interval:
            left %= self._interval
        return TimerState(max(left, 0), self._interval)

    def ready(self, events: int) -> int:
        return events & (POLLIN | POLLRDNORM) if self._end and self._left() <= 0 else 0

    def changes_at(self) -> int:
        left = self._left() if self._end else _SOON_NS
        return self._host.clock.clock_gettime(CLOCK_MONOTONIC) + max(0, min(left, _SOON_NS))

    def read(self, caller: Caller, views: Views) -> int:
        if sum(map(len, views)) < _U64.size:
            raise LinuxError(EINVAL)
        while not self.ready(POLLIN):
            if self.flags & O_NONBLOCK:
                raise LinuxError(EAGAIN)
            caller.wait((), self.changes_at())
        count = 1
        if self._interval:
            count += -self._left() // self._interval
            self._end += count * self._interval
        else:
            self._end = 0
        return fill(views, _U64.pack(count))


def make_timerfd(caller: Caller, clock: int, *, nonblock: bool) -> TimerFile | ReckonedTimer:
    """EINVAL for a clock that timers do not count."""
    if clock not in _CLOCKS:
        raise LinuxError(EINVAL)
    flags = O_RDWR | (O_NONBLOCK if nonblock else 0)
    if caller.host.caps.events:
        return TimerFile(caller, caller.host.events.timerfd_create(clock), flags)
    return ReckonedTimer(caller.host, clock, flags)
