"""What noah.vm.api promises, on every engine."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
from array import array

import pytest
from tests.engines.guest import CODE, DATA, SPARE, X86_ENGINES, Guest, in_child, take_signal

from noah.vm.api import (
    EXEC,
    EXIT_EXCEPTION,
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_SYSCALL,
    READ,
    WRITE,
)
from noah.vm.arch import x86_64
from noah.vm.arena import PAGE

on_x86 = pytest.mark.parametrize("guest", X86_ENGINES, indirect=True)


# -- system calls and registers


def test_syscall_carries_arguments_and_result(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.syscall, s.copy_result, s.syscall)
    guest.regs[s.number] = 0x1234
    for index, register in enumerate(s.args):
        guest.regs[register] = 0x1111_2222_3333_0000 + index
    guest.run_to_syscall()
    assert guest.regs[s.number] == 0x1234
    assert [guest.regs[r] for r in s.args] == [0x1111_2222_3333_0000 + i for i in range(6)]
    assert guest.get("pc") == CODE + len(s.syscall)
    guest.set(result=0xFEDC_BA98_7654_3210)
    guest.run_to_syscall()
    assert guest.get("copy_of_result") == 0xFEDC_BA98_7654_3210
    assert guest.get("pc") == CODE + len(s.syscall + s.copy_result + s.syscall)


def test_syscall_leaves_other_registers(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.syscall, s.syscall)
    special = {s.pc, s.count - 1, x86_64.RCX, x86_64.R11}  # the last one is the flags
    values = {r: 0x8000_0000_0000_1000 + r for r in range(s.count) if r not in special}
    for register, value in values.items():
        guest.regs[register] = value
    for _ in range(2):
        guest.run_to_syscall()
        assert {r: guest.regs[r] for r in values} == values


@on_x86
def test_syscall_gives_rip_and_flags_in_rcx_and_r11(guest: Guest) -> None:
    guest.place(b"\xf9\xfd\x0f\x05")  # stc; std; syscall
    guest.run_to_syscall()
    regs = guest.regs
    assert regs[x86_64.RIP] == regs[x86_64.RCX] == CODE + 4
    assert regs[x86_64.RFLAGS] == regs[x86_64.R11]
    assert regs[x86_64.RFLAGS] & 0x601 == 0x601  # DF, IF, CF


def test_flags_cannot_give_privileges(guest: Guest) -> None:
    s = guest.snippets
    guest.place(*(next(iter(s.privileged.values())),))
    guest.regs[s.count - 1] = 0x3000 if s.name == "x86_64" else 0x5  # IOPL 3; EL1h
    assert guest.vcpu.run() == EXIT_EXCEPTION


def test_registers_changed_between_runs_are_used(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.syscall, s.spin)
    for round_ in range(3):
        guest.run_to_syscall()
        # Not behind the call, where a fast way back may lead, but elsewhere.
        guest.set(pc=CODE, sp=DATA + 0x100 * round_, value=round_)
        guest.run_to_syscall()
        assert guest.get("sp") == DATA + 0x100 * round_
        assert guest.get("value") == round_
        guest.set(pc=CODE)


# -- faults


@pytest.mark.parametrize("what", ["load", "store"])
def test_fault_on_unmapped_memory_restarts(guest: Guest, what: str) -> None:
    s = guest.snippets
    guest.place(getattr(s, what), s.syscall)
    address = SPARE + 0x128
    guest.set(pointer=address, value=0x55AA)
    before = list(guest.regs)
    for _ in range(2):
        assert guest.vcpu.run() == EXIT_FAULT
        assert guest.vcpu.fault_address == address
        assert guest.vcpu.fault_access == (WRITE if what == "store" else READ)
        assert not guest.vcpu.fault_present
        assert list(guest.regs)[:-1] == before[:-1]
    offset = guest.page(SPARE, READ | WRITE)
    guest.machine.arena.words[(offset + 0x128) >> 3] = 0x77
    guest.run_to_syscall()
    if what == "store":
        assert guest.word(offset + 0x128) == 0x55AA
    else:
        assert guest.get("value") == 0x77


def test_fault_on_execution_restarts(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.jump)
    guest.set(pointer=SPARE + 0x40)
    assert guest.vcpu.run() == EXIT_FAULT
    assert guest.vcpu.fault_address == SPARE + 0x40
    assert guest.vcpu.fault_access == EXEC
    assert not guest.vcpu.fault_present
    assert guest.get("pc") == SPARE + 0x40
    offset = guest.page(SPARE, READ | EXEC)
    guest.write(offset + 0x40, s.syscall)
    guest.run_to_syscall()
    assert guest.get("pc") == SPARE + 0x40 + len(s.syscall)


def test_execution_of_data_faults(guest: Guest) -> None:
    s = guest.snippets
    guest.write(guest.data, s.syscall)
    guest.set(pc=DATA)
    assert guest.vcpu.run() == EXIT_FAULT
    assert (guest.vcpu.fault_address, guest.vcpu.fault_access) == (DATA, EXEC)
    assert guest.vcpu.fault_present


def test_write_to_read_only_memory_faults(guest: Guest) -> None:
    s = guest.snippets
    guest.page(SPARE, READ)
    guest.place(s.store, s.syscall)
    guest.set(pointer=SPARE)
    assert guest.vcpu.run() == EXIT_FAULT
    assert (guest.vcpu.fault_address, guest.vcpu.fault_access) == (SPARE, WRITE)
    assert guest.vcpu.fault_present


def test_access_across_a_page_end_faults_in_the_second_page(guest: Guest) -> None:
    s = guest.snippets
    first = guest.page(SPARE, READ | WRITE)
    guest.place(s.store, s.syscall)
    guest.set(pointer=SPARE + PAGE - 3, value=0x8877_6655_4433_2211)
    assert guest.vcpu.run() == EXIT_FAULT
    assert guest.vcpu.fault_access == WRITE
    assert guest.vcpu.fault_address == SPARE + PAGE
    assert guest.word(first + PAGE - 8) == 0, "half of the store was done"
    second = guest.page(SPARE + PAGE, READ | WRITE)
    guest.run_to_syscall()
    view = guest.machine.arena.view
    assert bytes(view[first + PAGE - 3 : first + PAGE]) == b"\x11\x22\x33"
    assert bytes(view[second : second + 5]) == b"\x44\x55\x66\x77\x88"


def test_fault_at_address_zero(guest: Guest) -> None:
    guest.set(pc=0)
    assert guest.vcpu.run() == EXIT_FAULT
    assert (guest.vcpu.fault_address, guest.vcpu.fault_access) == (0, EXEC)


def test_last_page_of_user_space(guest: Guest) -> None:
    s = guest.snippets
    limit = guest.machine.user_limit
    offset = guest.page(limit - PAGE, READ | WRITE)
    guest.place(s.store, s.syscall)
    guest.set(pointer=limit - 8, value=7)
    guest.run_to_syscall()
    assert guest.word(offset + PAGE - 8) == 7
    if guest.engine != "kvm":  # which keeps pages of its own there
        guest.set(pc=CODE, pointer=limit)
        assert guest.vcpu.run() == EXIT_FAULT
        assert (guest.vcpu.fault_address, guest.vcpu.fault_access) == (limit, WRITE)


# -- changes of the mappings


def test_protection_taken_away_is_gone_at_once(guest: Guest) -> None:
    s = guest.snippets
    offset = guest.page(SPARE, READ | WRITE)
    guest.place(s.store, s.load, s.syscall)
    guest.set(pointer=SPARE, value=1)
    guest.run_to_syscall()
    guest.machine.protect(SPARE, PAGE, offset, READ)
    guest.set(pc=CODE, value=2)
    assert guest.vcpu.run() == EXIT_FAULT
    assert (guest.vcpu.fault_address, guest.vcpu.fault_access, guest.vcpu.fault_present) == (SPARE, WRITE, True)
    assert guest.word(offset) == 1
    guest.machine.protect(SPARE, PAGE, offset, 0)
    guest.set(pc=CODE + len(s.store))
    assert guest.vcpu.run() == EXIT_FAULT
    assert (guest.vcpu.fault_address, guest.vcpu.fault_access) == (SPARE, READ)
    guest.machine.protect(SPARE, PAGE, offset, READ | WRITE)
    guest.set(pc=CODE, value=2)
    guest.run_to_syscall()
    assert guest.word(offset) == 2


def test_execute_permission_taken_away_is_gone_at_once(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.syscall, s.syscall)
    guest.run_to_syscall()
    guest.machine.protect(CODE, PAGE, guest.code, READ)
    assert guest.vcpu.run() == EXIT_FAULT
    assert (guest.vcpu.fault_address, guest.vcpu.fault_access) == (CODE + len(s.syscall), EXEC)
    guest.machine.protect(CODE, PAGE, guest.code, READ | EXEC)
    guest.run_to_syscall()


def test_unmapped_memory_is_gone_at_once(guest: Guest) -> None:
    s = guest.snippets
    offset = guest.page(SPARE, READ | WRITE)
    guest.place(s.load, s.syscall)
    guest.set(pointer=SPARE)
    guest.run_to_syscall()
    guest.machine.unmap(SPARE, PAGE)
    guest.machine.arena.free(offset, PAGE)
    guest.set(pc=CODE)
    assert guest.vcpu.run() == EXIT_FAULT
    assert guest.vcpu.fault_address == SPARE


def test_unmapped_memory_that_stays_allocated_is_gone_after_flush(guest: Guest) -> None:
    s = guest.snippets
    offset = guest.page(SPARE, READ | WRITE)
    guest.place(s.load, s.syscall)
    guest.set(pointer=SPARE)
    guest.run_to_syscall()
    guest.machine.unmap(SPARE, PAGE)
    guest.machine.flush(offset, PAGE)
    guest.set(pc=CODE)
    assert guest.vcpu.run() == EXIT_FAULT


def test_other_memory_at_the_same_address_is_seen_at_once(guest: Guest) -> None:
    s = guest.snippets
    offset = guest.page(SPARE, READ | WRITE)
    guest.place(s.load, s.syscall)
    for number in range(1, 6):
        guest.machine.arena.words[offset >> 3] = number
        guest.set(pc=CODE, pointer=SPARE)
        guest.run_to_syscall()
        assert guest.get("value") == number
        guest.machine.unmap(SPARE, PAGE)
        guest.machine.arena.free(offset, PAGE)
        offset = guest.page(SPARE, READ | WRITE)


def test_parts_of_a_mapping_change_alone(guest: Guest) -> None:
    s = guest.snippets
    offset = guest.page(SPARE, READ | WRITE, pages=5)
    for index in range(5):
        guest.machine.arena.words[(offset + index * PAGE) >> 3] = 100 + index
    guest.machine.protect(SPARE + PAGE, PAGE, offset + PAGE, READ)
    guest.machine.unmap(SPARE + 3 * PAGE, PAGE)
    guest.machine.flush(offset + 3 * PAGE, PAGE)
    guest.place(s.load, s.syscall)
    seen = []
    for index in range(5):
        guest.set(pc=CODE, pointer=SPARE + index * PAGE)
        seen.append(guest.get("value") if guest.vcpu.run() == EXIT_SYSCALL else None)
    assert seen == [100, 101, 102, None, 104]
    guest.fresh(s.store, s.syscall)
    seen = []
    for index in range(5):
        guest.set(pc=CODE, pointer=SPARE + index * PAGE)
        seen.append(guest.vcpu.run() == EXIT_SYSCALL)
    assert seen == [True, False, True, False, True]


def test_large_mapping(guest: Guest) -> None:
    s = guest.snippets
    length = 1 << 30
    arena = guest.machine.arena
    offset = arena.alloc(length, SPARE)
    arena.anonymous(offset, length)
    guest.machine.map(SPARE, length, offset, READ | WRITE)
    hole = SPARE + (300 << 20) + PAGE
    guest.machine.unmap(hole, PAGE)
    guest.machine.flush(offset + hole - SPARE, PAGE)
    guest.place(s.store, s.syscall)
    for at in (SPARE, SPARE + (700 << 20), hole - PAGE, hole + PAGE, SPARE + length - 8):
        guest.set(pc=CODE, pointer=at, value=at)
        kind = guest.vcpu.run()
        if kind == EXIT_FAULT:
            assert guest.vcpu.fault_address == at
            assert guest.machine.fill(at)
            kind = guest.vcpu.run()
        assert kind == EXIT_SYSCALL
        assert guest.word(offset + at - SPARE) == at
    guest.set(pc=CODE, pointer=hole)
    assert guest.vcpu.run() == EXIT_FAULT
    assert guest.vcpu.fault_address == hole
    assert not guest.machine.fill(hole)


# -- code that changes


def test_code_written_by_the_guest_runs(guest: Guest) -> None:
    s = guest.snippets
    offset = guest.page(SPARE, READ | WRITE | EXEC)
    guest.place(s.store, s.jump)
    for data, number in ((s.made_code[0], 0x11), (s.made_code[1], 0x22), (s.made_code[0], 0x11)):
        guest.set(pc=CODE, pointer=SPARE, value=int.from_bytes(data, "little"))
        guest.run_to_syscall()
        assert guest.get("value") == number
    assert guest.word(offset) == int.from_bytes(s.made_code[0], "little")


@pytest.mark.parametrize("guest", ["kvm"], indirect=True)
def test_code_changed_through_another_address_runs(guest: Guest) -> None:
    """Not promised by the emulator (see its docstring)."""
    s = guest.snippets
    offset = guest.page(SPARE, READ | EXEC)
    guest.machine.map(DATA + PAGE, PAGE, offset, READ | WRITE)
    guest.place(s.store, s.syscall, s.jump)
    for data, number in ((s.made_code[0], 0x11), (s.made_code[1], 0x22)):
        guest.set(pc=CODE, pointer=DATA + PAGE, value=int.from_bytes(data, "little"))
        guest.run_to_syscall()
        guest.set(pointer=SPARE)
        guest.run_to_syscall()
        assert guest.get("value") == number


def test_code_that_the_host_places_anew_runs(guest: Guest) -> None:
    """munmap and mmap of a library: the same address, and often the same offset in the arena."""
    s = guest.snippets
    guest.place(s.call_then_syscall)
    offset = guest.page(SPARE, READ | EXEC)
    offsets = set()
    for number in (0x11, 0x22, 0x11, 0x22):
        guest.machine.unmap(SPARE, PAGE)
        guest.machine.arena.free(offset, PAGE)
        offset = guest.machine.arena.alloc(PAGE)
        offsets.add(offset)
        guest.machine.arena.anonymous(offset, PAGE)
        guest.write(offset, s.made_function[number == 0x22])
        guest.machine.map(SPARE, PAGE, offset, READ | EXEC)
        guest.set(pc=CODE, pointer=SPARE, sp=DATA + 0x800)
        guest.run_to_syscall()
        assert guest.get("value") == number
    assert len(offsets) == 1, "the test wants the same memory each time"


def test_code_that_the_host_writes_while_it_is_not_executable_runs(guest: Guest) -> None:
    """read() into a buffer that then becomes executable."""
    s = guest.snippets
    guest.place(s.call_then_syscall)
    offset = guest.page(SPARE, READ | WRITE)
    for number in (0x11, 0x22, 0x11):
        guest.machine.protect(SPARE, PAGE, offset, READ | WRITE)
        guest.write(offset, s.made_function[number == 0x22])
        guest.machine.protect(SPARE, PAGE, offset, READ | EXEC)
        guest.set(pc=CODE, pointer=SPARE, sp=DATA + 0x800)
        guest.run_to_syscall()
        assert guest.get("value") == number


# -- interruption


def test_kick_before_run_is_kept(guest: Guest) -> None:
    guest.place(guest.snippets.spin)
    for _ in range(3):
        guest.vcpu.kick()
        assert guest.vcpu.run() == EXIT_INTERRUPTED
        assert guest.get("pc") == CODE


def test_kick_is_used_up_by_one_run(guest: Guest) -> None:
    guest.place(guest.snippets.syscall)
    guest.vcpu.kick()
    assert guest.vcpu.run() == EXIT_INTERRUPTED
    guest.run_to_syscall()


def test_kick_from_another_thread_stops_a_loop(guest: Guest) -> None:
    s = guest.snippets

    def body() -> float:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        guest.place(s.count_for_ever)
        guest.set(counter=0)
        late = 0.0
        for _ in range(5):
            kicked = array("d", (0.0,))

            def kick(when: array[float] = kicked) -> None:
                time.sleep(0.01)
                when[0] = time.monotonic()
                guest.vcpu.kick()

            thread = threading.Thread(target=kick)
            thread.start()
            assert guest.vcpu.run() == EXIT_INTERRUPTED
            late = max(late, time.monotonic() - kicked[0])
            thread.join()
            while take_signal(signal.valid_signals()):
                pass  # the signal that a kick may use is the owner's to take
        assert guest.get("counter") > 0
        return late

    assert in_child_after_fork(guest, body) < 0.5


def test_host_signal_stops_a_loop_and_stays_pending(guest: Guest) -> None:
    s = guest.snippets
    numbers = {signal.SIGPROF, signal.SIGUSR1, signal.SIGUSR2}

    def body() -> tuple[int, int]:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        guest.place(s.count_for_ever)
        signal.setitimer(signal.ITIMER_PROF, 0.02, 0.002)
        taken = spurious = 0
        deadline = time.monotonic() + 10
        while taken < 20 and time.monotonic() < deadline:
            assert guest.vcpu.run() == EXIT_INTERRUPTED
            if take_signal(numbers) is None:
                spurious += 1
            else:
                taken += 1
                if taken == 10:  # two at once: one remains when the other was taken
                    os.kill(os.getpid(), signal.SIGUSR1)
                    os.kill(os.getpid(), signal.SIGUSR2)
        signal.setitimer(signal.ITIMER_PROF, 0)
        return taken, spurious

    taken, spurious = in_child_after_fork(guest, body)
    assert taken == 20
    assert spurious <= 25


def test_pending_host_signal_stops_the_next_run(guest: Guest) -> None:
    s = guest.snippets

    def body() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        os.kill(os.getpid(), signal.SIGUSR1)
        guest.place(s.spin)
        assert guest.vcpu.run() == EXIT_INTERRUPTED
        assert take_signal({signal.SIGUSR1})

    in_child_after_fork(guest, body)


# -- state beside the registers


def test_fp_computes(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.double, s.syscall)
    guest.set(pointer=int.from_bytes(struct.pack("<d", 1.25), "little"))
    guest.run_to_syscall()
    assert struct.unpack("<d", guest.get("value").to_bytes(8, "little")) == (2.5,)


def test_fp_state_is_read_and_written(guest: Guest) -> None:
    s = guest.snippets
    pattern = bytes(range(0x40, 0x50))
    guest.write(guest.data, pattern)
    guest.place(s.memory_to_vector, s.syscall, s.vector_to_memory, s.syscall)
    guest.set(pointer=DATA)
    guest.run_to_syscall()
    state = bytearray(guest.vcpu.get_fp())
    assert state[s.vector_offset : s.vector_offset + 16] == pattern
    state[s.vector_offset : s.vector_offset + 16] = pattern[::-1]
    guest.vcpu.set_fp(bytes(state))
    assert guest.vcpu.get_fp()[s.vector_offset : s.vector_offset + 16] == pattern[::-1]
    guest.set(pointer=DATA + 64)
    guest.run_to_syscall()
    assert bytes(guest.machine.arena.view[guest.data + 64 : guest.data + 80]) == pattern[::-1]


def test_fp_state_starts_as_the_abi_says(guest: Guest) -> None:
    s = guest.snippets
    start = guest.vcpu.get_fp()
    guest.place(s.double, s.syscall)
    guest.set(pointer=1)
    guest.run_to_syscall()
    assert guest.vcpu.get_fp() != start
    guest.vcpu.set_fp(b"")
    again = guest.vcpu.get_fp()
    assert (again[:28], again[32:512]) == (start[:28], start[32:512])  # between them, x86-64 has MXCSR_MASK
    if s.name == "x86_64":
        control, _, tags, mxcsr = struct.unpack_from("<HHB19xI", start)
        assert (control, tags, mxcsr) == (0x37F, 0, 0x1F80)
        assert len(start) >= 576
    else:
        assert struct.unpack_from("<II", start, 512) == (0, 0)


@on_x86
def test_x87_state_survives(guest: Guest) -> None:
    # fldpi; fld1; syscall; fstp qword [rdi]; fstp qword [rdi+8]; syscall
    guest.place(b"\xd9\xeb\xd9\xe8\x0f\x05\xdd\x1f\xdd\x5f\x08\x0f\x05")
    guest.set(pointer=DATA)
    guest.run_to_syscall()
    state = guest.vcpu.get_fp()
    assert state[4] == 0b1100_0000  # two registers are not empty
    guest.vcpu.set_fp(b"")
    guest.vcpu.set_fp(state)
    guest.set(pointer=DATA)
    guest.run_to_syscall()
    values = struct.unpack("<dd", guest.machine.arena.view[guest.data : guest.data + 16])
    assert values == (1.0, pytest.approx(3.141592653589793))


def test_tls_base(guest: Guest) -> None:
    s = guest.snippets
    guest.machine.arena.words[(guest.data + 0x40) >> 3] = 0xABCD
    guest.vcpu.set_tls(DATA + 0x40)
    guest.place(s.load_tls, s.syscall)
    guest.run_to_syscall()
    assert guest.get("value") == (DATA + 0x40 if s.tls_is_address else 0xABCD)
    assert guest.vcpu.get_tls() == DATA + 0x40


@on_x86
def test_gs_base(guest: Guest) -> None:
    guest.machine.arena.words[(guest.data + 0x80) >> 3] = 0x1234
    guest.vcpu.set_gs(DATA + 0x80)
    guest.place(b"\x65\x48\x8b\x04\x25\0\0\0\0\x0f\x05")  # mov rax, gs:[0]; syscall
    guest.run_to_syscall()
    assert guest.get("value") == 0x1234
    assert guest.vcpu.get_gs() == DATA + 0x80


def test_clock_counts(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.clock, s.syscall)
    guest.run_to_syscall()
    first = guest.get("value") & 0xFFFF_FFFF
    time.sleep(0.01)
    guest.set(pc=CODE)
    guest.run_to_syscall()
    assert guest.get("value") & 0xFFFF_FFFF != first


# -- exceptions


def test_divide_by_zero(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.divide_by_zero, s.syscall)
    for _ in range(3):
        guest.set(pc=CODE, value=5)
        if not s.traps_division:
            guest.run_to_syscall()
            assert guest.get("value") == 0
            continue
        assert guest.vcpu.run() == EXIT_EXCEPTION
        assert guest.vcpu.vector == x86_64.DIVIDE_ERROR
        assert guest.get("pc") == CODE + 4


def test_undefined_instruction(guest: Guest) -> None:
    guest.place(guest.snippets.undefined)
    for _ in range(3):
        assert guest.vcpu.run() == EXIT_EXCEPTION
        assert guest.vcpu.vector == guest.snippets.undefined_vector
        assert guest.get("pc") == CODE


def test_breakpoint(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.breakpoint, s.spin)
    kind = guest.vcpu.run()
    if guest.engine == "kvm" and kind == EXIT_EXCEPTION and guest.vcpu.vector == x86_64.INVALID_OPCODE:
        pytest.skip("this KVM has no int3")
    assert kind == EXIT_EXCEPTION
    assert guest.vcpu.vector == s.breakpoint_vector
    assert guest.get("pc") == CODE + s.breakpoint_size


def test_exceptions_and_faults_follow_each_other(guest: Guest) -> None:
    """Nothing of one is left when the next one comes: never a double fault."""
    s = guest.snippets
    guest.place(s.undefined)
    guest.write(guest.code + 0x100, s.load + s.syscall)
    guest.write(guest.code + 0x200, next(iter(s.privileged.values())))
    for _ in range(3):
        for at, kind in ((0x100, EXIT_FAULT), (0x200, EXIT_EXCEPTION), (0, EXIT_EXCEPTION), (0x100, EXIT_FAULT)):
            guest.set(pc=CODE + at, pointer=SPARE)
            assert guest.vcpu.run() == kind
            if kind == EXIT_FAULT:
                assert (guest.vcpu.fault_address, guest.vcpu.fault_access) == (SPARE, READ)


# -- life


def in_child_after_fork(guest: Guest, body):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """body() in a forked child in which the guest goes on."""
    guest.machine.before_fork(guest.vcpu)

    def child():  # type: ignore[no-untyped-def]  # noqa: ANN202
        guest.machine.after_fork(guest.vcpu)
        return body()

    return in_child(child)


def test_fork_both_sides_go_on_with_private_memory(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.count_up)
    guest.set(counter=0, pointer=DATA)
    for _ in range(5):
        guest.run_to_syscall()
    guest.vcpu.set_tls(0x7777_0000)
    guest.machine.arena.words[guest.data >> 3] = 1

    def child() -> tuple[int, int, int]:
        for _ in range(10):
            guest.run_to_syscall()
        guest.fresh(s.store, s.syscall)
        guest.set(value=0xC0FFEE, pointer=DATA)
        guest.run_to_syscall()
        return guest.get("counter"), guest.vcpu.get_tls(), guest.word(guest.data)

    assert in_child_after_fork(guest, child) == (15, 0x7777_0000, 0xC0FFEE)
    assert guest.word(guest.data) == 1
    guest.run_to_syscall()
    assert guest.get("counter") == 6
    assert guest.vcpu.get_tls() == 0x7777_0000


def test_fork_of_a_forked_child(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.count_up)
    guest.set(counter=0)
    guest.run_to_syscall()

    def grandchild() -> int:
        guest.run_to_syscall()
        return guest.get("counter")

    def child() -> tuple[int, int]:
        guest.run_to_syscall()
        below = in_child_after_fork(guest, grandchild)
        guest.run_to_syscall()
        return below, guest.get("counter")

    assert in_child_after_fork(guest, child) == (3, 3)


def test_fork_with_an_empty_machine(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.count_up)
    guest.set(counter=0)
    guest.run_to_syscall()
    guest.vcpu.set_tls(0x7777_0000)
    pid = guest.machine.fork_empty(guest.vcpu, os.fork)
    if not pid:
        status = 1
        try:
            guest.vcpu.clear()
            assert (guest.get("counter"), guest.vcpu.get_tls()) == (0, 0)
            guest.set(pc=CODE)
            assert guest.vcpu.run() == EXIT_FAULT
            assert guest.vcpu.fault_address == CODE
            guest.set_up()
            guest.place(s.count_up)
            guest.run_to_syscall()
            status = guest.get("counter") - 1
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0) == (pid, 0)
    guest.run_to_syscall()
    assert (guest.get("counter"), guest.vcpu.get_tls()) == (2, 0x7777_0000)


def test_fork_that_fails_changes_nothing(guest: Guest) -> None:
    def fail() -> int:
        raise ChildProcessError

    guest.place(guest.snippets.count_up)
    guest.set(counter=0)
    with pytest.raises(ChildProcessError):
        guest.machine.fork_empty(guest.vcpu, fail)
    guest.run_to_syscall()

    def child() -> int:
        guest.run_to_syscall()
        return guest.get("counter")

    assert in_child_after_fork(guest, child) == 2


def test_write_log(guest: Guest) -> None:
    s = guest.snippets
    offset = guest.page(SPARE, READ | WRITE, pages=8)
    read_only = guest.page(SPARE + 16 * PAGE, READ)
    guest.place(s.store, s.syscall, s.load, s.syscall)
    guest.set(pointer=SPARE + PAGE)
    guest.run_to_syscall()
    guest.machine.before_fork(guest.vcpu)

    def child() -> list[int]:
        guest.machine.after_fork(guest.vcpu)
        guest.machine.begin_write_log()
        for page in (2, 5, 5):
            guest.set(pc=CODE, pointer=SPARE + page * PAGE + 8)
            guest.run_to_syscall()
        guest.set(pc=CODE + len(s.store + s.syscall), pointer=SPARE + 3 * PAGE)
        guest.run_to_syscall()
        guest.set(pc=CODE, pointer=SPARE + 16 * PAGE)
        assert guest.vcpu.run() == EXIT_FAULT, "the log made a read-only page writable"
        return guest.machine.written_pages()

    written = in_child(child)
    assert sorted(page for page in written if offset <= page < offset + 8 * PAGE) == [
        offset + 2 * PAGE,
        offset + 5 * PAGE,
    ]
    assert read_only not in written
    assert guest.code not in written


def test_reset_forgets_everything(guest: Guest) -> None:
    s = guest.snippets
    guest.place(s.load, s.syscall)
    guest.set(pointer=DATA)
    guest.run_to_syscall()
    for number in (0x11, 0x22):
        guest.machine.reset()
        guest.set(pc=CODE)
        assert guest.vcpu.run() == EXIT_FAULT
        assert guest.vcpu.fault_address == CODE
        guest.set_up()
        guest.place(s.made_code[number == 0x22])
        guest.run_to_syscall()
        assert guest.get("value") == number


def test_many_machines_one_after_the_other(guest: Guest) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        other = Guest(guest.engine)
        other.place(other.snippets.syscall)
        other.run_to_syscall()
        other.close()
    assert len(os.listdir("/proc/self/fd")) <= before
