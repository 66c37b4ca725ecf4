"""The x86-64 signal frame against the one that the native kernel builds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from noah.abi import x86_64
from noah.abi.siginfo import SiginfoRt
from noah.abi.signal import SI_QUEUE, SIGUSR1

if TYPE_CHECKING:
    from pathlib import Path

# Queues itself a signal with known callee-saved registers; the handler writes its frame, from the stack pointer that it
# started with to behind the floating-point state, and the addresses that it was told.
PROGRAM = r"""
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>

static void handler(int signal, siginfo_t *info, void *context) {
    char *frame = (char *)__builtin_dwarf_cfa() - 8;
    struct sigcontext *registers = (void *)(frame + 8 + 40);
    unsigned long head[] = {(unsigned long)frame, (unsigned long)info, (unsigned long)context,
                            (unsigned long)registers->fpstate - (unsigned long)frame + 8192};
    write(1, head, sizeof head);
    write(1, frame, head[3]);
    _exit(0);
}

int main(void) {
    volatile char room[32768];  /* so that the handler can write out more than its frame */
    room[32767] = 0;
    long pid = getpid();
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, 0);
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = SIGUSR1;
    info.si_code = SI_QUEUE;
    info.si_pid = 1234;
    info.si_uid = 5678;
    info.si_value.sival_ptr = (void *)0x1122334455667788;
    register long r10 __asm__("r10") = (long)&info;
    register long r12 __asm__("r12") = 0x1212121212121212;
    register long r15 __asm__("r15") = 0x1515151515151515;
    __asm__ volatile("syscall" : : "a"(SYS_rt_tgsigqueueinfo), "D"(pid), "S"(pid),
                     "d"((long)SIGUSR1), "r"(r10), "r"(r12), "r"(r15) : "rcx", "r11", "memory");
    return 1;
}
"""


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("asks a native x86-64 Linux kernel")
    cc = shutil.which("cc") or shutil.which("gcc")
    if cc is None:
        pytest.skip("no C compiler on this machine")
    path: Path = tmp_path_factory.mktemp("frame")
    (path / "frame.c").write_text("#define _GNU_SOURCE\n" + PROGRAM)
    subprocess.run([cc, "-O1", "-w", "-o", path / "frame", path / "frame.c"], check=True)
    return subprocess.run([path / "frame"], capture_output=True, check=True, timeout=30).stdout


def test_frame_is_where_the_kernel_puts_it(dump: bytes) -> None:
    frame, info, context = (int.from_bytes(dump[n : n + 8], "little") for n in (0, 8, 16))
    assert info - frame == x86_64.SIGINFO_OFFSET
    assert context - frame == x86_64.UCONTEXT_OFFSET
    assert frame % 16 == 8


def test_frame_holds_registers_and_siginfo(dump: bytes) -> None:
    frame = dump[32:]
    flags, link, _, _, _ = x86_64.UCONTEXT.unpack_from(frame, x86_64.UCONTEXT_OFFSET)
    assert flags & ~x86_64.UC_FP_XSTATE == x86_64.UC_SIGCONTEXT_SS | x86_64.UC_STRICT_RESTORE_SS
    assert link == 0
    values = x86_64.SIGCONTEXT.unpack_from(frame, x86_64.UCONTEXT_OFFSET + x86_64.UC_MCONTEXT)
    registers = dict(zip(x86_64.SIGCONTEXT_REGISTERS, values, strict=False))
    assert (registers["r12"], registers["r15"]) == (0x1212121212121212, 0x1515151515151515)
    assert (registers["rax"], registers["rdx"]) == (0, SIGUSR1)
    assert registers["rsp"] - int.from_bytes(dump[:8], "little") >= x86_64.RED_ZONE + x86_64.SIGFRAME_SIZE
    cs, gs, fs, ss, _, _, oldmask, cr2, _ = values[18:]
    assert (cs, gs, fs, ss, oldmask, cr2) == (x86_64.USER_CS, 0, 0, x86_64.USER_DS, 0, 0)
    assert frame[x86_64.UCONTEXT_OFFSET + x86_64.UC_SIGMASK :][:8] == bytes(8)
    siginfo = SiginfoRt.unpack_from(frame, x86_64.SIGINFO_OFFSET)
    assert siginfo == SiginfoRt(SIGUSR1, 0, SI_QUEUE, 1234, 5678, 0x1122334455667788)


def test_frame_has_floating_point_state_behind_it(dump: bytes) -> None:
    start = int.from_bytes(dump[:8], "little")
    frame = dump[32:]
    fpstate = x86_64.SIGCONTEXT.unpack_from(frame, x86_64.UCONTEXT_OFFSET + x86_64.UC_MCONTEXT)[-1]
    assert fpstate % x86_64.FP_ALIGN == 0
    assert fpstate - start >= x86_64.SIGFRAME_SIZE
    state = frame[fpstate - start :]
    magic, extended, features, size = x86_64.FPX_SW_BYTES.unpack_from(state, x86_64.FPX_SW_BYTES_OFFSET)
    assert magic == x86_64.FP_XSTATE_MAGIC1
    assert extended == size + x86_64.FP_XSTATE_MAGIC2_SIZE
    assert int.from_bytes(state[size : size + 4], "little") == x86_64.FP_XSTATE_MAGIC2
    assert features & 3 == 3
    assert int.from_bytes(state[x86_64.XSTATE_BV_OFFSET :][:8], "little") & ~features == 0
    assert x86_64.min_signal_stack(size) >= fpstate - start + extended
