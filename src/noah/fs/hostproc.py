"""The host's own /proc, where it has Linux': for numbers that only it knows, and files that are the same for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from noah.abi.errno import LinuxError
from noah.abi.fcntl import AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_DIRECTORY, O_NONBLOCK, O_PATH, O_RDONLY
from noah.fs.virtual import DirNode, FileNode, Node
from noah.vfs.handle import Handle

if TYPE_CHECKING:
    from noah.host.api import Host
    from noah.host.values import Stat

_NET: Final = (
    *(b"anycast6", b"arp", b"dev", b"dev_mcast", b"icmp", b"icmp6", b"if_inet6", b"igmp", b"igmp6", b"ipv6_route"),
    *(b"mcfilter", b"mcfilter6", b"netstat", b"packet", b"protocols", b"raw", b"raw6", b"route", b"rt6_stats"),
    *(b"rt_cache", b"snmp", b"snmp6", b"sockstat", b"sockstat6", b"tcp", b"tcp6", b"udp", b"udp6", b"udplite"),
    *(b"udplite6", b"unix", b"wireless"),
)


class OwnStat(NamedTuple):
    """Fields of /proc/self/stat that no system call tells, and those that none tells of a single thread."""

    tty: int = 0
    foreground: int = -1
    start_time: int = 0
    processor: int = 0
    times: tuple[int, int, int, int] | None = None  # user, system, and of children


class HostProc:
    """Reads the host's /proc; on a host without Linux' it knows nothing."""

    __slots__ = ("_handle", "host")

    def __init__(self, host: Host) -> None:
        self.host = host
        self._handle: Handle | None = None
        if not host.caps.proc:
            return
        try:
            self._handle = Handle(host.files, host.files.openat(AT_FDCWD, b"/proc", O_PATH | O_DIRECTORY))
        except LinuxError:
            return
        if self.read(b"self/stat") is None:
            self._handle = None

    @property
    def exists(self) -> bool:
        return self._handle is not None

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

    def names(self, path: bytes) -> list[tuple[bytes, int]]:
        """What is in a directory, with DT_* types."""
        if self._handle is None:
            return []
        files = self.host.files
        try:
            handle = Handle(files, files.openat(self._handle.number, path, O_RDONLY | O_DIRECTORY))
            return [(name, kind) for name, _, kind in self.host.dirs.scan(handle.number)[2:]]
        except LinuxError:
            return []

    def stat(self, path: bytes) -> Stat | None:
        if self._handle is None:
            return None
        try:
            return self.host.files.fstatat(self._handle.number, path, AT_SYMLINK_NOFOLLOW)
        except LinuxError:
            return None

    def open_fd(self, pid: int, number: int) -> int | None:
        """What a descriptor of a host process refers to, as O_PATH opens it; None if that is not told."""
        if self._handle is None:
            return None
        files = self.host.files
        try:
            return files.openat(self._handle.number, b"%d/fd/%d" % (pid, number), O_PATH)
        except LinuxError:
            return None

    def fd_mode(self, pid: int, number: int) -> int:
        """The mode of its link: how it was opened."""
        stat = self.stat(b"%d/fd/%d" % (pid, number))
        return stat.mode & 0o777 if stat is not None else 0

    def own_stat(self, tid: int = 0) -> OwnStat:
        """Of the calling process, or of one thread of it."""
        fields = self.stat_fields(b"self/task/%d" % tid if tid else b"self")
        if len(fields) < 37:
            return OwnStat()
        user, system, child_user, child_system = map(int, fields[11:15])
        times = user, system, child_user, child_system
        return OwnStat(int(fields[4]), int(fields[5]), int(fields[19]), int(fields[36]), times)

    def stat_fields(self, pid: bytes) -> list[bytes]:
        """Fields of stat from the state on."""
        data = self.read(pid + b"/stat") or b""
        return data[data.rfind(b")") + 2 :].split()

    def net(self) -> DirNode:
        """/proc/net: the guest has the host's network."""

        def child(name: bytes) -> Node | None:
            if name not in _NET:
                return None
            stat = self.stat(b"net/" + name)
            return FileNode(lambda: self.read(b"net/" + name) or b"", stat.mode & 0o777) if stat is not None else None

        return DirNode(child, lambda: [(name, kind) for name, kind in self.names(b"net") if name in _NET])
