"""Images of registries: the OCI's distribution specification."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast
from urllib.parse import urljoin

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
    from noah.image.oci.pack import Blob, Packed
    from noah.image.progress import Progress
    from noah.image.store import Store

_ACCEPT: Final = ", ".join((*INDEXES, *MANIFESTS))


class Registry:
    """A source, and where images go: one image of a registry."""

    def __init__(
        self, store: Store, reference: Reference, progress: Progress, *, plain: bool = False, actions: str = "pull"
    ) -> None:
        """plain: HTTP will do where the registry has no TLS. On this machine it will in any case.

        actions: "pull" or "pull,push": what leave is asked for.
        """
        self._store = store
        self._reference = reference
        self._progress = progress
        self._plain = plain or is_loopback(reference.server)
        self._fetch = Fetcher(store, progress, kept=BLOBS)
        scope = f"repository:{reference.repository}:{actions}"
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
            name = self._reference.registry
            if data is None and "Authorization" not in headers:
                raise ImageError(f"{name}: wants to know who asks; 'noah login {name}' says it") from None
            raise ImageError(f"{name}: the user name or the password is wrong: {error}") from None

    def _connect(self) -> None:
        if self._plain and not self._fetch.speaks_tls(self._reference.server):
            self._base = f"http://{self._reference.server}/v2/"

    def find(self, arch: str) -> Manifest:
        self._connect()
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
        return f"{self._reference.name}: no such image, or access is denied{says}; perhaps 'noah login{server}' helps"

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

    # Pushing

    def push(self, image: Packed) -> None:
        """Put an image there. ImageError."""
        self._connect()
        repository = f"{self._base}{self._reference.repository}"
        self._progress.begin("pushing", image.layer.size + image.config.size)
        try:
            for blob in (image.layer, image.config):
                self._push_blob(repository, blob)
            headers = {"Content-Type": image.manifest.kind}
            manifest = f"{repository}/manifests/{self._reference.version}"
            self._fetch.open(manifest, headers, image.manifest.data, method="PUT").close()
        except RefusedError as error:
            raise ImageError(self._refusal(error)) from None
        self._progress.end()

    def _push_blob(self, repository: str, blob: Blob) -> None:
        try:
            self._fetch.open(f"{repository}/blobs/{blob.digest}", method="HEAD").close()
            self._progress.advance(blob.size)
            return  # it is there
        except NotFoundError:
            pass
        begun = self._fetch.open(f"{repository}/blobs/uploads/", {"Content-Length": "0"}, b"", method="POST")
        begun.close()
        place = urljoin(begun.url, begun.headers.get("Location", ""))
        place += f"{'&' if '?' in place else '?'}digest={blob.digest}"
        headers = {"Content-Length": str(blob.size), "Content-Type": "application/octet-stream"}
        with blob.open() as content:
            told = cast("BinaryIO", Told(content, self._progress.advance))
            self._fetch.open(place, headers, told, method="PUT").close()


class Told:
    """A file that is read; says how much was."""

    def __init__(self, file: BinaryIO, read: Callable[[int], None]) -> None:
        self._file = file
        self._read = read

    def read(self, count: int = -1) -> bytes:
        data = self._file.read(count)
        self._read(len(data))
        return data

    def seek(self, offset: int) -> int:
        self._read(offset - self._file.tell())
        return self._file.seek(offset)


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _says(content: bytes) -> str:
    """What a registry gives as its reason."""
    try:
        first = json.loads(content)["errors"][0]
        return f" ({str(first.get('message') or first['code'])[:200].lower()})"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return ""
