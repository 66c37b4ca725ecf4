"""`noah stop`, `noah kill`, `noah wait`, `noah rm`: how containers end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi import signal as signals
from noah.abi.signal import SIGKILL, SIGTERM
from noah.cli.command import command, each
from noah.cli.parse import Option, Parsed, UsageError
from noah.util.text import printable

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.image.container import Container, Containers

TIME: Final = Option("--time", "-t", metavar="SECONDS")
_SIGNAL: Final = Option("--signal", "-s", metavar="SIGNAL")


@command("STOP", TIME, _SIGNAL, least=1)
def stop(parsed: Parsed) -> int:
    """`noah stop CONTAINER...`: let it end, or make it."""
    from noah.image import supervise

    seconds = grace(parsed)
    signal = _signal(parsed) if parsed.has("--signal") else 0

    def act(host: Host, containers: Containers, container: Container) -> None:
        supervise.stop(host, containers, container, seconds, signal or stop_signal(container))

    return each(parsed, act)


@command("KILL", _SIGNAL, least=1)
def kill(parsed: Parsed) -> int:
    """`noah kill CONTAINER...`: a signal to the first program."""
    from noah.image import supervise

    signal = _signal(parsed) if parsed.has("--signal") else SIGKILL

    def act(host: Host, containers: Containers, container: Container) -> None:
        supervise.send(host, containers, container, signal)

    return each(parsed, act)


@command("WAIT", least=1)
def wait(parsed: Parsed) -> int:
    """`noah wait CONTAINER...`: until they have ended; prints their exit statuses."""
    from noah.image import supervise

    return each(parsed, lambda *of: str(supervise.wait(*of)))


@command("RM", Option("--force", "-f"), least=1)
def rm(parsed: Parsed) -> int:
    """`noah rm CONTAINER...`: forget containers."""
    from noah.image import supervise

    def act(host: Host, containers: Containers, container: Container) -> None:
        if parsed.has("--force"):
            supervise.stop(host, containers, container, 0, SIGKILL)
        containers.remove(container)

    return each(parsed, act)


def grace(parsed: Parsed) -> int:
    """Seconds to wait before what does not end is killed."""
    seconds = parsed.last("--time", b"10")
    if not seconds.isdigit():
        raise UsageError(f"--time '{printable(seconds)}': a number of seconds")
    return int(seconds)


def stop_signal(container: Container) -> int:
    """What asks its first program to end."""
    return signal_number(str(container.record.get("stop_signal", ""))) or SIGTERM


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
