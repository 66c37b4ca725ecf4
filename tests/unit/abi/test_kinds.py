from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.abi import kinds
from noah.abi.names import TABLES

if TYPE_CHECKING:
    from noah.abi.kinds import Kind

KINDS: dict[str, Kind] = {
    name: get_args(alias)[1] for name, alias in vars(kinds).items() if get_origin(alias) is Annotated
}
# What a tracer has a printer of its own for.
PRINTERS = {
    *("dec", "hex", "octal", "id", "dev", "filemode", "fd", "dirfd", "fd-pair", "fd-set", "id-list", "wait-status"),
    *("path", "str", "buffer", "argv", "env", "int*", "uint*", "long*", "ulong*", "ioctl-arg", "fcntl-arg"),
    "ipc_flags",
}


def test_kinds_carry_their_alias_name() -> None:
    assert {name: kind.name for name, kind in KINDS.items()} == {name: name for name in KINDS}


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_kinds_have_something_to_show_them(kind: Kind) -> None:
    assert kind.show in TABLES or kind.show in PRINTERS or kind.show.startswith("struct:")
    assert kind.direction in (kinds.IN, kinds.OUT, kinds.INOUT)


@given(st.integers(0, (1 << 64) - 1))
def test_narrowing_is_what_c_does(x: int) -> None:
    low = x.to_bytes(8, "little")[:4]
    assert eval(kinds.U32.format(x="x")) == int.from_bytes(low, "little")
    assert eval(kinds.S32.format(x="x")) == int.from_bytes(low, "little", signed=True)
    assert eval(kinds.U64.format(x="x")) == x
    assert eval(kinds.S64.format(x="x")) == int.from_bytes(x.to_bytes(8, "little"), "little", signed=True)
    assert eval(kinds.U16.format(x="x")) == int.from_bytes(low[:2], "little")
