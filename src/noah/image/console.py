"""The input of a container in the background (`noah run -di`), and its terminal (`-dt`).

    containers/ID/input      a FIFO; whoever writes into it types
                  terminal   a link to the terminal that the program has, where it has one
                  log        what was written, which is how those who look on get it

So nobody needs to serve anybody: the supervisor hands on what comes, `noah attach` writes and reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import LinuxError
from noah.abi.fcntl import AT_FDCWD, O_NOFOLLOW, O_NONBLOCK, O_RDWR
from noah.abi.poll import POLLIN, POLLOUT
from noah.abi.stat import S_IFIFO
from noah.host.console import redirect

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.image.container import Container

_CHUNK: Final = 1 << 16


class Console:
    """The supervisor's side."""

    def __init__(self, host: Host, container: Container, *, terminal: bool) -> None:
        """LinuxError."""
        self._host = host
        self._files = files = host.files
        self._master = self._slave = -1
        self._typed = b""  # not yet taken by the terminal
        input, link = input_of(container), terminal_of(container)
        for path in (input, link):
            try:
                files.unlinkat(AT_FDCWD, path)
            except LinuxError:
                pass  # there was none
        files.mknodat(AT_FDCWD, input, S_IFIFO | 0o600)
        # For reading and writing: it does not end when somebody who has typed goes.
        self._input = files.openat(AT_FDCWD, input, O_RDWR | O_NOFOLLOW | (O_NONBLOCK if terminal else 0))
        if terminal:
            self._log = files.dup(1)
            self._master, self._slave = host.ttys.openpty()
            files.set_flags(self._master, files.get_flags(self._master) | O_NONBLOCK)
            files.symlinkat(host.ttys.ptsname(self._master), AT_FDCWD, link)

    def enter(self) -> None:
        """In the process that becomes the program: make this its input, and output where there is a terminal."""
        if self._master < 0:
            redirect(1, self._input)
            return
        self._host.procs.setsid()
        self._host.ttys.set_controlling(self._slave)
        redirect(self._slave, self._slave)
        for fd in (self._slave, self._master, self._input, self._log):
            self._files.close(fd)

    @property
    def wanted(self) -> list[tuple[int, int]]:
        """What to poll for."""
        if self._master < 0:
            return []
        typing = (self._input, 0 if self._typed else POLLIN)
        return [typing, (self._master, POLLIN | (POLLOUT if self._typed else 0))]

    def serve(self) -> None:
        """Hand on what is there."""
        if self._master < 0:
            return
        if not self._typed:
            self._typed = self._read(self._input)
        if self._typed:
            try:
                self._typed = self._typed[self._files.write(self._master, self._typed) :]
            except LinuxError:
                pass  # it is full
        self.drain()

    def drain(self) -> None:
        """Put what the program has written into the log."""
        while self._master >= 0 and (data := self._read(self._master)):
            try:
                self._files.write(self._log, data)
            except LinuxError:
                pass  # the disk is full

    def _read(self, fd: int) -> bytes:
        try:
            return self._files.read(fd, _CHUNK)
        except LinuxError:
            return b""


def input_of(container: Container) -> bytes:
    return bytes(container.directory / "input")


def terminal_of(container: Container) -> bytes:
    return bytes(container.directory / "terminal")
