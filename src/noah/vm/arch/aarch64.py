"""aarch64 registers, in the order of struct user_pt_regs, which every engine uses for `Vcpu.regs`."""

from __future__ import annotations

from typing import Final

X0: Final = 0
X8: Final = 8
X30: Final = 30
SP: Final = 31
PC: Final = 32
PSTATE: Final = 33
COUNT: Final = 34

SYSCALL_NUMBER: Final = X8
SYSCALL_RESULT: Final = X0
SYSCALL_ARGS: Final = (0, 1, 2, 3, 4, 5)
SYSCALL_INSTRUCTION_SIZE: Final = 4

# Exception vectors: ESR_EL1.EC (ARM ARM, D17.2.37).
UNKNOWN: Final = 0x00
ILLEGAL_STATE: Final = 0x0E
PC_ALIGNMENT: Final = 0x22
SP_ALIGNMENT: Final = 0x26
BREAKPOINT: Final = 0x3C
