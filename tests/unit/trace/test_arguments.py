"""Calls with made-up registers and memory, printed before and after."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.trace.memory import Memory

from noah.api import load_handlers
from noah.syscalls.registry import DECLARATIONS
from noah.trace.strace import Printer

if TYPE_CHECKING:
    from noah.kernel.task import Task

load_handlers()

TEXT, MORE, BUFFER, TABLE = 0x1000, 0x2000, 0x3000, 0x4000
AT_FDCWD = (1 << 64) - 100


def task(memory: Memory, arch: str = "x86_64") -> Task:
    bugs: list[str] = []
    process = SimpleNamespace(arch=SimpleNamespace(name=arch), on_bug=bugs.append, bugs=bugs)
    return cast("Task", SimpleNamespace(mem=memory, process=process))


def show(name: str, *registers: int, memory: Memory | None = None, result: int = 0, arch: str = "x86_64") -> str:
    """As strace writes it, with arguments that the kernel filled in."""
    printer = Printer(DECLARATIONS[name])
    registers += (0,) * (6 - len(registers))
    call, before = printer.enter(task(memory or Memory(), arch), registers)
    assert call is not None
    call.result, call.done = result, True
    return f"{name}({printer.leave(call, before, failed=result < 0)}) = {printer.result(call, result)}"


@pytest.mark.parametrize(
    ("name", "registers", "result", "text"),
    [
        ("openat", (AT_FDCWD, TEXT, 0o2000000, 0o644), 3, 'openat(AT_FDCWD, "/some/path", O_RDONLY|O_CLOEXEC) = 3'),
        ("openat", (5, TEXT, 0o101, 0o644), 3, 'openat(5, "/some/path", O_WRONLY|O_CREAT, 0644) = 3'),
        ("openat", (AT_FDCWD, 0, 0), 3, "openat(AT_FDCWD, NULL, O_RDONLY) = 3"),
        ("openat", (AT_FDCWD, 0xDEAD0000, 0), 3, "openat(AT_FDCWD, 0xdead0000, O_RDONLY) = 3"),
        ("write", (1, BUFFER, 5), 5, r'write(1, "data\n", 5) = 5'),
        ("read", (0, BUFFER, 4096), 4, 'read(0, "data", 4096) = 4'),
        ("read", (0, BUFFER, 4096), 0, 'read(0, "", 4096) = 0'),
        ("mmap", (0, 4096, 3, 0x22, (1 << 64) - 1, 0), 0x7F00, "mmap(NULL, 4096, PROT_READ|PROT_WRITE, "
         "MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f00"),
        ("brk", (0,), 0x5000, "brk(NULL) = 0x5000"),
        ("umask", (0o22,), 0o77, "umask(022) = 077"),
        ("kill", (7, 15), 0, "kill(7, SIGTERM) = 0"),
        ("fcntl", (3, 3), 0o2, "fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)"),
        ("fcntl", (3, 2, 1), 0, "fcntl(3, F_SETFD, FD_CLOEXEC) = 0"),
        ("fcntl", (3, 4, 0o4000), 0, "fcntl(3, F_SETFL, O_RDONLY|O_NONBLOCK) = 0"),
        ("fcntl", (3, 0, 10), 10, "fcntl(3, F_DUPFD, 10) = 10"),
        ("exit_group", (3,), 0, "exit_group(3) = 0"),
        ("futex", (0x7004, 129, 1), 0, "futex(0x7004, FUTEX_WAKE_PRIVATE, 1) = 0"),
        ("futex", (0x7004, 128, 1, 0), 0, "futex(0x7004, FUTEX_WAIT_PRIVATE, 1, NULL) = 0"),
        ("prctl", (38, 1), 0, "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) = 0"),
        ("prctl", (15, BUFFER), 0, r'prctl(PR_SET_NAME, "data\n") = 0'),
        ("ioctl", (1, 0x5413, 0), 0, "ioctl(1, TIOCGWINSZ, NULL) = 0"),
        ("clone", (0x1200011, 0, 0, 0x7010, 0), 99,
         "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7010) = 99"),
        ("wait4", ((1 << 64) - 1, 0, 1, 0), 0, "wait4(-1, NULL, WNOHANG, NULL) = 0"),
        ("lseek", (3, (1 << 64) - 5, 1), 10, "lseek(3, -5, SEEK_CUR) = 10"),
        ("mknodat", (AT_FDCWD, TEXT, 0o20644, 0x103), 0,
         'mknodat(AT_FDCWD, "/some/path", S_IFCHR|0644, makedev(0x1, 0x3)) = 0'),
    ],
)  # fmt: skip
def test_calls(name: str, registers: tuple[int, ...], result: int, text: str) -> None:
    memory = Memory(at_1000=b"/some/path\0", at_3000=b"data\n\0")
    assert show(name, *registers, memory=memory, result=result) == text


def test_pipe_and_wait_status() -> None:
    memory = Memory(at_3000=struct.pack("<ii", 3, 4), at_4000=struct.pack("<I", 0x300))
    assert show("pipe2", BUFFER, 0o4000, memory=memory) == "pipe2([3, 4], O_NONBLOCK) = 0"
    assert show("wait4", 9, TABLE, 0, 0, memory=memory, result=9) == (
        "wait4(9, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 9"
    )


def test_failed_calls_show_where_results_would_be() -> None:
    assert show("pipe2", BUFFER, 0, memory=Memory(at_3000=bytes(8)), result=-1).startswith("pipe2(0x3000, 0)")
    assert show("read", 0, BUFFER, 10, memory=Memory(at_3000=bytes(10)), result=-1).startswith("read(0, 0x3000, 10)")


def test_execve() -> None:
    memory = Memory(
        at_1000=b"/bin/echo\0",
        at_2000=b"a" * 40 + b"\0",
        at_3000=struct.pack("<QQQ", TEXT, MORE, 0),
        at_4000=struct.pack("<QQ", TEXT, 0),
    )
    text = show("execve", TEXT, BUFFER, TABLE, memory=memory)
    assert text == f'execve("/bin/echo", ["/bin/echo", "{"a" * 32}"...], 0x4000 /* 1 var */) = 0'


def test_vectors_show_as_much_as_was_moved() -> None:
    memory = Memory(at_1000=b"hello", at_2000=b"world", at_3000=struct.pack("<QQQQ", TEXT, 5, MORE, 5))
    assert show("writev", 1, BUFFER, 2, memory=memory, result=10) == (
        'writev(1, [{iov_base="hello", iov_len=5}, {iov_base="world", iov_len=5}], 2) = 10'
    )
    assert show("readv", 1, BUFFER, 2, memory=memory, result=7) == (
        'readv(1, [{iov_base="hello", iov_len=5}, {iov_base="wo", iov_len=5}], 2) = 7'
    )


def test_poll() -> None:
    waiting = Memory(at_3000=struct.pack("<iHHiHH", 0, 1, 0, 4, 4, 0))
    printer = Printer(DECLARATIONS["poll"])
    call, before = printer.enter(task(waiting), (BUFFER, 2, (1 << 32) - 1, 0, 0, 0))
    assert call is not None
    waiting.put(BUFFER, struct.pack("<iHHiHH", 0, 1, 1, 4, 4, 0))
    call.result, call.done = 1, True
    assert printer.leave(call, before, failed=False) == "[{fd=0, events=POLLIN}, {fd=4, events=POLLOUT}], 2, -1"
    assert printer.result(call, 1) == "1 ([{fd=0, revents=POLLIN}])"


def test_socket_addresses() -> None:
    inet = struct.pack("<H", 2) + struct.pack(">H", 80) + bytes([127, 0, 0, 1]) + bytes(8)
    path = struct.pack("<H", 1) + b"/run/x\0"
    memory = Memory(at_1000=inet, at_2000=path, at_3000=struct.pack("<H", 1) + b"\0abstract")
    assert show("connect", 3, TEXT, 16, memory=memory) == (
        'connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0'
    )
    assert show("bind", 3, MORE, 9, memory=memory) == 'bind(3, {sa_family=AF_UNIX, sun_path="/run/x"}, 9) = 0'
    assert 'sun_path=@"abstract"' in show("bind", 3, BUFFER, 11, memory=memory)


def test_aarch64_has_other_flags_and_another_clone() -> None:
    memory = Memory(at_1000=b"/\0")
    assert "O_DIRECTORY" in show("openat", AT_FDCWD, TEXT, 0o40000, memory=memory, arch="aarch64")
    text = show("clone", 0x1200011, 0, 0, 0, 0x7010, arch="aarch64")
    assert "child_tidptr=0x7010" in text


def test_unknown_calls_show_their_registers() -> None:
    call, before = Printer(None).enter(task(Memory()), (1, 0, 255, 0, 0, 0))
    assert call is None
    assert Printer(None).leave(call, before, failed=True) == "0x1, 0, 0xff, 0, 0, 0"


registers = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.integers(0, 64),
    st.sampled_from([TEXT, MORE, BUFFER, TABLE, (1 << 64) - 1, 1 << 63, (1 << 63) - 1, 1 << 32]),
)


@given(
    name=st.sampled_from(sorted(DECLARATIONS)),
    values=st.tuples(*[registers] * 6),
    result=st.one_of(st.integers(0, 64), st.integers(0, (1 << 63) - 1)),
    content=st.binary(min_size=256, max_size=256),
    arch=st.sampled_from(["x86_64", "aarch64"]),
)
def test_no_arguments_confuse_the_printer(name: str, values: Any, result: int, content: bytes, arch: str) -> None:
    memory = Memory(at_1000=content, at_2000=content, at_3000=bytes(256), at_4000=b"\xff" * 4096)
    who = task(memory, arch)
    printer = Printer(DECLARATIONS[name])
    call, before = printer.enter(who, values)
    assert call is not None
    call.result, call.done = result, True
    text = printer.leave(call, before, failed=False) + printer.result(call, result)
    assert not cast("Any", who.process).bugs
    assert len(text) < 60_000
    assert "\n" not in text
