"""What files are: stat(2), statx(2), access(2), readlink(2)."""

from __future__ import annotations

from typing import Final

from noah.abi.arch import ABIS
from noah.abi.errno import EINVAL, ENOENT, LinuxError
from noah.abi.fcntl import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_STATX_SYNC_TYPE,
    AT_SYMLINK_NOFOLLOW,
)
from noah.abi.kinds import AccessMode, AtFlags, DirFd, Fd, Int, OutPath, Path, StatPtr, StatxMask, StatxPtr
from noah.abi.stat import S_IFLNK, S_IFMT, STATX__RESERVED, STATX_BASIC_STATS, STATX_MNT_ID, major, minor
from noah.abi.structs import Statx as StatxLayout
from noah.kernel.task import Task
from noah.syscalls.paths import check_flags, place_at, read_path
from noah.syscalls.registry import syscall

_NS: Final = 1_000_000_000


@syscall
def stat(task: Task, path: Path, statbuf: StatPtr) -> int:
    """stat(2): status of a file."""
    status = task.fs.resolve(task, AT_FDCWD, read_path(task, path)).stat()
    task.mem.write(statbuf, ABIS[task.process.arch.name].pack_stat(*status))
    return 0


@syscall
def lstat(task: Task, path: Path, statbuf: StatPtr) -> int:
    """stat(2): status of a file or symbolic link."""
    status = task.fs.resolve(task, AT_FDCWD, read_path(task, path), follow=False).stat()
    task.mem.write(statbuf, ABIS[task.process.arch.name].pack_stat(*status))
    return 0


@syscall
def fstat(task: Task, fd: Fd, statbuf: StatPtr) -> int:
    """stat(2): status of an open file."""
    task.mem.write(statbuf, ABIS[task.process.arch.name].pack_stat(*task.fds.get(fd).stat()))
    return 0


@syscall
def newfstatat(task: Task, dirfd: DirFd, path: Path, statbuf: StatPtr, flags: AtFlags) -> int:
    """stat(2): status of a file, relative to a directory."""
    check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)
    if flags & AT_EMPTY_PATH and dirfd >= 0 and not (path and read_path(task, path)):
        status = task.fds.get(dirfd).stat()
    else:
        status = place_at(task, dirfd, path, flags).stat()
    task.mem.write(statbuf, ABIS[task.process.arch.name].pack_stat(*status))
    return 0


@syscall
def statx(task: Task, dirfd: DirFd, path: Path, flags: AtFlags, mask: StatxMask, statxbuf: StatxPtr) -> int:
    """statx(2): status of a file, with more fields."""
    if mask & STATX__RESERVED or flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE:
        raise LinuxError(EINVAL)
    check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)
    place = place_at(task, dirfd, path, flags)
    status, more = place.statx(flags & AT_STATX_SYNC_TYPE, mask)
    valid = STATX_BASIC_STATS
    btime = attributes = attributes_mask = mnt_id = mem_align = offset_align = 0
    if more is not None:
        valid |= more.mask & ~STATX__RESERVED
        attributes, attributes_mask = more.attributes, more.attributes_mask
        btime, mnt_id = more.btime, more.mnt_id
        mem_align, offset_align = more.dio_mem_align, more.dio_offset_align
    if mask & STATX_MNT_ID:
        valid |= STATX_MNT_ID
        mnt_id = place.mount.id
    task.mem.write(
        statxbuf,
        StatxLayout.struct.pack(
            *(valid, status.blksize, attributes, status.nlink, status.uid, status.gid, status.mode),
            *(status.ino, status.size, status.blocks, attributes_mask),
            *divmod(status.atime, _NS),
            *divmod(btime, _NS),
            *divmod(status.ctime, _NS),
            *divmod(status.mtime, _NS),
            *(major(status.rdev), minor(status.rdev), major(status.dev), minor(status.dev)),
            *(mnt_id, mem_align, offset_align, 0, 0, 0, 0, 0),
        ),
    )
    return 0


@syscall
def access(task: Task, path: Path, mode: AccessMode) -> int:
    """access(2): whether the caller may use a file."""
    return _access(task, AT_FDCWD, path, mode, 0)


@syscall
def faccessat(task: Task, dirfd: DirFd, path: Path, mode: AccessMode) -> int:
    """access(2): relative to a directory. The system call has no flags; the C library emulates them."""
    return _access(task, dirfd, path, mode, 0)


@syscall
def faccessat2(task: Task, dirfd: DirFd, path: Path, mode: AccessMode, flags: AtFlags) -> int:
    """access(2): relative to a directory, with flags."""
    check_flags(flags, AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    return _access(task, dirfd, path, mode, flags)


def _access(task: Task, dirfd: int, path: int, mode: int, flags: int) -> int:
    if mode & ~7:
        raise LinuxError(EINVAL)
    creds = task.creds
    if flags & AT_EACCESS or (creds.uid, creds.gid) == (creds.fsuid, creds.fsgid):
        place_at(task, dirfd, path, flags).access(task, mode, AT_EACCESS)
        return 0
    # For the way to the file as well.
    task.host.procs.set_identity(creds.uid, creds.gid, creds.groups, creds.permitted if creds.uid == 0 else 0)
    try:
        place_at(task, dirfd, path, flags).access(task, mode, AT_EACCESS)
    finally:
        task.apply_identity()
    return 0


@syscall
def readlink(task: Task, path: Path, buf: OutPath, size: Int) -> int:
    """readlink(2): where a symbolic link points."""
    return _readlink(task, AT_FDCWD, path, buf, size)


@syscall
def readlinkat(task: Task, dirfd: DirFd, path: Path, buf: OutPath, size: Int) -> int:
    """readlink(2): relative to a directory; an empty path is the link that dirfd holds."""
    return _readlink(task, dirfd, path, buf, size)


def _readlink(task: Task, dirfd: int, path: int, buf: int, size: int) -> int:
    if size <= 0:
        raise LinuxError(EINVAL)
    if dirfd != AT_FDCWD and not read_path(task, path):
        place = place_at(task, dirfd, path, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
        if place.stat().mode & S_IFMT != S_IFLNK:
            raise LinuxError(ENOENT)
    else:
        place = place_at(task, dirfd, path, AT_SYMLINK_NOFOLLOW)
    target = place.readlink()[:size]
    task.mem.write(buf, target)
    return len(target)
