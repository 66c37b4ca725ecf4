"""Files that one may have to wait for: pipes, FIFOs, sockets, character devices. Terminals are in noah.fs.tty.

No host call here waits: it could not be interrupted by a signal of the guest. What is not ready is waited for in
Caller.wait().
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EAGAIN, EBADF, ENODEV, EOPNOTSUPP, EPIPE, ESPIPE, LinuxError
from noah.abi.fcntl import (
    O_ACCMODE,
    O_LARGEFILE,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_RDONLY,
    O_WRONLY,
    SETFL_MASK,
)
from noah.abi.ioctl import FIONREAD
from noah.abi.poll import POLLIN, POLLOUT
from noah.abi.signal import SIGPIPE
from noah.abi.stat import S_IFIFO, S_IFMT
from noah.vfs.handle import Handle, HostFile, HostTree
from noah.vfs.hostioctl import host_ioctl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from noah.mm.vma import MappedFile
    from noah.vfs.caller import Caller
    from noah.vfs.file import Views


class StreamFile(HostFile):
    """A pipe, FIFO, socket or device. O_NONBLOCK lives in the host's description, which others may share."""

    __slots__ = ("_nowait", "pushed_back")

    def __init__(self, tree: HostTree, handle: Handle, path: bytes, flags: int) -> None:
        super().__init__(tree, handle, path, flags)
        self.pushed_back = b""  # read too early: see noah.fs.hostfile
        self._nowait = True  # until the host says that this file cannot promise not to wait

    def is_nonblocking(self) -> bool:
        return bool(self.files.get_flags(self.fd) & O_NONBLOCK)

    def read(self, caller: Caller, views: Views) -> int:
        if self.flags & O_ACCMODE == O_WRONLY:
            raise LinuxError(EBADF)
        if self.pushed_back and views:
            views[0][:1] = self.pushed_back
            self.pushed_back = b""
            try:
                return 1 + self.files.preadv_nowait(self.fd, advance(views, 1))
            except LinuxError:
                return 1
        files = self.files
        fd = self.fd
        while self._nowait:
            try:
                return files.preadv_nowait(fd, views)
            except LinuxError as error:
                if error.errno == EOPNOTSUPP:
                    self._nowait = False
                    break
                if error.errno != EAGAIN:
                    raise
            if self.is_nonblocking():
                return files.readv(fd, views)  # of a FIFO without writers poll(2) does not tell that this is its end
            self._wait(caller, POLLIN)
        while True:
            if not self.is_nonblocking():
                self._wait(caller, POLLIN)
            try:
                return files.readv(fd, views)
            except LinuxError as error:
                if error.errno != EAGAIN or self.is_nonblocking():
                    raise

    def write(self, caller: Caller, views: Views) -> int:
        if self.flags & O_ACCMODE == O_RDONLY:
            raise LinuxError(EBADF)
        done = 0
        left = sum(map(len, views))
        while True:
            try:
                count = self._write_now(caller, views)
                done += count
                if count >= left or not self._goes_on():
                    return done
                left -= count
                views = advance(views, count)
            except LinuxError as error:
                if error.errno == EPIPE:
                    caller.send_signal(SIGPIPE)
                if done:
                    return done
                raise

    def _wait(self, caller: Caller, events: int) -> None:
        """Wait until the host says that the file is ready. ERESTARTSYS when a signal comes."""
        caller.wait(((self.fd, events),))

    def _goes_on(self) -> bool:
        """Whether write(2) waits until everything is written, as pipes do."""
        return True

    def _write_now(self, caller: Caller, views: Views) -> int:
        """Write what there is room for, at least something."""
        files = self.files
        fd = self.fd
        while self._nowait:
            try:
                return files.pwritev_nowait(fd, views)
            except LinuxError as error:
                if error.errno == EOPNOTSUPP:
                    self._nowait = False
                    break
                if error.errno != EAGAIN or self.is_nonblocking():
                    raise
            self._wait(caller, POLLOUT)
        while True:
            if not self.is_nonblocking():
                self._wait(caller, POLLOUT)
            try:
                return files.writev(fd, views)
            except LinuxError as error:
                if error.errno != EAGAIN or self.is_nonblocking():
                    raise

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        raise LinuxError(ESPIPE if self.stat().mode & S_IFMT == S_IFIFO else ENODEV)

    def get_flags(self) -> int:
        return self.files.get_flags(self.fd) & ~O_NOFOLLOW | self.flags & (O_LARGEFILE | O_NOFOLLOW)

    def set_flags(self, flags: int) -> None:
        self.files.set_flags(self.fd, flags)
        self.flags = self.flags & ~SETFL_MASK | flags

    def ioctl(self, caller: Caller, request: int, argument: int) -> int:
        if request == FIONREAD:
            caller.mem.write_u32(argument, self.files.ioctl_fionread(self.fd))
            return 0
        return host_ioctl(self, caller, request, argument)


class DeviceFile(StreamFile):
    """A character device other than a terminal: some have positions, some can be mapped."""

    __slots__ = ()

    has_positions = True

    def _wait(self, caller: Caller, events: int) -> None:
        """Wait until the host says that the file is ready. ERESTARTSYS when a signal comes."""
        caller.wait(((self.fd, events),))

    def _goes_on(self) -> bool:
        return False

    def pread(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        self.check_readable()
        return self.files.preadv(self.fd, views, offset, flags)

    def pwrite(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        self.check_writable()
        return self.files.pwritev(self.fd, views, offset, flags)

    def can_poll(self) -> bool:
        return self.stat().rdev not in (NULL_DEVICE, ZERO_DEVICE, FULL_DEVICE)

    def seek(self, offset: int, whence: int) -> int:
        return self.files.lseek(self.fd, offset, whence)

    def mapped(self, *, writable: bool) -> MappedFile | None:
        """/dev/zero is anonymous memory; what else can be mapped belongs to hardware."""
        if self.stat().rdev == ZERO_DEVICE:
            return None
        return super().mapped(writable=writable)


NULL_DEVICE: Final = 1 << 8 | 3
ZERO_DEVICE: Final = 1 << 8 | 5
FULL_DEVICE: Final = 1 << 8 | 7


def advance(views: Views, count: int) -> Sequence[memoryview]:
    """The views without their first `count` bytes."""
    index = 0
    while count >= len(views[index]):
        count -= len(views[index])
        index += 1
        if index == len(views):
            return ()
    return [views[index][count:], *views[index + 1 :]]
