"""Semaphore sets (semget(2)): values, and what is to be undone when a process ends (ipc/sem.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from noah.abi.errno import EAGAIN, EFBIG, EIDRM, EINVAL, ENOSPC, ERANGE, ETIMEDOUT, LinuxError
from noah.abi.ipc import IPC_NOWAIT, SEM_UNDO, SEMMNI, SEMMNS, SEMMSL, SEMVMX
from noah.kernel.ipc.store import SEM, Store, interrupted
from noah.kernel.ipc.table import Object, Table, now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from noah.kernel.task import Task

Operation = tuple[int, int, int]
"""struct sembuf: semaphore, operation, flags."""
_READ: Final = 0o444
_ALTER: Final = 0o222


class SemSet(Object):
    """One set.

    `undo`: by process id, what is added to which semaphores at its end. `waiting`: the process id, thread id and
    semaphore of each who waits, and whether for zero.
    """

    __slots__ = ("ctime", "otime", "pids", "undo", "values", "waiting")

    FIELDS: ClassVar = (*Object.FIELDS, "otime", "ctime", "values", "pids", "undo", "waiting")

    otime: int
    ctime: int
    values: list[int]
    pids: list[int]
    undo: dict[int, dict[int, int]]
    waiting: list[tuple[int, int, int, bool]]


class Semaphores(Table[SemSet]):
    """All sets of a box."""

    __slots__ = ()

    def __init__(self, store: Store) -> None:
        super().__init__(store, SEM, SemSet, SEMMNI)

    def open(self, task: Task, key: int, count: int, flags: int) -> int:
        """semget(2)"""

        def fits(found: SemSet) -> None:
            if count > len(found.values):
                raise LinuxError(EINVAL)

        def make(made: SemSet) -> None:
            if not count:
                raise LinuxError(EINVAL)
            if count + sum(len(each.values) for each in self.all()) > SEMMNS:
                raise LinuxError(ENOSPC)
            made.otime, made.ctime = 0, now(self.store)
            made.values, made.pids = [0] * count, [0] * count
            made.undo, made.waiting = {}, []

        if not 0 <= count <= SEMMSL:
            raise LinuxError(EINVAL)
        with self:
            return self.get(task, key, flags, fits, make).id

    def current(self, id: int) -> SemSet:
        """A set as it is after what the dead owed it was undone."""
        found = self.find(id)
        self.bury(found)
        return found

    def bury(self, found: SemSet) -> None:
        """Undo what processes that are dead have left to be undone."""
        dead = [pid for pid in found.undo if not self.store.lives(pid)]
        for pid in dead:
            self.undo(found, pid)
        waiting = [entry for entry in found.waiting if self.store.lives(entry[0])]
        if dead or len(waiting) != len(found.waiting):
            found.waiting = waiting
            self.save(found, wake=bool(dead))

    def undo(self, found: SemSet, pid: int) -> None:
        """exit_sem() for one set, which is not saved."""
        for number, value in found.undo.pop(pid, {}).items():
            found.values[number] = min(max(found.values[number] + value, 0), SEMVMX)
            found.pids[number] = pid

    def operate(self, task: Task, id: int, operations: Sequence[Operation], deadline_ns: int | None) -> None:
        """semtimedop(2)"""
        if any(flags & SEM_UNDO for _, _, flags in operations):
            self.store.announce()
        alters = any(operation for _, operation, _ in operations)
        largest = max(number for number, _, _ in operations)
        entry = None
        error: LinuxError | None = None
        while True:
            with self:
                try:
                    found = self.current(id)
                except LinuxError as gone:
                    raise LinuxError(EIDRM) if entry is not None else gone from None
                if entry is not None:
                    found.waiting.remove(entry)
                if largest >= len(found.values):
                    raise LinuxError(EFBIG)
                found.check(task.creds, _ALTER if alters else _READ)
                try:
                    blocked = self._attempt(task, found, operations)
                except LinuxError:
                    if entry is not None:
                        self.save(found)
                    raise
                if blocked is None:
                    found.otime = now(self.store)
                    self.save(found, wake=alters)
                    return
                if error is not None:
                    self.save(found)
                    raise error
                number, operation, _ = blocked
                entry = (task.pid, task.tid, number, not operation)
                self.store.announce()
                found.waiting.append(entry)
                self.save(found)
                seen = self.store.changes(SEM, found.index)
                others = any(pid != task.pid for pid in found.undo)
            try:
                self.store.wait(task, SEM, found.index, seen, deadline_ns, others=others)
            except LinuxError as failure:
                error = LinuxError(EAGAIN) if failure.errno == ETIMEDOUT else interrupted(failure)

    def _attempt(self, task: Task, found: SemSet, operations: Sequence[Operation]) -> Operation | None:
        """Do all operations, or none: then the one that has to wait. EAGAIN, ERANGE (perform_atomic_semop())."""
        values = list(found.values)
        undo = dict(found.undo.get(task.pid, ()))
        for operation in operations:
            number, change, flags = operation
            value = values[number]
            if (not change and value) or value + change < 0:
                if flags & IPC_NOWAIT:
                    raise LinuxError(EAGAIN)
                return operation
            if value + change > SEMVMX:
                raise LinuxError(ERANGE)
            if flags & SEM_UNDO:
                undo[number] = undo.get(number, 0) - change
                if not -SEMVMX - 1 <= undo[number] <= SEMVMX:
                    raise LinuxError(ERANGE)
            values[number] = value + change
        found.values = values
        for number, _, _ in operations:
            found.pids[number] = task.pid
        if any(flags & SEM_UNDO for _, _, flags in operations):
            found.undo[task.pid] = undo
        return None

    def end(self, pid: int) -> None:
        """exit_sem(): the process ends."""
        with self:
            for found in self.all():
                if pid in found.undo:
                    self.undo(found, pid)
                    self.save(found, wake=True)
