"""The fake engine keeps the parts of the contract that unit tests build on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.vm.api import (
    EXEC,
    EXIT_EXCEPTION,
    EXIT_FAULT,
    EXIT_HOST_FAULT,
    EXIT_INTERRUPTED,
    EXIT_SYSCALL,
    READ,
    WRITE,
    EngineError,
    Machine,
    Vcpu,
)
from noah.vm.arch import aarch64, x86_64
from noah.vm.arena import PAGE
from noah.vm.emulator import EmulatorMachine
from noah.vm.fake import Call, FakeMachine, FakeVcpu, Fault, HostFault, Interrupt, Read, Trap, Write

if TYPE_CHECKING:
    from types import ModuleType

    from noah.vm.kvm import KvmMachine

BASE = 0x10_0000


def protocols_hold(fake: FakeMachine, emulator: EmulatorMachine, kvm: KvmMachine) -> tuple[list[Machine], Vcpu]:
    """For mypy."""
    return [fake, emulator, kvm], fake.new_vcpu()


def backed(machine: FakeMachine, address: int, pages: int, prot: int) -> int:
    offset = machine.arena.alloc(pages * PAGE)
    machine.arena.anonymous(offset, pages * PAGE)
    machine.map(address, pages * PAGE, offset, prot)
    return offset


@pytest.mark.parametrize(("arch", "module"), [("x86_64", x86_64), ("aarch64", aarch64)])
def test_calls_carry_arguments_and_results(arch: str, module: ModuleType) -> None:
    vcpu = FakeMachine(arch).new_vcpu()
    vcpu.program = [Call(7, (1, -1)), Call(8)]
    assert vcpu.run() == EXIT_SYSCALL
    assert vcpu.regs[module.SYSCALL_NUMBER] == 7
    assert [vcpu.regs[r] for r in module.SYSCALL_ARGS[:2]] == [1, (1 << 64) - 1]
    assert vcpu.regs[module.PC] == module.SYSCALL_INSTRUCTION_SIZE
    vcpu.regs[module.SYSCALL_RESULT] = 42
    assert vcpu.run() == EXIT_SYSCALL
    vcpu.regs[module.SYSCALL_RESULT] = 43
    assert vcpu.results == [42, 43]
    with pytest.raises(EngineError, match="ended"):
        vcpu.run()


def test_memory_faults_until_it_is_mapped() -> None:
    machine = FakeMachine()
    vcpu = machine.new_vcpu()
    vcpu.program = [Write(BASE + PAGE - 2, b"abcd"), Read(BASE + PAGE - 2, 4), Write(BASE, b"x")]
    assert vcpu.run() == EXIT_FAULT
    assert (vcpu.fault_address, vcpu.fault_access, vcpu.fault_present) == (BASE + PAGE - 2, WRITE, False)
    backed(machine, BASE, 1, READ | WRITE)
    assert vcpu.run() == EXIT_FAULT
    assert vcpu.fault_address == BASE + PAGE
    second = backed(machine, BASE + PAGE, 1, READ)
    assert vcpu.run() == EXIT_FAULT
    assert (vcpu.fault_address, vcpu.fault_present) == (BASE + PAGE, True)
    machine.protect(BASE + PAGE, PAGE, second, READ | WRITE)
    vcpu.program[-1:] = [Interrupt()]
    assert vcpu.run() == EXIT_INTERRUPTED
    assert vcpu.results == [b"abcd"]


def test_other_exits() -> None:
    vcpu = FakeMachine().new_vcpu()

    def decide(asked: FakeVcpu) -> Trap:
        return Trap(asked.regs[0])

    vcpu.program = [Fault(5, EXEC), Trap(3, 9), decide, HostFault(), Interrupt()]
    assert vcpu.run() == EXIT_FAULT
    assert (vcpu.fault_address, vcpu.fault_access) == (5, EXEC)
    assert vcpu.run() == EXIT_EXCEPTION
    assert (vcpu.vector, vcpu.error_code) == (3, 9)
    vcpu.regs[0] = 6
    assert vcpu.run() == EXIT_EXCEPTION
    assert vcpu.vector == 6
    assert vcpu.run() == EXIT_HOST_FAULT
    vcpu.kick()
    assert vcpu.run() == EXIT_INTERRUPTED
    assert len(vcpu.program) == 1
    assert vcpu.run() == EXIT_INTERRUPTED


def test_write_log() -> None:
    machine = FakeMachine()
    offset = backed(machine, BASE, 4, READ | WRITE)
    vcpu = machine.new_vcpu()
    machine.begin_write_log()
    vcpu.program = [Write(BASE + 2 * PAGE - 1, b"ab"), Read(BASE, 1), Interrupt()]
    assert vcpu.run() == EXIT_INTERRUPTED
    assert machine.written_pages() == [offset + PAGE, offset + 2 * PAGE]


EDITS = st.tuples(st.sampled_from(["map", "unmap"]), st.integers(0, 15), st.integers(1, 8), st.integers(1, 7))


@given(st.lists(EDITS, max_size=20))
def test_mappings_are_what_a_table_of_pages_would_be(edits: list[tuple[str, int, int, int]]) -> None:
    machine = FakeMachine()
    model: dict[int, tuple[int, int]] = {}
    for number, (what, first, count, prot) in enumerate(edits):
        offset = number << 20
        if what == "map":
            machine.map(first * PAGE, count * PAGE, offset, prot)
            model.update({first + i: (offset + i * PAGE, prot) for i in range(count)})
        else:
            machine.unmap(first * PAGE, count * PAGE)
            for page in range(first, first + count):
                model.pop(page, None)
    assert {page: found for page in range(32) if (found := machine.find(page * PAGE))} == model
