"""Archives into trees: what they may, and what they must not."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from noah.host.select import make_host
from noah.image.errors import ImageError
from noah.image.unpack import Unpacker

Entry = tuple[str, dict[str, object], bytes]


def entry(name: str, content: bytes = b"", **fields: object) -> Entry:
    return name, fields, content


def tar(*entries: Entry) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, fields, content in entries:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            for key, value in fields.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def unpack(root: Path) -> Callable[..., list[bytes]]:
    def run(*archives: bytes, layers: bool = False) -> list[bytes]:
        unpacker = Unpacker(make_host(), bytes(root), layers=layers)
        seen: list[bytes] = []
        for data in archives:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r|", errors="surrogateescape") as archive:
                unpacker.unpack(archive, "test.tar", seen.append)
        unpacker.finish()
        return seen

    return run


Unpack = Callable[..., list[bytes]]
DIR, SYM, LNK, CHR, FIFO = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE


def test_kinds_modes_and_times(root: Path, unpack: Unpack) -> None:
    seen = unpack(
        tar(
            entry("./", type=DIR, mode=0o755, mtime=5),
            entry("./d/", type=DIR, mode=0o2750, mtime=7),
            entry("./d/f", b"hello", mode=0o4711, mtime=1.5),
            entry("./d/h", type=LNK, linkname="./d/f"),
            entry("./d/s", type=SYM, linkname="../nowhere", mtime=9),
            entry("./d/p", type=FIFO, mode=0o600),
        )
    )
    assert seen == [b"/", b"/d", b"/d/f", b"/d/h", b"/d/s", b"/d/p"]
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o2750
    assert stat.S_IMODE((root / "d/f").stat().st_mode) == 0o4711
    assert ((root / "d/f").stat().st_mtime, (root / "d").stat().st_mtime, root.stat().st_mtime) == (1.5, 7, 5)
    assert (root / "d/f").samefile(root / "d/h")
    assert os.readlink(root / "d/s") == "../nowhere"
    assert (root / "d/s").lstat().st_mtime == 9
    assert stat.S_ISFIFO((root / "d/p").stat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners(root: Path, unpack: Unpack) -> None:
    unpack(tar(entry("f", uid=12, gid=34, mode=0o6755), entry("l", type=SYM, linkname="f", uid=1, gid=2)))
    assert ((root / "f").stat().st_uid, (root / "f").stat().st_gid) == (12, 34)
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o6755
    assert ((root / "l").lstat().st_uid, (root / "l").lstat().st_gid) == (1, 2)


def test_names_that_are_no_text(root: Path, unpack: Unpack) -> None:
    unpack(tar(entry("a\udcff", b"x")))
    assert os.listdir(bytes(root)) == [b"a\xff"]


def test_links_to_directories_stay_and_lead(root: Path, unpack: Unpack) -> None:
    unpack(
        tar(entry("usr/lib/", type=DIR, mode=0o755), entry("lib", type=SYM, linkname="usr/lib")),
        tar(entry("lib/", type=DIR, mode=0o755), entry("lib/x/", type=DIR, mode=0o755), entry("lib/x/f", b"1")),
    )
    assert (root / "lib").is_symlink()
    assert (root / "usr/lib/x/f").read_bytes() == b"1"


def test_later_files_replace_earlier_ones(root: Path, unpack: Unpack) -> None:
    unpack(tar(entry("f", b"one"), entry("g", b"g"), entry("f", b"two"), entry("g", type=SYM, linkname="f")))
    assert (root / "f").read_bytes() == b"two"
    assert os.readlink(root / "g") == "f"


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "./../outside", "a/../b"])
def test_dotdot_in_names_is_refused(root: Path, unpack: Unpack, name: str) -> None:
    with pytest.raises(ImageError, match="leads out"):
        unpack(tar(entry(name, b"theirs")))
    assert (root.parent / "outside").read_text() == "mine"


def test_absolute_names_are_inside(root: Path, unpack: Unpack) -> None:
    unpack(tar(entry("/etc/f", b"1")))
    assert (root / "etc/f").read_bytes() == b"1"


@pytest.mark.parametrize("layers", [False, True])
def test_links_lead_nowhere_out(root: Path, unpack: Unpack, layers: bool) -> None:
    outside = str(root.parent)
    (root / f".{outside}").mkdir(parents=True)
    unpack(
        tar(
            entry("up", type=SYM, linkname="../../../../.."),
            entry("abs", type=SYM, linkname=outside),
            entry("up/one", b"1"),
            entry("abs/outside", b"2"),
            entry("abs/two", b"2"),
        ),
        layers=layers,
    )
    assert (root / "one").read_bytes() == b"1"
    assert (root / f".{outside}/two").read_bytes() == b"2"
    assert (root.parent / "outside").read_text() == "mine"
    assert sorted(os.listdir(root.parent)) == ["outside", "root"]


def test_whiteouts_below_what_this_layer_has_replaced(root: Path, unpack: Unpack) -> None:
    """umoci(1) lists what was in a directory that is now a file, or a link to one whose files must stay."""
    first = tar(
        *(entry(f"{name}/", type=DIR, mode=0o755) for name in ("a", "b", "keep")),
        *(entry(f"{name}/f", b"1") for name in ("a", "b", "keep")),
    )
    second = tar(
        entry("a", b"file"),
        entry("a/.wh.f"),
        entry("b", type=SYM, linkname="keep"),
        entry("b/.wh.f"),
        entry("b/.wh..wh..opq"),
        entry("none/at/.wh.all"),
    )
    unpack(first, second, layers=True)
    assert (root / "a").read_bytes() == b"file"
    assert (root / "keep/f").exists()
    assert not (root / "none").exists()


def test_last_link_is_replaced_not_followed(root: Path, unpack: Unpack) -> None:
    unpack(tar(entry("f", type=SYM, linkname=str(root.parent / "outside")), entry("f", b"theirs")))
    assert (root.parent / "outside").read_text() == "mine"
    assert (root / "f").read_bytes() == b"theirs"


def test_hard_links_lead_nowhere_out(root: Path, unpack: Unpack) -> None:
    with pytest.raises(ImageError, match="leads out"):
        unpack(tar(entry("f", type=LNK, linkname="../outside")))
    with pytest.raises(ImageError, match="no such file"):
        unpack(tar(entry("f", type=LNK, linkname="/outside")))


def test_hard_link_to_a_link_is_the_link(root: Path, unpack: Unpack) -> None:
    unpack(tar(entry("s", type=SYM, linkname=str(root.parent / "outside")), entry("h", type=LNK, linkname="s")))
    assert (root / "h").is_symlink()


def test_devices_are_not_made(root: Path, unpack: Unpack) -> None:
    unpack(tar(entry("dev/sda", type=CHR, devmajor=1, devminor=3)))
    assert os.listdir(root / "dev") == []


def test_whiteouts(root: Path, unpack: Unpack) -> None:
    unpack(
        tar(entry("d/a", b"1"), entry("d/b", b"1"), entry("e/a", b"1"), entry("e/sub/x", b"1"), entry("f/a", b"1")),
        tar(
            entry("d/.wh.a"),
            entry("e/new", b"2"),
            entry("e/.wh..wh..opq"),
            entry("f/.wh.a"),
            entry("f/a/", type=DIR, mode=0o755),
            entry(".wh.gone"),
        ),
        layers=True,
    )
    assert sorted(os.listdir(root)) == ["d", "e", "f"]
    assert os.listdir(root / "d") == ["b"]
    assert os.listdir(root / "e") == ["new"]
    assert (root / "f/a").is_dir()


def test_whiteouts_count_for_layers_below_only(root: Path, unpack: Unpack) -> None:
    unpack(tar(entry("a", b"1"), entry(".wh.a")), layers=True)
    assert (root / "a").read_bytes() == b"1"


@pytest.mark.parametrize("name", [".wh...", ".wh..", ".wh."])
def test_whiteouts_of_no_file(root: Path, unpack: Unpack, name: str) -> None:
    unpack(tar(entry("d/x", b"1"), entry(f"d/{name}")), layers=True)
    assert (root / "d/x").exists()
    assert (root.parent / "outside").exists()


def test_directory_gives_way_to_a_file(root: Path, unpack: Unpack) -> None:
    unpack(tar(entry("d/x/y", b"1")), tar(entry("d", b"file")), layers=True)
    assert (root / "d").read_bytes() == b"file"


def test_link_gives_way_to_a_directory_in_layers(root: Path, unpack: Unpack) -> None:
    unpack(
        tar(entry("a/", type=DIR, mode=0o755), entry("l", type=SYM, linkname="a")),
        tar(entry("l/", type=DIR, mode=0o700), entry("l/f", b"1")),
        layers=True,
    )
    assert not (root / "l").is_symlink()
    assert os.listdir(root / "a") == []


def test_extended_attributes(root: Path, unpack: Unpack) -> None:
    unpack(tar(entry("f", b"", pax_headers={"SCHILY.xattr.user.color": "blue"})))
    try:
        assert os.getxattr(root / "f", "user.color") == b"blue"
    except OSError as error:
        pytest.skip(f"no user attributes here: {error.strerror}")


def test_truncated_archive_is_said(root: Path, unpack: Unpack) -> None:
    data = tar(entry("f", b"x" * 4000))
    with pytest.raises(ImageError, match=r"test.tar.*damaged"):
        unpack(data[:1500])
