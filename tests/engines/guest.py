"""A guest of a few instructions, and forked children for tests that could take the test process with them."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import select
import signal
import time
import traceback
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.engines.snippets import X86, Aarch64, Snippets

from noah.vm.api import EXEC, EXIT_SYSCALL, READ, WRITE, EngineError
from noah.vm.arena import PAGE, Arena

if TYPE_CHECKING:
    from collections.abc import Callable, Set

    from noah.vm.api import Machine, Vcpu

ENGINES: Final = ("kvm", "emulator-x86_64", "emulator-aarch64")
EMULATORS: Final = ENGINES[1:]
X86_ENGINES: Final = ENGINES[:2]
CODE: Final = 0x40_0000
DATA: Final = 0x50_0000
SPARE: Final = 0x7F00_0000_0000
ARENA: Final = 4 << 30
PATIENCE: Final = 20.0  # seconds that a child may take


def make_machine(engine: str) -> Machine:
    name, _, arch = engine.partition("-")
    module, kind = ("noah.vm.kvm", "KvmMachine") if name == "kvm" else ("noah.vm.emulator", "EmulatorMachine")
    try:
        make = getattr(importlib.import_module(module), kind)
        machine: Machine = make(Arena(ARENA)) if name == "kvm" else make(arch, Arena(ARENA))
    except (EngineError, ImportError) as error:
        pytest.skip(f"{engine} cannot be used here: {error}")
    return machine


class Guest:
    """A machine with one vCPU, a page of code at CODE and a page of data at DATA."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.machine = make_machine(engine)
        self.snippets: Snippets = X86 if self.machine.arch == "x86_64" else Aarch64
        self.vcpu: Vcpu = self.machine.new_vcpu()
        self.set_up()

    def set_up(self) -> None:
        self.code = self.page(CODE, READ | EXEC)
        self.data = self.page(DATA, READ | WRITE)

    @property
    def regs(self) -> Any:
        return self.vcpu.regs

    def page(self, address: int, prot: int, pages: int = 1) -> int:
        """Map fresh memory; its arena offset."""
        offset = self.machine.arena.alloc(pages * PAGE)
        self.machine.arena.anonymous(offset, pages * PAGE)
        self.machine.map(address, pages * PAGE, offset, prot)
        return offset

    def write(self, offset: int, data: bytes) -> None:
        self.machine.arena.view[offset : offset + len(data)] = data

    def word(self, offset: int) -> int:
        return int(self.machine.arena.words[offset >> 3])

    def place(self, *pieces: bytes) -> None:
        """Fill the code page, before it was executed, and go to its start."""
        code = b"".join(pieces)
        self.write(self.code, code)
        self.regs[self.snippets.pc] = CODE

    def fresh(self, *pieces: bytes, prot: int = READ | EXEC) -> int:
        """Put code into a new page instead of the one at CODE, as after munmap and mmap, and go to its start."""
        self.machine.unmap(CODE, PAGE)
        self.machine.arena.free(self.code, PAGE)
        self.code = self.page(CODE, 0)
        self.write(self.code, b"".join(pieces))
        self.machine.unmap(CODE, PAGE)
        self.machine.map(CODE, PAGE, self.code, prot)
        self.regs[self.snippets.pc] = CODE
        return self.code

    def set(self, **values: int) -> None:
        for role, value in values.items():
            self.regs[getattr(self.snippets, role)] = value

    def get(self, role: str) -> int:
        return int(self.regs[getattr(self.snippets, role)])

    def run_to_syscall(self) -> None:
        assert self.vcpu.run() == EXIT_SYSCALL

    def close(self) -> None:
        self.vcpu.close()
        self.machine.close()


def take_signal(numbers: Set[int]) -> int | None:
    """Take one of these blocked signals if it is pending."""
    pending = [number for number in signal.sigpending() if number in numbers]
    return int(signal.sigwait(pending[:1])) if pending else None


def in_child(function: Callable[[], Any]) -> Any:
    """function()'s result from a forked child: it may crash, hang or change signal masks."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        with contextlib.suppress(BaseException):
            os.close(reader)
            try:
                answer = True, function()
            except BaseException:
                answer = False, traceback.format_exc()
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(answer, pipe)
            status = 0
        os._exit(status)
    os.close(writer)
    data = b""
    deadline = time.monotonic() + PATIENCE
    with os.fdopen(reader, "rb") as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                os.kill(pid, signal.SIGKILL)
                break
            piece = os.read(pipe.fileno(), 1 << 16)
            if not piece:
                break
            data += piece
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child hung, or died: wait status {status:#x}"
    good, result = pickle.loads(data)
    assert good, result
    return result
