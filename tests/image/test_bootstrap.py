"""A Debian system out of a small archive; the scripts are not run here."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.image.conftest import Told
from tests.image.debian import Deb, Mirror

from noah.image.debian.bootstrap import Bootstrap, Request
from noah.image.errors import ImageError, NotFoundError
from noah.image.store import Image, Store

Line = Callable[[bytes], None]


class Guest:
    """In place of Noah: keeps what it is asked to run."""

    def __init__(self) -> None:
        self.script = ""
        self.status = 0

    def __call__(self, root: Path, argv: list[bytes], environ: Mapping[bytes, bytes], line: Line) -> int:
        self.script = (root / argv[1].decode().lstrip("/")).read_text()
        line(b"Setting up base (1.0) ...")
        line(b"Setting up apt (1.0) ...")
        return self.status


@pytest.fixture
def guest() -> Guest:
    return Guest()


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    mirror = Mirror(tmp_path / "debian")
    mirror.publish("test", debs())
    return mirror


def debs() -> list[Deb]:
    base = Deb("base", {"Essential": "yes", "Multi-Arch": "same"}, {"bin/sh": b"#!", "etc/base.conf": b"a=1\n"})
    base.links = {"usr/bin/link": "../lib/x"}
    base.control = {
        "conffiles": b"/etc/base.conf\n",
        "preinst": b"#!/bin/sh\n",
        "triggers": b"interest-noawait /usr/share/x\ninterest ldconfig # why\n",
        "md5sums": b"00  bin/sh\n",
    }
    apt = Deb("apt", {"Priority": "important", "Depends": "base (>= 1.0), libx | liby"}, {"usr/bin/apt": b"apt"})
    apt.compression = "zst"
    libx = Deb("libx", {}, {"lib/libx.so": b"x"})
    libx.compression = "gz"
    return [base, apt, libx, Deb("extra", {}, {"usr/share/extra": b"e"})]


@pytest.fixture
def pull(store: Store, mirror: Mirror, progress: Told, guest: Guest, tmp_path: Path) -> Callable[..., Image]:
    def run(**options: object) -> Image:
        fields = {"suite": "test", "arch": "amd64", "mirror": mirror.url, "keyrings": (mirror.keyring,)} | options
        request = Request(**fields)  # type: ignore[arg-type]
        progress.total = progress.done = 0
        bootstrap = Bootstrap(store, request, progress, guest, tmp_path / "no-apt")
        bootstrap._progress = Loose(progress)
        return bootstrap.pull(["debian:test"])[0]

    return run


class Loose(Told):
    """The guest here does not configure all packages."""

    def __init__(self, inner: Told) -> None:
        super().__init__()
        self.notes = inner.notes

    def end(self) -> None: ...


Pull = Callable[..., Image]


def test_system_is_laid_out(pull: Pull) -> None:
    image = pull(include=("extra",))
    root = image.rootfs
    assert image.names == ["debian:test"]
    assert image.record["origin"]["packages"] == dict.fromkeys(["apt", "base", "extra", "libx"], "1.0")
    assert (root / "lib").readlink() == Path("usr/lib")
    assert (root / "usr/lib/libx.so").read_bytes() == b"x"
    assert (root / "usr/bin/sh").read_bytes() == b"#!"
    assert (root / "usr/share/extra").exists()
    assert "Suites: test\n" in (root / "etc/apt/sources.list.d/debian.sources").read_text()
    assert not (root / "var/lib/dpkg/noah-configure").exists()


def test_dpkg_database(pull: Pull) -> None:
    dpkg = pull().rootfs / "var/lib/dpkg"
    status = (dpkg / "status").read_text()
    assert status.count("Status: install ok unpacked\n") == 3
    digest = hashlib.md5(b"a=1\n").hexdigest()
    assert f"Conffiles:\n /etc/base.conf {digest}\n" in status
    assert (dpkg / "info/base:amd64.list").read_text().splitlines() == [
        "/.",
        "/bin",
        "/bin/sh",
        "/etc",
        "/etc/base.conf",
        "/usr",
        "/usr/bin",
        "/usr/bin/link",
    ]
    assert (dpkg / "info/apt.md5sums").read_text().endswith("  usr/bin/apt\n")
    assert (dpkg / "info/format").read_text() == "1\n"
    assert (dpkg / "triggers/File").read_text() == "/usr/share/x base:amd64/noawait\n"
    assert (dpkg / "triggers/ldconfig").read_text() == "base:amd64\n"


def test_dpkg_reads_the_database(pull: Pull) -> None:
    root = pull().rootfs
    shown = subprocess.run(
        ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${binary:Package} ${db:Status-Abbrev}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split() for line in shown.stdout.splitlines()] == [["apt", "iU"], ["base:amd64", "iU"], ["libx", "iU"]]
    assert shown.stderr == ""


def test_preinst_runs_before_configuring(pull: Pull, guest: Guest) -> None:
    pull()
    lines = guest.script.splitlines()
    assert any(
        "DPKG_MAINTSCRIPT_PACKAGE=base " in line and line.endswith("base:amd64.preinst install") for line in lines
    )
    assert lines[-1] == "dpkg --configure --pending"


def test_second_pull_finds_it_there(pull: Pull, guest: Guest) -> None:
    first = pull()
    guest.status = 1
    assert pull().id == first.id


def test_new_release_makes_a_new_image(pull: Pull, mirror: Mirror, store: Store) -> None:
    first = pull()
    mirror.publish("test", [*debs(), Deb("newer")], Date="Sun, 02 Jan 2028 00:00:00 UTC")
    assert pull().id != first.id
    assert store.find("debian:test").id != first.id


def fails(store: Store) -> None:
    """Nothing half-made is left."""
    assert store.images() == []
    assert list((store.directory / "work").iterdir()) == []


def test_failing_script_makes_no_image(pull: Pull, guest: Guest, store: Store, progress: Told) -> None:
    guest.status = 7
    with pytest.raises(ImageError, match="exit status 7"):
        pull()
    assert "  Setting up apt (1.0) ..." in progress.notes
    fails(store)


def test_signature_of_a_stranger(pull: Pull, mirror: Mirror, tmp_path: Path, store: Store) -> None:
    with pytest.raises(ImageError, match="wrong signature"):
        pull(keyrings=(Mirror(tmp_path / "other/debian").keyring,))
    fails(store)


def test_signature_of_another_text(pull: Pull, mirror: Mirror, store: Store) -> None:
    path = mirror.directory / "dists/test/InRelease"
    path.write_bytes(path.read_bytes().replace(b"Origin: Tests", b"Origin: Evils"))
    with pytest.raises(ImageError, match="wrong signature"):
        pull()
    fails(store)


def test_no_signature(pull: Pull, mirror: Mirror) -> None:
    (mirror.directory / "dists/test/InRelease").write_bytes(b"Suite: test\nCodename: test\nSHA256:\n")
    with pytest.raises(ImageError, match="wrong signature"):
        pull()


@pytest.mark.parametrize("path", ["pool/libx_1.0.deb", "dists/test/main/binary-amd64/Packages.xz"])
def test_wrong_hash(pull: Pull, mirror: Mirror, store: Store, path: str) -> None:
    place = mirror.directory / path
    content = bytearray(place.read_bytes())
    content[-5] ^= 1
    place.write_bytes(content)
    with pytest.raises(ImageError, match=f"{path}: wrong hash"):
        pull()
    fails(store)


def test_vanished_package(pull: Pull, mirror: Mirror, store: Store) -> None:
    (mirror.directory / "pool/libx_1.0.deb").unlink()
    with pytest.raises(NotFoundError, match=r"libx_1.0.deb: not found"):
        pull()
    fails(store)


def test_unknown_suite(pull: Pull) -> None:
    with pytest.raises(NotFoundError, match="dists/none/InRelease: not found"):
        pull(suite="none")


def test_unknown_package(pull: Pull) -> None:
    with pytest.raises(ImageError, match="no package nonesuch"):
        pull(include=("nonesuch",))


def test_unknown_architecture(pull: Pull) -> None:
    with pytest.raises(ImageError, match="no packages for arm64"):
        pull(arch="arm64")


def test_expired_index(pull: Pull, mirror: Mirror) -> None:
    mirror.publish("test", debs(), Valid_Until="Sat, 02 Jan 2016 00:00:00 UTC")
    with pytest.raises(ImageError, match=r"expired on Sat, 02 Jan 2016.*--allow-expired"):
        pull()
    assert (pull(allow_expired=True).rootfs / "etc/apt/apt.conf.d/90expired").exists()


def test_index_of_another_suite(pull: Pull, mirror: Mirror) -> None:
    mirror.publish("other", debs())
    (mirror.directory / "dists/test/InRelease").write_bytes((mirror.directory / "dists/other/InRelease").read_bytes())
    with pytest.raises(ImageError, match="the index of other, not of test"):
        pull()


def test_damaged_package(pull: Pull, mirror: Mirror, store: Store) -> None:
    class Cut(Deb):
        def build(self) -> bytes:
            return super().build()[:-200]

    mirror.publish("test", [*debs()[:2], Cut("libx", {}, {"lib/x": bytes(5000)})])
    with pytest.raises(ImageError, match=r"libx_1.0.deb.*damaged"):
        pull()
    fails(store)
