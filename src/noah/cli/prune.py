"""`noah container prune`, `noah image prune`, `noah volume prune`, `noah system prune`: remove what nobody uses."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from noah.cli.command import command, open_containers
from noah.cli.main import say
from noah.cli.parse import Option, Parsed
from noah.cli.progress import size

if TYPE_CHECKING:
    from noah.image.container import Containers

_FORCE: Final = Option("--force", "-f")
_ALL: Final = Option("--all", "-a")
_CONTAINERS: Final = "all containers that do not run"
_DANGLING: Final = "all images that have no name and no container"
_UNUSED: Final = "all images that have no container"
_VOLUMES: Final = "all volumes that no container has"
_DOWNLOADS: Final = "all downloads that are kept"


@command("CONTAINER_PRUNE", _FORCE, most=0)
def prune_containers(parsed: Parsed) -> int:
    """`noah container prune`."""
    if not _agreed(parsed, _CONTAINERS):
        return 0
    return _reclaimed(_containers(open_containers()))


@command("IMAGE_PRUNE", _FORCE, _ALL, most=0)
def prune_images(parsed: Parsed) -> int:
    """`noah image prune`."""
    unused = parsed.has("--all")
    if not _agreed(parsed, _UNUSED if unused else _DANGLING):
        return 0
    return _reclaimed(_images(open_containers(), unused=unused))


@command("SYSTEM_PRUNE", _FORCE, _ALL, most=0)
def prune_system(parsed: Parsed) -> int:
    """`noah system prune`."""
    unused = parsed.has("--all")
    if not _agreed(parsed, _CONTAINERS, _UNUSED if unused else _DANGLING, _DOWNLOADS):
        return 0
    containers = open_containers()
    freed = _containers(containers) + _images(containers, unused=unused)
    return _reclaimed(freed + containers.store.forget_downloads())


@command("VOLUME_PRUNE", _FORCE, _ALL, most=0)
def prune_volumes(parsed: Parsed) -> int:
    """`noah volume prune`. All of them have names, so --all changes nothing."""
    from noah.image.volumes import NamedVolumes

    if _agreed(parsed, _VOLUMES):
        volumes = NamedVolumes(open_containers())
        for name in volumes.names():
            if not volumes.users(name):
                volumes.remove(name)
                say(f"{name}\n")
    return 0


def _agreed(parsed: Parsed, *what: str) -> bool:
    """Whether the user wants that, as docker(1) asks."""
    if parsed.has("--force"):
        return True
    say(f"This will remove {'; '.join(what)}.\nAre you sure you want to continue? [y/N] ")
    return (sys.stdin.readline() if sys.stdin is not None else "").strip().lower() in ("y", "yes")


def _containers(containers: Containers) -> int:
    """Remove those that do not run; the bytes that were theirs alone."""
    from noah.image.errors import ImageError
    from noah.image.store import own_size

    freed = 0
    gone = []
    for container in containers.all():
        if containers.state(container).status == "running":
            continue
        used = own_size(containers.store.host, container.directory)
        try:
            containers.remove(container)
        except ImageError:
            continue  # it was just started
        gone.append(container.id)
        freed += used
    _tell("Deleted Containers", gone)
    return freed


def _images(containers: Containers, *, unused: bool) -> int:
    """Remove those without a name, or all that are not used; the bytes that were theirs alone."""
    from noah.image.errors import ImageError
    from noah.image.store import own_size

    store = containers.store
    freed = 0
    gone: list[str] = []
    for image in store.images():
        if (image.names and not unused) or store.containers_of(image.id):
            continue
        used = own_size(store.host, image.directory)
        try:
            for name in image.names or [image.id]:
                gone += store.remove(name)
        except ImageError:
            continue  # somebody has just made a container of it
        freed += used
    _tell("Deleted Images", gone)
    return freed


def _tell(heading: str, lines: list[str]) -> None:
    if lines:
        say("".join(f"{line}\n" for line in [f"{heading}:", *lines, ""]))


def _reclaimed(freed: int) -> int:
    return say(f"Total reclaimed space: {size(freed)}\n")
