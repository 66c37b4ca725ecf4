"""The processes of containers: a supervisor waits for the first program, notes how it ended and ends the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from noah.abi.errno import ECHILD, EPERM, LinuxError
from noah.abi.fcntl import AT_FDCWD, O_APPEND, O_CREAT, O_NOFOLLOW, O_RDWR, O_TRUNC
from noah.abi.signal import SI_USER, SIGCHLD, SIGKILL, SIGTERM
from noah.abi.wait import WNOHANG, WUNTRACED
from noah.host.console import redirect, utc
from noah.image.console import Console
from noah.image.container import State, pauses
from noah.image.errors import ImageError
from noah.kernel.box import Box

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.image.container import Container, Containers

Become = Callable[[Box, Callable[[], None]], NoReturn]
"""Makes this process the container's first program, in a box; told what to call when the program is loaded. Ends the
process in any case."""

_LAST: Final = 4096  # bytes of the log that are looked at
_SIGNS: Final = 2
_LOOK_NS: Final = 100_000_000


def box_of(host: Host, container: Container, *, fresh: bool = False) -> Box:
    """The registry of a container's processes. LinuxError."""
    fd = _open_box(host, container, O_CREAT | O_TRUNC if fresh else 0)
    try:
        return Box(host, fd)
    finally:
        host.files.close_quietly(fd)


def _open_box(host: Host, container: Container, flags: int) -> int:
    """In memory if the host has a place for that: a full disk must not end programs (SIGBUS)."""
    files = host.files
    for path in container.boxes:
        try:
            fd = files.openat(AT_FDCWD, bytes(path), O_RDWR | O_NOFOLLOW | flags, 0o600)
        except LinuxError as error:
            trouble = error
            continue
        if files.fstat(fd).uid == host.procs.getresuid()[1]:
            return fd
        files.close_quietly(fd)
        trouble = LinuxError(EPERM, "somebody else's file")
    raise trouble


class Supervisor:
    """Runs a container."""

    def __init__(self, host: Host, containers: Containers, container: Container, become: Become) -> None:
        self._host = host
        self._containers = containers
        self._container = container
        self._become = become
        self._started = -1  # where the first program says that it is loaded
        self._status = 0
        self._console: Console | None = None  # of one in the background that has an input

    def run(self, *, ended: Callable[[], None] | None = None) -> int:
        """Run in the foreground: the exit status as a shell has it. ended: called when all processes are gone."""
        self._containers.settle(self._container)
        with self._containers.lock(self._container) as free:
            if not free:
                raise ImageError(f"container {self._container.name} is running already")
            self._containers.tidy(self._container)
            self._supervise()
        if ended is not None:
            ended()
        return self._status

    def detach(self, *, ended: Callable[[], None] | None = None) -> tuple[int, str]:
        """Run in the background, the output into the container's log: 0 as soon as the program is loaded.

        Else the exit status of a program that did not start, and what it said last.
        """
        host = self._host
        flags = O_RDWR | O_CREAT | O_APPEND
        log = host.files.openat(AT_FDCWD, bytes(self._container.log), flags, 0o600)
        reader, self._started = host.files.pipe()
        pid = host.procs.fork()
        if pid == 0:
            host.files.close(reader)
            status = 125
            try:
                host.procs.setsid()
                redirect(log)
                host.files.close(log)
                record = self._container.record
                if record.get("interactive") or record.get("terminal"):
                    self._console = Console(host, self._container, terminal=bool(record.get("terminal")))
                status = self.run(ended=ended)
            finally:
                host.procs._exit(status)
        host.files.close(self._started)
        try:
            told = b""
            while len(told) < _SIGNS and (more := host.files.read(reader, _SIGNS)):
                told += more
            if len(told) == _SIGNS:
                return 0, ""
            _, status, _ = host.procs.wait4(pid, 0)
            end = host.files.fstat(log).size
            lines = host.files.pread(log, _LAST, max(0, end - _LAST)).decode("utf-8", "replace").splitlines()
            return status >> 8 & 0xFF, lines[-1] if lines else ""
        finally:
            host.files.close(reader)
            host.files.close(log)

    def _supervise(self) -> None:
        host = self._host
        box = box_of(host, self._container, fresh=True)
        try:
            host.procs.set_child_subreaper(True)
        except LinuxError:
            pass  # what the program leaves running is not ended by us on this host
        pid = host.procs.fork()
        if pid == 0:
            if self._console is not None:
                self._console.enter()
            self._become(box, self._tell)
        host.signals.block_all()
        try:
            self._containers.note(self._container, State("running", pid, 0, utc()))
        except (LinuxError, OSError):  # the disk is full
            _kill(host, pid, SIGKILL)
            kill_all(host, box)
            raise
        self._tell()
        self._wait(pid)
        kill_all(host, box)
        if self._console is not None:
            self._console.drain()
        self._containers.forget_box(self._container)
        try:
            self._containers.note(self._container, State("exited", 0, self._status, utc()))
        except (LinuxError, OSError):
            pass  # the disk is full; whoever asks sees that nothing runs any more

    def _tell(self) -> None:
        """Whoever has started this in the background waits for two signs: the program is loaded, and that is noted."""
        if self._started >= 0:
            try:
                self._host.files.write(self._started, b"+")
            except LinuxError:
                pass  # nobody waits any more
            self._host.files.close_quietly(self._started)

    def _wait(self, main: int) -> None:
        host = self._host
        while True:
            try:
                pid, status, _ = host.procs.wait4(-1, WNOHANG | WUNTRACED)
            except LinuxError as error:
                if error.errno != ECHILD:
                    raise
                return
            if pid == 0:
                if host.poller.poll(self._console.wanted if self._console is not None else [], None)[0]:
                    assert self._console is not None
                    self._console.serve()
                for info in host.signals.collect():
                    # What the terminal sends reaches the program by itself.
                    if info.signo != SIGCHLD and info.code <= SI_USER:
                        _kill(host, main, info.signo)
            elif pid == main:
                if status & 0xFF == 0x7F:
                    host.procs.stop_by_signal(status >> 8 & 0xFF)
                    continue
                self._status = status >> 8 & 0xFF if not status & 0x7F else 128 + (status & 0x7F)
                return


def kill_all(host: Host, box: Box) -> None:
    """End every process of a box, and reap our children, which are no others.

    Whoever has just been forked by a process that is killed comes to us before the box knows it.
    """
    for pause in pauses():
        is_parent = _reap(host)
        rest = list(box.members())
        for pid in rest:
            _kill(host, pid, SIGKILL)
        if not rest and not is_parent:
            return
        host.poller.poll([], pause, signals=False)


def _reap(host: Host) -> bool:
    """Reap all children that have ended; whether there are others."""
    try:
        while host.procs.wait4(-1, WNOHANG)[0]:
            pass
    except LinuxError:
        return False
    return True


def _kill(host: Host, pid: int, signo: int) -> None:
    try:
        host.procs.kill(pid, signo)
    except LinuxError:
        pass  # it has just ended


def stop(host: Host, containers: Containers, container: Container, timeout_s: int, signo: int = SIGTERM) -> None:
    """Ask the first program to end, and end it all if it does not. Nothing happens to one that does not run."""
    state = containers.state(container)
    if state.status != "running":
        return
    _kill(host, state.pid, signo)
    for pause in pauses(timeout_s * 1_000_000_000):
        if containers.state(container).status != "running":
            return
        host.poller.poll([], pause, signals=False)
    for pause in pauses():
        if containers.state(container).status != "running":
            return
        try:
            members = list(box_of(host, container).members())
        except LinuxError:  # its box is gone: it has just ended
            members = [state.pid]
        for pid in members:
            _kill(host, pid, SIGKILL)
        host.poller.poll([], pause, signals=False)


def leave(host: Host) -> bool:
    """Go on in a child process without input and output, which gets True here; False in the parent."""
    null = host.files.openat(AT_FDCWD, b"/dev/null", O_RDWR)
    try:
        if host.procs.fork():
            return False
        host.procs.setsid()
        redirect(null)
        return True
    finally:
        host.files.close(null)


def send(host: Host, containers: Containers, container: Container, signo: int) -> None:
    """A signal to the first program; SIGKILL ends all of them. ImageError if it does not run."""
    state = containers.state(container)
    if state.status != "running":
        raise ImageError(f"container {container.name} is not running")
    if signo == SIGKILL:
        stop(host, containers, container, 0, SIGKILL)
    else:
        _kill(host, state.pid, signo)


def wait(host: Host, containers: Containers, container: Container) -> int:
    """Until it has ended: its exit status."""
    pause = pauses()
    while (state := containers.state(container)).status == "running":
        host.poller.poll([], next(pause), signals=False)
    return state.exit_code


def follow(
    host: Host, containers: Containers, container: Container, write: Callable[[bytes], None], offset: int = 0
) -> None:
    """Hand over what a container writes until it ends."""
    with container.log.open("rb") as log:
        log.seek(offset)
        while True:
            running = containers.state(container).status == "running"
            while data := log.read(1 << 16):
                write(data)
            if not running:
                return
            host.poller.poll([], _LOOK_NS, signals=False)
