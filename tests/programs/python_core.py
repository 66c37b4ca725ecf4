# python3 and its standard library, as far as it touches the system.
# ruff: noqa
# mypy: ignore-errors
import asyncio
import concurrent.futures
import contextlib
import ctypes
import errno
import fcntl
import glob
import hashlib
import io
import json
import mmap
import multiprocessing
import os
import pathlib
import pickle
import queue
import random
import re
import resource
import select
import shutil
import signal
import socket
import sqlite3
import ssl
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
import tarfile
import gzip
import lzma
import bz2
import csv
import decimal
import uuid
import platform
import pwd
import secrets


def show(*values):
    print(*values, flush=True)


show(sys.version_info.major, sys.platform, os.name, sys.byteorder, os.path.basename(os.getcwd()) != "")
show(subprocess.run(["tr", "a-z", "A-Z"], input="piped\n", text=True, capture_output=True).stdout.strip())
show(subprocess.run("exit 3", shell=True).returncode, subprocess.run(["sh", "-c", "kill -9 $$"]).returncode)
try:
    subprocess.run(["/nowhere/program"])
except FileNotFoundError as error:
    show("not found", error.errno)
try:
    subprocess.run(["sleep", "9"], timeout=0.3)
except subprocess.TimeoutExpired as error:
    show("timed out", round(error.timeout, 1))
with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
    show(cat.communicate(b"x" * 1_000_000)[0].count(b"x"))
show(subprocess.check_output(["sh", "-c", "echo $A; pwd"], env={"A": "b", "PATH": os.environ["PATH"]}, cwd="/").split())
show(subprocess.run(["sh", "-c", "echo out; echo err >&2"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout)
one = subprocess.Popen(["seq", "5"], stdout=subprocess.PIPE)
two = subprocess.Popen(["tac"], stdin=one.stdout, stdout=subprocess.PIPE)
one.stdout.close()
show(two.communicate()[0].split(), one.wait())
r, w = os.pipe()
pid = os.fork()
if not pid:
    os.write(w, b"child")
    os._exit(9)
show(os.read(r, 99), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 12"], os.environ)
show(os.WEXITSTATUS(os.wait()[1]), os.waitid is not None)
caught = []
signal.signal(signal.SIGUSR1, lambda number, frame: caught.append(signal.Signals(number).name))
os.kill(os.getpid(), signal.SIGUSR1)
signal.signal(signal.SIGALRM, lambda number, frame: caught.append("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.1)
signal.pause()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
os.kill(os.getpid(), signal.SIGUSR2)
show(caught, signal.sigpending(), signal.sigwait([signal.SIGUSR2]), signal.sigtimedwait([signal.SIGUSR2], 0.01))
database = sqlite3.connect("test.db")
with database:
    database.execute("create table t (id integer primary key, name text, value real)")
    database.executemany("insert into t (name, value) values (?, ?)", [(f"n{i}", i / 3) for i in range(500)])
show(database.execute("select count(*), round(sum(value), 3), max(name) from t where id % 7 = 0").fetchone())
other = sqlite3.connect("test.db", timeout=0.1)
database.execute("begin exclusive")
try:
    other.execute("insert into t (name) values ('x')")
except sqlite3.OperationalError as error:
    show(error)
database.rollback()
other.execute("pragma journal_mode=wal")
other.execute("insert into t (name) values ('wal')")
other.commit()
show(database.execute("select name from t where id = 501").fetchone(), os.path.exists("test.db-wal"))
database.close(), other.close()
for name in glob.glob("test.db*"):
    os.unlink(name)
show(ssl.OPENSSL_VERSION.split()[0], ssl.create_default_context().verify_mode.name, len(ssl.RAND_bytes(8)))
show(json.dumps({"b": [1, 2.5, None, True], "a": "é"}, sort_keys=True), json.loads('{"x": [1e3, "\\u00e9"]}'))
with (
    tempfile.TemporaryDirectory(dir=".") as folder,
    tempfile.NamedTemporaryFile(dir=folder) as named,
    tempfile.TemporaryFile() as nameless,
):
    named.write(b"named")
    named.flush()
    nameless.write(b"nameless")
    nameless.seek(0)
    show(
        os.stat(named.name).st_size,
        oct(os.stat(named.name).st_mode),
        oct(os.stat(folder).st_mode),
        nameless.read(),
        os.listdir(folder) != [],
    )
top = pathlib.Path("tree")
(top / "a" / "b").mkdir(parents=True)
(top / "a" / "file.txt").write_text("text é")
(top / "link").symlink_to("a/file.txt")
(top / "hard").hardlink_to(top / "a" / "file.txt")
show(
    sorted(map(str, top.rglob("*"))),
    (top / "link").read_text(),
    (top / "link").is_symlink(),
    (top / "hard").stat().st_nlink,
)
show(
    sorted((entry.name, entry.is_dir(), entry.is_symlink()) for entry in os.scandir(top)),
    top.resolve().name,
    (top / "a/../link").resolve().name,
)
os.utime(top / "hard", ns=(10**18, 10**18 + 123456789))
show((top / "a/file.txt").stat().st_mtime_ns, stat.filemode((top / "a").stat().st_mode))
shutil.copytree(top, "copy", symlinks=True)
shutil.move("copy", "moved")
shutil.make_archive("arch", "gztar", "moved")
shutil.rmtree("moved")
with tarfile.open("arch.tar.gz") as archive:
    show(sorted(archive.getnames()))
os.unlink("arch.tar.gz")
with zipfile.ZipFile("z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(zipfile.ZipInfo("member"), "content" * 100)
show(
    zipfile.ZipFile("z.zip").read("member")[:7], zlib.crc32(b"mitou"), len(zlib.decompress(zlib.compress(b"a" * 10**6)))
)
show(
    [module.decompress(module.compress(b"data" * 1000))[:4] for module in (gzip, lzma, bz2)],
    hashlib.sha256(b"mitou").hexdigest()[:16],
    hashlib.blake2b(b"x").hexdigest()[:8],
    hashlib.new("md5", b"x").hexdigest()[:8],
)
with open("mapped", "wb+") as file:
    file.truncate(8192)
    with mmap.mmap(file.fileno(), 0) as shared:
        shared[4096:4101] = b"mitou"
        shared.flush()
        show(os.pread(file.fileno(), 5, 4096), shared.find(b"tou"), len(shared))
        pid = os.fork()
        if not pid:
            shared[0:5] = b"child"
            os._exit(0)
        os.waitpid(pid, 0)
        show(shared[:5])
    with mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_COPY) as private:
        private[0:1] = b"X"
        show(private[:5], os.pread(file.fileno(), 5, 0))
with mmap.mmap(-1, 1 << 20) as anonymous:
    anonymous.write(b"anonymous")
    show(anonymous[:9], anonymous[1 << 19])
left, right = socket.socketpair()
left.sendall(b"over a socket")
show(right.recv(99), select.select([right], [left], [], 0)[:2] == ([], [left]))
poller = select.poll()
poller.register(right, select.POLLIN)
show(poller.poll(10), left.send(b"!"), [event for _, event in poller.poll(1000)])
left.shutdown(socket.SHUT_WR)
show(right.recv(9), right.recv(9), right.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE))
with open("lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    show(
        fcntl.fcntl(lock, fcntl.F_GETFL) & os.O_ACCMODE,
        fcntl.fcntl(lock, fcntl.F_GETFD),
        os.get_inheritable(lock.fileno()),
    )
    pid = os.fork()
    if not pid:
        with open("lock", "w") as second:
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os._exit(11)
        os._exit(0)
    show(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
for call in (
    lambda: os.open("nowhere", 0),
    lambda: os.mkdir("tree"),
    lambda: os.rmdir("tree"),
    lambda: os.read(99, 1),
    lambda: os.kill(2**30, 0),
    lambda: os.readlink("lock"),
    lambda: os.listdir("lock"),
    lambda: os.open("lock/x", 0),
    lambda: os.execv("lock", ["x"]),
):
    try:
        call()
    except OSError as error:
        show(errno.errorcode[error.errno], type(error).__name__)
show(
    os.umask(0o22),
    os.cpu_count() > 0,
    len(os.urandom(5)),
    os.getpid() == int(os.readlink("/proc/self")),
    os.getppid() != os.getpid(),  # 0 for who was started from outside of a box or container
    os.isatty(0),
)
show(
    resource.getrlimit(resource.RLIMIT_CORE)[0] >= -1,
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 1000,
    time.monotonic() > 0,
    time.clock_gettime(time.CLOCK_REALTIME) > 1e9,
    time.strftime("%F", time.gmtime(0)),
)
show(
    platform.system(),
    platform.machine(),
    pwd.getpwuid(0).pw_name,
    os.path.expanduser("~root"),
    uuid.uuid5(uuid.NAMESPACE_DNS, "x"),
    random.Random(1).random(),
    decimal.Decimal(1) / 7,
)
libc = ctypes.CDLL(None, use_errno=True)
show(libc.getpid() == os.getpid(), libc.close(99), errno.errorcode[ctypes.get_errno()], libc.strlen(b"four"))
fd = os.memfd_create("x")
os.write(fd, b"memory")
source = os.open("source", os.O_CREAT | os.O_RDWR, 0o644)
os.write(source, b"copied")
show(
    os.pread(fd, 9, 0),
    os.lseek(fd, 0, os.SEEK_END),
    os.sendfile(os.open("sent", os.O_CREAT | os.O_WRONLY, 0o644), fd, 0, 6),
    open("sent").read(),
    os.copy_file_range(source, os.open("copied", os.O_CREAT | os.O_RDWR, 0o644), 3, 0),
)
show(
    len(pickle.dumps(list(range(1000)))),
    sum(i * i for i in range(200_000)),
    re.findall(r"\b(\w)\w*\1\b", "abca xyx test"),
)
os.execvp("sh", ["sh", "-c", 'echo "exec $0"; exit 5', "done"])
