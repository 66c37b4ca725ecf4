"""How commands about images and containers fail: one line, and docker's exit status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from noah.abi.errno import LinuxError
from noah.cli.main import complain
from noah.image.errors import ImageError, describe

FAILED: Final = 1


def told(command: Callable[[list[bytes]], int]) -> Callable[[list[bytes]], int]:
    """Wrap a command: what goes wrong with images, or on the disk, is said in one line."""

    def wrapped(words: list[bytes]) -> int:
        try:
            return command(words)
        except ImageError as error:
            return complain(str(error), error.status)
        except BrokenPipeError:
            raise
        except (LinuxError, OSError) as error:
            return complain(describe(error), FAILED)

    return wrapped
