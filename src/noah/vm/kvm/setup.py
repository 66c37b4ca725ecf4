"""What a vCPU is given before its first run: CPUID, MSRs, segments, control registers."""

from __future__ import annotations

import functools
import struct
from array import array
from fcntl import ioctl
from typing import Final

from noah.vm.arch import x86_system
from noah.vm.arch.x86_system import TRAP_ADDRESS, USER_CS, USER_DS
from noah.vm.kvm.device import Device

# <linux/kvm.h>: _IOW of type 0xAE.
_SET_MSRS: Final = 0x4008AE89
_SET_CPUID2: Final = 0x4008AE90
_SET_XCRS: Final = 0x4188AEA7
_SET_DEVICE_ATTR: Final = 0x4018AEE1
_TSC_CTRL: Final = 0  # KVM_VCPU_TSC_CTRL, its attribute KVM_VCPU_TSC_OFFSET is 0 as well

_STAR: Final = 0xC0000081
_LSTAR: Final = 0xC0000082
_FMASK: Final = 0xC0000084
_MSRS: Final = struct.pack(
    "<II" + 3 * "IIQ", 3, 0, _STAR, 0, x86_system.STAR, _LSTAR, 0, TRAP_ADDRESS, _FMASK, 0, x86_system.FMASK
)
_OFFSET: Final = array("Q", [0])
_TSC_OFFSET: Final = struct.pack("<IIQQ", 0, _TSC_CTRL, 0, _OFFSET.buffer_info()[0])


def _segment(selector: int, kind: int, dpl: int, default_big: int, long_mode: int) -> bytes:
    return struct.pack("<QIHBBBBBBBBBB", 0, 0xFFFFFFFF, selector, kind, 1, dpl, default_big, 1, long_mode, 1, 0, 0, 0)


USER_CODE_SEGMENT: Final = _segment(USER_CS, 11, 3, 0, 1)
USER_DATA_SEGMENT: Final = _segment(USER_DS, 3, 3, 1, 0)


@functools.cache
def task_segment(number: int) -> bytes:
    """The TSS of the vCPU with this number."""
    address = x86_system.slot_address(number)
    return struct.pack("<QIHBBBBBBBBBB", address, x86_system.TSS_LIMIT, x86_system.TSS_SELECTOR, 11, 1, *([0] * 8))


def prepare(fd: int, device: Device) -> None:
    """Let a new vCPU be what guests expect of a processor. fd: its descriptor."""
    ioctl(fd, _SET_CPUID2, device.cpuid)
    ioctl(fd, _SET_MSRS, _MSRS)
    ioctl(fd, _SET_XCRS, device.xcrs)
    # Guests see the host's time stamp counter, where KVM would else start them at 0 (a software KVM has no offset).
    try:
        ioctl(fd, _SET_DEVICE_ATTR, _TSC_OFFSET)
    except OSError:
        pass  # the self-test of the clock pages decides


def let_syscall_lead_to(fd: int, address: int) -> None:
    """Instead of the beginning of the trap page. fd: the vCPU's descriptor."""
    ioctl(fd, _SET_MSRS, struct.pack("<IIIIQ", 1, 0, _LSTAR, 0, address))


def initial_sregs(number: int, root: int) -> bytes:
    """struct kvm_sregs in user mode. root: where the page tables are, guest-physical."""
    sregs = USER_CODE_SEGMENT + USER_DATA_SEGMENT * 5 + task_segment(number) + bytes(24)
    sregs += struct.pack("<QH6x", x86_system.GDT_ADDRESS, x86_system.GDT_LIMIT)
    sregs += struct.pack("<QH6x", x86_system.IDT_ADDRESS, x86_system.IDT_LIMIT)
    cr0 = 0x80050033  # PG AM WP NE ET MP PE
    cr4 = 0x10620 | 1 << 18  # PAE OSFXSR OSXMMEXCPT FSGSBASE OSXSAVE
    efer = 0xD01  # NXE LMA LME SCE
    sregs += struct.pack("<QQQQQQQ", cr0, 0, root, cr4, 0, efer, 0xFEE00900) + bytes(32)
    return sregs
