"""The box: the guest processes that see each other.

All of them descend from one host process, so a piece of shared memory inherited over fork is registry enough: a record
for each possible process id. It needs no lock (every process writes its own record or its child's), and no file as long
as nobody else shall join the box: then it is gone with the last process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from noah.abi.capability import CAP_KILL
from noah.abi.errno import ENOSPC, LinuxError
from noah.abi.fcntl import F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK
from noah.abi.limits import PID_MAX_LIMIT
from noah.host.api import Host
from noah.host.values import Flock
from noah.kernel.asking import ASKING_SIZE, Asking
from noah.kernel.card import CARDS_SIZE, Cards, Shown
from noah.kernel.lockwaits import LOCK_WAITS_SIZE, LockWaits
from noah.kernel.sender import LETTERS_SIZE, Letters
from noah.kernel.uts import UTS_SIZE, UtsNames
from noah.net.names import NAMES_SIZE, SocketNames
from noah.vfs.credentials import Credentials

INIT: Final = 1
_BLOCK: Final = 4096  # process ids that are looked at together
_RECORD: Final = 8  # words
_UID, _EUID, _SUID, _EXECUTED, _DEVICE, _INODE = 0, 1, 2, 3, 4, 6
_PROGRAMS: Final = 1 << 12  # must be a power of 2
_MOMENT_NS: Final = 1_000_000
_PATIENCE: Final = 200  # moments
_NAME: Final = 8  # bytes
_NOT_YET, _NO_FILE = -1, -2
_IPC_BASE: Final = 1 << 32  # in the box's file, behind all else
_MEMBER, _GONE = 1, 2
LOCKS: Final = 1 << 61
"""Offset of record locks in the box's file: 15 of the kinds of IPC objects, one for marking(), those of processes."""
_MARKING: Final = LOCKS + 15


class Box:
    """Process ids of one `noah run` and everything that it started, and what processes must know of each other."""

    __slots__ = (
        "_blocks",
        "_host",
        "_ipc",
        "_members",
        "_name",
        "_programs",
        "_records",
        "asking",
        "cards",
        "letters",
        "lock_waits",
        "socket_names",
        "uts",
    )

    def __init__(self, host: Host, fd: int = -1) -> None:
        """fd: a file that others join the box by; it may be closed afterwards."""
        self._host = host
        self._ipc = (_NOT_YET, 0) if fd < 0 else (host.files.dup(fd), _IPC_BASE)
        records = PID_MAX_LIMIT * _RECORD * 4
        members = PID_MAX_LIMIT + PID_MAX_LIMIT // _BLOCK
        size = CARDS_SIZE + ASKING_SIZE + LOCK_WAITS_SIZE + LETTERS_SIZE + NAMES_SIZE
        size += records + members + _PROGRAMS + _NAME + UTS_SIZE
        shared = host.mem.shared(size, fd)
        self.uts = UtsNames(shared[-UTS_SIZE:])
        shared = shared[:-UTS_SIZE]
        self._name = shared[-_NAME:]
        shared = shared[:-_NAME]
        self.cards = Cards(shared[:CARDS_SIZE], self.contains)
        shared = shared[CARDS_SIZE:]
        self.asking = Asking(host, shared[:ASKING_SIZE], self.cards, self.contains)
        shared = shared[ASKING_SIZE:]
        self.lock_waits = LockWaits(shared[:LOCK_WAITS_SIZE])
        shared = shared[LOCK_WAITS_SIZE:]
        self.letters = Letters(host, shared[:LETTERS_SIZE], self.contains)
        shared = shared[LETTERS_SIZE:]
        self.socket_names = SocketNames(shared[:NAMES_SIZE])
        shared = shared[NAMES_SIZE:]
        self._records = shared[:records].cast("I")
        self._members = shared[records : records + PID_MAX_LIMIT]
        self._blocks = shared[records + PID_MAX_LIMIT : -_PROGRAMS]  # which parts of _members are worth a look
        self._programs = shared[-_PROGRAMS:]  # which inode numbers, modulo its length, are worth a look

    @property
    def name(self) -> bytes:
        """A word that no other box has."""
        if not any(self._name):
            self._name[:] = self._host.rng.getrandom(_NAME // 2).hex().encode()
        return bytes(self._name)

    def share_ipc(self) -> None:
        """Before a fork: all processes shall inherit the file of ipc_file()."""
        if self._ipc[0] == _NOT_YET:
            try:
                self._ipc = self._host.files.memfd_create(b"noah-ipc"), 0
            except LinuxError:  # no place for a temporary file: the box does without
                self._ipc = _NO_FILE, 0

    def ipc_file(self) -> tuple[int, int]:
        """A descriptor of the file that holds the box's IPC objects, and where in it they begin (see kernel.ipc.store).

        ENOSPC if there is none.
        """
        self.share_ipc()
        if self._ipc[0] == _NO_FILE:
            raise LinuxError(ENOSPC, "the host has no place for a temporary file")
        return self._ipc

    @contextmanager
    def marking(self) -> Iterator[None]:
        """Let no other process in here meanwhile, for which the host unlocks what the dead had locked."""
        lock, (fd, _) = self._host.files.fcntl_lock, self.ipc_file()
        lock(fd, F_SETLKW, Flock(F_WRLCK, 0, _MARKING, 1))
        try:
            yield
        finally:
            lock(fd, F_SETLK, Flock(F_UNLCK, 0, _MARKING, 1))

    def add(self, pid: int, creds: Credentials, program: tuple[int, int]) -> None:
        """A process that has just been forked. program: device and inode."""
        self._note_program(pid, program)
        self._records[pid * _RECORD + _EXECUTED] = 0
        self.note_users(pid, creds)
        self._members[pid] = self._blocks[pid // _BLOCK] = _MEMBER

    def remove(self, pid: int) -> None:
        """The process was reaped by its parent."""
        self._members[pid] = _GONE

    def contains(self, pid: int) -> bool:
        return 0 < pid < PID_MAX_LIMIT and self._members[pid] == _MEMBER

    def has_known(self, pid: int) -> bool:
        """Whether it is a member, or was one."""
        return 0 < pid < PID_MAX_LIMIT and self._members[pid] != 0

    def is_noah(self, pid: int) -> bool:
        """Whether it is the box's process 1, which no process of the host is (docs/decisions/0012)."""
        return pid == INIT and not self.contains(INIT)

    def parent(self, pid: int) -> int:
        """A parent on the host, as the box sees it: what is not of the box, Noah, is its process 1."""
        return pid if self.contains(pid) else INIT

    def members(self) -> Iterator[int]:
        """Every process of the box that still exists; entries of processes that others reaped are dropped."""
        for start in range(0, PID_MAX_LIMIT, _BLOCK):
            if not self._blocks[start // _BLOCK]:
                continue
            block = bytes(self._members[start : start + _BLOCK])
            at = block.find(_MEMBER)
            while at >= 0:
                pid = start + at
                try:
                    self._host.procs.kill(pid, 0)
                    yield pid
                except LinuxError:
                    self._members[pid] = _GONE
                at = block.find(_MEMBER, at + 1)

    def group(self, pgid: int) -> list[int]:
        """The processes of the box in a process group: others may be in it as well, and are not the guest's."""
        found = []
        for pid in self.members():
            try:
                if self._host.procs.getpgid(pid) == pgid:
                    found.append(pid)
            except LinuxError:
                continue
        return found

    # -- what a process tells the others

    def shown(self, pid: int) -> Shown | None:
        """What /proc shows of another process; None if that is not known.

        Waits for a child that has just been forked and has not told anything yet.
        """
        for _ in range(_PATIENCE):
            shown = self.cards.read(pid)
            if shown is not None or not self.contains(pid):
                return shown
            self._host.poller.poll((), _MOMENT_NS, signals=False)
        return None

    def note_users(self, pid: int, creds: Credentials) -> None:
        at, records = pid * _RECORD, self._records
        records[at + _UID], records[at + _EUID], records[at + _SUID] = creds.uid, creds.euid, creds.suid

    def users(self, pid: int) -> tuple[int, int, int]:
        """Real, effective and saved user id of a member."""
        at, records = pid * _RECORD, self._records
        return records[at + _UID], records[at + _EUID], records[at + _SUID]

    def note_exec(self, pid: int, program: tuple[int, int]) -> None:
        self._note_program(pid, program)
        self._records[pid * _RECORD + _EXECUTED] = 1

    def note_end(self, pid: int) -> None:
        """The process is about to end: what it ran may be written to."""
        self._note_program(pid, (0, 0))

    def _note_program(self, pid: int, program: tuple[int, int]) -> None:
        device, inode = program
        at, records = pid * _RECORD, self._records
        records[at + _DEVICE], records[at + _DEVICE + 1] = device & 0xFFFFFFFF, device >> 32
        records[at + _INODE], records[at + _INODE + 1] = inode & 0xFFFFFFFF, inode >> 32
        self._programs[inode & _PROGRAMS - 1] = 1

    def runs(self, device: int, inode: int) -> bool:
        """Whether a member runs this file."""
        if not self._programs[inode & _PROGRAMS - 1]:
            return False
        wanted = [device & 0xFFFFFFFF, device >> 32, inode & 0xFFFFFFFF, inode >> 32]
        records = self._records
        for pid in self.members():
            at = pid * _RECORD + _DEVICE
            if records[at : at + 4].tolist() == wanted:
                return True
        return False

    def has_executed(self, pid: int) -> bool:
        """Whether a member has called execve(2) since it was forked."""
        return self._records[pid * _RECORD + _EXECUTED] != 0

    def may_signal(self, creds: Credentials, pid: int) -> bool:
        """Whether somebody may signal a member (kill_ok_by_cred())."""
        uid, _, suid = self.users(pid)
        return creds.euid in (uid, suid) or creds.uid in (uid, suid) or creds.capable(CAP_KILL)
