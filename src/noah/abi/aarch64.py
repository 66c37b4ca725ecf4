"""Linux on aarch64: everything in the ABI that another architecture has otherwise. x86_64.py has the same names.

Signal frames: arch/arm64/kernel/signal.c (setup_rt_frame), the exported asm/sigcontext.h and asm/ucontext.h.
"""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Final

from noah.abi.elf import EM_AARCH64
from noah.abi.layout import Layout, char48, i32, i64, pad4, pad8, u32, u64
from noah.abi.numbers import AARCH64

NAME: Final = "aarch64"
MACHINE: Final = b"aarch64"
PLATFORM: Final = b"aarch64"
ELF_MACHINE: Final = EM_AARCH64
AUDIT_ARCH: Final = 0xC00000B7
NUMBERS: Final = AARCH64

PAGE_SIZE: Final = 4096
TASK_SIZE: Final = 1 << 48
ET_DYN_BASE: Final = TASK_SIZE * 2 // 3
CLONE_BACKWARDS: Final = True  # clone(flags, stack, parent_tid, tls, child_tid)

# AT_HWCAP (asm/hwcap.h). An engine that knows of more says more.
HWCAP_FP: Final = 1 << 0
HWCAP_ASIMD: Final = 1 << 1
HWCAP_EVTSTRM: Final = 1 << 2
HWCAP_AES: Final = 1 << 3
HWCAP_PMULL: Final = 1 << 4
HWCAP_SHA1: Final = 1 << 5
HWCAP_SHA2: Final = 1 << 6
HWCAP_CRC32: Final = 1 << 7
HWCAP_ATOMICS: Final = 1 << 8
HWCAP_CPUID: Final = 1 << 11
HWCAP: Final = HWCAP_FP | HWCAP_ASIMD
HWCAP2: Final = 0


class Stat(Layout, size=128):
    dev: u64
    ino: u64
    mode: u32
    nlink: u32
    uid: u32
    gid: u32
    rdev: u64
    _pad0: ClassVar[pad8]
    size: i64
    blksize: i32
    _pad1: ClassVar[pad4]
    blocks: i64
    atime: i64
    atime_nsec: u64
    mtime: i64
    mtime_nsec: u64
    ctime: i64
    ctime_nsec: u64
    _pad2: ClassVar[pad8]


class SemidDs(Layout, size=88):
    """struct semid64_ds; `perm` is an IpcPerm."""

    perm: char48
    otime: i64
    ctime: i64
    nsems: u64
    _unused3: ClassVar[pad8]
    _unused4: ClassVar[pad8]


class EpollEvent(Layout, size=16):
    events: u32
    _pad0: ClassVar[pad4]
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
        *(dev, ino, mode, nlink, uid, gid, rdev, size, blksize, blocks),
        *divmod(atime_ns, _NS),
        *divmod(mtime_ns, _NS),
        *divmod(ctime_ns, _NS),
    )


def open_flags(flags: int) -> int:
    """Open flags of this architecture as Noah has them inside, and back: its own inverse.

    O_DIRECTORY and O_NOFOLLOW are here where O_DIRECT and O_LARGEFILE are elsewhere, and the other way round.
    """
    return flags & ~0x3C000 | (flags & 0xC000) << 2 | (flags & 0x30000) >> 2


# Signal frame, from the stack pointer that the handler starts with:
#   0 siginfo, 128 ucontext, 4,688 frame record (x29, x30 of the interrupted code), 4,704 end.
# Everything starts at multiples of 16.
RED_ZONE: Final = 0
MINSIGSTKSZ: Final = 5120
SIGSTKSZ: Final = 16384
SIGFRAME_SIZE: Final = 4688
SIGINFO_OFFSET: Final = 0
UCONTEXT_OFFSET: Final = 128
FRAME_RECORD: Final = Struct("<QQ")

# In ucontext. UCONTEXT: uc_flags, uc_link, uc_stack's sp, flags and size.
UCONTEXT: Final = Struct("<QQQi4xQ")
UC_SIGMASK: Final = 40
UC_MCONTEXT: Final = 176

# In uc_mcontext (struct sigcontext): fault_address, x0 to x30, sp, pc, pstate. Then, at SIGCONTEXT_RECORDS, come
# records, each with magic and size, the last with both 0.
SIGCONTEXT: Final = Struct("<Q31QQQQ8x")
SIGCONTEXT_RECORDS: Final = 288
SIGCONTEXT_RECORDS_SIZE: Final = 4096
RECORD: Final = Struct("<II")
FPSIMD_MAGIC: Final = 0x46508001
FPSIMD: Final = Struct("<IIII512s")  # magic, size, fpsr, fpcr, v0 to v31
ESR_MAGIC: Final = 0x45535201
ESR: Final = Struct("<IIQ")  # magic, size, the exception's ESR_EL1: with faults only
EXTRA_MAGIC: Final = 0x45585401


def min_signal_stack(fp_size: int) -> int:
    """AT_MINSIGSTKSZ: frame, frame record and their alignment. The floating-point state has its place in the frame."""
    return SIGFRAME_SIZE + FRAME_RECORD.size + 16
