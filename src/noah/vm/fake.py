"""A fake engine for unit tests: the guest's program is a list of steps, and nothing but them happens.

    machine = FakeMachine()
    vcpu = machine.new_vcpu()
    vcpu.program = [Call(39), Write(0x1000, b"x"), Read(0x1000, 1)]
    ... run the kernel personality on it ...
    vcpu.results == [4711, b"x"]

Memory is real: Read and Write go through the mappings as a CPU does, fault where these forbid it, and are tried again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from noah.vm.api import (
    EXIT_EXCEPTION,
    EXIT_FAULT,
    EXIT_HOST_FAULT,
    EXIT_INTERRUPTED,
    EXIT_SYSCALL,
    READ,
    WRITE,
    Answer,
    CopyCalls,
    EngineError,
    Registers,
    WordCalls,
)
from noah.vm.arch import aarch64, x86_64
from noah.vm.arena import PAGE, Arena

if TYPE_CHECKING:
    from noah.vm.api import Vcpu
    from noah.vm.hostclock import HostClock

_ARENA_SIZE: Final = 4 << 30
_USER_LIMITS: Final = {"x86_64": 0x7FFF_FFE0_0000, "aarch64": 0xFFFF_FFFF_E000}
_MASK: Final = (1 << 64) - 1


class Call(NamedTuple):
    """A system call; its result register is recorded when the guest runs on."""

    number: int
    args: Sequence[int] = ()


class Read(NamedTuple):
    """Read memory; the bytes are recorded."""

    address: int
    length: int


class Write(NamedTuple):
    """Write memory."""

    address: int
    data: bytes


class Fault(NamedTuple):
    """A memory fault whatever is mapped, once."""

    address: int
    access: int
    present: bool = False


class Trap(NamedTuple):
    """Any other exception."""

    vector: int
    error_code: int = 0


class Interrupt(NamedTuple):
    """A run that a host signal ends."""


class HostFault(NamedTuple):
    """The host has no memory behind a mapped page."""


Step = Call | Read | Write | Fault | Trap | Interrupt | HostFault
"""What the guest does next."""


class FakeVcpu:
    """See noah.vm.api.Vcpu. `program` may be extended at any time; a function in it gives the step to take."""

    def __init__(self, machine: FakeMachine) -> None:
        module = x86_64 if machine.arch == "x86_64" else aarch64
        self._machine = machine
        self._number = module.SYSCALL_NUMBER
        self._result = module.SYSCALL_RESULT
        self._args = module.SYSCALL_ARGS
        self._pc = module.PC
        self._size = module.SYSCALL_INSTRUCTION_SIZE
        self._kicked = False
        self._in_call = False
        self._results: list[int | bytes] = []
        self._tls = self._gs = 0
        self._fp = b""
        self.program: list[Step | Callable[[FakeVcpu], Step]] = []
        self.regs: Registers = [0] * module.COUNT
        self.fault_address = self.fault_access = self.vector = self.error_code = 0
        self.fault_present = False

    @property
    def results(self) -> list[int | bytes]:
        """What system calls returned (the register, unsigned) and what Read steps found, in their order."""
        if self._in_call:
            self._in_call = False
            self._results.append(self.regs[self._result])
        return self._results

    def run(self) -> int:
        """Do the next steps up to an exit. Raises EngineError at the end of the program."""
        results = self.results
        if self._kicked:
            self._kicked = False
            return EXIT_INTERRUPTED
        while self.program:
            step = self.program[0]
            if not isinstance(step, tuple):
                step = self.program[0] = step(self)
            if isinstance(step, Read | Write) and self._misses(step):
                return EXIT_FAULT
            del self.program[0]
            match step:
                case Read(address, length):
                    results.append(self._machine.peek(address, length))
                case Write(address, data):
                    self._machine.poke(address, data)
                case Call(number, args):
                    self.regs[self._number] = number & _MASK
                    for register, value in zip(self._args, args, strict=False):
                        self.regs[register] = value & _MASK
                    self.regs[self._pc] = self.regs[self._pc] + self._size & _MASK
                    self._in_call = True
                    return EXIT_SYSCALL
                case Fault(address, access, present):
                    self.fault_address, self.fault_access, self.fault_present = address, access, present
                    return EXIT_FAULT
                case Trap(vector, error_code):
                    self.vector, self.error_code = vector, error_code
                    return EXIT_EXCEPTION
                case Interrupt():
                    return EXIT_INTERRUPTED
                case HostFault():
                    return EXIT_HOST_FAULT
        raise EngineError("the fake guest's program has ended")

    def _misses(self, step: Read | Write) -> bool:
        """Whether a page of the access is not there for it; then the fault is described."""
        access, length = (READ, step.length) if isinstance(step, Read) else (WRITE, len(step.data))
        for page in range(step.address & -PAGE, step.address + length, PAGE):
            found = self._machine.find(page)
            if found is None or not found[1] & access:
                self.fault_address, self.fault_access = max(page, step.address), access
                self.fault_present = found is not None and bool(found[1])
                return True
        return False

    def kick(self) -> None:
        self._kicked = True

    def adopt(self) -> None:
        """One thread runs it anyway."""

    def get_tls(self) -> int:
        return self._tls

    def set_tls(self, value: int) -> None:
        self._tls = value

    def get_gs(self) -> int:
        return self._gs

    def set_gs(self, value: int) -> None:
        self._gs = value

    def get_fp(self) -> bytes:
        return self._fp or bytes(576 if self._machine.arch == "x86_64" else 528)

    def set_fp(self, state: bytes) -> None:
        self._fp = state

    def clear(self) -> None:
        for index in range(len(self.regs)):
            self.regs[index] = 0
        self.set_tls(0)
        self.set_gs(0)
        self.set_fp(b"")

    def answer_beside(self, answer: Answer) -> None:
        """run() returns as soon."""

    def host_thread_changed(self) -> None:
        """There is no other host thread."""

    def met_inside_call(self) -> None:
        """They all come."""

    def close(self) -> None:
        return None


class FakeMachine:
    """See noah.vm.api.Machine. `mappings` are (address, end, offset, prot), sorted."""

    host_clock: HostClock | None = None

    def __init__(self, arch: str = "x86_64", arena: Arena | None = None) -> None:
        self.name = "fake"
        self.parallel = self.coherent = self.fsgsbase = True
        self.arch = arch
        self.arena = arena or Arena(_ARENA_SIZE)
        self.user_limit = _USER_LIMITS[arch]
        self.mappings: list[tuple[int, int, int, int]] = []
        self._written: set[int] | None = None

    def map_host_clock(self, address: int) -> None:
        raise EngineError("a fake guest has no clock")

    def flush_host_clock(self) -> None:
        return None

    def find(self, address: int) -> tuple[int, int] | None:
        """(arena offset, prot) of the mapped byte at an address."""
        index = bisect_right(self.mappings, (address, _MASK, 0, 0)) - 1
        if index < 0:
            return None
        start, end, offset, prot = self.mappings[index]
        return (offset + address - start, prot) if address < end else None

    def _pieces(self, address: int, length: int) -> list[tuple[int, int]]:
        """(arena offset, length) of each page's part of a mapped range. Raises EngineError for a hole."""
        pieces = []
        end = address + length
        while address < end:
            size = min(end, (address & -PAGE) + PAGE) - address
            found = self.find(address)
            if found is None:
                raise EngineError(f"nothing is mapped at {address:#x}")
            pieces.append((found[0], size))
            address += size
        return pieces

    def peek(self, address: int, length: int) -> bytes:
        """Guest memory, whatever its protection."""
        return b"".join(bytes(self.arena.view[at : at + size]) for at, size in self._pieces(address, length))

    def poke(self, address: int, data: bytes) -> None:
        """Write guest memory, whatever its protection, as the guest does."""
        done = 0
        for at, size in self._pieces(address, len(data)):
            self.arena.view[at : at + size] = data[done : done + size]
            done += size
            if self._written is not None:
                self._written.add(at & -PAGE)

    def map(self, address: int, length: int, offset: int, prot: int) -> None:
        self.unmap(address, length)
        self.mappings.append((address, address + length, offset, prot))
        self.mappings.sort()

    def protect(self, address: int, length: int, offset: int, prot: int) -> None:
        self.map(address, length, offset, prot)

    def unmap(self, address: int, length: int) -> None:
        stop = address + length
        kept = []
        for start, end, offset, prot in self.mappings:
            if start < min(address, end):
                kept.append((start, min(address, end), offset, prot))
            if max(stop, start) < end:
                kept.append((max(stop, start), end, offset + max(stop, start) - start, prot))
        self.mappings = kept

    def flush(self, offset: int, length: int) -> None:
        return None

    def forget_code(self, address: int, length: int) -> None:
        """There is no code."""

    def reset(self) -> None:
        self.arena.reset()
        self.mappings.clear()

    def fill(self, address: int) -> bool:
        return False

    def answer_inside(self, words: WordCalls, copies: CopyCalls) -> None:
        """There are no calls that leave no exit."""

    def new_vcpu(self) -> FakeVcpu:
        return FakeVcpu(self)

    def clone_vcpu(self, vcpu: Vcpu) -> FakeVcpu:
        raise EngineError("the fake engine runs one thread")

    def free_vcpu(self, vcpu: Vcpu) -> None:
        """Nothing to keep."""

    def begin_write_log(self) -> None:
        self._written = set()

    def written_pages(self) -> list[int]:
        return sorted(self._written or ())

    def before_fork(self, vcpu: Vcpu) -> None:
        return None

    def after_fork(self, vcpu: Vcpu) -> None:
        return None

    def fork_empty(self, vcpu: Vcpu, fork: Callable[[], int]) -> int:
        pid = fork()
        if not pid:
            self.reset()
        return pid

    def close(self) -> None:
        return None
