"""The machine and the process' place in it: uname, limits, usage."""

from __future__ import annotations

from typing import Final

from noah.abi.capability import CAP_SYS_ADMIN, CAP_SYS_RESOURCE
from noah.abi.errno import EINVAL, EPERM, ESRCH, LinuxError
from noah.abi.kinds import (
    Addr,
    GrndFlags,
    InBuf,
    Int,
    MembarrierCmd,
    OutBuf,
    Pid,
    ResourceId,
    RlimitOutPtr,
    RlimitPtr,
    RusagePtr,
    RusageWho,
    Size,
    SysinfoPtr,
    UInt,
    UtsnamePtr,
)
from noah.abi.mman import MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ
from noah.abi.personality import PER_LINUX32, PER_MASK, QUERY, UNAME26
from noah.abi.random import GRND_INSECURE, GRND_NONBLOCK, GRND_RANDOM
from noah.abi.resource import (
    RUSAGE_CHILDREN,
    RUSAGE_SELF,
    RUSAGE_THREAD,
)
from noah.abi.structs import Rlimit, Rusage, Sysinfo, Utsname
from noah.kernel import limits
from noah.kernel.task import Task
from noah.kernel.uts import MAX_LENGTH
from noah.syscalls.credentials import find_pid
from noah.syscalls.registry import syscall

RELEASE: Final = b"6.1.0-noah"
RELEASE_26: Final = b"2.6.61-noah"  # for UNAME26: 60 + minor version (kernel/sys.c: override_release)
_COMPAT_MACHINE: Final = {b"x86_64": b"i686", b"aarch64": b"armv8l"}
VERSION: Final = b"#1 SMP PREEMPT_DYNAMIC Noah"


# -- the machine


@syscall
def uname(task: Task, buf: UtsnamePtr) -> int:
    """uname(2): name and version of the system."""
    process = task.process
    persona = process.personality
    machine = process.arch.name.encode()
    if persona & PER_MASK == PER_LINUX32:
        machine = _COMPAT_MACHINE[machine]
    release = RELEASE_26 if persona & UNAME26 else RELEASE
    names = b"Linux", process.nodename, release, VERSION, machine, process.domainname
    task.mem.write(buf, Utsname.struct.pack(*names))
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
    if flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) or (flags & GRND_RANDOM and flags & GRND_INSECURE):
        raise LinuxError(EINVAL)
    done = 0
    for view in task.mem.buffer(buf, min(count, 32 << 20), write=True):
        view[:] = task.host.rng.getrandom(len(view))
        done += len(view)
    return done


@syscall
def sethostname(task: Task, name: InBuf, length: Size) -> int:
    """sethostname(2): what the machine is called in this box; the host's name stays as it is."""
    task.process.box.uts.nodename = _new_name(task, name, length)
    return 0


@syscall
def setdomainname(task: Task, name: InBuf, length: Size) -> int:
    """setdomainname(2): the NIS domain name, in this box."""
    task.process.box.uts.domainname = _new_name(task, name, length)
    return 0


def _new_name(task: Task, name: int, length: int) -> bytes:
    if not task.creds.capable(CAP_SYS_ADMIN):
        raise LinuxError(EPERM)
    if length > MAX_LENGTH:
        raise LinuxError(EINVAL)
    return task.mem.read(name, length).partition(b"\0")[0]


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


_FOR_RSEQ: Final = MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ


@syscall(partial="as on a kernel without rseq(2); on the host posix no command is offered")
def membarrier(task: Task, cmd: MembarrierCmd, flags: UInt, cpu: Int) -> int:
    """membarrier(2): memory barriers on other threads, which are threads of the host."""
    if task.host.caps.futex:
        if cmd & _FOR_RSEQ:
            raise LinuxError(EINVAL)
        return task.host.mem.membarrier(cmd, flags, cpu) & ~_FOR_RSEQ
    if flags or cmd:
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


@syscall
def getrlimit(task: Task, resource: ResourceId, rlim: RlimitOutPtr) -> int:
    """getrlimit(2): soft and hard limit."""
    task.mem.write(rlim, Rlimit.struct.pack(*limits.change(task.process, resource, None, privileged=False)))
    return 0


@syscall
def setrlimit(task: Task, resource: ResourceId, rlim: RlimitPtr) -> int:
    """setrlimit(2): set soft and hard limit."""
    soft, hard = task.mem.unpack(Rlimit.struct, rlim)
    limits.change(task.process, resource, (soft, hard), privileged=task.creds.capable(CAP_SYS_RESOURCE))
    return 0


@syscall(partial="another process sets its own limits when it is asked: EACCES from one that is stopped")
def prlimit64(task: Task, pid: Pid, resource: ResourceId, new: RlimitPtr, old: RlimitOutPtr) -> int:
    """prlimit(2): get and set limits."""
    wanted = None
    if new:
        soft, hard = task.mem.unpack(Rlimit.struct, new)
        wanted = soft, hard
    process = task.process
    pid = find_pid(task, pid)
    if pid == 0 or any(pid == own.tid for own in process.tasks):
        before = limits.change(process, resource, wanted, privileged=task.creds.capable(CAP_SYS_RESOURCE))
    else:
        before = limits.change_of(task, pid, resource, wanted)
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
