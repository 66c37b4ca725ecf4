"""The descriptors that Noah was started with: what a parent hands through to the program."""

from __future__ import annotations

import os
from typing import Final

_STANDARD: Final = 3
_ENOUGH: Final = 256  # where the host cannot list them


def claim() -> tuple[int, ...]:
    """List them, ascending: open and not close-on-exec, which nothing that Python itself opens is (PEP 446).

    To be called before Noah opens anything: standard descriptors that are closed are then taken, so that no file of
    Noah's own gets their numbers and no message meant for stderr ends up in it.
    """
    found = tuple(sorted(fd for fd in _open() if _inheritable(fd)))
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) < _STANDARD:
        pass
    os.close(fd)
    return found


def _open() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/dev/fd")]
    except (OSError, ValueError):
        return list(range(_ENOUGH))


def _inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False
