"""What `noah ps` and `noah images` list, and what the prune commands remove."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.image.noah import Noah, names, one_line

from noah.host.select import make_host
from noah.image.store import Store

pytestmark = pytest.mark.parametrize("data", ["host"], indirect=True)


@pytest.fixture
def two(cli: Noah) -> None:
    """A container that runs, and one that ended with 4."""
    cli("run", "--name", "old", "-v", "/tmp:/mnt", "small", "sh", "-c", "exit 4")
    cli("run", "-d", "--name", "new", "small", "sleep", "60")


@pytest.mark.usefixtures("two")
def test_filters_of_ps(cli: Noah) -> None:
    for options, expected in (
        ("name=o", []),
        ("name=n", ["new"]),
        ("name=^ne", ["new"]),
        ("name=(", []),
        ("status=exited", ["old"]),
        ("status=exited status=running", ["new", "old"]),
        ("status=created", []),
        ("exited=4", ["old"]),
        ("exited=0", []),
        ("exited=4 name=new", []),
        ("status=exited ancestor=small", ["old"]),
        ("ancestor=other", []),
        ("status=exited volume=/mnt", ["old"]),
        ("status=exited before=new", ["old"]),
        ("since=old", ["new"]),
    ):
        assert names(cli, *(f"--filter={option}" for option in options.split())) == expected, options


@pytest.mark.usefixtures("two")
def test_formats_of_ps(cli: Noah) -> None:
    ids = cli("ps", "-aq").stdout.split()
    shown = cli("ps", "-a", "--format", r"{{.ID}}\t{{ .Names }} {{.State}}").stdout
    assert shown == f"{ids[0]}\tnew running\n{ids[1]}\told exited\n"
    assert cli("ps", "--format", "{{json .Names}}").stdout == '"new"\n'
    rows = [json.loads(line) for line in cli("ps", "-a", "--format=json").stdout.splitlines()]
    assert [(row["Names"], row["Mounts"], row["Image"]) for row in rows] == [
        ("new", "", "small"),
        ("old", "/tmp", "small"),
    ]
    head, line = cli("ps", "--format", r"table {{.Names}}\t{{.Image}}").stdout.splitlines()
    assert (head.split(), line.split()) == (["NAMES", "IMAGE"], ["new", "small"])
    plain = cli("ps").stdout
    assert cli("ps", "--format", "table").stdout.split()[:9] == plain.split()[:9]


def test_what_is_no_filter_and_no_format(cli: Noah) -> None:
    one_line(cli("ps", "--filter", "color=red"), 125, "color=red", "ancestor")
    one_line(cli("ps", "--filter", "name"), 125, "NAME=VALUE")
    one_line(cli("ps", "--format", "{{.Color}}"), 125, "{{.Color}}", "{{.Names}}")
    one_line(cli("ps", "--format", "{{range .}}"), 125, "{{range .}}")
    one_line(cli("images", "--filter", "dangling=perhaps"), 125, "dangling=true")


def test_filters_and_formats_of_images(cli: Noah) -> None:
    cli("run", "--name", "one", "small", "sh", "-c", "echo > /new")
    cli("commit", "one", "repo/second:tag")
    cli("commit", "one", "third")
    cli("rmi", "third")

    def shown(*options: str) -> list[str]:
        return cli("images", "--format", "{{.Repository}}:{{.Tag}}", *options).stdout.split()

    assert shown() == ["repo/second:tag", "small:latest"]
    assert shown("--filter", "reference=repo/*") == ["repo/second:tag"]
    assert shown("--filter", "reference=*:latest") == ["small:latest"]
    assert shown("--filter", "since=small") == ["repo/second:tag"]
    assert shown("--filter", "before=repo/second:tag") == ["small:latest"]
    assert shown("--filter", "dangling=true") == []
    one_line(cli("images", "--filter", "since=none"), 1, "no image is called none")
    cli("rm", "one")
    cli("rmi", "repo/second:tag")


def test_longer_ways_to_say_it(cli: Noah) -> None:
    cli("run", "--name", "one", "small")
    assert cli("container", "ls", "-aq").stdout == cli("ps", "-aq").stdout != ""
    assert cli("image", "ls", "-q").stdout == cli("images", "-q").stdout != ""
    assert cli("container", "rm", "one").stdout == "one\n"
    one_line(cli("image", "rm", "none"), 1, "no image is called none")
    one_line(cli("system", "ps"), 125, "'system ps' is not a command")
    one_line(cli("container"), 125, "'container' is not a command")


@pytest.mark.usefixtures("two")
def test_container_prune(cli: Noah) -> None:
    assert cli("container", "prune", input="n\n").stdout.endswith("[y/N] ")
    assert names(cli, "--all") == ["new", "old"]
    (id,) = cli("ps", "-aq", "--no-trunc", "--filter", "name=old").stdout.split()
    shown = cli("container", "prune", "--force").stdout
    assert re.fullmatch(rf"Deleted Containers:\n{id}\n\nTotal reclaimed space: .*B\n", shown)
    assert names(cli, "--all") == ["new"]
    assert "Deleted" not in cli("container", "prune", "-f").stdout


def test_image_and_system_prune(cli: Noah, data: Path) -> None:
    store = Store(make_host(), data)
    cli("run", "--name", "one", "small", "sh", "-c", "echo > /new")
    nameless = cli("commit", "one", "gone").stdout.strip()
    (data / "names" / "gone%3Alatest").unlink()
    cli("commit", "one", "other")
    assert f"Deleted: {nameless}\n" in cli("image", "prune", "-f").stdout
    assert {name for image in store.images() for name in image.names} == {"other:latest", "small:latest"}
    shown = cli("image", "prune", "--all", "--force").stdout
    assert "Untagged: other:latest\n" in shown
    assert "small" not in shown, "it has a container"
    download = store.cache / "sha256" / "x"
    download.parent.mkdir(exist_ok=True)
    download.write_bytes(bytes(5000))
    shown = cli("system", "prune", input="y\n").stdout
    assert "all downloads that are kept" in shown
    assert "Deleted Containers:" in shown
    assert not download.exists()
    assert names(cli, "--all") == []
    assert cli("images", "-q", "small").stdout
