"""The stubs between the run loop and the handlers narrow registers as Linux does."""

from __future__ import annotations

from typing import Any

import pytest

from noah.abi import kinds
from noah.syscalls import stubs
from noah.syscalls.registry import Declaration, source

ALL_ONES = (1 << 64) - 1


def close(task: Any, *arguments: int) -> int:
    """close(2): a stand-in; what it was called with is its result."""
    task.append(arguments)
    return 0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("UInt", 0xFFFF_FFFF), ("Int", -1), ("Size", ALL_ONES), ("Off", -1), ("Mode", 0xFFFF)],
)
def test_register_is_narrowed_to_its_kind(kind: str, expected: int) -> None:
    declaration = Declaration("close", close, "")
    declaration.parameters = [("fd", getattr(kinds, kind).__metadata__[0])]
    calls: list[tuple[int, ...]] = []
    declaration.stub()(calls, *[ALL_ONES] * 6)
    assert calls == [(expected,)]


def test_form_that_is_not_generated_is_compiled() -> None:
    declaration = Declaration("close", close, "")
    declaration.parameters = [("mode", kinds.Mode.__metadata__[0])] * 6  # type: ignore[attr-defined]
    assert not hasattr(stubs, f"stub_{declaration.form}")
    calls: list[tuple[int, ...]] = []
    declaration.stub()(calls, *[0x12345] * 6)
    assert calls == [(0x2345,) * 6]


def test_generated_form_is_what_would_be_compiled() -> None:
    scope: dict[str, Any] = {}
    exec(source("iqu"), scope)  # noqa: S102
    calls: list[tuple[int, ...]] = []
    for make in (scope["stub_iqu"], stubs.stub_iqu):
        make(close)(calls, 0x1_FFFF_FFFE, ALL_ONES, ALL_ONES, 1, 2, 3)
    assert calls == [(-2, ALL_ONES, 0xFFFF_FFFF)] * 2
