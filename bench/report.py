"""From figures to a table and to JSON (the form is described in README.md beside this file)."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Result:
    """All figures of one row, in seconds, one a round."""

    row: str
    what: str
    native: list[float] = field(default_factory=list)
    noah: list[float] = field(default_factory=list)
    failure: str = ""
    """Why there is no figure; empty when all is well."""

    @property
    def ratio_of_medians(self) -> float | None:
        return statistics.median(self.noah) / statistics.median(self.native) if self.complete else None

    @property
    def ratio_of_minima(self) -> float | None:
        return min(self.noah) / min(self.native) if self.complete else None

    @property
    def complete(self) -> bool:
        return bool(self.native and self.noah and not self.failure)

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {
            "native_median": statistics.median(self.native) if self.native else None,
            "noah_median": statistics.median(self.noah) if self.noah else None,
            "ratio_of_medians": self.ratio_of_medians,
            "ratio_of_minima": self.ratio_of_minima,
        }


def duration(seconds: float) -> str:
    """Three significant digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds * 1e9)} ns"


def number(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def table(results: list[Result]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| row | what | native | noah | ratio of medians | ratio of minima |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for result in results:
        native = duration(statistics.median(result.native)) if result.native else ""
        medians, minima = result.ratio_of_medians, result.ratio_of_minima
        if medians is None or minima is None:
            figures = f"fail: {result.failure} | |"
        else:
            figures = f"{duration(statistics.median(result.noah))} | {number(medians)} | {number(minima)}"
        lines.append(f"| {result.row} | {result.what} | {native} | {figures} |")
    return "\n".join(lines)
