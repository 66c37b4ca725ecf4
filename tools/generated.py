"""The command line of the tools that write a file of the repository: gen_stubs.py, gen_compatibility.py."""

from __future__ import annotations

import sys
from pathlib import Path


def main(usage: str, file: Path, text: str) -> int:
    """Write `text`, or with the argument --check only compare it with the file. The exit status."""
    tool, *arguments = sys.argv
    if arguments == ["--check"]:
        if file.exists() and file.read_text("utf-8") == text:
            return 0
        print(f"{file.name} is not current: run tools/{Path(tool).name}")
        return 1
    if arguments:
        print(usage, file=sys.stderr)
        return 2
    file.write_text(text, "utf-8")
    return 0
