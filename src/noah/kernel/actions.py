"""What each signal does, and where the guest can see that for itself.

posix_spawn(3), among others, looks at one action after the other. Where a call is dear the engine answers those looks
within the guest, out of a table (noah.vm.api.CopyCalls) that is made when somebody begins to look around, and is right
until there are several threads.
"""

from __future__ import annotations

from typing import Final

from noah.abi.signal import SIG_DFL
from noah.abi.structs import SigactionKernel

Action = tuple[int, int, int, int]
"""struct sigaction as the kernel has it: handler, flags, restorer, mask."""

DEFAULT: Final[Action] = (SIG_DFL, 0, 0, 0)
_ENTRY: Final = SigactionKernel.struct
_HEADER: Final = 8


class Actions(list[Action]):
    """By signal number; entry 0 means nothing."""

    __slots__ = ("_last", "table")

    def __init__(self, actions: list[Action], table: memoryview | None = None) -> None:
        super().__init__(actions)
        self.table = table
        """Inside.entries of the engine. At most one list is shown there."""
        self._last = 0

    def set(self, signo: int, action: Action) -> None:
        self[signo] = action
        if self.table is not None and self.table[0]:
            _ENTRY.pack_into(self.table, _HEADER + (signo - 1) * _ENTRY.size, *action)

    def looked_at(self, signo: int) -> bool:
        """Somebody has asked for an action, and by a call: whether the next ones need none."""
        follows, self._last = signo == self._last + 1, signo
        table = self.table
        if table is None or not follows:
            return False
        if not table[0]:
            for at, action in enumerate(self[1:]):
                _ENTRY.pack_into(table, _HEADER + at * _ENTRY.size, *action)
            table[0] = 1
        return True

    def hide(self) -> None:
        """All may change: the guest has to ask."""
        if self.table is not None:
            self.table[0] = 0

    def lend(self) -> Actions:
        """Others that are the same at first, and that the guest sees from now on."""
        self.hide()
        return Actions(self, self.table)
