"""/proc/sys: the host's settings, to be read only; on a host without them, those of a Linux that nobody tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EACCES, LinuxError
from noah.abi.fcntl import DT_DIR, DT_REG
from noah.abi.stat import S_IFDIR, S_IFMT
from noah.fs.virtual import DirNode, FileNode, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from noah.fs.hostproc import HostProc

_DEFAULTS: Final = {
    b"fs/aio-max-nr": b"65536",
    b"fs/aio-nr": b"0",
    b"fs/epoll/max_user_watches": b"1000000",
    b"fs/file-max": b"9223372036854775807",
    b"fs/file-nr": b"1024\t0\t9223372036854775807",
    b"fs/inotify/max_queued_events": b"16384",
    b"fs/inotify/max_user_instances": b"128",
    b"fs/inotify/max_user_watches": b"65536",
    b"fs/mqueue/msg_default": b"10",
    b"fs/mqueue/msg_max": b"10",
    b"fs/mqueue/msgsize_default": b"8192",
    b"fs/mqueue/msgsize_max": b"8192",
    b"fs/mqueue/queues_max": b"256",
    b"fs/nr_open": b"1048576",
    b"fs/pipe-max-size": b"1048576",
    b"fs/protected_hardlinks": b"1",
    b"fs/protected_symlinks": b"1",
    b"fs/suid_dumpable": b"0",
    b"kernel/cap_last_cap": b"40",
    b"kernel/core_pattern": b"core",
    b"kernel/core_uses_pid": b"1",
    b"kernel/dmesg_restrict": b"1",
    b"kernel/kptr_restrict": b"0",
    b"kernel/msgmax": b"8192",
    b"kernel/msgmnb": b"16384",
    b"kernel/msgmni": b"32000",
    b"kernel/ngroups_max": b"65536",
    b"kernel/overflowgid": b"65534",
    b"kernel/overflowuid": b"65534",
    b"kernel/panic": b"0",
    b"kernel/perf_event_paranoid": b"4",
    b"kernel/pid_max": b"4194304",
    b"kernel/printk": b"4\t4\t1\t7",
    b"kernel/random/entropy_avail": b"256",
    b"kernel/random/poolsize": b"256",
    b"kernel/randomize_va_space": b"2",
    b"kernel/sched_rr_timeslice_ms": b"100",
    b"kernel/sem": b"32000\t1024000000\t500\t32000",
    b"kernel/shmall": b"18446744073692774399",
    b"kernel/shmmax": b"18446744073692774399",
    b"kernel/shmmni": b"4096",
    b"kernel/tainted": b"0",
    b"kernel/threads-max": b"63000",
    b"net/core/rmem_default": b"212992",
    b"net/core/rmem_max": b"212992",
    b"net/core/somaxconn": b"4096",
    b"net/core/wmem_default": b"212992",
    b"net/core/wmem_max": b"212992",
    b"net/ipv4/ip_forward": b"0",
    b"net/ipv4/ip_local_port_range": b"32768\t60999",
    b"net/ipv4/ip_unprivileged_port_start": b"1024",
    b"net/ipv4/ping_group_range": b"1\t0",
    b"net/ipv4/tcp_fin_timeout": b"60",
    b"net/ipv4/tcp_keepalive_time": b"7200",
    b"net/ipv4/tcp_rmem": b"4096\t131072\t6291456",
    b"net/ipv4/tcp_wmem": b"4096\t16384\t4194304",
    b"net/ipv6/bindv6only": b"0",
    b"net/ipv6/conf/all/disable_ipv6": b"0",
    b"net/ipv6/conf/default/disable_ipv6": b"0",
    b"net/unix/max_dgram_qlen": b"512",
    b"user/max_user_namespaces": b"0",
    b"vm/dirty_background_ratio": b"10",
    b"vm/dirty_ratio": b"20",
    b"vm/max_map_count": b"65530",
    b"vm/min_free_kbytes": b"67584",
    b"vm/mmap_min_addr": b"65536",
    b"vm/nr_hugepages": b"0",
    b"vm/nr_overcommit_hugepages": b"0",
    b"vm/overcommit_kbytes": b"0",
    b"vm/overcommit_memory": b"0",
    b"vm/overcommit_ratio": b"50",
    b"vm/page-cluster": b"3",
    b"vm/swappiness": b"60",
}
_ABSENT: Final = frozenset((b"fs/binfmt_misc", b"kernel/keys", b"kernel/usermodehelper"))
"""What belongs to the machine and says nothing to programs."""


class Settings:
    """The tree below /proc/sys. As in containers nobody may write: EROFS."""

    __slots__ = ("_host", "_own")

    def __init__(self, host: HostProc, own: Mapping[bytes, Callable[[], bytes]]) -> None:
        """own: what the box has for itself, by path below /proc/sys."""
        self._host = host
        defaults = {path: (lambda text=value: text + b"\n") for path, value in _DEFAULTS.items()}
        self._own = {**({} if host.exists else defaults), **own}

    def node(self, path: bytes = b"") -> Node | None:
        """A file, or a directory; "" is /proc/sys itself."""
        if path in _ABSENT:
            return None
        stat = self._host.stat(b"sys/" + path)
        own = self._own.get(path)
        if own is not None:
            mode = stat.mode & 0o777 if stat is not None else 0o444
            return FileNode(own, mode, read_only=True)
        prefix = path + b"/" if path else b""
        if (stat is not None and stat.mode & S_IFMT == S_IFDIR) or any(name.startswith(prefix) for name in self._own):
            return DirNode(lambda name: self.node(prefix + name), lambda: self._names(prefix))
        if stat is None:
            return None
        return FileNode(lambda: self._setting(path), stat.mode & 0o777, read_only=True)

    def _setting(self, path: bytes) -> bytes:
        value = self._host.read(b"sys/" + path)
        if value is None:
            raise LinuxError(EACCES)
        return value

    def _names(self, prefix: bytes) -> Sequence[tuple[bytes, int]]:
        found = {name: kind for name, kind in self._host.names(b"sys/" + prefix) if prefix + name not in _ABSENT}
        for path in self._own:
            if path.startswith(prefix):
                name, slash, _ = path[len(prefix) :].partition(b"/")
                found[name] = DT_DIR if slash else DT_REG
        return sorted(found.items())
