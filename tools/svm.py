#!/usr/bin/env python3
"""A computer whose KVM has the semantics of hardware: Debian's kernel in QEMU, which emulates AMD's virtualisation.

    tools/svm.py COMMAND...     runs a shell command in it, in a copy of this repository; the serial line is shown

A software KVM, such as some cloud machines have, differs where it matters: at SYSCALL and in privilege levels.
Packages come from the apt sources of this machine and are unpacked into build/svm, nothing is installed. The computer
has no disk: everything is in its initial RAM file system. Emulated, and then nested, it is about 50 times slower than
this one, so the time of anything in it says nothing.
"""

from __future__ import annotations

import importlib.metadata
import lzma
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

REPOSITORY: Final = Path(__file__).resolve().parents[1]
CACHE: Final = REPOSITORY / "build" / "svm"
MODULES: Final = ("irqbypass", "kvm", "kvm-amd")
PURE_PYTHON: Final = ("pytest", "pytest-timeout", "pluggy", "iniconfig", "packaging", "pygments")
COPIED: Final = ("src", "tests", "pyproject.toml")
END: Final = "svm: status"
# Two processors, one after the other in one thread: with a thread for each, QEMU 7.2 at times drowns in interrupts.
MACHINE: Final = (
    *("-M", "q35", "-accel", "tcg,thread=single", "-cpu", "EPYC,+svm,+npt", "-smp", "2", "-m", "2048"),
    *("-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"),
)
KERNEL_OPTIONS: Final = "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable clocksource=tsc"
INIT: Final = r"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin HOME=/root LANG=C.UTF-8 PYTHONPATH=/repo/src:/python
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts none /dev/pts
mount -t tmpfs none /dev/shm
mount -t tmpfs none /tmp
ip link set lo up
for module in {modules}; do insmod /modules/$module.ko || echo "svm: no module $module"; done
cd /repo
sh /command 2>&1
echo "{end} $?"
poweroff -f
"""


class SvmError(Exception):
    """The computer could not be built or did not finish; the text says why, and holds its last output."""


def _output(*command: str, cwd: Path | None = None) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SvmError(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout


def _dependency(package: str, pattern: str) -> str:
    """The package that a package without contents stands for."""
    found = re.search(rf"Depends: ({pattern})$", _output("apt-cache", "depends", package), re.MULTILINE)
    if not found:
        raise SvmError(f"the apt sources of this machine do not have {package}: is `apt-get update` due?")
    return found[1]


def _package_names() -> tuple[str, ...]:
    python = _dependency("python3-minimal", r"python3\.\d+-minimal")
    libraries = (f"lib{python}", f"lib{python.replace('minimal', 'stdlib')}", "libc6", "libffi8", "libexpat1", "zlib1g")
    return _dependency("linux-image-cloud-amd64", r"linux-image-[\w.+-]+"), "busybox-static", python, *libraries


def unpacked() -> Path:
    """The folder with the packages' contents; fetched once, and again when there are newer ones."""
    CACHE.mkdir(parents=True, exist_ok=True)
    names = _package_names()
    policy = _output("apt-cache", "policy", *names)
    wanted = "\n".join(names + tuple(re.findall(r"Candidate: (.*)", policy)))
    root, mark = CACHE / "root", CACHE / "packages"
    if mark.exists() and mark.read_text() == wanted:
        return root
    debs = CACHE / "debs"
    for folder in (root, debs):
        _output("rm", "-rf", str(folder))
        folder.mkdir(parents=True)
    _output("apt-get", "download", *names, cwd=debs)
    for deb in debs.iterdir():
        _output("dpkg", "-x", str(deb), str(root))
    _compile(root)
    mark.write_text(wanted)
    return root


def _compile(root: Path) -> None:
    """Compile the modules that start-up needs by the Python that will run them: it takes minutes in the computer."""
    library = next((root / "usr/lib").glob("python3.*"))
    python = root / "usr/bin" / library.name
    loader = next(root.glob("lib64/ld-linux-x86-64.so.*"))
    paths = ":".join(str(root / where / "x86_64-linux-gnu") for where in ("lib", "usr/lib"))
    exclude = "/(test|lib2to3|idlelib|tkinter|turtledemo)/"
    compiler = ("-m", "compileall", "-q", "-x", exclude, "-s", str(root), "-p", "/", str(library))
    subprocess.run(
        (str(loader), "--library-path", paths, str(python), *compiler),
        env={"PYTHONHOME": str(root / "usr"), "LC_ALL": "C.UTF-8"},
        check=False,
    )


class Archive:
    """A cpio archive in the "new ASCII" format (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._folders: set[str] = {""}
        self._count = 0

    def _add(self, name: str, mode: int, content: bytes, mtime: int) -> None:
        self._count += 1
        fields = (self._count, mode, 0, 0, 1, mtime, len(content), 0, 0, 0, 0, len(name.encode()) + 1, 0)
        self.data += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self.data += bytes(-len(self.data) % 4) + content
        self.data += bytes(-len(self.data) % 4)

    def folder(self, name: str) -> None:
        if name not in self._folders:
            self.folder(name.rpartition("/")[0])
            self._folders.add(name)
            self._add(name, 0o40755, b"", 0)

    def file(self, name: str, content: bytes, *, executable: bool = False, mtime: int = 0) -> None:
        self.folder(name.rpartition("/")[0])
        self._add(name, 0o100755 if executable else 0o100644, content, mtime)

    def link(self, name: str, target: str) -> None:
        self.folder(name.rpartition("/")[0])
        self._add(name, 0o120777, target.encode(), 0)

    def tree(self, path: Path, name: str) -> None:
        """Add a file, or a folder with everything in it."""
        if path.is_symlink():
            self.link(name, os.readlink(path))  # noqa: PTH115
        elif path.is_dir():
            for entry in sorted(path.iterdir()):
                self.tree(entry, f"{name}/{entry.name}")
        else:
            status = path.stat()
            self.file(name, path.read_bytes(), executable=bool(status.st_mode & 0o100), mtime=int(status.st_mtime))

    def finished(self) -> bytes:
        self._add("TRAILER!!!", 0, b"", 0)
        return bytes(self.data)


def _system_files(root: Path) -> Iterator[tuple[Path, str]]:
    """What the computer's Python and shell need of the packages."""
    yield root / "bin/busybox", "bin/busybox"
    library = next((root / "usr/lib").glob("python3.*"))
    yield root / "usr/bin" / library.name, "usr/bin/python3"
    yield library, f"usr/lib/{library.name}"
    for where in ("lib", "usr/lib"):
        yield root / where / "x86_64-linux-gnu", f"{where}/x86_64-linux-gnu"
    yield root / "lib64", "lib64"


def _initial_ram_disk(root: Path, command: str, more: Iterable[tuple[Path, str]], texts: Mapping[str, bytes]) -> bytes:
    archive = Archive()
    for folder in ("proc", "sys", "dev", "tmp", "root", "etc", "usr/bin", "python", "modules"):
        archive.folder(folder)
    for path, name in _system_files(root):
        archive.tree(path, name)
    for module in MODULES:
        path = next((root / "lib/modules").rglob(f"{module}.ko*"))
        content = path.read_bytes()
        if path.suffix == ".xz":
            content = lzma.decompress(content)
        archive.file(f"modules/{module}.ko", content)
    for package in PURE_PYTHON:
        for file in importlib.metadata.files(package) or ():
            if not str(file).startswith(".."):  # a script in bin
                archive.tree(Path(str(file.locate())), f"python/{file}")
    for name in COPIED:
        archive.tree(REPOSITORY / name, f"repo/{name}")
    for path, name in more:
        archive.tree(path, name)
    for name, content in texts.items():
        archive.file(name, content)
    archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    archive.file("etc/group", b"root:x:0:\n")
    archive.file("bin/noah", b'#!/bin/sh\nPYTHONPATH=/repo/src exec python3 -m noah "$@"\n', executable=True)
    archive.file("command", command.encode())
    archive.file("init", INIT.format(modules=" ".join(MODULES), end=END).encode(), executable=True)
    return archive.finished()


def run(
    command: str,
    timeout: float,
    more: Iterable[tuple[Path, str]] = (),
    texts: Mapping[str, bytes] = MappingProxyType({}),
    *,
    show: bool = False,
) -> tuple[int, str]:
    """Boot, run a shell command in /repo, power off. Its exit status, and all that came over the serial line.

    `more` are files and folders of this machine to be copied, `texts` contents of files, both with their names there
    (without the leading slash).
    Raises SvmError when the computer cannot be built, and when the command has not finished after `timeout` seconds.
    """
    root = unpacked()
    kernel = next((root / "boot").glob("vmlinuz-*"))
    with tempfile.NamedTemporaryFile(dir=CACHE, prefix="disk.", delete=False) as file:
        file.write(_initial_ram_disk(root, command, more, texts))
    disk = Path(file.name)
    boot = ("-kernel", str(kernel), "-initrd", str(disk), "-append", KERNEL_OPTIONS)
    lines = []
    try:
        with subprocess.Popen(
            ("qemu-system-x86_64", *MACHINE, *boot),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as qemu:
            timer = threading.Timer(timeout, qemu.kill)
            timer.start()
            assert qemu.stdout is not None
            for line in qemu.stdout:
                text = line.decode(errors="replace").rstrip("\r\n")
                if "TCG doesn't support requested feature" in text:  # nor does what runs in it need them
                    continue
                lines.append(text)
                if show:
                    print(text, flush=True)
            timer.cancel()
    finally:
        disk.unlink()
    log = "\n".join(lines)
    status = re.search(rf"^{END} (\d+)", log, re.MULTILINE)
    if not status:
        raise SvmError(f"the command did not finish within {timeout:.0f} s:\n{log}")
    return int(status[1]), log


def main() -> int:
    try:
        status, _ = run(" ".join(sys.argv[1:]) or "true", float(os.environ.get("TIMEOUT", "600")), show=True)
    except SvmError as error:
        print(str(error).partition("\n")[0], file=sys.stderr)
        return 125
    return status


if __name__ == "__main__":
    sys.exit(main())
