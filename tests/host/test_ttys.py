"""Terminals: pairs of pseudo terminals, each call against termios and os."""

from __future__ import annotations

import os
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING

import pytest

from noah.abi import ioctl
from noah.abi import poll as p
from noah.abi import termios as t
from noah.abi.errno import EAGAIN, EINVAL, EIO, ENOTTY, EPERM
from noah.abi.fcntl import O_NOCTTY, O_RDWR
from noah.abi.signal import SIGHUP, SIGTTIN
from noah.host.values import Winsize

from .conftest import closing
from .test_files import fails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from noah.host.api import Host

    InChild = Callable[[Callable[[], None]], int]


@pytest.fixture
def pair(host: Host) -> Iterator[tuple[int, int]]:
    """Master and slave."""
    master, slave = host.ttys.openpty()
    with closing(host, master, slave):
        yield master, slave


def type_in(host: Host, pair: tuple[int, int], keys: bytes) -> None:
    """Write to the master and wait until the slave has it: the line discipline works in the background."""
    os.write(pair[0], keys)
    assert host.poller.poll([(pair[1], p.POLLIN)], 5 * 10**9, signals=False)[0]


def test_modes_of_a_fresh_terminal(host: Host, pair: tuple[int, int]) -> None:
    found = host.ttys.tcgetattr(pair[1])
    assert found.iflag == t.ICRNL | t.IXON
    assert found.oflag == t.OPOST | t.ONLCR
    assert found.cflag == t.B38400 | t.CS8 | t.CREAD
    assert found.lflag & (t.ICANON | t.ISIG | t.ECHO | t.IEXTEN) == t.ICANON | t.ISIG | t.ECHO | t.IEXTEN
    assert len(found.cc) == t.NCCS
    assert (found.cc[t.VINTR], found.cc[t.VEOF], found.cc[t.VSUSP]) == (3, 4, 26)
    assert (found.ispeed, found.ospeed) == (38400, 38400)


def test_raw_mode_and_back(host: Host, pair: tuple[int, int]) -> None:
    ttys, (_, slave) = host.ttys, pair
    before = ttys.tcgetattr(slave)
    cc = bytearray(before.cc)
    cc[t.VMIN], cc[t.VTIME], cc[t.VINTR], cc[t.VSTART] = 1, 0, 28, 0
    raw = before._replace(
        iflag=before.iflag & ~(t.ICRNL | t.IXON),
        lflag=before.lflag & ~(t.ICANON | t.ECHO | t.ISIG | t.IEXTEN),
        oflag=before.oflag & ~t.OPOST,
        cflag=before.cflag & ~t.CBAUD | t.B9600 | t.HUPCL,
        cc=bytes(cc),
    )
    ttys.tcsetattr(slave, 0, raw)
    native = termios.tcgetattr(slave)
    assert native[3] & (termios.ICANON | termios.ECHO | termios.ISIG) == 0
    assert native[5] == termios.B9600
    now = ttys.tcgetattr(slave)
    assert now == raw._replace(ispeed=9600, ospeed=9600)
    type_in(host, pair, b"\r\x03")
    assert os.read(slave, 10) == b"\r\x03"
    ttys.tcsetattr(slave, 2, before)
    assert ttys.tcgetattr(slave) == before
    fails(EINVAL, ttys.tcsetattr, slave, 3, before)


def test_what_is_no_terminal(host: Host, dirfd: int) -> None:
    ttys = host.ttys
    fails(ENOTTY, ttys.tcgetattr, dirfd)
    fails(ENOTTY, ttys.get_winsize, dirfd)
    fails(ENOTTY, ttys.tcgetpgrp, dirfd)
    fails(ENOTTY, ttys.tcgetsid, dirfd)
    fails(ENOTTY, ttys.tcflush, dirfd, 0)
    fails(ENOTTY, ttys.outq, dirfd)


def test_window_size(host: Host, pair: tuple[int, int]) -> None:
    master, slave = pair
    host.ttys.set_winsize(master, Winsize(50, 132, 3, 4))
    assert host.ttys.get_winsize(slave) == Winsize(50, 132, 3, 4)
    assert os.get_terminal_size(slave) == (132, 50)


def test_queues(host: Host, pair: tuple[int, int]) -> None:
    ttys, (_, slave) = host.ttys, pair
    type_in(host, pair, b"abc\n")
    assert ttys.inq(slave) == 4
    assert host.files.ioctl_fionread(slave) == 4
    assert ttys.outq(slave) == 0
    ttys.tcflush(slave, 0)
    assert ttys.inq(slave) == 0
    ttys.tcflow(slave, 0)
    ttys.tcflow(slave, 1)
    ttys.tcsendbreak(slave, 0)
    ttys.tcflush(slave, 2)
    ttys.tcdrain(slave)
    fails(EINVAL, ttys.tcflush, slave, 9)
    fails(EINVAL, ttys.tcflow, slave, 9)


def test_nowait_on_a_terminal(host: Host, pair: tuple[int, int]) -> None:
    master, slave = pair
    buffer = bytearray(10)
    fails(EAGAIN, host.files.preadv_nowait, slave, [buffer])
    os.write(master, b"half a line")
    fails(EAGAIN, host.files.preadv_nowait, slave, [buffer])
    type_in(host, pair, b"\n")
    assert host.files.preadv_nowait(slave, [buffer]) == 10
    assert host.files.pwritev_nowait(slave, [b"out"]) == 3


def test_packet_mode(host: Host, pair: tuple[int, int]) -> None:
    master, slave = pair
    host.ttys.packet_mode(master, True)
    os.write(slave, b"x")
    assert os.read(master, 10) == b"\0x"
    host.ttys.packet_mode(master, False)
    os.write(slave, b"x")
    assert os.read(master, 10) == b"x"


def test_openpt_by_hand(host: Host) -> None:
    ttys = host.ttys
    master = ttys.openpt(O_RDWR | O_NOCTTY)
    with closing(host, master):
        assert not os.get_inheritable(master)
        ttys.unlockpt(master)
        assert os.path.exists(ttys.ptsname(master))
        slave = ttys.open_slave(master, O_RDWR | O_NOCTTY)
        with closing(host, slave):
            assert not os.get_inheritable(slave)
            assert os.fsencode(os.ttyname(slave)) == ttys.ptsname(master)


def test_session_and_job_control(host: Host, pair: tuple[int, int], in_child: InChild) -> None:
    """In a session of its own: the terminal becomes the controlling one, a background read fails with EIO."""
    ttys, procs, (_, slave) = host.ttys, host.procs, pair

    def session() -> None:
        host.signals.block_all()
        leader = procs.setsid()
        ttys.set_controlling(slave)
        assert ttys.tcgetsid(slave) == leader
        assert ttys.tcgetpgrp(slave) == leader
        ready_r, ready_w = host.files.pipe()
        pid = procs.fork()
        if pid == 0:
            procs.setpgid(0, 0)
            host.files.write(ready_w, b"x")
            # Blocked, so that there is no signal but an error: what the docstring of Ttys says.
            fails(EIO, host.files.read, slave, 1)
            assert ttys.tcgetpgrp(slave) != procs.getpgid(0)
            procs.killpg(procs.getpgid(0), SIGTTIN)
            assert SIGTTIN in [info.signo for info in host.signals.collect()]
            os._exit(0)
        host.files.read(ready_r, 1)
        assert procs.wait4(pid, 0)[1] == 0
        ttys.tcsetpgrp(slave, procs.getpgid(0))
        ttys.give_up_controlling(slave)
        assert SIGHUP in [info.signo for info in host.signals.collect()]

    assert in_child(session) == 0


def test_ctrl_c_reaches_the_foreground_group(host: Host, pair: tuple[int, int], in_child: InChild) -> None:
    ttys, (master, slave) = host.ttys, pair

    def session() -> None:
        host.signals.block_all()
        host.procs.setsid()
        ttys.set_controlling(slave)
        os.write(master, b"\x03")
        found, signalled = host.poller.poll([(slave, p.POLLIN)], 5 * 10**9)
        assert signalled, found
        assert [info.signo for info in host.signals.collect()] == [signal.SIGINT]
        host.ttys.set_winsize(master, Winsize(9, 9))
        time.sleep(0.01)
        assert [info.signo for info in host.signals.collect()] == [signal.SIGWINCH]

    assert in_child(session) == 0


def test_ioctl_passthrough(host: Host, pair: tuple[int, int]) -> None:
    ttys, (_, slave) = host.ttys, pair
    fails(EPERM, ttys.ioctl_passthrough, slave, ioctl.TIOCSTI, bytearray(b"x"))
    if not host.caps.ioctl_passthrough:
        fails(ENOTTY, ttys.ioctl_passthrough, slave, ioctl.TCGETS, bytearray(36))
        return
    modes = bytearray(36)
    assert ttys.ioctl_passthrough(slave, ioctl.TCGETS, modes) == 0
    assert struct.unpack_from("=4I", modes) == host.ttys.tcgetattr(slave)[:4]
    fails(ENOTTY, ttys.ioctl_passthrough, slave, ioctl.FIOQSIZE + 0x100, 0)
