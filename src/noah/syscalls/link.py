"""Names: link(2), symlink(2), unlink(2), rename(2), mkdir(2), rmdir(2), mknod(2), mount(2)."""

from __future__ import annotations

from noah.abi.errno import EINVAL, ENOENT, EPERM, LinuxError
from noah.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    RENAME_WHITEOUT,
)
from noah.abi.kinds import Addr, AtFlags, Dev, DirFd, FileMode, Mode, MountFlags, Path, RenameFlags, Str, UmountFlags
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK
from noah.kernel.task import Task
from noah.syscalls.paths import check_flags, place_at, read_path
from noah.syscalls.registry import syscall


@syscall
def linkat(task: Task, olddirfd: DirFd, oldpath: Path, newdirfd: DirFd, newpath: Path, flags: AtFlags) -> int:
    """link(2): give a file another name."""
    check_flags(flags, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)
    follow = 0 if flags & AT_SYMLINK_FOLLOW else AT_SYMLINK_NOFOLLOW
    old = place_at(task, olddirfd, oldpath, flags & AT_EMPTY_PATH | follow)
    old.link_to(task.fs.parent(task, newdirfd, read_path(task, newpath)))
    return 0


@syscall
def link(task: Task, oldpath: Path, newpath: Path) -> int:
    """link(2): give a file another name."""
    first = read_path(task, oldpath)
    old = task.fs.resolve(task, AT_FDCWD, first, follow=False)
    old.link_to(task.fs.parent_near(task, AT_FDCWD, read_path(task, newpath), old, AT_FDCWD, first))
    return 0


@syscall
def symlinkat(task: Task, target: Path, newdirfd: DirFd, linkpath: Path) -> int:
    """symlink(2): make a symbolic link."""
    text = read_path(task, target)
    if not text:
        raise LinuxError(ENOENT)
    task.fs.parent(task, newdirfd, read_path(task, linkpath)).symlink(text)
    return 0


@syscall
def symlink(task: Task, target: Path, linkpath: Path) -> int:
    """symlink(2): make a symbolic link."""
    text = read_path(task, target)
    if not text:
        raise LinuxError(ENOENT)
    task.fs.parent(task, AT_FDCWD, read_path(task, linkpath)).symlink(text)
    return 0


@syscall
def unlinkat(task: Task, dirfd: DirFd, path: Path, flags: AtFlags) -> int:
    """unlink(2): remove a name, or with AT_REMOVEDIR a directory."""
    check_flags(flags, AT_REMOVEDIR)
    task.fs.parent(task, dirfd, read_path(task, path)).unlink(flags)
    return 0


@syscall
def unlink(task: Task, path: Path) -> int:
    """unlink(2): remove a name."""
    task.fs.parent(task, AT_FDCWD, read_path(task, path)).unlink(0)
    return 0


@syscall
def rmdir(task: Task, path: Path) -> int:
    """rmdir(2): remove an empty directory."""
    task.fs.parent(task, AT_FDCWD, read_path(task, path)).unlink(AT_REMOVEDIR)
    return 0


def _rename(task: Task, olddirfd: int, oldpath: int, newdirfd: int, newpath: int, flags: int) -> int:
    first = read_path(task, oldpath)
    old = task.fs.parent(task, olddirfd, first)
    old.rename_to(task.fs.parent_near(task, newdirfd, read_path(task, newpath), old, olddirfd, first), flags)
    return 0


@syscall
def renameat2(task: Task, olddirfd: DirFd, oldpath: Path, newdirfd: DirFd, newpath: Path, flags: RenameFlags) -> int:
    """rename(2): rename, with flags."""
    check_flags(flags, RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)
    if flags & RENAME_EXCHANGE and flags & (RENAME_NOREPLACE | RENAME_WHITEOUT):
        raise LinuxError(EINVAL)
    return _rename(task, olddirfd, oldpath, newdirfd, newpath, flags)


@syscall
def renameat(task: Task, olddirfd: DirFd, oldpath: Path, newdirfd: DirFd, newpath: Path) -> int:
    """rename(2): rename, relative to directories."""
    return _rename(task, olddirfd, oldpath, newdirfd, newpath, 0)


@syscall
def rename(task: Task, oldpath: Path, newpath: Path) -> int:
    """rename(2): rename a file."""
    return _rename(task, AT_FDCWD, oldpath, AT_FDCWD, newpath, 0)


@syscall
def mkdirat(task: Task, dirfd: DirFd, path: Path, mode: Mode) -> int:
    """mkdir(2): make a directory."""
    task.fs.parent(task, dirfd, read_path(task, path)).mkdir(mode & 0o1777, task.fs.umask)
    return 0


@syscall
def mkdir(task: Task, path: Path, mode: Mode) -> int:
    """mkdir(2): make a directory."""
    return mkdirat(task, AT_FDCWD, path, mode)


@syscall
def mknodat(task: Task, dirfd: DirFd, path: Path, mode: FileMode, dev: Dev) -> int:
    """mknod(2): make a FIFO, socket, device or empty file."""
    kind = mode & S_IFMT
    if kind == S_IFDIR:
        raise LinuxError(EPERM)
    if kind not in (0, S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK):
        raise LinuxError(EINVAL)
    device = dev if kind in (S_IFCHR, S_IFBLK) else 0
    place = task.fs.parent(task, dirfd, read_path(task, path))
    place.mknod((kind or S_IFREG) | mode & 0o7777, device, task.fs.umask)
    return 0


@syscall
def mknod(task: Task, path: Path, mode: FileMode, dev: Dev) -> int:
    """mknod(2): make a FIFO, socket, device or empty file."""
    return mknodat(task, AT_FDCWD, path, mode, dev)


@syscall(partial="the mounts of a box are fixed when it starts: always EPERM")
def mount(task: Task, source: Str, target: Path, fstype: Str, flags: MountFlags, data: Addr) -> int:
    """mount(2): mount a file system."""
    read_path(task, target)
    raise LinuxError(EPERM)


@syscall(partial="the mounts of a box are fixed when it starts: always EPERM")
def umount2(task: Task, target: Path, flags: UmountFlags) -> int:
    """umount(2): unmount a file system."""
    read_path(task, target)
    raise LinuxError(EPERM)


@syscall(partial="the mounts of a box are fixed when it starts: always EPERM")
def pivot_root(task: Task, new_root: Path, put_old: Path) -> int:
    """pivot_root(2): change the root mount."""
    raise LinuxError(EPERM)
