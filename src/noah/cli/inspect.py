"""`noah inspect` and `noah history`: what is known of images and containers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from noah.cli.command import command, open_containers, open_store
from noah.cli.images import ago
from noah.cli.main import complain, say
from noah.cli.parse import Option, Parsed, UsageError
from noah.cli.table import table
from noah.cli.trouble import FAILED
from noah.util.text import printable

if TYPE_CHECKING:
    from noah.image.container import Container, Containers
    from noah.image.store import Image

_WIDTH: Final = 60


@command("INSPECT", Option("--type", metavar="container|image"), least=1, wanted="name a container or an image")
def inspect(parsed: Parsed) -> int:
    """`noah inspect NAME...`: containers and images as JSON."""
    kind = printable(parsed.last("--type"))
    if kind not in ("", "container", "image"):
        raise UsageError(f"--type '{kind}': choose one of container, image")
    containers = open_containers()
    found = []
    status = 0
    for word in parsed.words:
        shown = _find(containers, printable(word), kind)
        if shown is None:
            status = complain(f"no {kind or 'container or image'} is called {printable(word)}", FAILED)
        else:
            found.append(shown)
    say(json.dumps(found, indent=4, ensure_ascii=False) + "\n")
    return status


def _find(containers: Containers, name: str, kind: str) -> dict[str, Any] | None:
    from noah.image.errors import NotFoundError

    if kind != "image":
        try:
            return _container(containers, containers.find(name))
        except NotFoundError:
            pass
    if kind != "container":
        try:
            return _image(containers.store.find(name))
        except NotFoundError:
            pass
    return None


def _container(containers: Containers, container: Container) -> dict[str, Any]:
    """With the keys that docker(1) has."""
    from noah.image.volumes import is_name

    record, state = container.record, containers.state(container)
    return {
        "Id": container.id,
        "Name": container.name,
        "Created": record["created"],
        "Image": f"sha256:{record['image']}",
        "State": {
            "Status": state.status,
            "Running": state.status == "running",
            "Pid": state.pid,
            "ExitCode": state.exit_code,
            "Since": state.since,
        },
        "Config": {
            "Image": record["image_name"],
            "Hostname": record.get("hostname", ""),
            "Labels": record.get("labels", {}),
            "Cmd": record["command"],
            "Env": [f"{key}={value}" for key, value in record["environ"].items()],
            "WorkingDir": record["cwd"],
            "User": record["user"],
            "StopSignal": record.get("stop_signal", ""),
        },
        "Mounts": [
            {"Type": "volume", "Name": source, "Destination": target, "RW": not read_only}
            if is_name(source)
            else {"Type": "bind", "Source": source, "Destination": target, "RW": not read_only}
            for source, target, read_only in record["volumes"]
        ],
        "NetworkMode": record.get("network", "host"),
        "LogPath": str(container.log),
    }


def _image(image: Image) -> dict[str, Any]:
    record = image.record
    return {
        "Id": f"sha256:{image.id}",
        "RepoTags": image.names,
        "Created": record.get("created", ""),
        "Architecture": record.get("architecture", ""),
        "Os": record.get("os", "linux"),
        "Size": record.get("size", 0),
        "Config": record.get("config") or {},
        "Layers": record.get("layers", []),
        "Origin": record.get("origin", {}),
    }


@command("HISTORY", Option("--no-trunc"), least=1, most=1, wanted="name an image")
def history(parsed: Parsed) -> int:
    """`noah history IMAGE`: how an image was made, as far as it says so."""
    image = open_store().find(printable(parsed.words[0]))
    rows = []
    for step in reversed(image.record.get("history") or [{"created": image.record.get("created", "")}]):
        if not isinstance(step, dict):
            continue
        made_by = " ".join(printable(str(step.get("created_by", "")).encode()).split())
        if len(made_by) > _WIDTH and not parsed.has("--no-trunc"):
            made_by = made_by[: _WIDTH - 1] + "…"
        comment = printable(str(step.get("comment", "")).encode())
        rows.append([ago(str(step.get("created", ""))), made_by, comment])
    return say(table(["CREATED", "CREATED BY", "COMMENT"], rows))
