"""The network interfaces of a POSIX host: getifaddrs(3), which all of them have with the same structure."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import sys
from typing import Final

from noah.abi.rtnetlink import (
    ARPHRD_ETHER,
    ARPHRD_LOOPBACK,
    ARPHRD_NONE,
    IFF_ALLMULTI,
    IFF_BROADCAST,
    IFF_LOOPBACK,
    IFF_MULTICAST,
    IFF_NOARP,
    IFF_POINTOPOINT,
    IFF_PROMISC,
    IFF_RUNNING,
    IFF_UP,
)
from noah.abi.socket import AF_INET, AF_INET6
from noah.host.posix.libc import LIBC, check
from noah.host.values import Interface, InterfaceAddress

_IFADDRS: Final = struct.Struct("@PPI4xPPP")  # next, name, flags, address, netmask, broadcast or other end
_LINUX: Final = sys.platform == "linux"
_SAME_FLAGS: Final = (
    IFF_UP | IFF_BROADCAST | IFF_LOOPBACK | IFF_POINTOPOINT | IFF_RUNNING | IFF_NOARP | IFF_PROMISC | IFF_ALLMULTI
)
_HOST_MULTICAST: Final = IFF_MULTICAST if _LINUX else 0x8000
_SIOCGIFMTU: Final = 0x8921 if _LINUX else 0xC0206933
_AF_HARDWARE: Final = 17 if _LINUX else 18  # AF_PACKET, AF_LINK
_FAMILIES: Final = {int(socket.AF_INET): (AF_INET, 4, 4), int(socket.AF_INET6): (AF_INET6, 8, 16)}
"""By the host's number: Linux' number, where the address is in the structure, its length."""


def interfaces() -> list[Interface]:
    """All of them, by their index."""
    first = ctypes.c_void_p()
    check(LIBC.getifaddrs(ctypes.byref(first)))
    try:
        return _read(first.value)
    finally:
        LIBC.freeifaddrs(first)


def _read(at: int | None) -> list[Interface]:
    found: dict[str, Interface] = {
        name: Interface(name.encode(), index, 0, ARPHRD_NONE, b"", _mtu(name), [])
        for index, name in socket.if_nameindex()
    }
    while at:
        at, name_at, flags, address, netmask, other = _IFADDRS.unpack(ctypes.string_at(at, _IFADDRS.size))
        name = ctypes.string_at(name_at).decode()
        if name not in found:
            continue
        linux_flags = flags & _SAME_FLAGS | (IFF_MULTICAST if flags & _HOST_MULTICAST else 0)
        kind = ARPHRD_LOOPBACK if flags & IFF_LOOPBACK else ARPHRD_ETHER if flags & IFF_BROADCAST else ARPHRD_NONE
        interface = found[name] = found[name]._replace(flags=linux_flags, kind=kind)
        if not address:
            continue
        family = _family(address)
        if family in _FAMILIES:
            linux_family, skip, length = _FAMILIES[family]
            mask = ctypes.string_at(netmask + skip, length) if netmask else b"\xff" * length
            end = b""
            if other and flags & (IFF_BROADCAST | IFF_POINTOPOINT) and linux_family == AF_INET:
                end = ctypes.string_at(other + skip, length)
            interface.addresses.append(
                InterfaceAddress(linux_family, ctypes.string_at(address + skip, length), _prefix(mask), end)
            )
        elif family == _AF_HARDWARE:
            found[name] = interface._replace(hardware=_hardware(address))
    return sorted(found.values(), key=lambda interface: interface.number)


def _family(address: int) -> int:
    head = ctypes.string_at(address, 2)
    return int.from_bytes(head, sys.byteorder) if _LINUX else head[1]


def _hardware(address: int) -> bytes:
    """From a struct sockaddr_ll, or a sockaddr_dl of the BSDs."""
    if _LINUX:
        length = ctypes.string_at(address + 11, 1)[0]
        return ctypes.string_at(address + 12, min(length, 8))
    name_length, length = ctypes.string_at(address + 5, 2)
    return ctypes.string_at(address + 8 + name_length, length)


def _prefix(mask: bytes) -> int:
    return int.from_bytes(mask, "big").bit_count()


def _mtu(name: str) -> int:
    request = bytearray(struct.pack("=16si12x", name.encode(), 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, _SIOCGIFMTU, request)
        except OSError:
            return 0
    return int(struct.unpack_from("=i", request, 16)[0])
