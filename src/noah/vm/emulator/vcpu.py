"""The emulated CPU's run loop, the same for every architecture."""

from __future__ import annotations

import ctypes
import time
from abc import ABC, abstractmethod
from array import array
from typing import TYPE_CHECKING, ClassVar, Final

from noah.vm.api import EXIT_INTERRUPTED, EXIT_SYSCALL, Answer, Registers
from noah.vm.emulator.library import RegisterSet

if TYPE_CHECKING:
    from noah.vm.emulator.machine import EmulatorMachine

AGAIN: Final = -1
"""An exit that the caller of run() need not see."""

EVENT_NONE: Final = -1
_NUDGE: Final = 0.0002  # seconds


class EmulatorVcpu(ABC):
    """See noah.vm.api.Vcpu. Derived classes know the architecture.

    Registers are copied to the CPU before a run and back behind it. A machine has one CPU, on which vCPUs take turns:
    `regs` are always their own, the rest of their state is in the CPU or in `_state`.
    """

    __slots__ = (
        "_event",
        "_kicked",
        "_machine",
        "_pull",
        "_push",
        "_root",
        "_running",
        "_start",
        "_state",
        "_stop",
        "_unicorn",
        "error_code",
        "fault_access",
        "fault_address",
        "fault_present",
        "in_use",
        "regs",
        "vector",
    )

    ARCH: ClassVar[int]
    MODE: ClassVar[int]
    MODEL: ClassVar[int]
    REGISTERS: ClassVar[tuple[int, ...]]  # Unicorn's numbers, in the order of `regs`
    PC: ClassVar[int]
    FLAGS: ClassVar[int]
    FLAGS_USER: ClassVar[int]  # what user mode may set
    FLAGS_FIXED: ClassVar[int]
    SHARED: ClassVar[tuple[str, ...]]  # attributes that are the same for all vCPUs of a machine
    USER_LIMIT: ClassVar[int]
    EVENT_SYSCALL: ClassVar[int]

    regs: Registers

    def __init__(self, machine: EmulatorMachine) -> None:
        self._machine = machine
        unicorn = self._unicorn = machine.unicorn
        count = len(self.REGISTERS)
        regs = self.regs = array("Q", bytes(8 * count))  # never resized: Unicorn has its address
        base = ctypes.addressof((ctypes.c_uint64 * count).from_buffer(regs))
        places = [(number, base + 8 * index) for index, number in enumerate(self.REGISTERS)]
        self._pull = RegisterSet(unicorn.handle, places).read
        # uc_emu_start sets the program counter.
        self._push = RegisterSet(unicorn.handle, [place for i, place in enumerate(places) if i != self.PC]).write
        self._start = unicorn.start
        self._stop = unicorn.stop
        self._event = EVENT_NONE
        self._kicked = self._running = self.in_use = False
        self.fault_address = self.fault_access = self.vector = self.error_code = 0
        self.fault_present = False
        self._state = b""
        self._root = machine.root

    @classmethod
    def hook(cls, machine: EmulatorMachine) -> None:
        """Have the machine's current vCPU told of what ends a run. Once for a machine."""
        machine.unicorn.hook_interrupts(lambda _handle, number, _data: machine.current.on_event(number))

    def on_event(self, number: int) -> None:
        """An exception, by Unicorn's number for it."""
        if self._event == EVENT_NONE:
            self._event = number
        self._stop()

    # -- turns

    def make_current(self) -> None:
        """Have this vCPU's state in the CPU."""
        machine = self._machine
        other = machine.current
        if other is not self:
            other._state = other._inner_state()
            other._root = machine.root
            machine.current = self
            self._unicorn.load_state(self._state)
            if self._root != machine.root:
                self.set_root(machine.root)

    def _inner_state(self) -> bytes:
        return self._unicorn.state()

    def copy_from(self, other: EmulatorVcpu) -> None:
        """Take over the state of another one of this machine."""
        other.make_current()
        self._state = other._inner_state()
        for index in range(len(self.regs)):
            self.regs[index] = other.regs[index]
        for name in self.SHARED:
            setattr(self, name, getattr(other, name))
        self.in_use = True

    # -- what the architecture provides

    @abstractmethod
    def enter_user_mode(self, root: int) -> None:
        """From the state of a reset. Once for a machine, by its first vCPU."""

    @abstractmethod
    def set_root(self, root: int) -> None:
        """Use the page tables at this arena offset."""

    @abstractmethod
    def _decode(self, error: int, event: int) -> int:
        """What ended a run: an exit kind or AGAIN. EVENT_NONE with error 0 is no exit at all."""

    def _syscall(self) -> int:
        """Make `regs` the user state behind a system call."""
        return EXIT_SYSCALL

    def adopt(self) -> None:  # noqa: B027 - any thread may run it, in its turn
        """See noah.vm.api.Vcpu."""

    @abstractmethod
    def get_tls(self) -> int: ...

    @abstractmethod
    def set_tls(self, value: int) -> None: ...

    @abstractmethod
    def get_gs(self) -> int: ...

    @abstractmethod
    def set_gs(self, value: int) -> None: ...

    @abstractmethod
    def get_fp(self) -> bytes: ...

    @abstractmethod
    def set_fp(self, state: bytes) -> None: ...

    def clear(self) -> None:
        for index in range(len(self.regs)):
            self.regs[index] = 0
        self.set_tls(0)
        self.set_gs(0)
        self.set_fp(b"")

    # -- running

    def run(self) -> int:
        machine = self._machine
        regs = self.regs
        if machine.watcher is None:
            machine.start_watcher()
        if machine.current is not self:
            self.make_current()
        while True:
            self._running = True
            if self._kicked:
                self._running = self._kicked = False
                return EXIT_INTERRUPTED
            if machine.stale:
                machine.stale = False
                self._unicorn.flush_tlb()
            regs[self.FLAGS] = regs[self.FLAGS] & self.FLAGS_USER | self.FLAGS_FIXED
            self._push()
            self._event = EVENT_NONE
            error = self._start(regs[self.PC], 0, 0, 0)
            self._pull()
            self._running = False
            event = self._event
            if event == self.EVENT_SYSCALL:
                return self._syscall()
            kind = self._decode(error, event)
            if kind != AGAIN:
                return kind

    def kick(self) -> None:
        self._kicked = True
        # A stop that comes while uc_emu_start still prepares itself is lost: repeat it.
        while self._running and self._kicked:
            self._stop()
            time.sleep(_NUDGE)

    def running(self) -> bool:
        """Whether guest code runs right now, as other threads see it."""
        return self._running

    # -- life

    def take(self) -> None:
        """Hand it to a new user, in the state of a program's start."""
        self.make_current()
        self.in_use = True
        self._kicked = False
        for index in range(len(self.regs)):
            self.regs[index] = 0
        self.set_tls(0)
        self.set_gs(0)
        self.set_fp(b"")

    def answer_beside(self, answer: Answer) -> None:
        """run() returns as soon."""
        return

    def host_thread_changed(self) -> None:
        """There is no other host thread."""
        return

    def met_inside_call(self) -> None:
        """They all come."""
        return

    def close(self) -> None:
        self.in_use = False
