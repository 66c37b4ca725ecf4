"""Sets of files to wait for (epoll(7)) on hosts that have only poll(2): a table, and a poll of all that is in it.

Edges have to be guessed, as poll(2) tells of levels. An event is new when it was not there at the last look, when more
can be read than then, or when the file was used since: rather one too many than one too few. While something stays
ready and is not new, it is looked at every few milliseconds. After fork(2) each process has a set of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EEXIST, EINVAL, ELOOP, ENOENT, LinuxError
from noah.abi.fcntl import O_RDWR
from noah.abi.poll import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLERR,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLHUP,
    EPOLLIN,
    EPOLLONESHOT,
    EPOLLOUT,
    EPOLLWAKEUP,
    POLLIN,
    POLLRDNORM,
)
from noah.abi.time import CLOCK_MONOTONIC
from noah.fs.anonymous import MadeUpFile

if TYPE_CHECKING:
    from noah.vfs.caller import Caller
    from noah.vfs.file import OpenFile

KIND: Final = b"[eventpoll]"
_PRIVATE: Final = EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP
_ALWAYS: Final = EPOLLERR | EPOLLHUP
_EXCLUSIVE_OK: Final = EPOLLIN | EPOLLOUT | _ALWAYS | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE
_LOOK_NS: Final = 5_000_000
_MAX_NESTS: Final = 4


class _Entry:
    """A registered file. `seen` are the events of the last look, `count` the bytes that could be read then."""

    __slots__ = ("count", "data", "events", "seen")

    def __init__(self, events: int, data: int) -> None:
        self.events = events | _ALWAYS  # without them it is one of EPOLLONESHOT that has struck
        self.data = data
        self.seen = 0
        self.count = 0


class PollSet(MadeUpFile):
    """An epoll set made of a table."""

    __slots__ = ("_entries", "_host")

    kind = KIND

    def __init__(self, caller: Caller) -> None:
        super().__init__(O_RDWR)
        self._host = caller.host
        self._entries: dict[tuple[int, OpenFile], _Entry] = {}

    def close(self) -> None:
        for _, file in self._entries:
            file.watchers = tuple(watcher for watcher in file.watchers if watcher is not self)
        self._entries.clear()

    def control(self, op: int, fd: int, file: OpenFile, events: int, data: int) -> None:
        """epoll_ctl(2) for the guest's descriptor `fd`, which is open as `file`."""
        if isinstance(file, PollSet):
            if events & EPOLLEXCLUSIVE:
                raise LinuxError(EINVAL)
            if op == EPOLL_CTL_ADD and (file._reaches(self) or file._depth() > _MAX_NESTS):
                raise LinuxError(ELOOP)
        key = fd, file
        entry = self._entries.get(key)
        if op == EPOLL_CTL_ADD:
            if events & EPOLLEXCLUSIVE and events & ~_EXCLUSIVE_OK:
                raise LinuxError(EINVAL)
            if entry is not None:
                raise LinuxError(EEXIST)
            self._entries[key] = _Entry(events, data)
            if self not in file.watchers:
                file.watchers = (*file.watchers, self)
            return
        if entry is None:
            raise LinuxError(ENOENT)
        if op == EPOLL_CTL_DEL:
            del self._entries[key]
        elif op == EPOLL_CTL_MOD:
            if (entry.events | events) & EPOLLEXCLUSIVE:
                raise LinuxError(EINVAL)
            entry.__init__(events, data)  # type: ignore[misc]

    def _reaches(self, other: PollSet) -> bool:
        """Whether `other` is this set, or in it."""
        inner = [file for _, file in self._entries if isinstance(file, PollSet)]
        return self is other or any(file._reaches(other) for file in inner)

    def _depth(self) -> int:
        return 1 + max((file._depth() for _, file in self._entries if isinstance(file, PollSet)), default=0)

    def forget(self, file: OpenFile) -> None:
        """The last descriptor of a file is closed."""
        for key in [key for key in self._entries if key[1] is file]:
            del self._entries[key]

    def note_used(self, file: OpenFile) -> None:
        for (_, other), entry in self._entries.items():
            if other is file:
                entry.seen = entry.count = 0

    def _look(self) -> list[tuple[tuple[int, OpenFile], _Entry, int]]:
        """Entries that have news, with the events that they have now."""
        wanted: dict[int, int] = {}
        for (_, file), entry in self._entries.items():
            if entry.events & ~_PRIVATE and file.poll_fd >= 0:
                wanted[file.poll_fd] = wanted.get(file.poll_fd, 0) | entry.events & ~_PRIVATE
        found = dict(self._host.poller.poll(list(wanted.items()), 0, signals=False)[0]) if wanted else {}
        news = []
        for key, entry in self._entries.items():
            mask = entry.events & ~_PRIVATE
            if not mask:
                continue
            file = key[1]
            ready = found.get(file.poll_fd, 0) if file.poll_fd >= 0 else file.ready(mask)
            ready &= mask
            if entry.events & EPOLLET:
                count = self._readable(file) if ready & EPOLLIN else 0
                is_new = bool(ready & ~entry.seen) or count > entry.count
                if not is_new:
                    entry.seen, entry.count = ready, count
                    continue
            if ready:
                news.append((key, entry, ready))
        return news

    def _readable(self, file: OpenFile) -> int:
        try:
            return self._host.files.ioctl_fionread(file.poll_fd)
        except LinuxError:
            return 0

    def collect(self, limit: int) -> list[tuple[int, int]]:
        """What is ready, at most `limit` entries: (events, data)."""
        result = []
        for key, entry, ready in self._look()[:limit]:
            result.append((ready, entry.data))
            del self._entries[key]  # who is reported goes to the end of the row
            self._entries[key] = entry
            if entry.events & EPOLLET:
                entry.seen = ready
                entry.count = self._readable(key[1]) if ready & EPOLLIN else 0
            if entry.events & EPOLLONESHOT:
                entry.events &= _PRIVATE
        return result

    def wait(self, caller: Caller, deadline: int | None) -> bool:
        """Wait until collect() may have something; False when time is over. ERESTARTSYS."""
        wanted: dict[int, int] = {}
        limit = deadline
        now = self._host.clock.clock_gettime(CLOCK_MONOTONIC)
        for (_, file), entry in self._entries.items():
            mask = entry.events & ~_PRIVATE
            if not mask:
                continue
            again: int | None = None
            if file.poll_fd < 0:
                again = file.changes_at()
            elif entry.events & EPOLLET and entry.seen:
                again = now + _LOOK_NS
            else:
                wanted[file.poll_fd] = wanted.get(file.poll_fd, 0) | mask
            if again is not None:
                limit = again if limit is None else min(limit, again)
        if limit is None or limit > now + 10 * _LOOK_NS:
            limit = now + 10 * _LOOK_NS  # another thread may add a file
            if deadline is not None:
                limit = min(limit, deadline)
        return bool(caller.wait(list(wanted.items()), limit)) or limit != deadline

    def ready(self, events: int) -> int:
        return events & (POLLIN | POLLRDNORM) if self._look() else 0

    def changes_at(self) -> int:
        return self._host.clock.clock_gettime(CLOCK_MONOTONIC) + _LOOK_NS
