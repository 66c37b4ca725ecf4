from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from noah.abi import siginfo as si
from noah.abi import signal as s

if TYPE_CHECKING:
    from noah.abi.layout import Layout


@pytest.mark.parametrize(
    ("signo", "code", "layout"),
    [
        (s.SIGINT, s.SI_USER, si.SiginfoKill),
        (s.SIGINT, s.SI_KERNEL, si.SiginfoKill),
        (s.SIGSEGV, s.SI_KERNEL, si.SiginfoKill),
        (s.SIGINT, s.SI_TKILL, si.SiginfoRt),
        (s.SIGRTMIN, s.SI_QUEUE, si.SiginfoRt),
        (s.SIGRTMIN, s.SI_MESGQ, si.SiginfoRt),
        (s.SIGALRM, s.SI_TIMER, si.SiginfoTimer),
        (s.SIGIO, s.SI_SIGIO, si.SiginfoPoll),
        (s.SIGIO, s.POLL_IN, si.SiginfoPoll),
        (s.SIGRTMIN, s.POLL_HUP, si.SiginfoPoll),
        (s.SIGCHLD, s.CLD_EXITED, si.SiginfoChld),
        (s.SIGCHLD, s.CLD_CONTINUED, si.SiginfoChld),
        (s.SIGCHLD, 7, si.SiginfoKill),
        (s.SIGSEGV, s.SEGV_MAPERR, si.SiginfoFault),
        (s.SIGFPE, s.FPE_CONDTRAP, si.SiginfoFault),
        (s.SIGILL, s.ILL_ILLOPN, si.SiginfoFault),
        (s.SIGBUS, s.BUS_ADRERR, si.SiginfoFault),
        (s.SIGTRAP, s.TRAP_BRKPT, si.SiginfoFault),
        (s.SIGSYS, s.SYS_SECCOMP, si.SiginfoSys),
    ],
)
def test_layout_of_follows_the_kernel(signo: int, code: int, layout: type[Layout]) -> None:
    assert si.layout_of(signo, code) is layout


def test_all_tails_have_one_head() -> None:
    tails = (si.SiginfoTimer, si.SiginfoRt, si.SiginfoChld, si.SiginfoFault, si.SiginfoPoll, si.SiginfoSys)
    for tail in tails:
        packed = tail.struct.pack(*range(1, len(tail.OFFSETS) + 1))
        head = si.SiginfoKill.unpack_from(packed)
        assert (head.signo, head.errno, head.code) == (1, 2, 3)
