"""What each signal does, and where the guest can see that for itself.

posix_spawn(3), among others, looks at one action after the other, and sets those to their default that are there
already. Where a call is dear the engine answers that within the guest, out of a table (noah.vm.api.CopyCalls) that is
made when somebody begins to look around, and is used until there are several threads.
"""

from __future__ import annotations

from typing import Final

from noah.abi.signal import CONTINUE, DEFAULT_ACTIONS, IGNORE, NSIG, SA_RESTORER, SIG_DFL, UNBLOCKABLE, bit
from noah.abi.structs import SigactionKernel

Action = tuple[int, int, int, int]
"""struct sigaction as the kernel has it: handler, flags, restorer, mask."""

DEFAULT: Final[Action] = (SIG_DFL, 0, 0, 0)
PLAIN: Final[Action] = (SIG_DFL, SA_RESTORER, 0, 0)
"""What the C library makes of SIG_DFL; it gives all its actions a restorer."""
NEVER_IGNORED: Final = sum(
    bit(signo)
    for signo in range(1, NSIG + 1)
    if DEFAULT_ACTIONS[signo] not in (IGNORE, CONTINUE) and not bit(signo) & UNBLOCKABLE
)
"""To set the default of others makes pending ones be forgotten, or is an error."""
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

    def get(self, signo: int) -> Action:
        """As the guest has it: a default may have got another restorer within the guest."""
        action, table = self[signo], self.table
        if table is not None and table[0] and action[0] == SIG_DFL and bit(signo) & NEVER_IGNORED:
            _, flags, restorer, _ = _ENTRY.unpack_from(table, _HEADER + (signo - 1) * _ENTRY.size)
            if flags == SA_RESTORER:
                self[signo] = action = (SIG_DFL, flags, restorer, 0)
        return action

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
        if self.table is not None and self.table[0]:
            for signo in range(1, NSIG + 1):
                self.get(signo)
            self.table[0] = 0

    def lend(self) -> Actions:
        """Others that are the same at first, and that the guest sees from now on."""
        self.hide()
        return Actions(self, self.table)
