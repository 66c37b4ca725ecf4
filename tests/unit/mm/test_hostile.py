"""Whatever a guest passes to the memory calls, it gets an errno, and its memory stays in order."""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noah.abi import mman
from noah.abi.errno import EFAULT, EINVAL, ENOMEM, LinuxError
from noah.abi.mman import MAP_ANONYMOUS, MAP_FIXED, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE
from noah.host.select import make_host
from noah.mm import advise, lock
from noah.mm.fault import fault, host_fault, map_stack
from noah.mm.heap import brk
from noah.mm.remap import mremap
from noah.mm.space import MAX_MAP_COUNT, AddressSpace
from noah.vm.api import EXEC, READ, WRITE
from noah.vm.arena import PAGE, Arena
from noah.vm.fake import FakeMachine

if TYPE_CHECKING:
    from collections.abc import Callable

BASE: Final = 0x10_0000_0000
TOP: Final = 0x7FFF_0000_0000
READ_WRITE: Final = PROT_READ | PROT_WRITE
ANONYMOUS: Final = MAP_PRIVATE | MAP_ANONYMOUS
GIB: Final = 1 << 30
HOST: Final = make_host("linux")
MACHINES: Final = {arch: FakeMachine(arch, Arena(4 * GIB)) for arch in ("x86_64", "aarch64")}


def make_space(arch: str = "x86_64") -> AddressSpace:
    machine = MACHINES[arch]
    machine.reset()
    space = AddressSpace(machine, HOST)
    space.brk_start = space.brk_end = 0x60_0000
    map_stack(space, TOP, 8 << 20, 132 << 10)
    for page in range(0, 12, 2):
        space.mmap(BASE + page * PAGE, PAGE, READ_WRITE, ANONYMOUS | MAP_FIXED, None, 0)
    space.mmap(BASE + 20 * PAGE, 4 * PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, None, 0)
    return space


def check(space: AddressSpace) -> None:
    vmas = list(space.vmas)
    assert all(vma.start < vma.end and not (vma.start | vma.end) & (PAGE - 1) for vma in vmas)
    assert all(a.end <= b.start for a, b in itertools.pairwise(vmas))
    assert not vmas or vmas[-1].end <= space.machine.user_limit
    assert space.total() == sum(vma.end - vma.start for vma in vmas)
    assert space.locked == sum(vma.end - vma.start for vma in vmas if vma.flags & mman.MAP_LOCKED)
    offsets = sorted((vma.offset, vma.offset + vma.end - vma.start) for vma in vmas if vma.offset >= 0)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(offsets))


addresses = st.one_of(
    st.integers(0, 30).map(lambda page: BASE + page * PAGE),
    st.sampled_from([0, 1, 8, PAGE, 0xFFFF, TOP, TOP - PAGE, TOP - (200 << 10), 0x60_0000]),
    st.sampled_from([(1 << 47) - PAGE, (1 << 47) - 1, 1 << 47, 1 << 48, 1 << 63, (1 << 64) - PAGE, (1 << 64) - 1]),
    st.integers(0, (1 << 64) - 1),
)
lengths = st.one_of(
    st.integers(0, 12).map(lambda pages: pages * PAGE),
    st.sampled_from([1, PAGE + 1, 64 * GIB, 1 << 46, 1 << 47, 1 << 63, (1 << 64) - PAGE, (1 << 64) - 1]),
)
small = st.integers(0, 0xFFFFFFFF) | st.sampled_from([0, 1, 2, 3, 4, 7])
map_flags = st.builds(
    lambda kind, more: kind | sum(set(more)),
    st.integers(0, 4),
    st.lists(st.sampled_from([v for name, v in vars(mman).items() if name.startswith("MAP_") and v > 0xF]), max_size=4),
)
advices = st.sampled_from([v for name, v in vars(mman).items() if name.startswith("MADV_")]) | st.integers(-5, 200)

calls = st.one_of(
    st.tuples(st.just("mmap"), addresses, lengths, small, map_flags, addresses),
    st.tuples(st.just("munmap"), addresses, lengths),
    st.tuples(st.just("mprotect"), addresses, lengths, small | st.just(mman.PROT_GROWSDOWN | 1)),
    st.tuples(st.just("mremap"), addresses, lengths, lengths, st.integers(0, 8), addresses),
    st.tuples(st.just("madvise"), addresses, lengths, advices),
    st.tuples(st.just("name"), addresses, lengths),
    st.tuples(st.just("mincore"), addresses, lengths),
    st.tuples(st.just("msync"), addresses, lengths, st.integers(0, 9)),
    st.tuples(st.just("mlock"), addresses, lengths),
    st.tuples(st.just("munlock"), addresses, lengths),
    st.tuples(st.just("mlockall"), st.integers(0, 9)),
    st.tuples(st.just("brk"), addresses),
    st.tuples(st.just("fault"), addresses, st.sampled_from([READ, WRITE, EXEC])),
    st.tuples(st.just("read"), addresses, st.integers(0, 3 * PAGE)),
    st.tuples(st.just("write"), addresses, st.integers(0, 3 * PAGE)),
    st.tuples(st.just("string"), addresses, st.integers(0, 2 * PAGE)),
    st.tuples(st.just("buffer"), addresses, lengths),
    st.tuples(st.just("iovec"), addresses, st.integers(-2, 1100)),
)


def call(space: AddressSpace, name: str, *a: int) -> None:
    memory = space.memory
    if name == "mmap":
        space.mmap(a[0], a[1], a[2], a[3] | MAP_ANONYMOUS, None, a[4] & -PAGE)
    elif name in ("munmap", "mprotect"):
        getattr(space, name)(*a)
    elif name == "mremap":
        mremap(space, *a)
    elif name in ("madvise", "msync"):
        getattr(advise, name)(space, *a)
    elif name == "name":
        advise.name_anonymous(space, a[0], a[1], b"[anon:x]")
    elif name == "mincore":
        list(itertools.islice(advise.mincore(space, *a), 4))
    elif name in ("mlock", "munlock", "mlockall"):
        getattr(lock, name)(space, *a)
    elif name == "brk":
        brk(space, a[0])
    elif name == "fault":
        fault(space, *a)
    elif name == "write":
        memory.write(a[0], bytes(a[1]))
    elif name in ("buffer", "iovec"):
        getattr(memory, name)(*a, write=True)
    else:
        getattr(memory, name)(*a)
    host_fault(space)


@pytest.mark.parametrize("arch", list(MACHINES))
@settings(max_examples=150, deadline=None)
@given(script=st.lists(calls, min_size=1, max_size=15))
def test_any_arguments(arch: str, script: list[tuple[str, *tuple[int, ...]]]) -> None:
    space = make_space(arch)
    for name, *arguments in script:
        with contextlib.suppress(LinuxError):
            call(space, name, *arguments)
        check(space)


@pytest.mark.parametrize("limit", ["limit_as", "limit_data", "limit_memlock", "limit_stack"])
@settings(max_examples=40, deadline=None)
@given(script=st.lists(calls, min_size=1, max_size=10))
def test_limits_hold(limit: str, script: list[tuple[str, *tuple[int, ...]]]) -> None:
    space = make_space()
    setattr(space, limit, space.total() + 20 * PAGE)
    for name, *arguments in script:
        with contextlib.suppress(LinuxError):
            call(space, name, *arguments)
        check(space)
        assert space.total() <= space.limit_as
        assert space.vmas.data <= space.limit_data
        assert space.locked <= space.limit_memlock


class TestManyAreas:
    def test_no_more_than_linux_allows(self) -> None:
        space = make_space()
        with pytest.raises(LinuxError) as caught:  # noqa: PT012
            for page in range(0, 4 * MAX_MAP_COUNT, 2):
                space.mmap(BASE + (100 + page) * PAGE, PAGE, 0, ANONYMOUS | MAP_FIXED, None, 0)
        assert caught.value.errno == ENOMEM
        assert len(space.vmas) == MAX_MAP_COUNT + 1
        start = BASE + 21 * PAGE
        refused: list[Callable[[], None]] = [
            lambda: space.munmap(start, PAGE),
            lambda: space.mprotect(start, PAGE, PROT_READ),
            lambda: advise.madvise(space, start, PAGE, mman.MADV_DONTFORK),
            lambda: lock.mlock(space, start, PAGE),
        ]
        for split in refused:
            with pytest.raises(LinuxError) as caught:
                split()
            assert caught.value.errno == ENOMEM
        space.munmap(BASE + 100 * PAGE, 8 * MAX_MAP_COUNT * PAGE)
        check(space)
        assert len(space.vmas) < 20

    def test_each_takes_little_time(self) -> None:
        """Finding a place does not begin at the top each time."""
        space = make_space()
        before = time.perf_counter()
        for count in range(20_000):
            space.mmap(0, PAGE, 0, ANONYMOUS | (MAP_NORESERVE if count % 2 else 0), None, 0)
        assert time.perf_counter() - before < 5
        assert len(space.vmas) > 20_000


class TestReservations:
    def test_they_are_quick(self) -> None:
        space = make_space()
        best = min(self.round(space) for _ in range(5))
        assert best < 0.005

    def round(self, space: AddressSpace) -> float:
        before = time.perf_counter()
        where = space.mmap(0, 64 * GIB, 0, ANONYMOUS | MAP_NORESERVE, None, 0)
        space.mprotect(where + 32 * GIB, PAGE, READ_WRITE)
        space.mprotect(where, 64 * GIB, 0)
        space.munmap(where, 64 * GIB)
        return time.perf_counter() - before

    def test_the_arena_is_full(self) -> None:
        space = make_space()
        with pytest.raises(LinuxError) as caught:
            space.mmap(0, 5 * GIB, READ_WRITE, ANONYMOUS | MAP_NORESERVE, None, 0)
        assert caught.value.errno == ENOMEM
        where = space.mmap(0, 5 * GIB, 0, ANONYMOUS | MAP_NORESERVE, None, 0)
        with pytest.raises(LinuxError) as caught:
            space.mprotect(where, 5 * GIB, READ_WRITE)
        assert caught.value.errno == ENOMEM
        check(space)
        space.mprotect(where + GIB, PAGE, READ_WRITE)
        space.memory.write(where + GIB, b"x")


class TestUserMemory:
    def test_ends_of_user_space(self) -> None:
        space = make_space()
        limit = space.task_size
        assert space.memory.buffer(0, 0, write=True) == []
        assert space.memory.buffer(limit, 0, write=True) == []
        for address, length in ((limit + 1, 0), (1 << 63, 0), (BASE, 1 << 63), (BASE, (1 << 64) - 1)):
            with pytest.raises(LinuxError) as caught:
                space.memory.buffer(address, length, write=True)
            assert caught.value.errno == EFAULT
        assert [len(view) for view in space.memory.buffer(BASE, 3 * PAGE, write=True)] == [PAGE]

    def test_iovec(self) -> None:
        space = make_space()
        memory = space.memory

        def views(*pairs: tuple[int, int]) -> list[int]:
            raw = b"".join(base.to_bytes(8, "little") + length.to_bytes(8, "little") for base, length in pairs)
            memory.write(BASE, raw)
            return [len(view) for view in memory.iovec(BASE, len(pairs), write=False)]

        data = BASE + 2 * PAGE
        assert views((data, 10), (data, 20)) == [10, 20]
        assert views((data, 10), (data + PAGE, 20), (data, 5)) == [10], "up to the first that is not there"
        assert views((data + PAGE - 4, 8), (data, 5)) == [4]
        assert views((0, 0), (data, 5)) == [5]
        with pytest.raises(LinuxError) as caught:
            views((data, 10), (data, 1 << 63))
        assert caught.value.errno == EINVAL
        with pytest.raises(LinuxError) as caught:
            views((data, 10), ((1 << 64) - 16, 0))
        assert caught.value.errno == EFAULT

    def test_the_stack_grows_for_the_kernel_too(self) -> None:
        space = make_space()
        deep = TOP - (1 << 20)
        space.memory.write(deep, b"deep")
        assert space.memory.read(deep, 4) == b"deep"
        with pytest.raises(LinuxError):
            space.memory.write(TOP - (9 << 20), b"x")

    def test_strings(self) -> None:
        space = make_space()
        memory = space.memory
        memory.write(BASE, b"x" * 300 + b"\0")
        assert memory.string(BASE) == b"x" * 300
        assert memory.string(BASE + 299) == b"x"
        assert memory.string(BASE, 301) == b"x" * 300
        for limit in (300, 256, 1):
            with pytest.raises(LinuxError):
                memory.string(BASE, limit)
        assert memory.prefix(BASE, 15) == b"x" * 15
        memory.write(BASE + PAGE - 3, b"abc")
        with pytest.raises(LinuxError) as caught:
            memory.string(BASE + PAGE - 3)
        assert caught.value.errno == EFAULT
