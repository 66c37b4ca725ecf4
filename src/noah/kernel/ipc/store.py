"""The file that holds a box's IPC objects: shared memory, semaphores and messages of all its processes.

It has no name, every process of the box inherits it, and with the last of them it is gone: nothing stays behind,
however the box ends. It is sparse and huge, and only what is used of it exists.

    directories   of each kind: which objects there are
    objects       a window for each possible one: its state, written as a whole (marshal)
    segments      the memory of shmget(2), which guests map

A process that is killed may die anywhere. So a state is written to the half of its window that is not valid, and
becomes valid by one store of a word. Who changes something holds the lock of the kind, a record lock of fcntl(2), which
the host takes back from the dead. So does it with the lock that a process holds on its own number as long as it lives:
that tells who of those that are written down somewhere (as attached, as to be undone) is gone.

Nobody waits with a lock held. Who waits for an object to change looks at the window's count of changes, by the host's
futex(2) where it has one, else every few milliseconds.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from noah.abi.errno import EAGAIN, EFBIG, EINTR, EINVAL, ENOMEM, ERESTARTSYS, ETIMEDOUT, LinuxError
from noah.abi.fcntl import F_GETLK, F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK
from noah.abi.futex import FUTEX_BITSET_MATCH_ANY, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET
from noah.abi.limits import PID_MAX_LIMIT
from noah.abi.time import CLOCK_MONOTONIC
from noah.host.values import Flock
from noah.kernel.box import LOCKS
from noah.kernel.futex import beside_others, slices

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.kernel.task import Task

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


class Kind(NamedTuple):
    """Where the objects of a kind are in the file."""

    number: int
    base: int
    window: int  # bytes for each
    limit: int  # how many


_DIRECTORY: Final = 32 * _MIB
SHM: Final = Kind(0, 1 * _GIB, 256 << 10, 4096)
SEM: Final = Kind(1, 4 * _GIB, 4 * _MIB, 32000)
MSG: Final = Kind(2, 130 * _GIB, 8 * _MIB, 32000)
MQUEUE: Final = Kind(3, 390 * _GIB, 512 * _MIB, 256)
_MAPPED: Final = 520 * _GIB
SEGMENTS: Final = 1 << 40
"""Where memory for shmget(2) begins."""
SIZES: Final = (1 << 60, 1 << 43, 1 << 41)
"""The file's, as large as the host's file system takes it."""
_HEAD: Final = 64  # bytes: what is valid; how often it has changed
_STATE, _CHANGES = 0, 4  # the first in words of 8 bytes, the second in words of 4
_PROCESSES: Final = LOCKS + 16  # record locks: at LOCKS for each kind, here for each process
_LOOK_NS: Final = 2_000_000  # between looks on hosts without futex
_LOOK_AT_THE_DEAD_NS: Final = 20_000_000


class Store:
    """The file as one process has it."""

    __slots__ = ("_bytes", "_changes", "_depths", "_lives", "_words", "address", "base", "fd", "host")

    def __init__(self, host: Host, fd: int, base: int) -> None:
        """base: where in the file everything begins."""
        self.host = host
        self.fd = fd
        """Nobody may close a descriptor of this file: the locks would be gone."""
        self.base = base
        self._make_large()
        memory = host.mem.shared(_MAPPED, fd, base)
        self._bytes = memory
        self._words = memory.cast("Q")
        self._changes = memory.cast("I")
        self.address = host.mem.address(memory)
        self._depths = [0] * 4
        self._lives = False  # whether this process has locked its number

    def _make_large(self) -> None:
        """Once: a guest's limit on the size of files does not count for this one."""
        files = self.host.files
        if files.fstat(self.fd).size > self.base + SEGMENTS:
            return
        for size in SIZES:
            try:
                files.ftruncate(self.fd, size)
                return
            except LinuxError as error:
                if error.errno not in (EFBIG, EINVAL) or size == SIZES[-1]:
                    raise

    @property
    def pid(self) -> int:
        return self.host.procs.getpid()

    # -- locks

    def acquire(self, kind: Kind) -> None:
        """Lock the directory and all objects of a kind; may be done again by who has it."""
        self._depths[kind.number] += 1
        if self._depths[kind.number] == 1:
            self._lock(F_SETLKW, F_WRLCK, LOCKS + kind.number)

    def release(self, kind: Kind) -> None:
        self._depths[kind.number] -= 1
        if not self._depths[kind.number]:
            self._lock(F_SETLK, F_UNLCK, LOCKS + kind.number)

    def _lock(self, command: int, type: int, at: int) -> Flock:
        return self.host.files.fcntl_lock(self.fd, command, Flock(type, 0, at, 1))

    def announce(self) -> None:
        """From now on others can tell whether this process lives."""
        if not self._lives:
            self._lock(F_SETLK, F_WRLCK, _PROCESSES + self.pid)
            self._lives = True

    def after_fork(self) -> None:
        """In the child: it has inherited no lock."""
        self._depths = [0] * 4
        self._lives = False

    def lives(self, pid: int) -> bool:
        """Whether a process that has announced itself has not ended."""
        if not 0 < pid < PID_MAX_LIMIT:
            return False
        if pid == self.pid:
            return True
        return self._lock(F_GETLK, F_WRLCK, _PROCESSES + pid).type != F_UNLCK

    # -- states

    def _window(self, kind: Kind, index: int) -> tuple[int, int]:
        """Offset and size; index -1 is the directory."""
        if index < 0:
            return kind.number * _DIRECTORY, _DIRECTORY
        return kind.base + index * kind.window, kind.window

    def load(self, kind: Kind, index: int = -1) -> Any:
        """The state of an object; None if it never had one."""
        at, size = self._window(kind, index)
        word = self._words[at >> 3]
        length = word >> 1
        if not length:
            return None
        at += _HEAD + (word & 1) * (size - _HEAD >> 1)
        return marshal.loads(self._bytes[at : at + length])

    def save(self, kind: Kind, state: Any, index: int = -1) -> None:
        """ENOMEM if it is too large to be kept."""
        at, size = self._window(kind, index)
        data = marshal.dumps(state)
        half = size - _HEAD >> 1
        if len(data) > half:
            raise LinuxError(ENOMEM, "more than Noah keeps of one object")
        other = ~self._words[at >> 3] & 1
        start = at + _HEAD + other * half
        self._bytes[start : start + len(data)] = data
        self._words[at >> 3] = len(data) << 1 | other

    # -- waiting

    def changes(self, kind: Kind, index: int) -> int:
        """How often an object has changed: to be asked with the lock held, before wait()."""
        return self._changes[(self._window(kind, index)[0] >> 2) + _CHANGES]

    def note_change(self, kind: Kind, index: int) -> None:
        """Wake who waits. With the lock held, or two changes may look like one."""
        at = (self._window(kind, index)[0] >> 2) + _CHANGES
        self._changes[at] = self._changes[at] + 1 & 0xFFFF_FFFF
        if self.host.caps.futex:
            self.host.mem.futex(self.address + at * 4, FUTEX_WAKE_BITSET, 0x7FFF_FFFF, last=FUTEX_BITSET_MATCH_ANY)

    def wait(
        self, task: Task, kind: Kind, index: int, seen: int, deadline_ns: int | None, *, others: bool = False
    ) -> None:
        """Wait until an object has changed; may end for no reason. ETIMEDOUT, ERESTARTSYS.

        others: it also changes, in a way, when somebody dies. deadline_ns: on CLOCK_MONOTONIC.
        """
        at = (self._window(kind, index)[0] >> 2) + _CHANGES
        clock = self.host.clock.clock_gettime
        until = deadline_ns
        if others:
            look = clock(CLOCK_MONOTONIC) + _LOOK_AT_THE_DEAD_NS
            until = look if deadline_ns is None else min(look, deadline_ns)
        try:
            if self.host.caps.futex:
                self._wait_on_host(task, self.address + at * 4, seen, until)
            else:
                while self._changes[at] == seen:
                    now = clock(CLOCK_MONOTONIC)
                    if until is not None and now >= until:
                        raise LinuxError(ETIMEDOUT)
                    task.pause(now + _LOOK_NS if until is None else min(now + _LOOK_NS, until))
        except LinuxError as error:
            if error.errno != ETIMEDOUT or (deadline_ns is not None and clock(CLOCK_MONOTONIC) >= deadline_ns):
                raise

    def _wait_on_host(self, task: Task, word: int, seen: int, deadline_ns: int | None) -> None:
        for limit in slices(task, CLOCK_MONOTONIC, deadline_ns):
            try:
                beside_others(task, word, FUTEX_WAIT_BITSET, seen, limit, FUTEX_BITSET_MATCH_ANY)
                return
            except LinuxError as error:
                if error.errno == EAGAIN:
                    return
                if error.errno not in (ETIMEDOUT, EINTR):
                    raise


def interrupted(error: LinuxError) -> LinuxError:
    """Waits for semaphores and messages are never restarted (signal(7))."""
    return LinuxError(EINTR) if error.errno == ERESTARTSYS else error
