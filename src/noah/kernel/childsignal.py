"""SIGCHLD: what the host tells about a child, by the rules of the guest's actions (do_notify_parent())."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import LinuxError
from noah.abi.signal import CLD_CONTINUED, CLD_STOPPED, CLD_TRAPPED, SA_NOCLDSTOP, SIGCHLD
from noah.abi.wait import P_ALL, WCONTINUED, WEXITED, WNOHANG, WNOWAIT, WSTOPPED
from noah.host.values import Siginfo

if TYPE_CHECKING:
    from noah.kernel.signals import SignalState
    from noah.kernel.task import Process

_CODES_OF_STOPS: Final = frozenset((CLD_STOPPED, CLD_CONTINUED, CLD_TRAPPED))


def of_host(signals: SignalState, process: Process, info: Siginfo) -> Siginfo | None:
    """The guest's SIGCHLD for the host's; None if the guest is not told."""
    if not info.pid:  # a host that tells no more than the number
        info = _look_for_child(process, WEXITED | WSTOPPED | WCONTINUED) or info
    if signals.reaps_children():
        _reap(process)
    if info.code in _CODES_OF_STOPS and signals.actions[SIGCHLD][1] & SA_NOCLDSTOP:
        # The host queues one SIGCHLD: the end of another child may be hidden behind this one.
        return _look_for_child(process, WEXITED)
    return info


def _look_for_child(process: Process, kinds: int) -> Siginfo | None:
    """The SIGCHLD of a child that waits to be waited for."""
    host = process.host
    if not host.caps.waitid:
        return None
    try:
        child, _ = host.procs.waitid(P_ALL, 0, kinds | WNOHANG | WNOWAIT)
    except LinuxError:
        return None
    if not child.pid:
        return None
    return Siginfo(SIGCHLD, 0, child.code, pid=child.pid, uid=child.uid, status=child.status)


def _reap(process: Process) -> None:
    try:
        while (pid := process.host.procs.wait4(-1, WNOHANG)[0]) > 0:
            process.box.remove(pid)
    except LinuxError:
        pass  # ECHILD: that was the last one
