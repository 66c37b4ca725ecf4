"""Directory entries: the records that getdents64(2) and getdents(2) fill a buffer with (fs/readdir.c)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from noah.abi.layout import Readable, Writable

_HEAD: Final = Struct("<QqHB")  # ino, off, reclen, type; the name follows at 19
_OLD_HEAD: Final = Struct("<QQH")  # ino, off, reclen; the name follows at 18, the type is the record's last byte
DIRENT64_NAME: Final = _HEAD.size
DIRENT_NAME: Final = _OLD_HEAD.size


def dirent64_size(name: bytes) -> int:
    """Bytes of the record: head, name, a NUL, aligned to 8."""
    return DIRENT64_NAME + len(name) + 8 & ~7


def pack_dirent64(memory: Writable, offset: int, ino: int, next_offset: int, type: int, name: bytes) -> int:
    """Write one struct linux_dirent64 at offset; return its size. The caller has seen to it that it fits.

    next_offset is what lseek(2) takes to go on behind this entry; type is a DT_* value.
    """
    size = DIRENT64_NAME + len(name) + 8 & ~7
    _HEAD.pack_into(memory, offset, ino, next_offset, size, type)
    start = offset + DIRENT64_NAME
    memory[start : offset + size] = name.ljust(size - DIRENT64_NAME, b"\0")
    return size


def unpack_dirent64(memory: Readable, offset: int) -> tuple[int, int, int, int, bytes]:
    """(ino, next_offset, size, type, name) of the record at offset."""
    ino, next_offset, size, kind = _HEAD.unpack_from(memory, offset)
    name = bytes(memory[offset + DIRENT64_NAME : offset + size])
    return ino, next_offset, size, kind, name.partition(b"\0")[0]


def dirent_size(name: bytes) -> int:
    """Bytes of the old record: head, name, a NUL, the type, aligned to 8."""
    return DIRENT_NAME + len(name) + 9 & ~7


def pack_dirent(memory: Writable, offset: int, ino: int, next_offset: int, type: int, name: bytes) -> int:
    """pack_dirent64() for the old struct linux_dirent, which only x86-64 has a call for."""
    size = dirent_size(name)
    _OLD_HEAD.pack_into(memory, offset, ino, next_offset, size)
    start = offset + DIRENT_NAME
    memory[start : offset + size] = name.ljust(size - DIRENT_NAME - 1, b"\0") + bytes((type,))
    return size


def unpack_dirent(memory: Readable, offset: int) -> tuple[int, int, int, int, bytes]:
    """(ino, next_offset, size, type, name) of the old record at offset."""
    ino, next_offset, size = _OLD_HEAD.unpack_from(memory, offset)
    name = bytes(memory[offset + DIRENT_NAME : offset + size - 1])
    return ino, next_offset, size, memory[offset + size - 1], name.partition(b"\0")[0]
