"""What a process has loaded, every process that it forks pays for."""

from __future__ import annotations

import subprocess
import sys

LOAD = "import sys, noah.cli.run, noah.api, noah.vm.kvm, noah.host.linux.host; noah.api.load_handlers()"


def test_a_process_with_one_thread_does_without_the_module_threading() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{LOAD}; sys.exit('threading' in sys.modules)"], check=False, timeout=60
    )
    assert done.returncode == 0
