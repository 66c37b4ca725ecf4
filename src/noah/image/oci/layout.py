"""Images in files: directories and archives in the OCI's layout (skopeo, umoci), and what `docker save` writes."""

from __future__ import annotations

import io
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, cast

from noah.image.errors import ImageError, NotFoundError, describe
from noah.image.oci.manifest import (
    REF_NAME,
    Descriptor,
    Manifest,
    checked,
    choose,
    digest_of,
    items,
    items_of,
    load,
    resolve,
)
from noah.image.oci.reference import parse
from noah.image.oci.source import Hashed, Open
from noah.image.streams import Slice, decompressed

if TYPE_CHECKING:
    from noah.image.store import Store

_SMALL: Final = 16 << 20  # bytes of what is read into memory
_CHUNK: Final = 1 << 20
IMAGE_NAME: Final = "io.containerd.image.name"
_LINKS: Final = 8
_STRANGE: Final = re.compile(r"[^A-Za-z0-9._-]+")


class Tree(Protocol):
    """Files by their names."""

    def open(self, name: str) -> BinaryIO:
        """NotFoundError, ImageError."""

    def size(self, name: str) -> int: ...


class DirectoryTree:
    """Those of a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, name: str) -> BinaryIO:
        try:
            return (self._path / name).open("rb")
        except FileNotFoundError:
            raise NotFoundError(f"{self._path}: {name} is missing") from None
        except OSError as error:
            raise ImageError(f"{self._path / name}: {describe(error)}") from None

    def size(self, name: str) -> int:
        return (self._path / name).stat().st_size


class ArchiveTree:
    """Those of a tar archive, also of a compressed one."""

    def __init__(self, path: Path, store: Store) -> None:
        self._path = path
        self._file = self._plain(path, store)
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            with tarfile.open(fileobj=self._file, mode="r:", errors="surrogateescape") as tar:
                for member in tar:
                    self._members[normpath(member.name).lstrip("/")] = member
        except tarfile.TarError as error:
            raise ImageError(f"{path}: not an archive of an image: {error}") from None

    def __del__(self) -> None:
        if file := getattr(self, "_file", None):
            file.close()

    def _plain(self, path: Path, store: Store) -> BinaryIO:
        """The archive without its compression, so that one can go to and fro in it."""
        with path.open("rb") as raw, decompressed(raw, str(path)) as content:
            if not isinstance(content, io.BufferedReader):
                plain = cast("BinaryIO", tempfile.TemporaryFile(dir=store.cache))  # noqa: SIM115
                while data := content.read(_CHUNK):
                    plain.write(data)
                plain.seek(0)
                return plain
        return path.open("rb")

    def open(self, name: str) -> BinaryIO:
        member = self._find(name)
        return cast("BinaryIO", Slice(self._file, member.offset_data, member.size))

    def size(self, name: str) -> int:
        return self._find(name).size

    def _find(self, name: str) -> tarfile.TarInfo:
        for _ in range(_LINKS):
            member = self._members.get(normpath(name))
            if member is None:
                break
            if member.isreg():
                return member
            if not member.issym():  # docker(1) has put links to layers that several images have
                break
            name = join(dirname(name), member.linkname)
        raise NotFoundError(f"{self._path}: {name} is missing")


def _read(tree: Tree, name: str) -> bytes:
    with tree.open(name) as file:
        parts = []
        left = _SMALL
        while left > 0 and (data := file.read(left)):
            parts.append(data)
            left -= len(data)
        if left <= 0:
            raise ImageError(f"{name}: too large")
    return b"".join(parts)


def split(text: str) -> tuple[Path, str]:
    """PATH[:MORE]. The path may have colons itself if it is there. ImageError if nothing is."""
    at = len(text)
    while at > 0:
        if Path(text[:at]).exists():
            return Path(text[:at]), text[at + 1 :]
        at = text.rfind(":", 0, at)
    raise NotFoundError(f"{text.partition(':')[0]}: no such file or directory")


def name_of(path: Path, tag: str) -> str:
    """What to call an image that says no more than a tag."""
    stem = _STRANGE.sub("-", path.name.removesuffix(".gz").removesuffix(".tar")).strip("-.") or "image"
    return f"{stem.lower()}:{tag or 'latest'}"


def sources_of(path: Path, store: Store) -> list[OciLayout | DockerArchive]:
    """Each image of an archive, whichever kind that is. ImageError."""
    tree = ArchiveTree(path, store)
    try:
        data = _read(tree, "manifest.json")
    except NotFoundError:
        index = load(_read(tree, "index.json"), str(path))
        entries = [each for each in items(index, "manifests") if isinstance(each, dict)]
        tags = list(dict.fromkeys(_tag(each) for each in entries))
        return [OciLayout(tree, path, tag, "oci-archive") for tag in tags]
    listed = items(load(b'{"images":%s}' % data, str(path)), "images")
    return [DockerArchive(tree, path, number=number) for number in range(len(listed))]


class OciLayout:
    """A source: one image of a layout."""

    def __init__(self, tree: Tree, path: Path, tag: str, kind: str) -> None:
        """tag: "" if there is just one."""
        self._tree = tree
        self._what = str(path)
        self._path = path
        self._tag = tag
        self.names: list[str] = []
        self.origin = {"kind": kind, "source": str(path.absolute())}

    def find(self, arch: str) -> Manifest:
        index = load(_read(self._tree, "index.json"), self._what)
        entries = [each for each in items(index, "manifests") if isinstance(each, dict)]
        tags = sorted({tag for each in entries if (tag := _tag(each))})
        if self._tag:
            entries = [each for each in entries if _tag(each) == self._tag]
            if not entries:
                has = f"; there are: {', '.join(tags)}" if tags else ""
                raise NotFoundError(f"{self._what}: no image is tagged {self._tag}{has}")
        elif len(tags) > 1:
            raise ImageError(f"{self._what}: which image? say {self._what}:{tags[0]} or another of: {', '.join(tags)}")
        if not entries:
            raise ImageError(f"{self._what}: there is no image in it")
        self.names = [self._name_of(entries[0])]
        chosen = choose(entries, arch, self._what)
        return resolve(self._get(chosen), chosen.media_type, arch, self._get, self._what)

    def _name_of(self, entry: dict[str, Any]) -> str:
        whole = str(items_of(entry, "annotations").get(IMAGE_NAME, "")) or _tag(entry)
        if "/" in whole or ":" in whole:
            try:
                return parse(whole).name
            except ImageError:
                whole = _STRANGE.sub("-", whole)
        return name_of(self._path, whole)

    def _get(self, wanted: Descriptor) -> bytes:
        return checked(_read(self._tree, _blob(wanted)), wanted.digest, self._what)

    def layers(self, wanted: list[Descriptor]) -> list[Open]:
        for each in wanted:
            self._tree.open(_blob(each)).close()  # say now what is missing
        return [partial(self._layer, each) for each in wanted]

    @contextmanager
    def _layer(self, wanted: Descriptor) -> Iterator[BinaryIO]:
        with self._tree.open(_blob(wanted)) as file:
            hashed = Hashed(file)
            yield cast("BinaryIO", hashed)
            hashed.check(wanted.digest, self._what)


def _tag(entry: dict[str, Any]) -> str:
    return str(items_of(entry, "annotations").get(REF_NAME, ""))


def _blob(wanted: Descriptor) -> str:
    return f"blobs/sha256/{wanted.sha256}"


class DockerArchive:
    """A source: one image of what `docker save` wrote."""

    def __init__(self, tree: Tree, path: Path, name: str = "", *, number: int = -1) -> None:
        """name: which one, if there is more than one; or its number in the list."""
        self._number = number
        self._tree = tree
        self._what = str(path)
        self._path = path
        self._wanted = parse(name).name if name else ""
        self._files: list[str] = []
        self.names: list[str] = []
        self.origin = {"kind": "docker-archive", "source": str(path.absolute())}

    def find(self, arch: str) -> Manifest:
        data = _read(self._tree, "manifest.json")
        entries = items(load(b'{"images":%s}' % data, self._what), "images")
        images = [(each, _tags(each)) for each in entries if isinstance(each, dict)]
        known = sorted({tag for _, tags in images for tag in tags})
        if self._number >= 0:
            images = images[self._number : self._number + 1]
        elif self._wanted:
            images = [(each, tags) for each, tags in images if self._wanted in tags]
        if len(images) != 1:
            problem = "there is no such image in it" if not images else "which image?"
            raise ImageError(f"{self._what}: {problem}{'; there are: ' if known else ''}{', '.join(known)}")
        image, tags = images[0]
        self.names = [self._wanted] if self._wanted else tags
        if self._number < 0:
            self.names = self.names or [name_of(self._path, "")]
        config_data = _read(self._tree, str(image.get("Config", "")))
        config = load(config_data, self._what)
        self._files = [str(each) for each in items(image, "Layers")]
        manifest = Manifest(digest_of(data), config, digest_of(config_data), [])
        digests = manifest.diff_ids
        if len(digests) != len(self._files):
            raise ImageError(
                f"{self._what}: damaged: {len(self._files)} layers, but {len(digests)} digests of their content"
            )
        layers = [
            Descriptor("", digest, self._tree.size(name)) for digest, name in zip(digests, self._files, strict=True)
        ]
        return manifest._replace(layers=layers)

    def layers(self, wanted: list[Descriptor]) -> list[Open]:
        # Their digests are those of the content, which whoever unpacks them checks.
        return [partial(self._tree.open, name) for name in self._files]


def _tags(entry: dict[str, Any]) -> list[str]:
    found = []
    for each in items(entry, "RepoTags"):
        try:
            found.append(parse(str(each)).name)
        except ImageError:
            continue
    return found
