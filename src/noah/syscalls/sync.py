"""To storage: sync(2), fsync(2), sync_file_range(2), posix_fadvise(2), readahead(2)."""

from __future__ import annotations

from noah.abi.errno import EINVAL, ESPIPE, LinuxError
from noah.abi.fcntl import (
    POSIX_FADV_NOREUSE,
    POSIX_FADV_WILLNEED,
    SYNC_FILE_RANGE_WAIT_AFTER,
    SYNC_FILE_RANGE_WAIT_BEFORE,
    SYNC_FILE_RANGE_WRITE,
)
from noah.abi.kinds import FadviseAdvice, Fd, Off, Size, SyncRangeFlags
from noah.abi.stat import S_IFBLK, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG
from noah.kernel.task import Task
from noah.syscalls.paths import check_flags, file_of
from noah.syscalls.registry import syscall


@syscall
def sync(task: Task) -> int:
    """sync(2): write everything to storage."""
    task.host.files.sync()
    return 0


@syscall
def syncfs(task: Task, fd: Fd) -> int:
    """sync(2): write a file system to storage."""
    file = file_of(task, fd)
    if file.poll_fd >= 0:
        task.host.files.syncfs(file.poll_fd)
    return 0


@syscall
def fsync(task: Task, fd: Fd) -> int:
    """fsync(2): write a file to storage."""
    file_of(task, fd).sync()
    return 0


@syscall
def fdatasync(task: Task, fd: Fd) -> int:
    """fsync(2): write a file's data to storage."""
    file_of(task, fd).sync(data_only=True)
    return 0


@syscall
def sync_file_range(task: Task, fd: Fd, offset: Off, nbytes: Off, flags: SyncRangeFlags) -> int:
    """sync_file_range(2): write a part of a file to storage."""
    file = file_of(task, fd)
    check_flags(flags, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)
    if offset < 0 or nbytes < 0 or offset + nbytes >= 1 << 63:
        raise LinuxError(EINVAL)
    if file.stat().mode & S_IFMT not in (S_IFREG, S_IFBLK, S_IFDIR, S_IFLNK):
        raise LinuxError(ESPIPE)
    if file.poll_fd >= 0:
        task.host.files.sync_file_range(file.poll_fd, offset, nbytes, flags)
    return 0


@syscall
def fadvise64(task: Task, fd: Fd, offset: Off, length: Off, advice: FadviseAdvice) -> int:
    """posix_fadvise(2): say how a file will be used."""
    file = file_of(task, fd)
    kind = file.stat().mode & S_IFMT
    if kind == S_IFIFO:
        raise LinuxError(ESPIPE)
    if length < 0 or not 0 <= advice <= POSIX_FADV_NOREUSE:
        raise LinuxError(EINVAL)
    if file.poll_fd >= 0 and kind == S_IFREG:
        task.host.files.posix_fadvise(file.poll_fd, offset, length, advice)
    return 0


@syscall
def readahead(task: Task, fd: Fd, offset: Off, count: Size) -> int:
    """readahead(2): read a file into the host's cache."""
    file = file_of(task, fd)
    file.check_readable()
    if file.stat().mode & S_IFMT not in (S_IFREG, S_IFBLK):
        raise LinuxError(EINVAL)
    if file.poll_fd >= 0 and offset >= 0:
        task.host.files.posix_fadvise(file.poll_fd, offset, min(count, 1 << 40), POSIX_FADV_WILLNEED)
    return 0
