"""What `noah ps` and `noah images` list: which rows (--filter), and how they look (--format), as docker(1) has it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from noah.cli.parse import Option, Parsed, UsageError
from noah.cli.table import table
from noah.util.text import printable

FORMAT: Final = Option("--format", metavar="FORMAT")
FILTER: Final = Option("--filter", "-f", metavar="NAME=VALUE")
_FIELD: Final = re.compile(r"\{\{\s*(json\s+)?\.(\w*)\s*\}\}")

Row = Mapping[str, str]
"""Values by the names that --format knows."""


def show(parsed: Parsed, rows: Sequence[Row], headings: Mapping[str, str], usual: Sequence[str]) -> str:
    """The rows as --format wants them. headings: of every field there is; usual: the columns of a plain list."""
    form = printable(parsed.last("--format")).replace("\\t", "\t").replace("\\n", "\n")
    if form in ("", "table"):
        return table([headings[field] for field in usual], [[row[field] for field in usual] for row in rows])
    if form == "json":
        form = "{{json .}}"
    is_table = form.startswith("table ")
    if is_table:
        form = form.removeprefix("table ")
    _check(form, headings)
    lines = [_fill(form, row) for row in rows]
    if is_table:
        head = _fill(form, headings).split("\t")
        return table(head, [line.split("\t") for line in lines])
    return "".join(f"{line}\n" for line in lines)


def _check(form: str, known: Mapping[str, str]) -> None:
    """UsageError for a template that says more than which fields."""
    wrong = [match[0] for match in _FIELD.finditer(form) if match[2] not in known and not (match[1] and not match[2])]
    rest = _FIELD.sub("", form)
    if "{{" in rest:
        wrong.append("{{" + rest.partition("{{")[2])
    if wrong:
        fields = ", ".join(f"{{{{.{name}}}}}" for name in known)
        raise UsageError(f"--format: '{wrong[0]}' is not known; there are json, {{{{json .}}}}, {fields}")


def _fill(form: str, row: Row) -> str:
    def value(match: re.Match[str]) -> str:
        found: object = row[match[2]] if match[2] else dict(row)
        return json.dumps(found, ensure_ascii=False) if match[1] else str(found)

    return _FIELD.sub(value, form)


def filters(parsed: Parsed, known: Sequence[str]) -> dict[str, list[str]]:
    """The values of each --filter; a row must fit one of each name's."""
    found: dict[str, list[str]] = {}
    for each in parsed.all("--filter"):
        name, equals, value = printable(each).partition("=")
        if not equals or name not in known:
            raise UsageError(f"--filter '{printable(each)}': write NAME=VALUE, the name one of {', '.join(known)}")
        found.setdefault(name, []).append(value)
    return found
