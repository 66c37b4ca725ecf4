"""Where Debian's archive is: what the host's own apt is configured for (sources.list(5), apt.conf(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from noah.image.debian.control import paragraphs, parse, words

_LINE: Final = re.compile(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*(.*)")
_SUITES: Final = {
    "stable",
    "oldstable",
    "testing",
    "unstable",
    "sid",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
}
_SCHEMES: Final = ("http://", "https://", "file:/")
_SETTING: Final = re.compile(r'(?mi)^\s*acquire::([a-z:-]+)\s+"?([^";]*)"?\s*;')


class Source(NamedTuple):
    url: str  # without a slash at its end
    suites: list[str]
    components: list[str]


class Mirror(NamedTuple):
    """Where to get what. security is "" if nothing is known of it."""

    main: str
    security: str


def read_sources(directory: Path) -> list[Source]:
    """All sources of binary packages in an apt directory (/etc/apt), of both formats."""
    found: list[Source] = []
    for path in [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]:
        if path.suffix not in (".list", ".sources"):
            continue
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            continue
        found += _deb822(text) if path.suffix == ".sources" else _one_line(text)
    return [source for source in found if source.url.startswith(_SCHEMES)]


def _one_line(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        match = _LINE.match(line.partition("#")[0].strip())
        if match:
            yield Source(match[1].rstrip("/"), [match[2]], words(match[3]))


def _deb822(text: str) -> Iterator[Source]:
    lines = [line for line in text.replace("\r", "").split("\n") if not line.startswith("#")]
    for part in paragraphs("\n".join(lines)):
        fields = parse(part)
        if "deb" in words(fields.get("types", "")) and fields.get("enabled", "yes").lower() not in ("no", "false"):
            for url in words(fields.get("uris", "")):
                yield Source(url.rstrip("/"), words(fields.get("suites", "")), words(fields.get("components", "")))


def find_mirror(sources: list[Source]) -> Mirror:
    """The mirrors that apt uses for Debian's archive; "" for what it has no source of."""
    main = security = ""
    for source in sources:
        if "main" not in source.components:
            continue
        for suite in source.suites:
            base, _, part = suite.replace("/", "-").partition("-")
            if base not in _SUITES:
                continue
            if part in ("security", "updates") and suite != f"{base}-updates":
                security = security or source.url
            else:
                main = main or source.url
    return Mirror(main, security)


def read_settings(directory: Path) -> dict[str, str]:
    """The settings below Acquire:: that stand on a line each in apt's configuration, by their names in lower case."""
    found = {}
    for path in [directory / "apt.conf", *sorted((directory / "apt.conf.d").glob("*"))]:
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            continue
        for name, value in _SETTING.findall(text):
            found[name.lower()] = value
    return found


def checks_dates(settings: dict[str, str]) -> bool:
    """Whether this apt refuses indices that have expired."""
    return settings.get("check-valid-until", "true").lower() not in ("false", "no", "0")


def proxies(settings: dict[str, str]) -> dict[str, str]:
    """By scheme."""
    found = {scheme: settings.get(f"{scheme}::proxy", "") for scheme in ("http", "https")}
    return {scheme: url for scheme, url in found.items() if url and url.upper() != "DIRECT"}


def beside(mirror: str) -> str:
    """Where a mirror of Debian's archive has the security archive, if it keeps to the custom."""
    return mirror[: -len("debian")] + "debian-security" if mirror.endswith("/debian") else ""
