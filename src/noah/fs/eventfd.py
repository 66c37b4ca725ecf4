"""Counters that can be waited for (eventfd(2)): the host's, or made of a pair of sockets."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EAGAIN, EINVAL, LinuxError
from noah.abi.fcntl import O_NONBLOCK, O_RDWR
from noah.abi.poll import POLLOUT
from noah.abi.socket import AF_UNIX, SOCK_NONBLOCK, SOCK_STREAM
from noah.abi.time import CLOCK_MONOTONIC
from noah.fs.anonymous import AnonymousFile, fill
from noah.vfs.handle import Handle

if TYPE_CHECKING:
    from noah.vfs.caller import Caller
    from noah.vfs.file import Views

_U64: Final = struct.Struct("<Q")
_MAX: Final = (1 << 64) - 2
_RETRY_NS: Final = 2_000_000
_ALL: Final = 4096
KIND: Final = b"[eventfd]"


class EventFile(AnonymousFile):
    """The host's eventfd."""

    __slots__ = ()

    def __init__(self, caller: Caller, fd: int, flags: int | None = None) -> None:
        super().__init__(caller, fd, KIND, flags)

    def write(self, caller: Caller, views: Views) -> int:
        data = b"".join(views)
        if len(data) != _U64.size:  # before v6.7 it might be longer
            raise LinuxError(EINVAL)
        while True:
            try:
                self._write_now(data)
                return _U64.size
            except LinuxError as error:
                if error.errno != EAGAIN or self.is_nonblocking():
                    raise
            caller.wait(((self.fd, POLLOUT),))
            # There may be room for less than what is to be added, of which no host tells more than that.
            caller.wait((), caller.host.clock.clock_gettime(CLOCK_MONOTONIC) + _RETRY_NS)

    def _write_now(self, data: bytes) -> None:
        self.files.write(self.fd, data)


class EventPair(EventFile):
    """The counter is the sum of the 8-byte numbers that wait in a socket; who reads takes them all.

    It is always ready to be written: only an eventfd that is full is not.
    """

    __slots__ = ("_other", "_semaphore")

    def __init__(self, caller: Caller, value: int, flags: int, *, semaphore: bool) -> None:
        here, there = caller.host.sockets.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK)
        super().__init__(caller, here, flags)
        self._other = Handle(self.files, there)
        self._semaphore = semaphore
        self._add(value)

    def _add(self, value: int) -> None:
        if value:
            self.files.write(self._other.number, _U64.pack(value))

    def _take(self) -> int:
        try:
            return sum(value for (value,) in _U64.iter_unpack(self.files.read(self.fd, _ALL)))
        except LinuxError as error:
            if error.errno != EAGAIN:
                raise
            return 0

    def _read_now(self, views: Views) -> int:
        if sum(map(len, views)) < _U64.size:
            raise LinuxError(EINVAL)
        value = self._take()
        if not value:
            raise LinuxError(EAGAIN)
        if self._semaphore:
            self._add(value - 1)
            value = 1
        return fill(views, _U64.pack(value))

    def _write_now(self, data: bytes) -> None:
        (added,) = _U64.unpack(data)
        if added > _MAX:
            raise LinuxError(EINVAL)
        value = self._take()
        if value + added > _MAX:
            self._add(value)
            raise LinuxError(EAGAIN)
        self._add(value + added)


def make_eventfd(caller: Caller, value: int, *, semaphore: bool, nonblock: bool) -> EventFile:
    flags = O_RDWR | (O_NONBLOCK if nonblock else 0)
    if not caller.host.caps.events:
        return EventPair(caller, value, flags, semaphore=semaphore)
    return EventFile(caller, caller.host.events.eventfd(value, semaphore=semaphore), flags)
