"""Futexes (futex(2)): who waits for which word.

A waiter of this process is woken by its entry here. A word in shared memory may be changed by another process, which
knows nothing of this table: a waiter looks at such a word again every few milliseconds. Linux allows a wait to end for
no reason, and whoever waits checks the word.
"""

from __future__ import annotations

from typing import Final

from noah.abi.errno import EAGAIN, ETIMEDOUT, LinuxError
from noah.abi.mman import MAP_PRIVATE, MAP_TYPE
from noah.kernel.task import Task

_FIRST_LOOK: Final = 50_000  # ns
_LAST_LOOK: Final = 5_000_000


class Waiter:
    """A thread that waits for a word."""

    __slots__ = ("address", "bitset", "task", "woken")

    def __init__(self, task: Task, address: int, bitset: int) -> None:
        self.task = task
        self.address = address
        self.bitset = bitset
        self.woken = False


class Futexes:
    """The waiting threads of a process, by address and in the order in which they came."""

    __slots__ = ("_queues",)

    def __init__(self) -> None:
        self._queues: dict[int, list[Waiter]] = {}

    def wait(self, task: Task, address: int, value: int, bitset: int, deadline_ns: int | None) -> None:
        """Wait while the word has this value. EAGAIN if it has not, ETIMEDOUT, ERESTARTSYS."""
        if task.mem.read_u32(address) != value:
            raise LinuxError(EAGAIN)
        waiter = Waiter(task, address, bitset)
        self._queues.setdefault(address, []).append(waiter)
        vma = task.space.vmas.find(address)
        look = 0 if vma is None or vma.flags & MAP_TYPE == MAP_PRIVATE else _FIRST_LOOK
        clock = task.host.clock.clock_gettime
        try:
            while not waiter.woken:
                limit = deadline_ns
                if look:
                    again = clock(1) + look
                    limit = again if deadline_ns is None else min(again, deadline_ns)
                    look = min(2 * look, _LAST_LOOK)
                if task.pause(limit) or waiter.woken:
                    continue
                if look and task.mem.read_u32(address) != value:
                    return
                if deadline_ns is not None and clock(1) >= deadline_ns:
                    raise LinuxError(ETIMEDOUT)
        except LinuxError:
            if not waiter.woken:
                raise
        finally:
            self._forget(waiter)

    def _forget(self, waiter: Waiter) -> None:
        queue = self._queues.get(waiter.address)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._queues[waiter.address]

    def wake(self, address: int, count: int, bitset: int) -> int:
        """Wake waiters whose bitset meets this one; answers how many."""
        woken = 0
        for waiter in list(self._queues.get(address, ())):
            if woken >= count:
                break
            if waiter.bitset & bitset:
                self._forget(waiter)
                waiter.woken = True
                woken += 1
                threads = waiter.task.process.threads
                if threads is not None:
                    threads.kick(waiter.task)
        return woken

    def requeue(self, address: int, target: int, count: int) -> int:
        """Let waiters of one word wait for another; answers how many."""
        moved = 0
        for waiter in list(self._queues.get(address, ())):
            if moved >= count:
                break
            self._forget(waiter)
            waiter.address = target
            self._queues.setdefault(target, []).append(waiter)
            moved += 1
        return moved
