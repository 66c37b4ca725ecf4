"""Guest memory for the tracer's decoders: bytes at addresses, and EFAULT elsewhere."""

from __future__ import annotations

import struct

from noah.abi.errno import EFAULT, ENAMETOOLONG, LinuxError


class Memory:
    """What of noah.mm.user.UserMemory a reader uses."""

    def __init__(self, **content: bytes) -> None:
        self.pieces: dict[int, bytes] = {}
        for name, data in content.items():
            self.put(int(name.removeprefix("at_"), 16), data)

    def put(self, address: int, data: bytes) -> int:
        self.pieces[address] = data
        return address

    def read(self, address: int, length: int) -> bytes:
        for start, data in self.pieces.items():
            if start <= address and address + length <= start + len(data):
                return data[address - start : address - start + length]
        raise LinuxError(EFAULT)

    def string(self, address: int, limit: int = 4096) -> bytes:
        found = b""
        while len(found) < limit:
            byte = self.read(address + len(found), 1)
            if byte == b"\0":
                return found
            found += byte
        raise LinuxError(ENAMETOOLONG)

    def unpack(self, layout: struct.Struct, address: int) -> tuple[int, ...]:
        return layout.unpack(self.read(address, layout.size))

    def read_u32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def read_s32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little", signed=True)

    def read_u64(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), "little")
