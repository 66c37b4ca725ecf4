"""The files of /proc that are the system's: what the host has of them is shown, the rest is made up as Linux has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from noah.abi.limits import NR_OPEN, PID_MAX_LIMIT, PIPE_MAX_SIZE
from noah.abi.time import CLOCK_REALTIME, NSEC_PER_SEC

if TYPE_CHECKING:
    from noah.fs.hostproc import HostProc

Content = Callable[[], bytes]

FILESYSTEMS: Final = b"nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevpts\nnodev\tpipefs\nnodev\tsockfs\n\text4\n"

# Settings that are shown as the host has them, and what they are where it has none
_HOST_SETTINGS: Final = {
    b"fs/file-max": b"9223372036854775807",
    b"fs/file-nr": b"1024\t0\t9223372036854775807",
    b"fs/inotify/max_queued_events": b"16384",
    b"fs/inotify/max_user_instances": b"128",
    b"fs/inotify/max_user_watches": b"65536",
    b"fs/mqueue/msg_max": b"10",
    b"fs/mqueue/msgsize_max": b"8192",
    b"fs/protected_hardlinks": b"1",
    b"fs/protected_symlinks": b"1",
    b"fs/suid_dumpable": b"0",
    b"kernel/cap_last_cap": b"40",
    b"kernel/core_pattern": b"core",
    b"kernel/core_uses_pid": b"1",
    b"kernel/dmesg_restrict": b"1",
    b"kernel/domainname": b"(none)",
    b"kernel/kptr_restrict": b"0",
    b"kernel/msgmax": b"8192",
    b"kernel/msgmnb": b"16384",
    b"kernel/msgmni": b"32000",
    b"kernel/overflowgid": b"65534",
    b"kernel/overflowuid": b"65534",
    b"kernel/panic": b"0",
    b"kernel/perf_event_paranoid": b"4",
    b"kernel/printk": b"4\t4\t1\t7",
    b"kernel/randomize_va_space": b"2",
    b"kernel/random/entropy_avail": b"256",
    b"kernel/random/poolsize": b"256",
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
    b"net/ipv6/conf/all/disable_ipv6": b"0",
    b"vm/max_map_count": b"65530",
    b"vm/mmap_min_addr": b"65536",
    b"vm/nr_hugepages": b"0",
    b"vm/overcommit_memory": b"0",
    b"vm/overcommit_ratio": b"50",
    b"vm/swappiness": b"60",
}


class SystemFiles:
    """Contents by path below /proc. `release` and `version` are uname(2)'s."""

    __slots__ = ("_boot_id", "_host", "_release", "_version", "files")

    def __init__(self, host: HostProc, release: bytes, version: bytes) -> None:
        self._host = host
        self._release = release
        self._version = version
        self._boot_id = host.read(b"sys/kernel/random/boot_id") or self._uuid()
        self.files: dict[bytes, Content] = {
            b"cmdline": lambda: b"noah\n",
            b"cpuinfo": self._cpuinfo,
            b"devices": lambda: (
                b"Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n"
            ),
            b"filesystems": lambda: FILESYSTEMS,
            b"loadavg": self._loadavg,
            b"meminfo": self._meminfo,
            b"partitions": lambda: b"major minor  #blocks  name\n\n",
            b"stat": self._stat,
            b"swaps": lambda: b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
            b"uptime": self._uptime,
            b"version": lambda: b"Linux version %s (noah@noah) %s\n" % (release, version),
            b"diskstats": lambda: host.read(b"diskstats") or b"",
            b"vmstat": lambda: host.read(b"vmstat") or b"",
            b"sys/fs/nr_open": lambda: b"%d\n" % NR_OPEN,
            b"sys/fs/pipe-max-size": lambda: b"%d\n" % PIPE_MAX_SIZE,
            b"sys/kernel/hostname": lambda: host.host.procs.uname().nodename + b"\n",
            b"sys/kernel/ngroups_max": lambda: b"65536\n",
            b"sys/kernel/osrelease": lambda: release + b"\n",
            b"sys/kernel/ostype": lambda: b"Linux\n",
            b"sys/kernel/pid_max": lambda: b"%d\n" % PID_MAX_LIMIT,
            b"sys/kernel/random/boot_id": lambda: self._boot_id,
            b"sys/kernel/random/uuid": self._uuid,
            b"sys/kernel/version": lambda: version + b"\n",
        }
        for name, default in _HOST_SETTINGS.items():
            self.files[b"sys/" + name] = self._setting(b"sys/" + name, default + b"\n")

    def _setting(self, path: bytes, default: bytes) -> Content:
        return lambda: self._host.read(path) or default

    def _uuid(self) -> bytes:
        raw = bytearray(self._host.host.rng.getrandom(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        text = raw.hex().encode()
        return b"-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])) + b"\n"

    def _cpuinfo(self) -> bytes:
        found = self._host.read(b"cpuinfo")
        if found is not None:
            return found
        count = self._host.host.procs.nproc()
        return b"".join(b"processor\t: %d\nmodel name\t: virtual\n\n" % cpu for cpu in range(count))

    def _loadavg(self) -> bytes:
        found = self._host.read(b"loadavg")
        if found is not None:
            return found
        loads = (f"{load / 65536:.2f}" for load in self._host.host.procs.sysinfo().loads)
        return " ".join(loads).encode() + b" 1/1 1\n"

    def _meminfo(self) -> bytes:
        found = self._host.read(b"meminfo")
        if found is not None:
            return found
        info = self._host.host.procs.sysinfo()
        unit = info.mem_unit
        values = {
            "MemTotal": info.totalram,
            "MemFree": info.freeram,
            "MemAvailable": info.freeram,
            "Buffers": info.bufferram,
            "Cached": 0,
            "SwapTotal": info.totalswap,
            "SwapFree": info.freeswap,
        }
        return "".join(f"{name + ':':<16}{value * unit >> 10:8} kB\n" for name, value in values.items()).encode()

    def _stat(self) -> bytes:
        found = self._host.read(b"stat")
        if found is not None:
            return found
        host = self._host.host
        boot = host.clock.clock_gettime(CLOCK_REALTIME) // NSEC_PER_SEC - host.procs.sysinfo().uptime
        cpus = b"".join(b"cpu%d 0 0 0 0 0 0 0 0 0 0\n" % cpu for cpu in range(host.procs.nproc()))
        return b"cpu  0 0 0 0 0 0 0 0 0 0\n" + cpus + b"btime %d\nprocesses 1\nprocs_running 1\n" % boot

    def _uptime(self) -> bytes:
        found = self._host.read(b"uptime")
        if found is not None:
            return found
        return b"%d.00 0.00\n" % self._host.host.procs.sysinfo().uptime
