"""How the work on images fails."""

from __future__ import annotations

from typing import Final

from noah.abi.errno import EACCES, EDQUOT, EEXIST, ENOENT, ENOSPC, EPERM, EROFS, ERRNO_NAMES, LinuxError

_WORDS: Final = {
    EACCES: "permission denied",
    EDQUOT: "disk quota exceeded",
    EEXIST: "file exists",
    ENOENT: "no such file or directory",
    ENOSPC: "no space left on device",
    EPERM: "operation not permitted",
    EROFS: "read-only file system",
}


class ImageError(Exception):
    """Something about images, containers or their sources does not work. The text is one line for the user.

    status: what docker(1) exits with.
    """

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


class NotFoundError(ImageError):
    """There is no such image or container."""


def describe(error: LinuxError | OSError) -> str:
    """The reason of a failed call, for a person."""
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"{(error.strerror or str(error)).lower()}{where}"
    text = _WORDS.get(error.errno) or ERRNO_NAMES.get(error.errno, str(error.errno))
    return f"{text} ({error.why})" if error.why else text
