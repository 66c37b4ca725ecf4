"""Descriptors: close(2), dup(2), fcntl(2). Locks are in noah.syscalls.lock."""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.arch import ABIS
from noah.abi.errno import EBADF, EINVAL, ENOTDIR, ESRCH, LinuxError
from noah.abi.fcntl import (
    CLOSE_RANGE_CLOEXEC,
    CLOSE_RANGE_UNSHARE,
    DN_MULTISHOT,
    F_ADD_SEALS,
    F_DUPFD,
    F_DUPFD_CLOEXEC,
    F_DUPFD_QUERY,
    F_GET_SEALS,
    F_GETFD,
    F_GETFL,
    F_GETLEASE,
    F_GETOWN,
    F_GETOWN_EX,
    F_GETPIPE_SZ,
    F_GETSIG,
    F_NOTIFY,
    F_OWNER_PGRP,
    F_OWNER_PID,
    F_OWNER_TID,
    F_SETFD,
    F_SETFL,
    F_SETOWN,
    F_SETOWN_EX,
    F_SETPIPE_SZ,
    F_SETSIG,
    F_UNLCK,
    FD_CLOEXEC,
    O_CLOEXEC,
    O_PATH,
    SETFL_MASK,
)
from noah.abi.kinds import CloseRangeFlags, DupFlags, FcntlArg, FcntlCmd, Fd, UInt
from noah.abi.signal import SIGRTMAX
from noah.abi.stat import S_IFDIR, S_IFMT
from noah.kernel.task import Task
from noah.syscalls.lock import LOCK_COMMANDS, record_lock
from noah.syscalls.paths import check_flags
from noah.syscalls.registry import syscall
from noah.vfs.file import OpenFile

_OWNER: Final = struct.Struct("<ii")  # struct f_owner_ex
_OWNER_COMMANDS: Final = (F_GETOWN, F_SETOWN, F_GETOWN_EX, F_SETOWN_EX, F_GETSIG, F_SETSIG)
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
    if flags & CLOSE_RANGE_UNSHARE:
        task.unshare_fds()
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


@syscall(partial="no leases")
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
    if cmd in _OWNER_COMMANDS:
        return _owner(task, file, cmd, arg)
    if cmd == F_NOTIFY:
        return _notify(task, file, arg & 0xFFFF_FFFF)
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
        if arg > 1 << 31:
            files.get_pipe_size(fd)  # EBADF comes first
            raise LinuxError(EINVAL)
        return files.set_pipe_size(fd, arg)
    if cmd == F_GET_SEALS:
        return files.get_seals(fd)
    files.add_seals(fd, arg)
    return 0


def _owner(task: Task, file: OpenFile, cmd: int, arg: int) -> int:
    """Who gets SIGIO for a file: the host sends it, as guests' ids are the host's."""
    fd = file.poll_fd
    if fd < 0:
        raise LinuxError(EINVAL, "Noah's own files send no signals")
    files = task.host.files
    if cmd == F_GETSIG:
        return files.get_signal(fd)
    if cmd == F_SETSIG:
        if not 0 <= arg <= SIGRTMAX:
            raise LinuxError(EINVAL)
        files.set_signal(fd, arg)
        return 0
    if cmd in (F_GETOWN, F_GETOWN_EX):
        kind, owner = files.get_owner(fd)
        if cmd == F_GETOWN:
            return -owner if kind == F_OWNER_PGRP else owner
        task.mem.write(arg, _OWNER.pack(kind, owner))
        return 0
    if cmd == F_SETOWN_EX:
        kind, owner = _OWNER.unpack(task.mem.read(arg, _OWNER.size))
        if kind not in (F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP):
            raise LinuxError(EINVAL)
    else:
        owner = ((arg & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000
        kind, owner = (F_OWNER_PID, owner) if owner >= 0 else (F_OWNER_PGRP, -owner)
        if owner == 1 << 31:
            raise LinuxError(EINVAL)
    if owner and not _is_ours(task, kind, owner):
        raise LinuxError(ESRCH)
    files.set_owner(fd, kind, owner)
    return 0


def _notify(task: Task, file: OpenFile, events: int) -> int:
    """Have a signal sent when a directory changes: fcntl_dirnotify()."""
    if file.stat().mode & S_IFMT != S_IFDIR:
        if events & ~DN_MULTISHOT:
            raise LinuxError(ENOTDIR)
        return 0  # there is nothing to forget
    if file.poll_fd < 0:
        raise LinuxError(EINVAL, "directories of Noah's own send no signals")
    task.host.files.notify(file.poll_fd, events)
    return 0


def _is_ours(task: Task, kind: int, owner: int) -> bool:
    """Signals never leave the box."""
    if kind == F_OWNER_TID and any(thread.tid == owner for thread in task.process.tasks):
        return True
    box = task.process.box
    return box.contains(owner) or (kind == F_OWNER_PGRP and owner == task.host.procs.getpgid(0))
