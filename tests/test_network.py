"""What a box has of the host's network: names of its own, none at all, the host's resolv.conf."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import build  # tests/guests/build.py
import pytest
from tests.running import Result, need_engine, noah_command, ordinary_user, run, working_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

GUEST: Final = Path(__file__).resolve().parent / "guests/network.c"
HOSTS: Final = ("linux", pytest.param("posix", marks=pytest.mark.posix))
LONG: Final = "x" * 100  # longer than what is left of a name on the host


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    need_engine("kvm")
    return str(request.param)


@pytest.fixture
def root() -> Iterator[Path]:
    with working_directory() as found:
        shutil.copy(build.build(GUEST, "static"), found / "network")
        yield found


def in_box(root: Path, host: str, *words: str, options: tuple[str, ...] = (), ordinary: bool = False) -> list[str]:
    user = ordinary_user() if ordinary else None
    command = [*noah_command(user), "run", "--host", host, "--root", str(root), *options, "--", "/network", *words]
    found: Result = run(command, cwd="/", user=user)
    assert (found.status, found.stderr, found.orphans) == (0, b"", 0)
    return found.stdout.decode().splitlines()


def test_abstract_names_are_the_boxs_own(root: Path, host: str) -> None:
    name = f"noah-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as outside:
        outside.bind(f"\0{name}")
        outside.listen()
        assert in_box(root, host, "connect", name) == ["connect: ECONNREFUSED"]
        assert in_box(root, host, "listen", name) == [
            *("bind: ok", f"own: @{name}", "listen: ok", "bind again: EADDRINUSE"),
            *("connect: ok", f"peer: @{name}", "any name: ok", "any name: 6 bytes"),
        ]


def test_long_abstract_names(root: Path, host: str) -> None:
    said = in_box(root, host, "listen", LONG, "connect", LONG + "y")
    assert [line for line in said if "@" not in line] == [
        *("bind: ok", "listen: ok", "bind again: EADDRINUSE", "connect: ok", "any name: ok", "any name: 6 bytes"),
        "connect: ECONNREFUSED",
    ]
    assert f"own: @{LONG}" in said


def test_no_network_has_a_loopback_of_its_own_where_root_may_make_one(root: Path) -> None:
    need_engine("kvm")
    if os.getuid():
        pytest.skip("only root may make networks")
    with socket.create_server(("127.0.0.1", 0)) as outside:
        number = str(outside.getsockname()[1])
        assert in_box(root, "linux", "port", number) == ["port: ok"]
        said = in_box(root, "linux", "port", number, "loopback", options=("--network", "none"))
        assert said == ["port: ECONNREFUSED", "bind: ok", "listen: ok", "connect: ok"]


@pytest.mark.parametrize("ordinary", [False, True])
def test_no_network_is_none_at_all_elsewhere(root: Path, host: str, ordinary: bool) -> None:
    if host == "linux" and not ordinary and not os.getuid():
        pytest.skip("root may make a network there")
    name = f"noah-test-{os.getpid()}"
    said = in_box(root, host, "loopback", "listen", name, options=("--network", "none"), ordinary=ordinary)
    assert said[:4] == ["socket: EAFNOSUPPORT", "bind: ok", f"own: @{name}", "listen: ok"]


def test_root_has_the_hosts_names(root: Path, host: str) -> None:
    (root / "etc").mkdir()
    (root / "etc/hosts").write_text("127.0.0.1 mine\n")
    (root / "etc/resolv.conf").symlink_to("../run/nowhere")
    assert in_box(root, host, "show", "/etc/hosts") == ["127.0.0.1 mine", "write: ok"]
    said = in_box(root, host, "show", "/etc/resolv.conf")
    assert said == [*Path("/etc/resolv.conf").read_text().splitlines(), "write: EROFS"]
    (root / "mine").write_text("nameserver 127.0.0.9\n")
    volume = ("-v", f"{root / 'mine'}:/etc/resolv.conf")
    assert in_box(root, host, "show", "/etc/resolv.conf", options=volume) == ["nameserver 127.0.0.9", "write: ok"]
    assert (root / "etc/resolv.conf").is_symlink()
