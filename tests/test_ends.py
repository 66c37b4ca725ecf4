"""Guests that hang, spin or crash with threads and IPC objects: they end at once, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

import build  # tests/guests/build.py
import pytest
from tests.running import descendants, environment, kill_new, noah_command

GUEST: Final = Path(__file__).resolve().parent / "guests/ends.c"
HOSTS: Final = ("linux", pytest.param("posix", marks=pytest.mark.posix))
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
LOCAL: Final = "127.0.0.1"
SOON: Final = 3.0  # seconds, on a busy machine


def ends(scratch: Path, engine: str, host: str, state: str, number: signal.Signals | None) -> int:
    """The exit status of a guest in this state that gets a signal; how long it took is checked.

    scratch: where Noah makes its temporary files.
    """
    processes = set(descendants(os.getpid()))
    command = [*noah_command(), "run", "--engine", engine, "--host", host, "--root", "/", "--"]
    command += [str(build.build(GUEST, "dynamic")), state]
    env = environment(TMPDIR=str(scratch))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, start_new_session=True, env=env) as noah:
        assert noah.stdout is not None
        assert noah.stderr is not None
        try:
            ready, *ports = noah.stdout.readline().split()
            assert ready == b"ready"
            for port in map(int, ports):
                socket.create_connection((LOCAL, port), 5).close()
            if number is not None:
                time.sleep(0.05)
                (os.kill if state not in ("ipc", "listen") else os.killpg)(noah.pid, number)
            start = time.monotonic()
            status = noah.wait(30)
            assert time.monotonic() - start < SOON
            assert noah.stderr.read() == b""
        finally:
            noah.kill()
    assert kill_new(processes) == 0
    for port in map(int, ports):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOCAL, port), 5)
    assert list(scratch.iterdir()) == []
    return status


@pytest.mark.parametrize("state", ["deadlock", "spin", "shared"])
@pytest.mark.parametrize("host", HOSTS)
def test_signals_end_threads(tmp_path: Path, engine: str, host: str, state: str) -> None:
    assert [ends(tmp_path, engine, host, state, number) for number in SIGNALS] == [-number for number in SIGNALS]


@pytest.mark.parametrize("host", HOSTS)
def test_crash_ends_threads(tmp_path: Path, engine: str, host: str) -> None:
    assert ends(tmp_path, engine, host, "crash", None) == -signal.SIGSEGV


@pytest.mark.parametrize("host", HOSTS)
def test_killed_box_leaves_no_ipc_object(tmp_path: Path, engine: str, host: str) -> None:
    assert ends(tmp_path, engine, host, "ipc", signal.SIGKILL) == -signal.SIGKILL


@pytest.mark.parametrize("host", HOSTS)
def test_listening_sockets_end_with_their_processes(tmp_path: Path, engine: str, host: str) -> None:
    assert ends(tmp_path, engine, host, "listen", signal.SIGKILL) == -signal.SIGKILL


@pytest.mark.parametrize("host", HOSTS)
def test_stopped_orphan_ends(tmp_path: Path, engine: str, host: str) -> None:
    """Its group has lost its last parent: SIGHUP and SIGCONT come from the host, whatever has ended that one."""
    assert ends(tmp_path, engine, host, "stopped", signal.SIGKILL) == -signal.SIGKILL


@pytest.mark.parametrize("host", HOSTS)
def test_what_a_killed_process_held_goes_to_others(tmp_path: Path, engine: str, host: str) -> None:
    assert ends(tmp_path, engine, host, "inherit", None) == 0
