"""Which engine to use."""

from __future__ import annotations

import os
from typing import Final

from noah.vm.api import EngineError, Machine

NAMES: Final = ("auto", "kvm", "emulator")


def make_machine(name: str, arch: str) -> Machine:
    """The engine called `name` for guests of `arch`; "auto" takes the fastest that works here.

    Raises EngineError; its text says why and what to do.
    """
    if name not in NAMES:
        raise EngineError(f"there is no engine {name!r}: choose one of {', '.join(NAMES)}")
    if name != "emulator":
        try:
            return _kvm(arch)
        except EngineError:
            if name == "kvm":
                raise
    from noah.vm.emulator import EmulatorMachine  # needs the unicorn library, slow to load

    return EmulatorMachine(arch)


def _kvm(arch: str) -> Machine:
    host = os.uname().machine
    if arch != "x86_64" or host not in ("x86_64", "AMD64"):
        raise EngineError(f"KVM on {host} cannot run {arch} programs; use --engine emulator")
    try:
        from noah.vm.kvm import KvmMachine  # Linux only: fcntl.ioctl and /dev/kvm
    except ImportError:
        raise EngineError("KVM needs Linux; use --engine emulator") from None
    return KvmMachine()
