"""The process that waits for a container's first program and ends the rest of its box."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

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
