"""One object per guest architecture: what the kernel personality asks of vm.arch (registers) and abi (Linux data)."""

from __future__ import annotations

from typing import Any, Final

from noah.abi.elf import EM_AARCH64, EM_X86_64
from noah.vm.api import Registers
from noah.vm.arch import aarch64 as aarch64_registers
from noah.vm.arch import x86_64 as x86_64_registers


class Arch:
    """Register roles and constants of an architecture. Index members are positions in Vcpu.regs."""

    __slots__ = (
        "args",
        "clock_ticks",
        "elf_machine",
        "hwcap",
        "hwcap2",
        "insn_size",
        "name",
        "number",
        "pc",
        "platform",
        "registers",
        "result",
        "sp",
        "start_flags",
    )

    def __init__(self, name: str, registers: Any, elf_machine: int, hwcap: int, hwcap2: int) -> None:
        self.name = name  # also what uname(2) says
        self.platform = name.encode()  # AT_PLATFORM
        self.registers = registers
        self.elf_machine = elf_machine
        self.pc: int = registers.PC
        self.sp: int = registers.SP
        self.number: int = registers.SYSCALL_NUMBER
        self.result: int = registers.SYSCALL_RESULT
        self.args: tuple[int, ...] = registers.SYSCALL_ARGS
        self.insn_size: int = registers.SYSCALL_INSTRUCTION_SIZE
        self.hwcap = hwcap
        self.hwcap2 = hwcap2
        self.clock_ticks = 100
        self.start_flags = (registers.RFLAGS, 0x202) if name == "x86_64" else (registers.PSTATE, 0)

    def start(self, regs: Registers) -> None:
        """Set the flags register to what a program starts with."""
        index, value = self.start_flags
        regs[index] = value


ARCHES: Final[dict[str, Arch]] = {
    # x86-64: AT_HWCAP is CPUID.1:EDX (here: what every x86-64 CPU has), bit 1 of AT_HWCAP2 that FSGSBASE may be used.
    "x86_64": Arch("x86_64", x86_64_registers, EM_X86_64, 0x178BFBFF, 0x2),
    # aarch64: HWCAP_FP | HWCAP_ASIMD | HWCAP_CPUID is left out: reading ID registers would have to be emulated.
    "aarch64": Arch("aarch64", aarch64_registers, EM_AARCH64, 0x3, 0),
}
