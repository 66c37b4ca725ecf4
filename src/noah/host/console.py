"""What a front end asks of its own process, before there is a Host: its environment, the time, its error output."""

from __future__ import annotations

import os
import time
from typing import Final

_STDERR: Final = 2


def variable(name: str) -> str:
    """An environment variable, "" if it is not set."""
    return os.environ.get(name, "")


def arguments(words: list[str]) -> list[bytes]:
    """The bytes that the caller of this program handed over (sys.argv has them decoded)."""
    return [os.fsencode(word) for word in words]


def environment() -> dict[bytes, bytes]:
    return dict(os.environb)


def utc() -> str:
    """The time of day as ISO 8601 and OCI write it, fine enough to tell what came first."""
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 1000:06}Z"


class ErrorOutput:
    """The error output as it is now. Guests close and replace descriptors: what is 2 later may be another file."""

    __slots__ = ("_identity",)

    def __init__(self) -> None:
        self._identity = _identify()

    def write(self, text: str) -> None:
        """Write, if descriptor 2 is still the same file; nobody can be told when it fails."""
        if self._identity is not None and _identify() == self._identity:
            try:
                os.write(_STDERR, text.encode("utf-8", "backslashreplace"))
            except OSError:
                pass


def _identify() -> tuple[int, int, int] | None:
    try:
        found = os.fstat(_STDERR)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_rdev


def redirect(fd: int, source: int = -1) -> None:
    """Make this descriptor the standard output and error of the process, and another, or /dev/null, its input."""
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null if source < 0 else source, 0)
    os.close(null)
    os.dup2(fd, 1)
    os.dup2(fd, 2)


def is_terminal(fd: int) -> bool:
    return os.isatty(fd)


def columns() -> int:
    """Width of the terminal that the error output is."""
    try:
        return os.get_terminal_size(_STDERR).columns
    except OSError:
        return 80


def is_file(path: bytes) -> bool:
    return os.path.isfile(path)


def is_directory(path: bytes) -> bool:
    return os.path.isdir(path)
