"""Who owns what in a tree of files that all belong to one user of the host: the overrides, in a file beside the tree.

A file without an override belongs to the guest's root and has the mode that the host shows. An override says otherwise:
owner, group, mode (with its set-user-ID bit, or the type of a device node) and device number, by inode number.

The file is a hash table in memory that all processes of all boxes share, so that to look something up costs no host
call:

    header   "NoahOwn1", the number of slots in use, which kinds of special files there may be
    slots    CAPACITY times 4 words of 8 bytes: inode number (0: free, all ones: no longer used),
             owner << 32 | group, mode << 32 | device number, attributes that count

A word is written as one, so a reader, or whoever comes after a process that was killed, sees the old or the new one.
New slots are taken under a lock (flock(2)); their first word is written last.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from noah.abi.errno import EINVAL, ENOSPC, LinuxError
from noah.abi.fcntl import AT_FDCWD, LOCK_EX, LOCK_UN, O_CREAT, O_RDWR
from noah.abi.stat import S_IFBLK, S_IFCHR, S_IFMT

if TYPE_CHECKING:
    from noah.host.api import Host

_MAGIC: Final = int.from_bytes(b"NoahOwn1", "little")
_CAPACITY: Final = 1 << 20  # must be a power of 2
_MASK: Final = _CAPACITY - 1
_MOST: Final = _CAPACITY * 7 // 8
_WORDS: Final = 4
_HEADER: Final = 4
_FREE: Final = 0
_GONE: Final = (1 << 64) - 1
_LOW: Final = (1 << 32) - 1
_SIZE: Final = (_HEADER + _CAPACITY * _WORDS) * 8


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


class Ownership:
    """The table of one tree."""

    __slots__ = ("_fd", "_files", "_words", "path")

    def __init__(self, host: Host, path: bytes) -> None:
        """Open it, or make an empty one. LinuxError; EINVAL for another kind of file."""
        self.path = path
        self._files = host.files
        self._fd = host.files.openat(AT_FDCWD, path, O_RDWR | O_CREAT, 0o600)
        self._words = host.mem.shared(_SIZE, self._fd).cast("Q")
        if self._words[0] == 0:
            self._words[0] = _MAGIC
        if self._words[0] != _MAGIC:
            raise LinuxError(EINVAL, "not a table of owners")

    def __del__(self) -> None:
        if fd := getattr(self, "_fd", 0):
            self._files.close_quietly(fd)

    @property
    def special(self) -> int:
        """The kinds of special files that there may be."""
        return self._words[2]

    def get(self, inode: int) -> Override | None:
        """The override of a file."""
        words = self._words
        at = _HEADER + (inode & _MASK) * _WORDS
        found = words[at]
        while found != inode:
            if found == _FREE:
                return None
            at += _WORDS
            if at == len(words):
                at = _HEADER
            found = words[at]
        return _override(words, at)

    def set(self, inode: int, override: Override) -> None:
        """Keep an override. ENOSPC when the table is full."""
        words = self._words
        special = override.attributes | (NODE if override.mode & S_IFMT in (S_IFCHR, S_IFBLK) else 0)
        if special & ~words[2]:
            with self._locked():
                words[2] |= special
        owner = override.uid << 32 | override.gid
        mode = override.mode << 32 | override.rdev
        at = self._find(inode)
        if at:
            words[at + 3] = override.attributes
            words[at + 2] = mode  # without a set-user-ID bit first, should the owner change
            words[at + 1] = owner
            return
        with self._locked():
            at = self._room(inode)
            words[at + 1], words[at + 2], words[at + 3] = owner, mode, override.attributes
            words[at] = inode

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._files.flock(self._fd, LOCK_EX)
        try:
            yield
        finally:
            self._files.flock(self._fd, LOCK_UN)

    def _find(self, inode: int) -> int:
        """Index of the slot of a file; 0 if it has none."""
        words = self._words
        at = _HEADER + (inode & _MASK) * _WORDS
        while words[at] != inode:
            if words[at] == _FREE:
                return 0
            at += _WORDS
            if at == len(words):
                at = _HEADER
        return at

    def _room(self, inode: int) -> int:
        """A slot to take."""
        words = self._words
        at = _HEADER + (inode & _MASK) * _WORDS
        while words[at] not in (_FREE, _GONE, inode):
            at += _WORDS
            if at == len(words):
                at = _HEADER
        if words[at] == _FREE:
            if words[1] >= _MOST:
                raise LinuxError(ENOSPC, "the table of owners is full")
            words[1] += 1
        return at

    def forget(self, inode: int) -> None:
        """The file is as any other again, or is another one that has the number of one that was removed."""
        at = self._find(inode)
        if at:
            self._words[at] = _GONE

    def all(self) -> Iterator[tuple[int, Override]]:
        """Every override there is."""
        words = self._words
        for at in range(_HEADER, len(words), _WORDS):
            if words[at] not in (_FREE, _GONE):
                yield words[at], _override(words, at)


def _override(words: memoryview, at: int) -> Override:
    """What a slot says."""
    owner, mode = words[at + 1], words[at + 2]
    return Override(owner >> 32, owner & _LOW, mode >> 32, mode & _LOW, words[at + 3])
