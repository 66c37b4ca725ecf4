"""Names, attributes, ownership: the files that paths lead to."""

from __future__ import annotations

import operator
import os
import stat
import time
from typing import Final

from noah.abi import fcntl as linux
from noah.abi.errno import (
    EACCES,
    EEXIST,
    EINVAL,
    ENOSYS,
    ENOTDIR,
    EOPNOTSUPP,
    LinuxError,
)
from noah.abi.stat import STATX_BASIC_STATS
from noah.host.errnos import from_host
from noah.host.openflags import ALWAYS, POSIX
from noah.host.values import TIME_NOW, TIME_OMIT, Stat, Statfs, Statx

_ST_VALID: Final = 0x20  # linux/statfs.h: f_flags counts

Times = tuple[int, int] | None

stat_fields: Final = operator.attrgetter(
    *(["st_dev", "st_ino", "st_mode", "st_nlink", "st_uid", "st_gid", "st_rdev", "st_size", "st_blksize", "st_blocks"]),
    *(["st_atime_ns", "st_mtime_ns", "st_ctime_ns"]),
)
"""The members of Stat out of what os.stat() gives: one call, half the time of thirteen attributes."""


def at(dirfd: int) -> int | None:
    """dirfd as Python's dir_fd."""
    return dirfd if dirfd != linux.AT_FDCWD else None


def makedev(major: int, minor: int) -> int:
    """Linux' device number (new_encode_dev of 32 bit, gnu_dev_makedev beyond)."""
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32


class PosixPaths:
    """See noah.host.api.Files."""

    __slots__ = ()

    def openat(self, dirfd: int, path: bytes, flags: int, mode: int = 0) -> int:
        if flags & linux.O_PATH:
            return _open_name(dirfd, path, flags)
        host_flags = POSIX.to_host(flags) | flags & linux.O_ACCMODE
        if flags & linux.O_TMPFILE == linux.O_TMPFILE:
            if not stat.S_ISDIR(self.fstatat(dirfd, path).mode):
                raise LinuxError(ENOTDIR)
            raise LinuxError(EOPNOTSUPP, "no O_TMPFILE on this host")
        if flags & linux.O_DIRECT:
            raise LinuxError(EINVAL, "no O_DIRECT on this host")
        try:
            return os.open(path, host_flags | ALWAYS, mode, dir_fd=at(dirfd))
        except OSError as error:
            raise from_host(error) from None

    def openat2_in_root(self, rootfd: int, path: bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
        raise LinuxError(ENOSYS, "no openat2 on this host")

    def truncateat(self, dirfd: int, path: bytes, length: int) -> None:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | ALWAYS, dir_fd=at(dirfd))
        except OSError as error:
            raise from_host(error) from None
        try:
            os.ftruncate(fd, length)
        except OSError as error:
            raise from_host(error) from None
        finally:
            os.close(fd)

    # What a file is.

    def fstat(self, fd: int) -> Stat:
        try:
            return _stat(os.fstat(fd))
        except OSError as error:
            raise from_host(error) from None

    def fstatat(self, dirfd: int, path: bytes, flags: int = 0) -> Stat:
        if not path and flags & linux.AT_EMPTY_PATH:
            if dirfd != linux.AT_FDCWD:
                return self.fstat(dirfd)
            path = b"."
        try:
            follow = not flags & linux.AT_SYMLINK_NOFOLLOW
            return _stat(os.stat(path, dir_fd=at(dirfd), follow_symlinks=follow))
        except OSError as error:
            raise from_host(error) from None

    def statx(self, dirfd: int, path: bytes, flags: int, mask: int) -> Statx:
        """No more than Stat has."""
        self.fstatat(dirfd, path, flags)
        return Statx(STATX_BASIC_STATS, 0, 0, 0, 0, 0, 0)

    def fstatfs(self, fd: int) -> Statfs:
        """type is 0: POSIX does not tell."""
        try:
            s = os.fstatvfs(fd)
        except OSError as error:
            raise from_host(error) from None
        return Statfs(
            0,
            s.f_bsize,
            s.f_blocks,
            s.f_bfree,
            s.f_bavail,
            s.f_files,
            s.f_ffree,
            s.f_fsid & (1 << 64) - 1,
            s.f_namemax,
            s.f_frsize,
            s.f_flag | _ST_VALID,
        )

    def faccessat(self, dirfd: int, path: bytes, mode: int, flags: int = 0) -> None:
        """POSIX' access() by way of Python says yes or no only: a no for a file that is there becomes EACCES."""
        if mode & ~(linux.R_OK | linux.W_OK | linux.X_OK):
            raise LinuxError(EINVAL)
        self.fstatat(dirfd, path, flags)
        # The real ids are Noah's own, not the guest's: see Procs.set_identity().
        effective = os.access in os.supports_effective_ids
        follow = not flags & linux.AT_SYMLINK_NOFOLLOW
        if not path:
            status = os.fstat(dirfd)
            if not _permits(status, mode):
                raise LinuxError(EACCES)
        elif (follow or not stat.S_ISLNK(self.fstatat(dirfd, path, flags).mode)) and not os.access(
            path, mode, dir_fd=at(dirfd), effective_ids=effective
        ):
            raise LinuxError(EACCES)

    # Changing what it is.

    def fchmod(self, fd: int, mode: int) -> None:
        try:
            os.fchmod(fd, mode)
        except OSError as error:
            raise from_host(error) from None

    def fchmodat(self, dirfd: int, path: bytes, mode: int, flags: int = 0) -> None:
        if not path and flags & linux.AT_EMPTY_PATH:
            self.fchmod(dirfd, mode)
            return
        if flags & linux.AT_SYMLINK_NOFOLLOW and stat.S_ISLNK(self.fstatat(dirfd, path, flags).mode):
            raise LinuxError(EOPNOTSUPP, "a link has no mode of its own")
        try:
            os.chmod(path, mode, dir_fd=at(dirfd))
        except OSError as error:
            raise from_host(error) from None

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        try:
            os.fchown(fd, uid, gid)
        except OSError as error:
            raise from_host(error) from None

    def fchownat(self, dirfd: int, path: bytes, uid: int, gid: int, flags: int = 0) -> None:
        if not path and flags & linux.AT_EMPTY_PATH:
            self.fchown(dirfd, uid, gid)
            return
        try:
            os.chown(path, uid, gid, dir_fd=at(dirfd), follow_symlinks=not flags & linux.AT_SYMLINK_NOFOLLOW)
        except OSError as error:
            raise from_host(error) from None

    def futimens(self, fd: int, times: Times) -> None:
        try:
            if not plain(times):
                status = os.fstat(fd)
                times = _explicit(times, (status.st_atime_ns, status.st_mtime_ns))
            _utime(fd, times)
        except OSError as error:
            raise from_host(error) from None

    def utimensat(self, dirfd: int, path: bytes, times: Times, flags: int = 0) -> None:
        """TIME_NOW beside another entry, and TIME_OMIT, are made explicit here: then only the owner may do it."""
        if not path and flags & linux.AT_EMPTY_PATH:
            self.futimens(dirfd, times)
            return
        if not plain(times):
            status = self.fstatat(dirfd, path, flags)
            times = _explicit(times, (status.atime, status.mtime))
        try:
            _utime(path, times, at(dirfd), not flags & linux.AT_SYMLINK_NOFOLLOW)
        except OSError as error:
            raise from_host(error) from None

    # Names.

    def linkat(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        if not oldpath and flags & linux.AT_EMPTY_PATH:
            raise LinuxError(EOPNOTSUPP, "no link by descriptor on this host")
        try:
            os.link(
                oldpath,
                newpath,
                src_dir_fd=at(olddirfd),
                dst_dir_fd=at(newdirfd),
                follow_symlinks=bool(flags & linux.AT_SYMLINK_FOLLOW),
            )
        except OSError as error:
            raise from_host(error) from None

    def symlinkat(self, target: bytes, newdirfd: int, linkpath: bytes) -> None:
        try:
            os.symlink(target, linkpath, dir_fd=at(newdirfd))
        except OSError as error:
            raise from_host(error) from None

    def unlinkat(self, dirfd: int, path: bytes, flags: int = 0) -> None:
        try:
            if flags & linux.AT_REMOVEDIR:
                os.rmdir(path, dir_fd=at(dirfd))
            else:
                os.unlink(path, dir_fd=at(dirfd))
        except OSError as error:
            raise from_host(error) from None

    def renameat2(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        """RENAME_NOREPLACE looks first: another process may come in between."""
        if flags & ~linux.RENAME_NOREPLACE:
            raise LinuxError(EINVAL, "no such renameat2 flag on this host")
        try:
            if flags and _exists(newpath, newdirfd):
                raise LinuxError(EEXIST)
            os.rename(oldpath, newpath, src_dir_fd=at(olddirfd), dst_dir_fd=at(newdirfd))
        except OSError as error:
            raise from_host(error) from None

    def mkdirat(self, dirfd: int, path: bytes, mode: int) -> None:
        try:
            os.mkdir(path, mode, dir_fd=at(dirfd))
        except OSError as error:
            raise from_host(error) from None

    def umask(self, mask: int) -> int:
        return os.umask(mask)

    def adopt(self, dirfd: int, path: bytes, mode: int) -> None:
        """The host made it as it should be."""

    def mknodat(self, dirfd: int, path: bytes, mode: int, dev: int = 0) -> None:
        kind = stat.S_IFMT(mode) or stat.S_IFREG
        try:
            if kind == stat.S_IFREG:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | ALWAYS, mode & 0o7777, dir_fd=at(dirfd)))
            elif kind == stat.S_IFIFO:
                os.mkfifo(path, mode & 0o7777, dir_fd=at(dirfd))
            elif kind == stat.S_IFSOCK and dirfd == linux.AT_FDCWD:
                import socket  # slow to load

                with socket.socket(socket.AF_UNIX) as sock:
                    sock.bind(path)
            else:
                device = os.makedev(dev >> 8 & 0xFFF | dev >> 32 & ~0xFFF, dev & 0xFF | dev >> 12 & 0xFFFFFF00)
                os.mknod(path, mode, device, dir_fd=at(dirfd))
        except OSError as error:
            raise from_host(error) from None

    def readlinkat(self, dirfd: int, path: bytes) -> bytes:
        try:
            return os.readlink(path, dir_fd=at(dirfd))
        except OSError as error:
            raise from_host(error) from None


def _open_name(dirfd: int, path: bytes, flags: int) -> int:
    """O_PATH. POSIX has no way to hold just a name: read permission is needed, and a device or FIFO really opens. Noah
    itself asks for directories only, which root may open for a user who can search but not read them."""
    host_flags = POSIX.to_host(flags & (linux.O_DIRECTORY | linux.O_NOFOLLOW)) | os.O_NONBLOCK | ALWAYS
    try:
        return os.open(path, host_flags, dir_fd=at(dirfd))
    except OSError as error:
        failure = from_host(error)
    user = os.geteuid()
    if failure.errno != EACCES or not flags & linux.O_DIRECTORY or user == os.getuid():
        raise failure
    try:
        reached = os.stat(path, dir_fd=at(dirfd), follow_symlinks=not flags & linux.O_NOFOLLOW)
        os.seteuid(os.getuid())
        try:
            fd = os.open(path, host_flags, dir_fd=at(dirfd))
        finally:
            os.seteuid(user)
        if os.path.samestat(os.fstat(fd), reached):
            return fd
        os.close(fd)  # who is quick has put another one there
    except OSError as error:
        raise from_host(error) from None
    raise failure


def plain(times: Times) -> bool:
    """Tells whether os.utime() can do it: nothing omitted, both now or both explicit."""
    return times is None or times == (TIME_NOW, TIME_NOW) or (times[0] < TIME_NOW and times[1] < TIME_NOW)


def _explicit(times: Times, old: tuple[int, int]) -> tuple[int, int]:
    now = time.time_ns()
    a, m = times or (TIME_NOW, TIME_NOW)
    return (
        old[0] if a == TIME_OMIT else now if a == TIME_NOW else a,
        old[1] if m == TIME_OMIT else now if m == TIME_NOW else m,
    )


def _utime(file: int | bytes, times: Times, dir_fd: int | None = None, follow: bool = True) -> None:
    if times is None or times[0] == TIME_NOW:
        os.utime(file, None, dir_fd=dir_fd, follow_symlinks=follow)
    else:
        os.utime(file, ns=times, dir_fd=dir_fd, follow_symlinks=follow)


def _exists(path: bytes, dirfd: int) -> bool:
    try:
        os.lstat(path, dir_fd=at(dirfd))
    except FileNotFoundError:
        return False
    return True


def _permits(status: os.stat_result, mode: int) -> bool:
    """access(2) by hand, for a descriptor."""
    if os.geteuid() == 0:
        return not mode & linux.X_OK or stat.S_ISDIR(status.st_mode) or bool(status.st_mode & 0o111)
    shift = 6 if status.st_uid == os.geteuid() else 3 if status.st_gid in (os.getegid(), *os.getgroups()) else 0
    return status.st_mode >> shift & mode == mode


def _stat(status: os.stat_result) -> Stat:
    fields = list(stat_fields(status))
    for index in (0, 6):  # dev, rdev
        fields[index] = makedev(os.major(fields[index]), os.minor(fields[index]))
    return Stat._make(fields)
