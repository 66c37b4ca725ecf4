"""Which of the host's pseudo-terminals belong to a box: it sees these in /dev/pts, and no other program's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from noah.abi.errno import LinuxError
from noah.abi.fcntl import AT_FDCWD, AT_SYMLINK_NOFOLLOW
from noah.abi.stat import S_IFCHR, S_IFMT
from noah.fs.owned import OwnedFiles
from noah.fs.ownership import Override
from noah.vfs.credentials import Credentials

if TYPE_CHECKING:
    from noah.fs.ownedattr import Asker
    from noah.fs.ownership import Ownership
    from noah.host.api import Host
    from noah.host.values import Stat

_MOST: Final = 4096  # kernel.pty.max, as kernels come
_FIRST_MAJOR: Final = 136  # UNIX98_PTY_SLAVE_MAJOR
_CTIME, _OWNER, _MODE, _RECORD = 0, 1, 2, 3  # words of a terminal's record
_TTY: Final = 5  # Debian's group tty, which has the terminals everywhere
_NEW: Final = S_IFCHR | 0o620
_LOW: Final = (1 << 32) - 1


class Terminals:
    """A record for each number, shared by the processes of the box: the change time of the terminal's node, its owner.

    A number is given to another terminal once its own is gone, of the host as well. The new node is younger.
    """

    __slots__ = ("_host", "_words", "owned")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._words = memoryview(host.mem.shared(_MOST * _RECORD * 8)).cast("Q")
        self.owned: TerminalFiles | None = None
        """Where terminals cannot be given to the guest's users on the host."""

    def opened(self, fd: int) -> None:
        """The box has opened this device: if it is a master, the slave is the box's."""
        try:
            name = self._host.ttys.ptsname(fd)
            stat = self._host.files.fstatat(AT_FDCWD, name, AT_SYMLINK_NOFOLLOW)
        except LinuxError:
            return  # no master
        self.keep(stat)
        if self.owned is not None:
            self.give(stat, Override(self.owned.creds.fsuid, _TTY, _NEW))

    def give(self, stat: Stat, own: Override) -> None:
        """Say whose a terminal is."""
        number = _number(stat)
        if 0 <= number < _MOST:
            at, words = number * _RECORD, self._words
            words[at + _OWNER], words[at + _MODE] = own.uid << 32 | own.gid, own.mode

    def owner(self, stat: Stat) -> Override | None:
        """Whose a terminal is, as far as the box has said so."""
        number = _number(stat)
        if not 0 <= number < _MOST:
            return None
        at, words = number * _RECORD, self._words
        owner, mode = words[at + _OWNER], words[at + _MODE]
        return Override(owner >> 32, owner & _LOW, mode) if mode else None

    def keep(self, stat: Stat) -> None:
        """A slave of the box, new or changed by it."""
        number = _number(stat)
        if 0 <= number < _MOST:
            self._words[number * _RECORD + _CTIME] = stat.ctime

    def owns(self, stat: Stat) -> bool:
        """Whether it is a slave of the box."""
        number = _number(stat)
        return 0 <= number < _MOST and self._words[number * _RECORD + _CTIME] == stat.ctime

    def shows(self, dirfd: int, name: bytes) -> bool:
        """Whether the box may see that name of /dev/pts."""
        if not name.isdigit():
            return True
        try:
            stat = self._host.files.fstatat(dirfd, name, AT_SYMLINK_NOFOLLOW)
        except LinuxError:
            return True  # there is nothing to be seen
        return _number(stat) < 0 or self.owns(stat)


class _Asked(Protocol):
    """Files that know who asks."""

    asker: Asker | None


class _NoOwners:
    """In place of a table of owners by inode number: all that is not said elsewhere is root's."""

    special = 0

    def get(self, inode: int) -> None:
        return None


class TerminalFiles(OwnedFiles):
    """/dev as the guest's users see it: they may give terminals away, as login and sshd do."""

    def __init__(self, host: Host, terminals: Terminals, inside: _Asked) -> None:
        """inside: the root's files."""
        super().__init__(host, cast("Ownership", _NoOwners()))
        self._terminals = terminals
        self._inside = inside

    @property
    def creds(self) -> Credentials:
        asker = self._inside.asker
        return Credentials(0, 0) if asker is None else asker.creds

    def _shown(self, stat: Stat) -> Stat:
        own = self._terminals.owner(stat) or Override(0, 0, stat.mode)
        return stat._replace(uid=own.uid, gid=own.gid, mode=own.mode)

    def _override(self, stat: Stat) -> Override:
        return self._terminals.owner(stat) or Override(0, 0, stat.mode)

    def _note(self, stat: Stat, own: Override) -> None:
        self._terminals.give(stat, own)


def _number(stat: Stat) -> int:
    """-1 for what is no slave."""
    if stat.mode & S_IFMT != S_IFCHR:
        return -1
    major, minor = stat.rdev >> 8 & 0xFFF, stat.rdev & 0xFF | stat.rdev >> 12 & 0xFFF00
    if not _FIRST_MAJOR <= major < _FIRST_MAJOR + 8:
        return -1
    return (major - _FIRST_MAJOR) * 256 + minor if minor < 256 else minor
