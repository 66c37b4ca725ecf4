"""Downloads: checked, kept, resumed."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.image.conftest import Told
from tests.image.server import Server, serving

from noah.host.select import make_host
from noah.image import fetch
from noah.image.errors import ImageError, NotFoundError
from noah.image.fetch import Fetcher, Wanted
from noah.image.store import Store

CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetch._Pause, "seconds", 0.0)
    with serving() as server:
        server.files["/f"] = CONTENT
        yield server


@pytest.fixture
def fetcher(store: Store, progress: Told) -> Fetcher:
    return Fetcher(store, progress)


def wanted(server: Server, path: str = "/f", content: bytes = CONTENT, size: int | None = None) -> Wanted:
    return Wanted(server.url + path, hashlib.sha256(content).hexdigest(), len(content) if size is None else size)


def partial(store: Store) -> list[int]:
    return [path.stat().st_size for path in (store.cache / "partial").iterdir() if path.stat().st_size]


def test_downloaded_once(server: Server, fetcher: Fetcher, progress: Told) -> None:
    progress.begin("", len(CONTENT))
    assert fetcher.get(wanted(server)).read_bytes() == CONTENT
    progress.end()
    progress.begin("", len(CONTENT))
    fetcher.get(wanted(server))
    progress.end()
    assert len(server.asked) == 1


def test_size_that_is_not_known(server: Server, fetcher: Fetcher) -> None:
    assert fetcher.get(wanted(server, size=-1)).read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_interrupted_download_goes_on(
    server: Server, fetcher: Fetcher, store: Store, progress: Told, ranges: bool
) -> None:
    server.ranges = ranges
    (store.cache / "partial" / wanted(server).sha256).write_bytes(CONTENT[:1000])
    progress.begin("", len(CONTENT))
    assert fetcher.get(wanted(server)).read_bytes() == CONTENT
    progress.end()
    assert server.asked == [("/f", "bytes=1000-")]


def test_connection_that_breaks_is_made_again(server: Server, fetcher: Fetcher, progress: Told) -> None:
    server.failures = [0, 503]
    progress.begin("", len(CONTENT))
    assert fetcher.get(wanted(server)).read_bytes() == CONTENT
    progress.end()
    assert [range for _, range in server.asked] == ["", f"bytes={len(CONTENT) // 2}-", f"bytes={len(CONTENT) // 2}-"]


def test_wrong_beginning_is_thrown_away(server: Server, fetcher: Fetcher, store: Store, progress: Told) -> None:
    (store.cache / "partial" / wanted(server).sha256).write_bytes(b"wrong")
    progress.begin("", len(CONTENT))
    assert fetcher.get(wanted(server)).read_bytes() == CONTENT
    progress.end()


def test_wrong_hash_is_refused(server: Server, fetcher: Fetcher, store: Store) -> None:
    server.files["/f"] = b"!" + CONTENT[1:]
    with pytest.raises(ImageError, match=r"/f: wrong hash"):
        fetcher.get(wanted(server))
    assert not fetcher.is_kept(wanted(server).sha256)
    assert partial(store) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("content", [CONTENT + b"more", CONTENT[:-1]])
def test_wrong_size_is_refused(server: Server, fetcher: Fetcher, content: bytes) -> None:
    server.files["/f"] = content
    with pytest.raises(ImageError, match="wrong hash"):
        fetcher.get(wanted(server))


def test_missing_file_is_said(server: Server, fetcher: Fetcher) -> None:
    with pytest.raises(NotFoundError, match=r"/gone: not found \(HTTP 404\)"):
        fetcher.get(wanted(server, "/gone"))
    with pytest.raises(NotFoundError):
        fetcher.read(server.url + "/gone")


def test_server_that_only_fails(server: Server, fetcher: Fetcher) -> None:
    server.failures = [500] * 9
    with pytest.raises(ImageError, match=r"127.0.0.1:\d+: .*HTTP 500"):
        fetcher.get(wanted(server))


def test_no_server(fetcher: Fetcher, server: Server) -> None:
    server.server_close()
    with pytest.raises(ImageError, match="connection refused"):
        fetcher.read(server.url + "/f")


def test_many_at_once(server: Server, fetcher: Fetcher, progress: Told) -> None:
    contents = [b"%d" % number * 1000 for number in range(40)]
    server.files |= {f"/{number}": content for number, content in enumerate(contents)}
    progress.begin("", sum(map(len, contents)))
    paths = fetcher.get_all([wanted(server, f"/{number}", content) for number, content in enumerate(contents)])
    progress.end()
    assert [path.read_bytes() for path in paths] == contents


def test_one_failure_ends_them_all(server: Server, fetcher: Fetcher) -> None:
    with pytest.raises(NotFoundError, match="/gone"):
        fetcher.get_all([wanted(server, "/gone", b"x"), *[wanted(server)] * 3])
    assert fetcher.get_all([wanted(server)])[0].read_bytes() == CONTENT


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a small disk")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_full_disk_is_said(server: Server, small_disk: Path, progress: Told) -> None:
    store = Store(make_host(), small_disk / "data")
    with pytest.raises(ImageError, match="no space left on device"):
        Fetcher(store, progress).get(wanted(server))
    assert not (store.cache / "sha256" / wanted(server).sha256).exists()
