"""Message queues (msgget(2)): ipc/msg.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from noah.abi.errno import E2BIG, EAGAIN, EIDRM, EINVAL, ENOMSG, LinuxError
from noah.abi.ipc import IPC_NOWAIT, MSG_COPY, MSG_EXCEPT, MSG_NOERROR, MSGMAX, MSGMNB, MSGMNI
from noah.kernel.ipc.store import MSG, Store, interrupted
from noah.kernel.ipc.table import Object, Table, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.kernel.task import Task

_Result = TypeVar("_Result")
_READ: Final = 0o444
_WRITE: Final = 0o222
_LONG_MIN: Final = -(1 << 63)


class MsgQueue(Object):
    """One queue; `messages` have a type and a text each."""

    __slots__ = ("ctime", "lrpid", "lspid", "messages", "qbytes", "rtime", "stime")

    FIELDS: ClassVar = (*Object.FIELDS, "stime", "rtime", "ctime", "qbytes", "lspid", "lrpid", "messages")

    stime: int
    rtime: int
    ctime: int
    qbytes: int
    lspid: int
    lrpid: int
    messages: list[tuple[int, bytes]]

    @property
    def cbytes(self) -> int:
        return sum(len(text) for _, text in self.messages)

    def choose(self, type: int, flags: int) -> int | None:
        """Where the message is that msgrcv(2) asks for (find_msg())."""
        if flags & MSG_COPY:
            return type if 0 <= type < len(self.messages) else None
        if not type:
            return 0 if self.messages else None
        if type < 0:
            limit = -type if type != _LONG_MIN else -(type + 1)
            low = min((kind for kind, _ in self.messages), default=limit + 1)
            type, except_it = (low, False) if low <= limit else (0, False)
        else:
            except_it = bool(flags & MSG_EXCEPT)
        return next((at for at, (kind, _) in enumerate(self.messages) if (kind == type) != except_it), None)


class MsgQueues(Table[MsgQueue]):
    """All queues of a box."""

    __slots__ = ()

    def __init__(self, store: Store) -> None:
        super().__init__(store, MSG, MsgQueue, MSGMNI)

    def open(self, task: Task, key: int, flags: int) -> int:
        """msgget(2)"""

        def make(made: MsgQueue) -> None:
            made.stime = made.rtime = made.lspid = made.lrpid = 0
            made.ctime = now(self.store)
            made.qbytes = MSGMNB
            made.messages = []

        with self:
            return self.get(task, key, flags, lambda found: None, make).id

    def send(self, task: Task, id: int, type: int, text: bytes, flags: int) -> None:
        """msgsnd(2)"""
        if id < 0 or len(text) > MSGMAX or type < 1:
            raise LinuxError(EINVAL)

        def attempt(queue: MsgQueue) -> bool:
            if len(text) + queue.cbytes > queue.qbytes or len(queue.messages) + 1 > queue.qbytes:
                return False
            queue.messages.append((type, text))
            queue.lspid, queue.stime = task.pid, now(self.store)
            self.save(queue, wake=True)
            return True

        self._until(task, id, _WRITE, attempt, EAGAIN if flags & IPC_NOWAIT else 0)

    def receive(self, task: Task, id: int, size: int, type: int, flags: int) -> tuple[int, bytes]:
        """msgrcv(2): type and text."""
        if id < 0 or size >= 1 << 63:
            raise LinuxError(EINVAL)
        if flags & MSG_COPY:
            if flags & MSG_EXCEPT or not flags & IPC_NOWAIT:
                raise LinuxError(EINVAL)

        def attempt(queue: MsgQueue) -> tuple[int, bytes] | None:
            at = queue.choose(type, flags)
            if at is None:
                return None
            kind, text = queue.messages[at]
            if len(text) > size and not flags & MSG_NOERROR:
                raise LinuxError(E2BIG)
            if not flags & MSG_COPY:
                del queue.messages[at]
                queue.lrpid, queue.rtime = task.pid, now(self.store)
                self.save(queue, wake=True)
            return kind, text[:size]

        return self._until(task, id, _READ, attempt, ENOMSG if flags & IPC_NOWAIT else 0)

    def _until(
        self, task: Task, id: int, access: int, attempt: Callable[[MsgQueue], _Result | None], refusal: int
    ) -> _Result:
        """What `attempt` answers, made again after each change of the queue while that is nothing.

        refusal: the error instead of waiting, 0 to wait.
        """
        error: LinuxError | None = None
        waited = False
        while True:
            with self:
                try:
                    queue = self.find(id)
                except LinuxError as gone:
                    raise LinuxError(EIDRM) if waited else gone from None
                queue.check(task.creds, access)
                if result := attempt(queue):
                    return result
                if refusal:
                    raise LinuxError(refusal)
                if error is not None:
                    raise error
                seen = self.store.changes(MSG, queue.index)
            waited = True
            try:
                self.store.wait(task, MSG, queue.index, seen, None)
            except LinuxError as failure:
                error = interrupted(failure)
