"""Load that goes on for as long as $NOAH_LOAD_SECONDS says, while nothing that a server takes may grow.

Clients check what each reply says. Memory is looked at all the time, descriptors and threads before and afterwards,
when no client is there: what a server has then that it had not before the load, it would have more of tomorrow.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.servers.serving import LOCAL, NATIVE, Server, client, in_parallel

LOAD_SECONDS: Final = float(os.environ.get("NOAH_LOAD_SECONDS") or 5)
ROOM: Final = 16 << 20  # what a server may take more in the end than when it had warmed up
_WARM_UP_SECONDS: Final = 3.0
_SETTLE_SECONDS: Final = 20.0
_SAMPLES: Final = 60
_MORE_THREADS: Final = 4
_MORE_DESCRIPTORS: Final = 20
"""What a server may keep of the load for later, such as a thread more in a pool, each with 4 descriptors in Noah. What
is lost with every connection is more than that after seconds."""

WRK: Final = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) wrong = 0 end
function response(status, headers, body)
    if status ~= 200 or not (%s) then wrong = wrong + 1 end
end
function done(summary, latency, requests)
    local sum = 0
    for _, thread in ipairs(threads) do sum = sum + thread:get("wrong") end
    local errors = summary.errors
    local lost = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    print(string.format("served %%d wrong %%d lost %%d", summary.requests, sum, lost))
end
"""


class Load:
    """What the clients share: until when they ask, and how many good replies they got."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.replies = 0
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()

    def goes_on(self) -> bool:
        return time.monotonic() < self._end

    def count(self, replies: int = 1) -> None:
        with self._lock:
            self.replies += replies

    def run(self, clients: int, ask: Ask) -> None:
        """Lets the clients ask until the time is over, or one of them fails."""

        def guarded(number: int) -> None:
            try:
                ask(number, self)
            except BaseException:
                self._end = 0
                raise

        in_parallel(clients, guarded)


Ask = Callable[[int, Load], None]
"""What client number n does while the load goes on."""


class Footprint(NamedTuple):
    """What the host processes of servers hold."""

    processes: int
    threads: int
    descriptors: int

    def within(self, other: Footprint) -> bool:
        return (
            self.processes <= other.processes
            and self.threads <= other.threads + _MORE_THREADS
            and self.descriptors <= other.descriptors + _MORE_DESCRIPTORS
        )


def footprint(servers: Sequence[Server]) -> Footprint:
    threads = descriptors = 0
    pids = [pid for server in servers for pid in server.processes()]
    for pid in pids:
        try:
            threads += len(os.listdir(f"/proc/{pid}/task"))
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue  # it has just ended
    return Footprint(len(pids), threads, descriptors)


def at_rest(servers: Sequence[Server]) -> Footprint:
    """What they hold once that does not change any more."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    last, now = None, footprint(servers)
    while last != now and time.monotonic() < deadline:
        time.sleep(1)
        last, now = now, footprint(servers)
    return now


@contextmanager
def bounded_memory(servers: Sequence[Server], seconds: float, room: int = ROOM) -> Iterator[list[int]]:
    """Samples what the servers take, and fails if that grows: the last quarter is compared with the second."""
    samples: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(max(seconds / _SAMPLES, 0.2)):
            samples.append(sum(server.memory() for server in servers))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield samples
    finally:
        over.set()
        watcher.join()
    quarter = len(samples) // 4
    assert quarter > 0, "nothing was seen"
    grown = max(samples[-quarter:]) - max(samples[quarter : 2 * quarter])
    assert grown <= room, f"grown by {grown >> 20} MiB: {[sample >> 20 for sample in samples]}"


def endure(name: str, servers: Sequence[Server], clients: int, ask: Ask, *, room: int = ROOM) -> int:
    """Puts servers under load, which they must have borne as if nothing had been; the number of good replies."""
    Load(_WARM_UP_SECONDS).run(clients, ask)
    before = at_rest(servers)
    load = Load(LOAD_SECONDS)
    with bounded_memory(servers, LOAD_SECONDS, room) as samples:
        load.run(clients, ask)
    deadline = time.monotonic() + _SETTLE_SECONDS
    while not (after := footprint(servers)).within(before) and time.monotonic() < deadline:
        time.sleep(0.2)
    memory = " ".join(str(sample >> 20) for sample in samples[:: max(len(samples) // 10, 1)])
    print(f"{name}: {load.replies} good replies in {load.seconds:g} s; MiB {memory}; {before} -> {after}", flush=True)
    assert after.within(before)
    assert load.replies > 0
    return load.replies


def wrk(work: Path, port: int, load: Load, good: str, *options: str) -> None:
    """Requests by wrk until the time is over; the Lua condition `good` must hold for each reply."""
    script = work / f"check-{threading.get_ident()}.lua"
    script.write_text(WRK % good)
    argv = ["wrk", "-t", "1", "-c", "30", "-d", f"{max(load.seconds, 1):.0f}s", "--timeout", "30s", "-s", str(script)]
    text = client(NATIVE, work, *argv, *options, f"http://{LOCAL}:{port}/", timeout=load.seconds + 120)
    word = text[text.index("served ") :].split()
    assert word[2:6] == ["wrong", "0", "lost", "0"], text
    load.count(int(word[1]))
