"""`noah run IMAGE` and what follows it, end to end."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from tests.image.noah import Noah, names, one_line, wait_until
from tests.image.rootfs import make_rootfs

from noah.cli.main import COMMANDS, _dispatch
from noah.host.select import make_host
from noah.image.container import Container, Containers, State
from noah.image.owners import host_of
from noah.image.store import Store
from noah.image.supervise import stop


def test_image_says_what_to_run(cli: Noah) -> None:
    result = cli("run", "--rm", "small")
    assert (result.stdout, result.stderr, result.returncode) == ("from-cmd blue sh\n", "", 0)


def test_command_line_goes_first(cli: Noah) -> None:
    result = cli("run", "--rm", "-e", "COLOR=red", "-w", "/", "small", "sh", "-c", "echo $COLOR; pwd; id -u; exit 7")
    assert (result.stdout, result.returncode) == ("red\n/\n0\n", 7)


def test_dashes_behind_the_image(cli: Noah) -> None:
    assert cli("run", "--rm", "small", "--", "cat", "/etc/passwd").stdout.startswith("root:")


def test_entrypoint(cli: Noah) -> None:
    assert cli("run", "--rm", "--entrypoint", "/bin/ls", "small", "/etc/passwd").stdout == "/etc/passwd\n"


def test_program_of_the_host_behind_dashes(cli: Noah) -> None:
    assert cli("run", "--", "test", "-e", "/etc/os-release").returncode == 0


@pytest.mark.parametrize(
    ("words", "status"), [(["/none"], 127), (["/etc/passwd"], 126), (["sh", "-c", "kill -9 $$"], 137)]
)
def test_exit_statuses(cli: Noah, words: list[str], status: int) -> None:
    assert cli("run", "--rm", "small", *words).returncode == status
    assert names(cli, "--all") == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["run", "small:none"], "no image is called small:none"),
        (["run", "--name", "x", "nothing"], "no image is called nothing"),
    ],
)
def test_no_such_image(cli: Noah, words: list[str], text: str) -> None:
    one_line(cli(*words), 125, text)


@pytest.mark.parametrize(
    "words", [["exec", "none", "ls"], ["start", "none"], ["logs", "none"], ["rm", "none"], ["stop", "none"]]
)
def test_no_such_container(cli: Noah, words: list[str]) -> None:
    one_line(cli(*words), 1, "no container is called none")


def test_image_never_changes_and_containers_keep_what_they_do(cli: Noah) -> None:
    assert (
        cli(
            "run", "--name", "one", "small", "sh", "-c", "echo 1 > /new; rm /etc/passwd; echo 2 >> /etc/group"
        ).returncode
        == 0
    )
    assert cli("run", "--rm", "small", "ls", "/new", "/etc/passwd").stdout == "/etc/passwd\n"
    assert cli("start", "--attach", "one").returncode == 0
    result = cli("commit", "one", "changed")
    assert result.stdout.startswith("sha256:")
    shown = cli("run", "--rm", "changed", "sh", "-c", "cat /new /etc/group; ls /etc/passwd")
    assert shown.stdout == "1\nroot:x:0:\nann:x:1000:\n2\n2\n"
    cli("rm", "one")
    assert cli("rmi", "changed").returncode == 0


def test_starting_costs_the_same_for_every_image(cli: Noah, data: Path) -> None:
    """A container holds what was looked at, not what the image has."""
    cli("run", "--name", "one", "small", "cat", "/etc/passwd")
    root = next(data.glob("containers/*/rootfs"))
    assert {path.name for path in (root / "etc").iterdir()} >= {"passwd", "group"}
    image = next(data.glob("images/*/rootfs"))
    assert list((image / "etc/skel").iterdir())
    assert not list((root / "etc/skel").iterdir())
    assert (root / "etc/passwd").samefile(image / "etc/passwd")
    script = """
    stat -c %h /etc/passwd; chmod 600 /etc/passwd; mv /root /moved; ls -A /moved; rm /etc/group; ls /etc/group
    """
    result = cli("run", "--rm", "small", "sh", "-c", script)
    assert result.stdout == "1\n", result.stderr
    assert (result.returncode, result.stderr.count("/etc/group")) == (2, 1)
    assert (image / "etc/group").exists()


def test_processes_change_one_file_at_once(cli: Noah) -> None:
    script = """
    for i in 1 2 3 4 5 6; do echo line$i >> /etc/group & done; wait; cat /etc/group
    """
    result = cli("run", "--rm", "small", "sh", "-c", script, stdin=subprocess.DEVNULL)
    assert sorted(result.stdout.splitlines()) == ["ann:x:1000:", *(f"line{i}" for i in range(1, 7)), "root:x:0:"]


def test_other_users_look_into_what_nobody_has_seen(cli: Noah) -> None:
    script = "ls -A /root; cat /etc/passwd; echo no >> /etc/passwd || echo shut"
    result = cli("run", "--rm", "-u", "ann", "-w", "/", "small", "sh", "-c", script)
    assert result.stdout.splitlines()[0].startswith("root:"), result.stderr
    assert result.stdout.endswith("\nshut\n")


PLACES = """
cd /etc/skel; touch /etc/skel/new; ls -A; mv /etc/skel /etc/moved; touch here; ls -A /etc/moved; (cd ..; ls moved -A)
rm -r /etc/moved; mkdir /etc/skel; ls -A; touch there 2>/dev/null || echo gone
cd /root; perl -e '
    opendir my $directory, "/tmp" or die; mkdir "/tmp/made" or die;
    print join(" ", sort grep {!/^[.]/} readdir $directory), "\\n";
    system "rm -r /tmp/made; touch /tmp/other"; rewinddir $directory;
    print join(" ", sort grep {!/^[.]/} readdir $directory), "\\n";
'
perl -e '
    chdir "/sub/deep" or die;
    my $socket; socket($socket, 1, 1, 0) or die "$!"; bind($socket, pack("Sa*", 1, "here")) or die "$!";
    print -S "/sub/deep/here", "\\n";
    open my $lock, "<", "/sub" or die "$!"; flock($lock, 2) or die "$!";
    my $watch = syscall(253); my $path = "/sub/seen\\0"; syscall(254, $watch, $path, 0x100) >= 0 or die "$!";
    system "sh", "-c", "touch /sub/seen/new"; open my $news, "<&=", $watch; sysread $news, my $event, 99;
    print unpack("x16Z*", $event), "\\n";
'
"""
SEEN = """.profile
new
.profile
here
new
.profile
here
new
gone
made
other
1
new
"""


def test_places_are_those_of_the_container(cli: Noah, data: Path) -> None:
    """What holds a directory that was the image's finds there what is changed, and nothing else shows it."""
    image = next(data.glob("images/*/rootfs"))
    (image / "sub/deep").mkdir(parents=True)
    (image / "sub/seen").mkdir()
    (image.parent / "inodes").unlink()
    before = sorted(str(path) for path in image.rglob("*"))
    try:
        for _ in range(2):
            result = cli("run", "--rm", "-e", "LC_ALL=C", "small", "sh", "-c", PLACES)
            assert (result.stdout, result.stderr) == (SEEN, "")
            assert sorted(str(path) for path in image.rglob("*")) == before
    finally:
        shutil.rmtree(image / "sub")
        (image.parent / "inodes").unlink()


def test_name_clash(cli: Noah) -> None:
    cli("run", "--name", "one", "small")
    one_line(cli("run", "--name", "one", "small"), 125, "the name one is in use")
    assert names(cli, "--all") == ["one"]


def test_life_in_the_background(cli: Noah) -> None:
    result = cli("run", "-d", "--name", "bg", "small", "sh", "-c", "echo begun; echo trouble >&2; sleep 60")
    assert (result.returncode, len(result.stdout)) == (0, 65)
    assert names(cli) == ["bg"]
    deadline = time.monotonic() + 10
    while "trouble" not in cli("logs", "bg").stdout and time.monotonic() < deadline:
        time.sleep(0.05)
    assert cli("logs", "bg").stdout == "begun\ntrouble\n"
    one_line(cli("rm", "bg"), 1, "is running")
    one_line(cli("run", "--name", "bg", "small"), 125, "in use")
    assert cli("stop", "bg").stdout == "bg\n"
    assert names(cli) == []
    assert "Exited (143)" in cli("ps", "-a").stdout
    assert cli("start", "bg").returncode == 0
    assert names(cli) == ["bg"]
    assert cli("stop", "-t", "0", "bg").returncode == 0
    assert "Exited (1" in cli("ps", "-a").stdout
    assert cli("rm", "bg").stdout == "bg\n"


def test_what_runs_in_the_background_is_known_to_run(cli: Noah) -> None:
    for number in range(5):
        assert cli("run", "-d", "--name", f"bg{number}", "small", "sleep", "60").returncode == 0
        assert cli("exec", f"bg{number}", "cat", "/etc/group").returncode == 0
        assert cli("rm", "-f", f"bg{number}").returncode == 0


def test_program_that_does_not_start_in_the_background(cli: Noah) -> None:
    one_line(cli("run", "-d", "--rm", "small", "/none"), 127, "/none", "no such file")
    assert names(cli, "--all") == []


def test_exec_joins_the_box(cli: Noah) -> None:
    cli("run", "-d", "--name", "bg", "small", "sh", "-c", "echo $$ > /pid; sleep 60")
    deadline = time.monotonic() + 10
    while not cli("exec", "bg", "cat", "/pid").stdout and time.monotonic() < deadline:
        time.sleep(0.05)
    assert cli("exec", "-e", "A=b", "-w", "/etc", "bg", "sh", "-c", "echo $A; pwd; exit 4").stdout == "b\n/etc\n"
    assert cli("exec", "-u", "ann", "bg", "id", "-u").stdout == "1000\n"
    assert cli("exec", "bg", "sh", "-c", "kill -0 $(cat /pid)").returncode == 0
    assert cli("exec", "bg", "sh", "-c", f"kill -0 {os.getpid()}").returncode != 0
    cli("exec", "bg", "sh", "-c", "kill -9 $(cat /pid)")
    deadline = time.monotonic() + 10
    while names(cli) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "Exited (137)" in cli("ps", "-a").stdout
    one_line(cli("exec", "bg", "ls"), 1, "is not running")


def test_what_the_program_leaves_running_ends_with_it(cli: Noah) -> None:
    began = time.monotonic()
    assert (
        cli("run", "--rm", "small", "sh", "-c", "sleep 50 & sleep 51 & exit 0", stdin=subprocess.DEVNULL).returncode
        == 0
    )
    assert time.monotonic() - began < 40


def test_container_whose_processes_were_killed(cli: Noah, data: Path) -> None:
    cli("run", "-d", "--name", "bg", "small", "sleep", "60")
    state = json.loads(next(data.glob("containers/*/state.json")).read_text())
    parent = int(Path(f"/proc/{state['pid']}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    assert names(cli) == ["bg"]  # its program is still there
    assert cli("rm", "--force", "bg").returncode == 0
    assert names(cli, "--all") == []


def test_removed_by_two(cli: Noah, noah: str, data: Path) -> None:
    """noah rm --force beside noah run --rm: whoever comes second has nothing to complain about."""
    words = [noah, "run", "--rm", "--name", "box", "small", "sh", "-c", "echo ready; exec sleep 60"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "ready\n"
        second = cli("rm", "--force", "box")
        assert (second.returncode, second.stdout, second.stderr) == (0, "box\n", "")
        assert first.communicate(timeout=20) == ("", "")
        assert first.returncode == 137
    assert names(cli, "--all") == []
    containers = Containers(Store(make_host(), data))
    gone = Container("0" * 64, {"name": "gone"}, data / "containers" / ("0" * 64))
    containers.remove(gone)
    gone.directory.mkdir()
    containers.note(gone, State("running", 1))
    said = (gone.directory / "state.json").read_text()
    containers.remove(gone)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(containers, "_said", lambda container: json.loads(said))
        assert containers.state(gone).status == "exited"


def test_image_in_use(cli: Noah) -> None:
    cli("run", "--name", "one", "small")
    one_line(cli("rmi", "small"), 1, "in use by container one")
    assert cli("images", "--quiet", "small").stdout


def test_cp(cli: Noah, tmp_path: Path) -> None:
    cli("run", "--name", "one", "small", "sh", "-c", "mkdir /d; echo 1 > /d/f; ln -s f /d/l; ln -s /etc /out")
    assert cli("cp", "one:/d", str(tmp_path / "copy")).returncode == 0
    assert (tmp_path / "copy/f").read_text() == "1\n"
    assert os.readlink(tmp_path / "copy/l") == "f"
    (tmp_path / "copy/f").write_text("2\n")
    assert cli("cp", str(tmp_path / "copy/f"), "one:/d").returncode == 0
    assert cli("cp", str(tmp_path / "copy/f"), "one:/out/hello").returncode == 0
    assert not Path("/etc/hello").exists()
    assert cli("cp", "one:/etc/hello", str(tmp_path)).returncode == 0
    assert (tmp_path / "hello").read_text() == "2\n"
    one_line(cli("cp", "one:/none", str(tmp_path)), 1, "one:/none", "no such file")


def test_export(cli: Noah, noah: str) -> None:
    cli("run", "--name", "one", "small", "sh", "-c", "echo 1 > /f; ln /f /g; ln -s f /l")
    data = subprocess.run([noah, "export", "one"], capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {member.name: member for member in tar}
        content = tar.extractfile("f")
        assert content is not None
        assert content.read() == b"1\n"
    assert members["g"].islnk()
    assert members["l"].linkname == "f"
    assert members["bin/sh"].mode & 0o111


@pytest.mark.parametrize(("options", "status"), [([], 137), (["-s", "TERM"], 5), (["--signal", "15"], 5)])
def test_kill_and_wait(cli: Noah, options: list[str], status: int) -> None:
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    cli("run", "-d", "--name", "bg", "small", "sh", "-c", script)
    wait_until(lambda: cli("logs", "bg").stdout)
    assert cli("kill", *options, "bg").stdout == "bg\n"
    assert cli("wait", "bg").stdout == f"{status}\n"
    one_line(cli("kill", "bg"), 1, "is not running")


def test_signals_that_are_none(cli: Noah) -> None:
    for text in ("0", "65", "NONE", "_BLOCK", "RTMIN+x", ""):
        assert cli("kill", f"--signal={text}", "bg").returncode == 125


def test_wait_for_what_is_not_there(cli: Noah) -> None:
    cli("run", "--name", "one", "small", "sh", "-c", "exit 3")
    result = cli("wait", "none", "one")
    assert (result.returncode, result.stdout) == (1, "3\n")
    assert "no container is called none" in result.stderr


def test_image_says_which_signal_stops_it(cli: Noah, data: Path) -> None:
    store = Store(make_host(), data)
    with store.work() as work:
        make_rootfs(work / "rootfs")
        host_of(store.host, work)
        store.add(work, {"config": {"StopSignal": "SIGUSR1", "Env": ["PATH=/bin"]}, "created": ""}, ["usr1"])
    script = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done"
    cli("run", "-d", "--name", "bg", "usr1", "sh", "-c", script)
    wait_until(lambda: cli("logs", "bg").stdout)
    assert cli("stop", "bg").returncode == 0
    assert cli("wait", "bg").stdout == "9\n"


def test_attach_and_the_end_of_the_log(cli: Noah) -> None:
    script = "echo one; echo two; while [ ! -e /go ]; do sleep 0.05; done; echo three; exit 4"
    cli("run", "-d", "--name", "bg", "small", "sh", "-c", script)
    wait_until(lambda: cli("logs", "bg").stdout == "one\ntwo\n")
    assert cli("logs", "-n", "1", "bg").stdout == "two\n"
    assert cli("logs", "--tail=0", "bg").stdout == ""
    assert cli("logs", "--tail", "9", "bg").stdout == "one\ntwo\n"
    assert cli("exec", "-d", "bg", "sh", "-c", "sleep 0.5; echo > /go").returncode == 0
    result = cli("attach", "bg")
    assert (result.stdout, result.returncode) == ("three\n", 4)
    one_line(cli("attach", "bg"), 1, "is not running")


def test_rename_and_restart(cli: Noah) -> None:
    cli("run", "--name", "one", "small", "sh", "-c", "echo x >> /count; cat /count")
    cli("run", "--name", "two", "small")
    one_line(cli("rename", "one", "two"), 1, "the name two is in use")
    one_line(cli("rename", "one", "/x"), 1, "no name for a container")
    assert cli("rename", "one", "three").returncode == 0
    assert sorted(names(cli, "--all")) == ["three", "two"]
    assert cli("restart", "three").stdout == "three\n"
    assert cli("wait", "three").stdout == "0\n"
    assert cli("logs", "three").stdout == "x\nx\n"


def test_name_of_the_machine(cli: Noah) -> None:
    cli("run", "-d", "--name", "bg", "--hostname", "north.example", "small", "sleep", "60")
    script = "cat /proc/sys/kernel/hostname /etc/hostname /etc/hosts"
    lines = cli("exec", "bg", "sh", "-c", script).stdout.splitlines()
    assert (lines[:2], lines[-1]) == (["north.example"] * 2, "127.0.1.1\tnorth.example")
    cli("exec", "bg", "perl", "-e", "$name = 'south'; syscall(170, $name, 5)")  # sethostname(2)
    assert cli("exec", "bg", "cat", "/proc/sys/kernel/hostname").stdout == "south\n"
    assert os.uname().nodename not in ("south", "north.example")
    cli("rm", "-f", "bg")
    one_line(cli("run", "--hostname", "a_b", "small", "true"), 125, "--hostname 'a_b'", "letters, digits")


def test_words_of_docker(cli: Noah, tmp_path: Path) -> None:
    """Options that scripts written for docker have."""
    (tmp_path / "f").write_text("mounted\n")
    cli(
        *("run", "-d", "--name", "bg", "--init", "--shm-size=1g", "--platform", "linux/amd64", "--stop-signal", "INT"),
        *("--label", "a=1", "-l", "b", "--add-host", "db:192.0.2.7", "--add-host", "host.docker.internal:host-gateway"),
        *("--mount", f"type=bind,src={tmp_path},dst=/in,readonly", "small"),
        *("sh", "-c", "trap 'exit 3' INT; cat /in/f; > /in/g; while :; do sleep 0.1; done"),
    )
    wait_until(lambda: "Read-only" in cli("logs", "bg").stdout)
    assert cli("logs", "bg").stdout.startswith("mounted\n")
    hosts = cli("exec", "bg", "cat", "/etc/hosts").stdout
    assert hosts.endswith("192.0.2.7\tdb\n127.0.0.1\thost.docker.internal\n")
    for label, count in (("a", 1), ("a=1", 1), ("b", 1), ("a=2", 0), ("c", 0)):
        assert len(cli("ps", "-q", "--filter", f"label={label}").stdout.split()) == count
    assert cli("ps", "--format", "{{.Labels}}").stdout == "a=1,b=\n"
    cli("stop", "bg")
    assert "Exited (3)" in cli("ps", "-a").stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--privileged"], "there is no --privileged: programs may do what"),
        (["-m", "1g"], "there is no -m: Noah limits nobody"),
        (["--memory=1g"], "there is no --memory: Noah limits nobody"),
        (["--restart", "always"], "there is no --restart: nobody watches"),
        (["--platform", "windows/amd64"], "programs are those of linux"),
        (["--platform", "linux/arm64"], "image small is for amd64"),
        (["--mount", "type=tmpfs,target=/x"], "--mount 'type=tmpfs,target=/x': write type=bind"),
        (["--mount", "source=/tmp,target=x"], "write type=bind"),
        (["--add-host", "db"], "--add-host 'db': write NAME:ADDRESS"),
        (["--stop-signal", "NONE"], "--stop-signal 'NONE'"),
    ],
)
def test_words_of_docker_that_are_not_here(cli: Noah, words: list[str], text: str) -> None:
    one_line(cli("run", *words, "small", "true"), 125, text)


def test_read_only_root(cli: Noah, tmp_path: Path) -> None:
    script = """
    > /f; mkdir /d; chmod 700 /tmp; chmod 700 /none; mv /etc/passwd /p; rm /etc/passwd
    touch /tmp /dev/shm/f /out/f && echo made; touch -c /none && echo none; > /etc/passwd; cat /etc/group
    """
    result = cli("run", "--rm", "--read-only", "-v", f"{tmp_path}:/out", "small", "sh", "-c", script)
    assert result.stdout == "none\nroot:x:0:\nann:x:1000:\n"
    said = [line.rpartition(": ")[2] for line in result.stderr.splitlines()]
    assert said == [
        *("Read-only file system",) * 3,
        "No such file or directory",
        *("Read-only file system",) * 4,
    ]
    assert (tmp_path / "f").exists()


def test_processes_of_a_container(cli: Noah) -> None:
    one_line(cli("top", "none"), 1, "no container is called none")
    cli("run", "-d", "--name", "bg", "-u", "ann", "small", "sh", "-c", "sleep 61 & sleep 62")
    wait_until(lambda: "sleep 62" in cli("top", "bg").stdout)
    head, *rows = [line.split(maxsplit=4) for line in cli("top", "bg").stdout.splitlines()]
    assert head == ["USER", "PID", "PPID", "START", "COMMAND"]
    first, *others = rows
    assert (first[0], first[2], first[4]) == ("ann", "1", "sh -c sleep 61 & sleep 62")
    assert [(row[0], row[2], row[4]) for row in others] == [
        ("ann", first[1], "sleep 61"),
        ("ann", first[1], "sleep 62"),
    ]
    cli("stop", "-t", "0", "bg")
    one_line(cli("top", "bg"), 1, "container bg is not running")


def test_what_a_container_has_changed(cli: Noah) -> None:
    cli("run", "--name", "one", "small", "true")
    assert cli("diff", "one").stdout == ""
    cli("rm", "one")
    script = """
    mkdir -p /opt/a/b /tmp/empty; > /opt/a/b/c; rm /etc/group /bin/env; chmod 700 /root; echo >> /etc/passwd
    cp -p /bin/ln /new; rm /bin/ln; mv /new /bin/ln; rm /bin/mv; mkdir /bin/mv; > /bin/mv/in; > /etc/hosts; touch /tmp
    """
    cli("run", "--name", "one", "small", "sh", "-c", script)
    assert cli("diff", "one").stdout.splitlines() == [
        *("C /bin", "D /bin/env", "C /bin/ln", "C /bin/mv", "A /bin/mv/in", "C /etc", "D /etc/group", "C /etc/passwd"),
        *("A /opt", "A /opt/a", "A /opt/a/b", "A /opt/a/b/c", "C /root", "C /tmp", "A /tmp/empty"),
    ]
    one_line(cli("diff", "none"), 1, "no container is called none")


def test_inspect(cli: Noah) -> None:
    cli("run", "--name", "one", "-e", "A=b", "small", "sh", "-c", "exit 6")
    result = cli("inspect", "one", "small", "none")
    assert (result.returncode, result.stderr) == (1, "noah: no container or image is called none\n")
    container, image = json.loads(result.stdout)
    assert (container["Name"], container["State"]["ExitCode"], container["Config"]["Cmd"][0]) == ("one", 6, "sh")
    assert "A=b" in container["Config"]["Env"]
    assert container["Image"] == image["Id"]
    assert image["RepoTags"] == ["small:latest"]
    assert json.loads(cli("inspect", "--type", "image", "small").stdout) == [image]
    one_line_json = cli("inspect", "--type", "container", "small")
    assert (one_line_json.returncode, one_line_json.stdout) == (1, "[]\n")


def test_tag_and_history(cli: Noah) -> None:
    assert cli("tag", "small", "other:1").returncode == 0
    assert cli("images", "-q", "other").stdout == cli("images", "-q", "small").stdout != ""
    assert cli("rmi", "other:1").stdout == "Untagged: other:1\n"
    assert cli("history", "small").stdout.startswith("CREATED")
    one_line(cli("tag", "none", "x"), 1, "no image is called none")


def test_working_directory_is_made(cli: Noah) -> None:
    assert cli("run", "--rm", "-w", "/srv/a/b", "small", "sh", "-c", "pwd; ls -A /srv").stdout == "/srv/a/b\na\n"
    one_line(cli("run", "--rm", "-w", "/etc/passwd/x", "small", "pwd"), 125, "directory /etc/passwd/x")


def test_environment_from_files(cli: Noah, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HOST", "h")
    (tmp_path / "env").write_text("# comment\nA=1\n\nFROM_HOST\nNOT_THERE\nCOLOR=green\n")
    script = "echo $A $FROM_HOST ${NOT_THERE-unset} $COLOR"
    result = cli("run", "--rm", "--env-file", str(tmp_path / "env"), "-e", "A=2", "small", "sh", "-c", script)
    assert result.stdout == "2 h unset green\n"
    one_line(cli("run", "--env-file", str(tmp_path / "none"), "small"), 125, "no such file")


def test_proxies_of_the_host(cli: Noah, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://one:1")
    monkeypatch.setenv("NO_PROXY", "here")
    script = "echo ${http_proxy-unset} ${NO_PROXY-unset}"
    assert cli("run", "--name", "one", "small", "sh", "-c", script).stdout == "http://one:1 here\n"
    monkeypatch.setenv("http_proxy", "http://two:2")
    assert cli("start", "-a", "one").stdout == "http://two:2 here\n"
    assert cli("run", "--rm", "-e", "http_proxy=own", "small", "sh", "-c", script).stdout == "own here\n"
    assert cli("run", "--rm", "--http-proxy=false", "small", "sh", "-c", script).stdout == "unset unset\n"
    one_line(cli("run", "--http-proxy=maybe", "small"), 125, "choose true or false")
    cli("commit", "one", "made")
    assert "http_proxy" not in cli("inspect", "made").stdout
    cli("rm", "one")
    cli("rmi", "made")


def test_certificates_of_the_host(cli: Noah, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("certificates\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    script = "cat $SSL_CERT_FILE $PIP_CERT; echo no > $SSL_CERT_FILE || echo shut"
    shown = cli("run", "--name", "one", "--host-certs", "small", "sh", "-c", script)
    assert shown.stdout == "certificates\ncertificates\nshut\n", shown.stderr
    assert cli("run", "--rm", "small", "sh", "-c", "echo ${SSL_CERT_FILE-unset}").stdout == "unset\n"
    bundle.unlink()
    one_line(cli("start", "-a", "one"), 125, str(bundle), "no such file")


def test_image_by_its_source(cli: Noah, tmp_path: Path) -> None:
    root = make_rootfs(tmp_path / "root")
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.add(root, ".")
    result = cli("run", "--rm", f"rootfs:{tmp_path}/root.tar", "cat", "/etc/group")
    assert result.stdout == "root:x:0:\nann:x:1000:\n", result.stderr
    assert cli("rmi", "root").returncode == 0
    one_line(cli("run", "--rm", "--pull=never", "docker://127.0.0.1:1/none"), 125, "no image is called")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in sorted(COMMANDS):
        assert _dispatch(command, ["--help"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"Usage: noah {command}")
        assert all(len(line) <= 120 for line in shown.splitlines())


def test_shell_of_the_last_container(cli: Noah) -> None:
    one_line(cli("shell"), 1, "no container yet")
    cli("run", "--name", "one", "small", "sh", "-c", "echo kept > /note")
    assert cli("shell", input="cat /note; echo $0; exit 5\n").stdout == "kept\n/bin/sh\n"


def test_volumes_stay_with_the_container(cli: Noah, tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("theirs\n")
    result = cli("run", "--name", "one", "-v", f"{tmp_path}:/mnt", "small", "cat", "/mnt/shared")
    assert result.stdout == "theirs\n"
    assert cli("start", "-a", "one").stdout == "theirs\n"


def test_named_volumes(cli: Noah, data: Path, tmp_path: Path) -> None:
    assert cli("volume", "ls").stdout == "DRIVER   VOLUME NAME\n"
    script = "ls /home; chown 1000:50 /etc; chmod 750 /etc; echo new > /etc/new"
    result = cli("run", "--name", "one", "-v", "conf:/etc", "-v", "home:/home", "small", "sh", "-c", script)
    assert (result.stdout, result.stderr) == ("", "")
    shown = cli(
        "run", "--rm", "-v", "conf:/x:ro", "small", "sh", "-c", "cat /x/new /x/passwd; stat -c '%u:%g %a' /x; > /x/new"
    )
    assert shown.stdout.startswith("new\nroot:x:0:0")  # what the image has there
    assert shown.stdout.endswith("1000:50 750\n")
    assert "Read-only" in shown.stderr
    assert not cli("run", "--rm", "small", "ls", "/etc/new").stdout
    assert cli("volume", "ls", "-q").stdout == "conf\nhome\n"
    assert json.loads(cli("volume", "inspect", "home").stdout)[0]["Mountpoint"] == str(data / "volumes" / "home")
    assert json.loads(cli("inspect", "one").stdout)[0]["Mounts"][0] == {
        "Type": "volume", "Name": "conf", "Destination": "/etc", "RW": True,
    }  # fmt: skip
    one_line(cli("volume", "rm", "conf"), 1, "volume conf is in use by one", "noah rm")
    assert cli("volume", "prune", "--force").stdout == ""
    cli("rm", "one")
    assert cli("volume", "rm", "conf").stdout == "conf\n"
    one_line(cli("volume", "rm", "conf"), 1, "no volume is called conf")
    assert cli("volume", "rm", "-f", "conf").returncode == 0
    assert cli("volume", "create", "empty").stdout == "empty\n"
    assert cli("run", "--rm", "-v", "empty:/etc", "small", "cat", "/etc/group").returncode == 0
    assert sorted(cli("volume", "prune", "-f").stdout.split()) == ["empty", "home"]
    one_line(cli("volume", "create", "a/b"), 1, "'a/b' is no name for a volume")


def test_volume_of_a_relative_path(cli: Noah, tmp_path: Path) -> None:
    """It stays the directory that it was, wherever the container is started again."""
    (tmp_path / "f").write_text("here\n")
    command = ("run", "--name", "one", "-v", "./f:/f", "small", "cat", "/f")
    assert cli(*command, cwd=tmp_path).stdout == "here\n"
    assert cli("start", "-a", "one", cwd="/").stdout == "here\n"


def test_trace_of_what_runs_in_a_container(cli: Noah, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    assert cli("run", "-d", "--name", "one", f"--strace={trace}", "small", "sleep", "1000").returncode == 0
    assert 'execve("' in trace.read_text()
    shown = cli("exec", "--strace", "one", "cat", "/etc/passwd")
    assert 'openat(AT_FDCWD, "/etc/passwd", O_RDONLY' in shown.stderr


def test_sockets_belong_to_who_binds_them(cli: Noah) -> None:
    """bind(2) makes a file, connect(2) needs to be allowed to write it; both are made without any module of perl's."""
    script = """
    export LC_ALL=C
    socket='socket(S, 1, 1, 0); my $a = pack("Sa*", 1, $ARGV[0]);'
    server() { perl -e "$socket"' bind(S, $a) or die "bind: $!\n"; listen(S, 1); chmod(0700, $ARGV[0]) or die $!' $1; }
    client() { perl -e "$socket"' connect(S, $a) or die "connect: $!\n"' $1; }
    """
    cli("run", "-d", "--name", "one", "small", "sleep", "1000")
    make = script + "umask 0; mkdir -m 777 /open; mkdir /shut; chmod 755 /shut; server /shut/root"
    assert cli("exec", "one", "sh", "-c", make).stderr == ""
    use = (
        script
        + "server /open/mine; stat -c '%U %a' /open/mine; server /shut/mine; client /shut/root; client /open/mine"
    )
    shown = cli("exec", "-u", "ann", "one", "sh", "-c", use)
    assert shown.stdout == "ann 700\n"
    denied, refused = "Permission denied", "Connection refused"  # refused: it has ended
    assert shown.stderr == f"bind: {denied}\nconnect: {denied}\nconnect: {refused}\n"


def test_images_share_what_is_the_same(cli: Noah, data: Path) -> None:
    """An image that was made of a container has the inodes of the one below, and its containers change neither."""
    cli("run", "--name", "one", "small", "sh", "-c", "echo 1 > /new; chown 7:8 /etc/group; ln /bin/cat /bin/dog")
    ids = [cli("commit", "one", "second").stdout.strip().removeprefix("sha256:")]
    first = Store(make_host(), data).find("small").rootfs
    second = data / "images" / ids[0] / "rootfs"
    assert (second / "bin/sh").samefile(first / "bin/sh")
    assert not (second / "etc/group").samefile(first / "etc/group")
    script = "stat -c '%h %u:%g' /bin/sh /bin/dog /etc/group; echo 2 >> /etc/passwd; chmod 700 /bin/sh; cat /new"
    assert cli("run", "--rm", "second", "sh", "-c", script).stdout == "1 0:0\n2 0:0\n1 7:8\n1\n"
    assert (first / "etc/passwd").read_text().count("\n") == (second / "etc/passwd").read_text().count("\n") == 2
    assert (first / "bin/sh").stat().st_mode & 0o777 == 0o755
    cli("rm", "one")
    assert cli("rmi", "second").returncode == 0
    assert cli("run", "--rm", "small", "cat", "/etc/passwd").returncode == 0


SERVE = """
socket(S, 2, 1, 0); bind(S, pack("Sna4x8", 2, 80, "\\0" x 4)) or die "bind: $!"; listen(S, 5);
$| = 1; print unpack("x2n", getsockname(S)), "\\n";
while ($peer = accept(C, S)) {
    syswrite(C, join(" ", unpack("x2n", getsockname(C)), unpack("x2n", $peer) == 80 ? "self" : "other") . "\\n");
    close(C);
}
"""
ASK = """
socket(S, 2, 1, 0); connect(S, pack("Sna4x8", 2, 80, "\\x7f\\0\\0\\1")) or die "connect: $!";
print unpack("x2n", getpeername(S)), " ", <S>;
"""


def test_published_ports(cli: Noah) -> None:
    """A server that wants port 80 is elsewhere on the host, and does not notice."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cli(
        "run",
        "-d",
        "--name",
        "bg",
        "-p",
        f"127.0.0.1:{port}:80",
        "-p",
        "5353-5354:53-54/udp",
        "small",
        "perl",
        "-e",
        SERVE,
    )
    wait_until(lambda: cli("logs", "bg").stdout.splitlines()[-1:] == ["80"])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        assert client.recv(100) == b"80 other\n"
    assert cli("exec", "bg", "perl", "-e", ASK).stdout == "80 80 other\n"
    assert cli("port", "bg").stdout == (f"80/tcp -> 127.0.0.1:{port}\n53/udp -> 0.0.0.0:5353\n54/udp -> 0.0.0.0:5354\n")
    assert cli("port", "bg", "80").stdout == f"127.0.0.1:{port}\n"
    one_line(cli("port", "bg", "80/udp"), 1, "publishes no port 80/udp")
    shown = cli("ps", "--format", "{{.Ports}}").stdout
    assert shown == f"127.0.0.1:{port}->80/tcp, 0.0.0.0:5353->53/udp, 0.0.0.0:5354->54/udp\n"
    cli("rm", "-f", "bg")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["x"], "HOST:PORT"),
        (["80:0"], "HOST:PORT"),
        (["1:2:3:4"], "HOST:PORT"),
        (["80-81:90"], "HOST:PORT"),
        (["80/sctp"], "HOST:PORT"),
        (["1.2.3:80:80"], "1.2.3 is no address"),
        (["8080:80", "8081:80"], "port 80/tcp of the container is there twice"),
        (["8080:80", "8080:81"], "port 8080/tcp of the host is there twice"),
    ],
)
def test_ports_that_are_none(cli: Noah, words: list[str], text: str) -> None:
    one_line(cli("run", "--rm", *(f"--publish={word}" for word in words), "small"), 125, text)


def test_guest_users_own_files(cli: Noah) -> None:
    script = """
    touch /f; chown 1000:50 /f; chmod 4750 /f; stat -c '%u:%g %a' /f
    mkdir -m 1777 /open; mkdir -m 700 /shut; cp /f /open/g; stat -c '%u:%g %a' /open/g
    """
    result = cli("run", "--name", "one", "small", "sh", "-c", script)
    assert (result.stdout, result.stderr) == ("1000:50 4750\n0:0 750\n", "")
    cli("commit", "one", "owned")
    script = """
    stat -c '%u:%g %a' /f; touch /open/mine; stat -c '%u:%g %a' /open/mine
    ls /shut || echo shut; touch /no || echo no; rm /open/g || echo sticky; cat /f && echo own
    """
    shown = cli("run", "--rm", "-u", "ann", "owned", "sh", "-c", script)
    assert shown.stdout == "1000:50 4750\n1000:1000 644\nshut\nno\nsticky\nown\n"
    cli("rm", "one")
    cli("rmi", "owned")


def test_stopping_what_ends_at_that_moment(cli: Noah, data: Path) -> None:
    """Between a look at its state and one at its processes a container may end: its box is gone then."""
    cli("run", "-d", "--name", "bg", "small", "sleep", "60")
    host = make_host()
    containers = Containers(Store(host, data))
    container = containers.find("bg")
    containers.forget_box(container)
    stop(host, containers, container, 0, signal.SIGKILL)
    assert containers.state(container).status == "exited"
