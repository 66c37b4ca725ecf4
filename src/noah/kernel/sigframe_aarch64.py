"""Signal frames of aarch64: arch/arm64/kernel/signal.c. Layout: noah.abi.aarch64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.aarch64 import (
    ESR,
    ESR_MAGIC,
    FPSIMD,
    FPSIMD_MAGIC,
    FRAME_RECORD,
    MINSIGSTKSZ,
    NUMBERS,
    RECORD,
    SIGCONTEXT,
    SIGCONTEXT_RECORDS,
    SIGCONTEXT_RECORDS_SIZE,
    SIGFRAME_SIZE,
    SIGINFO_OFFSET,
    UC_MCONTEXT,
    UC_SIGMASK,
    UCONTEXT,
    UCONTEXT_OFFSET,
)
from noah.abi.errno import EFAULT, LinuxError
from noah.abi.siginfo import SIGINFO_SIZE
from noah.abi.signal import (
    SA_ONSTACK,
    SA_RESTORER,
    SA_SIGINFO,
    SEGV_ACCERR,
    SEGV_MAPERR,
    SIGSEGV,
    SS_AUTODISARM,
)
from noah.host.values import Siginfo
from noah.kernel import altstack
from noah.kernel.siginfo import pack
from noah.vm.arch.aarch64 import PC, PSTATE, SP, X0, X30

if TYPE_CHECKING:
    from noah.kernel.task import Task

RESTART_SYSCALL: Final = NUMBERS["restart_syscall"]
# mov x8, #__NR_rt_sigreturn; svc #0: debuggers and unwinders know a signal frame by just these two.
TRAMPOLINE: Final = (0xD280_0008 | NUMBERS["rt_sigreturn"] << 5 | 0xD400_0001 << 32).to_bytes(8, "little")

_MASK: Final = (1 << 64) - 1
_X29: Final = X30 - 1
_CONTEXT: Final = UCONTEXT_OFFSET + UC_MCONTEXT
_RECORDS: Final = _CONTEXT + SIGCONTEXT_RECORDS
_BTYPE_AND_TCO: Final = 0x0200_0C00  # PSR_BTYPE_MASK, PSR_TCO_BIT: setup_return()
_NZCV: Final = 0xF000_0000
_PSTATE_DAIF_AND_MODE: Final = 0x3DF  # D A I F, AArch32 and mode bits: all 0 in user mode (valid_user_regs())
_RESERVED_PSTATE: Final = ~0xFFFF_FFFF | 0x0CC0_E000 | 0x0010_0000  # SPSR_EL1_AARCH64_RES0_BITS, and SS


def push(task: Task, action: tuple[int, int, int, int], info: Siginfo, mask: int) -> None:
    """Put a frame on the guest's stack and set the registers for the handler. EFAULT: it cannot be written."""
    handler, flags, restorer, _ = action
    regs = task.vcpu.regs
    top = regs[SP]
    if flags & SA_ONSTACK and altstack.flags(task, top) == 0:
        top = task.altstack[0] + task.altstack[2]
    record = top - FRAME_RECORD.size & -16
    frame = record - SIGFRAME_SIZE
    if frame < 0:
        raise LinuxError(EFAULT)

    data = bytearray(SIGFRAME_SIZE + FRAME_RECORD.size)
    data[SIGINFO_OFFSET : SIGINFO_OFFSET + SIGINFO_SIZE] = pack(info)
    base, stack_flags, size = task.altstack
    UCONTEXT.pack_into(data, UCONTEXT_OFFSET, 0, 0, base, stack_flags - (stack_flags >> 31 << 32), size)
    data[UCONTEXT_OFFSET + UC_SIGMASK : UCONTEXT_OFFSET + UC_SIGMASK + 8] = mask.to_bytes(8, "little")
    _, syndrome, address = task.process.signals.trap
    SIGCONTEXT.pack_into(data, _CONTEXT, address, *[regs[index] for index in range(PSTATE + 1)])
    at = _RECORDS
    state = task.vcpu.get_fp()
    fpsr, fpcr = int.from_bytes(state[512:516], "little"), int.from_bytes(state[516:520], "little")
    FPSIMD.pack_into(data, at, FPSIMD_MAGIC, FPSIMD.size, fpsr, fpcr, state[:512])
    at += FPSIMD.size
    if syndrome:
        ESR.pack_into(data, at, ESR_MAGIC, ESR.size, syndrome)
    FRAME_RECORD.pack_into(data, SIGFRAME_SIZE, regs[_X29], regs[X30])
    task.mem.write(frame, data)

    if task.altstack[1] & SS_AUTODISARM:
        task.altstack = altstack.NONE
    regs[X0] = info.signo
    if flags & SA_SIGINFO:
        regs[X0 + 1] = frame + SIGINFO_OFFSET
        regs[X0 + 2] = frame + UCONTEXT_OFFSET
    regs[_X29] = record
    regs[X30] = restorer if flags & SA_RESTORER else task.process.signals.trampoline
    regs[SP] = frame
    regs[PC] = handler
    regs[PSTATE] &= ~_BTYPE_AND_TCO


def pop(task: Task) -> None:
    """Load mask, registers, floating-point state and alternate stack from the frame. EFAULT: the frame is bad."""
    regs = task.vcpu.regs
    frame = regs[SP]
    if frame & 15:
        raise LinuxError(EFAULT)
    raw = task.mem.read(frame, SIGFRAME_SIZE)
    task.process.signals.set_mask(
        task, int.from_bytes(raw[UCONTEXT_OFFSET + UC_SIGMASK : UCONTEXT_OFFSET + UC_SIGMASK + 8], "little")
    )
    values = SIGCONTEXT.unpack_from(raw, _CONTEXT)
    for index, value in enumerate(values[1:]):
        regs[index] = value
    pstate = regs[PSTATE] & ~_RESERVED_PSTATE
    if pstate & _PSTATE_DAIF_AND_MODE:
        regs[PSTATE] = pstate & _NZCV
        raise LinuxError(EFAULT)
    regs[PSTATE] = pstate
    task.vcpu.set_fp(_find_state(raw))
    _, _, base, flags, size = UCONTEXT.unpack_from(raw, UCONTEXT_OFFSET)
    try:
        altstack.change(task, regs[SP], (base, flags, size), MINSIGSTKSZ)
    except LinuxError:
        pass  # restore_altstack() squashes all errors but EFAULT


def _find_state(raw: bytes) -> bytes:
    """The floating-point record among those of the frame: parse_user_sigframe()."""
    state: bytes | None = None
    at = _RECORDS
    end = _RECORDS + SIGCONTEXT_RECORDS_SIZE
    while at + RECORD.size <= end:
        magic, size = RECORD.unpack_from(raw, at)
        if magic == 0:
            if size == 0 and state is not None:
                return state
            break
        if size < RECORD.size or size & 15 or size > end - at:
            break
        if magic == FPSIMD_MAGIC:
            if state is not None or size != FPSIMD.size:
                break
            _, _, fpsr, fpcr, vectors = FPSIMD.unpack_from(raw, at)
            state = vectors + fpsr.to_bytes(4, "little") + fpcr.to_bytes(4, "little")
        elif magic != ESR_MAGIC:
            break
        at += size
    raise LinuxError(EFAULT)


def bad_frame(task: Task) -> Siginfo:
    """What rt_sigreturn(2) says about a frame that pop() refuses (arm64_notify_segfault())."""
    sp = task.vcpu.regs[SP] & _MASK
    known = task.space.vmas.find(sp) is not None
    return Siginfo(SIGSEGV, 0, SEGV_ACCERR if known else SEGV_MAPERR, addr=sp)
