"""Terminals: the same keys give the same screen in Noah as natively.

A dialogue is a list of steps: keys to send, and what to wait for. Waiting is always for text on the terminal, so that a
slow engine changes no transcript.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.running import (
    NOAH,
    descendants,
    environment,
    kill_new,
    need_engine,
    need_programs,
    noah_command,
    working_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LATER: Final = "\0"  # before keys: for a moment that shows nothing on the screen, like a job in the foreground again
PROMPT: Final = r"\$> $"
BASH: Final = ("env", "PS1=$> ", "bash", "--norc", "--noprofile", "-i")
pytestmark = pytest.mark.slow  # they measure what depends on an idle machine

ENGINES: Final = ("kvm", pytest.param("emulator", marks=pytest.mark.slow))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    need_engine(request.param)
    noah_command()
    return str(request.param)


def noah(engine: str, command: Sequence[str]) -> list[str]:
    return [NOAH, "run", "--engine", engine, "--root", "/", "-it", "--", *command]


class Terminal:
    """A program with a controlling terminal of its own; `seen` is everything that it wrote."""

    def __init__(self, command: Sequence[str], cwd: Path, *, rows: int = 24, columns: int = 80) -> None:
        self.seen = ""
        self._mark = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(cwd)
                for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                # The size is there before the program looks at it.
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execvpe(command[0], list(command), environment(HOME=str(cwd), HISTFILE=""))
            finally:
                os._exit(127)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def expect(self, pattern: str, seconds: float = 20) -> str:
        """Waits until the text since the last match has the pattern; returns that text."""
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen[self._mark :])):
            left = deadline - time.monotonic()
            assert left > 0, f"waited in vain for {pattern!r}; seen: {self.seen!r}"
            if select.select([self.fd], [], [], left)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:  # EIO: the last process has closed the terminal
                    data = b""
                assert data, f"ended before {pattern!r}; seen: {self.seen!r}"
                self.seen += data.decode(errors="replace")
        text = self.seen[self._mark : self._mark + match.end()]
        self._mark += match.end()
        return text

    def end(self, seconds: float = 8) -> int:
        """Reads to the end, closes and returns the exit status, negative for a signal."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if select.select([self.fd], [], [], 0.1)[0]:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                break
        # Who has closed the terminal and is about to end must not be hung up first.
        ended, status = self._wait(min(deadline, time.monotonic() + 1))
        os.close(self.fd)
        if not ended:
            ended, status = self._wait(deadline)
        if not ended:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def _wait(self, deadline: float) -> tuple[int, int]:
        ended, status = os.waitpid(self.pid, os.WNOHANG)
        while not ended and time.monotonic() < deadline:
            time.sleep(0.01)
            ended, status = os.waitpid(self.pid, os.WNOHANG)
        return ended, status


def dialogue(command: Sequence[str], steps: Sequence[tuple[str, str]]) -> tuple[str, int]:
    """Plays (pattern to wait for, keys to send then); returns transcript and exit status."""
    with working_directory() as cwd:
        terminal = Terminal(command, cwd)
        try:
            for pattern, keys in steps:
                terminal.expect(pattern)
                if keys.startswith(LATER):
                    time.sleep(0.7)
                terminal.send(keys.removeprefix(LATER))
        finally:
            status = terminal.end()
        # A job's number has its process id, or a mark that depends on when the shell hears of its end.
        return re.sub(r"(\[\d+\])( \d+|[-+])", r"\1", terminal.seen), status


def same_dialogue(engine: str, command: Sequence[str], *steps: tuple[str, str]) -> str:
    native = dialogue(command, steps)
    other = dialogue(noah(engine, command), steps)
    assert other[0].split("\r\n") == native[0].split("\r\n")
    assert other[1] == native[1]
    return native[0]


def at_prompt(*lines: str) -> list[tuple[str, str]]:
    return [(PROMPT, line + "\n") for line in lines]


# ---- an interactive shell ----


def test_prompt_commands_and_exit_status(engine: str) -> None:
    steps = at_prompt("echo $((6 * 7))", "false", "echo $?", "cd /; pwd", "seq 3 | tac", "tty | cut -c1-9", "exit 5")
    seen = same_dialogue(engine, BASH, *steps)
    assert "42" in seen


def test_line_editing(engine: str) -> None:
    left, up, home, delete = "\x1b[D", "\x1b[A", "\x1b[H", "\x1b[3~"
    seen = same_dialogue(
        engine,
        BASH,
        (PROMPT, f"echo wrogn{left}{left}\x1b[3~\x1b[Cg\n"),
        (PROMPT, f"cho again{home}e\n"),
        (PROMPT, up),
        (r"echo again$", f"\x17changed{home}{delete}e\n"),
        (PROMPT, "echo gone\x15echo kept\x01\x05\n"),
        (PROMPT, "echo /usr/bi\t"),
        (r"/bin/?$", "\n"),
        (PROMPT, "\x12kep"),
        (r"p': echo \S+kep", "\r"),
        (PROMPT, "\x04"),
    )
    assert "wrong" in seen


def test_interrupt_key_gives_the_prompt_back(engine: str) -> None:
    same_dialogue(
        engine,
        BASH,
        (PROMPT, "sh -c 'echo begin; exec sleep 100'\n"),
        (r"[\r\n]begin\r\n", "\x03"),
        (PROMPT, "echo $?\n"),
        (r"130\r\n", ""),
        (PROMPT, "half a line\x03"),
        (PROMPT, "echo $?; trap 'echo trapped' INT; sh -c 'echo go; exec sleep 100'; echo on\n"),
        (r"[\r\n]go\r\n", "\x03"),
        (PROMPT, "trap - INT; sh -c 'echo go; exec sleep 100' | cat; echo ${PIPESTATUS[@]}\n"),
        (r"[\r\n]go\r\n", "\x03"),
        (PROMPT, "exit\n"),
    )


def test_quit_key_kills_the_foreground(engine: str) -> None:
    same_dialogue(
        engine,
        BASH,
        (PROMPT, "ulimit -c 0; sh -c 'echo begin; exec sleep 100'\n"),
        (r"[\r\n]begin\r\n", "\x1c"),
        (PROMPT, "echo $?; exit 0\n"),
    )


def test_job_control(engine: str) -> None:
    same_dialogue(
        engine,
        BASH,
        (PROMPT, "sh -c 'echo begin; exec sleep 101'\n"),
        (r"[\r\n]begin\r\n", "\x1a"),
        (PROMPT, "echo $?; jobs\n"),
        (PROMPT, "bg; jobs\n"),
        (PROMPT, "fg\n"),
        (r"fg\r\n[^$]*sleep 101'\r\n", LATER + "\x1a"),
        (PROMPT, "kill %1; sleep 0.3\n"),
        (PROMPT, "sh -c 'echo begin; exec cat'\n"),
        (r"[\r\n]begin\r\n", "one\n"),
        (r"one\r\none\r\n", "\x1a"),
        (PROMPT, "fg\n"),
        (r"exec cat'\r\n", "two\n"),
        (r"two\r\ntwo\r\n", "\x04"),
        (PROMPT, "cat > /dev/tty & sleep 0.3; jobs | sed 's/ *$//'\n"),
        (PROMPT, "kill %1; sleep 0.3\n"),
        (PROMPT, "exit 3\n"),
    )


def test_background_read_stops_and_tostop_stops_writers(engine: str) -> None:
    same_dialogue(
        engine,
        BASH,
        (PROMPT, "stty tostop; (sleep 0.2; echo late) & sleep 0.6; jobs | sed 's/ *$//'\n"),
        (PROMPT, "fg\n"),
        (r"late\r\n", ""),
        (PROMPT, "exit\n"),
    )


def test_stty_modes_and_raw_input(engine: str) -> None:
    same_dialogue(
        engine,
        BASH[:-1],
        (PROMPT, "stty -a > /dev/null; stty size; stty -echo; echo quiet; stty echo; stty -a | head -1\n"),
        (PROMPT, "stty raw -echo; echo ready; dd bs=1 count=3 2>/dev/null | od -An -tx1; stty sane\n"),
        (r"[\r\n]ready", "\x03\x1a\r"),
        (PROMPT, "stty -echo; echo go; read -rn 1 k; stty echo; echo got $k\n"),
        (r"[\r\n]go\r\n", "z"),
        (PROMPT, "stty -icanon min 0 time 2; cat < /dev/tty | wc -c; stty icanon; exit\n"),
    )


def test_end_of_file_key(engine: str) -> None:
    same_dialogue(engine, ("cat",), ("^", "line\n"), (r"line\r\nline\r\n", "partial\x04"), ("partialpartial", "\x04"))


def test_window_size(engine: str) -> None:
    for command in (BASH, noah(engine, BASH)):
        with working_directory() as cwd:
            terminal = Terminal(command, cwd, rows=30, columns=100)
            try:
                terminal.expect(PROMPT)
                terminal.send("stty size; trap 'stty size' WINCH\n")
                terminal.expect("30 100\r\n")
                terminal.expect(PROMPT)
                terminal.resize(40, 90)
                terminal.expect("40 90\r\n")
                terminal.send("stty rows 20 cols 70; stty size; echo done\n")
                terminal.expect("20 70\r\ndone\r\n")
                terminal.send("exit\n")
            finally:
                status = terminal.end()
            assert status == 0


def test_hang_up_ends_the_session(engine: str) -> None:
    with working_directory() as cwd:
        others = set(descendants(os.getpid()))
        terminal = Terminal(noah(engine, BASH), cwd)
        terminal.expect(PROMPT)
        terminal.send("echo begin; sleep 100 & sleep 100\n")
        terminal.expect(r"[\r\n]begin\r\n")
        os.close(terminal.fd)
        deadline = time.monotonic() + 20
        while not (ended := os.waitpid(terminal.pid, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.05)
        if not ended[0]:
            os.kill(terminal.pid, signal.SIGKILL)
            os.waitpid(terminal.pid, 0)
        left = kill_new(others, grace=10)  # those that nobody has waited for are ours, where we adopt orphans
        assert ended[0], "the shell outlived its terminal"
        assert left == 0, "a job outlived its terminal"


def test_noah_itself_can_be_stopped_and_continued(engine: str) -> None:
    """Noah as a job of the host's shell: Ctrl-Z stops the guest's foreground, fg continues it."""
    command = " ".join(noah(engine, ("sh", "-c", "'echo begin; exec cat'")))
    with working_directory() as cwd:
        terminal = Terminal(BASH, cwd)
        try:
            terminal.expect(PROMPT)
            terminal.send(command + "\n")
            terminal.expect(r"[\r\n]begin\r\n")
            terminal.send("one\n")
            terminal.expect(r"one\r\none\r\n")
            terminal.send("\x1a")
            terminal.expect(r"Stopped")
            terminal.expect(PROMPT)
            terminal.send("fg\n")
            terminal.expect(r"cat'\r\n")
            time.sleep(0.7)
            terminal.send("two\n")
            terminal.expect(r"two\r\ntwo\r\n")
            terminal.send("\x03")
            terminal.expect(PROMPT)
            terminal.send("echo status $?; exit\n")
            terminal.expect("status 130\r\n")
        finally:
            terminal.end()


# ---- whole screens ----


# The name of the working directory, times, what is free on the disk, a tip of the day.
_VARIES: Final = re.compile(
    r"noah-test-\w+|\w\w\w +\d+ \d\d:\d\d|\d+[MG] ?/ ?\d+[MG] \(\d+%\)|Hint: .*|\d\d:\d\d \d\d-\w+-\d\d"
)


# mc draws it if the terminal answers a question late: natively as well.
_LATE: Final = re.compile(r" +(\x1b\[[0-9;]*m)*\[\^\](?=\n)")
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


_THEN: Final = 1_700_000_000


class Screen:
    """A program in a tmux of its own, whose screen can be read."""

    def __init__(self, folder: Path, command: Sequence[str], cwd: Path) -> None:
        self._base = ["tmux", "-f", "/dev/null", "-S", str(folder / "socket")]
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in command)
        size = ["-x", "80", "-y", "24"]
        self.call("new-session", "-d", "-s", "it", *size, "-c", str(cwd), f"{quoted}; echo ended; exec cat")

    def call(self, *arguments: str) -> str:
        """Runs one tmux command."""
        done = subprocess.run(
            [*self._base, *arguments], check=True, capture_output=True, text=True, env=environment(TERM="screen")
        )
        return done.stdout

    def keys(self, *keys: str) -> None:
        self.call("send-keys", "-t", "it", *keys)

    def text(self) -> str:
        return self.call("capture-pane", "-p", "-e", "-t", "it")

    def wait(self, pattern: str, seconds: float = 20) -> str:
        """Waits until the screen has the pattern and rests; returns it, colours and cursor position included."""
        deadline = time.monotonic() + seconds
        before = ""
        while time.monotonic() < deadline:
            now = self.text()
            if now == before and (re.search(pattern, now) or re.search(pattern, _COLOURS.sub("", now))):
                now = _VARIES.sub(lambda match: "~" * len(match[0]), _LATE.sub("", now))
                return now + self.call("display-message", "-p", "-t", "it", "#{cursor_x},#{cursor_y}")
            before = now
            time.sleep(0.25)
        raise AssertionError(f"never saw {pattern!r}:\n{self.text()}")

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.call("kill-server")


@contextlib.contextmanager
def screen(command: Sequence[str], cwd: Path) -> Iterator[Screen]:
    folder = Path(tempfile.mkdtemp(prefix="noah-test-tmux-"))
    before = set(descendants(os.getpid()))
    shown = Screen(folder, command, cwd)
    try:
        yield shown
    finally:
        shown.close()
        kill_new(before, grace=10)  # its server, where we adopt orphans
        shutil.rmtree(folder)


def same_screens(engine: str, command: Sequence[str], *steps: tuple[str, tuple[str, ...]]) -> None:
    """Waits for each pattern, compares the screens there, sends the keys (or changes the window's size)."""
    need_programs(["tmux", command[0]], Path("/"))
    taken: list[list[str]] = []
    for each in (list(command), noah(engine, command)):
        with working_directory() as above:
            cwd = above / "work"
            cwd.mkdir()
            (cwd / "text").write_text("".join(f"line {i} " + "word " * (i % 10) + "\n" for i in range(1, 201)))
            (cwd / "code.c").write_text("/* comment */\n#include <stdio.h>\nint main(void) { return 42; }\n")
            for path in (*cwd.iterdir(), above):  # midnight commander shows when they were changed
                os.utime(path, (_THEN, _THEN))
            with screen(each, cwd) as shown:
                screens: list[str] = []
                for pattern, keys in steps:
                    screens.append(shown.wait(pattern))
                    if keys:
                        if keys[0].startswith("resize "):
                            _, columns, rows = keys[0].split()
                            shown.call("resize-window", "-t", "it", "-x", columns, "-y", rows)
                        else:
                            shown.keys(*keys)
                taken.append(screens)
    for number, (native, other) in enumerate(zip(*taken, strict=True)):
        assert other == native, f"screen {number}"


def test_less_draws_the_same_screen(engine: str) -> None:
    same_screens(
        engine,
        ("less", "text"),
        (r"line 23", ("Space",)),
        (r"line 46", ("G",)),
        (r"line 200", ("g",)),
        (r"line 1 ", ("/", "line 12", "0", "Enter")),
        (r"line 120", ("h",)),
        (r"SUMMARY.*COMMANDS", ("q",)),
        (r"line 120", ("q",)),
        (r"ended", ()),
    )


def test_vim_draws_the_same_screen(engine: str) -> None:
    same_screens(
        engine,
        ("vim", "-u", "NONE", "-i", "NONE", "-N", "-c", "set ruler showmode", "text"),
        (r"line 20", ("5", "j", "w", "i", "inserted ", "Escape")),
        (r"inserted", (":split code.c", "Enter", ":syntax on", "Enter")),
        (r"\[3\dm#include", ("G", "o", "x = 1", "Escape", "u")),
        (r"42", (":!echo from the shell", "Enter")),
        (r"from the shell", ("Enter",)),
        (r"comment", (":wqa", "Enter")),
        (r"ended", ()),
    )


def test_vim_stops_and_comes_back(engine: str) -> None:
    same_screens(
        engine,
        BASH,
        (r"\$>", ("vim -u NONE -i NONE -N text", "Enter")),
        (r"line 20", ("C-z",)),
        (r"Stopped", ("fg", "Enter")),
        (r"line 20", (":q", "Enter")),
        (r"\$>", ("exit", "Enter")),
        (r"ended", ()),
    )


def test_screens_follow_the_size_of_the_window(engine: str) -> None:
    same_screens(
        engine,
        ("vim", "-u", "NONE", "-i", "NONE", "-N", "-c", "set ruler", "text"),
        (r"line 20", ("resize 60 12",)),
        (r"line 10(.|\n)*1,1", ("resize 90 30",)),
        (r"line 28(.|\n)*1,1", (":!less text", "Enter")),
        (r"line 29", ("resize 70 10",)),
        (r"line 9 (.|\n)*:", ("q",)),
        (r"press ENTER|Press ENTER", ("Enter",)),
        (r"line 8(.|\n)*1,1", (":q", "Enter")),
        (r"ended", ()),
    )


def test_nano_draws_the_same_screen(engine: str) -> None:
    same_screens(
        engine,
        ("nano", "--ignorercfiles", "text"),
        (r"line 1 ", ("Down", "Down", "End", "inserted")),
        (r"inserted", ("C-w", "line 120", "Enter")),
        (r"line 120", ("C-k", "C-k", "M-u")),
        (r"line 121", ("C-_",)),
        (r"Enter line number", ("5", "Enter")),
        (r"line 5", ("C-g",)),
        (r"help", ("C-x",)),
        (r"line 5", ("C-x",)),
        (r"Save modified buffer", ("y",)),
        (r"File Name to Write: text", ("Enter",)),
        (r"ended", ()),
    )


def test_dialog_draws_the_same_screen(engine: str) -> None:
    items = ("one", "first", "off", "two", "second", "on", "three", "third", "off")
    same_screens(
        engine,
        ("dialog", "--title", "choose", "--checklist", "some of these", "15", "50", "5", *items),
        (r"third", ("Down", "Space")),
        (r"second", ("Tab",)),
        (r"Cancel", ("Tab", "Tab", "Enter")),
        (r"ended", ()),
    )


def test_midnight_commander_draws_the_same_screen(engine: str) -> None:
    same_screens(
        engine,
        ("env", "HOME=/nonexistent", "TMPDIR=/tmp", "mc", "--nomouse", "--nosubshell", "--skin=default"),
        (r"code\.c(.|\n)*Quit", ("Down", "Down")),
        (r"text", ("F3",)),
        (r"line 20", ("F10",)),
        (r"Mkdir", ("F5",)),
        (r"source mask", ("Escape", "Escape")),
        (r"\A(?!(.|\n)*source mask)(.|\n)*Mkdir", ("F9",)),
        (r"File", ("Enter",)),
        (r"Listing format", ("Escape", "Escape")),
        (r"Modify time(.|\n)*Modify time", ("F10",)),
        (r"ended", ()),
    )


def test_tmux_inside(engine: str) -> None:
    """A server with ptys of its own, that draws on the terminal of its client."""
    same_screens(
        engine,
        (
            "env",
            "-u",
            "TMUX",
            "tmux",
            "-f",
            "/dev/null",
            "-S",
            "it",
            "new",
            "sh",
            ";",
            "set",
            "default-command",
            "sh",
            ";",
            "set",
            "status",
            "off",
        ),
        (r"[#$]", ("echo in $((40 + 2)); tty | cut -c1-9", "Enter")),
        (r"in 42", ("C-b", "%")),
        (r"[#$].*[#$]", ("seq 30", "Enter")),
        (r"30", ("C-b", "[")),
        (r"\[0/\d+\]", ("PageUp",)),
        (r"\[[1-9]\d*/\d+\]", ("q",)),
        (r"30\n.*[#$]", ("C-b", "o")),
        (r"in 42", ("stty size", "Enter")),
        (r"24 \d+", ("exit", "Enter")),
        (r"30\n.*[#$]", ("exit", "Enter")),
        (r"exited", ()),
    )


def test_script_records_a_session(engine: str) -> None:
    """script(1): a pty between, with the program's exit status and all that was shown."""
    same_dialogue(
        engine,
        ("env", "PS1=$> ", "SHELL=/bin/sh", "script", "-q", "-e", "-c", "stty -a | head -1; exec sh", "record"),
        (PROMPT, "echo in $((40 + 2)); sleep 100\n"),
        (r"in 42\r\n", LATER + "\x03"),
        (PROMPT, "tr -d '\\r' < record | grep -c 'in 42'; exit 7\n"),
    )


def test_passphrases_are_asked_without_echo(engine: str) -> None:
    """What ssh does for a password: /dev/tty without echo, the modes put back, also after an interrupt."""
    need_programs(["ssh-keygen"], Path("/"))
    same_dialogue(
        engine,
        BASH,
        (PROMPT, "ssh-keygen -q -t ed25519 -f key < /dev/null 2>&1; stty -a | grep -o '[ -]echo '\n"),
        (r"empty for no passphrase\): ", LATER + "a secret\n"),
        (r"same passphrase again: ", LATER + "a secret\n"),
        (PROMPT, "ssh-keygen -y -f key > /dev/null; stty -a | grep -o '[ -]echo '\n"),
        (r"passphrase[^:]*: ", LATER + "another\n"),
        (PROMPT, "ssh-keygen -y -f key | cut -c1-11\n"),
        (r"passphrase[^:]*: ", LATER + "a secret\n"),
        (r"ssh-ed25519", ""),
        (PROMPT, "ssh-keygen -y -f key\n"),
        (r"passphrase[^:]*: ", LATER + "\x03"),
        (PROMPT, "stty -a | grep -o '[ -]echo '; read -rsp 'word: ' word; echo \"got $word\"\n"),
        (r"word: ", LATER + "quiet\n"),
        (PROMPT, "exit\n"),
    )


def test_htop_and_top_draw_and_end(engine: str) -> None:
    need_programs(["htop", "top", "tmux"], Path("/"))
    mark = "looked-at"
    with (
        working_directory() as cwd,
        screen(
            noah(engine, ("env", f"HOME={cwd}", "bash", "-c", f"(exec -a {mark} sleep 300) & htop; top; kill %1")), cwd
        ) as shown,
    ):
        first = shown.wait(rf"CPU%.*MEM%(.|\n)*{mark} 300")
        assert re.search(r"Tasks: *\S*\d", _COLOURS.sub("", first))
        shown.keys("t")
        shown.wait(rf"[└├].*{mark}")
        shown.keys("q")
        shown.wait(r"PID +USER")
        shown.keys("c")
        shown.wait(rf"{mark}")
        shown.keys("q")
        shown.wait(r"ended")
