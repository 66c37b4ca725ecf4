"""Programs of the host that Noah itself asks for something."""

from __future__ import annotations

import subprocess
from typing import Final

_TIMEOUT_S: Final = 60


def ask(argv: list[str], question: bytes) -> tuple[int, bytes]:
    """Run a program with this input: its exit status and output. 127: there is none, or it does not answer."""
    try:
        ended = subprocess.run(argv, input=question, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return 127, str(error).encode()
    return ended.returncode, ended.stdout or ended.stderr
