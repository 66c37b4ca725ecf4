"""What a process has loaded, every process that it forks pays for."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOAD = "import sys, noah.cli.run, noah.api, noah.vm.kvm, noah.host.linux.host; noah.api.load_handlers()"


@pytest.mark.parametrize(
    "module", ["threading", "hashlib", "socket", "selectors", "dataclasses", "inspect", "subprocess"]
)
def test_a_plain_process_does_without(module: str) -> None:
    command = [sys.executable, "-c", f"{LOAD}; sys.exit({module!r} in sys.modules)"]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
