"""`noah images`, `noah rmi` and `noah tag`."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from noah.cli.command import command, open_store
from noah.cli.listing import FILTER, FORMAT, filters, show
from noah.cli.main import complain, say
from noah.cli.parse import Option, Parsed, UsageError
from noah.cli.trouble import FAILED
from noah.util.text import printable

if TYPE_CHECKING:
    from noah.image.store import Image

_NONE: Final = "<none>"
_HEADINGS: Final = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
}
_USUAL: Final = ("Repository", "Tag", "ID", "CreatedSince", "Size")
_FILTERS: Final = ("dangling", "reference", "before", "since")


@command("IMAGES", Option("--quiet", "-q"), Option("--no-trunc"), Option("--all", "-a"), FILTER, FORMAT)
def images(parsed: Parsed) -> int:
    """`noah images`: what there is."""
    from noah.image.store import SHORT

    wanted = filters(parsed, _FILTERS)
    if any(value not in ("true", "false") for value in wanted.get("dangling", ())):
        raise UsageError("--filter dangling: write dangling=true or dangling=false")
    store = open_store()
    limits = {name: [_created(store.find(each)) for each in wanted.get(name, ())] for name in ("before", "since")}
    named = {printable(word) for word in parsed.words}
    length = None if parsed.has("--no-trunc") else SHORT
    rows = []
    for image in store.images():
        if any(_created(image) >= each for each in limits["before"]):
            continue
        if any(_created(image) <= each for each in limits["since"]):
            continue
        for name in image.names or [f"{_NONE}:{_NONE}"]:
            if (not named or named & set(_called(name))) and _fits(image, name, wanted):
                rows.append(_row(image, name, length))
    if parsed.has("--quiet"):
        return say("".join(f"{id}\n" for id in dict.fromkeys(row["ID"] for row in rows)))
    return say(show(parsed, rows, _HEADINGS, _USUAL))


def _fits(image: Image, name: str, wanted: dict[str, list[str]]) -> bool:
    dangling = wanted.get("dangling")
    if dangling and ("false" if image.names else "true") not in dangling:
        return False
    patterns = wanted.get("reference")
    return not patterns or any(fnmatch.fnmatchcase(each, pattern) for pattern in patterns for each in _called(name))


def _called(name: str) -> Iterator[str]:
    """All that a name may be written as."""
    yield name
    yield name.rpartition(":")[0]
    yield from short(name)


def _created(image: Image) -> str:
    return str(image.record.get("created", ""))


def _row(image: Image, name: str, length: int | None) -> dict[str, str]:
    from noah.cli.progress import size

    repository, _, tag = name.rpartition(":")
    if "@" in repository:  # sha256 is not a tag
        repository, tag = repository.partition("@")[0], _NONE
    return {
        "Repository": repository,
        "Tag": tag,
        "Digest": str(image.record.get("origin", {}).get("manifest") or _NONE),
        "ID": image.id[:length],
        "CreatedSince": ago(_created(image)),
        "CreatedAt": _created(image),
        "Size": size(int(image.record.get("size", 0))),
    }


def short(name: str) -> list[str]:
    """What else an image of docker's own registry goes by, with its tag and without."""
    rest = name.removeprefix("docker.io/")
    if rest == name:
        return []
    return [each for full in (rest, rest.removeprefix("library/")) for each in (full, full.rpartition(":")[0])]


@command("TAG", least=2, most=2, wanted="name an image, and what else to call it")
def tag(parsed: Parsed) -> int:
    """`noah tag IMAGE NAME`: one more name."""
    store = open_store()
    store.tag(store.find(printable(parsed.words[0])).id, printable(parsed.words[1]))
    return 0


@command("RMI", Option("--force", "-f"), least=1, wanted="name an image")
def rmi(parsed: Parsed) -> int:
    """`noah rmi IMAGE...`: forget images."""
    from noah.image.errors import ImageError

    store = open_store()
    status = 0
    for word in parsed.words:
        try:
            for line in store.remove(printable(word), force=parsed.has("--force")):
                say(line + "\n")
        except ImageError as error:
            status = complain(str(error), FAILED)
    return status


def ago(time: str) -> str:
    """A time as docker(1) shows it."""
    try:
        then = datetime.fromisoformat(time.replace("Z", "+00:00"))
    except ValueError:
        return "N/A"
    seconds = max(0.0, (datetime.now(UTC) - then).total_seconds())
    for unit, length in (("year", 31536000), ("month", 2592000), ("week", 604800), ("day", 86400), ("hour", 3600)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}s ago"
    minutes = int(seconds // 60)
    return (
        f"{minutes} minutes ago" if minutes > 1 else "About a minute ago" if minutes else f"{int(seconds)} seconds ago"
    )
