"""Signals: sending, actions, masks, waiting for them."""

from __future__ import annotations

from typing import Final

from noah.abi.arch import ABIS
from noah.abi.capability import CAP_KILL
from noah.abi.errno import (
    EAGAIN,
    EINTR,
    EINVAL,
    EPERM,
    ERESTARTNOHAND,
    ESRCH,
    LinuxError,
)
from noah.abi.kinds import (
    Pid,
    SigactionOutPtr,
    SigactionPtr,
    SiginfoOutPtr,
    SiginfoPtr,
    SigmaskHow,
    SigNum,
    SigsetOutPtr,
    SigsetPtr,
    Size,
    StackOutPtr,
    StackPtr,
    TimespecPtr,
)
from noah.abi.siginfo import SIGINFO_SIZE
from noah.abi.signal import (
    NSIG,
    SA_EXPOSE_TAGBITS,
    SA_NOCLDSTOP,
    SA_NOCLDWAIT,
    SA_NODEFER,
    SA_ONSTACK,
    SA_RESETHAND,
    SA_RESTART,
    SA_RESTORER,
    SA_SIGINFO,
    SI_TKILL,
    SI_USER,
    SIG_BLOCK,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SIGCHLD,
    SIGCONT,
    SIGSET_SIZE,
    SS_AUTODISARM,
    UNBLOCKABLE,
    bit,
)
from noah.abi.structs import SigactionKernel, StackT, Timespec
from noah.abi.time import CLOCK_MONOTONIC, NSEC_PER_SEC
from noah.host.values import Siginfo
from noah.kernel import altstack, sender
from noah.kernel.actions import NEVER_IGNORED, PLAIN
from noah.kernel.box import INIT
from noah.kernel.control import NoReturn
from noah.kernel.siginfo import pack, unpack
from noah.kernel.task import Task
from noah.syscalls.registry import NUMBERS, syscall
from noah.vm.api import CopyCalls

_KNOWN_FLAGS: Final = (
    SA_NOCLDSTOP
    | SA_NOCLDWAIT
    | SA_SIGINFO
    | SA_ONSTACK
    | SA_RESTART
    | SA_NODEFER
    | SA_RESETHAND
    | SA_EXPOSE_TAGBITS
    | SA_RESTORER
)  # UAPI_SA_FLAGS
_INT_MIN: Final = -(1 << 31)
_FOR_EVER_NS: Final = 1 << 62


# -- sending


def _check(signo: int) -> None:
    if not 0 <= signo <= NSIG:
        raise LinuxError(EINVAL)


def _send_to_thread(task: Task, tgid: int, tid: int, info: Siginfo) -> None:
    """Send to a thread: of another process only its leader can be told from the host's own threads."""
    process = task.process
    if tgid != process.pid:
        if tid != tgid:
            raise LinuxError(ESRCH)
        _send(task, tid, info)
        return
    target = next((thread for thread in process.tasks if thread.tid == tid), None)
    if target is None:
        raise LinuxError(ESRCH)
    _check(info.signo)
    if info.signo:
        process.signals.queue_or_fail(target, info, to_thread=True)


def _send(task: Task, pid: int, info: Siginfo) -> None:
    """Send to a process of the box; a signal to the own one never leaves Noah. Signal 0 only looks."""
    process = task.process
    signo = info.signo
    if pid == process.pid:
        _check(signo)
        if signo:
            process.signals.queue_or_fail(task, info)
        return
    if pid == INIT and not process.box.contains(pid):
        _check(signo)
        if not task.creds.capable(CAP_KILL):
            raise LinuxError(EPERM)
        return  # it catches nothing, and what it does not catch does not reach it (sig_task_ignored())
    if not process.box.contains(pid):
        raise LinuxError(ESRCH)
    _check(signo)
    procs = task.host.procs
    if not process.box.may_signal(task.creds, pid) and (signo != SIGCONT or procs.getsid(pid) != procs.getsid(0)):
        raise LinuxError(EPERM)
    if info.code == SI_TKILL:
        info = info._replace(code=SI_USER)  # not to be told from the host's own threads
    sender.send(process, pid, info)


def _send_each(task: Task, pids: list[int], info: Siginfo) -> None:
    """Success if one of them could be signalled; the own process comes last, as it may be its end."""
    error = LinuxError(ESRCH)
    reached = False
    for pid in sorted(pids, key=lambda pid: pid == task.process.pid):
        try:
            _send(task, pid, info)
            reached = True
        except LinuxError as failure:
            if failure.errno == EINVAL:
                raise
            error = failure
    if not reached:
        raise error


def _group(task: Task, pgid: int) -> list[int]:
    """The processes of the box in a process group: others may be in it as well, and are not the guest's to signal."""
    found = []
    for pid in task.process.box.members():
        try:
            if task.host.procs.getpgid(pid) == pgid:
                found.append(pid)
        except LinuxError:
            continue
    return found


@syscall
def kill(task: Task, pid: Pid, sig: SigNum) -> int:
    """kill(2): send a signal to a process, a process group, or everything."""
    info = Siginfo(sig, 0, SI_USER, pid=task.process.pid, uid=task.creds.uid)
    if pid > 0:
        _send(task, pid, info)
    elif pid == -1:
        _send_each(task, [other for other in task.process.box.members() if other not in (1, task.process.pid)], info)
    elif pid == _INT_MIN:
        raise LinuxError(ESRCH)
    else:
        _send_each(task, _group(task, -pid or task.host.procs.getpgid(0)), info)
    return 0


@syscall
def tkill(task: Task, tid: Pid, sig: SigNum) -> int:
    """tkill(2): send a signal to a thread."""
    if tid <= 0:
        raise LinuxError(EINVAL)
    info = Siginfo(sig, 0, SI_TKILL, pid=task.process.pid, uid=task.creds.uid)
    own = any(thread.tid == tid for thread in task.process.tasks)
    _send_to_thread(task, task.process.pid if own else tid, tid, info)
    return 0


@syscall
def tgkill(task: Task, tgid: Pid, tid: Pid, sig: SigNum) -> int:
    """tgkill(2): send a signal to a thread of a process."""
    if tid <= 0 or tgid <= 0:
        raise LinuxError(EINVAL)
    _send_to_thread(task, tgid, tid, Siginfo(sig, 0, SI_TKILL, pid=task.process.pid, uid=task.creds.uid))
    return 0


@syscall
def rt_sigqueueinfo(task: Task, tgid: Pid, sig: SigNum, info: SiginfoPtr) -> int:
    """rt_sigqueueinfo(2): send a signal with a siginfo of the caller's own making."""
    made = unpack(sig, task.mem.read(info, SIGINFO_SIZE))
    if (made.code >= 0 or made.code == SI_TKILL) and tgid != task.process.pid:
        raise LinuxError(EPERM)  # it would look as if the kernel, or kill(2), had sent it
    _send(task, tgid, made)
    return 0


@syscall
def rt_tgsigqueueinfo(task: Task, tgid: Pid, tid: Pid, sig: SigNum, info: SiginfoPtr) -> int:
    """rt_tgsigqueueinfo(2): the same for a thread."""
    made = unpack(sig, task.mem.read(info, SIGINFO_SIZE))
    if tid <= 0 or tgid <= 0:
        raise LinuxError(EINVAL)
    if (made.code >= 0 or made.code == SI_TKILL) and tid != task.tid:
        raise LinuxError(EPERM)
    _send_to_thread(task, tgid, tid, made)
    return 0


# -- actions and masks


def _check_size(size: int) -> None:
    if size != SIGSET_SIZE:
        raise LinuxError(EINVAL)


def copy_calls(arch: str) -> CopyCalls:
    """Which calls of rt_sigaction(2) an engine may answer itself (Machine.answer_inside)."""
    return CopyCalls(NUMBERS[arch]["rt_sigaction"], SIGSET_SIZE, NSIG, PLAIN, NEVER_IGNORED)


@syscall
def rt_sigaction(task: Task, sig: SigNum, act: SigactionPtr, oact: SigactionOutPtr, sigsetsize: Size) -> int:
    """sigaction(2): examine and change what a signal does."""
    _check_size(sigsetsize)
    new = task.mem.unpack(SigactionKernel.struct, act) if act else None
    if not 1 <= sig <= NSIG or (new is not None and bit(sig) & UNBLOCKABLE):
        raise LinuxError(EINVAL)
    signals = task.process.signals
    old = signals.actions.get(sig)
    if new is not None:
        handler, flags, restorer, mask = new
        if handler != old[0] or sig == SIGCHLD:
            signals.collect(task)  # what came before this call is judged by the old action
        signals.set_action(task, sig, (handler, flags & _KNOWN_FLAGS, restorer, mask & ~UNBLOCKABLE))
    if oact:
        task.mem.pack(SigactionKernel.struct, oact, *old)
        if new is None and task.process.threads is None and signals.actions.looked_at(sig):
            task.vcpu.met_inside_call()
    return 0


@syscall
def rt_sigprocmask(task: Task, how: SigmaskHow, set: SigsetPtr, oset: SigsetOutPtr, sigsetsize: Size) -> int:
    """sigprocmask(2): examine and change the blocked signals."""
    _check_size(sigsetsize)
    old = task.sigmask
    if set:
        mask = task.mem.read_u64(set)
        if how == SIG_BLOCK:
            mask |= old
        elif how == SIG_UNBLOCK:
            mask = old & ~mask
        elif how != SIG_SETMASK:
            raise LinuxError(EINVAL)
        task.process.signals.set_mask(task, mask)
    if oset:
        task.mem.write_u64(oset, old)
    return 0


@syscall
def rt_sigpending(task: Task, set: SigsetOutPtr, sigsetsize: Size) -> int:
    """sigpending(2): examine blocked signals that are pending."""
    if sigsetsize > SIGSET_SIZE:
        raise LinuxError(EINVAL)
    signals = task.process.signals
    signals.collect(task)
    waiting = signals.pending(task) & task.sigmask
    task.mem.write(set, waiting.to_bytes(SIGSET_SIZE, "little")[:sigsetsize])
    return 0


@syscall
def sigaltstack(task: Task, ss: StackPtr, old_ss: StackOutPtr) -> int:
    """sigaltstack(2): examine and set the stack that handlers with SA_ONSTACK run on."""
    sp = task.vcpu.regs[task.process.arch.sp]
    base, flags, size = task.altstack
    shown = altstack.flags(task, sp) | flags & SS_AUTODISARM
    if ss:
        new_base, new_flags, new_size = task.mem.unpack(StackT.struct, ss)
        minimum = ABIS[task.process.machine.arch].MINSIGSTKSZ
        altstack.change(task, sp, (new_base, new_flags, new_size), minimum)
    if old_ss:
        task.mem.pack(StackT.struct, old_ss, base, shown - (shown >> 31 << 32), size)
    return 0


@syscall
def rt_sigreturn(task: Task) -> int:
    """sigreturn(2): leave a signal handler."""
    task.process.signals.sigreturn(task)
    raise NoReturn


# -- waiting


@syscall
def pause(task: Task) -> int:
    """pause(2): wait for a signal."""
    _wait_for_handler(task)
    raise LinuxError(ERESTARTNOHAND)


@syscall
def rt_sigsuspend(task: Task, mask: SigsetPtr, sigsetsize: Size) -> int:
    """sigsuspend(2): wait for a signal while others are blocked."""
    _check_size(sigsetsize)
    task.process.signals.set_temporary_mask(task, task.mem.read_u64(mask))
    _wait_for_handler(task)
    raise LinuxError(ERESTARTNOHAND)


def _wait_for_handler(task: Task) -> None:
    signals = task.process.signals
    signals.collect(task)
    while not signals.deliverable(task):
        task.sleep(None)
        signals.collect(task)


@syscall
def rt_sigtimedwait(task: Task, set: SigsetPtr, info: SiginfoOutPtr, timeout: TimespecPtr, sigsetsize: Size) -> int:
    """sigtimedwait(2): take a pending signal out of a set, or wait for one."""
    _check_size(sigsetsize)
    wanted = task.mem.read_u64(set) & ~UNBLOCKABLE
    limit = None
    if timeout:
        seconds, nanoseconds = task.mem.unpack(Timespec.struct, timeout)
        if seconds < 0 or not 0 <= nanoseconds < NSEC_PER_SEC:
            raise LinuxError(EINVAL)
        limit = min(seconds * NSEC_PER_SEC + nanoseconds, _FOR_EVER_NS)
    taken = _wait_for(task, wanted, limit)
    if info:
        task.mem.write(info, pack(taken))
    return taken.signo


def _wait_for(task: Task, wanted: int, limit: int | None) -> Siginfo:
    """Dequeue one of these signals. EAGAIN: not within `limit` ns; EINTR: another one came that has a handler."""
    signals = task.process.signals
    clock = task.host.clock
    end = None if limit is None else clock.clock_gettime(CLOCK_MONOTONIC) + limit
    while True:
        signals.collect(task)
        taken = signals.take(task, wanted)
        if taken is not None:
            signals.set_mask(task, task.sigmask)
            return taken
        left = None if end is None else end - clock.clock_gettime(CLOCK_MONOTONIC)
        if left is not None and left <= 0:
            raise LinuxError(EAGAIN)
        if signals.deliverable(task):
            raise LinuxError(EINTR)
        task.awaited = wanted
        try:
            task.sleep(left)
        finally:
            task.awaited = 0
