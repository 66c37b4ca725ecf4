"""A store and a way to be told of progress, for the tests of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from noah.host.select import make_host
from noah.image.store import Store


class Told:
    """Keeps what a Progress is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done = self.total = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def begin(self, text: str, total: int, unit: str = "B") -> None:
        self.done, self.total = 0, total

    def advance(self, count: int) -> None:
        self.done += count

    def end(self) -> None:
        assert self.done == self.total


@pytest.fixture
def progress() -> Told:
    return Told()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(make_host(), tmp_path / "data")
