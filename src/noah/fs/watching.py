"""Watching files and directories (inotify(7)) on hosts that tell nobody of changes: by looking, again and again.

What can be seen is told: what was made, removed, renamed, written or changed in its attributes, by whomever. Who merely
opened or read something leaves no trace; that a file was closed after it was written is taken for granted when it has
not changed between two looks.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EAGAIN, EEXIST, EINVAL, ENOTDIR, LinuxError
from noah.abi.fcntl import AT_SYMLINK_NOFOLLOW, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY
from noah.abi.inotify import (
    IN_ALL_EVENTS,
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_DONT_FOLLOW,
    IN_IGNORED,
    IN_ISDIR,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_MODIFY,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONESHOT,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
)
from noah.abi.ioctl import FIONREAD
from noah.abi.poll import POLLIN, POLLRDNORM
from noah.abi.stat import S_IFDIR, S_IFMT, S_IFREG
from noah.abi.structs import InotifyEvent
from noah.abi.time import CLOCK_MONOTONIC
from noah.fs.anonymous import MadeUpFile, fill
from noah.vfs.handle import Handle, HostFile

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.host.values import Stat
    from noah.vfs.caller import Caller
    from noah.vfs.file import Views
    from noah.vfs.place import Place

_Event = tuple[int, int, int, bytes]
"""struct inotify_event: watch, mask, cookie, name."""
_SHORTEST_NS: Final = 20_000_000  # between two looks while somebody waits
_LONGEST_NS: Final = 1_000_000_000
_REST: Final = 20  # times as long as a look has taken is nothing looked at
_QUEUE: Final = 16384  # fs.inotify.max_queued_events
_ROUND: Final = 16  # names are filled up to a multiple
_KEPT: Final = IN_ALL_EVENTS | IN_ONESHOT


class _Watch:
    """One watched file. `names`: of a directory, what was there at the last look. `fresh`: what has been written to."""

    __slots__ = ("fresh", "handle", "mask", "names", "number", "seen")

    def __init__(self, number: int, handle: Handle | None, mask: int) -> None:
        self.number = number
        self.handle = handle  # None: a file that Noah makes up, which never changes
        self.mask = mask
        self.seen: Stat | None = None
        self.names: dict[bytes, Stat] = {}
        self.fresh: set[bytes] = set()


class Watching(MadeUpFile):
    """An inotify descriptor."""

    __slots__ = ("_cookie", "_host", "_looked", "_number", "_period", "_queue", "_watches")

    kind = b"inotify"

    def __init__(self, host: Host, flags: int) -> None:
        super().__init__(flags)
        self._host = host
        self._watches: dict[int, _Watch] = {}
        self._queue: deque[_Event] = deque()
        self._number = 0
        self._cookie = 0
        self._looked = 0  # when, and how long that is good for
        self._period = _SHORTEST_NS

    def close(self) -> None:
        self._watches.clear()

    # -- watches

    def add_watch(self, caller: Caller, place: Place, mask: int) -> int:
        """inotify_add_watch(2): the watch descriptor."""
        file = place.open(caller, O_PATH | (O_NOFOLLOW if mask & IN_DONT_FOLLOW else 0), 0)
        try:
            status = file.stat()
            if mask & IN_ONLYDIR and status.mode & S_IFMT != S_IFDIR:
                raise LinuxError(ENOTDIR)
            for watch in self._watches.values():
                if watch.seen is not None and (watch.seen.dev, watch.seen.ino) == (status.dev, status.ino):
                    if mask & IN_MASK_CREATE:
                        raise LinuxError(EEXIST)
                    watch.mask = mask & _KEPT | (watch.mask if mask & IN_MASK_ADD else 0)
                    return watch.number
            if isinstance(file, HostFile):
                file.files.settle(file.fd)
            handle = Handle(self._host.files, self._host.files.dup(file.poll_fd)) if file.poll_fd >= 0 else None
        finally:
            file.release()
        self._number += 1
        watch = self._watches[self._number] = _Watch(self._number, handle, mask & _KEPT)
        watch.seen = status
        if status.mode & S_IFMT == S_IFDIR and handle is not None:
            watch.names = self._list(handle)
        return watch.number

    def rm_watch(self, number: int) -> None:
        """EINVAL for what is no watch."""
        if number not in self._watches:
            raise LinuxError(EINVAL)
        self._look()
        if number in self._watches:
            self._forget(self._watches[number])

    def _forget(self, watch: _Watch) -> None:
        del self._watches[watch.number]
        self._put((watch.number, IN_IGNORED, 0, b""))

    # -- looking

    def _list(self, handle: Handle) -> dict[bytes, Stat]:
        found = {}
        for name, _, _ in self._host.dirs.scan(handle.number)[2:]:
            try:
                found[name] = self._host.files.fstatat(handle.number, name, AT_SYMLINK_NOFOLLOW)
            except LinuxError:
                continue  # gone already
        return found

    def _look(self) -> None:
        """Compare everything with what was there."""
        clock = self._host.clock.clock_gettime
        start = clock(CLOCK_MONOTONIC)
        gone: list[tuple[_Watch, bytes, Stat]] = []
        come: list[tuple[_Watch, bytes, Stat]] = []
        for watch in list(self._watches.values()):
            if watch.handle is not None and watch.seen is not None:
                self._look_at(watch, watch.handle, watch.seen, gone, come)
        self._tell_of_names(gone, come)
        self._looked = clock(CLOCK_MONOTONIC)
        self._period = min(max(_SHORTEST_NS, _REST * (self._looked - start)), _LONGEST_NS)

    def _look_at(
        self,
        watch: _Watch,
        handle: Handle,
        before: Stat,
        gone: list[tuple[_Watch, bytes, Stat]],
        come: list[tuple[_Watch, bytes, Stat]],
    ) -> None:
        watch.seen = now = self._host.files.fstat(handle.number)
        is_directory = now.mode & S_IFMT == S_IFDIR
        if is_directory:
            names = self._list(handle) if now.nlink else {}
            old, watch.names = watch.names, names
            for name, status in old.items():
                other = names.get(name)
                if other is None or other.ino != status.ino:
                    gone.append((watch, name, status))
                else:
                    self._compare(watch, name, status, other)
            come += [(watch, name, now) for name, now in names.items() if name not in old or old[name].ino != now.ino]
            if (now.mode, now.uid, now.gid) != (before.mode, before.uid, before.gid):
                self._tell(watch, IN_ATTRIB | IN_ISDIR)
        else:
            self._compare(watch, b"", before, now)
        if not now.nlink and watch.number in self._watches:
            self._tell(watch, IN_DELETE_SELF)
            if watch.number in self._watches:
                self._forget(watch)

    def _compare(self, watch: _Watch, name: bytes, before: Stat, now: Stat) -> None:
        """A file that is still there under its name."""
        directory = IN_ISDIR if now.mode & S_IFMT == S_IFDIR else 0
        if (now.size, now.mtime) != (before.size, before.mtime) and not directory:
            self._tell(watch, IN_MODIFY, name)
            watch.fresh.add(name)
        elif name in watch.fresh:
            watch.fresh.discard(name)
            self._tell(watch, IN_CLOSE_WRITE, name)
        changed = (now.mode, now.uid, now.gid) != (before.mode, before.uid, before.gid)
        if changed or (not name and now.nlink != before.nlink):
            self._tell(watch, IN_ATTRIB | directory, name)

    def _tell_of_names(self, gone: list[tuple[_Watch, bytes, Stat]], come: list[tuple[_Watch, bytes, Stat]]) -> None:
        """Names that are gone and names that are new: the same file has moved."""
        sources = {(status.dev, status.ino): (watch, name) for watch, name, status in gone}
        moved = {(status.dev, status.ino) for _, _, status in come} & sources.keys()
        for watch, name, status in gone:
            if (status.dev, status.ino) not in moved:
                self._tell(watch, IN_DELETE | _directory(status), name)
        for watch, name, status in come:
            key = status.dev, status.ino
            if key in moved:
                moved.discard(key)
                source, old = sources[key]
                self._cookie += 1
                self._tell(source, IN_MOVED_FROM | _directory(status), old, self._cookie)
                self._tell(watch, IN_MOVED_TO | _directory(status), name, self._cookie)
                continue
            self._tell(watch, IN_CREATE | _directory(status), name)
            if status.mode & S_IFMT == S_IFREG and status.nlink == 1:
                if status.size:
                    self._tell(watch, IN_MODIFY, name)
                watch.fresh.add(name)

    def _tell(self, watch: _Watch, mask: int, name: bytes = b"", cookie: int = 0) -> None:
        if not watch.mask & mask & IN_ALL_EVENTS or watch.number not in self._watches:
            return
        self._put((watch.number, mask, cookie, name))
        if watch.mask & IN_ONESHOT:
            self._forget(watch)

    def _put(self, event: _Event) -> None:
        queue = self._queue
        if queue and queue[-1] == event:
            return
        if len(queue) < _QUEUE:
            queue.append(event)
        elif queue[-1][1] != IN_Q_OVERFLOW:
            queue.append((-1, IN_Q_OVERFLOW, 0, b""))

    # -- reading

    def read(self, caller: Caller, views: Views) -> int:
        room = sum(map(len, views))
        while True:
            if not self._queue:
                self._look()
            if self._queue:
                break
            if self.flags & O_NONBLOCK:
                raise LinuxError(EAGAIN)
            caller.wait((), self.changes_at())
        data = b""
        while self._queue:
            packed = _pack(self._queue[0])
            if len(data) + len(packed) > room:
                break
            data += packed
            self._queue.popleft()
        if not data:
            raise LinuxError(EINVAL)
        return fill(views, data)

    def ioctl(self, caller: Caller, request: int, argument: int) -> int:
        if request == FIONREAD:
            self._look()
            caller.mem.write_u32(argument, sum(len(_pack(event)) for event in self._queue))
            return 0
        return super().ioctl(caller, request, argument)

    def ready(self, events: int) -> int:
        if not self._queue:
            now = self._host.clock.clock_gettime(CLOCK_MONOTONIC)
            if now >= self._looked + self._period:
                self._look()
        return events & (POLLIN | POLLRDNORM) if self._queue else 0

    def changes_at(self) -> int:
        now = self._host.clock.clock_gettime(CLOCK_MONOTONIC)
        return max(now, self._looked + self._period)


def _directory(status: Stat) -> int:
    return IN_ISDIR if status.mode & S_IFMT == S_IFDIR else 0


def _pack(event: _Event) -> bytes:
    number, mask, cookie, name = event
    padded = name + bytes(_ROUND - len(name) % _ROUND) if name else b""
    return InotifyEvent.struct.pack(number, mask, cookie, len(padded)) + padded


def make_watching(caller: Caller, *, nonblock: bool) -> Watching:
    return Watching(caller.host, O_RDONLY | (O_NONBLOCK if nonblock else 0))
