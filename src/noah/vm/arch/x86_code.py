"""Small pieces of x86-64 machine code: instructions as bytes, jumps by names, operands by addresses (SDM vol. 2)."""

from __future__ import annotations

import struct
from typing import Final

JMP: Final = b"\xeb"
JRCXZ: Final = b"\xe3"
JAE: Final = b"\x0f\x83"
JE: Final = b"\x0f\x84"
JNE: Final = b"\x0f\x85"
_DISTANCES: Final = {JMP: "<b", JRCXZ: "<b", JAE: "<i", JE: "<i", JNE: "<i"}


class Code:
    """A piece that is put together for one address."""

    def __init__(self, address: int) -> None:
        self._address = address
        self._data = bytearray()
        self._marks: dict[str, int] = {}
        self._jumps: list[tuple[int, str, str]] = []

    def put(self, text: str, *immediates: int) -> None:
        """An instruction in hexadecimal digits, and immediates of 32 bits behind it."""
        self._data += bytes.fromhex(text) + struct.pack(f"<{len(immediates)}i", *immediates)

    def reach(self, text: str, address: int, *immediates: int) -> None:
        """The same with an operand in memory, which is reached by its distance."""
        end = self._address + len(self._data) + len(bytes.fromhex(text)) + 4 * (1 + len(immediates))
        self.put(text, address - end, *immediates)

    def mark(self, name: str) -> None:
        self._marks[name] = len(self._data)

    def at(self, name: str) -> int:
        """How far from the beginning a mark is."""
        return self._marks[name]

    def jump(self, opcode: bytes, target: str) -> None:
        """To a mark that is there, or will be. JMP and JRCXZ reach 128 bytes."""
        distance = _DISTANCES[opcode]
        self._data += opcode + bytes(struct.calcsize(distance))
        self._jumps.append((len(self._data), distance, target))

    def finish(self) -> bytes:
        for end, distance, target in self._jumps:
            struct.pack_into(distance, self._data, end - struct.calcsize(distance), self._marks[target] - end)
        return bytes(self._data)
