"""Futexes (futex(2)): who waits for which word.

Whoever waits for a word of this process alone has an entry in the table here. A word that processes share is the
host's to watch, where the host has futexes: it is the same memory there. The host's wait knows nothing of the guest's
signals, which are blocked in the host's sense: it is made in slices, and signals are looked at between them. On other
hosts the waiter looks at a shared word itself, every few milliseconds.

Linux allows a wait to end for no reason, and whoever waits checks the word.
"""

from __future__ import annotations

import struct
from _thread import allocate_lock
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EAGAIN, EINTR, EINVAL, ERESTARTNOINTR, ERESTARTSYS, ESRCH, ETIMEDOUT, LinuxError
from noah.abi.futex import (
    FUTEX_32,
    FUTEX_BITSET_MATCH_ANY,
    FUTEX_CMP_REQUEUE,
    FUTEX_LOCK_PI,
    FUTEX_PRIVATE_FLAG,
    FUTEX_TID_MASK,
    FUTEX_WAIT_BITSET,
    FUTEX_WAITV_MAX,
    FUTEX_WAKE_BITSET,
)
from noah.abi.mman import MAP_PRIVATE, MAP_TYPE
from noah.abi.time import CLOCK_MONOTONIC, CLOCK_REALTIME
from noah.kernel.robust import abandoned, give_up, is_gone, is_wanted
from noah.kernel.task import WAITING, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FIRST_LOOK: Final = 50_000  # ns
_LAST_LOOK: Final = 5_000_000
_FIRST_SLICE: Final = 1_000_000
_LAST_SLICE: Final = 20_000_000  # so long may a signal have to wait
_FENCE: Final = allocate_lock()
_WAITV: Final = struct.Struct("<QQII")


class Waiter:
    """A thread that waits for a word; with FUTEX_WAIT_REQUEUE_PI, in order to lock another one (`lock`)."""

    __slots__ = ("address", "bitset", "lock", "task", "woken")

    def __init__(self, task: Task, address: int, bitset: int, lock: int = 0) -> None:
        self.task = task
        self.address = address
        self.bitset = bitset
        self.lock = lock
        self.woken = False


def host_address(task: Task, address: int, *, write: bool) -> int:
    """Where the host has a word of the guest. EFAULT."""
    task.mem.slices(address, 4, write=write)
    vma = task.space.vmas.find(address)
    assert vma is not None
    return task.space.arena.address + vma.offset + address - vma.start


def _is_shared(task: Task, address: int, private: int) -> bool:
    if private:
        return False
    vma = task.space.vmas.find(address)
    return vma is not None and vma.flags & MAP_TYPE != MAP_PRIVATE


class Futexes:
    """The waiting threads of a process, by address and in the order in which they came.

    `private` is FUTEX_PRIVATE_FLAG or 0: with it, a word in shared memory is for the threads of this process alone.
    """

    __slots__ = ("_counts", "_queues", "_table")

    def __init__(self, table: memoryview | None = None) -> None:
        """table: see noah.vm.api.Inside.waiting."""
        self._queues: dict[int, list[Waiter]] = {}
        self._table = table
        self._counts = [0] * 256
        if table is not None:
            table[:] = bytes(256)

    def renew(self) -> Futexes:
        """Those of a forked child: nobody waits."""
        return Futexes(self._table) if self._queues else self

    def _enqueue(self, waiter: Waiter) -> None:
        self._queues.setdefault(waiter.address, []).append(waiter)
        self._counts[waiter.address & 0xFF] += 1
        if self._table is not None:
            self._table[waiter.address & 0xFF] = 1

    def wait(
        self,
        task: Task,
        address: int,
        value: int,
        bitset: int,
        deadline_ns: int | None,
        private: int,
        lock: int = 0,
    ) -> None:
        """Wait while the word has this value. EAGAIN if it has not, ETIMEDOUT, ERESTARTSYS. lock: see Waiter."""
        shared = _is_shared(task, address, private)
        if shared and task.host.caps.futex:
            self._wait_on_host(task, address, value, bitset, deadline_ns)
            return
        waiter = Waiter(task, address, bitset, lock)
        self._wait_here(task, [waiter], [value], [(address, value)] if shared else [], deadline_ns)

    def wait_any(self, task: Task, words: Sequence[tuple[int, int, int]], deadline_ns: int | None) -> int:
        """futex_waitv(2): wait for one of several (address, value, private); answers which one was woken."""
        shared = []
        for address, value, private in words:
            if _is_shared(task, address, private):
                shared.append((address, value))
        waiters = [Waiter(task, address, FUTEX_BITSET_MATCH_ANY) for address, _, _ in words]
        self._wait_here(task, waiters, [value for _, value, _ in words], shared, deadline_ns)
        return next((index for index, waiter in enumerate(waiters) if waiter.woken), 0)

    def _wait_here(
        self,
        task: Task,
        waiters: list[Waiter],
        values: list[int],
        watched: Sequence[tuple[int, int]],
        deadline_ns: int | None,
    ) -> None:
        """Wait until a waiter is woken, or a watched word has another value. EAGAIN if one has not its value now."""
        for waiter in waiters:
            self._enqueue(waiter)
        with _FENCE:  # who changes the word from now on sees that somebody waits: taking a lock is a full barrier
            pass
        look = _FIRST_LOOK if watched else 0
        clock = task.host.clock.clock_gettime
        try:
            for waiter, value in zip(waiters, values, strict=True):
                if task.mem.read_u32(waiter.address) != value:
                    raise LinuxError(EAGAIN)
            while not any(waiter.woken for waiter in waiters):
                limit = deadline_ns
                if look:
                    again = clock(CLOCK_MONOTONIC) + look
                    limit = again if deadline_ns is None else min(again, deadline_ns)
                    look = min(2 * look, _LAST_LOOK)
                if task.pause(limit) or any(waiter.woken for waiter in waiters):
                    continue
                if any(task.mem.read_u32(address) != value for address, value in watched):
                    return
                if any(abandoned(task, address, value) for address, value in watched):
                    return
                if deadline_ns is not None and clock(CLOCK_MONOTONIC) >= deadline_ns:
                    raise LinuxError(ETIMEDOUT)
        except LinuxError:
            if not any(waiter.woken for waiter in waiters):
                raise
        finally:
            for waiter in waiters:
                self._forget(waiter)

    def _wait_on_host(self, task: Task, address: int, value: int, bitset: int, deadline_ns: int | None) -> None:
        word = host_address(task, address, write=False)
        first = True
        for limit in slices(task, CLOCK_MONOTONIC, deadline_ns):
            if not first and abandoned(task, address, value):
                return
            try:
                beside_others(task, word, FUTEX_WAIT_BITSET, value, limit, bitset)
                return
            except LinuxError as error:
                if error.errno == EAGAIN and not first:
                    return  # it has changed between two slices
                if error.errno not in (ETIMEDOUT, EINTR):
                    raise
            first = False

    def _forget(self, waiter: Waiter) -> None:
        queue = self._queues.get(waiter.address)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._queues[waiter.address]
            low = waiter.address & 0xFF
            self._counts[low] -= 1
            if self._table is not None and not self._counts[low]:
                self._table[low] = 0

    def wake(self, task: Task, address: int, count: int, bitset: int, private: int) -> int:
        """Wake waiters whose bitset meets this one, one at least; answers how many. EFAULT."""
        if _is_shared(task, address, private) and task.host.caps.futex:
            word = host_address(task, address, write=False)
            return task.host.mem.futex(word, FUTEX_WAKE_BITSET, count, last=bitset)
        woken = 0
        for waiter in list(self._queues.get(address, ())):
            if waiter.lock:
                raise LinuxError(EINVAL)
            if waiter.bitset & bitset:
                self._wake(waiter)
                woken += 1
                if woken >= count:
                    break
        return woken

    def _wake(self, waiter: Waiter) -> None:
        self._forget(waiter)
        waiter.woken = True
        threads = waiter.task.process.threads
        if threads is not None:
            threads.kick(waiter.task)

    def requeue(self, task: Task, address: int, target: int, wake: int, count: int, private: int) -> int:
        """Wake some waiters of a word and let others wait for another one; answers how many of both."""
        if task.host.caps.futex and _is_shared(task, address, private):
            if _is_shared(task, target, private):
                word = host_address(task, address, write=False)
                other = host_address(task, target, write=True)
                value = task.mem.read_u32(address)
                return task.host.mem.futex(word, FUTEX_CMP_REQUEUE, wake, count, other, value)
            return self.wake(task, address, wake + count, FUTEX_BITSET_MATCH_ANY, private)  # each looks for itself
        done = self.wake(task, address, wake, FUTEX_BITSET_MATCH_ANY, private) if wake else 0
        for waiter in list(self._queues.get(address, ()))[:count]:
            if waiter.lock:
                raise LinuxError(EINVAL)
            self._forget(waiter)
            waiter.address = target
            self._enqueue(waiter)
            done += 1
        return done

    def wait_and_lock(
        self, task: Task, address: int, value: int, clock: int, deadline_ns: int | None, private: int, lock: int
    ) -> None:
        """FUTEX_WAIT_REQUEUE_PI: wait for a word, then lock the PI futex `lock`. The deadline is on `clock`.

        Whom wake_to_lock() has woken locks for itself, as if it had been moved to the lock's queue.
        """
        if not private:  # as get_futex_key() has it
            task.mem.slices(lock, 4, write=True)
        now = task.host.clock.clock_gettime
        on_monotonic = None if deadline_ns is None else deadline_ns + now(CLOCK_MONOTONIC) - now(clock)
        try:
            self.wait(task, address, value, FUTEX_BITSET_MATCH_ANY, on_monotonic, private, lock)
        except LinuxError as error:
            raise LinuxError(ERESTARTNOINTR) if error.errno == ERESTARTSYS else error from None
        try:
            lock_pi(task, lock, clock, deadline_ns, private)
        except LinuxError as error:
            raise LinuxError(EAGAIN) if error.errno == ERESTARTNOINTR else error from None

    def wake_to_lock(self, task: Task, address: int, lock: int, count: int, private: int) -> int:
        """FUTEX_CMP_REQUEUE_PI: let waiters lock what they have named; answers how many. EINVAL if it is not `lock`."""
        if _is_shared(task, address, private):
            return self.wake(task, address, count, FUTEX_BITSET_MATCH_ANY, private)
        waiters = self._queues.get(address, [])[:count]
        if any(waiter.lock != lock for waiter in waiters):
            raise LinuxError(EINVAL)
        for waiter in waiters:
            self._wake(waiter)
        return len(waiters)


def lock_pi(task: Task, address: int, clock: int, deadline_ns: int | None, private: int) -> None:
    """FUTEX_LOCK_PI by the host, whose threads have the guest's thread ids. The deadline is on `clock`."""
    word = host_address(task, address, write=True)
    now = task.host.clock.clock_gettime
    if deadline_ns is not None and clock != CLOCK_REALTIME:  # the only one that FUTEX_LOCK_PI has
        deadline_ns += now(CLOCK_REALTIME) - now(clock)
    first = True
    try:
        for limit in slices(task, CLOCK_REALTIME, deadline_ns):
            try:
                beside_others(task, word, FUTEX_LOCK_PI | private, 0, limit, 0)
                return
            except LinuxError as error:
                if error.errno == ESRCH and (not first or is_wanted(task, address)):
                    # The owner has died between two slices of a wait, in which the host would have made the waiter the
                    # owner; or before, and left no list for the host to walk. The host gives away what says so.
                    owner = task.mem.read_u32(address) & FUTEX_TID_MASK
                    if is_gone(task.process, owner):  # else somebody else was faster
                        give_up(task, address, owner)
                elif error.errno not in (ETIMEDOUT, EINTR):
                    raise
            first = False
    except LinuxError as error:
        raise LinuxError(ERESTARTNOINTR) if error.errno == ERESTARTSYS else error from None


def slices(task: Task, clock: int, deadline_ns: int | None) -> Iterator[int]:
    """Deadlines on `clock`, one after the other, and a look for signals between them. ETIMEDOUT, ERESTARTSYS."""
    now = task.host.clock.clock_gettime
    length = _FIRST_SLICE
    while True:
        task.pause(0)
        limit = now(clock) + length
        yield limit if deadline_ns is None else min(limit, max(deadline_ns, 0))
        if deadline_ns is not None and now(clock) >= deadline_ns:
            raise LinuxError(ETIMEDOUT)
        length = min(2 * length, _LAST_SLICE)


def beside_others(task: Task, word: int, op: int, value: int, limit_ns: int, last: int) -> None:
    """A call of the host's futex(2) that waits, out of the kernel if there are other threads."""
    threads = task.process.threads
    if threads is None:
        task.host.mem.futex(word, op, value, limit_ns, 0, last)
        return
    threads.leave(task, WAITING)
    try:
        task.host.mem.futex(word, op, value, limit_ns, 0, last)
    finally:
        threads.enter(task)


def read_waitv(task: Task, address: int, count: int) -> list[tuple[int, int, int]]:
    """The struct futex_waitv array of futex_waitv(2): (address, value, private). EINVAL, EFAULT."""
    if not 0 < count <= FUTEX_WAITV_MAX:
        raise LinuxError(EINVAL)
    words = []
    for value, word, flags, reserved in _WAITV.iter_unpack(task.mem.read(address, count * _WAITV.size)):
        if flags & ~FUTEX_PRIVATE_FLAG != FUTEX_32 or reserved or word & 3:
            raise LinuxError(EINVAL)
        words.append((word, value & 0xFFFF_FFFF, flags & FUTEX_PRIVATE_FLAG))
    return words
