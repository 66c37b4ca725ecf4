"""Calls that are answered inside the guest, where an exit costs much more: about words of memory (futexes), and copies.

Two kinds of call mostly change nothing: to wake whoever waits for a word when nobody does, and to wait for a word that
has another value already. Code in the trap page answers both in user mode. It looks at a table in the mail page, in
which the kernel keeps a byte for each address modulo 256: whether somebody may wait there. And where several vCPUs run
it watches the word of a wait for some microseconds, less than an exit costs: often it changes.

A third kind is to copy an entry of a table, or to set one to what it is already but for a word that means nothing
(rt_sigaction(2), which posix_spawn(3) calls for all signals in a row: what do they do, and back to the default). The
table is in the mail page as well, and is used while the kernel says so.

What it is not sure of leaves the guest as any other call. So does a call that is interrupted, or whose word cannot be
read: it is as if it had just been made. So the code must not change anything before it knows its answer, and has only
rax to work with, whose value at the call it knows, and in the third kind rsi or rdx, which was 0. Flags it restores
from r11.
"""

from __future__ import annotations

import struct
from typing import Final

from noah.vm.api import CopyCalls, Inside, Registers, WordCalls
from noah.vm.arch.x86_64 import RAX, RDX, RIP, RSI
from noah.vm.arch.x86_code import JAE, JE, JNE, Code
from noah.vm.arch.x86_system import FMASK, MAIL, MAIL_ADDRESS, PORT, TRAP, TRAP_ADDRESS
from noah.vm.arena import Arena

_AT: Final = 0x200  # in the trap page
ADDRESS: Final = TRAP_ADDRESS + _AT
_TABLE: Final = 0x400  # in the mail page
_TABLE_SIZE: Final = 256
_ENTRIES: Final = 0x500
_ENTRY_SIZE: Final = 32
_ENTRIES_SIZE: Final = 8 + 64 * _ENTRY_SIZE
_TURNS: Final = 0x3F8
_WATCH_TURNS: Final = 400  # some 20 us
_USER_BITS: Final = 47


class Words:
    """The code for some calls."""

    __slots__ = ("_body", "_code", "_copies", "_copying", "_out", "_second", "_set", "_setting", "done", "number")

    def __init__(self, calls: WordCalls, copies: CopyCalls) -> None:
        assert 8 + copies.last * _ENTRY_SIZE <= _ENTRIES_SIZE
        code = Code(ADDRESS)
        code.put("3d", calls.number)  # cmp $number,%eax
        code.jump(JNE, "second")
        code.mark("body")
        code.put("41 f7 c3", FMASK)  # test $flags,%r11d: a call with one of them needs the long way
        code.jump(JNE, "leave")
        code.put("40 f6 c7 03")  # test $3,%dil
        code.jump(JNE, "leave")
        code.put(f"48 89 f8 48 c1 e8 {_USER_BITS:02x}")  # mov %rdi,%rax; shr $47,%rax
        code.jump(JNE, "leave")
        for operations, target in (((calls.wake,), "wake"), (calls.waits, "wait"), (calls.waits_for_bits, "bits")):
            for operation in operations:
                code.put("81 fe", operation)  # cmp $operation,%esi
                code.jump(JE, target)
        code.put("31 c0")  # xor %eax,%eax
        code.jump(JE, "leave")
        code.mark("bits")
        code.put("45 85 c9")  # test %r9d,%r9d
        code.jump(JE, "leave")
        code.mark("wait")
        code.put("4d 85 d2")  # test %r10,%r10: a time limit
        code.jump(JNE, "leave")
        code.put("39 17")  # cmp %edx,(%rdi)
        code.jump(JNE, "changed")
        code.reach("8b 05", MAIL_ADDRESS + _TURNS)  # mov turns,%eax
        code.put("85 c0")  # test %eax,%eax
        code.jump(JE, "leave")
        code.mark("watch")
        code.put("f3 90 39 17")  # pause; cmp %edx,(%rdi)
        code.jump(JNE, "woken")
        code.put("ff c8")  # dec %eax
        code.jump(JNE, "watch")
        code.mark("leave")
        code.put("b8", calls.number)  # mov $number,%eax
        code.mark("out")
        code.put(f"e6 {PORT:02x}")  # out %al,$port
        code.mark("done")
        code.put("0f 0b")  # no other way leads here: who stands at `done` has left by the `out`
        code.mark("wake")
        code.put("0f ae f0")  # mfence: the caller has stored before it looks
        code.put("48 b8" + struct.pack("<Q", MAIL_ADDRESS + _TABLE).hex())  # movabs $table,%rax
        code.put("40 88 f8 80 38 00")  # mov %dil,%al; cmpb $0,(%rax)
        code.jump(JNE, "leave")
        code.mark("woken")
        _answer(code, 0)
        code.mark("changed")
        _answer(code, -calls.changed)
        code.mark("second")
        _copy(code, copies)
        _set(code, copies)
        self._code = code.finish()
        self.number = calls.number
        self._copies = copies.number
        self._body, self._out = code.at("body"), code.at("out")
        self._second, self._copying = code.at("second"), code.at("copying")
        self._set, self._setting = code.at("set"), code.at("setting")
        self.done = ADDRESS + code.at("done")
        """Where a vCPU stands after a call that left the guest."""

    def install(self, arena: Arena, *, watch: bool) -> None:
        """Put the code into a trap page. watch: there are several vCPUs."""
        start = TRAP + _AT
        arena.view[start : start + len(self._code)] = self._code
        struct.pack_into("<I", arena.view, MAIL + _TURNS, _WATCH_TURNS if watch else 0)

    def holds(self, rip: int) -> bool:
        """Whether a vCPU that stands there is in a call without an answer."""
        return ADDRESS <= rip < ADDRESS + len(self._code)

    def unwind(self, regs: Registers) -> None:
        """The code has ended or was interrupted: put back what rax was at the call."""
        at = regs[RIP] - ADDRESS
        if at >= self._second:
            if at >= self._setting:
                regs[RAX], regs[RDX] = self._copies, 0
            elif self._copying <= at < self._set:
                regs[RAX], regs[RSI] = self._copies, 0
        elif self._body <= at < self._out or at > self.done - ADDRESS:
            regs[RAX] = self.number


def _copy(code: Code, calls: CopyCalls) -> None:
    """CopyCalls, and calls that are none of all these."""
    code.put("3d", calls.number)  # cmp $number,%eax
    code.jump(JNE, "out")
    code.put("41 f7 c3", FMASK)  # test $flags,%r11d
    code.jump(JNE, "out")
    code.put("49 81 fa", calls.how)  # cmp $how,%r10
    code.jump(JNE, "out")
    code.reach("81 3d", MAIL_ADDRESS + _ENTRIES, 0)  # cmpl $0,entries: whether they may be used
    code.jump(JE, "out")
    code.put("48 85 f6")  # test %rsi,%rsi
    code.jump(JNE, "set")
    code.put("48 85 d2")  # test %rdx,%rdx
    code.jump(JE, "out")
    code.mark("copying")
    code.put(f"48 89 d6 48 c1 ee {_USER_BITS:02x}")  # mov %rdx,%rsi; shr $47,%rsi
    code.jump(JNE, "back")
    code.put("8d 77 ff 81 fe", calls.last)  # lea -1(%rdi),%esi; cmp $last,%esi
    code.jump(JAE, "back")
    code.put("c1 e6 05")  # shl $5,%esi
    code.put("48 b8" + struct.pack("<Q", MAIL_ADDRESS + _ENTRIES + 8).hex())  # movabs $first,%rax
    code.put("48 01 c6")  # add %rax,%rsi
    for at in range(0, _ENTRY_SIZE, 8):
        code.put(f"48 8b 46 {at:02x} 48 89 42 {at:02x}")  # mov at(%rsi),%rax; mov %rax,at(%rdx)
    code.put("31 f6")  # xor %esi,%esi
    _answer(code, 0)
    code.mark("back")
    code.put("31 f6")  # xor %esi,%esi
    code.jump(JE, "out")


def _set(code: Code, calls: CopyCalls) -> None:
    """An entry that is next to plain becomes plain."""
    first, second, _, fourth = calls.plain
    code.mark("set")
    code.put("48 85 d2")  # test %rdx,%rdx
    code.jump(JNE, "out")
    code.mark("setting")
    code.put(f"48 89 f0 48 c1 e8 {_USER_BITS:02x}")  # mov %rsi,%rax; shr $47,%rax
    code.jump(JNE, "stop")
    code.put("8d 47 ff 3d", calls.last)  # lea -1(%rdi),%eax; cmp $last,%eax
    code.jump(JAE, "stop")
    code.put("48 ba" + struct.pack("<Q", calls.settable).hex())  # movabs $settable,%rdx
    code.put("48 0f a3 c2")  # bt %rax,%rdx
    code.jump(JAE, "stop")  # it is not set
    code.put("c1 e0 05")  # shl $5,%eax
    code.put("48 ba" + struct.pack("<Q", MAIL_ADDRESS + _ENTRIES + 8).hex())  # movabs $first,%rdx
    code.put("48 01 c2")  # add %rax,%rdx
    code.put("48 83 3a 00")  # cmpq $0,(%rdx)
    code.jump(JNE, "stop")
    for at, word in ((0, first), (8, second), (24, fourth)):
        code.put(f"48 81 7e {at:02x}", word)  # cmpq $word,at(%rsi)
        code.jump(JNE, "stop")
    code.put("48 8b 46 10 48 89 42 10")  # mov 16(%rsi),%rax; mov %rax,16(%rdx)
    for at, word in ((8, second), (24, fourth)):
        code.put(f"48 c7 42 {at:02x}", word)  # movq $word,at(%rdx)
    code.put("31 d2")  # xor %edx,%edx
    _answer(code, 0)
    code.mark("stop")
    code.put("31 d2 b8", calls.number)  # xor %edx,%edx; mov $number,%eax
    code.jump(JE, "out")


def _answer(code: Code, result: int) -> None:
    """Go back to the caller with its flags and a result."""
    code.put("44 89 d8")  # mov %r11d,%eax
    code.put("c1 e0 08")  # shl $8,%eax: the low flags to ah
    code.put("0f ba e0 13")  # bt $19,%eax: the overflow flag
    code.put("18 c0 04 80")  # sbb %al,%al; add $0x80,%al: overflows if it was set
    code.put("9e")  # sahf
    code.put("48 c7 c0", result)  # mov $result,%rax
    code.put("ff e1")  # jmp *%rcx


def jump_from(offset: int) -> bytes:
    """A jump to the code, for this place in the arena."""
    return b"\xe9" + struct.pack("<i", TRAP + _AT - offset - 5)


def tables(arena: Arena) -> Inside:
    """What the kernel keeps for the code."""
    view = arena.view[MAIL:]
    return Inside(view[_TABLE : _TABLE + _TABLE_SIZE], view[_ENTRIES : _ENTRIES + _ENTRIES_SIZE])
