"""Who owns what in a tree of files that all belong to one user of the host: the overrides, in a file beside the tree.

A file without an override belongs to the guest's root and has the mode that the host shows. An override says otherwise:
owner, group, mode (with its set-user-ID bit, or the type of a device node) and device number, by inode number. It is
kept in three words (noah.fs.inodetable): owner << 32 | group, mode << 32 | device number, attributes that count. The
word that is the user's says which kinds of special files there may be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFMT
from noah.fs.inodetable import InodeTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from noah.fs.inodelist import InodeList
    from noah.host.api import Host

_MAGIC: Final = b"NoahOwn1"
_LOW: Final = (1 << 32) - 1

NODE: Final = 1
CAPABILITY: Final = 2
ACCESS_LIST: Final = 4
DEFAULT_LIST: Final = 8
"""Kinds of special files: device nodes, and files with attributes that decide over permissions."""


class Override(NamedTuple):
    """mode: all of st_mode. rdev: as in struct stat, which has 32 bits of it in use.

    attributes: CAPABILITY, ACCESS_LIST, DEFAULT_LIST, as far as the file has such extended attributes.
    """

    uid: int
    gid: int
    mode: int
    rdev: int = 0
    attributes: int = 0


class Ownership(InodeTable):
    """The table of one tree."""

    __slots__ = ()

    def __init__(self, host: Host, path: bytes) -> None:
        """Open it, or make an empty one. LinuxError; EINVAL for another kind of file."""
        super().__init__(host, path, _MAGIC)

    @property
    def special(self) -> int:
        """The kinds of special files that there may be."""
        return self._words[2]

    def get(self, inode: int) -> Override | None:
        """The override of a file."""
        found = self.find(inode)
        return None if found is None else _override(*found)

    def set(self, inode: int, override: Override) -> None:
        """Keep an override. ENOSPC when the table is full."""
        special = override.attributes | (NODE if override.mode & S_IFMT in (S_IFCHR, S_IFBLK) else 0)
        if special & ~self._words[2]:
            with self._locked():
                self._words[2] |= special
        # The mode is replaced before the owner: it has lost its set-user-ID bit, should that change.
        owner = override.uid << 32 | override.gid
        self.put(inode, owner, override.mode << 32 | override.rdev, override.attributes)

    def all(self) -> Iterator[tuple[int, Override]]:
        """Every override there is."""
        for inode, *words in self.items():
            yield inode, _override(*words)


def _override(owner: int, mode: int, attributes: int) -> Override:
    return Override(owner >> 32, owner & _LOW, mode >> 32, mode & _LOW, attributes)


class SharedOwnership(Ownership):
    """That of a copy: what is not said there, the image's table says of the image's inodes."""

    __slots__ = ("_image", "_inodes")

    def __init__(self, host: Host, path: bytes, image: Ownership, inodes: InodeList) -> None:
        super().__init__(host, path)
        self._image = image
        self._inodes = inodes

    @property
    def special(self) -> int:
        return self._words[2] | self._image.special

    def get(self, inode: int) -> Override | None:
        found = super().get(inode)
        # The image's table may hold entries of files that went away while it was made.
        return self._image.get(inode) if found is None and inode in self._inodes else found
