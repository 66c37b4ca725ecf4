"""Which directories of a copy stand for which of its image's, and which of these the copy has instead: noah.fs.cow.

Two kinds of entries, by inode number. Of a stand-in: how many names the image's directory has, or 0 when the stand-in
is filled; where its path is kept; the inode number of the image's. Of an image's directory, once there is a filled
stand-in for it: HERE or GONE; the inode number of the stand-in; 0.

The word of the table that is the user's counts changes of the second kind. It is odd while one is under way: whoever
keeps directories of the image open looks again when it is another one than before, and as long as it is odd.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from noah.fs.inodetable import InodeTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from noah.host.api import Host

_MAGIC: Final = b"NoahCow3"
_HERE: Final = 1
_GONE: Final = 2


class StandIn(NamedTuple):
    """A directory of a copy. names: of the image's, 0 if this one is filled. place: of its path (noah.fs.cowcopies)."""

    names: int
    place: int
    image: int


class StandIns(InodeTable):
    """Those of one copy. What changes it is for who holds the lock of the copy, but for forget_directory()."""

    __slots__ = ()

    def __init__(self, host: Host, path: bytes) -> None:
        super().__init__(host, path, _MAGIC)

    @property
    def generation(self) -> int:
        return self._words[2]

    def get(self, inode: int) -> StandIn | None:
        """What a directory of the copy stands for; None for one of its own, and for one of the image's."""
        found = self.find(inode)
        return StandIn(*found) if found is not None and found[2] else None

    def unfilled(self, inode: int) -> StandIn | None:
        """The same, if nothing is in it yet."""
        found = self.find(inode)
        return StandIn(*found) if found is not None and found[2] and found[0] else None

    def replaced(self, image: int) -> int | None:
        """The inode number of the filled stand-in for one of the image's directories: 0 if it was removed, None if
        there has been none."""
        found = self.find(image)
        if found is None or found[2]:
            return None
        return found[1] if found[0] == _HERE else 0

    def fill(self, inode: int, stand_in: StandIn) -> None:
        """All is in it now. Whoever is killed in between has left it unfilled, and replaced() says why."""
        with self._changing():
            self._keep(stand_in.image, _HERE, inode, 0)
            self._keep(inode, 0, stand_in.place, stand_in.image)

    def forget_directory(self, inode: int) -> None:
        """A directory was removed: another one may get its number."""
        found = self.get(inode)
        if found is not None:
            with self._changing():
                self._keep(found.image, _GONE, 0, 0)
                self.forget(inode)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        words = self._words
        with self._locked():
            words[2] |= 1  # it is odd already if somebody was killed here
            yield
            words[2] += 1
