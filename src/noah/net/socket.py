"""SocketFile: the host's sockets (socket(7)), with waiting that signals of the guest can interrupt."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from noah.abi.errno import (
    EAGAIN,
    EALREADY,
    EINPROGRESS,
    EINTR,
    EINVAL,
    ENOTSOCK,
    EOPNOTSUPP,
    EPIPE,
    ERESTARTSYS,
    LinuxError,
)
from noah.abi.fcntl import O_NONBLOCK, O_RDWR, SETFL_MASK
from noah.abi.poll import POLLIN, POLLOUT
from noah.abi.signal import SIGPIPE
from noah.abi.socket import (
    AF_NETLINK,
    AF_UNIX,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_NOSIGNAL,
    MSG_OOB,
    MSG_PEEK,
    MSG_WAITALL,
    SO_ACCEPTCONN,
    SO_DOMAIN,
    SO_ERROR,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    SO_TYPE,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
)
from noah.abi.time import CLOCK_MONOTONIC, NSEC_PER_SEC
from noah.net.interfaces import interface_ioctl
from noah.net.notifier import HostNotifier
from noah.vfs.handle import Handle, HostTree
from noah.vfs.stream import StreamFile, advance

if TYPE_CHECKING:
    from noah.host.api import Sockets
    from noah.host.values import Received
    from noah.net.notifier import Notifier
    from noah.net.unix import HostAddress
    from noah.vfs.caller import Caller
    from noah.vfs.file import OpenFile, Views

Control = Sequence[tuple[int, int, bytes]]

_TIMEVAL: Final = struct.Struct("<qq")
_RETRY_NS: Final = 5_000_000
_BARE_SEND: Final = MSG_DONTWAIT | MSG_NOSIGNAL


class SocketFile(StreamFile):
    """A socket of the host.

    A listening one is O_NONBLOCK on the host, as accept(2) has no flag not to wait; what the guest set is in `flags`.
    `bound` is the AF_UNIX address that the guest gave, as the host may know it by another name; `host_name` keeps what
    that one refers to.
    """

    __slots__ = ("bound", "host_name", "is_stream", "listening", "sockets")

    def __init__(self, tree: HostTree, handle: Handle, sockets: Sockets, flags: int, *, stream: bool) -> None:
        super().__init__(tree, handle, b"socket:", O_RDWR | flags & O_NONBLOCK)
        self.sockets = sockets
        self.is_stream = stream
        self.listening = False
        self.bound = b""
        self.host_name: HostAddress | None = None

    # Waiting

    def _deadline(self, caller: Caller, option: int) -> int | None:
        """When SO_RCVTIMEO or SO_SNDTIMEO ends a wait that starts now."""
        sec, usec = _TIMEVAL.unpack(self.sockets.getsockopt(self.fd, SOL_SOCKET, option, _TIMEVAL.size))
        if not sec and not usec:
            return None
        timeout: int = sec * NSEC_PER_SEC + usec * 1000
        return caller.host.clock.clock_gettime(CLOCK_MONOTONIC) + timeout

    def _wait(self, caller: Caller, events: int) -> None:
        deadline = self._deadline(caller, SO_RCVTIMEO if events == POLLIN else SO_SNDTIMEO)
        self._wait_until(caller, events, deadline, EAGAIN)

    def _wait_until(self, caller: Caller, events: int, deadline: int | None, late: int) -> None:
        try:
            if not caller.wait(((self.fd, events),), deadline):
                raise LinuxError(late)
        except LinuxError as error:
            if error.errno == ERESTARTSYS and deadline is not None:  # include/net/sock.h: sock_intr_errno()
                raise LinuxError(EINTR) from None
            raise

    def is_nonblocking(self) -> bool:
        if self.listening:
            return bool(self.flags & O_NONBLOCK)
        return super().is_nonblocking()

    def get_flags(self) -> int:
        flags = super().get_flags()
        return flags & ~O_NONBLOCK | self.flags & O_NONBLOCK if self.listening else flags

    def set_flags(self, flags: int) -> None:
        self.flags = self.flags & ~SETFL_MASK | flags
        self.files.set_flags(self.fd, flags | O_NONBLOCK if self.listening else flags)

    def check_netlink(self) -> None:
        """EINVAL for what is no netlink socket (netlink_getsockbyfd())."""
        if self.get_option(SOL_SOCKET, SO_DOMAIN, 4) != AF_NETLINK.to_bytes(4, "little"):
            raise LinuxError(EINVAL)

    def notifier(self, cookie: bytes) -> Notifier:
        """For mq_notify(2)."""
        return HostNotifier(self.sockets, Handle(self.files, self.sockets.notifier(self.fd, cookie)))

    # Names and options

    def bind(self, address: bytes) -> None:
        self.sockets.bind(self.fd, address)

    def name(self) -> bytes:
        return self.sockets.getsockname(self.fd)

    def peer_name(self) -> bytes:
        return self.sockets.getpeername(self.fd)

    def get_option(self, level: int, option: int, size: int) -> bytes:
        return self.sockets.getsockopt(self.fd, level, option, size)

    def set_option(self, level: int, option: int, value: bytes) -> None:
        self.sockets.setsockopt(self.fd, level, option, value)

    def ioctl(self, caller: Caller, request: int, argument: int) -> int:
        answer = interface_ioctl(caller, request, argument)
        return super().ioctl(caller, request, argument) if answer is None else answer

    # Connections

    def listen(self, backlog: int) -> None:
        self.sockets.listen(self.fd, backlog)
        if not self.listening:
            self._set_listening(self.files.get_flags(self.fd) & SETFL_MASK)

    def _set_listening(self, flags: int) -> None:
        """flags: as the guest has them."""
        self.flags = self.flags & ~SETFL_MASK | flags
        self.files.set_flags(self.fd, flags | O_NONBLOCK)
        self.listening = True

    def accept(self, caller: Caller, flags: int) -> tuple[SocketFile, bytes]:
        """flags: SOCK_NONBLOCK. The new socket and its peer's address."""
        while True:
            if not self.listening and any(self.sockets.getsockopt(self.fd, SOL_SOCKET, SO_ACCEPTCONN, 4)):
                # another process has called listen(2); the host's flag does not tell what the guest wants
                self._set_listening(self.flags & SETFL_MASK)
            try:
                fd, address = self.sockets.accept(self.fd, flags)
                break
            except LinuxError as error:
                if error.errno != EAGAIN or self.is_nonblocking():
                    raise
            self._wait(caller, POLLIN)
        file = SocketFile(self.tree, Handle(self.files, fd), self.sockets, flags, stream=self.is_stream)
        file.bound = self.bound
        file.host_name = self.host_name
        return file, address

    def connect(self, caller: Caller, address: bytes) -> None:
        if self.is_nonblocking():
            self.sockets.connect(self.fd, address)
            return
        files = self.files
        flags = files.get_flags(self.fd) & SETFL_MASK
        deadline = self._deadline(caller, SO_SNDTIMEO)
        while True:
            files.set_flags(self.fd, flags | O_NONBLOCK)
            try:
                self.sockets.connect(self.fd, address)
                return
            except LinuxError as error:
                if error.errno == EAGAIN and address[:2] == AF_UNIX.to_bytes(2, "little"):
                    pause = True  # the listener's queue is full: nothing tells when that is over
                elif error.errno in (EINPROGRESS, EALREADY):
                    pause = False
                else:
                    raise
            finally:
                files.set_flags(self.fd, flags)
            now = caller.host.clock.clock_gettime(CLOCK_MONOTONIC)
            if pause:
                caller.wait((), now + _RETRY_NS)
                if deadline is not None and now >= deadline:
                    raise LinuxError(EAGAIN)
                continue
            self._wait_until(caller, POLLOUT, deadline, EINPROGRESS)
            errno = int.from_bytes(self.sockets.getsockopt(self.fd, SOL_SOCKET, SO_ERROR, 4), "little")
            if errno:
                raise LinuxError(errno)
            return

    # Messages

    def send(self, caller: Caller, views: Views, control: Control, flags: int, address: bytes) -> int:
        """sendmsg(2). A stream socket goes on until everything is sent, unless it must not wait."""
        done = 0
        left = sum(map(len, views))
        host_flags = flags & ~MSG_NOSIGNAL | MSG_DONTWAIT
        bare = self.is_stream and left and not control and not address and not flags & ~_BARE_SEND
        while True:
            try:
                if bare and self._nowait:
                    count = self._write_bare(views)
                    if count < 0:
                        continue
                else:
                    count = self.sockets.sendmsg(self.fd, views, control, host_flags, address)
                done += count
                if count >= left or not self.is_stream:
                    return done
                left -= count
                views = advance(views, count)
                control = ()
                continue
            except LinuxError as error:
                if error.errno == EPIPE and not flags & MSG_NOSIGNAL:
                    caller.send_signal(SIGPIPE)
                if error.errno != EAGAIN or flags & MSG_DONTWAIT or self.is_nonblocking():
                    if done:
                        return done
                    raise
            try:
                self._wait(caller, POLLOUT)
            except LinuxError:
                if done:
                    return done
                raise

    def _write_bare(self, views: Views) -> int:
        """What has no flags, no address and no control data takes the shorter way. -1: the host has none."""
        try:
            return self.files.pwritev_nowait(self.fd, views)
        except LinuxError as error:
            if error.errno != EOPNOTSUPP:
                raise
            self._nowait = False
            return -1

    def read(self, caller: Caller, views: Views) -> int:
        return self.receive_bare(caller, views, 0) if any(views) else 0

    def receive_bare(self, caller: Caller, views: Views, flags: int) -> int:
        """recv(2) into the views: how much was received."""
        bare = self.is_stream and any(views) and not flags & ~MSG_DONTWAIT
        if not bare or not caller.host.caps.nowait:  # without it, only recv(2) tells that a socket will never be ready
            return self.receive(caller, views, 0, flags).length
        while self._nowait:
            try:
                return self.files.preadv_nowait(self.fd, views)
            except LinuxError as error:
                if error.errno == EOPNOTSUPP:
                    self._nowait = False
                    break
                if error.errno != EAGAIN or flags & MSG_DONTWAIT or self.is_nonblocking():
                    raise
            self._wait(caller, POLLIN)
        return self.receive(caller, views, 0, flags).length

    def receive(self, caller: Caller, views: Views, control_size: int, flags: int) -> Received:
        """recvmsg(2). MSG_WAITALL goes on until the views are full."""
        host_flags = flags & ~MSG_WAITALL | MSG_DONTWAIT
        wanted = sum(map(len, views))
        result: Received | None = None
        while True:
            try:
                got = self.sockets.recvmsg(self.fd, views, control_size, host_flags)
                if result is not None:
                    got = got._replace(length=result.length + got.length, control=[*result.control, *got.control])
                if not flags & MSG_WAITALL or not self.is_stream or flags & MSG_PEEK or got.length >= wanted:
                    return got
                if result is not None and got.length == result.length:
                    return got  # the end
                if not got.length or got.control:
                    return got
                views = advance(views, got.length - (result.length if result is not None else 0))
                result = got
                continue
            except LinuxError as error:
                if error.errno != EAGAIN or flags & (MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB) or self.is_nonblocking():
                    if result is not None:
                        return result
                    raise
            try:
                self._wait(caller, POLLIN)
            except LinuxError:
                if result is not None:
                    return result
                raise


def make_socket(caller: Caller, fd: int, flags: int = 0) -> SocketFile:
    """The file for a host socket. flags: SOCK_NONBLOCK."""
    tree = caller.fs.mounts.anonymous
    sockets = caller.host.sockets
    kind = int.from_bytes(sockets.getsockopt(fd, SOL_SOCKET, SO_TYPE, 4), "little")
    return SocketFile(tree, Handle(tree.files, fd), sockets, flags & SOCK_NONBLOCK, stream=kind == SOCK_STREAM)


def as_socket(file: OpenFile) -> SocketFile:
    if not isinstance(file, SocketFile):
        raise LinuxError(ENOTSOCK)
    return file
