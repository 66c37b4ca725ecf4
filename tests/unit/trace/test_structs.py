"""Structures in guest memory as strace prints them. The expected texts are strace's own for the same bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

import pytest
from tests.unit.trace.memory import Memory

from noah.abi import structs, x86_64
from noah.abi.errno import LinuxError
from noah.abi.stat import S_IFCHR, S_IFDIR, S_IFREG, UTIME_NOW, UTIME_OMIT
from noah.trace.structs import STRUCTS, flock, limit, mode, termios, winsize

if TYPE_CHECKING:
    from noah.mm.user import UserMemory

AT = 0x1000


def show(name: str, data: bytes, arch: str = "x86_64") -> str:
    return STRUCTS[name](cast("UserMemory", Memory(at_1000=data)), AT, arch)


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("timespec", struct.pack("<qq", 1, 5), "{tv_sec=1, tv_nsec=5}"),
        ("timeval", struct.pack("<qq", -1, 5), "{tv_sec=-1, tv_usec=5}"),
        (
            "timespec[2]",
            struct.pack("<qqqq", 0, UTIME_NOW, 7, UTIME_OMIT),
            "[UTIME_NOW, UTIME_OMIT]",
        ),
        (
            "itimerval",
            struct.pack("<qqqq", 0, 1, 2, 3),
            "{it_interval={tv_sec=0, tv_usec=1}, it_value={tv_sec=2, tv_usec=3}}",
        ),
        ("rlimit", struct.pack("<QQ", 8 << 20, (1 << 64) - 1), "{rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}"),
        ("sigset", struct.pack("<Q", 1 << 16 | 1), "[HUP CHLD]"),
        (
            "sigaction",
            struct.pack("<QQQQ", 0x4000, 0x14000000, 0x5000, 0),
            "{sa_handler=0x4000, sa_mask=[], sa_flags=SA_RESTORER|SA_RESTART, sa_restorer=0x5000}",
        ),
        ("sigaction", struct.pack("<QQQQ", 1, 0, 0, 2), "{sa_handler=SIG_IGN, sa_mask=[INT], sa_flags=0}"),
        ("stack", struct.pack("<QixxxxQ", 0, 2, 0), "{ss_sp=NULL, ss_flags=SS_DISABLE, ss_size=0}"),
        ("timezone", struct.pack("<ii", 60, 0), "{tz_minuteswest=60, tz_dsttime=0}"),
        ("sched_param", struct.pack("<i", 9), "[9]"),
        (
            "cap_header",
            struct.pack("<Ii", 0x20080522, 0),
            "{version=_LINUX_CAPABILITY_VERSION_3, pid=0}",
        ),
        (
            "utsname",
            b"Linux".ljust(65, b"\0") + b"box".ljust(65, b"\0") + bytes(260),
            '{sysname="Linux", nodename="box", ...}',
        ),
        (
            "open_how",
            struct.pack("<QQQ", 0o100101, 0o644, 0x10),
            "{flags=O_WRONLY|O_CREAT|O_LARGEFILE, mode=0644, resolve=RESOLVE_IN_ROOT}",
        ),
    ],
)
def test_struct(name: str, data: bytes, text: str) -> None:
    assert show(name, data) == text


def test_stat_of_file_and_device() -> None:
    values = dict.fromkeys(x86_64.Stat.OFFSETS, 0)
    plain = x86_64.Stat(**values | {"mode": S_IFREG | 0o644, "size": 7}).pack()
    assert show("stat", plain) == "{st_mode=S_IFREG|0644, st_size=7, ...}"
    device = x86_64.Stat(**values | {"mode": S_IFCHR | 0o666, "rdev": 0x103}).pack()
    assert show("stat", device) == "{st_mode=S_IFCHR|0666, st_rdev=makedev(0x1, 0x3), ...}"


def test_modes_with_special_bits() -> None:
    assert mode(S_IFDIR | 0o1777) == "S_IFDIR|S_ISVTX|0777"
    assert mode(S_IFREG | 0o6755) == "S_IFREG|S_ISUID|S_ISGID|0755"
    assert mode(0o644) == "0644"


def test_limits() -> None:
    assert [limit(value) for value in (0, 1024, 2048, 1025)] == ["0", "1024", "2*1024", "1025"]


def test_clone_args_reads_what_every_caller_has() -> None:
    data = structs.CloneArgs(0x4100, 0, 0, 0, 17, 0x7000, 0x2000, 0, 0, 0, 0).pack()[:64]
    assert show("clone_args", data) == (
        "{flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD, stack=0x7000, stack_size=0x2000}"
    )


def test_open_flags_are_the_architecture_s() -> None:
    how = struct.pack("<QQQ", 0o40000, 0, 0)  # O_DIRECTORY on aarch64, O_DIRECT on x86-64
    assert show("open_how", how, "aarch64").startswith("{flags=O_RDONLY|O_DIRECTORY")
    assert show("open_how", how).startswith("{flags=O_RDONLY|O_DIRECT,")


def test_terminals_and_locks() -> None:
    memory = cast("UserMemory", Memory(at_1000=struct.pack("<4H", 24, 80, 0, 0), at_2000=bytes(36)))
    assert winsize(memory, 0x1000, "") == "{ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}"
    assert termios(memory, 0x2000, "").startswith("{c_iflag=0")
    lock = cast("UserMemory", Memory(at_1000=struct.pack("<hhxxxxqqixxxx", 1, 0, 10, 0, 0)))
    assert flock(lock, 0x1000, "") == "{l_type=F_WRLCK, l_whence=SEEK_SET, l_start=10, l_len=0}"


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_bad_pointers_are_the_caller_s_business(name: str) -> None:
    with pytest.raises(LinuxError):
        show(name, b"")


@pytest.mark.parametrize("name", sorted(STRUCTS))
@pytest.mark.parametrize("byte", [0, 0x7F, 0xFF])
def test_any_bytes_can_be_shown(name: str, byte: int) -> None:
    assert show(name, bytes([byte]) * 512)
