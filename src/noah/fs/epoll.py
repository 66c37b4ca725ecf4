"""Sets of files to wait for (epoll(7)): the host's own sets. What hosts without have instead is in noah.fs.pollset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.errno import EINVAL, ENOENT, EPERM, LinuxError
from noah.abi.fcntl import O_RDWR
from noah.abi.poll import EPOLL_CTL_ADD, EPOLL_CTL_DEL, POLLIN
from noah.fs.anonymous import AnonymousFile
from noah.fs.pollset import KIND, PollSet
from noah.vfs.handle import Handle

if TYPE_CHECKING:
    from noah.vfs.caller import Caller
    from noah.vfs.file import OpenFile, Views


class EpollFile(AnonymousFile):
    """An epoll set of the host.

    An entry of a set is a descriptor's number and the open file behind it. A guest's open file has one descriptor on
    the host, whatever the numbers of its own in the guest: what is registered under a second number gets a copy.
    """

    __slots__ = ("_entries", "_events")

    def __init__(self, caller: Caller, fd: int, flags: int | None = None) -> None:
        self._events = caller.host.events
        self._entries: dict[tuple[int, OpenFile], Handle | None] = {}
        super().__init__(caller, fd, KIND, flags)

    def close(self) -> None:
        for _, file in self._entries:
            file.watchers = tuple(watcher for watcher in file.watchers if watcher is not self)
        self._entries.clear()
        super().close()

    def read(self, caller: Caller, views: Views) -> int:
        raise LinuxError(EINVAL)

    def control(self, op: int, fd: int, file: OpenFile, events: int, data: int) -> None:
        """epoll_ctl(2) for the guest's descriptor `fd`, which is open as `file`."""
        if file.poll_fd < 0:
            raise LinuxError(EPERM, "a file that Noah makes up")
        key = fd, file
        known = key in self._entries
        copy = self._entries.get(key)
        others = not known and any(other is file for _, other in self._entries)
        if others and op != EPOLL_CTL_ADD:
            raise LinuxError(ENOENT)
        if others:
            copy = Handle(self.files, self.files.dup(file.poll_fd))
        host_fd = copy.number if copy is not None else file.poll_fd
        self._events.epoll_ctl(self.fd, op, host_fd, events, data)
        if op == EPOLL_CTL_ADD:
            self._entries[key] = copy
            if self not in file.watchers:
                file.watchers = (*file.watchers, self)
        elif op == EPOLL_CTL_DEL:
            self._entries.pop(key, None)

    def forget(self, file: OpenFile) -> None:
        """The last descriptor of a file is closed; the host takes what was registered out of the set."""
        for key in [key for key in self._entries if key[1] is file]:
            del self._entries[key]

    def note_used(self, file: OpenFile) -> None:
        """The host knows."""

    def collect(self, limit: int) -> list[tuple[int, int]]:
        """What is ready, at most `limit` entries: (events, data)."""
        return self._events.epoll_wait(self.fd, limit)

    def wait(self, caller: Caller, deadline: int | None) -> bool:
        """Wait until collect() may have something; False when time is over. ERESTARTSYS."""
        return bool(caller.wait(((self.fd, POLLIN),), deadline))


def make_epoll(caller: Caller) -> EpollFile | PollSet:
    if not caller.host.caps.events:
        return PollSet(caller)
    return EpollFile(caller, caller.host.events.epoll_create(), O_RDWR)
