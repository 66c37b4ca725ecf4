"""ELF files as execve(2) reads them (elf(5), fs/binfmt_elf.c)."""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.elf import ELFCLASS64, ELFDATA2LSB, ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD
from noah.abi.errno import EINVAL, ENOEXEC, LinuxError
from noah.abi.limits import PATH_MAX
from noah.abi.mman import PROT_EXEC, PROT_READ, PROT_WRITE
from noah.abi.structs import Ehdr, Phdr
from noah.vfs.caller import Caller
from noah.vfs.file import OpenFile

_MAX_PHDRS: Final = 65536 // 56  # ELF_MIN_ALIGN pages of headers


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
    """A PT_LOAD entry."""

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


class Elf:
    """The headers of a program or of its interpreter. Raises LinuxError(ENOEXEC) for what cannot be run."""

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

    def __init__(self, caller: Caller, file: OpenFile, machine: int) -> None:
        head = read_at(caller, file, 0, 64)
        if len(head) < 64 or head[:4] != b"\x7fELF" or head[4] != ELFCLASS64 or head[5] != ELFDATA2LSB:
            raise LinuxError(ENOEXEC, "not a 64-bit little-endian ELF file")
        ehdr = Ehdr.unpack_from(head, 0)
        if ehdr.type not in (ET_EXEC, ET_DYN):
            raise LinuxError(ENOEXEC, "neither an executable nor a shared object")
        if ehdr.machine != machine:
            raise LinuxError(ENOEXEC, "made for another processor")
        if ehdr.phentsize != 56 or not 0 < ehdr.phnum <= _MAX_PHDRS:
            raise LinuxError(ENOEXEC, "no program headers")
        self.dynamic = ehdr.type == ET_DYN
        self.entry = ehdr.entry
        self.phnum = ehdr.phnum
        self.phdr_address = 0
        self.interpreter = b""
        self.exec_stack = False
        self.segments: list[Segment] = []
        self.alignment = 4096
        table = read_at(caller, file, ehdr.phoff, 56 * ehdr.phnum)
        if len(table) < 56 * ehdr.phnum:
            raise LinuxError(ENOEXEC, "truncated")
        for index in range(ehdr.phnum):
            phdr = Phdr.unpack_from(table, 56 * index)
            if phdr.type == PT_LOAD:
                self._add_segment(phdr, ehdr.phoff)
            elif phdr.type == PT_INTERP:
                if not 2 <= phdr.filesz <= PATH_MAX:
                    raise LinuxError(ENOEXEC, "bad interpreter name")
                name = read_at(caller, file, phdr.offset, phdr.filesz)
                if len(name) < phdr.filesz or name[-1]:
                    raise LinuxError(ENOEXEC, "bad interpreter name")
                self.interpreter = name.split(b"\0", 1)[0]
            elif phdr.type == PT_GNU_STACK:
                self.exec_stack = bool(phdr.flags & PF_X)
        if not self.segments:
            raise LinuxError(ENOEXEC, "nothing to load")
        self.low = self.segments[0].address & -4096
        self.high = max(segment.address + segment.memory_size for segment in self.segments)

    def _add_segment(self, phdr: Phdr, phoff: int) -> None:
        if phdr.filesz > phdr.memsz or (phdr.vaddr ^ phdr.offset) & 4095 or phdr.vaddr + phdr.memsz >= 1 << 47:
            raise LinuxError(EINVAL, "bad segment")
        if self.segments and phdr.vaddr < self.segments[-1].address:
            raise LinuxError(ENOEXEC, "segments out of order")
        self.segments.append(Segment(phdr.vaddr, phdr.offset, phdr.filesz, phdr.memsz, phdr.flags))
        if phdr.align & (phdr.align - 1) == 0:
            self.alignment = max(self.alignment, phdr.align)
        if phdr.offset <= phoff < phdr.offset + phdr.filesz:
            self.phdr_address = phdr.vaddr + phoff - phdr.offset


AUXV_ENTRY: Final = struct.Struct("<QQ")
