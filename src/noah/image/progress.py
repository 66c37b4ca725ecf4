"""How long work tells what it does. The command line draws it; nothing here writes to a terminal."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told from any thread."""

    def note(self, text: str) -> None:
        """Something that stays readable: a line of its own."""

    def begin(self, text: str, total: int, unit: str = "B") -> None:
        """A new stretch of work, of `total` bytes (unit "B") or pieces; it ends when the next begins, or with end()."""

    def advance(self, count: int) -> None:
        """Some of it is done. Negative: it must be done again."""

    def end(self) -> None: ...


class Silent:
    """Says nothing."""

    def note(self, text: str) -> None: ...

    def begin(self, text: str, total: int, unit: str = "B") -> None: ...

    def advance(self, count: int) -> None: ...

    def end(self) -> None: ...
