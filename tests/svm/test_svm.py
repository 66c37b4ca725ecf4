"""The KVM engine where SYSCALL enters CPL 0, as on every processor: in a computer that QEMU emulates (tools/svm.py).

Two such computers work through the stages; each stage is a test here.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import build  # tests/guests/build.py
import pytest

import svm  # tools/svm.py

GUESTS: Final = Path(__file__).resolve().parents[1] / "guests"
LIMIT: Final = 900.0  # seconds; it takes about 120 on two processors
STAGE_LIMIT: Final = 600

# What depends on the engine. Left out are two cases of sig_fault that QEMU itself gets wrong, and the one of
# thread_basic about processor time, which is not as it should be natively either in QEMU's machine.
CASES: Final = {
    "sig_fault": (
        "unhandled_and_blocked x86_divide x86_illegal x86_breakpoint x86_not_canonical x86_unaligned"
        " x86_float_exceptions x86_hostile_frames x86_stack_not_canonical x86_signal_without_a_stack"
    ),
    "sig_context": (
        "floating_point_kept computation_interrupted x86_registers_kept x86_result_changed x86_fault_skipped"
        " x86_stack_and_place_changed x86_red_zone x86_vectors x86_float_control x86_wide_vectors"
    ),
    "mm_fault": "segv_codes segv_exec x86_segv_kernel bus_past_the_end handler_repairs_and_returns many_faults",
    "mm_code": "write_then_execute flip two_views mapped_again after_fork own_code x86_patches_itself",
    "mm_protect": "mprotect_splits mprotect_often mprotect_after_fork",
    "proc_fork": "isolation many_at_once generations pipeline vfork_shares_memory vfork_exec",
    "thread_basic": (
        "mutex_and_thread_locals condition_broadcast condition_times_out signal_to_a_thread"
        " signal_to_the_process_reaches_who_does_not_block_it fork_in_a_thread"
        " vfork_beside_a_thread_that_writes_the_same_page one_waits_while_another_works many_one_after_another"
        " reads_wait_after_the_other_threads_have_ended leader_ends_first exit_group_ends_a_spinning_thread"
        " robust_mutex_of_a_dead_owner exec_from_a_thread_that_is_not_the_first"
        " sigwaitinfo_in_a_thread_lets_others_work timer_that_starts_threads"
    ),
    "time_clock": "agreement monotonic after_fork timeouts_of_other_calls vdso_symbols",
}
PYTEST: Final = "python3 -m pytest -q --color=no -p no:cacheprovider --timeout 300 -k 'not emulator and not fake'"
NOAH: Final = "noah run --engine kvm --root / --"
SCRIPT: Final = rb"""
echo hello | cat
trap 'echo caught' USR1; kill -USR1 $$
for i in 1 2 3; do echo $i; done | wc -l
sh -c 'kill -SEGV $$'; echo status $?
sleep 0.1 & wait $!; echo waited $?
timeout 1 sh -c 'while :; do :; done'; echo spun $?
"""


class Stage(NamedTuple):
    """A shell script for one of the computers; it fails when its status is not 0."""

    computer: int
    script: str


STAGES: Final[Mapping[str, Stage]] = {
    "contract": Stage(0, f"{PYTEST} tests/engines/test_contract.py tests/engines/test_hostile.py"),
    "engine": Stage(0, f"{PYTEST} tests/engines/test_kvm.py"),
    "guests": Stage(
        1,
        "python3 tests/svm/compare.py /guests "
        + " ".join(f"{name}:{','.join(cases.split())}" for name, cases in CASES.items()),
    ),
    "shell": Stage(1, f"sh /script >/tmp/native 2>&1; {NOAH} /bin/busybox sh /script 2>&1 | diff -u /tmp/native -"),
    "clock": Stage(1, f"date +%s; {NOAH} /bin/busybox date +%s; date +%s"),
    "doctor": Stage(1, "noah doctor"),
}


def commands(computer: int) -> str:
    """The stages of a computer. The output of each is between two lines that name it."""
    lines = []
    for name, stage in STAGES.items():
        if stage.computer == computer:
            run = f"timeout {STAGE_LIMIT} sh -c {shlex.quote(stage.script)} </dev/null 2>&1"
            lines.append(f"echo '<<< {name}'; {run}; echo \">>> {name} $?\"\n")
    return "".join(lines)


@pytest.fixture(scope="session")
def log() -> str:
    """Everything that the computers printed."""
    for program in ("qemu-system-x86_64", "apt-get", "dpkg"):
        if not shutil.which(program):
            pytest.skip(f"this machine has no {program}")
    files = [(build.build(GUESTS / f"{name}.c", "static"), f"guests/{name}") for name in CASES]
    svm.unpacked()

    def work(computer: int) -> str:
        return svm.run(commands(computer), LIMIT, files, {"script": SCRIPT})[1]

    with ThreadPoolExecutor() as pool:
        return "\n".join(pool.map(work, sorted({stage.computer for stage in STAGES.values()})))


def output_of(stage: str, log: str) -> list[str]:
    """The lines that a stage printed, if it succeeded."""
    found = re.search(rf"^<<< {stage}\n(.*?)^>>> {stage} (\d+)$", log, re.MULTILINE | re.DOTALL)
    if not found:
        pytest.fail(f"the stage {stage} did not end:\n{log}", pytrace=False)
    if found[2] != "0":
        pytest.fail(f"the stage {stage} failed with status {found[2]}:\n{found[1]}", pytrace=False)
    return found[1].splitlines()


@pytest.mark.svm
@pytest.mark.timeout(LIMIT + 300)  # the first one makes, boots and runs the computer
@pytest.mark.parametrize("stage", STAGES)
def test_stage(stage: str, log: str) -> None:
    lines = output_of(stage, log)
    if stage == "clock":
        before, seen, after = map(int, lines)
        assert before <= seen <= after
    elif stage == "doctor":
        assert any("clock" in line for line in lines)
