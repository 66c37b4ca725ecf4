"""The first page or so of a new program: arguments, environment, auxiliary vector (getauxval(3), fs/binfmt_elf.c)."""

from __future__ import annotations

import struct
from typing import Final

from noah.abi.errno import E2BIG, LinuxError
from noah.abi.limits import ARG_MAX, MAX_ARG_STRLEN

_MAX_STACK_SHARE: Final = 6 << 20  # 3/4 of _STK_LIM (fs/exec.c)


def check_size(argv: list[bytes], environ: list[bytes], stack_limit: int) -> None:
    """E2BIG as Linux decides it: each string, and all of them with their pointers."""
    total = 8 * (len(argv) + len(environ))
    for text in argv:
        if len(text) >= MAX_ARG_STRLEN:
            raise LinuxError(E2BIG)
        total += len(text) + 1
    for text in environ:
        if len(text) >= MAX_ARG_STRLEN:
            raise LinuxError(E2BIG)
        total += len(text) + 1
    if total > max(min(stack_limit // 4, _MAX_STACK_SHARE), ARG_MAX):
        raise LinuxError(E2BIG)


class StackImage:
    """The bytes from the new stack pointer to the top of the stack, and where its parts are."""

    __slots__ = ("arg_end", "arg_start", "auxv", "data", "env_end", "env_start", "pointer")

    def __init__(
        self,
        top: int,
        argv: list[bytes],
        environ: list[bytes],
        filename: bytes,
        platform: bytes,
        random: bytes,
        auxv: list[tuple[int, int]],
        pointers: dict[int, str],
    ) -> None:
        """Lay everything out below `top`. auxv entries named in `pointers` get the address of that part:
        "random", "platform" or "filename"."""
        tail = filename + b"\0" + bytes(8)
        where = {"filename": top - len(tail)}
        strings = b"".join(text + b"\0" for text in argv) + b"".join(text + b"\0" for text in environ)
        address = where["filename"] - len(strings)
        self.arg_start = address
        addresses = []
        for text in argv + environ:
            addresses.append(address)
            address += len(text) + 1
        self.arg_end = addresses[len(argv)] if environ else address
        self.env_start, self.env_end = self.arg_end, address
        low = self.arg_start
        where["platform"] = low - len(platform) - 1
        where["random"] = (where["platform"] - 16) & -16
        middle_start = where["random"]
        middle = random + bytes(where["platform"] - middle_start - 16) + platform + b"\0"
        entries = [(key, where[pointers[key]] if key in pointers else value) for key, value in auxv]
        vector = b"".join(struct.pack("<QQ", key, value & (1 << 64) - 1) for key, value in entries)
        words = [len(argv), *addresses[: len(argv)], 0, *addresses[len(argv) :], 0]
        head = struct.pack(f"<{len(words)}Q", *words) + vector
        self.pointer = (middle_start - len(head)) & -16
        self.data = head + bytes(middle_start - self.pointer - len(head)) + middle + strings + tail
        self.auxv = vector
