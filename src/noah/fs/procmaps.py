"""What /proc/PID tells of a process' memory: maps, smaps, numa_maps, statm, pagemap and mem (proc_pid_maps(5))."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.abi.errno import EFAULT, EINVAL, EIO, LinuxError
from noah.abi.mman import MAP_GROWSDOWN, MAP_LOCKED, MAP_SHARED, MAP_TYPE, PROT_EXEC, PROT_READ, PROT_WRITE
from noah.abi.stat import major, minor
from noah.fs.virtual import FileNode, Records, VirtualFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from noah.fs.virtual import VirtualPlace, VirtualTree
    from noah.mm.space import AddressSpace
    from noah.mm.vma import Vma
    from noah.vfs.caller import Caller
    from noah.vfs.file import Views

PAGE: Final = 4096
_KIB: Final = PAGE >> 10
_ENTRY: Final = 8  # bytes of pagemap for a page
_PRESENT: Final = 1 << 63
_OF_FILE: Final = 1 << 61  # file page or shared anonymous
_EXCLUSIVE: Final = 1 << 56

# Fields of smaps behind Size and the page sizes; what is known of a page is only that it is resident, and whose it is.
_SMAPS: Final = (
    *("Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced"),
    *("Anonymous", "LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb"),
    *("Private_Hugetlb", "Swap", "SwapPss", "Locked"),
)
_ROLLUP: Final = (*_SMAPS[:3], "Pss_Anon", "Pss_File", "Pss_Shmem", *_SMAPS[3:])


def _head(vma: Vma) -> bytes:
    """A line of maps."""
    file = vma.file
    device, inode, offset = (file.device, file.inode, vma.file_offset) if file is not None else (0, 0, 0)
    head = b"%08x-%08x %c%c%c%c %08x %02x:%02x %d " % (
        *(vma.start, vma.end),
        b"-r"[bool(vma.prot & PROT_READ)],
        b"-w"[bool(vma.prot & PROT_WRITE)],
        b"-x"[bool(vma.prot & PROT_EXEC)],
        b"ps"[vma.flags & MAP_TYPE == MAP_SHARED],
        *(offset, major(device), minor(device), inode),
    )
    name = vma.name or (file.path.replace(b"\n", b"\\012") if file is not None else b"")
    return head.ljust(73) + name + b"\n" if name else head + b"\n"


def maps(space: AddressSpace) -> bytes:
    return Records.of(_head(vma) for vma in space.vmas)


def _resident(space: AddressSpace, start: int, end: int, vma: Vma) -> bytes:
    """A byte for each page, bit 0: resident."""
    if vma.offset < 0:
        return bytes((end - start) // PAGE)
    try:
        return space.host.mem.mincore(space.arena.address + vma.offset + start - vma.start, end - start)
    except LinuxError:
        return bytes((end - start) // PAGE)  # not all of it is mapped on the host yet


def _residents(space: AddressSpace) -> Iterator[tuple[Vma, int]]:
    """Areas with the number of their resident pages."""
    for vma in space.vmas:
        yield vma, sum(_resident(space, vma.start, vma.end, vma).translate(_BIT_0)) if vma.offset >= 0 else 0


_BIT_0: Final = bytes(value & 1 for value in range(256))


def _shares(vma: Vma, resident: int) -> dict[str, int]:
    """Fields of smaps in KiB. A private page of a file counts as clean as long as its area cannot be written."""
    size = resident * _KIB
    found = dict.fromkeys(_ROLLUP, 0)
    found["Rss"] = found["Pss"] = found["Referenced"] = size
    anonymous = vma.file is None or (vma.flags & MAP_TYPE != MAP_SHARED and not vma.pristine)
    found["Private_Dirty" if anonymous or vma.prot & PROT_WRITE else "Private_Clean"] = size
    if anonymous:
        found["Anonymous"] = found["Pss_Anon"] = size
    else:
        found["Pss_File" if vma.file is not None and vma.file.fd >= 0 else "Pss_Shmem"] = size
    found["Pss_Dirty"] = found["Private_Dirty"]
    if vma.flags & MAP_LOCKED:
        found["Locked"] = size
    return found


def _lines(fields: dict[str, int], names: tuple[str, ...]) -> bytes:
    return "".join(f"{name + ':':<16}{fields[name]:8} kB\n" for name in names).encode()


def _vm_flags(vma: Vma) -> bytes:
    """show_smap_vma_flags(); VM_MAY* as for a file that is open to be read and written."""
    flags = b"".join(
        name
        for present, name in (
            (vma.prot & PROT_READ, b"rd "),
            (vma.prot & PROT_WRITE, b"wr "),
            (vma.prot & PROT_EXEC, b"ex "),
            (vma.flags & MAP_TYPE == MAP_SHARED, b"sh "),
            (True, b"mr "),
            (vma.flags & MAP_TYPE != MAP_SHARED or vma.file is None or vma.file.writable, b"mw "),
            (True, b"me "),
            (vma.flags & MAP_TYPE == MAP_SHARED, b"ms "),
            (vma.flags & MAP_GROWSDOWN, b"gd "),
            (vma.flags & MAP_LOCKED, b"lo "),
        )
        if present
    )
    return b"VmFlags: " + flags + b"\n"


def smaps(space: AddressSpace) -> bytes:
    parts = []
    for vma, resident in _residents(space):
        size = b"Size:           %8d kB\nKernelPageSize: %8d kB\nMMUPageSize:    %8d kB\n"
        head = _head(vma) + size % (vma.end - vma.start >> 10, _KIB, _KIB)
        parts.append(head + _lines(_shares(vma, resident), _SMAPS) + b"THPeligible:           0\n" + _vm_flags(vma))
    return Records.of(parts)


def smaps_rollup(space: AddressSpace) -> bytes:
    total = dict.fromkeys(_ROLLUP, 0)
    for vma, resident in _residents(space):
        for name, value in _shares(vma, resident).items():
            total[name] += value
    vmas = space.vmas.vmas
    if not vmas:
        return b""
    head = b"%08x-%08x ---p 00000000 00:00 0 " % (vmas[0].start, vmas[-1].end)
    return head.ljust(73) + b"[rollup]\n" + _lines(total, _ROLLUP)


def numa_maps(space: AddressSpace) -> bytes:
    """One node, the default policy."""
    parts = []
    for vma, resident in _residents(space):
        line = b"%08x default" % vma.start
        if vma.file is not None:
            line += b" file=" + vma.file.path.replace(b"\n", b"\\012").replace(b" ", b"\\040")
        elif vma.name in (b"[heap]", b"[stack]"):
            line += b" " + vma.name.strip(b"[]")
        if resident:
            line += b" anon=%d dirty=%d" % (resident, resident) if vma.file is None else b" mapped=%d" % resident
            line += b" N0=%d kernelpagesize_kB=%d" % (resident, _KIB)
        parts.append(line + b"\n")
    return b"".join(parts)


class Memory:
    """Sizes in pages: total, resident, of that of files and shared; code, and data with the stack."""

    __slots__ = ("code", "data", "files", "resident", "total")

    def __init__(self, space: AddressSpace) -> None:
        self.total = space.total() // PAGE
        self.resident = self.files = self.code = self.data = 0
        for vma, resident in _residents(space):
            self.resident += resident
            length = (vma.end - vma.start) // PAGE
            if vma.file is not None and (vma.pristine or vma.flags & MAP_TYPE == MAP_SHARED):
                self.files += resident
            if vma.file is not None and vma.prot & PROT_EXEC:
                self.code += length
            if vma.prot & PROT_WRITE and vma.flags & MAP_TYPE != MAP_SHARED:
                self.data += length


def statm(space: AddressSpace) -> bytes:
    memory = Memory(space)
    return b"%d %d %d %d 0 %d 0\n" % (memory.total, memory.resident, memory.files, memory.code, memory.data)


class MemoryNode(FileNode):
    """mem: the memory itself at the file position, pagemap: what is known of each page. Of the calling process."""

    __slots__ = ("_kind", "_lives", "_space")

    def __init__(
        self,
        kind: type[_MemoryFile],
        space: AddressSpace,
        lives: Callable[[], bool],
        mode: int,
        owner: tuple[int, int],
    ) -> None:
        """lives: whether the program that has this memory still runs."""
        super().__init__(bytes, mode, owner)
        self._kind = kind
        self._space = space
        self._lives = lives

    def open(self, tree: VirtualTree, place: VirtualPlace, flags: int) -> VirtualFile:
        return self._kind(tree, place, self, flags, self._space, self._lives)


class _MemoryFile(VirtualFile):
    __slots__ = ("_lives", "_space")

    def __init__(
        self,
        tree: VirtualTree,
        place: VirtualPlace,
        node: FileNode,
        flags: int,
        space: AddressSpace,
        lives: Callable[[], bool],
    ) -> None:
        super().__init__(tree, place, node, flags)
        self._space = space
        self._lives = lives

    def read(self, caller: Caller, views: Views) -> int:
        done = self.pread(caller, views, self._position)
        self._position += done
        return done


class MemFile(_MemoryFile):
    """/proc/self/mem. Unlike Linux' it keeps to what the areas allow."""

    __slots__ = ()

    def pread(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        self.check_readable()
        if not self._lives():
            return 0
        done = 0
        for view in views:
            piece = self._piece(offset + done, len(view), write=False)
            for part in piece:
                view[: len(part)] = part
                view = view[len(part) :]
                done += len(part)
            if len(view):
                break
        if not done and any(len(view) for view in views):
            raise LinuxError(EIO)
        return done

    def write(self, caller: Caller, views: Views) -> int:
        done = self.pwrite(caller, views, self._position)
        self._position += done
        return done

    def pwrite(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        self.check_writable()
        if not self._lives():
            return 0
        done = 0
        for view in views:
            for part in self._piece(offset + done, len(view), write=True):
                part[:] = view[: len(part)]
                view = view[len(part) :]
                done += len(part)
            if len(view):
                break
        if not done and any(len(view) for view in views):
            raise LinuxError(EIO)
        return done

    def _piece(self, address: int, length: int, *, write: bool) -> list[memoryview]:
        """As much as there is from that address on."""
        try:
            return self._space.memory.available(address, length, write=write)
        except LinuxError as error:
            if error.errno != EFAULT:
                raise
            return []


class PagemapFile(_MemoryFile):
    """/proc/self/pagemap as a process without CAP_SYS_ADMIN reads it: no frame numbers (pagemap.rst)."""

    __slots__ = ()

    def pread(self, caller: Caller, views: Views, offset: int, flags: int = 0) -> int:
        self.check_readable()
        wanted = sum(len(view) for view in views)
        if offset % _ENTRY or wanted % _ENTRY:
            raise LinuxError(EINVAL)
        if not self._lives():
            return 0
        limit = self._space.machine.user_limit // PAGE * _ENTRY
        left = max(0, min(wanted, limit - offset))
        done = 0
        for view in views:
            part = self._entries((offset + done) // _ENTRY, min(len(view), left - done) // _ENTRY)
            view[: len(part)] = part
            done += len(part)
        return done

    def _entries(self, page: int, count: int) -> bytes:
        space = self._space
        first, end = page * PAGE, (page + count) * PAGE
        found = bytearray(count * _ENTRY)
        for vma in space.vmas.overlapping(first, end):
            start, stop = max(vma.start, first), min(vma.end, end)
            of_file = vma.file is not None and (vma.pristine or vma.flags & MAP_TYPE == MAP_SHARED)
            entry = (_PRESENT | (_OF_FILE if of_file else _EXCLUSIVE)).to_bytes(_ENTRY, "little")
            at = (start - first) // PAGE * _ENTRY
            pages = _resident(space, start, stop, vma)
            found[at : at + len(pages) * _ENTRY] = b"".join(entry if here & 1 else bytes(_ENTRY) for here in pages)
        return bytes(found)
