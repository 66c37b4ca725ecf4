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

The first vCPUs of a machine have a stub and a mailbox each, and one of them at a time has a session: the others' calls
leave the guest. Where there are threads, the server answers only if no other thread is in the kernel just then.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import sys
from _thread import LockType, allocate_lock, get_native_id, start_new_thread
from collections.abc import Sequence
from fcntl import ioctl
from time import perf_counter_ns
from typing import Final, Protocol

from noah.vm.api import Answer, Registers
from noah.vm.arch.x86_64 import RAX, RCX, RIP
from noah.vm.arch.x86_code import JMP, JRCXZ, Code
from noah.vm.arch.x86_system import FMASK, MAIL, MAIL_ADDRESS, PORT, TRAP, TRAP_ADDRESS
from noah.vm.arena import Arena
from noah.vm.kvm import words as inner
from noah.vm.kvm.words import Words

COUNT: Final = 7
"""How many vCPUs have a stub and a mailbox."""
_MAILBOX: Final = 128  # bytes; in the mail page, from its beginning on

# A mailbox. Words of 4 bytes:
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
_MORE_PATIENCE: Final = 10_000  # if it has: some calls make a directory of a container first

_STUBS: Final = 0x800  # in the trap page, behind its other code
_STUB_SIZE: Final = 256
_STUBS_ADDRESS: Final = TRAP_ADDRESS + _STUBS
_STUBS_END: Final = _STUBS_ADDRESS + COUNT * _STUB_SIZE
_EXIT: Final = bytes((0xE6, PORT))  # out %al,$port

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
_KEEP: Final = 1.0  # seconds that the server's thread stays without a session
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
    def vcpus(self) -> Sequence[OneOfThem]: ...


class OneOfThem(Protocol):
    """A vCPU of such a machine."""

    @property
    def in_session(self) -> bool: ...


def stub_address(number: int) -> int:
    """Where the SYSCALLs of a vCPU go, when it is to have sessions."""
    return _STUBS_ADDRESS + number * _STUB_SIZE


def _assemble(number: int) -> Code:
    """A stub. It changes no flags, and of the registers only those that SYSCALL leaves to it: rax, rcx."""
    code = Code(stub_address(number))

    def mail(text: str, field: int, *immediates: int) -> None:
        code.reach(text, MAIL_ADDRESS + number * _MAILBOX + field, *immediates)

    mail("48 89 0d", _RIP)  # mov %rcx,rip
    mail("8b 0d", OPEN)  # mov open,%ecx
    code.jump(JRCXZ, "closed")
    code.jump(JMP, "open")
    code.mark("closed")
    mail("48 8b 0d", _RIP)  # mov rip,%rcx
    code.mark("exit")
    code.put(_EXIT.ljust(_JUMP_SIZE, b"\x90").hex())  # or a jump to the code of noah.vm.kvm.words
    code.mark("open")
    code.put("8d 88")  # lea -number(%rax),%ecx: of the calls that this code is for
    code.mark("number")
    code.put("", _NONE)
    code.jump(JRCXZ, "closed")
    mail("48 89 05", _NUMBER)  # mov %rax,number
    for index, text in enumerate(("48 89 3d", "48 89 35", "48 89 15", "4c 89 15")):
        mail(text, _ARGS + 8 * index)  # %rdi, %rsi, %rdx, %r10
    mail("4c 89 05", _ARGS + 32)  # %r8
    mail("4c 89 0d", _ARGS + 40)  # %r9
    mail("4c 89 1d", _FLAGS)  # %r11
    mail("8b 05", PATIENCE)  # mov patience,%eax
    code.mark("post")
    mail("c7 05", POSTED, 1)  # movl $1,posted
    code.mark("watch")
    mail("8b 0d", POSTED)
    code.jump(JRCXZ, "answered")
    code.put("f3 90 8d 40 ff 89 c1")  # pause; lea -1(%rax),%eax; mov %eax,%ecx
    code.jump(JRCXZ, "late")
    code.jump(JMP, "watch")
    code.mark("late")
    mail("8b 0d", TAKEN)
    code.jump(JRCXZ, "leave")
    mail("c7 05", TAKEN, 0)
    code.put("b8", _MORE_PATIENCE)
    code.jump(JMP, "watch")
    code.mark("answered")
    mail("8b 0d", LEAVE)
    code.jump(JRCXZ, "home")
    code.mark("leave")
    mail("48 8b 05", _NUMBER)
    mail("48 8b 0d", _RIP)
    code.put(_EXIT.hex())
    code.mark("home")
    mail("48 8b 05", _RESULT)
    mail("48 8b 0d", _RIP)
    code.put("ff e1")  # jmp *%rcx
    return code


_CODE: Final = _assemble(0)
_POST: Final = _CODE.at("post")
_WATCH: Final = _CODE.at("watch")


def is_call(rip: int) -> bool:
    """Whether a vCPU that stands there is in a SYSCALL that has not been answered by an exit."""
    return _STUBS_ADDRESS <= rip < _STUBS_END or rip == TRAP_ADDRESS


def unwind(regs: Registers, arena: Arena) -> bool:
    """The stub has ended or was interrupted: put back what rax and rcx were at the SYSCALL. Whether it posted its call.

    The same for the trap page's first instruction, which changes neither.
    """
    if regs[RIP] == TRAP_ADDRESS:
        return False
    number, at = divmod(regs[RIP] - _STUBS_ADDRESS, _STUB_SIZE)
    words, mail = arena.words, MAIL + number * _MAILBOX
    if at > 0:
        regs[RCX] = words[mail + _RIP >> 3]
    if at < _POST:
        return False
    regs[RAX] = words[mail + _NUMBER >> 3]
    return at >= _WATCH


@functools.cache
def _plain() -> bytes:
    """All stubs."""
    return b"".join(_assemble(index).finish().ljust(_STUB_SIZE, b"\0") for index in range(COUNT))


@functools.cache
def _stubs(number: int) -> bytes:
    """All stubs, such that they lead to the code of noah.vm.kvm.words. number: of the call which that is for."""
    stubs = bytearray(_plain())
    for at in range(0, len(stubs), _STUB_SIZE):
        struct.pack_into("<i", stubs, at + _CODE.at("number"), -number)
        start = at + _CODE.at("exit")
        stubs[start : start + _JUMP_SIZE] = inner.jump_from(TRAP + _STUBS + start)
    return bytes(stubs)


def install(arena: Arena, words: Words | None) -> None:
    """Let SYSCALL lead to an exit, through the code of noah.vm.kvm.words if there is any; and put the stubs there.

    While no vCPU runs, or with what is there already.
    """
    at = TRAP + _STUBS
    stubs = _stubs(words.number) if words is not None else _plain()
    arena.view[at : at + len(stubs)] = stubs
    entry = inner.jump_from(TRAP) if words is not None else _EXIT
    arena.view[TRAP : TRAP + len(entry)] = entry


class Exitless:
    """The sessions of one vCPU. All methods are for its thread, which is in the kernel."""

    __slots__ = (
        "_answer",
        "_answered",
        "_apart",
        "_chunks",
        "_closing",
        "_cpus",
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
        "inside",
    )

    def __init__(self, machine: OneOrMore, number: int, answer: Answer) -> None:
        """number: the vCPU's, below COUNT."""
        mailbox = MAIL + number * _MAILBOX
        self._machine = machine
        self._answer = answer
        self._mail = machine.arena.view[mailbox : mailbox + _MAILBOX].cast("I")
        self._words = machine.arena.view[mailbox : mailbox + _MAILBOX].cast("Q")
        self._lock = allocate_lock()  # held by who is in the kernel
        self._lock.acquire()
        self._wake = allocate_lock()  # of the server that there is
        self._parked = False
        self.inside = False
        """A session is under way."""
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
        if not dense or any(vcpu.in_session for vcpu in self._machine.vcpus):
            return False
        self._chunks += 1
        # The server is made a chunk before it is needed: it takes a while to come up.
        return self._start() and self._chunks >= self._pause

    def _start(self) -> bool:
        """Make the server, if there is none. False: the host has no room for it."""
        if not self._started:
            self._wake = allocate_lock()
            self._wake.acquire()
            try:
                start_new_thread(self._serve, (self._wake,))
            except RuntimeError:
                self._pause = 1 << 62
                return False
            self._started = True
            sys.setswitchinterval(_SWITCH_INTERVAL)
        return True

    def begin(self) -> None:
        """The vCPU goes to guest code; calls may be answered beside."""
        self._answered = 0
        mail = self._mail
        mail[POSTED >> 2] = mail[TAKEN >> 2] = 0
        mail[PATIENCE >> 2] = _FIRST_PATIENCE
        mail[OPEN >> 2] = 1
        self.inside = True
        self._lock.release()
        if self._start():
            self._wake_server()

    def end(self) -> None:
        """The vCPU is back."""
        self.inside = False
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

    def _serve(self, wake: LockType) -> None:
        self._server = get_native_id()
        self._apart = -1
        while not self._closing:
            self._parked = True
            if not wake.acquire(timeout=_KEEP):
                self._parked = False
                self._started = False  # from now on, another one may be made
                return
            self._session()

    def _session(self) -> None:
        mail, lock, device = self._mail, self._lock, self._machine.device.fd
        idle = 0
        while self.inside and lock.acquire(False):
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
        if not words[_FLAGS >> 3] & FMASK:  # what the stub does not keep
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
