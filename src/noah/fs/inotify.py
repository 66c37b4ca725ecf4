"""Watching files and directories (inotify(7)): the host sees what its own programs change and what guests change.

What hosts without have instead is in noah.fs.watching.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.fcntl import O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY
from noah.abi.inotify import IN_DONT_FOLLOW
from noah.abi.ioctl import FIONREAD
from noah.fs.anonymous import AnonymousFile
from noah.fs.watching import Watching, make_watching
from noah.vfs.handle import Handle, HostFile

if TYPE_CHECKING:
    from noah.vfs.caller import Caller
    from noah.vfs.place import Place


KIND: Final = b"inotify"


class InotifyFile(AnonymousFile):
    """An inotify descriptor of the host. Watch descriptors are the host's, too."""

    __slots__ = ("_events", "_stand_ins")

    def __init__(self, caller: Caller, fd: int, flags: int | None = None) -> None:
        self._events = caller.host.events
        self._stand_ins: list[Handle] = []
        super().__init__(caller, fd, KIND, flags)

    def add_watch(self, caller: Caller, place: Place, mask: int) -> int:
        """inotify_add_watch(2): the watch descriptor. Files that Noah makes up never have news."""
        file = place.open(caller, O_PATH | (O_NOFOLLOW if mask & IN_DONT_FOLLOW else 0), 0)
        try:
            fd = file.poll_fd
            if fd < 0:
                fd = caller.host.files.memfd_create(b"noah-inotify")
                self._stand_ins.append(Handle(caller.host.files, fd))
            elif isinstance(file, HostFile):
                file.files.settle(fd)
            return self._events.inotify_add_watch(self.fd, fd, mask)
        finally:
            file.release()

    def rm_watch(self, watch: int) -> None:
        """EINVAL for what is no watch."""
        self._events.inotify_rm_watch(self.fd, watch)

    def ioctl(self, caller: Caller, request: int, argument: int) -> int:
        if request == FIONREAD:
            caller.mem.write_u32(argument, self.files.ioctl_fionread(self.fd))
            return 0
        return super().ioctl(caller, request, argument)


def make_inotify(caller: Caller, *, nonblock: bool) -> InotifyFile | Watching:
    if not caller.host.caps.events:
        return make_watching(caller, nonblock=nonblock)
    return InotifyFile(caller, caller.host.events.inotify_init(), O_RDONLY | (O_NONBLOCK if nonblock else 0))
