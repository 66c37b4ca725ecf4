"""Runs escape.c in a box, with things of the host around it to reach for: `siege.py FOLDER UID NOAH...`.

For contain.py: it is to run where a success harms nobody. FOLDER/siege.json says what was changed outside of the root.
"""

from __future__ import annotations

import json
import os
import pty
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import contain

SECRET: Final = "secret of the host\n"
TIME_LIMIT: Final = 200


def make_outside(folder: Path) -> None:
    """What the guest must neither see nor change. Everybody may write to it: only Noah is in the way."""
    outside = folder / "outside"
    for each in (outside, outside / "folder", outside / "handed", folder / "readonly"):
        each.mkdir()
        each.chmod(0o777)
    for each in (outside / "secret", outside / "handed/file", folder / "readonly/file", folder / "output"):
        each.write_text(SECRET)
        each.chmod(0o666)
    (outside / "link").symlink_to("secret")


def make_root(root: Path, uid: int) -> None:
    for name in ("tmp", "dev", "proc", "sys", "ro", "inside", "shared/inside"):
        (root / name).mkdir(parents=True)
    for each in (root, *root.rglob("*")):
        os.chown(each, uid, uid)
    for name, device in (("planted-kvm", os.makedev(10, 232)), ("planted-mem", os.makedev(1, 1))):
        os.mknod(root / name, stat.S_IFCHR | 0o666, device)
        (root / name).chmod(0o666)


def give(giver: socket.socket, folder: Path) -> None:
    """What a careless program of the host might hand to a guest that asks it."""
    peer = giver.accept()[0]
    for path in (folder, folder / "file"):
        socket.send_fds(peer, [b"x"], [os.open(path, os.O_RDONLY)])
    peer.recv(1)


def main() -> int:
    folder, uid, noah = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    root, outside = folder / "root", folder / "outside"
    make_root(root, uid)
    make_outside(folder)
    (Path("/dev/shm") / "noah-test-secret").write_text(SECRET)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(outside / "socket"))
    (outside / "socket").chmod(0o777)
    listener.listen()
    listener.setblocking(False)
    giver = socket.socket(socket.AF_UNIX)
    giver.bind(str(root / "giver"))
    (root / "giver").chmod(0o777)
    giver.listen()
    threading.Thread(target=give, args=(giver, outside / "handed"), daemon=True).start()
    victim = subprocess.Popen(["sleep", "1000"], user=uid, start_new_session=True)
    master, slave = pty.openpty()
    os.fchown(slave, uid, uid)
    os.fchmod(slave, 0o666)
    os.set_blocking(master, False)
    before = contain.fingerprint(outside) | contain.fingerprint(folder / "readonly")
    spare = [os.open(outside, os.O_RDONLY), os.open("/dev/zero", os.O_RDWR)]

    command = [*noah, "--root", str(root), "-w", "/tmp", "-v", f"{root}/shared/inside:/inside"]
    command += ["-v", f"{folder}/readonly:/ro:ro", "--", "/escape", str(outside), str(victim.pid)]
    command.append(os.ttyname(slave).rpartition("/")[2])
    state = folder / "state"
    (state / "noah").mkdir(parents=True)
    for each in (state, state / "noah"):
        each.chmod(0o777)
    with (folder / "output").open("ab") as output, (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=os.environ | {"SECRET": SECRET, "XDG_STATE_HOME": str(state)},
            pass_fds=spare,
            user=uid,
            group=uid,
            extra_groups=[],
            cwd="/",
        )
        try:
            status: int | None = process.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = None
    changes = []
    after = contain.fingerprint(outside) | contain.fingerprint(folder / "readonly")
    changes += [name for name in before.keys() | after if before.get(name) != after.get(name)]
    if victim.poll() is not None:
        changes.append(f"the victim has ended: {victim.returncode}")
    elif os.getpriority(os.PRIO_PROCESS, victim.pid) or os.getpgid(victim.pid) != victim.pid:
        changes.append("the victim has another priority or process group")
    try:
        changes.append(f"written to a terminal: {os.read(master, 100)!r}")
    except BlockingIOError:
        pass
    try:
        listener.accept()
        changes.append("the socket was connected to")
    except BlockingIOError:
        pass
    if (Path("/dev/shm") / "noah-test-secret").read_text() != SECRET or len(os.listdir("/dev/shm")) != 1:
        changes.append(f"in /dev/shm: {os.listdir('/dev/shm')}")
    victim.kill()
    victim.wait()
    (folder / "siege.json").write_text(json.dumps({"status": status, "changes": changes}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
