"""What a box has of the host's network (network_namespaces(7)).

Sockets are the host's, and so are its addresses. But names of AF_UNIX sockets that are no files ("abstract", unix(7))
belong to the network as well, and what listens there on the host is not the box's: a box with a root of its own has
names of its own, which begin on the host with a word that no other box has.
"""

from __future__ import annotations

from typing import Final

from noah.abi.socket import AF_UNIX, UNIX_PATH_MAX
from noah.net.names import SocketNames
from noah.net.ports import Ports

_FAMILY: Final = AF_UNIX.to_bytes(2, "little")
_MOST_LONG: Final = 1000


class Network:
    """offline: there are AF_UNIX sockets only, as in a kernel without networks. prefix: of abstract names. names: of
    sockets with a file. ports: that are others on the host."""

    __slots__ = ("_long", "names", "offline", "ports", "prefix")

    def __init__(
        self, names: SocketNames, prefix: bytes = b"", ports: Ports | None = None, *, offline: bool = False
    ) -> None:
        self.names = names
        self.ports = ports or Ports()
        self.prefix = prefix
        self.offline = offline
        self._long: dict[bytes, bytes] = {}  # by the host's name

    def abstract_name(self, name: bytes) -> bytes:
        """The host's name for a guest's, both without the NUL that comes first."""
        if not self.prefix:
            return name
        if len(self.prefix) + len(name) < UNIX_PATH_MAX:
            return self.prefix + name
        from hashlib import sha256  # slow to load, and large

        found = self.prefix[:-1] + b"#" + sha256(name).hexdigest().encode()
        if len(self._long) >= _MOST_LONG:
            self._long.clear()
        self._long[found] = name
        return found

    def shown(self, address: bytes) -> bytes:
        """An address from the host as the guest knows it."""
        head = _FAMILY + b"\0" + self.prefix
        if self.prefix and address.startswith(head):
            return _FAMILY + b"\0" + address[len(head) :]
        name = self._long.get(address[3:]) if self._long else None
        return address if name is None else _FAMILY + b"\0" + name
