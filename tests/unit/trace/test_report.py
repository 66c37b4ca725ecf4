"""Notes of what is missing and of Noah's own mistakes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from noah.host.select import make_host
from noah.trace import state
from noah.trace.report import BUGS, MISSING, Bugs, Missed, table_of

if TYPE_CHECKING:
    from pathlib import Path

    from noah.host.api import Host
    from noah.kernel.task import Process


class Errors:
    """Stands in for noah.host.console.ErrorOutput."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "not" / "yet"))
    return make_host()


def process(host: Host, comm: bytes = b"prog") -> Process:
    return cast("Process", SimpleNamespace(host=host, comm=comm))


def test_notes_are_kept_and_listed(host: Host) -> None:
    missed = Missed()
    for what in ("io_uring_setup", "bpf", "io_uring_setup"):
        missed(process(host), what)
    missed(process(host, b"other"), "io_uring_setup")
    assert table_of(state.read(host, MISSING)) == [
        "times  what                             asked for by",
        "    3  io_uring_setup                   prog, other",
        "    1  bpf                              prog",
    ]
    state.clear(host, MISSING)
    assert state.read(host, MISSING) == []


def test_nothing_is_made_before_there_is_a_note(host: Host, tmp_path: Path) -> None:
    Missed()
    assert state.read(host, MISSING) == []
    assert list(tmp_path.iterdir()) == []


def test_verbose_says_it_at_once(host: Host) -> None:
    errors = Errors()
    Missed(cast("Any", errors))(process(host), "bpf")
    assert errors.text == "noah: prog asked for bpf, which Noah does not have\n"


def test_odd_names_do_not_break_the_list(host: Host) -> None:
    missed = Missed()
    missed(process(host, b"a\tb\nc\xff"), "x")
    assert len(state.read(host, MISSING)) == 1
    assert table_of([*state.read(host, MISSING), "rubbish", ""])[1].endswith(r"a\tb\nc\xff")


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    host = make_host()
    Missed()(process(host), "bpf")
    assert state.read(host, MISSING) == []


@pytest.mark.parametrize("kind", ["file", "read-only"])
def test_a_state_directory_that_cannot_be_is_no_error(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "state"
    if kind == "file":
        where.write_text("")
        monkeypatch.setenv("XDG_STATE_HOME", str(where))
    else:
        monkeypatch.setenv("XDG_STATE_HOME", "/proc/self/nowhere")
    Missed()(process(make_host()), "bpf")


def test_bugs_are_told_once_and_kept_always(host: Host) -> None:
    errors = Errors()
    bugs = Bugs(cast("Any", errors), strict=False)
    for _ in range(3):
        bugs(process(host), "noah: internal error in system call 1 of process 2:\nTraceback\n  more\n")
    assert errors.text.count("\n") == 1
    assert errors.text.startswith("noah: internal error in system call 1 of process 2; the program goes on")
    assert "bugs.log" in errors.text
    assert sum("Traceback" in line for line in state.read(host, BUGS)) == 3


def test_bugs_that_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/self/nowhere")
    errors = Errors()
    Bugs(cast("Any", errors), strict=False)(process(make_host()), "noah: internal error:\nTraceback\n")
    assert "not kept: /proc/self/nowhere/noah/bugs.log cannot be written" in errors.text
    assert errors.text.count("\n") == 1


def test_strict_shows_the_traceback(host: Host) -> None:
    errors = Errors()
    Bugs(cast("Any", errors), strict=True)(process(host), "noah: internal error:\nTraceback\n")
    assert errors.text == "noah: internal error:\nTraceback\n"


def test_a_note_of_one_line_is_shown_as_it_is(host: Host) -> None:
    errors = Errors()
    Bugs(cast("Any", errors), strict=False)(process(host), "noah: trace file x: no space left on device\n")
    assert errors.text == "noah: trace file x: no space left on device\n"
