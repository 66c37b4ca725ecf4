"""siginfo_t (asm-generic/siginfo.h): 128 bytes, a head and one of several tails. One class a tail.

`layout_of(signo, code)` says which tail a signal has, as the kernel does (kernel/signal.c: siginfo_layout).
All are the same on x86-64 and aarch64.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, TypeAlias

from noah.abi.layout import Layout, i16, i32, i64, pad2, pad4, u32, u64
from noah.abi.signal import (
    BUS_MCEERR_AO,
    CLD_CONTINUED,
    FPE_CONDTRAP,
    POLL_HUP,
    SEGV_CPERR,
    SI_KERNEL,
    SI_SIGIO,
    SI_TIMER,
    SI_USER,
    SIGBUS,
    SIGCHLD,
    SIGFPE,
    SIGILL,
    SIGPOLL,
    SIGSEGV,
    SIGSYS,
    SIGTRAP,
    SYS_USER_DISPATCH,
    TRAP_PERF,
)

SIGINFO_SIZE: Final = 128

_pad6: TypeAlias = Annotated[None, "6x"]
_pad28: TypeAlias = Annotated[None, "28x"]
_pad80: TypeAlias = Annotated[None, "80x"]
_pad96: TypeAlias = Annotated[None, "96x"]
_pad104: TypeAlias = Annotated[None, "104x"]


class SiginfoKill(Layout, size=SIGINFO_SIZE):
    """kill(2): SI_USER; SI_KERNEL has the same with zeros."""

    signo: i32
    errno: i32
    code: i32
    _pad0: ClassVar[pad4]
    pid: i32
    uid: u32
    _pad1: ClassVar[_pad104]


class SiginfoTimer(Layout, size=SIGINFO_SIZE):
    """timer_create(2): SI_TIMER."""

    signo: i32
    errno: i32
    code: i32
    _pad0: ClassVar[pad4]
    tid: i32
    overrun: i32
    value: u64
    _pad1: ClassVar[_pad96]


class SiginfoRt(Layout, size=SIGINFO_SIZE):
    """rt_sigqueueinfo(2), mq_notify(2), aio; tgkill(2), whose value is 0: every other negative code."""

    signo: i32
    errno: i32
    code: i32
    _pad0: ClassVar[pad4]
    pid: i32
    uid: u32
    value: u64
    _pad1: ClassVar[_pad96]


class SiginfoChld(Layout, size=SIGINFO_SIZE):
    """SIGCHLD: CLD_*. status is the exit code or the signal; times are in ticks of USER_HZ."""

    signo: i32
    errno: i32
    code: i32
    _pad0: ClassVar[pad4]
    pid: i32
    uid: u32
    status: i32
    _pad1: ClassVar[pad4]
    utime: i64
    stime: i64
    _pad2: ClassVar[_pad80]


class SiginfoFault(Layout, size=SIGINFO_SIZE):
    """SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP."""

    signo: i32
    errno: i32
    code: i32
    _pad0: ClassVar[pad4]
    addr: u64
    addr_lsb: i16  # for BUS_MCEERR_*
    _pad1: ClassVar[_pad6]
    lower: u64  # for SEGV_BNDERR; the low half is the key of SEGV_PKUERR
    upper: u64
    _pad2: ClassVar[_pad80]


class SiginfoPoll(Layout, size=SIGINFO_SIZE):
    """fcntl(F_SETSIG): POLL_*."""

    signo: i32
    errno: i32
    code: i32
    _pad0: ClassVar[pad4]
    band: i64
    fd: i32
    _pad1: ClassVar[pad4]
    _pad2: ClassVar[_pad96]


class SiginfoSys(Layout, size=SIGINFO_SIZE):
    """SIGSYS: SYS_SECCOMP, SYS_USER_DISPATCH."""

    signo: i32
    errno: i32
    code: i32
    _pad0: ClassVar[pad4]
    call_addr: u64
    syscall: i32
    arch: u32
    _pad1: ClassVar[_pad96]


class SignalfdSiginfo(Layout, size=128):
    """What signalfd(2) reads."""

    signo: u32
    errno: i32
    code: i32
    pid: u32
    uid: u32
    fd: i32
    tid: u32
    band: u32
    overrun: u32
    trapno: u32
    status: i32
    int: i32
    ptr: u64
    utime: u64
    stime: u64
    addr: u64
    addr_lsb: i16
    _pad0: ClassVar[pad2]
    syscall: i32
    call_addr: u64
    arch: u32
    _pad1: ClassVar[_pad28]


# For positive codes (sig_sicodes there): the largest that the signal has, and the tail that they come with.
_TAILS: Final[dict[int, tuple[int, type[Layout]]]] = {
    SIGILL: (11, SiginfoFault),  # two more than the names: IA-64's
    SIGFPE: (FPE_CONDTRAP, SiginfoFault),
    SIGSEGV: (SEGV_CPERR, SiginfoFault),
    SIGBUS: (BUS_MCEERR_AO, SiginfoFault),
    SIGTRAP: (TRAP_PERF, SiginfoFault),
    SIGCHLD: (CLD_CONTINUED, SiginfoChld),
    SIGPOLL: (POLL_HUP, SiginfoPoll),
    SIGSYS: (SYS_USER_DISPATCH, SiginfoSys),
}


def layout_of(signo: int, code: int) -> type[Layout]:
    """The class of the siginfo of this signal and si_code."""
    if SI_USER < code < SI_KERNEL:
        last, layout = _TAILS.get(signo, (0, SiginfoKill))
        if code <= last:
            return layout
        return SiginfoPoll if code <= POLL_HUP else SiginfoKill
    if code == SI_TIMER:
        return SiginfoTimer
    if code == SI_SIGIO:
        return SiginfoPoll
    return SiginfoRt if code < 0 else SiginfoKill
