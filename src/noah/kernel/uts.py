"""What programs of a box may call the machine: the names that Linux has a UTS namespace for (uts_namespaces(7))."""

from __future__ import annotations

from typing import Final

MAX_LENGTH: Final = 64
"""__NEW_UTS_LEN"""
_RECORD: Final = 1 + MAX_LENGTH  # the length + 1, or 0 as long as the name is the host's
UTS_SIZE: Final = 2 * _RECORD


class UtsNames:
    """Shared by the processes of a box. None: nobody has set the name here."""

    __slots__ = ("_memory",)

    def __init__(self, memory: memoryview) -> None:
        """memory: UTS_SIZE bytes, zero at first."""
        self._memory = memory

    @property
    def nodename(self) -> bytes | None:
        return self._get(0)

    @nodename.setter
    def nodename(self, name: bytes) -> None:
        self._set(0, name)

    @property
    def domainname(self) -> bytes | None:
        return self._get(_RECORD)

    @domainname.setter
    def domainname(self, name: bytes) -> None:
        self._set(_RECORD, name)

    def _get(self, at: int) -> bytes | None:
        length = self._memory[at]
        return bytes(self._memory[at + 1 : at + length]) if length else None

    def _set(self, at: int, name: bytes) -> None:
        self._memory[at] = 1  # nobody reads a half of two names
        self._memory[at + 1 : at + 1 + len(name)] = name
        self._memory[at] = len(name) + 1
