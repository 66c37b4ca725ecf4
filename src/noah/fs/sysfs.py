"""/sys where the host has none (sysfs(5)): processors, memory nodes and what C libraries and runtimes look for.

A Linux host's own is shown instead, to be read only: see noah.fs.setup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from noah.abi.fcntl import DT_DIR, DT_REG
from noah.abi.mount import SYSFS_MAGIC
from noah.abi.time import CLOCK_REALTIME
from noah.fs import devicenumbers
from noah.fs.procstat import ranges
from noah.fs.virtual import DirNode, FileNode, Node, VirtualTree

if TYPE_CHECKING:
    from noah.host.api import Host

_CPU: Final = b"devices/system/cpu"
_NODE: Final = b"devices/system/node"
_THP: Final = b"kernel/mm/transparent_hugepage"
_EMPTY: Final = (
    *(
        b"block",
        b"bus",
        b"class/block",
        b"class/net",
        b"class/tty",
        b"dev/block",
        b"dev/char",
        b"firmware",
        b"fs/cgroup",
    ),
    *(b"hypervisor", b"kernel/mm/hugepages", b"module", b"power"),
)


class SysTree(VirtualTree):
    """The file system. Every processor is a core and a package of its own: what there is of caches is not known."""

    __slots__ = ("_files", "_host")

    def __init__(self, host: Host) -> None:
        clock = host.clock
        super().__init__(
            DirNode(self._node, lambda: self._names(b"")),
            b"sysfs",
            SYSFS_MAGIC,
            devicenumbers.SYS,
            lambda: clock.clock_gettime(CLOCK_REALTIME),
        )
        self._host = host
        self._files = self._contents()

    def _contents(self) -> dict[bytes, bytes]:
        """By path below /sys; what ends in a slash is an empty directory."""
        count = self._host.procs.nproc()
        every = (ranges(range(count)) + "\n").encode()
        memory = self._host.procs.sysinfo()
        total = memory.totalram * memory.mem_unit >> 10
        texts = {
            _CPU + b"/online": every,
            _CPU + b"/possible": every,
            _CPU + b"/present": every,
            _CPU + b"/offline": b"\n",
            _CPU + b"/kernel_max": b"8191\n",
            _NODE + b"/online": b"0\n",
            _NODE + b"/possible": b"0\n",
            _NODE + b"/has_cpu": b"0\n",
            _NODE + b"/has_memory": b"0\n",
            _NODE + b"/node0/cpulist": every,
            _NODE + b"/node0/cpumap": _mask((1 << count) - 1),
            _NODE + b"/node0/distance": b"10\n",
            _NODE + b"/node0/meminfo": b"Node 0 MemTotal:       %8d kB\n" % total,
            _THP + b"/enabled": b"always madvise [never]\n",
            _THP + b"/defrag": b"always defer defer+madvise madvise [never]\n",
            _THP + b"/shmem_enabled": b"always within_size advise [never] deny force\n",
            _THP + b"/hpage_pmd_size": b"2097152\n",
            _THP + b"/use_zero_page": b"0\n",
        }
        for cpu in range(count):
            here = b"%s/cpu%d/topology/" % (_CPU, cpu)
            alone, mask = b"%d\n" % cpu, _mask(1 << cpu)
            texts |= {
                here + b"core_id": b"0\n",
                here + b"physical_package_id": alone,
                here + b"die_id": b"0\n",
            }
            for name in (b"core_cpus", b"die_cpus", b"package_cpus", b"core_siblings", b"thread_siblings"):
                texts |= {here + name: mask, here + name + b"_list": alone}
        return texts | {path + b"/": b"" for path in _EMPTY}

    def _node(self, path: bytes) -> Node | None:
        text = self._files.get(path)
        if text is not None:
            return FileNode(lambda: text, read_only=True)
        prefix = path + b"/"
        if not any(name.startswith(prefix) for name in self._files):
            return None
        return DirNode(lambda name: self._node(prefix + name), lambda: self._names(prefix))

    def _names(self, prefix: bytes) -> Sequence[tuple[bytes, int]]:
        found: dict[bytes, int] = {}
        for path in self._files:
            if path.startswith(prefix) and path != prefix:
                name, slash, _ = path[len(prefix) :].partition(b"/")
                found[name] = DT_DIR if slash else DT_REG
        return sorted(found.items())


def _mask(cpus: int) -> bytes:
    """A set of processors as bitmaps are printed: words of 32 bits, the highest first."""
    words = [cpus >> shift & 0xFFFF_FFFF for shift in range(0, max(1, cpus.bit_length()), 32)]
    first, *rest = reversed(words)
    return b",".join((b"%x" % first, *(b"%08x" % word for word in rest))) + b"\n"
