"""Descriptors: close(2), dup(2), fcntl(2). Locks are in noah.syscalls.lock."""

from __future__ import annotations

from noah.abi.arch import ABIS
from noah.abi.errno import EBADF, EINVAL, LinuxError
from noah.abi.fcntl import (
    CLOSE_RANGE_CLOEXEC,
    CLOSE_RANGE_UNSHARE,
    F_ADD_SEALS,
    F_DUPFD,
    F_DUPFD_CLOEXEC,
    F_DUPFD_QUERY,
    F_GET_SEALS,
    F_GETFD,
    F_GETFL,
    F_GETLEASE,
    F_GETPIPE_SZ,
    F_SETFD,
    F_SETFL,
    F_SETPIPE_SZ,
    F_UNLCK,
    FD_CLOEXEC,
    O_CLOEXEC,
    O_PATH,
    SETFL_MASK,
)
from noah.abi.kinds import CloseRangeFlags, DupFlags, FcntlArg, FcntlCmd, Fd, UInt
from noah.kernel.task import Task
from noah.syscalls.lock import LOCK_COMMANDS, record_lock
from noah.syscalls.paths import check_flags
from noah.syscalls.registry import syscall

_ON_PATH = (F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL)


@syscall
def close(task: Task, fd: Fd) -> int:
    """close(2): close a descriptor."""
    task.fds.close(fd)
    return 0


@syscall
def close_range(task: Task, first: UInt, last: UInt, flags: CloseRangeFlags) -> int:
    """close_range(2): close, or mark close-on-exec, all descriptors of a range."""
    check_flags(flags, CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE)
    if first > last:
        raise LinuxError(EINVAL)
    if flags & CLOSE_RANGE_CLOEXEC:
        task.fds.set_cloexec_range(first, last)
    else:
        task.fds.close_range(first, last)
    return 0


@syscall
def dup(task: Task, oldfd: Fd) -> int:
    """dup(2): another descriptor of the same open file."""
    return task.fds.install(task.fds.get(oldfd).acquire())


@syscall
def dup2(task: Task, oldfd: Fd, newfd: Fd) -> int:
    """dup(2): make newfd another descriptor of the same open file."""
    file = task.fds.get(oldfd)
    if oldfd == newfd:
        return newfd
    return task.fds.replace(newfd, file.acquire())


@syscall
def dup3(task: Task, oldfd: Fd, newfd: Fd, flags: DupFlags) -> int:
    """dup(2): dup2 with O_CLOEXEC; the same descriptor twice is an error."""
    check_flags(flags, O_CLOEXEC)
    if oldfd == newfd:
        raise LinuxError(EINVAL)
    if not 0 <= newfd < task.fds.limit:
        raise LinuxError(EBADF)
    return task.fds.replace(newfd, task.fds.get(oldfd).acquire(), cloexec=bool(flags & O_CLOEXEC))


@syscall
def fcntl(task: Task, fd: Fd, cmd: FcntlCmd, arg: FcntlArg) -> int:
    """fcntl(2): duplicate descriptors, get and set flags, lock, and more."""
    fds = task.fds
    file = fds.get(fd)
    if file.flags & O_PATH and cmd not in _ON_PATH:
        raise LinuxError(EBADF)
    if cmd in (F_DUPFD, F_DUPFD_CLOEXEC):
        minimum = arg & 0xFFFF_FFFF
        fds.check_minimum(minimum)
        return fds.install(file.acquire(), cloexec=cmd == F_DUPFD_CLOEXEC, minimum=minimum)
    if cmd == F_GETFD:
        return FD_CLOEXEC if fds.is_cloexec(fd) else 0
    if cmd == F_SETFD:
        fds.set_cloexec(fd, bool(arg & FD_CLOEXEC))
        return 0
    abi = ABIS[task.process.arch.name]
    if cmd == F_GETFL:
        return abi.open_flags(file.get_flags())
    if cmd == F_SETFL:
        file.set_flags(abi.open_flags(arg & 0xFFFF_FFFF) & SETFL_MASK)
        return 0
    if cmd in LOCK_COMMANDS:
        return record_lock(task, file, cmd, arg)
    if cmd == F_DUPFD_QUERY:
        return int(fds.get(arg & 0xFFFF_FFFF) is file)
    if cmd == F_GETLEASE:
        return F_UNLCK
    if cmd in (F_GETPIPE_SZ, F_SETPIPE_SZ, F_GET_SEALS, F_ADD_SEALS):
        if file.poll_fd < 0:
            raise LinuxError(EBADF if cmd in (F_GETPIPE_SZ, F_SETPIPE_SZ) else EINVAL)
        return _host_command(task, file.poll_fd, cmd, arg & 0xFFFF_FFFF)
    task.process.missing(f"fcntl: command {cmd}")
    raise LinuxError(EINVAL)


def _host_command(task: Task, fd: int, cmd: int, arg: int) -> int:
    files = task.host.files
    if cmd == F_GETPIPE_SZ:
        return files.get_pipe_size(fd)
    if cmd == F_SETPIPE_SZ:
        return files.set_pipe_size(fd, min(arg, 1 << 31))
    if cmd == F_GET_SEALS:
        return files.get_seals(fd)
    files.add_seals(fd, arg)
    return 0
