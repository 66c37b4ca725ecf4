"""Descriptor tables: the lowest free number, close-on-exec, references."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.abi.errno import EBADF, EMFILE, LinuxError
from noah.vfs.fdtable import FdTable
from noah.vfs.file import OpenFile


class Counted(OpenFile):
    __slots__ = ("closed",)

    def __init__(self) -> None:
        super().__init__(0)
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_install_lowest_free() -> None:
    table = FdTable()
    assert [table.install(Counted()) for _ in range(4)] == [0, 1, 2, 3]
    table.close(1)
    table.close(0)
    assert table.install(Counted()) == 0
    assert table.install(Counted()) == 1
    assert table.install(Counted()) == 4
    assert table.install(Counted(), minimum=7) == 7
    assert table.install(Counted(), minimum=3) == 5
    assert table.install(Counted()) == 6
    assert table.install(Counted()) == 8


def test_install_at_limit_is_emfile_and_drops_the_file() -> None:
    table = FdTable(2)
    table.install(Counted())
    table.install(Counted())
    file = Counted()
    with pytest.raises(LinuxError) as caught:
        table.install(file)
    assert caught.value.errno == EMFILE
    assert file.closed == 1


def test_last_close_closes_once() -> None:
    table = FdTable()
    file = Counted()
    fd = table.install(file)
    other = table.install(file.acquire())
    table.close(fd)
    assert file.closed == 0
    table.close(other)
    assert file.closed == 1
    with pytest.raises(LinuxError) as caught:
        table.close(other)
    assert caught.value.errno == EBADF


def test_replace_closes_the_old_file() -> None:
    table = FdTable()
    old, new = Counted(), Counted()
    table.install(old, cloexec=True)
    assert table.replace(0, new) == 0
    assert old.closed == 1
    assert not table.is_cloexec(0)
    assert table.get(0) is new


def test_close_on_exec() -> None:
    table = FdTable()
    files = [Counted() for _ in range(3)]
    for index, file in enumerate(files):
        table.install(file, cloexec=index != 1)
    table.close_on_exec()
    assert [file.closed for file in files] == [1, 0, 1]
    assert [fd for fd, _ in table.items()] == [1]


def test_copy_shares_files() -> None:
    table = FdTable()
    file = Counted()
    table.install(file, cloexec=True)
    other = table.copy()
    table.close_all()
    assert file.closed == 0
    assert other.is_cloexec(0)
    other.close_all()
    assert file.closed == 1


@given(st.lists(st.tuples(st.sampled_from(["install", "close", "replace"]), st.integers(0, 12))))
def test_like_a_model(steps: list[tuple[str, int]]) -> None:
    table = FdTable(10)
    model: dict[int, OpenFile] = {}
    for step, number in steps:
        file = Counted()
        try:
            if step == "install":
                expected = next(fd for fd in range(number, 11) if fd not in model) if number < 10 else 10
                if expected >= 10:
                    with pytest.raises(LinuxError):
                        table.install(file, minimum=number)
                    continue
                assert table.install(file, minimum=number) == expected
                model[expected] = file
            elif step == "replace":
                table.replace(number, file)
                model[number] = file
            else:
                table.close(number)
                del model[number]
        except LinuxError:  # EBADF
            assert number not in model or number >= 10
        assert dict(table.items()) == model
