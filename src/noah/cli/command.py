"""The shape of commands about images and containers: options and --help, words, one line for what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from noah.cli.main import complain, say
from noah.cli.parse import Option, Parsed, UsageError, parse_all
from noah.cli.run import HELP
from noah.cli.trouble import FAILED, told
from noah.util.text import printable

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.image.container import Container, Containers
    from noah.image.store import Store


def command(
    text: str, *options: Option, least: int = 0, most: int | None = None, wanted: str = "name a container"
) -> Callable[[Callable[[Parsed], int]], Callable[[list[bytes]], int]]:
    """Makes a command of a function. text: what noah.cli.help calls its help. wanted: said if words are missing."""

    def decorate(function: Callable[[Parsed], int]) -> Callable[[list[bytes]], int]:
        @told
        def run(words: list[bytes]) -> int:
            parsed = parse_all(words, (HELP, *options))
            if parsed.has("--help"):
                from noah.cli import help

                return say(str(getattr(help, text)))
            if len(parsed.words) < least:
                raise UsageError(wanted)
            if most is not None and len(parsed.words) > most:
                raise UsageError(f"'{printable(parsed.words[most])}' is one word too many")
            return function(parsed)

        return run

    return decorate


def open_store() -> Store:
    """The user's images. ImageError."""
    from noah.host.select import make_host
    from noah.image import store

    return store.open_store(make_host())


def open_containers() -> Containers:
    """The user's containers. ImageError."""
    from noah.image.container import Containers

    return Containers(open_store())


def each(parsed: Parsed, act: Callable[[Host, Containers, Container], str | None]) -> int:
    """Do something with each container that is named, and print what it gives, else the name."""
    from noah.image.errors import ImageError

    containers = open_containers()
    status = 0
    for word in parsed.words:
        try:
            said = act(containers.store.host, containers, containers.find(printable(word)))
        except ImageError as error:
            status = complain(str(error), FAILED)
        else:
            say(f"{printable(word) if said is None else said}\n")
    return status
