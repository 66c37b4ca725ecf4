"""Sockets on any POSIX host: addresses, options and flags are translated by name."""

from __future__ import annotations

import os
import socket
import struct
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from noah.abi import socket as linux
from noah.abi.errno import EAFNOSUPPORT, EINVAL, ENOPROTOOPT, ENOSYS, EPROTONOSUPPORT, LinuxError
from noah.host.errnos import from_host
from noah.host.posix.interfaces import interfaces
from noah.host.tables import Flags, Numbers, named
from noah.host.values import Received

if TYPE_CHECKING:
    from noah.host.api import Buffer, Data
    from noah.host.values import Interface

_FAMILIES: Final = Numbers(
    {name: getattr(linux, name) for name in ("AF_UNIX", "AF_INET", "AF_INET6")}, named(socket, "AF_")
)
"""Those whose addresses Python translates."""
_TYPES: Final = Numbers(
    {name: getattr(linux, name) for name in ("SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW", "SOCK_SEQPACKET", "SOCK_RDM")},
    named(socket, "SOCK_"),
)
_MSG: Final = Flags(named(linux, "MSG_"), named(socket, "MSG_"))
_LEVELS: Final = {linux.SOL_SOCKET: socket.SOL_SOCKET}  # the others are protocol numbers, equal everywhere
_OPTIONS: Final = {
    linux.SOL_SOCKET: Numbers(named(linux, "SO_"), named(socket, "SO_")),
    linux.IPPROTO_TCP: Numbers(named(linux, "TCP_"), named(socket, "TCP_")),
    linux.IPPROTO_IP: Numbers(named(linux, "IP_"), named(socket, "IP_")),
    linux.IPPROTO_IPV6: Numbers(named(linux, "IPV6_"), named(socket, "IPV6_")),
}
_HOW: Final = (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR)


class _Borrowed(socket.socket):
    """Python's socket over a descriptor that stays open."""

    def __exit__(self, *args: object) -> None:
        self.detach()


class PosixSockets:
    """See noah.host.api.Sockets."""

    __slots__ = ()

    def socket(self, domain: int, type: int, protocol: int = 0) -> int:
        family, kind = _kind(domain, type)
        try:
            return self._finish(socket.socket(family, kind, protocol).detach(), type)
        except OSError as error:
            raise from_host(error) from None

    def socketpair(self, domain: int, type: int, protocol: int = 0) -> tuple[int, int]:
        family, kind = _kind(domain, type)
        try:
            a, b = socket.socketpair(family, kind, protocol)
        except OSError as error:
            raise from_host(error) from None
        return self._finish(a.detach(), type), self._finish(b.detach(), type)

    def bind(self, fd: int, address: bytes) -> None:
        host_address = _to_host(address)
        try:
            with _Borrowed(fileno=fd) as sock:
                sock.bind(host_address)
        except OSError as error:
            raise from_host(error) from None

    def connect(self, fd: int, address: bytes) -> None:
        host_address = _to_host(address)
        try:
            with _Borrowed(fileno=fd) as sock:
                sock.connect(host_address)
        except OSError as error:
            raise from_host(error) from None

    def listen(self, fd: int, backlog: int) -> None:
        try:
            with _Borrowed(fileno=fd) as sock:
                sock.listen(backlog)
        except OSError as error:
            raise from_host(error) from None

    def accept(self, fd: int, flags: int = 0) -> tuple[int, bytes]:
        try:
            with _Borrowed(fileno=fd) as sock:
                new, address = sock.accept()
                family = sock.family
        except OSError as error:
            raise from_host(error) from None
        accepted = new.detach()
        os.set_blocking(accepted, True)  # on the BSDs it has the listener's O_NONBLOCK, on Linux never
        return self._finish(accepted, flags), _to_linux(family, address)

    def sendto(self, fd: int, data: Data, flags: int = 0, address: bytes = b"") -> int:
        return self.sendmsg(fd, [data], (), flags, address)

    def recvfrom(self, fd: int, view: Buffer, flags: int = 0) -> tuple[int, bytes]:
        received = self.recvmsg(fd, [view], 0, flags)
        return received.length, received.address

    def sendmsg(
        self,
        fd: int,
        views: Sequence[Data],
        control: Sequence[tuple[int, int, bytes]] = (),
        flags: int = 0,
        address: bytes = b"",
    ) -> int:
        host_control = [(_LEVELS.get(level, level), kind, data) for level, kind, data in control]
        host_address = _to_host(address) if address else None
        try:
            with _Borrowed(fileno=fd) as sock:
                return sock.sendmsg(views, host_control, _MSG.to_host(flags), host_address)
        except OSError as error:
            raise from_host(error) from None

    def recvmsg(self, fd: int, views: Sequence[Buffer], control_size: int = 0, flags: int = 0) -> Received:
        try:
            with _Borrowed(fileno=fd) as sock:
                length, control, got_flags, address = sock.recvmsg_into(views, control_size, _MSG.to_host(flags))
                family = sock.family
        except OSError as error:
            raise from_host(error) from None
        for level, kind, data in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                for received in array("i", data[: len(data) & ~3]):
                    os.set_inheritable(received, False)
        back = {theirs: ours for ours, theirs in _LEVELS.items()}
        return Received(
            length,
            [(back.get(level, level), kind, data) for level, kind, data in control],
            _MSG.to_linux(got_flags),
            _to_linux(family, address),
        )

    def getsockopt(self, fd: int, level: int, option: int, size: int) -> bytes:
        host_level, host_option = _option(level, option)
        try:
            with _Borrowed(fileno=fd) as sock:
                value = sock.getsockopt(host_level, host_option, size)
        except OSError as error:
            raise from_host(error) from None
        if level == linux.SOL_SOCKET and option == linux.SO_ERROR and (number := int.from_bytes(value, "little")):
            return struct.pack("<i", from_host(OSError(number, "")).errno)
        if level == linux.SOL_SOCKET and option == linux.SO_DOMAIN:
            return struct.pack("<i", _FAMILIES.linux[int.from_bytes(value, "little")])
        return value

    def setsockopt(self, fd: int, level: int, option: int, value: bytes) -> None:
        host_level, host_option = _option(level, option)
        try:
            with _Borrowed(fileno=fd) as sock:
                sock.setsockopt(host_level, host_option, value)
        except OSError as error:
            raise from_host(error) from None

    def getsockname(self, fd: int) -> bytes:
        try:
            with _Borrowed(fileno=fd) as sock:
                return _to_linux(sock.family, sock.getsockname())
        except OSError as error:
            raise from_host(error) from None

    def getpeername(self, fd: int) -> bytes:
        try:
            with _Borrowed(fileno=fd) as sock:
                return _to_linux(sock.family, sock.getpeername())
        except OSError as error:
            raise from_host(error) from None

    def shutdown(self, fd: int, how: int) -> None:
        if not 0 <= how < len(_HOW):
            raise LinuxError(EINVAL)
        try:
            with _Borrowed(fileno=fd) as sock:
                sock.shutdown(_HOW[how])
        except OSError as error:
            raise from_host(error) from None

    def notifier(self, fd: int, cookie: bytes) -> int:
        raise LinuxError(ENOSYS, "no netlink on this host")

    def fire_notifier(self, notifier: int) -> None:
        raise LinuxError(ENOSYS, "no netlink on this host")

    def interfaces(self) -> list[Interface]:
        return interfaces()

    def _finish(self, fd: int, flags: int) -> int:
        if flags & linux.SOCK_NONBLOCK:
            os.set_blocking(fd, False)
        return fd


def _kind(domain: int, type: int) -> tuple[int, int]:
    if domain not in _FAMILIES.host:
        raise LinuxError(EAFNOSUPPORT)
    kind = type & linux.SOCK_TYPE_MASK
    if kind not in _TYPES.host:
        raise LinuxError(EPROTONOSUPPORT)
    return _FAMILIES.host[domain], _TYPES.host[kind]


def _option(level: int, option: int) -> tuple[int, int]:
    table = _OPTIONS.get(level)
    if table is None or option not in table.host:
        raise LinuxError(ENOPROTOOPT, f"no socket option {level}/{option} on this host")
    return _LEVELS.get(level, level), table.host[option]


def _to_host(address: bytes) -> Any:
    """Python's form of a Linux struct sockaddr."""
    try:
        family = int.from_bytes(address[:2], "little")
        if family == linux.AF_UNIX:
            path = address[2:]
            return path if path[:1] == b"\0" else path.partition(b"\0")[0]
        if family == linux.AF_INET:
            port, raw = struct.unpack_from(">H4s", address, 2)
            return socket.inet_ntop(socket.AF_INET, raw), port
        if family == linux.AF_INET6:
            port, flow, raw = struct.unpack_from(">HI16s", address, 2)
            (scope,) = struct.unpack_from("<I", address, 24)
            return socket.inet_ntop(socket.AF_INET6, raw), port, flow, scope
    except struct.error:
        raise LinuxError(EINVAL, "short address") from None
    raise LinuxError(EAFNOSUPPORT)


def _to_linux(family: int, address: Any) -> bytes:
    """Linux' struct sockaddr for what Python gives; empty for no address."""
    if address is None:
        return b""
    if address == "" or address == b"" or address == ():
        return struct.pack("<H", linux.AF_UNIX) if family == socket.AF_UNIX else b""
    if family == socket.AF_UNIX:
        path = os.fsencode(address)
        return struct.pack("<H", linux.AF_UNIX) + (path if path[:1] == b"\0" else path + b"\0")
    if family == socket.AF_INET:
        return struct.pack("<H", linux.AF_INET) + struct.pack(
            ">H4s8x", address[1], socket.inet_pton(socket.AF_INET, address[0])
        )
    if family == socket.AF_INET6:
        raw = socket.inet_pton(socket.AF_INET6, address[0].partition("%")[0])
        head = struct.pack(">HI16s", address[1], address[2], raw)
        return struct.pack("<H", linux.AF_INET6) + head + struct.pack("<I", address[3])
    raise LinuxError(EAFNOSUPPORT)
