"""deb-version(7), with dpkg(1) as the oracle where it is installed."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.image.debian.version import compare, satisfies

# In ascending order, a row of equal ones each.
ORDER = [
    ["0~~"],
    ["0~~a"],
    ["0~"],
    ["0", "0-0", "0:0", "00"],
    ["0a"],
    ["0a0b"],
    ["0+"],
    ["1.0~rc1"],
    ["1.0", "1.0-0"],
    ["1.0-1~bpo1"],
    ["1.0-1", "1.00-01"],
    ["1.0-1+b1"],
    ["1.0-10"],
    ["1.0a"],
    ["1.0+x"],
    ["1.0.1"],
    ["1.10"],
    ["1:0.5"],
    ["2:0"],
]


def test_versions_are_in_order() -> None:
    for low, row in enumerate(ORDER):
        for high, other in enumerate(ORDER):
            for a in row:
                for b in other:
                    order = compare(a, b)
                    assert (order > 0) - (order < 0) == (low > high) - (low < high), (a, b)


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="no dpkg to compare with")
@given(*[st.from_regex(r"[0-9]([0-9a.+~-]{0,4}[0-9a.+~])?", fullmatch=True)] * 2)
def test_versions_compare_as_dpkg_does(a: str, b: str) -> None:
    order = compare(a, b)
    word = "lt" if order < 0 else "gt" if order else "eq"
    assert subprocess.run(["dpkg", "--compare-versions", a, word, b]).returncode == 0


@pytest.mark.parametrize(
    ("operator", "holds"), [("<<", False), ("<=", True), ("=", True), (">=", True), (">>", False), ("?", False)]
)
def test_operators_on_equal_versions(operator: str, holds: bool) -> None:
    assert satisfies("1.0-1", operator, "1.0-1") is holds
