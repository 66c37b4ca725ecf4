"""Every module of handlers is loaded."""

from __future__ import annotations

from pathlib import Path

import noah.syscalls
from noah.syscalls import HANDLER_MODULES


def test_every_module_with_a_handler_is_listed() -> None:
    folder = Path(noah.syscalls.__path__[0])
    declaring = {path.stem for path in folder.glob("*.py") if "\n@syscall" in path.read_text("utf-8")}
    assert set(HANDLER_MODULES) == declaring - {"registry"}
