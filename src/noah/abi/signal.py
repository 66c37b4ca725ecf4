"""signal.h: signals, actions, the si_code values of siginfo.

All values are the same on x86-64 and aarch64; the smallest signal stacks differ: noah.abi.x86_64, noah.abi.aarch64.
"""

from __future__ import annotations

from typing import Final

SIGHUP: Final = 1
SIGINT: Final = 2
SIGQUIT: Final = 3
SIGILL: Final = 4
SIGTRAP: Final = 5
SIGABRT: Final = 6
SIGBUS: Final = 7
SIGFPE: Final = 8
SIGKILL: Final = 9
SIGUSR1: Final = 10
SIGSEGV: Final = 11
SIGUSR2: Final = 12
SIGPIPE: Final = 13
SIGALRM: Final = 14
SIGTERM: Final = 15
SIGSTKFLT: Final = 16
SIGCHLD: Final = 17
SIGCONT: Final = 18
SIGSTOP: Final = 19
SIGTSTP: Final = 20
SIGTTIN: Final = 21
SIGTTOU: Final = 22
SIGURG: Final = 23
SIGXCPU: Final = 24
SIGXFSZ: Final = 25
SIGVTALRM: Final = 26
SIGPROF: Final = 27
SIGWINCH: Final = 28
SIGIO: Final = 29
SIGPWR: Final = 30
SIGSYS: Final = 31

# The kernel's first real-time signal; the C library keeps 32 and 33 for itself and starts at 34
SIGRTMIN: Final = 32
SIGRTMAX: Final = 64

# Signals are 1 to NSIG; a sigset_t has NSIG bits, bit n - 1 for signal n
NSIG: Final = 64
SIGSET_SIZE: Final = 8  # bytes; what every rt_sig* call wants as its sigsetsize

# Second names
SIGIOT: Final = 6
SIGPOLL: Final = 29

# sigaction(2) handlers
SIG_DFL: Final = 0
SIG_IGN: Final = 1
SIG_ERR: Final = -1

# sigaction(2) flags
SA_NOCLDSTOP: Final = 1
SA_NOCLDWAIT: Final = 2
SA_SIGINFO: Final = 4
SA_UNSUPPORTED: Final = 0x400
SA_EXPOSE_TAGBITS: Final = 0x800
SA_RESTORER: Final = 0x4000000
SA_ONSTACK: Final = 0x8000000
SA_RESTART: Final = 0x10000000
SA_NODEFER: Final = 0x40000000
SA_RESETHAND: Final = 0x80000000

# sigprocmask(2)
SIG_BLOCK: Final = 0
SIG_UNBLOCK: Final = 1
SIG_SETMASK: Final = 2

# sigaltstack(2)
SS_ONSTACK: Final = 1
SS_DISABLE: Final = 2
SS_AUTODISARM: Final = 0x80000000

# si_code of any signal
SI_USER: Final = 0
SI_KERNEL: Final = 0x80
SI_QUEUE: Final = -1
SI_TIMER: Final = -2
SI_MESGQ: Final = -3
SI_ASYNCIO: Final = -4
SI_SIGIO: Final = -5
SI_TKILL: Final = -6
SI_DETHREAD: Final = -7
SI_ASYNCNL: Final = -60

# si_code of SIGILL
ILL_ILLOPC: Final = 1
ILL_ILLOPN: Final = 2
ILL_ILLADR: Final = 3
ILL_ILLTRP: Final = 4
ILL_PRVOPC: Final = 5
ILL_PRVREG: Final = 6
ILL_COPROC: Final = 7
ILL_BADSTK: Final = 8
ILL_BADIADDR: Final = 9

# si_code of SIGFPE
FPE_INTDIV: Final = 1
FPE_INTOVF: Final = 2
FPE_FLTDIV: Final = 3
FPE_FLTOVF: Final = 4
FPE_FLTUND: Final = 5
FPE_FLTRES: Final = 6
FPE_FLTINV: Final = 7
FPE_FLTSUB: Final = 8
FPE_FLTUNK: Final = 14
FPE_CONDTRAP: Final = 15

# si_code of SIGSEGV
SEGV_MAPERR: Final = 1
SEGV_ACCERR: Final = 2
SEGV_BNDERR: Final = 3
SEGV_PKUERR: Final = 4
SEGV_ACCADI: Final = 5
SEGV_ADIDERR: Final = 6
SEGV_ADIPERR: Final = 7
SEGV_MTEAERR: Final = 8
SEGV_MTESERR: Final = 9
SEGV_CPERR: Final = 10  # v6.6

# si_code of SIGBUS
BUS_ADRALN: Final = 1
BUS_ADRERR: Final = 2
BUS_OBJERR: Final = 3
BUS_MCEERR_AR: Final = 4
BUS_MCEERR_AO: Final = 5

# si_code of SIGTRAP
TRAP_BRKPT: Final = 1
TRAP_TRACE: Final = 2
TRAP_BRANCH: Final = 3
TRAP_HWBKPT: Final = 4
TRAP_UNK: Final = 5
TRAP_PERF: Final = 6

# si_code of SIGCHLD
CLD_EXITED: Final = 1
CLD_KILLED: Final = 2
CLD_DUMPED: Final = 3
CLD_TRAPPED: Final = 4
CLD_STOPPED: Final = 5
CLD_CONTINUED: Final = 6

# si_code of SIGPOLL
POLL_IN: Final = 1
POLL_OUT: Final = 2
POLL_MSG: Final = 3
POLL_ERR: Final = 4
POLL_PRI: Final = 5
POLL_HUP: Final = 6

# si_code of SIGSYS
SYS_SECCOMP: Final = 1
SYS_USER_DISPATCH: Final = 2

# sigevent.sigev_notify
SIGEV_SIGNAL: Final = 0
SIGEV_NONE: Final = 1
SIGEV_THREAD: Final = 2
SIGEV_THREAD_ID: Final = 4

# signalfd4(2)
SFD_CLOEXEC: Final = 0o2000000
SFD_NONBLOCK: Final = 0o4000

# What a signal does that nobody handles, blocks or ignores: signal(7)
TERMINATE: Final = 0
IGNORE: Final = 1
CORE: Final = 2
STOP: Final = 3
CONTINUE: Final = 4

_ACTIONS: Final = {
    SIGQUIT: CORE,
    SIGILL: CORE,
    SIGTRAP: CORE,
    SIGABRT: CORE,
    SIGBUS: CORE,
    SIGFPE: CORE,
    SIGSEGV: CORE,
    SIGXCPU: CORE,
    SIGXFSZ: CORE,
    SIGSYS: CORE,
    SIGCHLD: IGNORE,
    SIGURG: IGNORE,
    SIGWINCH: IGNORE,
    SIGCONT: CONTINUE,
    SIGSTOP: STOP,
    SIGTSTP: STOP,
    SIGTTIN: STOP,
    SIGTTOU: STOP,
}
DEFAULT_ACTIONS: Final[tuple[int, ...]] = tuple(_ACTIONS.get(number, TERMINATE) for number in range(NSIG + 1))
"""TERMINATE, IGNORE, CORE, STOP or CONTINUE by signal number; entry 0 means nothing."""


def bit(signal: int) -> int:
    """The signal's bit in a sigset_t read as one unsigned 64-bit number."""
    return 1 << (signal - 1)


# Sets as numbers. Nobody can block, ignore or handle the first (include/linux/signal.h has them all).
UNBLOCKABLE: Final = bit(SIGKILL) | bit(SIGSTOP)
STOP_SIGNALS: Final = bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU)
SYNCHRONOUS: Final = bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGFPE) | bit(SIGSYS)
