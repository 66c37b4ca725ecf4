"""The price of one exit from the guest as a Python program sees it: the least that any answered call costs.

    bench/bare_exit.py [--engine kvm|emulator] [--exits N] [--json]

The guest executes `syscall` in a loop; each one is answered with a constant and nothing else. Standalone on purpose:
what Noah takes above this figure is Noah's own. KVM: the system call's entry (LSTAR) is a page that holds
`out %al, $0x80`, which ends KVM_RUN with KVM_EXIT_IO; registers are read and written through the synchronised area of
struct kvm_run (Documentation/virt/kvm/api.rst, KVM_CAP_SYNC_REGS). There are two kinds of KVM: on hardware the entry
runs in ring 0 and returns by `sysretq`; a software KVM may leave the guest in ring 3, and the host returns for it.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import mmap
import os
import statistics
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

USER_CODE: Final = 0x100000
USER_LOOP: Final = bytes.fromhex("b827000000 0f05 ebf7")  # 1: mov $39, %eax; syscall; jmp 1b
PARTS: Final = 5  # the figure is the median of that many parts

# <linux/kvm.h>
KVM_CREATE_VM: Final = 0xAE01
KVM_GET_VCPU_MMAP_SIZE: Final = 0xAE04
KVM_GET_SUPPORTED_CPUID: Final = 0xC008AE05
KVM_CREATE_VCPU: Final = 0xAE41
KVM_SET_USER_MEMORY_REGION: Final = 0x4020AE46
KVM_RUN: Final = 0xAE80
KVM_SET_REGS: Final = 0x4090AE82
KVM_GET_SREGS: Final = 0x8138AE83
KVM_SET_SREGS: Final = 0x4138AE84
KVM_SET_MSRS: Final = 0x4008AE89
KVM_SET_CPUID2: Final = 0x4008AE90
KVM_EXIT_IO: Final = 2

MEMORY_SIZE: Final = 2 << 20
PML4, PDPT, PAGE_DIRECTORY, GDT, TRAP_PAGE = 0x1000, 0x2000, 0x3000, 0x5000, 0x8000
KERNEL_CODE, USER_CODE32, USER_DATA, USER_CODE64 = 0x10, 0x23, 0x2B, 0x33
DESCRIPTORS: Final = (  # what the selectors above name: null, unused, kernel code and data, user code 32, data, code 64
    *(0, 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF),
    *(0x00CFFB000000FFFF, 0x00CFF3000000FFFF, 0x00AFFB000000FFFF),
)
IOPL_3: Final = 0x3000  # so that the trap page's `out` is allowed in ring 3, too


def segment(selector: int, kind: int, dpl: int, *, long_mode: bool) -> bytes:
    """struct kvm_segment of a flat code (11) or data (3) segment."""
    return struct.pack("<QIH10B", 0, 0xFFFFFFFF, selector, kind, 1, dpl, not long_mode, 1, long_mode, 1, 0, 0, 0)


def start_kvm() -> Callable[[int], None]:
    """Make a VM whose guest loops; the answer runs it for that many exits. Raises OSError where KVM does not work."""
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    vm = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    memory = mmap.mmap(-1, MEMORY_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, KVM_SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, MEMORY_SIZE, address))
    vcpu = fcntl.ioctl(vm, KVM_CREATE_VCPU, 0)
    run = memoryview(mmap.mmap(vcpu, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0)))

    cpuid = bytearray(8 + 40 * 200)
    struct.pack_into("<I", cpuid, 0, 200)
    fcntl.ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid)
    fcntl.ioctl(vcpu, KVM_SET_CPUID2, cpuid)

    # One user-accessible 2 MiB page, guest-virtual = guest-physical.
    struct.pack_into("<Q", memory, PML4, PDPT | 7)
    struct.pack_into("<Q", memory, PDPT, PAGE_DIRECTORY | 7)
    struct.pack_into("<Q", memory, PAGE_DIRECTORY, 0x87)
    struct.pack_into(f"<{len(DESCRIPTORS)}Q", memory, GDT, *DESCRIPTORS)
    memory[TRAP_PAGE : TRAP_PAGE + 5] = bytes.fromhex("e680 480f07")  # out %al, $0x80; sysretq
    memory[USER_CODE : USER_CODE + len(USER_LOOP)] = USER_LOOP

    sregs = bytearray(312)
    fcntl.ioctl(vcpu, KVM_GET_SREGS, sregs)
    sregs[0:24] = segment(USER_CODE64, 11, 3, long_mode=True)
    for index in range(1, 6):  # ds es fs gs ss
        sregs[24 * index : 24 * index + 24] = segment(USER_DATA, 3, 3, long_mode=False)
    struct.pack_into("<QH", sregs, 24 * 8, GDT, 8 * len(DESCRIPTORS) - 1)
    # cr0: PG AM WP NE ET MP PE; cr4: PAE OSFXSR OSXMMEXCPT; efer: LMA LME SCE
    struct.pack_into("<6Q", sregs, 24 * 8 + 32, 0x80050033, 0, PML4, 0x620, 0, 0x501)
    fcntl.ioctl(vcpu, KVM_SET_SREGS, sregs)
    msrs = ((0xC0000081, USER_CODE32 << 48 | KERNEL_CODE << 32), (0xC0000082, TRAP_PAGE), (0xC0000084, 0))
    packed = b"".join(struct.pack("<IIQ", index, 0, value) for index, value in msrs)  # STAR, LSTAR, SFMASK
    fcntl.ioctl(vcpu, KVM_SET_MSRS, struct.pack("<II", len(msrs), 0) + packed)
    registers = [0] * 18
    registers[6], registers[16], registers[17] = MEMORY_SIZE - 16, USER_CODE, 2 | IOPL_3  # rsp, rip, rflags
    fcntl.ioctl(vcpu, KVM_SET_REGS, struct.pack("<18Q", *registers))

    words, halves = run.cast("Q"), run.cast("I")
    words[288 // 8] = 3  # kvm_valid_regs: general and special registers come with each exit
    dirty = 296 // 8
    regs = words[304 // 8 : 304 // 8 + 18]
    fcntl.ioctl(vcpu, KVM_RUN, 0)
    if halves[2] != KVM_EXIT_IO:
        raise OSError(0, f"the trap page ended with exit reason {halves[2]}")
    (code_selector,) = struct.unpack_from("<H", run, 304 + 144 + 12)
    return_by_host = code_selector & 3 == 3
    words[288 // 8] = 1
    rax, rcx, r11, rip, rflags = 0, 2, 11, 16, 17

    def answer(exits: int, _alive: object = memory) -> None:
        ioctl = fcntl.ioctl
        for _ in range(exits):
            regs[rax] = 1
            if return_by_host:
                regs[rip] = regs[rcx]
                regs[rflags] = regs[r11]
            words[dirty] = 1
            ioctl(vcpu, KVM_RUN, 0)
            if halves[2] != KVM_EXIT_IO:
                raise OSError(0, f"exit reason {halves[2]}")

    return answer


def start_emulator() -> Callable[[int], None]:
    """The same loop in Unicorn, stopped and started again at each system call."""
    import unicorn  # here, for a machine that has KVM alone need not have it
    from unicorn import x86_const

    machine = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    machine.mem_map(0, MEMORY_SIZE)
    machine.mem_write(USER_CODE, USER_LOOP)
    machine.hook_add(unicorn.UC_HOOK_INSN, lambda uc, _: uc.emu_stop(), None, 1, 0, x86_const.UC_X86_INS_SYSCALL)
    machine.reg_write(x86_const.UC_X86_REG_RIP, USER_CODE)

    def answer(exits: int) -> None:
        rip, rax = x86_const.UC_X86_REG_RIP, x86_const.UC_X86_REG_RAX
        for _ in range(exits):
            machine.emu_start(machine.reg_read(rip), 0)
            machine.reg_write(rax, 1)

    return answer


STARTS: Final = {"kvm": start_kvm, "emulator": start_emulator}


def measure(engine: str, exits: int) -> float:
    """Microseconds of one exit. Raises OSError or ImportError where the engine does not work."""
    answer = STARTS[engine]()
    answer(exits // 10)
    parts = []
    for _ in range(PARTS):
        start = time.perf_counter()
        answer(exits // PARTS)
        parts.append((time.perf_counter() - start) * 1e6 / (exits // PARTS))
    return statistics.median(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description="The price of one exit from the guest, in a minimal Python loop.")
    parser.add_argument("--engine", choices=sorted(STARTS), default="kvm")
    parser.add_argument("--exits", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        price = measure(options.engine, options.exits)
    except (ImportError, OSError) as error:
        print(f"bare_exit: {options.engine}: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"engine": options.engine, "us": round(price, 2)}) if options.json else f"{price:.2f} us an exit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
