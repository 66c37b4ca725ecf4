"""The files of /proc that are the system's: what the host has of them is shown, the rest is made up as Linux has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from noah.abi.fcntl import DT_DIR, DT_REG
from noah.abi.time import CLOCK_REALTIME, NSEC_PER_SEC
from noah.fs.procsettings import Settings
from noah.fs.virtual import DirNode, FileNode, Node

if TYPE_CHECKING:
    from noah.fs.hostproc import HostProc
    from noah.fs.procview import ProcessView

Content = Callable[[], bytes]

FILESYSTEMS: Final = b"nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevpts\nnodev\tpipefs\nnodev\tsockfs\n\text4\n"

_HOST_FILES: Final = (
    *(b"buddyinfo", b"cgroups", b"consoles", b"crypto", b"devices", b"diskstats", b"execdomains", b"interrupts"),
    *(b"iomem", b"ioports", b"key-users", b"misc", b"modules", b"mtrr", b"pagetypeinfo", b"partitions"),
    *(b"pressure/cpu", b"pressure/io", b"pressure/irq", b"pressure/memory", b"schedstat", b"slabinfo", b"softirqs"),
    *(b"swaps", b"tty/drivers", b"tty/ldiscs", b"vmallocinfo", b"vmstat", b"zoneinfo"),
)
"""Shown as the host has them, where it has them, to whom it shows them: as in a container without privileges."""
_DEVICES: Final = b"""\
Character devices:
  1 mem
  4 tty
  5 /dev/tty
  5 /dev/console
  5 /dev/ptmx
128 ptm
136 pts

Block devices:
"""
_TTY_DRIVERS: Final = b"""\
/dev/tty             /dev/tty        5       0 system:/dev/tty
/dev/console         /dev/console    5       1 system:console
/dev/ptmx            /dev/ptmx       5       2 system
pty_slave            /dev/pts      136 0-1048575 pty:slave
pty_master           /dev/ptm      128 0-1048575 pty:master
"""


_PROCESSORS: Final = {
    "aarch64": b"BogoMIPS\t: 100.00\nFeatures\t: fp asimd cpuid\nCPU implementer\t: 0x00\nCPU architecture: 8\n"
    b"CPU variant\t: 0x0\nCPU part\t: 0x000\nCPU revision\t: 0\n",
    "x86_64": b"vendor_id\t: unknown\ncpu family\t: 6\nmodel\t\t: 0\nmodel name\t: unknown\nstepping\t: 0\n"
    b"fpu\t\t: yes\nflags\t\t: fpu tsc cx8 cmov mmx fxsr sse sse2 syscall nx lm\n",
}
"""What every processor of the architecture has; more only the host knows, if it is of that architecture."""


class SystemFiles:
    """Files and directories in /proc that are no process'. `release` and `version` are uname(2)'s."""

    __slots__ = ("_boot_id", "_files", "_host", "_process", "_settings")

    def __init__(self, process: ProcessView, host: HostProc, release: bytes, version: bytes) -> None:
        self._process = process
        self._host = host
        self._boot_id = host.read(b"sys/kernel/random/boot_id") or self._uuid()
        self._settings = Settings(
            host,
            {
                b"kernel/domainname": lambda: process.domainname + b"\n",
                b"kernel/hostname": lambda: process.nodename + b"\n",
                b"kernel/osrelease": lambda: release + b"\n",
                b"kernel/ostype": lambda: b"Linux\n",
                b"kernel/random/boot_id": lambda: self._boot_id,
                b"kernel/random/uuid": self._uuid,
                b"kernel/version": lambda: version + b"\n",
            },
        )
        self._files: dict[bytes, Content] = {
            b"cmdline": lambda: b"noah\n",
            b"cpuinfo": self._cpuinfo,
            b"filesystems": lambda: FILESYSTEMS,
            b"loadavg": self._loadavg,
            b"locks": self._locks,
            b"meminfo": self._meminfo,
            b"stat": self._stat,
            b"uptime": self._uptime,
            b"version": lambda: b"Linux version %s (noah@noah) %s\n" % (release, version),
        }
        for name in (b"msg", b"sem", b"shm"):
            self._files[b"sysvipc/" + name] = partial(process.sysvipc, name)
        if host.exists:
            self._files[b"kallsyms"] = self._kallsyms
        else:
            self._files |= {
                b"cgroups": lambda: b"#subsys_name\thierarchy\tnum_cgroups\tenabled\n",
                b"devices": lambda: _DEVICES,
                b"diskstats": bytes,
                b"misc": bytes,
                b"modules": bytes,
                b"partitions": lambda: b"major minor  #blocks  name\n\n",
                b"swaps": lambda: b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
                b"tty/drivers": lambda: _TTY_DRIVERS,
                b"vmstat": bytes,
            }

    def child(self, path: bytes) -> Node | None:
        """By path below /proc."""
        if path == b"sys":
            return self._settings.node()
        content = self._files.get(path)
        if content is not None:
            return FileNode(content)
        if path in _HOST_FILES:
            stat = self._host.stat(path)
            return FileNode(lambda: self._host.read(path) or b"", stat.mode & 0o777, read_only=True) if stat else None
        if any(name.startswith(path + b"/") for name in (*self._files, *_HOST_FILES)):
            prefix = path + b"/"
            return DirNode(lambda name: self.child(prefix + name), lambda: self._names(prefix))
        return None

    def names(self) -> Sequence[tuple[bytes, int]]:
        return [*self._names(b""), (b"sys", DT_DIR)]

    def _names(self, prefix: bytes) -> list[tuple[bytes, int]]:
        found: dict[bytes, int] = {}
        for path in (*self._files, *_HOST_FILES):
            if path.startswith(prefix) and (path in self._files or self._host.stat(path) is not None):
                name, slash, _ = path[len(prefix) :].partition(b"/")
                found[name] = DT_DIR if slash else DT_REG
        return sorted(found.items())

    def _kallsyms(self) -> bytes:
        """Without addresses, as for everybody whom kernel.kptr_restrict does not trust."""
        lines = (self._host.read(b"kallsyms") or b"").splitlines(keepends=True)
        return b"".join(b"0" * line.index(b" ") + line[line.index(b" ") :] for line in lines)

    def _locks(self) -> bytes:
        """Locks that processes of the box hold or wait for, numbered anew."""
        lines: list[bytes] = []
        for line in (self._host.read(b"locks") or b"").splitlines():
            words = line.replace(b"-> ", b"").split()
            if len(words) > 4 and words[4].isdigit() and self._process.box.contains(int(words[4])):
                lines.append(b"%d:%s\n" % (len(lines) + 1, line.partition(b":")[2]))
        return b"".join(lines)

    def _uuid(self) -> bytes:
        raw = bytearray(self._host.host.rng.getrandom(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        text = raw.hex().encode()
        return b"-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])) + b"\n"

    def _cpuinfo(self) -> bytes:
        procs = self._host.host.procs
        machine = self._process.machine.arch
        found = self._host.read(b"cpuinfo") if procs.uname().machine == machine.encode() else None
        if found is not None:
            return found
        text = _PROCESSORS[machine]
        return b"".join(b"processor\t: %d\n%s\n" % (cpu, text) for cpu in range(procs.nproc()))

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
