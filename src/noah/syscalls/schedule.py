"""Priorities and scheduling of threads: nice values, policies and CPUs are the host's, as far as it lets Noah set them.

What may be changed is decided by the guest's credentials and limits first (kernel/sched/syscalls.c).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
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
    RLIMIT_RTPRIO,
)
from noah.abi.sched import (
    SCHED_BATCH,
    SCHED_DEADLINE,
    SCHED_FIFO,
    SCHED_FLAG_ALL,
    SCHED_FLAG_KEEP_PARAMS,
    SCHED_FLAG_KEEP_POLICY,
    SCHED_FLAG_RESET_ON_FORK,
    SCHED_FLAG_UTIL_CLAMP_MAX,
    SCHED_FLAG_UTIL_CLAMP_MIN,
    SCHED_IDLE,
    SCHED_OTHER,
    SCHED_RESET_ON_FORK,
    SCHED_RR,
)
from noah.abi.structs import SchedAttr
from noah.host.values import Scheduling
from noah.kernel.task import Task
from noah.syscalls.credentials import check_pid, find_pid
from noah.syscalls.registry import syscall

_NORMAL: Final = (SCHED_OTHER, SCHED_BATCH, SCHED_IDLE)
_REAL_TIME: Final = (SCHED_FIFO, SCHED_RR)
_HIGHEST: Final = 99  # MAX_RT_PRIO - 1
_ATTR_SIZE_VER0: Final = 48
_CLAMPS: Final = SCHED_FLAG_UTIL_CLAMP_MIN | SCHED_FLAG_UTIL_CLAMP_MAX
_KEEP: Final = SCHED_FLAG_KEEP_POLICY | SCHED_FLAG_KEEP_PARAMS
_UNSIGNED: Final = 0xFFFFFFFF
_PARTIAL: Final = "real-time policies as far as the host allows them; on the host posix none"


def _thread(task: Task, pid: int) -> int:
    """The host's id of a thread or process that a pid argument names, 0 the caller. ESRCH if it is not of the box.

    Noah as process 1 is scheduled as the caller is to begin with, and nobody may change it.
    """
    find_pid(task, pid)
    if not pid:
        return task.host_tid
    return next((own.host_tid for own in task.process.tasks if own.tid == pid), pid)


def _user(task: Task, thread: int) -> tuple[int, int]:
    """Real and effective user id of who has a thread. EPERM for Noah itself, whoever asks."""
    if task.process.box.is_noah(thread):
        raise LinuxError(EPERM)
    if any(thread == own.host_tid for own in task.process.tasks):
        return task.creds.uid, task.creds.euid
    return task.process.box.users(thread)[:2]


# -- nice values


def _chosen(task: Task, which: int, who: int) -> list[int]:
    """Threads that getpriority(2) and ioprio_get(2) name, by PRIO_* values: of other processes the first one."""
    process = task.process
    box, procs = process.box, task.host.procs
    if which == PRIO_PROCESS:
        try:
            return [_thread(task, who)]
        except LinuxError:
            return []
    if which == PRIO_PGRP:
        pids = box.group(who or procs.getpgid(0))
    elif which == PRIO_USER:
        user = who & 0xFFFFFFFF or task.creds.uid
        pids = [pid for pid in box.members() if box.users(pid)[0] == user]
    else:
        raise LinuxError(EINVAL)
    own = list(dict.fromkeys(other.host_tid for other in process.tasks))
    return [thread for pid in pids for thread in (own if pid == task.pid else [pid])]


def _for_each(threads: list[int], change: Callable[[int], None]) -> None:
    """The last error counts, ESRCH if there is no thread at all (setpriority(2), set_one_prio())."""
    error: LinuxError | None = LinuxError(ESRCH)
    for thread in threads:
        try:
            change(thread)
            if error is not None and error.errno == ESRCH:
                error = None
        except LinuxError as failure:
            error = failure
    if error is not None:
        raise error


@syscall
def getpriority(task: Task, which: PriorityWhich, who: Int) -> int:
    """getpriority(2): 20 - nice, so that it is never negative; the most favourable of several."""
    values = []
    for thread in _chosen(task, which, who):
        try:
            values.append(20 - _nice(task, thread))
        except LinuxError:
            continue
    if not values:
        raise LinuxError(ESRCH)
    return max(values)


@syscall
def setpriority(task: Task, which: PriorityWhich, who: Int, prio: Int) -> int:
    """setpriority(2): set the nice value."""
    nice = max(-20, min(19, prio))
    _for_each(_chosen(task, which, who), lambda thread: _set_nice(task, thread, nice))
    return 0


def _nice(task: Task, thread: int) -> int:
    return 0 if task.process.box.is_noah(thread) else task.host.procs.getpriority(PRIO_PROCESS, thread)


def _set_nice(task: Task, thread: int, nice: int) -> None:
    """set_one_prio()"""
    procs, creds = task.host.procs, task.creds
    users = _user(task, thread)
    if not creds.capable(CAP_SYS_NICE):
        if creds.euid not in users:
            raise LinuxError(EPERM)
        if nice < procs.getpriority(PRIO_PROCESS, thread) and not _may_be_nicer(task, nice):
            raise LinuxError(EACCES)
    procs.setpriority(PRIO_PROCESS, thread, nice)


def _may_be_nicer(task: Task, nice: int) -> bool:
    """is_nice_reduction()"""
    return 20 - nice <= task.process.rlimits[RLIMIT_NICE][0]


@syscall
def ioprio_set(task: Task, which: Int, who: Int, ioprio: Int) -> int:
    """ioprio_set(2): the class and priority of I/O."""
    creds, procs = task.creds, task.host.procs
    kind, level = ioprio >> IOPRIO_CLASS_SHIFT, ioprio & 7
    if kind == IOPRIO_CLASS_RT and not creds.capable(CAP_SYS_NICE):
        raise LinuxError(EPERM)
    if (kind == IOPRIO_CLASS_NONE and level) or not IOPRIO_CLASS_NONE <= kind <= IOPRIO_CLASS_IDLE:
        raise LinuxError(EINVAL)

    def change(thread: int) -> None:
        if _user(task, thread)[0] not in (creds.uid, creds.euid) and not creds.capable(CAP_SYS_NICE):
            raise LinuxError(EPERM)
        procs.ioprio_set(thread, ioprio)

    _for_each(_io_chosen(task, which, who), change)
    return 0


@syscall
def ioprio_get(task: Task, which: Int, who: Int) -> int:
    """ioprio_get(2): the highest priority of several."""
    values = []
    for thread in _io_chosen(task, which, who):
        try:
            noah = task.process.box.is_noah(thread)
            values.append(task.host.procs.ioprio_get(task.host_tid if noah else thread))
        except LinuxError:
            continue
    if not values:
        raise LinuxError(ESRCH)
    return min(values)


def _io_chosen(task: Task, which: int, who: int) -> list[int]:
    if not IOPRIO_WHO_PROCESS <= which <= IOPRIO_WHO_USER:
        raise LinuxError(EINVAL)
    threads = _chosen(task, which - IOPRIO_WHO_PROCESS + PRIO_PROCESS, who)
    if not threads:
        raise LinuxError(ESRCH)
    return threads


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
    thread = _thread(task, pid)
    cpus = task.host.procs.sched_getaffinity(task.host_tid if task.process.box.is_noah(thread) else thread)
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
    thread = _thread(task, pid)
    users = _user(task, thread)
    if task.creds.euid not in users and not task.creds.capable(CAP_SYS_NICE):
        raise LinuxError(EPERM)
    cpus = [cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1]
    if not cpus:
        raise LinuxError(EINVAL)
    task.host.procs.sched_setaffinity(thread, cpus)
    if thread == task.host_tid:
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


def _found(task: Task, pid: int) -> tuple[int, Scheduling]:
    """A thread's id on the host and how it is scheduled."""
    thread = _thread(task, check_pid(task, pid))
    return thread, _state(task, thread)._replace(nice=_nice(task, thread))


def _state(task: Task, thread: int) -> Scheduling:
    if task.process.box.is_noah(thread):
        return Scheduling(SCHED_OTHER)
    return task.host.procs.sched_getattr(thread)


@syscall
def sched_getscheduler(task: Task, pid: Pid) -> int:
    """sched_getscheduler(2): the policy."""
    _, state = _found(task, pid)
    return state.policy | (SCHED_RESET_ON_FORK if state.flags & SCHED_FLAG_RESET_ON_FORK else 0)


@syscall(partial=_PARTIAL)
def sched_setscheduler(task: Task, pid: Pid, policy: SchedPolicy, param: SchedParamPtr) -> int:
    """sched_setscheduler(2): set the policy."""
    if policy < 0 or pid < 0 or not param:
        raise LinuxError(EINVAL)
    priority = task.mem.read_s32(param)
    thread, state = _found(task, pid)
    flags = SCHED_FLAG_RESET_ON_FORK if policy & SCHED_RESET_ON_FORK else 0
    policy &= ~SCHED_RESET_ON_FORK
    _schedule(task, thread, state, Scheduling(policy, flags, state.nice, priority & _UNSIGNED))
    return 0


def _schedule(task: Task, thread: int, before: Scheduling, wanted: Scheduling) -> None:
    """__sched_setscheduler()"""
    policy = wanted.policy
    if policy not in (*_NORMAL, *_REAL_TIME, SCHED_DEADLINE) or wanted.priority > _HIGHEST:
        raise LinuxError(EINVAL)
    if (policy in _REAL_TIME) != (wanted.priority != 0):
        raise LinuxError(EINVAL)
    users = _user(task, thread)
    if not task.creds.capable(CAP_SYS_NICE) and _needs_privilege(task, users, before, wanted):
        raise LinuxError(EPERM)
    task.host.procs.sched_setattr(thread, wanted)


def _needs_privilege(task: Task, users: tuple[int, int], before: Scheduling, wanted: Scheduling) -> bool:
    """user_check_sched_setscheduler(), by the caller's limits"""
    policy, highest = wanted.policy, task.process.rlimits[RLIMIT_RTPRIO][0]
    if policy in _REAL_TIME:
        refused = (policy != before.policy and not highest) or before.priority < wanted.priority > highest
    else:
        refused = policy == SCHED_DEADLINE or (wanted.nice < before.nice and not _may_be_nicer(task, wanted.nice))
    return (
        refused
        or (before.policy == SCHED_IDLE != policy and not _may_be_nicer(task, before.nice))
        or task.creds.euid not in users
        or before.flags & ~wanted.flags & SCHED_FLAG_RESET_ON_FORK != 0
    )


@syscall
def sched_getparam(task: Task, pid: Pid, param: SchedParamOutPtr) -> int:
    """sched_getparam(2): the real-time priority, 0 without one."""
    if not param:
        raise LinuxError(EINVAL)
    _, state = _found(task, pid)
    task.mem.write_u32(param, state.priority)
    return 0


@syscall(partial=_PARTIAL)
def sched_setparam(task: Task, pid: Pid, param: SchedParamPtr) -> int:
    """sched_setparam(2): set the real-time priority; the policy stays."""
    if not param or pid < 0:
        raise LinuxError(EINVAL)
    priority = task.mem.read_s32(param)
    thread, state = _found(task, pid)
    flags = state.flags & SCHED_FLAG_RESET_ON_FORK
    _schedule(task, thread, state, Scheduling(state.policy, flags, state.nice, priority & _UNSIGNED))
    return 0


@syscall
def sched_getattr(task: Task, pid: Pid, attr: Addr, size: UInt, flags: UInt) -> int:
    """sched_getattr(2): policy and what belongs to it."""
    if not attr or flags or not _ATTR_SIZE_VER0 <= size <= 4096:
        raise LinuxError(EINVAL)
    state = _state(task, _thread(task, check_pid(task, pid)))  # of what is real-time, without a nice value
    length = min(size, SchedAttr.struct.size)
    task.mem.write(attr, SchedAttr.struct.pack(length, *state)[:length])
    return 0


@syscall(partial=_PARTIAL)
def sched_setattr(task: Task, pid: Pid, attr: Addr, flags: UInt) -> int:
    """sched_setattr(2): set policy and what belongs to it."""
    if not attr or flags or pid < 0:
        raise LinuxError(EINVAL)
    size = task.mem.read_u32(attr) or _ATTR_SIZE_VER0
    if not _ATTR_SIZE_VER0 <= size <= 4096:
        task.mem.write_u32(attr, SchedAttr.struct.size)
        raise LinuxError(E2BIG)
    raw = task.mem.read(attr, size)
    if any(raw[SchedAttr.struct.size :]):
        task.mem.write_u32(attr, SchedAttr.struct.size)
        raise LinuxError(E2BIG)
    given = SchedAttr.struct.unpack(raw[: SchedAttr.struct.size].ljust(SchedAttr.struct.size, b"\0"))
    wanted = Scheduling(*given[1:])
    wanted = wanted._replace(nice=max(-20, min(19, wanted.nice)))
    if wanted.flags & _CLAMPS and size < SchedAttr.struct.size:
        raise LinuxError(EINVAL)
    if wanted.policy >> 31:
        raise LinuxError(EINVAL)
    thread, state = _found(task, pid)
    if wanted.flags & ~SCHED_FLAG_ALL:
        raise LinuxError(EINVAL)
    if wanted.flags & SCHED_FLAG_KEEP_PARAMS:
        kept = state._replace(policy=wanted.policy, flags=wanted.flags)
        wanted = kept._replace(util_min=wanted.util_min, util_max=wanted.util_max)
    if wanted.flags & SCHED_FLAG_KEEP_POLICY:
        reset = (wanted.flags & ~SCHED_FLAG_RESET_ON_FORK) | (state.flags & SCHED_FLAG_RESET_ON_FORK)
        wanted = wanted._replace(policy=state.policy, flags=reset)
    _schedule(task, thread, state, wanted._replace(flags=wanted.flags & ~_KEEP))
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
    """sched_rr_get_interval(2): the time slice."""
    thread = _thread(task, check_pid(task, pid))
    thread = task.host_tid if task.process.box.is_noah(thread) else thread
    task.mem.write(interval, struct.pack("<qq", *divmod(task.host.procs.sched_rr_get_interval(thread), 10**9)))
    return 0
