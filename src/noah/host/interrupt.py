"""Ctrl-C while Noah starts: the process dies of SIGINT, as a program in C would, instead of showing a traceback."""

from __future__ import annotations

import signal


def restore_default() -> None:
    """Undo Python's own handler of SIGINT; a signal that is ignored (nohup, jobs in the background) stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
