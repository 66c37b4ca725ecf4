"""Images of the OCI and of docker: from layouts, archives and registries into the store."""

from __future__ import annotations

import base64
import gzip
import json
import os
import stat
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from tests.image import oci
from tests.image.conftest import Told
from tests.image.oci import DIR, LNK, SYM, Image, entry, index, tar
from tests.image.server import Server, serving

from noah.image import fetch
from noah.image.errors import ImageError, NotFoundError
from noah.image.oci.layout import ArchiveTree, DirectoryTree, DockerArchive, OciLayout, split
from noah.image.oci.pull import Pull
from noah.image.oci.reference import parse
from noah.image.oci.registry import Registry
from noah.image.oci.source import Source
from noah.image.store import Store

BASE = tar(
    entry("bin/", type=DIR, mode=0o755),
    entry("bin/tool", b"#!", mode=0o755),
    entry("etc/", type=DIR, mode=0o755),
    entry("etc/one", b"1"),
    entry("etc/two", b"2"),
    entry("var/cache/", type=DIR, mode=0o755),
    entry("var/cache/old", b"old"),
    entry("var/cache/deep/", type=DIR, mode=0o755),
    entry("var/cache/deep/old", b"old"),
)
SECOND = tar(
    entry("etc/.wh.one"),
    entry("etc/two", b"zwei"),
    entry("var/cache/new", b"new"),
    entry("var/cache/.wh..wh..opq"),
    entry("etc/tool", type=LNK, linkname="bin/tool"),
)


@pytest.fixture
def image() -> Image:
    return Image(BASE, SECOND, Entrypoint=["/bin/tool"], Cmd=["a"], Env=["A=b"], User="7:8", WorkingDir="/w")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fetch._Pause, "seconds", 0.0)
    with serving() as server:
        yield server


def pull(store: Store, source: Source, progress: Told, arch: str = "amd64", **more: bool) -> Path:
    """The image's root."""
    found, _ = Pull(store, source, progress).pull([], arch, **more)
    return found.rootfs


def registry(store: Store, server: Server, text: str, progress: Told) -> Registry:
    return Registry(store, parse(f"127.0.0.1:{server.server_port}/{text}"), progress)


def layout(store: Store, directory: Path, tag: str = "") -> OciLayout:
    return OciLayout(DirectoryTree(directory), directory, tag, "oci")


def check(root: Path) -> None:
    """That BASE and SECOND are in it, one over the other."""
    found = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
    assert found == {"bin/tool", "etc/two", "etc/tool", "var/cache/new"}
    assert (root / "etc/two").read_bytes() == b"zwei"
    assert (root / "etc/tool").samefile(root / "bin/tool")
    assert stat.S_IMODE((root / "bin/tool").stat().st_mode) == 0o755


# References


@pytest.mark.parametrize(
    ("text", "registry", "repository", "version", "name"),
    [
        ("debian", "docker.io", "library/debian", "latest", "docker.io/library/debian:latest"),
        ("a/b:1.2", "docker.io", "a/b", "1.2", "docker.io/a/b:1.2"),
        ("docker.io/debian:12", "docker.io", "library/debian", "12", "docker.io/library/debian:12"),
        ("localhost/x", "localhost", "x", "latest", "localhost/x:latest"),
        ("h:5000/a/b__c", "h:5000", "a/b__c", "latest", "h:5000/a/b__c:latest"),
        ("[::1]:5000/a:t", "[::1]:5000", "a", "t", "[::1]:5000/a:t"),
        (f"h.x/a:t@sha256:{'0' * 64}", "h.x", "a", f"sha256:{'0' * 64}", f"h.x/a@sha256:{'0' * 64}"),
    ],
)
def test_references(text: str, registry: str, repository: str, version: str, name: str) -> None:
    found = parse(text)
    assert (found.registry, found.repository, found.version, found.name) == (registry, repository, version, name)


@pytest.mark.parametrize(
    "text", ["", "A", "a:", "a@sha256:12", "a@md5:0", "h:5000/", "a/../b", "a b", "h:5000/A", "-a", "a:b:c", "a//b"]
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ImageError):
        parse(text)


# Layers, one over the other, from every kind of source


def test_layout(store: Store, image: Image, progress: Told, tmp_path: Path) -> None:
    directory = oci.write_layout(tmp_path / "lay", index(image.entry("v1")), image)
    check(pull(store, layout(store, directory), progress))
    found = store.find("lay:v1")
    assert found.id == image.id
    config = {"Entrypoint": ["/bin/tool"], "Cmd": ["a"], "Env": ["A=b"], "User": "7:8", "WorkingDir": "/w"}
    assert found.record["config"] == config


@pytest.mark.parametrize("packed", [False, True])
def test_layout_in_an_archive(store: Store, image: Image, progress: Told, tmp_path: Path, packed: bool) -> None:
    directory = oci.write_layout(tmp_path / "lay", index(image.entry()), image)
    path = oci.write_archive(tmp_path / "lay.tar", directory)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    check(pull(store, OciLayout(ArchiveTree(path, store), path, "", "oci-archive"), progress))
    assert store.find("lay:latest").id == image.id


def test_archive_of_docker(store: Store, image: Image, progress: Told, tmp_path: Path) -> None:
    other = Image(BASE)
    path = oci.write_docker_archive(tmp_path / "a.tar", {"a/other:1": other, "a/one:2": image})
    check(pull(store, DockerArchive(ArchiveTree(path, store), path, "a/one:2"), progress))
    assert store.find("a/one:2").names == ["docker.io/a/one:2"]
    with pytest.raises(ImageError, match=r"which image\?; there are: docker.io/a/one:2, docker.io/a/other:1"):
        pull(store, DockerArchive(ArchiveTree(path, store), path, ""), progress)


@pytest.mark.parametrize("packed", [False, True])
def test_registry(store: Store, server: Server, progress: Told, packed: bool) -> None:
    image = Image(BASE, SECOND, packed=packed)
    oci.serve(server, "a/b", {"v1": image.manifest}, image)
    check(pull(store, registry(store, server, "a/b:v1", progress), progress))
    asked = len(server.asked)
    _, fresh = Pull(store, registry(store, server, "a/b:v1", progress), progress).pull(["again"], "amd64")
    assert not fresh
    assert len([path for path, _ in server.asked[asked:] if "/blobs/" in path]) == 0
    assert store.find("again").id == image.id


def test_layers_are_shared(store: Store, server: Server, progress: Told) -> None:
    one, two = Image(BASE), Image(BASE, SECOND)
    oci.serve(server, "a", {"one": one.manifest, "two": two.manifest}, one, two)
    pull(store, registry(store, server, "a:one", progress), progress)
    check(pull(store, registry(store, server, "a:two", progress), progress))
    assert [path for path, _ in server.asked].count(f"/v2/a/blobs/{oci.digest(one.layers[0])}") == 1


def test_architecture_decides(store: Store, server: Server, progress: Told) -> None:
    amd, arm = Image(BASE), Image(tar(entry("arm", b"1")), arch="arm64")
    attested = {**arm.entry(), "platform": {"os": "unknown", "architecture": "unknown"}}
    top = index(attested, arm.entry(platform="linux/arm64"), amd.entry(platform="linux/amd64"))
    oci.serve(server, "a", {"latest": top}, amd, arm)
    assert (pull(store, registry(store, server, "a", progress), progress) / "bin/tool").exists()
    assert (pull(store, registry(store, server, "a", progress), progress, "arm64") / "arm").exists()
    with pytest.raises(ImageError, match=r"no image for linux/riscv64; there are: linux/amd64, linux/arm64"):
        pull(store, registry(store, server, "a", progress), progress, "riscv64")


def test_another_architecture_must_not_be_asked_for(store: Store, server: Server, progress: Told) -> None:
    arm = Image(BASE, arch="arm64")
    oci.serve(server, "a", {"latest": arm.manifest}, arm)
    with pytest.raises(ImageError, match="this one is for arm64"):
        pull(store, registry(store, server, "a", progress), progress, exactly=True)
    assert pull(store, registry(store, server, "a", progress), progress).exists()


def test_by_digest(store: Store, server: Server, image: Image, progress: Told) -> None:
    oci.serve(server, "a", {"latest": image.manifest}, image)
    check(pull(store, registry(store, server, f"a@{oci.digest(image.manifest)}", progress), progress))


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("", r"which image\? say .*:one or another of: one, two"),
        ("none", "no image is tagged none; there are: one, two"),
    ],
)
def test_layout_with_several(store: Store, progress: Told, tmp_path: Path, more: str, what: str) -> None:
    one, two = Image(BASE), Image(BASE, SECOND)
    directory = oci.write_layout(tmp_path / "lay", index(one.entry("one"), two.entry("two")), one, two)
    with pytest.raises(ImageError, match=what):
        pull(store, layout(store, directory, more), progress)
    check(pull(store, layout(store, directory, "two"), progress))


def test_paths_may_have_colons(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    assert split(f"{tmp_path}/a:b:tag:1") == (tmp_path / "a:b", "tag:1")
    assert split(f"{tmp_path}/a:b") == (tmp_path / "a:b", "")
    with pytest.raises(NotFoundError, match="no such file"):
        split(f"{tmp_path}/c:tag")


# What must not be believed


def failed(store: Store) -> None:
    """Nothing is left of a pull that failed."""
    assert store.images() == []
    assert list((store.directory / "work").iterdir()) == []


@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_wrong_digests(store: Store, server: Server, image: Image, progress: Told, which: str) -> None:
    oci.serve(server, "a", {"latest": index(image.entry(platform="linux/amd64"))}, image)
    data = {"manifest": image.manifest, "config": image.config, "layer": image.layers[1]}[which]
    for kind in ("blobs", "manifests"):
        server.files[f"/v2/a/{kind}/{oci.digest(data)}"] = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(ImageError, match=r"wrong (digest|hash)"):
        pull(store, registry(store, server, "a", progress), progress)
    failed(store)


def test_wrong_digest_of_what_is_asked_for(store: Store, server: Server, image: Image, progress: Told) -> None:
    oci.serve(server, "a", {"latest": image.manifest}, image)
    wanted = f"sha256:{'0' * 64}"
    server.files[f"/v2/a/manifests/{wanted}"] = image.manifest
    with pytest.raises(ImageError, match="wrong digest"):
        pull(store, registry(store, server, f"a@{wanted}", progress), progress)


def test_wrong_digest_of_a_layers_content(store: Store, progress: Told, tmp_path: Path) -> None:
    image = Image(BASE)
    config = json.loads(image.config)
    config["rootfs"]["diff_ids"] = [oci.digest(SECOND)]
    image.config = json.dumps(config).encode()
    path = oci.write_docker_archive(tmp_path / "a.tar", {"a:1": image})
    with pytest.raises(ImageError, match=r"layer \w+: wrong digest"):
        pull(store, DockerArchive(ArchiveTree(path, store), path, ""), progress)
    failed(store)


def test_layer_of_a_layout_that_was_changed(store: Store, image: Image, progress: Told, tmp_path: Path) -> None:
    directory = oci.write_layout(tmp_path / "lay", index(image.entry()), image)
    blob = directory / "blobs/sha256" / oci.digest(image.layers[0]).removeprefix("sha256:")
    blob.write_bytes(gzip.compress(BASE, 1))
    with pytest.raises(ImageError, match="wrong digest"):
        pull(store, layout(store, directory), progress)
    blob.write_bytes(image.layers[0][:-20])
    with pytest.raises(ImageError, match="damaged"):
        pull(store, layout(store, directory), progress)
    blob.unlink()
    with pytest.raises(ImageError, match="is missing"):
        pull(store, layout(store, directory), progress)
    failed(store)


@pytest.mark.parametrize(
    ("top", "what"),
    [
        (b"<html>", "no JSON"),
        (b"[]", "no JSON object"),
        (b"[" * 100_000, "no JSON"),
        (b'{"schemaVersion": 1, "fsLayers": []}', "too old"),
        (b'{"schemaVersion": 2}', "a descriptor is missing"),
        (b'{"config": {"digest": "sha256:../../x"}, "layers": []}', "is no digest"),
        (b'{"config": {"digest": "sha512:00"}, "layers": []}', "is no digest"),
        (b'{"manifests": [7]}', "a descriptor is missing"),
        (b'{"manifests": [{}, {"platform": 3}]}', "is no digest"),
        (b'{"manifests": []}', "no image for linux/amd64"),
    ],
)
def test_manifests_that_are_none(store: Store, server: Server, progress: Told, top: bytes, what: str) -> None:
    server.files["/v2/a/manifests/latest"] = top
    with pytest.raises(ImageError, match=what):
        pull(store, registry(store, server, "a", progress), progress)
    failed(store)


def test_artifact_that_is_no_image(store: Store, server: Server, progress: Told) -> None:
    image = Image(BASE)
    made = json.loads(image.manifest)
    made["layers"][0]["mediaType"] = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    oci.serve(server, "a", {"latest": json.dumps(made).encode()}, image)
    with pytest.raises(ImageError, match=r"not an image to run: it holds application/vnd\.cncf\.helm"):
        pull(store, registry(store, server, "a", progress), progress)


def test_index_that_leads_to_itself(store: Store, server: Server, progress: Told) -> None:
    image = Image(BASE)
    top = index(image.entry())
    for _ in range(5):
        image.add(top, oci.INDEX)
        top = index({"mediaType": oci.INDEX, "digest": oci.digest(top), "size": len(top)})
    oci.serve(server, "a", {"latest": top}, image)
    with pytest.raises(ImageError, match="too many indexes"):
        pull(store, registry(store, server, "a", progress), progress)


def test_configuration_of_another_form(store: Store, server: Server, progress: Told) -> None:
    image = Image(BASE, Env="A=b", Cmd=[1, "sh"], User=7, WorkingDir=["/"], Entrypoint={"a": 1}, Volumes=["/x"])
    oci.serve(server, "a", {"latest": image.manifest}, image)
    pull(store, registry(store, server, "a", progress), progress)
    assert store.find(image.id).record["config"] == {"Cmd": ["sh"]}


@pytest.mark.parametrize(
    "entries",
    [
        (entry("../../escaped", b"x"),),
        (entry("a", type=SYM, linkname="../../.."), entry("a/escaped", b"x")),
        (entry("a", type=SYM, linkname="/tmp/.."), entry("a/escaped", b"x")),
        (entry("/escaped", b"x"),),
        (entry("a", type=LNK, linkname="../../image.json"),),
        (entry("d/", type=DIR), entry("d/.wh..."), entry("d/.wh.."), entry(".wh...")),
        (entry("a", type=SYM, linkname=".."), entry("a/.wh.image.json"), entry("a/.wh..wh..opq")),
    ],
)
def test_nothing_is_written_outside(store: Store, server: Server, progress: Told, entries: tuple[oci.Entry]) -> None:
    image = Image(BASE, tar(*entries))
    oci.serve(server, "a", {"latest": image.manifest}, image)
    before = {path for path in store.directory.parent.rglob("*")}
    try:
        pull(store, registry(store, server, "a", progress), progress)
    except ImageError:
        failed(store)
    new = {path for path in store.directory.parent.rglob("*")} - before
    for path in new:
        rest = path.relative_to(store.directory).parts
        assert rest[0] in ("cache", "names", "locks") or rest[:2] == ("images", image.id), path
    if store.images():
        assert sorted(os.listdir(store.directory / "images" / image.id))[:1] == ["image.json"]
    assert not Path("/escaped").exists()


# Who asks


class Guard:
    """Wants a token, or a password, for what is below /v2/."""

    def __init__(self, server: Server, user: str = "", *, basic: bool = False) -> None:
        self.server = server
        self.secret = base64.b64encode(user.encode()).decode()
        self.basic = basic
        self.tokens: list[str] = []
        self.realms: list[str] = []

    def __call__(self, path: str, headers: Message) -> tuple[int, str, bytes] | None:
        said = headers.get("Authorization", "")
        if path.startswith("/token"):
            self.realms.append(path)
            if self.secret and said != f"Basic {self.secret}":
                return (
                    401,
                    'Basic realm="x"',
                    b'{"errors": [{"code": "UNAUTHORIZED", "message": "Incorrect Password"}]}',
                )
            self.tokens.append(f"t{len(self.tokens)}")
            return 200, "", json.dumps({"token": self.tokens[-1]}).encode()
        if not path.startswith("/v2/"):
            return None
        if self.basic:
            return None if said == f"Basic {self.secret}" else (401, 'Basic realm="basic-realm"', b"")
        if self.tokens and said == f"Bearer {self.tokens[-1]}":
            return None
        challenge = f'Bearer realm="{self.server.url}/token",service="reg",scope="repository:a:pull"'
        return 401, challenge, b'{"errors": [{"code": "DENIED", "message": "requested access is denied"}]}'


def docker_config(home: Path, content: object) -> None:
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker/config.json").write_text(json.dumps(content))


def test_token_for_anybody(store: Store, server: Server, image: Image, progress: Told) -> None:
    oci.serve(server, "a", {"latest": image.manifest}, image)
    server.guard = guard = Guard(server)
    check(pull(store, registry(store, server, "a", progress), progress))
    assert guard.realms == ["/token?service=reg&scope=repository%3Aa%3Apull"]


def test_token_whose_time_is_over(store: Store, server: Server, image: Image, progress: Told) -> None:
    oci.serve(server, "a", {"latest": image.manifest}, image)
    server.guard = guard = Guard(server)
    source = registry(store, server, "a", progress)
    manifest = source.find("amd64")
    guard.tokens.append("another")
    source.layers(manifest.layers)
    assert len(guard.realms) == 2


@pytest.mark.parametrize("basic", [False, True])
@pytest.mark.parametrize("where", ["auth", "username", "credHelpers", "credsStore", "podman"])
def test_password_of_the_user(
    store: Store,
    server: Server,
    image: Image,
    progress: Told,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    basic: bool,
) -> None:
    oci.serve(server, "a", {"latest": image.manifest}, image)
    server.guard = Guard(server, "ann:pass:word", basic=basic)
    name = f"127.0.0.1:{server.server_port}"
    packed = base64.b64encode(b"ann:pass:word").decode()
    if where == "auth":
        docker_config(tmp_path, {"auths": {name: {"auth": packed}}})
    elif where == "username":
        docker_config(tmp_path, {"auths": {f"https://{name}/": {"username": "ann", "password": "pass:word"}}})
    elif where == "podman":
        (tmp_path / ".config/containers").mkdir(parents=True)
        auths = {name: {"auth": base64.b64encode(b"wrong:one").decode()}, f"{name}/a": {"auth": packed}}
        (tmp_path / ".config/containers/auth.json").write_text(json.dumps({"auths": auths}))
    else:
        helper = tmp_path / "docker-credential-mine"
        helper.write_text(f"""#!/bin/sh
            read server; [ "$1 $server" = "get {name}" ] || exit 1
            echo '{{"ServerURL": "{name}", "Username": "ann", "Secret": "pass:word"}}'""")
        helper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        docker_config(tmp_path, {where: {name: "mine"} if where == "credHelpers" else "mine"})
    check(pull(store, registry(store, server, "a", progress), progress))


@pytest.mark.parametrize("basic", [False, True])
def test_no_password_and_a_wrong_one(
    store: Store, server: Server, image: Image, progress: Told, tmp_path: Path, basic: bool
) -> None:
    oci.serve(server, "a", {"latest": image.manifest}, image)
    server.guard = Guard(server, "ann:secret", basic=basic)
    name = f"127.0.0.1:{server.server_port}"
    with pytest.raises(ImageError, match=r"noah login 127|password is wrong"):
        pull(store, registry(store, server, "a", progress), progress)
    docker_config(tmp_path, {"auths": {name: {"auth": base64.b64encode(b"ann:wrong").decode()}}})
    with pytest.raises(ImageError, match=r"noah login 127|password is wrong"):
        pull(store, registry(store, server, "a", progress), progress)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{", "damaged: it is no JSON"),
        ('{"auths": {"NAME": {"auth": "?"}}}', "is no base64"),
        ('{"credHelpers": {"NAME": "none-such"}}', "docker-credential-none-such cannot be run"),
        ('{"credHelpers": {"NAME": "../x"}}', "is no name for a credential helper"),
    ],
)
def test_configuration_of_docker_that_is_damaged(
    store: Store, server: Server, image: Image, progress: Told, tmp_path: Path, content: str, what: str
) -> None:
    server.guard = Guard(server, "ann:secret")
    docker_config(tmp_path, {})
    (tmp_path / ".docker/config.json").write_text(content.replace("NAME", f"127.0.0.1:{server.server_port}"))
    with pytest.raises(ImageError, match=what):
        pull(store, registry(store, server, "a", progress), progress)


def test_password_does_not_follow_to_another_server(
    store: Store, server: Server, image: Image, progress: Told, tmp_path: Path
) -> None:
    name = f"127.0.0.1:{server.server_port}"
    docker_config(tmp_path, {"auths": {name: {"auth": base64.b64encode(b"ann:secret").decode()}}})
    oci.serve(server, "a", {"latest": image.manifest}, image)
    guard = Guard(server, "ann:secret", basic=True)
    said: list[str | None] = []
    with serving() as store_server:
        store_server.files = server.files

        def elsewhere(path: str, headers: Message) -> tuple[int, str, bytes] | None:
            said.append(headers.get("Authorization"))
            return None

        def redirect(path: str, headers: Message) -> tuple[int, str, bytes] | None:
            if answer := guard(path, headers):
                return answer
            return (307, store_server.url + path, b"") if "/blobs/" in path else None

        store_server.guard, server.guard = elsewhere, redirect
        check(pull(store, registry(store, server, "a", progress), progress))
    assert said == [None] * 3


# Trouble on the way


def test_registry_that_is_not_there(store: Store, server: Server, progress: Told) -> None:
    source = registry(store, server, "a", progress)
    server.server_close()
    with pytest.raises(ImageError, match="connection refused"):
        source.find("amd64")


def test_image_that_is_not_there(store: Store, server: Server, progress: Told) -> None:
    with pytest.raises(NotFoundError, match=r"a:latest: 127\.0\.0\.1:\d+ has no such image"):
        registry(store, server, "a", progress).find("amd64")


def test_download_that_was_cut_goes_on(store: Store, server: Server, image: Image, progress: Told) -> None:
    oci.serve(server, "a", {"latest": image.manifest}, image)
    source = registry(store, server, "a", progress)
    manifest = source.find("amd64")
    server.failures = [0, 0, 503, 200]
    source.layers(manifest.layers)
    assert len([wanted for _, wanted in server.asked if wanted]) >= 2
    check(pull(store, source, progress))


def test_two_pulls_at_once(store: Store, server: Server, image: Image, progress: Told) -> None:
    oci.serve(server, "a", {"latest": image.manifest}, image)
    found: list[bool] = []

    def one() -> None:
        told = Told()
        found.append(Pull(store, registry(store, server, "a", told), told).pull([], "amd64")[1])

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False, False, False, True]
    check(store.find(image.id).rootfs)


def test_short_names(store: Store, image: Image, progress: Told, tmp_path: Path) -> None:
    path = oci.write_docker_archive(tmp_path / "a.tar", {"tool:2": image})
    pull(store, DockerArchive(ArchiveTree(path, store), path, ""), progress)
    for name in ("tool:2", "library/tool:2", "docker.io/library/tool:2", image.id[:12]):
        assert store.find(name).id == image.id
    assert store.remove("tool:2") == ["Untagged: docker.io/library/tool:2", f"Deleted: sha256:{image.id}"]


# The command


def test_command(noah: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOAH_DATA", str(store.directory))
    image = Image(BASE)
    oci.write_layout(tmp_path / "lay", index(image.entry("v1")), image)

    def run(*words: str) -> tuple[int, str, str]:
        ended = subprocess.run([noah, *words], capture_output=True, text=True, timeout=60)
        return ended.returncode, ended.stdout, ended.stderr

    assert run("pull", f"oci:{tmp_path}/lay:v1")[:2] == (0, "lay:v1\n")
    assert run("pull", "-q", "--name", "other", f"oci:{tmp_path}/lay") == (0, f"{image.id}\n", "")
    assert run("pull", f"oci:{tmp_path}/none")[2] == f"noah: {tmp_path}/none: no such file or directory\n"
    assert "write docker://alpine" in run("pull", "alpine")[2]
    assert "option --variant is for debian only" in run("pull", "--variant", "buildd", f"oci:{tmp_path}/lay")[2]


def test_tarball(noah: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOAH_DATA", str(store.directory))
    elf = b"\x7fELF" + bytes(14) + (62).to_bytes(2, "little")
    path = tmp_path / "Arch Linux.tar.gz"
    path.write_bytes(
        gzip.compress(
            tar(
                entry("version", b"1"),
                entry("root.x86_64/", type=DIR, mode=0o755),
                entry("root.x86_64/usr/bin/", type=DIR, mode=0o755),
                entry("root.x86_64/bin", type=SYM, linkname="usr/bin"),
                entry("root.x86_64/usr/bin/sh", elf, mode=0o755),
            )
        )
    )
    ended = subprocess.run([noah, "pull", f"rootfs:{path}"], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "arch-linux:latest\n", ended.stderr
    image = store.find("arch-linux")
    assert (image.rootfs / "bin/sh").exists()
    assert (image.record["architecture"], image.record["config"]["Cmd"]) == ("amd64", ["/bin/sh"])
    for content in (b"no archive", tar(entry("f", b"1")), gzip.compress(b"x" * 9000)[:-9]):
        path.write_bytes(content)
        ended = subprocess.run([noah, "pull", f"rootfs:{path}"], capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.splitlines()[-1].startswith(f"noah: {path}: ")
    assert len(store.images()) == 1


def test_unpacked_by_an_ordinary_user(store: Store, progress: Told, tmp_path: Path) -> None:
    """Owners, set-user-ID bits and devices are kept beside the tree."""
    from noah.fs.ownership import Ownership
    from noah.image.owners import host_of

    null = entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    image = Image(tar(entry("su", b"x", mode=0o4755, uid=0), entry("a", b"x", uid=7, gid=8), null))
    directory = oci.write_layout(tmp_path / "lay", index(image.entry()), image)
    work = store.work

    from contextlib import contextmanager

    @contextmanager
    def with_owners() -> Iterator[Path]:
        with work() as made:
            Ownership(store.host, bytes(made / "owners"))
            yield made

    store.work = with_owners  # type: ignore[method-assign]
    root = pull(store, layout(store, directory), progress)
    files = host_of(store.host, root.parent).files
    found = {name: files.fstatat(-100, bytes(root / name), 0x100) for name in ("su", "a", "null")}
    assert stat.S_IMODE(found["su"].mode) == 0o4755
    assert (found["a"].uid, found["a"].gid) == (7, 8)
    assert stat.S_ISCHR(found["null"].mode)
    assert found["null"].rdev == 0x103
    assert stat.S_IMODE((root / "su").stat().st_mode) == 0o755
