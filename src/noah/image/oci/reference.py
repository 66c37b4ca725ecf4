"""Names of images in registries: [REGISTRY/]REPOSITORY[:TAG][@DIGEST]."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from noah.image.errors import ImageError

HUB: Final = "docker.io"
HUB_SERVER: Final = "registry-1.docker.io"
_LATEST: Final = "latest"

# The grammar of github.com/distribution/reference
_REPOSITORY: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*")
_SERVER: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LOOPBACK: Final = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?")


class Reference(NamedTuple):
    """tag: "" if only a digest was given. digest: "" if none was; it counts more than a tag."""

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def server(self) -> str:
        """Host and port to talk to."""
        return HUB_SERVER if self.registry == HUB else self.registry

    @property
    def name(self) -> str:
        """As it is kept in the store."""
        return f"{self.registry}/{self.repository}" + (f"@{self.digest}" if self.digest else f":{self.tag}")

    @property
    def version(self) -> str:
        """What a manifest is asked for by."""
        return self.digest or self.tag


def parse(text: str) -> Reference:
    """ImageError for what is none."""
    rest, at, digest = text.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise ImageError(f"{text!r}: a digest is written sha256: and 64 digits 0-9 and a-f")
    head, colon, tag = rest.rpartition(":")
    if colon and not tag:
        raise ImageError(f"{text!r}: the tag behind the colon is missing")
    if "/" in tag or not colon:
        tag = ""  # the colon was that of a port
    else:
        rest = head
    first, slash, path = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry = HUB if first == "index.docker.io" else first
    else:
        registry, path = HUB, rest
    if registry == HUB and "/" not in path:
        path = f"library/{path}"
    if not _REPOSITORY.fullmatch(path) or not _SERVER.fullmatch(registry) or (tag and not _TAG.fullmatch(tag)):
        raise ImageError(f"{text!r} is not a name for an image: [SERVER[:PORT]/]NAME[:TAG|@DIGEST], in small letters")
    return Reference(registry, path, tag or ("" if digest else _LATEST), digest)


def registry_of(text: str) -> str:
    """A registry's name as users write it, a URL for one. ImageError."""
    name = text.removeprefix("https://").removeprefix("http://").partition("/")[0]
    if not name or not _SERVER.fullmatch(name):
        raise ImageError(f"{text!r} is not a registry: SERVER[:PORT]")
    return HUB if name in ("index.docker.io", HUB_SERVER) else name


def is_loopback(server: str) -> bool:
    """Whether a registry is on this machine: there, docker(1) does not insist on TLS."""
    return _LOOPBACK.fullmatch(server) is not None
