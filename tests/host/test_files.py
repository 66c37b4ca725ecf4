"""Data, descriptors and locks."""

from __future__ import annotations

import fcntl
import os
import sys
from typing import TYPE_CHECKING

import pytest

from noah.abi import fcntl as l
from noah.abi.errno import (
    EACCES,
    EAGAIN,
    EBADF,
    EINVAL,
    ENODATA,
    ENXIO,
    EOPNOTSUPP,
    ESPIPE,
    LinuxError,
)
from noah.abi.mman import MFD_ALLOW_SEALING
from noah.abi.poll import POLLOUT
from noah.host.values import Flock

from .conftest import closing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from noah.host.api import Host


def fails(errno: int, call: Callable[..., object], *arguments: object) -> None:
    with pytest.raises(LinuxError) as caught:
        call(*arguments)
    assert caught.value.errno == errno


def test_openat_reads_and_writes_as_os_does(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    fd = files.openat(dirfd, b"f", l.O_RDWR | l.O_CREAT | l.O_EXCL, 0o600)
    with closing(host, fd):
        assert not os.get_inheritable(fd)
        assert files.write(fd, b"hello world") == 11
        assert files.pwrite(fd, b"H", 0) == 1
        assert files.pwritev(fd, [b"W", bytearray(b"OR")], 6) == 3
        assert files.lseek(fd, 0, l.SEEK_SET) == 0
        assert files.read(fd, 5) == b"Hello"
        a, b = bytearray(2), bytearray(100)
        assert files.readv(fd, [a, memoryview(b)]) == 6
        assert (bytes(a), bytes(b[:4])) == (b" W", b"ORld")
        assert files.read(fd, 5) == b""
        assert files.preadv(fd, [a], 9) == 2
        assert bytes(a) == b"ld"
        assert files.pread(fd, 3, 0) == b"Hel"
        files.lseek(fd, 1, l.SEEK_SET)
        assert files.preadv(fd, [a], -1) == 2
        assert files.lseek(fd, 0, l.SEEK_CUR) == 3
        assert files.writev(fd, [b"__", memoryview(b"!")]) == 3
        assert files.pwritev(fd, [b"?"], -1) == 1
    assert (tmp_path / "f").read_bytes() == b"Hel__!?ORld"


def test_failures_are_linux_numbers(host: Host, dirfd: int) -> None:
    files = host.files
    fails(EBADF, files.read, 9999, 1)
    fails(EBADF, files.write, 9999, b"")
    fails(EBADF, files.close, 9999)
    fails(EBADF, files.fstat, 9999)
    fails(EBADF, files.preadv_nowait, 9999, [bytearray(1)])
    fails(EBADF, files.get_flags, 9999)
    files.close_quietly(9999)
    files.close_quietly(-1)
    fails(EINVAL, files.lseek, dirfd, 0, 77)


def test_lseek_data_and_hole(host: Host, dirfd: int) -> None:
    files = host.files
    fd = files.openat(dirfd, b"sparse", l.O_RDWR | l.O_CREAT, 0o600)
    with closing(host, fd):
        files.ftruncate(fd, 1 << 20)
        files.pwrite(fd, b"x", 1 << 19)
        assert files.lseek(fd, 0, l.SEEK_DATA) == os.lseek(fd, 0, os.SEEK_DATA)
        assert files.lseek(fd, 1 << 19, l.SEEK_HOLE) == os.lseek(fd, 1 << 19, os.SEEK_HOLE)
        fails(ENXIO, files.lseek, fd, 1 << 21, l.SEEK_DATA)


def test_nowait_on_pipes_never_waits(host: Host) -> None:
    files = host.files
    r, w = files.pipe()
    with closing(host, r, w):
        buffer = bytearray(8)
        fails(EAGAIN, files.preadv_nowait, r, [buffer])
        assert files.pwritev_nowait(w, [b"ab", b"c"]) == 3
        assert files.preadv_nowait(r, [memoryview(buffer)[:2], memoryview(buffer)[2:]]) == 3
        assert bytes(buffer[:3]) == b"abc"
        while host.poller.poll([(w, POLLOUT)], 0, signals=False)[0]:
            assert files.pwritev_nowait(w, [bytes(3000), bytes(3000)]) > 0
        fails(EAGAIN, files.pwritev_nowait, w, [bytes(3000)])
        assert 60000 < files.ioctl_fionread(r) <= 65536
        files.close(w)
        while files.preadv_nowait(r, [bytearray(1 << 16)]):
            pass  # the end of the file is 0, not EAGAIN


def test_nowait_on_a_named_fifo(host: Host, dirfd: int) -> None:
    files = host.files
    files.mknodat(dirfd, b"fifo", 0o010600)
    fd = files.openat(dirfd, b"fifo", l.O_RDWR)
    with closing(host, fd):
        fails(EAGAIN, files.preadv_nowait, fd, [bytearray(1)])
        assert files.pwritev_nowait(fd, [b"x"]) == 1
        assert files.preadv_nowait(fd, [bytearray(4)]) == 1


def test_rwf_flags_that_the_host_lacks_are_eopnotsupp(host: Host, dirfd: int) -> None:
    fd = host.files.openat(dirfd, b"f", l.O_RDWR | l.O_CREAT, 0o600)
    with closing(host, fd):
        fails(EOPNOTSUPP, host.files.preadv, fd, [bytearray(1)], 0, 0x40000000)
        assert host.files.pwritev(fd, [b"x"], 0, l.RWF_DSYNC) == 1


def test_copy_file_range_and_sendfile(host: Host, dirfd: int) -> None:
    files = host.files
    a = files.openat(dirfd, b"a", l.O_RDWR | l.O_CREAT, 0o600)
    b = files.openat(dirfd, b"b", l.O_RDWR | l.O_CREAT, 0o600)
    with closing(host, a, b):
        files.write(a, bytes(range(100)))
        assert files.copy_file_range(a, 10, b, 5, 20) == 20
        assert files.pread(b, 100, 0) == bytes(5) + bytes(range(10, 30))
        files.lseek(a, 90, l.SEEK_SET)
        assert files.copy_file_range(a, None, b, None, 50) == 10
        assert files.lseek(a, 0, l.SEEK_CUR) == 100
        assert files.pread(b, 10, 0) == bytes(range(90, 100))
        r, w = files.pipe()
        with closing(host, r, w):
            if not host.caps.events:  # the portable host
                fails(EINVAL, files.sendfile, w, a, 3, 4)
                return
            assert files.sendfile(w, a, 3, 4) == 4
            assert files.read(r, 10) == bytes(range(3, 7))
            files.lseek(a, 0, l.SEEK_SET)
            assert files.sendfile(w, a, None, 2) == 2
            assert files.lseek(a, 0, l.SEEK_CUR) == 2


def test_splice_and_tee(host: Host, dirfd: int) -> None:
    files = host.files
    r, w = files.pipe()
    r2, w2 = files.pipe()
    fd = files.openat(dirfd, b"a", l.O_RDWR | l.O_CREAT, 0o600)
    with closing(host, r, w, r2, w2, fd):
        files.write(fd, b"0123456789")
        assert files.splice(fd, 2, w, None, 5) == 5
        if host.name == "posix":
            fails(EINVAL, files.tee, r, w2, 5)
        else:
            assert files.tee(r, w2, 3) == 3
            assert files.read(r2, 100) == b"234"
        assert files.splice(r, None, w2, None, 2) == 2
        assert files.read(r2, 100) == b"23"
        assert files.splice(r, None, fd, 20, 100) == 3
        assert files.pread(fd, 3, 20) == b"456"
        fails(EAGAIN, files.splice, r, None, fd, 0, 5, l.SPLICE_F_NONBLOCK)
        fails(ESPIPE, files.splice, r, 1, fd, 0, 5)
        fails(EINVAL, files.splice, r, None, w, None, 5)
        fails(EINVAL, files.splice, fd, None, fd, None, 5)


def test_copy_of_overlapping_parts(host: Host, dirfd: int) -> None:
    files = host.files
    fd = files.openat(dirfd, b"a", l.O_RDWR | l.O_CREAT, 0o600)
    with closing(host, fd):
        files.write(fd, b"0123456789")
        fails(EINVAL, files.copy_file_range, fd, 0, fd, 1, 3)
        assert files.copy_file_range(fd, 0, fd, 5, 3) == 3
        assert files.pread(fd, 10, 0) == b"0123401289"


def test_pipe_sizes(host: Host, dirfd: int) -> None:
    files = host.files
    r, w = files.pipe()
    with closing(host, r, w):
        assert files.set_pipe_size(w, files.get_pipe_size(r)) == files.get_pipe_size(w)
        fails(EBADF, files.get_pipe_size, dirfd)
        fails(EBADF, files.set_pipe_size, dirfd, 4096)


def test_a_group_owns_a_pipe(host: Host) -> None:
    files = host.files
    r, w = files.pipe()
    with closing(host, r, w):
        files.set_owner(r, l.F_OWNER_PGRP, host.procs.getpgid(0))
        assert files.get_owner(r) == (l.F_OWNER_PGRP, host.procs.getpgid(0))


def test_name_of_a_device(host: Host) -> None:
    files = host.files
    for name in (b"/dev/null", b"/dev/zero"):
        fd = files.openat(l.AT_FDCWD, name, l.O_RDONLY)
        assert files.fd_path(fd) == name
        files.close(fd)
    master, slave = host.ttys.openpty()
    with closing(host, master, slave):
        assert files.fd_path(slave) == host.ttys.ptsname(master)


def test_name_of_a_directory(host: Host, tmp_path: Path) -> None:
    files = host.files
    here = os.getcwd()
    (tmp_path / "old").mkdir()
    fd = files.openat(l.AT_FDCWD, bytes(tmp_path / "old"), l.O_RDONLY | l.O_DIRECTORY)
    with closing(host, fd):
        assert files.fd_path(fd) == bytes(tmp_path / "old")
        (tmp_path / "old").rename(tmp_path / "new")
        assert files.fd_path(fd) == bytes(tmp_path / "new")
        again = files.reopen(fd, l.O_RDONLY)
        assert files.fstat(again) == files.fstat(fd)
        files.close(again)
    assert os.getcwd() == here


def test_storage(host: Host, dirfd: int) -> None:
    files = host.files
    fd = files.openat(dirfd, b"f", l.O_RDWR | l.O_CREAT, 0o600)
    with closing(host, fd):
        if host.name == "posix":
            for mode in (0, l.FALLOC_FL_KEEP_SIZE, l.FALLOC_FL_PUNCH_HOLE | l.FALLOC_FL_KEEP_SIZE):
                fails(EOPNOTSUPP, files.fallocate, fd, mode, 0, 10000)
        else:
            files.fallocate(fd, 0, 0, 10000)
            assert files.fstat(fd).size == 10000
            files.fallocate(fd, l.FALLOC_FL_KEEP_SIZE, 0, 20000)
            assert files.fstat(fd).size == 10000
        files.fsync(fd)
        files.fdatasync(fd)
        files.syncfs(fd)
        files.sync_file_range(fd, 0, 0, l.SYNC_FILE_RANGE_WRITE)
        files.posix_fadvise(fd, 0, 0, l.POSIX_FADV_SEQUENTIAL)
        files.truncateat(dirfd, b"f", 5)
        assert files.fstat(fd).size == 5
        fails(EINVAL, files.ftruncate, fd, -1)


def test_dup_is_at_the_minimum_and_not_inherited(host: Host, dirfd: int) -> None:
    fd = host.files.dup(dirfd, 700)
    with closing(host, fd):
        assert fd >= 700
        assert not os.get_inheritable(fd)


def test_status_flags(host: Host, dirfd: int) -> None:
    files = host.files
    fd = files.openat(dirfd, b"f", l.O_RDWR | l.O_CREAT | l.O_APPEND, 0o600)
    with closing(host, fd):
        assert files.get_flags(fd) & ~l.O_LARGEFILE == l.O_RDWR | l.O_APPEND
        files.set_flags(fd, l.O_NONBLOCK)
        assert files.get_flags(fd) & ~l.O_LARGEFILE == l.O_RDWR | l.O_NONBLOCK
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK


def test_reopen_has_its_own_position_on_linux(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    (tmp_path / "f").write_bytes(b"abc")
    fd = files.openat(dirfd, b"f", l.O_RDONLY)
    with closing(host, fd):
        files.read(fd, 1)
        again = files.reopen(fd, l.O_RDONLY)
        with closing(host, again):
            assert files.read(again, 3) == (b"abc" if host.caps.proc_fd else b"bc")
        if host.caps.proc_fd:
            assert files.fd_path(fd) == bytes(tmp_path / "f")
        else:
            fails(EACCES, files.reopen, fd, l.O_RDWR)


def test_pipe_flags_and_size(host: Host) -> None:
    files = host.files
    r, w = files.pipe(l.O_NONBLOCK)
    with closing(host, r, w):
        fails(EAGAIN, files.read, r, 1)
        assert not os.get_inheritable(r)
        assert not os.get_inheritable(w)
        assert files.get_pipe_size(r) == 65536
        if host.name == "linux":
            assert files.set_pipe_size(w, 5000) == 8192
        files.write(w, b"12345")
        assert files.ioctl_fionread(r) == 5
        assert not files.isatty(r)


def test_memfd(host: Host) -> None:
    files = host.files
    fd = files.memfd_create(b"name", MFD_ALLOW_SEALING)
    with closing(host, fd):
        assert files.write(fd, b"x" * 10) == 10
        assert files.fstat(fd).size == 10
        assert not os.get_inheritable(fd)
        if host.caps.seals:
            assert files.get_seals(fd) == 0
            files.add_seals(fd, l.F_SEAL_WRITE)
            assert files.get_seals(fd) == l.F_SEAL_WRITE
        else:
            fails(EINVAL, files.get_seals, fd)


def test_flock_excludes_another_description(host: Host, dirfd: int) -> None:
    files = host.files
    a = files.openat(dirfd, b"f", l.O_RDWR | l.O_CREAT, 0o600)
    b = files.openat(dirfd, b"f", l.O_RDWR)
    with closing(host, a, b):
        files.flock(a, l.LOCK_EX)
        fails(EAGAIN, files.flock, b, l.LOCK_EX | l.LOCK_NB)
        files.flock(a, l.LOCK_UN)
        files.flock(b, l.LOCK_SH | l.LOCK_NB)
        files.flock(a, l.LOCK_SH | l.LOCK_NB)


def test_posix_locks_between_processes(host: Host, dirfd: int, in_child: Callable[[Callable[[], None]], int]) -> None:
    files = host.files
    fd = files.openat(dirfd, b"f", l.O_RDWR | l.O_CREAT, 0o600)
    me = os.getpid()
    with closing(host, fd):
        mine = Flock(l.F_WRLCK, l.SEEK_SET, 10, 20)
        assert files.fcntl_lock(fd, l.F_SETLK, mine) == mine

        def child() -> None:
            fails(EAGAIN, files.fcntl_lock, fd, l.F_SETLK, Flock(l.F_RDLCK, l.SEEK_SET, 0, 0))
            found = files.fcntl_lock(fd, l.F_GETLK, Flock(l.F_RDLCK, l.SEEK_SET, 0, 0))
            assert found == Flock(l.F_WRLCK, l.SEEK_SET, 10, 20, me)
            files.fcntl_lock(fd, l.F_SETLKW, Flock(l.F_WRLCK, l.SEEK_SET, 30, 1))

        assert in_child(child) == 0
        files.fcntl_lock(fd, l.F_SETLK, Flock(l.F_UNLCK, l.SEEK_SET, 0, 0))
        free = files.fcntl_lock(fd, l.F_GETLK, Flock(l.F_WRLCK, l.SEEK_SET, 0, 0))
        assert free.type == l.F_UNLCK
        fails(EINVAL, files.fcntl_lock, fd, 99, mine)


def test_ofd_locks_between_descriptions(host: Host, dirfd: int) -> None:
    files = host.files
    a = files.openat(dirfd, b"f", l.O_RDWR | l.O_CREAT, 0o600)
    b = files.openat(dirfd, b"f", l.O_RDWR)
    with closing(host, a, b):
        lock = Flock(l.F_WRLCK, l.SEEK_SET, 0, 1)
        if not host.caps.ofd_locks:
            fails(EINVAL, files.fcntl_lock, a, l.F_OFD_SETLK, lock)
            return
        files.fcntl_lock(a, l.F_OFD_SETLK, lock)
        fails(EAGAIN, files.fcntl_lock, b, l.F_OFD_SETLK, lock)
        assert files.fcntl_lock(b, l.F_OFD_GETLK, lock) == Flock(l.F_WRLCK, l.SEEK_SET, 0, 1, -1)


def test_xattrs(host: Host, dirfd: int, tmp_path: Path) -> None:
    files = host.files
    fd = files.openat(dirfd, b"f", l.O_RDWR | l.O_CREAT, 0o600)
    with closing(host, fd):
        if not host.caps.xattr:
            fails(EOPNOTSUPP, files.fgetxattr, fd, b"user.a")
            fails(EOPNOTSUPP, files.listxattrat, dirfd, b"f")
            return
        assert sys.platform == "linux"
        files.fsetxattr(fd, b"user.a", b"1\0\xff")
        files.setxattrat(dirfd, b"f", b"user.b", b"2", 1)
        fails(17, files.setxattrat, dirfd, b"f", b"user.b", b"2", 1)
        assert os.getxattr(tmp_path / "f", "user.a") == b"1\0\xff"
        assert files.getxattrat(dirfd, b"f", b"user.b") == b"2"
        assert files.getxattrat(fd, b"", b"user.b", l.AT_EMPTY_PATH) == b"2"
        assert {b"user.a", b"user.b"} <= set(files.flistxattr(fd))
        files.fremovexattr(fd, b"user.a")
        fails(ENODATA, files.fgetxattr, fd, b"user.a")
        files.removexattrat(dirfd, b"f", b"user.b")
        assert b"user.b" not in files.listxattrat(dirfd, b"f", l.AT_SYMLINK_NOFOLLOW)
        path_only = files.openat(dirfd, b"f", l.O_PATH)
        with closing(host, path_only):
            files.setxattrat(path_only, b"", b"user.c", b"3", 0, l.AT_EMPTY_PATH)
            assert files.getxattrat(path_only, b"", b"user.c", l.AT_EMPTY_PATH) == b"3"
