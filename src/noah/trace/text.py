"""Bytes and numbers as strace(1) writes them."""

from __future__ import annotations

from typing import Final

STRING_LIMIT: Final = 32
"""Bytes of a string or buffer that are shown (strace -s)."""

_PLAIN: Final = {
    **{byte: chr(byte) for byte in range(0x20, 0x7F)},
    **{ord(char): text for char, text in {'"': '\\"', "\\": "\\\\", "\f": "\\f", "\n": "\\n"}.items()},
    **{ord(char): text for char, text in {"\r": "\\r", "\t": "\\t", "\v": "\\v"}.items()},
}


def quote(data: bytes, *, cut: bool = False) -> str:
    """`"text\\n\\0"`; with `cut` it is the beginning of something longer: `"text"...`."""
    parts = []
    for index, byte in enumerate(data):
        text = _PLAIN.get(byte)
        if text is None:
            # three digits where a digit follows, so that the two cannot be read as one
            text = f"\\{byte:03o}" if data[index + 1 : index + 2].isdigit() else f"\\{byte:o}"
        parts.append(text)
    return f'"{"".join(parts)}"' + ("..." if cut else "")


def shorten(data: bytes, length: int | None = None) -> str:
    """The first STRING_LIMIT bytes of data; `length` is the true length when data is only its beginning."""
    return quote(data[:STRING_LIMIT], cut=(len(data) if length is None else length) > STRING_LIMIT)


def number(value: int) -> str:
    """`0`, `0x10`."""
    return hex(value) if value else "0"


def pointer(address: int) -> str:
    """`NULL`, `0x7ffd...`."""
    return hex(address) if address else "NULL"
