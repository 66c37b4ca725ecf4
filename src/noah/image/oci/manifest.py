"""What images consist of: indexes, which lead to manifests by architecture, and configurations.

Everything here may come from a server that one does not trust: it is checked before it is believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from noah.image.errors import ImageError
from noah.image.oci.reference import DIGEST

_OCI: Final = "application/vnd.oci.image."
_DOCKER: Final = "application/vnd.docker.distribution.manifest."
INDEX: Final = f"{_OCI}index.v1+json"
MANIFEST: Final = f"{_OCI}manifest.v1+json"
CONFIG: Final = f"{_OCI}config.v1+json"
LAYER: Final = f"{_OCI}layer.v1.tar"
INDEXES: Final = (INDEX, f"{_DOCKER}list.v2+json")
MANIFESTS: Final = (MANIFEST, f"{_DOCKER}v2+json")
_OLD: Final = f"{_DOCKER}v1"
_LAYERS: Final = (
    LAYER,
    f"{_OCI}layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
)
_CONFIGS: Final = (CONFIG, "application/vnd.docker.container.image.v1+json")
_DEEPEST: Final = 4  # indexes in indexes
REF_NAME: Final = "org.opencontainers.image.ref.name"


class Descriptor(NamedTuple):
    """What a blob is called by. media_type: "" where it is not said. size: -1 if it is not."""

    media_type: str
    digest: str
    size: int

    @property
    def sha256(self) -> str:
        return self.digest.removeprefix("sha256:")


class Manifest(NamedTuple):
    """An image. config is that of the OCI's image specification; its digest is what the image is called by."""

    digest: str
    config: dict[str, Any]
    config_digest: str
    layers: list[Descriptor]

    @property
    def diff_ids(self) -> list[str]:
        """Digests of the layers' archives before they were compressed."""
        return [str(each) for each in items(items_of(self.config, "rootfs"), "diff_ids")]


Get = Callable[[Descriptor], bytes]
"""Gives a small blob, checked."""


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def checked(data: bytes, digest: str, what: str) -> bytes:
    """The data, if that is its digest. ImageError."""
    if digest_of(data) != digest:
        raise ImageError(f"{what}: wrong digest: this is not {digest}; nothing of it is used")
    return data


def load(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. ImageError."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise ImageError(f"{what}: damaged: it is no JSON") from None
    if not isinstance(found, dict):
        raise ImageError(f"{what}: damaged: it is no JSON object")
    return found


def items(data: dict[str, Any], key: str) -> list[Any]:
    """A list in it; empty if there is none."""
    found = data.get(key)
    return found if isinstance(found, list) else []


def items_of(data: dict[str, Any], key: str) -> dict[str, Any]:
    """An object in it; empty if there is none."""
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def descriptor(data: object, what: str) -> Descriptor:
    """ImageError."""
    if not isinstance(data, dict):
        raise ImageError(f"{what}: damaged: a descriptor is missing")
    digest, size = str(data.get("digest")), data.get("size", -1)
    if not DIGEST.fullmatch(digest):
        raise ImageError(f"{what}: '{digest[:80]}' is no digest of SHA-256, the only kind that is understood")
    return Descriptor(str(data.get("mediaType", "")), digest, size if isinstance(size, int) else -1)


def resolve(top: bytes, kind: str, arch: str, get: Get, what: str) -> Manifest:
    """The image for an architecture, from a manifest or an index of that media type ("": what it says itself)."""
    for _ in range(_DEEPEST):
        data = load(top, what)
        kind = str(data.get("mediaType") or kind).partition(";")[0].strip()
        if kind in INDEXES or (kind not in MANIFESTS and "manifests" in data):
            chosen = choose(items(data, "manifests"), arch, what)
            top, kind = get(chosen), chosen.media_type
            continue
        if kind.startswith(_OLD) or data.get("schemaVersion") == 1:
            raise ImageError(f"{what}: this kind of manifest (schema 1) is too old; push the image again")
        return _manifest(data, digest_of(top), get, what)
    raise ImageError(f"{what}: too many indexes in indexes")


def choose(manifests: list[Any], arch: str, what: str) -> Descriptor:
    """The entry of an index for an architecture; one that says nothing of it is as good as any."""
    found: list[tuple[int, Any]] = []
    others = []
    for each in manifests:
        platform = items_of(each, "platform") if isinstance(each, dict) else {}
        system, machine = platform.get("os", "linux"), platform.get("architecture", "")
        if not machine:
            found.append((2, each))
        elif (system, machine) == ("linux", arch):
            found.append((int(platform.get("variant") not in (None, "", "v8", "v1")), each))
        elif machine != "unknown":  # what is attested of an image stands beside it
            others.append(f"{system}/{machine}")
    if not found:
        has = f"; there are: {', '.join(sorted(set(others)))}" if others else ""
        raise ImageError(f"{what}: there is no image for linux/{arch}{has}")
    return descriptor(min(found, key=lambda each: each[0])[1], what)


def _manifest(data: dict[str, Any], digest: str, get: Get, what: str) -> Manifest:
    config = descriptor(data.get("config"), what)
    layers = [descriptor(each, what) for each in items(data, "layers")]
    strange = [each.media_type for each in layers if each.media_type and not each.media_type.startswith(_LAYERS)]
    if strange or (config.media_type and config.media_type not in _CONFIGS):
        raise ImageError(f"{what}: not an image to run: it holds {(strange or [config.media_type])[0]}")
    manifest = Manifest(digest, load(get(config), what), config.digest, layers)
    if len(manifest.diff_ids) != len(layers):
        raise ImageError(
            f"{what}: damaged: {len(layers)} layers, but {len(manifest.diff_ids)} digests of their content"
        )
    return manifest
