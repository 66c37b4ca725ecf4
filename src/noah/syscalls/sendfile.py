"""From file to file inside the kernel: sendfile(2), copy_file_range(2)."""

from __future__ import annotations

from struct import Struct
from typing import Final

from noah.abi.errno import EBADF, EINVAL, EISDIR, EOVERFLOW, EPIPE, ESPIPE, EXDEV, LinuxError
from noah.abi.fcntl import O_APPEND, SEEK_CUR, SEEK_SET
from noah.abi.kinds import Fd, OffPtr, Size, UInt
from noah.abi.limits import MAX_RW_COUNT
from noah.abi.signal import SIGPIPE
from noah.abi.stat import S_IFDIR, S_IFMT, S_IFREG
from noah.fs.hostfile import RegularFile
from noah.kernel.task import Task
from noah.syscalls.paths import file_of
from noah.syscalls.registry import syscall
from noah.vfs.stream import StreamFile

_U64: Final = (1 << 64) - 1
_LOFF: Final = Struct("<q")
_CHUNK: Final = 256 << 10


@syscall
def sendfile(task: Task, out_fd: Fd, in_fd: Fd, offset: OffPtr, count: Size) -> int:
    """sendfile(2): copy from a file, which has positions, to any file."""
    source = file_of(task, in_fd)
    source.check_readable()
    position = -1
    if offset:
        position = _LOFF.unpack(task.mem.read(offset, 8))[0]
        if position < 0:
            raise LinuxError(EINVAL)
    target = file_of(task, out_fd)
    target.check_writable()
    if target.get_flags() & O_APPEND:
        raise LinuxError(EINVAL)
    start = position
    if not offset:
        try:
            start = source.seek(0, SEEK_CUR)
        except LinuxError as error:
            raise LinuxError(EINVAL if error.errno == ESPIPE else error.errno) from None
    left = min(count, MAX_RW_COUNT)
    done = 0
    try:
        if left and isinstance(source, RegularFile) and isinstance(target, StreamFile) and target.is_nonblocking():
            sent = _send_by_host(task, source, target, start, left)
            if sent is not None:
                done, left = sent, 0
        buffer = memoryview(bytearray(min(left, _CHUNK)))
        while done < left:
            piece = buffer[: left - done]
            got = source.pread(task, (piece,), start + done)
            if not got:
                break
            written = target.write(task, (piece[:got],))
            done += written
            if written < got:
                break
    except LinuxError as error:
        if not done:
            raise LinuxError(EINVAL if error.errno == ESPIPE else error.errno) from None
    if offset:
        task.mem.write_u64(offset, start + done)
    else:
        source.seek(start + done, SEEK_SET)
    return done


def _send_by_host(task: Task, source: RegularFile, target: StreamFile, start: int, count: int) -> int | None:
    """One call of the host, as nobody has to wait. None: it cannot do it with these files."""
    try:
        return task.host.files.sendfile(target.fd, source.fd, start, count)
    except LinuxError as error:
        if error.errno == EPIPE:
            task.send_signal(SIGPIPE)
        if error.errno != EINVAL:
            raise
        return None


@syscall
def copy_file_range(
    task: Task, fd_in: Fd, off_in: OffPtr, fd_out: Fd, off_out: OffPtr, length: Size, flags: UInt
) -> int:
    """copy_file_range(2): copy between regular files, sharing storage where the host can."""
    source, target = file_of(task, fd_in), file_of(task, fd_out)
    offsets: list[int | None] = []
    for pointer in (off_in, off_out):
        offsets.append(_LOFF.unpack(task.mem.read(pointer, 8))[0] if pointer else None)
    if flags:
        raise LinuxError(EINVAL)
    kinds = source.stat().mode & S_IFMT, target.stat().mode & S_IFMT
    if S_IFDIR in kinds:
        raise LinuxError(EISDIR)
    if kinds != (S_IFREG, S_IFREG):
        raise LinuxError(EINVAL)
    source.check_readable()
    target.check_writable()
    if target.get_flags() & O_APPEND:
        raise LinuxError(EBADF)
    # fs/read_write.c: generic_copy_file_checks() adds as unsigned numbers
    if any(offset is not None and (offset & _U64) + length > _U64 for offset in offsets):
        raise LinuxError(EOVERFLOW)
    if any(offset is not None and offset < 0 for offset in offsets):
        raise LinuxError(EINVAL)
    if source.poll_fd < 0 or target.poll_fd < 0:
        raise LinuxError(EXDEV)
    done = task.host.files.copy_file_range(
        source.poll_fd, offsets[0], target.poll_fd, offsets[1], min(length, MAX_RW_COUNT)
    )
    for pointer, offset in zip((off_in, off_out), offsets, strict=True):
        if offset is not None:
            task.mem.write_u64(pointer, offset + done)
    return done
