"""deb-version(7): which of two versions of a package is newer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_PARTS: Final = re.compile(r"([^0-9]*)([0-9]*)")
_OPERATORS: Final[dict[str, Callable[[int], bool]]] = {
    "<<": lambda order: order < 0,
    "<": lambda order: order <= 0,  # obsolete, and means <=
    "<=": lambda order: order <= 0,
    "=": lambda order: order == 0,
    ">=": lambda order: order >= 0,
    ">": lambda order: order >= 0,
    ">>": lambda order: order > 0,
}

Key = tuple[int, "_Parts", "_Parts"]
_Parts = list[tuple[list[int], int]]


def key(version: str) -> Key:
    """Sorts as versions do."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch) if epoch.isdigit() else 0, _parts(upstream), _parts(revision)


def _parts(text: str) -> _Parts:
    """Alternately what is no digit, and a number; both are there until the end of the longer version."""
    found = []
    for letters, digits in _PARTS.findall(text):
        if letters or digits:
            found.append(([*map(_order, letters), 0], int(digits or 0)))
    return [*found, ([0], 0)]


def _order(letter: str) -> int:
    """A tilde is less than the end, which is 0; letters are less than all else."""
    if letter == "~":
        return -1
    return ord(letter) if letter.isascii() and letter.isalpha() else ord(letter) + 256


def compare(first: str, second: str) -> int:
    """Negative, 0 or positive."""
    a, b = key(first), key(second)
    if a[0] != b[0]:
        return a[0] - b[0]
    return _compare(a[1], b[1]) or _compare(a[2], b[2])


def _compare(a: _Parts, b: _Parts) -> int:
    end: tuple[list[int], int] = ([0], 0)
    for index in range(max(len(a), len(b))):
        one = a[index] if index < len(a) else end
        other = b[index] if index < len(b) else end
        if one != other:
            return -1 if one < other else 1
    return 0


def satisfies(version: str, operator: str, wanted: str) -> bool:
    """Whether `version OPERATOR wanted` holds."""
    test = _OPERATORS.get(operator)
    return test is not None and test(compare(version, wanted))
