"""`noah cp`, `noah export`, `noah commit`: files and images out of containers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from noah.cli.command import command, open_containers
from noah.cli.main import complain, say
from noah.cli.parse import Option, Parsed, UsageError
from noah.cli.trouble import FAILED
from noah.util.text import printable

if TYPE_CHECKING:
    from noah.fs.hostfs import HostDirectory
    from noah.image.inside import Inside


@command("CP", Option("--archive", "-a"), least=2, most=2, wanted="name what to copy and where to")
def cp(parsed: Parsed) -> int:
    """`noah cp CONTAINER:PATH PATH`, or the other way."""
    source, target = (_split(word) for word in parsed.words)
    if bool(source[0]) == bool(target[0]):
        raise UsageError("one of both must be CONTAINER:PATH")
    from noah.abi.errno import LinuxError
    from noah.fs.clone import Cloner
    from noah.image.errors import describe
    from noah.image.inside import Inside

    containers = open_containers()
    host = containers.store.host
    container = containers.find(source[0] or target[0])
    own = containers.host(container)
    hosts = (own, host) if source[0] else (host, own)
    inside, outside = containers.inside(container), Inside(host, b"/")
    sides = (inside, outside) if source[0] else (outside, inside)
    cloner = Cloner(*hosts, owners=parsed.has("--archive"))
    try:
        at, name = sides[0].locate(_whole(source))
        into, new = _target(sides[1], _whole(target), name)
        cloner.copy(at.handle.number, name, into.handle.number, new, replace=True)
    except LinuxError as error:
        return complain(f"{printable(parsed.words[0])}: {describe(error)}", FAILED)
    return 0


def _split(word: bytes) -> tuple[str, bytes]:
    """Container and path; "" for a path of the host's."""
    head, colon, path = word.partition(b":")
    if not colon or b"/" in head or not head:
        return "", word
    return printable(head), path


def _whole(place: tuple[str, bytes]) -> bytes:
    name, path = place
    return path if name or path.startswith(b"/") else bytes(Path.cwd()) + b"/" + path


def _target(side: Inside, path: bytes, name: bytes) -> tuple[HostDirectory, bytes]:
    """Into a directory that is there, else under the name given."""
    if side.is_directory(path):
        return side.locate(path.rstrip(b"/") + b"/" + name)
    return side.follow(path)


@command("EXPORT", Option("--output", "-o", metavar="FILE"), least=1, most=1)
def export(parsed: Parsed) -> int:
    """`noah export CONTAINER`: its files as a tar archive."""
    from noah.host.console import is_terminal
    from noah.image.export import Exporter

    containers = open_containers()
    container = containers.find(printable(parsed.words[0]))
    host = containers.host(container)
    if parsed.has("--output"):
        place = Path(parsed.last("--output").decode("utf-8", "surrogateescape"))
        with place.open("wb") as output:
            Exporter(host, output).tree(bytes(container.rootfs))
        return 0
    if is_terminal(1):
        raise UsageError("an archive on a terminal helps nobody: name a file with --output, or redirect")
    Exporter(host, sys.stdout.buffer).tree(bytes(container.rootfs))
    sys.stdout.buffer.flush()
    return 0


@command("COMMIT", least=2, most=2, wanted="name a container, and what to call the image")
def commit(parsed: Parsed) -> int:
    """`noah commit CONTAINER NAME`: an image of its files."""
    containers = open_containers()
    container = containers.find(printable(parsed.words[0]))
    image = containers.commit(container, printable(parsed.words[1]))
    return say(f"sha256:{image.id}\n")
