"""`noah top`, `noah diff`: what a container does, and what it has done."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Final

from noah.abi.time import CLOCK_MONOTONIC, CLOCK_REALTIME, NSEC_PER_SEC
from noah.cli.command import command, open_containers
from noah.cli.main import say
from noah.cli.table import table
from noah.util.text import printable

if TYPE_CHECKING:
    from noah.cli.parse import Parsed
    from noah.host.api import Host
    from noah.image.container import Container, Containers
    from noah.kernel.card import Shown

_OWN: Final = (b"/dev", b"/etc/hosts", b"/etc/resolv.conf", b"/proc", b"/sys")
"""What Noah itself writes, or covers."""
_TICKS: Final = 100
_DAY: Final = 24 * 60 * 60


@command("TOP", least=1, most=1, wanted="name a container")
def top(parsed: Parsed) -> int:
    """`noah top CONTAINER`: its processes."""
    from noah.image.errors import ImageError
    from noah.image.supervise import box_of

    containers = open_containers()
    container = containers.find(printable(parsed.words[0]))
    if containers.state(container).status != "running":
        raise ImageError(f"container {container.name} is not running")
    host = containers.store.host
    box = box_of(host, container)
    users = _users(containers, container)
    rows = []
    for pid in box.members():
        shown = box.shown(pid)
        if shown is not None:
            user = users.get(shown.ids[1], str(shown.ids[1]))
            rows.append((user, str(pid), str(box.parent(shown.parent)), _since(host, shown), _command(shown)))
    return say(table(("USER", "PID", "PPID", "START", "COMMAND"), rows))


def _users(containers: Containers, container: Container) -> dict[int, str]:
    """The names that the container's own passwd(5) has."""
    content = containers.inside(container).read(b"/etc/passwd") or b""
    fields = [line.split(b":") for line in content.splitlines()]
    return {int(entry[2]): printable(entry[0]) for entry in reversed(fields) if len(entry) > 2 and entry[2].isdigit()}


def _since(host: Host, shown: Shown) -> str:
    """As ps(1) says it: the time of today, else the day."""
    now = host.clock.clock_gettime
    age = now(CLOCK_MONOTONIC) / NSEC_PER_SEC - shown.started / _TICKS
    began = datetime.datetime.fromtimestamp(now(CLOCK_REALTIME) / NSEC_PER_SEC - age)
    return began.strftime("%H:%M" if age < _DAY else "%b%d")


def _command(shown: Shown) -> str:
    words = shown.cmdline.rstrip(b"\0").replace(b"\0", b" ")
    return printable(words or b"[" + shown.comm + b"]")


@command("DIFF", least=1, most=1, wanted="name a container")
def diff(parsed: Parsed) -> int:
    """`noah diff CONTAINER`: what it has added (A), changed (C) and deleted (D)."""
    from noah.image.diff import changes
    from noah.image.owners import host_of_image

    containers = open_containers()
    container = containers.find(printable(parsed.words[0]))
    host = containers.host(container)
    image = containers.store.find(str(container.record["image"]))
    found = changes(
        host, bytes(container.rootfs), host_of_image(containers.store, image), bytes(image.rootfs), leave_out=_OWN
    )
    return say("".join(f"{kind} {printable(path)}\n" for path, kind in found.items()))
