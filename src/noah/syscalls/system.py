"""The machine and the process' place in it: uname, limits, usage, scheduling, prctl."""

from __future__ import annotations

import struct
from typing import Final

from noah.abi import arch_prctl as codes
from noah.abi import prctl as options
from noah.abi.capability import CAP_LAST_CAP
from noah.abi.errno import EFAULT, EINVAL, EPERM, ESRCH, LinuxError
from noah.abi.kinds import (
    Addr,
    ArchPrctlCode,
    GrndFlags,
    Int,
    MembarrierCmd,
    OutBuf,
    Pid,
    PriorityWhich,
    PrctlOption,
    ResourceId,
    RlimitOutPtr,
    RlimitPtr,
    RusagePtr,
    RusageWho,
    SchedParamOutPtr,
    SchedParamPtr,
    SchedPolicy,
    Size,
    Str,
    SysinfoPtr,
    TimespecOutPtr,
    UInt,
    ULong,
    UtsnamePtr,
)
from noah.abi.limits import NR_OPEN
from noah.abi.personality import QUERY
from noah.abi.random import GRND_INSECURE, GRND_NONBLOCK, GRND_RANDOM
from noah.abi.resource import (
    RLIM_INFINITY,
    RLIM_NLIMITS,
    RLIMIT_AS,
    RLIMIT_CPU,
    RLIMIT_DATA,
    RLIMIT_FSIZE,
    RLIMIT_MEMLOCK,
    RLIMIT_NOFILE,
    RLIMIT_STACK,
    RUSAGE_CHILDREN,
    RUSAGE_SELF,
    RUSAGE_THREAD,
)
from noah.abi.sched import SCHED_BATCH, SCHED_FIFO, SCHED_IDLE, SCHED_OTHER, SCHED_RESET_ON_FORK, SCHED_RR
from noah.abi.signal import NSIG
from noah.abi.structs import Rlimit, Rusage, Sysinfo, Utsname
from noah.kernel.task import Task
from noah.syscalls.credentials import check_pid
from noah.syscalls.registry import syscall

RELEASE: Final = b"6.1.0-noah"
VERSION: Final = b"#1 SMP PREEMPT_DYNAMIC Noah"


# -- the machine


@syscall
def uname(task: Task, buf: UtsnamePtr) -> int:
    """uname(2): name and version of the system."""
    node = task.host.procs.uname().nodename[:64]
    machine = task.process.arch.name.encode()
    task.mem.write(buf, Utsname.struct.pack(b"Linux", node, RELEASE, VERSION, machine, b"(none)"))
    return 0


@syscall
def sysinfo(task: Task, info: SysinfoPtr) -> int:
    """sysinfo(2): memory, load, up-time."""
    host = task.host.procs.sysinfo()
    task.mem.write(
        info,
        Sysinfo.struct.pack(
            host.uptime,
            *host.loads,
            host.totalram,
            host.freeram,
            host.sharedram,
            host.bufferram,
            host.totalswap,
            host.freeswap,
            min(host.procs, 0xFFFF),
            0,
            0,
            host.mem_unit,
        ),
    )
    return 0


@syscall
def getrandom(task: Task, buf: OutBuf, count: Size, flags: GrndFlags) -> int:
    """getrandom(2): random bytes."""
    if flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) or flags & GRND_RANDOM and flags & GRND_INSECURE:
        raise LinuxError(EINVAL)
    done = 0
    for view in task.mem.buffer(buf, min(count, 32 << 20), write=True):
        view[:] = task.host.rng.getrandom(len(view))
        done += len(view)
    return done


@syscall
def getcpu(task: Task, cpu: Addr, node: Addr, cache: Addr) -> int:
    """getcpu(2): the CPU that the thread runs on."""
    if cpu:
        task.mem.write_u32(cpu, 0)
    if node:
        task.mem.write_u32(node, 0)
    return 0


@syscall
def sethostname(task: Task, name: Str, length: Size) -> int:
    """sethostname(2): refused; the name is the host's."""
    raise LinuxError(EPERM)


@syscall
def setdomainname(task: Task, name: Str, length: Size) -> int:
    """setdomainname(2): refused."""
    raise LinuxError(EPERM)


@syscall
def personality(task: Task, persona: UInt) -> int:
    """personality(2): the execution domain; ADDR_NO_RANDOMIZE is honoured."""
    old = task.process.personality
    if persona != QUERY:
        task.process.personality = persona
    return old


@syscall
def syslog(task: Task, type_: Int, buf: Addr, length: Int) -> int:
    """syslog(2): the kernel's log, which is not the guest's to read."""
    raise LinuxError(EPERM)


@syscall
def reboot(task: Task, magic: Int, magic2: Int, cmd: UInt, arg: Addr) -> int:
    """reboot(2): refused."""
    raise LinuxError(EPERM)


@syscall(partial="commands that need other threads to be told do nothing: there is one thread")
def membarrier(task: Task, cmd: MembarrierCmd, flags: UInt, cpu: Int) -> int:
    """membarrier(2): memory barriers on other threads."""
    if flags or cmd < 0:
        raise LinuxError(EINVAL)
    if cmd == 0:
        return 0x1F
    if cmd not in (1, 2, 4, 8, 16):
        raise LinuxError(EINVAL)
    return 0


@syscall
def set_robust_list(task: Task, head: Addr, length: Size) -> int:
    """set_robust_list(2): where the thread's list of robust futexes is."""
    if length != 24:
        raise LinuxError(EINVAL)
    task.robust_list = head
    return 0


@syscall
def get_robust_list(task: Task, pid: Pid, head: Addr, length: Addr) -> int:
    """get_robust_list(2): the address given to set_robust_list(2)."""
    if pid not in (0, task.pid):
        raise LinuxError(ESRCH if not task.process.box.contains(pid) else EPERM)
    task.mem.write_u64(length, 24)
    task.mem.write_u64(head, task.robust_list)
    return 0


# -- limits and usage


def _get_limit(task: Task, resource: int) -> tuple[int, int]:
    if not 0 <= resource < RLIM_NLIMITS:
        raise LinuxError(EINVAL)
    return task.process.rlimits[resource]


def _set_limit(task: Task, resource: int, limits: tuple[int, int]) -> None:
    soft, hard = limits
    _, old_hard = _get_limit(task, resource)
    if soft > hard:
        raise LinuxError(EINVAL)
    if hard > old_hard and not task.creds.privileged:
        raise LinuxError(EPERM)
    if resource == RLIMIT_NOFILE and hard > NR_OPEN:
        raise LinuxError(EPERM)
    task.process.rlimits[resource] = limits
    apply_limit(task, resource, soft)


def apply_limit(task: Task, resource: int, soft: int) -> None:
    """Make a soft limit effective: most are Noah's to enforce, CPU time and file size are the host's."""
    space = task.space
    if resource == RLIMIT_AS:
        space.limit_as = soft
    elif resource == RLIMIT_DATA:
        space.limit_data = soft
    elif resource == RLIMIT_STACK:
        space.limit_stack = soft
    elif resource == RLIMIT_MEMLOCK:
        space.limit_memlock = soft
    elif resource == RLIMIT_NOFILE:
        task.fds.limit = min(soft, NR_OPEN)
    elif resource in (RLIMIT_FSIZE, RLIMIT_CPU):
        hard = task.host.procs.getrlimit(resource)[1]
        task.host.procs.setrlimit(resource, (min(soft, hard), hard))


@syscall
def getrlimit(task: Task, resource: ResourceId, rlim: RlimitOutPtr) -> int:
    """getrlimit(2): soft and hard limit."""
    task.mem.write(rlim, Rlimit.struct.pack(*_get_limit(task, resource)))
    return 0


@syscall
def setrlimit(task: Task, resource: ResourceId, rlim: RlimitPtr) -> int:
    """setrlimit(2): set soft and hard limit."""
    soft, hard = task.mem.unpack(Rlimit.struct, rlim)
    _set_limit(task, resource, (soft, hard))
    return 0


@syscall(partial="limits of another process are not reached")
def prlimit64(task: Task, pid: Pid, resource: ResourceId, new: RlimitPtr, old: RlimitOutPtr) -> int:
    """prlimit(2): get and set limits."""
    if not 0 <= resource < RLIM_NLIMITS:
        raise LinuxError(EINVAL)
    if check_pid(task, pid) not in (0, task.pid):
        task.process.missing("prlimit64: another process")
        raise LinuxError(EPERM)
    limits = task.mem.unpack(Rlimit.struct, new) if new else None
    before = _get_limit(task, resource)
    if limits is not None:
        _set_limit(task, resource, (limits[0], limits[1]))
    if old:
        task.mem.write(old, Rlimit.struct.pack(*before))
    return 0


@syscall
def getrusage(task: Task, who: RusageWho, usage: RusagePtr) -> int:
    """getrusage(2): resources used; Noah's own work counts as the guest's."""
    if who not in (RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD):
        raise LinuxError(EINVAL)
    used = task.host.procs.getrusage(who)
    task.mem.write(
        usage,
        Rusage.struct.pack(
            used.utime_us // 1_000_000,
            used.utime_us % 1_000_000,
            used.stime_us // 1_000_000,
            used.stime_us % 1_000_000,
            *used[2:],
        ),
    )
    return 0


# -- priority and scheduling


@syscall
def getpriority(task: Task, which: PriorityWhich, who: Int) -> int:
    """getpriority(2): 20 - nice, so that it is never negative."""
    return 20 - task.host.procs.getpriority(which, who)


@syscall
def setpriority(task: Task, which: PriorityWhich, who: Int, prio: Int) -> int:
    """setpriority(2): set the nice value."""
    if which == 0:
        check_pid(task, who)
    task.host.procs.setpriority(which, who, max(-20, min(19, prio)))
    return 0


@syscall
def sched_yield(task: Task) -> int:
    """sched_yield(2): let others run."""
    task.host.procs.sched_yield()
    return 0


@syscall
def sched_getaffinity(task: Task, pid: Pid, size: UInt, mask: Addr) -> int:
    """sched_getaffinity(2): the CPUs a thread may run on; answers the bytes written."""
    cpus = task.host.procs.sched_getaffinity(check_pid(task, pid))
    needed = (max(cpus) // 64 + 1) * 8
    if size < needed or size & 7:
        raise LinuxError(EINVAL)
    bits = sum(1 << cpu for cpu in cpus)
    task.mem.write(mask, bits.to_bytes(needed, "little"))
    return needed


@syscall
def sched_setaffinity(task: Task, pid: Pid, size: UInt, mask: Addr) -> int:
    """sched_setaffinity(2): bind a thread to CPUs."""
    check_pid(task, pid)
    bits = int.from_bytes(task.mem.read(mask, min(size, 128)), "little")
    cpus = [cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1]
    if not cpus:
        raise LinuxError(EINVAL)
    task.host.procs.sched_setaffinity(pid, cpus)
    return 0


@syscall
def sched_getscheduler(task: Task, pid: Pid) -> int:
    """sched_getscheduler(2): the policy: always the normal one."""
    check_pid(task, pid)
    return SCHED_OTHER


@syscall(partial="real-time policies are refused")
def sched_setscheduler(task: Task, pid: Pid, policy: SchedPolicy, param: SchedParamPtr) -> int:
    """sched_setscheduler(2): set the policy."""
    check_pid(task, pid)
    priority = task.mem.read_s32(param)
    policy &= ~SCHED_RESET_ON_FORK
    if policy in (SCHED_FIFO, SCHED_RR):
        if not 1 <= priority <= 99:
            raise LinuxError(EINVAL)
        raise LinuxError(EPERM)
    if policy not in (SCHED_OTHER, SCHED_BATCH, SCHED_IDLE) or priority:
        raise LinuxError(EINVAL)
    return 0


@syscall
def sched_getparam(task: Task, pid: Pid, param: SchedParamOutPtr) -> int:
    """sched_getparam(2): the real-time priority: 0."""
    check_pid(task, pid)
    task.mem.write_u32(param, 0)
    return 0


@syscall
def sched_setparam(task: Task, pid: Pid, param: SchedParamPtr) -> int:
    """sched_setparam(2): the normal policy takes priority 0 only."""
    check_pid(task, pid)
    if task.mem.read_s32(param):
        raise LinuxError(EINVAL)
    return 0


@syscall
def sched_get_priority_max(task: Task, policy: SchedPolicy) -> int:
    """sched_get_priority_max(2)"""
    if policy in (SCHED_FIFO, SCHED_RR):
        return 99
    if policy in (SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, 6):
        return 0
    raise LinuxError(EINVAL)


@syscall
def sched_get_priority_min(task: Task, policy: SchedPolicy) -> int:
    """sched_get_priority_min(2)"""
    if policy in (SCHED_FIFO, SCHED_RR):
        return 1
    if policy in (SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, 6):
        return 0
    raise LinuxError(EINVAL)


@syscall
def sched_rr_get_interval(task: Task, pid: Pid, interval: TimespecOutPtr) -> int:
    """sched_rr_get_interval(2): the time slice of the normal policy."""
    check_pid(task, pid)
    task.mem.write(interval, struct.pack("<qq", 0, 4_000_000))
    return 0


# -- prctl


@syscall(partial="the common options; others are EINVAL and reported")
def prctl(task: Task, option: PrctlOption, arg2: ULong, arg3: ULong, arg4: ULong, arg5: ULong) -> int:
    """prctl(2): operations on the calling process."""
    process, mem = task.process, task.mem
    if option == options.PR_SET_NAME:
        name = b""
        try:
            name = mem.string(arg2, 16)
        except LinuxError as error:
            if error.errno == EFAULT:
                raise
            name = mem.read(arg2, 15)
        process.comm = name[:15]
        task.host.procs.set_name(process.comm)
    elif option == options.PR_GET_NAME:
        mem.write(arg2, process.comm.ljust(16, b"\0"))
    elif option == options.PR_SET_PDEATHSIG:
        if arg2 >= NSIG:
            raise LinuxError(EINVAL)
        task.host.procs.set_pdeathsig(arg2)
        task.pdeathsig = arg2
    elif option == options.PR_GET_PDEATHSIG:
        mem.write_u32(arg2, task.pdeathsig)
    elif option == options.PR_GET_DUMPABLE:
        return process.dumpable
    elif option == options.PR_SET_DUMPABLE:
        if arg2 > 1:
            raise LinuxError(EINVAL)
        process.dumpable = arg2
    elif option == options.PR_SET_NO_NEW_PRIVS:
        if arg2 != 1 or arg3 or arg4 or arg5:
            raise LinuxError(EINVAL)
        process.no_new_privs = True
    elif option == options.PR_GET_NO_NEW_PRIVS:
        if arg2 or arg3 or arg4 or arg5:
            raise LinuxError(EINVAL)
        return int(process.no_new_privs)
    elif option == options.PR_SET_KEEPCAPS:
        if arg2 > 1:
            raise LinuxError(EINVAL)
        process.keep_caps = bool(arg2)
    elif option == options.PR_GET_KEEPCAPS:
        return int(process.keep_caps)
    elif option == options.PR_SET_CHILD_SUBREAPER:
        task.host.procs.set_child_subreaper(bool(arg2))
        process.subreaper = bool(arg2)
    elif option == options.PR_GET_CHILD_SUBREAPER:
        mem.write_u32(arg2, int(process.subreaper))
    elif option == options.PR_CAPBSET_READ:
        if arg2 > CAP_LAST_CAP:
            raise LinuxError(EINVAL)
        return 1
    elif option == options.PR_CAPBSET_DROP:
        if not task.creds.privileged:
            raise LinuxError(EPERM)
        if arg2 > CAP_LAST_CAP:
            raise LinuxError(EINVAL)
    elif option == options.PR_GET_SECUREBITS or option == options.PR_GET_SECCOMP:
        return 0
    elif option == options.PR_SET_TIMERSLACK:
        process.timer_slack = arg2 or 50_000
    elif option == options.PR_GET_TIMERSLACK:
        return process.timer_slack
    elif option == options.PR_GET_TID_ADDRESS:
        mem.write_u64(arg2, task.clear_child_tid)
    elif option == options.PR_GET_THP_DISABLE:
        if arg2 or arg3 or arg4 or arg5:
            raise LinuxError(EINVAL)
        return 0
    elif option == options.PR_SET_THP_DISABLE:
        if arg3 or arg4 or arg5:
            raise LinuxError(EINVAL)
    elif option == options.PR_GET_TSC:
        mem.write_u32(arg2, 1)  # PR_TSC_ENABLE
    else:
        process.missing(f"prctl: option {option}")
        raise LinuxError(EINVAL)
    return 0


@syscall
def arch_prctl(task: Task, code: ArchPrctlCode, addr: Addr) -> int:
    """arch_prctl(2): FS and GS base, on x86-64."""
    vcpu = task.vcpu
    if code in (codes.ARCH_SET_FS, codes.ARCH_SET_GS):
        if addr >= 1 << 47:
            raise LinuxError(EPERM)
        if code == codes.ARCH_SET_FS:
            vcpu.set_tls(addr)
        else:
            vcpu.set_gs(addr)
    elif code == codes.ARCH_GET_FS:
        task.mem.write_u64(addr, vcpu.get_tls())
    elif code == codes.ARCH_GET_GS:
        task.mem.write_u64(addr, vcpu.get_gs())
    else:
        raise LinuxError(EINVAL)
    return 0
