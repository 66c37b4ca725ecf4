"""netlink(7) sockets of hosts that have none: what rtnetlink(7) tells of interfaces, addresses and routes.

It is a pair of sockets: a guest's request is answered at once, and the answers wait at its end. Nobody may change
anything, and nothing is told without a question.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from noah.abi import rtnetlink as rt
from noah.abi.errno import EAGAIN, EINVAL, ENOBUFS, ENODEV, EOPNOTSUPP, EPERM, LinuxError
from noah.abi.socket import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_UNIX,
    MSG_DONTWAIT,
    SO_DOMAIN,
    SO_PROTOCOL,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOL_NETLINK,
    SOL_SOCKET,
)
from noah.abi.sockstructs import SockaddrNl
from noah.net.notifier import PairNotifier
from noah.net.socket import SocketFile
from noah.vfs.handle import Handle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from noah.host.values import Interface, InterfaceAddress, Received
    from noah.net.notifier import Notifier
    from noah.net.socket import Control
    from noah.vfs.caller import Caller
    from noah.vfs.file import Views

_HEADER: Final = struct.Struct("<IHHII")  # nlmsghdr: length, type, flags, sequence, port
_LINK: Final = struct.Struct("<BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS: Final = struct.Struct("<BBBBI")  # ifaddrmsg: family, prefix, flags, scope, index
_ROUTE: Final = struct.Struct("<BBBBBBBBI")  # rtmsg: family, lengths, tos, table, protocol, scope, type, flags
_KERNEL: Final = SockaddrNl.struct.pack(AF_NETLINK, 0, 0)
_AT_ONCE: Final = 4096  # bytes of a dump in one message
_FOR_EVER: Final = 0xFFFF_FFFF


class NetlinkFile(SocketFile):
    """A NETLINK_ROUTE socket."""

    __slots__ = ("_other", "_own_port", "_port")

    def __init__(self, caller: Caller, flags: int) -> None:
        """flags: SOCK_NONBLOCK."""
        sockets = caller.host.sockets
        tree = caller.fs.mounts.anonymous
        here, there = sockets.socketpair(AF_UNIX, SOCK_DGRAM | flags & SOCK_NONBLOCK)
        super().__init__(tree, Handle(tree.files, here), sockets, flags, stream=False)
        self._other = Handle(tree.files, there)
        self._port = 0
        self._own_port = caller.pid

    def notifier(self, cookie: bytes) -> Notifier:
        return PairNotifier(self.sockets, self._other, cookie)

    def bind(self, address: bytes) -> None:
        if len(address) < len(_KERNEL):
            raise LinuxError(EINVAL)
        family, port, _ = SockaddrNl.struct.unpack_from(address)
        if family != AF_NETLINK:
            raise LinuxError(EINVAL)
        self._port = port or self._port or self._own_port

    def connect(self, caller: Caller, address: bytes) -> None:
        self._port = self._port or self._own_port  # netlink_autobind()

    def name(self) -> bytes:
        return SockaddrNl.struct.pack(AF_NETLINK, self._port, 0)

    def peer_name(self) -> bytes:
        return _KERNEL

    def get_option(self, level: int, option: int, size: int) -> bytes:
        if level == SOL_SOCKET and option == SO_DOMAIN:
            return struct.pack("<i", AF_NETLINK)
        if level == SOL_SOCKET and option == SO_PROTOCOL:
            return bytes(4)
        return bytes(4) if level == SOL_NETLINK else super().get_option(level, option, size)

    def set_option(self, level: int, option: int, value: bytes) -> None:
        if level != SOL_NETLINK:
            super().set_option(level, option, value)

    def send(self, caller: Caller, views: Views, control: Control, flags: int, address: bytes) -> int:
        self._port = self._port or self._own_port
        data = b"".join(views)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, request_flags, sequence, _ = _HEADER.unpack_from(data, at)
            if length < _HEADER.size or at + length > len(data):
                break
            body = data[at + _HEADER.size : at + length]
            if request_flags & rt.NLM_F_REQUEST and kind >= rt.RTM_BASE:
                self._answer(caller, kind, request_flags, sequence, body, data[at : at + _HEADER.size])
            at += length + 3 & ~3
        return len(data)

    def _answer(self, caller: Caller, kind: int, flags: int, sequence: int, body: bytes, header: bytes) -> None:
        error = 0
        dump = flags & rt.NLM_F_DUMP == rt.NLM_F_DUMP
        try:
            parts = list(_tell(caller, kind, body, dump=dump))
            multi = rt.NLM_F_MULTI if dump else 0
            messages = [self._message(type, multi, sequence, part) for type, part in parts]
            if dump:
                messages.append(self._message(rt.NLMSG_DONE, multi, sequence, bytes(4)))
            self._put(messages)
            if dump or not flags & rt.NLM_F_ACK:
                return
        except LinuxError as failure:
            error = failure.errno
        self._put([self._message(rt.NLMSG_ERROR, 0, sequence, struct.pack("<i", -error) + header)])

    def _message(self, kind: int, flags: int, sequence: int, body: bytes) -> bytes:
        length = _HEADER.size + len(body)
        return _HEADER.pack(length, kind, flags, sequence, self._port) + body + bytes(-length % 4)

    def _put(self, messages: list[bytes]) -> None:
        waiting = b""
        for message in [*messages, b""]:
            if waiting and (not message or len(waiting) + len(message) > _AT_ONCE):
                try:
                    self.sockets.sendto(self._other.number, waiting, MSG_DONTWAIT)
                except LinuxError as error:
                    raise LinuxError(ENOBUFS) if error.errno == EAGAIN else error from None
                waiting = b""
            waiting += message

    def receive(self, caller: Caller, views: Views, control_size: int, flags: int) -> Received:
        return super().receive(caller, views, control_size, flags)._replace(address=_KERNEL)


def _attribute(kind: int, data: bytes) -> bytes:
    length = 4 + len(data)
    return struct.pack("<HH", length, kind) + data + bytes(-length % 4)


def _int(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("<I", value))


def _tell(caller: Caller, kind: int, body: bytes, *, dump: bool) -> Iterator[tuple[int, bytes]]:
    """The messages that answer a question: type and body. EPERM, EOPNOTSUPP, ENODEV."""
    if kind & 3 != 2:  # RTM_NEW*, RTM_DEL*, RTM_SET*
        raise LinuxError(EPERM, "the network is the host's")
    interfaces = caller.host.sockets.interfaces()
    family = body[0] if body else 0
    if kind == rt.RTM_GETLINK:
        if not dump:
            interfaces = [_wanted(interfaces, body)]
        for interface in interfaces:
            yield rt.RTM_NEWLINK, _link(interface)
    elif kind == rt.RTM_GETADDR and dump:
        pairs = [(interface, found) for interface in interfaces for found in interface.addresses]
        for interface, found in sorted(pairs, key=lambda pair: pair[1].family):
            if family in (0, found.family):
                yield rt.RTM_NEWADDR, _address(interface, found)
    elif kind == rt.RTM_GETROUTE and dump:
        for interface in interfaces:
            for found in interface.addresses:
                if family in (0, found.family) and found.family == AF_INET and not interface.flags & rt.IFF_LOOPBACK:
                    yield rt.RTM_NEWROUTE, _route(interface, found)
    else:
        raise LinuxError(EOPNOTSUPP)


def _wanted(interfaces: list[Interface], body: bytes) -> Interface:
    """Which one RTM_GETLINK asks for: by its index, or by its name."""
    if len(body) < _LINK.size:
        raise LinuxError(EINVAL)
    index = _LINK.unpack_from(body)[2]
    name = None
    at = _LINK.size
    while not index and at + 4 <= len(body):
        length, kind = struct.unpack_from("<HH", body, at)
        if length < 4:
            break
        if kind == rt.IFLA_IFNAME:
            name = body[at + 4 : at + length].rstrip(b"\0")
        at += length + 3 & ~3
    for interface in interfaces:
        if interface.number == index or (not index and interface.name == name):
            return interface
    raise LinuxError(ENODEV)


def _link(interface: Interface) -> bytes:
    loop = interface.flags & rt.IFF_LOOPBACK
    flags = interface.flags | (rt.IFF_LOWER_UP if interface.flags & rt.IFF_RUNNING else 0)
    state = rt.IF_OPER_UNKNOWN if loop else rt.IF_OPER_UP if interface.flags & rt.IFF_RUNNING else rt.IF_OPER_DOWN
    hardware = interface.hardware or (bytes(6) if loop else b"")
    return (
        _LINK.pack(0, interface.kind, interface.number, flags, 0)
        + _attribute(rt.IFLA_IFNAME, interface.name + b"\0")
        + _int(rt.IFLA_TXQLEN, 1000)
        + _attribute(rt.IFLA_OPERSTATE, bytes([state]))
        + _attribute(rt.IFLA_LINKMODE, b"\0")
        + _int(rt.IFLA_MTU, interface.mtu)
        + _int(rt.IFLA_GROUP, 0)
        + _attribute(rt.IFLA_QDISC, b"noqueue\0")
        + (_attribute(rt.IFLA_ADDRESS, hardware) if hardware else b"")
        + (_attribute(rt.IFLA_BROADCAST, bytes(6) if loop else b"\xff" * len(hardware)) if hardware else b"")
    )


def _address(interface: Interface, found: InterfaceAddress) -> bytes:
    scope = rt.RT_SCOPE_UNIVERSE
    if interface.flags & rt.IFF_LOOPBACK:
        scope = rt.RT_SCOPE_HOST
    elif found.family == AF_INET6 and found.address[0] == 0xFE and found.address[1] & 0xC0 == 0x80:
        scope = rt.RT_SCOPE_LINK
    message = _ADDRESS.pack(found.family, found.prefix, rt.IFA_F_PERMANENT, scope, interface.number)
    point_to_point = interface.flags & rt.IFF_POINTOPOINT and found.other
    message += _attribute(rt.IFA_ADDRESS, found.other if point_to_point else found.address)
    if found.family == AF_INET:
        message += _attribute(rt.IFA_LOCAL, found.address)
        if interface.flags & rt.IFF_BROADCAST and found.other:
            message += _attribute(rt.IFA_BROADCAST, found.other)
        message += _attribute(rt.IFA_LABEL, interface.name + b"\0")
    message += _int(rt.IFA_FLAGS, rt.IFA_F_PERMANENT)
    return message + _attribute(rt.IFA_CACHEINFO, struct.pack("<IIII", _FOR_EVER, _FOR_EVER, 0, 0))


def _route(interface: Interface, found: InterfaceAddress) -> bytes:
    """The network that an address is in. What else the host knows to reach, no portable call tells."""
    bits = 8 * len(found.address)
    network = int.from_bytes(found.address, "big") >> bits - found.prefix << bits - found.prefix
    return (
        _ROUTE.pack(
            found.family, found.prefix, 0, 0, rt.RT_TABLE_MAIN, rt.RTPROT_KERNEL, rt.RT_SCOPE_LINK, rt.RTN_UNICAST, 0
        )
        + _int(rt.RTA_TABLE, rt.RT_TABLE_MAIN)
        + _attribute(rt.RTA_DST, network.to_bytes(len(found.address), "big"))
        + _attribute(rt.RTA_PREFSRC, found.address)
        + _int(rt.RTA_OIF, interface.number)
    )
