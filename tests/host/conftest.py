"""Fixtures of the host contract: one body of tests, each host in turn, the native calls as the oracle."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest

from noah.abi.fcntl import AT_FDCWD, O_DIRECTORY, O_RDONLY
from noah.host.select import make_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from noah.host.api import Host

HOSTS = ("linux", "posix")


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> Host:
    """Each host in turn."""
    name = cast("str", request.param)
    if name == "linux" and sys.platform != "linux":
        pytest.skip("host linux needs a Linux kernel")
    return make_host(name)


@pytest.fixture
def dirfd(host: Host, tmp_path: Path) -> Iterator[int]:
    """A descriptor of an empty directory, tmp_path."""
    fd = host.files.openat(AT_FDCWD, bytes(tmp_path), O_RDONLY | O_DIRECTORY)
    yield fd
    host.files.close(fd)


@pytest.fixture
def in_child(host: Host) -> Callable[[Callable[[], None]], int]:
    """Run a function in a forked child, as a guest process is; gives the child's wait status.

    A failed assertion there fails the test: the child's traceback is on stderr, its exit status 99.
    """

    def run(body: Callable[[], None]) -> int:
        pid = host.procs.fork()
        if pid == 0:
            status = 99
            try:
                body()
                status = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        _, status, _ = host.procs.wait4(pid, 0)
        assert status != 99 << 8, "the child failed: see its traceback"
        return status

    return run


@contextmanager
def closing(host: Host, *fds: int) -> Iterator[None]:
    """Close descriptors at the end, however it comes."""
    try:
        yield
    finally:
        for fd in fds:
            host.files.close_quietly(fd)
