"""Signals of a process: queueing, ignoring, delivery, restarts, frames. The differential tests compare with Linux."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from noah.abi.errno import (
    EAGAIN,
    EINTR,
    EINVAL,
    ENOMEM,
    EPERM,
    ERESTART_RESTARTBLOCK,
    ERESTARTNOHAND,
    ERESTARTNOINTR,
    ERESTARTSYS,
    ESRCH,
    LinuxError,
)
from noah.abi.siginfo import SiginfoKill, SiginfoRt
from noah.abi.signal import (
    CLD_EXITED,
    CLD_STOPPED,
    SA_NOCLDSTOP,
    SA_NOCLDWAIT,
    SA_NODEFER,
    SA_ONSTACK,
    SA_RESETHAND,
    SA_RESTART,
    SA_RESTORER,
    SA_SIGINFO,
    SEGV_MAPERR,
    SI_KERNEL,
    SI_QUEUE,
    SI_TKILL,
    SI_USER,
    SIG_DFL,
    SIG_IGN,
    SIGCHLD,
    SIGCONT,
    SIGFPE,
    SIGHUP,
    SIGSEGV,
    SIGSTOP,
    SIGTERM,
    SIGTSTP,
    SIGURG,
    SIGUSR1,
    SIGUSR2,
    SS_AUTODISARM,
    SS_ONSTACK,
    bit,
)
from noah.abi.structs import SigactionKernel, StackT
from noah.host.values import Siginfo
from noah.kernel import altstack
from noah.kernel.control import NoReturn, ProcessExit
from noah.syscalls import signal as calls
from noah.vm.arch import aarch64
from noah.vm.arch.x86_64 import RAX, RDI, RDX, RFLAGS, RIP, RSI, RSP

from .conftest import CHILD_PID, OWN_PID, STACK, STRANGER, StandInHost

if TYPE_CHECKING:
    from noah.kernel.task import Task

HANDLER = 0x40_1000
RESTORER = 0x40_2000
DATA = STACK + 0x100
MINUS_EINTR = (1 << 64) - EINTR


def handle(task: Task, signo: int, flags: int = 0, mask: int = 0, handler: int = HANDLER) -> None:
    task.process.signals.set_action(task, signo, (handler, flags | SA_RESTORER, RESTORER, mask))


def errno_of(call: object, *arguments: object) -> int:
    with pytest.raises(LinuxError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.errno


def sigreturn(task: Task) -> None:
    """Run the restorer: the handler's `ret` pops its address first."""
    if task.process.machine.arch == "x86_64":
        task.vcpu.regs[RSP] += 8
    with pytest.raises(NoReturn):
        calls.rt_sigreturn(task)


class TestQueueing:
    def test_standard_signal_coalesces(self, task: Task) -> None:
        task.process.signals.set_mask(task, bit(SIGUSR1))
        for value in (1, 2):
            task.process.signals.send(task, Siginfo(SIGUSR1, 0, SI_QUEUE, value=value))
        taken = task.process.signals.take(task, bit(SIGUSR1))
        assert taken is not None
        assert taken.value == 1
        assert task.process.signals.take(task, bit(SIGUSR1)) is None

    def test_real_time_signals_queue_in_order(self, task: Task) -> None:
        signals = task.process.signals
        signals.set_mask(task, bit(40) | bit(41))
        for signo, value in ((41, 1), (40, 2), (41, 3)):
            signals.send(task, Siginfo(signo, 0, SI_QUEUE, value=value))
        order = [signals.take(task, -1) for _ in range(3)]
        assert [(info.signo, info.value) for info in order if info] == [(40, 2), (41, 1), (41, 3)]
        assert signals.pending(task) == 0

    def test_full_queue_fails_rt_and_loses_only_siginfo_of_standard(self, task: Task) -> None:
        task.process.rlimits[11] = (1, 1)
        signals = task.process.signals
        signals.set_mask(task, bit(40) | bit(SIGUSR1))
        assert signals.send(task, Siginfo(40, 0, SI_QUEUE, value=1))
        assert not signals.send(task, Siginfo(40, 0, SI_QUEUE, value=2))
        assert signals.send(task, Siginfo(SIGUSR1, 0, SI_QUEUE, value=3))
        assert signals.take(task, bit(SIGUSR1)) == Siginfo(SIGUSR1)

    def test_ignored_is_dropped_unless_blocked(self, task: Task) -> None:
        signals = task.process.signals
        signals.send_self(task, SIGURG)
        assert signals.pending(task) == 0
        signals.set_mask(task, bit(SIGURG))
        signals.send_self(task, SIGURG)
        assert signals.pending(task) == bit(SIGURG)
        signals.set_mask(task, 0)
        assert signals.pending(task) == 0
        assert not signals.attention

    def test_ignoring_flushes_what_is_blocked(self, task: Task) -> None:
        signals = task.process.signals
        signals.set_mask(task, bit(SIGUSR1))
        signals.send_self(task, SIGUSR1)
        signals.set_action(task, SIGUSR1, (SIG_IGN, 0, 0, 0))
        assert signals.pending(task) == 0

    def test_stop_and_continue_cancel_each_other(self, task: Task) -> None:
        signals = task.process.signals
        signals.set_mask(task, bit(SIGTSTP) | bit(SIGCONT))
        signals.send_self(task, SIGTSTP)
        signals.send_self(task, SIGCONT)
        assert signals.pending(task) == bit(SIGCONT)
        signals.send_self(task, SIGTSTP)
        assert signals.pending(task) == bit(SIGTSTP)

    def test_thread_goes_before_process_and_lower_first(self, task: Task) -> None:
        signals = task.process.signals
        signals.set_mask(task, -1)
        signals.send_self(task, SIGHUP)
        signals.send(task, Siginfo(SIGUSR2), to_thread=True)
        signals.send(task, Siginfo(SIGFPE), to_thread=True)
        order = [signals.take(task, -1) for _ in range(3)]
        assert [info.signo for info in order if info] == [SIGFPE, SIGUSR2, SIGHUP]

    def test_fork_child_has_nothing_pending_and_exec_keeps_it(self, task: Task) -> None:
        signals = task.process.signals
        handle(task, SIGUSR1)
        signals.set_action(task, SIGUSR2, (SIG_IGN, SA_RESTART, 0, 5))
        signals.set_mask(task, bit(SIGUSR1))
        signals.send_self(task, SIGUSR1)
        signals.on_exec(task)
        assert signals.pending(task) == bit(SIGUSR1)
        assert signals.actions[SIGUSR1] == (SIG_DFL, 0, 0, 0)
        assert signals.actions[SIGUSR2] == (SIG_IGN, 0, 0, 0)
        signals.on_fork_child(task)
        assert signals.pending(task) == 0


class TestCollect:
    def test_kick_is_dropped(self, task: Task, host: StandInHost) -> None:
        host.queued.append(Siginfo(63, 0, SI_TKILL, pid=OWN_PID))
        task.process.signals.collect(task)
        assert not task.process.signals.attention

    def test_host_user_is_the_guest_user_and_strangers_have_no_pid(self, task: Task, host: StandInHost) -> None:
        signals = task.process.signals
        signals.set_mask(task, -1)
        host.queued += [
            Siginfo(SIGUSR1, 0, SI_USER, pid=CHILD_PID, uid=1000),
            Siginfo(SIGUSR2, 0, SI_USER, pid=STRANGER, uid=7),
        ]
        signals.collect(task)
        assert signals.take(task, bit(SIGUSR1)) == Siginfo(SIGUSR1, 0, SI_USER, pid=CHILD_PID, uid=0)
        assert signals.take(task, bit(SIGUSR2)) == Siginfo(SIGUSR2, 0, SI_USER, pid=0, uid=7)

    @pytest.mark.parametrize(("handler", "flags"), [(SIG_IGN, 0), (SIG_DFL, SA_NOCLDWAIT)])
    def test_children_are_reaped_when_nobody_waits(
        self, task: Task, host: StandInHost, handler: int, flags: int
    ) -> None:
        task.process.signals.set_action(task, SIGCHLD, (handler, flags, 0, 0))
        host.zombies.append(CHILD_PID)
        host.queued.append(Siginfo(SIGCHLD, 0, CLD_EXITED, pid=CHILD_PID))
        task.process.signals.collect(task)
        assert host.zombies == []
        assert not task.process.box.contains(CHILD_PID)

    def test_no_signal_for_stopped_child_with_nocldstop(self, task: Task, host: StandInHost) -> None:
        handle(task, SIGCHLD, SA_NOCLDSTOP)
        host.queued.append(Siginfo(SIGCHLD, 0, CLD_STOPPED, pid=CHILD_PID))
        task.process.signals.collect(task)
        assert not task.process.signals.attention

    def test_end_hidden_behind_a_stop_is_told(self, task: Task, host: StandInHost) -> None:
        handle(task, SIGCHLD, SA_NOCLDSTOP)
        host.zombies.append(CHILD_PID)
        host.queued.append(Siginfo(SIGCHLD, 0, CLD_STOPPED, pid=77))
        task.process.signals.collect(task)
        taken = task.process.signals.take(task, -1)
        assert taken is not None
        assert taken.pid == CHILD_PID


class TestDefaultActions:
    def test_term_ends_the_process(self, task: Task) -> None:
        task.process.signals.send_self(task, SIGTERM)
        with pytest.raises(ProcessExit) as end:
            task.process.signals.deliver(task, 0)
        assert end.value.signal == SIGTERM

    def test_stop_stops_and_collects_afterwards(self, task: Task, host: StandInHost) -> None:
        handle(task, SIGCONT)
        host.during_stop = lambda: host.queued.append(Siginfo(SIGCONT, 0, SI_USER, pid=CHILD_PID))
        task.process.signals.send_self(task, SIGSTOP)
        task.process.signals.deliver(task, 0)
        assert ("stop", SIGSTOP) in host.done
        assert task.vcpu.regs[RIP] == HANDLER

    def test_continue_that_has_come_already_prevents_the_stop(self, task: Task, host: StandInHost) -> None:
        task.process.signals.send_self(task, SIGTSTP)
        host.queued.append(Siginfo(SIGCONT, 0, SI_USER, pid=CHILD_PID))
        task.process.signals.deliver(task, 0)
        assert ("stop", SIGTSTP) not in host.done

    def test_blocked_fault_kills(self, task: Task) -> None:
        handle(task, SIGSEGV)
        task.process.signals.set_mask(task, bit(SIGSEGV))
        task.process.signals.force_fault(task, SIGSEGV, SEGV_MAPERR, 0)
        with pytest.raises(ProcessExit) as end:
            task.process.signals.deliver(task, 0)
        assert end.value.signal == SIGSEGV


class TestHandlers:
    def test_frame_of_x86_64(self, task: Task) -> None:
        regs = task.vcpu.regs
        regs[RIP], regs[RFLAGS], regs[RAX] = 0x1234, 0x246 | 0x400, 77
        sp = regs[RSP]
        handle(task, SIGUSR1, SA_SIGINFO, mask=bit(SIGHUP))
        task.process.signals.send(task, Siginfo(SIGUSR1, 0, SI_QUEUE, pid=5, uid=6, value=7))
        task.process.signals.deliver(task, 3)
        frame = regs[RSP]
        assert frame % 16 == 8
        assert frame < sp - 128 - 832
        assert (regs[RIP], regs[RDI], regs[RAX], regs[RSI], regs[RDX]) == (
            HANDLER,
            SIGUSR1,
            0,
            frame + 312,
            frame + 8,
        )
        assert regs[RFLAGS] & 0x400 == 0
        assert task.mem.read_u64(frame) == RESTORER
        assert SiginfoRt.struct.unpack(task.mem.read(frame + 312, 128)) == (SIGUSR1, 0, SI_QUEUE, 5, 6, 7)
        fp = task.mem.read_u64(frame + 8 + 40 + 184)
        assert fp % 64 == 0
        assert task.mem.read_u32(fp + 464) == 0x46505853
        assert task.mem.read_u32(fp + 832) == 0x46505845
        assert task.sigmask == bit(SIGUSR1) | bit(SIGHUP)
        sigreturn(task)
        assert (regs[RIP], regs[RSP], regs[RFLAGS], regs[RAX]) == (0x1234, sp, 0x646, 77)
        assert task.sigmask == 0

    def test_frame_of_aarch64(self, arm_task: Task) -> None:
        task = arm_task
        regs = task.vcpu.regs
        for index in range(31):
            regs[index] = 1000 + index
        regs[aarch64.PC], regs[aarch64.PSTATE] = 0x1234, 0x6000_0000
        sp = regs[aarch64.SP]
        state = bytes(range(256)) * 2 + struct.pack("<II", 1, 2)
        task.vcpu.set_fp(state)
        task.process.signals.set_action(task, SIGUSR1, (HANDLER, SA_SIGINFO, 0, 0))
        task.process.signals.trampoline = 0x7777
        task.process.signals.send_self(task, SIGUSR1)
        task.process.signals.deliver(task, 0)
        frame = regs[aarch64.SP]
        assert frame % 16 == 0
        assert sp - frame == 4704
        assert (regs[0], regs[1], regs[2]) == (SIGUSR1, frame, frame + 128)
        assert (regs[29], regs[30], regs[aarch64.PC]) == (frame + 4688, 0x7777, HANDLER)
        assert SiginfoKill.struct.unpack(task.mem.read(frame, 128)) == (SIGUSR1, 0, SI_USER, OWN_PID, 0)
        task.vcpu.set_fp(b"")
        sigreturn(task)
        assert [regs[index] for index in range(31)] == [1000 + index for index in range(31)]
        assert (regs[aarch64.SP], regs[aarch64.PC], regs[aarch64.PSTATE]) == (sp, 0x1234, 0x6000_0000)
        assert task.vcpu.get_fp() == state

    def test_handlers_stack_up_with_the_highest_number_on_top(self, task: Task) -> None:
        handle(task, SIGHUP, handler=0x1000)
        handle(task, SIGTERM, handler=0x2000)
        task.process.signals.send_self(task, SIGTERM)
        task.process.signals.send_self(task, SIGHUP)
        task.process.signals.deliver(task, 0)
        assert task.vcpu.regs[RIP] == 0x2000
        sigreturn(task)
        assert task.vcpu.regs[RIP] == 0x1000

    def test_mask_of_first_handler_holds_the_second_back(self, task: Task) -> None:
        handle(task, SIGHUP, mask=bit(SIGTERM), handler=0x1000)
        handle(task, SIGTERM, handler=0x2000)
        task.process.signals.send_self(task, SIGTERM)
        task.process.signals.send_self(task, SIGHUP)
        task.process.signals.deliver(task, 0)
        assert task.vcpu.regs[RIP] == 0x1000
        assert not task.process.signals.attention
        sigreturn(task)
        assert task.process.signals.attention

    def test_nodefer_and_resethand(self, task: Task) -> None:
        handle(task, SIGUSR1, SA_NODEFER | SA_RESETHAND)
        task.process.signals.send_self(task, SIGUSR1)
        task.process.signals.deliver(task, 0)
        assert task.sigmask == 0
        assert task.process.signals.actions[SIGUSR1][0] == SIG_DFL

    def test_fault_goes_before_lower_numbers(self, task: Task) -> None:
        for signo in (SIGHUP, SIGSEGV):
            handle(task, signo, handler=0x1000 * signo)
        task.process.signals.send_self(task, SIGHUP)
        task.process.signals.force(task, Siginfo(SIGSEGV, 0, SEGV_MAPERR, addr=1))
        task.process.signals.deliver(task, 0)
        assert task.vcpu.regs[RIP] == 0x1000 * SIGHUP
        sigreturn(task)
        assert task.vcpu.regs[RIP] == 0x1000 * SIGSEGV

    def test_no_room_for_the_frame_is_a_fatal_fault(self, task: Task) -> None:
        handle(task, SIGUSR1)
        handle(task, SIGSEGV)
        task.vcpu.regs[RSP] = 0x10
        task.process.signals.send_self(task, SIGUSR1)
        with pytest.raises(ProcessExit) as end:
            task.process.signals.deliver(task, 0)
        assert end.value.signal == SIGSEGV

    def test_no_room_for_the_frame_and_a_handler_on_another_stack(self, task: Task) -> None:
        handle(task, SIGUSR1)
        handle(task, SIGSEGV, SA_ONSTACK)
        task.altstack = (STACK, 0, 8192)
        task.vcpu.regs[RSP] = 0x10
        task.process.signals.send_self(task, SIGUSR1)
        task.process.signals.deliver(task, 0)
        assert task.vcpu.regs[RDI] == SIGSEGV
        assert STACK < task.vcpu.regs[RSP] < STACK + 8192

    def test_handler_needs_restorer_on_x86_64(self, task: Task) -> None:
        task.process.signals.set_action(task, SIGUSR1, (HANDLER, 0, 0, 0))
        task.process.signals.send_self(task, SIGUSR1)
        with pytest.raises(ProcessExit):
            task.process.signals.deliver(task, 0)

    def test_alternate_stack_overflow_is_fatal(self, task: Task) -> None:
        handle(task, SIGUSR1, SA_ONSTACK)
        task.altstack = (STACK + 0x8000, 0, 2048)
        task.vcpu.regs[RSP] = STACK + 0x8000 + 600
        task.process.signals.send_self(task, SIGUSR1)
        with pytest.raises(ProcessExit):
            task.process.signals.deliver(task, 0)

    def test_autodisarm(self, task: Task) -> None:
        handle(task, SIGUSR1, SA_ONSTACK)
        stack = (STACK, SS_AUTODISARM, 8192)
        task.altstack = stack
        task.process.signals.send_self(task, SIGUSR1)
        task.process.signals.deliver(task, 0)
        assert task.altstack == altstack.NONE
        sigreturn(task)
        assert task.altstack == stack


class TestRestart:
    @pytest.mark.parametrize(
        ("code", "flags", "restarts"),
        [
            (ERESTARTSYS, SA_RESTART, True),
            (ERESTARTSYS, 0, False),
            (ERESTARTNOINTR, 0, True),
            (ERESTARTNOHAND, SA_RESTART, False),
            (ERESTART_RESTARTBLOCK, SA_RESTART, False),
        ],
    )
    def test_with_handler(self, task: Task, code: int, flags: int, restarts: bool) -> None:
        regs = task.vcpu.regs
        regs[RIP], regs[RAX] = 0x1002, 35
        handle(task, SIGUSR1, flags)
        task.process.signals.send_self(task, SIGUSR1)
        task.process.signals.deliver(task, -code)
        assert regs[RIP] == HANDLER
        sigreturn(task)
        assert (regs[RIP], regs[RAX]) == ((0x1000, 35) if restarts else (0x1002, MINUS_EINTR))

    @pytest.mark.parametrize("code", [ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND])
    def test_without_handler(self, task: Task, code: int) -> None:
        task.vcpu.regs[RIP], task.vcpu.regs[RAX] = 0x1002, 35
        task.process.signals.deliver(task, -code)
        assert (task.vcpu.regs[RIP], task.vcpu.regs[RAX]) == (0x1000, 35)

    def test_restart_block(self, task: Task, arm_task: Task) -> None:
        task.vcpu.regs[RIP], task.vcpu.regs[RAX] = 0x1002, 35
        task.process.signals.deliver(task, -ERESTART_RESTARTBLOCK)
        assert (task.vcpu.regs[RIP], task.vcpu.regs[RAX]) == (0x1000, 219)
        arm_task.vcpu.regs[aarch64.PC], arm_task.vcpu.regs[8], arm_task.vcpu.regs[0] = 0x1004, 101, 5
        arm_task.process.signals.deliver(arm_task, -ERESTART_RESTARTBLOCK)
        regs = arm_task.vcpu.regs
        assert (regs[aarch64.PC], regs[8], regs[0]) == (0x1000, 128, 5)

    def test_only_the_first_handler_decides(self, task: Task) -> None:
        regs = task.vcpu.regs
        regs[RIP], regs[RAX] = 0x1002, 35
        handle(task, SIGHUP, SA_RESTART, handler=0x3000)
        handle(task, SIGTERM, 0, handler=0x4000)
        task.process.signals.send_self(task, SIGHUP)
        task.process.signals.send_self(task, SIGTERM)
        task.process.signals.deliver(task, -ERESTARTSYS)
        sigreturn(task)
        sigreturn(task)
        assert (regs[RIP], regs[RAX]) == (0x1000, 35)


class TestTemporaryMask:
    def test_old_mask_returns_through_the_frame(self, task: Task) -> None:
        signals = task.process.signals
        handle(task, SIGUSR1)
        signals.set_mask(task, bit(SIGUSR1) | bit(SIGHUP))
        signals.send_self(task, SIGUSR1)
        task.mem.write_u64(DATA, 0)
        assert errno_of(calls.rt_sigsuspend, task, DATA, 8) == ERESTARTNOHAND
        signals.deliver(task, -ERESTARTNOHAND)
        assert task.sigmask == bit(SIGUSR1)
        sigreturn(task)
        assert task.sigmask == bit(SIGUSR1) | bit(SIGHUP)

    def test_success_restores_before_anything_is_delivered(self, task: Task) -> None:
        signals = task.process.signals
        handle(task, SIGUSR1)
        signals.set_mask(task, bit(SIGUSR1))
        signals.set_temporary_mask(task, 0)
        assert signals.attention
        signals.send_self(task, SIGUSR1)
        task.vcpu.regs[RAX] = 1
        signals.deliver(task, 0)
        assert task.vcpu.regs[RIP] != HANDLER
        assert task.sigmask == bit(SIGUSR1)
        assert not signals.attention

    def test_eintr_delivers_under_the_temporary_mask(self, task: Task) -> None:
        signals = task.process.signals
        handle(task, SIGUSR1)
        signals.set_mask(task, bit(SIGUSR1))
        signals.set_temporary_mask(task, 0)
        signals.send_self(task, SIGUSR1)
        task.vcpu.regs[RAX] = MINUS_EINTR
        signals.deliver(task, 0)
        assert task.vcpu.regs[RIP] == HANDLER


class TestBadFrames:
    def spoil(self, task: Task, offset: int, value: int) -> None:
        """Make a frame, change 8 bytes of it, and return through it."""
        handle(task, SIGUSR1)
        task.process.signals.send_self(task, SIGUSR1)
        task.process.signals.deliver(task, 0)
        where = offset
        if offset >= 1000:
            where = task.mem.read_u64(task.vcpu.regs[RSP] + 8 + 40 + 184) - task.vcpu.regs[RSP] + offset - 1000
        task.mem.write_u64(task.vcpu.regs[RSP] + where, value)
        sigreturn(task)

    @pytest.mark.parametrize(
        ("offset", "value"),
        [
            (8 + 40 + 184, 0x10),  # the floating-point state is nowhere
            (8 + 40 + 184, (1 << 64) - 8),
            (8 + 40 + 144, 0x2B_0000_0000_0023),  # cs of 32-bit code
            (1000 + 24, 0xFFFF_FFFF),  # reserved bits of MXCSR
            (1000 + 512, 1 << 20),  # a state component that is not enabled
            (1000 + 520, 1 << 63),  # compacted format
        ],
    )
    def test_sigsegv(self, task: Task, offset: int, value: int) -> None:
        self.spoil(task, offset, value)
        with pytest.raises(ProcessExit) as end:
            task.process.signals.deliver(task, 0)
        assert end.value.signal == SIGSEGV

    @pytest.mark.parametrize("sp", [0, 8, 1 << 63, (1 << 64) - 8])
    def test_no_frame(self, task: Task, sp: int) -> None:
        handle(task, SIGSEGV, SA_ONSTACK | SA_SIGINFO)
        task.altstack = (STACK, 0, 16384)
        task.vcpu.regs[RSP] = sp
        with pytest.raises(NoReturn):
            calls.rt_sigreturn(task)
        task.process.signals.deliver(task, 0)
        assert task.mem.read_s32(task.vcpu.regs[RSI] + 8) == SI_KERNEL

    def test_legacy_state_without_magic_is_taken_as_fxsave(self, task: Task) -> None:
        self.spoil(task, 1000 + 464, 0)
        assert not task.process.signals.attention
        assert task.vcpu.get_fp()[512] == 3

    def test_rest_of_the_header_is_kept_from_the_engine(self, task: Task) -> None:
        self.spoil(task, 1000 + 512 + 24, 1)
        assert not task.process.signals.attention
        assert task.vcpu.get_fp()[520:576] == bytes(56)

    @pytest.mark.parametrize("sp", [8, 0, 1 << 63])
    def test_aarch64(self, arm_task: Task, sp: int) -> None:
        arm_task.vcpu.regs[aarch64.SP] = sp
        with pytest.raises(NoReturn):
            calls.rt_sigreturn(arm_task)
        with pytest.raises(ProcessExit):
            arm_task.process.signals.deliver(arm_task, 0)

    @pytest.mark.parametrize(("offset", "value"), [(0, 0x1234), (0, 0), (4, 8), (4, 0x10000), (592 - 8, 0)])
    def test_aarch64_records(self, arm_task: Task, offset: int, value: int) -> None:
        task = arm_task
        handle(task, SIGUSR1)
        task.process.signals.send_self(task, SIGUSR1)
        task.process.signals.deliver(task, 0)
        task.mem.write_u32(task.vcpu.regs[aarch64.SP] + 592 + offset, value)
        sigreturn(task)
        if offset > 100:
            assert not task.process.signals.attention
        else:
            with pytest.raises(ProcessExit):
                task.process.signals.deliver(task, 0)


class TestCalls:
    def test_sigaction_round_trip_and_errors(self, task: Task) -> None:
        task.mem.pack(
            SigactionKernel.struct,
            DATA,
            HANDLER,
            SA_SIGINFO | SA_RESTORER | 1 << 40 | 0x400,
            RESTORER,
            -1 & (1 << 64) - 1,
        )
        assert calls.rt_sigaction(task, SIGUSR1, DATA, 0, 8) == 0
        assert calls.rt_sigaction(task, SIGUSR1, 0, DATA + 64, 8) == 0
        assert task.mem.unpack(SigactionKernel.struct, DATA + 64) == (
            HANDLER,
            SA_SIGINFO | SA_RESTORER,
            RESTORER,
            ~(bit(9) | bit(19)) & (1 << 64) - 1,
        )
        assert calls.rt_sigaction(task, 9, 0, DATA, 8) == 0
        for signo in (0, -1, 65, 9, 19):
            assert errno_of(calls.rt_sigaction, task, signo, DATA, 0, 8) == EINVAL
        assert errno_of(calls.rt_sigaction, task, SIGUSR1, DATA, 0, 4) == EINVAL

    def test_sigprocmask_cannot_block_kill(self, task: Task) -> None:
        task.mem.write_u64(DATA, (1 << 64) - 1)
        assert calls.rt_sigprocmask(task, 2, DATA, 0, 8) == 0
        assert task.sigmask == ~(bit(9) | bit(19)) & (1 << 64) - 1
        assert errno_of(calls.rt_sigprocmask, task, 3, DATA, 0, 8) == EINVAL
        assert calls.rt_sigprocmask(task, 3, 0, DATA, 8) == 0

    def test_kill_stays_in_the_box(self, task: Task, host: StandInHost) -> None:
        assert errno_of(calls.kill, task, STRANGER, SIGTERM) == ESRCH
        assert calls.kill(task, 1, SIGTERM) == 0  # Noah, which catches nothing: not the host's process 1
        assert calls.kill(task, CHILD_PID, SIGTERM) == 0
        assert errno_of(calls.kill, task, CHILD_PID, 65) == EINVAL
        assert host.killed() == [("kill", CHILD_PID, SIGTERM)]
        task.creds.effective = 0
        assert errno_of(calls.kill, task, 1, SIGTERM) == EPERM

    def test_kill_of_a_group_leaves_strangers_alone(self, task: Task, host: StandInHost) -> None:
        task.process.signals.set_mask(task, -1)
        assert calls.kill(task, 0, SIGTERM) == 0
        assert host.killed() == [("kill", CHILD_PID, SIGTERM)]
        assert task.process.signals.pending(task) == bit(SIGTERM)
        assert errno_of(calls.kill, task, -STRANGER, SIGTERM) == ESRCH
        assert errno_of(calls.kill, task, -(1 << 31), SIGTERM) == ESRCH

    def test_kill_of_everything_spares_the_caller(self, task: Task, host: StandInHost) -> None:
        assert calls.kill(task, -1, SIGTERM) == 0
        assert host.killed() == [("kill", CHILD_PID, SIGTERM)]
        assert task.process.signals.pending(task) == 0

    def test_sigqueue(self, task: Task, host: StandInHost) -> None:
        task.mem.write(DATA, SiginfoRt.struct.pack(0, 0, SI_QUEUE, OWN_PID, 0, 0x1234567890))
        assert calls.rt_sigqueueinfo(task, CHILD_PID, 40, DATA) == 0
        assert host.killed() == [("sigqueue", CHILD_PID, 40, 0x1234567890, SI_QUEUE)]
        task.mem.write(DATA, SiginfoRt.struct.pack(0, 0, SI_USER, OWN_PID, 0, 0))
        assert errno_of(calls.rt_sigqueueinfo, task, CHILD_PID, 40, DATA) == EPERM

    def test_sigtimedwait(self, task: Task, host: StandInHost) -> None:
        task.process.signals.set_mask(task, bit(SIGUSR1))
        task.mem.write_u64(DATA, bit(SIGUSR1))
        task.mem.write(DATA + 8, struct.pack("<qq", 1, 0))
        assert errno_of(calls.rt_sigtimedwait, task, DATA, 0, DATA + 8, 8) == EAGAIN
        host.during_poll.append(lambda: host.queued.append(Siginfo(SIGUSR1, 0, SI_USER, pid=CHILD_PID)))
        assert calls.rt_sigtimedwait(task, DATA, DATA + 64, 0, 8) == SIGUSR1
        assert SiginfoKill.struct.unpack(task.mem.read(DATA + 64, 128)) == (SIGUSR1, 0, SI_USER, CHILD_PID, 0)
        handle(task, SIGHUP)
        host.during_poll.append(lambda: host.queued.append(Siginfo(SIGHUP)))
        assert errno_of(calls.rt_sigtimedwait, task, DATA, 0, 0, 8) == EINTR

    def test_sigaltstack(self, task: Task) -> None:
        def change(base: int, flags: int, size: int) -> int:
            task.mem.pack(StackT.struct, DATA, base, flags, size)
            return calls.sigaltstack(task, DATA, DATA + 32)

        assert change(STACK, 0, 8192) == 0
        assert task.mem.unpack(StackT.struct, DATA + 32) == (0, 2, 0)
        assert errno_of(change, STACK, 0, 2047) == ENOMEM
        assert errno_of(change, STACK, 8, 8192) == EINVAL
        task.vcpu.regs[RSP] = STACK + 4096
        assert errno_of(change, STACK, 2, 0) == EPERM
        assert calls.sigaltstack(task, 0, DATA) == 0
        assert task.mem.unpack(StackT.struct, DATA) == (STACK, SS_ONSTACK, 8192)
