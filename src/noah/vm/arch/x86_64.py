"""x86-64 registers, in the order of struct kvm_regs, which every engine uses for `Vcpu.regs`."""

from __future__ import annotations

from typing import Final

RAX: Final = 0
RBX: Final = 1
RCX: Final = 2
RDX: Final = 3
RSI: Final = 4
RDI: Final = 5
RSP: Final = 6
RBP: Final = 7
R8: Final = 8
R9: Final = 9
R10: Final = 10
R11: Final = 11
R12: Final = 12
R13: Final = 13
R14: Final = 14
R15: Final = 15
RIP: Final = 16
RFLAGS: Final = 17
COUNT: Final = 18

# The roles that the kernel personality needs, under the same names in every architecture's module.
PC: Final = RIP
SP: Final = RSP
SYSCALL_NUMBER: Final = RAX
SYSCALL_RESULT: Final = RAX
SYSCALL_ARGS: Final = (RDI, RSI, RDX, R10, R8, R9)
SYSCALL_INSTRUCTION_SIZE: Final = 2

# Exception vectors (SDM vol. 3, table 6-1).
DIVIDE_ERROR: Final = 0
DEBUG: Final = 1
BREAKPOINT: Final = 3
OVERFLOW: Final = 4
BOUND: Final = 5
INVALID_OPCODE: Final = 6
NO_MATH: Final = 7
DOUBLE_FAULT: Final = 8
STACK_SEGMENT: Final = 12
GENERAL_PROTECTION: Final = 13
PAGE_FAULT: Final = 14
FPU_ERROR: Final = 16
ALIGNMENT_CHECK: Final = 17
SIMD_ERROR: Final = 19
