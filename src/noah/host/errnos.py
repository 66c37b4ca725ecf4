"""The host's error numbers as Linux' ones, by name."""

from __future__ import annotations

import errno
from typing import Final

from noah.abi import errno as linux

# Names that Linux does not have (Apple's and the BSDs' sys/errno.h), and what Linux says instead.
ALIASES: Final = {
    "ENOATTR": "ENODATA",
    "EFTYPE": "EINVAL",
    "EAUTH": "EACCES",
    "ENEEDAUTH": "EACCES",
    "EPROCLIM": "EAGAIN",
    "EBADRPC": "EPROTO",
    "ERPCMISMATCH": "EPROTO",
    "EPROGUNAVAIL": "EPROTO",
    "EPROGMISMATCH": "EPROTO",
    "EPROCUNAVAIL": "EPROTO",
    "EPWROFF": "EIO",
    "EDEVERR": "EIO",
    "EBADEXEC": "ENOEXEC",
    "EBADARCH": "ENOEXEC",
    "ESHLIBVERS": "ELIBBAD",
    "EBADMACHO": "ENOEXEC",
    "ENOPOLICY": "EINVAL",
    "EQFULL": "ENOBUFS",
    "ENOTCAPABLE": "EPERM",
    "ECAPMODE": "EPERM",
    "EDOOFUS": "EINVAL",
    "EINTEGRITY": "EUCLEAN",
}


def _table() -> dict[int, int]:
    result = {}
    for number, name in errno.errorcode.items():
        value = getattr(linux, ALIASES.get(name, name), None)
        if isinstance(value, int):
            result[number] = value
    return result


TO_LINUX: Final = _table()
"""Host number -> Linux number."""

_reported: Final[set[int | None]] = set()


def from_host(error: OSError) -> linux.LinuxError:
    """The LinuxError for what a host call raised: EIO, named once in the log, for what Linux has no number for."""
    number = error.errno
    try:
        return linux.LinuxError(TO_LINUX[number])  # type: ignore[index]
    except KeyError:
        if number not in _reported:
            _reported.add(number)
            import logging  # as slow to load as all of noah.abi, and hardly ever needed

            logging.getLogger(__name__).warning("host error %r has no Linux number: the guest gets EIO", error)
        return linux.LinuxError(linux.EIO)
