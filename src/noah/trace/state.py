"""Small files that Noah keeps for its user: $XDG_STATE_HOME/noah, made when there is something to put there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import LinuxError
from noah.abi.fcntl import AT_FDCWD, O_APPEND, O_CREAT, O_RDONLY, O_WRONLY
from noah.trace.output import write_unlimited

if TYPE_CHECKING:
    from noah.host.api import Host

_CHUNK: Final = 1 << 20
_ENOUGH: Final = 8 << 20  # bytes of a file to which nothing more is added


def path(host: Host, name: bytes) -> bytes:
    """Where the file is; b"" for a user without a home (XDG Base Directory Specification)."""
    environ = host.procs.environ()
    base = environ.get(b"XDG_STATE_HOME", b"")
    if not base.startswith(b"/"):
        home = environ.get(b"HOME", b"")
        if not home.startswith(b"/"):
            return b""
        base = home + b"/.local/state"
    return base + b"/noah/" + name


def append(host: Host, name: bytes, text: str) -> bool:
    """Add text in one write, so that what several processes add does not mix. False: it is not kept."""
    file = path(host, name)
    if not file:
        return False
    try:
        _make_directories(host, file)
        fd = host.files.openat(AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    except LinuxError:
        return False
    try:
        if host.files.fstat(fd).size < _ENOUGH:
            write_unlimited(host, fd, text.encode("utf-8", "backslashreplace"))
        return True
    except LinuxError:
        return False  # a full disk
    finally:
        host.files.close_quietly(fd)


def _make_directories(host: Host, file: bytes) -> None:
    end = 0
    while (end := file.find(b"/", end + 1)) > 0:
        try:
            host.files.mkdirat(AT_FDCWD, file[:end], 0o700)
        except LinuxError:
            pass  # it is there as a rule; if not, opening the file will tell


def read(host: Host, name: bytes) -> list[str]:
    """The lines of the file; none if there is no file."""
    try:
        fd = host.files.openat(AT_FDCWD, path(host, name), O_RDONLY)
    except LinuxError:
        return []
    data = b""
    try:
        while chunk := host.files.read(fd, _CHUNK):
            data += chunk
    finally:
        host.files.close_quietly(fd)
    return data.decode("utf-8", "backslashreplace").split("\n")[:-1]


def clear(host: Host, name: bytes) -> None:
    """Forget the file."""
    try:
        host.files.unlinkat(AT_FDCWD, path(host, name))
    except LinuxError:
        pass  # there is none
