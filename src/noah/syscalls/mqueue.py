"""POSIX message queues: mq_open(2) and its family. What they do is in noah.kernel.ipc.mqueue."""

from __future__ import annotations

from typing import Final

from noah.abi.errno import EACCES, EBADF, EINVAL, EMSGSIZE, ENAMETOOLONG, ENOENT, ENOTSOCK, LinuxError
from noah.abi.fcntl import O_ACCMODE, O_CREAT, O_EXCL, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY
from noah.abi.ipc import MQ_PRIO_MAX
from noah.abi.ipcstructs import MqAttr
from noah.abi.kinds import (
    Fd,
    InBuf,
    Mode,
    MqAttrOutPtr,
    MqAttrPtr,
    OpenFlags,
    OutBuf,
    SigeventPtr,
    Size,
    Str,
    TimespecPtr,
    UInt,
    UIntOutPtr,
)
from noah.abi.limits import NAME_MAX, PATH_MAX
from noah.abi.signal import NSIG, SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD
from noah.abi.structs import Sigevent, Timespec
from noah.abi.time import CLOCK_MONOTONIC, CLOCK_REALTIME, NSEC_PER_SEC
from noah.kernel.ipc.mqfile import MqueueFile
from noah.kernel.ipc.process import ipc_of
from noah.kernel.task import Task
from noah.net.notifier import COOKIE_SIZE
from noah.net.socket import SocketFile
from noah.syscalls.registry import syscall

_RIGHTS: Final = {O_RDONLY: 4, O_WRONLY: 2, O_RDWR: 6}


def _name(task: Task, address: int) -> bytes:
    """The C library has taken the slash away."""
    name = task.mem.string(address, PATH_MAX)
    if not name:
        raise LinuxError(ENOENT)
    if b"/" in name or name in (b".", b".."):
        raise LinuxError(EACCES)
    if len(name) > NAME_MAX:
        raise LinuxError(ENAMETOOLONG)
    return name


@syscall
def mq_open(task: Task, name: Str, oflag: OpenFlags, mode: Mode, attr: MqAttrPtr) -> int:
    """mq_open(2): open a message queue."""
    wanted = None
    if oflag & O_CREAT and attr:
        _, maxmsg, msgsize, _ = task.mem.unpack(MqAttr.struct, attr)
        wanted = maxmsg, msgsize
    found = _name(task, name)
    rights = _RIGHTS.get(oflag & O_ACCMODE)
    if rights is None:
        raise LinuxError(EINVAL)
    mqueues = ipc_of(task.process).mqueues
    queue = mqueues.open(
        task,
        found,
        rights,
        create=bool(oflag & O_CREAT),
        exclusive=bool(oflag & O_EXCL),
        mode=mode & ~task.fs.umask,
        wanted=wanted,
    )
    file = MqueueFile(mqueues, queue, oflag & (O_ACCMODE | O_NONBLOCK))
    return task.fds.install(file, cloexec=True)


@syscall
def mq_unlink(task: Task, name: Str) -> int:
    """mq_unlink(2): remove the name of a message queue."""
    ipc_of(task.process).mqueues.unlink(task, _name(task, name))
    return 0


def _queue(task: Task, fd: int) -> MqueueFile:
    file = task.fds.get(fd)
    if not isinstance(file, MqueueFile):
        raise LinuxError(EBADF)
    return file


def _deadline(task: Task, timeout: int) -> int | None:
    """On CLOCK_MONOTONIC."""
    if not timeout:
        return None
    sec, nsec = task.mem.unpack(Timespec.struct, timeout)
    if sec < 0 or not 0 <= nsec < NSEC_PER_SEC:
        raise LinuxError(EINVAL)
    clock = task.host.clock.clock_gettime
    return sec * NSEC_PER_SEC + nsec - clock(CLOCK_REALTIME) + clock(CLOCK_MONOTONIC)


@syscall
def mq_timedsend(task: Task, mqdes: Fd, msg: InBuf, length: Size, prio: UInt, timeout: TimespecPtr) -> int:
    """mq_timedsend(2): send a message."""
    deadline = _deadline(task, timeout)
    if prio >= MQ_PRIO_MAX:
        raise LinuxError(EINVAL)
    file = _queue(task, mqdes)
    file.check_writable()
    if length > file.msgsize:
        raise LinuxError(EMSGSIZE)
    file.send(task, prio, task.mem.read(msg, length), deadline)
    return 0


@syscall
def mq_timedreceive(task: Task, mqdes: Fd, msg: OutBuf, length: Size, prio: UIntOutPtr, timeout: TimespecPtr) -> int:
    """mq_timedreceive(2): receive the oldest of the messages with the highest priority."""
    deadline = _deadline(task, timeout)
    file = _queue(task, mqdes)
    file.check_readable()
    if length < file.msgsize:
        raise LinuxError(EMSGSIZE)
    priority, text = file.receive(task, deadline)
    if prio:
        task.mem.write_u32(prio, priority)
    task.mem.write(msg, text)
    return len(text)


@syscall
def mq_notify(task: Task, mqdes: Fd, sevp: SigeventPtr) -> int:
    """mq_notify(2): ask for a signal when a message comes to the empty queue."""
    event = None
    if sevp:
        value, signo, notify, _ = task.mem.unpack(Sigevent.struct, sevp)
        if notify not in (SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD) or (
            notify == SIGEV_SIGNAL and not 0 <= signo <= NSIG
        ):
            raise LinuxError(EINVAL)
        if notify == SIGEV_THREAD:
            cookie = task.mem.read(value, COOKIE_SIZE)
            socket = task.fds.get(signo)
            if not isinstance(socket, SocketFile):
                raise LinuxError(ENOTSOCK)
            socket.check_netlink()
            event = notify, 0, 0
            _queue(task, mqdes).notify(task, event, lambda: socket.notifier(cookie))
            return 0
        event = notify, signo if notify == SIGEV_SIGNAL else 0, value
    _queue(task, mqdes).notify(task, event)
    return 0


@syscall
def mq_getsetattr(task: Task, mqdes: Fd, new: MqAttrPtr, old: MqAttrOutPtr) -> int:
    """mq_getsetattr(2): the attributes of a message queue; O_NONBLOCK can be changed."""
    flags = None
    if new:
        flags = task.mem.unpack(MqAttr.struct, new)[0]
        if flags & ~O_NONBLOCK:
            raise LinuxError(EINVAL)
    file = _queue(task, mqdes)
    before = file.attributes()
    if flags is not None:
        file.set_flags(flags)
    if old:
        task.mem.pack(MqAttr.struct, old, *before)
    return 0
