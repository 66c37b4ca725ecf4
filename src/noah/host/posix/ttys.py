"""Terminals on any POSIX host: modes are translated by name."""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from typing import Final

from noah.abi import ioctl
from noah.abi import termios as linux
from noah.abi.errno import EINVAL, ENOTTY, EPERM, LinuxError
from noah.abi.fcntl import O_ACCMODE
from noah.host.errnos import TO_LINUX, from_host
from noah.host.openflags import ALWAYS, POSIX
from noah.host.posix.libc import LIBC, check, last_error
from noah.host.tables import Flags, named
from noah.host.values import Termios, Winsize

_HOST: Final = named(termios, "")
_ALL: Final = named(linux, "")


def _table(names: str) -> Flags:
    return Flags({name: _ALL[name] for name in names.split()}, _HOST)


_IFLAG: Final = _table(
    "IGNBRK BRKINT IGNPAR PARMRK INPCK ISTRIP INLCR IGNCR ICRNL IUCLC IXON IXANY IXOFF IMAXBEL IUTF8"
)
_OFLAG: Final = _table("OPOST OLCUC ONLCR OCRNL ONOCR ONLRET OFILL OFDEL NL1 CR1 CR2 CR3 TAB1 TAB2 TAB3 BS1 VT1 FF1")
_CFLAG: Final = _table("CS6 CS7 CS8 CSTOPB CREAD PARENB PARODD HUPCL CLOCAL CRTSCTS")
_LFLAG: Final = _table(
    "ISIG ICANON XCASE ECHO ECHOE ECHOK ECHONL NOFLSH TOSTOP ECHOCTL ECHOPRT ECHOKE FLUSHO PENDIN IEXTEN EXTPROC"
)
_CC: Final = [
    (_ALL[name], _HOST[name])
    for name in [
        "VINTR",
        "VQUIT",
        "VERASE",
        "VKILL",
        "VEOF",
        "VTIME",
        "VMIN",
        "VSWTC",
        "VSTART",
        "VSTOP",
        "VSUSP",
        "VEOL",
        "VREPRINT",
        "VDISCARD",
        "VWERASE",
        "VLNEXT",
        "VEOL2",
    ]
    if name in _HOST
]
_SPEED_NAMES: Final = [name for name in _ALL if name[0] == "B" and name[1:].isdecimal() and name in _HOST]
_CODE_TO_BAUD: Final = {_ALL[name]: int(name[1:]) for name in _SPEED_NAMES}
_BAUD_TO_CODE: Final = {baud: code for code, baud in _CODE_TO_BAUD.items()}
_HOST_TO_BAUD: Final = {_HOST[name]: int(name[1:]) for name in _SPEED_NAMES}
_BAUD_TO_HOST: Final = {baud: code for code, baud in _HOST_TO_BAUD.items()}

_WHEN: Final = (termios.TCSANOW, termios.TCSADRAIN, termios.TCSAFLUSH)
_QUEUE: Final = (termios.TCIFLUSH, termios.TCOFLUSH, termios.TCIOFLUSH)
_ACTION: Final = (termios.TCOOFF, termios.TCOON, termios.TCIOFF, termios.TCION)

_DISABLED: Final = b"\0" if sys.platform == "linux" else b"\xff"  # _POSIX_VDISABLE; Linux' own is 0

# Index in the list that termios.tcgetattr() gives.
_I, _O, _C, _L, _ISPEED, _OSPEED, _CHARS = range(7)


def tty_error(error: termios.error | OSError) -> LinuxError:
    """termios.error is no OSError, but has its arguments."""
    if isinstance(error, OSError):
        return from_host(error)
    return LinuxError(TO_LINUX.get(error.args[0], ENOTTY))


_EXCLUSIVE: Final = {ioctl.TIOCEXCL: termios.TIOCEXCL, ioctl.TIOCNXCL: termios.TIOCNXCL}


class PosixTtys:
    """See noah.host.api.Ttys."""

    __slots__ = ()

    def tcgetattr(self, fd: int) -> Termios:
        try:
            have = termios.tcgetattr(fd)
        except termios.error as error:
            raise tty_error(error) from None
        cc = bytearray(linux.NCCS)
        for ours, theirs in _CC:
            char = have[_CHARS][theirs]
            if isinstance(char, int):  # VMIN and VTIME without ICANON
                cc[ours] = char
            elif char != _DISABLED:
                cc[ours] = char[0]
        ispeed = _HOST_TO_BAUD.get(have[_ISPEED], 0)
        ospeed = _HOST_TO_BAUD.get(have[_OSPEED], 0)
        cflag = _CFLAG.to_linux(have[_C]) | _BAUD_TO_CODE.get(ospeed, linux.B0)
        return Termios(
            _IFLAG.to_linux(have[_I]),
            _OFLAG.to_linux(have[_O]),
            cflag,
            _LFLAG.to_linux(have[_L]),
            0,
            bytes(cc),
            ispeed,
            ospeed,
        )

    def tcsetattr(self, fd: int, when: int, attributes: Termios) -> None:
        if not 0 <= when < len(_WHEN):
            raise LinuxError(EINVAL)
        try:
            # What Linux has no name for stays as it is.
            have = termios.tcgetattr(fd)
            for index, table, value in (
                (_I, _IFLAG, attributes.iflag),
                (_O, _OFLAG, attributes.oflag),
                (_C, _CFLAG, attributes.cflag),
                (_L, _LFLAG, attributes.lflag),
            ):
                have[index] = have[index] & ~table.to_host(table.known) | table.to_host(value)
            canonical = attributes.lflag & linux.ICANON
            for ours, theirs in _CC:
                char = attributes.cc[ours : ours + 1]
                if ours in (linux.VMIN, linux.VTIME):
                    have[_CHARS][theirs] = char if canonical else char[0]
                else:
                    have[_CHARS][theirs] = char if char != b"\0" else _DISABLED
            code = attributes.cflag & linux.CBAUD
            baud = _CODE_TO_BAUD.get(code, attributes.ospeed)
            have[_ISPEED] = have[_OSPEED] = _BAUD_TO_HOST.get(baud, have[_OSPEED])
            termios.tcsetattr(fd, _WHEN[when], have)
        except termios.error as error:
            raise tty_error(error) from None

    def get_winsize(self, fd: int) -> Winsize:
        size = bytearray(8)
        self._ioctl(fd, termios.TIOCGWINSZ, size)
        shorts = memoryview(size).cast("H")
        return Winsize(shorts[0], shorts[1], shorts[2], shorts[3])

    def set_winsize(self, fd: int, size: Winsize) -> None:
        data = bytearray(8)
        shorts = memoryview(data).cast("H")
        shorts[0], shorts[1], shorts[2], shorts[3] = size
        self._ioctl(fd, termios.TIOCSWINSZ, data)

    def tcgetpgrp(self, fd: int) -> int:
        try:
            return os.tcgetpgrp(fd)
        except OSError as error:
            raise from_host(error) from None

    def tcsetpgrp(self, fd: int, pgid: int) -> None:
        try:
            os.tcsetpgrp(fd, pgid)
        except OSError as error:
            raise from_host(error) from None

    def tcgetsid(self, fd: int) -> int:
        return check(LIBC.tcgetsid(fd))

    def tcflush(self, fd: int, queue: int) -> None:
        if not 0 <= queue < len(_QUEUE):
            raise LinuxError(EINVAL)
        try:
            termios.tcflush(fd, _QUEUE[queue])
        except termios.error as error:
            raise tty_error(error) from None

    def tcflow(self, fd: int, action: int) -> None:
        if not 0 <= action < len(_ACTION):
            raise LinuxError(EINVAL)
        try:
            termios.tcflow(fd, _ACTION[action])
        except termios.error as error:
            raise tty_error(error) from None

    def tcsendbreak(self, fd: int, duration: int) -> None:
        try:
            termios.tcsendbreak(fd, duration)
        except termios.error as error:
            raise tty_error(error) from None

    def tcdrain(self, fd: int) -> None:
        try:
            termios.tcdrain(fd)
        except termios.error as error:
            raise tty_error(error) from None

    def set_controlling(self, fd: int, steal: int = 0) -> None:
        self._ioctl(fd, termios.TIOCSCTTY, steal)

    def give_up_controlling(self, fd: int) -> None:
        self._ioctl(fd, termios.TIOCNOTTY, 0)

    def inq(self, fd: int) -> int:
        return self._count(fd, termios.FIONREAD)

    def outq(self, fd: int) -> int:
        return self._count(fd, termios.TIOCOUTQ)

    def packet_mode(self, fd: int, on: bool) -> None:
        self._ioctl(fd, termios.TIOCPKT, bytearray(int(on).to_bytes(4, sys.byteorder)))

    def openpt(self, flags: int) -> int:
        fd = check(LIBC.posix_openpt(POSIX.to_host(flags) | flags & O_ACCMODE | ALWAYS))
        os.set_inheritable(fd, False)
        return fd

    def unlockpt(self, fd: int) -> None:
        check(LIBC.grantpt(fd))
        check(LIBC.unlockpt(fd))

    def ptsname(self, fd: int) -> bytes:
        name = LIBC.ptsname(fd)
        if name is None:
            raise last_error()
        return bytes(name)

    def open_slave(self, fd: int, flags: int) -> int:
        try:
            return os.open(self.ptsname(fd), POSIX.to_host(flags) | flags & O_ACCMODE | ALWAYS)
        except OSError as error:
            raise from_host(error) from None

    def openpty(self) -> tuple[int, int]:
        try:
            return os.openpty()
        except OSError as error:
            raise from_host(error) from None

    def ioctl_passthrough(self, fd: int, request: int, argument: bytearray | int) -> int:
        if request in _EXCLUSIVE:
            return self._ioctl(fd, _EXCLUSIVE[request], argument)
        raise LinuxError(EPERM if request == ioctl.TIOCSTI else ENOTTY, "no such ioctl on this host")

    def _ioctl(self, fd: int, request: int, argument: bytearray | int) -> int:
        try:
            return fcntl.ioctl(fd, request, argument)
        except OSError as error:
            raise from_host(error) from None

    def _count(self, fd: int, request: int) -> int:
        count = bytearray(4)
        self._ioctl(fd, request, count)
        return int.from_bytes(count, sys.byteorder)
