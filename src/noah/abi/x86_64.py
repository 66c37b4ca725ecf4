"""Linux on x86-64: everything in the ABI that another architecture has otherwise. aarch64.py has the same names.

Signal frames: arch/x86/kernel/signal_64.c (x64_setup_rt_frame), arch/x86/kernel/fpu/signal.c, the exported
asm/sigcontext.h and asm/ucontext.h.
"""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Final

from noah.abi.elf import EM_X86_64
from noah.abi.layout import Layout, char48, i64, pad4, pad8, u32, u64
from noah.abi.numbers import X86_64

NAME: Final = "x86_64"
MACHINE: Final = b"x86_64"  # uname(2)
PLATFORM: Final = b"x86_64"  # AT_PLATFORM
ELF_MACHINE: Final = EM_X86_64
AUDIT_ARCH: Final = 0xC000003E  # si_arch of SIGSYS, /proc/PID/syscall (linux/audit.h)
NUMBERS: Final = X86_64

PAGE_SIZE: Final = 4096
TASK_SIZE: Final = (1 << 47) - PAGE_SIZE
ET_DYN_BASE: Final = TASK_SIZE // 3 * 2  # where position-independent programs go, before randomising
CLONE_BACKWARDS: Final = False  # clone(flags, stack, parent_tid, child_tid, tls)

# AT_HWCAP is CPUID.1:EDX. These bits every x86-64 CPU has; an engine that knows more says more.
HWCAP: Final = 0x078BFBFF
HWCAP2: Final = 0
HWCAP2_FSGSBASE: Final = 2  # user mode may write FS and GS base (asm/hwcap2.h)


class Stat(Layout, size=144):
    dev: u64
    ino: u64
    nlink: u64
    mode: u32
    uid: u32
    gid: u32
    _pad0: ClassVar[pad4]
    rdev: u64
    size: i64
    blksize: i64
    blocks: i64
    atime: i64
    atime_nsec: u64
    mtime: i64
    mtime_nsec: u64
    ctime: i64
    ctime_nsec: u64
    _pad1: ClassVar[pad8]
    _pad2: ClassVar[pad8]
    _pad3: ClassVar[pad8]


class SemidDs(Layout, size=104):
    """struct semid64_ds; `perm` is an IpcPerm. Other architectures have no room between the times."""

    perm: char48
    otime: i64
    _unused1: ClassVar[pad8]
    ctime: i64
    _unused2: ClassVar[pad8]
    nsems: u64
    _unused3: ClassVar[pad8]
    _unused4: ClassVar[pad8]


class EpollEvent(Layout, size=12):
    """Packed on this architecture alone (EPOLL_PACKED in linux/eventpoll.h)."""

    events: u32
    data: u64


_NS: Final = 1_000_000_000
_pack_stat: Final = Stat.struct.pack


def pack_stat(
    dev: int,
    ino: int,
    mode: int,
    nlink: int,
    uid: int,
    gid: int,
    rdev: int,
    size: int,
    blksize: int,
    blocks: int,
    atime_ns: int,
    mtime_ns: int,
    ctime_ns: int,
) -> bytes:
    """A Stat of values in one order for all architectures; times in nanoseconds since the epoch."""
    return _pack_stat(
        *(dev, ino, nlink, mode, uid, gid, rdev, size, blksize, blocks),
        *divmod(atime_ns, _NS),
        *divmod(mtime_ns, _NS),
        *divmod(ctime_ns, _NS),
    )


def open_flags(flags: int) -> int:
    """Open flags of this architecture as Noah has them inside, and back."""
    return flags


# Signal frame, from the stack pointer that the handler starts with:
#   0 return address (sa_restorer), 8 ucontext, 312 siginfo, 440 end; the floating-point state is somewhere above.
# The frame starts at 8 below a multiple of 16, the floating-point state at a multiple of 64. The first 128 bytes below
# the interrupted stack pointer are the program's own.
RED_ZONE: Final = 128
MINSIGSTKSZ: Final = 2048  # sigaltstack(2) refuses less
SIGSTKSZ: Final = 8192
SIGFRAME_SIZE: Final = 440
UCONTEXT_OFFSET: Final = 8
SIGINFO_OFFSET: Final = 312

# In ucontext. UCONTEXT: uc_flags, uc_link, uc_stack's sp, flags and size.
UCONTEXT: Final = Struct("<QQQi4xQ")
UC_MCONTEXT: Final = 40
UC_SIGMASK: Final = 296
UC_FP_XSTATE: Final = 1  # uc_flags: fpstate is an XSAVE area, not just FXSAVE's 512 bytes
UC_SIGCONTEXT_SS: Final = 2
UC_STRICT_RESTORE_SS: Final = 4

# In uc_mcontext (struct sigcontext_64): SIGCONTEXT_REGISTERS in their order, then cs, gs, fs, ss, err, trapno, oldmask,
# cr2, the address of the floating-point state or 0.
SIGCONTEXT: Final = Struct("<18Q4H5Q64x")
SIGCONTEXT_REGISTERS: Final = (
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
    *("rdi", "rsi", "rbp", "rbx", "rdx", "rax", "rcx", "rsp", "rip", "rflags"),
)
USER_CS: Final = 0x33  # __USER_CS, __USER_DS (asm/segment.h)
USER_DS: Final = 0x2B

# The floating-point state is an XSAVE area in standard format. In it, at FPX_SW_BYTES, the kernel writes: magic1,
# extended_size (with magic2), xfeatures, xstate_size; behind it, at xstate_size, magic2.
FPX_SW_BYTES_OFFSET: Final = 464
FPX_SW_BYTES: Final = Struct("<IIQI28x")
FP_XSTATE_MAGIC1: Final = 0x46505853
FP_XSTATE_MAGIC2: Final = 0x46505845
FP_XSTATE_MAGIC2_SIZE: Final = 4
FXSAVE_SIZE: Final = 512
XSTATE_BV_OFFSET: Final = 512  # the XSAVE header: which features the area holds
FP_ALIGN: Final = 64


def min_signal_stack(fp_size: int) -> int:
    """AT_MINSIGSTKSZ: bytes that a frame with an XSAVE area of fp_size may take, the alignments at their worst."""
    return SIGFRAME_SIZE + 15 + FP_ALIGN - 1 + fp_size + FP_XSTATE_MAGIC2_SIZE + 15 & ~15
