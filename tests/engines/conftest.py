"""Fixtures of the engine tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.engines.guest import ENGINES, Guest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=ENGINES)
def guest(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """A fresh guest on each engine."""
    guest = Guest(request.param)
    yield guest
    guest.close()
