"""Cards: what each process of a box tells the others about itself, for /proc.

A card is a page of memory that all processes of the box share. Only its process writes it: when it starts a program,
and when something on it changes. There are fewer cards than possible process ids: a process takes the first of a few
that its id leads to that no living process has. If all are taken, one of those has nothing to show from then on.

    words   0  process id   1  changes (odd while somebody writes)   2  parent   3  pages mapped   4  umask
            5  threads      6..13  real, effective, saved and file system user and group ids
            14 whether somebody has knocked (noah.kernel.asking)   15  pages of Noah's own that the host counts as well
            16 dumpable (prctl(2))   17 when it was made: 1/100 s of CLOCK_MONOTONIC
    80      signals that its first thread blocks, that it ignores, that it catches; capabilities: inheritable,
            permitted, effective, bounding, ambient (64 bits each)
    144     words: no_new_privs, number of further groups, the first 32 of them
    288     comm, exe, cwd, root, cmdline, environ, each behind its length (16 bits; all ones: there was no room for it)
    3072    for each of the first 256 descriptors: the host's number + 1, or 0
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from noah.abi.time import CLOCK_MONOTONIC

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.kernel.task import Process

_CARDS: Final = 1 << 13
_STEPS: Final = 16
_SIZE: Final = 4096
_WORDS: Final = _SIZE // 4
CARDS_SIZE: Final = _CARDS * _SIZE
_PID, _CHANGES, _PARENT, _PAGES, _UMASK, _THREADS, _IDS = range(7)
_KNOCKED, _OWN_PAGES, _DUMPABLE, _STARTED = 14, 15, 16, 17
_MASKS, _SIGNALS, _GROUPS_MOST, _STRINGS = 80, 3, 32, 288
_NO_NEW_PRIVS: Final = 144 // 4
_GROUPS: Final = _NO_NEW_PRIVS + 2
_FDS: Final = 3072
_LENGTH: Final = struct.Struct("<H")
_NO_ROOM: Final = 0xFFFF
_ATTEMPTS: Final = 100
_TICK_NS: Final = 10_000_000


class Shown(NamedTuple):
    """What a card says."""

    parent: int
    pages: int
    umask: int
    threads: int
    ids: tuple[int, ...]  # real, effective, saved and file system user id, then the same of the group
    own_pages: int
    dumpable: bool
    started: int
    masks: tuple[int, ...]  # signals blocked, ignored, caught; five sets of capabilities
    no_new_privs: bool
    groups: tuple[int, ...]
    comm: bytes
    exe: bytes
    cwd: bytes
    root: bytes
    cmdline: bytes
    environ: bytes | None  # None: too long to be shown
    numbers: bytes

    @property
    def fds(self) -> dict[int, int]:
        """Guest descriptors to the host's, of the process' own host process."""
        numbers = struct.iter_unpack("<I", self.numbers)
        return {fd: number - 1 for fd, (number,) in enumerate(numbers) if number}


class Cards:
    """All cards of a box."""

    __slots__ = ("_bytes", "_is_member", "_longs", "_own", "_words")

    def __init__(self, memory: memoryview, is_member: Callable[[int], bool]) -> None:
        """memory: CARDS_SIZE bytes that the box shares, zero at first."""
        self._bytes = memory
        self._words = self._bytes.cast("I")
        self._longs = self._bytes.cast("Q")
        self._is_member = is_member
        self._own = 0

    def take(self, process: Process, parent: int = 0) -> None:
        """Choose the calling process' card. After a fork it begins as a copy of the parent's."""
        words, pid = self._words, process.pid
        before = self._find(parent) if parent else None
        own = pid % _CARDS * _WORDS
        for step in range(_STEPS):
            at = (pid + step) % _CARDS * _WORDS
            holder = words[at + _PID]
            if holder in (0, pid) or not self._is_member(holder):
                own = at
                break
        self._own = own
        if before is not None:
            words[own : own + _WORDS] = words[before : before + _WORDS]
        words[own + _PID], words[own + _PARENT], words[own + _THREADS] = pid, parent, 1
        words[own + _KNOCKED] = 0
        words[own + _STARTED] = process.host.clock.clock_gettime(CLOCK_MONOTONIC) // _TICK_NS
        process.fds.show(words[own + _FDS // 4 : own + _WORDS], current=before is not None)
        masks = own // 2 + _MASKS // 8
        process.signals.show(self._longs[masks : masks + _SIGNALS], current=before is not None)
        process.space.vmas.show(words[own + _PAGES : own + _PAGES + 1])

    def _find(self, pid: int) -> int | None:
        """Index of the first word of a process' card."""
        for step in range(_STEPS):
            at = (pid + step) % _CARDS * _WORDS
            if self._words[at + _PID] == pid:
                return at
        return None

    def write(self, process: Process) -> None:
        """Tell everything about the calling process."""
        creds, fs = process.creds, process.fs
        root = fs.root
        cmdline = b"".join(word + b"\0" for word in process.argv)
        parts = (process.comm, process.exe, fs.cwd.shown_path(root), root.path, cmdline)
        text = bytearray()
        room = _FDS - _STRINGS
        for part in parts:
            part = part[: max(0, room - len(text) - _LENGTH.size * (len(parts) + 1))]
            text += _LENGTH.pack(len(part)) + part
        environ = b"".join(word + b"\0" for word in process.environ)
        if len(text) + _LENGTH.size + len(environ) <= room:
            text += _LENGTH.pack(len(environ)) + environ
        else:
            text += _LENGTH.pack(_NO_ROOM)
        start, words = self._own, self._words
        words[start + _CHANGES] |= 1
        words[start + _PARENT] = process.parent_pid
        words[start + _UMASK] = fs.umask
        words[start + _THREADS] = len(process.tasks)
        words[start + _DUMPABLE] = process.dumpable == 1
        ids = (creds.uid, creds.euid, creds.suid, creds.fsuid, creds.gid, creds.egid, creds.sgid, creds.fsgid)
        for index, value in enumerate(ids, start + _IDS):
            words[index] = value
        sets = (creds.inheritable, creds.permitted, creds.effective, creds.bounding, creds.ambient)
        for index, value in enumerate(sets, start // 2 + _MASKS // 8 + _SIGNALS):
            self._longs[index] = value
        groups = creds.groups[:_GROUPS_MOST]
        words[start + _NO_NEW_PRIVS] = process.no_new_privs
        for index, value in enumerate((len(groups), *groups), start + _NO_NEW_PRIVS + 1):
            words[index] = value
        at = start * 4 + _STRINGS
        self._bytes[at : at + len(text)] = text
        words[start + _CHANGES] = words[start + _CHANGES] + 1 & 0xFFFF_FFFF

    def note_threads(self, count: int) -> None:
        """How many threads the calling process has now."""
        self._words[self._own + _THREADS] = count

    def threads(self, pid: int) -> int:
        """How many threads a process has; 1 before it tells."""
        at = self._find(pid)
        return self._words[at + _THREADS] if at is not None else 1

    def note_own_pages(self, pages: int) -> None:
        """How much memory the calling process has without its guest's."""
        self._words[self._own + _OWN_PAGES] = pages

    def note_knock(self, pid: int) -> None:
        """See noah.kernel.asking."""
        at = self._find(pid)
        if at is not None:
            self._words[at + _KNOCKED] = 1

    def take_knock(self) -> bool:
        """Whether somebody has knocked at the calling process since it last looked."""
        at = self._own + _KNOCKED
        knocked = self._words[at] != 0
        self._words[at] = 0
        return knocked

    def read(self, pid: int) -> Shown | None:
        """What a process shows; None if it has no card (yet)."""
        start, words = self._find(pid), self._words
        if start is None:
            return None
        for _ in range(_ATTEMPTS):
            before = words[start + _CHANGES]
            if words[start + _PID] != pid:
                return None
            card = bytes(self._bytes[start * 4 : start * 4 + _SIZE])
            if not before & 1 and words[start + _CHANGES] == before:
                return _parse(card)
        return None  # it died while it wrote


def _parse(card: bytes) -> Shown:
    words = struct.unpack_from("<18I", card)
    strings: list[bytes | None] = []
    at = _STRINGS
    for _ in range(6):
        (length,) = _LENGTH.unpack_from(card, at)
        at += _LENGTH.size
        strings.append(card[at : at + length] if length != _NO_ROOM else None)
        at += length
    environ = strings.pop()
    comm, exe, cwd, root, cmdline = (string or b"" for string in strings)
    no_new_privs, count = struct.unpack_from("<2I", card, _NO_NEW_PRIVS * 4)
    return Shown(
        *(words[_PARENT], words[_PAGES], words[_UMASK], words[_THREADS], words[_IDS : _IDS + 8]),
        *(words[_OWN_PAGES], words[_DUMPABLE] != 0, words[_STARTED]),
        *(struct.unpack_from("<8Q", card, _MASKS), no_new_privs != 0),
        struct.unpack_from(f"<{min(count, _GROUPS_MOST)}I", card, _GROUPS * 4),
        *(comm, exe, cwd, root, cmdline),
        environ,
        card[_FDS:],
    )
