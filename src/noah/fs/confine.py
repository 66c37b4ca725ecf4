"""What a root of its own withholds from a guest, beyond the walk that never leaves it (docs/SECURITY.md).

Nothing of it applies to the root "/", which is the host's own on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EACCES, EPERM, LinuxError
from noah.abi.fcntl import O_ACCMODE, O_DIRECTORY, O_PATH, O_RDONLY, O_RDWR, O_TRUNC
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT, S_IFREG
from noah.vfs.handle import Handle

if TYPE_CHECKING:
    from collections.abc import Iterator

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
_LASTING: Final = (S_IFREG, S_IFBLK, S_IFCHR, S_IFDIR)
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


def ancestors(files: Files, fd: int) -> Iterator[tuple[int, int]]:
    """Device and inode of a directory and of all above it, the host's root last."""
    here = files.fstat(fd)[:2]
    handle = None
    while True:
        yield here
        handle = Handle(files, files.openat(handle.number if handle else fd, b"..", O_PATH | O_DIRECTORY))
        above = files.fstat(handle.number)[:2]
        if above == here:
            return
        here = above


def check_change(files: Files, fd: int) -> None:
    """EPERM for owner, mode, times and attributes of a file that was handed to the guest: they are the host's."""
    if files.fstat(fd).mode & S_IFMT in _LASTING and not _is_memory(files, fd):
        raise LinuxError(EPERM, "a file of the host")


def _is_memory(files: Files, fd: int) -> bool:
    return (files.fd_path(fd) or b"").startswith(b"/memfd:")


def check_access(files: Files, fd: int, flags: int) -> None:
    """EACCES where opening a handed file again, through its descriptor in /proc, would permit more than was handed."""
    if files.fstat(fd).mode & S_IFMT not in (S_IFREG, S_IFBLK):
        return
    if _is_memory(files, fd):
        return  # the guest's own
    have = files.get_flags(fd) & O_ACCMODE
    wanted = flags & O_ACCMODE
    if have != O_RDWR and (wanted != have or (have == O_RDONLY and flags & O_TRUNC)):
        raise LinuxError(EACCES, "a file of the host that was handed to the program for less")
