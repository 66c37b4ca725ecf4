"""What the emulator alone promises: its CPUs, exactness of its exits, its watcher."""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.engines.guest import ARENA, CODE, DATA, EMULATORS, SPARE, Guest, in_child, take_signal
from tests.engines.snippets import Aarch64

from noah.vm.api import (
    EXEC,
    EXIT_EXCEPTION,
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_SYSCALL,
    READ,
    WRITE,
    EngineError,
)
from noah.vm.arch import x86_64
from noah.vm.arena import PAGE, Arena
from noah.vm.emulator import EmulatorMachine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def x86() -> Iterator[Guest]:
    guest = Guest("emulator-x86_64")
    yield guest
    guest.close()


@pytest.fixture
def arm() -> Iterator[Guest]:
    guest = Guest("emulator-aarch64")
    yield guest
    guest.close()


def emulator(guest: Guest) -> EmulatorMachine:
    assert isinstance(guest.machine, EmulatorMachine)
    return guest.machine


def cpuid(guest: Guest, leaf: int, subleaf: int = 0) -> tuple[int, int, int, int]:
    regs = guest.regs
    regs[x86_64.RIP], regs[x86_64.RAX], regs[x86_64.RCX] = CODE, leaf, subleaf
    assert guest.vcpu.run() == EXIT_EXCEPTION  # rcx must survive, so no system call ends it
    return regs[x86_64.RAX], regs[x86_64.RBX], regs[x86_64.RCX], regs[x86_64.RDX]


def test_cpuid_offers_sse42_and_no_avx(x86: Guest) -> None:
    x86.place(b"\x0f\xa2\x0f\x0b")  # cpuid; ud2
    _, _, ecx, edx = cpuid(x86, 1)
    sse3, ssse3, cx16, sse41, sse42, popcnt, aes = 0, 9, 13, 19, 20, 23, 25
    for bit in (sse3, ssse3, cx16, sse41, sse42, popcnt, aes):
        assert ecx >> bit & 1, bit
    fma, xsave, osxsave, avx, f16c = 12, 26, 27, 28, 29
    for bit in (fma, xsave, osxsave, avx, f16c):
        assert not ecx >> bit & 1, bit
    tsc, cmov, fxsr, sse2 = 4, 15, 24, 26
    for bit in (tsc, cmov, fxsr, sse2):
        assert edx >> bit & 1, bit
    _, ebx, _, _ = cpuid(x86, 7)
    avx2, erms, avx512f = 5, 9, 16
    for bit in (avx2, erms, avx512f):
        assert not ebx >> bit & 1, bit
    _, _, ecx, edx = cpuid(x86, 0x8000_0001)
    assert ecx & 1, "LAHF"
    for bit in (11, 20, 29):  # SYSCALL, NX, LM
        assert edx >> bit & 1, bit


def test_fault_in_the_middle_of_a_string_instruction_is_exact(x86: Guest) -> None:
    regs = x86.regs
    x86.page(SPARE, READ | WRITE)
    x86.page(SPARE + 8 * PAGE, READ | WRITE, pages=2)
    x86.place(b"\xf3\xa4\x0f\x05")  # rep movsb; syscall
    regs[x86_64.RSI], regs[x86_64.RDI], regs[x86_64.RCX] = SPARE + 8 * PAGE, SPARE + PAGE - 10, 100
    assert x86.vcpu.run() == EXIT_FAULT
    assert (x86.vcpu.fault_address, x86.vcpu.fault_access) == (SPARE + PAGE, WRITE)
    assert (regs[x86_64.RSI], regs[x86_64.RDI], regs[x86_64.RCX]) == (SPARE + 8 * PAGE + 10, SPARE + PAGE, 90)
    assert regs[x86_64.RIP] == CODE
    x86.page(SPARE + PAGE, READ | WRITE)
    assert x86.vcpu.run() == EXIT_SYSCALL
    assert regs[x86_64.RDI] == SPARE + PAGE + 90


def test_code_that_changes_its_own_next_instruction(x86: Guest) -> None:
    # mov byte [rip+1], 0x22; mov al, 0x11 (its operand is what the store changes); syscall
    x86.fresh(b"\xc6\x05\x01\x00\x00\x00\x22\xb0\x11\x0f\x05", prot=READ | WRITE | EXEC)
    x86.set(value=0)
    x86.run_to_syscall()
    assert x86.get("value") == 0x22


def test_single_step_flag(x86: Guest) -> None:
    x86.place(b"\x90\x90\x90\x0f\x05")  # nop; nop; nop; syscall
    for step in (1, 2, 3):
        x86.regs[x86_64.RFLAGS] |= 0x100
        assert x86.vcpu.run() == EXIT_EXCEPTION
        assert x86.vcpu.vector == x86_64.DEBUG
        assert x86.get("pc") == CODE + step


@pytest.mark.parametrize("guest", EMULATORS, indirect=True)
def test_a_kick_comes_between_two_instructions(guest: Guest) -> None:
    """None is done twice, or by half."""
    s = guest.snippets
    # 1: inc qword [rdi]; xchg rcx, [rdi+8]; inc rbx; jmp 1b
    code = b"\x48\xff\x07\x48\x87\x4f\x08\x48\xff\xc3\xeb\xf4"
    behind_inc = 3
    if s is Aarch64:
        # 1: ldadd x3, x4, [x0] (x3 is 1); swp x2, x2, [x5]; add x19, x19, #1; b 1b
        code = struct.pack("<4I", 0xF8230004, 0xF82280A2, 0x91000673, 0x17FFFFFD)
        guest.regs[3], guest.regs[5] = 1, DATA + 8
        behind_inc = 4
    guest.place(code)
    guest.set(pointer=DATA, counter=0)
    words, at = guest.machine.arena.words, guest.data >> 3
    swapped = 2 if s is Aarch64 else x86_64.RCX
    words[at + 1], guest.regs[swapped] = 0x1111, 0x2222
    ended = threading.Event()

    def kick() -> None:
        while not ended.wait(0.0002):
            guest.vcpu.kick()

    thread = threading.Thread(target=kick)
    thread.start()
    try:
        for _ in range(500):
            assert guest.vcpu.run() == EXIT_INTERRUPTED
            done = guest.get("counter") + (guest.get("pc") - CODE >= behind_inc)
            assert words[at] == done
            assert {words[at + 1], guest.regs[swapped]} == {0x1111, 0x2222}
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("vector", [0, 1, 8, 13, 14, 0x80, 0xFF])
def test_software_interrupt_is_a_protection_fault(x86: Guest, vector: int) -> None:
    x86.place(bytes((0xCD, vector)))
    assert x86.vcpu.run() == EXIT_EXCEPTION
    assert (x86.vcpu.vector, x86.vcpu.error_code) == (x86_64.GENERAL_PROTECTION, vector << 3 | 2)
    assert x86.get("pc") == CODE


def test_port_access_leaves_registers_as_they_were(x86: Guest) -> None:
    x86.place(b"\xed\x48\xff\xc0\x0f\x05")  # in eax, dx; inc rax; syscall
    x86.set(value=0x5658)
    assert x86.vcpu.run() == EXIT_EXCEPTION
    assert x86.vcpu.vector == x86_64.GENERAL_PROTECTION
    assert (x86.get("pc"), x86.get("value")) == (CODE, 0x5658)


def test_system_page_is_out_of_reach(x86: Guest) -> None:
    x86.place(x86.snippets.load)
    x86.set(pointer=x86.machine.user_limit)
    assert x86.vcpu.run() == EXIT_FAULT
    assert x86.vcpu.fault_present


def test_locked_instructions(x86: Guest) -> None:
    words = x86.machine.arena.words
    words[x86.data >> 3], words[(x86.data >> 3) + 1] = 1, 2
    # lock cmpxchg16b [rdi]; lock xadd [rdi], rax; syscall
    x86.place(b"\xf0\x48\x0f\xc7\x0f\xf0\x48\x0f\xc1\x07\x0f\x05")
    regs = x86.regs
    regs[x86_64.RAX], regs[x86_64.RDX], regs[x86_64.RBX], regs[x86_64.RCX] = 1, 2, 30, 40
    x86.set(pointer=DATA)
    x86.run_to_syscall()
    assert (words[x86.data >> 3], words[(x86.data >> 3) + 1]) == (31, 40)
    assert regs[x86_64.RAX] == 30


def test_aarch64_counters(arm: Guest) -> None:
    arm.place(Aarch64.counters, Aarch64.syscall)
    arm.run_to_syscall()
    first, frequency, cache_type, zeroing = arm.regs[1:5]
    assert frequency > 0
    assert cache_type & 0x8000_0000  # RES1
    assert 2 <= zeroing & 15 <= 9
    started = time.monotonic()
    time.sleep(0.05)
    arm.set(pc=CODE)
    arm.run_to_syscall()
    passed = (arm.regs[1] - first) / frequency
    assert 0.04 < passed < time.monotonic() - started + 0.01


def test_aarch64_atomics(arm: Guest) -> None:
    words = arm.machine.arena.words
    words[arm.data >> 3] = 5
    arm.place(Aarch64.exclusive, Aarch64.syscall, Aarch64.atomic_add, Aarch64.syscall)
    arm.set(pointer=DATA, value=7)
    arm.run_to_syscall()
    assert (arm.regs[2], arm.regs[3], words[arm.data >> 3]) == (5, 0, 7)
    arm.run_to_syscall()
    assert (arm.regs[2], words[arm.data >> 3]) == (7, 14)


def test_aarch64_ignores_the_top_byte_of_addresses(arm: Guest) -> None:
    arm.machine.arena.words[arm.data >> 3] = 99
    arm.place(Aarch64.load, Aarch64.syscall)
    arm.set(pointer=0xAB << 56 | DATA)
    arm.run_to_syscall()
    assert arm.get("value") == 99
    arm.set(pc=CODE, pointer=0xAB << 56 | SPARE)
    assert arm.vcpu.run() == EXIT_FAULT
    assert arm.vcpu.fault_address == SPARE


def test_unknown_architecture_is_refused() -> None:
    with pytest.raises(EngineError, match="riscv64"):
        EmulatorMachine("riscv64", Arena(ARENA))


def test_a_new_vcpu_has_the_state_of_a_start(x86: Guest) -> None:
    x86.vcpu.set_tls(5)
    second = x86.machine.new_vcpu()
    assert second.get_tls() == 0
    assert x86.vcpu.get_tls() == 5
    second.close()
    x86.vcpu.close()
    x86.vcpu = x86.machine.new_vcpu()
    assert x86.vcpu.get_tls() == 0
    assert set(x86.regs) == {0}


@pytest.mark.parametrize("guest", EMULATORS, indirect=True)
def test_vcpus_take_turns(guest: Guest) -> None:
    s = guest.snippets
    first = guest.vcpu
    guest.place(s.memory_to_vector, s.syscall, s.vector_to_memory, s.syscall)
    vcpus = [first, *(guest.machine.clone_vcpu(first) for _ in range(3))]
    arena = guest.machine.arena
    for number, vcpu in enumerate(vcpus):
        vcpu.set_tls(DATA + number)
        vcpu.regs[s.pointer] = DATA + 16 * number
        arena.view[guest.data + 16 * number : guest.data + 16 * number + 16] = bytes([number + 1]) * 16
        assert vcpu.run() == EXIT_SYSCALL
    arena.view[guest.data : guest.data + 64] = bytes(64)
    guest.machine.free_vcpu(vcpus.pop())
    for number, vcpu in reversed([*enumerate(vcpus)]):
        assert vcpu.get_tls() == DATA + number
        assert vcpu.regs[s.pointer] == DATA + 16 * number or s.pointer == s.result
        vcpu.regs[s.pointer] = DATA + 16 * number
        assert vcpu.run() == EXIT_SYSCALL
    assert bytes(arena.view[guest.data : guest.data + 64]) == b"".join(bytes([n]) * 16 for n in (1, 2, 3, 0))
    # After exec they all see the new page tables.
    guest.machine.reset()
    guest.set_up()
    guest.place(s.store, s.syscall)
    for number, vcpu in enumerate(vcpus):
        vcpu.regs[s.pc], vcpu.regs[s.pointer], vcpu.regs[s.value] = CODE, DATA, number
        assert vcpu.run() == EXIT_SYSCALL
        assert guest.word(guest.data) == number


def test_a_turn_opens_the_exclusive_monitor(arm: Guest) -> None:
    words = arm.machine.arena.words
    load, store = Aarch64.exclusive[:4], Aarch64.exclusive[4:]
    arm.place(load, Aarch64.syscall, store, Aarch64.syscall)
    second = arm.machine.clone_vcpu(arm.vcpu)
    for others, failed in ((False, 0), (True, 1)):
        words[arm.data >> 3] = 5
        arm.set(pc=CODE, pointer=DATA, value=7)
        arm.run_to_syscall()
        if others:  # what they write may be what was there: the monitor must not go by the value
            second.regs[Aarch64.pc] = CODE + 4
            assert second.run() == EXIT_SYSCALL
        arm.run_to_syscall()
        assert (arm.regs[3], words[arm.data >> 3]) == (failed, 5 if failed else 7)


def test_only_watched_signals_interrupt(x86: Guest) -> None:
    emulator(x86).watch({signal.SIGUSR2})

    def body() -> list[int]:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        emulator(x86).after_fork(x86.vcpu)
        x86.place(x86.snippets.spin)
        sent: list[int] = []

        def send() -> None:
            for number in (signal.SIGUSR1, signal.SIGUSR2):
                time.sleep(0.05)
                sent.append(number)
                os.kill(os.getpid(), number)

        thread = threading.Thread(target=send)
        thread.start()
        assert x86.vcpu.run() == EXIT_INTERRUPTED
        thread.join()
        return sent

    assert in_child(body) == [signal.SIGUSR1, signal.SIGUSR2]


def test_a_signal_that_is_never_taken_does_not_stop_the_guest(x86: Guest) -> None:
    def body() -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        emulator(x86).after_fork(x86.vcpu)
        os.kill(os.getpid(), signal.SIGUSR1)
        x86.place(x86.snippets.count_up)
        x86.set(counter=0)
        interrupted = 0
        while x86.get("counter") < 5000:
            interrupted += x86.vcpu.run() == EXIT_INTERRUPTED
        return interrupted

    assert 1 <= in_child(body) < 100


def test_signals_are_noticed_without_signalfd(x86: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "other")

    def body() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        emulator(x86).after_fork(x86.vcpu)
        x86.place(x86.snippets.spin)
        for _ in range(3):
            signal.setitimer(signal.ITIMER_PROF, 0.01)
            while not take_signal({signal.SIGPROF}):
                assert x86.vcpu.run() == EXIT_INTERRUPTED

    in_child(body)
