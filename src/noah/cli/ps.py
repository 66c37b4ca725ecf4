"""`noah ps`, `noah rename`: containers and their names."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from noah.cli.command import command, open_containers
from noah.cli.images import ago
from noah.cli.listing import FILTER, FORMAT, filters, show
from noah.cli.main import say
from noah.cli.parse import Option, Parsed
from noah.util.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.image.container import Container, Containers, State

_WIDTH: Final = 22
_HEADINGS: Final = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "CreatedAt": "CREATED AT",
    "Status": "STATUS",
    "State": "STATE",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
}
_USUAL: Final = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


@command(
    "PS",
    *(Option("--all", "-a"), Option("--quiet", "-q"), Option("--latest", "-l"), Option("--no-trunc")),
    *(FILTER, FORMAT),
    most=0,
)
def ps(parsed: Parsed) -> int:
    """`noah ps`: containers."""
    wanted = filters(parsed, list(_FILTERS))
    containers = open_containers()
    found = containers.all()
    if parsed.has("--latest"):
        found = found[:1]
    everything = parsed.has("--all") or parsed.has("--latest") or "status" in wanted or "exited" in wanted
    rows = []
    for container in found:
        state = containers.state(container)
        if (everything or state.status == "running") and _fits(containers, container, state, wanted):
            rows.append(_row(container, state, whole=parsed.has("--no-trunc")))
    if parsed.has("--quiet"):
        return say("".join(f"{row['ID']}\n" for row in rows))
    return say(show(parsed, rows, _HEADINGS, _USUAL))


def _fits(containers: Containers, container: Container, state: State, wanted: dict[str, list[str]]) -> bool:
    return all(
        any(_FILTERS[name](containers, container, state, value) for value in values) for name, values in wanted.items()
    )


_FILTERS: Final[dict[str, Callable[[Containers, Container, State, str], bool]]] = {
    "id": lambda containers, container, state, value: container.id.startswith(value),
    "name": lambda containers, container, state, value: re.search(_pattern(value), container.name) is not None,
    "status": lambda containers, container, state, value: state.status == value,
    "exited": lambda containers, container, state, value: (state.status, str(state.exit_code)) == ("exited", value),
    "ancestor": lambda containers, container, state, value: containers.is_of(container, value),
    "before": lambda containers, container, state, value: _age(container) < _age(containers.find(value)),
    "since": lambda containers, container, state, value: _age(container) > _age(containers.find(value)),
    "label": lambda containers, container, state, value: _has_label(container, value),
    "volume": lambda containers, container, state, value: any(
        value in each[:2] for each in container.record["volumes"]
    ),
}


def _has_label(container: Container, wanted: str) -> bool:
    """NAME, or NAME=VALUE."""
    labels = container.record.get("labels", {})
    name, equals, value = wanted.partition("=")
    return labels.get(name) == value if equals else name in labels


def _pattern(text: str) -> str:
    """A regular expression, or the text itself if it is none."""
    try:
        re.compile(text)
    except re.error:
        return re.escape(text)
    return text


def _age(container: Container) -> str:
    return str(container.record["created"])


def _row(container: Container, state: State, *, whole: bool) -> dict[str, str]:
    from noah.image.container import short

    text = printable(shlex.join(container.record["command"]).encode("utf-8", "surrogateescape"))
    if len(text) > _WIDTH and not whole:
        text = text[: _WIDTH - 1] + "…"
    since = ago(state.since)
    status = {
        "created": "Created",
        "running": f"Up {since.removesuffix(' ago').lower()}",
        "exited": f"Exited ({state.exit_code}) {since}",
    }[state.status]
    return {
        "ID": container.id if whole else short(container),
        "Image": container.record["image_name"],
        "Command": f'"{text}"',
        "RunningFor": ago(_age(container)),
        "CreatedAt": _age(container),
        "Status": status,
        "State": state.status,
        "Ports": _ports(container) if state.status == "running" else "",
        "Names": container.name,
        "Labels": ",".join(f"{name}={value}" for name, value in container.record.get("labels", {}).items()),
        "Mounts": ",".join(each[0] for each in container.record["volumes"]),
        "Networks": container.record.get("network", "host"),
    }


def _ports(container: Container) -> str:
    if not container.record.get("ports"):
        return ""
    from noah.cli.publish import ports_of

    return ", ".join(f"{port.at}->{port.name}" for port in ports_of(container))


@command("RENAME", least=2, most=2, wanted="name a container, and what to call it")
def rename(parsed: Parsed) -> int:
    """`noah rename CONTAINER NAME`."""
    containers = open_containers()
    containers.rename(containers.find(printable(parsed.words[0])), printable(parsed.words[1]))
    return 0
