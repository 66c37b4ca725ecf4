"""Questions between the processes of a box: /proc shows of another process what only that process knows.

Who asks writes the question into a slot of shared memory and knocks at the other, by a signal that no guest sees. The
other answers from wherever it next takes over what its host has for it: out of guest code, out of a wait. One that is
stopped, or waits for a vfork child, does not answer; whoever asks waits a limited time.

    words   0  state   1  who asks   2  who is asked   3  serial number   4  from which byte on   5  errno
            6  length of the whole answer   7  length of this part   8  length of the question
    64      the question; later this part of the answer
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EACCES, ESRCH, LinuxError
from noah.abi.signal import SIGRTMAX, SIGURG
from noah.abi.time import CLOCK_MONOTONIC
from noah.kernel.requests import answer as answer_question

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.host.api import Host
    from noah.kernel.card import Cards
    from noah.kernel.task import Process

_SLOTS: Final = 128
_SIZE: Final = 1 << 18
ASKING_SIZE: Final = _SLOTS * _SIZE
_STATE, _ASKER, _ASKED, _SERIAL, _FROM, _ERRNO, _WHOLE, _PART, _LENGTH = range(9)
_FREE, _OPEN, _ANSWERED = range(3)
_TEXT: Final = 64
_WORDS: Final = _SIZE // 4
_ROOM: Final = _SIZE - _TEXT

_PATIENCE_NS: Final = 1_000_000_000
_LOOK_AGAIN_NS: Final = 2_000_000

KNOCK_SIGNAL: Final = SIGRTMAX - 1
KNOCK_CODE: Final = -0x4E6F
"""si_code that tells a knock from the same signal of a guest, where the host carries it; elsewhere a knock is SIGURG,
which does nothing by default, with a note on the card of who is asked."""


class Asking:
    """The slots of a box."""

    __slots__ = ("_bytes", "_cards", "_host", "_is_member", "_serial", "_words")

    def __init__(self, host: Host, memory: memoryview, cards: Cards, is_member: Callable[[int], bool]) -> None:
        """memory: ASKING_SIZE bytes that the box shares, zero at first."""
        self._host = host
        self._bytes = memory
        self._words = memory.cast("I")
        self._cards = cards
        self._is_member = is_member
        self._serial = 0

    def ask(self, process: Process, pid: int, question: bytes) -> bytes:
        """The other's answer. EACCES if it does not give one, ESRCH if there is no such process; its own errors."""
        answer = bytearray()
        while True:
            whole, part = self._ask(process, pid, question[:_ROOM], len(answer))
            answer += part
            if len(answer) >= whole or not part:
                return bytes(answer)

    def _ask(self, process: Process, pid: int, question: bytes, start: int) -> tuple[int, bytes]:
        """One part of the answer, and the length of all of it."""
        words = self._words
        self._serial = serial = self._serial + 1 & 0xFFFF_FFFF
        at = self._claim(process.pid)
        place = at * 4
        self._bytes[place + _TEXT : place + _TEXT + len(question)] = question
        words[at + _ASKED], words[at + _SERIAL], words[at + _FROM] = pid, serial, start
        words[at + _LENGTH] = len(question)
        words[at + _STATE] = _OPEN
        try:
            self._knock(pid)
            self._wait(process, at)
            if words[at + _STATE] != _ANSWERED or (words[at + _ASKER], words[at + _SERIAL]) != (process.pid, serial):
                raise LinuxError(EACCES, "the process does not answer")
            if words[at + _ERRNO]:
                raise LinuxError(words[at + _ERRNO])
            length = min(words[at + _PART], _ROOM)
            return words[at + _WHOLE], bytes(self._bytes[place + _TEXT : place + _TEXT + length])
        finally:
            if words[at + _ASKER] == process.pid:
                words[at + _STATE] = _FREE

    def _claim(self, pid: int) -> int:
        """The first word of a slot that nobody uses."""
        words = self._words
        for step in range(_SLOTS):
            at = (pid + step) % _SLOTS * _WORDS
            if words[at + _STATE] == _FREE or not self._is_member(words[at + _ASKER]):
                words[at + _ASKER] = pid
                return at
        raise LinuxError(EACCES, "too many questions at once")

    def _wait(self, process: Process, at: int) -> None:
        """Until there is an answer, or no hope for one. Meanwhile this process answers others."""
        clock = self._host.clock
        deadline = clock.clock_gettime(CLOCK_MONOTONIC) + _PATIENCE_NS
        task = process.threads.holder if process.threads is not None else process.tasks[0]
        while self._words[at + _STATE] == _OPEN and clock.clock_gettime(CLOCK_MONOTONIC) < deadline:
            task.sleep(_LOOK_AGAIN_NS)
            process.signals.collect(task)

    def _knock(self, pid: int) -> None:
        if not self._is_member(pid):
            raise LinuxError(ESRCH)
        if self._host.caps.sigqueue:
            self._host.procs.sigqueue(pid, KNOCK_SIGNAL, 0, KNOCK_CODE)
        else:
            self._cards.note_knock(pid)
            self._host.procs.kill(pid, SIGURG)

    def answer(self, process: Process) -> None:
        """Somebody has knocked: answer every question to this process."""
        words = self._words
        for at in range(0, _SLOTS * _WORDS, _WORDS):
            if words[at + _STATE] == _OPEN and words[at + _ASKED] == process.pid:
                self._answer(process, at)

    def _answer(self, process: Process, at: int) -> None:
        words, place = self._words, at * 4
        asker, serial, start = words[at + _ASKER], words[at + _SERIAL], words[at + _FROM]
        length = min(words[at + _LENGTH], _ROOM)
        question = bytes(self._bytes[place + _TEXT : place + _TEXT + length])
        errno, whole = 0, b""
        try:
            whole = answer_question(process, question)
        except LinuxError as error:
            errno = error.errno
        part = whole[start : start + _ROOM]
        if (words[at + _STATE], words[at + _ASKER], words[at + _SERIAL]) != (_OPEN, asker, serial):
            return  # nobody waits any more
        self._bytes[place + _TEXT : place + _TEXT + len(part)] = part
        words[at + _ERRNO], words[at + _WHOLE], words[at + _PART] = errno, len(whole), len(part)
        words[at + _STATE] = _ANSWERED
        try:
            self._knock(asker)
        except LinuxError:
            return  # it has just ended
