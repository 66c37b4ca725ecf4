"""Strings, numbers and errors in the form of strace."""

from __future__ import annotations

import pytest

from noah.abi.errno import EACCES, EINVAL, ENOENT, ERESTARTSYS, ERRNO_NAMES
from noah.trace.errors import TEXTS, failure
from noah.trace.text import pointer, quote, shorten


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", '""'),
        (b"plain", '"plain"'),
        (b'"\\', r'"\"\\"'),
        (b"\t\n\v\f\r", r'"\t\n\v\f\r"'),
        (b"\0\1\x1b", r'"\0\1\33"'),
        (b"\0" + b"1", r'"\0001"'),
        (b"\x7f\x80\xff", r'"\177\200\377"'),
        (b"\x1b9\x1ba", r'"\0339\33a"'),
        ("é".encode(), r'"\303\251"'),
    ],
)
def test_quote(data: bytes, text: str) -> None:
    assert quote(data) == text


def test_long_data_is_cut() -> None:
    assert shorten(b"x" * 32) == f'"{"x" * 32}"'
    assert shorten(b"x" * 33) == f'"{"x" * 32}"...'
    assert shorten(b"x" * 32, 1000) == f'"{"x" * 32}"...'


def test_pointers() -> None:
    assert pointer(0) == "NULL"
    assert pointer(0x7FFF) == "0x7fff"


def test_failures() -> None:
    assert failure(ENOENT) == "-1 ENOENT (No such file or directory)"
    assert failure(EINVAL, "odd flags") == "-1 EINVAL (Invalid argument: odd flags)"
    assert failure(ERESTARTSYS) == "? ERESTARTSYS (To be restarted if SA_RESTART is set)"
    assert failure(4000) == "-1 ERRNO_4000 (Unknown error)"
    assert failure(EACCES).endswith("(Permission denied)")


def test_every_error_has_a_text() -> None:
    assert set(TEXTS) == set(ERRNO_NAMES)
