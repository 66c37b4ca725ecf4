"""The benchmark's own promises: each row works natively, and a run that differs from the native one has no figure."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from rows import MICRO

BENCH: Final = Path(__file__).parents[1] / "bench"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / "run.py"), "--rounds", "1", "--budget", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)


def stand_in(folder: Path, action: str) -> str:
    """A command that takes Noah's arguments; `action` sees the program and its arguments as "$@"."""
    script = folder / "noah"
    script.write_text(f'#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\n{action}\n')
    script.chmod(0o755)
    return str(script)


def test_equal_runs_have_figures(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = bench("--noah", stand_in(tmp_path, 'exec "$@"'), "--rows", "micro,start_true", "--json", str(results))
    assert done.returncode == 0, done.stdout
    rows = json.loads(results.read_text())["rows"]
    assert len(rows) == len(MICRO) + 1
    assert all(row["ratio_of_medians"] > 0 and not row["failure"] for row in rows)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ('"$@"; exit 3', "exit status 3"),
        ("exit 0", "output"),
        ('"$@" | sed s/^[0-9]/x/', "output"),
        ("exec sleep 60", "no end after 5 s"),
    ],
)
def test_a_different_run_fails(tmp_path: Path, action: str, reason: str) -> None:
    done = bench("--noah", stand_in(tmp_path, action), "--rows", "bash_true200", "--timeout", "5")
    assert done.returncode == 1
    assert f"fail: {reason}" in done.stdout
