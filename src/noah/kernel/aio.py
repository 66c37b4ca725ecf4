"""Asynchronous I/O (io_submit(2)): a request is carried out when it is handed in, and its end is to be fetched later.

Linux does the same for whatever is not O_DIRECT. Only IOCB_CMD_POLL really waits in the background: for it, a look is
taken when somebody asks for events.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from noah.abi.aio import (
    IOCB_CMD_FDSYNC,
    IOCB_CMD_FSYNC,
    IOCB_CMD_POLL,
    IOCB_CMD_PREAD,
    IOCB_CMD_PREADV,
    IOCB_CMD_PWRITE,
    IOCB_CMD_PWRITEV,
    IOCB_FLAG_IOPRIO,
    IOCB_FLAG_RESFD,
)
from noah.abi.aiostructs import Iocb
from noah.abi.errno import EAGAIN, EINVAL, LinuxError
from noah.abi.mman import MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE
from noah.abi.poll import POLLERR, POLLHUP
from noah.abi.time import CLOCK_MONOTONIC
from noah.fs.eventfd import EventFile
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from noah.kernel.task import Task
    from noah.vfs.file import OpenFile

Event = tuple[int, int, int, int]
"""struct io_event: data, obj, res, res2."""
NAME: Final = b"/[aio] (deleted)"
_LOOK_NS: Final = 2_000_000
_ONE: Final = (1).to_bytes(8, "little")
_READS: Final = frozenset((IOCB_CMD_PREAD, IOCB_CMD_PREADV))
_WRITES: Final = frozenset((IOCB_CMD_PWRITE, IOCB_CMD_PWRITEV))
_SYNCS: Final = frozenset((IOCB_CMD_FSYNC, IOCB_CMD_FDSYNC))


class AioContext:
    """What io_setup(2) makes. `room`: how many requests may be on their way."""

    __slots__ = ("_dead", "_done", "_polls", "_waiting", "pid", "room")

    def __init__(self, pid: int, room: int) -> None:
        self.pid = pid
        self.room = room
        self._done: deque[Event] = deque()
        self._polls: list[tuple[OpenFile, int, Iocb, int, EventFile | None]] = []
        self._waiting: list[Task] = []  # threads in take()
        self._dead = False

    def submit(self, task: Task, address: int) -> None:
        """One request of io_submit(2). What is wrong with the request is raised, what goes wrong is an event."""
        iocb = Iocb.unpack_from(task.mem.read(address, Iocb.struct.size))
        if iocb.reserved2 or iocb.nbytes >= 1 << 63 or iocb.flags & ~(IOCB_FLAG_RESFD | IOCB_FLAG_IOPRIO):
            raise LinuxError(EINVAL)
        if len(self._done) + len(self._polls) >= self.room:
            raise LinuxError(EAGAIN)
        file = task.fds.get(iocb.fildes)
        counter = None
        if iocb.flags & IOCB_FLAG_RESFD:
            found = task.fds.get(iocb.resfd)
            if not isinstance(found, EventFile):
                raise LinuxError(EINVAL)
            counter = found
        task.mem.write_u32(address + Iocb.OFFSETS["key"], 0)
        if iocb.opcode == IOCB_CMD_POLL:
            if iocb.buf >> 16 or iocb.offset or iocb.nbytes or iocb.rw_flags:
                raise LinuxError(EINVAL)
            self._polls.append((file.acquire(), iocb.buf | POLLERR | POLLHUP, iocb, address, counter))
            self._wake(task)
            return
        result = _carry_out(task, file, iocb)
        self._finish(task, (iocb.data, address, result, 0), counter)

    def _finish(self, task: Task, event: Event, counter: EventFile | None) -> None:
        self._done.append(event)
        self._wake(task)
        if counter is not None:
            counter.write(task, [memoryview(_ONE)])

    def cancel(self, task: Task, address: int) -> None:
        """io_cancel(2): only IOCB_CMD_POLL can still be on its way. Its end is an event like any other."""
        for entry in self._polls:
            if entry[3] == address:
                self._polls.remove(entry)
                entry[0].release()
                self._finish(task, (entry[2].data, address, 0, 0), entry[4])
                return
        raise LinuxError(EINVAL)

    def _wake(self, task: Task) -> None:
        for waiting in self._waiting:
            if task.process.threads is not None:
                task.process.threads.kick(waiting)

    def take(self, task: Task, least: int, most: int, deadline_ns: int | None) -> list[Event]:
        """io_getevents(2). ERESTARTSYS if it takes too long and there is nothing yet, EINVAL if the context goes."""
        clock = task.host.clock.clock_gettime
        found: list[Event] = []
        while True:
            self._look(task)
            while self._done and len(found) < most:
                found.append(self._done.popleft())
            if self._dead and not found:
                raise LinuxError(EINVAL)
            now = clock(CLOCK_MONOTONIC)
            if self._dead or len(found) >= least or (deadline_ns is not None and now >= deadline_ns):
                return found
            self._waiting.append(task)
            try:
                self._wait(task, deadline_ns, now + _LOOK_NS)
            except LinuxError:
                if found:
                    return found
                raise
            finally:
                self._waiting.remove(task)

    def _wait(self, task: Task, deadline_ns: int | None, look_ns: int) -> None:
        """Until something is done by another thread, or may have happened to a file that is awaited."""
        if not self._polls:
            task.pause(deadline_ns)
            return
        waited = [(file.poll_fd, mask) for file, mask, *_ in self._polls if file.poll_fd >= 0]
        task.wait(waited, look_ns if deadline_ns is None else min(look_ns, deadline_ns))

    def _look(self, task: Task) -> None:
        """Which of the files that are awaited are ready."""
        waited = [(file.poll_fd, mask) for file, mask, *_ in self._polls if file.poll_fd >= 0]
        ready = dict(task.host.poller.poll(waited, 0, signals=False)[0]) if waited else {}
        for entry in list(self._polls):
            file, mask, iocb, address, counter = entry
            events = ready.get(file.poll_fd, 0) & mask if file.poll_fd >= 0 else file.ready(mask)
            if events:
                self._polls.remove(entry)
                file.release()
                self._finish(task, (iocb.data, address, events, 0), counter)

    def end(self, task: Task) -> None:
        """io_destroy(2), for those who wait as well (fs/aio.c: kill_ioctx())."""
        self._dead = True
        self._wake(task)
        for file, *_ in self._polls:
            file.release()
        self._polls.clear()


def _carry_out(task: Task, file: OpenFile, iocb: Iocb) -> int:
    """The result of a request, as an event has it."""
    opcode = iocb.opcode
    if opcode in _SYNCS:
        if iocb.buf or iocb.offset or iocb.nbytes or iocb.rw_flags:
            raise LinuxError(EINVAL)
        file.sync(data_only=opcode == IOCB_CMD_FDSYNC)
        return 0
    if opcode not in _READS | _WRITES:
        raise LinuxError(EINVAL)
    write = opcode in _READS  # into the guest's memory
    if write:
        file.check_readable()
    else:
        file.check_writable()
    if opcode in (IOCB_CMD_PREADV, IOCB_CMD_PWRITEV):
        views = task.mem.iovec(iocb.buf, iocb.nbytes, write=write)
    else:
        try:
            views = task.mem.buffer(iocb.buf, iocb.nbytes, write=write)
        except LinuxError as error:  # found out when it is used
            return -error.errno
    if file.has_positions and iocb.offset < 0:
        raise LinuxError(EINVAL)
    try:
        if file.has_positions:
            call = file.pread if write else file.pwrite
            return call(task, views, iocb.offset, iocb.rw_flags)
        return file.read(task, views) if write else file.write(task, views)
    except LinuxError as error:
        return -error.errno


def make_context(task: Task, room: int) -> int:
    """io_setup(2): a context's name is the address of the pages that its ring of events has in Linux."""
    address = task.space.mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, None, 0)
    vma = task.space.vmas.cut(address, address + PAGE)[0]
    vma.name = NAME
    task.space.vmas.insert(vma)
    task.process.aio[address] = AioContext(task.pid, room)
    return address


def find_context(task: Task, address: int) -> AioContext:
    """EINVAL; a child has none of its parent's, and a new program none of the old one's."""
    context = task.process.aio.get(address)
    vma = task.space.vmas.find(address)
    if context is None or context.pid != task.pid or vma is None or vma.name != NAME:
        raise LinuxError(EINVAL)
    return context
