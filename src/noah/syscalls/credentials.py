"""Credentials: user and group ids, capabilities. They are the guest's belief (noah.vfs.credentials), not the host's."""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.capability import CAP_LAST_CAP
from noah.abi.errno import EFAULT, EINVAL, EPERM, ESRCH, LinuxError
from noah.abi.kinds import Addr, CapDataOutPtr, CapDataPtr, CapHeaderPtr, Gid, Int, Pid, Uid, UidListPtr
from noah.abi.limits import NGROUPS_MAX
from noah.kernel.task import Task
from noah.syscalls.registry import syscall

_KEEP: Final = 0xFFFFFFFF  # (uid_t)-1: leave as it is
_VERSIONS: Final = {0x19980330: 1, 0x20071026: 2, 0x20080522: 2}  # capget(2): words of each set
_LATEST: Final = 0x20080522
_ALL: Final = (1 << (CAP_LAST_CAP + 1)) - 1


@syscall
def getuid(task: Task) -> int:
    """getuid(2): the real user id."""
    return task.creds.uid


@syscall
def geteuid(task: Task) -> int:
    """geteuid(2): the effective user id."""
    return task.creds.euid


@syscall
def getgid(task: Task) -> int:
    """getgid(2): the real group id."""
    return task.creds.gid


@syscall
def getegid(task: Task) -> int:
    """getegid(2): the effective group id."""
    return task.creds.egid


@syscall
def getresuid(task: Task, ruid: Addr, euid: Addr, suid: Addr) -> int:
    """getresuid(2): the three user ids."""
    creds = task.creds
    for address, value in ((ruid, creds.uid), (euid, creds.euid), (suid, creds.suid)):
        task.mem.write_u32(address, value)
    return 0


@syscall
def getresgid(task: Task, rgid: Addr, egid: Addr, sgid: Addr) -> int:
    """getresgid(2): the three group ids."""
    creds = task.creds
    for address, value in ((rgid, creds.gid), (egid, creds.egid), (sgid, creds.sgid)):
        task.mem.write_u32(address, value)
    return 0


def _set_user(task: Task, real: int, effective: int, saved: int) -> None:
    creds = task.creds
    if (creds.uid, creds.euid) != (real, effective):
        task.process.dumpable = 0
    creds.uid, creds.euid, creds.suid = real, effective, saved
    creds.fsuid = effective


def _set_group(task: Task, real: int, effective: int, saved: int) -> None:
    creds = task.creds
    creds.gid, creds.egid, creds.sgid = real, effective, saved
    creds.fsgid = effective


@syscall
def setuid(task: Task, uid: Uid) -> int:
    """setuid(2): as root all three ids, else the effective one."""
    creds = task.creds
    if uid == _KEEP:
        raise LinuxError(EINVAL)
    if creds.privileged:
        _set_user(task, uid, uid, uid)
    elif uid in (creds.uid, creds.suid):
        _set_user(task, creds.uid, uid, creds.suid)
    else:
        raise LinuxError(EPERM)
    return 0


@syscall
def setgid(task: Task, gid: Gid) -> int:
    """setgid(2): as root all three ids, else the effective one."""
    creds = task.creds
    if gid == _KEEP:
        raise LinuxError(EINVAL)
    if creds.privileged:
        _set_group(task, gid, gid, gid)
    elif gid in (creds.gid, creds.sgid):
        _set_group(task, creds.gid, gid, creds.sgid)
    else:
        raise LinuxError(EPERM)
    return 0


@syscall
def setreuid(task: Task, ruid: Uid, euid: Uid) -> int:
    """setreuid(2): real and effective user id."""
    creds = task.creds
    if not creds.privileged and (
        ruid not in (_KEEP, creds.uid, creds.euid) or euid not in (_KEEP, creds.uid, creds.euid, creds.suid)
    ):
        raise LinuxError(EPERM)
    real = creds.uid if ruid == _KEEP else ruid
    effective = creds.euid if euid == _KEEP else euid
    saved = effective if ruid != _KEEP or (euid != _KEEP and euid != creds.uid) else creds.suid
    _set_user(task, real, effective, saved)
    return 0


@syscall
def setregid(task: Task, rgid: Gid, egid: Gid) -> int:
    """setregid(2): real and effective group id."""
    creds = task.creds
    if not creds.privileged and (
        rgid not in (_KEEP, creds.gid, creds.egid) or egid not in (_KEEP, creds.gid, creds.egid, creds.sgid)
    ):
        raise LinuxError(EPERM)
    real = creds.gid if rgid == _KEEP else rgid
    effective = creds.egid if egid == _KEEP else egid
    saved = effective if rgid != _KEEP or (egid != _KEEP and egid != creds.gid) else creds.sgid
    _set_group(task, real, effective, saved)
    return 0


@syscall
def setresuid(task: Task, ruid: Uid, euid: Uid, suid: Uid) -> int:
    """setresuid(2): the three user ids."""
    creds = task.creds
    if not creds.privileged and not {ruid, euid, suid} <= {_KEEP, creds.uid, creds.euid, creds.suid}:
        raise LinuxError(EPERM)
    _set_user(
        task,
        creds.uid if ruid == _KEEP else ruid,
        creds.euid if euid == _KEEP else euid,
        creds.suid if suid == _KEEP else suid,
    )
    return 0


@syscall
def setresgid(task: Task, rgid: Gid, egid: Gid, sgid: Gid) -> int:
    """setresgid(2): the three group ids."""
    creds = task.creds
    if not creds.privileged and not {rgid, egid, sgid} <= {_KEEP, creds.gid, creds.egid, creds.sgid}:
        raise LinuxError(EPERM)
    _set_group(
        task,
        creds.gid if rgid == _KEEP else rgid,
        creds.egid if egid == _KEEP else egid,
        creds.sgid if sgid == _KEEP else sgid,
    )
    return 0


@syscall
def setfsuid(task: Task, uid: Uid) -> int:
    """setfsuid(2): the user id for file access; answers the old one whatever happens."""
    creds = task.creds
    old = creds.fsuid
    if uid != _KEEP and (creds.privileged or uid in (creds.uid, creds.euid, creds.suid, creds.fsuid)):
        creds.fsuid = uid
    return old


@syscall
def setfsgid(task: Task, gid: Gid) -> int:
    """setfsgid(2): the group id for file access; answers the old one whatever happens."""
    creds = task.creds
    old = creds.fsgid
    if gid != _KEEP and (creds.privileged or gid in (creds.gid, creds.egid, creds.sgid, creds.fsgid)):
        creds.fsgid = gid
    return old


@syscall
def getgroups(task: Task, size: Int, list_: UidListPtr) -> int:
    """getgroups(2): supplementary groups."""
    groups = task.creds.groups
    if size < 0:
        raise LinuxError(EINVAL)
    if size:
        if size < len(groups):
            raise LinuxError(EINVAL)
        task.mem.write(list_, struct.pack(f"<{len(groups)}I", *groups))
    return len(groups)


@syscall
def setgroups(task: Task, size: Int, list_: UidListPtr) -> int:
    """setgroups(2): set the supplementary groups."""
    if not task.creds.privileged:
        raise LinuxError(EPERM)
    if not 0 <= size <= NGROUPS_MAX:
        raise LinuxError(EINVAL)
    task.creds.groups = tuple(sorted(struct.unpack(f"<{size}I", task.mem.read(list_, 4 * size))))
    return 0


def _cap_header(task: Task, header: int) -> tuple[int, int]:
    """(words of a set, pid); an unknown version is answered with the latest one."""
    raw = task.mem.read(header, 8)
    version, pid = struct.unpack("<Ii", raw)
    words = _VERSIONS.get(version)
    if words is None:
        task.mem.write_u32(header, _LATEST)
        raise LinuxError(EINVAL)
    return words, pid


@syscall
def capget(task: Task, header: CapHeaderPtr, data: CapDataOutPtr) -> int:
    """capget(2): root has every capability, others none."""
    try:
        words, pid = _cap_header(task, header)
    except LinuxError as error:
        if error.errno == EINVAL and not data:
            return 0
        raise
    if pid < 0:
        raise LinuxError(EINVAL)
    if pid and pid != task.pid and not task.process.box.contains(pid):
        raise LinuxError(ESRCH)
    if not data:
        raise LinuxError(EFAULT)
    have = _ALL if task.creds.privileged else 0
    permitted = _ALL if 0 in (task.creds.uid, task.creds.euid, task.creds.suid) else 0
    for word in range(words):
        task.mem.write(
            data + 12 * word,
            struct.pack("<III", have >> 32 * word & 0xFFFFFFFF, permitted >> 32 * word & 0xFFFFFFFF, 0),
        )
    return 0


@syscall(partial="sets are checked, not kept: what root gives up it still has")
def capset(task: Task, header: CapHeaderPtr, data: CapDataPtr) -> int:
    """capset(2): set capabilities."""
    words, pid = _cap_header(task, header)
    if pid not in (0, task.pid):
        raise LinuxError(EPERM)
    raw = task.mem.read(data, 12 * words)
    wanted = 0
    for word, (effective, permitted, _inheritable) in enumerate(struct.iter_unpack("<III", raw)):
        wanted |= (effective | permitted) << 32 * word
    if wanted and not task.creds.privileged:
        raise LinuxError(EPERM)
    return 0


def check_pid(task: Task, pid: Pid) -> int:
    """A pid argument that names the caller (0) or a process of the box; ESRCH otherwise."""
    if pid < 0:
        raise LinuxError(EINVAL)
    if pid and pid != task.pid and not task.process.box.contains(pid):
        raise LinuxError(ESRCH)
    return pid
