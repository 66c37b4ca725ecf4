"""What a root of its own withholds from a guest, beyond the walk that never leaves it (docs/SECURITY.md).

Nothing of it applies to the root "/", which is the host's own on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EACCES, EPERM, LinuxError
from noah.abi.fcntl import O_ACCMODE, O_RDONLY, O_RDWR, O_TRUNC
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFMT, S_IFREG

if TYPE_CHECKING:
    from noah.host.api import Files
    from noah.host.values import Stat


def _device(major: int, minor: int) -> int:
    return major << 8 | minor


# Documentation/admin-guide/devices.txt
_HARMLESS: Final = frozenset(
    (
        *(_device(1, minor) for minor in (3, 5, 7, 8, 9)),  # null, zero, full, random, urandom
        _device(5, 0),  # tty
        _device(5, 2),  # ptmx
    )
)
_MADE_BY_INSTALLERS: Final = frozenset((_device(5, 1), 0))  # console; the whiteout of overlay file systems


def check_device(stat: Stat) -> None:
    """EACCES, as from a mount with nodev, for a device node that reaches the host's hardware or memory."""
    if stat.mode & S_IFMT in (S_IFCHR, S_IFBLK) and (stat.rdev not in _HARMLESS or stat.mode & S_IFMT == S_IFBLK):
        raise LinuxError(EACCES, "a device of the host")


def check_new_device(mode: int, dev: int) -> None:
    """EPERM for a node that would be one: other users of the host could open it."""
    kind = mode & S_IFMT
    if kind == S_IFBLK or (kind == S_IFCHR and dev not in _HARMLESS | _MADE_BY_INSTALLERS):
        raise LinuxError(EPERM, "a device of the host")


def check_access(files: Files, fd: int, flags: int) -> None:
    """EACCES where opening a handed file again, through its descriptor in /proc, would permit more than was handed."""
    if files.fstat(fd).mode & S_IFMT not in (S_IFREG, S_IFBLK):
        return
    if (files.fd_path(fd) or b"").startswith(b"/memfd:"):
        return  # the guest's own
    have = files.get_flags(fd) & O_ACCMODE
    wanted = flags & O_ACCMODE
    if have != O_RDWR and (wanted != have or (have == O_RDONLY and flags & O_TRUNC)):
        raise LinuxError(EACCES, "a file of the host that was handed to the program for less")
