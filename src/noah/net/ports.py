"""Published ports (docker-run(1): --publish): a box is on its host's network, but some of its ports are others there.

A program that binds such a port gets the host's. In its own names, and wherever it deals with its own machine, it finds
the port that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from noah.abi.socket import AF_INET, AF_INET6

_IPV4: Final = AF_INET.to_bytes(2, "little")
_IPV6: Final = AF_INET6.to_bytes(2, "little")
_PORT: Final = slice(2, 4)  # in struct sockaddr_in, sockaddr_in6: ip(7), ipv6(7)
_HOSTS: Final = {_IPV4: slice(4, 8), _IPV6: slice(8, 24)}
_ANY: Final = frozenset((bytes(4), bytes(16)))
_MAPPED: Final = bytes(10) + b"\xff\xff"  # IPv4 in IPv6: RFC 4291, 2.5.5.2
_LOOPBACK: Final = bytes(15) + b"\1"


class Published(NamedTuple):
    """address: of the host, 4 or 16 bytes; empty for all that it has. stream: TCP, not UDP."""

    address: bytes
    host: int
    guest: int
    stream: bool


class Ports:
    """All methods take struct sockaddr's of any family and give back what is not published as it is."""

    __slots__ = ("_by_guest", "_by_host")

    def __init__(self, published: Sequence[Published] = ()) -> None:
        self._by_guest = {(port.guest, port.stream): port for port in published}
        self._by_host = {(port.host, port.stream): port for port in published}

    def to_bind(self, address: bytes, *, stream: bool, only_ipv6: Callable[[], bool]) -> bytes:
        """What to bind(2) on the host. only_ipv6: whether the socket takes no IPv4."""
        found = self._by_guest.get((_port(address), stream)) if self._by_guest else None
        place = _HOSTS.get(address[:2])
        if found is None or place is None:
            return address
        if found.address and address[place] in _ANY:
            host = found.address
            if len(host) == 4 and address[:2] == _IPV6:
                host = _LOOPBACK if only_ipv6() else _MAPPED + host
            if len(host) == len(address[place]):
                address = address[: place.start] + host + address[place.stop :]
        return _with_port(address, found.host)

    def to_reach(self, address: bytes, *, stream: bool) -> bytes:
        """Where to send to on the host."""
        found = self._by_guest.get((_port(address), stream)) if self._by_guest else None
        return address if found is None or not _is_own(address) else _with_port(address, found.host)

    def own(self, address: bytes, *, stream: bool) -> bytes:
        """A socket's own name, as the guest knows it."""
        found = self._by_host.get((_port(address), stream)) if self._by_host else None
        return address if found is None or address[:2] not in _HOSTS else _with_port(address, found.guest)

    def peer(self, address: bytes, *, stream: bool) -> bytes:
        """The name of another socket."""
        return self.own(address, stream=stream) if self._by_host and _is_own(address) else address


def _port(address: bytes) -> int:
    return int.from_bytes(address[_PORT], "big")


def _with_port(address: bytes, port: int) -> bytes:
    return address[: _PORT.start] + port.to_bytes(2, "big") + address[_PORT.stop :]


def _is_own(address: bytes) -> bool:
    """Whether it leads to this machine, whatever that is called: loopback, or nowhere (which is loopback, too)."""
    place = _HOSTS.get(address[:2])
    if place is None:
        return False
    host = address[place]
    return host in _ANY or host == _LOOPBACK or host.removeprefix(_MAPPED)[:1] == b"\x7f"
