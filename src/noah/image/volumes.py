"""Named volumes: directories that outlive the containers that are shown them (docker-volume-create(1)).

    volumes/NAME/    its files; noah.fs.volumes has their owners

A new one begins with what the image of its first container has at that place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.errno import LinuxError
from noah.abi.fcntl import AT_FDCWD
from noah.abi.stat import S_IFDIR, S_IFMT
from noah.image.container import NAME
from noah.image.errors import ImageError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from noah.host.api import Host
    from noah.image.container import Container, Containers


def is_name(source: str) -> bool:
    """Whether that is what a volume may be called: every path of the host has a slash, or begins with a dot."""
    return NAME.fullmatch(source) is not None


class NamedVolumes:
    """Those of a store."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._store = containers.store
        self._directory = self._store.directory / "volumes"

    def path(self, name: str) -> Path:
        return self._directory / name

    def names(self) -> list[str]:
        return sorted(path.name for path in self._directory.iterdir())

    def find(self, name: str) -> Path:
        """NotFoundError."""
        path = self.path(name)
        if not is_name(name) or not path.is_dir():
            raise NotFoundError(f"no volume is called {name}; see 'noah volume ls'")
        return path

    def create(self, name: str) -> None:
        """Make an empty one; nothing happens to one that is there. ImageError."""
        if not is_name(name):
            raise ImageError(f"'{name}' is no name for a volume: letters, digits, and behind the first also _ . -")
        self.path(name).mkdir(mode=0o755, exist_ok=True)

    def place(self, source: str) -> str:
        """What of the host stands for a container's volume: a named one, or the path itself."""
        return str(self.path(source)) if is_name(source) else source

    def fill_all(self, container: Container) -> None:
        """See fill()."""
        for source, target, _ in container.record["volumes"]:
            if is_name(source):
                self.fill(source, container, target.encode("utf-8", "surrogateescape"))

    def fill(self, name: str, container: Container, target: bytes) -> None:
        """Before a container is shown one at `target`: if there is nothing in it, it gets what the container has there.
        ImageError, LinuxError."""
        path = self.path(name)
        if path.is_dir() and any(path.iterdir()):
            return
        self.create(name)
        inside = self._containers.inside(container)
        stat = inside.stat(target)
        if stat is None or stat.mode & S_IFMT != S_IFDIR:
            return
        from noah.fs.clone import Cloner

        with self._store.work() as work:
            directory, last = inside.locate(target)
            cloner = Cloner(self._containers.host(container), self._host(container, work))
            cloner.copy(directory.handle.number, last, AT_FDCWD, bytes(work / "data"))
            try:
                self._store.host.files.renameat2(AT_FDCWD, bytes(work / "data"), AT_FDCWD, bytes(path))
            except LinuxError:
                if not any(path.iterdir()):  # else another container was first
                    raise

    def _host(self, container: Container, place: Path) -> Host:
        """The host, its files as containers see those of volumes."""
        from noah.fs.volumes import Volumes
        from noah.image.owners import table_of

        host = self._store.host
        if not table_of(host, container.directory):
            return host
        return Volumes(host, bytes(self._store.directory / "owners")).host_for(bytes(place))

    def users(self, name: str) -> list[str]:
        """The names of the containers that are shown it."""
        found = (
            container.name
            for container in self._containers.all()
            if any(source == name for source, *_ in container.record["volumes"])
        )
        return sorted(found)

    def remove(self, name: str) -> None:
        """With all that is in it. NotFoundError; ImageError while a container has it."""
        path = self.find(name)
        with self._store.work() as work, self._store.lock():
            users = self.users(name)
            if users:
                raise ImageError(f"volume {name} is in use by {', '.join(users)}: remove that first ('noah rm')")
            path.rename(work / "volume")
