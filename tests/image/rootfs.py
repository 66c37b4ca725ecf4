"""A root file system with a shell and a few programs: the host's own, with the libraries that they ask for."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

PROGRAMS: Final = (
    "sh",
    "cat",
    "ls",
    "sleep",
    "id",
    "mkdir",
    "rm",
    "mv",
    "ln",
    "chmod",
    "chown",
    "touch",
    "env",
    "stat",
    "cp",
    "perl",
)


def make_rootfs(root: Path) -> Path:
    """Fill a directory."""
    for name in ("bin", "etc", "tmp", "root", "proc", "dev", "sys"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found is not None, f"the host has no {name}"
        shutil.copy(found, root / "bin" / name)
        for library in _libraries(found):
            place = root / library.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                shutil.copy(library, place)
    (root / "etc/skel").mkdir()
    (root / "etc/skel/.profile").touch()
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nann:x:1000:\n")
    return root


def _libraries(program: str) -> list[str]:
    shown = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", shown)
