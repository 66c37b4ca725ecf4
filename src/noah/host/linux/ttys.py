"""Terminals of a Linux host: the kernel's own structs."""

from __future__ import annotations

import os
import struct
import sys
from typing import TYPE_CHECKING, Final

assert not TYPE_CHECKING or sys.platform == "linux"

from noah.abi import ioctl
from noah.abi.errno import EINVAL, EPERM, LinuxError
from noah.host.errnos import from_host
from noah.host.openflags import ALWAYS
from noah.host.posix.ttys import PosixTtys
from noah.host.values import Termios

_TERMIOS2: Final = struct.Struct("=IIIIB19sII")
_SET: Final = (ioctl.TCSETS2, ioctl.TCSETSW2, ioctl.TCSETSF2)
assert _TERMIOS2.size == 44


class LinuxTtys(PosixTtys):
    """See noah.host.api.Ttys."""

    __slots__ = ()

    def tcgetattr(self, fd: int) -> Termios:
        data = bytearray(_TERMIOS2.size)
        self._ioctl(fd, ioctl.TCGETS2, data)
        return Termios(*_TERMIOS2.unpack(data))

    def tcsetattr(self, fd: int, when: int, attributes: Termios) -> None:
        if not 0 <= when < len(_SET):
            raise LinuxError(EINVAL)
        self._ioctl(fd, _SET[when], bytearray(_TERMIOS2.pack(*attributes)))

    def tcgetsid(self, fd: int) -> int:
        return self._count(fd, ioctl.TIOCGSID)

    def tcflush(self, fd: int, queue: int) -> None:
        self._ioctl(fd, ioctl.TCFLSH, queue)

    def tcflow(self, fd: int, action: int) -> None:
        self._ioctl(fd, ioctl.TCXONC, action)

    def openpt(self, flags: int) -> int:
        try:
            return os.open("/dev/ptmx", flags | ALWAYS)
        except OSError as error:
            raise from_host(error) from None

    def unlockpt(self, fd: int) -> None:
        self._ioctl(fd, ioctl.TIOCSPTLCK, bytearray(4))

    def ptsname(self, fd: int) -> bytes:
        return b"/dev/pts/%d" % self._count(fd, ioctl.TIOCGPTN)

    def open_slave(self, fd: int, flags: int) -> int:
        return self._ioctl(fd, ioctl.TIOCGPTPEER, flags | ALWAYS)

    def ioctl_passthrough(self, fd: int, request: int, argument: bytearray | int) -> int:
        if request == ioctl.TIOCSTI:
            raise LinuxError(EPERM, "typing into a terminal of the host")
        return self._ioctl(fd, request, argument)
