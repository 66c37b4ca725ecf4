"""Which inodes are an image's, and how many names each has in it: a file that is made once and mapped into memory.

words of 8 bytes: inode numbers in ascending order, then as many counts, which are 0 for directories

One of the numbers is no inode's: it says the form of the file, and its count is how many numbers there are.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from noah.abi.fcntl import AT_FDCWD, DT_DIR, O_RDONLY
from noah.fs.form import FormError
from noah.fs.tree import walk

if TYPE_CHECKING:
    from noah.host.api import Host

_WORD: Final = 8
_FORM: Final = int.from_bytes(b"NoahIno2", "big")


class InodeList:
    """One image's."""

    __slots__ = ("_found", "_length", "_words")

    def __init__(self, host: Host, path: bytes) -> None:
        """LinuxError; FormError for another kind of file."""
        files = host.files
        fd = files.openat(AT_FDCWD, path, O_RDONLY)
        try:
            size = files.fstat(fd).size
            data = files.pread(fd, size, 0)
        finally:
            files.close_quietly(fd)
        self._length = length = size // _WORD // 2
        self._words = memoryview(data)[: 2 * length * _WORD].cast("Q")
        self._found: dict[int, int] = {}
        if not length or self.count(_FORM) != length or len(data) != 2 * length * _WORD:
            raise FormError(path, "not whole, or of another version of Noah")

    def __len__(self) -> int:
        """How many inodes there are."""
        return self._length - 1

    def count(self, inode: int) -> int:
        """Names of an inode; 0 if it is none of the image's, or a directory."""
        count = self._found.get(inode)
        if count is None:
            at = self._index(inode)
            count = self._words[self._length + at] if at >= 0 else 0
            if count:
                self._found[inode] = count
        return count

    def __contains__(self, inode: int) -> bool:
        """Whether it is the image's."""
        return inode in self._found or self._index(inode) >= 0

    def _index(self, inode: int) -> int:
        at = bisect_left(self._words, inode, 0, self._length)
        return at if at < self._length and self._words[at] == inode else -1


def list_inodes(host: Host, root: bytes) -> bytes:
    """What the file holds. LinuxError."""
    counts = {host.files.fstatat(AT_FDCWD, root).ino: 0}
    for _, _, inode, kind in walk(host, root):
        counts[inode] = counts.get(inode, 0) + 1 if kind != DT_DIR else 0
    counts[_FORM] = len(counts) + 1
    inodes = sorted(counts)
    return array("Q", [*inodes, *(counts[inode] for inode in inodes)]).tobytes()
