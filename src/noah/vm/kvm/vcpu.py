"""A vCPU: the ways into and out of guest code, and the state that a signal or a fork carries over.

Between runs `regs` always holds the *user's* registers; `_parked` remembers where the vCPU really stands.
"""

from __future__ import annotations

import errno
import signal
import struct
from _thread import get_ident  # not threading: it has every forked child do things
from array import array
from fcntl import ioctl
from typing import TYPE_CHECKING, Final

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
    Registers,
)
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
from noah.vm.arena import PAGE
from noah.vm.kvm import exitless
from noah.vm.kvm.setup import (
    USER_CODE_SEGMENT,
    USER_DATA_SEGMENT,
    initial_sregs,
    let_syscall_lead_to,
    prepare,
    task_segment,
)

if TYPE_CHECKING:
    from noah.vm.kvm.machine import KvmMachine

# <linux/kvm.h>: _IO, _IOW, _IOR, _IOWR of type 0xAE.
_RUN: Final = 0xAE80
_GET_SREGS: Final = 0x8138AE83
_SET_SREGS: Final = 0x4138AE84
_SET_SIGNAL_MASK: Final = 0x4004AE8B
_GET_XSAVE: Final = 0x9000AEA4
_SET_XSAVE: Final = 0x5000AEA5
_GET_VCPU_EVENTS: Final = 0x8040AE9F
_EXIT_IO: Final = 2

# struct kvm_run
_IMMEDIATE_EXIT: Final = 1
_EXIT_REASON: Final = 8 // 4
_VALID_REGS: Final = 288 // 8
_DIRTY_REGS: Final = 296 // 8
_REGS: Final = 304
_SREGS_SIZE: Final = 312

# struct kvm_sregs
_CS: Final = 0
_FS_BASE: Final = 3 * 24
_GS_BASE: Final = 4 * 24
_SS: Final = 5 * 24
_TR: Final = 6 * 24
_CR2: Final = 232
_CR3: Final = 240

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

_XSAVE_INITIAL: Final = struct.pack("<H22xII", 0x37F, 0x1F80, 0xFFFF).ljust(512, b"\0") + struct.pack("<Q", 3)

_NO_REGS: Final = array("Q", [_FLAGS_FIXED if index == RFLAGS else 0 for index in range(COUNT)])

KICK_SIGNAL: Final = 63  # SIGRTMAX - 1
"""Ends KVM_RUN of another thread (Vcpu.kick); it arrives with si_code SI_TKILL from this process itself."""

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

ON_USER: Final = 0  # regs are what the vCPU has
ON_TRAP: Final = 1  # CPL 0, behind the trap's `out`: sysretq goes back
ON_FRAME: Final = 2  # CPL 0 otherwise: iretq goes back
ON_USER_CHECKED: Final = 3  # as ON_USER, where flags and rip could give the guest what is not its own


class KvmVcpu:
    """See noah.vm.api.Vcpu."""

    __slots__ = (
        "_answer",
        "_call_done",
        "_entry",
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

    def __init__(self, machine: KvmMachine, model: KvmVcpu | None = None) -> None:
        """model: one whose registers it begins with, and which the calling thread runs."""
        self._machine = machine
        self._parked: int = machine.user_state
        self._answer: Answer | None = None
        self._exitless: exitless.Exitless | None = None
        self.fault_address = self.fault_access = self.vector = self.error_code = 0
        self.fault_present = False
        self._create()
        if model is None:
            self.clear()
        else:
            model.before_fork()
            self._load(model._saved)
        machine.vcpus.append(self)

    def _create(self) -> bool:
        """Take a KVM vCPU of this process for this thread. Whether it was used before."""
        machine = self._machine
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
        self._call_done = machine.words.done if machine.words is not None else TRAP_DONE
        self._entry = TRAP_ADDRESS  # where SYSCALL leads, where it is known better than that
        self._runs = 0
        self._window_at = _WINDOW_START if machine.trap_level == ON_USER else -1
        self._window_faults = self._window_spurious = 0
        if used:
            return True
        prepare(self._fd, machine.device)
        # Signals blocked in this thread are open inside KVM_RUN, which then fails with EINTR and leaves them pending.
        ioctl(self._fd, _SET_SIGNAL_MASK, struct.pack("<IQ", 8, 0))
        return False

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
        if session is not None and session.goes_on:
            return self._run_session(session)
        if not self._runs % exitless.CHUNK and self._answer is not None:
            session = self._consider_session(self._answer)
            if session is not None:
                return self._run_session(session)
        try:
            ioctl(self._fd, _RUN, 0)
        except OSError as error:
            return self._not_run(error)
        address = regs[RIP]
        if address == self._entry or address == self._call_done or address == TRAP_DONE:
            self._parked = self._machine.trap_level
            regs[RIP] = regs[RCX]
            regs[RFLAGS] = regs[R11]
            return EXIT_SYSCALL
        return self._other_exit(address)

    def _consider_session(self, answer: Answer) -> exitless.Exitless | None:
        """CHUNK runs have passed: what a session needs, if one shall begin. Many processes end before they need it."""
        if self._exitless is None:
            if len(exitless.processors()) < 2 or self._number >= exitless.COUNT:
                return None
            self._exitless = exitless.Exitless(self._machine, self._number, answer)
            self._entry = exitless.stub_address(self._number)
            let_syscall_lead_to(self._fd, self._entry)
        return self._exitless if self._exitless.consider() else None

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
        regs, words = self.regs, self._machine.words
        posted = False
        if words is not None and words.holds(regs[RIP]):
            words.unwind(regs)
        else:
            posted = exitless.unwind(regs, self._machine.arena)
        regs[RIP] = regs[RCX]
        regs[RFLAGS] = regs[R11]
        self._parked = ON_USER
        if posted and self._exitless is not None and self._exitless.is_answered():
            regs[RAX] = self._exitless.result
            return EXIT_INTERRUPTED
        return EXIT_SYSCALL

    def _in_words(self, rip: int) -> bool:
        words = self._machine.words
        return words is not None and words.holds(rip)

    def _in_call(self, rip: int) -> bool:
        """Whether a vCPU that stands there is in a SYSCALL that has not been answered by an exit."""
        return self._machine.trap_level == ON_USER and (exitless.is_call(rip) or self._in_words(rip))

    def use_words(self) -> None:
        """The machine has answers within the guest now."""
        assert self._machine.words is not None
        self._call_done = self._machine.words.done

    def met_inside_call(self) -> None:
        if self._machine.words is not None:  # a run with the window open would end before the code
            self._run[_REQUEST_WINDOW] = 0
            self._window_at = self._runs + _WINDOW_PAUSE

    def answer_beside(self, answer: Answer) -> None:
        if self._machine.trap_level == ON_USER:
            self._answer = answer
        if self._exitless is not None:
            self._exitless.close()
            self._exitless = None

    @property
    def in_session(self) -> bool:
        """Whether its calls may be answered without an exit now."""
        return self._exitless is not None and self._exitless.inside

    def host_thread_changed(self) -> None:
        if self._exitless is not None and self._answer is not None:
            self.answer_beside(self._answer)

    def _leave_kernel(self) -> bool:
        """Prepare the way to the user's registers. False: they cannot be loaded, a #GP is reported."""
        regs = self.regs
        rip, flags = regs[RIP], regs[RFLAGS]
        if (
            self._parked == ON_TRAP
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
        if self._parked == ON_USER_CHECKED:
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
            if self._in_call(rip):
                return self._called()
            if rip < USER_LIMIT or rip >= _SYSTEM_END:
                self._parked = self._machine.user_state
            elif rip == SYSRET_ADDRESS and self._parked == ON_TRAP:
                regs[RIP], regs[RFLAGS] = regs[RCX], regs[R11]
            elif rip == IRET_ADDRESS and self._parked:
                self._parked = ON_FRAME
                self._load_frame(self._frame)
            else:
                return self._finish_entry()
            self._run[_IMMEDIATE_EXIT] = 0
            return EXIT_INTERRUPTED
        if error.errno == errno.EFAULT and (rip < USER_LIMIT or rip >= _SYSTEM_END):
            # The host has no page: beyond the end of a mapped file, or an mprotect() window of another thread.
            self._parked = self._machine.user_state
            return EXIT_HOST_FAULT
        if error.errno == errno.EFAULT and self._in_words(rip):
            return self._called()
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
        self._parked = ON_USER  # whatever it is: registers are the vCPU's
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
        if self._in_call(address):
            return self._called()
        if not STUBS_ADDRESS <= address < STUBS_ADDRESS + PAGE:
            if reason == _EXIT_WINDOW:
                self._parked = ON_USER
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
        self._parked = ON_FRAME
        self._load_frame(frame)
        if self._in_words(self.regs[RIP]):  # at a word that is not there: for the call itself to say
            self._called()
            self._parked = ON_FRAME
            return EXIT_SYSCALL
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
        device = self._machine.device
        state[512] &= device.xfeatures
        state[513:576] = bytes(63)
        return bytes(state[: device.xsave_size])

    def set_fp(self, state: bytes) -> None:
        area = bytearray((state or _XSAVE_INITIAL).ljust(4096, b"\0"))
        area[512] &= self._machine.device.xfeatures
        ioctl(self._fd, _SET_XSAVE, area)

    def clear(self) -> None:
        self._parked = self._machine.user_state
        self._set_sregs(bytearray(initial_sregs(self._number, self._machine.root)))
        self.set_fp(b"")
        self._run_words[_REGS // 8 : _REGS // 8 + COUNT] = _NO_REGS

    def before_fork(self) -> None:
        """Fetch what only the owner of the vCPU can: a forked child cannot use its parent's KVM descriptors."""
        xsave = bytearray(4096)
        ioctl(self._fd, _GET_XSAVE, xsave)
        # The registers too: the parent goes on in the very page that the child still sees.
        self._saved = self._get_sregs(), xsave, array("Q", [self.regs[index] for index in range(COUNT)])

    def after_fork(self) -> None:
        """In a forked child: the same registers on a vCPU of this process' own VM, in user mode."""
        self._create()
        self._load(self._saved)
        self._exitless = None  # it was a thread of the parent

    def start_anew(self) -> None:
        """In a forked child that shall have nothing of its parent's registers."""
        self._create()
        self._exitless = None  # it was a thread of the parent

    def adopt(self) -> None:
        self._thread = get_ident()

    def _load(self, saved: tuple[bytearray, bytearray, array[int]]) -> None:
        """Set what before_fork() saved, in user mode."""
        sregs, xsave, regs = saved
        sregs[_CS : _CS + 24] = USER_CODE_SEGMENT
        sregs[_SS : _SS + 24] = USER_DATA_SEGMENT
        sregs[_TR : _TR + 24] = task_segment(self._number)
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
