"""The command, as the tests of images and containers use it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

Result = subprocess.CompletedProcess[str]
Noah = Callable[..., Result]


def one_line(result: Result, status: int, *words: str) -> None:
    """A failure is one line on stderr that says these words."""
    assert (result.returncode, result.stdout) == (status, ""), result.stderr
    assert result.stderr.startswith("noah: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def names(cli: Noah, *options: str) -> list[str]:
    return [line.split()[-1] for line in cli("ps", *options).stdout.splitlines()[1:]]


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert true()
