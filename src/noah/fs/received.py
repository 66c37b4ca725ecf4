"""Files for descriptors of anonymous host files that came from elsewhere, by what the host says they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.fs import epoll, eventfd, inotify, pollset, timerfd

if TYPE_CHECKING:
    from noah.fs.anonymous import AnonymousFile
    from noah.vfs.caller import Caller

_PREFIX: Final = b"anon_inode:"
_KINDS: Final[dict[bytes, type[eventfd.EventFile | timerfd.TimerFile | epoll.EpollFile | inotify.InotifyFile]]] = {
    eventfd.KIND: eventfd.EventFile,
    timerfd.KIND: timerfd.TimerFile,
    pollset.KIND: epoll.EpollFile,
    inotify.KIND: inotify.InotifyFile,
}


def make_received(caller: Caller, fd: int, path: bytes) -> AnonymousFile | None:
    """None for what is no such file. path: Files.fd_path() of it."""
    kind = _KINDS.get(path.removeprefix(_PREFIX)) if path.startswith(_PREFIX) else None
    return kind(caller, fd) if kind is not None else None
