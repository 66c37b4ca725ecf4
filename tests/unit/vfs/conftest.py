"""A root directory of the test's own, seen through each host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import pytest
from tests.unit.vfs.caller import FakeCaller

from noah.fs.hostfs import HostTree
from noah.host.select import make_host
from noah.vfs.mounts import MountTable
from noah.vfs.namespace import FsContext

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from noah.host.api import Host


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    """As Noah runs: modes are made by Noah alone."""
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.fixture(params=["linux", "posix"])
def host(request: pytest.FixtureRequest) -> Host:
    return make_host(cast("str", request.param))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The guest's root; `outside` beside it is what no path may reach."""
    (tmp_path / "outside").write_bytes(b"secret")
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def caller(host: Host, root: Path) -> Iterator[FakeCaller]:
    tree = HostTree(host, os.fsencode(root))
    caller = FakeCaller(host, FsContext(MountTable(tree, HostTree(host, b"/"))))
    yield caller
    caller.__dict__.clear()  # pytest keeps the object itself; its descriptors must go
