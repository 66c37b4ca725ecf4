"""A table of three words for each inode number, in a file that all processes of all boxes share as memory: to look
something up costs no host call.

    header   a magic number that says the form, the number of slots that were ever taken, a word that is the user's
    slots    CAPACITY times 4 words of 8 bytes: inode number (0: free, all ones: no longer used), three words; the first
             of these is all ones when the inode has been forgotten

A word is written as one, so a reader, or whoever comes after a process that was killed, sees the old or the new one.
New slots are taken under a lock; their first word is written last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from struct import Struct
from typing import TYPE_CHECKING, Final

from noah.abi.errno import ENOENT, ENOSPC, LinuxError
from noah.abi.fcntl import AT_FDCWD, F_SETLKW, F_UNLCK, F_WRLCK, O_CREAT, O_EXCL, O_RDWR, SEEK_SET
from noah.fs.form import FormError, other_form
from noah.host.values import Flock

if TYPE_CHECKING:
    from noah.host.api import Host

_CAPACITY: Final = 1 << 20  # must be a power of 2
_MASK: Final = _CAPACITY - 1
_MOST: Final = _CAPACITY * 7 // 8
_WORDS: Final = 4
_HEADER: Final = 4
_FREE: Final = 0
_GONE: Final = (1 << 64) - 1
_REST: Final = Struct("=3Q")
_SIZE: Final = (_HEADER + _CAPACITY * _WORDS) * 8


class InodeTable:
    """One table."""

    __slots__ = ("_fd", "_files", "_words", "path")

    def __init__(self, host: Host, path: bytes, magic: bytes) -> None:
        """Open it, or make an empty one. magic: 8 letters. LinuxError; FormError for another kind of file."""
        self.path = path
        self._files = files = host.files
        try:
            self._fd = files.openat(AT_FDCWD, path, O_RDWR)
        except LinuxError as error:
            if error.errno != ENOENT:
                raise
            self._fd = files.openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL, 0o600)
            files.ftruncate(self._fd, _SIZE)
            files.pwrite(self._fd, magic, 0)
        head = files.pread(self._fd, len(magic), 0)
        if head != magic:
            raise FormError(path, other_form(head))
        if files.fstat(self._fd).size < _SIZE:  # what lies behind a file's end must not be looked at: SIGBUS
            raise FormError(path, "cut short")
        self._words = host.mem.shared(_SIZE, self._fd).cast("Q")

    def __del__(self) -> None:
        if fd := getattr(self, "_fd", 0):
            self._files.close_quietly(fd)

    def find(self, inode: int) -> tuple[int, int, int] | None:
        """The words of an inode number."""
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
        entry = words[at + 1], words[at + 2], words[at + 3]
        # A slot that was forgotten may just have been given to another inode.
        return entry if entry[0] != _GONE and words[at] == inode else None

    def put(self, inode: int, one: int, two: int = 0, three: int = 0) -> None:
        """Keep words for an inode number; the last is replaced first. ENOSPC when the table is full."""
        if not self._replace(inode, one, two, three):
            with self._locked():
                self._take(inode, one, two, three)

    def put_new(self, entries: Sequence[tuple[int, int, int, int]]) -> None:
        """Keep words for inode numbers that nobody else puts here now. ENOSPC when the table is full."""
        with self._locked():
            for entry in entries:
                self._take(*entry)

    def _keep(self, inode: int, one: int, two: int, three: int) -> None:
        """As put(), for who has locked the table."""
        if not self._replace(inode, one, two, three):
            self._take(inode, one, two, three)

    def _replace(self, inode: int, one: int, two: int, three: int) -> bool:
        words = self._words
        at = self._index(inode)
        if not at or words[at + 1] == _GONE:
            return False
        words[at + 3] = three
        words[at + 2] = two
        words[at + 1] = one
        return True

    def _take(self, inode: int, one: int, two: int, three: int) -> None:
        words = self._words
        at = self._index(inode) or self._room(inode)
        if words[at] != _FREE and (words[at] != inode or words[at + 1] == _GONE):
            words[at] = _GONE  # nobody may see it while its words change
        # By a call, which can say that the disk is full; memory could only answer with SIGBUS.
        self._files.pwrite(self._fd, _REST.pack(one, two, three), (at + 1) * 8)
        words[at] = inode

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # A lock of the process: one of flock(2) would be shared with its children.
        self._files.fcntl_lock(self._fd, F_SETLKW, Flock(F_WRLCK, SEEK_SET, 0, 0))
        try:
            yield
        finally:
            self._files.fcntl_lock(self._fd, F_SETLKW, Flock(F_UNLCK, SEEK_SET, 0, 0))

    def _index(self, inode: int) -> int:
        """Of the slot of an inode number; 0 if it has none."""
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
        while words[at] not in (_FREE, _GONE) and words[at + 1] != _GONE:
            at += _WORDS
            if at == len(words):
                at = _HEADER
        if words[at] == _FREE:
            if words[1] >= _MOST:
                raise LinuxError(ENOSPC, "the table of inodes is full")
            words[1] += 1
        return at

    def forget(self, inode: int) -> None:
        """The file is as any other again, or is another one that has the number of one that was removed."""
        at = self._index(inode)
        if at:
            # It keeps its slot: who looks for it again need not go on to the end of a long row of neighbours.
            self._words[at + 1] = _GONE

    def items(self) -> Iterator[tuple[int, int, int, int]]:
        """Every inode number with its words."""
        words = self._words
        for at in range(_HEADER, len(words), _WORDS):
            if words[at] not in (_FREE, _GONE) and words[at + 1] != _GONE:
                yield words[at], words[at + 1], words[at + 2], words[at + 3]
