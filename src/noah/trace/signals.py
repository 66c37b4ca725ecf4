"""Signals and the ends of processes as strace(1) writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.names import si_code, signal_name
from noah.abi.siginfo import SiginfoChld, SiginfoFault, SiginfoPoll, SiginfoRt, SiginfoTimer, layout_of
from noah.abi.signal import CLD_EXITED
from noah.abi.wait import WCONTINUED_STATUS, WCORE_FLAG
from noah.kernel import siginfo
from noah.trace.text import pointer

if TYPE_CHECKING:
    from noah.host.values import Siginfo


def signal_line(info: Siginfo) -> str:
    """`--- SIGCHLD {si_signo=SIGCHLD, ...} ---`."""
    return f"--- {signal_name(info.signo)} {describe(info)} ---"


def describe(info: Siginfo) -> str:
    """`{si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL}`."""
    name = signal_name(info.signo)
    parts = [f"si_signo={name}", f"si_code={si_code(info.signo, info.code)}"]
    layout = layout_of(info.signo, info.code)
    if layout is SiginfoFault:
        parts.append(f"si_addr={pointer(info.addr)}")
    elif layout is SiginfoTimer:
        parts += [f"si_timerid={info.timerid}", f"si_overrun={info.overrun}", _value(info)]
    elif layout is SiginfoPoll:
        parts += [f"si_band={info.band}", f"si_fd={info.fd}"]
    elif info.pid or info.uid or info.code <= 0:
        parts += [f"si_pid={info.pid}", f"si_uid={info.uid}"]
        if layout is SiginfoChld:
            status = str(info.status) if info.code == CLD_EXITED else signal_name(info.status)
            parts += [f"si_status={status}", f"si_utime={info.utime}", f"si_stime={info.stime}"]
        elif layout is SiginfoRt and info.value:
            parts.append(_value(info))
    return f"{{{', '.join(parts)}}}"


def _value(info: Siginfo) -> str:
    number = info.value & 0xFFFF_FFFF
    return f"si_value={{int={(number ^ 1 << 31) - (1 << 31)}, ptr={pointer(info.value)}}}"


def signal_info(raw: bytes) -> str:
    """The siginfo_t in a guest's memory."""
    return describe(siginfo.unpack(int.from_bytes(raw[:4], "little", signed=True), raw))


def wait_status(status: int) -> str:
    """`{WIFEXITED(s) && WEXITSTATUS(s) == 0}`."""
    if status == WCONTINUED_STATUS:
        return "{WIFCONTINUED(s)}"
    number = status & 0x7F
    if not number:
        return f"{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8 & 0xFF}}}"
    if number == 0x7F:
        return f"{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(status >> 8 & 0xFF)}}}"
    core = " && WCOREDUMP(s)" if status & WCORE_FLAG else ""
    return f"{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(number)}{core}}}"


def end_line(status: int, signal: int) -> str:
    """The last line of a process."""
    return f"+++ killed by {signal_name(signal)} +++" if signal else f"+++ exited with {status} +++"
