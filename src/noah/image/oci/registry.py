"""Images of registries: the OCI's distribution specification, as far as pulling goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from noah.host.helper import ask
from noah.image.errors import ImageError, NotFoundError
from noah.image.fetch import Fetcher, RefusedError, Wanted
from noah.image.oci.auth import Login, config_files, find_credentials
from noah.image.oci.manifest import INDEXES, MANIFESTS, Descriptor, Manifest, checked, resolve
from noah.image.oci.reference import HUB, Reference, is_loopback
from noah.image.oci.source import Open
from noah.image.store import BLOBS

if TYPE_CHECKING:
    from noah.image.oci.auth import Credentials
    from noah.image.progress import Progress
    from noah.image.store import Store

_ACCEPT: Final = ", ".join((*INDEXES, *MANIFESTS))


class Registry:
    """A source: one image of a registry."""

    def __init__(self, store: Store, reference: Reference, progress: Progress, *, plain: bool = False) -> None:
        """plain: HTTP will do where the registry has no TLS. On this machine it will in any case."""
        self._store = store
        self._reference = reference
        self._progress = progress
        self._plain = plain or is_loopback(reference.server)
        self._fetch = Fetcher(store, progress, kept=BLOBS)
        scope = f"repository:{reference.repository}:pull"
        self._ask_tokens = Fetcher(store, progress)
        self._fetch.login = Login(reference.server, scope, self._credentials, self._ask)
        self._base = f"https://{reference.server}/v2/"
        self._kinds: dict[str, str] = {}
        self.names = [reference.name]
        self.origin = {"kind": "docker", "source": reference.name}

    def _credentials(self) -> Credentials | None:
        files = config_files(self._store.host.procs.environ())
        return find_credentials(self._reference.registry, self._reference.repository, files, ask)

    def _ask(self, url: str, headers: Mapping[str, str], data: bytes | None) -> bytes:
        try:
            return self._ask_tokens.read(url, headers, data)
        except RefusedError as error:
            raise ImageError(f"{self._reference.registry}: the user name or the password is wrong: {error}") from None

    def find(self, arch: str) -> Manifest:
        if self._plain and not self._fetch.speaks_tls(self._reference.server):
            self._base = f"http://{self._reference.server}/v2/"
        reference = self._reference
        top, kind = self._manifest(reference.version)
        if reference.digest:
            checked(top, reference.digest, reference.name)
        return resolve(top, kind, arch, self._get, reference.name)

    def _manifest(self, version: str) -> tuple[bytes, str]:
        """A manifest or an index, and what it says that it is."""
        reference = self._reference
        url = f"{self._base}{reference.repository}/manifests/{version}"
        try:
            data, headers = self._fetch.read_with(url, {"Accept": _ACCEPT})
        except NotFoundError:
            raise NotFoundError(f"{reference.name}: {reference.registry} has no such image") from None
        except RefusedError as error:
            raise ImageError(self._refusal(error)) from None
        if (digest := headers.get("Docker-Content-Digest", "")).startswith("sha256:"):
            checked(data, digest, reference.name)
        return data, headers.get("Content-Type", "")

    def _refusal(self, error: RefusedError) -> str:
        server = "" if self._reference.registry == HUB else f" {self._reference.registry}"
        says = _says(error.content)
        return f"{self._reference.name}: no such image, or access is denied{says}; perhaps 'docker login{server}' helps"

    def _get(self, wanted: Descriptor) -> bytes:
        if wanted.media_type in (*INDEXES, *MANIFESTS):
            data, _ = self._manifest(wanted.digest)
            return checked(data, wanted.digest, self._reference.name)
        return self._fetch.get(self._wanted(wanted)).read_bytes()

    def _wanted(self, blob: Descriptor) -> Wanted:
        return Wanted(f"{self._base}{self._reference.repository}/blobs/{blob.digest}", blob.sha256, blob.size)

    def layers(self, wanted: list[Descriptor]) -> list[Open]:
        different = list({each.digest: each for each in wanted}.values())
        total = sum(max(each.size, 0) for each in different)
        self._progress.begin(f"{len(different)} layer{'s' if len(different) != 1 else ''}", total)
        try:
            files = self._fetch.get_all([self._wanted(each) for each in different])
        except RefusedError as error:
            raise ImageError(self._refusal(error)) from None
        self._progress.end()
        by_digest = {each.digest: file for each, file in zip(different, files, strict=True)}
        return [partial(_open, by_digest[each.digest]) for each in wanted]


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _says(content: bytes) -> str:
    """What a registry gives as its reason."""
    try:
        first = json.loads(content)["errors"][0]
        return f" ({str(first.get('message') or first['code'])[:200].lower()})"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return ""
