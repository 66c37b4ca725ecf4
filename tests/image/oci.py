"""Makes images: as layouts, as archives of docker's, as what a registry serves."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any, Final

from tests.image.server import Server

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
REF_NAME: Final = "org.opencontainers.image.ref.name"

Entry = tuple[str, dict[str, object], bytes]
DIR, SYM, LNK = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def entry(name: str, content: bytes = b"", **fields: object) -> Entry:
    return name, fields, content


def tar(*entries: Entry) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, fields, content in entries:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            for key, value in fields.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Image:
    """Blobs, and the manifest that leads to them."""

    def __init__(self, *layers: bytes, arch: str = "amd64", packed: bool = True, **config: object) -> None:
        """packed: compress the layers."""
        self.archives = list(layers)
        self.blobs: dict[str, bytes] = {}
        self.config = json.dumps(
            {
                "architecture": arch,
                "os": "linux",
                "created": "2027-01-01T00:00:00Z",
                "config": config,
                "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
            }
        ).encode()
        self.layers = [gzip.compress(layer, mtime=0) if packed else layer for layer in layers]
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self.add(self.config, CONFIG),
                "layers": [self.add(layer, f"{LAYER}+gzip" if packed else LAYER) for layer in self.layers],
            }
        ).encode()
        self.add(self.manifest, MANIFEST)

    @property
    def id(self) -> str:
        return digest(self.config).removeprefix("sha256:")

    def add(self, data: bytes, kind: str) -> dict[str, Any]:
        self.blobs[digest(data)] = data
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    def entry(self, tag: str = "", platform: str = "") -> dict[str, Any]:
        """In an index."""
        made: dict[str, Any] = {"mediaType": MANIFEST, "digest": digest(self.manifest), "size": len(self.manifest)}
        if tag:
            made["annotations"] = {REF_NAME: tag}
        if platform:
            system, _, machine = platform.partition("/")
            made["platform"] = {"os": system, "architecture": machine}
        return made


def index(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}).encode()


def write_layout(directory: Path, top: bytes, *images: Image) -> Path:
    """A layout with that index."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_bytes(top)
    for image in images:
        for name, data in image.blobs.items():
            (blobs / name.removeprefix("sha256:")).write_bytes(data)
    return directory


def write_archive(path: Path, directory: Path) -> Path:
    """A layout as an archive."""
    with tarfile.open(path, "w") as archive:
        for each in sorted(directory.rglob("*")):
            archive.add(each, str(each.relative_to(directory)), recursive=False)
    return path


def write_docker_archive(path: Path, images: dict[str, Image]) -> Path:
    """What `docker save` writes, by tag. A layer that came before is a link."""
    entries: list[Entry] = []
    listed = []
    seen: dict[str, str] = {}
    for tag, image in images.items():
        names = []
        for number, layer in enumerate(image.archives):
            name = f"{image.id[:12]}{number}/layer.tar"
            first = seen.setdefault(digest(layer), name)
            entries.append(entry(name, layer) if first == name else entry(name, type=SYM, linkname=f"../{first}"))
            names.append(name)
        entries.append(entry(f"{image.id}.json", image.config))
        listed.append({"Config": f"{image.id}.json", "RepoTags": [tag], "Layers": names})
    path.write_bytes(tar(*entries, entry("manifest.json", json.dumps(listed).encode())))
    return path


def serve(server: Server, repository: str, tags: dict[str, bytes], *images: Image) -> None:
    """Put images into a registry; tags lead to manifests or indexes."""
    base = f"/v2/{repository}"
    for image in images:
        for name, data in image.blobs.items():
            server.files[f"{base}/blobs/{name}"] = server.files[f"{base}/manifests/{name}"] = data
    for tag, data in tags.items():
        for version in (tag, digest(data)):
            server.files[f"{base}/manifests/{version}"] = data
            server.types[f"{base}/manifests/{version}"] = json.loads(data).get("mediaType", "")
