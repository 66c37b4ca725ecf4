"""Where traces go: one file for all processes of a run, a line with each write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EAGAIN, EINTR, LinuxError
from noah.abi.fcntl import AT_FDCWD, O_APPEND, O_CREAT, O_TRUNC, O_WRONLY
from noah.abi.poll import POLLOUT
from noah.abi.resource import RLIM_INFINITY, RLIMIT_FSIZE
from noah.trace.errors import TEXTS
from noah.util.text import printable

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.kernel.task import Process

_STDERR: Final = 2
_NO_LIMIT: Final = (RLIM_INFINITY, RLIM_INFINITY)
_AGAIN: Final = (EAGAIN, EINTR)


class TraceError(Exception):
    """The trace cannot be written. The text is for the user."""


class Output:
    """The file. It is opened once, for appending; children inherit the descriptor, so lines never mix."""

    __slots__ = ("_fd", "_host", "_limits", "name")

    def __init__(self, process: Process, path: bytes | None) -> None:
        """Without a path: stderr as it is now, whatever the program does with its own. Raises TraceError."""
        self._host = host = process.host
        self._limits = process.rlimits
        mode = 0o666 & ~process.fs.umask  # the host's own umask is 0: see noah.api
        self.name = "stderr" if path is None else printable(path)
        try:
            if path is None:
                self._fd = host.files.dup(_STDERR, 3)
            else:
                self._fd = host.files.openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, mode)
        except LinuxError as error:
            raise TraceError(f"trace file {self.name}: {_reason(error)}") from None

    def write(self, text: str) -> None:
        """Write a line and its end. Raises TraceError."""
        data = text.encode("utf-8", "backslashreplace") + b"\n"
        while data:
            try:
                data = data[self._write(data) :]
            except LinuxError as error:
                if error.errno not in _AGAIN:
                    raise TraceError(f"trace file {self.name}: {_reason(error)}") from None
                self._host.poller.poll([(self._fd, POLLOUT)], None, signals=False)

    def _write(self, data: bytes) -> int:
        """The size of files that the guest may write is the host's to limit; the trace is none of the guest's files."""
        if self._limits.get(RLIMIT_FSIZE, _NO_LIMIT)[0] == RLIM_INFINITY:
            return self._host.files.write(self._fd, data)
        return write_unlimited(self._host, self._fd, data)

    def close(self) -> None:
        self._host.files.close_quietly(self._fd)


def write_unlimited(host: Host, fd: int, data: bytes) -> int:
    """Write to a file that is none of the guest's, whatever size it may give to its own (RLIMIT_FSIZE)."""
    procs = host.procs
    soft, hard = procs.getrlimit(RLIMIT_FSIZE)
    procs.setrlimit(RLIMIT_FSIZE, (hard, hard))
    try:
        return host.files.write(fd, data)
    finally:
        procs.setrlimit(RLIMIT_FSIZE, (soft, hard))


def _reason(error: LinuxError) -> str:
    text = TEXTS.get(error.errno, str(error))
    return text[:1].lower() + text[1:]
