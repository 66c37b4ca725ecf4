"""The process that waits for a container's first program and ends the rest of its box."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any, Final, cast

import pytest

from noah.host.select import make_host
from noah.image.container import pauses
from noah.image.supervise import kill_all
from noah.kernel.box import Box
from noah.vfs.credentials import Credentials

LATE: Final = """
import os, sys, time
from noah.host.select import make_host
from noah.image.supervise import kill_all
from noah.kernel.box import Box
from noah.vfs.credentials import Credentials
host = make_host(sys.argv[1])
box = Box(host)
child = os.fork()
if not child:
    time.sleep(0.3)
    box.add(os.getpid(), Credentials(0, 0), (0, 0))
    time.sleep(60)
    os._exit(0)
kill_all(host, box)
try:
    os.kill(child, 0)
except ProcessLookupError:
    print("gone")
"""
"""A child that the box does not know yet, as if its parent had been killed right after the fork."""


@pytest.mark.parametrize("host", ["linux", "posix"])
def test_nobody_who_was_just_forked_is_left(host: str) -> None:
    done = subprocess.run([sys.executable, "-c", LATE, host], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("gone\n", "")


def test_pauses_grow() -> None:
    """Who waits for what ends at once does not wait 20 ms for it; who waits for long does not look all the time."""
    found = list(pauses(1_000_000_000))
    assert found[:3] == [500_000, 1_000_000, 2_000_000]
    assert max(found) == 20_000_000
    assert sum(found) == 1_000_000_000
    assert list(pauses(0)) == []


def test_killed_processes_are_looked_for_at_once() -> None:
    waited: list[int | None] = []

    class Poller:
        def poll(self, fds: object, timeout_ns: int | None, *, signals: bool) -> tuple[list[object], bool]:
            waited.append(timeout_ns)
            return host.poller.poll([], timeout_ns, signals=signals)  # type: ignore[return-value]

    host = make_host("linux")
    box = Box(host)
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    box.add(child, Credentials(0, 0), (0, 0))
    kill_all(host._replace(poller=cast("Any", Poller())), box)
    assert waited[0] == 500_000
    with pytest.raises(ChildProcessError):
        os.waitpid(child, 0)
