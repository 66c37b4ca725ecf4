"""The run loop: guest code until it needs the kernel, then the kernel's answer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final, NoReturn

from noah.abi.errno import EFBIG, EIO, ENOMEM, LinuxError
from noah.abi.signal import BUS_ADRERR, SEGV_ACCERR, SEGV_MAPERR, SIGBUS, SIGSEGV
from noah.kernel.control import NoReturn as DoesNotReturn
from noah.kernel.control import ProcessExit, ThreadExit
from noah.kernel.dispatch import table_of
from noah.kernel.exit import end
from noah.kernel.task import GUEST, Task
from noah.mm.fault import FAULT_ACCERR, FAULT_BUS, FAULT_RETRY, fault, host_fault
from noah.vm.api import (
    EXIT_CRASHED,
    EXIT_EXCEPTION,
    EXIT_FAULT,
    EXIT_HOST_FAULT,
    EXIT_INTERRUPTED,
    EXIT_SYSCALL,
    Answer,
)

_MASK: Final = (1 << 64) - 1
_RESTARTS: Final = frozenset((-512, -513, -514, -516))
_HOST_FAULTS_IN_A_ROW: Final = 1000


def run(task: Task, table: list[Callable[..., int]], beside: frozenset[int] = frozenset()) -> NoReturn:
    """Run a task until its process ends; ends the host process in the same way.

    `beside`: numbers of the calls that another host thread may answer.
    """
    process = task.process
    if beside:
        task.vcpu.answer_beside(answerer(task, table, beside))
    process.run_task = lambda other: _run_beside(other, table, beside)
    try:
        _loop(task, table)
    except ProcessExit as how:
        end(task, how)
    except ThreadExit as how:
        _leave(task, how)
    raise AssertionError("the host process outlives its guest")


def _run_beside(task: Task, table: list[Callable[..., int]], beside: frozenset[int]) -> None:
    """What the host thread of another thread does."""
    threads = task.process.threads
    assert threads is not None
    task.vcpu.adopt()
    if beside:
        task.vcpu.answer_beside(answerer(task, table, beside))
    try:
        threads.enter(task)
        _loop(task, table)
    except ProcessExit as how:
        end(task, how)
    except ThreadExit as how:
        _leave(task, how)


def answerer(task: Task, table: list[Callable[..., int]], beside: frozenset[int]) -> Answer:
    """What _loop() does with a call, for the engine to do beside it."""
    process = task.process
    signals = process.signals

    def answer(nr: int, *registers: int) -> tuple[int, bool] | None:
        nr &= 0xFFFF_FFFF
        if nr not in beside or task.dispatch is not None or (signals.lent and nr not in process.borrowing.calls):
            return None
        threads = process.threads
        task.beside = True
        try:
            if threads is not None and not threads.try_enter(task):
                threads = None  # there is nothing to leave
                return None
            result = table[nr](task, *registers)
        except LinuxError as error:
            if -error.errno in _RESTARTS:  # a signal came before anything had been done
                return None
            result = -error.errno
            if error.errno == EFBIG:
                signals.collect(task)
        except (DoesNotReturn, ProcessExit, ThreadExit):  # for _loop() to deal with
            return None
        except MemoryError:
            result = -ENOMEM
        except Exception:
            report_bug(task, nr)
            result = -EIO
        finally:
            task.beside = False
            attention = signals.attention
            if threads is not None:
                threads.leave(task, GUEST)
        return result & _MASK, bool(attention)

    return answer


def _leave(task: Task, how: ThreadExit) -> None:
    """exit(2) of one thread."""
    process = task.process
    if len(process.tasks) > 1 and process.threads is not None:
        process.threads.finish(task)
    else:
        end(task, ProcessExit(how.status))


def _loop(task: Task, table: list[Callable[..., int]]) -> NoReturn:
    vcpu = task.vcpu
    signals = task.process.signals
    arch = task.process.arch
    number, result_register = arch.number, arch.result
    a0, a1, a2, a3, a4, a5 = arch.args
    last = len(table) - 1
    regs = vcpu.regs
    run_guest = task.run_guest
    handlers = table_of(task, table)
    while True:
        kind = run_guest()
        if kind == EXIT_SYSCALL:
            nr = regs[number] & 0xFFFF_FFFF
            try:
                result = handlers[nr if nr < last else last](
                    task, regs[a0], regs[a1], regs[a2], regs[a3], regs[a4], regs[a5]
                )
            except LinuxError as error:
                result = -error.errno
                if error.errno == EFBIG:
                    signals.collect(task)  # the host has sent this very thread SIGXFSZ
            except DoesNotReturn:
                regs, run_guest, handlers = vcpu.regs, task.run_guest, table_of(task, table)
                if signals.attention:
                    signals.deliver(task, 0)
                continue
            except (ProcessExit, ThreadExit):
                raise
            except MemoryError:
                result = -ENOMEM
            except Exception:
                report_bug(task, nr)
                result = -EIO
            if result in _RESTARTS:
                signals.deliver(task, result)
                continue
            regs[result_register] = result & _MASK
            if signals.attention:
                signals.deliver(task, 0)
        elif kind == EXIT_INTERRUPTED:
            task.interrupted = True
            signals.collect(task)
            task.interrupted = False
            if signals.attention:
                signals.deliver(task, 0)
        else:
            _trap(task, kind)
            if signals.attention:
                signals.deliver(task, 0)


def _trap(task: Task, kind: int) -> None:
    """An exit that is no system call: memory to provide, or a signal for the guest."""
    vcpu = task.vcpu
    signals = task.process.signals
    if kind == EXIT_FAULT:
        what = fault(task.space, vcpu.fault_address, vcpu.fault_access)
        if what == FAULT_RETRY:
            return
        if what == FAULT_BUS:
            signals.force_fault(task, SIGBUS, BUS_ADRERR, vcpu.fault_address)
        else:
            code = SEGV_ACCERR if what == FAULT_ACCERR else SEGV_MAPERR
            signals.force_fault(task, SIGSEGV, code, vcpu.fault_address)
    elif kind == EXIT_EXCEPTION:
        signals.force_exception(task)
    elif kind == EXIT_HOST_FAULT:
        if host_fault(task.space):
            task.process.host_faults = 0
            return
        task.process.host_faults += 1
        if task.process.host_faults > _HOST_FAULTS_IN_A_ROW:
            raise ProcessExit(signal=SIGBUS)
    elif kind == EXIT_CRASHED:
        raise ProcessExit(signal=SIGSEGV)


def report_bug(task: Task, number: int) -> None:
    """An exception that no handler may let out: Noah's own mistake. The guest sees EIO and lives on."""
    error = sys.exc_info()[1]
    try:
        import traceback  # slow to load

        text = traceback.format_exc()
    except ImportError:  # the guest has become a user who may not read the interpreter's library
        text = f"{error!r}\n"
    task.process.on_bug(f"noah: internal error in system call {number} of process {task.pid}:\n{text}")


def default_bug_report(text: str) -> None:
    """Where bug reports go unless a front end says otherwise."""
    sys.stderr.write(text)
