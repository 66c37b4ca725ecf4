"""Who has sent a signal: what the host tells of it, as the box sees it.

Where the host carries no siginfo (Caps.sigqueue), a process of the box leaves a letter in shared memory before it sends
the signal, and who gets the signal takes the letter. A signal that finds no letter comes from outside.

    words of a letter   0  to whom, 0: free   1  signal   2  si_code   3, 4  the sender's process and user id
                        5, 6  value   7  when, in microseconds
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.signal import SI_USER, SIGRTMIN
from noah.abi.time import CLOCK_MONOTONIC
from noah.host.values import Siginfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.host.api import Host
    from noah.kernel.task import Process

_LETTERS: Final = 512
_WORDS: Final = 8
LETTERS_SIZE: Final = _LETTERS * _WORDS * 4
_LOW: Final = (1 << 32) - 1


class Letters:
    """All letters of a box."""

    __slots__ = ("_host", "_is_member", "_next", "_words")

    def __init__(self, host: Host, memory: memoryview, is_member: Callable[[int], bool]) -> None:
        """memory: LETTERS_SIZE bytes that the box shares, zero at first."""
        self._host = host
        self._words = memory.cast("I")
        self._is_member = is_member
        self._next = 0

    def leave(self, pid: int, info: Siginfo) -> None:
        """For a process that is about to get the signal. Without room for it, nothing will be known of the sender."""
        words = self._words
        self._next += 1
        for step in range(_LETTERS):
            at = (info.pid * 7 + self._next + step) % _LETTERS * _WORDS
            if not words[at] or not self._is_member(words[at]):
                break
        else:
            return
        words[at] = 0
        values = (info.signo, info.code & _LOW, info.pid, info.uid, info.value & _LOW, info.value >> 32 & _LOW)
        for index, value in enumerate(values, at + 1):
            words[index] = value
        words[at + 7] = self._host.clock.clock_gettime(CLOCK_MONOTONIC) // 1000 & _LOW
        words[at] = pid

    def take(self, pid: int, signo: int) -> Siginfo | None:
        """The oldest for that process and signal. Of signals that do not queue, the others have come to nothing."""
        words = self._words
        own = [at for at in range(0, len(words), _WORDS) if words[at] == pid and words[at + 1] == signo]
        if not own:
            return None
        first = min(own, key=lambda at: words[at + 7])
        _, _, code, sender, user, low, high, _ = words[first : first + _WORDS].tolist()
        for at in own if signo < SIGRTMIN else (first,):
            words[at] = 0
        return Siginfo(signo, 0, (code ^ 1 << 31) - (1 << 31), pid=sender, uid=user, value=high << 32 | low)


def send(process: Process, pid: int, info: Siginfo) -> None:
    """A signal to another process of the box; 0 only looks whether it is there."""
    procs = process.host.procs
    if not info.signo:
        procs.kill(pid, 0)
    elif not process.host.caps.sigqueue:
        process.box.letters.leave(pid, info)
        procs.kill(pid, info.signo)
    elif info.code < 0:
        procs.sigqueue(pid, info.signo, info.value, info.code)
    else:
        procs.kill(pid, info.signo)


def read_letter(process: Process, info: Siginfo) -> Siginfo:
    """A signal of the host with what its sender says."""
    if process.host.caps.sigqueue or info.code > SI_USER:
        return info
    return process.box.letters.take(process.pid, info.signo) or info


def as_seen(process: Process, info: Siginfo, host_uid: int) -> Siginfo:
    """Who is not of the box has no pid in it (pid_namespaces(7)), and the host's user is the guest's."""
    box = process.box
    if not box.contains(info.pid):
        user = process.creds.uid if info.uid == host_uid else info.uid
        return info._replace(pid=0 if info.code <= SI_USER else info.pid, uid=user)
    return info if info.uid != host_uid else info._replace(uid=box.users(info.pid)[0])
