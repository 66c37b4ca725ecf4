"""Waiting for many files: epoll(7)."""

from __future__ import annotations

from typing import Final

from noah.abi.arch import ABIS
from noah.abi.errno import EFAULT, EINTR, EINVAL, EPERM, ERESTARTSYS, LinuxError
from noah.abi.kinds import (
    EpollEventPtr,
    EpollEventsPtr,
    EpollFlags,
    EpollOp,
    Fd,
    Int,
    SigsetPtr,
    Size,
    TimespecPtr,
)
from noah.abi.poll import EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLWAKEUP
from noah.abi.time import CLOCK_MONOTONIC, NSEC_PER_SEC
from noah.fs.epoll import EpollFile, make_epoll
from noah.fs.pollset import PollSet
from noah.kernel.task import Task
from noah.syscalls.paths import check_flags, file_of
from noah.syscalls.poll import read_deadline, set_mask
from noah.syscalls.registry import syscall

_OPERATIONS: Final = (EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD)
_MAX_EVENTS: Final = (1 << 31) // 12 - 1
_NS_PER_MS: Final = NSEC_PER_SEC // 1000


@syscall
def epoll_create(task: Task, size: Int) -> int:
    """epoll_create(2): make a set of files to wait for."""
    if size <= 0:
        raise LinuxError(EINVAL)
    return task.fds.install(make_epoll(task))


@syscall
def epoll_create1(task: Task, flags: EpollFlags) -> int:
    """epoll_create(2): make a set of files to wait for, with flags."""
    check_flags(flags, EPOLL_CLOEXEC)
    return task.fds.install(make_epoll(task), cloexec=bool(flags & EPOLL_CLOEXEC))


@syscall
def epoll_ctl(task: Task, epfd: Fd, op: EpollOp, fd: Fd, event: EpollEventPtr) -> int:
    """epoll_ctl(2): add a file to a set, take it out, or change what is awaited."""
    events = data = 0
    if op != EPOLL_CTL_DEL:
        events, data = task.mem.unpack(ABIS[task.process.arch.name].EpollEvent.struct, event)
    epoll = file_of(task, epfd)
    file = file_of(task, fd)
    if not file.can_poll():
        raise LinuxError(EPERM)
    if epoll is file or not isinstance(epoll, EpollFile | PollSet) or op not in _OPERATIONS:
        raise LinuxError(EINVAL)
    epoll.control(op, fd, file, events & ~EPOLLWAKEUP, data)
    return 0


@syscall
def epoll_wait(task: Task, epfd: Fd, events: EpollEventsPtr, maxevents: Int, timeout: Int) -> int:
    """epoll_wait(2): wait for the files of a set; timeout in ms, negative for none."""
    return _wait(task, epfd, events, maxevents, _milliseconds(task, timeout))


@syscall
def epoll_pwait(
    task: Task, epfd: Fd, events: EpollEventsPtr, maxevents: Int, timeout: Int, sigmask: SigsetPtr, size: Size
) -> int:
    """epoll_wait(2): epoll_wait with a temporary signal mask."""
    set_mask(task, sigmask, size)
    return _wait(task, epfd, events, maxevents, _milliseconds(task, timeout))


@syscall
def epoll_pwait2(
    task: Task, epfd: Fd, events: EpollEventsPtr, maxevents: Int, timeout: TimespecPtr, sigmask: SigsetPtr, size: Size
) -> int:
    """epoll_wait(2): epoll_pwait with a timespec."""
    deadline = read_deadline(task, timeout)
    set_mask(task, sigmask, size)
    return _wait(task, epfd, events, maxevents, deadline)


def _milliseconds(task: Task, timeout: int) -> int | None:
    if timeout < 0:
        return None
    return task.host.clock.clock_gettime(CLOCK_MONOTONIC) + timeout * _NS_PER_MS if timeout else 0


def _wait(task: Task, epfd: int, address: int, limit: int, deadline: int | None) -> int:
    """deadline: on CLOCK_MONOTONIC, None for none, 0 for no waiting. A signal is EINTR, never a restart."""
    layout = ABIS[task.process.arch.name].EpollEvent.struct
    if not 0 < limit <= _MAX_EVENTS:
        raise LinuxError(EINVAL)
    if address + limit * layout.size > task.space.task_size:
        raise LinuxError(EFAULT)
    epoll = file_of(task, epfd)
    if not isinstance(epoll, EpollFile | PollSet):
        raise LinuxError(EINVAL)
    task.process.signals.show_pending(task)
    while True:
        found = epoll.collect(limit)
        if found:
            task.mem.write(address, b"".join(layout.pack(*entry) for entry in found))
            return len(found)
        if deadline == 0:
            return 0
        if task.beside:
            raise LinuxError(ERESTARTSYS)  # who waits leaves the processor to others
        try:
            if not epoll.wait(task, deadline):
                deadline = 0
        except LinuxError as error:
            if error.errno != ERESTARTSYS:
                raise
            raise LinuxError(EINTR) from None
