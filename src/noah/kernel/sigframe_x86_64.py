"""Signal frames of x86-64: arch/x86/kernel/signal_64.c, arch/x86/kernel/fpu/signal.c. Layout: noah.abi.x86_64."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EFAULT, LinuxError
from noah.abi.signal import SA_ONSTACK, SA_RESTORER, SI_KERNEL, SIGSEGV, SS_AUTODISARM
from noah.abi.x86_64 import (
    FP_ALIGN,
    FP_XSTATE_MAGIC1,
    FP_XSTATE_MAGIC2,
    FP_XSTATE_MAGIC2_SIZE,
    FPX_SW_BYTES,
    FPX_SW_BYTES_OFFSET,
    FXSAVE_SIZE,
    MINSIGSTKSZ,
    NUMBERS,
    RED_ZONE,
    SIGCONTEXT,
    SIGCONTEXT_REGISTERS,
    SIGFRAME_SIZE,
    SIGINFO_OFFSET,
    UC_FP_XSTATE,
    UC_MCONTEXT,
    UC_SIGCONTEXT_SS,
    UC_SIGMASK,
    UC_STRICT_RESTORE_SS,
    UCONTEXT,
    UCONTEXT_OFFSET,
    USER_CS,
    USER_DS,
    XSTATE_BV_OFFSET,
)
from noah.host.values import Siginfo
from noah.kernel import altstack
from noah.kernel.siginfo import pack
from noah.vm.arch import x86_64 as registers
from noah.vm.arch.x86_64 import RAX, RDI, RDX, RFLAGS, RIP, RSI, RSP

if TYPE_CHECKING:
    from noah.kernel.task import Task

RESTART_SYSCALL: Final = NUMBERS["restart_syscall"]
TRAMPOLINE: Final = b""  # every handler has a restorer

_MASK: Final = (1 << 64) - 1
_ORDER: Final[tuple[int, ...]] = tuple(getattr(registers, name.upper()) for name in SIGCONTEXT_REGISTERS)
_in_order: Final = itemgetter(*_ORDER)
_HANDLER_CLEARS: Final = 0x10500  # DF, RF, TF
_RESTORED_FLAGS: Final = 0x50DD5  # FIX_EFLAGS: AC RF OF DF TF SF ZF AF PF CF
_FP_SSE: Final = 3  # XFEATURE_MASK_FPSSE
_AVX: Final = 4  # the upper halves of the vector registers
_AVX512: Final = 0xE0  # mask registers, the upper halves of these, more registers
_XCOMP_BV: Final = XSTATE_BV_OFFSET + 8
_HEADER_END: Final = XSTATE_BV_OFFSET + 64
_AVX_END: Final = _HEADER_END + 256
_FXSAVE_ALIGN: Final = 16
_MXCSR_OFFSET: Final = 24
_MXCSR_MASK_DEFAULT: Final = 0xFFBF  # when MXCSR_MASK is 0 (SDM vol. 1, 11.6.6)


def push(task: Task, action: tuple[int, int, int, int], info: Siginfo, mask: int) -> None:
    """Put a frame on the guest's stack and set the registers for the handler. EFAULT: it cannot be written."""
    handler, flags, restorer, _ = action
    if not flags & SA_RESTORER:
        raise LinuxError(EFAULT)
    regs = task.vcpu.regs
    sp = regs[RSP]
    nested = altstack.in_use(task, sp)
    top = sp - RED_ZONE & _MASK
    entering = bool(flags & SA_ONSTACK) and altstack.flags(task, top) == 0
    if entering:
        top = task.altstack[0] + task.altstack[2]
    state = task.vcpu.get_fp()
    task.process.signals.fp_format = _format(state)
    fp = (top - len(state) - FP_XSTATE_MAGIC2_SIZE) & -FP_ALIGN & _MASK
    frame = ((fp - SIGFRAME_SIZE & _MASK) & -16) - 8
    if frame < 0 or ((nested or entering) and not altstack.contains(task, frame)):
        raise LinuxError(EFAULT)

    data = bytearray(fp - frame + len(state) + FP_XSTATE_MAGIC2_SIZE)
    data[0:8] = restorer.to_bytes(8, "little")
    uc_flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS
    UCONTEXT.pack_into(data, UCONTEXT_OFFSET, uc_flags, 0, *_signed_flags(task.altstack))
    vector, error, address = task.process.signals.trap
    SIGCONTEXT.pack_into(
        data,
        UCONTEXT_OFFSET + UC_MCONTEXT,
        *_in_order(regs),
        *(USER_CS, 0, 0, USER_DS),
        *(error, vector, mask, address, fp),
    )
    data[UCONTEXT_OFFSET + UC_SIGMASK : UCONTEXT_OFFSET + UC_SIGMASK + 8] = mask.to_bytes(8, "little")
    data[SIGINFO_OFFSET:SIGFRAME_SIZE] = pack(info)
    data[fp - frame : -FP_XSTATE_MAGIC2_SIZE] = _mark(state)
    data[-FP_XSTATE_MAGIC2_SIZE:] = FP_XSTATE_MAGIC2.to_bytes(4, "little")
    task.mem.write(frame, data)

    if task.altstack[1] & SS_AUTODISARM:
        task.altstack = altstack.NONE
    task.vcpu.set_fp(b"")
    regs[RDI] = info.signo
    regs[RAX] = 0
    regs[RSI] = frame + SIGINFO_OFFSET
    regs[RDX] = frame + UCONTEXT_OFFSET
    regs[RIP] = handler
    regs[RSP] = frame
    regs[RFLAGS] &= ~_HANDLER_CLEARS


def _signed_flags(stack: tuple[int, int, int]) -> tuple[int, int, int]:
    """The stack with its flags as stack_t has them: an int."""
    base, flags, size = stack
    return base, flags - (flags >> 31 << 32), size


def _mark(state: bytes) -> bytearray:
    """The XSAVE area with what the kernel writes into its reserved bytes (save_sw_bytes, save_xstate_epilog)."""
    marked = bytearray(state)
    features = int.from_bytes(state[XSTATE_BV_OFFSET : XSTATE_BV_OFFSET + 8], "little") | _FP_SSE
    size = len(state)
    magic1, extended_size = FP_XSTATE_MAGIC1, size + FP_XSTATE_MAGIC2_SIZE
    FPX_SW_BYTES.pack_into(marked, FPX_SW_BYTES_OFFSET, magic1, extended_size, _enabled(size), size)
    marked[XSTATE_BV_OFFSET : XSTATE_BV_OFFSET + 8] = features.to_bytes(8, "little")
    return marked


def _enabled(size: int) -> int:
    """Which components an XSAVE area of this size has: what engines offer of them comes in this order."""
    return _FP_SSE | (_AVX if size > _HEADER_END else 0) | (_AVX512 if size > _AVX_END else 0)


def pop(task: Task) -> None:
    """Load mask, registers, floating-point state and alternate stack from the frame. EFAULT: the frame is bad."""
    regs = task.vcpu.regs
    frame = regs[RSP] - 8 & _MASK
    raw = task.mem.read(frame, SIGINFO_OFFSET)
    task.process.signals.set_mask(
        task, int.from_bytes(raw[UCONTEXT_OFFSET + UC_SIGMASK : UCONTEXT_OFFSET + UC_SIGMASK + 8], "little")
    )
    uc_flags, _, *stack = UCONTEXT.unpack_from(raw, UCONTEXT_OFFSET)
    values = SIGCONTEXT.unpack_from(raw, UCONTEXT_OFFSET + UC_MCONTEXT)
    kept_flags = regs[RFLAGS] & ~_RESTORED_FLAGS
    for index, value in zip(_ORDER, values, strict=False):
        regs[index] = value
    regs[RFLAGS] = kept_flags | regs[RFLAGS] & _RESTORED_FLAGS
    cs, ss, fp = values[18], values[21], values[26]
    _load_state(task, fp)
    try:
        altstack.change(task, regs[RSP], (stack[0], stack[1], stack[2]), MINSIGSTKSZ)
    except LinuxError:
        pass  # restore_altstack() squashes all errors but EFAULT
    if cs | 3 != USER_CS or (uc_flags & UC_STRICT_RESTORE_SS and ss | 3 != USER_DS):
        raise LinuxError(EFAULT)  # the way back to user mode would fault: no other segments here


def _load_state(task: Task, address: int) -> None:
    """The floating-point state of a frame, with the checks that XRSTOR makes (SDM vol. 1, 13.8.1)."""
    if not address:
        task.vcpu.set_fp(b"")
        return
    size, allowed = task.process.signals.fp_format
    if not size:  # no signal so far: the frame is the program's own work
        size, allowed = _format(task.vcpu.get_fp())
    state = _read_state(task, address, size)
    if int.from_bytes(state[_MXCSR_OFFSET : _MXCSR_OFFSET + 4], "little") & ~allowed:
        raise LinuxError(EFAULT)
    task.vcpu.set_fp(state)


def _format(state: bytes) -> tuple[int, int]:
    """Size of the floating-point state and the bits that MXCSR may have."""
    mask = int.from_bytes(state[_MXCSR_OFFSET + 4 : _MXCSR_OFFSET + 8], "little")
    return len(state), mask or _MXCSR_MASK_DEFAULT


def _read_state(task: Task, address: int, size: int) -> bytes:
    """An XSAVE area of this size; or only FXSAVE's, and everything else initial (check_xstate_in_sigframe())."""
    try:
        state = task.mem.read(address, size + FP_XSTATE_MAGIC2_SIZE)
    except LinuxError:
        state = b""
    if state:
        magic1, _, _, xstate_size = FPX_SW_BYTES.unpack_from(state, FPX_SW_BYTES_OFFSET)
        magic2 = int.from_bytes(state[size:], "little")
        if magic1 == FP_XSTATE_MAGIC1 and xstate_size == size and magic2 == FP_XSTATE_MAGIC2:
            features = int.from_bytes(state[XSTATE_BV_OFFSET : XSTATE_BV_OFFSET + 8], "little")
            if address & FP_ALIGN - 1 or features & ~_enabled(size) or state[_XCOMP_BV : _XCOMP_BV + 16] != bytes(16):
                raise LinuxError(EFAULT)
            # XRSTOR does not look at the rest of the header, engines may.
            return state[:_XCOMP_BV] + bytes(_HEADER_END - _XCOMP_BV) + state[_HEADER_END:size]
    if address & _FXSAVE_ALIGN - 1:
        raise LinuxError(EFAULT)
    return task.mem.read(address, FXSAVE_SIZE) + _FP_SSE.to_bytes(8, "little") + bytes(size - FXSAVE_SIZE - 8)


def bad_frame(task: Task) -> Siginfo:
    """What rt_sigreturn(2) says about a frame that pop() refuses."""
    return Siginfo(SIGSEGV, 0, SI_KERNEL)
