"""`noah images`, `noah rmi` and `noah tag`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from noah.cli.main import complain, say
from noah.cli.parse import Option, UsageError, parse_all
from noah.cli.run import HELP
from noah.cli.trouble import FAILED, told
from noah.util.text import printable

_IMAGES: Final = (HELP, Option("--quiet", "-q"), Option("--no-trunc"))
_TAG: Final = (HELP,)
_RMI: Final = (HELP, Option("--force", "-f"))


@told
def images(words: list[bytes]) -> int:
    """`noah images`: what there is."""
    parsed = parse_all(words, _IMAGES)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.IMAGES)
    from noah.cli.progress import size
    from noah.cli.table import table
    from noah.host.select import make_host
    from noah.image.store import SHORT, open_store

    length = None if parsed.has("--no-trunc") else SHORT
    wanted = [printable(word) for word in parsed.words]
    known = set(wanted)
    rows = []
    for image in open_store(make_host()).images():
        for name in image.names or ["<none>:<none>"]:
            repository, _, tag = name.rpartition(":")
            if wanted and not known & {repository, name, *short(name)}:
                continue
            if "@" in repository:  # sha256 is not a tag
                repository, tag = repository.partition("@")[0], "<none>"
            created = ago(str(image.record.get("created", "")))
            rows.append([repository, tag, image.id[:length], created, size(int(image.record.get("size", 0)))])
    if parsed.has("--quiet"):
        return say("".join(f"{id}\n" for id in dict.fromkeys(row[2] for row in rows)))
    return say(table(["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"], rows))


def short(name: str) -> list[str]:
    """What else an image of docker's own registry goes by, with its tag and without."""
    rest = name.removeprefix("docker.io/")
    if rest == name:
        return []
    return [each for full in (rest, rest.removeprefix("library/")) for each in (full, full.rpartition(":")[0])]


@told
def tag(words: list[bytes]) -> int:
    """`noah tag IMAGE NAME`: one more name."""
    parsed = parse_all(words, _TAG)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.TAG)
    if len(parsed.words) != 2:
        raise UsageError("name an image, and what else to call it")
    from noah.host.select import make_host
    from noah.image.store import open_store

    store = open_store(make_host())
    store.tag(store.find(printable(parsed.words[0])).id, printable(parsed.words[1]))
    return 0


@told
def rmi(words: list[bytes]) -> int:
    """`noah rmi IMAGE...`: forget images."""
    parsed = parse_all(words, _RMI)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.RMI)
    if not parsed.words:
        raise UsageError("name an image")
    from noah.host.select import make_host
    from noah.image.errors import ImageError
    from noah.image.store import open_store

    store = open_store(make_host())
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
