"""Bytes of the guest in messages for people."""

from __future__ import annotations


def printable(data: bytes) -> str:
    """As text on one line: what is no character, or would do something to a terminal, as an escape sequence."""
    text = data.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
