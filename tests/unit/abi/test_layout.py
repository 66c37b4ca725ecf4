from __future__ import annotations

import inspect
from struct import error
from typing import Any, ClassVar, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noah.abi import aarch64, siginfo, sockstructs, structs, x86_64
from noah.abi.layout import Layout, char8, i16, i32, pad4, u8

ALL = [
    value
    for module in (structs, sockstructs, siginfo, x86_64, aarch64)
    for value in vars(module).values()
    if inspect.isclass(value) and issubclass(value, Layout) and value is not Layout
]


class Sample(Layout, size=24):
    a: u8
    _pad0: ClassVar[pad4]
    b: char8
    c: i32
    _pad1: ClassVar[pad4]
    d: u8
    e: i16


def field_values(code: str) -> st.SearchStrategy[Any]:
    if code.endswith("s"):
        return st.binary(min_size=int(code[:-1]), max_size=int(code[:-1]))
    bits = {"b": 8, "h": 16, "i": 32, "q": 64}[code.lower()]
    low, high = (0, (1 << bits) - 1) if code.isupper() else (-(1 << bits - 1), (1 << bits - 1) - 1)
    return st.integers(low, high)


@pytest.mark.parametrize("layout", ALL, ids=lambda layout: f"{layout.__module__}.{layout.__name__}")
@settings(deadline=None)  # what is measured of a busy machine is no failure
@given(data=st.data())
def test_every_structure_survives_packing(layout: type[Layout], data: st.DataObject) -> None:
    hints = get_type_hints(layout, include_extras=True)
    values = data.draw(st.tuples(*(field_values(hints[name].__metadata__[0]) for name in layout.OFFSETS)))
    made = layout(*values)
    memory = bytearray(b"\xaa" * (layout.struct.size + 7))
    made.pack_into(memory, 5)
    assert bytes(memory[5:-2]) == made.pack()
    assert memory[:5] == b"\xaa" * 5
    assert memory[-2:] == b"\xaa" * 2
    assert layout.unpack_from(memory, 5) == made
    assert layout.struct.unpack_from(memory, 5) == made.values() == values


def test_layout_has_no_padding_but_what_is_declared() -> None:
    assert Sample.OFFSETS == {"a": 0, "b": 5, "c": 13, "d": 21, "e": 22}
    assert Sample(1, b"12345678", -1, 2, 3).pack() == b"\1\0\0\0\0" + b"12345678" + b"\xff" * 4 + bytes(4) + b"\2\3\0"


def test_layout_of_wrong_size_is_refused() -> None:
    with pytest.raises(TypeError, match="Wrong has 4 bytes, the ABI says 8"):

        class Wrong(Layout, size=8):
            a: i32


def test_layout_compares_and_shows_its_fields() -> None:
    time = structs.Timespec(1, 2)
    assert time == structs.Timespec(sec=1, nsec=2)
    assert time != structs.Timespec(1, 3)
    assert time != structs.Timeval(1, 2)
    assert repr(time) == "Timespec(sec=1, nsec=2)"
    time.nsec = 5
    assert time.pack()[8] == 5


def test_layout_refuses_memory_that_is_too_short() -> None:
    with pytest.raises(error):
        structs.Timespec.unpack_from(bytes(15))
    with pytest.raises(error):
        structs.Timespec(1, 2).pack_into(bytearray(16), 1)


def test_layout_refuses_numbers_that_do_not_fit() -> None:
    with pytest.raises(error):
        structs.PollFd(1 << 31, 0, 0).pack()
