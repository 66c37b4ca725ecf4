"""`noah volume`: directories that containers share, and that outlive them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from noah.cli.command import command, open_containers
from noah.cli.listing import FORMAT, show
from noah.cli.main import complain, say
from noah.cli.parse import Option, Parsed
from noah.cli.trouble import FAILED
from noah.util.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.image.volumes import NamedVolumes

_HEADINGS: Final = {"Driver": "DRIVER", "Name": "VOLUME NAME", "Mountpoint": "MOUNTPOINT"}
_USUAL: Final = ("Driver", "Name")


def _open() -> NamedVolumes:
    from noah.image.volumes import NamedVolumes

    return NamedVolumes(open_containers())


@command("VOLUME_CREATE", most=1)
def create(parsed: Parsed) -> int:
    """`noah volume create [NAME]`."""
    volumes = _open()
    name = printable(parsed.words[0]) if parsed.words else ""
    if not name:
        from noah.host.select import make_host

        name = make_host().rng.getrandom(32).hex()
    volumes.create(name)
    return say(f"{name}\n")


@command("VOLUME_LS", Option("--quiet", "-q"), FORMAT, most=0)
def ls(parsed: Parsed) -> int:
    """`noah volume ls`."""
    rows = _rows(volumes := _open(), volumes.names())
    if parsed.has("--quiet"):
        return say("".join(f"{row['Name']}\n" for row in rows))
    return say(show(parsed, rows, _HEADINGS, _USUAL))


def _rows(volumes: NamedVolumes, names: list[str]) -> list[dict[str, str]]:
    return [{"Driver": "local", "Name": name, "Mountpoint": str(volumes.path(name))} for name in names]


@command("VOLUME_INSPECT", least=1, wanted="name a volume")
def inspect(parsed: Parsed) -> int:
    """`noah volume inspect NAME...`: as JSON."""
    volumes = _open()
    found: list[str] = []

    def act(name: str) -> None:
        volumes.find(name)
        found.append(name)

    status = _each(parsed, act)
    say(json.dumps(_rows(volumes, found), indent=4) + "\n")
    return status


@command("VOLUME_RM", Option("--force", "-f"), least=1, wanted="name a volume")
def rm(parsed: Parsed) -> int:
    """`noah volume rm NAME...`: with all that is in them."""
    volumes = _open()

    def act(name: str) -> None:
        if not parsed.has("--force") or name in volumes.names():
            volumes.remove(name)
        say(f"{name}\n")

    return _each(parsed, act)


def _each(parsed: Parsed, act: Callable[[str], object]) -> int:
    from noah.image.errors import ImageError

    status = 0
    for word in parsed.words:
        try:
            act(printable(word))
        except ImageError as error:
            status = complain(str(error), FAILED)
    return status
