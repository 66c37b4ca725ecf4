"""Images that umoci(1) and skopeo(1) make, from files and from Debian's docker-registry, against what umoci unpacks."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.image.rootfs import make_rootfs
from tests.running import Result, environment, noah_command, ordinary_user, run, snapshot, working_directory

from noah.host.select import make_host
from noah.image.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="umoci gives files their owners for root only"),
]
TOOLS = ("umoci", "skopeo", "docker-registry", "htpasswd")
PASSWORD = "se:cret"


class Made(NamedTuple):
    """An image of two layers: its layout, and what is in it."""

    layout: Path
    tree: dict[str, tuple[object, ...]]


def sh(*command: str | Path, **options: object) -> None:
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, f"{command}: {ended.stderr}"


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: apt-get install umoci skopeo docker-registry apache2-utils")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tools: None) -> Made:
    place = tmp_path_factory.mktemp("made")
    layout, first, second = place / "layout", place / "first", place / "second"
    sh("umoci", "init", "--layout", layout)
    sh("umoci", "new", "--image", f"{layout}:one")
    sh("umoci", "unpack", "--image", f"{layout}:one", first)
    root = make_rootfs(first / "rootfs")
    (root / "srv/deep/er").mkdir(parents=True)
    for number in range(300):
        (root / f"srv/deep/{number}").write_text(f"{number}\n")
    (root / "srv/gone").mkdir()
    (root / "srv/gone/file").write_text("gone\n")
    (root / "srv/linked").hardlink_to(root / "srv/deep/7")
    (root / "srv/link").symlink_to("/srv/../../srv/deep/7")
    os.mkfifo(root / "srv/pipe")
    os.chown(root / "srv/deep/8", 1000, 50)
    (root / "srv/deep/10").chmod(0o4711)
    (root / "srv/deep").chmod(0o2775)
    (root / "srv" / os.fsdecode(b"odd\xff\nname")).write_text("odd\n")
    os.setxattr(root / "srv/deep/1", "user.note", b"\0\xff=\n")
    sh("umoci", "repack", "--image", f"{layout}:one", first)
    sh("umoci", "unpack", "--image", f"{layout}:one", second)
    root = second / "rootfs"
    for number in range(0, 300, 3):
        (root / f"srv/deep/{number}").unlink()
    shutil.rmtree(root / "srv/gone")
    (root / "srv/gone").write_text("now a file\n")
    (root / "srv/deep/1").chmod(0o600)
    sh("umoci", "repack", "--image", f"{layout}:two", second)
    config = ("--config.entrypoint=sh", "--config.entrypoint=-c", "--config.cmd=id -un; pwd; echo $COLOR")
    more = ("--config.env=PATH=/bin", "--config.env=COLOR=red", "--config.workingdir=/work/here", "--config.user=ann")
    sh("umoci", "config", "--image", f"{layout}:two", *config, *more)
    sh("umoci", "unpack", "--image", f"{layout}:two", place / "third")
    return Made(layout, snapshot(place / "third/rootfs"))


class Registry(NamedTuple):
    address: str
    credentials: tuple[str, ...]


@contextmanager
def serving(place: Path, *, password: bool) -> Iterator[Registry]:
    """A real registry on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    auth = ""
    if password:
        sh("htpasswd", "-Bbc", place / "users", "ann", PASSWORD)
        auth = f"auth: {{htpasswd: {{realm: here, path: {place / 'users'}}}}}\n"
    (place / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n{auth}"
        f"storage: {{filesystem: {{rootdirectory: {place / 'data'}}}}}\n"
    )
    command = ["docker-registry", "serve", str(place / "config.yml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield Registry(f"127.0.0.1:{port}", ("--dest-creds", f"ann:{PASSWORD}") if password else ())
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def pull(tmp_path: Path, noah: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, tuple[object, ...]]]:
    """Pulls, and shows what is in the image."""
    monkeypatch.setenv("NOAH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")

    def one(source: str) -> dict[str, tuple[object, ...]]:
        ended = subprocess.run([noah, "pull", source], capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stderr
        root = Store(make_host(), tmp_path / "data").find(ended.stdout.strip()).rootfs
        assert os.getxattr(root / "srv/deep/1", "user.note") == b"\0\xff=\n"
        return snapshot(root)

    return one


def test_layout(made: Made, pull: Callable[[str], object]) -> None:
    assert pull(f"oci:{made.layout}:two") == made.tree


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive", "zstd", "v2s2"])
def test_what_skopeo_makes(made: Made, pull: Callable[[str], object], tmp_path: Path, kind: str) -> None:
    target = {
        "oci-archive": f"oci-archive:{tmp_path}/a.tar:two",
        "docker-archive": f"docker-archive:{tmp_path}/a.tar:some/name:two",
        "zstd": f"oci:{tmp_path}/zstd:two",
        "v2s2": f"docker-archive:{tmp_path}/b.tar:some/name:two",
    }[kind]
    more = {"zstd": ["--dest-compress", "--dest-compress-format", "zstd"], "v2s2": ["--format", "v2s2"]}.get(kind, [])
    sh("skopeo", "copy", *more, f"oci:{made.layout}:two", target)
    assert pull(target) == made.tree


@pytest.mark.parametrize("form", ["oci", "v2s2"])
@pytest.mark.parametrize("password", [False, True])
def test_registry(
    made: Made, pull: Callable[[str], object], noah: str, tmp_path: Path, form: str, password: bool
) -> None:
    with serving(tmp_path, password=password) as registry:
        name = f"{registry.address}/some/name:two"
        plain = ("--dest-tls-verify=false", *registry.credentials)
        sh("skopeo", "copy", "--format", form, *plain, f"oci:{made.layout}:two", f"docker://{name}")
        if password:
            refused = subprocess.run([noah, "pull", f"docker://{name}"], capture_output=True, text=True, timeout=60)
            assert refused.returncode == 1
            assert f"noah login {registry.address}" in refused.stderr
            login = ("--tls-verify=false", "-u", "ann", "-p", PASSWORD, "--authfile", tmp_path / ".docker/config.json")
            sh("skopeo", "login", *login, registry.address)
        assert pull(f"docker://{name}") == made.tree


def test_saved_archives_are_read_by_others(
    made: Made, pull: Callable[[str], object], noah: str, tmp_path: Path
) -> None:
    pull(f"oci:{made.layout}:two")
    archive = tmp_path / "saved.tar"
    sh(noah, "tag", "layout:two", "some/name:1")
    sh(noah, "save", "-o", archive, "some/name:1")
    for source, layout in ((f"docker-archive:{archive}", "a"), (f"oci-archive:{archive}", "b")):
        sh("skopeo", "copy", source, f"oci:{tmp_path / layout}:saved")
        sh("umoci", "unpack", "--image", f"{tmp_path / layout}:saved", tmp_path / f"{layout}-files")
        assert snapshot(tmp_path / f"{layout}-files/rootfs") == made.tree
    shown = subprocess.run(["skopeo", "inspect", "--config", f"docker-archive:{archive}"], capture_output=True)
    assert json.loads(shown.stdout)["config"]["Cmd"] == ["id -un; pwd; echo $COLOR"]


@pytest.mark.parametrize("password", [False, True])
def test_pushed_images_are_read_by_others(
    made: Made, pull: Callable[[str], object], noah: str, tmp_path: Path, password: bool
) -> None:
    pull(f"oci:{made.layout}:two")
    with serving(tmp_path, password=password) as registry:
        name = f"{registry.address}/some/name:pushed"
        if password:
            refused = subprocess.run([noah, "push", "layout:two", name], capture_output=True, text=True, timeout=60)
            assert refused.returncode == 1
            assert f"noah login {registry.address}" in refused.stderr
            login = [noah, "login", "-u", "ann", "--password-stdin", registry.address]
            wrong = subprocess.run(login, input="no\n", capture_output=True, text=True, timeout=60)
            assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
            assert "password is wrong" in wrong.stderr
            done = subprocess.run(login, input=f"{PASSWORD}\n", capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stdout) == (0, "Login Succeeded\n"), done.stderr
            assert (tmp_path / ".docker/config.json").stat().st_mode & 0o777 == 0o600
        sh(noah, "push", "layout:two", name)
        sh(noah, "push", "-q", "layout:two", name)  # all of it is there
        authentication = ("--authfile", tmp_path / ".docker/config.json") if password else ()
        source = ("--src-tls-verify=false", f"docker://{name}")
        sh("skopeo", "copy", *authentication, *source, f"oci:{tmp_path / 'copy'}:pushed")
        sh("umoci", "unpack", "--image", f"{tmp_path / 'copy'}:pushed", tmp_path / "files")
        assert snapshot(tmp_path / "files/rootfs") == made.tree
        assert pull(f"docker://{name}") == made.tree
        if password:
            sh(noah, "logout", registry.address)
            assert subprocess.run([noah, "push", "layout:two", name], capture_output=True, timeout=60).returncode == 1


def test_ordinary_user(made: Made, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pulls from a registry and runs, with the owners that the image says, as somebody who may give no files away."""
    user = ordinary_user()
    with working_directory(user) as home:
        _as_ordinary_user(user, home, made, tmp_path_factory.mktemp("registry"))


def _as_ordinary_user(user: pwd.struct_passwd, home: Path, made: Made, place: Path) -> None:
    noah = noah_command(user)
    env = environment(NOAH_DATA=str(home / "data"), HOME=str(home), no_proxy="*")

    def cli(*words: str) -> Result:
        return run([*noah, *words], cwd="/", env=env, user=user, timeout=120)

    with serving(place, password=False) as registry:
        name = f"{registry.address}/some/name:two"
        sh("skopeo", "copy", "--dest-tls-verify=false", f"oci:{made.layout}:two", f"docker://{name}")
        pulled = cli("pull", f"docker://{name}")
        assert pulled.status == 0, pulled.stderr
    assert cli("run", "--rm", name).stdout == b"ann\n/work/here\nred\n"
    script = "stat -c '%u:%g %a %h' /srv/deep/8 /srv/deep/10 /srv/deep /srv/linked; cat /srv/gone; ls /srv/deep"
    shown = cli("run", "--rm", "-u", "0", name, script).stdout.decode("utf-8", "replace").splitlines()
    assert shown[:5] == ["1000:50 644 1", "0:0 4711 1", "0:0 2775 3", "0:0 644 2", "now a file"]
    assert len(shown) == 5 + 200 + 1
    changed = cli("run", "-u", "0", "--name", "one", name, "chown 5:6 /srv/deep/8; chmod 700 /srv; rm /srv/link; id -u")
    assert changed.stdout == b"0\n", changed.stderr
    assert cli("commit", "one", "changed").status == 0
    assert cli("rm", "one").status == 0
    script = "stat -c '%u:%g %a' /srv/deep/8 /srv; ls /srv"
    shown = cli("run", "--rm", "-u", "0", "changed", script).stdout.decode("utf-8", "replace").splitlines()
    assert shown[:3] == ["5:6 644", "0:0 700", "deep"]
    assert "link" not in shown
    assert cli("run", "--rm", "-u", "ann", "changed", "ls /srv").status == 2
