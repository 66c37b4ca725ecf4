"""`noah logs` and `noah attach`: what containers in the background have written, write, and are told."""

from __future__ import annotations

import sys
from typing import Final

from noah.cli.command import command, open_containers
from noah.cli.main import complain, say
from noah.cli.parse import Option, Parsed, UsageError
from noah.cli.trouble import FAILED
from noah.util.text import printable

_PROXY: Final = Option("--sig-proxy", metavar="true|false", optional=True)


@command("ATTACH", Option("--no-stdin"), _PROXY, least=1, most=1)
def attach(parsed: Parsed) -> int:
    """`noah attach CONTAINER`: be its terminal until it ends; its exit status."""
    from noah.image.attach import Attached
    from noah.image.supervise import wait

    containers = open_containers()
    host = containers.store.host
    container = containers.find(printable(parsed.words[0]))
    if containers.state(container).status != "running":
        return complain(f"container {container.name} is not running", FAILED)
    if container.log.exists():
        typing = bool(container.record.get("interactive")) and not parsed.has("--no-stdin")
        forward = parsed.last("--sig-proxy") != b"false"
        attached = Attached(host, containers, container, _write, typing=typing, forward=forward)
        if not attached.run(container.log.stat().st_size):
            return say("read escape sequence\n")
    return wait(host, containers, container)


@command("LOGS", Option("--follow", "-f"), Option("--tail", "-n", metavar="LINES"), least=1, most=1)
def logs(parsed: Parsed) -> int:
    """`noah logs CONTAINER`: what a container in the background has written."""
    tail = parsed.last("--tail", b"all")
    if tail != b"all" and not tail.isdigit():
        raise UsageError(f"--tail '{printable(tail)}': a number of lines, or all")
    from noah.image.supervise import follow

    containers = open_containers()
    container = containers.find(printable(parsed.words[0]))
    if not container.log.exists():
        return 0
    with container.log.open("rb") as log:
        if tail != b"all":
            log.seek(_start_of(log.read(), int(tail)))
        while data := log.read(1 << 16):
            _write(data)
        end = log.tell()
    if parsed.has("--follow"):
        follow(containers.store.host, containers, container, _write, end)
    return 0


def _write(data: bytes) -> None:
    if sys.stdout is not None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _start_of(content: bytes, lines: int) -> int:
    """Where the last lines begin."""
    at = len(content) - content.endswith(b"\n")
    for _ in range(lines):
        at = content.rfind(b"\n", 0, max(at, 0))
        if at < 0:
            return 0
    return at + 1 if lines else len(content)
