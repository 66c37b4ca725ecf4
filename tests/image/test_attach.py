"""Containers in the background that have an input, or a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

from tests.image.noah import Noah, names, one_line, wait_until

LINES = "while read line; do echo got $line; [ $line = end ] && exit 3; done"


def read_until(fd: int, wanted: bytes) -> bytes:
    """What comes, up to what is wanted."""
    seen = b""
    deadline = time.monotonic() + 20
    while wanted not in seen and time.monotonic() < deadline:
        if select.select([fd], [], [], 0.1)[0]:
            seen += os.read(fd, 1 << 16)
    assert wanted in seen, seen
    return seen


def test_input_stays_when_who_has_typed_goes(cli: Noah, noah: str) -> None:
    assert cli("run", "-di", "--name", "one", "small", "sh", "-c", LINES).returncode == 0
    with subprocess.Popen([noah, "attach", "one"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        first.stdin.write(b"a\n")
        first.stdin.close()
        read_until(first.stdout.fileno(), b"got a\n")
        assert first.poll() is None
        second = cli("attach", "one", input="end\n")
        assert (second.stdout, second.returncode) == ("got end\n", 3)
        assert (first.stdout.read(), first.wait()) == (b"got end\n", 3)
    assert cli("logs", "one").stdout == "got a\ngot end\n"


def test_input_is_kept_for_a_second_run(cli: Noah) -> None:
    cli("run", "-di", "--name", "one", "small", "sh", "-c", LINES)
    assert cli("attach", "one", input="end\n").returncode == 3
    assert cli("start", "one").returncode == 0
    assert cli("attach", "one", input="b\nend\n").stdout == "got b\ngot end\n"
    one_line(cli("attach", "one"), 1, "is not running")


def test_none_without_asking_for_it(cli: Noah) -> None:
    cli("run", "-d", "--name", "one", "small", "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; cat; exit 5")
    cli("exec", "-d", "one", "sh", "-c", "sleep 0.5; echo > /go")
    assert cli("attach", "one", input="typed\n").stdout == ""


def test_terminal(cli: Noah, noah: str) -> None:
    assert cli("run", "-dit", "--name", "one", "small", "sh").returncode == 0
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
    attached = subprocess.Popen([noah, "attach", "one"], stdin=slave, stdout=slave, stderr=slave)
    try:
        size = """perl -e 'ioctl(STDIN, 0x5413, $_ = "xxxxxxxx"); print join("x", unpack "S2", $_), "=size\\n"'\n"""
        os.write(master, size.encode())
        assert b"33x77=size\r\n" in read_until(master, b"77=size\r\n")
        os.write(master, b"sh -c 'echo re\"\"ady; sleep 100'\n")
        read_until(master, b"ready\r\n")
        os.write(master, b"\x03")  # Ctrl-C is a key of that terminal
        os.write(master, b"test -t 0 && echo ter''minal\n")
        read_until(master, b"terminal\r\n")
        os.write(master, b"\x10\x11")
        read_until(master, b"read escape sequence")
        assert attached.wait(20) == 0
        assert termios.tcgetattr(slave) == before
    finally:
        attached.kill()
        attached.wait()
        os.close(master)
        os.close(slave)
    assert names(cli) == ["one"]
    assert cli("attach", "one", input="exit 6\n").returncode == 6


def test_signals_are_handed_on(cli: Noah, noah: str) -> None:
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    for options, status, left in (([], 9, []), (["--sig-proxy=false"], -signal.SIGINT, ["one"])):
        cli("run", "-d", "--name", "one", "small", "sh", "-c", script)
        wait_until(lambda: cli("logs", "one").stdout)
        attached = subprocess.Popen([noah, "attach", *options, "one"], stdin=subprocess.DEVNULL)
        time.sleep(1)
        attached.send_signal(signal.SIGINT)
        assert attached.wait(20) == status
        assert names(cli) == left
        cli("rm", "-f", "one")
