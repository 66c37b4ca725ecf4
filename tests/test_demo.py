"""The demo tells the truth: it passes on a real trace and fails when something that it promises is not in there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

DEMO: Final = Path(__file__).parents[1] / "tools" / "demo.py"

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def demo(*runner: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, DEMO, *runner], capture_output=True, text=True, check=False, timeout=100)


@needs_strace
def test_native_trace_passes() -> None:
    done = demo("strace", "-f", "-o", "{trace}")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "dup2(" in done.stdout


@needs_strace
@pytest.mark.parametrize(
    ("hidden", "complaint"),
    [("dup2", "cat's output becomes the pipe"), ("wait4", "bash waits for grep"), ("exit_group", "cat ends well")],
)
def test_a_missing_call_fails(hidden: str, complaint: str) -> None:
    done = demo("strace", "-f", "-e", f"trace=!{hidden}", "-o", "{trace}")
    assert done.returncode == 1
    assert f"not seen: {complaint}" in done.stderr


def test_a_run_without_trace_fails() -> None:
    done = demo("env")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_noah_passes(noah: str, engine: str) -> None:
    done = demo(noah, "run", "--engine", engine, "--root", "/", "--strace={trace}", "--")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
