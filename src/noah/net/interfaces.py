"""The interfaces of the host as ioctl(2) on sockets tells of them (netdevice(7))."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from noah.abi import ioctl as cmd
from noah.abi.errno import EADDRNOTAVAIL, ENODEV, EPERM, LinuxError
from noah.abi.socket import AF_INET

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.host.values import Interface
    from noah.vfs.caller import Caller

_IFCONF: Final = struct.Struct("<i4xQ")
_IFREQ: Final = 40
_NAME: Final = 16  # IFNAMSIZ
_CHANGES: Final = frozenset(
    (cmd.SIOCSIFFLAGS, cmd.SIOCSIFADDR, cmd.SIOCSIFNETMASK, cmd.SIOCSIFMTU, cmd.SIOCADDRT, cmd.SIOCDELRT)
)


def _int(value: int) -> bytes:
    return struct.pack("<i", value)


def _sockaddr(address: bytes) -> bytes:
    return struct.pack("<HH4s", AF_INET, 0, address)


def _first(interface: Interface) -> tuple[bytes, int, bytes]:
    """Address, length of the prefix and broadcast address of its first IPv4 address."""
    for found in interface.addresses:
        if found.family == AF_INET:
            return found.address, found.prefix, found.other
    raise LinuxError(EADDRNOTAVAIL)


def _netmask(prefix: int) -> bytes:
    return ((1 << 32) - (1 << 32 - prefix)).to_bytes(4, "big")


_ANSWERS: Final[dict[int, Callable[[Interface], bytes]]] = {
    cmd.SIOCGIFFLAGS: lambda one: struct.pack("<H", one.flags & 0xFFFF),
    cmd.SIOCGIFADDR: lambda one: _sockaddr(_first(one)[0]),
    cmd.SIOCGIFNETMASK: lambda one: _sockaddr(_netmask(_first(one)[1])),
    cmd.SIOCGIFBRDADDR: lambda one: _sockaddr(_first(one)[2] or bytes(4)),
    cmd.SIOCGIFMETRIC: lambda one: _int(0),
    cmd.SIOCGIFMTU: lambda one: _int(one.mtu),
    cmd.SIOCGIFHWADDR: lambda one: struct.pack("<H6s", one.kind, one.hardware[:6]),
    cmd.SIOCGIFINDEX: lambda one: _int(one.number),
}


def interface_ioctl(caller: Caller, request: int, argument: int) -> int | None:
    """The answer to a request about interfaces; None for another one, or one that the host answers itself."""
    if request in _CHANGES:
        raise LinuxError(EPERM, "the network is the host's")
    if request == cmd.SIOCGIFCONF:
        return _list(caller, argument)
    if caller.host.caps.ioctl_passthrough or (request not in _ANSWERS and request != cmd.SIOCGIFNAME):
        return None
    data = caller.mem.read(argument, _IFREQ)
    found = caller.host.sockets.interfaces()
    if request == cmd.SIOCGIFNAME:
        (index,) = struct.unpack_from("<i", data, _NAME)
        one = next((each for each in found if each.number == index), None)
    else:
        name = data[:_NAME].partition(b"\0")[0].partition(b":")[0]
        one = next((each for each in found if each.name == name), None)
    if one is None:
        raise LinuxError(ENODEV)
    if request == cmd.SIOCGIFNAME:
        caller.mem.write(argument, one.name.ljust(_NAME, b"\0"))
        return 0
    caller.mem.write(argument + _NAME, _ANSWERS[request](one).ljust(_IFREQ - _NAME - 8, b"\0"))
    return 0


def _list(caller: Caller, argument: int) -> int:
    """SIOCGIFCONF: those with an IPv4 address. Without a buffer it tells only how much room they take."""
    room, buffer = caller.mem.unpack(_IFCONF, argument)
    requests = [
        interface.name.ljust(_NAME, b"\0") + _sockaddr(found.address).ljust(_IFREQ - _NAME, b"\0")
        for interface in caller.host.sockets.interfaces()
        for found in interface.addresses
        if found.family == AF_INET
    ]
    if buffer:
        requests = requests[: max(room, 0) // _IFREQ]
        caller.mem.write(buffer, b"".join(requests))
    caller.mem.write_u32(argument, len(requests) * _IFREQ)
    return 0
