"""How a handler says that it does not return to its caller in the usual way."""

from __future__ import annotations


class NoReturn(Exception):
    """The registers are set as they should be: execve(2), rt_sigreturn(2), the child of a fork(2)."""


class ProcessExit(Exception):
    """The process ends: by exit status, or by a signal."""

    def __init__(self, status: int = 0, signal: int = 0) -> None:
        self.status = status
        self.signal = signal


class ThreadExit(Exception):
    """The thread ends; its process does too, if it was the last one."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
