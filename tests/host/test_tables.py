"""Translation by name: the tables are complete, and identical where the host is Linux."""

from __future__ import annotations

import errno
import logging
import signal
import sys

import pytest

from noah.abi import errno as linux_errno
from noah.abi import signal as linux_signal
from noah.abi.errno import EINVAL, EIO, LinuxError
from noah.host import errnos, openflags, signums
from noah.host.posix import ttys
from noah.host.posix.procs import RESOURCES
from noah.host.tables import Flags, Numbers

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the numbers are the host's own on Linux only")


def test_every_host_errno_has_a_linux_number() -> None:
    # Names that no Linux program can meet, of streams and of the kernel's own inside.
    unknown = {name for number, name in errno.errorcode.items() if number not in errnos.TO_LINUX}
    assert not unknown


def test_every_alias_leads_to_a_linux_name() -> None:
    assert all(isinstance(getattr(linux_errno, name), int) for name in errnos.ALIASES.values())


@on_linux
def test_errno_table_is_the_identity_on_linux() -> None:
    assert all(ours == theirs for theirs, ours in errnos.TO_LINUX.items())


def test_from_host_unknown_number_is_eio_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert errnos.from_host(OSError(4095, "odd")).errno == EIO
        assert errnos.from_host(OSError(4095, "odd")).errno == EIO
        assert errnos.from_host(OSError("no number at all")).errno == EIO
    assert len([record for record in caplog.records if "4095" in record.getMessage()]) == 1


def test_flags_prefer_names_of_several_bits() -> None:
    table = Flags({"A": 0b100, "AB": 0b110}, {"A": 0b1, "AB": 0b11})
    assert table.to_host(0b100) == 0b1
    assert table.to_host(0b110) == 0b11
    assert table.to_linux(0b11) == 0b110
    assert table.to_host(0b1000) == 0
    assert table.known == 0b110


def test_numbers_unknown_is_einval() -> None:
    table = Numbers({"A": 1, "B": 2}, {"A": 10})
    assert table.to_host(1) == 10
    assert table.linux == {10: 1}
    with pytest.raises(LinuxError) as caught:
        table.to_host(2)
    assert caught.value.errno == EINVAL


@on_linux
def test_open_flags_are_identical_or_translate_back() -> None:
    for table in (openflags.OPEN, openflags.POSIX):
        assert table.to_linux(table.to_host(table.known)) == table.known


def test_every_signal_of_the_host_translates_back() -> None:
    for number in signal.valid_signals():
        ours = signums.linux_signal(number)
        assert signums.host_signal(ours) == number
    assert signums.host_signal(0) == 0
    with pytest.raises(LinuxError):
        signums.host_signal(65)


@on_linux
@pytest.mark.parametrize("status", [0x0000, 0x2A00, 0x0009, 0x008B, 0x137F, 0xFFFF])
def test_wait_status_is_the_identity_on_linux(status: int) -> None:
    assert signums.linux_status(status) == status


def test_signal_that_linux_lacks_is_no_other_signal_by_chance() -> None:
    assert signums.linux_signal(999) == linux_signal.SIGUSR1


@on_linux
def test_every_resource_of_linux_is_known() -> None:
    missing = {"RLIMIT_LOCKS"}  # Python has no name for it; the kernel ignores it since 2.4.25
    assert len(RESOURCES.host) == 16 - len(missing)


@on_linux
def test_termios_tables_are_the_identity_on_linux() -> None:
    for table in (ttys._IFLAG, ttys._OFLAG, ttys._CFLAG, ttys._LFLAG):
        assert table.identical
