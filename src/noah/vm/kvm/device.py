"""/dev/kvm itself: what can be asked of it before there is a virtual machine."""

from __future__ import annotations

import os
import struct
from fcntl import ioctl
from typing import Final

from noah.vm.api import EngineError
from noah.vm.arch.x86_cpuid import guest_table

# <linux/kvm.h>: _IO, _IOWR of type 0xAE.
_CHECK_EXTENSION: Final = 0xAE03
_GET_VCPU_MMAP_SIZE: Final = 0xAE04
_GET_SUPPORTED_CPUID: Final = 0xC008AE05
_CAP_SYNC_REGS: Final = 74

_CPUID_ENTRIES: Final = 200
_NESTED_PAGING: Final = ("/sys/module/kvm_intel/parameters/ept", "/sys/module/kvm_amd/parameters/npt")


class Device:
    """/dev/kvm, opened once a process; its answers do not change."""

    __slots__ = ("cpuid", "fd", "nested_paging", "run_size", "xcrs", "xfeatures", "xsave_size")

    def __init__(self) -> None:
        try:
            self.fd = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise EngineError("/dev/kvm is missing: load the kvm module, or use --engine emulator") from None
        except PermissionError:
            raise EngineError("no permission for /dev/kvm: join its group, or use --engine emulator") from None
        except OSError as error:
            raise EngineError(f"/dev/kvm: {error.strerror}; use --engine emulator") from None
        if not ioctl(self.fd, _CHECK_EXTENSION, _CAP_SYNC_REGS) & 3 == 3:
            raise EngineError("this KVM cannot synchronise registers (KVM_CAP_SYNC_REGS); use --engine emulator")
        self.run_size = int(ioctl(self.fd, _GET_VCPU_MMAP_SIZE, 0))
        table = bytearray(8 + 40 * _CPUID_ENTRIES)
        struct.pack_into("<II", table, 0, _CPUID_ENTRIES, 0)
        ioctl(self.fd, _GET_SUPPORTED_CPUID, table)
        self.cpuid, self.xfeatures, self.xsave_size = guest_table(table)
        self.xcrs = struct.pack("<IIIIQ", 1, 0, 0, 0, self.xfeatures).ljust(392, b"\0")  # struct kvm_xcrs: XCR0
        self.nested_paging = any(_says_yes(path) for path in _NESTED_PAGING)


def _says_yes(parameter: str) -> bool:
    """Whether a module is there and has a parameter switched on."""
    try:
        with open(parameter, "rb") as file:
            return file.read(1) in (b"Y", b"1")
    except OSError:
        return False
