"""How a registry is told who asks: what the user has told docker(1) or podman(1), or nobody.

Distribution's token protocol, and Basic (RFC 7617). A password goes to the registry that it is for, and to where that
one says tokens are given out; never over plain HTTP if the registry itself is asked over TLS.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from noah.image.errors import ImageError
from noah.image.oci.manifest import items_of
from noah.image.oci.reference import HUB

Ask = Callable[[list[str], bytes], tuple[int, bytes]]
"""Runs a program of the host with input: its exit status and output."""
Post = Callable[[str, Mapping[str, str], "bytes | None"], bytes]
"""Asks a server: URL, headers, what to post if not None."""

_HUB_KEYS: Final = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
_PARAMETER: Final = re.compile(r'([a-zA-Z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_TOKEN_USER: Final = "<token>"  # what credential helpers call an identity token
_HELPER: Final = re.compile(r"[A-Za-z0-9_.-]+")


class Credentials(NamedTuple):
    """A password, or an identity token that stands for one."""

    user: str
    password: str
    identity_token: str = ""

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def config_files(environ: Mapping[bytes, bytes]) -> list[Path]:
    """Where docker and podman keep what they were told, first the one that counts most."""

    def value(name: bytes) -> str:
        return environ.get(name, b"").decode("utf-8", "surrogateescape")

    found = []
    if own := value(b"REGISTRY_AUTH_FILE"):
        found.append(Path(own))
    home = value(b"HOME")
    if own := value(b"DOCKER_CONFIG"):
        found.append(Path(own) / "config.json")
    elif home:
        found.append(Path(home) / ".docker/config.json")
    if runtime := value(b"XDG_RUNTIME_DIR"):
        found.append(Path(runtime) / "containers/auth.json")
    if config := value(b"XDG_CONFIG_HOME") or (home and f"{home}/.config"):
        found.append(Path(config) / "containers/auth.json")
    return found


def find_credentials(registry: str, repository: str, files: Sequence[Path], ask: Ask) -> Credentials | None:
    """The user's for a registry. ImageError for a file that cannot be understood."""
    for path in files:
        try:
            config = json.loads(path.read_bytes())
        except OSError:
            continue
        except ValueError:
            raise ImageError(f"{path}: damaged: it is no JSON; repair or remove it") from None
        if isinstance(config, dict) and (found := _from(config, _keys(registry, repository), ask, path)):
            return found
    return None


def _keys(registry: str, repository: str) -> list[str]:
    """What an entry may be called, the closest first (containers-auth.json(5))."""
    if registry == HUB:
        parts = [f"{HUB}/{repository}", *_HUB_KEYS]
    else:
        path = f"{registry}/{repository}"
        parts = []
        while "/" in path:
            parts.append(path)
            path = path.rpartition("/")[0]
        parts += [registry, f"https://{registry}", f"http://{registry}"]
    return [key for part in parts for key in (part, f"{part}/")]


def _from(config: dict[str, Any], keys: list[str], ask: Ask, path: Path) -> Credentials | None:
    helpers = items_of(config, "credHelpers")
    auths = items_of(config, "auths")
    for key in keys:
        if key in helpers:
            return _ask_helper(str(helpers[key]), key, ask)
    if store := str(config.get("credsStore") or ""):
        for key in keys:
            if (key in auths or key in _HUB_KEYS or "/" not in key) and (found := _ask_helper(store, key, ask)):
                return found
    for key in keys:
        entry = auths.get(key)
        if isinstance(entry, dict) and (found := _entry(entry, path)):
            return found
    return None


def _entry(entry: dict[str, Any], path: Path) -> Credentials | None:
    user, password = str(entry.get("username", "")), str(entry.get("password", ""))
    if packed := entry.get("auth"):
        try:
            user, _, password = base64.b64decode(str(packed), validate=True).decode().partition(":")
        except ValueError:
            raise ImageError(f"{path}: damaged: an 'auth' in it is no base64; log in again") from None
        password = password.rstrip("\0")
    token = str(entry.get("identitytoken", ""))
    return Credentials(user, password, token) if user or token else None


def _ask_helper(helper: str, server: str, ask: Ask) -> Credentials | None:
    """docker-credential-HELPER get; None if it knows nothing of the server. ImageError if there is no such program."""
    status, said = run_helper(helper, "get", server.encode(), ask)
    if status:
        return None  # "credentials not found in native keychain"
    try:
        found = json.loads(said)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError):
        raise ImageError(f"docker-credential-{helper} gives no credentials but something else") from None
    return Credentials("", "", secret) if user == _TOKEN_USER else Credentials(user, secret)


def run_helper(helper: str, verb: str, question: bytes, ask: Ask) -> tuple[int, bytes]:
    """docker-credential-HELPER VERB: its exit status and output. ImageError if there is no such program."""
    if not _HELPER.fullmatch(helper):
        raise ImageError(f"'{helper}' is no name for a credential helper")
    status, said = ask([f"docker-credential-{helper}", verb], question)
    if status == 127:
        raise ImageError(
            f"the credential helper docker-credential-{helper} cannot be run; docker's config.json asks for it"
        )
    return status, said


class Login:
    """Knows what to say to one registry about one repository; used by several threads."""

    def __init__(self, server: str, scope: str, find: Callable[[], Credentials | None], post: Post) -> None:
        """find: the user's credentials, looked for when the registry wants some."""
        self._server = server
        self._scope = scope
        self._find = find
        self._post = post
        self._lock = threading.Lock()
        self._header = ""

    def headers(self, url: str) -> dict[str, str]:
        """For a request; nothing for what is not that registry's."""
        mine = urllib.parse.urlsplit(url).netloc == self._server
        return {"Authorization": self._header} if self._header and mine else {}

    def challenged(self, url: str, challenges: Sequence[str], sent: str) -> bool:
        """A request was refused: whether it is worth another try. sent: the Authorization that it had. ImageError."""
        if urllib.parse.urlsplit(url).netloc != self._server:
            return False
        with self._lock:
            if self._header != sent:
                return True  # another thread has just got a new one
            self._header = self._answer(url, challenges)
        return bool(self._header) and self._header != sent

    def _answer(self, url: str, challenges: Sequence[str]) -> str:
        by_scheme = {each.partition(" ")[0].lower(): each.partition(" ")[2] for each in challenges}
        if "bearer" in by_scheme:
            parameters = {
                match[1].lower(): match[2] or match[3] or "" for match in _PARAMETER.finditer(by_scheme["bearer"])
            }
            return f"Bearer {self._token(url, parameters)}"
        if "basic" in by_scheme:
            credentials = self._find()
            return credentials.basic if credentials is not None else ""
        return ""

    def _token(self, url: str, parameters: Mapping[str, str]) -> str:
        realm = parameters.get("realm", "")
        scheme = urllib.parse.urlsplit(realm).scheme
        if scheme not in ("http", "https"):
            raise ImageError(f"{self._server}: says no address at which it gives out tokens")
        credentials = self._find()
        if credentials is not None and scheme == "http" and url.startswith("https:"):
            raise ImageError(f"{self._server}: wants the password sent to {realm}, which is not encrypted")
        asked = {"service": parameters.get("service", ""), "scope": parameters.get("scope") or self._scope}
        if credentials is not None and credentials.identity_token:
            more = {"grant_type": "refresh_token", "refresh_token": credentials.identity_token, "client_id": "noah"}
            data = self._post(realm, {}, urllib.parse.urlencode({**asked, **more}).encode())
        else:
            headers = {"Authorization": credentials.basic} if credentials is not None else {}
            query = urllib.parse.urlencode({key: value for key, value in asked.items() if value})
            data = self._post(f"{realm}{'&' if '?' in realm else '?'}{query}", headers, None)
        try:
            answer = json.loads(data)
            return str(answer.get("token") or answer["access_token"])
        except (ValueError, KeyError, AttributeError):
            raise ImageError(f"{self._server}: {realm} gives no token but something else") from None
