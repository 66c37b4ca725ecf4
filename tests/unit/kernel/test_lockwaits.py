"""Deadlocks of record locks: told from waits that are over but still noted."""

from __future__ import annotations

import pytest

from noah.kernel.lockwaits import LOCK_WAITS_SIZE, LockWaits, closed


@pytest.fixture(scope="module")
def memory() -> memoryview:
    return memoryview(bytearray(LOCK_WAITS_SIZE))


@pytest.fixture
def waits(memory: memoryview) -> LockWaits:
    memory[: 100 * 12] = bytes(100 * 12)
    return LockWaits(memory)


def wait(waits: LockWaits, pid: int, holder: int) -> None:
    waits.begin(pid)
    waits.note(pid, holder)


def test_chain_is_no_circle(waits: LockWaits) -> None:
    wait(waits, 1, 2)
    wait(waits, 2, 3)
    assert waits.circle(1) == []


def test_circle_counts_once_everybody_has_tried_again(waits: LockWaits) -> None:
    wait(waits, 1, 2)
    wait(waits, 2, 3)
    wait(waits, 3, 1)
    before = waits.circle(3)
    assert [pid for pid, _, _ in before] == [1, 2]
    assert not closed(before, waits.circle(3))
    waits.note(1, 2)
    assert not closed(before, waits.circle(3))
    waits.note(2, 3)
    assert closed(before, waits.circle(3))


def test_old_note_of_a_process_that_got_its_lock_is_no_deadlock(waits: LockWaits) -> None:
    wait(waits, 1, 2)  # 2 has unlocked meanwhile, and waits for another lock of 1
    wait(waits, 2, 1)
    before = waits.circle(2)
    waits.end(1)
    assert not closed(before, waits.circle(2))
    wait(waits, 1, 2)  # another wait: between the two, 1 could have unlocked
    assert not closed(before, waits.circle(2))


def test_circle_that_others_form_is_theirs(waits: LockWaits) -> None:
    wait(waits, 1, 2)
    wait(waits, 2, 1)
    wait(waits, 3, 1)
    assert waits.circle(3) == []
