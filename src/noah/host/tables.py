"""Translation between Linux' numbers and the host's, by name.

Both sides are given as name -> number; what only one side knows has no translation. Inverse tables are computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, final

from noah.abi.errno import EINVAL, LinuxError


def named(module: Any, prefix: str, without: Iterable[str] = ()) -> dict[str, int]:
    """The plain ints of a module (or object) whose names begin with prefix."""
    skip = frozenset(without)
    return {
        name: int(value)
        for name, value in vars(module).items()
        if name.startswith(prefix) and name not in skip and isinstance(value, int)
    }


@final
class Numbers:
    """Numbers that stand for themselves: resources, clocks, commands."""

    __slots__ = ("host", "linux")

    def __init__(self, linux: Mapping[str, int], host: Mapping[str, int]) -> None:
        self.host: Final[dict[int, int]] = {linux[name]: host[name] for name in linux if name in host}
        self.linux: Final[dict[int, int]] = {theirs: ours for ours, theirs in self.host.items()}

    def to_host(self, number: int) -> int:
        """The host's number; LinuxError EINVAL if it has none."""
        try:
            return self.host[number]
        except KeyError:
            raise LinuxError(EINVAL, f"no such number on this host: {number}") from None


@final
class Flags:
    """Words of independent bits. Names of several bits (O_SYNC = __O_SYNC | O_DSYNC) win over names of fewer."""

    __slots__ = ("_pairs", "identical", "known")

    def __init__(self, linux: Mapping[str, int], host: Mapping[str, int]) -> None:
        pairs = {(linux[name], host[name]) for name in linux if host.get(name) and linux[name]}
        self._pairs: Final = sorted(pairs, key=lambda pair: -pair[0].bit_count())
        self.identical: Final = all(ours == theirs for ours, theirs in pairs)
        self.known: Final = sum({bit for ours, _ in pairs for bit in _bits(ours)})
        """Every Linux bit that has a translation."""

    def to_host(self, flags: int) -> int:
        """Bits without a translation are dropped: see known."""
        result = 0
        for ours, theirs in self._pairs:
            if flags & ours == ours:
                result |= theirs
        return result

    def to_linux(self, flags: int) -> int:
        result = 0
        for ours, theirs in self._pairs:
            if flags & theirs == theirs:
                result |= ours
        return result


def _bits(word: int) -> list[int]:
    return [1 << n for n in range(word.bit_length()) if word >> n & 1]
