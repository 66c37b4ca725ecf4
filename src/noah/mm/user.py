"""UserMemory: the only way that Noah's kernel personality touches guest memory.

Every access is checked against the areas first, so a guest pointer can never make the host fault; what fails is EFAULT.
`slices()` hands out views of the guest's own memory: readv(2) and its like move data with no copy in Python.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from noah.abi.errno import EFAULT, EINVAL, ENAMETOOLONG, LinuxError
from noah.abi.limits import IOV_MAX, MAX_RW_COUNT
from noah.abi.mman import PROT_EXEC, PROT_WRITE
from noah.mm.fault import grow_stack
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from noah.mm.space import AddressSpace
    from noah.mm.vma import MappedFile, Vma

_GLANCE: Final = 256  # most strings are shorter
_MAX_STRINGS: Final = 4096

_U32: Final = struct.Struct("<I")
_S32: Final = struct.Struct("<i")
_U64: Final = struct.Struct("<Q")


class UserMemory:
    """Checked access to the memory of one address space. Raises LinuxError(EFAULT)."""

    __slots__ = ("_space", "_view", "log")

    def __init__(self, space: AddressSpace) -> None:
        self._space = space
        self._view = space.arena.view
        self.log: list[tuple[int, int]] | None = None
        """While a vfork child runs: (arena offset, length) of every write that Noah made for it."""

    def _place(self, address: int, length: int, *, write: bool) -> int:
        """Arena offset of a range that lies in one area, or -1 when it takes slices() to reach it."""
        vma = self._space.vmas.find(address)
        if vma is None or address + length > vma.end or vma.file is not None:
            return -1
        if vma.offset < 0 or not (vma.prot & PROT_WRITE if write else vma.prot):
            raise LinuxError(EFAULT)
        at = vma.offset + address - vma.start
        if write:
            self._note_write(vma, address, at, length)
        return at

    def _note_write(self, vma: Vma, address: int, at: int, length: int) -> None:
        """Noah is about to write here."""
        if self.log is not None:
            self.log.append((at, length))
        if vma.prot & PROT_EXEC and not self._space.machine.coherent:
            self._space.machine.forget_code(address, length)

    def check_range(self, address: int, length: int) -> None:
        """EFAULT for what reaches beyond user addresses, even if nothing is to be copied (access_ok())."""
        if address + length > self._space.task_size:
            raise LinuxError(EFAULT)

    def slices(self, address: int, length: int, *, write: bool) -> list[memoryview]:
        """Views of [address, +length), one for each area: usually a single one.

        `write` says that the caller will fill them. A length of 0 needs no valid address.
        """
        if length == 0:
            return []
        at = self._place(address, length, write=write)
        if at >= 0:
            return [self._view[at : at + length]]
        pieces = self.available(address, length, write=write)
        if sum(map(len, pieces)) < length:
            raise LinuxError(EFAULT)
        return pieces

    def available(self, address: int, length: int, *, write: bool) -> list[memoryview]:
        """As slices(), but only as far as the memory reaches; EFAULT when not even the first byte does."""
        pieces = []
        end = address + length
        space = self._space
        while address < end:
            vma = space.vmas.find(address)
            if vma is None:
                if not grow_stack(space, address):
                    break
                vma = space.vmas.find(address)
                assert vma is not None
            if vma.offset < 0 or not (vma.prot & PROT_WRITE if write else vma.prot):
                break
            # beyond the last page of a file the host itself would fault (SIGBUS)
            limit = vma.end if vma.file is None else vma.start + space.present(vma)
            if address >= limit:
                break
            stop = min(end, limit)
            at = vma.offset + address - vma.start
            if write:
                self._note_write(vma, address, at, stop - address)
            pieces.append(self._view[at : at + stop - address])
            address = stop
        if not pieces and length:
            raise LinuxError(EFAULT)
        return pieces

    def read(self, address: int, length: int) -> bytes:
        """copy_from_user: all of it, or EFAULT."""
        vma = self._space.vmas.find(address)
        if vma is not None and address + length <= vma.end and vma.prot:
            if vma.file is None:
                at = vma.offset + address - vma.start
                if vma.offset >= 0:
                    return bytes(self._view[at : at + length])
            elif vma.pristine:
                data = vma.file.read_at(vma.file_offset + address - vma.start, length)
                if len(data) == length:
                    return data
        if length == 0:
            return b""
        return b"".join(self.slices(address, length, write=False))

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """copy_to_user: all of it, or EFAULT (then some of it may have been written)."""
        length = len(data)
        if length == 0:
            return
        at = self._place(address, length, write=True)
        if at >= 0:
            self._view[at : at + length] = data
            return
        done = 0
        for piece in self.slices(address, length, write=True):
            piece[:] = data[done : done + len(piece)]
            done += len(piece)

    def string(self, address: int, limit: int = PAGE) -> bytes:
        """A NUL-terminated string of fewer than `limit` bytes (without the NUL); ENAMETOOLONG if there is no NUL."""
        vma = self._space.vmas.find(address)
        if vma is not None:
            if vma.file is None:
                if vma.prot and vma.offset >= 0:
                    at = vma.offset + address - vma.start
                    data = bytes(self._view[at : at + min(_GLANCE, limit, vma.end - address)])
                    end = data.find(0)
                    if end >= 0:
                        return data[:end]
            elif vma.pristine and vma.prot:
                return self._file_string(vma, vma.file, address, limit)
        return self._long_string(address, limit)

    def _file_string(self, vma: Vma, file: MappedFile, address: int, limit: int) -> bytes:
        """A string in what never was written: most names that a program was built with.

        Looked up again only by those who ask for data: Linux lets nobody write to a program that runs (ETXTBSY).
        """
        at = vma.file_offset + address - vma.start
        found = file.strings.get(at) if file.executable else None
        if found is None:
            data = file.read_at(at, min(_GLANCE, vma.end - address))
            end = data.find(0)
            if end < 0:
                return self._long_string(address, limit)
            found = data[:end]
            if file.executable:
                if len(file.strings) >= _MAX_STRINGS:
                    file.strings.clear()
                file.strings[at] = found
        if len(found) >= limit:
            raise LinuxError(ENAMETOOLONG)
        return found

    def _long_string(self, address: int, limit: int) -> bytes:
        found = bytearray()
        while len(found) < limit:
            chunk = self.available(address, min(256 - (address & 255), limit - len(found)), write=False)[0]
            data = bytes(chunk)
            end = data.find(0)
            if end >= 0:
                return bytes(found) + data[:end] if found else data[:end]
            found += data
            address += len(data)
        raise LinuxError(ENAMETOOLONG)

    def prefix(self, address: int, count: int) -> bytes:
        """A string, cut off after `count` bytes (strncpy_from_user())."""
        try:
            return self.string(address, count)
        except LinuxError as error:
            if error.errno != ENAMETOOLONG:
                raise
            return self.read(address, count)

    def read_u32(self, address: int) -> int:
        return int(_U32.unpack(self.read(address, 4))[0])

    def read_s32(self, address: int) -> int:
        return int(_S32.unpack(self.read(address, 4))[0])

    def read_u64(self, address: int) -> int:
        return int(_U64.unpack(self.read(address, 8))[0])

    def write_u32(self, address: int, value: int) -> None:
        self.write(address, _U32.pack(value & 0xFFFF_FFFF))

    def write_u64(self, address: int, value: int) -> None:
        self.write(address, _U64.pack(value & 0xFFFF_FFFF_FFFF_FFFF))

    def unpack(self, layout: struct.Struct, address: int) -> tuple[int, ...]:
        return layout.unpack(self.read(address, layout.size))

    def pack(self, layout: struct.Struct, address: int, *values: int | bytes) -> None:
        self.write(address, layout.pack(*values))

    def buffer(self, address: int, length: int, *, write: bool) -> list[memoryview]:
        """Views for a read(2) or write(2) buffer: at most MAX_RW_COUNT bytes, as far as the memory reaches."""
        if 0 < length <= MAX_RW_COUNT:
            at = self._place(address, length, write=write)
            if at >= 0:
                return [self._view[at : at + length]]
        elif length < 0:
            raise LinuxError(EINVAL)
        self.check_range(address, length)
        return self.available(address, min(length, MAX_RW_COUNT), write=write)

    def iovec(self, address: int, count: int, *, write: bool) -> list[memoryview]:
        """Views for a struct iovec array (readv(2)): EINVAL for a bad count or length, EFAULT if nothing is there."""
        if not 0 <= count <= IOV_MAX:
            raise LinuxError(EINVAL)
        raw = self.read(address, 16 * count)
        views: list[memoryview] = []
        room = MAX_RW_COUNT
        for base, length in struct.iter_unpack("<Qq", raw):
            if length < 0:
                raise LinuxError(EINVAL)
            self.check_range(base, length)
            length = min(length, room)
            room -= length
            if not length:
                continue
            try:
                pieces = self.available(base, length, write=write)
            except LinuxError:
                if not views:
                    raise
                break
            views += pieces
            if sum(map(len, pieces)) < length:
                break
        return views
