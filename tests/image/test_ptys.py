"""Terminals in containers change hands, as login and sshd want it; sshd in one, and the host's ssh, scp and sftp."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.image.noah import Noah
from tests.image.whole import Noah as WholeNoah
from tests.servers.serving import free_port, in_parallel

# TIOCSPTLCK, TIOCGPTN
GIVE = """
open my $master, "+<", "/dev/ptmx" or die; my $word = pack "i", 0;
ioctl $master, 0x40045431, $word; ioctl $master, 0x80045430, $word; my $slave = "/dev/pts/" . unpack "i", $word;
sub show { my @stat = stat $slave; printf "%o %d:%d\\n", @stat[2, 4, 5] }
print +(stat $slave)[4], "\\n";
chown 1000, 5, $slave or print "$!\\n"; chmod 0620, $slave or print "$!\\n"; show;
chown 0, 5, $slave; show; close $master; print -e $slave ? "there" : "gone", "\\n";
"""


def test_terminals_are_given_away(cli: Noah) -> None:
    shown = cli("run", "--rm", "-e", "LC_ALL=C", "small", "perl", "-e", GIVE)
    assert shown.stderr == ""
    assert shown.stdout.split() == ["0", "20620", "1000:5", "20620", "0:5", "gone"]


SERVER = """
useradd -m -s /bin/bash ann
mkdir -p /run/sshd /root/.ssh /home/ann/.ssh
echo "$KEY" | tee /root/.ssh/authorized_keys > /home/ann/.ssh/authorized_keys
chown -R ann:ann /home/ann/.ssh; chmod 700 /root/.ssh /home/ann/.ssh
exec /usr/sbin/sshd -D -e -p $PORT -o ListenAddress=127.0.0.1
"""
SESSION = "id; pwd; t=$(tty); stat -c '%U:%G %a' $t; test -w $t && stty size; sleep 0.2; exit 4"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sshd_in_a_container(noah_of: WholeNoah, name: str, tmp_path: Path) -> None:
    for program in ("ssh", "scp", "sftp", "ssh-keygen"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed here")
    noah_of.shell(name, "debian", "apt-get update -q; apt-get install -y openssh-server")
    noah_of("commit", name, "next")
    noah_of("rm", name)
    key, port, log = tmp_path / "key", free_port(), tmp_path / "log"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    start = f"KEY='{Path(f'{key}.pub').read_text().strip()}'; PORT={port}; {SERVER}"
    options = ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path}/known", "-i", str(key)]
    options += ["-o", "LogLevel=ERROR", "-o", f"Port={port}"]

    def client(status: int, *argv: str, stdin: str = "") -> str:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=300)
        assert done.returncode == status, (argv, done.stdout, done.stderr, log.read_text())
        return done.stdout

    process = noah_of.start(name, "next", start, log)
    try:
        deadline = time.monotonic() + 120
        while "Server listening" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        for user, uid, home in (("root", 0, "/root"), ("ann", 1000, "/home/ann")):
            lines = [f"uid={uid}({user}) gid={uid}({user}) groups={uid}({user})", home]
            on_terminal = client(4, "ssh", *options, "-tt", f"{user}@127.0.0.1", SESSION).splitlines()
            assert on_terminal[:2] == lines
            assert on_terminal[2] in (f"{user}:tty 620", f"{user}:tty 600")
            assert on_terminal[3] == "0 0"
            assert client(4, "ssh", *options, f"{user}@127.0.0.1", SESSION).splitlines()[:2] == lines
        big, back = tmp_path / "big", tmp_path / "back"
        big.write_bytes(os.urandom(3_000_000))
        for protocol in ("-O", "-s"):
            client(0, "scp", "-q", protocol, *options, str(big), "ann@127.0.0.1:copy")
            client(0, "scp", "-q", protocol, *options, "ann@127.0.0.1:copy", str(back))
            assert back.read_bytes() == big.read_bytes()
        batch = f"put {big} other\nchmod 640 other\nrename other moved\nls -l moved\nrm moved\n"
        listed = client(0, "sftp", "-q", *options, "-b", "-", "ann@127.0.0.1", stdin=batch)
        assert "-rw-r-----" in listed

        def many(number: int) -> None:
            assert client(0, "ssh", *options, "ann@127.0.0.1", f"seq {number} 2000 | tail -1") == "2000\n"

        in_parallel(8, many)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
