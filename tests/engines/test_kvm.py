"""What only the KVM engine has: pages of its own in the guest, two ways back to user code, vCPUs that are used again.

`make test-svm` runs this on a KVM with the semantics of hardware.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import threading
import time
from typing import TYPE_CHECKING, Final, cast

import pytest
from tests.engines.guest import CODE, DATA, SPARE, Guest, in_child, take_signal
from tests.engines.snippets import X86

from noah.vm.api import (
    EXEC,
    EXIT_CRASHED,
    EXIT_EXCEPTION,
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_SYSCALL,
    READ,
    WRITE,
)
from noah.vm.arch import x86_system
from noah.vm.arch.x86_64 import (
    ALIGNMENT_CHECK,
    GENERAL_PROTECTION,
    INVALID_OPCODE,
    R8,
    R9,
    R11,
    RAX,
    RBX,
    RCX,
    RDI,
    RDX,
    RFLAGS,
    RIP,
    RSP,
)
from noah.vm.arch.x86_cpuid import guest_table
from noah.vm.arch.x86_system import USER_LIMIT
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from noah.vm.kvm import KvmMachine, KvmVcpu

TF: Final = 0x100
IF: Final = 0x200
NT: Final = 0x4000
RF: Final = 0x10000
AC: Final = 0x40000
NOP: Final = b"\x90"
SYSCALL: Final = X86.syscall
UD2: Final = X86.undefined
STRESS_ROUNDS: Final = 150
STRESS_LIMIT: Final = 15.0  # seconds

SYSTEM_PAGES: Final = {
    "gdt": x86_system.GDT_ADDRESS - USER_LIMIT,
    "idt": x86_system.IDT_ADDRESS - USER_LIMIT,
    "stubs": x86_system.STUBS,
    "slot": x86_system.SLOTS,
    "stack": x86_system.stack_top(0) - USER_LIMIT - 8,
}


@pytest.fixture
def guest() -> Iterator[Guest]:
    guest = Guest("kvm")
    yield guest
    guest.close()


def machine_of(guest: Guest) -> KvmMachine:
    return cast("KvmMachine", guest.machine)


def is_hardware(guest: Guest) -> bool:
    return machine_of(guest).trap_level != 0


def run_in_fork(guest: Guest, body: Callable[[], object]) -> object:
    guest.machine.before_fork(guest.vcpu)

    def child() -> object:
        guest.machine.after_fork(guest.vcpu)
        return body()

    return in_child(child)


def works(guest: Guest) -> None:
    guest.place(b"\x48\xff\xc3" + SYSCALL)  # inc rbx; syscall
    guest.regs[RBX] = 41
    guest.regs[RFLAGS] = IF
    guest.run_to_syscall()
    assert guest.regs[RBX] == 42


# -- the engine's pages


@pytest.mark.parametrize("where", SYSTEM_PAGES)
@pytest.mark.parametrize("what", ["load", "store", "jump"])
def test_engine_pages_are_out_of_reach(guest: Guest, where: str, what: str) -> None:
    address = USER_LIMIT + SYSTEM_PAGES[where]
    guest.place(getattr(X86, what), SYSCALL)
    guest.set(pointer=address)
    assert guest.vcpu.run() == EXIT_FAULT
    assert guest.vcpu.fault_address == address
    assert guest.vcpu.fault_access == {"load": READ, "store": WRITE, "jump": EXEC}[what]
    assert not guest.vcpu.fault_present, "to programs, nothing is there"
    works(guest)


def test_trap_cannot_be_changed(guest: Guest) -> None:
    guest.place(X86.store, SYSCALL)
    guest.set(pointer=x86_system.TRAP_ADDRESS, value=0x9090_9090_9090_9090)
    assert guest.vcpu.run() == EXIT_FAULT
    assert guest.vcpu.fault_address == x86_system.TRAP_ADDRESS
    works(guest)


@pytest.mark.parametrize("offset", [*range(12), 0x100, 0xFFF])
def test_jump_into_the_trap_page(guest: Guest, offset: int) -> None:
    """A fault on hardware; where user code may enter it, no worse than a system call or an exception."""

    def body() -> None:
        guest.place(X86.jump)
        guest.set(pointer=x86_system.TRAP_ADDRESS + offset, sp=DATA + 0x800)
        guest.regs[RCX], guest.regs[R11] = CODE + 0x100, 0x3202
        kind = guest.vcpu.run()
        if is_hardware(guest) or offset > 1:
            assert kind in (EXIT_FAULT, EXIT_EXCEPTION)
        if kind == EXIT_SYSCALL:
            assert guest.get("pc") == CODE + 0x100
        works(guest)

    run_in_fork(guest, body)


def test_no_32_bit_code(guest: Guest) -> None:
    guest.place(b"\x48\xcb")  # retfq
    guest.machine.arena.words[guest.data >> 3] = CODE
    guest.machine.arena.words[(guest.data + 8) >> 3] = 0x23
    guest.set(sp=DATA)
    assert guest.vcpu.run() == EXIT_EXCEPTION
    assert guest.vcpu.vector == GENERAL_PROTECTION
    works(guest)


@pytest.mark.parametrize(
    "code",
    [
        b"\xe4\x80",  # in al, 0x80
        b"\xe5\x80",  # in eax, 0x80
        b"\xe6\x80",  # out 0x80, al
        b"\xe7\x80",  # out 0x80, eax
        b"\xec",  # in al, dx
        b"\xee",  # out dx, al
        b"\x6c",  # insb
        b"\x6e",  # outsb
        b"\xf3\x6c",  # rep insb
        b"\xf3\x6e",  # rep outsb
    ],
    ids=bytes.hex,
)
def test_port_of_the_trap_is_not_the_guests(guest: Guest, code: bytes) -> None:
    guest.place(code, b"\xf4")
    guest.write(guest.code + 0x100, SYSCALL)
    for register in range(RIP):
        guest.regs[register] = 0x1111 * register
    guest.regs[RDX], guest.regs[RCX], guest.regs[RDI], guest.regs[4] = 0x80, 3, DATA, DATA
    before = list(guest.regs)[:RIP]
    assert guest.vcpu.run() == EXIT_EXCEPTION
    assert guest.vcpu.vector == GENERAL_PROTECTION
    if is_hardware(guest):
        assert guest.get("pc") == CODE
        assert list(guest.regs)[:RIP] == before
    else:  # it allows the port; output is seen behind the instruction
        assert CODE <= guest.get("pc") <= CODE + len(code)
        before[RCX] = guest.regs[RCX]
        before[4] = guest.regs[4]
        assert list(guest.regs)[:RIP] == before
    guest.set(pc=CODE + 0x100)
    guest.run_to_syscall()
    assert guest.regs[RAX] == before[RAX], "the input came later"
    assert guest.get("pc") == CODE + 0x102
    works(guest)


# -- flags and addresses on the ways back


def flags_seen(guest: Guest) -> int:
    return int(guest.regs[RBX])


@pytest.mark.parametrize("way", ["first", "syscall", "changed", "exception"])
@pytest.mark.parametrize("bit", sorted({*range(32)} - {8, 16}))  # TF and RF: see what they do, below
def test_flags_are_the_users_only(guest: Guest, way: str, bit: int) -> None:
    """CF..OF, NT, AC and ID reach user code, IF is set and IOPL and VM are not, whatever the way back."""
    flags = 1 << bit
    guest.place(SYSCALL, UD2)
    guest.write(guest.code + 0x100, b"\x9c\x5b" + SYSCALL)  # pushfq; pop rbx; syscall
    guest.set(sp=DATA + 0x800)
    if way in ("syscall", "changed"):
        guest.run_to_syscall()
    elif way == "exception":
        guest.set(pc=CODE + 2)
        assert guest.vcpu.run() == EXIT_EXCEPTION
    guest.regs[RIP] = CODE + 0x100
    guest.regs[RFLAGS] = flags | IF
    if way == "syscall":
        guest.regs[RCX], guest.regs[R11] = guest.regs[RIP], guest.regs[RFLAGS]
    guest.run_to_syscall()
    allowed = 0x244CD5 | NT | IF
    seen = flags_seen(guest)
    assert guest.regs[R11] == seen
    if is_hardware(guest):
        assert seen == flags & allowed | IF | 2
    else:  # it has no NT, and shows VIF and VIP
        assert seen & allowed & ~NT == (flags & allowed | IF) & ~NT
        assert not seen & (0x3000 | 1 << 17), "IOPL, VM"
    works(guest)


def stops(guest: Guest, count: int) -> list[tuple[str, int]]:
    """What the next runs end with, and where."""
    found = []
    for _ in range(count):
        kind = guest.vcpu.run()
        name = {EXIT_SYSCALL: "syscall", EXIT_EXCEPTION: f"#{guest.vcpu.vector}"}.get(kind, f"exit {kind}")
        found.append((name, guest.get("pc") - CODE))
    return found


def test_single_stepping_through_system_calls(guest: Guest) -> None:
    """As on Linux: a step after each instruction but SYSCALL, whose step falls together with the next one's."""
    set_tf = b"\x9c\x81\x0c\x24\x00\x01\x00\x00\x9d"  # pushfq; or dword [rsp], TF; popfq
    guest.place(set_tf, NOP, SYSCALL, NOP, NOP, SYSCALL, NOP)
    guest.set(sp=DATA + 0x800)
    at = len(set_tf)
    assert stops(guest, 6) == [
        ("#1", at + 1),
        ("syscall", at + 3),
        ("#1", at + 4),
        ("#1", at + 5),
        ("syscall", at + 7),
        ("#1", at + 8),
    ]
    assert guest.regs[RFLAGS] & TF


def test_single_stepping_from_outside(guest: Guest) -> None:
    guest.place(NOP, NOP, SYSCALL, NOP, NOP, UD2)
    guest.regs[RFLAGS] = TF | IF
    assert stops(guest, 6) == [("#1", 1), ("#1", 2), ("syscall", 4), ("#1", 5), ("#1", 6), ("#6", 6)]
    guest.regs[RFLAGS] = IF
    guest.set(pc=CODE)
    assert stops(guest, 1) == [("syscall", 4)]


def test_single_stepping_never_stays_in_one_place(guest: Guest) -> None:
    """rcx and r11 that look like a system call's: sysretq would trap before the first instruction, for ever."""
    guest.place(SYSCALL, NOP, NOP, SYSCALL)
    guest.run_to_syscall()
    guest.regs[RFLAGS] = guest.regs[R11] = TF | IF
    assert stops(guest, 2) == [("#1", 3), ("#1", 4)]


def test_resume_flag_is_given_back(guest: Guest) -> None:
    guest.place(UD2)
    guest.write(guest.code + 0x100, NOP + SYSCALL)
    assert stops(guest, 1) == [("#6", 0)]
    assert guest.regs[RFLAGS] & RF, "SDM vol. 3, 18.3.1.1: faults push it set"
    guest.set(pc=CODE + 0x100)
    guest.run_to_syscall()
    assert not guest.regs[RFLAGS] & RF


def test_alignment_check(guest: Guest) -> None:
    guest.place(X86.load, SYSCALL)
    guest.set(pointer=DATA + 1)
    guest.regs[RFLAGS] = AC | IF
    kind = guest.vcpu.run()
    if kind == EXIT_SYSCALL and is_hardware(guest):
        pytest.skip("this CPU does not check alignment, as QEMU's")
    assert (kind, guest.vcpu.vector) == (EXIT_EXCEPTION, ALIGNMENT_CHECK)
    assert guest.get("pc") == CODE
    guest.regs[RFLAGS] = IF
    guest.run_to_syscall()


@pytest.mark.parametrize("way", ["first", "syscall", "changed", "exception"])
@pytest.mark.parametrize("address", [1 << 47, (1 << 63) + 5, (1 << 64) - (1 << 47) - 1])
def test_address_that_is_not_canonical(guest: Guest, way: str, address: int) -> None:
    guest.place(SYSCALL, UD2)
    if way in ("syscall", "changed"):
        guest.run_to_syscall()
    elif way == "exception":
        guest.set(pc=CODE + 2)
        assert guest.vcpu.run() == EXIT_EXCEPTION
    for _ in range(2):
        guest.regs[RIP] = address
        if way == "syscall":
            guest.regs[RCX], guest.regs[R11] = address, guest.regs[RFLAGS]
        guest.regs[RSP] = DATA + 0x800
        assert guest.vcpu.run() == EXIT_EXCEPTION
        assert (guest.vcpu.vector, guest.vcpu.error_code) == (GENERAL_PROTECTION, 0)
        assert (guest.regs[RIP], guest.regs[RSP]) == (address, DATA + 0x800)
    works(guest)


@pytest.mark.parametrize("sp", [0, 1 << 47, (1 << 64) - 8, USER_LIMIT, x86_system.stack_top(0)])
def test_any_stack_pointer_survives(guest: Guest, sp: int) -> None:
    guest.place(SYSCALL, UD2, SYSCALL)
    guest.set(sp=sp)
    guest.run_to_syscall()
    assert guest.get("sp") == sp
    kind = guest.vcpu.run()
    if kind == EXIT_CRASHED and sp == 1 << 47 and not is_hardware(guest):
        return  # no stack for a signal handler either: the program is killed, as on Linux
    assert kind == EXIT_EXCEPTION
    assert (guest.vcpu.vector, guest.get("sp")) == (INVALID_OPCODE, sp)
    guest.set(pc=CODE + 4)
    guest.run_to_syscall()
    assert guest.get("sp") == sp


# -- signals at every point


def expect(guest: Guest, counter: int) -> int:
    """One run of the stress program, which has made `counter` system calls; the kind of its end, which must fit."""
    kind = guest.vcpu.run()
    regs = guest.regs
    where = regs[RIP] - CODE
    if kind == EXIT_INTERRUPTED:
        while take_signal(signal.valid_signals()):
            pass
        assert where in (0, 3, 5, 7, 8, 9, 12), f"interrupted at {where:#x}"
    elif kind == EXIT_SYSCALL:
        assert (where, regs[RBX], regs[RCX]) == (5, counter + 1, CODE + 5)
    else:
        assert regs[RBX] == counter
        if kind == EXIT_EXCEPTION:
            assert (guest.vcpu.vector, where) == (INVALID_OPCODE, 5)
            regs[RIP] += 2
        else:
            assert kind == EXIT_FAULT
            assert (guest.vcpu.fault_address, where) == (SPARE, 9)
            regs[RIP] += 3
    return kind


def test_signals_at_every_point_of_entry_and_exit(guest: Guest) -> None:
    """inc rbx; syscall; ud2; load; jmp: in a storm of signals and of invalidations nothing is lost or comes twice."""

    def body() -> tuple[int, int]:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        guest.place(b"\x48\xff\xc3", SYSCALL, UD2, NOP, NOP, X86.load, b"\xeb\xf2")  # ... jmp 0
        guest.set(pointer=SPARE, sp=0x1234_5678)
        guest.regs[RBX] = 0
        random_ = random.Random(5)
        counter = interrupted = 0
        ends = time.monotonic() + STRESS_LIMIT
        while counter < STRESS_ROUNDS and time.monotonic() < ends:
            if random_.random() < 0.5:  # so that pushing a frame leaves the guest once more
                guest.machine.flush(x86_system.slot_page(0), PAGE)
            if random_.random() < 0.7:
                signal.setitimer(signal.ITIMER_REAL, 10 ** random_.uniform(-6, -2.5))
            kind = expect(guest, counter)
            counter += kind == EXIT_SYSCALL
            interrupted += kind == EXIT_INTERRUPTED
            assert guest.get("sp") == 0x1234_5678
        signal.setitimer(signal.ITIMER_REAL, 0)
        return counter, interrupted

    counter, interrupted = cast("tuple[int, int]", run_in_fork(guest, body))
    assert counter == STRESS_ROUNDS
    assert interrupted > 20


def test_kicks_at_every_point_of_entry_and_exit(guest: Guest) -> None:
    def body() -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        guest.place(b"\x48\xff\xc3", SYSCALL, UD2, NOP, NOP, X86.load, b"\xeb\xf2")
        guest.set(pointer=SPARE)
        guest.regs[RBX] = 0
        stop = threading.Event()
        random_ = random.Random(6)

        def kicker() -> None:
            while not stop.wait(random_.random() * 0.002):
                guest.vcpu.kick()

        thread = threading.Thread(target=kicker)
        thread.start()
        counter = 0
        ends = time.monotonic() + STRESS_LIMIT
        while counter < STRESS_ROUNDS and time.monotonic() < ends:
            counter += expect(guest, counter) == EXIT_SYSCALL
        stop.set()
        thread.join()
        return counter

    assert run_in_fork(guest, body) == STRESS_ROUNDS


# -- several vCPUs


def test_exceptions_of_two_vcpus_do_not_meet(guest: Guest) -> None:
    """Each has its own exception stack, and its own frame to go back with."""
    guest.place(UD2)
    failures: list[str] = []
    rounds = [0, 0]
    ends = time.monotonic() + STRESS_LIMIT

    def work(number: int) -> None:
        vcpu = guest.machine.new_vcpu()
        page = SPARE + number * PAGE
        while min(rounds) < STRESS_ROUNDS and time.monotonic() < ends and not failures:
            vcpu.regs[RIP], vcpu.regs[RSP] = CODE, page
            vcpu.regs[RFLAGS] = IF | number
            kind = vcpu.run()
            state = vcpu.regs[RIP], vcpu.regs[RSP], vcpu.regs[RFLAGS] & 1
            if (kind, *state) != (EXIT_EXCEPTION, CODE, page, number):
                failures.append(f"vCPU {number}: exit {kind}, {state}")
            rounds[number] += 1
        vcpu.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert min(rounds) >= STRESS_ROUNDS


def test_vcpus_of_ended_threads_are_used_again(guest: Guest) -> None:
    """A program may start more threads in its life than a KVM machine may have vCPUs."""
    guest.place(b"\x48\x89\xe3", X86.memory_to_vector, SYSCALL)
    start = guest.vcpu.get_fp()
    before = len(os.listdir("/proc/self/fd"))
    for round_ in range(30):
        vcpu = cast("KvmVcpu", guest.machine.new_vcpu())
        assert [vcpu.regs[index] for index in range(RIP)] == [0] * RIP
        assert vcpu.get_fp()[:24] == start[:24]
        assert vcpu.get_tls() == vcpu.get_gs() == 0
        if round_:
            assert vcpu.get_fp()[160:416] == bytes(256)
        vcpu.regs[RIP], vcpu.regs[RSP], vcpu.regs[RDI] = CODE, 0x1000 + round_, DATA
        guest.write(guest.data, bytes((round_,)) * 16)
        assert vcpu.run() == EXIT_SYSCALL
        assert vcpu.regs[RBX] == 0x1000 + round_
        vcpu.set_tls(DATA)
        vcpu.kick()
        vcpu.close()
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    works(guest)


def test_many_vcpus_at_once(guest: Guest) -> None:
    """More than fit into the first page of their own; all of them live on after exec forgot everything."""
    vcpus = [cast("KvmVcpu", guest.machine.new_vcpu()) for _ in range(20)]
    for _ in range(2):
        guest.place(SYSCALL, UD2)
        for number, vcpu in enumerate(vcpus):
            vcpu.regs[RIP], vcpu.regs[RSP] = CODE, number
            assert vcpu.run() == EXIT_SYSCALL
            assert vcpu.run() == EXIT_EXCEPTION
            assert (vcpu.vector, vcpu.regs[RSP]) == (INVALID_OPCODE, number)
        guest.machine.reset()
        guest.set_up()
    for vcpu in vcpus:
        vcpu.close()


def test_fork_of_a_second_thread(guest: Guest) -> None:
    """The child's only vCPU is its first one, whatever number it had."""
    guest.place(b"\x48\xff\xc3", SYSCALL, UD2)
    second = cast("KvmVcpu", guest.machine.new_vcpu())
    second.regs[RIP], second.regs[RBX] = CODE, 7
    assert second.run() == EXIT_SYSCALL
    guest.machine.before_fork(second)

    def child() -> tuple[int, int, int]:
        guest.machine.after_fork(second)
        kind = second.run()
        second.regs[RIP] = CODE
        again = second.run()
        return kind, again, second.regs[RBX]

    assert in_child(child) == (EXIT_EXCEPTION, EXIT_SYSCALL, 9)
    assert second.run() == EXIT_EXCEPTION
    second.close()


# -- what the CPU is


def cpuid(guest: Guest, leaf: int, index: int) -> tuple[int, int, int, int]:
    guest.place(b"\x0f\xa2\x49\x89\xc8" + SYSCALL)  # cpuid; mov r8, rcx; syscall
    guest.regs[RAX], guest.regs[RCX] = leaf, index
    guest.run_to_syscall()
    return guest.regs[RAX], guest.regs[RBX], guest.regs[R8], guest.regs[RDX]


def test_cpuid_offers_what_xcr0_enables(guest: Guest) -> None:
    if not is_hardware(guest):
        pytest.skip("this KVM cannot decide what CPUID says to user code")
    guest.place(b"\x31\xc9\x0f\x01\xd0" + SYSCALL)  # xor ecx, ecx; xgetbv; syscall
    guest.run_to_syscall()
    enabled = guest.regs[RAX]
    assert enabled in (3, 7, 0xE7)
    offered, size, most, high = cpuid(guest, 0xD, 0)
    assert (offered, high) == (enabled, 0)
    assert size == most <= len(guest.vcpu.get_fp())
    assert not cpuid(guest, 0xD, 1)[0] & 0b11000, "XSAVES, XFD"
    assert cpuid(guest, 0xD, 9)[0] == 0, "PKRU"
    _, ebx, ecx, edx = cpuid(guest, 7, 0)
    assert not ebx & 1 << 14, "MPX"
    assert enabled == 0xE7 or not ebx & 1 << 16, "AVX-512"
    assert not ecx & (1 << 3 | 1 << 7), "PKU, SHSTK"
    assert not edx & (1 << 24 | 1 << 20), "AMX, IBT"
    assert not cpuid(guest, 1, 0)[2] & 1 << 5, "VMX"
    assert cpuid(guest, 1, 0)[2] & 1 << 27, "OSXSAVE"
    assert not cpuid(guest, 0x8000_0001, 0)[2] & 1 << 2, "SVM"


def entry(function: int, index: int, *values: int) -> bytes:
    return struct.pack("<3I4I12x", function, index, 1, *values)


def test_cpuid_table_of_a_large_cpu() -> None:
    every = (1 << 32) - 1
    large = [
        entry(0, 0, 0x24, 1, 2, 3),
        entry(1, 0, every, every, every, every),
        entry(7, 0, 1, every, every, every),
        entry(7, 1, every, every, every, every),
        entry(0xD, 0, 0x602E7, 0x2B00, 0x2B00, 0),
        entry(0xD, 1, 0x1F, 0x2B00, 0x1900, 7),
        entry(0xD, 2, 256, 576, 0, 0),
        entry(0xD, 5, 64, 1088, 0, 0),
        entry(0xD, 6, 512, 1152, 0, 0),
        entry(0xD, 7, 1024, 1664, 0, 0),
        entry(0xD, 9, 8, 2688, 0, 0),
        entry(0xD, 18, 8192, 2816, 6, 0),
        entry(0x14, 0, 1, 2, 3, 4),
        entry(0x1D, 0, 1, 0, 0, 0),
        entry(0x8000_0001, 0, 0, 0, every, every),
    ]
    table, xfeatures, size = guest_table(struct.pack("<II", len(large), 0) + b"".join(large))
    assert (xfeatures, size) == (0xE7, 2688)
    count = struct.unpack_from("<I", table)[0]
    seen = {fields[:2]: fields[3:] for fields in struct.iter_unpack("<3I4I12x", table[8:])}
    assert len(seen) == count
    parts = {(0xD, index) for index in (0, 1, 2, 5, 6, 7)}
    assert set(seen) == {(0, 0), (1, 0), (7, 0), (7, 1), *parts, (0x8000_0001, 0)}
    assert seen[0, 0] == (0x24, 1, 2, 3)
    assert seen[0xD, 0] == (0xE7, 2688, 2688, 0)
    assert seen[0xD, 1][0] == 7
    assert seen[0xD, 1][2:] == (0, 0)
    assert seen[7, 0][1] & (1 << 5 | 1 << 16) == 1 << 5 | 1 << 16, "AVX2 and AVX-512"


def test_cpuid_table_without_all_of_avx512() -> None:
    some = [
        entry(7, 0, 1, (1 << 32) - 1, 0, 0),
        entry(0xD, 0, 0x67, 1664, 1664, 0),
        entry(0xD, 2, 256, 576, 0, 0),
        entry(0xD, 5, 64, 1088, 0, 0),
        entry(0xD, 6, 512, 1152, 0, 0),
    ]
    table, xfeatures, size = guest_table(struct.pack("<II", len(some), 0) + b"".join(some))
    assert (xfeatures, size) == (7, 832)
    seen = {fields[:2]: fields[3:] for fields in struct.iter_unpack("<3I4I12x", table[8:])}
    assert set(seen) == {(7, 0), (0xD, 0), (0xD, 2)}
    assert seen[7, 0][1] & (1 << 5 | 1 << 16) == 1 << 5, "AVX2 without AVX-512"


def test_cpuid_table_of_a_small_cpu() -> None:
    small = [entry(0, 0, 0xD, 0, 0, 0), entry(0xD, 0, 3, 576, 576, 0), entry(0xD, 1, 0, 576, 0, 0)]
    table, xfeatures, size = guest_table(struct.pack("<II", len(small), 0) + b"".join(small))
    assert (xfeatures, size) == (3, 576)
    assert struct.unpack_from("<I", table)[0] == 3


def test_cpu_number_by_segment_limit(guest: Guest) -> None:
    """The vDSO's getcpu(2) where the CPU has no RDPID."""
    guest.place(
        b"\xb9\x7b\0\0\0\x49\xc7\xc0\xff\xff\xff\xff\x44\x0f\x03\xc1\x0f\x94\xc0" + SYSCALL
    )  # lsl r8d, ecx; setz
    guest.run_to_syscall()
    assert guest.regs[RAX] & 0xFF == 1
    assert guest.regs[R8] & 0xFFF < 4096
    if is_hardware(guest):
        assert guest.regs[R8] & 0xFFFF_FFFF == 0


def test_rdtscp(guest: Guest) -> None:
    if not cpuid(guest, 0x8000_0001, 0)[3] & 1 << 27:
        pytest.skip("this CPU has no RDTSCP")
    guest.place(b"\x0f\x01\xf9\x49\x89\xc8\x49\x89\xd1" + SYSCALL)  # rdtscp; mov r8, rcx; mov r9, rdx; syscall
    guest.run_to_syscall()
    assert guest.regs[R8] < 1 << 32
    assert guest.regs[R9] << 32 | guest.regs[RAX]


def test_upper_halves_of_vector_registers(guest: Guest) -> None:
    machine = machine_of(guest)
    if not machine.device.xfeatures & 4:
        pytest.skip("this CPU has no AVX")
    guest.write(guest.data, bytes(range(32)))
    guest.place(
        b"\xc5\xfe\x6f\x17", SYSCALL, b"\xc5\xfe\x7f\x57\x40", SYSCALL
    )  # vmovdqu ymm2, [rdi]; ... [rdi+64], ymm2
    guest.set(pointer=DATA)
    guest.run_to_syscall()
    state = guest.vcpu.get_fp()
    assert state[512] & 4
    assert state[576 + 32 : 576 + 48] == bytes(range(16, 32))

    def child() -> bytes:
        guest.run_to_syscall()
        return bytes(machine.arena.view[guest.data + 64 : guest.data + 96])

    assert run_in_fork(guest, child) == bytes(range(32))
    guest.vcpu.set_fp(b"")
    guest.set(pc=CODE + 6, pointer=DATA)
    guest.run_to_syscall()
    assert bytes(machine.arena.view[guest.data + 64 : guest.data + 96]) == bytes(32)


def test_interrupts_of_software(guest: Guest) -> None:
    """int3 and into's vector are the user's to raise, the others are refused: #GP, or #UD where `int` is unknown."""
    for number in (0, 1, 2, 8, 13, 14, 32, 0x80, 255):
        guest.fresh(bytes((0xCD, number)))
        assert guest.vcpu.run() == EXIT_EXCEPTION
        # QEMU has its own mind: it points behind `int` with an exception's number, and counts vectors by 16.
        assert guest.get("pc") == CODE or (number < 32 and is_hardware(guest))
        if is_hardware(guest):
            assert guest.vcpu.vector == GENERAL_PROTECTION
            assert guest.vcpu.error_code in (number << 3 | 2, number << 4 | 2)
        else:
            assert guest.vcpu.vector in (GENERAL_PROTECTION, INVALID_OPCODE)
    for number in (3, 4):
        guest.fresh(bytes((0xCD, number)))
        assert guest.vcpu.run() == EXIT_EXCEPTION
        assert (guest.vcpu.vector, guest.get("pc")) == (number, CODE + 2)
