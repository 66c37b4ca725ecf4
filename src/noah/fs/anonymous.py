"""Files without a name (anon_inode in Linux) that stand on a host descriptor: eventfd, timerfd, inotify, epoll."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EAGAIN, LinuxError
from noah.abi.fcntl import O_NONBLOCK, SETFL_MASK
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
    """The host's descriptor is O_NONBLOCK at all times, so that no call on it can wait; the guest's word is in `flags`.

    A descriptor that two processes share after fork(2) keeps a word for each.
    """

    __slots__ = ()

    def __init__(self, caller: Caller, fd: int, kind: bytes, flags: int) -> None:
        """fd: the host's, owned from now on; kind: as /proc/self/fd shows it."""
        tree = caller.fs.mounts.anonymous
        super().__init__(tree, Handle(tree.files, fd), b"anon_inode:" + kind, flags)

    def read(self, caller: Caller, views: Views) -> int:
        self.check_readable()
        while True:
            try:
                return self._read_now(views)
            except LinuxError as error:
                if error.errno != EAGAIN or self.flags & O_NONBLOCK:
                    raise
            caller.wait(((self.fd, POLLIN),))

    def _read_now(self, views: Views) -> int:
        return self.files.readv(self.fd, views)

    def stat(self) -> Stat:
        return _STAT

    def seek(self, offset: int, whence: int) -> int:
        """noop_llseek()."""
        return 0

    def get_flags(self) -> int:
        return self.flags

    def set_flags(self, flags: int) -> None:
        self.flags = self.flags & ~SETFL_MASK | flags
