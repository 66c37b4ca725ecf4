"""Dependencies."""

from __future__ import annotations

import pytest

from noah.image.debian.resolve import Archive, resolve
from noah.image.errors import ImageError


def archive(*packages: str) -> Archive:
    """Packages as `name version; Field: value; ...`."""
    found = Archive()
    texts = []
    for package in packages:
        head, *fields = package.split("; ")
        name, version = head.split()
        texts.append("\n".join([f"Package: {name}", f"Version: {version}", *fields]))
    found.add("http://m.example", "\n\n".join(texts) + "\n")
    return found


def names(of: Archive, *wanted: str) -> list[str]:
    return [package.name for package in resolve(of, wanted)]


def test_closure_over_depends_and_pre_depends() -> None:
    found = archive("a 1; Depends: b (>= 1), c:any", "b 1; Pre-Depends: d", "c 1", "d 1", "e 1; Depends: nothing")
    assert names(found, "a") == ["a", "b", "c", "d"]


def test_circles_end() -> None:
    assert names(archive("a 1; Depends: b", "b 1; Depends: a"), "a") == ["a", "b"]


def test_first_alternative_that_exists() -> None:
    found = archive("a 1; Depends: gone | b | c", "b 1", "c 1")
    assert names(found, "a") == ["a", "b"]


def test_alternative_that_is_chosen_already() -> None:
    found = archive("a 1; Depends: b | c", "b 1", "c 1")
    assert names(found, "a", "c") == ["a", "c"]


def test_what_leaves_no_choice_comes_first() -> None:
    found = archive("a 1; Depends: b | c, d", "b 1", "c 1", "d 1; Depends: c")
    assert names(found, "a") == ["a", "c", "d"]


def test_version_decides_between_alternatives() -> None:
    found = archive("a 1; Depends: b (>= 2) | c", "b 1.5", "c 1")
    assert names(found, "a") == ["a", "c"]


def test_newest_version_of_all_indices() -> None:
    found = archive("a 1.0-1", "a 1.0-1+deb12u1", "a 1.0-1~x")
    assert resolve(found, ["a"])[0].version == "1.0-1+deb12u1"


def test_providers_by_weight() -> None:
    found = archive(
        "a 1; Depends: awk",
        "gawk 1; Provides: awk; Priority: optional",
        "mawk 1; Provides: awk; Priority: required",
        "bawk 1; Provides: awk (= 1), other; Priority: optional",
    )
    assert names(found, "a") == ["a", "mawk"]


def test_versioned_provides() -> None:
    found = archive("a 1; Depends: v (>= 2)", "b 1; Provides: v", "c 1; Provides: v (= 1)", "d 1; Provides: v (= 2.1)")
    assert names(found, "a") == ["a", "d"]


def test_provider_that_conflicts_is_avoided() -> None:
    found = archive(
        "a 1; Depends: mta; Conflicts: exim", "exim 1; Provides: mta; Priority: standard", "postfix 1; Provides: mta"
    )
    assert names(found, "a") == ["a", "postfix"]


def test_merged_usr_is_preferred() -> None:
    found = archive("a 1; Depends: usrmerge | usr-is-merged", "usrmerge 1", "usr-is-merged 1")
    assert names(found, "a") == ["a", "usr-is-merged"]


def test_core() -> None:
    found = archive("a 1; Essential: yes", "b 1; Priority: required", "c 1; Priority: important", "d 1")
    assert found.core(important=False) == ["a", "b"]
    assert found.core(important=True) == ["a", "b", "c"]


def test_missing_package_is_named() -> None:
    with pytest.raises(ImageError, match="no package wrong"):
        resolve(archive("a 1"), ["wrong"])


def test_missing_dependency_is_named() -> None:
    with pytest.raises(ImageError, match=r"a depends on b \(>= 2\) \| c"):
        resolve(archive("a 1; Depends: b (>= 2) | c", "b 1"), ["a"])
