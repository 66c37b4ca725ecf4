"""Exceptions of the CPU as signals: arch/x86/kernel/traps.c and mm/fault.c, arch/arm64/kernel/traps.c and mm/fault.c.

A trap is what signal frames show of the last exception: (number, error code or syndrome, address).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import LinuxError
from noah.abi.signal import (
    BUS_ADRALN,
    FPE_FLTDIV,
    FPE_FLTINV,
    FPE_FLTOVF,
    FPE_FLTRES,
    FPE_FLTUND,
    FPE_FLTUNK,
    FPE_INTDIV,
    ILL_ILLOPC,
    ILL_ILLOPN,
    SI_KERNEL,
    SIGBUS,
    SIGFPE,
    SIGILL,
    SIGSEGV,
    SIGTRAP,
    TRAP_BRKPT,
    TRAP_HWBKPT,
    TRAP_TRACE,
)
from noah.abi.x86_64 import TASK_SIZE
from noah.host.values import Siginfo
from noah.vm.api import EXEC, WRITE
from noah.vm.arch import aarch64, x86_64

if TYPE_CHECKING:
    from noah.kernel.task import Task

Trap = tuple[int, int, int]

_NOT_PRESENT: Final = 11  # x86 vectors without a name in noah.vm.arch.x86_64
_TRAP_FLAG: Final = 0x100
_INT: Final = 0xCD  # the opcode of `int n`

# aarch64 exception classes without a name in noah.vm.arch.aarch64, and fields of the syndrome (ARM ARM, D17.2.37).
_FP_EXCEPTION: Final = 0x2C
_HARDWARE_BREAKPOINT: Final = 0x30
_SINGLE_STEP: Final = 0x32
_WATCHPOINT: Final = 0x34
_DATA_ABORT: Final = 0x24
_INSTRUCTION_ABORT: Final = 0x20
_IL: Final = 1 << 25
_WNR: Final = 1 << 6
_TRANSLATION_FAULT: Final = 7
_PERMISSION_FAULT: Final = 15


def of_access(task: Task) -> Trap:
    """The trap of the memory access that the vCPU reports (EXIT_FAULT)."""
    vcpu = task.vcpu
    address, access, present = vcpu.fault_address, vcpu.fault_access, vcpu.fault_present
    if task.process.machine.arch == "aarch64":
        kind = _INSTRUCTION_ABORT if access == EXEC else _DATA_ABORT
        status = _PERMISSION_FAULT if present else _TRANSLATION_FAULT
        return kind, kind << 26 | _IL | status | (_WNR if access == WRITE else 0), address
    # P, W/R, U/S, I/D (SDM vol. 3, 4.7); the kernel's half looks present to programs: set_signal_archinfo()
    error = (present or address >= TASK_SIZE) | (access == WRITE) << 1 | 4 | (access == EXEC) << 4
    return x86_64.PAGE_FAULT, int(error), address


def of_exception(task: Task, last: Trap) -> tuple[Siginfo, Trap]:
    """The signal of the exception that the vCPU reports (EXIT_EXCEPTION), and its trap."""
    if task.process.machine.arch == "aarch64":
        return _of_aarch64(task)
    return _of_x86_64(task, last[2])


# Signals with SI_KERNEL and no address, by vector.
_X86_PLAIN: Final = {
    x86_64.BREAKPOINT: SIGTRAP,
    x86_64.OVERFLOW: SIGSEGV,
    x86_64.BOUND: SIGSEGV,
    _NOT_PRESENT: SIGBUS,
    x86_64.STACK_SEGMENT: SIGBUS,
    x86_64.GENERAL_PROTECTION: SIGSEGV,
}


def _of_x86_64(task: Task, cr2: int) -> tuple[Siginfo, Trap]:
    vcpu = task.vcpu
    vector = vcpu.vector
    rip = vcpu.regs[x86_64.RIP]
    trap = vector, vcpu.error_code, cr2
    if vector == x86_64.DIVIDE_ERROR:
        return Siginfo(SIGFPE, 0, FPE_INTDIV, addr=rip), trap
    if vector == x86_64.INVALID_OPCODE:
        number = _software_interrupt(task, rip)
        if number is not None:
            vector, trap = _after_interrupt(task, number, cr2)
            return Siginfo(_X86_PLAIN[vector], 0, SI_KERNEL), trap
        return Siginfo(SIGILL, 0, ILL_ILLOPN, addr=rip), trap
    if vector == x86_64.DEBUG:
        stepping = vcpu.regs[x86_64.RFLAGS] & _TRAP_FLAG
        return Siginfo(SIGTRAP, 0, TRAP_TRACE if stepping else TRAP_BRKPT, addr=rip), trap
    if vector == x86_64.ALIGNMENT_CHECK:
        return Siginfo(SIGBUS, 0, BUS_ADRALN), trap
    if vector in (x86_64.FPU_ERROR, x86_64.SIMD_ERROR):
        return Siginfo(SIGFPE, 0, _x86_fp_code(vcpu.get_fp(), vector), addr=rip), trap
    return Siginfo(_X86_PLAIN.get(vector, SIGSEGV), 0, SI_KERNEL), trap


def _software_interrupt(task: Task, rip: int) -> int | None:
    """The number of the `int n` at this address; None if another instruction is there."""
    try:
        code = task.mem.read(rip, 2)
    except LinuxError:
        return None
    return code[1] if code[0] == _INT else None


def _after_interrupt(task: Task, number: int, cr2: int) -> tuple[int, Trap]:
    """What a CPU makes of `int n` where an engine knows no such instruction and calls it invalid."""
    if number in (x86_64.BREAKPOINT, x86_64.OVERFLOW):  # the only gates that user mode may go through
        task.vcpu.regs[x86_64.RIP] += 2
        return number, (number, 0, cr2)
    # SDM vol. 3, 6.13: the gate's index, and the bit that says that it is one of the IDT
    return x86_64.GENERAL_PROTECTION, (x86_64.GENERAL_PROTECTION, number << 3 | 2, cr2)


def _x86_fp_code(state: bytes, vector: int) -> int:
    """Which unmasked floating-point exception it was: fpu__exception_code()."""
    if vector == x86_64.FPU_ERROR:
        control, status = int.from_bytes(state[0:2], "little"), int.from_bytes(state[2:4], "little")
        raised = status & ~control
    else:
        mxcsr = int.from_bytes(state[24:28], "little")
        raised = mxcsr & ~(mxcsr >> 7)
    for mask, code in (
        (0x01, FPE_FLTINV),
        (0x04, FPE_FLTDIV),
        (0x08, FPE_FLTOVF),
        (0x12, FPE_FLTUND),
        (0x20, FPE_FLTRES),
    ):
        if raised & mask:
            return code
    return FPE_FLTUNK


def _of_aarch64(task: Task) -> tuple[Siginfo, Trap]:
    vcpu = task.vcpu
    kind = vcpu.vector
    pc = vcpu.regs[aarch64.PC]
    syndrome = kind << 26 | _IL | vcpu.error_code & _IL - 1
    if kind == aarch64.PC_ALIGNMENT:
        info = Siginfo(SIGBUS, 0, BUS_ADRALN, addr=pc)
    elif kind == aarch64.SP_ALIGNMENT:
        info = Siginfo(SIGBUS, 0, BUS_ADRALN, addr=vcpu.regs[aarch64.SP])
    elif kind == _DATA_ABORT:  # alignment: the only kind of abort that is no EXIT_FAULT
        return Siginfo(SIGBUS, 0, BUS_ADRALN, addr=vcpu.fault_address), (kind, syndrome, vcpu.fault_address)
    elif kind == aarch64.BREAKPOINT:
        return Siginfo(SIGTRAP, 0, TRAP_BRKPT, addr=pc), (kind, 0, 0)
    elif kind in (_HARDWARE_BREAKPOINT, _WATCHPOINT):
        info = Siginfo(SIGTRAP, 0, TRAP_HWBKPT, addr=pc)
    elif kind == _SINGLE_STEP:
        info = Siginfo(SIGTRAP, 0, TRAP_TRACE, addr=pc)
    elif kind == _FP_EXCEPTION:
        info = Siginfo(SIGFPE, 0, _aarch64_fp_code(vcpu.error_code), addr=pc)
    else:
        info = Siginfo(SIGILL, 0, ILL_ILLOPC, addr=pc)
    return info, (kind, syndrome, 0)


def _aarch64_fp_code(syndrome: int) -> int:
    """do_fpsimd_exc(): the flags count only with TFV, bit 23."""
    if syndrome & 1 << 23:
        for mask, code in (
            (0x01, FPE_FLTINV),
            (0x02, FPE_FLTDIV),
            (0x04, FPE_FLTOVF),
            (0x08, FPE_FLTUND),
            (0x10, FPE_FLTRES),
        ):
            if syndrome & mask:
                return code
    return FPE_FLTUNK
