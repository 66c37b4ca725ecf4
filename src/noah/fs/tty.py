"""Terminals: the host's own, with Linux' job control (termios(3), tty_ioctl(4))."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from noah.abi import ioctl as cmd
from noah.abi import termios
from noah.abi.errno import EBADF, EINVAL, EIO, EPERM, ERESTARTSYS, LinuxError
from noah.abi.fcntl import O_ACCMODE, O_CLOEXEC, O_NOCTTY, O_RDONLY, O_WRONLY
from noah.abi.poll import POLLIN
from noah.abi.signal import SIGTTIN, SIGTTOU
from noah.abi.structs import Termio as TermioLayout
from noah.abi.structs import Termios as TermiosLayout
from noah.abi.structs import Termios2 as Termios2Layout
from noah.abi.structs import Winsize as WinsizeLayout
from noah.abi.termios import CBAUD, ICANON, TOSTOP, VMIN, VTIME
from noah.abi.time import CLOCK_MONOTONIC
from noah.host.values import Termios, Winsize
from noah.vfs.handle import Handle
from noah.vfs.stream import StreamFile

if TYPE_CHECKING:
    from noah.vfs.caller import Caller
    from noah.vfs.file import Views

_TENTH_NS: Final = 100_000_000
_SPEEDS: Final = {
    value: int(name[1:]) for name, value in vars(termios).items() if name[0] == "B" and name[1:].isdecimal()
}
"""c_cflag's speed codes in bauds."""


class TtyFile(StreamFile):
    """A terminal, slave or master of a pseudo-terminal."""

    __slots__ = ("_is_master",)

    _is_master: bool  # asked when it is first needed

    def _goes_on(self) -> bool:
        return True

    def check_job(self, caller: Caller, signo: int) -> None:
        """Stop the process group if it is in the background of its terminal. A master is nobody's terminal."""
        try:
            is_master = self._is_master
        except AttributeError:
            is_master = self._is_master = _is_master(caller, self.fd)
        if not is_master:
            _check_job(caller, self.fd, signo)

    def read(self, caller: Caller, views: Views) -> int:
        if self.flags & O_ACCMODE == O_WRONLY:
            raise LinuxError(EBADF)
        self.check_job(caller, SIGTTIN)
        if not self.is_nonblocking():
            try:
                modes = caller.host.ttys.tcgetattr(self.fd)
            except LinuxError:
                return super().read(caller, views)  # hung up: its end
            if not modes.lflag & ICANON and not modes.cc[VMIN]:
                # read(2) is to wait VTIME tenths of a second for the first byte, then give up with 0
                deadline = caller.host.clock.clock_gettime(CLOCK_MONOTONIC) + modes.cc[VTIME] * _TENTH_NS
                if not caller.wait(((self.fd, POLLIN),), deadline):
                    return 0
        return super().read(caller, views)

    def write(self, caller: Caller, views: Views) -> int:
        if self.flags & O_ACCMODE == O_RDONLY:
            raise LinuxError(EBADF)
        if caller.host.ttys.tcgetattr(self.fd).lflag & TOSTOP:
            self.check_job(caller, SIGTTOU)
        return super().write(caller, views)

    def become_controlling(self, caller: Caller) -> None:
        """It was opened without O_NOCTTY: the terminal of a session leader that has none (tty_io.c: tty_open)."""
        procs = caller.host.procs
        if procs.getsid(0) == procs.getpid() and not _is_master(caller, self.fd):
            try:
                caller.host.ttys.set_controlling(self.fd)
            except LinuxError:
                pass  # it has one, or the terminal belongs to another session

    def ioctl(self, caller: Caller, request: int, argument: int) -> int:
        handler = _IOCTLS.get(request)
        return handler(self, caller, argument) if handler else super().ioctl(caller, request, argument)


def _is_master(caller: Caller, fd: int) -> bool:
    try:
        caller.host.ttys.ptsname(fd)
    except LinuxError:
        return False
    return True


def _check_job(caller: Caller, fd: int, signo: int) -> None:
    """Stop the process group if it is in the background of its terminal (drivers/tty/tty_jobctrl.c: tty_check_change).

    Returns for a process that may go on; raises ERESTARTSYS after sending the signal.
    """
    procs = caller.host.procs
    try:
        foreground = caller.host.ttys.tcgetpgrp(fd)
    except LinuxError:
        return  # not the controlling terminal
    group = procs.getpgid(0)
    if foreground in (group, 0):
        return
    if caller.blocks_or_ignores(signo):
        if signo == SIGTTIN:
            raise LinuxError(EIO)
        return
    if _is_orphaned(caller, group):
        raise LinuxError(EIO)
    procs.killpg(group, signo)
    raise LinuxError(ERESTARTSYS)


def _is_orphaned(caller: Caller, group: int) -> bool:
    """Whether nobody could ever continue the group, as far as the caller's own parent shows (POSIX 3.264)."""
    procs = caller.host.procs
    parent = procs.getppid()
    try:
        return procs.getsid(parent) != procs.getsid(0)
    except LinuxError:
        return True


# Requests. Each returns the result of ioctl(2).


def _tcgets(file: TtyFile, caller: Caller, argument: int) -> int:
    modes = caller.host.ttys.tcgetattr(file.fd)
    caller.mem.write(
        argument,
        TermiosLayout.struct.pack(modes.iflag, modes.oflag, modes.cflag, modes.lflag, modes.line, modes.cc),
    )
    return 0


def _tcgets2(file: TtyFile, caller: Caller, argument: int) -> int:
    caller.mem.write(argument, Termios2Layout.struct.pack(*caller.host.ttys.tcgetattr(file.fd)))
    return 0


def _tcgeta(file: TtyFile, caller: Caller, argument: int) -> int:
    modes = caller.host.ttys.tcgetattr(file.fd)
    flags = (modes.iflag & 0xFFFF, modes.oflag & 0xFFFF, modes.cflag & 0xFFFF, modes.lflag & 0xFFFF)
    caller.mem.write(argument, TermioLayout.struct.pack(*flags, modes.line, modes.cc[:8]))
    return 0


def _tcset(when: int) -> Callable[[TtyFile, Caller, int], int]:
    def tcset(file: TtyFile, caller: Caller, argument: int) -> int:
        iflag, oflag, cflag, lflag, line, cc = TermiosLayout.struct.unpack(caller.mem.read(argument, 36))
        old = caller.host.ttys.tcgetattr(file.fd)
        # Without speeds of its own this struct has them in c_cflag; an unusual speed stays as it is (BOTHER).
        speed = _SPEEDS.get(cflag & CBAUD, old.ospeed)
        file.check_job(caller, SIGTTOU)
        caller.host.ttys.tcsetattr(file.fd, when, Termios(iflag, oflag, cflag, lflag, line, cc, speed, speed))
        return 0

    return tcset


def _tcset2(when: int) -> Callable[[TtyFile, Caller, int], int]:
    def tcset2(file: TtyFile, caller: Caller, argument: int) -> int:
        modes = Termios(*Termios2Layout.struct.unpack(caller.mem.read(argument, 44)))
        file.check_job(caller, SIGTTOU)
        caller.host.ttys.tcsetattr(file.fd, when, modes)
        return 0

    return tcset2


def _tcseta(when: int) -> Callable[[TtyFile, Caller, int], int]:
    def tcseta(file: TtyFile, caller: Caller, argument: int) -> int:
        *flags, line, cc = TermioLayout.struct.unpack(caller.mem.read(argument, 18))
        old = caller.host.ttys.tcgetattr(file.fd)
        high = [now & ~0xFFFF | low for now, low in zip(old[:4], flags, strict=True)]
        file.check_job(caller, SIGTTOU)
        modes = Termios(high[0], high[1], high[2], high[3], line, cc + old.cc[8:], old.ispeed, old.ospeed)
        caller.host.ttys.tcsetattr(file.fd, when, modes)
        return 0

    return tcseta


def _get_winsize(file: TtyFile, caller: Caller, argument: int) -> int:
    caller.mem.write(argument, WinsizeLayout.struct.pack(*caller.host.ttys.get_winsize(file.fd)))
    return 0


def _set_winsize(file: TtyFile, caller: Caller, argument: int) -> int:
    caller.host.ttys.set_winsize(file.fd, Winsize(*WinsizeLayout.struct.unpack(caller.mem.read(argument, 8))))
    return 0


def _get_pgrp(file: TtyFile, caller: Caller, argument: int) -> int:
    caller.mem.write_u32(argument, caller.host.ttys.tcgetpgrp(file.fd))
    return 0


def _set_pgrp(file: TtyFile, caller: Caller, argument: int) -> int:
    group = caller.mem.read_s32(argument)
    if group < 0:
        raise LinuxError(EINVAL)
    file.check_job(caller, SIGTTOU)
    caller.host.ttys.tcsetpgrp(file.fd, group)
    return 0


def _get_sid(file: TtyFile, caller: Caller, argument: int) -> int:
    caller.mem.write_u32(argument, caller.host.ttys.tcgetsid(file.fd))
    return 0


def _set_controlling(file: TtyFile, caller: Caller, argument: int) -> int:
    caller.host.ttys.set_controlling(file.fd, argument & 1)
    return 0


def _give_up_controlling(file: TtyFile, caller: Caller, argument: int) -> int:
    caller.host.ttys.give_up_controlling(file.fd)
    return 0


def _inq(file: TtyFile, caller: Caller, argument: int) -> int:
    caller.mem.write_u32(argument, caller.host.ttys.inq(file.fd))
    return 0


def _outq(file: TtyFile, caller: Caller, argument: int) -> int:
    caller.mem.write_u32(argument, caller.host.ttys.outq(file.fd))
    return 0


def _flush(file: TtyFile, caller: Caller, argument: int) -> int:
    if not 0 <= argument <= cmd.TCIOFLUSH:
        raise LinuxError(EINVAL)
    file.check_job(caller, SIGTTOU)
    caller.host.ttys.tcflush(file.fd, argument)
    return 0


def _flow(file: TtyFile, caller: Caller, argument: int) -> int:
    if not 0 <= argument <= cmd.TCION:
        raise LinuxError(EINVAL)
    file.check_job(caller, SIGTTOU)
    caller.host.ttys.tcflow(file.fd, argument)
    return 0


def _break(file: TtyFile, caller: Caller, argument: int) -> int:
    """TCSBRK: 0 sends a break, anything else is tcdrain(3)."""
    file.check_job(caller, SIGTTOU)
    while caller.host.ttys.outq(file.fd):
        caller.wait((), caller.host.clock.clock_gettime(CLOCK_MONOTONIC) + _TENTH_NS // 10)
    if not argument:
        caller.host.ttys.tcsendbreak(file.fd, 0)
    return 0


def _long_break(file: TtyFile, caller: Caller, argument: int) -> int:
    file.check_job(caller, SIGTTOU)
    caller.host.ttys.tcsendbreak(file.fd, argument & 0xFFFF_FFFF)
    return 0


def _packet_mode(file: TtyFile, caller: Caller, argument: int) -> int:
    caller.host.ttys.packet_mode(file.fd, bool(caller.mem.read_u32(argument)))
    return 0


def _pts_number(file: TtyFile, caller: Caller, argument: int) -> int:
    name = caller.host.ttys.ptsname(file.fd)
    digits = name[len(name.rstrip(b"0123456789")) :]
    caller.mem.write_u32(argument, int(digits or b"0"))
    return 0


def _lock_pts(file: TtyFile, caller: Caller, argument: int) -> int:
    lock = caller.mem.read(argument, 4)
    if any(lock):
        return caller.host.ttys.ioctl_passthrough(file.fd, cmd.TIOCSPTLCK, bytearray(lock))
    caller.host.ttys.unlockpt(file.fd)
    return 0


def _lock_attributes(file: TtyFile, caller: Caller, argument: int) -> int:
    """TIOCSLCKTRMIOS: say which attributes nobody may change."""
    if not caller.creds.privileged:
        raise LinuxError(EPERM)
    locked = bytearray(caller.mem.read(argument, TermiosLayout.struct.size))
    return caller.host.ttys.ioctl_passthrough(file.fd, cmd.TIOCSLCKTRMIOS, locked)


def _ask_host(request: int, size: int = 4) -> Callable[[TtyFile, Caller, int], int]:
    """An int that the host tells, or another structure that is Linux' everywhere."""

    def ask(file: TtyFile, caller: Caller, argument: int) -> int:
        answer = bytearray(size)
        result = caller.host.ttys.ioctl_passthrough(file.fd, request, answer)
        caller.mem.write(argument, answer)
        return result

    return ask


def _tell_host(request: int) -> Callable[[TtyFile, Caller, int], int]:
    return lambda file, caller, argument: caller.host.ttys.ioctl_passthrough(file.fd, request, 0)


def _open_peer(file: TtyFile, caller: Caller, argument: int) -> int:
    fd = caller.host.ttys.open_slave(file.fd, argument & 0xFFFF_FFFF)
    handle = Handle(file.files, fd)
    slave = TtyFile(file.tree, handle, b"/dev/pts", argument & 0xFFFF_FFFF & ~O_NOCTTY)
    return caller.fds.install(slave, cloexec=bool(argument & O_CLOEXEC))


def _refuse(file: TtyFile, caller: Caller, argument: int) -> int:
    """TIOCSTI: typing for somebody else (EIO as with the sysctl dev.tty.legacy_tiocsti off)."""
    raise LinuxError(EIO)


_IOCTLS: Final[dict[int, Callable[[TtyFile, Caller, int], int]]] = {
    cmd.TCGETS: _tcgets,
    cmd.TCSETS: _tcset(0),
    cmd.TCSETSW: _tcset(1),
    cmd.TCSETSF: _tcset(2),
    cmd.TCGETS2: _tcgets2,
    cmd.TCSETS2: _tcset2(0),
    cmd.TCSETSW2: _tcset2(1),
    cmd.TCSETSF2: _tcset2(2),
    cmd.TCGETA: _tcgeta,
    cmd.TCSETA: _tcseta(0),
    cmd.TCSETAW: _tcseta(1),
    cmd.TCSETAF: _tcseta(2),
    cmd.TIOCGWINSZ: _get_winsize,
    cmd.TIOCSWINSZ: _set_winsize,
    cmd.TIOCGPGRP: _get_pgrp,
    cmd.TIOCSPGRP: _set_pgrp,
    cmd.TIOCGSID: _get_sid,
    cmd.TIOCSCTTY: _set_controlling,
    cmd.TIOCNOTTY: _give_up_controlling,
    cmd.FIONREAD: _inq,
    cmd.TIOCOUTQ: _outq,
    cmd.TCFLSH: _flush,
    cmd.TCXONC: _flow,
    cmd.TCSBRK: _break,
    cmd.TCSBRKP: _long_break,
    cmd.TIOCPKT: _packet_mode,
    cmd.TIOCGPTN: _pts_number,
    cmd.TIOCSPTLCK: _lock_pts,
    cmd.TIOCGPTLCK: _ask_host(cmd.TIOCGPTLCK),
    cmd.TIOCGPKT: _ask_host(cmd.TIOCGPKT),
    cmd.TIOCEXCL: _tell_host(cmd.TIOCEXCL),
    cmd.TIOCNXCL: _tell_host(cmd.TIOCNXCL),
    cmd.TIOCGEXCL: _ask_host(cmd.TIOCGEXCL),
    cmd.TIOCGPTPEER: _open_peer,
    cmd.TIOCGLCKTRMIOS: _ask_host(cmd.TIOCGLCKTRMIOS, TermiosLayout.struct.size),
    cmd.TIOCSLCKTRMIOS: _lock_attributes,
    cmd.TIOCSTI: _refuse,
}
KNOWN: Final = frozenset(_IOCTLS)
"""For anything but a terminal ENOTTY is the right answer to these."""
