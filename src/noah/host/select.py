"""Which host to use."""

from __future__ import annotations

import sys

from noah.host.api import Host, HostError

NAMES = ("auto", "linux", "posix")


def make_host(name: str = "auto") -> Host:
    """The host called name; "auto" takes the fastest that works here. HostError says why it cannot be."""
    if name not in NAMES:
        raise HostError(f"there is no host {name!r}: choose one of {', '.join(NAMES)}")
    # Each is loaded only when it is used: half of the posix host is not needed on Linux.
    if sys.platform == "linux" and name != "posix":
        from noah.host.linux.host import make as make_linux

        return make_linux()
    if name == "linux":
        raise HostError(f"host 'linux' needs a Linux kernel, this is {sys.platform}: use --host auto or --host posix")
    from noah.host.posix.host import make as make_posix

    return make_posix()
