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
        self._entries: dict[OpenFile, dict[int, Handle | None]] = {}
        super().__init__(caller, fd, KIND, flags)

    def close(self) -> None:
        for file in self._entries:
            file.watchers = tuple(watcher for watcher in file.watchers if watcher is not self)
        self._entries.clear()
        super().close()

    def read(self, caller: Caller, views: Views) -> int:
        raise LinuxError(EINVAL)

    def control(self, op: int, fd: int, file: OpenFile, events: int, data: int) -> None:
        """epoll_ctl(2) for the guest's descriptor `fd`, which is open as `file`."""
        if file.poll_fd < 0:
            raise LinuxError(EPERM, "a file that Noah makes up")
        entries = self._entries.get(file)
        copy = entries.get(fd) if entries is not None else None
        if entries is not None and fd not in entries:
            if op != EPOLL_CTL_ADD:
                raise LinuxError(ENOENT)
            copy = Handle(self.files, self.files.dup(file.poll_fd))
        host_fd = copy.number if copy is not None else file.poll_fd
        self._events.epoll_ctl(self.fd, op, host_fd, events, data)
        if op == EPOLL_CTL_ADD and entries is None:
            self._entries[file] = {fd: copy}
            file.watchers = (*file.watchers, self)
        elif op == EPOLL_CTL_ADD and entries is not None:
            entries[fd] = copy
        elif op == EPOLL_CTL_DEL and entries is not None:
            entries.pop(fd, None)
            if not entries:
                del self._entries[file]
                file.watchers = tuple(watcher for watcher in file.watchers if watcher is not self)

    def forget(self, file: OpenFile) -> None:
        """The last descriptor of a file is closed; the host takes what was registered out of the set."""
        self._entries.pop(file, None)

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
