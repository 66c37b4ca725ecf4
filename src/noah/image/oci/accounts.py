"""`noah login` and `noah logout`: what registries are told of the user is kept where docker(1) keeps it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from noah.image.errors import ImageError, describe
from noah.image.fetch import Fetcher, RefusedError
from noah.image.oci.auth import Ask, Credentials, Login, config_files, run_helper
from noah.image.oci.manifest import items_of
from noah.image.oci.reference import HUB, HUB_SERVER, is_loopback

if TYPE_CHECKING:
    from noah.image.progress import Progress
    from noah.image.store import Store

_HUB_KEY: Final = "https://index.docker.io/v1/"


def check(store: Store, registry: str, credentials: Credentials, progress: Progress, *, plain: bool = False) -> None:
    """Whether a registry takes a password. ImageError if it does not, or does not answer."""
    server = HUB_SERVER if registry == HUB else registry
    fetch, ask = Fetcher(store, progress), Fetcher(store, progress)
    fetch.login = Login(server, "", lambda: credentials, lambda url, headers, data: ask.read(url, headers, data))
    scheme = "https"
    if (plain or is_loopback(server)) and not fetch.speaks_tls(server):
        scheme = "http"
    try:
        fetch.read(f"{scheme}://{server}/v2/")
    except RefusedError:
        raise ImageError(f"{registry}: the user name or the password is wrong") from None


def keep(registry: str, credentials: Credentials, environ: Mapping[bytes, bytes], ask: Ask) -> Path | None:
    """Keep a password: in the store that docker's configuration names, else in that file, whose path this gives."""
    path, config = _config(environ)
    key = _key(registry)
    if helper := _helper(config, registry):
        secret = {"ServerURL": key, "Username": credentials.user, "Secret": credentials.password}
        run_helper(helper, "store", json.dumps(secret).encode(), ask)
        return None
    packed = base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()
    config["auths"] = items_of(config, "auths") | {key: {"auth": packed}}
    _write(path, config)
    return path


def forget(registry: str, environ: Mapping[bytes, bytes], ask: Ask) -> bool:
    """Whether there was anything to forget."""
    path, config = _config(environ)
    key = _key(registry)
    auths = items_of(config, "auths")
    if helper := _helper(config, registry):
        run_helper(helper, "erase", key.encode(), ask)
    elif key not in auths:
        return False
    if key in auths:
        config["auths"] = {name: each for name, each in auths.items() if name != key}
        _write(path, config)
    return True


def _key(registry: str) -> str:
    return _HUB_KEY if registry == HUB else registry


def _helper(config: dict[str, Any], registry: str) -> str:
    own = items_of(config, "credHelpers").get(_key(registry))
    return str(own or config.get("credsStore") or "")


def _config(environ: Mapping[bytes, bytes]) -> tuple[Path, dict[str, Any]]:
    """docker's configuration file, and what stands in it. ImageError."""
    files = config_files(environ)
    if not files:
        raise ImageError("there is no place for passwords: set HOME or DOCKER_CONFIG")
    try:
        found = json.loads(files[0].read_bytes())
    except FileNotFoundError:
        found = {}
    except OSError as error:
        raise ImageError(describe(error)) from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ImageError(f"{files[0]}: damaged: it is no JSON; repair or remove it")
    return files[0], found


def _write(path: Path, config: dict[str, Any]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(config, indent="\t") + "\n", "utf-8")
    fresh.replace(path)
