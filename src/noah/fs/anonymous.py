"""Files without a name (anon_inode in Linux) that stand on a host descriptor: eventfd, timerfd, inotify, epoll."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EAGAIN, LinuxError
from noah.abi.fcntl import O_APPEND, O_NONBLOCK, SETFL_MASK
from noah.abi.poll import POLLIN
from noah.host.values import Stat
from noah.vfs.file import OpenFile
from noah.vfs.handle import Handle, HostFile

if TYPE_CHECKING:
    from noah.vfs.caller import Caller
    from noah.vfs.file import Views

_STAT: Final = Stat(0, 1, 0o600, 1, 0, 0, 0, 0, 4096, 0, 0, 0, 0)


class MadeUpFile(OpenFile):
    """One that no descriptor of the host stands for. `kind`: as /proc/self/fd shows it."""

    __slots__ = ()

    kind = b""

    @property
    def path(self) -> bytes:
        return b"anon_inode:" + self.kind

    def stat(self) -> Stat:
        return _STAT

    def seek(self, offset: int, whence: int) -> int:
        """noop_llseek()."""
        return 0

    def set_flags(self, flags: int) -> None:
        self.flags = self.flags & ~SETFL_MASK | flags


def fill(views: Views, data: bytes) -> int:
    """Copy the data into guest memory that has room for it; its length."""
    at = 0
    for view in views:
        part = data[at : at + len(view)]
        view[: len(part)] = part
        at += len(part)
    return at


class AnonymousFile(HostFile):
    """The host's descriptor is O_NONBLOCK at all times, so that no call on it can wait.

    What the guest wants is O_APPEND there, which means nothing to such a file: so all processes that share it see it.
    """

    __slots__ = ()

    def __init__(self, caller: Caller, fd: int, kind: bytes, flags: int | None) -> None:
        """fd: the host's, owned from now on; kind: as /proc/self/fd shows it; flags None: as they are."""
        tree = caller.fs.mounts.anonymous
        super().__init__(tree, Handle(tree.files, fd), b"anon_inode:" + kind, flags or tree.files.get_flags(fd))
        if flags is not None and flags & O_NONBLOCK:
            self.set_flags(O_NONBLOCK)

    def read(self, caller: Caller, views: Views) -> int:
        self.check_readable()
        while True:
            try:
                return self._read_now(views)
            except LinuxError as error:
                if error.errno != EAGAIN or self.is_nonblocking():
                    raise
            caller.wait(((self.fd, POLLIN),))

    def _read_now(self, views: Views) -> int:
        return self.files.readv(self.fd, views)

    def stat(self) -> Stat:
        return _STAT

    def seek(self, offset: int, whence: int) -> int:
        """noop_llseek()."""
        return 0

    def is_nonblocking(self) -> bool:
        return bool(self.files.get_flags(self.fd) & O_APPEND)

    def get_flags(self) -> int:
        flags = self.files.get_flags(self.fd)
        return flags & ~(O_NONBLOCK | O_APPEND) | (O_NONBLOCK if flags & O_APPEND else 0)

    def set_flags(self, flags: int) -> None:
        self.files.set_flags(self.fd, flags & ~O_APPEND | O_NONBLOCK | (O_APPEND if flags & O_NONBLOCK else 0))
