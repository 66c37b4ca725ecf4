"""The KVM engine: guest user code at native speed, in pure Python.

A guest has no kernel. SYSCALL enters a two-byte trap page (`out`), every exception a stub that does the same; both end
KVM_RUN. Two kinds of KVM are told apart by the privilege level found in the first trap:

- *hardware* (VMX, SVM): SYSCALL switches to CPL 0; the way back is `sysretq`, or `iretq` when more than the result
  changed (signals, exceptions).
- *user-level* (a software KVM that emulates ring 0): SYSCALL reaches the trap page without leaving CPL 3. The trap page
  is therefore accessible to user code and the TSS allows its one port; the way back is set from here.

Everything else of the engine in the guest (noah.vm.arch.x86_system) is out of user code's reach on both.

Between runs `regs` always holds the *user's* registers; `_parked` remembers where the vCPU really stands.

Removing a permission: shadow page tables and TLBs see an edit only once the host invalidates the backing page, which
Arena.invalidate() and Arena.free() do for all vCPUs at once (see docs/decisions/0002-invalidation.md).
"""

from __future__ import annotations

import errno
import mmap as hostmmap
import os
import signal
import struct
import sys
import time
from _thread import allocate_lock, get_ident  # not threading: it has every forked child do things
from array import array
from fcntl import ioctl
from typing import Final

from noah.vm import exitless, hostclock
from noah.vm.api import (
    EXEC,
    EXIT_CRASHED,
    EXIT_EXCEPTION,
    EXIT_FAULT,
    EXIT_HOST_FAULT,
    EXIT_INTERRUPTED,
    EXIT_SYSCALL,
    READ,
    WRITE,
    Answer,
    EngineError,
    Registers,
    Vcpu,
)
from noah.vm.arch import x86_system
from noah.vm.arch.x86_64 import (
    COUNT,
    GENERAL_PROTECTION,
    PAGE_FAULT,
    R11,
    RAX,
    RCX,
    RFLAGS,
    RIP,
    RSP,
)
from noah.vm.arch.x86_cpuid import XSAVE_SIZE, guest_table
from noah.vm.arch.x86_paging import PageTables, TableZone, flags_of, flags_removed, kernel_flags_of
from noah.vm.arch.x86_system import (
    FRAME_SIZE,
    IRET_ADDRESS,
    SLOT_SIZE,
    SLOTS,
    STUBS_ADDRESS,
    SYSRET_ADDRESS,
    TRAP_ADDRESS,
    TRAP_DONE,
    USER_CS,
    USER_DS,
    USER_LIMIT,
    VECTORS_WITH_ERROR_CODE,
)
from noah.vm.arena import PAGE, Arena

# <linux/kvm.h>: _IO, _IOW, _IOR, _IOWR of type 0xAE.
_CREATE_VM: Final = 0xAE01
_CHECK_EXTENSION: Final = 0xAE03
_GET_VCPU_MMAP_SIZE: Final = 0xAE04
_GET_SUPPORTED_CPUID: Final = 0xC008AE05
_CREATE_VCPU: Final = 0xAE41
_SET_USER_MEMORY_REGION: Final = 0x4020AE46
_RUN: Final = 0xAE80
_GET_SREGS: Final = 0x8138AE83
_SET_SREGS: Final = 0x4138AE84
_SET_MSRS: Final = 0x4008AE89
_SET_SIGNAL_MASK: Final = 0x4004AE8B
_SET_CPUID2: Final = 0x4008AE90
_GET_XSAVE: Final = 0x9000AEA4
_SET_XSAVE: Final = 0x5000AEA5
_SET_XCRS: Final = 0x4188AEA7
_GET_VCPU_EVENTS: Final = 0x8040AE9F
_CAP_SYNC_REGS: Final = 74
_EXIT_IO: Final = 2

# struct kvm_run
_IMMEDIATE_EXIT: Final = 1
_EXIT_REASON: Final = 8 // 4
_VALID_REGS: Final = 288 // 8
_DIRTY_REGS: Final = 296 // 8
_REGS: Final = 304
_SREGS: Final = _REGS + 144
_SREGS_SIZE: Final = 312

# struct kvm_sregs
_CS: Final = 0
_FS_BASE: Final = 3 * 24
_GS_BASE: Final = 4 * 24
_SS: Final = 5 * 24
_TR: Final = 6 * 24
_CR2: Final = 232
_CR3: Final = 240

_MSR_STAR: Final = 0xC0000081
_MSR_LSTAR: Final = 0xC0000082
_MSR_FMASK: Final = 0xC0000084
_FMASK: Final = 0x47500  # TF DF IOPL NT AC, as Linux; IF stays as it is: see _REQUEST_WINDOW

# Page faults (SDM vol. 3, 4.7).
_PF_PRESENT: Final = 1
_PF_WRITE: Final = 2
_PF_FETCH: Final = 16

_FLAGS_USER: Final = 0x0025_4FD5  # CF PF AF ZF SF TF DF OF NT RF AC ID: what user code may set
_FLAGS_FIXED: Final = 0x202
# Flags that user code may not have, and two that sysretq does not restore as iretq does: RF is lost, TF traps too soon.
_FLAGS_NOT_SYSRET: Final = ((1 << 64) - 1) & ~(_FLAGS_USER | _FLAGS_FIXED) | 0x10100
_FLAGS_KERNEL: Final = 2  # for iretq itself: neither TF nor NT may be set
_SYSTEM_END: Final = TRAP_ADDRESS + PAGE

_XSAVE_INITIAL: Final = (struct.pack("<H22xII", 0x37F, 0x1F80, 0xFFFF).ljust(512, b"\0") + struct.pack("<Q", 3)).ljust(
    XSAVE_SIZE, b"\0"
)

KICK_SIGNAL: Final = 63  # SIGRTMAX - 1
"""Ends KVM_RUN of another thread (Vcpu.kick); it arrives with si_code SI_TKILL from this process itself."""

_CHUNK: Final = 64 << 20  # one memory slot
_TABLE_ZONE: Final = 30 << 20  # for page tables, in the first slot
_EAGER_LIMIT: Final = 256 << 20  # larger mappings get their page tables when they are touched
_CPUID_ENTRIES: Final = 200
_NESTED_PAGING: Final = ("/sys/module/kvm_intel/parameters/ept", "/sys/module/kvm_amd/parameters/npt")

_CLOCK_SLOT: Final = 20_000  # and their first slot
_READ_ONLY_SLOT: Final = 2
_CLOCK_TOLERANCE: Final = 50_000_000  # ns; the self-test may be interrupted
_SET_DEVICE_ATTR: Final = 0x4018AEE1
_TSC_CTRL: Final = 0  # KVM_VCPU_TSC_CTRL, its attribute KVM_VCPU_TSC_OFFSET is 0 as well

# A software KVM that runs SYSCALL at CPL 3 looks for "may I inject an interrupt" when the guest is about to enter the
# trap page, before `out` costs it an emulation: a run with request_interrupt_window set ends there, a quarter sooner.
# But then whatever else it handles inside (filling shadow pages) ends the run too. So the request is made once a
# program has run for a while, and withdrawn when too many runs end for nothing.
_REQUEST_WINDOW: Final = 0  # kvm_run.request_interrupt_window
_EXIT_WINDOW: Final = 7  # KVM_EXIT_IRQ_WINDOW_OPEN
_WINDOW_START: Final = 300  # runs
_WINDOW_RATE: Final = 4  # an idle end within this many runs of the last one counts
_WINDOW_FAULTS: Final = 16
_WINDOW_PAUSE: Final = 2000

_ON_USER: Final = 0  # regs are what the vCPU has
_ON_TRAP: Final = 1  # CPL 0, behind the trap's `out`: sysretq goes back
_ON_FRAME: Final = 2  # CPL 0 otherwise: iretq goes back
_ON_USER_CHECKED: Final = 3  # as _ON_USER, where flags and rip could give the guest what is not its own


def _segment(selector: int, kind: int, dpl: int, default_big: int, long_mode: int) -> bytes:
    return struct.pack("<QIHBBBBBBBBBB", 0, 0xFFFFFFFF, selector, kind, 1, dpl, default_big, 1, long_mode, 1, 0, 0, 0)


_USER_CODE_SEGMENT: Final = _segment(USER_CS, 11, 3, 0, 1)
_USER_DATA_SEGMENT: Final = _segment(USER_DS, 3, 3, 1, 0)


def _task_segment(number: int) -> bytes:
    address = x86_system.slot_address(number)
    return struct.pack("<QIHBBBBBBBBBB", address, x86_system.TSS_LIMIT, x86_system.TSS_SELECTOR, 11, 1, *([0] * 8))


class _Device:
    """/dev/kvm, opened once a process; its answers do not change."""

    __slots__ = ("cpuid", "fd", "nested_paging", "run_size", "xfeatures")

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
        self.cpuid, self.xfeatures = guest_table(table)
        self.nested_paging = any(_says_yes(path) for path in _NESTED_PAGING)


def _says_yes(parameter: str) -> bool:
    """Whether a module is there and has a parameter switched on."""
    try:
        with open(parameter, "rb") as file:
            return file.read(1) in (b"Y", b"1")
    except OSError:
        return False


class KvmVcpu:
    """See noah.vm.api.Vcpu."""

    __slots__ = (
        "_answer",
        "_exitless",
        "_fd",
        "_frame",
        "_machine",
        "_number",
        "_parked",
        "_run",
        "_run_words",
        "_run_words32",
        "_runs",
        "_saved",
        "_thread",
        "_window_at",
        "_window_faults",
        "_window_spurious",
        "error_code",
        "fault_access",
        "fault_address",
        "fault_present",
        "regs",
        "vector",
    )

    regs: Registers

    def __init__(self, machine: KvmMachine) -> None:
        self._machine = machine
        self._parked = machine.user_state
        self._answer: Answer | None = None
        self._exitless: exitless.Exitless | None = None
        self.fault_address = self.fault_access = self.vector = self.error_code = 0
        self.fault_present = False
        used = self._create()
        self._set_sregs(self._initial_sregs())
        machine.vcpus.append(self)
        if used:
            self.set_fp(b"")
            for index in range(COUNT):
                self.regs[index] = 0
        self.regs[RFLAGS] = _FLAGS_FIXED

    def _create(self) -> bool:
        """Take a KVM vCPU of this process for this thread. Whether it was used before."""
        machine = self._machine
        device = machine.device
        self._thread = get_ident()
        self._number, self._fd, run, used = machine.take_vcpu()
        self._frame = (SLOTS + (self._number + 1) * SLOT_SIZE - FRAME_SIZE) >> 3
        self._run = run
        whole = memoryview(run)
        self._run_words = whole.cast("Q")
        self._run_words32 = whole.cast("I")
        self.regs = self._run_words[_REGS // 8 : _REGS // 8 + COUNT]
        self._run_words[_VALID_REGS] = 1
        self._run[_IMMEDIATE_EXIT] = self._run[_REQUEST_WINDOW] = 0
        self._runs = 0
        self._window_at = _WINDOW_START if machine.trap_level == _ON_USER else -1
        self._window_faults = self._window_spurious = 0
        if used:
            return True
        ioctl(self._fd, _SET_CPUID2, device.cpuid)
        msrs = ((_MSR_STAR, x86_system.STAR), (_MSR_LSTAR, TRAP_ADDRESS), (_MSR_FMASK, _FMASK))
        ioctl(
            self._fd,
            _SET_MSRS,
            struct.pack("<II", len(msrs), 0) + b"".join(struct.pack("<IIQ", i, 0, v) for i, v in msrs),
        )
        ioctl(self._fd, _SET_XCRS, struct.pack("<IIIIQ", 1, 0, 0, 0, device.xfeatures).ljust(392, b"\0"))
        # Guests see the host's time stamp counter, where KVM would else start them at 0 (a software KVM has no offset).
        offset = array("Q", [0])
        try:
            ioctl(self._fd, _SET_DEVICE_ATTR, struct.pack("<IIQQ", 0, _TSC_CTRL, 0, offset.buffer_info()[0]))
        except OSError:
            pass  # the self-test of the clock pages decides
        # Signals blocked in this thread are open inside KVM_RUN, which then fails with EINTR and leaves them pending.
        ioctl(self._fd, _SET_SIGNAL_MASK, struct.pack("<IQ", 8, 0))
        return False

    def _initial_sregs(self) -> bytearray:
        sregs = _USER_CODE_SEGMENT + _USER_DATA_SEGMENT * 5 + _task_segment(self._number) + bytes(24)
        sregs += struct.pack("<QH6x", x86_system.GDT_ADDRESS, x86_system.GDT_LIMIT)
        sregs += struct.pack("<QH6x", x86_system.IDT_ADDRESS, x86_system.IDT_LIMIT)
        cr0 = 0x80050033  # PG AM WP NE ET MP PE
        cr4 = 0x10620 | 1 << 18  # PAE OSFXSR OSXMMEXCPT FSGSBASE OSXSAVE
        efer = 0xD01  # NXE LMA LME SCE
        sregs += struct.pack("<QQQQQQQ", cr0, 0, self._machine.root, cr4, 0, efer, 0xFEE00900) + bytes(32)
        return bytearray(sregs)

    def _get_sregs(self) -> bytearray:
        sregs = bytearray(_SREGS_SIZE)
        ioctl(self._fd, _GET_SREGS, sregs)
        return sregs

    def _set_sregs(self, sregs: bytearray) -> None:
        # Whatever else is loaded: the page tables are those of the program that runs now.
        sregs[_CR3 : _CR3 + 8] = self._machine.root.to_bytes(8, "little")
        ioctl(self._fd, _SET_SREGS, sregs)

    def follow_root(self) -> None:
        """Use the page tables that the machine has now."""
        self._set_sregs(self._get_sregs())

    # -- running

    def run(self) -> int:
        regs = self.regs
        self._runs += 1
        if self._runs == self._window_at:
            self._run[_REQUEST_WINDOW] = 1
        if self._parked and not self._leave_kernel():
            return EXIT_EXCEPTION
        self._run_words[_DIRTY_REGS] = 1
        session = self._exitless
        if session is not None and (session.goes_on or (not self._runs % exitless.CHUNK and session.consider())):
            return self._run_session(session)
        try:
            ioctl(self._fd, _RUN, 0)
        except OSError as error:
            return self._not_run(error)
        address = regs[RIP]
        if address == TRAP_ADDRESS or address == TRAP_DONE:
            self._parked = self._machine.trap_level
            regs[RIP] = regs[RCX]
            regs[RFLAGS] = regs[R11]
            return EXIT_SYSCALL
        return self._other_exit(address)

    def _run_session(self, session: exitless.Exitless) -> int:
        """A run in which calls are answered without an exit."""
        window, self._run[_REQUEST_WINDOW] = self._run[_REQUEST_WINDOW], 0
        failed = None
        session.begin()
        try:
            ioctl(self._fd, _RUN, 0)
        except OSError as error:
            failed = error
        session.end()
        self._run[_REQUEST_WINDOW] = window
        if failed is not None:
            return self._not_run(failed)
        return self._other_exit(self.regs[RIP])

    def _called(self) -> int:
        """A SYSCALL has led to the trap page, and maybe to an answer."""
        regs = self.regs
        posted = exitless.unwind(regs, self._machine.arena)
        regs[RIP] = regs[RCX]
        regs[RFLAGS] = regs[R11]
        self._parked = _ON_USER
        if posted and self._exitless is not None and self._exitless.is_answered():
            regs[RAX] = self._exitless.result
            return EXIT_INTERRUPTED
        return EXIT_SYSCALL

    def answer_beside(self, answer: Answer) -> None:
        self._answer = answer
        if self._exitless is not None:
            self._exitless.close()
        if sys.platform == "linux" and self._machine.trap_level == _ON_USER and len(os.sched_getaffinity(0)) > 1:
            self._exitless = exitless.Exitless(self._machine, answer)

    def end_session(self) -> None:
        """There will be a second vCPU."""
        if self._exitless is not None:
            self._exitless.goes_on = False

    def host_thread_changed(self) -> None:
        if self._exitless is not None and self._answer is not None:
            self.answer_beside(self._answer)

    def _leave_kernel(self) -> bool:
        """Prepare the way to the user's registers. False: they cannot be loaded, a #GP is reported."""
        regs = self.regs
        rip, flags = regs[RIP], regs[RFLAGS]
        if (
            self._parked == _ON_TRAP
            and rip == regs[RCX]
            and flags == regs[R11]
            and rip < USER_LIMIT  # a #GP of sysretq comes at CPL 0, on the user's stack
            and not flags & _FLAGS_NOT_SYSRET
        ):
            regs[RIP] = SYSRET_ADDRESS
            return True
        if rip + 0x8000_0000_0000 & 0xFFFF_0000_0000_0000:
            self.vector, self.error_code = GENERAL_PROTECTION, 0
            return False
        flags = flags & _FLAGS_USER | _FLAGS_FIXED
        if self._parked == _ON_USER_CHECKED:
            regs[RFLAGS] = flags
            return True
        words, frame = self._machine.arena.words, self._frame
        words[frame] = rip
        words[frame + 1] = USER_CS
        words[frame + 2] = flags
        words[frame + 3] = regs[RSP]
        words[frame + 4] = USER_DS
        regs[RIP] = IRET_ADDRESS
        regs[RFLAGS] = _FLAGS_KERNEL
        regs[RSP] = USER_LIMIT + frame * 8
        return True

    def _not_run(self, error: OSError) -> int:
        """KVM_RUN failed: a signal, or memory that the host could not provide."""
        regs = self.regs
        rip = regs[RIP]
        if error.errno in (errno.EINTR, errno.EAGAIN):
            if self._exception_waits():
                return self._finish_entry()
            if exitless.is_call(rip) and self._machine.trap_level == _ON_USER:
                return self._called()
            if rip < USER_LIMIT or rip >= _SYSTEM_END:
                self._parked = self._machine.user_state
            elif rip == SYSRET_ADDRESS and self._parked == _ON_TRAP:
                regs[RIP], regs[RFLAGS] = regs[RCX], regs[R11]
            elif rip == IRET_ADDRESS and self._parked:
                self._parked = _ON_FRAME
                self._load_frame(self._frame)
            else:
                return self._finish_entry()
            self._run[_IMMEDIATE_EXIT] = 0
            return EXIT_INTERRUPTED
        if error.errno == errno.EFAULT and (rip < USER_LIMIT or rip >= _SYSTEM_END):
            # The host has no page: beyond the end of a mapped file, or an mprotect() window of another thread.
            self._parked = self._machine.user_state
            return EXIT_HOST_FAULT
        return EXIT_CRASHED

    def _exception_waits(self) -> bool:
        """Whether KVM has an exception to deliver, which would else come at whatever rip the next run has."""
        events = bytearray(64)
        ioctl(self._fd, _GET_VCPU_EVENTS, events)
        return bool(events[0] or events[3] or events[8])  # exception injected, pending; interrupt (`int n`) injected

    def _finish_entry(self) -> int:
        """A signal came between the trap's or exception's entry and its `out`: let that instruction finish."""
        ioctl(self._fd, _SET_SIGNAL_MASK, struct.pack("<IQ", 8, (1 << 64) - 1))
        kicked = self._run[_IMMEDIATE_EXIT]
        self._run[_IMMEDIATE_EXIT] = 0
        self._parked = _ON_USER  # whatever it is: registers are the vCPU's
        try:
            return self.run()
        finally:
            if kicked:  # a kick in the meantime has also sent its signal, which is still pending
                self._run[_IMMEDIATE_EXIT] = 1
            ioctl(self._fd, _SET_SIGNAL_MASK, struct.pack("<IQ", 8, 0))

    def _load_frame(self, frame: int) -> None:
        words, regs = self._machine.arena.words, self.regs
        regs[RIP] = words[frame]
        regs[RFLAGS] = words[frame + 2]
        regs[RSP] = words[frame + 3]

    def _other_exit(self, address: int) -> int:
        reason = self._run_words32[_EXIT_REASON]
        if exitless.is_call(address) and self._machine.trap_level == _ON_USER:
            return self._called()
        if not STUBS_ADDRESS <= address < STUBS_ADDRESS + PAGE:
            if reason == _EXIT_WINDOW:
                self._parked = _ON_USER
                self._judge_window()
                return self.run()
            return self._refuse_port() if reason == _EXIT_IO else EXIT_CRASHED
        if reason != _EXIT_IO and reason != _EXIT_WINDOW:
            return EXIT_CRASHED
        vector = (address - STUBS_ADDRESS) >> 4
        words = self._machine.arena.words
        frame = (self.regs[RSP] - USER_LIMIT) >> 3
        if not self._frame - SLOT_SIZE // 16 <= frame <= self._frame:
            return EXIT_CRASHED
        self.error_code = 0
        if vector in VECTORS_WITH_ERROR_CODE:
            self.error_code = words[frame]
            frame += 1
        if words[frame + 1] & 3 != 3:  # the way back itself failed: the user state is where it starts
            frame = self._frame
            vector = GENERAL_PROTECTION
        self._parked = _ON_FRAME
        self._load_frame(frame)
        self.vector = vector
        if vector != PAGE_FAULT:
            return EXIT_EXCEPTION
        sregs = self._get_sregs()
        code = self.error_code
        self.fault_address = struct.unpack_from("<Q", sregs, _CR2)[0]
        self.fault_access = EXEC if code & _PF_FETCH else WRITE if code & _PF_WRITE else READ
        self.fault_present = bool(code & _PF_PRESENT) and self.fault_address < USER_LIMIT
        return EXIT_FAULT

    def _refuse_port(self) -> int:
        """The guest itself used the trap's port, which KVM allowed: a #GP for it, as any other port gives."""
        regs = self.regs
        saved = array("Q", [regs[index] for index in range(COUNT)])
        # KVM ends an `in` at the start of the next run, and changes registers then: let it do that now.
        kicked = self._run[_IMMEDIATE_EXIT]
        self._run[_IMMEDIATE_EXIT] = 1
        try:
            ioctl(self._fd, _RUN, 0)
        except OSError as error:
            if error.errno != errno.EINTR:
                return EXIT_CRASHED
        else:
            return EXIT_CRASHED  # `rep ins` with more to come
        finally:
            self._run[_IMMEDIATE_EXIT] = kicked
        for index in range(COUNT):
            regs[index] = saved[index]
        self.vector, self.error_code = GENERAL_PROTECTION, 0
        self._parked = self._machine.user_state
        return EXIT_EXCEPTION

    def _judge_window(self) -> None:
        """The open window ended a run for nothing: give it up for a while when that happens too often."""
        if self._runs - self._window_spurious < _WINDOW_RATE:
            self._window_faults += 1
            if self._window_faults > _WINDOW_FAULTS:
                self._run[_REQUEST_WINDOW] = 0
                self._window_at = self._runs + _WINDOW_PAUSE
                self._window_faults = 0
        else:
            self._window_faults = 0
        self._window_spurious = self._runs

    def kick(self) -> None:
        self._run[_IMMEDIATE_EXIT] = 1
        if self._thread != get_ident():
            signal.pthread_kill(self._thread, KICK_SIGNAL)

    # -- state that is not in regs

    def privilege_level(self) -> int:
        """Where the vCPU stands now, whatever regs show (SDM vol. 3, 5.5)."""
        return self._get_sregs()[_CS + 12] & 3  # the selector's RPL

    def get_tls(self) -> int:
        return int.from_bytes(self._get_sregs()[_FS_BASE : _FS_BASE + 8], "little")

    def set_tls(self, value: int) -> None:
        self._set_base(_FS_BASE, value)

    def get_gs(self) -> int:
        return int.from_bytes(self._get_sregs()[_GS_BASE : _GS_BASE + 8], "little")

    def set_gs(self, value: int) -> None:
        self._set_base(_GS_BASE, value)

    def _set_base(self, where: int, value: int) -> None:
        sregs = self._get_sregs()
        sregs[where : where + 8] = value.to_bytes(8, "little")
        self._set_sregs(sregs)

    def get_fp(self) -> bytes:
        state = bytearray(4096)
        ioctl(self._fd, _GET_XSAVE, state)
        # KVM tells of components that XCR0 does not enable as well (PKRU): not the guest's to see.
        state[512] &= 7
        state[513:576] = bytes(63)
        return bytes(state[:XSAVE_SIZE])

    def set_fp(self, state: bytes) -> None:
        area = bytearray((state or _XSAVE_INITIAL).ljust(4096, b"\0"))
        area[512] &= self._machine.device.xfeatures
        ioctl(self._fd, _SET_XSAVE, area)

    def before_fork(self) -> None:
        """Fetch what only the owner of the vCPU can: a forked child cannot use its parent's KVM descriptors."""
        xsave = bytearray(4096)
        ioctl(self._fd, _GET_XSAVE, xsave)
        # The registers too: the parent goes on in the very page that the child still sees.
        self._saved = self._get_sregs(), xsave, array("Q", [self.regs[index] for index in range(COUNT)])

    def after_fork(self) -> None:
        """In a forked child: the same registers on a vCPU of this process' own VM, in user mode."""
        self._let_go()
        self._create()
        self._load(self._saved)
        self._exitless = None  # its server was a thread of the parent
        if self._answer is not None:
            self.answer_beside(self._answer)

    def copy_from(self, other: KvmVcpu) -> None:
        """Take over the registers of a vCPU that the calling thread runs."""
        other.before_fork()
        self._load(other._saved)

    def adopt(self) -> None:
        self._thread = get_ident()

    def _load(self, saved: tuple[bytearray, bytearray, array[int]]) -> None:
        """Set what before_fork() saved, in user mode."""
        sregs, xsave, regs = saved
        sregs[_CS : _CS + 24] = _USER_CODE_SEGMENT
        sregs[_SS : _SS + 24] = _USER_DATA_SEGMENT
        sregs[_TR : _TR + 24] = _task_segment(self._number)
        self._parked = self._machine.user_state
        self._set_sregs(sregs)
        ioctl(self._fd, _SET_XSAVE, xsave)
        self._run_words[_REGS // 8 : _REGS // 8 + COUNT] = regs

    def _let_go(self) -> None:
        # Whoever still holds `regs` keeps the page that it views; it goes with the last view.
        self.regs = [self.regs[index] for index in range(COUNT)]
        del self._run, self._run_words, self._run_words32

    def close(self) -> None:
        if self._exitless is not None:
            self._exitless.close()
        run = self._run
        self._machine.vcpus.remove(self)
        self._let_go()
        self._machine.leave_vcpu(self._number, self._fd, run)


class KvmMachine:
    """See noah.vm.api.Machine. Raises EngineError when KVM cannot be used here; the text says why."""

    __slots__ = (
        "_chunks",
        "_idle",
        "_lazy",
        "_lock",
        "_slot_pages",
        "_tables",
        "_vcpu_count",
        "_vcpu_fds",
        "_zone",
        "arch",
        "arena",
        "coherent",
        "device",
        "fsgsbase",
        "host_clock",
        "name",
        "parallel",
        "root",
        "trap_level",
        "user_limit",
        "user_state",
        "vcpus",
        "vm",
    )

    def __init__(self, arena: Arena | None = None) -> None:
        self.name = "kvm"
        self.arch = "x86_64"
        self.parallel = self.coherent = self.fsgsbase = True
        self.user_limit = USER_LIMIT
        self.device = _Device()
        self.arena = arena or Arena()
        self.trap_level = self.user_state = _ON_USER
        self.vcpus: list[KvmVcpu] = []  # those that run guest code
        self._chunks: list[int] = []
        self._lazy: list[tuple[int, int, int, int]] = []
        self.host_clock: hostclock.HostClock | None = None
        self._zone = TableZone(x86_system.SIZE, _TABLE_ZONE)
        self._open()
        self._set_up()
        self._probe()
        self._probe_clock()

    def _open(self) -> None:
        try:
            self.vm = ioctl(self.device.fd, _CREATE_VM, 0)
        except OSError as error:
            raise EngineError(f"KVM cannot make a virtual machine: {error.strerror}; use --engine emulator") from None
        self._lock = allocate_lock()
        self._vcpu_count = 0
        self._vcpu_fds: list[int] = []
        self._idle: list[tuple[int, int, hostmmap.mmap]] = []
        for slot, chunk in enumerate(self._chunks):
            self._register(slot, chunk)
        if self.host_clock is not None:
            self._register_clock(self.host_clock)

    def _set_up(self) -> None:
        """Place the system area and empty page tables in an empty arena, always at the same offsets."""
        arena = self.arena
        at = arena.alloc(x86_system.SIZE)
        assert at == 0
        at += x86_system.FIRST
        tables = x86_system.tables()
        arena.anonymous(at, len(tables))
        arena.view[at : at + len(tables)] = tables
        assert arena.alloc(_TABLE_ZONE) == x86_system.SIZE
        self._tables = PageTables(arena, self._zone, large=self.device.nested_paging)
        self.root = self._tables.root
        self._lazy.clear()
        self._tables.map(USER_LIMIT + at, x86_system.STUBS - at, at, kernel_flags_of(READ))
        self._tables.map(STUBS_ADDRESS, PAGE, x86_system.STUBS, kernel_flags_of(READ | EXEC))
        trap_flags = flags_of(READ | EXEC) if self.trap_level == _ON_USER else kernel_flags_of(READ | EXEC)
        self._tables.map(TRAP_ADDRESS, PAGE, x86_system.TRAP, trap_flags)
        if self.trap_level == _ON_USER:
            self._tables.map(x86_system.MAIL_ADDRESS, PAGE, x86_system.MAIL, flags_of(READ | WRITE))
        self._slot_pages: set[int] = set()
        for number in range(self._vcpu_count):
            self._place_slot(number)
        self._cover(0, arena.top)

    def _place_slot(self, number: int) -> None:
        """Provide the memory that a vCPU enters and leaves CPL 0 with."""
        page = x86_system.slot_page(number)
        if page not in self._slot_pages:
            self.arena.anonymous(page, PAGE)
            self._tables.map(USER_LIMIT + page, PAGE, page, kernel_flags_of(READ | WRITE))
            self._slot_pages.add(page)
        at = SLOTS + number * SLOT_SIZE
        self.arena.view[at : at + SLOT_SIZE] = x86_system.slot(number, user_port=self.trap_level == _ON_USER)

    def _register(self, slot: int, chunk: int) -> None:
        start = chunk or x86_system.CLOCK_SPACE
        size = min(chunk + _CHUNK, self.arena.size) - start
        region = struct.pack("<IIQQQ", slot, 0, start, size, self.arena.address + start)
        ioctl(self.vm, _SET_USER_MEMORY_REGION, region)

    def _cover(self, offset: int, length: int) -> None:
        """Make a part of the arena guest-physical memory."""
        for chunk in range(offset // _CHUNK * _CHUNK, offset + length, _CHUNK):
            if chunk not in self._chunks:
                self._register(len(self._chunks), chunk)
                self._chunks.append(chunk)

    def take_vcpu(self) -> tuple[int, int, hostmmap.mmap, bool]:
        """A KVM vCPU: its number, descriptor and shared memory, and whether it was used before.

        KVM never forgets one before the whole machine goes: those that ended threads leave are used again.
        """
        with self._lock:
            if self._vcpu_count:
                exitless.install(self.arena, opened=False)  # there is one mailbox
            if self._idle:
                number, fd, run = self._idle.pop()
                self._place_slot(number)
                return number, fd, run, True
            number = self._vcpu_count
            if number == x86_system.SLOT_COUNT:
                raise EngineError("KVM has no more vCPUs for this process")
            try:
                fd = ioctl(self.vm, _CREATE_VCPU, number)
            except OSError as error:  # KVM_CAP_MAX_VCPUS, RLIMIT_NOFILE
                raise EngineError(f"KVM makes no more vCPUs for this process: {error.strerror}") from None
            self._vcpu_count += 1  # also of one that cannot be used: KVM keeps it
            self._vcpu_fds.append(fd)
            try:
                run = hostmmap.mmap(fd, self.device.run_size)
            except OSError as error:
                raise EngineError(f"no room for the state of a vCPU: {error.strerror}") from None
            self._place_slot(number)
            return number, fd, run, False

    def leave_vcpu(self, number: int, fd: int, run: hostmmap.mmap) -> None:
        self._idle.append((number, fd, run))

    def _probe(self) -> None:
        """Make one system call in the guest: does the trap work, and at which privilege level does it arrive?"""
        page = self.arena.alloc(PAGE)
        self.arena.anonymous(page, PAGE)
        self.arena.view[page : page + 4] = b"\x0f\x05\x0f\x05"  # syscall; syscall
        self.map(0x10000, PAGE, page, READ | EXEC)
        vcpu = KvmVcpu(self)
        vcpu.regs[RIP] = 0x10000
        kind = vcpu.run()
        if kind != EXIT_SYSCALL or vcpu.regs[RIP] != 0x10002:
            raise EngineError("this KVM failed the self-test: a system call did not arrive; use --engine emulator")
        if vcpu.privilege_level() != 3:
            self.trap_level, self.user_state = _ON_TRAP, _ON_USER_CHECKED
        vcpu.close()
        if self.trap_level != _ON_USER:
            self._tables.map(TRAP_ADDRESS, PAGE, x86_system.TRAP, kernel_flags_of(READ | EXEC))
            self._tables.unmap(x86_system.MAIL_ADDRESS, PAGE)
            self.flush(x86_system.TRAP, 2 * PAGE)
        self.unmap(0x10000, PAGE)
        self.arena.free(page, PAGE)

    def _register_clock(self, clock: hostclock.HostClock) -> None:
        """Put the clock pages before everything else: the end of guest-physical memory depends on the host's CPU."""
        for number, (offset, host_address, length) in enumerate(clock.data):
            region = struct.pack("<IIQQQ", _CLOCK_SLOT + number, _READ_ONLY_SLOT, offset, length, host_address)
            ioctl(self.vm, _SET_USER_MEMORY_REGION, region)

    def map_host_clock(self, address: int) -> None:
        assert self.host_clock is not None
        for offset, _, length in self.host_clock.data:
            self._tables.map(address + offset, length, offset, flags_of(READ))

    def flush_host_clock(self) -> None:
        if self.host_clock is not None:
            for number in range(len(self.host_clock.data)):
                ioctl(self.vm, _SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", _CLOCK_SLOT + number, 0, 0, 0, 0))
            self._register_clock(self.host_clock)

    def _probe_clock(self) -> None:
        """Let the guest ask the host's vDSO for the time: lend it only if the answer is right."""
        clock = hostclock.find()
        function = hostclock.symbol(clock.image, b"__vdso_clock_gettime") if clock is not None else 0
        if clock is None or not function:
            return
        size = 2 * PAGE + len(clock.image)
        if clock.code_offset + size > x86_system.CLOCK_SPACE:
            return
        arena = self.arena
        try:
            self._register_clock(clock)
        except OSError:
            return
        self.host_clock = clock
        at = arena.alloc(size)
        arena.anonymous(at, size)
        base = USER_LIMIT  # translations to the clock may outlive this: never in the way of the guest's own pages
        code = base + clock.code_offset
        self.map_host_clock(base)
        self.map(code, len(clock.image), at + 2 * PAGE, READ | EXEC)
        arena.view[at + 2 * PAGE : at + size] = clock.image
        stub = code + len(clock.image)
        self.map(stub, 2 * PAGE, at, READ | WRITE | EXEC)
        result = stub + PAGE
        arena.view[at : at + 29] = (
            b"\xbf\x01\x00\x00\x00"  # mov $CLOCK_MONOTONIC,%edi
            + b"\x48\xbe"  # mov $result,%rsi
            + struct.pack("<Q", result)
            + b"\x48\xb8"  # mov $clock_gettime,%rax
            + struct.pack("<Q", code + function)
            + b"\xff\xd0\x0f\x05"  # call *%rax; syscall
        )
        vcpu = KvmVcpu(self)
        vcpu.regs[RIP], vcpu.regs[RSP] = stub, result + PAGE
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        kind = vcpu.run()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        seconds, ns = struct.unpack_from("<QQ", arena.view, at + PAGE)
        seen = seconds * 1_000_000_000 + ns
        if kind != EXIT_SYSCALL or not before - _CLOCK_TOLERANCE < seen < after + _CLOCK_TOLERANCE:
            self.host_clock = None
        vcpu.close()
        self.unmap(base, clock.size + 2 * PAGE)
        arena.free(at, size)

    def map(self, address: int, length: int, offset: int, prot: int) -> None:
        if length > _EAGER_LIMIT:
            self._lazy.append((address, address + length, offset, prot))
            return
        self._cover(offset, length)
        self._tables.map(address, length, offset, flags_of(prot))

    def fill(self, address: int) -> bool:
        for start, end, offset, prot in self._lazy:
            if start <= address < end and prot:
                if self._tables.translate(address):
                    return False
                low = max(start, address & -_CHUNK)
                high = min(end, (address & -_CHUNK) + _CHUNK)
                at = offset + low - start
                self._cover(at, high - low)
                self._tables.map(low, high - low, at, flags_of(prot))
                return True
        return False

    def _cut_lazy(self, address: int, end: int) -> None:
        """Take a range out of the large mappings."""
        kept = []
        for start, stop, offset, prot in self._lazy:
            if stop <= address or end <= start:
                kept.append((start, stop, offset, prot))
                continue
            if start < address:
                kept.append((start, address, offset, prot))
            if end < stop:
                kept.append((end, stop, offset + end - start, prot))
        self._lazy[:] = kept

    def protect(self, address: int, length: int, offset: int, prot: int) -> None:
        flags = flags_of(prot)
        if self._lazy:
            self._cut_lazy(address, address + length)
        if length > _EAGER_LIMIT:
            self._tables.unmap(address, length)
            self._lazy.append((address, address + length, offset, prot))
        else:
            old = self._tables.translate(address)
            self._cover(offset, length)
            self._tables.map(address, length, offset, flags)
            if not old or not flags_removed(old, flags):
                return
        self.flush(offset, length)

    def unmap(self, address: int, length: int) -> None:
        if self._lazy:
            self._cut_lazy(address, address + length)
        self._tables.unmap(address, length)

    def flush(self, offset: int, length: int) -> None:
        self.arena.invalidate(offset, length)

    def forget_code(self, address: int, length: int) -> None:
        """A processor sees every write."""

    def reset(self) -> None:
        self.arena.reset()
        if self._zone.is_half_used:
            # Taking a slot away makes KVM forget everything that it derived from page tables.
            ioctl(self.vm, _SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, 0, 0))
            self._register(0, self._chunks[0])
            self._zone.rewind()
        self._set_up()
        for vcpu in self.vcpus:
            vcpu.follow_root()

    def new_vcpu(self) -> KvmVcpu:
        return KvmVcpu(self)

    def clone_vcpu(self, vcpu: Vcpu) -> KvmVcpu:
        assert isinstance(vcpu, KvmVcpu)
        twin = KvmVcpu(self)
        vcpu.end_session()
        twin.copy_from(vcpu)
        return twin

    def free_vcpu(self, vcpu: Vcpu) -> None:
        vcpu.close()

    def begin_write_log(self) -> None:
        self._tables.clear_dirty()

    def written_pages(self) -> list[int]:
        return self._tables.dirty_pages()

    def before_fork(self, vcpu: Vcpu) -> None:
        assert isinstance(vcpu, KvmVcpu)
        vcpu.before_fork()

    def after_fork(self, vcpu: Vcpu) -> None:
        assert isinstance(vcpu, KvmVcpu)
        # The KVM descriptors of the parent's other threads as well.
        for fd in self._vcpu_fds:
            os.close(fd)
        os.close(self.vm)
        self._open()
        self.vcpus = [vcpu]
        vcpu.after_fork()

    def close(self) -> None:
        self.vcpus.clear()
        self._idle.clear()
        for fd in self._vcpu_fds:
            os.close(fd)
        os.close(self.vm)
        os.close(self.device.fd)
