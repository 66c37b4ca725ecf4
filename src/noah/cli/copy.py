"""`noah cp`, `noah export`, `noah commit`: files and images out of containers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from noah.cli.main import complain, say
from noah.cli.parse import Option, UsageError, parse_all
from noah.cli.run import HELP
from noah.cli.trouble import FAILED, told
from noah.util.text import printable

if TYPE_CHECKING:
    from noah.fs.hostfs import HostDirectory
    from noah.image.container import Containers
    from noah.image.inside import Inside

_CP: Final = (HELP, Option("--archive", "-a"))
_EXPORT: Final = (HELP, Option("--output", "-o", metavar="FILE"))
_COMMIT: Final = (HELP,)


def _containers() -> Containers:
    from noah.host.select import make_host
    from noah.image.container import Containers
    from noah.image.store import open_store

    return Containers(open_store(make_host()))


@told
def cp(words: list[bytes]) -> int:
    """`noah cp CONTAINER:PATH PATH`, or the other way."""
    parsed = parse_all(words, _CP)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.CP)
    if len(parsed.words) != 2:
        raise UsageError("name what to copy and where to")
    source, target = (_split(word) for word in parsed.words)
    if bool(source[0]) == bool(target[0]):
        raise UsageError("one of both must be CONTAINER:PATH")
    from noah.abi.errno import LinuxError
    from noah.fs.clone import Cloner
    from noah.image.errors import describe
    from noah.image.inside import Inside

    containers = _containers()
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


@told
def export(words: list[bytes]) -> int:
    """`noah export CONTAINER`: its files as a tar archive."""
    parsed = parse_all(words, _EXPORT)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.EXPORT)
    if len(parsed.words) != 1:
        raise UsageError("name one container")
    from noah.host.console import is_terminal
    from noah.image.export import Exporter

    containers = _containers()
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


@told
def commit(words: list[bytes]) -> int:
    """`noah commit CONTAINER NAME`: an image of its files."""
    parsed = parse_all(words, _COMMIT)
    if parsed.has("--help"):
        from noah.cli import help

        return say(help.COMMIT)
    if len(parsed.words) != 2:
        raise UsageError("name a container, and what to call the image")
    containers = _containers()
    container = containers.find(printable(parsed.words[0]))
    image = containers.commit(container, printable(parsed.words[1]))
    return say(f"sha256:{image.id}\n")
