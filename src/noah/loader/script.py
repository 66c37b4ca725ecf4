"""Scripts: the `#!` line that names the program to run (fs/binfmt_script.c)."""

from __future__ import annotations

from typing import Final

from noah.abi.errno import ENOEXEC, LinuxError
from noah.abi.limits import BINPRM_BUF_SIZE

_BLANK: Final = b" \t"


def _first(text: bytes, start: int, end: int, *, blank: bool) -> int:
    """Where in [start, end] the first blank or the first other byte is, -1 if nowhere. A NUL ends words as well."""
    for index in range(start, end + 1):
        if blank and (text[index] in _BLANK or not text[index]):
            return index
        if not blank and text[index] not in _BLANK:
            return index
    return -1


def parse_script(head: bytes) -> tuple[bytes, list[bytes]]:
    """Interpreter and optional argument of a file's first BINPRM_BUF_SIZE bytes, which begin with `#!`.

    Raises LinuxError(ENOEXEC) when there is no name, or when it might be cut off.
    """
    text = head.ljust(BINPRM_BUF_SIZE, b"\0")
    last = BINPRM_BUF_SIZE - 1
    end = text.split(b"\0", 1)[0].find(b"\n")
    if end < 0:
        name = _first(text, 2, last, blank=False)
        if name < 0 or _first(text, name, last, blank=True) < 0:
            raise LinuxError(ENOEXEC)
        end = last
    while text[end - 1] in _BLANK:
        end -= 1
    name = _first(text, 2, end, blank=False)
    if name < 0 or name == end:
        raise LinuxError(ENOEXEC)
    separator = _first(text, name, end, blank=True)
    argument = _first(text, separator, end, blank=False) if separator >= 0 and text[separator] else -1
    words = text[:end]
    if argument < 0:
        return words[name:].split(b"\0", 1)[0], []
    return words[name:separator], [words[argument:].split(b"\0", 1)[0]]
