"""The end of Noah's own process."""

from __future__ import annotations

import os


def leave(status: int) -> None:
    """End at once, with no regard to what is loaded: to take that apart costs the interpreter 10 ms."""
    os._exit(status)
