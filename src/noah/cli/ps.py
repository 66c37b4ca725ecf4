"""`noah ps`, `noah stop`, `noah rm`, `noah logs`."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Final

from noah.cli.images import ago
from noah.cli.main import complain, say
from noah.cli.parse import Option, Parsed, UsageError, parse_all
from noah.cli.run import HELP
from noah.cli.table import table
from noah.cli.trouble import FAILED, told
from noah.util.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.image.container import Container, Containers, State

_PS: Final = (HELP, Option("--all", "-a"), Option("--quiet", "-q"), Option("--latest", "-l"), Option("--no-trunc"))
_STOP: Final = (HELP, Option("--time", "-t", metavar="SECONDS"))
_RM: Final = (HELP, Option("--force", "-f"))
_LOGS: Final = (HELP, Option("--follow", "-f"))
_GRACE: Final = b"10"
_WIDTH: Final = 22


def _containers() -> Containers:
    from noah.host.select import make_host
    from noah.image.container import Containers
    from noah.image.store import open_store

    return Containers(open_store(make_host()))


@told
def ps(words: list[bytes]) -> int:
    """`noah ps`: containers."""
    parsed = parse_all(words, _PS)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.PS)
    if parsed.words:
        raise UsageError(f"'{printable(parsed.words[0])}' is one word too many")
    containers = _containers()
    found = containers.all()
    if parsed.has("--latest"):
        found = found[:1]
    whole = parsed.has("--no-trunc")
    rows = []
    for container in found:
        state = containers.state(container)
        if state.status == "running" or parsed.has("--all") or parsed.has("--latest"):
            rows.append(_row(container, state, whole=whole))
    if parsed.has("--quiet"):
        return say("".join(f"{row[0]}\n" for row in rows))
    return say(table(["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"], rows))


def _row(container: Container, state: State, *, whole: bool) -> list[str]:
    from noah.image.container import short

    command = printable(shlex.join(container.record["command"]).encode("utf-8", "surrogateescape"))
    if len(command) > _WIDTH and not whole:
        command = command[: _WIDTH - 1] + "…"
    since = ago(state.since)
    status = {
        "created": "Created",
        "running": f"Up {since.removesuffix(' ago').lower()}",
        "exited": f"Exited ({state.exit_code}) {since}",
    }[state.status]
    created = ago(str(container.record["created"]))
    id = container.id if whole else short(container)
    return [id, container.record["image_name"], f'"{command}"', created, status, container.name]


def _each(parsed: Parsed, act: Callable[[Containers, Container], None]) -> int:
    """Do something with each container that is named, and name those for which it was done."""
    from noah.image.errors import ImageError

    if not parsed.words:
        raise UsageError("name a container")
    containers = _containers()
    status = 0
    for word in parsed.words:
        try:
            act(containers, containers.find(printable(word)))
        except ImageError as error:
            status = complain(str(error), FAILED)
        else:
            say(f"{printable(word)}\n")
    return status


@told
def stop(words: list[bytes]) -> int:
    """`noah stop CONTAINER...`: let it end, or make it."""
    parsed = parse_all(words, _STOP)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.STOP)
    grace = parsed.last("--time", _GRACE)
    if not grace.isdigit():
        raise UsageError(f"--time '{printable(grace)}': a number of seconds")

    def act(containers: Containers, container: Container) -> None:
        from noah.image.supervise import stop as stop_it

        stop_it(containers.store.host, containers, container, int(grace))

    return _each(parsed, act)


@told
def rm(words: list[bytes]) -> int:
    """`noah rm CONTAINER...`: forget containers."""
    parsed = parse_all(words, _RM)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.RM)

    def act(containers: Containers, container: Container) -> None:
        if parsed.has("--force"):
            from noah.image.supervise import stop as stop_it

            stop_it(containers.store.host, containers, container, 0)
        containers.remove(container)

    return _each(parsed, act)


@told
def logs(words: list[bytes]) -> int:
    """`noah logs CONTAINER`: what a container in the background has written."""
    parsed = parse_all(words, _LOGS)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.LOGS)
    if len(parsed.words) != 1:
        raise UsageError("name one container")
    from noah.image.supervise import follow

    def write(data: bytes) -> None:
        if sys.stdout is not None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    containers = _containers()
    container = containers.find(printable(parsed.words[0]))
    if not container.log.exists():
        return 0
    if parsed.has("--follow"):
        follow(containers.store.host, containers, container, write)
        return 0
    with container.log.open("rb") as log:
        while data := log.read(1 << 16):
            write(data)
    return 0
