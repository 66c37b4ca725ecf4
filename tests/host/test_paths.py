"""Names, attributes, directories."""

from __future__ import annotations

import os
import socket
import stat
import time
from typing import TYPE_CHECKING

import pytest

from noah.abi import fcntl as l
from noah.abi.errno import (
    EACCES,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOSYS,
    ENOTDIR,
    ENOTEMPTY,
    EOPNOTSUPP,
    EPERM,
)
from noah.abi.stat import STATX_BASIC_STATS, STATX_BTIME
from noah.host.values import TIME_NOW, TIME_OMIT, Stat

from .conftest import closing
from .test_files import fails

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from noah.host.api import Host


def oracle(s: os.stat_result) -> Stat:
    return Stat(
        s.st_dev, s.st_ino, s.st_mode, s.st_nlink, s.st_uid, s.st_gid, s.st_rdev, s.st_size, s.st_blksize, s.st_blocks,
        s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns,
    )  # fmt: skip


def test_stat_is_what_os_says(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    (tmp_path / "f").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("f")
    assert files.fstat(dirfd) == oracle(tmp_path.stat())
    assert files.fstatat(dirfd, b"f") == oracle((tmp_path / "f").stat())
    assert files.fstatat(dirfd, b"link") == oracle((tmp_path / "f").stat())
    assert files.fstatat(dirfd, b"link", l.AT_SYMLINK_NOFOLLOW) == oracle((tmp_path / "link").lstat())
    assert files.fstatat(dirfd, b"", l.AT_EMPTY_PATH) == oracle(tmp_path.stat())
    assert files.fstatat(l.AT_FDCWD, b"", l.AT_EMPTY_PATH) == oracle(os.stat("."))
    assert files.fstatat(l.AT_FDCWD, b"/dev/null") == oracle(os.stat("/dev/null"))
    fails(ENOENT, files.fstatat, dirfd, b"")
    fails(ENOENT, files.fstatat, dirfd, b"none")
    fails(ENOTDIR, files.fstatat, dirfd, b"f/x")
    fails(ENAMETOOLONG, files.fstatat, dirfd, b"x" * 256)


def test_statx_has_the_birth_time_on_linux(host: Host, dirfd: int, tmp_path: Path) -> None:
    before = time.time_ns()
    (tmp_path / "f").touch()
    found = host.files.statx(dirfd, b"f", 0, STATX_BASIC_STATS | STATX_BTIME)
    assert found.mask & STATX_BASIC_STATS == STATX_BASIC_STATS
    if found.mask & STATX_BTIME:
        assert abs(found.btime - before) < 10**9
    fails(ENOENT, host.files.statx, dirfd, b"none", 0, STATX_BASIC_STATS)


def test_fstatfs(host: Host, dirfd: int) -> None:
    found, expected = host.files.fstatfs(dirfd), os.fstatvfs(dirfd)
    assert (found.bsize, found.frsize, found.blocks, found.namelen, found.files) == (
        expected.f_bsize,
        expected.f_frsize,
        expected.f_blocks,
        expected.f_namemax,
        expected.f_files,
    )


def test_openat_flags(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    (tmp_path / "link").symlink_to("f")
    (tmp_path / "d").mkdir()
    files.close(files.openat(dirfd, b"link", l.O_CREAT | l.O_WRONLY, 0o600))
    assert (tmp_path / "f").exists()
    fails(EEXIST, files.openat, dirfd, b"link", l.O_CREAT | l.O_EXCL | l.O_WRONLY)
    fails(ELOOP, files.openat, dirfd, b"link", l.O_NOFOLLOW)
    fails(ENOTDIR, files.openat, dirfd, b"f", l.O_DIRECTORY)
    fails(EISDIR, files.openat, dirfd, b"d", l.O_RDWR)
    (tmp_path / "f").write_bytes(b"abc")
    files.close(files.openat(dirfd, b"f", l.O_TRUNC | l.O_RDWR | l.O_LARGEFILE))
    assert (tmp_path / "f").read_bytes() == b""


def test_o_path(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    (tmp_path / "f").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("f")
    fd = files.openat(dirfd, b"f", l.O_PATH)
    with closing(host, fd):
        assert files.fstat(fd) == oracle((tmp_path / "f").stat())
        again = files.reopen(fd, l.O_RDONLY)
        assert files.read(again, 3) == b"abc"
        files.close(again)
    if host.caps.o_path:
        fd = files.openat(dirfd, b"link", l.O_PATH | l.O_NOFOLLOW)
        with closing(host, fd):
            assert stat.S_ISLNK(files.fstat(fd).mode)
            assert files.readlinkat(fd, b"") == b"f"


def test_o_tmpfile(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    if not host.caps.o_tmpfile:
        fails(EOPNOTSUPP, files.openat, dirfd, b".", l.O_TMPFILE | l.O_RDWR, 0o600)
        return
    fd = files.openat(dirfd, b".", l.O_TMPFILE | l.O_RDWR, 0o600)
    with closing(host, fd):
        files.write(fd, b"x")
        files.linkat(fd, b"", dirfd, b"named", l.AT_EMPTY_PATH)
    assert (tmp_path / "named").read_bytes() == b"x"


def test_openat2_in_root_stays_inside(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    if not host.caps.openat2:
        fails(ENOSYS, files.openat2_in_root, dirfd, b"f", l.O_RDONLY)
        return
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_bytes(b"inside")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for path in (b"/etc/passwd", b"link", b"../../../etc/passwd"):
        # flags and modes that openat(2) ignores and openat2(2) by itself refuses
        fd = files.openat2_in_root(dirfd, path, l.O_RDONLY | 1 << 30, 0o644)
        assert files.read(fd, 10) == b"inside"
        files.close(fd)
    fails(ELOOP, files.openat2_in_root, dirfd, b"link", l.O_RDONLY, 0, l.RESOLVE_NO_SYMLINKS)
    files.close(files.openat2_in_root(dirfd, b"new", l.O_CREAT | l.O_WRONLY, 0o100640))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    fd = files.openat2_in_root(dirfd, b"etc", l.O_PATH | l.O_CREAT | l.O_NONBLOCK, 0o600)
    assert not os.get_inheritable(fd)
    files.close(fd)


def test_faccessat(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    (tmp_path / "f").write_bytes(b"")
    (tmp_path / "f").chmod(0o600)
    (tmp_path / "dangling").symlink_to("none")
    files.faccessat(dirfd, b"f", l.R_OK | l.W_OK)
    files.faccessat(dirfd, b"f", l.F_OK, l.AT_EACCESS)
    fails(EACCES, files.faccessat, dirfd, b"f", l.X_OK)
    fails(ENOENT, files.faccessat, dirfd, b"none", l.F_OK)
    fails(ENOENT, files.faccessat, dirfd, b"dangling", l.F_OK)
    files.faccessat(dirfd, b"dangling", l.F_OK, l.AT_SYMLINK_NOFOLLOW)
    fails(EINVAL, files.faccessat, dirfd, b"f", 8)
    fd = files.openat(dirfd, b"f", l.O_RDONLY)
    with closing(host, fd):
        files.faccessat(fd, b"", l.R_OK, l.AT_EMPTY_PATH)
        fails(EACCES, files.faccessat, fd, b"", l.X_OK, l.AT_EMPTY_PATH)


def test_chmod(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    f = tmp_path / "f"
    f.write_bytes(b"")
    (tmp_path / "link").symlink_to("f")
    files.fchmodat(dirfd, b"f", 0o4751)
    assert stat.S_IMODE(f.stat().st_mode) == 0o4751
    files.fchmodat(dirfd, b"f", 0o600, l.AT_SYMLINK_NOFOLLOW)
    assert stat.S_IMODE(f.stat().st_mode) == 0o600
    fails(EOPNOTSUPP, files.fchmodat, dirfd, b"link", 0o600, l.AT_SYMLINK_NOFOLLOW)
    fd = files.openat(dirfd, b"f", l.O_PATH)
    with closing(host, fd):
        files.fchmodat(fd, b"", 0o640, l.AT_EMPTY_PATH)
    assert stat.S_IMODE(f.stat().st_mode) == 0o640
    fd = files.openat(dirfd, b"f", l.O_RDONLY)
    with closing(host, fd):
        files.fchmod(fd, 0o644)
    assert stat.S_IMODE(f.stat().st_mode) == 0o644


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_chown(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    f, link = tmp_path / "f", tmp_path / "link"
    f.write_bytes(b"")
    link.symlink_to("f")
    files.fchownat(dirfd, b"f", 1234, -1)
    files.fchownat(dirfd, b"link", 1, 2, l.AT_SYMLINK_NOFOLLOW)
    assert (f.stat().st_uid, f.stat().st_gid, link.lstat().st_uid, link.lstat().st_gid) == (1234, 0, 1, 2)
    fd = files.openat(dirfd, b"f", l.O_PATH)
    with closing(host, fd):
        files.fchownat(fd, b"", 5, 6, l.AT_EMPTY_PATH)
    assert (f.stat().st_uid, f.stat().st_gid) == (5, 6)
    fd = files.openat(dirfd, b"f", l.O_RDONLY)
    with closing(host, fd):
        files.fchown(fd, -1, 7)
    assert (f.stat().st_uid, f.stat().st_gid) == (5, 7)


def test_utimens(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    f, link = tmp_path / "f", tmp_path / "link"
    f.write_bytes(b"")
    link.symlink_to("f")
    files.utimensat(dirfd, b"f", (123456789_000000001, -5_000000000))
    assert (f.stat().st_atime_ns, f.stat().st_mtime_ns) == (123456789_000000001, -5_000000000)
    files.utimensat(dirfd, b"link", (1, 2), l.AT_SYMLINK_NOFOLLOW)
    assert (link.lstat().st_atime_ns, link.lstat().st_mtime_ns) == (1, 2)
    assert f.stat().st_mtime_ns == -5_000000000
    files.utimensat(dirfd, b"f", (TIME_OMIT, 77))
    assert (f.stat().st_atime_ns, f.stat().st_mtime_ns) == (123456789_000000001, 77)
    files.utimensat(dirfd, b"f", (TIME_NOW, TIME_OMIT))
    assert abs(f.stat().st_atime_ns - time.time_ns()) < 5 * 10**9
    assert f.stat().st_mtime_ns == 77
    files.utimensat(dirfd, b"f", None)
    assert abs(f.stat().st_mtime_ns - time.time_ns()) < 5 * 10**9
    fd = files.openat(dirfd, b"f", l.O_RDONLY)
    with closing(host, fd):
        files.futimens(fd, (5, 6))
        assert (f.stat().st_atime_ns, f.stat().st_mtime_ns) == (5, 6)
        files.futimens(fd, (TIME_OMIT, 8))
        assert (f.stat().st_atime_ns, f.stat().st_mtime_ns) == (5, 8)
        files.utimensat(fd, b"", (9, 10), l.AT_EMPTY_PATH)
        assert (f.stat().st_atime_ns, f.stat().st_mtime_ns) == (9, 10)
        files.futimens(fd, (TIME_NOW, TIME_NOW))
        assert f.stat().st_atime_ns > 10
    fails(ENOENT, files.utimensat, dirfd, b"none", None)


def test_names(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    files.mkdirat(dirfd, b"d", 0o711)
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o711
    files.symlinkat(b"../\xff", dirfd, b"d/link")
    assert files.readlinkat(dirfd, b"d/link") == b"../\xff"
    fails(EINVAL, files.readlinkat, dirfd, b"d")
    files.linkat(dirfd, b"d/link", dirfd, b"hard")
    assert (tmp_path / "hard").is_symlink()
    (tmp_path / "f").write_bytes(b"1")
    files.symlinkat(b"f", dirfd, b"to-f")
    files.linkat(dirfd, b"to-f", dirfd, b"f2", l.AT_SYMLINK_FOLLOW)
    assert (tmp_path / "f2").samefile(tmp_path / "f")
    fails(ENOTEMPTY, files.unlinkat, dirfd, b"d", l.AT_REMOVEDIR)
    fails(EISDIR, files.unlinkat, dirfd, b"d")
    files.unlinkat(dirfd, b"d/link")
    files.unlinkat(dirfd, b"d", l.AT_REMOVEDIR)
    fails(ENOENT, files.unlinkat, dirfd, b"d", l.AT_REMOVEDIR)
    assert sorted(os.listdir(tmp_path)) == ["f", "f2", "hard", "to-f"]


def test_rename(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"a")
    b.write_bytes(b"b")
    fails(EEXIST, files.renameat2, dirfd, b"a", dirfd, b"b", l.RENAME_NOREPLACE)
    files.renameat2(dirfd, b"a", dirfd, b"c", l.RENAME_NOREPLACE)
    assert not a.exists()
    if host.name == "linux":
        files.renameat2(dirfd, b"b", dirfd, b"c", l.RENAME_EXCHANGE)
        assert (b.read_bytes(), (tmp_path / "c").read_bytes()) == (b"a", b"b")
    else:
        fails(EINVAL, files.renameat2, dirfd, b"b", dirfd, b"c", l.RENAME_EXCHANGE)
    files.renameat2(dirfd, b"b", dirfd, b"c")
    assert not b.exists()
    fails(ENOENT, files.renameat2, dirfd, b"b", dirfd, b"c")


def test_mknod(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    files.mknodat(dirfd, b"file", 0o640)
    files.mknodat(dirfd, b"fifo", stat.S_IFIFO | 0o600)
    assert (tmp_path / "file").is_file()
    assert (tmp_path / "fifo").is_fifo()
    fails(EEXIST, files.mknodat, dirfd, b"file", 0o640)
    if os.geteuid() == 0:
        files.mknodat(dirfd, b"null", stat.S_IFCHR | 0o600, 0x103)
        assert (tmp_path / "null").stat().st_rdev == os.makedev(1, 3)
        big = os.makedev(0x123, 0x45678)
        files.mknodat(dirfd, b"big", stat.S_IFBLK | 0o600, big)
        assert files.fstatat(dirfd, b"big").rdev == big


def test_scan_lists_everything_again_and_again(host: Host, dirfd: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    (tmp_path / "d").mkdir()
    (tmp_path / "l").symlink_to("none")
    os.mkfifo(tmp_path / "p")
    (tmp_path / os.fsdecode(b"\xff\xfe")).write_bytes(b"")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.relpath(tmp_path / "s"))
    expected = {
        b".": (tmp_path.stat().st_ino, l.DT_DIR),
        b"..": (tmp_path.parent.stat().st_ino, l.DT_DIR),
        b"f": ((tmp_path / "f").stat().st_ino, l.DT_REG),
        b"d": ((tmp_path / "d").stat().st_ino, l.DT_DIR),
        b"l": ((tmp_path / "l").lstat().st_ino, l.DT_LNK),
        b"p": ((tmp_path / "p").stat().st_ino, l.DT_FIFO),
        b"s": ((tmp_path / "s").stat().st_ino, l.DT_SOCK),
        b"\xff\xfe": (os.stat(bytes(tmp_path) + b"/\xff\xfe").st_ino, l.DT_REG),
    }
    cwd = os.getcwd()
    for _ in range(2):
        found = host.dirs.scan(dirfd)
        assert [name for name, _, _ in found[:2]] == [b".", b".."]
        assert {name: (inode, kind) for name, inode, kind in found} == expected
        assert len(found) == len(expected)
    assert os.getcwd() == cwd
    fd = host.files.openat(dirfd, b"f", l.O_RDONLY)
    with closing(host, fd):
        fails(ENOTDIR, host.dirs.scan, fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="must be able to become somebody else")
def test_permission_of_an_ordinary_user(
    host: Host, dirfd: int, tmp_path: Path, in_child: Callable[[Callable[[], None]], int]
) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "secret").chmod(0o600)

    def child() -> None:
        os.setgroups([])
        os.setresgid(12345, 12345, 12345)
        os.setresuid(12345, 12345, 12345)
        fails(EACCES, host.files.openat, dirfd, b"secret", l.O_RDONLY)
        fails(EACCES, host.files.faccessat, dirfd, b"secret", l.R_OK)
        fails(EACCES, host.files.mkdirat, dirfd, b"new", 0o700)
        fails(EPERM, host.files.fchmodat, dirfd, b"secret", 0o666)

    tmp_path.chmod(0o755)
    assert in_child(child) == 0
