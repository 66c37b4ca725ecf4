"""Where images and containers are kept: a directory of the user's, safe against kill -9 and a full disk at any moment.

    images/ID/       image.json, rootfs/ and what noah.fs.cow says; ID is the SHA-256 of what the image was made from
    names/NAME       the ID that a name stands for (NAME is quoted as in a URL)
    containers/ID/   see noah.image.container
    cache/           downloads, by their SHA-256; those of layers in blobs/, as long as an image has them
    work/TOKEN/      what is being made: moved to its place by one rename when it is whole
    volumes/NAME/    see noah.image.volumes
    owners/          who owns what in directories of the host that containers are shown (noah.fs.volumes)
    locks/           lock files; the lock of `store` is held while names and images change

A process holds a lock on the directory that it works in. Whoever starts to work removes what the dead have left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote

from noah.abi.errno import EACCES, EAGAIN, LinuxError
from noah.abi.fcntl import (
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    DT_REG,
    LOCK_EX,
    LOCK_NB,
    LOCK_SH,
    O_CREAT,
    O_DIRECTORY,
    O_RDONLY,
    O_RDWR,
    W_OK,
    X_OK,
)
from noah.fs.inodelist import InodeList, list_inodes
from noah.fs.tree import remove_tree, walk
from noah.image.errors import ImageError, NotFoundError, describe

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.host.values import Stat

Record = dict[str, Any]
"""What image.json holds: "architecture", "created", "config" (as OCI's), "origin", "size"."""

SHORT: Final = 12  # letters of an id as docker(1) shows it
BLOBS: Final = "blobs"
DOWNLOADS: Final = "downloads"
"""The lock that is shared by all who use what was fetched."""
_SHORTER: Final = ("", "docker.io/library/", "docker.io/")


class Image(NamedTuple):
    id: str
    names: list[str]
    record: Record
    directory: Path

    @property
    def rootfs(self) -> Path:
        return self.directory / "rootfs"


def data_directory(environ: Mapping[bytes, bytes], system: str) -> Path:
    """$NOAH_DATA, else what the XDG Base Directory Specification says, else where macOS keeps such things.

    system: utsname's.
    """

    def value(name: bytes) -> str:
        return environ.get(name, b"").decode("utf-8", "surrogateescape")

    if own := value(b"NOAH_DATA"):
        return Path(own).absolute()
    if (base := value(b"XDG_DATA_HOME")).startswith("/"):
        return Path(base) / "noah"
    home = value(b"HOME")
    if not home.startswith("/"):
        raise ImageError("there is no place for images: set HOME or NOAH_DATA")
    if system == "Darwin":
        return Path(home) / "Library/Application Support/noah"
    return Path(home) / ".local/share/noah"


def open_store(host: Host) -> Store:
    """The user's store, made if there is none. ImageError."""
    system = host.procs.uname().sysname.decode("ascii", "replace")
    return Store(host, data_directory(host.procs.environ(), system))


def full_name(name: str) -> str:
    """A name as it is kept: with a tag. ImageError for one that cannot be an image's."""
    repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "latest")
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@+")
    if not repository or not tag or not set(name) <= allowed or name.startswith(("-", "/", ".")):
        raise ImageError(f"{name!r} is not a name for an image")
    return f"{repository}:{tag}"


def make_id(record: Record) -> str:
    """What an image is called by: the digest of its record, but for when it was made and how large it became."""
    import hashlib  # which takes long to load, and few commands need

    kept = {key: value for key, value in record.items() if key not in ("created", "size")}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """See the module."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        self.directory = directory
        self.cache = directory / "cache"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_owner()
            for name in ("images", "names", "containers", "cache", "work", "locks", "owners", "volumes"):
                (directory / name).mkdir(exist_ok=True)
        except OSError as error:
            raise ImageError(f"the store for images cannot be made: {describe(error)}") from None

    def _check_owner(self) -> None:
        """ImageError for a store that another user has made for himself, as root does by `sudo noah`."""
        try:
            self.host.files.faccessat(AT_FDCWD, bytes(self.directory), W_OK | X_OK)
        except LinuxError as error:
            if error.errno != EACCES:
                return  # what is done next says more
            owner, user = self.directory.stat().st_uid, self.host.procs.getresuid()[1]
            raise ImageError(
                f"the store {self.directory} belongs to user {owner}: make it yours ('sudo chown -R {user} "
                f"{self.directory}'), or name another place by NOAH_DATA"
            ) from None

    # Locks

    @contextmanager
    def lock(self, name: str = "store", *, wait: bool = True, shared: bool = False) -> Iterator[bool]:
        """Hold a lock among all processes. Gives False if it is held and `wait` is not wanted."""
        files = self.host.files
        path = bytes(self.directory / "locks" / quote(name, safe=""))
        fd = files.openat(AT_FDCWD, path, O_RDWR | O_CREAT, 0o600)
        try:
            yield self._flock(fd, wait=wait, kind=LOCK_SH if shared else LOCK_EX)
        finally:
            files.close_quietly(fd)

    def _flock(self, fd: int, *, wait: bool, kind: int = LOCK_EX) -> bool:
        try:
            self.host.files.flock(fd, kind if wait else kind | LOCK_NB)
        except LinuxError as error:
            if error.errno == EAGAIN:
                return False
            raise
        return True

    # What is being made

    @contextmanager
    def work(self) -> Iterator[Path]:
        """An empty directory to make something in; what is left of it is removed in the end."""
        directory = self.directory / "work" / self.host.rng.getrandom(8).hex()
        with self.lock("work"):  # nobody sweeps between the making of a directory and its locking
            self._sweep()
            directory.mkdir()
            fd = self._open(directory)
            self._flock(fd, wait=True)
        try:
            yield directory
        finally:
            remove_tree(self.host, bytes(directory))
            self.host.files.close_quietly(fd)

    def _open(self, directory: Path) -> int:
        return self.host.files.openat(AT_FDCWD, bytes(directory), O_RDONLY | O_DIRECTORY)

    def _sweep(self) -> None:
        """Remove what processes that are dead have left."""
        for directory in (self.directory / "work").iterdir():
            try:
                fd = self._open(directory)
            except LinuxError:
                continue  # it has just gone
            try:
                if self._flock(fd, wait=False):
                    remove_tree(self.host, bytes(directory))
            finally:
                self.host.files.close_quietly(fd)

    def sync(self) -> None:
        """What was written is on the disk when this returns."""
        fd = self._open(self.directory)
        try:
            self.host.files.syncfs(fd)
        finally:
            self.host.files.close_quietly(fd)

    def write(self, path: Path, text: str) -> None:
        """Replace a small file as a whole."""
        with self.work() as work:
            fresh = work / "file"
            fresh.write_text(text, "utf-8")
            fresh.replace(path)

    # Images

    def add(self, work: Path, record: Record, names: list[str], id: str = "") -> Image:
        """Take work/rootfs as an image with these names; one that is there already stays as it is."""
        id = id or make_id(record)
        (work / "inodes").write_bytes(list_inodes(self.host, bytes(work / "rootfs")))
        (work / "image.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", "utf-8")
        self.sync()
        place = self.directory / "images" / id
        with self.lock():
            if not place.exists():
                work.rename(place)
            for name in names:
                self._name(name, id)
        return self.find(id)

    def list_inodes(self, image: Image) -> None:
        """Note which inodes are the image's, as its containers need to know (noah.fs.cow), if that is not done."""
        place = image.directory / "inodes"
        try:
            InodeList(self.host, bytes(place))
        except LinuxError:
            with self.work() as work:
                (work / "inodes").write_bytes(list_inodes(self.host, bytes(image.rootfs)))
                (work / "inodes").replace(place)

    def image_directory(self, id: str) -> Path:
        return self.directory / "images" / id

    def tag(self, id: str, name: str) -> None:
        with self.lock():
            self._name(full_name(name), id)

    def _name(self, name: str, id: str) -> None:
        self.write(self.directory / "names" / quote(full_name(name), safe=""), id + "\n")

    def names(self) -> dict[str, str]:
        """Ids by name."""
        found = {}
        for path in sorted((self.directory / "names").iterdir()):
            found[unquote(path.name)] = path.read_text("utf-8").strip()
        return found

    def images(self) -> list[Image]:
        """All of them, newest first."""
        names = self.names()
        found = []
        for directory in (self.directory / "images").iterdir():
            found.append(self._image(directory, [name for name, id in names.items() if id == directory.name]))
        return sorted(found, key=lambda image: str(image.record.get("created", "")), reverse=True)

    def _image(self, directory: Path, names: list[str]) -> Image:
        try:
            record = json.loads((directory / "image.json").read_text("utf-8"))
        except (OSError, ValueError):
            record = {}
        return Image(directory.name, names, record, directory)

    def find(self, name: str) -> Image:
        """By name, id or the beginning of an id. NotFoundError."""
        names = self.names()
        id = names.get(self._known(name, names), "")
        if not id:
            wanted = name.removeprefix("sha256:")
            ids = [path.name for path in (self.directory / "images").iterdir()]
            found = [id for id in ids if wanted and id.startswith(wanted)]
            if len(found) > 1:
                raise ImageError(f"{name}: more than one image has an id that begins like this")
            id = found[0] if found else ""
        directory = self.directory / "images" / id
        if not id or not directory.exists():
            raise NotFoundError(f"no image is called {name}; see 'noah images', or get it with 'noah pull'")
        return self._image(directory, [other for other, target in names.items() if target == id])

    def _known(self, name: str, names: Mapping[str, str]) -> str:
        """The name in full; "" if no image has it. Those of docker's own registry go by short names, too."""
        try:
            whole = full_name(name)
        except ImageError:
            return ""
        return next((each for prefix in _SHORTER if (each := prefix + whole) in names), "")

    def remove(self, name: str, *, force: bool = False) -> list[str]:
        """Take a name away, and the image with its last one. Returns what was done, a line each. ImageError."""
        with self.lock():
            image = self.find(name)
            users = self.containers_of(image.id)
            known = self._known(name, self.names())
            by_name = bool(known)
            if not by_name and len(image.names) > 1 and not force:
                raise ImageError(f"{name} has several names ({', '.join(image.names)}): name one, or say --force")
            gone = [known] if by_name else image.names
            last = len(gone) == len(image.names)
            if last and users and not (force and by_name):
                raise ImageError(f"{name} is in use by container {users[0]}: remove that first ('noah rm')")
            done = []
            for each in gone:
                (self.directory / "names" / quote(each, safe="")).unlink(missing_ok=True)
                done.append(f"Untagged: {each}")
            if last and not users:
                with self.work() as work:
                    image.directory.rename(work / "image")
                done.append(f"Deleted: sha256:{image.id}")
        self._forget_blobs()
        return done

    def _forget_blobs(self) -> None:
        """Remove what was fetched for images that are gone, unless a pull is under way: then the next one does it."""
        with self.lock(BLOBS, wait=False) as free:
            if free:
                digests = {digest for image in self.images() for digest in image.record.get("layers", ())}
                for path in (self.cache / BLOBS).glob("*"):
                    if f"sha256:{path.name}" not in digests:
                        path.unlink(missing_ok=True)

    def forget_downloads(self) -> int:
        """Remove what was fetched and no image needs, unless a pull is under way; the bytes that this gives."""
        self._forget_blobs()
        freed = 0
        with self.lock(DOWNLOADS, wait=False) as free:
            for path in (self.cache / "sha256", self.cache / "partial"):
                if free and path.exists():
                    freed += own_size(self.host, path)
                    remove_tree(self.host, bytes(path))
        return freed

    def containers_of(self, id: str) -> list[str]:
        """Names of the containers made from an image."""
        users = []
        for path in sorted((self.directory / "containers").iterdir()):
            try:
                record = json.loads((path / "container.json").read_text("utf-8"))
            except (OSError, ValueError):
                continue
            if record.get("image") == id:
                users.append(str(record.get("name", path.name)))
        return users


def own_size(host: Host, directory: Path) -> int:
    """Bytes on the disk of the files in a tree that have no name outside, as far as one name tells. LinuxError."""
    return sum(512 * stat.blocks for stat in _files_in(host, directory) if stat.nlink == 1)


def size_of(host: Host, directory: Path) -> int:
    """Bytes of the files in a tree. LinuxError."""
    return sum(stat.size for stat in _files_in(host, directory))


def _files_in(host: Host, directory: Path) -> Iterator[Stat]:
    for fd, name, _, kind in walk(host, bytes(directory)):
        if kind == DT_REG:
            yield host.files.fstatat(fd, name, AT_SYMLINK_NOFOLLOW)
