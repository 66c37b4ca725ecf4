"""Shared memory with several views, on engines that do not see code change through another one (Machine.coherent).

Once a file is mapped MAP_SHARED to be executed, each page of it is either executable or writable: the access that it is
not meant for faults, and takes it. Programs that write code at one address and run it at another do so in turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.abi.mman import MAP_SHARED, MAP_TYPE, PROT_EXEC
from noah.mm.vma import Vma, engine_prot
from noah.vm.api import EXEC, READ, WRITE
from noah.vm.arena import PAGE

if TYPE_CHECKING:
    from noah.mm.space import AddressSpace


def granted(space: AddressSpace, vma: Vma) -> int:
    """What the engine lets the guest do with an area before it has faulted."""
    prot = engine_prot(vma.prot)
    file = vma.file
    if space.machine.coherent or file is None or vma.flags & MAP_TYPE != MAP_SHARED:
        return prot
    if vma.prot & PROT_EXEC and (file.device, file.inode) not in space.code_files:
        space.code_files.add((file.device, file.inode))
        for other in _views(space, vma):  # their next write shall fault
            length = space.present(other)
            if length and engine_prot(other.prot) & WRITE:
                space.machine.protect(other.start, length, other.offset, READ)
    return prot & READ if (file.device, file.inode) in space.code_files else prot


def take(space: AddressSpace, vma: Vma, page: int) -> None:
    """A page is to be used at this address in every way that it may: from now on it is not at others."""
    file = vma.file
    if file is None or (file.device, file.inode) not in space.code_files or vma.flags & MAP_TYPE != MAP_SHARED:
        return
    prot = engine_prot(vma.prot)
    taken = (WRITE if prot & EXEC else 0) | (EXEC if prot & WRITE else 0)
    at = vma.file_offset + page - vma.start
    for other in _views(space, vma):
        where = other.start + at - other.file_offset
        prot = engine_prot(other.prot)
        if other is not vma and other.start <= where < other.end and prot & taken:
            space.machine.protect(where, PAGE, other.offset + where - other.start, prot & ~taken)


def _views(space: AddressSpace, vma: Vma) -> list[Vma]:
    """The areas that show the same file."""
    file = vma.file
    assert file is not None
    key = file.device, file.inode
    return [
        other
        for other in space.vmas
        if other.file is not None
        and other.offset >= 0
        and other.flags & MAP_TYPE == MAP_SHARED
        and (other.file.device, other.file.inode) == key
    ]
