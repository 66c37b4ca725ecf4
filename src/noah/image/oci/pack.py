"""From the store to where others take images from: an image as one layer, a configuration and a manifest.

What an image was pulled as is not kept layer by layer, so all of it goes into one.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, cast

from noah.abi.errno import LinuxError
from noah.host.console import utc
from noah.image.errors import ImageError, describe
from noah.image.export import Exporter
from noah.image.oci.layout import IMAGE_NAME
from noah.image.oci.manifest import CONFIG, INDEX, LAYER, MANIFEST, REF_NAME, digest_of
from noah.image.owners import host_of_image

if TYPE_CHECKING:
    from noah.image.store import Image, Store

_CHUNK: Final = 1 << 20
_LEVEL: Final = 6
_BLOBS: Final = "blobs/sha256/"


class Blob(NamedTuple):
    """data, or the file that holds it."""

    kind: str
    digest: str
    size: int
    data: bytes = b""
    file: Path | None = None

    @property
    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.kind, "digest": self.digest, "size": self.size}

    def open(self) -> BinaryIO:
        return self.file.open("rb") if self.file is not None else io.BytesIO(self.data)


class Packed(NamedTuple):
    manifest: Blob
    config: Blob
    layer: Blob


class _Digesting(io.RawIOBase):
    """A file that is written, and what its content is called by."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)


def pack(store: Store, image: Image, work: Path, *, packed: bool) -> Packed:
    """work: where the layer is put. packed: compress it. ImageError, OSError for a full disk."""
    place = work / image.id
    try:
        with place.open("wb") as file:
            outer = _Digesting(file)
            squeezed = gzip.GzipFile("", "wb", _LEVEL, cast("BinaryIO", outer), mtime=0) if packed else None
            inner = _Digesting(cast("BinaryIO", squeezed)) if squeezed is not None else outer
            Exporter(host_of_image(store, image), cast("BinaryIO", inner)).tree(bytes(image.rootfs))
            if squeezed is not None:
                squeezed.close()
    except LinuxError as error:
        raise ImageError(f"image {image.id[:12]}: {describe(error)}") from None
    kind = f"{LAYER}+gzip" if packed else LAYER
    layer = Blob(kind, f"sha256:{outer.digest.hexdigest()}", outer.size, file=place)
    record = image.record
    config = _blob(
        CONFIG,
        {
            "architecture": record.get("architecture") or "amd64",
            "os": "linux",
            "created": record.get("created") or utc(),
            "config": record.get("config") or {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{inner.digest.hexdigest()}"]},
            "history": [{"created": record.get("created") or utc(), "created_by": "noah"}],
        },
    )
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor, "layers": [layer.descriptor]}
    return Packed(_blob(MANIFEST, manifest), config, layer)


def _blob(kind: str, content: dict[str, Any]) -> Blob:
    data = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    return Blob(kind, digest_of(data), len(data), data)


def save(store: Store, images: dict[str, tuple[Image, list[str]]], output: BinaryIO) -> None:
    """Write an archive of images, by id with the names they shall have, that `docker load`, podman and skopeo read.

    It is a layout of the OCI's with docker's own list beside it, as docker 25 and later write it.
    """
    listed, entries, written = [], [], set()
    with (
        store.work() as work,
        tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for image, names in images.values():
            made = pack(store, image, work, packed=False)
            for blob in made:
                if blob.digest not in written:
                    written.add(blob.digest)
                    with blob.open() as content:
                        _add(tar, _path(blob), content, blob.size)
                if blob.file is not None:
                    blob.file.unlink()
            listed.append({"Config": _path(made.config), "RepoTags": names, "Layers": [_path(made.layer)]})
            for name in names or [""]:
                notes = {IMAGE_NAME: name, REF_NAME: name.rpartition(":")[2]} if name else {}
                entries.append({**made.manifest.descriptor, "annotations": notes})
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        _add_json(tar, "index.json", index)
        _add_json(tar, "manifest.json", listed)
        _add_json(tar, "oci-layout", {"imageLayoutVersion": "1.0.0"})


def _add_json(tar: tarfile.TarFile, path: str, content: object) -> None:
    data = json.dumps(content).encode()
    _add(tar, path, io.BytesIO(data), len(data))


def _path(blob: Blob) -> str:
    return _BLOBS + blob.digest.removeprefix("sha256:")


def _add(tar: tarfile.TarFile, path: str, content: BinaryIO, size: int) -> None:
    member = tarfile.TarInfo(path)
    member.size, member.mode = size, 0o644
    tar.addfile(member, content)
