"""VmaMap against a plain dictionary of pages."""

from __future__ import annotations

import itertools
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from noah.abi.mman import MAP_ANONYMOUS, MAP_GROWSDOWN, MAP_LOCKED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE
from noah.mm.vma import NOWHERE, STACK_GAP, Vma, VmaMap
from noah.vm.arena import PAGE

PAGES: Final = 40
Page = tuple[int, int, int]  # prot, flags, offset in the arena

ranges = st.tuples(st.integers(0, PAGES - 1), st.integers(1, PAGES)).map(lambda r: (r[0], min(PAGES, r[0] + r[1])))
kinds = st.tuples(
    st.sampled_from([0, PROT_READ, PROT_READ | PROT_WRITE]),
    st.sampled_from([MAP_PRIVATE, MAP_SHARED, MAP_PRIVATE | MAP_LOCKED, MAP_PRIVATE | MAP_GROWSDOWN]),
    st.sampled_from([NOWHERE, 0, 7 * PAGE, 1000 * PAGE]),
)
steps = st.lists(st.tuples(st.booleans(), ranges, kinds), max_size=30)


def contents(vmas: VmaMap) -> dict[int, Page]:
    found = {}
    for vma in vmas:
        for page in range(vma.start, vma.end, PAGE):
            offset = vma.offset + page - vma.start if vma.offset >= 0 else NOWHERE
            found[page // PAGE] = (vma.prot, vma.flags, offset)
    return found


def put(vmas: VmaMap, model: dict[int, Page], first: int, last: int, kind: Page) -> None:
    """Cut the range out and fill it; arena offsets go on with the address, so that neighbours may merge."""
    prot, flags, base = kind
    vmas.cut(first * PAGE, last * PAGE)
    offset = base + first * PAGE if base >= 0 else NOWHERE
    vmas.insert(Vma(first * PAGE, last * PAGE, prot, flags | MAP_ANONYMOUS, offset))
    for page in range(first, last):
        model[page] = (prot, flags | MAP_ANONYMOUS, base + page * PAGE if base >= 0 else NOWHERE)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_model(script: list[tuple[bool, tuple[int, int], Page]]) -> None:
    vmas = VmaMap()
    model: dict[int, Page] = {}
    for insert, (first, last), kind in script:
        if insert:
            put(vmas, model, first, last, kind)
        else:
            pieces = vmas.cut(first * PAGE, last * PAGE)
            taken = {page for piece in pieces for page in range(piece.start // PAGE, piece.end // PAGE)}
            assert taken == {page for page in range(first, last) if page in model}
            for page in taken:
                del model[page]
        assert contents(vmas) == model
        assert vmas.starts == [vma.start for vma in vmas] == sorted(vmas.starts)
        neighbours = list(itertools.pairwise(vmas))
        assert all(a.end <= b.start and a.start < a.end for a, b in neighbours)
        assert not any(a.continues(b) for a, b in neighbours), "alike neighbours are one area"
        assert vmas.total == len(model) * PAGE
        writable = [page for page in model.values() if page[0] & PROT_WRITE]
        assert vmas.data == PAGE * sum(not flags & (MAP_SHARED | MAP_GROWSDOWN) for _, flags, _ in writable)
        assert vmas.locked == PAGE * sum(bool(flags & MAP_LOCKED) for _, flags, _ in model.values())
        for page in range(PAGES + 1):
            vma = vmas.find(page * PAGE + 5)
            assert (vma is not None) == (page in model)
        assert vmas.count_between(3 * PAGE, 20 * PAGE) == PAGE * sum(3 <= page < 20 for page in model)


def free_below(model: dict[int, Any], limit: int, count: int) -> int | None:
    """The slow way to the highest free range."""
    for first in range(limit - count, -1, -1):
        if not any(page in model for page in range(first, first + count)):
            return first
    return None


@settings(max_examples=200, deadline=None)
@given(steps, st.lists(st.integers(1, 12), min_size=1, max_size=12))
def test_highest_gap(script: list[tuple[bool, tuple[int, int], Page]], lengths: list[int]) -> None:
    """Also when it is asked again and again, what it found is filled, and some of it is freed."""
    vmas = VmaMap()
    model: dict[int, Page] = {}
    plain = (PROT_READ, MAP_PRIVATE, NOWHERE)
    for insert, (first, last), _ in script:
        if insert:
            put(vmas, model, first, last, plain)
        else:
            vmas.cut(first * PAGE, last * PAGE)
            model = {page: what for page, what in model.items() if not first <= page < last}
        for length in lengths[:3]:
            expected = free_below(model, PAGES, length)
            found = vmas.highest_gap(PAGES * PAGE, length * PAGE, 0)
            assert found == (None if expected is None else expected * PAGE)
        wanted = lengths[len(model) % len(lengths)]
        found = vmas.highest_gap(PAGES * PAGE, wanted * PAGE, 0)
        if found is not None:
            put(vmas, model, found // PAGE, found // PAGE + wanted, plain)


@settings(max_examples=100, deadline=None)
@given(steps, st.integers(1, 12), st.integers(0, PAGES))
def test_lowest_gap(script: list[tuple[bool, tuple[int, int], Page]], length: int, floor: int) -> None:
    vmas = VmaMap()
    model: dict[int, Page] = {}
    for insert, (first, last), _ in script:
        if insert:
            put(vmas, model, first, last, (PROT_READ, MAP_PRIVATE, NOWHERE))
    firsts = (p for p in range(floor, PAGES - length + 1) if not any(q in model for q in range(p, p + length)))
    expected = next(firsts, None)
    found = vmas.lowest_gap(floor * PAGE, length * PAGE, PAGES * PAGE)
    assert found == (None if expected is None else expected * PAGE)


def test_nothing_is_placed_close_below_a_stack() -> None:
    vmas = VmaMap()
    stack = 1 << 40
    vmas.insert(Vma(stack, stack + PAGE, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, 0))
    assert vmas.highest_gap(stack + PAGE, PAGE, 0) == stack - STACK_GAP - PAGE
    assert vmas.lowest_gap(stack - STACK_GAP, PAGE, stack + 2 * PAGE) == stack + PAGE


@settings(max_examples=100, deadline=None)
@given(steps, ranges)
def test_splits(script: list[tuple[bool, tuple[int, int], Page]], chosen: tuple[int, int]) -> None:
    vmas = VmaMap()
    for insert, (first, last), kind in script:
        if insert:
            put(vmas, {}, first, last, kind)
    first, last = chosen
    before = len(vmas)
    inside = sum(first * PAGE <= vma.start and vma.end <= last * PAGE for vma in vmas)
    touched = len(vmas.overlapping(first * PAGE, last * PAGE))
    splits = vmas.splits(first * PAGE, last * PAGE)
    vmas.cut(first * PAGE, last * PAGE)
    assert len(vmas) == before - touched + splits
    assert inside <= touched
