"""Generated files are what their generators write: each tools/gen_*.py has a --check."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.check,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc, which reads the kernel's headers, is not installed"),
]


@pytest.mark.parametrize("generator", sorted((ROOT / "tools").glob("gen_*.py")), ids=lambda path: path.name)
def test_generated_file_is_current(generator: Path) -> None:
    command = [sys.executable, str(generator), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
