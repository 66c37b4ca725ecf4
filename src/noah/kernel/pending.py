"""Pending signals of a thread or of a process (struct sigpending in kernel/signal.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.signal import SI_USER, SYNCHRONOUS, bit
from noah.host.values import Siginfo

if TYPE_CHECKING:
    from noah.kernel.timers import PosixTimer


class Pending:
    """A set of signals and the queue of what is known about them, in the order of their arrival.

    A signal of the set may have no entry (the queue was full): then nothing but its number is known.
    """

    __slots__ = ("mask", "queue")

    def __init__(self) -> None:
        self.mask = 0  # bit n-1 = signal n
        self.queue: list[tuple[Siginfo, PosixTimer | None]] = []

    def add(self, info: Siginfo, timer: PosixTimer | None = None) -> None:
        self.mask |= bit(info.signo)
        self.queue.append((info, timer))

    def flush(self, mask: int) -> None:
        """Forget signals: flush_sigqueue_mask()."""
        if self.mask & mask:
            self.mask &= ~mask
            self.queue = [entry for entry in self.queue if not bit(entry[0].signo) & mask]

    def take(self, allowed: int) -> tuple[Siginfo, PosixTimer | None] | None:
        """The next signal out of the mask `allowed`: next_signal() and collect_signal()."""
        ready = self.mask & allowed
        if not ready:
            return None
        ready = ready & SYNCHRONOUS or ready
        signo = (ready & -ready).bit_length()
        return self._take_first(signo) or (Siginfo(signo, 0, SI_USER), None)

    def take_fault(self, allowed: int) -> tuple[Siginfo, PosixTimer | None] | None:
        """The first fault of the thread's own code: it goes before everything else (dequeue_synchronous_signal())."""
        ready = self.mask & allowed & SYNCHRONOUS
        if ready:
            for entry in self.queue:
                if entry[0].code > SI_USER and bit(entry[0].signo) & ready:
                    return self._take_first(entry[0].signo)
        return None

    def _take_first(self, signo: int) -> tuple[Siginfo, PosixTimer | None] | None:
        found = None
        more = False
        for index, entry in enumerate(self.queue):
            if entry[0].signo == signo:
                if found is not None:
                    more = True
                    break
                found = index
        if not more:
            self.mask &= ~bit(signo)
        return self.queue.pop(found) if found is not None else None
