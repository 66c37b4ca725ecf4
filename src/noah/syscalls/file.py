"""Reading, writing and positions: read(2), readv(2), pread(2), lseek(2), truncate(2), fallocate(2)."""

from __future__ import annotations

from typing import Final

from noah.abi.errno import EINVAL, EOPNOTSUPP, ESPIPE, LinuxError
from noah.abi.fcntl import (
    AT_FDCWD,
    FALLOC_FL_COLLAPSE_RANGE,
    FALLOC_FL_INSERT_RANGE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_UNSHARE_RANGE,
    FALLOC_FL_ZERO_RANGE,
    RWF_APPEND,
    RWF_DSYNC,
    RWF_HIPRI,
    RWF_NOAPPEND,
    RWF_NOWAIT,
    RWF_SYNC,
    SEEK_CUR,
)
from noah.abi.kinds import (
    FallocMode,
    Fd,
    InBuf,
    Int,
    IovecOutPtr,
    IovecPtr,
    Off,
    OutBuf,
    Path,
    RwfFlags,
    SeekWhence,
    Size,
)
from noah.kernel.task import Task
from noah.mm.fault import files_shrank
from noah.syscalls.paths import file_of, read_path
from noah.syscalls.registry import syscall
from noah.vfs.file import OpenFile

_RWF: Final = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND | RWF_NOAPPEND
_FALLOC: Final = 0x7B  # without FALLOC_FL_NO_HIDE_STALE, which no file system has


def _positioned(task: Task, fd: int, offset: int) -> OpenFile:
    """The file for a call with an offset: EINVAL, EBADF, ESPIPE in this order."""
    if offset < 0:
        raise LinuxError(EINVAL)
    file = file_of(task, fd)
    if not file.has_positions:
        raise LinuxError(ESPIPE)
    return file


def _is_end(task: Task, file: OpenFile, offset: int) -> bool:
    """Whether there is nothing to read: the buffer is not looked at then, however bad it is."""
    return not file.pread(task, [memoryview(bytearray(1))], offset)


@syscall
def read(task: Task, fd: Fd, buf: OutBuf, count: Size) -> int:
    """read(2): read from a file."""
    file = task.fds.get(fd)
    if file.watchers:
        file.note_use()
    file.check_readable()
    try:
        views = task.mem.buffer(buf, count, write=True)
    except LinuxError:
        task.mem.check_range(buf, count)
        file.read(task, ())  # what is wrong with the file comes before EFAULT
        if file.has_positions and _is_end(task, file, file.seek(0, SEEK_CUR)):
            return 0
        raise
    return file.read(task, views)


@syscall
def write(task: Task, fd: Fd, buf: InBuf, count: Size) -> int:
    """write(2): write to a file."""
    file = task.fds.get(fd)
    if file.watchers:
        file.note_use()
    file.check_writable()
    return file.write(task, task.mem.buffer(buf, count, write=False))


@syscall
def readv(task: Task, fd: Fd, iov: IovecOutPtr, iovcnt: Int) -> int:
    """readv(2): read into several buffers."""
    file = task.fds.get(fd)
    if file.watchers:
        file.note_use()
    file.check_readable()
    return file.read(task, task.mem.iovec(iov, iovcnt, write=True))


@syscall
def writev(task: Task, fd: Fd, iov: IovecPtr, iovcnt: Int) -> int:
    """writev(2): write from several buffers."""
    file = task.fds.get(fd)
    if file.watchers:
        file.note_use()
    file.check_writable()
    return file.write(task, task.mem.iovec(iov, iovcnt, write=False))


@syscall
def pread64(task: Task, fd: Fd, buf: OutBuf, count: Size, offset: Off) -> int:
    """pread(2): read at an offset."""
    file = _positioned(task, fd, offset)
    file.check_readable()
    try:
        views = task.mem.buffer(buf, count, write=True)
    except LinuxError:
        task.mem.check_range(buf, count)
        if _is_end(task, file, offset):
            return 0
        raise
    return file.pread(task, views, offset)


@syscall
def pwrite64(task: Task, fd: Fd, buf: InBuf, count: Size, offset: Off) -> int:
    """pwrite(2): write at an offset."""
    file = _positioned(task, fd, offset)
    file.check_writable()
    return file.pwrite(task, task.mem.buffer(buf, count, write=False), offset)


@syscall
def preadv(task: Task, fd: Fd, iov: IovecOutPtr, iovcnt: Int, offset: Off) -> int:
    """preadv(2): read into several buffers at an offset."""
    file = _positioned(task, fd, offset)
    file.check_readable()
    return file.pread(task, task.mem.iovec(iov, iovcnt, write=True), offset)


@syscall
def pwritev(task: Task, fd: Fd, iov: IovecPtr, iovcnt: Int, offset: Off) -> int:
    """pwritev(2): write from several buffers at an offset."""
    file = _positioned(task, fd, offset)
    file.check_writable()
    return file.pwrite(task, task.mem.iovec(iov, iovcnt, write=False), offset)


@syscall
def preadv2(task: Task, fd: Fd, iov: IovecOutPtr, iovcnt: Int, offset: Off, high: Off, flags: RwfFlags) -> int:
    """preadv2(2): preadv(2) with flags; offset -1 is the position. `high` counts on 32 bits only."""
    file = task.fds.get(fd) if offset == -1 else _positioned(task, fd, offset)
    file.check_readable()
    views = task.mem.iovec(iov, iovcnt, write=True)
    if not views:
        return 0
    if flags & ~(_RWF & ~RWF_APPEND & ~RWF_NOAPPEND):
        raise LinuxError(EOPNOTSUPP)
    if offset == -1 and not flags & RWF_NOWAIT:
        return file.read(task, views)
    return file.pread(task, views, offset, flags)


@syscall
def pwritev2(task: Task, fd: Fd, iov: IovecPtr, iovcnt: Int, offset: Off, high: Off, flags: RwfFlags) -> int:
    """pwritev2(2): pwritev(2) with flags; offset -1 is the position. `high` counts on 32 bits only."""
    file = task.fds.get(fd) if offset == -1 else _positioned(task, fd, offset)
    file.check_writable()
    views = task.mem.iovec(iov, iovcnt, write=False)
    if not views:
        return 0
    if flags & ~_RWF:
        raise LinuxError(EOPNOTSUPP)
    if flags & RWF_APPEND and flags & RWF_NOAPPEND:
        raise LinuxError(EINVAL)
    if offset == -1 and (not flags or not file.has_positions):
        return file.write(task, views)
    return file.pwrite(task, views, offset, flags)


@syscall
def lseek(task: Task, fd: Fd, offset: Off, whence: SeekWhence) -> int:
    """lseek(2): move the position of a file."""
    file = file_of(task, fd)
    if whence > 4:
        raise LinuxError(EINVAL)
    return file.seek(offset, whence)


@syscall
def truncate(task: Task, path: Path, length: Off) -> int:
    """truncate(2): set the size of a file."""
    if length < 0:
        raise LinuxError(EINVAL)
    place = task.fs.resolve(task, AT_FDCWD, read_path(task, path))
    task.check_not_running(place.stat())
    place.truncate(length)
    files_shrank(task.space)
    return 0


@syscall
def ftruncate(task: Task, fd: Fd, length: Off) -> int:
    """truncate(2): set the size of an open file."""
    if length < 0:
        raise LinuxError(EINVAL)
    file_of(task, fd).truncate(length)
    files_shrank(task.space)
    return 0


@syscall
def fallocate(task: Task, fd: Fd, mode: FallocMode, offset: Off, length: Off) -> int:
    """fallocate(2): allocate or give back the storage of a part of a file."""
    file = file_of(task, fd)
    if offset < 0 or length <= 0:
        raise LinuxError(EINVAL)
    kind = mode & ~FALLOC_FL_KEEP_SIZE
    if mode & ~_FALLOC:
        raise LinuxError(EOPNOTSUPP)
    if kind & (kind - 1):
        raise LinuxError(EOPNOTSUPP if kind & FALLOC_FL_PUNCH_HOLE and kind & FALLOC_FL_ZERO_RANGE else EINVAL)
    if kind == FALLOC_FL_PUNCH_HOLE and not mode & FALLOC_FL_KEEP_SIZE:
        raise LinuxError(EOPNOTSUPP)
    if mode & FALLOC_FL_KEEP_SIZE and kind in (FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE):
        raise LinuxError(EINVAL)
    if kind == FALLOC_FL_UNSHARE_RANGE and mode != kind | FALLOC_FL_KEEP_SIZE and mode != kind:
        raise LinuxError(EINVAL)
    file.check_writable()
    file.fallocate(mode, offset, length)
    return 0
