"""deb822(5): paragraphs of fields, the format of Debian's indices, control files and source lists."""

from __future__ import annotations

from collections.abc import Iterator

Paragraph = dict[str, str]
"""Fields by name in lower case, in their order. Continuation lines keep their first space, after a newline each."""


def parse(text: str) -> Paragraph:
    """The fields of one paragraph."""
    fields: Paragraph = {}
    name = ""
    for line in text.split("\n"):
        if line[:1] in (" ", "\t"):
            if name:
                fields[name] += "\n" + line
        elif line and not line.startswith("#"):
            head, colon, value = line.partition(":")
            if colon:
                name = head.lower()
                fields[name] = value.strip()
    return fields


def paragraphs(text: str) -> Iterator[str]:
    """The text of each paragraph, as it is."""
    for part in text.split("\n\n"):
        if part.strip():
            yield part.strip("\n")


def words(value: str) -> list[str]:
    """A list in one field, over lines or not."""
    return value.split()
