from __future__ import annotations

import pytest

import gen_abi
from noah.abi.numbers import AARCH64, X86_64


@pytest.mark.check
def test_numbers_are_what_the_headers_say() -> None:
    try:
        text = gen_abi.render()
    except FileNotFoundError as error:
        pytest.skip(f"needs a C preprocessor and the kernel's headers: {error}")
    assert gen_abi.TARGET.read_text() == text


@pytest.mark.parametrize("table", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
def test_numbers_are_distinct(table: dict[str, int]) -> None:
    assert len(set(table.values())) == len(table)


def test_newer_calls_have_one_number_everywhere() -> None:
    newer = {name: number for name, number in X86_64.items() if number > 423}
    assert newer == {name: number for name, number in AARCH64.items() if number > 423}
    assert max(newer.values()) >= X86_64["mseal"] == 462


def test_aarch64_has_no_call_that_x86_64_lacks() -> None:
    assert set(AARCH64) <= set(X86_64)
    assert "open" not in AARCH64
    assert (X86_64["openat"], AARCH64["openat"]) == (257, 56)
