"""The vDSO of guest programs (vdso(7)): clocks without a system call, where the engine can lend the host's."""

from __future__ import annotations

from noah.abi.mman import MAP_ANONYMOUS, MAP_PRIVATE, PROT_EXEC, PROT_READ
from noah.mm.space import AddressSpace
from noah.mm.vma import HOST_CLOCK, Vma
from noah.vm.api import Machine
from noah.vm.hostclock import HostClock


class BorrowedVdso:
    """The host's own vDSO (noah.vm.hostclock). Satisfies noah.kernel.task.Vdso."""

    __slots__ = ("_clock", "_machine")

    def __init__(self, machine: Machine, clock: HostClock) -> None:
        self._machine = machine
        self._clock = clock

    def map(self, space: AddressSpace) -> int:
        clock = self._clock
        base = space.find_free(clock.size)
        code = base + clock.code_offset
        self._machine.map_host_clock(base)
        # The kernel's own pages: the guest may read them, Noah never does on its behalf.
        space.vmas.insert(Vma(base, code, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, HOST_CLOCK, name=b"[vvar]"))
        space.place(b"[vdso]", code, len(clock.image), PROT_READ | PROT_EXEC, clock.image)
        return code


def vdso_for(machine: Machine) -> BorrowedVdso | None:
    """What this engine can offer."""
    clock = machine.host_clock
    return BorrowedVdso(machine, clock) if clock is not None else None
