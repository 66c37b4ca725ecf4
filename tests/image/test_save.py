"""`noah save`, `load`, `push`, `login`: images go out and come back as they were."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import tarfile
from email.message import Message
from pathlib import Path

import pytest
from tests.image.conftest import Told
from tests.image.noah import Noah, one_line
from tests.image.server import serving

from noah.image import fetch
from noah.image.errors import ImageError
from noah.image.oci.accounts import check, forget, keep
from noah.image.oci.auth import Credentials, find_credentials
from noah.image.store import Store

SHOW = "stat -c '%n %u:%g %a %F %h' /srv /srv/*; cat /srv/file; perl -e 'print readlink q(/srv/link)'"
ANN = Credentials("ann", "se:cret")


@pytest.fixture
def made(cli: Noah) -> str:
    """An image called made, and what is in it."""
    script = """
    mkdir -m 2775 /srv; echo text > /srv/file; chown 7:8 /srv/file; chmod 4711 /srv/file
    ln /srv/file /srv/second; ln -s file /srv/link; rm /etc/group
    """
    assert cli("run", "--name", "one", "-e", "A=b", "small", "sh", "-c", script).returncode == 0
    cli("commit", "one", "made:1")
    cli("rm", "one")
    shown = cli("run", "--rm", "made:1", "sh", "-c", SHOW)
    assert shown.returncode == 0, shown.stderr
    return str(shown.stdout)


def test_saved_and_loaded(cli: Noah, made: str, noah: str, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    assert cli("save", "-o", str(archive), "made:1", "small").returncode == 0
    with tarfile.open(archive) as tar:
        listed = json.load(tar.extractfile("manifest.json") or io.BytesIO())
    assert [each["RepoTags"] for each in listed] == [["docker.io/library/made:1"], ["docker.io/library/small:latest"]]
    cli("rmi", "made:1")
    lines = "Loaded image: docker.io/library/made:1\nLoaded image: docker.io/library/small:latest\n"
    assert cli("load", "-i", str(archive)).stdout == lines
    assert cli("run", "--rm", "made:1", "sh", "-c", SHOW).stdout == made
    assert cli("run", "--rm", "made:1", "sh", "-c", "echo $A; ls /etc/group").stdout == "b\n"
    assert cli("rmi", "docker.io/library/made:1", "docker.io/library/small:latest").returncode == 0


def test_pipes_and_compression(cli: Noah, made: str, noah: str) -> None:
    saved = subprocess.run([noah, "save", "made:1"], capture_output=True, check=True).stdout
    cli("rmi", "made:1")
    loaded = subprocess.run([noah, "load"], input=gzip.compress(saved), capture_output=True, check=True)
    assert loaded.stdout == b"Loaded image: docker.io/library/made:1\n"
    assert cli("run", "--rm", "made:1", "sh", "-c", SHOW).stdout == made
    assert cli("rmi", "docker.io/library/made:1").returncode == 0


def test_what_cannot_be_saved_or_loaded(cli: Noah, tmp_path: Path) -> None:
    one_line(cli("save", "none"), 1, "no image is called none")
    (tmp_path / "x").write_text("no archive")
    one_line(cli("load", "-i", str(tmp_path / "x")), 1, "not an archive of an image")
    one_line(cli("load", "-i", str(tmp_path / "none")), 1, "no such file")
    one_line(cli("push", "none"), 1, "no image is called none")
    one_line(cli("push", "small", "127.0.0.1:1/x@sha256:" + "0" * 64), 1, "not under a digest")


def test_pushed_and_pulled(cli: Noah, made: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A registry that wants a token for each thing, and uploads in two steps."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HOME", str(tmp_path))
    scopes = set()

    def guard(path: str, headers: Message) -> tuple[int, str, bytes] | None:
        if path.startswith("/token"):
            if headers.get("Authorization") != ANN.basic:
                return 401, "", b""
            scopes.add(path.partition("scope=")[2])
            return 200, "", b'{"token": "t"}'
        if headers.get("Authorization") != "Bearer t":
            return 401, f'Bearer realm="{server.url}/token",service="s"', b""
        return (200, "", b"{}") if path == "/v2/" else None

    with serving() as server:
        server.guard = guard
        name = f"127.0.0.1:{server.server_port}/some/made"
        one_line(cli("push", "-q", "made:1", name), 1, "noah login 127.0.0.1")
        assert cli("login", "-u", "ann", "--password-stdin", name.partition("/")[0], input="se:cret").returncode == 0
        shown = cli("push", "made:1", name)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.startswith("latest: digest: sha256:")
        assert "repository%3Asome%2Fmade%3Apull%2Cpush" in scopes
        cli("rmi", "made:1")
        assert cli("pull", f"docker://{name}").returncode == 0
        assert cli("run", "--rm", name, "sh", "-c", SHOW).stdout == made
        cli("rmi", name)


# Passwords


def test_password_is_kept_where_docker_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"auths": {"other": {"auth": "eDp5"}}, "proxies": {}}')
    environ = {b"DOCKER_CONFIG": bytes(tmp_path)}

    def ask(argv: list[str], question: bytes) -> tuple[int, bytes]:
        raise AssertionError

    assert keep("h:5000", ANN, environ, ask) == path
    kept = json.loads(path.read_text())
    assert kept["auths"] == {"other": {"auth": "eDp5"}, "h:5000": {"auth": base64.b64encode(b"ann:se:cret").decode()}}
    assert kept["proxies"] == {}
    assert path.stat().st_mode & 0o777 == 0o600
    assert find_credentials("h:5000", "a", [path], ask) == ANN
    keep("docker.io", ANN, environ, ask)
    assert find_credentials("docker.io", "library/a", [path], ask) == ANN
    assert forget("h:5000", environ, ask)
    assert not forget("h:5000", environ, ask)
    assert "h:5000" not in json.loads(path.read_text())["auths"]


def test_password_goes_to_the_store_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"credsStore": "safe"}')
    asked = []

    def ask(argv: list[str], question: bytes) -> tuple[int, bytes]:
        asked.append((argv, question))
        return 0, b""

    environ = {b"DOCKER_CONFIG": bytes(tmp_path)}
    assert keep("h", ANN, environ, ask) is None
    assert forget("h", environ, ask)
    assert [argv for argv, _ in asked] == [["docker-credential-safe", "store"], ["docker-credential-safe", "erase"]]
    assert json.loads(asked[0][1]) == {"ServerURL": "h", "Username": "ann", "Secret": "se:cret"}
    assert "se:cret" not in (tmp_path / "config.json").read_text()


def test_password_is_checked(store: Store, progress: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetch._Pause, "seconds", 0.0)

    def guard(path: str, headers: Message) -> tuple[int, str, bytes] | None:
        return None if headers.get("Authorization") == ANN.basic else (401, 'Basic realm="x"', b"")

    with serving() as server:
        server.guard = guard
        server.files["/v2/"] = b"{}"
        address = f"127.0.0.1:{server.server_port}"
        check(store, address, ANN, progress)
        with pytest.raises(ImageError, match="password is wrong"):
            check(store, address, Credentials("ann", "no"), progress)


def test_login_says_what_is_missing(cli: Noah) -> None:
    one_line(cli("login", "h", input=""), 125, "--username")
    one_line(cli("login", "-u", "ann", "h", input=""), 125, "--password-stdin")
    one_line(cli("login", "-u", "ann", "--password-stdin", "h", input=""), 125, "the password is empty")
    one_line(cli("login", "-u", "ann", "-p", "x", "a b"), 1, "is not a registry")
