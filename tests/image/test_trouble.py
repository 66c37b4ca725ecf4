"""What goes wrong while images are pulled and containers run: nothing is left half-made, and the next try works."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path

import pytest
from tests.image import oci
from tests.image.oci import DIR, Image, entry, index, tar
from tests.image.rootfs import make_rootfs
from tests.image.server import Server, serving

from noah.host.select import make_host
from noah.image.owners import host_of
from noah.image.store import Store

Result = subprocess.CompletedProcess[str]
COUNT = 400


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


@pytest.fixture
def cli(noah: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("NOAH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(*words: str) -> Result:
        return subprocess.run([noah, *words], capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
def image() -> Image:
    """Two layers of some hundred files, which do not compress."""
    noise = random.Random(1)
    first = [entry("d/", type=DIR, mode=0o755)]
    first += [entry(f"d/{number}", noise.randbytes(3000)) for number in range(COUNT)]
    second = [entry(f"d/.wh.{number}") for number in range(0, COUNT, 2)] + [entry("new", noise.randbytes(500_000))]
    return Image(tar(*first), tar(*second))


def one_line(result: Result, status: int, *words: str) -> None:
    assert (result.returncode, result.stdout) == (status, ""), result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("noah: ")
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in last


def slowly(server: Server, seconds: float) -> None:
    """Each answer takes a while."""

    def pause(path: str, headers: Message) -> None:
        threading.Event().wait(seconds)

    server.guard = pause


def source(server: Server) -> str:
    return f"docker://127.0.0.1:{server.server_port}/a"


def whole(data: Path, image: Image) -> None:
    """The image is there as it should be, and nothing else."""
    store = Store(make_host(), data)
    root = store.find(image.id).rootfs
    assert sorted(os.listdir(root)) == ["d", "new"]
    assert sorted(int(name) for name in os.listdir(root / "d")) == list(range(1, COUNT, 2))
    with store.work():  # sweeps
        assert len(list((data / "work").iterdir())) == 1


def test_two_commands_at_once(
    noah: str, cli: Callable[..., Result], server: Server, image: Image, tmp_path: Path
) -> None:
    oci.serve(server, "a", {"latest": image.manifest}, image)
    slowly(server, 0.1)
    command = [noah, "pull", source(server)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0] != ""
    assert [path for path, _ in server.asked].count(f"/v2/a/blobs/{oci.digest(image.layers[0])}") == 1
    whole(tmp_path / "data", image)


@pytest.mark.parametrize("times", [pytest.param(3, id="few"), pytest.param(25, id="many", marks=pytest.mark.slow)])
def test_killed_at_any_moment(
    noah: str, cli: Callable[..., Result], server: Server, image: Image, tmp_path: Path, times: int
) -> None:
    oci.serve(server, "a", {"latest": image.manifest}, image)
    slowly(server, 0.03)
    moments = random.Random(times)
    for _ in range(times):
        process = subprocess.Popen([noah, "pull", source(server)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            process.communicate(timeout=moments.uniform(0.1, 1.2))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    result = cli("pull", source(server))
    assert result.returncode == 0, result.stderr
    whole(tmp_path / "data", image)


def test_interrupted_by_the_user(noah: str, cli: Callable[..., Result], server: Server, image: Image) -> None:
    oci.serve(server, "a", {"latest": image.manifest}, image)
    asked = threading.Event()

    def hang(path: str, headers: Message) -> None:
        if "/blobs/" in path:
            asked.set()
            threading.Event().wait(3)

    server.guard = hang
    process = subprocess.Popen(
        [noah, "pull", source(server)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert asked.wait(30)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=2)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in errors
    server.guard = lambda path, headers: None
    assert cli("pull", source(server)).returncode == 0


def test_registry_that_vanishes(cli: Callable[..., Result], server: Server, image: Image, tmp_path: Path) -> None:
    oci.serve(server, "a", {"latest": image.manifest}, image)
    port = server.server_port
    del server.files[f"/v2/a/blobs/{oci.digest(image.layers[1])}"]
    one_line(cli("pull", source(server)), 1, "not found")
    assert list((tmp_path / "data/images").iterdir()) == []
    server.shutdown()
    server.server_close()
    one_line(cli("pull", f"docker://127.0.0.1:{port}/a"), 1, f"127.0.0.1:{port}", "refused")


def test_layers_go_with_the_last_image(cli: Callable[..., Result], server: Server, tmp_path: Path) -> None:
    base = tar(entry("base", b"1"))
    one, two = Image(base), Image(base, tar(entry("more", b"2")))
    oci.serve(server, "a", {"one": one.manifest, "two": two.manifest}, one, two)
    for tag in ("one", "two"):
        assert cli("pull", f"{source(server)}:{tag}").returncode == 0
    name = source(server).removeprefix("docker://")
    blobs = tmp_path / "data/cache/blobs"
    assert cli("rmi", f"{name}:one").returncode == 0
    assert {path.name for path in blobs.iterdir()} == {oci.digest(layer)[7:] for layer in two.layers}
    assert cli("rmi", f"{name}:two").returncode == 0
    assert list(blobs.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system to fill")
    place, disk = tmp_path / "disk", tmp_path / "disk.img"
    place.mkdir()
    disk.write_bytes(b"")
    os.truncate(disk, 32 << 20)
    for command in (["mkfs.ext4", "-q", "-m", "0", str(disk)], ["mount", "-o", "loop", str(disk), str(place)]):
        if shutil.which(command[0]) is None or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("a small file system cannot be made and mounted here: e2fsprogs, loop devices")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_full_disk(
    cli: Callable[..., Result], server: Server, image: Image, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOAH_DATA", str(small_disk / "data"))
    oci.serve(server, "a", {"latest": image.manifest}, image)
    filler = small_disk / "filler"
    for room in (100_000, 1_000_000, 2_500_000):  # while a layer is fetched, and while one is unpacked
        stat = os.statvfs(small_disk)
        filler.write_bytes(bytes(max(0, stat.f_bavail * stat.f_frsize - room)))
        one_line(cli("pull", source(server)), 1, "no space left")
        assert list((small_disk / "data/images").iterdir()) == []
        filler.unlink()
        for path in (small_disk / "data/cache").rglob("*"):
            if path.is_file():
                path.unlink()
    assert cli("images").stdout.count("\n") == 1


def test_full_disk_in_a_container(
    cli: Callable[..., Result], small_disk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The program is told as by any disk, and the image stays as it is."""
    monkeypatch.setenv("NOAH_DATA", str(small_disk / "data"))
    store = Store(make_host(), small_disk / "data")
    with store.work() as work:
        make_rootfs(work / "rootfs")
        host_of(store.host, work)
        (work / "rootfs/big").write_bytes(bytes(3_000_000))
        store.add(work, {"config": {"Env": ["PATH=/bin"]}, "created": "2027-01-01T00:00:00Z"}, ["small"])
    script = """
    while cat /bin/* >> /fill; do :; done 2> /dev/null
    while echo >> /fill; do :; done 2> /dev/null
    echo more >> /big || echo full
    stat -c %s /big
    rm /fill; echo more >> /big && echo room
    """
    result = cli("run", "--rm", "small", "sh", "-c", script)
    assert result.stdout == "full\n3000000\nroom\n", result.stderr
    assert store.find("small").rootfs.joinpath("big").stat().st_size == 3_000_000


def test_names_lead_nowhere_out(cli: Callable[..., Result], image: Image, tmp_path: Path) -> None:
    oci.write_layout(tmp_path / "lay", index(image.entry()), image)
    for name in ("../x", "/x", "..", "-x", "a b", "a\nb", "x:"):
        one_line(cli("pull", "--name", name, f"oci:{tmp_path}/lay"), 1, "is not a name for an image")
    assert not (tmp_path / "x").exists()
    assert list((tmp_path / "data/images").iterdir()) == []
