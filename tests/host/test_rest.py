"""Clocks, randomness, memory, and how a host is chosen."""

from __future__ import annotations

import ctypes
import mmap
import sys
import time
from typing import TYPE_CHECKING

import pytest

from noah.abi import mman
from noah.abi import time as t
from noah.abi.errno import EFAULT, EINVAL
from noah.host import select
from noah.host.api import HostError

from .test_files import fails

if TYPE_CHECKING:
    from noah.host.api import Host


@pytest.mark.parametrize(
    ("clock", "native"),
    [
        (t.CLOCK_REALTIME, time.time_ns),
        (t.CLOCK_MONOTONIC, time.monotonic_ns),
        (t.CLOCK_REALTIME_COARSE, time.time_ns),
        (t.CLOCK_MONOTONIC_COARSE, time.monotonic_ns),
        (t.CLOCK_BOOTTIME, time.monotonic_ns),
        (t.CLOCK_PROCESS_CPUTIME_ID, time.process_time_ns),
        (t.CLOCK_THREAD_CPUTIME_ID, time.thread_time_ns),
    ],
)
def test_clocks(host: Host, clock: int, native: object) -> None:
    assert callable(native)
    assert abs(host.clock.clock_gettime(clock) - native()) < 50_000_000
    assert 0 < host.clock.clock_getres(clock) <= 10_000_000


def test_unknown_clock_is_einval(host: Host) -> None:
    fails(EINVAL, host.clock.clock_gettime, 99)
    fails(EINVAL, host.clock.clock_getres, 99)
    fails(EINVAL, host.clock.setitimer, 9, 0, 0)


def test_getrandom(host: Host) -> None:
    assert host.rng.getrandom(0) == b""
    a, b = host.rng.getrandom(1000), host.rng.getrandom(1000)
    assert len(a) == 1000
    assert a != b


def test_memory_by_address(host: Host) -> None:
    mem = host.mem
    assert mem.page_size == mmap.PAGESIZE
    size = 4 * mem.page_size
    with mmap.mmap(-1, size) as area:
        area[0:5] = b"hello"
        holder = (ctypes.c_char * size).from_buffer(area)
        address = ctypes.addressof(holder)
        assert mem.safe_read(address, 5) == b"hello"
        assert mem.mincore(address, size)[0] & 1
        mem.mlock(address, mem.page_size)
        mem.munlock(address, mem.page_size)
        mem.msync(address, size, mman.MS_SYNC)
        mem.madvise(address, size, mman.MADV_WILLNEED)
        fails(EINVAL, mem.madvise, address + 1, size, mman.MADV_WILLNEED)
        fails(EINVAL, mem.madvise, address, size, 9999)
        del holder


def test_safe_read_does_not_fault(host: Host) -> None:
    if host.name == "linux":
        fails(EFAULT, host.mem.safe_read, 0x1000, 8)
        fails(EFAULT, host.mem.safe_read, (1 << 64) - 4096, 8)


def test_make_host_names() -> None:
    assert select.make_host("posix").name == "posix"
    assert select.make_host().name == ("linux" if sys.platform == "linux" else "posix")
    with pytest.raises(HostError, match=r"no host 'vms'.*auto, linux, posix"):
        select.make_host("vms")


def test_make_host_linux_elsewhere_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert select.make_host("auto").name == "posix"
    with pytest.raises(HostError, match="--host posix"):
        select.make_host("linux")


def test_host_is_frozen(host: Host) -> None:
    with pytest.raises(AttributeError):
        host.name = "other"  # type: ignore[misc]
