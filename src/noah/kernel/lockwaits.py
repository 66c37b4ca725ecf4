"""Who waits for whose record lock, box-wide: so that F_SETLKW can tell a deadlock (EDEADLK).

Every process tries its lock again and again (noah.syscalls.lock), and says here each time whom it waits for. A circle
of such waits is a deadlock, but a wait that is over may still stand here until its process looks again. So a circle
counts only when it was there before each of its members tried once more, in the same wait, and failed.
"""

from __future__ import annotations

from typing import Final

from noah.abi.limits import PID_MAX_LIMIT

_HOLDER, _WAIT, _ATTEMPTS, _RECORD = 0, 1, 2, 3  # words of a process' record
_LONGEST: Final = 10  # MAX_DEADLK_ITERATIONS of Linux' fs/locks.c
LOCK_WAITS_SIZE: Final = PID_MAX_LIMIT * _RECORD * 4


class LockWaits:
    """A record for each possible process id, in memory that the processes of the box share."""

    __slots__ = ("_words",)

    def __init__(self, shared: memoryview) -> None:
        self._words = shared.cast("I")

    def begin(self, pid: int) -> None:
        at, words = pid * _RECORD, self._words
        words[at + _WAIT] = words[at + _WAIT] + 1 & 0xFFFFFFFF

    def note(self, pid: int, holder: int) -> None:
        """An attempt has failed: what it wanted is `holder`'s (not positive: nobody's in particular)."""
        at, words = pid * _RECORD, self._words
        words[at + _HOLDER] = max(holder, 0)
        words[at + _ATTEMPTS] = words[at + _ATTEMPTS] + 1 & 0xFFFFFFFF

    def end(self, pid: int) -> None:
        self._words[pid * _RECORD + _HOLDER] = 0

    def circle(self, pid: int) -> list[tuple[int, int, int]]:
        """Process, wait and attempt of all that `pid` waits for, if the last of them waits for `pid`; else nothing."""
        words = self._words
        found: list[tuple[int, int, int]] = []
        each = words[pid * _RECORD + _HOLDER]
        while each != pid:
            if not 0 < each < PID_MAX_LIMIT or len(found) == _LONGEST:
                return []
            at = each * _RECORD
            found.append((each, words[at + _WAIT], words[at + _ATTEMPTS]))
            each = words[at + _HOLDER]
        return found


def closed(before: list[tuple[int, int, int]], now: list[tuple[int, int, int]]) -> bool:
    """Whether the circle seen before is the same now, and every member has tried once more since."""
    return (
        bool(before)
        and [each[:2] for each in before] == [each[:2] for each in now]
        and all(then[2] != later[2] for then, later in zip(before, now, strict=True))
    )
