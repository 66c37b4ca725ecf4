"""The files that Noah keeps beside a tree: each begins with letters that say its form, or says it in another way."""

from __future__ import annotations

from typing import Final

from noah.abi.errno import EINVAL, LinuxError

_NOAHS: Final = b"Noah"
OTHER_VERSION: Final = "of another version of Noah"


class FormError(LinuxError):
    """Such a file is not as this version of Noah makes it. `why` says how it is."""

    __slots__ = ("path",)

    def __init__(self, path: bytes, why: str) -> None:
        super().__init__(EINVAL, why)
        self.path = path


def other_form(head: bytes) -> str:
    """What a file is that begins with other letters."""
    if head.startswith(_NOAHS):
        return OTHER_VERSION
    return "damaged" if head else "empty"
