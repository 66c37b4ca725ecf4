"""sshd with ssh, scp and sftp: sessions with and without a terminal, copies of files, many at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.running import ordinary_user
from tests.servers.serving import (
    KVM,
    NATIVE,
    Target,
    client,
    everyone_s_directory,
    free_port,
    in_parallel,
    is_free,
    need,
    serving,
    skip_unless_root,
)

pytestmark = pytest.mark.slow

CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {work}/host_key
AuthorizedKeysFile {work}/key.pub
PidFile {work}/sshd.pid
PermitRootLogin yes
StrictModes no
UsePAM {pam}
MaxStartups 100
Subsystem sftp {sftp}
"""
START = """
mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f host_key
ssh-keygen -q -t ed25519 -N '' -f key
exec /usr/sbin/sshd -D -e -f sshd_config
"""
SFTP = """
put big copied_by_sftp
get copied_by_sftp big_back
mkdir folder
rename copied_by_sftp folder/moved
chmod 640 folder/moved
ls -l folder
df .
symlink moved folder/link
rm folder/link
rm folder/moved
rmdir folder
"""


class Ssh:
    """The clients' options."""

    def __init__(self, work: Path, port: int) -> None:
        self.work = work
        self.options = ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={work}/known", "-i", f"{work}/key"]
        self.options += ["-o", f"Port={port}", "-o", "LogLevel=ERROR"]

    def ssh(self, target: Target, *argv: str, user: str = "root", stdin: bytes = b"") -> str:
        return client(target, self.work, "ssh", *self.options, f"{user}@127.0.0.1", *argv, stdin=stdin)


def sshd(work: Path, port: int, sftp: str, pam: str) -> list[str]:
    (work / "sshd_config").write_text(CONFIGURATION.format(work=work, port=port, sftp=sftp, pam=pam))
    return ["sh", "-ec", START]


def scenario(target: Target, work: Path, sftp: str, pam: str) -> list[str]:
    port = free_port()
    (work / "big").write_bytes(bytes(range(256)) * 80_000)
    with serving(target, work, sshd(work, port, sftp, pam), port) as server:
        ssh = Ssh(work, port)
        found = [
            ssh.ssh(NATIVE, "id -un; pwd; echo $SSH_CONNECTION | cut -d' ' -f1; exit 0"),
            ssh.ssh(target, "id -un; echo to stderr >&2"),
            ssh.ssh(NATIVE, "id; umask", user=ordinary_user().pw_name) if pam == "no" else "",
            ssh.ssh(NATIVE, "sha256sum", stdin=b"x" * 5_000_000),
            ssh.ssh(NATIVE, "-tt", "tty | tr -d 0-9; stty size; ps -o comm= -p $$; printf 'a\\n'"),
        ]
        failing = client(NATIVE, work, "sh", "-c", f'ssh {" ".join(ssh.options)} root@127.0.0.1 "exit 7"; echo $?')
        found.append(failing)
        for side in (NATIVE, target):
            for protocol in ("-O", "-s"):
                client(side, work, "scp", protocol, *ssh.options, f"{work}/big", f"root@127.0.0.1:{work}/copied")
                client(side, work, "scp", protocol, *ssh.options, f"root@127.0.0.1:{work}/copied", f"{work}/back")
                assert (work / "back").read_bytes() == (work / "big").read_bytes()
        (work / "batch").write_text(SFTP)
        listing = client(NATIVE, work, "sftp", *ssh.options, "-b", f"{work}/batch", f"root@127.0.0.1:{work}")
        found += [line.split()[0] for line in listing.splitlines() if re.match(r"-rw", line)]
        assert (work / "big_back").read_bytes() == (work / "big").read_bytes()

        def many(number: int) -> None:
            assert ssh.ssh(NATIVE, f"seq {number} 5000 | tail -1") == "5000\n"

        memory = server.memory()
        in_parallel(10, many)
        assert server.memory() < memory + (32 << 20)
        assert len(server.processes()) <= 3, "sessions that have not ended"
        server.stop()
        assert is_free(port)
        return found


@pytest.mark.parametrize(("sftp", "pam"), [("/usr/lib/openssh/sftp-server", "no"), ("internal-sftp", "yes")])
def test_sshd(sftp: str, pam: str) -> None:
    skip_unless_root()
    need(KVM)
    found = []
    for target in (NATIVE, KVM):
        with everyone_s_directory() as work:
            found.append([text.replace(str(work), "WORK") for text in scenario(target, work, sftp, pam)])
    assert found[0][-1] == "-rw-r-----"
    assert found[1] == found[0]
