"""A virtual machine: guest-physical memory, page tables, the system area, and the two self-tests."""

from __future__ import annotations

import mmap as hostmmap
import os
import struct
import time
from _thread import allocate_lock
from collections.abc import Callable
from fcntl import ioctl
from typing import Final

from noah.vm import hostclock
from noah.vm.api import (
    EXEC,
    EXIT_SYSCALL,
    READ,
    WRITE,
    CopyCalls,
    EngineError,
    Inside,
    Vcpu,
    WordCalls,
)
from noah.vm.arch import x86_system
from noah.vm.arch.x86_64 import (
    RIP,
    RSP,
)
from noah.vm.arch.x86_paging import PageTables, TableZone, flags_of, flags_removed, kernel_flags_of
from noah.vm.arch.x86_system import (
    SLOT_SIZE,
    SLOTS,
    STUBS_ADDRESS,
    TRAP_ADDRESS,
    USER_LIMIT,
)
from noah.vm.arena import PAGE, Arena
from noah.vm.kvm import exitless
from noah.vm.kvm import words as inner
from noah.vm.kvm.device import Device
from noah.vm.kvm.vcpu import ON_TRAP, ON_USER, ON_USER_CHECKED, KvmVcpu

# <linux/kvm.h>: _IO, _IOW of type 0xAE.
_CREATE_VM: Final = 0xAE01
_CREATE_VCPU: Final = 0xAE41
_SET_USER_MEMORY_REGION: Final = 0x4020AE46

_CHUNK: Final = 64 << 20  # one memory slot
_TABLE_ZONE: Final = 30 << 20  # for page tables, in the first slot
_EAGER_LIMIT: Final = 256 << 20  # larger mappings get their page tables when they are touched

_CLOCK_SLOT: Final = 20_000  # and their first slot
_READ_ONLY_SLOT: Final = 2
_CLOCK_TOLERANCE: Final = 50_000_000  # ns; the self-test may be interrupted


class KvmMachine:
    """See noah.vm.api.Machine. Raises EngineError when KVM cannot be used here; the text says why."""

    __slots__ = (
        "_chunks",
        "_idle",
        "_lazy",
        "_lock",
        "_placed",
        "_regions",
        "_tables",
        "_vcpu_count",
        "_vcpu_fds",
        "_zone",
        "arch",
        "arena",
        "coherent",
        "device",
        "fsgsbase",
        "host_clock",
        "name",
        "parallel",
        "root",
        "trap_level",
        "user_limit",
        "user_state",
        "vcpus",
        "vm",
        "words",
    )

    def __init__(self, arena: Arena | None = None) -> None:
        self.name = "kvm"
        self.arch = "x86_64"
        self.parallel = self.coherent = self.fsgsbase = True
        self.user_limit = USER_LIMIT
        self.device = Device()
        self.arena = arena or Arena()
        self.trap_level = self.user_state = ON_USER
        self.vcpus: list[KvmVcpu] = []  # those that run guest code
        self._chunks: list[int] = []
        self._regions: dict[int, bytes] = {}  # memory slots, as KVM was told of them
        self._lazy: list[tuple[int, int, int, int]] = []
        self.host_clock: hostclock.HostClock | None = None
        self.words: inner.Words | None = None
        """The code that answers some calls within the guest."""
        self._zone = TableZone(x86_system.SIZE, _TABLE_ZONE)
        self._open()
        self._set_up()
        self._probe()
        self._probe_clock()

    def _open(self) -> None:
        self._lock = allocate_lock()
        self._vcpu_count = 0
        self._vcpu_fds: list[int] = []
        self._idle: list[tuple[int, int, hostmmap.mmap]] = []
        try:
            self.vm = ioctl(self.device.fd, _CREATE_VM, 0)
            for region in self._regions.values():
                ioctl(self.vm, _SET_USER_MEMORY_REGION, region)
        except OSError as error:
            raise EngineError(f"KVM cannot make a virtual machine: {error.strerror}; use --engine emulator") from None

    def _set_up(self) -> None:
        """Place the system area and empty page tables in an empty arena, always at the same offsets."""
        arena = self.arena
        at = arena.alloc(x86_system.SIZE)
        assert at == 0
        at += x86_system.FIRST
        tables = x86_system.tables()
        arena.anonymous(at, len(tables))
        arena.view[at : at + len(tables)] = tables
        assert arena.alloc(_TABLE_ZONE) == x86_system.SIZE
        self._tables = PageTables(arena, self._zone, large=self.device.nested_paging)
        self.root = self._tables.root
        self._lazy.clear()
        self._tables.map(USER_LIMIT + at, x86_system.STUBS - at, at, kernel_flags_of(READ))
        self._tables.map(STUBS_ADDRESS, PAGE, x86_system.STUBS, kernel_flags_of(READ | EXEC))
        trap_flags = flags_of(READ | EXEC) if self.trap_level == ON_USER else kernel_flags_of(READ | EXEC)
        self._tables.map(TRAP_ADDRESS, PAGE, x86_system.TRAP, trap_flags)
        if self.trap_level == ON_USER:
            self._tables.map(x86_system.MAIL_ADDRESS, PAGE, x86_system.MAIL, flags_of(READ | WRITE))
        self._placed = 0
        for number in range(self._vcpu_count):
            self._place_slot(number)
        self._cover(0, arena.top)
        if self.trap_level == ON_USER:
            self._install_words(watch=False)

    def _place_slot(self, number: int) -> None:
        """Provide the memory that a vCPU enters and leaves CPL 0 with, if it is not there: they come in their order."""
        if number < self._placed:
            return
        page = x86_system.slot_page(number)
        if not number or page != x86_system.slot_page(number - 1):
            self.arena.anonymous(page, PAGE)
            self._tables.map(USER_LIMIT + page, PAGE, page, kernel_flags_of(READ | WRITE))
        self._placed = number + 1
        at = SLOTS + number * SLOT_SIZE
        self.arena.view[at : at + SLOT_SIZE] = x86_system.slot(number, user_port=self.trap_level == ON_USER)

    def _register(self, slot: int, chunk: int) -> None:
        start = chunk or x86_system.CLOCK_SPACE
        size = min(chunk + _CHUNK, self.arena.size) - start
        region = struct.pack("<IIQQQ", slot, 0, start, size, self.arena.address + start)
        ioctl(self.vm, _SET_USER_MEMORY_REGION, region)
        self._regions[slot] = region

    def _cover(self, offset: int, length: int) -> None:
        """Make a part of the arena guest-physical memory."""
        for chunk in range(offset // _CHUNK * _CHUNK, offset + length, _CHUNK):
            if chunk not in self._chunks:
                self._register(len(self._chunks), chunk)
                self._chunks.append(chunk)

    def take_vcpu(self) -> tuple[int, int, hostmmap.mmap, bool]:
        """A KVM vCPU: its number, descriptor and shared memory, and whether it was used before.

        KVM never forgets one before the whole machine goes: those that ended threads leave are used again.
        """
        with self._lock:
            if self.vcpus:
                self._install_words(watch=True)
            if self._idle:
                number, fd, run = self._idle.pop()
                self._place_slot(number)
                return number, fd, run, True
            number = self._vcpu_count
            if number == x86_system.SLOT_COUNT:
                raise EngineError("KVM has no more vCPUs for this process")
            try:
                fd = ioctl(self.vm, _CREATE_VCPU, number)
            except OSError as error:  # KVM_CAP_MAX_VCPUS, RLIMIT_NOFILE
                raise EngineError(f"KVM makes no more vCPUs for this process: {error.strerror}") from None
            self._vcpu_count += 1  # also of one that cannot be used: KVM keeps it
            self._vcpu_fds.append(fd)
            try:
                run = hostmmap.mmap(fd, self.device.run_size)
            except OSError as error:
                raise EngineError(f"no room for the state of a vCPU: {error.strerror}") from None
            self._place_slot(number)
            return number, fd, run, False

    def answer_inside(self, words: WordCalls, copies: CopyCalls) -> Inside | None:
        if self.trap_level != ON_USER:
            return None
        self.words = inner.Words(words, copies)
        self._install_words(watch=False)
        for vcpu in self.vcpus:
            vcpu.use_words()
        return inner.tables(self.arena)

    def _install_words(self, *, watch: bool) -> None:
        exitless.install(self.arena, self.words)
        if self.words is not None:
            self.words.install(self.arena, watch=watch and len(exitless.processors()) > 1)

    def leave_vcpu(self, number: int, fd: int, run: hostmmap.mmap) -> None:
        self._idle.append((number, fd, run))

    def _probe(self) -> None:
        """Make one system call in the guest: does the trap work, and at which privilege level does it arrive?"""
        page = self.arena.alloc(PAGE)
        self.arena.anonymous(page, PAGE)
        self.arena.view[page : page + 4] = b"\x0f\x05\x0f\x05"  # syscall; syscall
        self.map(0x10000, PAGE, page, READ | EXEC)
        vcpu = KvmVcpu(self)
        vcpu.regs[RIP] = 0x10000
        kind = vcpu.run()
        if kind != EXIT_SYSCALL or vcpu.regs[RIP] != 0x10002:
            raise EngineError("this KVM failed the self-test: a system call did not arrive; use --engine emulator")
        if vcpu.privilege_level() != 3:
            self.trap_level, self.user_state = ON_TRAP, ON_USER_CHECKED
        vcpu.close()
        if self.trap_level != ON_USER:
            self._tables.map(TRAP_ADDRESS, PAGE, x86_system.TRAP, kernel_flags_of(READ | EXEC))
            self._tables.unmap(x86_system.MAIL_ADDRESS, PAGE)
            self.flush(x86_system.TRAP, 2 * PAGE)
        self.unmap(0x10000, PAGE)
        self.arena.free(page, PAGE)

    def _register_clock(self, clock: hostclock.HostClock) -> None:
        """Put the clock pages before everything else: the end of guest-physical memory depends on the host's CPU."""
        for number, (offset, host_address, length) in enumerate(clock.data):
            region = struct.pack("<IIQQQ", _CLOCK_SLOT + number, _READ_ONLY_SLOT, offset, length, host_address)
            ioctl(self.vm, _SET_USER_MEMORY_REGION, region)
            self._regions[_CLOCK_SLOT + number] = region

    def map_host_clock(self, address: int) -> None:
        assert self.host_clock is not None
        for offset, _, length in self.host_clock.data:
            self._tables.map(address + offset, length, offset, flags_of(READ))

    def flush_host_clock(self) -> None:
        if self.host_clock is not None:
            for number in range(len(self.host_clock.data)):
                ioctl(self.vm, _SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", _CLOCK_SLOT + number, 0, 0, 0, 0))
            self._register_clock(self.host_clock)

    def _probe_clock(self) -> None:
        """Let the guest ask the host's vDSO for the time: lend it only if the answer is right."""
        clock = hostclock.find()
        function = hostclock.symbol(clock.image, b"__vdso_clock_gettime") if clock is not None else 0
        if clock is None or not function:
            return
        size = 2 * PAGE + len(clock.image)
        if clock.code_offset + size > x86_system.CLOCK_SPACE:
            return
        arena = self.arena
        try:
            self._register_clock(clock)
        except OSError:
            self._forget_clock()
            return
        self.host_clock = clock
        at = arena.alloc(size)
        arena.anonymous(at, size)
        base = USER_LIMIT  # translations to the clock may outlive this: never in the way of the guest's own pages
        code = base + clock.code_offset
        self.map_host_clock(base)
        self.map(code, len(clock.image), at + 2 * PAGE, READ | EXEC)
        arena.view[at + 2 * PAGE : at + size] = clock.image
        stub = code + len(clock.image)
        self.map(stub, 2 * PAGE, at, READ | WRITE | EXEC)
        result = stub + PAGE
        arena.view[at : at + 29] = (
            b"\xbf\x01\x00\x00\x00"  # mov $CLOCK_MONOTONIC,%edi
            + b"\x48\xbe"  # mov $result,%rsi
            + struct.pack("<Q", result)
            + b"\x48\xb8"  # mov $clock_gettime,%rax
            + struct.pack("<Q", code + function)
            + b"\xff\xd0\x0f\x05"  # call *%rax; syscall
        )
        vcpu = KvmVcpu(self)
        vcpu.regs[RIP], vcpu.regs[RSP] = stub, result + PAGE
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        kind = vcpu.run()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        seconds, ns = struct.unpack_from("<QQ", arena.view, at + PAGE)
        seen = seconds * 1_000_000_000 + ns
        if kind != EXIT_SYSCALL or not before - _CLOCK_TOLERANCE < seen < after + _CLOCK_TOLERANCE:
            self._forget_clock()
        vcpu.close()
        self.unmap(base, clock.size + 2 * PAGE)
        arena.free(at, size)

    def _forget_clock(self) -> None:
        """The machines of children need not have it."""
        self.host_clock = None
        self._regions = {slot: region for slot, region in self._regions.items() if slot < _CLOCK_SLOT}

    def map(self, address: int, length: int, offset: int, prot: int) -> None:
        if length > _EAGER_LIMIT:
            self._lazy.append((address, address + length, offset, prot))
            return
        self._cover(offset, length)
        self._tables.map(address, length, offset, flags_of(prot))

    def fill(self, address: int) -> bool:
        for start, end, offset, prot in self._lazy:
            if start <= address < end and prot:
                if self._tables.translate(address):
                    return False
                low = max(start, address & -_CHUNK)
                high = min(end, (address & -_CHUNK) + _CHUNK)
                at = offset + low - start
                self._cover(at, high - low)
                self._tables.map(low, high - low, at, flags_of(prot))
                return True
        return False

    def _cut_lazy(self, address: int, end: int) -> None:
        """Take a range out of the large mappings."""
        kept = []
        for start, stop, offset, prot in self._lazy:
            if stop <= address or end <= start:
                kept.append((start, stop, offset, prot))
                continue
            if start < address:
                kept.append((start, address, offset, prot))
            if end < stop:
                kept.append((end, stop, offset + end - start, prot))
        self._lazy[:] = kept

    def protect(self, address: int, length: int, offset: int, prot: int) -> None:
        flags = flags_of(prot)
        if self._lazy:
            self._cut_lazy(address, address + length)
        if length > _EAGER_LIMIT:
            self._tables.unmap(address, length)
            self._lazy.append((address, address + length, offset, prot))
        else:
            old = self._tables.translate(address)
            self._cover(offset, length)
            self._tables.map(address, length, offset, flags)
            if not old or not flags_removed(old, flags):
                return
        self.flush(offset, length)

    def unmap(self, address: int, length: int) -> None:
        if self._lazy:
            self._cut_lazy(address, address + length)
        self._tables.unmap(address, length)

    def flush(self, offset: int, length: int) -> None:
        self.arena.invalidate(offset, length)

    def forget_code(self, address: int, length: int) -> None:
        """A processor sees every write."""

    def reset(self) -> None:
        self.arena.reset()
        if self._zone.is_half_used:
            # Taking a slot away makes KVM forget everything that it derived from page tables.
            ioctl(self.vm, _SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, 0, 0))
            self._register(0, self._chunks[0])
            self._zone.rewind()
        self._set_up()
        for vcpu in self.vcpus:
            vcpu.follow_root()

    def new_vcpu(self) -> KvmVcpu:
        return KvmVcpu(self)

    def clone_vcpu(self, vcpu: Vcpu) -> KvmVcpu:
        assert isinstance(vcpu, KvmVcpu)
        return KvmVcpu(self, vcpu)

    def free_vcpu(self, vcpu: Vcpu) -> None:
        vcpu.close()

    def begin_write_log(self) -> None:
        self._tables.clear_dirty()

    def written_pages(self) -> list[int]:
        return self._tables.dirty_pages()

    def before_fork(self, vcpu: Vcpu) -> None:
        assert isinstance(vcpu, KvmVcpu)
        vcpu.before_fork()

    def after_fork(self, vcpu: Vcpu) -> None:
        assert isinstance(vcpu, KvmVcpu)
        self._close_descriptors()
        self._open()
        had_others = len(self.vcpus) > 1
        self.vcpus = []
        if had_others:
            self._install_words(watch=False)
        vcpu.after_fork()
        self.vcpus = [vcpu]

    def fork_empty(self, vcpu: Vcpu, fork: Callable[[], int]) -> int:
        assert isinstance(vcpu, KvmVcpu)
        # Neither copied nor given back page by page: a large parent's memory is what makes a fork slow.
        try:
            self.arena.show_to_children(False)
        except OSError:
            pass  # the host has no more mappings to give
        try:
            pid = fork()
        except BaseException:
            self.arena.show_to_children(True)
            raise
        if pid:
            self.arena.show_to_children(True)
            return pid
        self._close_descriptors()
        self.arena.reset()
        for slot in range(len(self._chunks)):
            del self._regions[slot]
        self._chunks.clear()
        self._zone.rewind()
        self._open()
        self._set_up()
        self.vcpus = []
        vcpu.start_anew()
        self.vcpus = [vcpu]
        return 0

    def _close_descriptors(self) -> None:
        """Those of this machine. A forked child has copies of its parent's, which it can't use."""
        for fd in self._vcpu_fds:
            os.close(fd)
        os.close(self.vm)

    def close(self) -> None:
        self.vcpus.clear()
        self._idle.clear()
        self._close_descriptors()
        os.close(self.device.fd)
