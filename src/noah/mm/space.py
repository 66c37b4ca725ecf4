"""AddressSpace: what is mapped in a guest process, over an engine's page tables and the arena, with Linux' rules.

Every accessible area has its place in the arena from the start; the engine's page tables are filled at once, so that a
page fault is an exception and not the rule. Faults that do come: a stack that grows, a page of a file beyond its end, a
very large area (the engine fills those in pieces), and errors of the guest.

mmap(2), munmap(2) and mprotect(2) are here; brk(2), mremap(2), madvise(2) and mlock(2) have modules of their own.
"""

from __future__ import annotations

from typing import Final

from noah.abi import aarch64, x86_64
from noah.abi.errno import EACCES, EAGAIN, EEXIST, EINVAL, ENOMEM, EOPNOTSUPP, EOVERFLOW, EPERM, LinuxError
from noah.abi.mman import (
    MADV_DONTFORK,
    MADV_WIPEONFORK,
    MAP_32BIT,
    MAP_ANONYMOUS,
    MAP_DENYWRITE,
    MAP_EXECUTABLE,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_HUGE_MASK,
    MAP_HUGE_SHIFT,
    MAP_HUGETLB,
    MAP_LOCKED,
    MAP_NONBLOCK,
    MAP_NORESERVE,
    MAP_POPULATE,
    MAP_PRIVATE,
    MAP_SHARED,
    MAP_SHARED_VALIDATE,
    MAP_STACK,
    MAP_TYPE,
    MAP_UNINITIALIZED,
    PROT_EXEC,
    PROT_GROWSDOWN,
    PROT_GROWSUP,
    PROT_READ,
    PROT_SEM,
    PROT_WRITE,
)
from noah.abi.resource import RLIM_INFINITY
from noah.host.api import Host
from noah.host.errnos import from_host
from noah.mm import views
from noah.mm.advise import populate
from noah.mm.user import UserMemory
from noah.mm.vma import (
    HOST_CLOCK,
    MMAP_MIN,
    NOWHERE,
    STACK_GAP,
    MappedFile,
    SharedMemory,
    Vma,
    VmaMap,
    page_align,
)
from noah.vm.api import Machine
from noah.vm.arena import PAGE

MAX_MAP_COUNT: Final = 65530  # vm.max_map_count
_ACCESS: Final = PROT_READ | PROT_WRITE | PROT_EXEC
_KEPT_FLAGS: Final = MAP_ANONYMOUS | MAP_NORESERVE | MAP_GROWSDOWN | MAP_LOCKED
# MAP_SHARED_VALIDATE takes these alone (LEGACY_MAP_MASK; MAP_FIXED_NOREPLACE is not in it)
_VALID_FLAGS: Final = (
    MAP_TYPE
    | MAP_FIXED
    | MAP_ANONYMOUS
    | MAP_DENYWRITE
    | MAP_EXECUTABLE
    | MAP_UNINITIALIZED
    | MAP_GROWSDOWN
    | MAP_LOCKED
    | MAP_NORESERVE
    | MAP_POPULATE
    | MAP_NONBLOCK
    | MAP_STACK
    | MAP_HUGETLB
    | MAP_32BIT
    | MAP_HUGE_MASK << MAP_HUGE_SHIFT
)
_LOW: Final = 1 << 30, 1 << 31  # where MAP_32BIT places (arch/x86/kernel/sys_x86_64.c: find_start_end)
_STACK_ROOM: Final = 8 << 20  # in the arena, for MAP_GROWSDOWN


class AddressSpace:
    """The memory of one guest process. Methods named as system calls take their arguments and raise LinuxError."""

    __slots__ = (
        "_shared_count",
        "arena",
        "brk_end",
        "brk_start",
        "code_files",
        "fork_advice",
        "host",
        "limit_as",
        "limit_data",
        "limit_memlock",
        "limit_stack",
        "lock_future",
        "lock_unlimited",
        "machine",
        "memory",
        "mmap_top",
        "ram",
        "task_size",
        "vmas",
    )

    def __init__(self, machine: Machine, host: Host) -> None:
        self.machine = machine
        self.arena = machine.arena
        self.host = host
        self.vmas = VmaMap()
        self.brk_start = self.brk_end = 0
        self.mmap_top = machine.user_limit - (256 << 20)
        self.limit_as = self.limit_data = self.limit_memlock = RLIM_INFINITY
        self.limit_stack = 8 << 20
        self.fork_advice = False  # there may be areas that forked children get empty or not at all
        self.lock_future = False  # mlockall(2) with MCL_FUTURE
        self.lock_unlimited = False  # the caller of the moment has CAP_IPC_LOCK; kept by noah.syscalls.memory
        self.task_size = (aarch64 if machine.arch == "aarch64" else x86_64).TASK_SIZE
        """Where user addresses end. The engine keeps what lies between its own user_limit and this."""
        self._shared_count = 0
        self.code_files: set[tuple[int, int]] = set()  # device and inode: see noah.mm.views
        self.memory = UserMemory(self)
        info = host.procs.sysinfo()
        self.ram = (info.totalram + info.totalswap) * info.mem_unit

    # -- limits

    @property
    def locked(self) -> int:
        """Bytes locked (VmLck)."""
        return self.vmas.locked

    def total(self) -> int:
        """Bytes mapped (VmSize)."""
        return self.vmas.total

    def check_growth(self, prot: int, flags: int, size: int) -> None:
        """ENOMEM if an area of this kind may not be `size` bytes more (may_expand_vm())."""
        if self.vmas.total + size > self.limit_as:
            raise LinuxError(ENOMEM)
        writable = prot & PROT_WRITE and not flags & (MAP_SHARED | MAP_GROWSDOWN)
        if writable and self.vmas.data + size > self.limit_data:
            raise LinuxError(ENOMEM)

    def check_lock(self, size: int, error: int = EAGAIN) -> None:
        """For memory that will be locked at once (mlock_future_ok())."""
        if self.vmas.locked + size > self.limit_memlock and not self.lock_unlimited:
            raise LinuxError(error)

    def check_count(self, more: int) -> None:
        """ENOMEM if there would be more areas than Linux allows."""
        if len(self.vmas) + more > MAX_MAP_COUNT:
            raise LinuxError(ENOMEM)

    # -- mmap

    def mmap(self, address: int, length: int, prot: int, flags: int, file: MappedFile | None, offset: int) -> int:
        """mmap(2). `file` is open for reading, and shared and writable only if file.writable. Returns the address."""
        if flags & MAP_HUGETLB:
            raise LinuxError(EINVAL if file is not None else ENOMEM, "no huge pages are reserved")
        if not length:
            raise LinuxError(EINVAL)
        length = page_align(length)
        if not length:
            raise LinuxError(ENOMEM)
        if offset + length > 1 << 64:
            raise LinuxError(EOVERFLOW)
        self.check_count(0)
        address = self._choose(address, length, flags)
        end = address + length
        if flags & MAP_FIXED_NOREPLACE and self.vmas.overlapping(address, end):
            raise LinuxError(EEXIST)
        kind = self._kind(prot, flags, file)
        flags = flags & ~MAP_TYPE | kind
        if self.lock_future:
            flags |= MAP_LOCKED
        if flags & MAP_LOCKED:
            self.check_lock(length)
        fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)
        self.check_growth(prot, flags, length - (self.vmas.count_between(address, end) if fixed else 0))
        accounted = prot & PROT_WRITE if kind == MAP_PRIVATE else file is None
        if accounted and length > self.ram and not flags & MAP_NORESERVE:
            raise LinuxError(ENOMEM, "more than the host's memory")
        if fixed:
            self.remove(address, end)
        prot &= _ACCESS
        vma = Vma(address, end, prot, flags & (_KEPT_FLAGS | MAP_TYPE), NOWHERE, file, offset if file else 0)
        if file is None and kind == MAP_SHARED:
            self._shared_count += 1
            vma.file = SharedMemory(self.host.files, length, self.host.procs.getpid() << 20 | self._shared_count)
        if prot or vma.file is not None:
            self.back(vma)
        self.vmas.insert(vma)
        if flags & MAP_LOCKED or flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE:
            populate(self, address, end)
        return address

    def _kind(self, prot: int, flags: int, file: MappedFile | None) -> int:
        """MAP_SHARED or MAP_PRIVATE; raises for what this file cannot do."""
        kind = flags & MAP_TYPE
        if file is None:
            if kind not in (MAP_SHARED, MAP_PRIVATE) or (kind == MAP_SHARED and flags & MAP_GROWSDOWN):
                raise LinuxError(EINVAL)
            return kind
        if kind == MAP_SHARED_VALIDATE:
            if flags & ~_VALID_FLAGS:
                raise LinuxError(EOPNOTSUPP)
            kind = MAP_SHARED
        if kind == MAP_SHARED:
            if prot & PROT_WRITE and not file.writable:
                raise LinuxError(EACCES)
        elif kind != MAP_PRIVATE:
            raise LinuxError(EINVAL)
        if flags & MAP_GROWSDOWN:
            raise LinuxError(EINVAL)
        return kind

    def _choose(self, address: int, length: int, flags: int) -> int:
        """get_unmapped_area()"""
        limit = self.machine.user_limit
        if length > limit:
            raise LinuxError(ENOMEM)
        if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE):
            if address > limit - length:
                raise LinuxError(ENOMEM)
            if address & (PAGE - 1):
                raise LinuxError(EINVAL)
            if address < MMAP_MIN:
                raise LinuxError(EPERM)
            return address
        low = flags & MAP_32BIT and self.machine.arch == "x86_64"
        if low:
            limit = _LOW[1]
        address &= -PAGE
        if address:
            address = max(address, MMAP_MIN)
            if address + length <= limit and self._is_free(address, length):
                return address
        if low:
            found = self.vmas.lowest_gap(_LOW[0], length, limit)
            if found is None:
                raise LinuxError(ENOMEM)
            return found
        return self.find_free(length)

    def _is_free(self, address: int, length: int) -> bool:
        end = address + length
        if self.vmas.overlapping(address, end):
            return False
        above = self.vmas.above(address)
        return above is None or not above.flags & MAP_GROWSDOWN or end <= above.start - STACK_GAP

    def find_free(self, length: int) -> int:
        """Linux' choice without a hint: the highest gap below the stack."""
        found = self.vmas.highest_gap(self.mmap_top, length, MMAP_MIN)
        if found is None:
            found = self.vmas.highest_gap(self.machine.user_limit, length, MMAP_MIN)
        if found is None:
            raise LinuxError(ENOMEM)
        return found

    # -- what stands behind areas

    def back(self, vma: Vma, source: int = NOWHERE) -> None:
        """Give an area its place in the arena and in the engine's tables.

        `source` is an arena offset where the pages of the SharedMemory behind it are mapped already.
        """
        length = vma.end - vma.start
        room = min(_STACK_ROOM, vma.start - MMAP_MIN) & -PAGE if vma.flags & MAP_GROWSDOWN else 0
        arena = self.arena
        try:
            vma.offset = arena.alloc(room + length, vma.start - room) + room
        except MemoryError:
            raise LinuxError(ENOMEM) from None
        vma.floor = vma.start - room
        try:
            self._fill(vma, source)
            self.install(vma)
        except (LinuxError, MemoryError, OSError) as error:
            self.machine.unmap(vma.start, length)
            arena.free(vma.offset - room, room + length)
            vma.offset, vma.floor = NOWHERE, vma.start
            if isinstance(error, OSError):
                raise from_host(error) from None
            raise error if isinstance(error, LinuxError) else LinuxError(ENOMEM) from None

    def _fill(self, vma: Vma, source: int) -> None:
        """Map on the host what a new area shows."""
        length = vma.end - vma.start
        file, arena = vma.file, self.arena
        if file is None:
            arena.anonymous(vma.offset, length)
        elif file.fd >= 0:
            if vma.prot & PROT_EXEC:
                file.executable = True
            shared = vma.flags & MAP_TYPE == MAP_SHARED
            start = file.base + vma.file_offset
            try:
                arena.file(vma.offset, length, file.fd, start, shared=shared, writable=file.writable)
            except PermissionError:
                if not shared or not file.writable or vma.prot & PROT_WRITE:
                    raise
                file.writable = False  # sealed (F_SEAL_WRITE): it can be read, and never be written again
                arena.file(vma.offset, length, file.fd, start, shared=True, writable=False)
        elif source == NOWHERE:
            arena.shared(vma.offset, length)
        elif not arena.alias(source, length, vma.offset):
            raise LinuxError(EINVAL, "this host has no second view of anonymous shared memory")

    def present(self, vma: Vma) -> int:
        """How many bytes of an area have pages: a file's only up to its end. Beyond it an access is SIGBUS."""
        length = vma.end - vma.start
        if vma.file is None:
            return length
        return min(length, max(0, page_align(vma.file.size()) - vma.file_offset))

    def install(self, vma: Vma) -> None:
        """Enter an area into the engine's tables."""
        prot = views.granted(self, vma)
        length = self.present(vma) if prot else 0
        if length:
            self.machine.map(vma.start, length, vma.offset, prot)

    def place(self, name: bytes, address: int, length: int, prot: int, data: bytes = b"") -> None:
        """Map private memory with contents at a fixed address, for the loader."""
        vma = Vma(address, address + length, prot, MAP_PRIVATE | MAP_ANONYMOUS, name=name)
        self.back(vma)
        self.vmas.insert(vma)
        self.arena.view[vma.offset : vma.offset + len(data)] = data

    # -- munmap

    def munmap(self, address: int, length: int) -> None:
        """munmap(2)."""
        if address & (PAGE - 1) or not 0 < length <= self.task_size - address:
            raise LinuxError(EINVAL)
        self.remove(address, address + page_align(length))

    def remove(self, start: int, end: int) -> None:
        """Unmap a range. ENOMEM (and nothing done) when it would make too many areas."""
        if len(self.vmas) >= MAX_MAP_COUNT and self.vmas.splits(start, end) > 1:
            raise LinuxError(ENOMEM)
        for vma in self.vmas.cut(start, end):
            self.drop(vma)

    def drop(self, vma: Vma) -> None:
        """Free what stood behind a piece that has been cut out."""
        length = vma.end - vma.start
        if vma.offset >= 0:
            self.machine.unmap(vma.start, length)
            below = vma.start - vma.floor  # a stack's reserve goes with its lowest piece
            self.arena.free(vma.offset - below, below + length)
        elif vma.offset == HOST_CLOCK:
            self.machine.unmap(vma.start, length)
            self.machine.flush_host_clock()

    # -- mprotect

    def mprotect(self, address: int, length: int, prot: int) -> None:
        """mprotect(2)."""
        grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP)
        prot &= ~grows
        if grows == PROT_GROWSDOWN | PROT_GROWSUP or address & (PAGE - 1):
            raise LinuxError(EINVAL)
        if not length:
            return
        end = address + page_align(length)
        if end == address or end >= 1 << 64:
            raise LinuxError(ENOMEM)
        if prot & ~(_ACCESS | PROT_SEM):
            raise LinuxError(EINVAL)
        prot &= _ACCESS
        areas = self.vmas.overlapping(address, end)
        if not areas:
            raise LinuxError(ENOMEM)
        first = areas[0]
        if grows == PROT_GROWSDOWN:
            if not first.flags & MAP_GROWSDOWN:
                raise LinuxError(EINVAL)
            address = first.start
        elif first.start > address:
            raise LinuxError(ENOMEM)
        elif grows:
            raise LinuxError(EINVAL)  # nothing grows up on these architectures
        at = address
        for vma in areas:
            if vma.start > at:
                break  # a hole: what lies before it is changed all the same
            piece_end = min(vma.end, end)
            if vma.prot != prot:
                self._change(vma, at, piece_end, prot)
            at = piece_end
        if at < end:
            raise LinuxError(ENOMEM)

    def _change(self, vma: Vma, start: int, end: int, prot: int) -> None:
        """mprotect_fixup()"""
        if vma.offset == HOST_CLOCK:
            raise LinuxError(EACCES)
        if prot & PROT_WRITE:
            if vma.file and vma.flags & MAP_TYPE == MAP_SHARED and not vma.file.writable:
                raise LinuxError(EACCES)
            if not vma.prot & PROT_WRITE and not vma.flags & (MAP_SHARED | MAP_GROWSDOWN):
                if self.vmas.data + end - start > self.limit_data:
                    raise LinuxError(ENOMEM)
                if vma.offset == NOWHERE and end - start > self.ram and not vma.flags & MAP_NORESERVE:
                    raise LinuxError(ENOMEM, "more than the host's memory")
        self.check_count(self.vmas.splits(start, end))
        [piece] = self.vmas.cut(start, end)
        old = piece.prot
        piece.prot = prot
        try:
            if piece.offset == NOWHERE:
                self.back(piece)
            elif length := self.present(piece):
                self.machine.protect(piece.start, length, piece.offset, views.granted(self, piece))
        except (LinuxError, MemoryError, OSError):
            piece.prot = old
            raise LinuxError(ENOMEM) from None
        finally:
            if prot & PROT_WRITE:
                piece.pristine = False
            self.vmas.insert(piece)

    # -- whole-space operations

    def is_private_memory(self, offset: int) -> bool:
        """Whether a page of the arena is behind a private area (of which a forked child has its own copy)."""
        for vma in self.vmas:
            if 0 <= vma.offset <= offset < vma.offset + vma.end - vma.start:
                return vma.flags & MAP_TYPE == MAP_PRIVATE
        return False

    def reset(self, *, machine_is_empty: bool = False) -> None:
        """execve(2): drop everything."""
        self.vmas.clear()
        self.code_files.clear()
        if not machine_is_empty:
            self.machine.reset()
        self.brk_start = self.brk_end = 0
        self.fork_advice = self.lock_future = False

    def after_fork(self) -> None:
        """In a forked child: locks are not inherited, nor is what madvise(2) kept from it (dup_mmap())."""
        self.lock_future = False
        if self.vmas.locked:
            self.vmas.locked = 0
            for vma in self.vmas:
                vma.flags &= ~MAP_LOCKED
        if not self.fork_advice:
            return
        absent = []
        for vma in self.vmas:
            if vma.advice & 1 << MADV_DONTFORK:
                absent.append((vma.start, vma.end))
            elif vma.advice & 1 << MADV_WIPEONFORK and vma.offset >= 0:
                self.arena.discard(vma.offset, vma.end - vma.start)
        for start, end in absent:
            self.remove(start, end)
