"""Waiting for files: poll(2), select(2)."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from noah.abi.errno import (
    EBADF,
    EINVAL,
    ERESTART_RESTARTBLOCK,
    ERESTARTNOHAND,
    ERESTARTSYS,
    LinuxError,
)
from noah.abi.fcntl import O_PATH
from noah.abi.kinds import Addr, FdSetPtr, Int, PollPtr, SigsetPtr, Size, TimespecPtr, TimevalInOutPtr, UInt
from noah.abi.poll import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    POLLRDBAND,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
)
from noah.abi.structs import PollFd, SigsetArg, Timespec, Timeval
from noah.abi.time import CLOCK_MONOTONIC
from noah.kernel.task import Task
from noah.syscalls.registry import syscall
from noah.vfs.file import OpenFile

_NS: Final = 1_000_000_000
_SEC_MAX: Final = (1 << 63) - 1
_ALWAYS: Final = POLLERR | POLLHUP | POLLNVAL
_SELECT: Final = (
    (POLLIN | POLLRDNORM | POLLRDBAND, POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR),
    (POLLOUT | POLLWRNORM | POLLWRBAND, POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR),
    (POLLPRI, POLLPRI),
)
"""What each of select(2)'s sets asks for, and what sets its bits."""
_U64: Final = Struct("<Q")


def _wait(task: Task, wanted: list[tuple[int, int]], deadline: int | None) -> list[int]:
    """Events of (guest fd, events) pairs, in their order; all 0 when time is over. POLLNVAL: not open.

    Raises ERESTARTSYS only if nothing is ready.
    """
    result = [0] * len(wanted)
    hosts: dict[int, int] = {}
    places: list[tuple[int, int, int]] = []  # index, host descriptor, events
    others: list[tuple[int, OpenFile, int]] = []  # without a host descriptor
    signals = task.process.signals
    ready = False
    for index, (fd, events) in enumerate(wanted):
        if fd < 0:
            continue
        try:
            file = task.fds.get(fd)
            if file.flags & O_PATH:
                raise LinuxError(EBADF)
        except LinuxError:
            result[index] = POLLNVAL
            ready = True
            continue
        events |= POLLERR | POLLHUP
        if file.poll_fd < 0:
            others.append((index, file, events))
        else:
            hosts[file.poll_fd] = hosts.get(file.poll_fd, 0) | events
            places.append((index, file.poll_fd, events))
    fds = list(hosts.items())
    signals.show_pending(task)
    while True:
        limit = deadline
        for index, other, events in others:
            result[index] = other.ready(events)
            ready = ready or bool(result[index])
            again = other.changes_at()
            if again is not None:
                limit = again if limit is None else min(limit, again)
        if ready or deadline == 0 or signals.deliverable(task):
            found, _ = task.host.poller.poll(fds, 0, signals=False)
            if not found and not ready and signals.deliverable(task):
                raise LinuxError(ERESTARTSYS)
            break
        if task.beside:
            found, _ = task.host.poller.poll(fds, 0, signals=False)
            if not found:
                raise LinuxError(ERESTARTSYS)  # who waits leaves the processor to others
            break
        found = task.wait(fds, limit)
        if found or (limit == deadline and not others):
            break
        if limit == deadline:
            deadline = 0  # a last look
    events_of = dict(found)
    for index, host_fd, events in places:
        result[index] = events_of.get(host_fd, 0) & (events | POLLNVAL)
    return result


def _deadline(task: Task, timeout_ns: int) -> int:
    """0 for a timeout that has passed already: then nothing waits."""
    return task.host.clock.clock_gettime(CLOCK_MONOTONIC) + timeout_ns if timeout_ns > 0 else 0


def _poll(task: Task, fds: int, nfds: int, deadline: int | None) -> int:
    if nfds > task.fds.limit:
        raise LinuxError(EINVAL)
    size = PollFd.struct.size
    raw = task.mem.read(fds, nfds * size)
    entries = list(PollFd.struct.iter_unpack(raw))
    events = _wait(task, [(fd, wanted) for fd, wanted, _ in entries], deadline)
    pack = PollFd.struct.pack
    task.mem.write(fds, b"".join(pack(fd, wanted, got) for (fd, wanted, _), got in zip(entries, events, strict=True)))
    return sum(map(bool, events))


@syscall
def poll(task: Task, fds: PollPtr, nfds: UInt, timeout: Int) -> int:
    """poll(2): wait for one of several files; timeout in ms, negative for none."""
    deadline = None if timeout < 0 else _deadline(task, timeout * 1_000_000)

    def wait() -> int:
        try:
            return _poll(task, fds, nfds, deadline)
        except LinuxError as error:
            if error.errno != ERESTARTSYS:
                raise
        task.restart = wait
        raise LinuxError(ERESTART_RESTARTBLOCK)

    return wait()


@syscall
def ppoll(task: Task, fds: PollPtr, nfds: UInt, tmo: TimespecPtr, sigmask: SigsetPtr, size: Size) -> int:
    """poll(2): poll with a timespec and a temporary signal mask."""
    deadline = read_deadline(task, tmo)
    set_mask(task, sigmask, size)
    return _finish(task, lambda: _poll(task, fds, nfds, deadline), tmo, deadline, Timespec.struct, 1)


def read_deadline(task: Task, pointer: int) -> int | None:
    if not pointer:
        return None
    sec, nsec = Timespec.struct.unpack(task.mem.read(pointer, Timespec.struct.size))
    if sec < 0 or not 0 <= nsec < _NS:
        raise LinuxError(EINVAL)
    return _deadline(task, sec * _NS + nsec)


def set_mask(task: Task, pointer: int, size: int) -> None:
    if pointer:
        if size != 8:
            raise LinuxError(EINVAL)
        if task.beside:
            raise LinuxError(ERESTARTSYS)  # the mask is the thread's
        task.process.signals.set_temporary_mask(task, task.mem.read_u64(pointer))


def _finish(
    task: Task, wait: Callable[[], int], pointer: int, deadline: int | None, layout: Struct, unit_ns: int
) -> int:
    """Wait, then write the time left (fs/select.c: poll_select_finish). Never restarted once a handler has run."""
    try:
        return wait()
    except LinuxError as error:
        if error.errno != ERESTARTSYS:
            raise
        raise LinuxError(ERESTARTNOHAND) from None
    finally:
        if pointer and deadline:
            left = max(0, deadline - task.host.clock.clock_gettime(CLOCK_MONOTONIC))
            sec, rest = divmod(left, _NS)
            try:
                task.mem.write(pointer, layout.pack(sec, rest // unit_ns))
            except LinuxError:
                pass  # read-only memory is fine


def _select(task: Task, n: int, sets: tuple[int, int, int], deadline: int | None) -> int:
    if n < 0:
        raise LinuxError(EINVAL)
    n = min(n, max((fd for fd, _ in task.fds.items()), default=-1) + 1 + 63 & ~63)
    length = (n + 63) // 64 * 8
    wanted: dict[int, int] = {}
    masks = []
    for pointer, (events, _) in zip(sets, _SELECT, strict=True):
        mask = int.from_bytes(task.mem.read(pointer, length), "little") & (1 << n) - 1 if pointer else 0
        masks.append(mask)
        while mask:
            low = mask & -mask
            fd = low.bit_length() - 1
            wanted[fd] = wanted.get(fd, 0) | events
            mask ^= low
    for fd in wanted:
        task.fds.get(fd)  # EBADF
    order = sorted(wanted.items())
    found = _wait(task, order, deadline)
    results = [0, 0, 0]
    count = 0
    for (fd, _), events in zip(order, found, strict=True):
        if events & POLLNVAL:
            raise LinuxError(EBADF)
        for index, (_, sets_bit) in enumerate(_SELECT):
            if masks[index] >> fd & 1 and events & sets_bit:
                results[index] |= 1 << fd
                count += 1
    for pointer, bits in zip(sets, results, strict=True):
        if pointer:
            task.mem.write(pointer, bits.to_bytes(length, "little"))
    return count


@syscall
def select(
    task: Task, n: Int, readfds: FdSetPtr, writefds: FdSetPtr, exceptfds: FdSetPtr, timeout: TimevalInOutPtr
) -> int:
    """select(2): wait for one of several files."""
    deadline = None
    if timeout:
        sec, usec = Timeval.struct.unpack(task.mem.read(timeout, Timeval.struct.size))
        if sec < 0 or usec < 0 or sec + usec // 1_000_000 > _SEC_MAX:
            raise LinuxError(EINVAL)
        deadline = _deadline(task, sec * _NS + usec * 1000)
    sets = readfds, writefds, exceptfds
    return _finish(task, lambda: _select(task, n, sets, deadline), timeout, deadline, Timeval.struct, 1000)


@syscall
def pselect6(
    task: Task, n: Int, readfds: FdSetPtr, writefds: FdSetPtr, exceptfds: FdSetPtr, timeout: TimespecPtr, sig: Addr
) -> int:
    """select(2): select with a timespec and a temporary signal mask."""
    deadline = read_deadline(task, timeout)
    if sig:
        set_mask(task, *SigsetArg.struct.unpack(task.mem.read(sig, SigsetArg.struct.size)))
    sets = readfds, writefds, exceptfds
    return _finish(task, lambda: _select(task, n, sets, deadline), timeout, deadline, Timespec.struct, 1)
