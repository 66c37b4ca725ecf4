"""System V message queues: msgget(2), msgop(2), msgctl(2). What they do is in noah.kernel.ipc.msg."""

from __future__ import annotations

from typing import Final

from noah.abi.capability import CAP_SYS_RESOURCE
from noah.abi.errno import EINVAL, EPERM, LinuxError
from noah.abi.ipc import (
    IPC_INFO,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    MSG_INFO,
    MSG_STAT,
    MSG_STAT_ANY,
    MSGMAP,
    MSGMAX,
    MSGMNB,
    MSGMNI,
    MSGPOOL,
    MSGSEG,
    MSGSSZ,
    MSGTQL,
)
from noah.abi.ipcstructs import IpcPerm, Msginfo, MsqidDs
from noah.abi.kinds import Addr, Hex32, Hex64, Int, IpcFlags, Long, Size
from noah.kernel.ipc.msg import MsgQueue, MsgQueues
from noah.kernel.ipc.process import ipc_of
from noah.kernel.ipc.table import now
from noah.kernel.task import Task
from noah.syscalls.registry import syscall

_READ: Final = 0o444
_TYPE: Final = 8  # bytes: what comes before the text


@syscall
def msgget(task: Task, key: Hex32, msgflg: IpcFlags) -> int:
    """msgget(2): a message queue."""
    return ipc_of(task.process).queues.open(task, key, msgflg)


@syscall
def msgsnd(task: Task, msqid: Int, msgp: Addr, msgsz: Size, msgflg: IpcFlags) -> int:
    """msgop(2), msgsnd: send a message."""
    kind = task.mem.read_u64(msgp)
    kind = (kind ^ 1 << 63) - (1 << 63)
    if msgsz > MSGMAX or msqid < 0 or kind < 1:
        raise LinuxError(EINVAL)
    text = task.mem.read(msgp + _TYPE, msgsz)
    ipc_of(task.process).queues.send(task, msqid, kind, text, msgflg)
    return 0


@syscall
def msgrcv(task: Task, msqid: Int, msgp: Addr, msgsz: Size, msgtyp: Long, msgflg: IpcFlags) -> int:
    """msgop(2), msgrcv: receive a message."""
    kind, text = ipc_of(task.process).queues.receive(task, msqid, msgsz, msgtyp, msgflg)
    task.mem.write_u64(msgp, kind)
    task.mem.write(msgp + _TYPE, text)
    return len(text)


@syscall
def msgctl(task: Task, msqid: Int, cmd: Int, buf: Hex64) -> int:
    """msgctl(2): look at a message queue, change or remove it."""
    queues = ipc_of(task.process).queues
    if msqid < 0 or cmd < 0:
        raise LinuxError(EINVAL)
    with queues:
        if cmd in (IPC_INFO, MSG_INFO):
            return _info(task, queues, buf, cmd)
        if cmd in (IPC_STAT, MSG_STAT, MSG_STAT_ANY):
            found = queues.find(msqid) if cmd == IPC_STAT else queues.at(msqid)
            if cmd != MSG_STAT_ANY:
                found.check(task.creds, _READ)
            task.mem.write(buf, _status(found))
            return 0 if cmd == IPC_STAT else found.id
        if cmd == IPC_RMID:
            found = queues.find(msqid)
            found.check_owner(task.creds)
            queues.remove(found)
            return 0
        if cmd == IPC_SET:
            wanted = MsqidDs.unpack_from(task.mem.read(buf, MsqidDs.struct.size))
            perm = IpcPerm.unpack_from(wanted.perm)
            found = queues.find(msqid)
            found.check_owner(task.creds)
            if wanted.qbytes > MSGMNB and not task.creds.capable(CAP_SYS_RESOURCE):
                raise LinuxError(EPERM)
            found.set_owner(perm)
            found.qbytes, found.ctime = wanted.qbytes, now(queues.store)
            queues.save(found, wake=True)
            return 0
    raise LinuxError(EINVAL)


def _status(queue: MsgQueue) -> bytes:
    return MsqidDs.struct.pack(
        queue.perm(),
        queue.stime,
        queue.rtime,
        queue.ctime,
        queue.cbytes,
        len(queue.messages),
        queue.qbytes,
        queue.lspid,
        queue.lrpid,
    )


def _info(task: Task, queues: MsgQueues, address: int, cmd: int) -> int:
    used = list(queues.all())
    pool, mapped, total = MSGPOOL, MSGMAP, MSGTQL
    if cmd == MSG_INFO:
        pool, mapped = len(used), sum(len(each.messages) for each in used)
        total = sum(each.cbytes for each in used)
    task.mem.pack(Msginfo.struct, address, pool, mapped, MSGMAX, MSGMNB, MSGMNI, MSGSSZ, total, MSGSEG)
    return max((each.index for each in used), default=0)
