"""Stores, and a way to be told of progress, for the tests of images."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.image.noah import Noah, Result
from tests.image.rootfs import make_rootfs
from tests.image.whole import OFFLINE, PATIENCE
from tests.image.whole import Noah as WholeNoah
from tests.running import ordinary_user, run

from noah.fs.ownership import Ownership
from noah.host.select import make_host
from noah.image.owners import host_of
from noah.image.store import Store


class Told:
    """Keeps what a Progress is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done = self.total = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def begin(self, text: str, total: int, unit: str = "B") -> None:
        self.done, self.total = 0, total

    def advance(self, count: int) -> None:
        self.done += count

    def end(self) -> None:
        assert self.done == self.total


@pytest.fixture
def progress() -> Told:
    return Told()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(make_host(), tmp_path / "data")


@pytest.fixture(scope="module", params=["host", "own"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an image called small. own: it has a table of owners, as those of ordinary users have."""
    directory = tmp_path_factory.mktemp("data")
    store = Store(make_host(), directory)
    config = {"Cmd": ["sh", "-c", "echo from-cmd $COLOR $0"], "Env": ["COLOR=blue", "PATH=/bin"], "WorkingDir": "/tmp"}
    with store.work() as work:
        make_rootfs(work / "rootfs")
        if request.param == "own":
            Ownership(store.host, bytes(work / "owners"))
        host_of(store.host, work)  # makes that for an ordinary user in any case
        store.add(work, {"config": config, "architecture": "amd64", "created": "2025-01-01T00:00:00Z"}, ["small"])
    return directory


@pytest.fixture
def cli(noah: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Noah]:
    monkeypatch.setenv("NOAH_DATA", str(data))

    def run(*words: str, **options: object) -> Result:
        return subprocess.run([noah, *words], capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]

    yield run
    ids = run("ps", "--all", "--quiet").stdout.split()
    if ids:
        run("rm", "--force", *ids)


@pytest.fixture(scope="module", params=["ordinary", "root"])
def noah_of(request: pytest.FixtureRequest) -> WholeNoah:
    """Noah with an image called debian."""
    if request.param == "root" and os.getuid():
        pytest.skip("the tests are not run by root")
    noah = WholeNoah(None if request.param == "root" or os.getuid() else ordinary_user())
    if shutil.which("apt-get") is None:
        pytest.skip("this machine has no apt that would know a mirror of Debian")
    result = run([*noah.command, "pull", "debian"], cwd="/", env=noah.environ, timeout=PATIENCE, user=noah.user)
    if any(reason in result.stderr for reason in OFFLINE):
        pytest.skip("Debian's archive cannot be reached from here")
    assert result.status == 0, result.stderr.decode()
    return noah


@pytest.fixture
def name(noah_of: WholeNoah) -> Iterator[str]:
    """A name for the test's container, which goes with the test."""
    yield "test"
    noah_of.forget("rm", "--force", "test")
    noah_of.forget("rmi", "next")
