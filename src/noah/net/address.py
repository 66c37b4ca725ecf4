"""Addresses of sockets, between the guest and the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.socket import IPV6_V6ONLY, SOL_IPV6
from noah.net import unix
from noah.net.unix import HostAddress

if TYPE_CHECKING:
    from noah.net.network import Network
    from noah.net.socket import SocketFile
    from noah.vfs.caller import Caller
    from noah.vfs.place import Place


def peer_address(caller: Caller, network: Network, file: SocketFile, address: bytes) -> HostAddress:
    """For connect(2) and sendto(2). ENOENT, EACCES, ECONNREFUSED."""
    return unix.peer_address(caller, network, network.ports.to_reach(address, stream=file.is_stream))


def new_address(caller: Caller, network: Network, file: SocketFile, address: bytes) -> tuple[HostAddress, Place | None]:
    """For bind(2): the address, and for one that is a file the place that has it then."""

    def only_ipv6() -> bool:
        return any(file.get_option(SOL_IPV6, IPV6_V6ONLY, 4))

    address = network.ports.to_bind(address, stream=file.is_stream, only_ipv6=only_ipv6)
    return unix.new_address(caller, network, address)


def own_address(network: Network, file: SocketFile) -> bytes:
    """What getsockname(2) tells."""
    if file.bound:
        return file.bound
    return unix.guest_address(network, network.ports.own(file.name(), stream=file.is_stream))


def guest_address(network: Network, file: SocketFile, address: bytes) -> bytes:
    """A peer's address from the host as the guest may see it."""
    return unix.guest_address(network, network.ports.peer(address, stream=file.is_stream))
