"""How mq_notify(3) with SIGEV_THREAD is told of a message: by 32 bytes to a netlink socket (ipc/mqueue.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from noah.abi.errno import LinuxError
from noah.abi.socket import MSG_DONTWAIT

if TYPE_CHECKING:
    from noah.host.api import Sockets
    from noah.vfs.handle import Handle

COOKIE_SIZE: Final = 32  # NOTIFY_COOKIE_LEN; the kernel writes into the last byte
_WOKEN_UP: Final = b"\1"
_REMOVED: Final = b"\2"


class Notifier(Protocol):
    """What has been asked for by one mq_notify(2)."""

    def fire(self) -> None:
        """There is a message. Nothing is told afterwards."""

    def remove(self) -> None:
        """Nobody will be told."""

    def forget(self) -> None:
        """In a forked child: it has asked for nothing."""


class HostNotifier:
    """The host's own."""

    __slots__ = ("_handle", "_sockets")

    def __init__(self, sockets: Sockets, handle: Handle) -> None:
        self._sockets = sockets
        self._handle = handle

    def fire(self) -> None:
        self._sockets.fire_notifier(self._handle.number)

    def remove(self) -> None:
        """With its descriptor."""

    forget = remove


class PairNotifier:
    """For a socket that is one end of a pair."""

    __slots__ = ("_cookie", "_other", "_sockets")

    def __init__(self, sockets: Sockets, other: Handle, cookie: bytes) -> None:
        self._sockets = sockets
        self._other = other
        self._cookie = cookie[:-1]

    def _tell(self, what: bytes) -> None:
        try:
            self._sockets.sendto(self._other.number, self._cookie + what, MSG_DONTWAIT)
        except LinuxError:
            return  # its queue is full, or nobody has it open any more

    def fire(self) -> None:
        self._tell(_WOKEN_UP)

    def remove(self) -> None:
        self._tell(_REMOVED)

    def forget(self) -> None:
        """It has told nobody."""
