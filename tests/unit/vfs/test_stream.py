"""Pipes and FIFOs: every wait can be interrupted, counts are as Linux has them."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest
from tests.unit.vfs.caller import FakeCaller, interrupt, view

from noah.abi.errno import EAGAIN, EBADF, EPIPE, ERESTARTSYS, ESPIPE, LinuxError
from noah.abi.fcntl import AT_FDCWD, O_NONBLOCK, O_RDONLY, O_WRONLY
from noah.abi.signal import SIGPIPE
from noah.fs.pipe import make_pipe

if TYPE_CHECKING:
    from pathlib import Path


def errno_of(call: object, *arguments: object) -> int:
    with pytest.raises(LinuxError) as caught:
        call(*arguments)  # type: ignore[operator]
    errno = caught.value.errno
    del caught
    gc.collect()  # the traceback held what the call had open
    return errno


def test_read_waits_for_data(caller: FakeCaller) -> None:
    reader, writer = make_pipe(caller, 0)

    def write() -> None:
        writer.write(caller, [memoryview(b"late")])

    caller.on_wait.append(write)
    buffer = view(10)
    assert reader.read(caller, [buffer]) == 4
    assert bytes(buffer[:4]) == b"late"
    assert caller.waits == 1
    reader.release()
    writer.release()


def test_interrupted_read(caller: FakeCaller) -> None:
    reader, writer = make_pipe(caller, 0)
    caller.on_wait.append(interrupt)
    assert errno_of(reader.read, caller, [view(1)]) == ERESTARTSYS
    reader.release()
    writer.release()


def test_nonblocking(caller: FakeCaller) -> None:
    reader, writer = make_pipe(caller, O_NONBLOCK)
    assert errno_of(reader.read, caller, [view(1)]) == EAGAIN
    own = os.pipe2(os.O_NONBLOCK)
    assert writer.write(caller, [view(50_000)]) == os.write(own[1], bytes(50_000)) == 50_000
    count, native = writer.write(caller, [view(50_000)]), os.write(own[1], bytes(50_000))
    assert count == native if caller.host.caps.nowait else count < 50_000
    assert errno_of(writer.write, caller, [view(50_000)]) == EAGAIN
    os.close(own[0])
    os.close(own[1])
    assert caller.waits == 0
    reader.release()
    writer.release()


def test_blocking_write_goes_on_until_all_is_written(caller: FakeCaller) -> None:
    reader, writer = make_pipe(caller, 0)
    received = bytearray()

    def drain() -> None:
        buffer = view(65536)
        received.extend(buffer[: reader.read(caller, [buffer])])

    data = os.urandom(200_000)
    caller.on_wait.extend([drain] * 10)
    assert writer.write(caller, [memoryview(data[:70_000]), memoryview(data[70_000:])]) == 200_000
    writer.release()
    buffer = view(65536)
    caller.on_wait.clear()
    while count := reader.read(caller, [buffer]):
        received.extend(buffer[:count])
    assert received == data
    reader.release()


def test_interrupted_write_tells_what_was_written(caller: FakeCaller) -> None:
    reader, writer = make_pipe(caller, 0)
    caller.on_wait.append(interrupt)
    assert writer.write(caller, [view(100_000)]) == 65536
    caller.on_wait.append(interrupt)
    assert errno_of(writer.write, caller, [view(1)]) == ERESTARTSYS
    reader.release()
    writer.release()


def test_broken_pipe(caller: FakeCaller) -> None:
    reader, writer = make_pipe(caller, 0)
    reader.release()
    assert errno_of(writer.write, caller, [view(1)]) == EPIPE
    assert caller.signals == [SIGPIPE]
    writer.release()


def test_directions(caller: FakeCaller) -> None:
    reader, writer = make_pipe(caller, 0)
    assert errno_of(reader.write, caller, [view(1)]) == EBADF
    assert errno_of(writer.read, caller, [view(1)]) == EBADF
    assert errno_of(reader.seek, 0, 0) == ESPIPE
    assert errno_of(reader.pread, caller, [view(1)], 0) == ESPIPE
    reader.release()
    writer.release()


def test_fifo_reader_waits_for_a_writer(caller: FakeCaller, root: Path) -> None:
    os.mkfifo(root / "fifo")
    writers = []

    def write() -> None:
        writers.append(caller.fs.open(caller, AT_FDCWD, b"fifo", O_WRONLY))

    caller.on_wait.extend([lambda: None, write])
    reader = caller.fs.open(caller, AT_FDCWD, b"fifo", O_RDONLY)
    assert len(writers) == 1
    assert not reader.get_flags() & O_NONBLOCK
    writers[0].write(caller, [memoryview(b"x")])
    assert reader.read(caller, [view(5)]) == 1
    writers[0].release()
    assert reader.read(caller, [view(5)]) == 0
    reader.release()


def test_fifo_writer_waits_for_a_reader(caller: FakeCaller, root: Path) -> None:
    os.mkfifo(root / "fifo")
    readers = []

    def read() -> None:
        readers.append(os.open(root / "fifo", os.O_RDONLY | os.O_NONBLOCK))

    caller.on_wait.extend([lambda: None, read])
    writer = caller.fs.open(caller, AT_FDCWD, b"fifo", O_WRONLY)
    assert writer.write(caller, [memoryview(b"x")]) == 1
    writer.release()
    os.close(readers[0])


def test_fifo_open_is_interrupted(caller: FakeCaller, root: Path) -> None:
    os.mkfifo(root / "fifo")
    for flags in (O_RDONLY, O_WRONLY):
        caller.on_wait.append(interrupt)
        assert errno_of(caller.fs.open, caller, AT_FDCWD, b"fifo", flags) == ERESTARTSYS
