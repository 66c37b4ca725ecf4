"""What the repository says about its own files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.check

FOLDERS: Final = ("bench", "docs", "src", "tests", "tools")
ROOT: Final = Path(__file__).parent.parent
DECISION: Final = re.compile(r"docs/decisions/(\d{4})")
DOCUMENT: Final = re.compile(r"\bdocs/[\w/-]+\.md\b")


def test_documents_that_are_named_exist() -> None:
    listed = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*"))]
    decisions = {path.name[:4] for path in (ROOT / "docs/decisions").iterdir()}
    missing = []
    for path in listed:
        if path.suffix in (".py", ".md", ".c", ".h"):
            text = path.read_text("utf-8")
            missing += [f"{path}: {found}" for found in DOCUMENT.findall(text) if not (ROOT / found).exists()]
            missing += [f"{path}: decision {found}" for found in DECISION.findall(text) if found not in decisions]
    assert missing == []
