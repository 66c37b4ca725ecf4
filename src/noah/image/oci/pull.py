"""From a source to the store: the layers, one over the other."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from noah.abi.errno import LinuxError
from noah.host.console import utc
from noah.image.errors import ImageError, NotFoundError, describe
from noah.image.oci.manifest import items, items_of
from noah.image.oci.source import Hashed
from noah.image.owners import host_of
from noah.image.store import BLOBS, DOWNLOADS, SHORT, Image, Record, full_name, size_of
from noah.image.streams import decompressed
from noah.image.unpack import Unpacker

if TYPE_CHECKING:
    from noah.image.oci.manifest import Descriptor, Manifest
    from noah.image.oci.source import Open, Source
    from noah.image.progress import Progress
    from noah.image.store import Store

_BLOCK: Final = 1 << 18
_LISTS: Final = ("Cmd", "Entrypoint", "Env")
_TEXTS: Final = ("StopSignal", "User", "WorkingDir")
_OBJECTS: Final = ("ExposedPorts", "Labels", "Volumes")


class Pull:
    """One image."""

    def __init__(self, store: Store, source: Source, progress: Progress) -> None:
        self._store = store
        self._source = source
        self._progress = progress

    def pull(self, names: list[str], arch: str, *, exactly: bool = False) -> tuple[Image, bool]:
        """The image under these names, or under its own, and whether it is new. ImageError, OSError for a full disk.

        exactly: one for another architecture will not do, even if it is all there is.
        """
        for name in names:
            full_name(name)
        store = self._store
        with store.lock(BLOBS, shared=True), store.lock(DOWNLOADS, shared=True):  # nobody throws away what is fetched
            return self._pull(names, arch, exactly=exactly)

    def _pull(self, names: list[str], arch: str, *, exactly: bool) -> tuple[Image, bool]:
        manifest = self._source.find(arch)
        has = str(manifest.config.get("architecture", ""))
        if exactly and has and has != arch:
            raise ImageError(f"there is no image for linux/{arch}: this one is for {has}")
        if manifest.config.get("os", "linux") != "linux":
            raise ImageError(f"not an image of a Linux system, but of {manifest.config['os']}")
        names = names or self._source.names
        id = manifest.config_digest.removeprefix("sha256:")
        with self._store.lock(f"pull {id}", wait=False) as free:
            if free:
                return self._once(manifest, id, names)
        self._progress.note(f"another process pulls {id[:SHORT]}: waiting for it")
        with self._store.lock(f"pull {id}"):
            return self._once(manifest, id, names)

    def _once(self, manifest: Manifest, id: str, names: list[str]) -> tuple[Image, bool]:
        try:
            self._store.find(id)
        except NotFoundError:
            return self._make(manifest, id, names), True
        for name in names:
            self._store.tag(id, name)
        return self._store.find(id), False

    def _make(self, manifest: Manifest, id: str, names: list[str]) -> Image:
        layers = self._source.layers(manifest.layers)
        with self._store.work() as work:
            root = work / "rootfs"
            root.mkdir()
            root.chmod(0o755)
            unpacker = Unpacker(host_of(self._store.host, work), bytes(root), layers=True)
            self._progress.begin("unpacking", sum(max(each.size, 0) for each in manifest.layers))
            for layer, open_it, content in zip(manifest.layers, layers, manifest.diff_ids, strict=True):
                self._unpack(unpacker, layer, open_it, content)
            unpacker.finish()
            self._progress.end()
            config = manifest.config
            record: Record = {
                "architecture": str(config.get("architecture", "")),
                "os": "linux",
                "created": str(config.get("created") or utc()),
                "config": _clean(items_of(config, "config")),
                "history": items(config, "history"),
                "layers": [layer.digest for layer in manifest.layers],
                "origin": {**self._source.origin, "manifest": manifest.digest, "time": utc()},
                "size": size_of(self._store.host, root),
            }
            return self._store.add(work, record, names, id)

    def _unpack(self, unpacker: Unpacker, layer: Descriptor, open_it: Open, content: str) -> None:
        what = f"layer {layer.sha256[:SHORT]}"
        try:
            with open_it() as file, decompressed(Hashed(file, self._progress.advance), what) as plain:
                hashed = Hashed(plain)
                stream = cast("BinaryIO", io.BufferedReader(hashed, _BLOCK))
                with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK, errors="surrogateescape") as tar:
                    unpacker.unpack(tar, what)
                while stream.read(_BLOCK):
                    pass
                hashed.check(content, what)
        except tarfile.TarError as error:
            raise ImageError(f"{what}: a damaged archive: {error}") from None
        except (LinuxError, OSError) as error:
            raise ImageError(f"{what}: {describe(error)}") from None


def _clean(config: dict[str, Any]) -> dict[str, Any]:
    """What Noah knows of a configuration, and only if it has the form that it should have."""
    kept: dict[str, Any] = {}
    for key in _LISTS:
        kept[key] = [each for each in items(config, key) if isinstance(each, str)]
    for key in _TEXTS:
        kept[key] = config.get(key) if isinstance(config.get(key), str) else ""
    for key in _OBJECTS:
        kept[key] = items_of(config, key)
    return {key: value for key, value in kept.items() if value}
