"""System V semaphores: semget(2), semop(2), semctl(2). What they do is in noah.kernel.ipc.sem."""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.arch import ABIS
from noah.abi.errno import E2BIG, EINVAL, ERANGE, LinuxError
from noah.abi.ipc import (
    GETALL,
    GETNCNT,
    GETPID,
    GETVAL,
    GETZCNT,
    IPC_INFO,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    SEM_INFO,
    SEM_STAT,
    SEM_STAT_ANY,
    SEMAEM,
    SEMMNI,
    SEMMNS,
    SEMMNU,
    SEMMSL,
    SEMOPM,
    SEMUME,
    SEMUSZ,
    SEMVMX,
    SETALL,
    SETVAL,
)
from noah.abi.ipcstructs import IpcPerm, Sembuf, Seminfo
from noah.abi.kinds import Addr, Hex32, Hex64, Int, IpcFlags, TimespecPtr, UInt
from noah.abi.structs import Timespec
from noah.abi.time import CLOCK_MONOTONIC, NSEC_PER_SEC
from noah.kernel.ipc.process import ipc_of
from noah.kernel.ipc.sem import Semaphores, SemSet
from noah.kernel.ipc.table import now
from noah.kernel.task import Task
from noah.syscalls.registry import syscall

_READ: Final = 0o444
_ALTER: Final = 0o222


@syscall
def semget(task: Task, key: Hex32, nsems: Int, semflg: IpcFlags) -> int:
    """semget(2): a set of semaphores."""
    return ipc_of(task.process).semaphores.open(task, key, nsems, semflg)


@syscall
def semop(task: Task, semid: Int, sops: Addr, nsops: UInt) -> int:
    """semop(2): operations on a set of semaphores, all or none."""
    return semtimedop(task, semid, sops, nsops, 0)


@syscall
def semtimedop(task: Task, semid: Int, sops: Addr, nsops: UInt, timeout: TimespecPtr) -> int:
    """semop(2): semop with a time limit."""
    limit = task.mem.unpack(Timespec.struct, timeout) if timeout else None
    if not nsops or semid < 0:
        raise LinuxError(EINVAL)
    if nsops > SEMOPM:
        raise LinuxError(E2BIG)
    operations = list(Sembuf.struct.iter_unpack(task.mem.read(sops, nsops * Sembuf.struct.size)))
    deadline = None
    if limit is not None:
        sec, nsec = limit
        if sec < 0 or not 0 <= nsec < NSEC_PER_SEC:
            raise LinuxError(EINVAL)
        deadline = task.host.clock.clock_gettime(CLOCK_MONOTONIC) + sec * NSEC_PER_SEC + nsec
    ipc_of(task.process).semaphores.operate(task, semid, operations, deadline)
    return 0


@syscall
def semctl(task: Task, semid: Int, semnum: Int, cmd: Int, arg: Hex64) -> int:
    """semctl(2): look at a set of semaphores, change or remove it."""
    sets = ipc_of(task.process).semaphores
    if semid < 0:
        raise LinuxError(EINVAL)
    with sets:
        if cmd in (IPC_INFO, SEM_INFO):
            return _info(task, sets, arg, cmd)
        if cmd in (IPC_STAT, SEM_STAT, SEM_STAT_ANY):
            found = sets.current(semid) if cmd == IPC_STAT else sets.at(semid)
            if cmd != SEM_STAT_ANY:
                found.check(task.creds, _READ)
            task.mem.write(arg, _status(task, found))
            return 0 if cmd == IPC_STAT else found.id
        if cmd in (IPC_SET, IPC_RMID):
            perm = IpcPerm.unpack_from(task.mem.read(arg, IpcPerm.struct.size)) if cmd == IPC_SET else None
            found = sets.current(semid)
            found.check_owner(task.creds)
            if perm is None:
                sets.remove(found)
            else:
                found.set_owner(perm)
                found.ctime = now(sets.store)
                sets.save(found)
            return 0
        if cmd in (SETVAL, SETALL):
            return _set(task, sets, semid, semnum if cmd == SETVAL else None, arg)
        if cmd in (GETVAL, GETPID, GETNCNT, GETZCNT, GETALL):
            return _get(task, sets, semid, semnum, cmd, arg)
    raise LinuxError(EINVAL)


def _info(task: Task, sets: Semaphores, address: int, cmd: int) -> int:
    used = list(sets.all())
    semusz, semaem = SEMUSZ, SEMAEM
    if cmd == SEM_INFO:
        semusz, semaem = len(used), sum(len(each.values) for each in used)
    task.mem.pack(
        Seminfo.struct, address, SEMMNS, SEMMNI, SEMMNS, SEMMNU, SEMMSL, SEMOPM, SEMUME, semusz, SEMVMX, semaem
    )
    return max((each.index for each in used), default=0)


def _status(task: Task, found: SemSet) -> bytes:
    layout = ABIS[task.process.arch.name].SemidDs
    return layout.struct.pack(found.perm(), found.otime, found.ctime, len(found.values))


def _get(task: Task, sets: Semaphores, semid: int, number: int, cmd: int, address: int) -> int:
    found = sets.current(semid)
    found.check(task.creds, _READ)
    if cmd == GETALL:
        task.mem.write(address, struct.pack(f"<{len(found.values)}H", *found.values))
        return 0
    if not 0 <= number < len(found.values):
        raise LinuxError(EINVAL)
    if cmd == GETVAL:
        return found.values[number]
    if cmd == GETPID:
        return found.pids[number]
    return sum(1 for _, _, other, zero in found.waiting if other == number and zero == (cmd == GETZCNT))


def _set(task: Task, sets: Semaphores, semid: int, number: int | None, arg: int) -> int:
    """SETVAL, or SETALL without a number."""
    if number is not None and not 0 <= _int(arg) <= SEMVMX:
        raise LinuxError(ERANGE)
    found = sets.current(semid)
    if number is not None:
        if not 0 <= number < len(found.values):
            raise LinuxError(EINVAL)
        found.check(task.creds, _ALTER)
        changed = {number: _int(arg)}
    else:
        found.check(task.creds, _ALTER)
        count = len(found.values)
        changed = dict(enumerate(struct.unpack(f"<{count}H", task.mem.read(arg, 2 * count))))
        if max(changed.values()) > SEMVMX:
            raise LinuxError(ERANGE)
    for at, value in changed.items():
        found.values[at], found.pids[at] = value, task.pid
        for undo in found.undo.values():  # what was to be undone is void
            undo.pop(at, None)
    found.ctime = now(sets.store)
    sets.save(found, wake=True)
    return 0


def _int(value: int) -> int:
    return ((value & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000
