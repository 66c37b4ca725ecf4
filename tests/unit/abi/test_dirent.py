from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.abi import dirent
from noah.abi.fcntl import DT_DIR, DT_REG
from noah.abi.numbers import X86_64

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: b"\0" not in name)
ENTRIES = st.tuples(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 63) - 1), st.integers(0, 255), NAMES)


@given(ENTRIES)
def test_dirent64_survives(entry: tuple[int, int, int, bytes]) -> None:
    ino, next_offset, kind, name = entry
    memory = bytearray(b"\xaa" * 300)
    size = dirent.pack_dirent64(memory, 8, ino, next_offset, kind, name)
    assert size == dirent.dirent64_size(name)
    assert size % 8 == 0
    assert dirent.unpack_dirent64(memory, 8) == (ino, next_offset, size, kind, name)
    assert memory[8 + size :] == b"\xaa" * (292 - size)


@given(ENTRIES)
def test_old_dirent_survives(entry: tuple[int, int, int, bytes]) -> None:
    ino, next_offset, kind, name = entry
    memory = bytearray(b"\xaa" * 300)
    size = dirent.pack_dirent(memory, 8, ino, next_offset, kind, name)
    assert size == dirent.dirent_size(name)
    assert size % 8 == 0
    assert dirent.unpack_dirent(memory, 8) == (ino, next_offset, size, kind, name)
    assert memory[8 + size :] == b"\xaa" * (292 - size)


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="asks a native x86-64 Linux kernel"
)
@pytest.mark.parametrize("call", ["getdents64", "getdents"])
def test_dirents_are_the_kernels(tmp_path: Path, call: str) -> None:
    (tmp_path / "dir").mkdir()
    for length in range(1, 20):
        (tmp_path / ("f" * length)).touch()
    unpack = dirent.unpack_dirent64 if call == "getdents64" else dirent.unpack_dirent
    pack = dirent.pack_dirent64 if call == "getdents64" else dirent.pack_dirent
    buffer = ctypes.create_string_buffer(4096)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        filled = ctypes.CDLL(None).syscall(X86_64[call], fd, buffer, len(buffer))
    finally:
        os.close(fd)
    found, offset = {}, 0
    while offset < filled:
        ino, next_offset, size, kind, name = unpack(buffer.raw, offset)
        found[name] = kind
        again = bytearray(size)
        assert pack(again, 0, ino, next_offset, kind, name) == size
        assert unpack(again, 0) == (ino, next_offset, size, kind, name)
        offset += size
    assert offset == filled
    assert found == {b".": DT_DIR, b"..": DT_DIR, b"dir": DT_DIR, **{b"f" * length: DT_REG for length in range(1, 20)}}
