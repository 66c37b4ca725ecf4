"""System V shared memory: shmget(2), shmop(2), shmctl(2). What segments are is in noah.kernel.ipc.shm."""

from __future__ import annotations

from typing import Final

from noah.abi.capability import CAP_IPC_LOCK
from noah.abi.errno import EINVAL, EPERM, LinuxError
from noah.abi.ipc import (
    IPC_INFO,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    SHM_EXEC,
    SHM_INFO,
    SHM_LOCK,
    SHM_LOCKED,
    SHM_RDONLY,
    SHM_REMAP,
    SHM_RND,
    SHM_STAT,
    SHM_STAT_ANY,
    SHM_UNLOCK,
    SHMALL,
    SHMMAX,
    SHMMIN,
    SHMMNI,
    SHMSEG,
)
from noah.abi.ipcstructs import IpcPerm, ShmidDs, ShmInfo, Shminfo64
from noah.abi.kinds import Addr, Hex32, Hex64, Int, IpcFlags, Size
from noah.abi.mman import MAP_FIXED, MAP_SHARED, PROT_EXEC, PROT_READ, PROT_WRITE
from noah.kernel.ipc.process import ipc_of
from noah.kernel.ipc.shm import Attached, Segment, Segments
from noah.kernel.ipc.table import now
from noah.kernel.task import Task
from noah.mm.vma import page_align
from noah.syscalls.registry import syscall
from noah.vm.arena import PAGE

_READ: Final = 0o444
_WRITE: Final = 0o222
_EXECUTE: Final = 0o111


@syscall
def shmget(task: Task, key: Hex32, size: Size, shmflg: IpcFlags) -> int:
    """shmget(2): a segment of shared memory."""
    return ipc_of(task.process).segments.open(task, key, size, shmflg)


@syscall
def shmat(task: Task, shmid: Int, shmaddr: Addr, shmflg: IpcFlags) -> int:
    """shmop(2), shmat: map a segment."""
    segments = ipc_of(task.process).segments
    if shmid < 0:
        raise LinuxError(EINVAL)
    if shmaddr:
        if shmaddr & (PAGE - 1):
            if not shmflg & SHM_RND:
                raise LinuxError(EINVAL)
            shmaddr &= -PAGE
            if not shmaddr and shmflg & SHM_REMAP:
                raise LinuxError(EINVAL)
    elif shmflg & SHM_REMAP:
        raise LinuxError(EINVAL)
    prot, wanted = PROT_READ, _READ
    if not shmflg & SHM_RDONLY:
        prot, wanted = prot | PROT_WRITE, wanted | _WRITE
    if shmflg & SHM_EXEC:
        prot, wanted = prot | PROT_EXEC, wanted | _EXECUTE
    with segments:
        found = segments.current(shmid)
        found.check(task.creds, wanted)
        length = page_align(found.size)
        if shmaddr and not shmflg & SHM_REMAP and task.space.vmas.overlapping(shmaddr, shmaddr + length):
            raise LinuxError(EINVAL)
        attached = segments.attach(task, found, writable=not shmflg & SHM_RDONLY)
    flags = MAP_SHARED | (MAP_FIXED if shmaddr else 0)
    return task.space.mmap(shmaddr, length, prot, flags, attached, 0)


@syscall
def shmdt(task: Task, shmaddr: Addr) -> int:
    """shmop(2), shmdt: unmap a segment."""
    if shmaddr & (PAGE - 1):
        raise LinuxError(EINVAL)
    space = task.space
    attached: Attached | None = None
    for vma in list(space.vmas.overlapping(shmaddr, space.task_size)):
        file = vma.file
        if not isinstance(file, Attached) or vma.start - shmaddr != vma.file_offset:
            continue
        if attached is None:
            attached = file
        elif file is not attached or vma.end - shmaddr > attached.size():
            continue
        space.munmap(vma.start, vma.end - vma.start)
    if attached is None:
        raise LinuxError(EINVAL)
    return 0


@syscall
def shmctl(task: Task, shmid: Int, cmd: Int, buf: Hex64) -> int:
    """shmctl(2): look at a segment, change or remove it."""
    segments = ipc_of(task.process).segments
    if cmd < 0 or shmid < 0:
        raise LinuxError(EINVAL)
    with segments:
        if cmd in (IPC_INFO, SHM_INFO):
            return _info(task, segments, buf, cmd)
        if cmd in (IPC_STAT, SHM_STAT, SHM_STAT_ANY):
            found = segments.current(shmid if cmd == IPC_STAT else segments.at(shmid).id)
            if cmd != SHM_STAT_ANY:
                found.check(task.creds, _READ)
            task.mem.write(buf, _status(found))
            return 0 if cmd == IPC_STAT else found.id
        if cmd in (IPC_SET, IPC_RMID):
            perm = IpcPerm.unpack_from(task.mem.read(buf, IpcPerm.struct.size)) if cmd == IPC_SET else None
            found = segments.current(shmid)
            found.check_owner(task.creds)
            if perm is None:
                segments.mark(found)
            else:
                found.set_owner(perm)
                found.ctime = now(segments.store)
                segments.save(found)
            return 0
        if cmd in (SHM_LOCK, SHM_UNLOCK):
            found = segments.current(shmid)
            creds = task.creds
            if not creds.capable(CAP_IPC_LOCK) and creds.euid not in (found.uid, found.cuid):
                raise LinuxError(EPERM)
            found.mode = found.mode & ~SHM_LOCKED | (SHM_LOCKED if cmd == SHM_LOCK else 0)
            segments.save(found)
            return 0
    raise LinuxError(EINVAL)


def _status(found: Segment) -> bytes:
    return ShmidDs.struct.pack(
        found.perm(), found.size, found.atime, found.dtime, found.ctime, found.cpid, found.lpid, found.count
    )


def _info(task: Task, segments: Segments, address: int, cmd: int) -> int:
    used = list(segments.all())
    if cmd == IPC_INFO:
        task.mem.pack(Shminfo64.struct, address, SHMMAX, SHMMIN, SHMMNI, SHMSEG, SHMALL)
    else:
        pages = sum(page_align(each.size) for each in used) // PAGE
        resident = sum(map(segments.resident, used)) // PAGE
        task.mem.pack(ShmInfo.struct, address, len(used), pages, resident, 0, 0, 0)
    return max((each.index for each in used), default=0)
