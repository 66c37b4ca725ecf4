"""The emulated aarch64 CPU: EL0 under stage-1 page tables, exceptions, SIMD state."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, ClassVar, Final

from noah.vm.api import EXEC, EXIT_CRASHED, EXIT_EXCEPTION, EXIT_FAULT, READ, WRITE, EngineError
from noah.vm.arch.aarch64 import PC, PSTATE
from noah.vm.arena import PAGE
from noah.vm.emulator.library import ARCH_ARM64, MODE_ARM, RegisterSet
from noah.vm.emulator.vcpu import AGAIN, EVENT_NONE, EmulatorVcpu

if TYPE_CHECKING:
    pass

# enum uc_arm64_reg
_X0: Final = 199  # to X28, 227
_X29: Final = 1
_X30: Final = 2
_SP: Final = 4
_PC: Final = 260
_TPIDR_EL0: Final = 262
_PSTATE: Final = 265
_CP_REG: Final = 290  # any system register, named by a structure
_FPCR: Final = 291
_FPSR: Final = 292
_Q0: Final = 104

_MODEL_MAX: Final = 3  # everything that QEMU knows: LSE atomics, CRC32, AES, SHA, dot product ...

# Exception numbers of QEMU (target/arm/cpu.h).
_EXCP_SVC: Final = 2

# ESR_ELx.EC and the fault status code of an abort (ARM ARM, D17.2.37).
_EC_INSTRUCTION_ABORT: Final = 0x20
_EC_DATA_ABORT: Final = 0x24
_FAULT_KINDS: Final = 0x3C  # the status code without its level
_TRANSLATION_FAULT: Final = 0x04
_ACCESS_FLAG_FAULT: Final = 0x08
_PERMISSION_FAULT: Final = 0x0C
_ADDRESS_SIZE_FAULT: Final = 0x00
_WRITE_NOT_READ: Final = 1 << 6
_TAG: Final = 0xFF << 56

# (op0, op1, CRn, CRm, op2) and value, in the order of writing. ARM ARM, D19.2.
_SCTLR_EL1: Final = (3, 0, 1, 0, 0)
_TTBR0_EL1: Final = (3, 0, 2, 0, 0)
_SETUP: Final = (
    ((3, 6, 1, 1, 0), 1 << 10 | 1),  # SCR_EL3: RW, NS - the levels below are AArch64, non-secure
    ((3, 4, 1, 1, 0), 1 << 31),  # HCR_EL2: RW
    ((3, 0, 10, 2, 0), 0xFF),  # MAIR_EL1: attribute 0 is normal, write-back memory
    # TCR_EL1: T0SZ 16, inner and outer write-back, inner shareable, EPD1, IPS 48 bits, TBI0
    ((3, 0, 2, 0, 2), 16 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 5 << 32 | 1 << 37),
    ((3, 0, 1, 0, 2), 3 << 20),  # CPACR_EL1: FPEN - SIMD, but not SVE
    ((3, 0, 14, 1, 0), 3),  # CNTKCTL_EL1: EL0 reads the counters
)
_SCTLR: Final = 0x3050_0800 | 1 | 1 << 2 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 26
"""The bits that are always one; M, C, I; DZE, UCT, nTWI, nTWE, UCI: what Linux lets EL0 do."""

_FP_SIZE: Final = 528

_SCRATCH: Final = 0x10000  # a page for the self-test
_LOAD_EXCLUSIVE: Final = struct.pack("<II", 0xC85F7C03, 0xD4000001)  # ldxr x3, [x0]; svc #0
_OPEN: Final = (1 << 64) - 1  # no address


class _SystemRegister(ctypes.Structure):
    _fields_ = (
        ("crn", ctypes.c_uint32),
        ("crm", ctypes.c_uint32),
        ("op0", ctypes.c_uint32),
        ("op1", ctypes.c_uint32),
        ("op2", ctypes.c_uint32),
        ("value", ctypes.c_uint64),
    )


class Aarch64Vcpu(EmulatorVcpu):
    """Unicorn's `max` CPU at EL0."""

    __slots__ = ("_address", "_fp", "_fp_set", "_monitor", "_syndrome")

    ARCH: ClassVar[int] = ARCH_ARM64
    MODE: ClassVar[int] = MODE_ARM
    MODEL: ClassVar[int] = _MODEL_MAX
    REGISTERS: ClassVar[tuple[int, ...]] = (*range(_X0, _X0 + 29), _X29, _X30, _SP, _PC, _PSTATE)
    PC: ClassVar[int] = PC
    FLAGS: ClassVar[int] = PSTATE
    FLAGS_USER: ClassVar[int] = 0xF000_0000  # NZCV
    FLAGS_FIXED: ClassVar[int] = 0
    USER_LIMIT: ClassVar[int] = 0x0000_FFFF_FFFF_E000
    EVENT_SYSCALL: ClassVar[int] = _EXCP_SVC
    SHARED: ClassVar[tuple[str, ...]] = ("_address", "_fp", "_fp_set", "_monitor", "_syndrome")

    def _set(self, register: tuple[int, int, int, int, int], value: int) -> None:
        op0, op1, crn, crm, op2 = register
        self._unicorn.write(_CP_REG, _SystemRegister(crn, crm, op0, op1, op2, value))

    def enter_user_mode(self, root: int) -> None:
        """From the state of a reset: AArch64 at every level, paging, EL0."""
        fp = self._fp = ctypes.create_string_buffer(_FP_SIZE)
        at = ctypes.addressof(fp)
        self._fp_set = RegisterSet(
            self._unicorn.handle,
            [*((_Q0 + i, at + 16 * i) for i in range(32)), (_FPSR, at + 512), (_FPCR, at + 516)],
        )
        self._set(_TTBR0_EL1, root)
        for register, value in _SETUP:
            self._set(register, value)
        self._unicorn.write(_PSTATE, 0)  # EL0
        self._set(_SCTLR_EL1, _SCTLR)  # makes Unicorn look at PSTATE's level, too
        # User mode begins with a fault that proves it, and shows where Unicorn keeps what it knows of exceptions:
        # struct { u32 syndrome, fsr; u64 vaddress; } (target/arm/cpu.h). The program counter has the same value.
        address = self.USER_LIMIT + 0x100
        self._event = EVENT_NONE
        self._start(address, 0, 0, 0)
        self._pull()
        state = self._unicorn.state()
        where = state.find(address.to_bytes(8, "little"))
        while where >= 8 and struct.unpack_from("<I", state, where - 8)[0] >> 26 != _EC_INSTRUCTION_ABORT:
            where = state.find(address.to_bytes(8, "little"), where + 1)
        if where < 8:
            raise EngineError("Unicorn failed the self-test; pip install unicorn==2.1.4")
        base = self._unicorn.context.value or 0
        self._syndrome = ctypes.c_uint32.from_address(base + where - 8)
        self._address = ctypes.c_uint64.from_address(base + where)
        if self._decode(0, self._event) != EXIT_FAULT or self.fault_access != EXEC or self.fault_present:
            raise EngineError("Unicorn failed the self-test: user mode; pip install unicorn==2.1.4")
        self._find_monitor()

    def _find_monitor(self) -> None:
        """Where the exclusive monitor is: u64 exclusive_addr, exclusive_val (target/arm/cpu.h)."""
        machine, regs = self._machine, self.regs
        page = machine.arena.alloc(PAGE)
        machine.arena.anonymous(page, PAGE)
        machine.arena.view[page : page + len(_LOAD_EXCLUSIVE)] = _LOAD_EXCLUSIVE
        machine.map(_SCRATCH, PAGE, page, READ | EXEC)
        regs[0], regs[PC] = _SCRATCH, _SCRATCH
        self._push()
        self._event = EVENT_NONE
        self._start(_SCRATCH, 0, 0, 0)
        where = self._unicorn.state().find(struct.pack("<Q", _SCRATCH) + _LOAD_EXCLUSIVE)
        if where < 0:
            raise EngineError("this version of Unicorn is unknown to Noah: pip install unicorn==2.1.4")
        self._monitor = ctypes.c_uint64.from_address((self._unicorn.context.value or 0) + where)
        machine.unmap(_SCRATCH, PAGE)
        machine.arena.free(page, PAGE)

    def _inner_state(self) -> bytes:
        """Open the monitor, as an exception return does: else `stxr` would not see what others wrote in their turns."""
        self._unicorn.save()
        self._monitor.value = _OPEN
        return self._unicorn.saved()

    def set_root(self, root: int) -> None:
        self._set(_TTBR0_EL1, root)

    def _decode(self, error: int, event: int) -> int:
        if event == EVENT_NONE:
            return EXIT_CRASHED if error else AGAIN
        self._unicorn.save()
        syndrome = self._syndrome.value
        kind = syndrome >> 26
        self.vector, self.error_code = kind, syndrome & 0x1FF_FFFF
        if kind not in (_EC_INSTRUCTION_ABORT, _EC_DATA_ABORT):
            return EXIT_EXCEPTION
        address = self._address.value
        self.fault_address = address if address & 1 << 55 else address & ~_TAG  # the top byte is ignored (TBI0)
        if kind == _EC_INSTRUCTION_ABORT:
            self.fault_access = EXEC
        else:
            self.fault_access = WRITE if syndrome & _WRITE_NOT_READ else READ
        status = syndrome & _FAULT_KINDS
        self.fault_present = status == _PERMISSION_FAULT
        if self.fault_present and self.fault_access == WRITE and self._machine.note_write(self.fault_address):
            return AGAIN
        if status in (_TRANSLATION_FAULT, _ACCESS_FLAG_FAULT, _PERMISSION_FAULT, _ADDRESS_SIZE_FAULT):
            return EXIT_FAULT
        return EXIT_EXCEPTION  # alignment

    def get_tls(self) -> int:
        self.make_current()
        return self._unicorn.read(_TPIDR_EL0)

    def set_tls(self, value: int) -> None:
        self.make_current()
        self._unicorn.write(_TPIDR_EL0, value)

    def get_gs(self) -> int:
        return 0

    def set_gs(self, value: int) -> None:
        return None

    def get_fp(self) -> bytes:
        self.make_current()
        self._fp_set.read()
        return self._fp.raw

    def set_fp(self, state: bytes) -> None:
        self.make_current()
        ctypes.memmove(self._fp, state[:_FP_SIZE].ljust(_FP_SIZE, b"\0"), _FP_SIZE)
        self._fp_set.write()
