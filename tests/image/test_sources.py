"""What the host's own apt says of mirrors."""

from __future__ import annotations

from pathlib import Path

import pytest

from noah.image.debian.bootstrap import choose
from noah.image.debian.sources import (
    Mirror,
    beside,
    checks_dates,
    find_mirror,
    proxies,
    read_settings,
    read_sources,
)
from noah.image.errors import ImageError


def apt(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        path = tmp_path / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_one_line_format(tmp_path: Path) -> None:
    text = """
# deb http://comment.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian/ bookworm main contrib
deb-src http://m.example/src bookworm main
deb http://m.example/debian bookworm-updates main # kept current
deb http://s.example/debian-security bookworm-security main
"""
    assert find_mirror(read_sources(apt(tmp_path, sources_list=text))) == Mirror(
        "http://m.example/debian", "http://s.example/debian-security"
    )


def test_deb822_format(tmp_path: Path) -> None:
    text = """\
Types: deb deb-src
URIs: https://m.example/debian
Suites: trixie
 trixie-updates
# a comment between
Components: main

Types: deb
Enabled: no
URIs: https://off.example/debian-security
Suites: trixie-security
Components: main

Types: deb
URIs: https://s.example/debian-security/
Suites: trixie-security
Components: main non-free
"""
    sources = read_sources(apt(tmp_path, sources_list_d__debian_sources=text))
    assert find_mirror(sources) == Mirror("https://m.example/debian", "https://s.example/debian-security")


def test_archives_of_others_are_no_mirror(tmp_path: Path) -> None:
    text = "deb https://a.example/apt nodistro main\ndeb https://u.example/ubuntu noble main\ndeb cdrom:[x]/ sid main\n"
    assert find_mirror(read_sources(apt(tmp_path, sources_list=text))) == Mirror("", "")


def test_old_name_of_the_security_suite(tmp_path: Path) -> None:
    text = "deb http://s.example/debian-security bullseye/updates main\n"
    assert find_mirror(read_sources(apt(tmp_path, sources_list=text))) == Mirror("", "http://s.example/debian-security")


def test_no_apt_at_all(tmp_path: Path) -> None:
    assert read_sources(tmp_path / "nothing") == []
    assert read_settings(tmp_path / "nothing") == {}


@pytest.mark.parametrize(("value", "checks"), [("false", False), ("0", False), ("true", True)])
def test_dates_are_checked_as_apt_does(tmp_path: Path, value: str, checks: bool) -> None:
    directory = apt(tmp_path, apt_conf_d__90x=f'Acquire::Check-Valid-Until "{value}";\n')
    assert checks_dates(read_settings(directory)) is checks
    assert checks_dates({})


def test_proxies_of_apt(tmp_path: Path) -> None:
    text = 'Acquire::http::Proxy "http://p.example:3128/";\nAcquire::https::Proxy "DIRECT";\n'
    assert proxies(read_settings(apt(tmp_path, apt_conf=text))) == {"http": "http://p.example:3128/"}


def test_security_archive_beside_a_mirror() -> None:
    assert beside("http://m.example/debian") == "http://m.example/debian-security"
    assert beside("http://m.example/mirror") == ""


@pytest.mark.parametrize(
    ("named", "own", "found"),
    [
        ("http://m.example/debian/", Mirror("http://o.example/x", "http://s.example/s"), "http://m.example/debian"),
        ("", Mirror("http://o.example/debian", "http://s.example/s"), "http://o.example/debian"),
    ],
)
def test_a_named_mirror_comes_before_the_hosts(named: str, own: Mirror, found: str) -> None:
    assert choose(named, own) == Mirror(found, "http://m.example/debian-security" if named else "http://s.example/s")


def test_security_archive_is_beside_where_the_host_has_no_source_of_it() -> None:
    assert choose("", Mirror("http://o.example/debian", "")).security == "http://o.example/debian-security"


def test_no_mirror_at_all_is_said_with_what_to_do() -> None:
    with pytest.raises(ImageError, match=r"--mirror URL or \$NOAH_DEBIAN_MIRROR"):
        choose("", Mirror("", "http://s.example/s"))
