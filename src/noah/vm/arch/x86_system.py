"""The engine's own pages of an x86-64 guest: what the CPU needs to leave user mode (SDM vol. 3, ch. 3, 6 and 8).

"They lie above all guest memory, and at the start of the arena, in this order:

    64 KiB   not memory of the arena: here the host's clock pages are guest-physical memory
    GDT      segments with the selectors that Linux has
    IDT      each vector leads to its stub
    STUBS    an `out` for each vector
    TRAP     where SYSCALL leads: `out`, and the two ways back; stubs that may do without `out` (noah.vm.kvm.exitless)
    MAIL     what such a stub shares with its server
    SLOTS    512 bytes for each vCPU: its task state segment, then its exception stack

Only slots are written, by the CPU and by the engine, and the mail page: everything else can be read-only.
"""

from __future__ import annotations

import functools
import struct
from typing import Final

from noah.vm.arena import PAGE

USER_LIMIT: Final = 0x7FFF_FFE0_0000
"""Everything from here on is the engine's."""

CLOCK_SPACE: Final = 0x1_0000
FIRST: Final = CLOCK_SPACE  # where they start
_GDT: Final = FIRST
_IDT: Final = FIRST + 0x1000
STUBS: Final = FIRST + 0x2000
TRAP: Final = FIRST + 0x3000
MAIL: Final = FIRST + 0x4000
SLOTS: Final = FIRST + 0x5000
SIZE: Final = 0x20_0000  # up to the end of the user half; what no vCPU uses has no memory behind it
SLOT_SIZE: Final = 512
SLOT_COUNT: Final = (SIZE - SLOTS) // SLOT_SIZE

# Selectors as Linux has them (arch/x86/include/asm/segment.h).
KERNEL_CS: Final = 0x10
USER_DS: Final = 0x2B
USER_CS: Final = 0x33
TSS_SELECTOR: Final = 0x40
STAR: Final = 0x0023_0010_0000_0000
FMASK: Final = 0x47500  # flags that SYSCALL clears: TF DF IOPL NT AC, as Linux; IF stays as it is: see noah.vm.kvm.vcpu

GDT_ADDRESS: Final = USER_LIMIT + _GDT
GDT_LIMIT: Final = 16 * 8 - 1
IDT_ADDRESS: Final = USER_LIMIT + _IDT
IDT_LIMIT: Final = 256 * 16 - 1
STUBS_ADDRESS: Final = USER_LIMIT + STUBS
TRAP_ADDRESS: Final = USER_LIMIT + TRAP
TRAP_DONE: Final = TRAP_ADDRESS + 2
MAIL_ADDRESS: Final = USER_LIMIT + MAIL
SYSRET_ADDRESS: Final = TRAP_ADDRESS + 2
IRET_ADDRESS: Final = TRAP_ADDRESS + 8

PORT: Final = 0x80
_TSS_SIZE: Final = 0x68
TSS_LIMIT: Final = _TSS_SIZE + (PORT >> 3) + 1  # the bitmap's byte for the port, and one more (SDM vol. 1, 19.5.2)

FRAME_SIZE: Final = 40  # rip, cs, rflags, rsp, ss
VECTORS_WITH_ERROR_CODE: Final = frozenset((8, 10, 11, 12, 13, 14, 17, 21, 29, 30))

_OUT: Final = bytes((0xE6, PORT))  # out %al,$port
_SYSRETQ: Final = b"\x48\x0f\x07"
_IRETQ: Final = b"\x48\xcf"


@functools.cache
def tables() -> bytes:
    """Everything from FIRST up to the slots. Each program starts with them anew."""
    area = bytearray(SLOTS)
    gdt = {
        1: 0x00CF9B000000FFFF,
        2: 0x00AF9B000000FFFF,  # kernel code, data
        3: 0x00CF93000000FFFF,
        5: 0x00CFF3000000FFFF,  # user data, 64-bit code; there is no 32-bit code
        6: 0x00AFFB000000FFFF,
        15: 0x0000F50000000000,  # its limit tells CPU and node to the vDSO's getcpu(): 0 (GDT_ENTRY_CPUNODE)
    }
    for index, descriptor in gdt.items():
        struct.pack_into("<Q", area, _GDT + index * 8, descriptor)
    for vector in range(256):
        stub = STUBS_ADDRESS + vector * 16
        area[STUBS + vector * 16 : STUBS + vector * 16 + 2] = _OUT
        dpl = 3 if vector in (3, 4) else 0  # int3 and into are the user's to raise
        gate = (stub & 0xFFFF) | KERNEL_CS << 16 | (0x8E | dpl << 5) << 40 | (stub >> 16 & 0xFFFF) << 48
        struct.pack_into("<QQ", area, _IDT + vector * 16, gate, stub >> 32)
    area[TRAP : TRAP + 5] = _OUT + _SYSRETQ
    area[TRAP + 8 : TRAP + 10] = _IRETQ
    return bytes(area[FIRST:])


@functools.cache
def slot(number: int, *, user_port: bool) -> bytes:
    """A vCPU's task state segment and its empty stack. user_port: user code may use PORT (never any other)."""
    area = bytearray(SLOT_SIZE)
    struct.pack_into("<Q", area, 4, stack_top(number))  # RSP0
    struct.pack_into("<H", area, 0x66, _TSS_SIZE)  # where the I/O bitmap is
    bitmap = bytearray(b"\xff" * (TSS_LIMIT + 1 - _TSS_SIZE))
    if user_port:
        bitmap[PORT >> 3] &= ~(1 << (PORT & 7))
    area[_TSS_SIZE : _TSS_SIZE + len(bitmap)] = bitmap
    return bytes(area)


def slot_address(number: int) -> int:
    return USER_LIMIT + SLOTS + number * SLOT_SIZE


def stack_top(number: int) -> int:
    """Where the stack of a vCPU starts (16-byte aligned, as the CPU would make it)."""
    return slot_address(number) + SLOT_SIZE


def slot_page(number: int) -> int:
    """Offset of the page that holds a slot, from USER_LIMIT and from the start of the arena."""
    return (SLOTS + number * SLOT_SIZE) & -PAGE
