"""What is done with whole trees of the host's, however deep a guest has made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EEXIST, ENOTEMPTY, LinuxError
from noah.abi.fcntl import AT_FDCWD, AT_REMOVEDIR, DT_DIR, O_DIRECTORY, O_NOFOLLOW, O_RDONLY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from noah.host.api import Host

_OPEN: Final = O_RDONLY | O_DIRECTORY | O_NOFOLLOW


def walk(
    host: Host, root: bytes, enter: Callable[[int, bytes], bool] | None = None
) -> Iterator[tuple[int, bytes, int, int]]:
    """The directory, name, inode and DT_* type of all that is in a tree, of what is in a directory before itself.

    One descriptor is open at a time, and nothing calls itself: no tree is too deep. enter: says, by directory and name,
    whether to look at another directory. LinuxError.
    """
    files, scan = host.files, host.dirs.scan
    fd = files.openat(AT_FDCWD, root, _OPEN)
    try:
        above: list[tuple[tuple[bytes, int, int], list[tuple[bytes, int, int]]]] = []
        here = scan(fd)[2:]
        while True:
            if here:
                name, inode, kind = entry = here.pop()
                if kind != DT_DIR:
                    yield fd, name, inode, kind
                elif enter is None or enter(fd, name):
                    inside = files.openat(fd, name, _OPEN)
                    files.close_quietly(fd)
                    fd = inside
                    above.append((entry, here))
                    here = scan(fd)[2:]
            elif above:
                (name, inode, kind), here = above.pop()
                outside = files.openat(fd, b"..", _OPEN)
                files.close_quietly(fd)
                fd = outside
                yield fd, name, inode, kind
            else:
                return
    finally:
        files.close_quietly(fd)


def remove_tree(host: Host, root: bytes) -> None:
    """Remove a directory with all that is in it, as far as the host lets us."""
    unlink = host.files.unlinkat

    def is_full(fd: int, name: bytes) -> bool:
        # Most directories of a container are empty (noah.fs.cow), and go by this alone.
        try:
            unlink(fd, name, AT_REMOVEDIR)
        except LinuxError as error:
            return error.errno in (ENOTEMPTY, EEXIST)
        return False

    try:
        for fd, name, _, kind in walk(host, root, is_full):
            try:
                unlink(fd, name, AT_REMOVEDIR if kind == DT_DIR else 0)
            except LinuxError:
                continue  # the rest can go
        unlink(AT_FDCWD, root, AT_REMOVEDIR)
    except LinuxError:
        pass  # whoever sweeps next tries again
