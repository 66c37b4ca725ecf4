"""Builds the C guests of the tests: `build(source)` gives the path of an executable.

Results live outside of the repository, in a folder named after a hash of everything that went into them, so a guest
is compiled once for each version of its source and never stale. Concurrent builds are harmless: the last rename wins.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
FLAGS: Final = (
    "-std=gnu11",
    "-D_GNU_SOURCE",
    "-O1",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-clobbered",
    "-fno-strict-aliasing",
    "-pthread",
)

# Variant: the compiler and its own flags. "dynamic" is position independent and needs the C library's loader.
VARIANTS: Final[dict[str, tuple[str, ...]]] = {
    "dynamic": ("gcc",),
    "static": ("gcc", "-static"),
    "static-pie": ("gcc", "-static-pie"),
    "aarch64": ("aarch64-linux-gnu-gcc", "-static"),
}


class BuildError(Exception):
    """The compiler refused a guest; the text is the compiler's own."""


def available(variant: str) -> bool:
    """Tells whether this machine has the compiler for `variant`."""
    return shutil.which(VARIANTS[variant][0]) is not None


def cache_folder() -> Path:
    """The folder of all built guests: $NOAH_GUEST_CACHE, else below the user's cache folder."""
    chosen = os.environ.get("NOAH_GUEST_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "noah-guests"


@functools.cache
def _compiler_version(compiler: str) -> bytes:
    return subprocess.run([compiler, "--version"], stdout=subprocess.PIPE, check=True).stdout


@functools.cache
def build(source: Path, variant: str = "dynamic") -> Path:
    """Returns the executable of `source` in `variant`, compiled when the cache has none.

    Raises BuildError with the compiler's messages when it does not compile.
    """
    compiler, *own = VARIANTS[variant]
    command = [compiler, *FLAGS, *own]
    digest = hashlib.sha256(_compiler_version(compiler))
    digest.update(" ".join(command).encode())
    for part in (source, *sorted(HERE.glob("*.h"))):
        digest.update(part.read_bytes())
    target = cache_folder() / digest.hexdigest()[:16] / source.stem
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / target.name
        ran = subprocess.run([*command, "-o", made, source], check=False, stderr=subprocess.PIPE, text=True)
        if ran.returncode:
            raise BuildError(f"{source.name} ({variant}):\n{ran.stderr}")
        made.rename(target)
    return target


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(build(Path(name).resolve()))
