"""Credentials: user and group ids, capabilities. They are the guest's belief (noah.vfs.credentials), not the host's."""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.capability import (
    CAP_FULL_SET,
    CAP_SETGID,
    CAP_SETPCAP,
    CAP_SETUID,
    LINUX_CAPABILITY_VERSION_1,
    LINUX_CAPABILITY_VERSION_2,
    LINUX_CAPABILITY_VERSION_3,
)
from noah.abi.errno import EINVAL, EPERM, ESRCH, LinuxError
from noah.abi.kinds import Addr, CapDataOutPtr, CapDataPtr, CapHeaderPtr, Gid, Int, Pid, Uid, UidListPtr
from noah.abi.limits import NGROUPS_MAX
from noah.kernel.box import INIT
from noah.kernel.limits import note_user
from noah.kernel.task import Task
from noah.syscalls.registry import syscall
from noah.vfs.credentials import Credentials

_KEEP: Final = 0xFFFFFFFF  # (uid_t)-1: leave as it is
_VERSIONS: Final = {LINUX_CAPABILITY_VERSION_1: 1, LINUX_CAPABILITY_VERSION_2: 2, LINUX_CAPABILITY_VERSION_3: 2}
"""Words of each set, by the version in capget(2)'s header."""


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


def _set_users(task: Task, real: int, effective: int, saved: int) -> None:
    creds = task.creds
    before = creds.euid, creds.fsuid
    user = creds.uid
    creds.set_users(real, effective, saved)
    task.process.box.note_users(task.pid, creds)
    if creds.uid != user:
        note_user(task.process)
    task.process.show()
    task.apply_identity()  # each thread of the host has its own, though the credentials are the process'
    if (creds.euid, creds.fsuid) != before:
        _on_change(task)


def _set_groups(task: Task, real: int, effective: int, saved: int) -> None:
    creds = task.creds
    before = creds.egid, creds.fsgid
    creds.set_groups(real, effective, saved)
    task.process.show()
    task.apply_identity()
    if (creds.egid, creds.fsgid) != before:
        _on_change(task)


def _on_change(task: Task) -> None:
    """commit_creds(): who has become another is not to be looked into, and forgets PR_SET_PDEATHSIG."""
    task.process.dumpable = 0
    if task.pdeathsig:
        task.pdeathsig = 0
        task.host.procs.set_pdeathsig(0)


@syscall
def setuid(task: Task, uid: Uid) -> int:
    """setuid(2): as root all three ids, else the effective one."""
    creds = task.creds
    if uid == _KEEP:
        raise LinuxError(EINVAL)
    if creds.capable(CAP_SETUID):
        _set_users(task, uid, uid, uid)
    elif uid in (creds.uid, creds.suid):
        _set_users(task, creds.uid, uid, creds.suid)
    else:
        raise LinuxError(EPERM)
    return 0


@syscall
def setgid(task: Task, gid: Gid) -> int:
    """setgid(2): as root all three ids, else the effective one."""
    creds = task.creds
    if gid == _KEEP:
        raise LinuxError(EINVAL)
    if creds.capable(CAP_SETGID):
        _set_groups(task, gid, gid, gid)
    elif gid in (creds.gid, creds.sgid):
        _set_groups(task, creds.gid, gid, creds.sgid)
    else:
        raise LinuxError(EPERM)
    return 0


@syscall
def setreuid(task: Task, ruid: Uid, euid: Uid) -> int:
    """setreuid(2): real and effective user id."""
    creds = task.creds
    if not creds.capable(CAP_SETUID) and (
        ruid not in (_KEEP, creds.uid, creds.euid) or euid not in (_KEEP, creds.uid, creds.euid, creds.suid)
    ):
        raise LinuxError(EPERM)
    real = creds.uid if ruid == _KEEP else ruid
    effective = creds.euid if euid == _KEEP else euid
    saved = effective if ruid != _KEEP or (euid != _KEEP and euid != creds.uid) else creds.suid
    _set_users(task, real, effective, saved)
    return 0


@syscall
def setregid(task: Task, rgid: Gid, egid: Gid) -> int:
    """setregid(2): real and effective group id."""
    creds = task.creds
    if not creds.capable(CAP_SETGID) and (
        rgid not in (_KEEP, creds.gid, creds.egid) or egid not in (_KEEP, creds.gid, creds.egid, creds.sgid)
    ):
        raise LinuxError(EPERM)
    real = creds.gid if rgid == _KEEP else rgid
    effective = creds.egid if egid == _KEEP else egid
    saved = effective if rgid != _KEEP or (egid != _KEEP and egid != creds.gid) else creds.sgid
    _set_groups(task, real, effective, saved)
    return 0


@syscall
def setresuid(task: Task, ruid: Uid, euid: Uid, suid: Uid) -> int:
    """setresuid(2): the three user ids."""
    creds = task.creds
    if not creds.capable(CAP_SETUID) and not {ruid, euid, suid} <= {_KEEP, creds.uid, creds.euid, creds.suid}:
        raise LinuxError(EPERM)
    _set_users(
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
    if not creds.capable(CAP_SETGID) and not {rgid, egid, sgid} <= {_KEEP, creds.gid, creds.egid, creds.sgid}:
        raise LinuxError(EPERM)
    _set_groups(
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
    if uid != _KEEP and (creds.capable(CAP_SETUID) or uid in (creds.uid, creds.euid, creds.suid, creds.fsuid)):
        creds.set_fs_user(uid)
        task.apply_identity()
        if uid != old:
            _on_change(task)
    return old


@syscall
def setfsgid(task: Task, gid: Gid) -> int:
    """setfsgid(2): the group id for file access; answers the old one whatever happens."""
    creds = task.creds
    old = creds.fsgid
    if gid != _KEEP and (creds.capable(CAP_SETGID) or gid in (creds.gid, creds.egid, creds.sgid, creds.fsgid)):
        creds.fsgid = gid
        task.apply_identity()
        if gid != old:
            _on_change(task)
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
    if not task.creds.capable(CAP_SETGID):
        raise LinuxError(EPERM)
    if not 0 <= size <= NGROUPS_MAX:
        raise LinuxError(EINVAL)
    task.creds.groups = tuple(sorted(struct.unpack(f"<{size}I", task.mem.read(list_, 4 * size))))
    task.process.show()
    task.apply_identity()
    return 0


def _cap_header(task: Task, header: int) -> tuple[int, int]:
    """(words of a set, pid); an unknown version is answered with the latest one."""
    version = task.mem.read_u32(header)
    words = _VERSIONS.get(version)
    if words is None:
        task.mem.write_u32(header, LINUX_CAPABILITY_VERSION_3)
        raise LinuxError(EINVAL)
    return words, task.mem.read_s32(header + 4)


@syscall(partial="another process of the box is taken for what the caller is")
def capget(task: Task, header: CapHeaderPtr, data: CapDataOutPtr) -> int:
    """capget(2): the three sets of capabilities."""
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
        return 0
    creds = task.creds
    raw = b"".join(
        struct.pack("<III", *(value >> 32 * word & 0xFFFFFFFF for value in _sets(creds))) for word in range(words)
    )
    task.mem.write(data, raw)
    return 0


def _sets(creds: Credentials) -> tuple[int, int, int]:
    return creds.effective, creds.permitted, creds.inheritable


@syscall
def capset(task: Task, header: CapHeaderPtr, data: CapDataPtr) -> int:
    """capset(2): set the capabilities of the calling thread."""
    words, pid = _cap_header(task, header)
    if pid not in (0, task.pid):
        raise LinuxError(EPERM)
    effective = permitted = inheritable = 0
    for word, values in enumerate(struct.iter_unpack("<III", task.mem.read(data, 12 * words))):
        effective |= values[0] << 32 * word
        permitted |= values[1] << 32 * word
        inheritable |= values[2] << 32 * word
    effective, permitted, inheritable = (value & CAP_FULL_SET for value in (effective, permitted, inheritable))
    creds = task.creds
    # cap_capset()
    if not creds.capable(CAP_SETPCAP) and inheritable & ~(creds.inheritable | creds.permitted):
        raise LinuxError(EPERM)
    if inheritable & ~(creds.inheritable | creds.bounding) or permitted & ~creds.permitted or effective & ~permitted:
        raise LinuxError(EPERM)
    creds.set_capabilities(effective, permitted, inheritable)
    task.process.show()
    task.apply_identity()
    return 0


def check_pid(task: Task, pid: Pid) -> int:
    """find_pid() for the calls that check a pid first: EINVAL when it is negative."""
    if pid < 0:
        raise LinuxError(EINVAL)
    return find_pid(task, pid)


def find_pid(task: Task, pid: Pid) -> int:
    """A pid argument that names the caller (0), one of its threads, a process of the box or Noah as its process 1 (see
    Box.is_noah()); ESRCH otherwise."""
    process = task.process
    if pid in (0, task.pid, INIT) or process.box.contains(pid) or any(pid == own.tid for own in process.tasks):
        return pid
    raise LinuxError(ESRCH)
