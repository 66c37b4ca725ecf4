"""clone(2) with what Python does around a fork, in one step of machine code.

While bytecode runs in a child, before the interpreter has been told that it is alone, it may find that a thread of the
parent has asked for the interpreter's lock: it then lets go of it, and waits for that thread to take it, for ever.
os.fork() has no bytecode in between, but can only make children that end with SIGCHLD and are the caller's own.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

assert not TYPE_CHECKING or sys.platform == "linux"

from noah.abi import numbers
from noah.abi.errno import EPERM, LinuxError
from noah.host.errnos import TO_LINUX, from_host
from noah.host.linux.kernel import NUMBERS

# Both take the address of a table of words: PyOS_BeforeFork, number and five arguments of the call,
# PyOS_AfterFork_Child, PyOS_AfterFork_Parent, and room for the result.
_X86_64: Final = bytes.fromhex(
    "53 48 89 fb"  # push %rbx; mov %rdi,%rbx
    "ff 13"  # call *(%rbx)
    "48 8b 43 08 48 8b 7b 10 48 8b 73 18"  # mov 8(%rbx),%rax; mov 16(%rbx),%rdi; mov 24(%rbx),%rsi
    "48 8b 53 20 4c 8b 53 28 4c 8b 43 30"  # mov 32(%rbx),%rdx; mov 40(%rbx),%r10; mov 48(%rbx),%r8
    "0f 05 48 89 43 48"  # syscall; mov %rax,72(%rbx)
    "48 85 c0 74 05"  # test %rax,%rax; je child
    "ff 53 40 eb 03"  # call *64(%rbx); jmp out
    "ff 53 38"  # child: call *56(%rbx)
    "48 8b 43 48 5b c3"  # out: mov 72(%rbx),%rax; pop %rbx; ret
)
_AARCH64: Final = b"".join(
    word.to_bytes(4, "little")
    for word in (
        0xA9BE7BFD,  # stp x29,x30,[sp,#-32]!
        0xF9000BF3,  # str x19,[sp,#16]
        0xAA0003F3,  # mov x19,x0
        0xF9400261,  # ldr x1,[x19]
        0xD63F0020,  # blr x1
        0xF9400668,  # ldr x8,[x19,#8]
        0xF9400A60,  # ldr x0,[x19,#16]
        0xF9400E61,  # ldr x1,[x19,#24]
        0xF9401262,  # ldr x2,[x19,#32]
        0xF9401663,  # ldr x3,[x19,#40]
        0xF9401A64,  # ldr x4,[x19,#48]
        0xD4000001,  # svc #0
        0xF9002660,  # str x0,[x19,#72]
        0xF9402261,  # ldr x1,[x19,#64]
        0xB5000040,  # cbnz x0,call
        0xF9401E61,  # ldr x1,[x19,#56]
        0xD63F0020,  # call: blr x1
        0xF9402660,  # ldr x0,[x19,#72]
        0xF9400BF3,  # ldr x19,[sp,#16]
        0xA8C27BFD,  # ldp x29,x30,[sp],#32
        0xD65F03C0,  # ret
    )
)
_WORDS: Final = 10


@functools.cache
def _code() -> Callable[[object], int]:
    """The function; it keeps the interpreter's lock. LinuxError where memory cannot be made executable."""
    is_arm = NUMBERS is numbers.AARCH64
    code = _AARCH64 if is_arm else _X86_64
    try:
        memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError as error:
        if error.errno == EPERM:
            raise LinuxError(EPERM, "this host lets no program make code, which such a clone(2) needs") from None
        raise from_host(error) from None
    memory[: len(code)] = code
    kept = ctypes.c_char.from_buffer(memory)  # keeps it mapped as well
    function = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(ctypes.addressof(kept))
    return lambda table, kept=kept: function(table)  # type: ignore[misc]


def clone(flags: int, child_tid: int) -> int:
    """In the parent the child's process id, in the child 0. child_tid: an address. LinuxError."""
    api = ctypes.pythonapi
    before, child, parent = (
        ctypes.cast(function, ctypes.c_void_p).value or 0
        for function in (api.PyOS_BeforeFork, api.PyOS_AfterFork_Child, api.PyOS_AfterFork_Parent)
    )
    tail = (0, child_tid) if NUMBERS is numbers.AARCH64 else (child_tid, 0)
    table = (ctypes.c_long * _WORDS)(before, NUMBERS["clone"], flags, 0, 0, *tail, child, parent)
    result = _code()(table)
    if result < 0:
        raise LinuxError(TO_LINUX.get(-result, -result))
    return result
