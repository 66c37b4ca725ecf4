"""Downloads: over HTTP, checked by their digest, kept, resumed where they stopped, several at a time."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from noah import __version__
from noah.abi.errno import LinuxError
from noah.abi.fcntl import LOCK_EX
from noah.image.errors import ImageError, NotFoundError, describe

if TYPE_CHECKING:
    from hashlib import _Hash as Digest
    from http.client import HTTPMessage, HTTPResponse

    from noah.image.progress import Progress
    from noah.image.store import Store

_CHUNK: Final = 1 << 18
_TIMEOUT_S: Final = 30
_TRIES: Final = 4
_AT_ONCE: Final = 6
_SMALL: Final = 64 << 20  # bytes of what is read into memory


class Wanted(NamedTuple):
    """A file to download. size: -1 if it is not known."""

    url: str
    sha256: str
    size: int
    headers: Mapping[str, str] = {}


class _Pause:
    """Between tries: doubled each time."""

    seconds = 0.5


class RefusedError(ImageError):
    """The server wants to know who asks, or does not serve whom it knows. content: what it says of it."""

    content = b""


class Login(Protocol):
    """Says who asks. Used by several threads."""

    def headers(self, url: str) -> Mapping[str, str]:
        """For a request; they are not passed on to where that leads."""

    def challenged(self, url: str, challenges: Sequence[str], sent: str) -> bool:
        """The server has refused a request that had `sent` as its Authorization: whether to try once more."""


class Stopped(Exception):
    """Another download has failed."""


class Fetcher:
    """Downloads into a store's cache."""

    def __init__(
        self, store: Store, progress: Progress, proxies: Mapping[str, str] | None = None, *, kept: str = "sha256"
    ) -> None:
        """proxies: by scheme, beside those that the environment names (http_proxy, https_proxy, no_proxy).

        kept: where in the cache files stay.
        """
        self._store = store
        self.progress = progress
        self._kept = store.cache / kept
        self._begun = store.cache / "partial"
        self._kept.mkdir(exist_ok=True)
        self._begun.mkdir(exist_ok=True)
        own = urllib.request.ProxyHandler({**(proxies or {}), **urllib.request.getproxies()})
        self._opener = urllib.request.build_opener(own)
        self._stop = threading.Event()
        self.login: Login | None = None

    def open(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | BinaryIO | None = None,
        *,
        method: str | None = None,
        known: bool = False,
    ) -> HTTPResponse:
        """Start a download, with several tries. NotFoundError for what is not there, RefusedError, ImageError.

        data: to be posted; from a file, with its length in the headers. known: the login has been asked already.
        """
        given = {"User-Agent": f"noah/{__version__}", **(headers or {})}
        request = urllib.request.Request(url, data, given, method=method)
        own = self.login.headers(url) if self.login is not None else {}
        for key, value in own.items():
            request.add_unredirected_header(key, value)
        trouble = ""
        for number in range(_TRIES):
            if number and self._stop.wait(_Pause.seconds * 2**number):
                raise Stopped
            if number and data is not None and not isinstance(data, bytes):
                data.seek(0)
            try:
                response: HTTPResponse = self._opener.open(request, timeout=_TIMEOUT_S)
                return response
            except urllib.error.HTTPError as error:
                content = error.read(_CHUNK) if error.code in (401, 403) else b""
                error.close()
                if error.code == 401 and self.login is not None and not known:
                    challenges = error.headers.get_all("WWW-Authenticate", [])
                    if self.login.challenged(url, challenges, own.get("Authorization", "")):
                        return self.open(url, headers, data, method=method, known=True)
                if error.code in (401, 403):
                    refused = RefusedError(f"{url}: {error.reason} (HTTP {error.code})")
                    refused.content = content
                    raise refused from None
                if error.code in (404, 410):
                    raise NotFoundError(f"{url}: not found (HTTP {error.code})") from None
                if error.code < 500 and error.code != 429:
                    raise ImageError(f"{url}: {error.reason} (HTTP {error.code})") from None
                trouble = f"{error.reason} (HTTP {error.code})"
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                trouble = _why(error)
                if "no such file" in trouble.lower():  # file:
                    raise NotFoundError(f"{url}: not found") from None
        raise ImageError(f"{urlsplit(url).netloc or url}: {trouble}")

    def read(self, url: str, headers: Mapping[str, str] | None = None, data: bytes | None = None) -> bytes:
        """A small file. NotFoundError, RefusedError, ImageError. data: to be posted."""
        return self.read_with(url, headers, data)[0]

    def read_with(
        self, url: str, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> tuple[bytes, HTTPMessage]:
        """As read(), with the head of the answer."""
        for number in range(_TRIES):
            try:
                with self.open(url, headers, data) as response:
                    content = response.read(_SMALL + 1)
                    if len(content) <= _SMALL and (missing := getattr(response, "length", 0)):
                        raise http.client.IncompleteRead(content, missing)
            except (http.client.HTTPException, OSError) as error:
                if number == _TRIES - 1:
                    raise ImageError(f"{url}: {_why(error)}") from None
                continue
            if len(content) > _SMALL:
                raise ImageError(f"{url}: too large")
            return content, response.headers
        raise AssertionError

    def speaks_tls(self, server: str) -> bool:
        """Whether a web server answers over TLS, whatever it says."""
        try:
            self._opener.open(f"https://{server}/", timeout=_TIMEOUT_S).close()
        except urllib.error.HTTPError as error:
            error.close()
        except urllib.error.URLError as error:
            return isinstance(error.reason, ssl.SSLCertVerificationError)
        except (http.client.HTTPException, OSError):
            return False
        return True

    def is_kept(self, sha256: str) -> bool:
        return (self._kept / sha256).exists()

    def get(self, wanted: Wanted) -> Path:
        """Download a file unless it is kept from before. ImageError if it is not what was wanted."""
        place = self._kept / wanted.sha256
        if place.exists():
            self.progress.advance(max(wanted.size, 0))
            return place
        part = self._begun / wanted.sha256
        try:
            with part.open("ab") as file:
                self._store.host.files.flock(file.fileno(), LOCK_EX)  # another process may be at it
                if place.exists():
                    self.progress.advance(max(wanted.size, 0))
                    return place
                self._fill(wanted, part)
                part.replace(place)
        except (OSError, LinuxError) as error:
            raise ImageError(f"{wanted.url}: {describe(error)}") from None
        return place

    def _fill(self, wanted: Wanted, part: Path) -> None:
        for number in range(_TRIES):
            digest = hashlib.sha256()
            with part.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
            begun = part.stat().st_size
            if wanted.size >= 0 and begun > wanted.size:
                begun = 0
                digest = hashlib.sha256()
            self.progress.advance(begun)
            try:
                done = begun
                if begun != wanted.size:
                    done, digest = self._stream(wanted, part, begun, digest)
            except (http.client.HTTPException, urllib.error.URLError, TimeoutError, ConnectionError) as error:
                self.progress.advance(-part.stat().st_size)
                if number == _TRIES - 1:
                    raise ImageError(f"{wanted.url}: {_why(error)}") from None
                continue  # with what is there
            if digest.hexdigest() == wanted.sha256 and wanted.size in (-1, done):
                return
            part.write_bytes(b"")
            self.progress.advance(-done)
            if not begun:  # what came is wrong as a whole: nobody's interrupted download spoilt it
                break
        raise ImageError(f"{wanted.url}: wrong hash: this is not the file that the index names; nothing of it is used")

    def _stream(self, wanted: Wanted, part: Path, begun: int, digest: Digest) -> tuple[int, Digest]:
        """Append the rest; the size and the digest in the end."""
        headers = dict(wanted.headers)
        if begun:
            headers["Range"] = f"bytes={begun}-"
        with self.open(wanted.url, headers) as response, part.open("r+b") as file:
            if begun and response.status != 206:  # the server begins at the beginning
                self.progress.advance(-begun)
                begun = 0
                digest = hashlib.sha256()
                file.truncate(0)
            file.seek(begun)
            while chunk := response.read(_CHUNK):
                if self._stop.is_set():
                    raise Stopped
                file.write(chunk)
                digest.update(chunk)
                begun += len(chunk)
                self.progress.advance(len(chunk))
                if 0 <= wanted.size < begun:
                    break
            if missing := getattr(response, "length", 0):  # file: has none
                raise http.client.IncompleteRead(b"", missing)
        return begun, digest

    def get_all(self, wanted: Sequence[Wanted]) -> list[Path]:
        """Several at once; the first that fails ends them all."""
        self._stop.clear()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            futures = [pool.submit(self.get, each) for each in wanted]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failures = [error for future in done if (error := future.exception()) is not None]
            if failures:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise next((error for error in failures if not isinstance(error, Stopped)), failures[0])
        return [future.result() for future in futures]


def _why(error: BaseException) -> str:
    """The reason inside urllib's wrappings."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return str(reason) or type(reason).__name__
