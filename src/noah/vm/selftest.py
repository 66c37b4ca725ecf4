"""What one exit from the guest costs on an engine, which also shows that the engine works."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from noah.vm.api import EXEC, EXIT_INTERRUPTED, EXIT_SYSCALL, READ, EngineError
from noah.vm.arch import aarch64, x86_64
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from noah.vm.api import Machine

_CODE: Final = 0x40_0000
_LOOPS: Final = {
    "x86_64": (x86_64.RIP, bytes.fromhex("b827000000 0f05 ebf7")),  # 1: mov $39, %eax; syscall; jmp 1b
    "aarch64": (aarch64.PC, bytes.fromhex("881580d2 010000d4 feffff17")),  # 1: mov x8, #172; svc #0; b 1b
}
_PARTS: Final = 5


def exit_cost(machine: Machine, exits: int = 2000) -> float:
    """Run a guest that does nothing but system calls; microseconds of one, the best of several parts.

    Raises EngineError if something else than system calls arrives.
    """
    pc, loop = _LOOPS[machine.arch]
    offset = machine.arena.alloc(PAGE)
    machine.arena.anonymous(offset, PAGE)
    machine.arena.view[offset : offset + len(loop)] = loop
    machine.map(_CODE, PAGE, offset, READ | EXEC)
    vcpu = machine.new_vcpu()
    vcpu.regs[pc] = _CODE
    best = float("inf")
    try:
        for _ in range(_PARTS):
            start = time.perf_counter()
            left = exits // _PARTS
            while left:
                kind = vcpu.run()
                if kind == EXIT_SYSCALL:
                    left -= 1
                elif kind != EXIT_INTERRUPTED:
                    raise EngineError(f"the engine failed the self-test: exit {kind} instead of a system call")
            best = min(best, (time.perf_counter() - start) * 1e6 / (exits // _PARTS))
    finally:
        vcpu.close()
    return best
