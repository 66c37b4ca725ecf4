"""Calls about words that are answered inside the guest (noah.vm.kvm.words)."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
from typing import TYPE_CHECKING, Final, cast

import pytest
from tests.engines.guest import CODE, DATA, Guest, in_child, take_signal

from noah.vm.api import EXIT_INTERRUPTED, EXIT_SYSCALL, CopyCalls, WordCalls
from noah.vm.arch.x86_64 import R8, R9, R10, R11, RAX, RBP, RBX, RCX, RDI, RDX, RFLAGS, RIP, RSI, RSP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from noah.vm.kvm import KvmMachine

NUMBER, WAKE, WAIT, WAIT_BITS, CHANGED = 202, 0x81, 0x80, 0x89, 11
COPY, HOW, COUNT = 13, 8, 64
PLAIN, SETTABLE = (0, 0x400_0000, 0, 0), (1 << 63) - 1 & ~(1 << 8)
LAST: Final = 0x63_0000
TIMES: Final = 5000
IF: Final = 0x200
# syscall; mov %rax,%rbx; mov $LAST,%eax; syscall
ONCE: Final = bytes.fromhex("0f05 4889c3 b800006300 0f05")
# again: mov $NUMBER,%eax; syscall; add %rax,%rbp; dec %ebx; jne again; mov $LAST,%eax; syscall
LOOP: Final = bytes.fromhex("b8ca000000 0f05 4801c5 ffcb 75f2 b800006300 0f05")


class Words(Guest):
    """A guest some of whose calls are answered inside; `table` tells where somebody waits, `entries` are copied."""

    table: memoryview
    entries: memoryview

    def copy(self, index: int, to: int = DATA, *, second: int = 0, how: int = HOW, flags: int = 0) -> bool:
        """Whether a call for an entry was answered inside the guest."""
        self.place(ONCE)
        regs = self.regs
        arguments = {RDI: index, RSI: second, RDX: to, R10: how, R8: 1, R9: 2}
        for register, content in arguments.items():
            regs[register] = content
        regs[RAX], regs[RFLAGS] = COPY, IF | flags | 2
        assert self.vcpu.run() == EXIT_SYSCALL
        assert {register: regs[register] for register in arguments} == arguments
        if regs[RIP] == CODE + 2:
            assert (regs[RAX], regs[RCX], regs[R11]) == (COPY, CODE + 2, IF | flags | 2)
            return False
        assert (regs[RAX], regs[RBX]) == (LAST, 0)
        return True

    def call(self, operation: int, *, word: int = DATA, value: int = 0, limit: int = 0, mask: int = 0) -> int | None:
        """What the call gave inside the guest, None if it left it."""
        self.place(ONCE)
        regs = self.regs
        arguments = {RDI: word, RSI: operation, RDX: value, R10: limit, R8: 1, R9: mask}
        for register, content in arguments.items():
            regs[register] = content
        regs[RAX], regs[RFLAGS] = NUMBER, IF | 2
        assert self.vcpu.run() == EXIT_SYSCALL
        assert {register: regs[register] for register in arguments} == arguments
        if regs[RIP] == CODE + 2:
            assert (regs[RAX], regs[RCX]) == (NUMBER, CODE + 2)
            return None
        assert regs[RAX] == LAST
        return int(regs[RBX] ^ 1 << 63) - (1 << 63)


@pytest.fixture
def guest() -> Iterator[Words]:
    guest = Words("kvm")
    calls = WordCalls(NUMBER, WAKE, (WAIT,), (WAIT_BITS,), CHANGED), CopyCalls(COPY, HOW, COUNT, PLAIN, SETTABLE)
    inside = guest.machine.answer_inside(*calls)
    if inside is None:
        guest.close()
        pytest.skip("on this KVM an exit is cheap")
    guest.table, guest.entries = inside
    yield guest
    guest.close()


def put(guest: Guest, word: int) -> None:
    struct.pack_into("<I", guest.machine.arena.view, guest.data, word)


def test_wake_of_nobody_is_answered_inside(guest: Words) -> None:
    assert guest.call(WAKE) == 0
    assert guest.call(WAKE, word=0x10) == 0  # nothing is mapped there: nobody waits
    guest.table[DATA & 0xFF] = 1
    assert guest.call(WAKE) is None
    assert guest.call(WAKE, word=DATA + 4) == 0


def test_wait_for_another_value_is_answered_inside(guest: Words) -> None:
    put(guest, 7)
    assert guest.call(WAIT, value=6) == -CHANGED
    assert guest.call(WAIT, value=7) is None
    assert guest.call(WAIT, value=6, limit=DATA) is None  # which may be wrong
    assert guest.call(WAIT_BITS, value=6, mask=2) == -CHANGED
    assert guest.call(WAIT_BITS, value=6) is None


@pytest.mark.parametrize("word", [DATA + 1, DATA + 2, 1 << 47, 0xFFFF_8000_0000_0000])
@pytest.mark.parametrize("operation", [WAKE, WAIT])
def test_wrong_addresses_leave_the_guest(guest: Words, operation: int, word: int) -> None:
    assert guest.call(operation, word=word) is None


def test_word_that_is_not_there_leaves_the_guest(guest: Words) -> None:
    assert guest.call(WAIT, word=0x10) is None
    assert guest.call(WAIT, word=0x60_0000, value=3) is None


def test_other_calls_leave_the_guest(guest: Words) -> None:
    assert guest.call(WAKE ^ 0x80) is None
    guest.place(ONCE)
    guest.regs[RAX], guest.regs[RSI] = NUMBER + 1, WAKE
    assert guest.vcpu.run() == EXIT_SYSCALL
    assert (guest.regs[RAX], guest.regs[RIP]) == (NUMBER + 1, CODE + 2)


@pytest.mark.parametrize("flags", [0x8D5, 0x800, 0x0D5, 0x41, 0])
@pytest.mark.parametrize("operation", [WAKE, WAIT])
def test_flags_are_what_linux_leaves(guest: Words, flags: int, operation: int) -> None:
    put(guest, 1)
    # syscall; pushf; pop %rbx; mov %r11,%rbp; mov %rcx,%rdi; mov $LAST,%eax; syscall
    guest.place(bytes.fromhex("0f05 9c5b 4c89dd 4889cf b800006300 0f05"))
    guest.page(0x60_0000, 3)
    regs = guest.regs
    regs[RSP], regs[RDI], regs[RSI], regs[RDX], regs[R10] = 0x60_1000, DATA, operation, 0, 0
    regs[RAX], regs[RFLAGS] = NUMBER, IF | flags | 2
    assert guest.vcpu.run() == EXIT_SYSCALL
    assert regs[RAX] == LAST
    assert regs[RBX] == regs[RBP] == IF | flags | 2
    assert regs[RDI] == CODE + 2


def test_direction_flag_leaves_the_guest(guest: Words) -> None:
    guest.place(ONCE)
    guest.regs[RAX], guest.regs[RDI], guest.regs[RSI], guest.regs[RFLAGS] = NUMBER, DATA, WAKE, IF | 0x402
    assert guest.vcpu.run() == EXIT_SYSCALL
    assert (guest.regs[RIP], guest.regs[RAX], guest.regs[R11]) == (CODE + 2, NUMBER, IF | 0x402)


def test_word_that_changes_is_seen_where_there_are_two_vcpus(guest: Words) -> None:
    twin = guest.machine.clone_vcpu(guest.vcpu)
    put(guest, 0)
    assert guest.call(WAIT) is None  # it has been watched in vain
    seen = 0
    for _ in range(200):
        put(guest, 0)
        threading.Timer(0.00002, put, (guest, 1)).start()
        time.sleep(0)
        seen += guest.call(WAIT) is not None
    assert seen or len(os.sched_getaffinity(0)) < 2
    guest.machine.free_vcpu(twin)


def test_interruptions_lose_no_call_and_make_none_twice(guest: Words) -> None:
    def run() -> tuple[int, int, int, int]:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        machine = cast("KvmMachine", guest.machine)
        machine.after_fork(guest.vcpu)
        machine._install_words(watch=True)
        done = threading.Event()
        main = threading.get_ident()

        def disturb() -> None:
            while not done.wait(0.0003):
                signal.pthread_kill(main, signal.SIGUSR1)

        threading.Thread(target=disturb, daemon=True).start()
        regs = guest.regs
        made = rounds = total = exits = 0
        ends = time.monotonic() + 3
        while time.monotonic() < ends and exits < 100:
            rounds += 1
            operation = (WAKE, WAIT)[rounds % 2]
            guest.place(LOOP)
            put(guest, rounds % 3)
            regs[RBX], regs[RBP] = TIMES if operation == WAKE or rounds % 3 else 20, 0
            regs[RDI], regs[RSI], regs[RDX], regs[R10] = DATA, operation, 0, 0
            wanted = int(regs[RBX])
            while (kind := guest.vcpu.run()) == EXIT_INTERRUPTED or regs[RAX] != LAST:
                if kind == EXIT_INTERRUPTED:
                    take_signal({signal.SIGUSR1})
                    continue
                assert kind == EXIT_SYSCALL
                assert (regs[RAX], regs[RIP], regs[RDI]) == (NUMBER, CODE + 7, DATA)
                exits += 1
                take_signal({signal.SIGUSR1})
                regs[RAX] = -CHANGED & (1 << 64) - 1 if operation == WAIT and rounds % 3 else 0
            gave = -CHANGED * wanted if operation == WAIT and rounds % 3 else 0
            made += regs[RBP] == gave & (1 << 64) - 1
            total += 1
        done.set()
        return made, total, rounds, exits

    guest.machine.before_fork(guest.vcpu)
    made, total, rounds, exits = in_child(run)
    assert made == total == rounds
    assert exits


def test_new_program_has_them_too(guest: Words) -> None:
    guest.table[:] = b"\x01" * 256
    guest.machine.reset()
    guest.set_up()
    assert guest.call(WAKE) == 0


@pytest.fixture
def filled(guest: Words) -> Words:
    guest.entries[8:] = bytes(range(256)) * 8
    guest.entries[0] = 1
    return guest


def copied(guest: Words) -> bytes:
    return bytes(guest.machine.arena.view[guest.data : guest.data + 40])


@pytest.mark.parametrize("index", [1, 2, 63, 64, 1 << 32 | 3])
def test_entry_is_copied_inside(filled: Words, index: int) -> None:
    filled.machine.arena.view[filled.data : filled.data + 40] = b"x" * 40
    assert filled.copy(index)
    at = 8 + ((index & 0xFFFF_FFFF) - 1) * 32
    assert copied(filled) == bytes(filled.entries[at : at + 32]) + b"x" * 8


@pytest.mark.parametrize("index", [0, 65, -1 & (1 << 64) - 1, 1 << 31])
def test_entry_that_does_not_exist_leaves_the_guest(filled: Words, index: int) -> None:
    assert not filled.copy(index)


@pytest.mark.parametrize("to", [0, 0x10, 0x60_0000, CODE, 1 << 47, 0xFFFF_8000_0000_0000])
def test_copy_to_a_wrong_address_leaves_the_guest(filled: Words, to: int) -> None:
    assert not filled.copy(3, to)


def test_copy_over_the_end_of_a_page_leaves_the_guest(filled: Words) -> None:
    assert filled.copy(3, DATA + 0xFE0)
    assert not filled.copy(3, DATA + 0xFE8)


def test_other_copies_leave_the_guest(filled: Words) -> None:
    assert not filled.copy(3, DATA, second=DATA)
    assert not filled.copy(3, how=4)
    assert not filled.copy(3, flags=0x400)
    filled.entries[0] = 0
    assert not filled.copy(3)


def offer(guest: Words, *words: int) -> None:
    struct.pack_into("<4Q", guest.machine.arena.view, guest.data, *words)


@pytest.mark.parametrize("index", [1, 63, 1 << 32 | 3])
def test_entry_becomes_plain_inside(guest: Words, index: int) -> None:
    at = 8 + ((index & 0xFFFF_FFFF) - 1) * 32
    guest.entries[0] = 1
    struct.pack_into("<4Q", guest.entries, at, 0, 5, 6, 7)
    before = bytes(guest.entries)
    offer(guest, 0, 0x400_0000, 1 << 63 | 9, 0)
    assert guest.copy(index, 0, second=DATA)
    expected = struct.pack("<4Q", 0, 0x400_0000, 1 << 63 | 9, 0)
    assert bytes(guest.entries) == before[:at] + expected + before[at + 32 :]


@pytest.mark.parametrize("index", [0, 9, 64, 65, 1 << 31])
def test_entry_that_may_not_be_set_leaves_the_guest(guest: Words, index: int) -> None:
    guest.entries[0] = 1
    before = bytes(guest.entries)
    offer(guest, *PLAIN)
    assert not guest.copy(index, 0, second=DATA)
    assert bytes(guest.entries) == before


@pytest.mark.parametrize("second", [0x10, 0x60_0000, DATA + 0xFE8, 1 << 47, 0xFFFF_8000_0000_0000])
def test_set_from_a_wrong_address_leaves_the_guest(guest: Words, second: int) -> None:
    guest.entries[0] = 1
    assert not guest.copy(3, 0, second=second)


def test_other_sets_leave_the_guest(guest: Words) -> None:
    for words in ((1, 0x400_0000, 0, 0), (0, 0, 0, 0), (0, 0x400_0001, 0, 0), (0, 0x400_0000, 0, 1)):
        guest.entries[0] = 1
        offer(guest, *words)
        assert not guest.copy(3, 0, second=DATA)
    offer(guest, *PLAIN)
    assert not guest.copy(3, DATA, second=DATA)
    assert not guest.copy(3, 0, second=DATA, how=4)
    assert guest.copy(3, 0, second=DATA)
    struct.pack_into("<Q", guest.entries, 8 + 2 * 32, 1)
    assert not guest.copy(3, 0, second=DATA)
    guest.entries[0] = 0
    assert not guest.copy(4, 0, second=DATA)


@pytest.mark.parametrize("flags", [0x8D5, 0x800, 0x0D5, 0x41])
def test_copy_keeps_the_flags(filled: Words, flags: int) -> None:
    # syscall; pushf; pop %rbx; mov $LAST,%eax; syscall
    filled.place(bytes.fromhex("0f05 9c5b b800006300 0f05"))
    filled.page(0x60_0000, 3)
    regs = filled.regs
    regs[RSP], regs[RDI], regs[RSI], regs[RDX], regs[R10] = 0x60_1000, 1, 0, DATA, HOW
    regs[RAX], regs[RFLAGS] = COPY, IF | flags | 2
    assert filled.vcpu.run() == EXIT_SYSCALL
    assert (regs[RAX], regs[RBX]) == (LAST, IF | flags | 2)


def test_new_program_has_no_entries(filled: Words) -> None:
    filled.machine.reset()
    filled.set_up()
    assert not filled.copy(1)


def test_interruptions_leave_a_copy_as_it_was_made(filled: Words) -> None:
    def run() -> tuple[int, int]:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        filled.machine.after_fork(filled.vcpu)
        # again: mov $COPY,%eax; syscall; add %rax,%rbp; add %rsi,%rbp; dec %ebx; jne again; mov $LAST,%eax; syscall
        filled.place(bytes.fromhex("b80d000000 0f05 4801c5 4801f5 ffcb 75ef b800006300 0f05"))
        regs = filled.vcpu.regs
        regs[RDI], regs[RSI], regs[RDX], regs[R10] = 5, 0, DATA, HOW
        regs[RBX], regs[RBP], regs[RFLAGS] = 20 * TIMES, 0, IF | 2
        pid = os.getpid()
        done = threading.Event()

        def disturb() -> None:
            while not done.wait(0.0005):
                os.kill(pid, signal.SIGUSR1)

        threading.Thread(target=disturb, daemon=True).start()
        exits = 0
        while True:
            kind = filled.vcpu.run()
            regs = filled.vcpu.regs
            if kind == EXIT_INTERRUPTED:
                exits += take_signal({signal.SIGUSR1}) is not None
            elif regs[RAX] == LAST:
                break
            else:  # it left the guest in its course
                assert (kind, regs[RAX], regs[RSI]) == (EXIT_SYSCALL, COPY, 0)
                regs[RAX] = 0
                exits += take_signal({signal.SIGUSR1}) is not None
        done.set()
        return regs[RBP], exits

    filled.machine.before_fork(filled.vcpu)
    total, exits = in_child(run)
    assert total == 0
    assert exits
    assert copied(filled)[:32] == bytes(32)  # the child's memory is its own
