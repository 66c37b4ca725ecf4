from __future__ import annotations

import pytest

from noah.abi import names
from noah.abi.names import TABLES, flags


@pytest.mark.parametrize(
    ("table", "value", "text"),
    [
        # Each as strace 6.1 prints it natively, but for what it writes behind unknown bits: /* O_??? */
        ("open_flags", 0o2000000, "O_RDONLY|O_CLOEXEC"),
        ("open_flags", 0o2204000, "O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY"),
        ("open_flags", 0o1102, "O_RDWR|O_CREAT|O_TRUNC"),
        ("open_flags", 0o20200001, "O_WRONLY|O_TMPFILE"),
        ("open_flags", 0o4010000, "O_RDONLY|O_SYNC"),
        ("open_flags", 3, "O_ACCMODE"),
        ("open_flags", 0x800000, "O_RDONLY|0x800000"),
        ("at_flags", 0, "0"),
        ("at_flags", 0x1100, "AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH"),
        ("at_flags", 0x200, "AT_REMOVEDIR"),
        ("faccessat_flags", 0x200, "AT_EACCESS"),
        ("access_mode", 0, "F_OK"),
        ("access_mode", 5, "R_OK|X_OK"),
        ("mmap_prot", 0, "PROT_NONE"),
        ("mmap_prot", 3, "PROT_READ|PROT_WRITE"),
        ("mmap_flags", 0x812, "MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE"),
        ("mmap_flags", 0x20022, "MAP_PRIVATE|MAP_ANONYMOUS|MAP_STACK"),
        ("mmap_flags", 1, "MAP_SHARED"),
        ("clone_flags", 0x1200011, "CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD"),
        ("clone_flags", 0x4111, "CLONE_VM|CLONE_VFORK|SIGCHLD"),
        ("unshare_flags", 0x80, "CLONE_NEWTIME"),
        ("wait_options", 0xB, "WNOHANG|WSTOPPED|WCONTINUED"),
        ("wait_options", 0x40000000, "__WALL"),
        ("futex_op", 129, "FUTEX_WAKE_PRIVATE"),
        ("futex_op", 0x18B, "FUTEX_WAIT_REQUEUE_PI_PRIVATE|FUTEX_CLOCK_REALTIME"),
        ("futex_op", 0, "FUTEX_WAIT"),
        ("sigaction_flags", 0x14000000, "SA_RESTORER|SA_RESTART"),
        ("socket_type", 0o2004001, "SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK"),
        ("socket_domain", 1, "AF_UNIX"),
        ("seek_whence", 2, "SEEK_END"),
        ("seek_whence", 99, "0x63"),
        ("fcntl_cmd", 1030, "F_DUPFD_CLOEXEC"),
        ("rusage_who", -1, "RUSAGE_CHILDREN"),
        ("statx_mask", 0x7FF, "STATX_BASIC_STATS"),
        ("statx_mask", 0xFFF, "STATX_ALL"),
        ("signal", 0, "0"),
        ("signal", 35, "SIGRT_3"),
        ("signal", 64, "SIGRT_32"),
        ("poll_events", 5, "POLLIN|POLLOUT"),
        ("epoll_events", 0x80000001, "EPOLLIN|EPOLLET"),
        ("msg_flags", 0x4040, "MSG_DONTWAIT|MSG_NOSIGNAL"),
        ("prctl_option", 15, "PR_SET_NAME"),
        ("mount_flags", 0x5000, "MS_BIND|MS_REC"),
        ("clock_id", 1, "CLOCK_MONOTONIC"),
    ],
)
def test_flags_print_as_strace_does(table: str, value: int, text: str) -> None:
    assert flags(TABLES[table], value) == text


@pytest.mark.parametrize("table", TABLES)
def test_every_table_prints_every_number(table: str) -> None:
    for value in (-1, 0, 1, 2, 3, 0x7FFFFFFF, 0xFFFFFFFF, 0x123456789ABCDEF0):
        assert flags(TABLES[table], value)
    assert TABLES[table].whole or TABLES[table].fields


def test_flags_lose_no_bit() -> None:
    for table in TABLES.values():
        for mask, of_field in table.fields:
            for value, name in of_field.items():
                assert value & ~mask == 0, name


def test_signal_sets_print_as_strace_does() -> None:
    assert names.sigset(0) == "[]"
    assert names.sigset(1 << 1 | 1 << 16) == "[INT CHLD]"
    assert names.sigset((1 << 64) - 1) == "~[]"
    assert names.sigset((1 << 64) - 1 & ~(3 << 31)) == "~[RTMIN RT_1]"


def test_codes_print_by_signal() -> None:
    assert names.si_code(11, 1) == "SEGV_MAPERR"
    assert names.si_code(17, 1) == "CLD_EXITED"
    assert names.si_code(17, 0) == "SI_USER"
    assert names.si_code(11, 0x80) == "SI_KERNEL"
    assert names.si_code(10, -6) == "SI_TKILL"
    assert names.si_code(10, 77) == "0x4d"


def test_ioctls_print_by_name_or_parts() -> None:
    assert names.ioctl_name(0x5401) == "TCGETS"
    assert names.ioctl_name(0x541B) == "FIONREAD"
    assert names.ioctl_name(0x80045430) == "TIOCGPTN"
    assert names.ioctl_name(0x5470) == "_IOC(_IOC_NONE, 0x54, 0x70, 0)"
    assert names.ioctl_name(0x80044999) == "_IOC(_IOC_READ, 0x49, 0x99, 0x4)"


def test_modes_print_as_strace_does() -> None:
    assert [names.octal(mode) for mode in (0, 7, 0o22, 0o644, 0o4755)] == ["000", "007", "022", "0644", "04755"]
    assert names.file_mode(0o100644) == "S_IFREG|0644"
    assert names.file_mode(0o20000) == "S_IFCHR|000"
    assert names.file_mode(0o755) == "0755"


def test_numbers_print_by_name() -> None:
    assert names.errno_name(2) == "ENOENT"
    assert names.errno_name(4000) == "4000"
    assert names.signal_name(9) == "SIGKILL"
    assert names.signal_name(65) == "65"
