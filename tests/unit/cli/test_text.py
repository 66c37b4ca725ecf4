"""What a guest is called may not act on the user's terminal."""

from __future__ import annotations

import pytest

from noah.util.text import printable


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain name", "plain name"),
        ("é".encode(), "é"),
        (b"\xff", r"\xff"),
        (b"a\nb\tc", r"a\nb\tc"),
        (b"\x1b[2J", r"\x1b[2J"),
        ("\u2028\u202e".encode(), r"\u2028\u202e"),
        (b"", ""),
    ],
)
def test_printable(data: bytes, text: str) -> None:
    assert printable(data) == text
