"""AddressSpace against a model: what each page shows, through mapping, remapping, protection and advice."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from typing import Any, Final

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from noah.abi.errno import LinuxError
from noah.abi.mman import (
    MADV_DONTNEED,
    MADV_REMOVE,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
)
from noah.host.select import make_host
from noah.mm.advise import madvise
from noah.mm.remap import mremap
from noah.mm.space import AddressSpace
from noah.mm.vma import MappedFile, engine_prot
from noah.vm.arena import PAGE, Arena
from noah.vm.fake import FakeMachine

BASE: Final = 0x10_0000_0000
WINDOW: Final = 24  # pages that the steps choose from
FILE_PAGES: Final = 6
READ_WRITE: Final = PROT_READ | PROT_WRITE

HOST: Final = make_host("linux")
MACHINE: Final = FakeMachine(arena=Arena(1 << 30))


class Memory:
    """What is shared: a file, or shared anonymous memory. One byte stands for a page; None is beyond the end."""

    def __init__(self, contents: list[int]) -> None:
        self.contents = contents

    def get(self, index: int) -> int | None:
        return self.contents[index] if index < len(self.contents) else None


class Cell:
    """A private page; of a file until it is written."""

    def __init__(self, memory: Memory | None, index: int) -> None:
        self.memory = memory
        self.index = index
        self.own: int | None = None if memory else 0

    def get(self) -> int | None:
        return self.own if self.own is not None else self.memory.get(self.index) if self.memory else 0

    def put(self, value: int) -> None:
        self.own = value


class SharedCell(Cell):
    def put(self, value: int) -> None:
        assert self.memory is not None
        self.memory.contents[self.index] = value


class Page:
    def __init__(self, prot: int, shared: bool, memory: Memory | None, index: int) -> None:
        self.prot = prot
        self.shared = shared
        self.memory = memory
        self.index = index
        self.cell = SharedCell(memory, index) if shared else Cell(memory, index)
        if shared:
            self.cell.own = None

    def next(self, steps: int) -> Page:
        """What an area that has this page shows `steps` pages on."""
        return Page(self.prot, self.shared, self.memory, self.index + steps)


ranges = st.tuples(st.integers(0, WINDOW - 1), st.integers(1, 8)).map(lambda r: (r[0], min(WINDOW - r[0], r[1])))
parts = st.tuples(st.integers(0, 50), st.integers(0, 7), st.integers(1, 8))
prots = st.sampled_from([PROT_NONE, PROT_READ, READ_WRITE])


def has_pages(machine: SpaceMachine) -> bool:
    return bool(machine.pages)


class SpaceMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        MACHINE.reset()
        self.space = AddressSpace(MACHINE, HOST)
        self.fd, path = tempfile.mkstemp()
        os.unlink(path)
        for index in range(FILE_PAGES):
            os.pwrite(self.fd, bytes([100 + index]) * PAGE, index * PAGE)
        self.file = Memory([100 + index for index in range(FILE_PAGES)])
        self.mapped = MappedFile(HOST.files, os.dup(self.fd), b"/file", 1, 2, writable=True)
        self.pages: dict[int, Page] = {}

    def teardown(self) -> None:
        self.space.reset()
        os.close(self.fd)
        del self.mapped

    def where(self, first: int) -> int:
        return BASE + first * PAGE

    @rule(
        where=ranges,
        prot=prots,
        kind=st.sampled_from(["anonymous", "shared", "file", "shared file"]),
        skip=st.integers(0, 5),
    )
    def mmap(self, where: tuple[int, int], prot: int, kind: str, skip: int) -> None:
        first, count = where
        flags = MAP_FIXED | (MAP_SHARED if "shared" in kind else MAP_PRIVATE)
        memory, index = None, 0
        if "file" in kind:
            memory, index = self.file, skip
            self.space.mmap(self.where(first), count * PAGE, prot, flags, self.mapped, skip * PAGE)
        else:
            if kind == "shared":
                memory = Memory([0] * count)
            self.space.mmap(self.where(first), count * PAGE, prot, flags | MAP_ANONYMOUS, None, 0)
        for step in range(count):
            self.pages[self.where(first + step)] = Page(prot, "shared" in kind, memory, index + step)

    @rule(where=ranges)
    def munmap(self, where: tuple[int, int]) -> None:
        first, count = where
        self.space.munmap(self.where(first), count * PAGE)
        for step in range(count):
            self.pages.pop(self.where(first + step), None)

    @rule(where=ranges, prot=prots)
    def mprotect(self, where: tuple[int, int], prot: int) -> None:
        first, count = where
        addresses = [self.where(first + step) for step in range(count)]
        whole = all(address in self.pages for address in addresses)
        try:
            self.space.mprotect(addresses[0], count * PAGE, prot)
            assert whole
        except LinuxError:
            assert not whole
        for address in addresses:
            if address not in self.pages:
                break
            self.pages[address].prot = prot

    @rule(where=ranges)
    def dontneed(self, where: tuple[int, int]) -> None:
        first, count = where
        with contextlib.suppress(LinuxError):
            madvise(self.space, self.where(first), count * PAGE, MADV_DONTNEED)
        for step in range(count):
            page = self.pages.get(self.where(first + step))
            if page is not None and not page.shared:
                page.cell = Cell(page.memory, page.index)

    @rule(where=ranges)
    def remove(self, where: tuple[int, int]) -> None:
        first, count = where
        pages = [self.pages.get(self.where(first + step)) for step in range(count)]
        assume(all(p is not None and p.shared and p.prot & PROT_WRITE and p.cell.get() is not None for p in pages))
        madvise(self.space, self.where(first), count * PAGE, MADV_REMOVE)
        for page in pages:
            assert page is not None
            page.cell.put(0)

    def chosen(self, part: tuple[int, int, int]) -> tuple[int, list[Page]]:
        """A part of what is one area for Linux."""
        which, skip, count = part
        vma = self.space.vmas.vmas[which % len(self.space.vmas)]
        size = (self.space.vmas.extent_end(vma) - vma.start) // PAGE
        skip %= size
        address = vma.start + skip * PAGE
        return address, [self.pages[address + step * PAGE] for step in range(min(count, size - skip))]

    def take(self, address: int, count: int) -> list[Page]:
        return [self.pages.pop(address + step * PAGE) for step in range(count)]

    def lay(self, address: int, pages: list[Page], count: int) -> None:
        for step in range(count):
            page = pages[step] if step < len(pages) else pages[0].next(step)
            self.pages[address + step * PAGE] = page

    @precondition(has_pages)
    @rule(part=parts, size=st.integers(1, 12), may_move=st.booleans())
    def mremap(self, part: tuple[int, int, int], size: int, may_move: bool) -> None:
        address, pages = self.chosen(part)
        count = len(pages)
        flags = MREMAP_MAYMOVE if may_move else 0
        following = [address + step * PAGE for step in range(count, size)]
        try:
            new = mremap(self.space, address, count * PAGE, size * PAGE, flags, 0)
        except LinuxError:
            assert not may_move
            assert any(page in self.pages for page in following)
            return
        self.take(address, count)
        assert not any(new + step * PAGE in self.pages for step in range(size))
        assert may_move or new == address
        self.lay(new, pages, size)

    @precondition(has_pages)
    @rule(part=parts, goal=st.integers(0, WINDOW + 4), size=st.integers(1, 12))
    def mremap_fixed(self, part: tuple[int, int, int], goal: int, size: int) -> None:
        address, pages = self.chosen(part)
        count = len(pages)
        new = self.where(goal)
        assume(new >= address + count * PAGE or new + size * PAGE <= address)
        assert mremap(self.space, address, count * PAGE, size * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, new) == new
        self.take(address, count)
        self.lay(new, pages[:size], size)

    @precondition(has_pages)
    @rule(part=parts)
    def mremap_and_keep(self, part: tuple[int, int, int]) -> None:
        address, pages = self.chosen(part)
        count = len(pages)
        flags = MREMAP_MAYMOVE | MREMAP_DONTUNMAP
        new = mremap(self.space, address, count * PAGE, count * PAGE, flags, 0)
        for step, page in enumerate(pages):
            self.pages[address + step * PAGE] = page.next(0) if not page.shared else page
        self.lay(new, [page.next(0) if page.shared else page for page in pages], count)

    @precondition(has_pages)
    @rule(part=parts, size=st.integers(1, 8))
    def duplicate(self, part: tuple[int, int, int], size: int) -> None:
        address, pages = self.chosen(part)
        assume(pages[0].shared)
        new = mremap(self.space, address, 0, size * PAGE, MREMAP_MAYMOVE, 0)
        self.lay(new, [pages[0].next(0)], size)

    @rule(first=st.integers(0, WINDOW - 1), value=st.integers(1, 99))
    def write(self, first: int, value: int) -> None:
        address = self.where(first)
        page = self.pages.get(address)
        try:
            self.space.memory.write(address, bytes([value]) * PAGE)
            assert page is not None
            assert page.prot & PROT_WRITE
            page.cell.put(value)
        except LinuxError:
            assert page is None or not page.prot & PROT_WRITE or page.cell.get() is None

    @invariant()
    def pages_are_the_model(self) -> None:
        found = {}
        for vma in self.space.vmas:
            for address in range(vma.start, vma.end, PAGE):
                found[address] = vma.prot
        assert found == {address: page.prot for address, page in self.pages.items()}
        for address, page in self.pages.items():
            there = MACHINE.find(address)
            expected = page.cell.get()
            if not page.prot or expected is None:
                assert there is None or not there[1] or page.cell.get() is None
                with pytest.raises(LinuxError):
                    self.space.memory.read(address, 1)
                continue
            assert there is not None
            assert there[1] == engine_prot(page.prot)
            assert self.space.memory.read(address, 1)[0] == expected
            assert self.space.memory.read(address + PAGE - 8, 8) == bytes([expected]) * 8
            assert MACHINE.peek(address + 5, 1)[0] == expected

    @invariant()
    def nothing_is_mapped_beside_the_model(self) -> None:
        for start, end, _, prot in MACHINE.mappings:
            for address in range(start, end, PAGE):
                assert address in self.pages
                assert prot in (0, engine_prot(self.pages[address].prot))

    @invariant()
    def the_arena_is_used_once_and_given_back(self) -> None:
        used = sorted((vma.offset, vma.offset + vma.end - vma.start) for vma in self.space.vmas if vma.offset >= 0)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(used))
        arena = MACHINE.arena
        free: Any = zip(arena._starts, arena._ends, strict=True)
        assert sum(end - start for start, end in free) + sum(end - start for start, end in used) == arena.size


SpaceMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
TestSpace = SpaceMachine.TestCase


def test_only_what_areas_have_memory_for_is_private() -> None:
    """An area that cannot be accessed has no memory yet: it must not pass for the start of the arena."""
    space = AddressSpace(MACHINE, HOST)
    reserved = MAP_PRIVATE | MAP_ANONYMOUS
    space.mmap(0, 64 << 20, PROT_NONE, reserved, None, 0)
    used = space.mmap(0, PAGE, READ_WRITE, reserved, None, 0)
    vma = space.vmas.find(used)
    assert vma is not None
    assert space.is_private_memory(vma.offset)
    assert not space.is_private_memory(vma.offset + PAGE)
    space.reset()
