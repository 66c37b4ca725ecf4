"""Writes docs/COMPATIBILITY.md from the declarations of Noah's system calls.

    tools/gen_compatibility.py [--check]

With --check nothing is written: the exit status is 1 if the page is not what it would be.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from generated import main  # tools/generated.py
from noah.api import load_handlers
from noah.syscalls.registry import DECLARATIONS, NUMBERS

PAGE: Final = Path(__file__).parents[1] / "docs" / "COMPATIBILITY.md"
HEAD: Final = """\
# System calls

What Noah answers, for each architecture with the number of the call. Written by `tools/gen_compatibility.py` from the
declarations in `src/noah/syscalls/`; do not edit.

- **yes**: as Linux does it.
- **partly**: with what is said behind it; all else as Linux does it.
- **no**: the program gets ENOSYS, as on a kernel built without it. `noah report` lists which programs asked for it.

That is so on Linux hosts. What the portable host (`--host posix`) has no calls for, it refuses as a kernel or a file
system without it does: [docs/decisions/0013](decisions/0013-the-portable-host.md) has the list.
"""


def page() -> str:
    """The whole text."""
    names = sorted(set().union(*NUMBERS.values()))
    lines = [HEAD, summary(names), "", "| System call | x86-64 | aarch64 | Noah |", "| --- | ---: | ---: | --- |"]
    for name in names:
        numbers = (str(NUMBERS[arch].get(name, "")) for arch in ("x86_64", "aarch64"))
        lines.append(f"| `{name}` | {' | '.join(numbers)} | {state(name)} |")
    return "\n".join(lines) + "\n"


def state(name: str) -> str:
    declaration = DECLARATIONS.get(name)
    if declaration is None:
        return "no"
    return f"partly: {declaration.partial}" if declaration.partial else "yes"


def summary(names: list[str]) -> str:
    """How many of each, by architecture."""
    lines = ["| | yes | partly | no |", "| --- | ---: | ---: | ---: |"]
    for arch, label in (("x86_64", "x86-64"), ("aarch64", "aarch64")):
        states = [state(name).partition(":")[0] for name in names if name in NUMBERS[arch]]
        lines.append(f"| {label} | {' | '.join(str(states.count(each)) for each in ('yes', 'partly', 'no'))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    load_handlers()
    sys.exit(main(__doc__ or "", PAGE, page()))
