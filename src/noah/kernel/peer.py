"""Who is at the other end of an AF_UNIX socket (unix(7)): the host tells of its own users, guests know others.

The host's process ids are the guests', and the box knows which users its processes are. That is looked up when somebody
asks, where Linux keeps what was true when the connection was made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.capability import CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN
from noah.abi.errno import EINVAL, EPERM, LinuxError
from noah.abi.socket import SCM_CREDENTIALS, SOL_SOCKET
from noah.abi.sockstructs import Ucred

if TYPE_CHECKING:
    from collections.abc import Sequence

    from noah.kernel.task import Task

Messages = list[tuple[int, int, bytes]]


def peer_credentials(task: Task, value: bytes) -> bytes:
    """SO_PEERCRED: the effective ids."""
    return _shown(task, value, effective=True)


def _shown(task: Task, value: bytes, *, effective: bool) -> bytes:
    """A struct ucred of the host as the guest may see it. A process of another box has no id here."""
    if len(value) != Ucred.struct.size:
        return value
    pid, uid, gid = Ucred.struct.unpack(value)
    if pid == task.pid:
        creds = task.creds
        uid, gid = (creds.euid, creds.egid) if effective else (creds.uid, creds.gid)
    elif (card := task.process.box.shown(pid)) is not None:
        uid, gid = (card.ids[1], card.ids[5]) if effective else (card.ids[0], card.ids[4])
    elif pid:
        pid = 0
    return Ucred.struct.pack(pid, uid, gid)


def received(task: Task, messages: Sequence[tuple[int, int, bytes]]) -> Messages:
    """Control messages with SCM_CREDENTIALS as the guest may see them: the real ids."""
    return [
        (level, kind, _shown(task, data, effective=False) if (level, kind) == (SOL_SOCKET, SCM_CREDENTIALS) else data)
        for level, kind, data in messages
    ]


def to_send(task: Task, messages: Sequence[tuple[int, int, bytes]]) -> Messages:
    """Control messages with SCM_CREDENTIALS as the host takes them, after Linux' checks (scm_check_creds())."""
    result = []
    for level, kind, data in messages:
        if (level, kind) == (SOL_SOCKET, SCM_CREDENTIALS):
            data = _sent(task, data)
        result.append((level, kind, data))
    return result


def _sent(task: Task, data: bytes) -> bytes:
    if len(data) != Ucred.struct.size:
        raise LinuxError(EINVAL)
    pid, uid, gid = Ucred.struct.unpack(data)
    creds, procs = task.creds, task.host.procs
    if pid != task.pid and not (creds.capable(CAP_SYS_ADMIN) and task.process.box.contains(pid)):
        raise LinuxError(EPERM)
    if uid not in (creds.uid, creds.euid, creds.suid) and not creds.capable(CAP_SETUID):
        raise LinuxError(EPERM)
    if gid not in (creds.gid, creds.egid, creds.sgid) and not creds.capable(CAP_SETGID):
        raise LinuxError(EPERM)
    host_uid = procs.getresuid()[0]
    return Ucred.struct.pack(pid if not host_uid else task.pid, host_uid, procs.getresgid()[0])
