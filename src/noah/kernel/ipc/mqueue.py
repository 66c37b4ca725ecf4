"""POSIX message queues (mq_overview(7)): ipc/mqueue.c.

A queue lives as long as it has a name or somebody has it open. `opened` says how often each process has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from noah.abi.capability import CAP_DAC_OVERRIDE, CAP_SYS_RESOURCE
from noah.abi.errno import EACCES, EEXIST, EINVAL, EMFILE, ENOENT, ENOSPC, EPERM, LinuxError
from noah.abi.ipc import (
    MQ_HARD_MSGMAX,
    MQ_HARD_MSGSIZEMAX,
    MQ_MSG_DEFAULT,
    MQ_MSG_MAX,
    MQ_MSGSIZE_DEFAULT,
    MQ_MSGSIZE_MAX,
    MQ_PRIO_MAX,
    MQ_QUEUES_MAX,
)
from noah.abi.resource import RLIMIT_MSGQUEUE
from noah.kernel.ipc.store import MQUEUE, Store
from noah.kernel.ipc.table import Object, Table, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.kernel.task import Task
    from noah.net.notifier import Notifier
    from noah.vfs.credentials import Credentials

Notify = tuple[int, int, int, int]
"""Who wants to know of the next message, and how: process id, SIGEV_*, signal, value."""
_NODE: Final = 48  # sizeof(struct msg_msg), and of struct posix_msg_tree_node: what RLIMIT_MSGQUEUE counts


class Mqueue(Object):
    """One queue; its messages have a priority and a text each, and are in the order in which they will be received.

    `receivers`: process id and thread id of each who waits for a message.
    """

    __slots__ = ("maxmsg", "messages", "msgsize", "name", "notify", "opened", "receivers", "time")

    FIELDS: ClassVar = (
        *Object.FIELDS,
        "name",
        "maxmsg",
        "msgsize",
        "messages",
        "notify",
        "opened",
        "receivers",
        "time",
    )

    name: bytes  # empty when it is unlinked
    maxmsg: int
    msgsize: int
    messages: list[tuple[int, bytes]]
    notify: Notify | None
    opened: dict[int, int]
    receivers: list[tuple[int, int]]
    time: int

    def put(self, priority: int, text: bytes) -> None:
        at = next((at for at, (other, _) in enumerate(self.messages) if other < priority), len(self.messages))
        self.messages.insert(at, (priority, text))

    def text(self) -> bytes:
        """What its file shows (mqueue_read_file())."""
        pid, kind, signo, _ = self.notify or (0, 0, 0, 0)
        size = sum(len(text) for _, text in self.messages)
        return b"QSIZE:%-10d NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n" % (size, kind, signo, pid)

    def check_file(self, creds: Credentials, wanted: int) -> None:
        """EACCES unless these bits of rwx are granted (generic_permission())."""
        granted = self.mode
        if creds.fsuid == self.uid:
            granted >>= 6
        elif creds.in_group(self.gid):
            granted >>= 3
        if wanted & ~granted & 7 and not creds.capable(CAP_DAC_OVERRIDE):
            raise LinuxError(EACCES)

    @property
    def counted(self) -> int:
        """Bytes of RLIMIT_MSGQUEUE."""
        return self.maxmsg * (_NODE + self.msgsize) + min(self.maxmsg, MQ_PRIO_MAX) * _NODE


class Mqueues(Table[Mqueue]):
    """All queues of a box."""

    __slots__ = ("_notifiers", "_own")

    def __init__(self, store: Store) -> None:
        super().__init__(store, MQUEUE, Mqueue, MQUEUE.limit)
        self._notifiers: dict[int, Notifier] = {}  # of this process' queues, by index
        self._own: dict[int, int] = {}  # how often this process has each open, by index

    def current(self, index: int) -> Mqueue:
        """A queue that is open here, as it is without the dead."""
        found = self.at(index)
        dead = [pid for pid in found.opened if not self.store.lives(pid)]
        for pid in dead:
            del found.opened[pid]
        found.receivers = [entry for entry in found.receivers if self.store.lives(entry[0])]
        if found.notify is not None and not self.store.lives(found.notify[0]):
            found.notify = None
        return found

    def named(self, name: bytes) -> Mqueue | None:
        return next((each for each in self.all() if each.name == name), None)

    def open(
        self,
        task: Task,
        name: bytes,
        rights: int,
        *,
        create: bool,
        exclusive: bool,
        mode: int,
        wanted: tuple[int, int] | None,
    ) -> Mqueue:
        """mq_open(3). rights: 4 to receive, 2 to send. wanted: maxmsg and msgsize of a new one."""
        with self:
            found = self.named(name)
            if found is None:
                if not create:
                    raise LinuxError(ENOENT)
                found = self._create(task, name, mode, wanted)
            else:
                if create and exclusive:
                    raise LinuxError(EEXIST)
                found.check_file(task.creds, rights)
            self.store.announce()
            self._own[found.index] = self._own.get(found.index, 0) + 1
            found.opened[task.pid] = self._own[found.index]
            self.save(found)
            return found

    def _create(self, task: Task, name: bytes, mode: int, wanted: tuple[int, int] | None) -> Mqueue:
        maxmsg, msgsize = wanted or (MQ_MSG_DEFAULT, MQ_MSGSIZE_DEFAULT)
        privileged = task.creds.capable(CAP_SYS_RESOURCE)
        if not 0 < maxmsg <= (MQ_HARD_MSGMAX if privileged else MQ_MSG_MAX):
            raise LinuxError(EINVAL)
        if not 0 < msgsize <= (MQ_HARD_MSGSIZEMAX if privileged else MQ_MSGSIZE_MAX):
            raise LinuxError(EINVAL)
        for each in self.all():
            self._settle(self.current(each.index))
        everything = list(self.all())
        if len(everything) >= self._limit or (len(everything) >= MQ_QUEUES_MAX and not privileged):
            raise LinuxError(ENOSPC)

        def make(made: Mqueue) -> None:
            made.name, made.maxmsg, made.msgsize = name, maxmsg, msgsize
            made.mode = mode & 0o7777
            made.uid, made.gid = task.creds.fsuid, task.creds.fsgid
            made.messages, made.notify, made.opened, made.receivers = [], None, {}, []
            made.time = now(self.store)
            counted = made.counted + sum(each.counted for each in everything if each.cuid == made.cuid)
            if counted > task.process.rlimits[RLIMIT_MSGQUEUE][0]:
                raise LinuxError(EMFILE)

        return self.make(task, 0, 0, make)

    def unlink(self, task: Task, name: bytes) -> None:
        """mq_unlink(3). The directory is sticky (mqueue_get_tree())."""
        with self:
            found = self.named(name)
            if found is None:
                raise LinuxError(ENOENT)
            if task.creds.fsuid not in (found.uid, 0) and not task.creds.privileged:
                raise LinuxError(EPERM)
            found = self.current(found.index)
            found.name = b""
            self._settle(found)

    def close(self, index: int) -> None:
        """The last descriptor of an open queue is closed."""
        with self:
            pid = self.store.pid
            count = self._own.pop(index, 0) - 1
            if count > 0:
                self._own[index] = count
            found = self.current(index)
            found.opened[pid] = count
            if count <= 0:
                del found.opened[pid]
            if found.notify is not None and found.notify[0] == pid:
                self.forget_notify(found)
            self._settle(found)

    def register(self, found: Mqueue, notify: Notify, notifier: Callable[[], Notifier] | None) -> None:
        """mq_notify(2). notifier: makes what tells a thread (SIGEV_THREAD)."""
        if notifier is not None:
            self._notifiers[found.index] = notifier()
        found.notify = notify

    def forget_notify(self, found: Mqueue) -> None:
        """What this process has asked for (remove_notification())."""
        found.notify = None
        notifier = self._notifiers.pop(found.index, None)
        if notifier is not None:
            notifier.remove()

    def fire(self, index: int) -> None:
        """There is a message in a queue whose notification was this process'."""
        notifier = self._notifiers.pop(index, None)
        if notifier is not None:
            notifier.fire()

    def _settle(self, found: Mqueue) -> None:
        if found.name or found.opened:
            self.save(found)
        else:
            self.remove(found)

    @property
    def is_used(self) -> bool:
        """Whether this process has any open."""
        return bool(self._own)

    def after_fork(self) -> None:
        """In the child: it has open what its parent has, which waits for this (see kernel.fork)."""
        for notifier in self._notifiers.values():
            notifier.forget()
        self._notifiers = {}
        if not self._own:
            return
        self.store.announce()
        with self:
            for index, count in self._own.items():
                found = self.at(index)
                found.opened[self.store.pid] = count
                self.save(found)

    def end(self) -> None:
        """The process ends."""
        for index in list(self._own):
            self._own[index] = 1
            self.close(index)
