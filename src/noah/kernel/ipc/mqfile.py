"""An open message queue: what mq_open(2) gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EAGAIN, EBUSY, EINVAL, ERESTARTSYS, ETIMEDOUT, LinuxError
from noah.abi.fcntl import O_NONBLOCK
from noah.abi.poll import POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from noah.abi.signal import SI_MESGQ, SIGEV_SIGNAL, SIGEV_THREAD
from noah.abi.stat import S_IFREG
from noah.abi.time import CLOCK_MONOTONIC, NSEC_PER_SEC
from noah.fs.anonymous import MadeUpFile, fill
from noah.host.values import Siginfo, Stat
from noah.kernel import sender
from noah.kernel.ipc.store import MQUEUE
from noah.vfs.file import sought

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.kernel.ipc.mqueue import Mqueue, Mqueues
    from noah.kernel.task import Task
    from noah.net.notifier import Notifier
    from noah.vfs.caller import Caller
    from noah.vfs.file import Views

_DEVICE: Final = 0x13
_SIZE: Final = 80  # FILENT_SIZE
_LOOK_NS: Final = 5_000_000


class MqueueFile(MadeUpFile):
    """An open file description of a queue."""

    __slots__ = ("_index", "_mqueues", "_path", "_position", "maxmsg", "msgsize")

    has_positions = True

    def __init__(self, mqueues: Mqueues, queue: Mqueue, flags: int) -> None:
        super().__init__(flags)
        self._mqueues = mqueues
        self._index = queue.index
        self._path = b"/" + queue.name
        self._position = 0
        self.maxmsg = queue.maxmsg
        self.msgsize = queue.msgsize

    @property
    def path(self) -> bytes:
        return self._path

    def close(self) -> None:
        self._mqueues.close(self._index)

    def stat(self) -> Stat:
        with self._mqueues:
            queue = self._mqueues.at(self._index)
        time = queue.time * NSEC_PER_SEC
        links = 1 if queue.name else 0
        mode = S_IFREG | queue.mode
        return Stat(_DEVICE, queue.index + 2, mode, links, queue.uid, queue.gid, 0, _SIZE, 4096, 0, time, time, time)

    def attributes(self) -> tuple[int, int, int, int]:
        """struct mq_attr: flags, maxmsg, msgsize, curmsgs."""
        with self._mqueues:
            return (
                self.flags & O_NONBLOCK,
                self.maxmsg,
                self.msgsize,
                len(self._mqueues.at(self._index).messages),
            )

    def read(self, caller: Caller, views: Views) -> int:
        done = self.pread(caller, views, self._position)
        self._position += done
        return done

    def pread(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        """mqueue_read_file()"""
        with self._mqueues:
            queue = self._mqueues.current(self._index)
        text = queue.text()[offset:]
        return fill(views, text[: sum(map(len, views))])

    def pwrite(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        self.check_writable()
        raise LinuxError(EINVAL)

    def seek(self, offset: int, whence: int) -> int:
        """default_llseek()"""
        self._position = sought(offset, whence, self._position, _SIZE)
        return self._position

    def ready(self, events: int) -> int:
        with self._mqueues:
            count = len(self._mqueues.at(self._index).messages)
        found = POLLIN | POLLRDNORM if count else 0
        if count < self.maxmsg:
            found |= POLLOUT | POLLWRNORM
        return events & found

    def changes_at(self) -> int:
        return self._mqueues.store.host.clock.clock_gettime(CLOCK_MONOTONIC) + _LOOK_NS

    def send(self, task: Task, priority: int, text: bytes, deadline_ns: int | None) -> None:
        """mq_timedsend(2)"""
        mqueues = self._mqueues
        while True:
            with mqueues:
                queue = mqueues.current(self._index)
                if len(queue.messages) < queue.maxmsg:
                    queue.put(priority, text)
                    notify = None
                    if len(queue.messages) == 1 and not queue.receivers:
                        notify, queue.notify = queue.notify, None
                    mqueues.save(queue, wake=True)
                    break
                if self.flags & O_NONBLOCK:
                    raise LinuxError(EAGAIN)
                seen = mqueues.store.changes(MQUEUE, self._index)
            mqueues.store.wait(task, MQUEUE, self._index, seen, deadline_ns)
        if notify is not None and notify[1] == SIGEV_SIGNAL and notify[2]:
            _signal(task, *notify)
        elif notify is not None and notify[1] == SIGEV_THREAD:
            self._tell_thread(task, notify[0])

    def _tell_thread(self, task: Task, pid: int) -> None:
        if pid == task.pid:
            self._mqueues.fire(self._index)
            return
        try:
            task.process.request(pid, b"mqueue", self._index.to_bytes(4, "little"))
        except LinuxError:
            return  # it has just ended, or is stopped

    def receive(self, task: Task, deadline_ns: int | None) -> tuple[int, bytes]:
        """mq_timedreceive(2): priority and text."""
        mqueues = self._mqueues
        entry = task.pid, task.tid
        waited = False
        error: LinuxError | None = None
        while True:
            with mqueues:
                queue = mqueues.current(self._index)
                if waited and entry in queue.receivers:
                    queue.receivers.remove(entry)
                if queue.messages:
                    priority, text = queue.messages.pop(0)
                    mqueues.save(queue, wake=True)
                    return priority, text
                if error is not None:
                    mqueues.save(queue)
                    raise error
                if self.flags & O_NONBLOCK:
                    raise LinuxError(EAGAIN)
                queue.receivers.append(entry)
                mqueues.save(queue)
                seen = mqueues.store.changes(MQUEUE, self._index)
            waited = True
            try:
                mqueues.store.wait(task, MQUEUE, self._index, seen, deadline_ns)
            except LinuxError as failure:
                if failure.errno not in (ERESTARTSYS, ETIMEDOUT):
                    raise
                error = failure

    def notify(
        self, task: Task, event: tuple[int, int, int] | None, notifier: Callable[[], Notifier] | None = None
    ) -> None:
        """mq_notify(2): SIGEV_*, signal and value; None takes it back."""
        mqueues = self._mqueues
        with mqueues:
            queue = mqueues.current(self._index)
            if event is None:
                if queue.notify is not None and queue.notify[0] == task.pid:
                    mqueues.forget_notify(queue)
            elif queue.notify is not None:
                raise LinuxError(EBUSY)
            else:
                mqueues.register(queue, (task.pid, *event), notifier)
            mqueues.save(queue)


def _signal(task: Task, pid: int, kind: int, signo: int, value: int) -> None:
    """__do_notify(): the sender's ids, and no look at permissions."""
    info = Siginfo(signo, 0, SI_MESGQ, pid=task.pid, uid=task.creds.uid, value=value)
    if pid == task.pid:
        task.process.signals.send_self(task, signo, info)
        return
    try:
        sender.send(task.process, pid, info)
    except LinuxError:
        return  # it has just ended
