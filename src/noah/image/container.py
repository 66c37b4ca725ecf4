"""Containers: what was run of an image, and is kept until it is removed.

    containers/ID/container.json   what was asked for; never changes
                  state.json       the process, or how it ended
                  rootfs/          its files: a copy of the image's (noah.fs.cow has what else belongs to that)
                  log              what a container in the background has written
                  box              which processes it has (noah.kernel.box), where the host has no /dev/shm for it
                  lock             held by these processes: a container runs while it is

A state that no process stands for is that of a container that was killed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from noah.abi.errno import EAGAIN, ENOENT, LinuxError
from noah.abi.fcntl import AT_FDCWD, LOCK_EX, LOCK_NB, O_CREAT, O_RDWR
from noah.host.console import utc
from noah.image.errors import ImageError, NotFoundError, describe
from noah.image.store import SHORT, full_name, size_of

# What looks into containers is loaded when that is done: most commands do not.
if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.image.inside import Inside
    from noah.image.store import Image, Record, Store

_KILLED: Final = 137  # 128 + SIGKILL
_FIRST: Final = ("able", "bold", "calm", "early", "fair", "glad", "keen", "light", "merry", "neat", "plain", "quick")
_LAST: Final = (
    "ant",
    "bee",
    "crow",
    "deer",
    "elk",
    "fox",
    "goat",
    "hare",
    "ibis",
    "jay",
    "kite",
    "lark",
    "mole",
    "owl",
)
_LEAST_NS: Final = 500_000
_MOST_NS: Final = 20_000_000
_MOMENTS_NS: Final = 2_000_000_000
_MEMORY: Final = Path("/dev/shm")
NAME: Final = re.compile("[a-zA-Z0-9][a-zA-Z0-9_.-]*")
"""What containers and volumes may be called: docker's."""
_EMPTY: Final[dict[str, Any]] = {
    "name": "",
    "image": "",
    "image_name": "",
    "command": [],
    "environ": {},
    "cwd": "/",
    "user": "0",
    "volumes": [],
    "created": "",
    "engine": "auto",
    "host": "auto",
}
"""What a record holds at least."""
_HOST_FILES: Final = ("/etc/resolv.conf", "/etc/hosts")


class State(NamedTuple):
    """status: "created", "running", "exited". pid: the host's, of the first program."""

    status: str
    pid: int = 0
    exit_code: int = 0
    since: str = ""


class Container(NamedTuple):
    id: str
    record: dict[str, Any]
    directory: Path

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def rootfs(self) -> Path:
        return self.directory / "rootfs"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def boxes(self) -> tuple[Path, Path]:
        """Where its box may be."""
        return _MEMORY / f"noah-box-{self.id}", self.directory / "box"


class Containers:
    """Those of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._directory = store.directory / "containers"

    def create(self, image: Image, record: dict[str, Any], name: str = "") -> Container:
        """A new one, which does not run yet. ImageError for a name that is taken."""
        id = self.store.host.rng.getrandom(32).hex()
        with self.store.work() as work:
            self._copy(image, work, [record["cwd"], *record.get("directories", ())])
            with self.store.lock():  # nobody removes the image meanwhile, nobody takes the name
                self.store.find(image.id)
                taken = {container.name for container in self.all()}
                if name:
                    self._check_name(name, taken)
                record = record | {"name": name or self._invent(taken), "image": image.id, "created": utc()}
                (work / "container.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
                work.rename(self._directory / id)
        return Container(id, record, self._directory / id)

    def _copy(self, image: Image, work: Path, directories: list[str]) -> None:
        """Give a container the image's files; it gets them when it asks for them. directories: are made."""
        from noah.fs.cow import CowFiles
        from noah.image.inside import Inside
        from noah.image.owners import host_of_image, table_of

        host = self.store.host
        owners = table_of(host, image.directory)
        host_of_image(self.store, image)
        files = CowFiles(host, bytes(image.directory), bytes(work), owners=bool(owners))
        files.begin()
        inside = Inside(files.host_with(), bytes(work / "rootfs"))
        for path in directories:
            try:
                inside.make_directories(path.encode("utf-8", "surrogateescape"))
            except LinuxError as error:
                raise ImageError(f"directory {path}: {describe(error)}") from None

    def host(self, container: Container) -> Host:
        """The host, its files as they are seen in a container. ImageError, LinuxError."""
        from noah.image.owners import host_of_container

        return host_of_container(self.store, container)

    def _check_name(self, name: str, taken: set[str]) -> None:
        if not NAME.fullmatch(name):
            raise ImageError(f"'{name}' is no name for a container: letters, digits, and behind the first also _ . -")
        if name in taken:
            raise ImageError(f"the name {name} is in use by another container; 'noah rm {name}' removes that")

    def _invent(self, taken: set[str]) -> str:
        while True:
            one, two, three = self.store.host.rng.getrandom(3)
            name = f"{_FIRST[one % len(_FIRST)]}_{_LAST[two % len(_LAST)]}"
            if name in taken:
                name += str(three)
            if name not in taken:
                return name

    def all(self) -> list[Container]:
        """Newest first."""
        found = []
        for directory in self._directory.iterdir():
            record = self._record(directory)
            if record or directory.exists():  # else it has just been removed
                found.append(Container(directory.name, _whole(directory, record), directory))
        return sorted(found, key=lambda container: str(container.record.get("created")), reverse=True)

    def _record(self, directory: Path) -> dict[str, Any]:
        try:
            record = json.loads((directory / "container.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def find(self, name: str) -> Container:
        """By name, id or the beginning of an id. NotFoundError."""
        everything = self.all()
        found = [container for container in everything if container.name == name]
        found = found or [container for container in everything if name and container.id.startswith(name)]
        if len(found) > 1:
            raise ImageError(f"{name}: more than one container has an id that begins like this")
        if not found:
            raise NotFoundError(f"no container is called {name}; see 'noah ps --all'")
        return found[0]

    def is_of(self, container: Container, name: str) -> bool:
        """Whether it was made of the image with this name or id."""
        try:
            return self.store.find(name).id == str(container.record["image"])
        except NotFoundError:
            return False

    def state(self, container: Container) -> State:
        """How it is now."""
        said = self._said(container)
        if not said:
            return State("created", since=str(container.record.get("created", "")))
        state = State(said["status"], said.get("pid", 0), said.get("exit_code", 0), said.get("since", ""))
        if state.status == "running":
            try:
                with self.lock(container) as free:
                    if not free:
                        return state
            except LinuxError as error:
                if error.errno != ENOENT:  # it has just been removed
                    raise
            return State("exited", 0, _KILLED, state.since)
        return state

    def _said(self, container: Container) -> dict[str, Any]:
        try:
            found = json.loads((container.directory / "state.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and found.get("status") in ("running", "exited") else {}

    def note(self, container: Container, state: State) -> None:
        """Keep a state; for the container's process alone. OSError for a full disk."""
        fresh = container.directory / "state.json.new"
        fresh.write_text(json.dumps(state._asdict()) + "\n", "utf-8")
        fresh.replace(container.directory / "state.json")

    @contextmanager
    def lock(self, container: Container) -> Iterator[bool]:
        """Be the container's process, as long as this block lasts. False: it runs already."""
        files = self.store.host.files
        fd = files.openat(AT_FDCWD, bytes(container.directory / "lock"), O_RDWR | O_CREAT, 0o600)
        try:
            try:
                files.flock(fd, LOCK_EX | LOCK_NB)
                free = True
            except LinuxError as error:
                if error.errno != EAGAIN:
                    raise
                free = False
            yield free
        finally:
            files.close_quietly(fd)

    def settle(self, container: Container) -> None:
        """One that has noted its end may hold its lock a moment longer: wait for that."""
        for pause in pauses(_MOMENTS_NS):
            with self.lock(container) as free:
                if free or self._said(container).get("status") == "running":
                    return
            self.store.host.poller.poll([], pause, signals=False)

    def remove(self, container: Container) -> None:
        """Remove one that does not run; nothing happens if another process has just done so. ImageError."""
        try:
            self.settle(container)
            with self.lock(container) as free:
                if not free:
                    text = f"container {container.name} is running: stop it first ('noah stop'), or say --force"
                    raise ImageError(text)
                self.forget_box(container)
                with self.store.work() as work:
                    container.directory.rename(work / "container")
        except (LinuxError, OSError):
            if container.directory.exists():
                raise

    def rename(self, container: Container, name: str) -> None:
        """Call it otherwise. ImageError for a name that is taken."""
        with self.store.lock():
            self._check_name(name, {other.name for other in self.all()})
            record = container.record | {"name": name}
            self.store.write(container.directory / "container.json", json.dumps(record, indent=1) + "\n")

    def forget_box(self, container: Container) -> None:
        """No process of it runs any more."""
        for path in container.boxes:
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue  # not ours

    def tidy(self, container: Container) -> None:
        """Before it runs: remove what those that were killed have left."""
        for path in (container.directory / "copies").iterdir():
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)

    def commit(self, container: Container, name: str) -> Image:
        """An image of the files as they are now, to be run as the container was. ImageError."""
        from noah.fs.clone import Cloner
        from noah.fs.cow import CowFiles
        from noah.image.owners import host_of

        record = container.record
        full_name(name)
        with self.store.work() as work:
            source, target = self.host(container), host_of(self.store.host, work)
            lend = source.files.lend if isinstance(source.files, CowFiles) else None
            Cloner(source, target, lend=lend).tree(bytes(container.rootfs), bytes(work / "rootfs"))
            try:
                base = self.store.find(record["image"]).record
            except NotFoundError:
                base = {}
            config = dict(base.get("config") or {}) | {
                "Env": [f"{key}={value}" for key, value in record["environ"].items()],
                "WorkingDir": record["cwd"],
                "User": record["user"],
            }
            made: Record = {
                "architecture": base.get("architecture", ""),
                "os": "linux",
                "created": utc(),
                "config": config,
                "origin": {
                    "kind": "commit",
                    "container": container.id,
                    "token": self.store.host.rng.getrandom(16).hex(),
                },
                "size": size_of(self.store.host, work / "rootfs"),
            }
            return self.store.add(work, made, [name])

    def inside(self, container: Container) -> Inside:
        """To look at single files of it."""
        from noah.image.inside import Inside

        return Inside(self.host(container), bytes(container.rootfs))


def _whole(directory: Path, record: dict[str, Any]) -> dict[str, Any]:
    """A record that can be shown, whatever is left of one, or another version of Noah has written."""
    if all(isinstance(record.get(key), type(value)) for key, value in _EMPTY.items()):
        return record
    kept = {key: record[key] for key, value in _EMPTY.items() if isinstance(record.get(key), type(value))}
    return _EMPTY | {"name": directory.name[:SHORT]} | kept | {"unusable": True}


def pauses(limit_ns: int | None = None) -> Iterator[int]:
    """How long to wait between looks at what cannot be waited for; mostly it comes within few ms. limit_ns: of all."""
    pause = _LEAST_NS
    while limit_ns is None or limit_ns > 0:
        if limit_ns is not None:
            pause = min(pause, limit_ns)
            limit_ns -= pause
        yield pause
        pause = min(2 * pause, _MOST_NS)


def refresh(inside: Inside, hostname: str = "", hosts: Sequence[str] = ()) -> None:
    """Give a container the host's names of this moment: resolv.conf(5), hosts(5). hostname: one of its own, which
    leads to itself, and stands in hostname(5). hosts: further lines."""
    own = {"/etc/hostname": f"{hostname}\n"} if hostname else {}
    lines = [*hosts, *([f"127.0.1.1\t{hostname}"] if hostname else ())]
    own["/etc/hosts"] = "".join(f"{line}\n" for line in lines)
    for name in dict.fromkeys((*_HOST_FILES, *own)):
        try:
            content = Path(name).read_bytes() if name in _HOST_FILES else b""
            content += own.get(name, "").encode()
            path = name.encode()
            if inside.read(path) != content and not inside.is_link(path):
                inside.write(path, content)
        except (OSError, LinuxError):
            continue  # the host has none, or the container has no /etc


def short(container: Container) -> str:
    return container.id[:SHORT]
