"""The host's own /proc, where it has Linux': for numbers that only it knows, and files that are the same for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from noah.abi.errno import LinuxError
from noah.abi.fcntl import AT_FDCWD, DT_REG, O_DIRECTORY, O_NONBLOCK, O_PATH, O_RDONLY
from noah.fs.virtual import DirNode, FileNode, Node
from noah.vfs.handle import Handle

if TYPE_CHECKING:
    from noah.host.api import Host

_NET: Final = (
    *(b"arp", b"dev", b"if_inet6", b"igmp", b"ipv6_route", b"netstat", b"packet", b"protocols", b"raw", b"raw6"),
    *(b"route", b"rt_cache", b"snmp", b"snmp6", b"sockstat", b"tcp", b"tcp6", b"udp", b"udp6", b"unix", b"wireless"),
)


class OwnStat(NamedTuple):
    """Fields of /proc/self/stat that no system call tells."""

    tty: int = 0
    foreground: int = -1
    start_time: int = 0
    processor: int = 0


class HostProc:
    """Reads the host's /proc; without one (host posix elsewhere) it knows nothing."""

    __slots__ = ("_handle", "host")

    def __init__(self, host: Host) -> None:
        self.host = host
        self._handle: Handle | None = None
        try:
            self._handle = Handle(host.files, host.files.openat(AT_FDCWD, b"/proc", O_PATH | O_DIRECTORY))
        except LinuxError:
            return
        if self.read(b"self/stat") is None:
            self._handle = None

    def read(self, path: bytes) -> bytes | None:
        """A whole file; None if there is none that may be read."""
        if self._handle is None:
            return None
        files = self.host.files
        try:
            handle = Handle(files, files.openat(self._handle.number, path, O_RDONLY | O_NONBLOCK))
            parts = []
            while part := files.read(handle.number, 1 << 20):
                parts.append(part)
            return b"".join(parts)
        except LinuxError:
            return None

    def fd(self, pid: int, number: int) -> bytes:
        """What a descriptor of a host process refers to; b"" if that is not told."""
        if self._handle is None:
            return b""
        try:
            return self.host.files.readlinkat(self._handle.number, b"%d/fd/%d" % (pid, number))
        except LinuxError:
            return b""

    def own_stat(self) -> OwnStat:
        fields = self.stat_fields(b"self")
        if len(fields) < 37:
            return OwnStat()
        return OwnStat(int(fields[4]), int(fields[5]), int(fields[19]), int(fields[36]))

    def stat_fields(self, pid: bytes) -> list[bytes]:
        """Fields of stat from the state on."""
        data = self.read(pid + b"/stat") or b""
        return data[data.rfind(b")") + 2 :].split()

    def resident_pages(self) -> int:
        data = self.read(b"self/statm")
        return int(data.split()[1]) if data else 1 << 40

    def net(self, ino: int) -> DirNode:
        """/proc/net: the guest has the host's network."""

        def child(name: bytes) -> Node | None:
            if name not in _NET or self.read(b"net/" + name) is None:
                return None
            return FileNode(lambda: self.read(b"net/" + name) or b"", ino + 1 + _NET.index(name))

        return DirNode(child, lambda: [(name, DT_REG) for name in _NET if child(name)], ino)
