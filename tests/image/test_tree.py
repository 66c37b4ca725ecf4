"""Whole trees, as deep as guests can make them: none keeps Noah from removing or counting it."""

from __future__ import annotations

import os
import resource
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from noah.abi.errno import EPERM, ESTALE, LinuxError
from noah.fs.clone import Cloner
from noah.fs.inodelist import list_inodes
from noah.fs.tree import Descent, remove_tree, walk
from noah.host.select import make_host
from noah.image.export import Exporter
from noah.image.store import Store, own_size, size_of

DEEP = 3000


@pytest.fixture(params=["linux", "posix"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A tree that no path leads to the end of; a file of 3 bytes is in each directory."""
    top = tmp_path / "deep"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=fd)
        file = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd)
        os.write(file, b"abc")
        os.close(file)
        inside = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inside
    os.close(fd)
    yield top
    subprocess.run(["rm", "-rf", str(top)], check=True)


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[0], 256), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("few_descriptors")
def test_deep_trees(deep: Path, host: str) -> None:
    own = make_host(host)
    assert size_of(own, deep) == 3 * DEEP
    assert own_size(own, deep) >= 3 * DEEP
    assert len(list_inodes(own, bytes(deep))) == 16 * (2 * DEEP + 2)
    remove_tree(own, bytes(deep))
    assert not deep.exists()


def test_order_and_kinds(tmp_path: Path, host: str) -> None:
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/file").touch()
    (top / "a/link").symlink_to("/")
    os.mkfifo(top / "fifo")
    found = [(name, kind) for _, name, _, kind in walk(make_host(host), bytes(top))]
    assert sorted(found) == [(b"a", 4), (b"b", 4), (b"fifo", 1), (b"file", 8), (b"link", 10)]
    names = [name for name, _ in found]
    assert names.index(b"file") < names.index(b"b") < names.index(b"a")
    assert names.index(b"link") < names.index(b"a")


def test_removal_follows_no_link_and_goes_on_behind_what_stays(tmp_path: Path, host: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    top = tmp_path / "top"
    (top / "a/mounted").mkdir(parents=True)
    (top / "link").symlink_to(outside)
    (top / "a/mounted/file").touch()
    for name in "0z":
        (top / "a" / name).touch()
        (top / name).touch()
    own = make_host(host)
    unlink = own.files.unlinkat

    def unlinkat(files: object, dirfd: int, path: bytes, flags: int = 0) -> None:
        if path == b"file":
            raise LinuxError(EPERM)
        unlink(dirfd, path, flags)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(own.files), "unlinkat", unlinkat)
        remove_tree(own, bytes(top))
    assert sorted(str(path.relative_to(top)) for path in top.rglob("*")) == ["a", "a/mounted", "a/mounted/file"]
    assert (outside / "kept").exists()


def test_container_with_a_deep_tree_does_not_stop_the_store(store: Store, deep: Path) -> None:
    """What is left of one is swept by whoever works next."""
    left = store.directory / "work" / "left"
    left.mkdir()
    deep.rename(left / "deep")
    deep.mkdir()
    with store.work() as work:
        assert list((store.directory / "work").iterdir()) == [work]


@pytest.mark.usefixtures("few_descriptors")
def test_deep_trees_are_copied(deep: Path, host: str, tmp_path: Path) -> None:
    own = make_host(host)
    Cloner(own, own).tree(bytes(deep), bytes(tmp_path / "copy"))
    assert size_of(own, tmp_path / "copy") == 3 * DEEP
    remove_tree(own, bytes(tmp_path / "copy"))


@pytest.mark.usefixtures("few_descriptors")
def test_deep_trees_are_archived(deep: Path, host: str, tmp_path: Path) -> None:
    with (tmp_path / "archive").open("wb") as archive:
        Exporter(make_host(host), archive).tree(bytes(deep))
    with tarfile.open(tmp_path / "archive") as members:
        names = members.getnames()
    assert len(names) == 2 * DEEP
    assert names[:4] == ["d", "d/d", "d/d/d", "d/d/d/d"]
    assert "d/" * DEEP + "file" not in names
    assert "d/" * (DEEP - 1) + "file" in names


def test_who_is_moved_meanwhile_does_not_lead_elsewhere(tmp_path: Path, host: str) -> None:
    (tmp_path / "root/a/b").mkdir(parents=True)
    at = Descent(make_host(host).files, -100, bytes(tmp_path / "root"))
    at.down(b"a")
    at.down(b"b")
    (tmp_path / "root/a/b").rename(tmp_path / "b")
    with pytest.raises(LinuxError) as failed:
        at.up()
    assert failed.value.errno == ESTALE
    at.close()
