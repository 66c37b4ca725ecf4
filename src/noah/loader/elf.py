"""ELF files as execve(2) reads them (elf(5), fs/binfmt_elf.c)."""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.elf import ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD
from noah.abi.errno import EINVAL, EIO, ELIBBAD, ENOEXEC, LinuxError
from noah.abi.limits import PATH_MAX
from noah.abi.mman import PROT_EXEC, PROT_READ, PROT_WRITE
from noah.abi.structs import Ehdr, Phdr
from noah.vfs.caller import Caller
from noah.vfs.file import OpenFile

_MAX_PHDRS: Final = 4096 // 56  # ELF_MIN_ALIGN bytes of them


def read_at(caller: Caller, file: OpenFile, offset: int, size: int) -> bytes:
    """Up to `size` bytes of a file; short only at its end."""
    buffer = bytearray(size)
    view = memoryview(buffer)
    done = 0
    while done < size:
        count = file.pread(caller, [view[done:]], offset + done)
        if not count:
            break
        done += count
    return bytes(buffer[:done])


class Segment:
    """A PT_LOAD entry, as it is in the file: load() looks whether it makes sense."""

    __slots__ = ("address", "file_size", "memory_size", "offset", "prot")

    def __init__(self, address: int, offset: int, file_size: int, memory_size: int, flags: int) -> None:
        self.address = address
        self.offset = offset
        self.file_size = file_size
        self.memory_size = memory_size
        self.prot = (
            (PROT_READ if flags & PF_R else 0)
            | (PROT_WRITE if flags & PF_W else 0)
            | (PROT_EXEC if flags & PF_X else 0)
        )

    def check(self, base: int, limit: int) -> None:
        """EINVAL for what cannot be mapped with this load bias."""
        start = base + self.address
        if self.file_size > self.memory_size or start + self.memory_size > limit or (start ^ self.offset) & 4095:
            raise LinuxError(EINVAL, "bad segment")


class Elf:
    """The headers of a program, or of its interpreter. `head`: the first page of the file, or what there is of it.

    Raises LinuxError for what cannot be run: ENOEXEC; of an interpreter ELIBBAD, or EIO when it is too short.
    """

    __slots__ = (
        "alignment",
        "dynamic",
        "entry",
        "exec_stack",
        "high",
        "interpreter",
        "low",
        "phdr_address",
        "phnum",
        "segments",
    )

    def __init__(
        self, caller: Caller, file: OpenFile, machine: int, head: bytes, *, is_interpreter: bool = False
    ) -> None:
        bad = ELIBBAD if is_interpreter else ENOEXEC
        if len(head) < Ehdr.struct.size:
            raise LinuxError(EIO if is_interpreter else ENOEXEC, "too short for an ELF file")
        ehdr = Ehdr.unpack_from(head, 0)
        if head[:4] != b"\x7fELF":
            raise LinuxError(bad, "not an ELF file")
        if ehdr.type not in (ET_EXEC, ET_DYN):
            raise LinuxError(bad, "neither an executable nor a shared object")
        if ehdr.machine != machine:
            raise LinuxError(bad, "made for another processor")
        if ehdr.phentsize != Phdr.struct.size or not 0 < ehdr.phnum <= _MAX_PHDRS or ehdr.phoff >= 1 << 62:
            raise LinuxError(bad, "no program headers")
        self.dynamic = ehdr.type == ET_DYN
        self.entry = ehdr.entry
        self.phnum = ehdr.phnum
        self.phdr_address = 0
        self.interpreter = b""
        self.exec_stack = False
        self.segments: list[Segment] = []
        self.alignment = 4096
        size = Phdr.struct.size
        table = _part(caller, file, head, ehdr.phoff, size * ehdr.phnum)
        if len(table) < size * ehdr.phnum:
            raise LinuxError(bad, "truncated")
        for index in range(ehdr.phnum):
            phdr = Phdr.unpack_from(table, size * index)
            if phdr.type == PT_LOAD:
                self._add_segment(phdr, ehdr.phoff)
            elif phdr.type == PT_INTERP and not self.interpreter and not is_interpreter:
                self.interpreter = _interpreter_name(caller, file, head, phdr)
            elif phdr.type == PT_GNU_STACK:
                self.exec_stack = bool(phdr.flags & PF_X)
        self.low = min((segment.address & -4096 for segment in self.segments), default=0)
        self.high = max((segment.address + segment.memory_size for segment in self.segments), default=0)

    def _add_segment(self, phdr: Phdr, phoff: int) -> None:
        self.segments.append(Segment(phdr.vaddr, phdr.offset, phdr.filesz, phdr.memsz, phdr.flags))
        if phdr.align & (phdr.align - 1) == 0:
            self.alignment = max(self.alignment, phdr.align)
        if phdr.offset <= phoff < phdr.offset + phdr.filesz:
            self.phdr_address = phdr.vaddr + phoff - phdr.offset


def _part(caller: Caller, file: OpenFile, head: bytes, offset: int, size: int) -> bytes:
    """read_at() of a file whose beginning has been read."""
    return head[offset : offset + size] if offset + size <= len(head) else read_at(caller, file, offset, size)


def _interpreter_name(caller: Caller, file: OpenFile, head: bytes, phdr: Phdr) -> bytes:
    if not 2 <= phdr.filesz <= PATH_MAX:
        raise LinuxError(ENOEXEC, "bad interpreter name")
    name = _part(caller, file, head, phdr.offset, phdr.filesz)
    if len(name) < phdr.filesz:
        raise LinuxError(EIO, "truncated")
    if name[-1]:
        raise LinuxError(ENOEXEC, "bad interpreter name")
    return name.split(b"\0", 1)[0]


AUXV_ENTRY: Final = struct.Struct("<QQ")
