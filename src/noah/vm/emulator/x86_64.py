"""The emulated x86-64 CPU: user mode under page tables, exceptions, SSE and x87 state."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, ClassVar, Final, cast

from noah.vm.api import EXEC, EXIT_CRASHED, EXIT_EXCEPTION, EXIT_FAULT, EXIT_SYSCALL, READ, WRITE, EngineError
from noah.vm.arch.x86_64 import (
    BREAKPOINT,
    DOUBLE_FAULT,
    GENERAL_PROTECTION,
    INVALID_OPCODE,
    OVERFLOW,
    PAGE_FAULT,
    R11,
    RCX,
    RFLAGS,
    RIP,
)
from noah.vm.emulator.library import ARCH_X86, ERR_INSN_INVALID, MODE_64, RegisterSet
from noah.vm.emulator.vcpu import AGAIN, EVENT_NONE, EmulatorVcpu

if TYPE_CHECKING:
    from noah.vm.emulator.machine import EmulatorMachine

# enum uc_x86_reg
_LEGACY: Final = (35, 37, 38, 40, 43, 39, 44, 36)  # RAX RBX RCX RDX RSI RDI RSP RBP
_R8: Final = 106  # to R15, 113
_RIP: Final = 41
_RFLAGS: Final = 253
_CR0: Final = 50
_CR2: Final = 52
_CR3: Final = 53
_CR4: Final = 54
_CS: Final = 11
_GDTR: Final = 243
_MSR: Final = 248
_FS_BASE: Final = 250
_GS_BASE: Final = 251
_FPSW: Final = 31
_FPCW: Final = 246
_FPTAG: Final = 247
_FOP: Final = 258
_FIP: Final = 254
_FDP: Final = 256
_MXCSR: Final = 249
_ST0: Final = 114
_XMM0: Final = 122

_MODEL_WESTMERE: Final = 16

_USER_CS: Final = 0x33
_MSR_EFER: Final = 0xC0000080
_MSR_STAR: Final = 0xC0000081
_STAR: Final = 0x0023_0010_0000_0000

_USER_LIMIT: Final = 0x7FFF_FFE0_0000
SYSTEM_ADDRESS: Final = _USER_LIMIT
"""One page that user mode cannot reach: the descriptor table, and the instruction that first entered user mode."""
_SYSRET: Final = 0x100  # where that instruction is in it

# Page faults (SDM vol. 3, 4.7).
_PF_PRESENT: Final = 1
_PF_WRITE: Final = 2
_PF_USER: Final = 4
_PF_FETCH: Final = 16

# The parts of QEMU's CPUX86State that Unicorn has no register for, relative to its dr[] (target/i386/cpu.h):
# int error_code, exception_is_int; uint64 exception_next_eip, dr[8]; pointers[4]; int old_exception.
_DR6: Final = struct.pack("<QQ", 0xFFFF0FF0, 0x400)  # DR6 and DR7 after a reset
_ERROR_CODE: Final = -16
_IS_INT: Final = -12
_OLD_EXCEPTION: Final = 96
_NO_EXCEPTION: Final = -1

_FXSAVE_SIZE: Final = 512
_XSTATE_BV: Final = 512  # the header's first word: which parts are not in their initial state
_X87_INITIAL: Final = struct.pack("<H22x", 0x37F)
_MXCSR_INITIAL: Final = 0x1F80
_MXCSR_MASK: Final = 0xFFFF


class _Msr(ctypes.Structure):
    _fields_ = (("number", ctypes.c_uint32), ("value", ctypes.c_uint64))


class _TableRegister(ctypes.Structure):
    _fields_ = (
        ("selector", ctypes.c_uint16),
        ("base", ctypes.c_uint64),
        ("limit", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )


def system_page() -> bytes:
    """What the page at SYSTEM_ADDRESS holds. Selectors as Linux has them, but no 32-bit code segment."""
    descriptors = struct.pack(
        "<7Q", 0, 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0, 0x00CFF3000000FFFF, 0x00AFFB000000FFFF
    )
    return descriptors.ljust(_SYSRET, b"\0") + b"\x48\x0f\x07"


class X86Vcpu(EmulatorVcpu):
    """The model has no AVX and no XSAVE, so that programs choose SSE, and no ERMS: `rep movsb` is slow here."""

    __slots__ = ("_at_port", "_error", "_fp", "_fp_set", "_is_int", "_old", "_tag", "_user_mode")

    ARCH: ClassVar[int] = ARCH_X86
    MODE: ClassVar[int] = MODE_64
    MODEL: ClassVar[int] = _MODEL_WESTMERE
    REGISTERS: ClassVar[tuple[int, ...]] = (
        *_LEGACY,
        *range(_R8, _R8 + 8),
        *(_RIP, _RFLAGS),
    )
    PC: ClassVar[int] = RIP
    FLAGS: ClassVar[int] = RFLAGS
    FLAGS_USER: ClassVar[int] = 0x0025_4FD5 & ~0x3000  # CF PF AF ZF SF TF DF OF NT RF AC ID
    FLAGS_FIXED: ClassVar[int] = 0x202
    USER_LIMIT: ClassVar[int] = _USER_LIMIT
    SHARED: ClassVar[tuple[str, ...]] = ("_error", "_fp", "_fp_set", "_is_int", "_old", "_tag", "_user_mode")
    EVENT_SYSCALL: ClassVar[int] = 0x1_0000  # above every exception number
    EVENT_PORT: ClassVar[int] = 0x1_0001

    def __init__(self, machine: EmulatorMachine) -> None:
        super().__init__(machine)
        self._at_port: list[int] = []

    @classmethod
    def hook(cls, machine: EmulatorMachine) -> None:
        super().hook(machine)
        machine.unicorn.hook_syscalls(lambda _handle, _data: machine.current.on_event(cls.EVENT_SYSCALL))
        machine.unicorn.hook_ports(lambda: cast("X86Vcpu", machine.current)._on_port())

    def _on_port(self) -> int:
        """Unicorn lets everybody use ports, and stops behind the instruction only: remember how it was before."""
        if self._event == EVENT_NONE:
            self._event = self.EVENT_PORT
            self._pull()
            self._at_port = [self.regs[index] for index in range(len(self.regs))]
            self._stop()
        return 0

    def _prepare(self) -> None:
        """What is to be known of the CPU before it runs."""
        fp = self._fp = ctypes.create_string_buffer(_FXSAVE_SIZE)
        tag = self._tag = ctypes.c_uint16()
        at = ctypes.addressof(fp)
        # FXSAVE's 64-bit layout (SDM vol. 1, table 10-3). The status word goes first: it says which register is ST(0).
        self._fp_set = RegisterSet(
            self._unicorn.handle,
            [
                *((_FPCW, at), (_FPSW, at + 2), (_FPTAG, ctypes.addressof(tag))),
                *((_FOP, at + 6), (_FIP, at + 8), (_FDP, at + 16), (_MXCSR, at + 24)),
                *((_ST0 + i, at + 32 + 16 * i) for i in range(8)),
                *((_XMM0 + i, at + 160 + 16 * i) for i in range(16)),
            ],
        )
        where = self._unicorn.state().find(_DR6) - 6 * 8
        if where < 0:
            raise EngineError("this version of Unicorn is unknown to Noah: pip install unicorn==2.1.4")
        state = (self._unicorn.context.value or 0) + where
        self._error = ctypes.c_int32.from_address(state + _ERROR_CODE)
        self._is_int = ctypes.c_int32.from_address(state + _IS_INT)
        self._old = ctypes.c_int32.from_address(state + _OLD_EXCEPTION)

    def enter_user_mode(self, root: int) -> None:
        """From the state of a reset: 64-bit mode, paging, CPL 3. Unicorn can execute sysret, but not be told to."""
        self._prepare()
        unicorn = self._unicorn
        unicorn.write(_MSR, _Msr(_MSR_EFER, 0xD01))  # NXE LMA LME SCE
        unicorn.write(_MSR, _Msr(_MSR_STAR, _STAR))
        unicorn.write(_CR4, 0x620)  # PAE OSFXSR OSXMMEXCPT
        unicorn.write(_CR3, root)
        unicorn.write(_CR0, 0x80050033)  # PG AM WP NE ET MP PE
        unicorn.write(_GDTR, _TableRegister(0, SYSTEM_ADDRESS, 7 * 8 - 1, 0))
        # User mode begins with a fault that proves it, and that faults are understood.
        regs = self.regs
        regs[RCX] = SYSTEM_ADDRESS
        regs[R11] = self.FLAGS_FIXED
        self._push()
        self._event = EVENT_NONE
        error = self._start(SYSTEM_ADDRESS + _SYSRET, 0, 0, 0)
        self._pull()
        kind = self._decode(error, self._event)
        if kind != EXIT_FAULT or self.fault_address != SYSTEM_ADDRESS or regs[RIP] != SYSTEM_ADDRESS:
            raise EngineError("Unicorn failed the self-test; pip install unicorn==2.1.4")
        if self.error_code != _PF_PRESENT | _PF_USER | _PF_FETCH:
            raise EngineError("Unicorn failed the self-test: user mode; pip install unicorn==2.1.4")
        self._user_mode = unicorn.state()

    def set_root(self, root: int) -> None:
        self._unicorn.write(_CR3, root)

    def _syscall(self) -> int:
        regs = self.regs
        regs[RCX] = regs[RIP]
        regs[R11] = regs[RFLAGS]
        return EXIT_SYSCALL

    def _decode(self, error: int, event: int) -> int:
        if event == EVENT_NONE:
            if not error:
                return AGAIN
            if error != ERR_INSN_INVALID:
                return EXIT_CRASHED
            self.vector, self.error_code = INVALID_OPCODE, 0
            return EXIT_EXCEPTION
        unicorn = self._unicorn
        unicorn.save()
        code, is_int = self._error.value, self._is_int.value
        if self._old.value != _NO_EXCEPTION:
            # Nothing in Unicorn ends an exception: the next one would count as a fault within this one.
            self._old.value = _NO_EXCEPTION
            unicorn.restore()
        if unicorn.read(_CS) & 0xFFFF != _USER_CS:
            self._recover()
            return EXIT_CRASHED
        if event == self.EVENT_PORT:
            for index, value in enumerate(self._at_port):
                self.regs[index] = value
            event, code, is_int = GENERAL_PROTECTION, 0, 0
        if is_int:
            if event not in (BREAKPOINT, OVERFLOW):
                # `int n`: Linux has gates of privilege 3 for none but these (and for 0x80, its 32-bit interface).
                self.regs[RIP] = self.regs[RIP] - 2 & 0xFFFF_FFFF_FFFF_FFFF
                event, code = GENERAL_PROTECTION, event << 3 | 2
        elif event == PAGE_FAULT:
            self.vector, self.error_code = PAGE_FAULT, code
            self.fault_address = unicorn.read(_CR2)
            self.fault_access = EXEC if code & _PF_FETCH else WRITE if code & _PF_WRITE else READ
            self.fault_present = bool(code & _PF_PRESENT)
            return EXIT_FAULT
        elif event == DOUBLE_FAULT:
            return AGAIN  # an exception that only looked nested: it comes again, alone
        self.vector, self.error_code = event, code
        return EXIT_EXCEPTION

    def _recover(self) -> None:
        """The guest found a way out of 64-bit mode (`iretd` with EFLAGS.VM set: a gap in QEMU's checks): close it."""
        self._unicorn.load_state(self._user_mode)
        self.set_root(self._machine.root)

    def get_tls(self) -> int:
        self.make_current()
        return self._unicorn.read(_FS_BASE)

    def set_tls(self, value: int) -> None:
        self.make_current()
        self._unicorn.write(_FS_BASE, value)

    def get_gs(self) -> int:
        self.make_current()
        return self._unicorn.read(_GS_BASE)

    def set_gs(self, value: int) -> None:
        self.make_current()
        self._unicorn.write(_GS_BASE, value)

    def get_fp(self) -> bytes:
        self.make_current()
        ctypes.memset(self._fp, 0, _FXSAVE_SIZE)
        self._fp_set.read()
        tags = self._tag.value
        state = bytearray(self._fp.raw)
        state[4] = sum(1 << i for i in range(8) if tags >> 2 * i & 3 != 3)  # FXSAVE keeps "not empty" alone
        state[28:32] = _MXCSR_MASK.to_bytes(4, "little")
        return bytes(state) + struct.pack("<Q56x", 3)

    def set_fp(self, state: bytes) -> None:
        present = int.from_bytes(state[_XSTATE_BV : _XSTATE_BV + 8], "little") if len(state) > _XSTATE_BV else 3
        area = bytearray(state[:_FXSAVE_SIZE].ljust(_FXSAVE_SIZE, b"\0"))
        if not state:
            present = 0
            area[24:28] = _MXCSR_INITIAL.to_bytes(4, "little")
        if not present & 1:
            area[0:24] = _X87_INITIAL
            area[32:160] = bytes(128)
        if not present & 2:
            area[160:416] = bytes(256)
        area[24:28] = (int.from_bytes(area[24:28], "little") & _MXCSR_MASK).to_bytes(4, "little")
        self.make_current()
        self._tag.value = sum(3 << 2 * i for i in range(8) if not area[4] >> i & 1)
        ctypes.memmove(self._fp, bytes(area), _FXSAVE_SIZE)
        self._fp_set.write()
