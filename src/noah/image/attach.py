"""What `noah attach` does: show what a container in the background writes, and hand on what is typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from noah.abi.errno import ENXIO, LinuxError
from noah.abi.fcntl import AT_FDCWD, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDWR, O_WRONLY
from noah.abi.poll import POLLIN, POLLOUT
from noah.abi.signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH
from noah.abi.termios import BRKINT, ECHO, ICANON, ICRNL, IEXTEN, INLCR, ISIG, ISTRIP, IXON, OPOST, VMIN
from noah.image.console import input_of, terminal_of
from noah.image.errors import ImageError
from noah.image.supervise import send

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.host.values import Termios
    from noah.image.container import Container, Containers

_CHUNK: Final = 1 << 16
_TICK_NS: Final = 20_000_000
_LOOK: Final = 5  # ticks between two looks at whether it still runs
_STDIN: Final = 0
_DRAIN: Final = 1  # TCSADRAIN
_DETACH: Final = b"\x10\x11"  # Ctrl-P Ctrl-Q, docker's
_FORWARDED: Final = (SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2)
_JOB_CONTROL: Final = (SIGTSTP, SIGTTIN, SIGTTOU)


class Attached:
    """One who looks on, and types."""

    def __init__(
        self,
        host: Host,
        containers: Containers,
        container: Container,
        write: Callable[[bytes], None],
        *,
        typing: bool,
        forward: bool,
    ) -> None:
        """write: shows what was written. typing: hand the input on. forward: hand signals on. ImageError."""
        self._write = write
        self._host = host
        self._containers = containers
        self._container = container
        self._forward = forward
        self._input = self._open_input() if typing else -1
        self._slave = -1
        try:
            path = host.files.readlinkat(AT_FDCWD, terminal_of(container))
            self._slave = host.files.openat(AT_FDCWD, path, O_RDWR | O_NOCTTY)
        except LinuxError:
            pass  # it has none
        self._raw = self._slave >= 0 and self._input >= 0 and host.files.isatty(_STDIN)
        self._held = b""  # the beginning of what detaches
        self._fatal = 0  # the signal that ends this

    def _open_input(self) -> int:
        try:
            return self._host.files.openat(AT_FDCWD, input_of(self._container), O_WRONLY | O_NONBLOCK | O_NOFOLLOW)
        except LinuxError as error:
            if error.errno == ENXIO:
                raise ImageError(f"container {self._container.name} is not running") from None
            return -1  # nothing was to be typed

    def run(self, offset: int) -> bool:
        """Show what it writes from `offset` of its log on until it ends. False: it goes on, only this has ended."""
        host = self._host
        host.signals.block_all()
        before = host.ttys.tcgetattr(_STDIN) if self._raw else None
        if before is not None:
            host.ttys.tcsetattr(_STDIN, _DRAIN, raw(before))
            self._resize()
        try:
            ended = self._watch(offset)
        finally:
            if before is not None:
                host.ttys.tcsetattr(_STDIN, _DRAIN, before)
        if self._fatal:
            host.procs.exit_by_signal(self._fatal)
        return ended

    def _watch(self, offset: int) -> bool:
        tick = 0
        with self._container.log.open("rb") as log:
            log.seek(offset)
            while not self._fatal:
                over = tick % _LOOK == 0 and self._containers.state(self._container).status != "running"
                while data := log.read(_CHUNK):
                    self._write(data)
                if over:
                    return True
                wanted = [(_STDIN, POLLIN)] if self._input >= 0 else []
                ready, signalled = self._host.poller.poll(wanted, _TICK_NS)
                if signalled:
                    self._signals()
                if ready and not self._type():
                    return False
                tick += 1
        return False

    def _signals(self) -> None:
        for info in self._host.signals.collect():
            if info.signo == SIGWINCH:
                self._resize()
            elif info.signo in _JOB_CONTROL:
                self._host.procs.stop_by_signal(info.signo)
            elif info.signo in _FORWARDED and self._forward:
                send(self._host, self._containers, self._container, info.signo)
            elif info.signo in (*_FORWARDED, SIGHUP):
                self._fatal = info.signo

    def _type(self) -> bool:
        """Hand on what was typed. False if that was to detach."""
        try:
            data = self._host.files.read(_STDIN, _CHUNK)
        except LinuxError:
            data = b""  # the terminal is gone
        if not data:
            self._input = -1
            return True
        if self._raw:
            data, self._held = self._held + data, b""
            if _DETACH in data:
                return False
            if data.endswith(_DETACH[:1]):
                data, self._held = data[:-1], _DETACH[:1]
        try:
            while data:
                self._host.poller.poll([(self._input, POLLOUT)], None, signals=False)
                data = data[self._host.files.write(self._input, data) :]
        except LinuxError:
            self._input = -1  # it has just ended
        return True

    def _resize(self) -> None:
        """Let its terminal be as large as this one."""
        if self._raw:
            self._host.ttys.set_winsize(self._slave, self._host.ttys.get_winsize(_STDIN))


def raw(before: Termios) -> Termios:
    """Each key at once, and as it is: cfmakeraw(3)."""
    cc = bytearray(before.cc)
    cc[VMIN] = 1
    return before._replace(
        iflag=before.iflag & ~(BRKINT | ISTRIP | INLCR | ICRNL | IXON),
        oflag=before.oflag & ~OPOST,
        lflag=before.lflag & ~(ECHO | ICANON | ISIG | IEXTEN),
        cc=bytes(cc),
    )
