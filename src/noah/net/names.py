"""The names by which the AF_UNIX sockets of a box know each other (unix(7)).

A peer's address is the path that it was bound to, as it was written. Noah binds to another path, which needs no walk
on the host (net.unix). A table in memory that the processes of the box share leads from the one to the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from zlib import crc32

_SLOT: Final = 256  # two lengths, two paths of at most UNIX_PATH_MAX bytes
_SLOTS: Final = 2048
_TRIES: Final = 4
NAMES_SIZE: Final = _SLOT * _SLOTS


class SocketNames:
    """The guest's path for a host's. The newest names stay when there are too many."""

    __slots__ = ("_table",)

    def __init__(self, table: memoryview) -> None:
        self._table = table

    def _slots(self, host: bytes) -> Iterator[memoryview]:
        first = crc32(host)
        for index in range(first, first + _TRIES):
            at = index % _SLOTS * _SLOT
            yield self._table[at : at + _SLOT]

    def note(self, host: bytes, guest: bytes) -> None:
        slots = list(self._slots(host))
        slot = next((slot for slot in slots if not slot[0] or bytes(slot[2 : 2 + slot[0]]) == host), slots[0])
        slot[0] = 0  # nobody finds a name that is not yet all there
        slot[1] = len(guest)
        slot[2 : 2 + len(host) + len(guest)] = host + guest
        slot[0] = len(host)

    def guest(self, host: bytes) -> bytes:
        """b"" for a path that is not known here."""
        for slot in self._slots(host):
            end = 2 + slot[0]
            if bytes(slot[2:end]) == host:
                return bytes(slot[end : end + slot[1]])
        return b""
