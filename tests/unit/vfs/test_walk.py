"""Paths never leave the root, and lead where Linux' own walk leads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.vfs.caller import FakeCaller, view

from noah.abi.errno import (
    EEXIST,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOTDIR,
    EROFS,
    EXDEV,
    LinuxError,
)
from noah.abi.fcntl import (
    AT_FDCWD,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)
from noah.fs.hostfs import HostTree
from noah.fs.setup import make_mounts
from noah.host.select import make_host
from noah.vfs.mounts import MountTable
from noah.vfs.namespace import FsContext

if TYPE_CHECKING:
    from noah.host.api import Host


def errno_of(call: object, *arguments: object, **keywords: object) -> int:
    with pytest.raises(LinuxError) as caught:
        call(*arguments, **keywords)  # type: ignore[operator]
    return caught.value.errno


def read(caller: FakeCaller, path: bytes, flags: int = O_RDONLY) -> bytes:
    file = caller.fs.open(caller, AT_FDCWD, path, flags)
    buffer = view(100)
    count = file.read(caller, [buffer])
    file.release()
    return bytes(buffer[:count])


@pytest.mark.parametrize(
    "target", ["/outside", "../outside", "../../../../outside", "/../outside", "a/../../outside", "./..//../outside"]
)
def test_no_link_leaves_the_root(caller: FakeCaller, root: Path, target: str) -> None:
    (root / "a").mkdir()
    (root / "link").symlink_to(target)
    assert errno_of(read, caller, b"/link") == ENOENT
    assert errno_of(read, caller, b"/a/../link") == ENOENT
    (root / "outside").write_bytes(b"inside")
    assert read(caller, b"/link") == b"inside"


def test_dotdot_stops_at_the_root(caller: FakeCaller, root: Path) -> None:
    (root / "file").write_bytes(b"x")
    (root / "a").mkdir()
    for path in (b"/../file", b"../file", b"/a/../../../file", b"//..//../file", b"/./a/./../file"):
        assert read(caller, path) == b"x"


def test_link_to_host_file_by_absolute_name(caller: FakeCaller, root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    assert errno_of(read, caller, b"/link") == ENOENT
    # creating through it makes nothing outside
    (root / "new").symlink_to(root.parent / "made")
    assert errno_of(caller.fs.open, caller, AT_FDCWD, b"/new", O_CREAT | O_WRONLY, 0o600) == ENOENT
    assert not (root.parent / "made").exists()


def test_create_on_dangling_link_creates_its_target(caller: FakeCaller, root: Path) -> None:
    (root / "d").mkdir()
    (root / "link").symlink_to("/d/target")
    caller.fs.open(caller, AT_FDCWD, b"link", O_CREAT | O_WRONLY, 0o666).release()
    assert (root / "d/target").stat().st_mode & 0o777 == 0o644
    assert errno_of(caller.fs.open, caller, AT_FDCWD, b"link", O_CREAT | O_EXCL | O_WRONLY, 0o666) == EEXIST


def test_loops_are_eloop(caller: FakeCaller, root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    assert errno_of(read, caller, b"a") == ELOOP
    assert errno_of(read, caller, b"a/x") == ELOOP
    for index in range(41):
        (root / f"l{index}").symlink_to(f"l{index + 1}")
    (root / "l41").write_bytes(b"end")
    assert errno_of(read, caller, b"l0") == ELOOP
    assert read(caller, b"l1") == b"end"  # 40 links are fine


def test_trailing_slashes(caller: FakeCaller, root: Path) -> None:
    (root / "d").mkdir()
    (root / "f").write_bytes(b"")
    (root / "ld").symlink_to("d")
    resolve = caller.fs.resolve
    assert resolve(caller, AT_FDCWD, b"d/").stat().ino == (root / "d").stat().st_ino
    assert resolve(caller, AT_FDCWD, b"ld/", follow=False).stat().ino == (root / "d").stat().st_ino
    assert errno_of(resolve, caller, AT_FDCWD, b"f/") == ENOTDIR
    assert errno_of(resolve, caller, AT_FDCWD, b"") == ENOENT
    parent = caller.fs.parent
    parent(caller, AT_FDCWD, b"n/").mkdir(0o755)
    assert errno_of(parent(caller, AT_FDCWD, b"f/").unlink, 0) == ENOTDIR
    assert errno_of(parent(caller, AT_FDCWD, b"x/").symlink, b"t") == ENOENT
    assert errno_of(caller.fs.open, caller, AT_FDCWD, b"y/", O_CREAT | O_RDWR, 0o600) == EISDIR


def test_nofollow(caller: FakeCaller, root: Path) -> None:
    (root / "f").write_bytes(b"f")
    (root / "l").symlink_to("f")
    assert errno_of(caller.fs.open, caller, AT_FDCWD, b"l", O_RDONLY | O_NOFOLLOW) == ELOOP
    assert read(caller, b"f", O_RDONLY | O_NOFOLLOW) == b"f"
    assert errno_of(caller.fs.open, caller, AT_FDCWD, b"f", O_RDONLY | O_DIRECTORY) == ENOTDIR
    if caller.host.caps.o_path:
        file = caller.fs.open(caller, AT_FDCWD, b"l", O_PATH | O_NOFOLLOW)
        assert file.place().readlink() == b"f"
        file.release()


def test_read_only_bind(host: Host, root: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "f").write_bytes(b"f")
    (shared / "up").symlink_to("../outside")
    mounts = make_mounts(host, os.fsencode(root), [(os.fsencode(shared), b"/mnt/deep", True)])
    caller = FakeCaller(host, FsContext(mounts))
    assert read(caller, b"/mnt/deep/f") == b"f"
    assert read(caller, b"/mnt/../mnt/deep/./f") == b"f"
    assert errno_of(read, caller, b"/mnt/deep/up") == ENOENT
    assert errno_of(caller.fs.open, caller, AT_FDCWD, b"/mnt/deep/f", O_WRONLY) == EROFS
    assert errno_of(caller.fs.open, caller, AT_FDCWD, b"/mnt/deep/n", O_WRONLY | O_CREAT, 0o600) == EROFS
    assert errno_of(caller.fs.parent(caller, AT_FDCWD, b"/mnt/deep/f").unlink, 0) == EROFS
    assert errno_of(caller.fs.parent(caller, AT_FDCWD, b"/mnt/deep/d").mkdir, 0o700) == EROFS
    assert errno_of(caller.fs.resolve(caller, AT_FDCWD, b"/mnt/deep/f").chmod, 0o600) == EROFS
    assert (
        errno_of(
            caller.fs.parent(caller, AT_FDCWD, b"/mnt/deep/f").rename_to, caller.fs.parent(caller, AT_FDCWD, b"/f"), 0
        )
        == EXDEV
    )
    assert errno_of(caller.fs.open, caller, AT_FDCWD, b"/mnt/deep/f", O_RDONLY, resolve=RESOLVE_NO_XDEV) == EXDEV


def test_bind_of_one_file(host: Host, root: Path, tmp_path: Path) -> None:
    (tmp_path / "conf").write_bytes(b"conf")
    mounts = make_mounts(host, os.fsencode(root), [(os.fsencode(tmp_path / "conf"), b"/etc/conf", False)])
    caller = FakeCaller(host, FsContext(mounts))
    assert read(caller, b"/etc/conf") == b"conf"
    assert errno_of(read, caller, b"/etc/conf/x") == ENOTDIR
    assert errno_of(read, caller, b"/etc/conf/../outside") == ENOTDIR
    with pytest.raises(LinuxError):
        caller.fs.parent(caller, AT_FDCWD, b"/etc/conf").unlink(0)
    assert (tmp_path / "conf").exists()


def test_chroot_bounds_dotdot(caller: FakeCaller, root: Path) -> None:
    (root / "jail/d").mkdir(parents=True)
    (root / "f").write_bytes(b"f")
    (root / "jail/l").symlink_to("/d/../../f")
    caller.fs.root = caller.fs.directory(caller, AT_FDCWD, b"jail")
    assert errno_of(read, caller, b"/../f") == ENOENT
    assert errno_of(read, caller, b"/l") == ENOENT
    assert read(caller, b"f") == b"f"  # the working directory is still outside, as chroot(2) says


def test_resolve_flags(caller: FakeCaller, root: Path) -> None:
    (root / "d").mkdir()
    (root / "f").write_bytes(b"root")
    (root / "d/f").write_bytes(b"d")
    (root / "d/abs").symlink_to("/f")
    fd = caller.fds.install(caller.fs.open(caller, AT_FDCWD, b"d", O_RDONLY | O_DIRECTORY))

    def at(path: bytes, resolve: int) -> bytes:
        file = caller.fs.open(caller, fd, path, O_RDONLY, resolve=resolve)
        buffer = view(10)
        count = file.read(caller, [buffer])
        file.release()
        return bytes(buffer[:count])

    assert at(b"abs", 0) == b"root"
    assert at(b"abs", RESOLVE_IN_ROOT) == b"d"
    assert at(b"../f", RESOLVE_IN_ROOT) == b"d"
    assert errno_of(at, b"abs", RESOLVE_BENEATH) == EXDEV
    assert errno_of(at, b"../f", RESOLVE_BENEATH) == EXDEV
    assert errno_of(at, b"/f", RESOLVE_BENEATH) == EXDEV
    assert at(b"../d/f", 0) == b"d"
    assert errno_of(at, b"abs", RESOLVE_NO_SYMLINKS) == ELOOP
    caller.fds.close(fd)


NAMES = st.sampled_from(["a", "b", "c", "..", ".", ""])
PATHS = st.lists(NAMES, min_size=1, max_size=6).map("/".join)
TREES = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3), st.sampled_from(["dir", "file", "link"]), PATHS
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES, paths=st.lists(PATHS, min_size=1, max_size=6), leaps=st.booleans())
def test_like_openat2(
    tmp_path_factory: pytest.TempPathFactory, tree: list[tuple[list[str], str, str]], paths: list[str], leaps: bool
) -> None:
    """openat2(2) with RESOLVE_IN_ROOT is the oracle: the same file or the same error for any path in any tree."""
    host = make_host("linux")
    if not host.caps.openat2:
        pytest.skip("this kernel has no openat2(2) to compare with")
    root = tmp_path_factory.mktemp("root")
    for names, kind, target in tree:
        path = root.joinpath(*names)
        try:
            if kind == "dir":
                path.mkdir(parents=True)
            elif kind == "file":
                path.write_bytes(b"")
            else:
                path.symlink_to(target)
        except OSError:
            continue  # already there, or below a file
    top = HostTree(host, os.fsencode(root))
    top.leaps = leaps
    caller = FakeCaller(host, FsContext(MountTable(top, HostTree(host, b"/"))))
    rootfd = top.handle.number
    for text in paths:
        guest_path = b"/" + os.fsencode(text)
        for nofollow in (0, O_NOFOLLOW):
            try:
                fd = host.files.openat2_in_root(rootfd, guest_path, O_PATH | nofollow)
                status = host.files.fstat(fd)
                expected: object = status.dev, status.ino
                host.files.close(fd)
            except LinuxError as error:
                expected = error.errno
            try:
                found: object = caller.fs.resolve(caller, AT_FDCWD, guest_path, follow=not nofollow).stat()[:2]
            except LinuxError as error:
                found = error.errno
            assert found == expected, (guest_path, nofollow)
