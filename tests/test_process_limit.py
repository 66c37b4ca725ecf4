"""A user who may have no more processes (RLIMIT_NPROC): fork(2) and its relatives say so, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.running import environment, need_engine, noah_command, ordinary_user, run, with_kvm

ENGINES: Final = ("kvm", pytest.param("emulator", marks=pytest.mark.slow))
PROGRAM: Final = """
import os, sys

def attempt(**more):
    try:
        pid = os.posix_spawn("/bin/true", ["true"], {}, **more)
    except OSError as error:
        return error.strerror
    return os.waitpid(pid, 0)[1]

redirect = {"file_actions": [(os.POSIX_SPAWN_DUP2, 1, 2)]}
while True:
    print("pid", os.getpid(), flush=True)
    if not sys.stdin.readline():
        break
    print(attempt(), attempt(**redirect), flush=True)
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_no_more_processes(engine: str) -> None:
    need_engine(engine)
    user = ordinary_user()
    command = [*noah_command(user), "run", "--engine", engine, "--root", "/", "--"]
    if os.getuid() == 0:
        command = [*with_kvm(user, usable=True), *command]
    command += ["/usr/bin/python3", "-c", PROGRAM]
    pipe = subprocess.PIPE
    open_files = []
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd="/", env=environment(), text=True) as noah:
        assert noah.stdin is not None
        assert noah.stdout is not None
        for soft in ("4000", "0", "0", "0", "4000"):
            pid = int(noah.stdout.readline().split()[1])
            assert run(["prlimit", "--pid", str(pid), f"--nproc={soft}:"], cwd="/", user=user).status == 0
            noah.stdin.write("go on\n")
            noah.stdin.flush()
            refused = os.strerror(11)
            assert noah.stdout.readline() == ("0 0\n" if soft != "0" else f"{refused} {refused}\n")
            open_files.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
        noah.stdin.close()
        assert noah.stdout.read() == f"pid {pid}\n"
    assert noah.returncode == 0
    assert open_files == open_files[:1] * len(open_files)


# Every process but the first one finds that KVM has no processor for it.
WITHOUT_MACHINES: Final = """
import os, sys
from noah.cli.main import main
from noah.vm.api import EngineError
from noah.vm.kvm.machine import KvmMachine

first, take = os.getpid(), KvmMachine.take_vcpu

def take_in_the_first(self):
    if os.getpid() != first:
        raise EngineError("no more")
    return take(self)

KvmMachine.take_vcpu = take_in_the_first
sys.argv[:] = ["noah", "run", "--engine", "kvm", "--root", "/", "--", *sys.argv[1:]]
sys.exit(main())
"""


@pytest.mark.parametrize("shell", ["bash", "dash"])  # one of them forks, the other one vforks
def test_child_without_a_machine_is_killed(shell: str) -> None:
    need_engine("kvm")
    noah = [sys.executable, "-c", WITHOUT_MACHINES, shell, "-c", "/bin/echo no; echo $?; echo on"]
    result = run(noah, cwd="/")
    assert (result.status, result.stdout.splitlines()) == (0, [b"137", b"on"])
    assert b"internal error" not in result.stderr
