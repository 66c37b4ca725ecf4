"""What a process of the box does for another that asks for it (noah.kernel.asking), beside telling of its /proc/PID."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from noah.kernel import limits, othermemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from noah.kernel.task import Process


def _tell_of_message(process: Process, request: bytes) -> bytes:
    """mq_notify(2): somebody has sent one to a queue."""
    if process.ipc is not None:
        process.ipc.mqueues.fire(int.from_bytes(request, "little"))
    return b""


MARK: Final = b"\0"
"""What such a question begins with; no name of a file does."""
_REQUESTS: Final[dict[bytes, Callable[[Process, bytes], bytes]]] = {
    b"advise": othermemory.serve_advise,
    b"limits": limits.serve,
    b"mqueue": _tell_of_message,
    b"read": othermemory.serve_read,
    b"write": othermemory.serve_write,
}


def answer(process: Process, question: bytes) -> bytes:
    """The answer to any question; LinuxError for a failure that is the asker's."""
    if not question.startswith(MARK):
        return process.tell(question)
    kind, _, rest = question[1:].partition(MARK)
    return _REQUESTS[kind](process, rest)
