"""Files of a Linux host: flags and numbers need no translation (but on aarch64), and the kernel can do it all."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

assert not TYPE_CHECKING or sys.platform == "linux"

from noah.abi import fcntl as linux
from noah.abi import stat as linux_stat
from noah.abi.errno import ENOSYS, EOPNOTSUPP, LinuxError
from noah.host.errnos import from_host
from noah.host.linux.kernel import syscall
from noah.host.openflags import ALWAYS, OPEN
from noah.host.posix.files import PosixDirs, PosixFiles
from noah.host.posix.paths import Times, plain, stat_fields
from noah.host.values import TIME_NOW, TIME_OMIT, Stat, Statfs, Statx

if TYPE_CHECKING:
    from noah.host.api import Buffer, Data


_SAME: Final = OPEN.identical  # aarch64 has four open flags of its own
_make: Final = tuple.__new__  # a NamedTuple's own __new__ costs twice as much

_PATH_FLAGS: Final = linux.O_PATH | linux.O_DIRECTORY | linux.O_NOFOLLOW
_OPEN_FLAGS: Final = OPEN.known | linux.O_ACCMODE
_TMPFILE_BIT: Final = linux.O_TMPFILE & ~linux.O_DIRECTORY

_STATFS: Final = struct.Struct("=qqQQQQQQqqq32x")
_STATX: Final = struct.Struct("=I4xQ40xQ16xqI4x48xQII96x")
_OWNER: Final = struct.Struct("=ii")  # struct f_owner_ex
_OPEN_HOW: Final = struct.Struct("=QQQ")
_TIMES: Final = struct.Struct("=qqqq")
assert (_STATFS.size, _STATX.size) == (120, 256)


class LinuxFiles(PosixFiles):
    """See noah.host.api.Files."""

    __slots__ = ()

    hints = 0

    def openat(self, dirfd: int, path: bytes, flags: int, mode: int = 0) -> int:
        if not _SAME:
            flags = OPEN.to_host(flags) | flags & linux.O_ACCMODE
        try:
            return os.open(path, flags | ALWAYS, mode, dir_fd=dirfd)
        except OSError as error:
            raise from_host(error) from None

    def openat2_in_root(self, rootfd: int, path: bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
        # openat2(2) refuses what openat(2) ignores (fs/open.c, build_open_flags): let both take the same.
        if flags & linux.O_PATH:
            flags &= _PATH_FLAGS
        else:
            flags = flags & _OPEN_FLAGS | linux.O_NOCTTY
        mode = mode & 0o7777 if flags & (linux.O_CREAT | _TMPFILE_BIT) else 0
        if not _SAME:
            flags = OPEN.to_host(flags) | flags & linux.O_ACCMODE
        how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode, resolve | linux.RESOLVE_IN_ROOT)
        return syscall("openat2", rootfd, path, how, len(how))

    def is_written(self, fd: int) -> bool | None:
        # A lease is what tells; only the owner and root get one (fcntl(2), F_SETLEASE).
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return True if error.errno == errno.EAGAIN else None
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False

    # Descriptors.

    def reopen(self, fd: int, flags: int) -> int:
        return self.openat(linux.AT_FDCWD, b"/proc/self/fd/%d" % fd, flags & ~linux.O_NOFOLLOW)

    def fd_path(self, fd: int) -> bytes | None:
        try:
            return os.readlink(b"/proc/self/fd/%d" % fd)
        except OSError:
            return None

    def get_flags(self, fd: int) -> int:
        try:
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        except OSError as error:
            raise from_host(error) from None
        return flags if _SAME else OPEN.to_linux(flags) | flags & linux.O_ACCMODE

    def set_flags(self, fd: int, flags: int) -> None:
        try:
            fcntl.fcntl(fd, fcntl.F_SETFL, flags if _SAME else OPEN.to_host(flags))
        except OSError as error:
            raise from_host(error) from None

    def pipe(self, flags: int = 0) -> tuple[int, int]:
        try:
            return os.pipe2((flags if _SAME else OPEN.to_host(flags)) | os.O_CLOEXEC)
        except OSError as error:
            raise from_host(error) from None

    def get_pipe_size(self, fd: int) -> int:
        return self._fcntl(fd, linux.F_GETPIPE_SZ, 0)

    def set_pipe_size(self, fd: int, size: int) -> int:
        return self._fcntl(fd, linux.F_SETPIPE_SZ, size)

    def get_owner(self, fd: int) -> tuple[int, int]:
        try:
            kind, owner = _OWNER.unpack(fcntl.fcntl(fd, linux.F_GETOWN_EX, bytes(_OWNER.size)))
        except OSError as error:
            raise from_host(error) from None
        return kind, owner

    def set_owner(self, fd: int, kind: int, id: int) -> None:
        try:
            fcntl.fcntl(fd, linux.F_SETOWN_EX, _OWNER.pack(kind, id))
        except OSError as error:
            raise from_host(error) from None

    def get_signal(self, fd: int) -> int:
        return self._fcntl(fd, linux.F_GETSIG, 0)

    def set_signal(self, fd: int, signo: int) -> None:
        self._fcntl(fd, linux.F_SETSIG, signo)

    def notify(self, fd: int, events: int) -> None:
        self._fcntl(fd, linux.F_NOTIFY, events)

    def memfd_create(self, name: bytes, flags: int = 0) -> int:
        return syscall("memfd_create", name, flags | os.MFD_CLOEXEC)

    def get_seals(self, fd: int) -> int:
        return self._fcntl(fd, linux.F_GET_SEALS, 0)

    def add_seals(self, fd: int, seals: int) -> None:
        self._fcntl(fd, linux.F_ADD_SEALS, seals)

    def _fcntl(self, fd: int, command: int, argument: int) -> int:
        try:
            return fcntl.fcntl(fd, command, argument)
        except OSError as error:
            raise from_host(error) from None

    # Data.

    def preadv(self, fd: int, views: Sequence[Buffer], offset: int, flags: int = 0) -> int:
        try:
            return os.preadv(fd, views, offset, flags)
        except OSError as error:
            raise from_host(error) from None

    def preadv_nowait(self, fd: int, views: Sequence[Buffer]) -> int:
        try:
            return os.preadv(fd, views, -1, os.RWF_NOWAIT)
        except OSError as error:
            failure = from_host(error)
        if failure.errno != EOPNOTSUPP:
            raise failure
        return super().preadv_nowait(fd, views)  # terminals and FIFOs with a name

    def pwritev(self, fd: int, views: Sequence[Data], offset: int, flags: int = 0) -> int:
        try:
            return os.pwritev(fd, views, offset, flags)
        except OSError as error:
            raise from_host(error) from None

    def pwritev_nowait(self, fd: int, views: Sequence[Data]) -> int:
        try:
            return os.pwritev(fd, views, -1, linux.RWF_NOWAIT)
        except OSError as error:
            failure = from_host(error)
        if failure.errno != EOPNOTSUPP:
            raise failure
        return super().pwritev_nowait(fd, views)

    def lseek(self, fd: int, offset: int, whence: int) -> int:
        try:
            return os.lseek(fd, offset, whence)
        except OSError as error:
            raise from_host(error) from None

    def copy_file_range(self, fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, count: int) -> int:
        try:
            return os.copy_file_range(fd_in, fd_out, count, off_in, off_out)
        except OSError as error:
            raise from_host(error) from None

    def sendfile(self, out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
        try:
            return os.sendfile(out_fd, in_fd, offset, count)
        except OSError as error:
            raise from_host(error) from None

    def splice(
        self, fd_in: int, off_in: int | None, fd_out: int, off_out: int | None, count: int, flags: int = 0
    ) -> int:
        offset_in = None if off_in is None else struct.pack("=q", off_in)
        offset_out = None if off_out is None else struct.pack("=q", off_out)
        return syscall("splice", fd_in, _copy(offset_in), fd_out, _copy(offset_out), count, flags)

    def tee(self, fd_in: int, fd_out: int, count: int, flags: int = 0) -> int:
        return syscall("tee", fd_in, fd_out, count, flags)

    # Size and storage.

    def truncateat(self, dirfd: int, path: bytes, length: int) -> None:
        try:
            os.truncate(_path(dirfd, path), length)
        except OSError as error:
            raise from_host(error) from None

    def fallocate(self, fd: int, mode: int, offset: int, length: int) -> None:
        syscall("fallocate", fd, mode, offset, length)

    def fdatasync(self, fd: int) -> None:
        try:
            os.fdatasync(fd)
        except OSError as error:
            raise from_host(error) from None

    def syncfs(self, fd: int) -> None:
        syscall("syncfs", fd)

    def sync_file_range(self, fd: int, offset: int, count: int, flags: int) -> None:
        syscall("sync_file_range", fd, offset, count, flags)

    def posix_fadvise(self, fd: int, offset: int, length: int, advice: int) -> None:
        syscall("fadvise64", fd, offset, length, advice)

    # What a file is.

    def fstat(self, fd: int) -> Stat:
        try:
            return _make(Stat, stat_fields(os.fstat(fd)))
        except OSError as error:
            raise from_host(error) from None

    def fstatat(self, dirfd: int, path: bytes, flags: int = 0) -> Stat:
        if not path and flags & linux.AT_EMPTY_PATH:
            if dirfd != linux.AT_FDCWD:
                return self.fstat(dirfd)
            path = b"."
        try:
            follow = not flags & linux.AT_SYMLINK_NOFOLLOW
            return _make(Stat, stat_fields(os.stat(path, dir_fd=dirfd, follow_symlinks=follow)))
        except OSError as error:
            raise from_host(error) from None

    def statx(self, dirfd: int, path: bytes, flags: int, mask: int) -> Statx:
        buffer = ctypes.create_string_buffer(_STATX.size)
        syscall("statx", dirfd, path, flags, mask, buffer)
        valid, attributes, attributes_mask, seconds, ns, mnt_id, mem_align, offset_align = _STATX.unpack(buffer)
        return Statx(valid, attributes, attributes_mask, seconds * 10**9 + ns, mnt_id, mem_align, offset_align)

    def fstatfs(self, fd: int) -> Statfs:
        buffer = ctypes.create_string_buffer(_STATFS.size)
        syscall("fstatfs", fd, buffer)
        return Statfs(*_STATFS.unpack(buffer))

    def faccessat(self, dirfd: int, path: bytes, mode: int, flags: int = 0) -> None:
        if not flags & ~linux.AT_EACCESS and os.access(path, mode, dir_fd=dirfd, effective_ids=bool(flags)):
            return  # the fast way, which does not tell why not
        try:
            syscall("faccessat2", dirfd, path, mode, flags)
        except LinuxError as error:
            if error.errno != ENOSYS:  # before v5.8
                raise
            super().faccessat(dirfd, path, mode, flags)

    # Changing what it is.

    def fchmodat(self, dirfd: int, path: bytes, mode: int, flags: int = 0) -> None:
        try:
            if flags == 0:
                os.chmod(path, mode, dir_fd=dirfd)
            elif not path:
                os.chmod(_path(dirfd, b""), mode)
            else:
                syscall("fchmodat2", dirfd, path, mode, flags)
        except OSError as error:
            raise from_host(error) from None
        except LinuxError as error:
            if error.errno != ENOSYS:  # before v6.6
                raise
            super().fchmodat(dirfd, path, mode, flags)

    def fchownat(self, dirfd: int, path: bytes, uid: int, gid: int, flags: int = 0) -> None:
        try:
            if flags & linux.AT_EMPTY_PATH:
                syscall("fchownat", dirfd, path, uid, gid, flags)
            else:
                os.chown(path, uid, gid, dir_fd=dirfd, follow_symlinks=not flags & linux.AT_SYMLINK_NOFOLLOW)
        except OSError as error:
            raise from_host(error) from None

    def futimens(self, fd: int, times: Times) -> None:
        if not plain(times):
            syscall("utimensat", fd, None, _timespecs(times), 0)
            return
        super().futimens(fd, times)

    def utimensat(self, dirfd: int, path: bytes, times: Times, flags: int = 0) -> None:
        if not path and flags & linux.AT_EMPTY_PATH:
            dirfd, path, flags = linux.AT_FDCWD, _path(dirfd, b""), 0
        syscall("utimensat", dirfd, path, _timespecs(times), flags)

    # Names.

    def linkat(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        if not oldpath and flags & linux.AT_EMPTY_PATH:  # which needs a capability; this way does not
            olddirfd, oldpath, flags = linux.AT_FDCWD, _path(olddirfd, b""), linux.AT_SYMLINK_FOLLOW
        super().linkat(olddirfd, oldpath, newdirfd, newpath, flags)

    def renameat2(self, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int = 0) -> None:
        if flags:
            syscall("renameat2", olddirfd, oldpath, newdirfd, newpath, flags)
            return
        try:
            os.rename(oldpath, newpath, src_dir_fd=olddirfd, dst_dir_fd=newdirfd)
        except OSError as error:
            raise from_host(error) from None

    def mknodat(self, dirfd: int, path: bytes, mode: int, dev: int = 0) -> None:
        try:
            os.mknod(path, mode, dev, dir_fd=dirfd)
        except OSError as error:
            raise from_host(error) from None

    # Extended attributes.

    def fgetxattr(self, fd: int, name: bytes) -> bytes:
        return _getxattr(fd, name, follow=True)

    def fsetxattr(self, fd: int, name: bytes, value: bytes, flags: int = 0) -> None:
        _setxattr(fd, name, value, flags, follow=True)

    def flistxattr(self, fd: int) -> list[bytes]:
        return _listxattr(fd, follow=True)

    def fremovexattr(self, fd: int, name: bytes) -> None:
        _removexattr(fd, name, follow=True)

    def getxattrat(self, dirfd: int, path: bytes, name: bytes, flags: int = 0) -> bytes:
        return _getxattr(_path(dirfd, path), name, follow=_follow(path, flags))

    def setxattrat(self, dirfd: int, path: bytes, name: bytes, value: bytes, flags: int = 0, at_flags: int = 0) -> None:
        _setxattr(_path(dirfd, path), name, value, flags, follow=_follow(path, at_flags))

    def listxattrat(self, dirfd: int, path: bytes, flags: int = 0) -> list[bytes]:
        return _listxattr(_path(dirfd, path), follow=_follow(path, flags))

    def removexattrat(self, dirfd: int, path: bytes, name: bytes, flags: int = 0) -> None:
        _removexattr(_path(dirfd, path), name, follow=_follow(path, flags))


class LinuxDirs(PosixDirs):
    """See noah.host.api.Dirs."""

    __slots__ = ()

    reads_records = True

    def read(self, fd: int, buffer: Buffer) -> int:
        size = len(buffer)
        start = ctypes.byref(ctypes.c_char.from_buffer(buffer)) if size else None
        return syscall("getdents64", fd, start, size)


def _path(dirfd: int, path: bytes) -> bytes:
    """A path for calls that know no directory descriptors. An empty path is the descriptor's own file."""
    if dirfd == linux.AT_FDCWD or path[:1] == b"/":
        return path
    return b"/proc/self/fd/%d/%b" % (dirfd, path) if path else b"/proc/self/fd/%d" % dirfd


def _follow(path: bytes, flags: int) -> bool:
    """The magic link of /proc that stands for a descriptor is to be followed, always; it leads to no other link."""
    return not path or not flags & linux.AT_SYMLINK_NOFOLLOW


def _getxattr(file: int | bytes, name: bytes, *, follow: bool) -> bytes:
    try:
        return os.getxattr(file, name, follow_symlinks=follow)
    except OSError as error:
        raise from_host(error) from None


def _setxattr(file: int | bytes, name: bytes, value: bytes, flags: int, *, follow: bool) -> None:
    try:
        os.setxattr(file, name, value, flags, follow_symlinks=follow)
    except OSError as error:
        raise from_host(error) from None


def _listxattr(file: int | bytes, *, follow: bool) -> list[bytes]:
    try:
        return [os.fsencode(name) for name in os.listxattr(file, follow_symlinks=follow)]
    except OSError as error:
        raise from_host(error) from None


def _removexattr(file: int | bytes, name: bytes, *, follow: bool) -> None:
    try:
        os.removexattr(file, name, follow_symlinks=follow)
    except OSError as error:
        raise from_host(error) from None


def _copy(offset: bytes | None) -> ctypes.Array[ctypes.c_char] | None:
    """Memory that the kernel may write: splice(2) advances the offset."""
    return None if offset is None else ctypes.create_string_buffer(offset, len(offset))


def _timespecs(times: Times) -> bytes | None:
    if times is None:
        return None
    words: list[int] = []
    for ns in times:
        if ns == TIME_NOW:
            words += (0, linux_stat.UTIME_NOW)
        elif ns == TIME_OMIT:
            words += (0, linux_stat.UTIME_OMIT)
        else:
            words += divmod(ns, 10**9)
    return _TIMES.pack(*words)
