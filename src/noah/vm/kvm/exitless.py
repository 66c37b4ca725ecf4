"""System calls without an exit, for a KVM on which an exit costs more than an answer.

A software KVM needs some 30 us for an exit and 3 us for a SYSCALL that stays inside. There the trap page leads to a
stub in user mode, which writes the call into a page of memory (the mailbox) and watches it; a second host thread of the
process, the server, watches it as well and answers. If nobody answers within some microseconds the stub exits as usual.

Watching costs a processor. So a session begins only after a number of calls in quick succession, and ends with the
first thing that is not an answer: a call that only the vCPU's own thread may answer, any other exit, a pause in which
nobody calls. Sessions that answered little are followed by longer and longer times without one.

Which of the two threads is in the kernel is decided by a lock: the server answers while it holds it, and the vCPU's
thread holds it whenever it is not in KVM_RUN. So it needs no lock of its own what handlers do. Guest code can write to
the mailbox, too: what it can bring about by that are calls that it could make anyhow.

The server stays off the processor on which the vCPU's thread ran when it was woken: where another process keeps the
second one busy, the host's scheduler else often puts both on one, and no call is answered in time.

There is one mailbox, so a process with a second vCPU goes without.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from _thread import allocate_lock, get_native_id, start_new_thread
from collections.abc import Sequence
from fcntl import ioctl
from time import perf_counter_ns
from typing import Final, Protocol

from noah.vm.api import Answer, Registers
from noah.vm.arch.x86_64 import RAX, RCX, RIP
from noah.vm.arch.x86_system import MAIL, MAIL_ADDRESS, PORT, TRAP, TRAP_ADDRESS
from noah.vm.arena import PAGE, Arena
from noah.vm.kvm import words as inner
from noah.vm.kvm.words import Words

# The mailbox. Words of 4 bytes:
OPEN: Final = 0  # a server watches
POSTED: Final = 4  # there is a call without an answer
TAKEN: Final = 8  # the server has begun to answer it
LEAVE: Final = 12  # what the stub shall do with the answer: see below
PATIENCE: Final = 96  # how long the stub watches
# Words of 8 bytes:
_RIP: Final = 16
_RESULT: Final = 24
_NUMBER: Final = 32
_ARGS: Final = 40
_FLAGS: Final = 88

STAY: Final = 0  # go on in user mode
ANSWERED: Final = 1  # exit all the same
DECLINED: Final = 2  # exit with the call

_PATIENCE: Final = 800  # turns of the stub's loop (some 50 ns each) until the server takes the call
_FIRST_PATIENCE: Final = 2000  # if it has just been woken
_MORE_PATIENCE: Final = 4000  # and until it has answered
_NOT_KEPT: Final = 0x47500  # flags that SYSCALL clears (MSR_FMASK): a call with one of them needs the long way

_STUB: Final = 0x20  # in the trap page, behind its other code
STUB_ADDRESS: Final = TRAP_ADDRESS + _STUB
_EXIT: Final = bytes((0xE6, PORT))  # out %al,$port
_ENTRY: Final = bytes((0xEB, _STUB - 2))  # jmp stub

_JUMP_SIZE: Final = 5
_NONE: Final = -1 << 31  # no call has this number

# When a session begins and ends.
CHUNK: Final = 16  # runs
_DENSE_NS: Final = CHUNK * 150_000  # this many in this time are worth it
_FIRST: Final = 2  # dense chunks before the first session
_WORTH: Final = 16  # answers that make a stretch between two exits a good one
_POOR: Final = 4  # stretches in a row that are not good and end the session
_MOST_PAUSE: Final = 4096  # chunks
_IDLE: Final = 120  # looks of the server at an empty mailbox, some 0.4 us each
_GET_API_VERSION: Final = 0xAE00  # <linux/kvm.h>
_SWITCH_INTERVAL: Final = 20e-6  # how long the vCPU's thread waits for the interpreter while the server watches


_getcpu: Final = ctypes.CDLL(None).sched_getcpu  # not in Python; of glibc and musl


def processors() -> set[int]:
    """Those on which the calling thread may run."""
    if sys.platform == "linux":
        return os.sched_getaffinity(0)
    return set()


def _avoid(thread: int, cpus: set[int], cpu: int) -> None:
    """Let a thread run on all of `cpus` but one, if the host allows it."""
    if sys.platform == "linux":
        try:
            os.sched_setaffinity(thread, cpus - {cpu})
        except OSError:
            pass  # it has ended, or its processors are not what they were


class Device(Protocol):
    """/dev/kvm."""

    fd: int


class OneOrMore(Protocol):
    """A machine that may get more vCPUs."""

    arena: Arena
    words: Words | None

    @property
    def device(self) -> Device: ...

    @property
    def vcpus(self) -> Sequence[object]: ...


class _Code:
    """Machine code that reaches the mailbox by its distance (SDM vol. 2)."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._marks: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []

    def mark(self, name: str) -> None:
        self._marks[name] = len(self.data)

    def at(self, name: str) -> int:
        return self._marks[name]

    def mail(self, opcode: bytes, field: int, immediate: bytes = b"") -> None:
        """An instruction whose operand is a field of the mailbox."""
        end = STUB_ADDRESS + len(self.data) + len(opcode) + 4 + len(immediate)
        self.data += opcode + struct.pack("<i", MAIL_ADDRESS + field - end) + immediate

    def jump(self, opcode: int, target: str) -> None:
        """A jump over less than 128 bytes: 0xEB jmp, 0xE3 jrcxz."""
        self._jumps.append((len(self.data) + 1, target))
        self.data += bytes((opcode, 0))

    def finish(self) -> bytes:
        for at, target in self._jumps:
            struct.pack_into("<b", self.data, at, self._marks[target] - at - 1)
        return bytes(self.data)


def _assemble() -> _Code:
    """The stub. It changes no flags, and of the registers only those that SYSCALL leaves to it: rax, rcx."""
    code = _Code()
    code.mail(b"\x48\x89\x0d", _RIP)  # mov %rcx,rip
    code.mail(b"\x8b\x0d", OPEN)  # mov open,%ecx
    code.jump(0xE3, "closed")
    code.jump(0xEB, "open")
    code.mark("closed")
    code.mail(b"\x48\x8b\x0d", _RIP)  # mov rip,%rcx
    code.mark("exit")
    code.data += _EXIT.ljust(_JUMP_SIZE, b"\x90")  # or a jump to the code of noah.vm.kvm.words
    code.mark("open")
    code.data += b"\x8d\x88"  # lea -number(%rax),%ecx: of the calls that this code is for
    code.mark("number")
    code.data += struct.pack("<i", _NONE)
    code.jump(0xE3, "closed")
    code.mail(b"\x48\x89\x05", _NUMBER)  # mov %rax,number
    for index, opcode in enumerate((b"\x48\x89\x3d", b"\x48\x89\x35", b"\x48\x89\x15", b"\x4c\x89\x15")):
        code.mail(opcode, _ARGS + 8 * index)  # %rdi, %rsi, %rdx, %r10
    code.mail(b"\x4c\x89\x05", _ARGS + 32)  # %r8
    code.mail(b"\x4c\x89\x0d", _ARGS + 40)  # %r9
    code.mail(b"\x4c\x89\x1d", _FLAGS)  # %r11
    code.mail(b"\x8b\x05", PATIENCE)  # mov patience,%eax
    code.mark("post")
    code.mail(b"\xc7\x05", POSTED, b"\x01\0\0\0")  # movl $1,posted
    code.mark("watch")
    code.mail(b"\x8b\x0d", POSTED)
    code.jump(0xE3, "answered")
    code.data += b"\xf3\x90\x8d\x40\xff\x89\xc1"  # pause; lea -1(%rax),%eax; mov %eax,%ecx
    code.jump(0xE3, "late")
    code.jump(0xEB, "watch")
    code.mark("late")
    code.mail(b"\x8b\x0d", TAKEN)
    code.jump(0xE3, "leave")
    code.mail(b"\xc7\x05", TAKEN, b"\0\0\0\0")
    code.data += b"\xb8" + struct.pack("<I", _MORE_PATIENCE)
    code.jump(0xEB, "watch")
    code.mark("answered")
    code.mail(b"\x8b\x0d", LEAVE)
    code.jump(0xE3, "home")
    code.mark("leave")
    code.mail(b"\x48\x8b\x05", _NUMBER)
    code.mail(b"\x48\x8b\x0d", _RIP)
    code.data += _EXIT
    code.mark("home")
    code.mail(b"\x48\x8b\x05", _RESULT)
    code.mail(b"\x48\x8b\x0d", _RIP)
    code.data += b"\xff\xe1"  # jmp *%rcx
    return code


_CODE: Final = _assemble()
STUB: Final = _CODE.finish()
STUB_END: Final = STUB_ADDRESS + len(STUB)
_POST: Final = _CODE.at("post")
_WATCH: Final = _CODE.at("watch")


def is_call(rip: int) -> bool:
    """Whether a vCPU that stands there is in a SYSCALL that has not been answered by an exit."""
    return STUB_ADDRESS <= rip < STUB_END or rip == TRAP_ADDRESS


def unwind(regs: Registers, arena: Arena) -> bool:
    """The stub has ended or was interrupted: put back what rax and rcx were at the SYSCALL. Whether it posted its call.

    The same for the trap page's first instruction, which changes neither.
    """
    at = regs[RIP] - STUB_ADDRESS
    words = arena.words
    if at > 0:
        regs[RCX] = words[MAIL + _RIP >> 3]
    if at < _POST:
        return False
    regs[RAX] = words[MAIL + _NUMBER >> 3]
    return at >= _WATCH


def install(arena: Arena, words: Words | None, *, opened: bool) -> None:
    """Let SYSCALL lead to the stub, or to an exit; on both ways through the code of noah.vm.kvm.words, if there is any.

    While no vCPU runs.
    """
    at = TRAP + _STUB
    arena.view[at : at + len(STUB)] = STUB
    if words is not None:
        struct.pack_into("<i", arena.view, at + _CODE.at("number"), -words.number)
        start = at + _CODE.at("exit")
        arena.view[start : start + _JUMP_SIZE] = inner.jump_from(start)
    entry = _ENTRY if opened else inner.jump_from(TRAP) if words is not None else _EXIT
    arena.view[TRAP : TRAP + len(entry)] = entry


class Exitless:
    """The sessions of one vCPU. All methods are for its thread, which is in the kernel."""

    __slots__ = (
        "_answer",
        "_answered",
        "_apart",
        "_arena",
        "_chunks",
        "_closing",
        "_cpus",
        "_inside",
        "_last",
        "_lock",
        "_machine",
        "_mail",
        "_parked",
        "_pause",
        "_poor",
        "_server",
        "_started",
        "_wake",
        "_words",
        "goes_on",
    )

    def __init__(self, machine: OneOrMore, answer: Answer) -> None:
        arena = self._arena = machine.arena
        self._machine = machine
        self._answer = answer
        self._mail = arena.view[MAIL : MAIL + PAGE].cast("I")
        self._words = arena.view[MAIL : MAIL + PAGE].cast("Q")
        self._lock = allocate_lock()  # held by who is in the kernel
        self._lock.acquire()
        self._wake = allocate_lock()
        self._wake.acquire()
        self._parked = self._inside = False
        self._started = self._closing = False
        self._answered = 0
        self._server = 0  # the host's id of its thread
        self._cpus = processors()
        self._apart = -1  # the one that the server avoids
        self._poor = self._pause = 0
        self._chunks = -_FIRST
        self.goes_on = False
        """The next run belongs to a session that has begun."""
        self._last = 0

    def consider(self) -> bool:
        """CHUNK runs have passed: shall a session begin?"""
        now = perf_counter_ns()
        dense = now - self._last < _DENSE_NS
        self._last = now
        if not dense or len(self._machine.vcpus) > 1:
            return False
        self._chunks += 1
        # The server is made a chunk before it is needed: it takes a while to come up.
        return self._start() and self._chunks >= self._pause

    def _start(self) -> bool:
        """Make the server, once in a process. False: the host has no room for it."""
        if not self._started:
            try:
                start_new_thread(self._serve, ())
            except RuntimeError:
                self._pause = 1 << 62
                return False
            self._started = True
            sys.setswitchinterval(_SWITCH_INTERVAL)
        return True

    def begin(self) -> None:
        """The vCPU goes to guest code; calls may be answered beside."""
        self._answered = 0
        if self._arena.view[TRAP] != _ENTRY[0]:
            install(self._arena, self._machine.words, opened=True)
        mail = self._mail
        mail[POSTED >> 2] = mail[TAKEN >> 2] = 0
        mail[PATIENCE >> 2] = _FIRST_PATIENCE
        mail[OPEN >> 2] = 1
        self._inside = True
        self._lock.release()
        self._wake_server()

    def end(self) -> None:
        """The vCPU is back."""
        self._inside = False
        self._lock.acquire()
        self._mail[OPEN >> 2] = 0
        if self._answered >= _WORTH:
            self._poor = self._pause = 0
        else:
            self._poor += 1
        self.goes_on = self._poor < _POOR
        if not self.goes_on:
            self._poor = self._chunks = 0
            self._pause = min(2 * self._pause + 1, _MOST_PAUSE)

    def is_answered(self) -> bool:
        """Whether the call that was posted last has a result. One without an answer is withdrawn."""
        mail = self._mail
        if mail[POSTED >> 2]:
            mail[POSTED >> 2] = 0
            return False
        return mail[LEAVE >> 2] != DECLINED

    @property
    def result(self) -> int:
        return self._words[_RESULT >> 3]

    def close(self) -> None:
        """No more sessions; the server ends."""
        self._closing = True
        if self._started:
            self._wake_server()

    def _wake_server(self) -> None:
        if self._parked:
            self._parked = False
            cpu = _getcpu()
            if cpu != self._apart:
                self._apart = cpu
                _avoid(self._server, self._cpus, cpu)
            self._wake.release()

    # -- the server

    def _serve(self) -> None:
        self._server = get_native_id()
        while not self._closing:
            self._parked = True
            self._wake.acquire()
            self._session()

    def _session(self) -> None:
        mail, lock, device = self._mail, self._lock, self._machine.device.fd
        idle = 0
        while self._inside and lock.acquire(False):
            # Without the lock the page may not even be there: execve(2) gives the guest new memory.
            stays = True
            if mail[POSTED >> 2]:
                stays = self._take()
                idle = 0
            else:
                idle += 1
                if idle > _IDLE:
                    stays = False
                    mail[OPEN >> 2] = 0
            lock.release()
            if not stays:
                return
            if idle:
                ioctl(device, _GET_API_VERSION, 0)  # lets the interpreter go for a moment

    def _take(self) -> bool:
        """Answer the call in the mailbox. Whether the vCPU stays in the guest."""
        mail, words = self._mail, self._words
        mail[TAKEN >> 2] = 1
        answer = None
        if not words[_FLAGS >> 3] & _NOT_KEPT:
            answer = self._answer(words[_NUMBER >> 3], *words[_ARGS >> 3 : (_ARGS >> 3) + 6])
        if answer is None:
            leave = DECLINED
        else:
            words[_RESULT >> 3], must_look = answer
            leave = ANSWERED if must_look else STAY
            self._answered += 1
        mail[LEAVE >> 2] = leave
        mail[PATIENCE >> 2] = _PATIENCE
        mail[TAKEN >> 2] = 0
        mail[POSTED >> 2] = 0
        return leave == STAY
