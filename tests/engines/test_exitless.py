"""System calls that a second host thread answers while the vCPU stays in the guest (noah.vm.kvm.exitless)."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
from typing import TYPE_CHECKING, Final, cast

import pytest
from tests.engines.guest import CODE, Guest, in_child, take_signal

from noah.vm.api import EXIT_INTERRUPTED, EXIT_SYSCALL, Vcpu
from noah.vm.arch.x86_64 import R8, R9, R10, R11, RAX, RBP, RBX, RCX, RDI, RDX, RFLAGS, RIP, RSI, RSP
from noah.vm.arch.x86_system import MAIL, MAIL_ADDRESS
from noah.vm.kvm import exitless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from noah.vm.kvm import KvmVcpu

CALLS: Final = 2000
LAST: Final = 0x63_0000  # the call that the server below does not answer
IF: Final = 0x200
# again: mov %ebx,%eax; syscall; add %rax,%rbp; dec %ebx; jne again; mov $LAST,%eax; syscall
LOOP: Final = bytes.fromhex("89d8 0f05 4801c5 ffcb 75f5 b800006300 0f05")


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    """A guest whose calls are always offered to a server, for as long as that takes on a busy machine."""
    for name, value in {"CHUNK": 1, "_FIRST": 0, "_POOR": 1 << 30, "_DENSE_NS": 1 << 60, "_IDLE": 10_000}.items():
        monkeypatch.setattr(exitless, name, value)
    monkeypatch.setattr(exitless, "_PATIENCE", 1 << 16)
    monkeypatch.setattr(exitless, "_FIRST_PATIENCE", 1 << 16)
    guest = Guest("kvm")
    if cast("KvmVcpu", guest.vcpu)._machine.trap_level != 0:
        guest.close()
        pytest.skip("on this KVM an exit is cheap, and the stub is not used")
    if len(os.sched_getaffinity(0)) < 2:
        guest.close()
        pytest.skip("there is one processor")
    yield guest
    guest.close()


class Server:
    """Answers a call with three times its number; LAST is not its to answer."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []
        self.threads: set[int] = set()
        self.must_look = False

    def __call__(self, number: int, *registers: int) -> tuple[int, bool] | None:
        if number == LAST:
            return None
        self.calls.append((number, *registers))
        self.threads.add(threading.get_ident())
        return 3 * number, self.must_look


def answer(guest: Guest, server: Server) -> int:
    """Run until LAST; calls that no server took are answered here. How many these were."""
    by_exit = 0
    while True:
        kind = guest.vcpu.run()
        if kind == EXIT_INTERRUPTED:
            continue
        assert kind == EXIT_SYSCALL
        if guest.regs[RAX] == LAST:
            return by_exit
        by_exit += 1
        guest.regs[RAX] *= 3


def test_server_stays_off_the_processor_of_the_vcpu(guest: Guest) -> None:
    masks: list[set[int]] = []

    class Looking(Server):
        def __call__(self, number: int, *registers: int) -> tuple[int, bool] | None:
            masks.append(os.sched_getaffinity(0))
            return super().__call__(number, *registers)

    allowed = os.sched_getaffinity(0)
    guest.place(LOOP)
    guest.regs[RBX] = CALLS
    guest.vcpu.answer_beside(Looking())
    answer(guest, Server())
    assert masks
    assert all(mask < allowed and len(mask) == len(allowed) - 1 for mask in masks)
    assert os.sched_getaffinity(0) == allowed


def test_calls_are_answered_by_another_thread_and_registers_are_kept(guest: Guest) -> None:
    server = Server()
    guest.vcpu.answer_beside(server)
    guest.place(LOOP)
    values = {RDI: 11, RSI: 12, RDX: 13, R10: 14, R8: 15, R9: 16}
    for register, value in values.items():
        guest.regs[register] = value
    guest.regs[RBX] = CALLS
    guest.regs[RBP] = 0
    guest.regs[RFLAGS] = IF
    by_exit = answer(guest, server)
    assert guest.regs[RBP] == 3 * CALLS * (CALLS + 1) // 2
    assert by_exit + len(server.calls) == CALLS
    assert len(server.calls) > CALLS // 2
    assert threading.get_ident() not in server.threads
    assert all(call[1:] == tuple(values.values()) for call in server.calls)
    assert {register: guest.regs[register] for register in values} == values
    assert guest.regs[RIP] == guest.regs[RCX] == CODE + len(LOOP)


def test_flags_and_the_registers_of_syscall_are_what_linux_leaves(guest: Guest) -> None:
    server = Server()
    guest.vcpu.answer_beside(server)
    flags = IF | 0x8D5 | 2  # CF PF AF ZF SF OF
    # syscall; pushf; pop %rbx; mov %r11,%rbp; mov %rcx,%rdi; mov $LAST,%eax; syscall
    guest.place(bytes.fromhex("0f05 9c5b 4c89dd 4889cf b800006300 0f05"))
    stack = guest.page(0x60_0000, 3)
    guest.regs[RSP] = 0x60_0000 + 4096
    guest.regs[RAX], guest.regs[RFLAGS] = 7, flags
    answer(guest, server)
    assert guest.regs[RBX] == guest.regs[RBP] == flags
    assert guest.regs[RDI] == CODE + 2
    assert stack


@pytest.mark.parametrize("flag", [0x400, 0x40000], ids=["direction", "alignment"])
def test_call_with_a_flag_that_syscall_clears_is_made_by_exit(guest: Guest, flag: int) -> None:
    server = Server()
    guest.vcpu.answer_beside(server)
    guest.place(b"\x0f\x05")
    guest.regs[RAX], guest.regs[RFLAGS] = 7, IF | flag | 2
    assert guest.vcpu.run() == EXIT_SYSCALL
    assert server.calls == []
    assert guest.regs[RAX] == 7
    assert guest.regs[RFLAGS] & flag == flag
    assert guest.regs[R11] & flag == flag


def test_vcpu_leaves_after_an_answer_that_asks_for_it(guest: Guest) -> None:
    server = Server()
    server.must_look = True
    guest.vcpu.answer_beside(server)
    guest.place(LOOP)
    guest.regs[RBX], guest.regs[RBP] = 200, 0
    looked = by_exit = 0
    while (kind := guest.vcpu.run()) == EXIT_INTERRUPTED or guest.regs[RAX] != LAST:
        assert guest.regs[RIP] == CODE + 4
        if kind == EXIT_INTERRUPTED:
            looked += 1
            assert guest.regs[RAX] == 3 * guest.regs[RBX]
        else:
            by_exit += 1
            guest.regs[RAX] *= 3
    assert looked == len(server.calls) > 0
    assert looked + by_exit == 200
    assert guest.regs[RBP] == 3 * 200 * 201 // 2


def test_call_that_nobody_takes_leaves_the_guest(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exitless, "_FIRST_PATIENCE", 1000)
    monkeypatch.setattr(exitless.Exitless, "_session", lambda self: None)
    server = Server()
    guest.vcpu.answer_beside(server)
    guest.place(LOOP)
    guest.regs[RBX], guest.regs[RBP] = 50, 0
    assert answer(guest, server) == 50
    assert guest.regs[RBP] == 3 * 50 * 51 // 2


def test_slow_answer_is_waited_for(guest: Guest) -> None:
    server = Server()

    def slowly(number: int, *registers: int) -> tuple[int, bool] | None:
        if number != LAST:
            time.sleep(0.02)  # far more than the stub waits
        return server(number, *registers)

    guest.vcpu.answer_beside(slowly)
    guest.place(LOOP)
    guest.regs[RBX], guest.regs[RBP] = 5, 0
    assert answer(guest, server) + len(server.calls) == 5
    assert guest.regs[RBP] == 3 * 15


def test_interruptions_lose_no_call_and_make_none_twice(guest: Guest) -> None:
    server = Server()

    def run() -> tuple[int, int, int]:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        guest.machine.after_fork(guest.vcpu)
        guest.vcpu.answer_beside(server)
        guest.place(LOOP)
        guest.regs[RBP] = 0
        done = threading.Event()
        main = threading.get_ident()

        def disturb() -> None:
            while not done.wait(0.0003):
                signal.pthread_kill(main, signal.SIGUSR1)

        threading.Thread(target=disturb, daemon=True).start()
        by_exit = interrupted = rounds = 0
        ends = time.monotonic() + 10
        while interrupted < 5 and time.monotonic() < ends:
            rounds += 1
            guest.regs[RIP], guest.regs[RBX] = CODE, CALLS
            while (kind := guest.vcpu.run()) == EXIT_INTERRUPTED or guest.regs[RAX] != LAST:
                if kind == EXIT_INTERRUPTED:
                    interrupted += 1
                    take_signal({signal.SIGUSR1})
                else:
                    by_exit += 1
                    guest.regs[RAX] *= 3
        done.set()
        assert interrupted
        return rounds, by_exit + len(server.calls), int(guest.regs[RBP])

    guest.machine.before_fork(guest.vcpu)
    rounds, made, total = in_child(run)
    assert (made, total) == (rounds * CALLS, rounds * 3 * CALLS * (CALLS + 1) // 2)


def test_forked_child_has_a_server_of_its_own(guest: Guest) -> None:
    server = Server()
    guest.vcpu.answer_beside(server)
    guest.place(LOOP)
    guest.regs[RBX], guest.regs[RBP] = CALLS, 0
    answer(guest, server)
    answered = len(server.calls)
    guest.machine.before_fork(guest.vcpu)

    def child() -> tuple[int, int]:
        guest.machine.after_fork(guest.vcpu)
        guest.place(LOOP)
        guest.regs[RBX], guest.regs[RBP] = CALLS, 0
        by_exit = answer(guest, server)
        return by_exit + len(server.calls) - answered, int(guest.regs[RBP])

    assert in_child(child) == (CALLS, 3 * CALLS * (CALLS + 1) // 2)
    works = Server()
    guest.vcpu.answer_beside(works)
    guest.place(LOOP)
    guest.regs[RBX], guest.regs[RBP] = 3, 0
    answer(guest, works)
    assert guest.regs[RBP] == 3 * 6


def loop(vcpu: Vcpu, calls: int) -> int:
    """Run LOOP on a vCPU; the calls that no server took are answered here. Their number."""
    vcpu.regs[RIP], vcpu.regs[RBX], vcpu.regs[RBP] = CODE, calls, 0
    by_exit = 0
    while (kind := vcpu.run()) == EXIT_INTERRUPTED or vcpu.regs[RAX] != LAST:
        if kind == EXIT_SYSCALL:
            by_exit += 1
            vcpu.regs[RAX] *= 3
    assert vcpu.regs[RBP] == 3 * calls * (calls + 1) // 2
    return by_exit


def test_each_vcpu_has_a_mailbox(guest: Guest) -> None:
    guest.place(LOOP)
    twin = guest.machine.clone_vcpu(guest.vcpu)
    for vcpu in (guest.vcpu, twin, guest.vcpu):
        server = Server()
        vcpu.answer_beside(server)
        by_exit = loop(vcpu, CALLS)
        assert by_exit + len(server.calls) == CALLS
        assert len(server.calls) > CALLS // 2
    guest.machine.free_vcpu(twin)
    again = guest.machine.clone_vcpu(guest.vcpu)  # KVM's vCPU is the same
    assert loop(again, 20) == 20
    server = Server()
    again.answer_beside(server)
    assert loop(again, CALLS) + len(server.calls) == CALLS
    guest.machine.free_vcpu(again)


def test_one_of_several_vcpus_has_a_session(guest: Guest) -> None:
    """The calls of the others are answered, too: by exits."""
    guest.place(LOOP)
    servers = [Server(), Server()]
    ready, done = threading.Event(), threading.Event()
    vcpu = guest.machine.clone_vcpu(guest.vcpu)

    def other() -> None:
        vcpu.adopt()
        vcpu.answer_beside(servers[1])
        ready.set()
        while not done.is_set():
            by_exit = loop(vcpu, CALLS)
            assert by_exit + len(servers[1].calls) == CALLS
            servers[1].calls.clear()
        guest.machine.free_vcpu(vcpu)

    guest.vcpu.answer_beside(servers[0])
    thread = threading.Thread(target=other)
    thread.start()
    ready.wait()
    for _ in range(10):
        by_exit = loop(guest.vcpu, CALLS)
        assert by_exit + len(servers[0].calls) == CALLS
        servers[0].calls.clear()
    done.set()
    thread.join()


def test_more_vcpus_than_mailboxes(guest: Guest) -> None:
    guest.place(LOOP)
    others = [guest.machine.clone_vcpu(guest.vcpu) for _ in range(exitless.COUNT)]
    server = Server()
    others[-1].answer_beside(server)
    assert loop(others[-1], CALLS) == CALLS
    assert server.calls == []
    for vcpu in others:
        guest.machine.free_vcpu(vcpu)


def test_guest_that_scribbles_over_the_mailbox_harms_nobody(guest: Guest) -> None:
    server = Server()
    guest.vcpu.answer_beside(server)
    # mov $MAIL,%rsi; again: movl $1,POSTED(%rsi); movl $-1,LEAVE(%rsi); mov %ebx,%eax; syscall; dec %ebx; jne again;
    # mov $LAST,%eax; syscall
    posted, leave = exitless.POSTED, exitless.LEAVE
    scribble = bytes((0xC7, 0x46, posted, 1, 0, 0, 0, 0xC7, 0x46, leave, 0xFF, 0xFF, 0xFF, 0xFF))
    body = scribble + bytes.fromhex("89d8 0f05 ffcb")
    again = bytes((0x75, 0x100 - len(body) - 2))
    guest.place(b"\x48\xbe" + struct.pack("<Q", MAIL_ADDRESS), body, again, bytes.fromhex("b800006300 0f05"))
    guest.regs[RBX] = 200
    for _ in range(10_000):
        kind = guest.vcpu.run()
        assert kind in (EXIT_SYSCALL, EXIT_INTERRUPTED)
        if kind == EXIT_SYSCALL and guest.regs[RAX] == LAST:
            break
    else:
        raise AssertionError("the guest does not get on")
    assert guest.machine.arena.view[MAIL : MAIL + 4]


def test_server_ends_when_it_is_not_needed_and_comes_back(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exitless, "_KEEP", 0.02)
    guest.place(LOOP)
    server = Server()
    guest.vcpu.answer_beside(server)
    threads = len(os.listdir("/proc/self/task"))
    for _ in range(3):
        server.calls.clear()
        assert loop(guest.vcpu, CALLS) + len(server.calls) == CALLS
        assert len(server.calls) > CALLS // 2
        deadline = time.monotonic() + 10
        while len(os.listdir("/proc/self/task")) > threads and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(os.listdir("/proc/self/task")) == threads
