"""Which of the host's pseudo-terminals belong to a box: it sees these in /dev/pts, and no other program's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import LinuxError
from noah.abi.fcntl import AT_FDCWD, AT_SYMLINK_NOFOLLOW
from noah.abi.stat import S_IFCHR, S_IFMT

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.host.values import Stat

_MOST: Final = 4096  # kernel.pty.max, as kernels come
_FIRST_MAJOR: Final = 136  # UNIX98_PTY_SLAVE_MAJOR


class Terminals:
    """A record for each number, shared by the processes of the box: the change time of the terminal's node.

    A number is given to another terminal once its own is gone, of the host as well. The new node is younger.
    """

    __slots__ = ("_ctimes", "_host")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._ctimes = memoryview(host.mem.shared(_MOST * 8)).cast("Q")

    def opened(self, fd: int) -> None:
        """The box has opened this device: if it is a master, the slave is the box's."""
        try:
            name = self._host.ttys.ptsname(fd)
            self.keep(self._host.files.fstatat(AT_FDCWD, name, AT_SYMLINK_NOFOLLOW))
        except LinuxError:
            return  # no master

    def keep(self, stat: Stat) -> None:
        """A slave of the box, new or changed by it."""
        number = _number(stat)
        if 0 <= number < _MOST:
            self._ctimes[number] = stat.ctime

    def owns(self, stat: Stat) -> bool:
        """Whether it is a slave of the box."""
        number = _number(stat)
        return 0 <= number < _MOST and self._ctimes[number] == stat.ctime

    def shows(self, dirfd: int, name: bytes) -> bool:
        """Whether the box may see that name of /dev/pts."""
        if not name.isdigit():
            return True
        try:
            stat = self._host.files.fstatat(dirfd, name, AT_SYMLINK_NOFOLLOW)
        except LinuxError:
            return True  # there is nothing to be seen
        return _number(stat) < 0 or self.owns(stat)


def _number(stat: Stat) -> int:
    """-1 for what is no slave."""
    if stat.mode & S_IFMT != S_IFCHR:
        return -1
    major, minor = stat.rdev >> 8 & 0xFFF, stat.rdev & 0xFF | stat.rdev >> 12 & 0xFFF00
    if not _FIRST_MAJOR <= major < _FIRST_MAJOR + 8:
        return -1
    return (major - _FIRST_MAJOR) * 256 + minor if minor < 256 else minor
