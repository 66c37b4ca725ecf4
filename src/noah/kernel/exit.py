"""The end of a process: what is owed to others before the host process goes."""

from __future__ import annotations

from typing import NoReturn

from noah.kernel.control import ProcessExit
from noah.kernel.task import Task
from noah.kernel.threads import let_go


def end(task: Task, how: ProcessExit) -> NoReturn:
    """End the host process as the guest process ended. Nothing of the interpreter's own clean-up runs."""
    process = task.process
    if process.vfork_done is not None:
        process.vfork_done()
    let_go(task)
    if process.ipc is not None:
        process.ipc.end(process.pid)
    process.box.note_end(process.pid)
    if process.at_exit is not None:
        process.at_exit(how)
    if how.signal:
        task.host.procs.exit_by_signal(how.signal)
    task.host.procs._exit(how.status)
