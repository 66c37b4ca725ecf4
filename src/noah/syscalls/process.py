"""Processes: fork, execve, exit, wait; process groups and sessions."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from noah.abi.errno import E2BIG, EACCES, EAGAIN, EBADF, EFAULT, EINVAL, ENOSYS, EPERM, ESRCH, LinuxError
from noah.abi.fcntl import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_NONBLOCK
from noah.abi.kinds import (
    Addr,
    ArgvPtr,
    AtFlags,
    CloneArgsPtr,
    CloneFlags,
    DirFd,
    EnvPtr,
    Hex32,
    Int,
    IntOutPtr,
    Path,
    Pid,
    RusagePtr,
    SiginfoOutPtr,
    Size,
    WaitIdType,
    WaitOptions,
    WaitStatusPtr,
)
from noah.abi.sched import (
    CLONE_ARGS_SIZE_VER2,
    CLONE_CHILD_CLEARTID,
    CLONE_CHILD_SETTID,
    CLONE_CLEAR_SIGHAND,
    CLONE_DETACHED,
    CLONE_FILES,
    CLONE_FS,
    CLONE_INTO_CGROUP,
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    CLONE_PARENT,
    CLONE_PARENT_SETTID,
    CLONE_PIDFD,
    CLONE_SETTLS,
    CLONE_SIGHAND,
    CLONE_THREAD,
    CLONE_VFORK,
    CLONE_VM,
    CSIGNAL,
)
from noah.abi.siginfo import SiginfoChld
from noah.abi.signal import CLD_DUMPED, CLD_EXITED, CLD_KILLED, NSIG, SIGCHLD
from noah.abi.structs import CloneArgs, Rusage
from noah.abi.time import CLOCK_MONOTONIC
from noah.abi.wait import (
    P_ALL,
    P_PGID,
    P_PID,
    P_PIDFD,
    WALL,
    WCLONE,
    WCONTINUED,
    WEXITED,
    WNOHANG,
    WNOTHREAD,
    WNOWAIT,
    WSTOPPED,
    WUNTRACED,
)
from noah.fs.pidfd import PidFile
from noah.host.values import Rusage as HostRusage
from noah.kernel.control import NoReturn, ProcessExit, ThreadExit
from noah.kernel.fork import fork as fork_process
from noah.kernel.limits import check_processes
from noah.kernel.task import Borrowing, Task
from noah.kernel.threads import start_thread
from noah.kernel.vfork import can_borrow
from noah.kernel.vfork import vfork as vfork_in_place
from noah.loader.execve import Program, find_program
from noah.loader.execve import execve as execute
from noah.syscalls.pidfd import pid_file
from noah.syscalls.registry import NUMBERS, syscall
from noah.vm.arena import PAGE

_NAMESPACES: Final = (
    CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP
)
_SHARED_NAMES: Final = {
    CLONE_VM: "CLONE_VM",
    CLONE_FS: "CLONE_FS",
    CLONE_FILES: "CLONE_FILES",
    CLONE_SIGHAND: "CLONE_SIGHAND",
}
_SHARED: Final = CLONE_FS | CLONE_FILES | CLONE_SIGHAND
_MAX_PID_NS_LEVEL: Final = 32
_PID_NAME_SPACES: Final = 1
_INT_MAX: Final = (1 << 31) - 1
_GLANCE: Final = 10_000_000  # ns
_POINTER: Final = struct.Struct("<Q")
_POINTERS_AT_ONCE: Final = 32
# None of these closes an open file: the parent's table still refers to each.
_BORROWED: Final = ("rt_sigaction", "rt_sigprocmask", "close", "close_range", "dup", "dup2", "dup3")
_MAX_STRINGS_BYTES: Final = 8 << 20  # more cannot pass the checks of execve(2)


# -- fork


def _check_flags(task: Task, flags: int) -> None:
    """copy_process(): EINVAL for what makes no sense or is missing here, EPERM for name spaces."""
    if flags & CLONE_FS and flags & (CLONE_NEWNS | CLONE_NEWUSER):
        raise LinuxError(EINVAL)
    if (flags & CLONE_SIGHAND and not flags & CLONE_VM) or (flags & CLONE_THREAD and not flags & CLONE_SIGHAND):
        raise LinuxError(EINVAL)
    if flags & CLONE_PIDFD and flags & (CLONE_DETACHED | CLONE_THREAD):
        raise LinuxError(EINVAL)
    if flags & _NAMESPACES:
        raise LinuxError(EPERM)
    shared = flags & (_SHARED | CLONE_VM)
    if shared and not flags & CLONE_THREAD and (shared != CLONE_VM or not flags & CLONE_VFORK):
        names = "|".join(name for flag, name in _SHARED_NAMES.items() if flags & flag)
        task.process.missing(f"clone: {names} between processes")
        raise LinuxError(EINVAL)


def _clone(
    task: Task, flags: int, exit_signal: int, stack: int, parent_tid: int, child_tid: int, tls: int, pidfd: int = 0
) -> int:
    _check_flags(task, flags)
    check_processes(task)
    if flags & CLONE_THREAD:
        task.vcpu.regs[task.process.arch.result] = start_thread(task, flags, stack, parent_tid, child_tid, tls)
        raise NoReturn  # the process may have got threads: it runs guest code in another way now
    if can_borrow(task, flags, exit_signal):
        return vfork_in_place(task, lambda: _begin_child(task, flags, stack, 0, tls))
    if flags & CLONE_PIDFD:
        task.mem.slices(pidfd, 4, write=True)
    pid = fork_process(task, flags, exit_signal)
    if pid:
        if flags & CLONE_PARENT_SETTID:
            _write_tid(task, parent_tid, pid)
        if flags & CLONE_PIDFD:
            task.mem.write_u32(pidfd, task.fds.install(PidFile(task.host, pid), cloexec=True))
        return pid
    _begin_child(task, flags, stack, child_tid, tls)
    raise NoReturn


def _begin_child(task: Task, flags: int, stack: int, child_tid: int, tls: int) -> None:
    """What clone(2) gives the child to begin with."""
    arch = task.process.arch
    regs = task.vcpu.regs
    if flags & CLONE_SETTLS:
        task.vcpu.set_tls(tls)
    if flags & CLONE_CHILD_SETTID:
        _write_tid(task, child_tid, task.tid)
    if flags & CLONE_CLEAR_SIGHAND:
        task.process.signals.clear_handlers(task)
    task.clear_child_tid = child_tid if flags & CLONE_CHILD_CLEARTID else 0
    if stack:
        regs[arch.sp] = stack
    regs[arch.result] = 0


def _write_tid(task: Task, address: int, tid: int) -> None:
    try:
        task.mem.write_u32(address, tid)
    except LinuxError:
        pass  # Linux does not look either


@syscall
def fork(task: Task) -> int:
    """fork(2): make a child process."""
    return _clone(task, 0, SIGCHLD, 0, 0, 0, 0)


@syscall
def vfork(task: Task) -> int:
    """vfork(2): make a child process and wait until it runs a program."""
    return _clone(task, CLONE_VFORK | CLONE_VM, SIGCHLD, 0, 0, 0, 0)


@syscall(partial="no namespaces; processes share neither descriptors nor memory, but for a vfork's memory: EINVAL")
def clone(task: Task, flags: CloneFlags, stack: Addr, parent_tid: IntOutPtr, child_tid: Addr, tls: Addr) -> int:
    """clone(2): make a child process."""
    exit_signal = flags & CSIGNAL
    flags &= 0xFFFFFFFF & ~CSIGNAL
    if flags & CLONE_PIDFD and flags & CLONE_PARENT_SETTID:
        raise LinuxError(EINVAL)  # the pidfd takes the place of the parent's copy
    if task.process.arch.name == "aarch64":  # CONFIG_CLONE_BACKWARDS: tls comes before child_tid
        child_tid, tls = tls, child_tid
    if flags & CLONE_PARENT:
        exit_signal = SIGCHLD  # it is the parent's own
    return _clone(task, flags, exit_signal, stack, parent_tid, child_tid, tls, parent_tid)


@syscall(partial="as clone; set_tid and cgroup are refused")
def clone3(task: Task, args: CloneArgsPtr, size: Size) -> int:
    """clone3(2): make a child process."""
    if size > 4096:
        raise LinuxError(E2BIG)
    if size < 64:
        raise LinuxError(EINVAL)
    raw = task.mem.read(args, size)
    if any(raw[88:]):
        raise LinuxError(E2BIG)
    a = CloneArgs.unpack_from(raw[:88].ljust(88, b"\0"), 0)
    known = (1 << 34) - 1 & ~CSIGNAL & ~CLONE_DETACHED
    if a.flags & ~known or a.exit_signal > NSIG or bool(a.stack) != bool(a.stack_size):
        raise LinuxError(EINVAL)
    if a.flags & (CLONE_THREAD | CLONE_PARENT) and a.exit_signal:
        raise LinuxError(EINVAL)
    if a.flags & CLONE_SIGHAND and a.flags & CLONE_CLEAR_SIGHAND:
        raise LinuxError(EINVAL)
    if a.set_tid_size > _MAX_PID_NS_LEVEL or bool(a.set_tid) != bool(a.set_tid_size):
        raise LinuxError(EINVAL)
    if a.flags & CLONE_INTO_CGROUP and (size < CLONE_ARGS_SIZE_VER2 or a.cgroup > _INT_MAX):
        raise LinuxError(EINVAL)
    if a.set_tid_size:
        task.process.missing("clone3: set_tid")
        raise LinuxError(EINVAL if a.set_tid_size > _PID_NAME_SPACES else EPERM)
    if a.flags & CLONE_INTO_CGROUP:
        task.process.missing("clone3: CLONE_INTO_CGROUP")
        raise LinuxError(EBADF)  # no directory of a box is a control group
    if a.flags & CLONE_PIDFD and a.flags & CLONE_PARENT_SETTID and a.pidfd == a.parent_tid:
        raise LinuxError(EINVAL)
    exit_signal = SIGCHLD if a.flags & CLONE_PARENT else a.exit_signal
    stack = a.stack + a.stack_size
    return _clone(task, a.flags, exit_signal, stack, a.parent_tid, a.child_tid, a.tls, a.pidfd)


@syscall
def set_tid_address(task: Task, tidptr: Addr) -> int:
    """set_tid_address(2): where 0 is written when the thread ends."""
    task.clear_child_tid = tidptr
    return task.tid


@syscall(partial="always ENOSYS, which tells C libraries to do without")
def rseq(task: Task, area: Addr, length: Hex32, flags: Hex32, signature: Hex32) -> int:
    """rseq(2): restartable sequences, which save threads of one processor from atomic instructions."""
    raise LinuxError(ENOSYS)


# -- execve


def _strings(task: Task, address: int) -> list[bytes]:
    """A NULL-terminated array of strings; E2BIG early when it is hopeless."""
    strings: list[bytes] = []
    if not address:
        return strings
    mem = task.mem
    total = 0
    while True:
        # Several pointers at once, of one page: what lies behind the NULL need not be there.
        count = min(_POINTERS_AT_ONCE, PAGE - address % PAGE >> 3) or 1
        for (pointer,) in _POINTER.iter_unpack(mem.read(address, count * 8)):
            if not pointer:
                return strings
            try:
                text = mem.string(pointer, 1 << 17)
            except LinuxError as error:
                raise LinuxError(EFAULT if error.errno == EFAULT else E2BIG) from None
            strings.append(text)
            total += len(text) + 9
            if total > _MAX_STRINGS_BYTES:
                raise LinuxError(E2BIG)
        address += count * 8


@syscall
def execve(task: Task, path: Path, argv: ArgvPtr, envp: EnvPtr) -> int:
    """execve(2): run a program."""
    _find_program(task, path, argv, envp).execute(task)
    raise NoReturn


def _find_program(task: Task, path: int, argv: int, envp: int) -> Program:
    return find_program(task, AT_FDCWD, task.mem.string(path), _strings(task, argv), _strings(task, envp))


def borrowing(arch: str, table: Sequence[Callable[..., int]]) -> Borrowing:
    """What vfork's children do before they execute a program, and needs no process of their own."""
    numbers = NUMBERS[arch]
    calls = [numbers[name] for name in _BORROWED if name in numbers]
    return Borrowing({number: table[number] for number in calls}, {numbers["execve"]: _find_program})


@syscall
def execveat(task: Task, dirfd: DirFd, path: Path, argv: ArgvPtr, envp: EnvPtr, flags: AtFlags) -> int:
    """execveat(2): run a program named relative to a directory, or an open one."""
    if flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW):
        raise LinuxError(EINVAL)
    name = task.mem.string(path)
    execute(task, dirfd, name, _strings(task, argv), _strings(task, envp), flags)
    raise NoReturn


# -- exit


@syscall
def exit_group(task: Task, status: Int) -> int:
    """exit_group(2): end the process."""
    raise ProcessExit(status & 0xFF)


@syscall(name="exit")
def exit_(task: Task, status: Int) -> int:
    """exit(2): end the thread; the last one takes the process along."""
    raise ThreadExit(status & 0xFF)


# -- wait


def _pack_rusage(usage: HostRusage) -> bytes:
    return Rusage.struct.pack(
        usage.utime_us // 1_000_000,
        usage.utime_us % 1_000_000,
        usage.stime_us // 1_000_000,
        usage.stime_us % 1_000_000,
        *usage[2:],
    )


def _pause(task: Task) -> None:
    """Until a child may have something to tell."""
    deadline = None
    if task.process.silent_children:
        deadline = task.host.clock.clock_gettime(CLOCK_MONOTONIC) + _GLANCE
    task.pause(deadline)


@syscall
def wait4(task: Task, pid: Pid, status: WaitStatusPtr, options: WaitOptions, rusage: RusagePtr) -> int:
    """wait4(2): wait for a child to change its state."""
    options &= 0xFFFFFFFF
    if options & ~(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WCLONE | WALL):
        raise LinuxError(EINVAL)
    if pid == -(1 << 31):
        raise LinuxError(ESRCH)
    procs = task.host.procs
    signals = task.process.signals
    while True:
        found, word, usage = procs.wait4(pid, options | WNOHANG)
        if found:
            if word & 0xFF != 0x7F and word != 0xFFFF:
                task.process.box.remove(found)
                if signals.reaps_children():  # in Linux it left no zombie to be found
                    continue
            if status:
                task.mem.write_u32(status, word)
            if rusage:
                task.mem.write(rusage, _pack_rusage(usage))
            return found
        if options & WNOHANG:
            return 0
        _pause(task)


@syscall
def waitid(
    task: Task, idtype: WaitIdType, id_: Pid, info: SiginfoOutPtr, options: WaitOptions, rusage: RusagePtr
) -> int:
    """waitid(2): wait for a child to change its state."""
    options &= 0xFFFFFFFF
    if options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | WNOTHREAD | WCLONE | WALL):
        raise LinuxError(EINVAL)
    if not options & (WEXITED | WSTOPPED | WCONTINUED):
        raise LinuxError(EINVAL)
    nonblocking = False
    if idtype == P_PIDFD:
        if id_ < 0:
            raise LinuxError(EINVAL)
        file = pid_file(task, id_)
        idtype, id_, nonblocking = P_PID, file.pid, bool(file.flags & O_NONBLOCK)
    elif (idtype == P_PID and id_ <= 0) or (idtype == P_PGID and id_ < 0) or idtype not in (P_ALL, P_PID, P_PGID):
        raise LinuxError(EINVAL)
    signals = task.process.signals
    while True:
        found, usage = task.host.procs.waitid(idtype, id_, options | WNOHANG)
        ended = found.pid and found.code in (CLD_EXITED, CLD_KILLED, CLD_DUMPED)
        if ended and signals.reaps_children():  # in Linux it left no zombie to be found
            if options & WNOWAIT:
                task.host.procs.wait4(found.pid, WNOHANG)
            task.process.box.remove(found.pid)
            continue
        if found.pid or options & WNOHANG:
            break
        if nonblocking:
            raise LinuxError(EAGAIN)
        _pause(task)
    if ended and not options & WNOWAIT:
        task.process.box.remove(found.pid)
    if rusage:
        task.mem.write(rusage, _pack_rusage(usage))
    if info:
        if found.pid:
            data = SiginfoChld.struct.pack(SIGCHLD, 0, found.code, found.pid, found.uid, found.status, 0, 0)
        else:
            data = bytes(32)
        task.mem.write(info, data[:32])
    return 0


# -- ids


@syscall
def getpid(task: Task) -> int:
    """getpid(2): the process id, which is the host's."""
    return task.pid


@syscall
def gettid(task: Task) -> int:
    """gettid(2): the thread id."""
    return task.tid


@syscall
def getppid(task: Task) -> int:
    """getppid(2): the parent, 1 if it is not of this box."""
    return task.process.parent_pid


def _of_box(task: Task, pid: int) -> int:
    if pid and pid != task.pid and not task.process.box.contains(pid):
        raise LinuxError(ESRCH)
    return pid


@syscall
def setpgid(task: Task, pid: Pid, pgid: Pid) -> int:
    """setpgid(2): move a process to a process group."""
    pid = pid or task.pid
    pgid = pgid or pid
    if pgid < 0:
        raise LinuxError(EINVAL)
    procs, box = task.host.procs, task.process.box
    if pid != task.pid and box.contains(pid) and box.has_executed(pid):
        procs.setpgid(pid, procs.getpgid(pid))  # what is no child, or in another session: the host tells
        raise LinuxError(EACCES)
    procs.setpgid(_of_box(task, pid), pgid)
    return 0


@syscall
def getpgid(task: Task, pid: Pid) -> int:
    """getpgid(2): the process group of a process."""
    return task.host.procs.getpgid(_of_box(task, pid))


@syscall
def getpgrp(task: Task) -> int:
    """getpgrp(2): the own process group."""
    return task.host.procs.getpgid(0)


@syscall
def setsid(task: Task) -> int:
    """setsid(2): start a session."""
    return task.host.procs.setsid()


@syscall
def getsid(task: Task, pid: Pid) -> int:
    """getsid(2): the session of a process."""
    return task.host.procs.getsid(_of_box(task, pid))
