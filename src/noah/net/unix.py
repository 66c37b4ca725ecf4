"""AF_UNIX addresses (unix(7)): a guest's path is walked, the host gets a name that needs no walk."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EINVAL, ENAMETOOLONG, LinuxError
from noah.abi.fcntl import AT_FDCWD
from noah.abi.socket import AF_UNIX, UNIX_PATH_MAX

if TYPE_CHECKING:
    from noah.net.network import Network
    from noah.vfs.caller import Caller
    from noah.vfs.handle import Handle
    from noah.vfs.place import Place

_FAMILY: Final = AF_UNIX.to_bytes(2, "little")
_BY_DESCRIPTOR: Final = re.compile(rb"/proc/(?:self|\d+)/fd/\d+/")


def path_of(address: bytes) -> bytes:
    """The path in an address; b"" for every other kind of address, abstract names too."""
    if address[:2] != _FAMILY or len(address) <= 2 or not address[2]:
        return b""
    return address[2:].partition(b"\0")[0]


class HostAddress:
    """An address for the host, and what keeps it valid until the call has been made."""

    __slots__ = ("_handle", "address")

    def __init__(self, address: bytes, handle: Handle | None = None) -> None:
        self.address = address
        self._handle = handle


def _abstract(network: Network, address: bytes) -> bytes:
    """An address that is no path, for the host."""
    if address[:3] == _FAMILY + b"\0" and len(address) <= 2 + UNIX_PATH_MAX:
        return address[:3] + network.abstract_name(address[3:])
    return address


def peer_address(caller: Caller, network: Network, address: bytes) -> HostAddress:
    """For connect(2) and sendto(2). ENOENT, EACCES, ECONNREFUSED."""
    path = path_of(address)
    if not path:
        return HostAddress(_abstract(network, address))
    place = caller.fs.resolve(caller, AT_FDCWD, path)
    handle, host_path = place.socket_path()
    return HostAddress(_FAMILY + host_path, handle)


def new_address(caller: Caller, network: Network, address: bytes) -> tuple[HostAddress, Place | None]:
    """For bind(2), which makes the file: the address, and the place that has it then."""
    path = path_of(address)
    if not path:
        if address[:2] == _FAMILY and len(address) > 2 + UNIX_PATH_MAX:
            raise LinuxError(EINVAL)
        if network.prefix and address == _FAMILY:  # "autobind": a name that nobody has
            address += b"\0%05x" % (int.from_bytes(caller.host.rng.getrandom(3), "little") & 0xFFFFF)
        return HostAddress(_abstract(network, address)), None
    place = caller.fs.parent(caller, AT_FDCWD, path)
    handle, host_path = place.new_socket_path()
    if len(host_path) > UNIX_PATH_MAX:
        raise LinuxError(ENAMETOOLONG)
    if host_path[:-1] != path:
        network.names.note(host_path[:-1], path)
    return HostAddress(_FAMILY + host_path, handle), place


def guest_address(network: Network, address: bytes) -> bytes:
    """An address from the host as the guest may see it: a name that only says where Noah found the file, of a socket
    that nobody knows any more, is cut down to the last part."""
    path = path_of(address)
    if not path:
        return network.shown(address)
    known = network.names.guest(path)
    if known or _BY_DESCRIPTOR.match(path):
        return _FAMILY + (known or path.rpartition(b"/")[2]) + b"\0"
    return address
