"""Priorities and scheduling: nice values and CPUs are the host's, policies are what the guest believes."""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.capability import CAP_SYS_NICE
from noah.abi.errno import E2BIG, EACCES, EINVAL, EPERM, ESRCH, LinuxError
from noah.abi.kinds import (
    Addr,
    Int,
    Pid,
    PriorityWhich,
    SchedParamOutPtr,
    SchedParamPtr,
    SchedPolicy,
    TimespecOutPtr,
    UInt,
)
from noah.abi.resource import (
    IOPRIO_CLASS_BE,
    IOPRIO_CLASS_IDLE,
    IOPRIO_CLASS_NONE,
    IOPRIO_CLASS_RT,
    IOPRIO_CLASS_SHIFT,
    IOPRIO_WHO_PROCESS,
    IOPRIO_WHO_USER,
    PRIO_PGRP,
    PRIO_PROCESS,
    PRIO_USER,
    RLIMIT_NICE,
)
from noah.abi.sched import (
    SCHED_BATCH,
    SCHED_DEADLINE,
    SCHED_FIFO,
    SCHED_FLAG_ALL,
    SCHED_FLAG_KEEP_POLICY,
    SCHED_FLAG_RESET_ON_FORK,
    SCHED_IDLE,
    SCHED_OTHER,
    SCHED_RESET_ON_FORK,
    SCHED_RR,
)
from noah.abi.structs import SchedAttr
from noah.kernel.task import Task
from noah.syscalls.credentials import check_pid, find_pid
from noah.syscalls.registry import syscall

_NORMAL: Final = (SCHED_OTHER, SCHED_BATCH, SCHED_IDLE)
_REAL_TIME: Final = (SCHED_FIFO, SCHED_RR)
_ATTR_SIZE_VER0: Final = 48


# -- nice values


def _chosen(task: Task, which: int, who: int) -> list[int]:
    """Processes of the box that getpriority(2) and ioprio_get(2) name; PRIO_* values."""
    box, procs = task.process.box, task.host.procs
    if which == PRIO_PROCESS:
        return [who or task.pid] if who in (0, task.pid, task.tid) or box.contains(who) else []
    if which == PRIO_PGRP:
        return box.group(who or procs.getpgid(0))
    if which == PRIO_USER:
        user = who & 0xFFFFFFFF or task.creds.uid
        return [pid for pid in box.members() if box.users(pid)[0] == user]
    raise LinuxError(EINVAL)


@syscall
def getpriority(task: Task, which: PriorityWhich, who: Int) -> int:
    """getpriority(2): 20 - nice, so that it is never negative; the most favourable of several."""
    values = []
    for pid in _chosen(task, which, who):
        try:
            values.append(20 - task.host.procs.getpriority(PRIO_PROCESS, pid))
        except LinuxError:
            continue
    if not values:
        raise LinuxError(ESRCH)
    return max(values)


@syscall
def setpriority(task: Task, which: PriorityWhich, who: Int, prio: Int) -> int:
    """setpriority(2): set the nice value."""
    nice = max(-20, min(19, prio))
    error: LinuxError | None = LinuxError(ESRCH)
    for pid in _chosen(task, which, who):
        try:
            _set_nice(task, pid, nice)
            if error is not None and error.errno == ESRCH:
                error = None
        except LinuxError as failure:
            error = failure
    if error is not None:
        raise error
    return 0


def _set_nice(task: Task, pid: int, nice: int) -> None:
    """set_one_prio()"""
    procs, creds = task.host.procs, task.creds
    if not creds.capable(CAP_SYS_NICE):
        uid, euid, _ = task.process.box.users(pid)
        if creds.euid not in (uid, euid):
            raise LinuxError(EPERM)
        if nice < procs.getpriority(PRIO_PROCESS, pid) and 20 - nice > task.process.rlimits[RLIMIT_NICE][0]:
            raise LinuxError(EACCES)
    procs.setpriority(PRIO_PROCESS, pid, nice)


@syscall(partial="kept for the calling process, with no effect on the host")
def ioprio_set(task: Task, which: Int, who: Int, ioprio: Int) -> int:
    """ioprio_set(2): the class and priority of I/O."""
    kind, level = ioprio >> IOPRIO_CLASS_SHIFT, ioprio & 7
    if kind == IOPRIO_CLASS_RT:
        if not task.creds.capable(CAP_SYS_NICE):
            raise LinuxError(EPERM)
    elif (kind == IOPRIO_CLASS_NONE and level) or kind not in (IOPRIO_CLASS_NONE, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE):
        raise LinuxError(EINVAL)
    if task.pid in _io_chosen(task, which, who):
        task.process.ioprio = ioprio
    return 0


@syscall(partial="as ioprio_set")
def ioprio_get(task: Task, which: Int, who: Int) -> int:
    """ioprio_get(2)"""
    return task.process.ioprio if task.pid in _io_chosen(task, which, who) else 0


def _io_chosen(task: Task, which: int, who: int) -> list[int]:
    if not IOPRIO_WHO_PROCESS <= which <= IOPRIO_WHO_USER:
        raise LinuxError(EINVAL)
    pids = _chosen(task, which - IOPRIO_WHO_PROCESS + PRIO_PROCESS, who)
    if not pids:
        raise LinuxError(ESRCH)
    return pids


# -- CPUs


@syscall
def sched_yield(task: Task) -> int:
    """sched_yield(2): let others run."""
    task.host.procs.sched_yield()
    if task.process.threads is not None:
        task.process.threads.give_way()
    return 0


@syscall
def sched_getaffinity(task: Task, pid: Pid, size: UInt, mask: Addr) -> int:
    """sched_getaffinity(2): the CPUs a thread may run on; answers the bytes written."""
    if size & 7 or size * 8 < task.host.procs.nproc():
        raise LinuxError(EINVAL)
    cpus = task.host.procs.sched_getaffinity(find_pid(task, pid))
    needed = (max(cpus) // 64 + 1) * 8
    if size < needed:
        raise LinuxError(EINVAL)
    bits = sum(1 << cpu for cpu in cpus)
    task.mem.write(mask, bits.to_bytes(needed, "little"))
    return needed


@syscall
def sched_setaffinity(task: Task, pid: Pid, size: UInt, mask: Addr) -> int:
    """sched_setaffinity(2): bind a thread to CPUs."""
    bits = int.from_bytes(task.mem.read(mask, min(size, 128)), "little")
    find_pid(task, pid)
    cpus = [cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1]
    if not cpus:
        raise LinuxError(EINVAL)
    task.host.procs.sched_setaffinity(pid, cpus)
    if pid in (0, task.tid):
        task.vcpu.host_thread_changed()
    return 0


@syscall
def getcpu(task: Task, cpu: Addr, node: Addr, cache: Addr) -> int:
    """getcpu(2): the CPU that the thread runs on."""
    if cpu:
        task.mem.write_u32(cpu, 0)
    if node:
        task.mem.write_u32(node, 0)
    return 0


# -- policies


@syscall
def sched_getscheduler(task: Task, pid: Pid) -> int:
    """sched_getscheduler(2): the policy."""
    return task.process.policy if check_pid(task, pid) in (0, task.pid) else SCHED_OTHER


@syscall(partial="real-time policies are refused; others are kept, with no effect on the host")
def sched_setscheduler(task: Task, pid: Pid, policy: SchedPolicy, param: SchedParamPtr) -> int:
    """sched_setscheduler(2): set the policy."""
    if pid < 0 or not param:
        raise LinuxError(EINVAL)
    priority = task.mem.read_s32(param)
    check_pid(task, pid)
    _set_policy(task, pid, policy & ~SCHED_RESET_ON_FORK, priority, policy & SCHED_RESET_ON_FORK)
    return 0


def _set_policy(task: Task, pid: int, policy: int, priority: int, reset: int) -> None:
    """__sched_setscheduler()"""
    if policy in _REAL_TIME:
        if not 1 <= priority <= 99:
            raise LinuxError(EINVAL)
        raise LinuxError(EPERM)
    if policy == SCHED_DEADLINE:
        raise LinuxError(EPERM)
    if policy not in _NORMAL or priority:
        raise LinuxError(EINVAL)
    if pid in (0, task.pid):
        task.process.policy = policy | reset


@syscall
def sched_getparam(task: Task, pid: Pid, param: SchedParamOutPtr) -> int:
    """sched_getparam(2): the real-time priority: 0."""
    if not param:
        raise LinuxError(EINVAL)
    check_pid(task, pid)
    task.mem.write_u32(param, 0)
    return 0


@syscall
def sched_setparam(task: Task, pid: Pid, param: SchedParamPtr) -> int:
    """sched_setparam(2): the normal policies take priority 0 only."""
    if not param or task.mem.read_s32(param):
        raise LinuxError(EINVAL)
    check_pid(task, pid)
    return 0


@syscall
def sched_getattr(task: Task, pid: Pid, attr: Addr, size: UInt, flags: UInt) -> int:
    """sched_getattr(2): policy and nice value."""
    if not attr or flags or not _ATTR_SIZE_VER0 <= size <= 4096:
        raise LinuxError(EINVAL)
    policy = sched_getscheduler(task, pid)
    flag = SCHED_FLAG_RESET_ON_FORK if policy & SCHED_RESET_ON_FORK else 0
    nice = task.host.procs.getpriority(PRIO_PROCESS, pid)
    length = min(size, SchedAttr.struct.size)
    data = SchedAttr.struct.pack(length, policy & ~SCHED_RESET_ON_FORK, flag, nice, 0, 0, 0, 0, 0, 1024)
    task.mem.write(attr, data[:length])
    return 0


@syscall(partial="as sched_setscheduler; utilization clamps are ignored")
def sched_setattr(task: Task, pid: Pid, attr: Addr, flags: UInt) -> int:
    """sched_setattr(2): set policy and nice value."""
    if not attr or flags or pid < 0:
        raise LinuxError(EINVAL)
    size = task.mem.read_u32(attr) or _ATTR_SIZE_VER0
    if not _ATTR_SIZE_VER0 <= size <= 4096:
        task.mem.write_u32(attr, SchedAttr.struct.size)
        raise LinuxError(E2BIG)
    raw = task.mem.read(attr, size)
    if any(raw[SchedAttr.struct.size :]):
        raise LinuxError(E2BIG)
    wanted = SchedAttr.unpack_from(raw.ljust(SchedAttr.struct.size, b"\0"), 0)
    if wanted.flags & ~SCHED_FLAG_ALL or not -20 <= wanted.nice <= 19:
        raise LinuxError(EINVAL)
    check_pid(task, pid)
    if not wanted.flags & SCHED_FLAG_KEEP_POLICY:
        reset = SCHED_RESET_ON_FORK if wanted.flags & SCHED_FLAG_RESET_ON_FORK else 0
        _set_policy(task, pid, wanted.policy, wanted.priority, reset)
    if wanted.nice != task.host.procs.getpriority(PRIO_PROCESS, pid):
        _set_nice(task, pid or task.pid, wanted.nice)
    return 0


@syscall
def sched_get_priority_max(task: Task, policy: SchedPolicy) -> int:
    """sched_get_priority_max(2)"""
    if policy in _REAL_TIME:
        return 99
    if policy in _NORMAL or policy == SCHED_DEADLINE:
        return 0
    raise LinuxError(EINVAL)


@syscall
def sched_get_priority_min(task: Task, policy: SchedPolicy) -> int:
    """sched_get_priority_min(2)"""
    if policy in _REAL_TIME:
        return 1
    if policy in _NORMAL or policy == SCHED_DEADLINE:
        return 0
    raise LinuxError(EINVAL)


@syscall
def sched_rr_get_interval(task: Task, pid: Pid, interval: TimespecOutPtr) -> int:
    """sched_rr_get_interval(2): the time slice of the normal policy."""
    check_pid(task, pid)
    task.mem.write(interval, struct.pack("<qq", 0, 4_000_000))
    return 0
