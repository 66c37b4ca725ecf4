"""How long work shows: a bar that is redrawn on a terminal, else a line for each stretch of it."""

from __future__ import annotations

import sys
import threading
from typing import Final

from noah.host.console import columns, is_terminal
from noah.host.select import make_host

_EVERY_NS: Final = 100_000_000
_MONOTONIC: Final = 1
_BAR: Final = 24
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


class Display:
    """A noah.image.progress.Progress on stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._clock = make_host().clock
        self._lock = threading.Lock()
        self._quiet = quiet
        self._live = not quiet and is_terminal(2)
        self._text = ""
        self._unit = ""
        self._total = self._done = self._drawn = 0

    def note(self, text: str) -> None:
        with self._lock:
            self._clear()
            self._line(text)

    def begin(self, text: str, total: int, unit: str = "B") -> None:
        with self._lock:
            self._clear()
            self._text, self._total, self._unit, self._done, self._drawn = text, total, unit, 0, 0
            if not self._live:
                self._line(f"{text}: {_amount(total, unit)}")
            self._draw()

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._draw()

    def end(self) -> None:
        with self._lock:
            self._clear()
            if self._live and self._text:
                self._line(f"{self._text}: {_amount(self._total, self._unit)}")
            self._text = ""

    def _draw(self) -> None:
        now = self._clock.clock_gettime(_MONOTONIC)
        if not self._live or not self._text or now - self._drawn < _EVERY_NS:
            return
        self._drawn = now
        share = min(1.0, max(0.0, self._done / self._total)) if self._total > 0 else 0.0
        bar = "#" * round(share * _BAR)
        amount = f"{_amount(self._done, self._unit)} of {_amount(self._total, self._unit)}"
        self._write(f"\r{self._text}: [{bar:<{_BAR}}] {amount}"[: columns()] + "\x1b[K")

    def _clear(self) -> None:
        if self._live and self._drawn:
            self._write("\r\x1b[K")
            self._drawn = 0

    def _line(self, text: str) -> None:
        if not self._quiet:
            self._write(text + "\n")

    def _write(self, text: str) -> None:
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()


def _amount(count: int, unit: str) -> str:
    return size(count) if unit == "B" else f"{count} {unit}"


def size(count: int) -> str:
    """Bytes as docker(1) shows them."""
    number, power = float(count), 0
    while number >= 999.5 and power < len(_UNITS) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.3g}{_UNITS[power]}"
