"""Descriptors themselves: copies, status flags, locks, pipes, anonymous files."""

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
import struct
import sys
import termios
from typing import Final

from noah.abi import fcntl as linux
from noah.abi import mman
from noah.abi.errno import EACCES, EAGAIN, EBADF, EINVAL, EPERM, LinuxError
from noah.host.errnos import from_host
from noah.host.openflags import ALWAYS, POSIX
from noah.host.posix.libc import LIBC, last_error
from noah.host.tables import Flags, Numbers, named
from noah.host.values import Flock

_GET_PATH: Final[int | None] = getattr(fcntl, "F_GETPATH", None)  # macOS
_PATH_MAX: Final = 1024  # what F_GETPATH wants

_LOCK_COMMANDS: Final = Numbers(
    {name: value for name, value in named(linux, "F_").items() if "LK" in name and name != "F_CANCELLK"},
    named(fcntl, "F_"),
)
_LOCK_TYPES: Final = Numbers(
    {"F_RDLCK": linux.F_RDLCK, "F_WRLCK": linux.F_WRLCK, "F_UNLCK": linux.F_UNLCK}, named(fcntl, "F_")
)
_FLOCK: Final = Flags(named(linux, "LOCK_"), named(fcntl, "LOCK_"))
_QUERIES: Final = {linux.F_GETLK, linux.F_OFD_GETLK}
# struct flock as the C compiler lays it out: Linux' 64-bit architectures, and the BSDs with macOS.
_ON_LINUX: Final = sys.platform == "linux"
_STRUCT: Final = struct.Struct("=hhxxxxqqixxxx" if _ON_LINUX else "=qqihh")

_DEVICES: Final = (b"/dev/null", b"/dev/zero", b"/dev/random", b"/dev/urandom")

PIPE_SIZE: Final = 65536


class PosixDescriptors:
    """See noah.host.api.Files."""

    __slots__ = ()

    def close(self, fd: int) -> None:
        try:
            os.close(fd)
        except OSError as error:
            raise from_host(error) from None

    def close_quietly(self, fd: int) -> None:
        if fd >= 0:
            try:
                os.close(fd)
            except OSError:
                pass

    def dup(self, fd: int, minimum: int = 0) -> int:
        try:
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, minimum)
        except OSError as error:
            raise from_host(error) from None

    def replace(self, fd: int, by: int) -> None:
        try:
            os.dup2(by, fd, inheritable=False)
        except OSError as error:
            raise from_host(error) from None

    def catch_up(self) -> None:
        """There is nothing to be seen but what the host shows."""

    def settle(self, fd: int) -> None:
        """It means the same to all."""

    def reopen(self, fd: int, flags: int) -> int:
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                return os.open(".", POSIX.to_host(flags) | flags & linux.O_ACCMODE | ALWAYS, dir_fd=fd)
            if (path := self.fd_path(fd)) is not None:
                new = os.open(path, POSIX.to_host(flags) | flags & linux.O_ACCMODE | ALWAYS)
                if os.path.sameopenfile(fd, new):
                    return new
                os.close(new)  # the name means another file by now
        except OSError as error:
            raise from_host(error) from None
        access = self.get_flags(fd) & linux.O_ACCMODE
        if access not in (linux.O_RDWR, flags & linux.O_ACCMODE):
            raise LinuxError(EACCES, "this host cannot open a descriptor's file again")
        if flags & linux.O_TRUNC and access != linux.O_RDONLY and stat.S_ISREG(self._mode(fd)):
            try:
                os.ftruncate(fd, 0)
            except OSError as error:
                raise from_host(error) from None
        return self.dup(fd)

    def _mode(self, fd: int) -> int:
        try:
            return os.fstat(fd).st_mode
        except OSError as error:
            raise from_host(error) from None

    def fd_path(self, fd: int) -> bytes | None:
        """Of directories, terminals and the usual devices alone, but on macOS."""
        try:
            if _GET_PATH is not None:
                return fcntl.fcntl(fd, _GET_PATH, bytes(_PATH_MAX)).partition(b"\0")[0]
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                return _directory_path(fd)
            return _device_path(fd, status) if stat.S_ISCHR(status.st_mode) else None
        except OSError:
            return None

    def get_flags(self, fd: int) -> int:
        try:
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        except OSError as error:
            raise from_host(error) from None
        return POSIX.to_linux(flags) | flags & linux.O_ACCMODE

    def set_flags(self, fd: int, flags: int) -> None:
        if flags & linux.O_DIRECT:
            raise LinuxError(EINVAL, "no O_DIRECT on this host")
        try:
            fcntl.fcntl(fd, fcntl.F_SETFL, POSIX.to_host(flags))
        except OSError as error:
            raise from_host(error) from None

    def flock(self, fd: int, operation: int) -> None:
        try:
            fcntl.flock(fd, _FLOCK.to_host(operation))
        except OSError as error:
            raise from_host(error) from None

    def is_written(self, fd: int) -> bool | None:
        return None

    def fcntl_lock(self, fd: int, command: int, lock: Flock) -> Flock:
        host_command, kind = _LOCK_COMMANDS.to_host(command), _LOCK_TYPES.to_host(lock.type)
        if _ON_LINUX:
            data = _STRUCT.pack(kind, lock.whence, lock.start, lock.len, 0)
        else:
            data = _STRUCT.pack(lock.start, lock.len, 0, kind, lock.whence)
        try:
            answer = fcntl.fcntl(fd, host_command, data)
        except OSError as error:
            failure = from_host(error)
            # POSIX allows both for a lock that is held; Linux says EAGAIN.
            raise LinuxError(EAGAIN) if failure.errno == EACCES else failure from None
        if command not in _QUERIES:
            return lock
        if _ON_LINUX:
            kind, whence, start, length, pid = _STRUCT.unpack(answer)
        else:
            start, length, pid, kind, whence = _STRUCT.unpack(answer)
        return Flock(_LOCK_TYPES.linux[kind], whence, start, length, pid)

    def pipe(self, flags: int = 0) -> tuple[int, int]:
        if flags & ~(linux.O_NONBLOCK | linux.O_CLOEXEC):
            raise LinuxError(EINVAL, "no packet pipes on this host")
        try:
            ends = os.pipe()
        except OSError as error:
            raise from_host(error) from None
        if flags & linux.O_NONBLOCK:
            for fd in ends:
                os.set_blocking(fd, False)
        return ends

    def get_pipe_size(self, fd: int) -> int:
        """What macOS and Linux give a pipe as a rule: POSIX has no way to ask."""
        if not stat.S_ISFIFO(self._mode(fd)):
            raise LinuxError(EBADF)
        return PIPE_SIZE

    def set_pipe_size(self, fd: int, size: int) -> int:
        """The one size that there is, which may be more than was asked for, as on Linux."""
        if size > self.get_pipe_size(fd):
            raise LinuxError(EPERM, "pipes have one size on this host")
        return PIPE_SIZE

    def get_owner(self, fd: int) -> tuple[int, int]:
        # A group's id is negative, which Python's fcntl() takes for an error.
        ctypes.set_errno(0)
        owner = LIBC.fcntl(fd, fcntl.F_GETOWN)
        if owner == -1 and ctypes.get_errno():
            raise last_error()
        return (linux.F_OWNER_PGRP, -owner) if owner < 0 else (linux.F_OWNER_PID, owner)

    def set_owner(self, fd: int, kind: int, id: int) -> None:
        if kind not in (linux.F_OWNER_PID, linux.F_OWNER_PGRP):
            raise LinuxError(EINVAL, "no signals to single threads on this host")
        try:
            fcntl.fcntl(fd, fcntl.F_SETOWN, -id if kind == linux.F_OWNER_PGRP else id)
        except OSError as error:
            raise from_host(error) from None

    def get_signal(self, fd: int) -> int:
        return 0

    def set_signal(self, fd: int, signo: int) -> None:
        if signo:
            raise LinuxError(EINVAL, "only SIGIO on this host")

    def notify(self, fd: int, events: int) -> None:
        raise LinuxError(EINVAL, "no call watches directories on this host")

    def memfd_create(self, name: bytes, flags: int = 0) -> int:
        if flags & ~(mman.MFD_CLOEXEC | mman.MFD_ALLOW_SEALING | mman.MFD_EXEC | mman.MFD_NOEXEC_SEAL):
            raise LinuxError(EINVAL, "no huge pages on this host")
        import tempfile  # slow to load

        try:
            fd, path = tempfile.mkstemp(prefix="noah-memfd-")
            os.unlink(path)
            os.fchmod(fd, 0o666 if flags & mman.MFD_NOEXEC_SEAL else 0o777)
        except OSError as error:
            raise from_host(error) from None
        return fd

    def get_seals(self, fd: int) -> int:
        raise LinuxError(EINVAL, "no seals on this host")

    def add_seals(self, fd: int, seals: int) -> None:
        raise LinuxError(EINVAL, "no seals on this host")

    def isatty(self, fd: int) -> bool:
        return os.isatty(fd)

    def ioctl_fionread(self, fd: int) -> int:
        count = bytearray(4)
        try:
            fcntl.ioctl(fd, termios.FIONREAD, count)
        except OSError as error:
            raise from_host(error) from None
        return int.from_bytes(count, sys.byteorder)


def _device_path(fd: int, status: os.stat_result) -> bytes | None:
    if os.isatty(fd):
        return os.fsencode(os.ttyname(fd))
    for name in _DEVICES:
        if os.path.exists(name) and os.stat(name).st_rdev == status.st_rdev:
            return name
    return None


def _directory_path(fd: int) -> bytes:
    """By going there and back. Noah's own working directory does not matter: all relative paths have a dirfd."""
    try:
        here = os.open(".", os.O_RDONLY | ALWAYS)
    except OSError:  # it was removed, or is closed to the guest's user
        here = -1
    try:
        os.fchdir(fd)
        return os.getcwdb()
    finally:
        if here >= 0:
            os.fchdir(here)
            os.close(here)
        else:
            os.chdir("/")
