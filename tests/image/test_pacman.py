"""Arch Linux' package manager, from Debian's packages: makes, signs, installs, upgrades, removes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest
from tests.image.whole import Noah

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

NEEDS: Final = "pacman-package-manager makepkg gnupg python3 libarchive-tools fakeroot zstd xz-utils binutils gawk file"


def test_pacman(noah_of: Noah, name: str, tmp_path: Path) -> None:
    """As in a chroot of the same system."""
    if os.getuid():
        pytest.skip("running it natively takes root")
    noah_of.shell(name, "debian", f"apt-get update -q; apt-get install -y --no-install-recommends {NEEDS}")
    expected = noah_of.natively(name, Path(__file__).with_name("pacman.sh"), tmp_path)
    for line in ("made", "signed", "synchronised", "upgraded", "refuses what is spoilt", "no server"):
        assert f"\n{line}\n" in expected
    assert noah_of.next(name, "bash /pacman.sh") == expected
