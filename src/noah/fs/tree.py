"""What is done with whole trees of the host's, however deep a guest has made them, and whatever it moves meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EEXIST, ENOTEMPTY, ESTALE, LinuxError
from noah.abi.fcntl import AT_FDCWD, AT_REMOVEDIR, DT_DIR, O_DIRECTORY, O_NOFOLLOW, O_RDONLY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from noah.host.api import Files, Host

_OPEN: Final = O_RDONLY | O_DIRECTORY | O_NOFOLLOW


class Descent:
    """A directory that one goes down and up from, with one descriptor open at a time: no tree is too deep."""

    __slots__ = ("_above", "_files", "fd")

    def __init__(self, files: Files, dirfd: int, name: bytes) -> None:
        """LinuxError."""
        self._files = files
        self._above: list[tuple[int, int]] = []
        self.fd = -1
        self.fd = files.openat(dirfd, name, _OPEN)

    def __del__(self) -> None:
        self.close()

    def down(self, name: bytes) -> None:
        """Into a directory that is there. LinuxError."""
        files = self._files
        inside = files.openat(self.fd, name, _OPEN)
        self._above.append(files.fstat(self.fd)[:2])
        files.close_quietly(self.fd)
        self.fd = inside

    def up(self) -> None:
        """Back to where the last down() was. LinuxError; ESTALE if the directory has been moved from there."""
        files = self._files
        outside = files.openat(self.fd, b"..", _OPEN)
        files.close_quietly(self.fd)
        self.fd = outside
        if files.fstat(outside)[:2] != self._above.pop():
            raise LinuxError(ESTALE, "a directory was moved meanwhile")

    def close(self) -> None:
        self._files.close_quietly(self.fd)
        self.fd = -1


def walk(
    host: Host, root: bytes, enter: Callable[[int, bytes], bool] | None = None, *, dirfd: int = AT_FDCWD
) -> Iterator[tuple[int, bytes, int, int]]:
    """The directory, name, inode and DT_* type of all that is in a tree, of what is in a directory before itself.

    root: from dirfd on. enter: says, by directory and name, whether to look at another directory. LinuxError; ESTALE.
    """
    scan = host.dirs.scan
    at = Descent(host.files, dirfd, root)
    try:
        above: list[tuple[tuple[bytes, int, int], list[tuple[bytes, int, int]]]] = []
        here = scan(at.fd)[2:]
        while True:
            if here:
                name, inode, kind = entry = here.pop()
                if kind != DT_DIR:
                    yield at.fd, name, inode, kind
                elif enter is None or enter(at.fd, name):
                    at.down(name)
                    above.append((entry, here))
                    here = scan(at.fd)[2:]
            elif above:
                (name, inode, kind), here = above.pop()
                at.up()
                yield at.fd, name, inode, kind
            else:
                return
    finally:
        at.close()


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
