"""`noah ps`, `noah stop`, `noah kill`, `noah wait`, `noah rm`, `noah rename`, `noah logs`, `noah attach`."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Final

from noah.abi import signal as signals
from noah.abi.signal import SIGKILL, SIGTERM
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
_STOP: Final = (HELP, Option("--time", "-t", metavar="SECONDS"), Option("--signal", "-s", metavar="SIGNAL"))
_KILL: Final = (HELP, Option("--signal", "-s", metavar="SIGNAL"))
_RM: Final = (HELP, Option("--force", "-f"))
_LOGS: Final = (HELP, Option("--follow", "-f"), Option("--tail", "-n", metavar="LINES"))
_WAIT: Final = (HELP,)
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
    seconds = grace(parsed)

    signal = _signal(parsed) if parsed.has("--signal") else 0

    def act(containers: Containers, container: Container) -> None:
        from noah.image.supervise import stop as stop_it

        stop_it(containers.store.host, containers, container, seconds, signal or stop_signal(container))

    return _each(parsed, act)


def grace(parsed: Parsed) -> int:
    """Seconds to wait before what does not end is killed."""
    seconds = parsed.last("--time", b"10")
    if not seconds.isdigit():
        raise UsageError(f"--time '{printable(seconds)}': a number of seconds")
    return int(seconds)


def stop_signal(container: Container) -> int:
    """What asks its first program to end."""
    return signal_number(str(container.record.get("stop_signal", ""))) or SIGTERM


@told
def kill(words: list[bytes]) -> int:
    """`noah kill CONTAINER...`: a signal to the first program."""
    parsed = parse_all(words, _KILL)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.KILL)
    signal = _signal(parsed) if parsed.has("--signal") else SIGKILL

    def act(containers: Containers, container: Container) -> None:
        from noah.image.supervise import send

        send(containers.store.host, containers, container, signal)

    return _each(parsed, act)


def _signal(parsed: Parsed) -> int:
    text = printable(parsed.last("--signal"))
    number = signal_number(text)
    if not number:
        raise UsageError(f"--signal '{text}': a signal's number or name, such as TERM")
    return number


def signal_number(text: str) -> int:
    """9, KILL or SIGKILL as a number; 0 for what is no signal."""
    if text.isdigit():
        return int(text) if 0 < int(text) <= signals.NSIG else 0
    name, plus, offset = text.upper().removeprefix("SIG").partition("+")
    found = getattr(signals, f"SIG{name}", None) if name.isalnum() else None
    if not isinstance(found, int) or (plus and not offset.isdigit()):
        return 0
    return found + int(offset or 0)


@told
def wait(words: list[bytes]) -> int:
    """`noah wait CONTAINER...`: until they have ended; prints their exit statuses."""
    parsed = parse_all(words, _WAIT)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.WAIT)
    if not parsed.words:
        raise UsageError("name a container")
    from noah.image.errors import ImageError
    from noah.image.supervise import wait as wait_for

    containers = _containers()
    status = 0
    for word in parsed.words:
        try:
            container = containers.find(printable(word))
        except ImageError as error:
            status = complain(str(error), FAILED)
        else:
            say(f"{wait_for(containers.store.host, containers, container)}\n")
    return status


@told
def rename(words: list[bytes]) -> int:
    """`noah rename CONTAINER NAME`."""
    parsed = parse_all(words, _WAIT)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.RENAME)
    if len(parsed.words) != 2:
        raise UsageError("name a container, and what to call it")
    containers = _containers()
    containers.rename(containers.find(printable(parsed.words[0])), printable(parsed.words[1]))
    return 0


@told
def attach(words: list[bytes]) -> int:
    """`noah attach CONTAINER`: what it writes from now on, and its exit status."""
    parsed = parse_all(words, _WAIT)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.ATTACH)
    if len(parsed.words) != 1:
        raise UsageError("name one container")
    from noah.image.supervise import follow
    from noah.image.supervise import wait as wait_for

    containers = _containers()
    container = containers.find(printable(parsed.words[0]))
    if containers.state(container).status != "running":
        return complain(f"container {container.name} is not running", FAILED)
    if container.log.exists():
        follow(containers.store.host, containers, container, _write, container.log.stat().st_size)
    return wait_for(containers.store.host, containers, container)


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
    tail = parsed.last("--tail", b"all")
    if tail != b"all" and not tail.isdigit():
        raise UsageError(f"--tail '{printable(tail)}': a number of lines, or all")
    from noah.image.supervise import follow

    containers = _containers()
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
