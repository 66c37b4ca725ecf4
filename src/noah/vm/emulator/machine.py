"""Memory of an emulated guest: page tables in the arena, and when the translator must forget what it knows."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from noah.vm.api import EXEC, CopyCalls, EngineError, WordCalls
from noah.vm.arch import aarch64_paging, x86_paging
from noah.vm.arch.aarch64_paging import Aarch64PageTables
from noah.vm.arch.x86_paging import PageTables
from noah.vm.arena import PAGE, Arena
from noah.vm.emulator.aarch64 import Aarch64Vcpu
from noah.vm.emulator.library import Unicorn
from noah.vm.emulator.vcpu import EmulatorVcpu
from noah.vm.emulator.watcher import ALL, SignalWatcher
from noah.vm.emulator.x86_64 import SYSTEM_ADDRESS, X86Vcpu, system_page

if TYPE_CHECKING:
    from collections.abc import Callable, Set

    from noah.vm.api import Vcpu
    from noah.vm.hostclock import HostClock

_UNBLOCKABLE: Final = (signal.SIGKILL, signal.SIGSTOP)
_OWN: Final = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)  # raised by the host's own instructions


class EmulatorMachine:
    """See noah.vm.api.Machine. Raises EngineError when Unicorn is missing or too old; the text says the remedy.

    Its vCPUs share one CPU, so an edit of the page tables is seen by all of them if the next run() sees it: flushes
    wait.
    """

    __slots__ = (
        "_first",
        "_flags_of",
        "_flags_removed",
        "_logging",
        "_signals",
        "_tables",
        "arch",
        "arena",
        "coherent",
        "current",
        "fsgsbase",
        "host_clock",
        "name",
        "parallel",
        "stale",
        "unicorn",
        "user_limit",
        "watcher",
    )

    _tables: PageTables

    current: EmulatorVcpu
    """Whose state the CPU has."""

    def __init__(self, arch: str, arena: Arena | None = None) -> None:
        self.name = "emulator"
        self.arch = arch
        self.parallel = self.coherent = self.fsgsbase = False
        self.arena = arena or Arena()
        self.host_clock: HostClock | None = None
        self.stale = False
        """The page tables lost a permission that the TLB may still have."""
        self.watcher: SignalWatcher | None = None
        self._signals = ALL.difference(_UNBLOCKABLE, _OWN)
        kind: type[EmulatorVcpu]
        if arch == "x86_64":
            self._flags_of, self._flags_removed = x86_paging.flags_of, x86_paging.flags_removed
            kind = X86Vcpu
        elif arch == "aarch64":
            self._flags_of, self._flags_removed = aarch64_paging.flags_of, aarch64_paging.flags_removed
            kind = Aarch64Vcpu
        else:
            raise EngineError(f"the emulator knows x86_64 and aarch64, not {arch}")
        self.unicorn = Unicorn(kind.ARCH, kind.MODE, kind.MODEL, self.arena.address, self.arena.size)
        self.user_limit = kind.USER_LIMIT
        self._set_up()
        self._first = self.current = kind(self)
        kind.hook(self)
        self._first.enter_user_mode(self.root)

    def _set_up(self) -> None:
        """Empty page tables in an empty arena."""
        self._logging = False
        if self.arch == "aarch64":
            self._tables = Aarch64PageTables(self.arena)
            return
        self._tables = PageTables(self.arena)
        page = self.arena.alloc(PAGE)
        self.arena.anonymous(page, PAGE)
        content = system_page()
        self.arena.view[page : page + len(content)] = content
        self._tables.map(SYSTEM_ADDRESS, PAGE, page, x86_paging.KERNEL_PAGE)

    @property
    def root(self) -> int:
        """Arena offset of the page tables."""
        return self._tables.root

    # -- memory

    def map(self, address: int, length: int, offset: int, prot: int) -> None:
        self._tables.map(address, length, offset, self._flags_of(prot))
        if prot & EXEC:
            self._became_executable(address, length)

    def protect(self, address: int, length: int, offset: int, prot: int) -> None:
        flags = self._flags_of(prot)
        old = self._tables.translate(address)
        self._tables.map(address, length, offset, flags)
        if not old or self._flags_removed(old, flags):
            self.stale = True
        if prot & EXEC:
            self._became_executable(address, length)

    def _became_executable(self, address: int, length: int) -> None:
        """What was translated from this memory may be of a former life: the host's writes are not noticed."""
        if self.stale:
            self.stale = False
            self.unicorn.flush_tlb()
        self.unicorn.forget_code(address, address + length)

    def forget_code(self, address: int, length: int) -> None:
        start = address & -PAGE
        self._became_executable(start, (address + length + PAGE - 1 & -PAGE) - start)

    def map_host_clock(self, address: int) -> None:
        raise EngineError("an emulated guest does not see the host's time stamp counter")

    def flush_host_clock(self) -> None:
        return None

    def unmap(self, address: int, length: int) -> None:
        self._tables.unmap(address, length)
        self.stale = True

    def flush(self, offset: int, length: int) -> None:
        self.stale = True

    def reset(self) -> None:
        self.arena.reset()
        self._set_up()
        self.current.set_root(self.root)
        self.unicorn.flush_code()
        self.stale = True

    def begin_write_log(self) -> None:
        self._tables.clear_dirty()
        self._logging = True
        self.stale = True

    def written_pages(self) -> list[int]:
        return self._tables.dirty_pages()

    def note_write(self, address: int) -> bool:
        """For the vCPU: whether a write fault was only the write log's."""
        tables = self._tables
        return self._logging and isinstance(tables, Aarch64PageTables) and tables.note_write(address)

    # -- vCPU

    def fill(self, address: int) -> bool:
        return False  # every mapping is entered whole

    def answer_inside(self, words: WordCalls, copies: CopyCalls) -> None:
        """An exit costs little here."""

    def new_vcpu(self) -> Vcpu:
        vcpu = self._clone(self._first) if self._first.in_use else self._first
        vcpu.take()
        return vcpu

    def clone_vcpu(self, vcpu: Vcpu) -> Vcpu:
        assert isinstance(vcpu, EmulatorVcpu)
        return self._clone(vcpu)

    def _clone(self, vcpu: EmulatorVcpu) -> EmulatorVcpu:
        twin = type(vcpu)(self)
        twin.copy_from(vcpu)
        return twin

    def free_vcpu(self, vcpu: Vcpu) -> None:
        vcpu.close()

    def kick(self) -> None:
        """For the watcher: end the run, whoever's it is."""
        self.current.kick()

    def running(self) -> bool:
        """For the watcher: whether guest code runs right now."""
        return self.current.running()

    def watch(self, signals: Set[int]) -> None:
        """Choose the host signals that end a run when they are pending. All that can be blocked, unless said."""
        self._signals = frozenset(signals).difference(_UNBLOCKABLE, _OWN)
        if self.watcher is not None:
            self.watcher.close()
            self.watcher = None

    def start_watcher(self) -> None:
        """For the vCPU, before it runs for the first time in a process."""
        self.watcher = SignalWatcher(self, self._signals)

    def before_fork(self, vcpu: Vcpu) -> None:
        return None

    def after_fork(self, vcpu: Vcpu) -> None:
        if self.watcher is not None:  # its thread is not in this process
            self.watcher.abandon()
            self.watcher = None

    def fork_empty(self, vcpu: Vcpu, fork: Callable[[], int]) -> int:
        pid = fork()
        if not pid:
            self.after_fork(vcpu)
            self.reset()
        return pid

    def close(self) -> None:
        if self.watcher is not None:
            self.watcher.close()
            self.watcher = None
        self.unicorn.close()
