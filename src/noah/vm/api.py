"""The boundary between an engine and the rest of Noah.

An engine runs guest user code and stops at every system call, fault, exception and kick. It knows registers, page
tables and traps; it knows no Linux number, no system call's name and no signal.

    Machine    guest memory mappings and vCPUs of one guest process
    Vcpu       one hardware thread: registers, run(), kick()
    Arena      the host memory behind all guest memory (vm/arena.py): "guest-physical" address = offset in it

`Vcpu.run()` returns one of the exit kinds below as a plain int: no object is made per exit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeAlias

from noah.vm.arena import Arena
from noah.vm.hostclock import HostClock

# What a mapping allows, and what a fault tried to do. Values are the engine's own.
READ: Final = 1
WRITE: Final = 2
EXEC: Final = 4

# Exit kinds, the answers of Vcpu.run().
EXIT_SYSCALL: Final = 0  # the guest made a system call; regs hold the user state *after* the instruction
EXIT_FAULT: Final = 1  # memory: see fault_address, fault_access, fault_present; regs point at the faulting instruction
EXIT_EXCEPTION: Final = 2  # any other exception: see vector, error_code; regs as the CPU pushed them
EXIT_INTERRUPTED: Final = 3  # kick() or a host signal; regs hold the user state
EXIT_CRASHED: Final = 4  # the guest wrecked its own machine state and cannot go on (triple fault and the like)
EXIT_HOST_FAULT: Final = 5  # the host has no memory behind a page that is mapped (beyond the end of a file); try again
# once such pages are unmapped, the next access is then an EXIT_FAULT with its address


class EngineError(Exception):
    """The engine itself cannot work: no device, no permission, a failed self-test. The text says the remedy."""


class Registers(Protocol):
    """Unsigned 64-bit values by index: a memoryview, an array or a list."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...
    def __len__(self) -> int: ...


Answer: TypeAlias = Callable[[int, int, int, int, int, int, int], tuple[int, bool] | None]
"""Answers a system call, given by its number and six registers: the result, and whether the vCPU's thread must have a
look before guest code goes on. None: only the vCPU's own thread can answer it."""


class Vcpu(Protocol):
    """One virtual CPU. Everything but kick() belongs to the thread that made it."""

    regs: Registers
    """General registers as unsigned 64-bit values, in the order of noah.vm.arch.<arch>. Write at will between runs."""

    fault_address: int
    fault_access: int  # READ, WRITE or EXEC
    fault_present: bool  # the page was mapped, its protection forbade the access
    vector: int  # the architecture's exception number
    error_code: int

    def run(self) -> int:
        """Run guest code until the next exit; return its kind (EXIT_*)."""

    def kick(self) -> None:
        """Make the current or else the next run() return EXIT_INTERRUPTED. Thread-safe and sticky."""

    def get_tls(self) -> int:
        """The thread pointer: FS base on x86-64, TPIDR_EL0 on aarch64."""

    def set_tls(self, value: int) -> None: ...

    def get_gs(self) -> int:
        """GS base on x86-64; 0 elsewhere."""

    def set_gs(self, value: int) -> None: ...

    def get_fp(self) -> bytes:
        """Floating-point and vector state as a Linux signal frame holds it.

        x86-64: the XSAVE area in standard format (at least 576 bytes). aarch64: V0..V31, u32 FPSR, u32 FPCR.
        """

    def set_fp(self, state: bytes) -> None:
        """Load what get_fp() gave. An empty state resets to the start-of-program values."""

    def clear(self) -> None:
        """Registers, thread pointer and floating-point state as a program begins with them: all 0, flags too."""

    def adopt(self) -> None:
        """The calling thread is the one that will run this vCPU (the one that made it need not say so)."""

    def answer_beside(self, answer: Answer) -> None:
        """Calls may be answered by `answer` in another host thread, where run() would take longer. Before any run()."""

    def host_thread_changed(self) -> None:
        """What the host keeps for the calling thread alone, such as its user ids, is not what it was."""

    def met_inside_call(self) -> None:
        """A call has come that the guest might have answered (Machine.answer_inside): see to the next ones."""

    def close(self) -> None: ...


class WordCalls(NamedTuple):
    """System calls about words of 32 bits in memory: `number(address, operation, value, time limit, -, mask)`.

    A wake gives 0 while nobody waits for the word, a wait the error `changed` if the word has another value, or 0 for
    no reason at all; waits_for_bits have a mask that is not 0.
    """

    number: int
    wake: int
    waits: tuple[int, ...]
    waits_for_bits: tuple[int, ...]
    changed: int


class CopyCalls(NamedTuple):
    """System calls that copy an entry of a table: `number(index, 0, address, how)` gives 0. The first index is 1.

    For no address, or in another way, they are for the kernel. So are those that set an entry by `number(index, address
    of the new one, 0, how)`, but for what is next to nothing: the entry begins with a word of 0 and shall be `plain`,
    of which the third word may be anything, and the index is in a mask. The entry is changed then.
    """

    number: int
    how: int
    last: int  # index
    plain: tuple[int, int, int, int]
    settable: int  # bit index-1


class Inside(NamedTuple):
    """What the kernel keeps so that calls are answered within the guest."""

    waiting: memoryview
    """Of WordCalls: a byte for each address modulo 256, not 0 while somebody may wait there. Who is about to wait sets
    it, and lets that be seen by all, before the look at the word."""

    entries: memoryview
    """Of CopyCalls: 8 bytes that are 0 while the table is not to be used, then the entries, of four words each. It is
    not to be used while several vCPUs run. The guest may write there, and Machine.reset() fills it with 0."""


class Machine(Protocol):
    """The memory and vCPUs of one guest process."""

    name: str  # "kvm", "emulator", "fake"
    arch: str  # "x86_64" or "aarch64"
    arena: Arena
    parallel: bool
    """Whether vCPUs run at the same time. If not, one thread at a time may use the machine and its vCPUs: only
    Vcpu.kick() is for all."""

    coherent: bool
    """Whether it sees all changes of code, and of the files behind memory. If not: forget_code(), and no page may be
    executable at one address while it is writable at another, or stay mapped when its file ends before it."""

    fsgsbase: bool
    """x86-64: whether user mode may write FS and GS base."""

    user_limit: int
    """First address that a guest mapping may not reach (TASK_SIZE, less what the engine keeps for itself)."""

    host_clock: HostClock | None
    """The host's clock pages, if guests of this engine see the host's time stamp counter."""

    def map_host_clock(self, address: int) -> None:
        """Map the data pages of host_clock, the first one to this address. The code is the caller's to place."""

    def flush_host_clock(self) -> None:
        """Make every vCPU forget its translations to the clock pages (after an unmap() of them)."""

    def map(self, address: int, length: int, offset: int, prot: int) -> None:
        """Map [address, +length) to [offset, +length) of the arena with prot. Nothing is mapped there yet."""

    def protect(self, address: int, length: int, offset: int, prot: int) -> None:
        """Change the protection of pages that map() mapped to this offset; seen by every vCPU before this returns.

        prot 0 makes them inaccessible; a later protect() brings them back.
        """

    def unmap(self, address: int, length: int) -> None:
        """Forget mappings in the range (holes are fine); seen by every vCPU before this returns, as long as the
        caller frees the backing at once (Arena.free) or asks for flush()."""

    def flush(self, offset: int, length: int) -> None:
        """Make every vCPU forget translations to this part of the arena (needed after unmap() without a free)."""

    def forget_code(self, address: int, length: int) -> None:
        """Noah itself is about to write to these pages, which are mapped to be executed."""

    def reset(self) -> None:
        """execve: forget every mapping and empty the arena (Arena.reset), but for what the engine needs of it."""

    def fill(self, address: int) -> bool:
        """A fault in a mapping so large that it is entered in pieces: enter the one around the address.

        False: the address lies in no such mapping, or its piece is there.
        """

    def answer_inside(self, words: WordCalls, copies: CopyCalls) -> Inside | None:
        """Answer some of these calls within the guest from now on, where that is worth it. None: not here.

        What the result holds is the kernel's to keep; the rest is without the kernel's knowledge.
        """

    def new_vcpu(self) -> Vcpu: ...

    def clone_vcpu(self, vcpu: Vcpu) -> Vcpu:
        """One with the same registers for a new thread, which calls its adopt(). EngineError if there is none."""

    def free_vcpu(self, vcpu: Vcpu) -> None:
        """Its thread is gone; the engine may hand it out again."""

    def begin_write_log(self) -> None:
        """From now on remember which pages the guest writes (the child of a vfork). Call before the first run()."""

    def written_pages(self) -> list[int]:
        """Arena offsets of the 4 KiB pages that the guest wrote since begin_write_log()."""

    def before_fork(self, vcpu: Vcpu) -> None:
        """Just before a host fork, in the forking thread: save what the child can't ask the engine for."""

    def after_fork(self, vcpu: Vcpu) -> None:
        """In the child of a host fork: make machine and vcpu (the forking thread's, same registers) usable again.

        vcpu.regs may be a new object afterwards.
        """

    def fork_empty(self, vcpu: Vcpu, fork: Callable[[], int]) -> int:
        """Fork the host process by `fork`, which answers 0 in the child: there the machine is as after reset().

        What vcpu holds in the child is undefined until clear(). No before_fork(), no after_fork().
        """

    def close(self) -> None: ...
