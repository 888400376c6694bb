"""Whatever the disk does to a journal: what was said to be durable is read back, in order, once."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from failing_disk import ERRORS, FailingDisk, Fault
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from shipping import ended, turn

from persistence.disk import is_locked
from persistence.events import Completeness, Ended, EndReason, Event
from persistence.journal import JournalWriter, Reading, read, recover
from persistence.journal import ended as has_ended
from persistence.journal import writer as writers
from persistence.journal.file import JournalFile
from persistence.journal.lines import encode

ROOMY = 1024**3
FAULTS = st.one_of(
    st.builds(Fault, st.sampled_from(ERRORS), st.sampled_from([0, 0, 1, 100, 700])),
    st.builds(Fault, st.just(0), st.sampled_from([1, 100, 700])),
)
PLANS = st.lists(st.one_of(st.none(), FAULTS), max_size=6)
ROTTEN = encode(turn(uuid4(), 2**20)).replace(b"Said", b"Sold")
"""A line that would be an event, were it not for its checksum."""
GARBAGE = st.sampled_from([b"", b"\0" * 40, b"deadbeef {}\n", b"half a li", b"\n\n\xff", ROTTEN])


class Journal(RuleBasedStateMachine):
    """One job's file on a disk that fails; a reader follows it all the while."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory(prefix="voice-coach-test-", dir="/tmp")
        self.session_id = uuid4()
        self.disk = FailingDisk()
        folder = Path(self.place.name)
        with self.disk.under():
            self.file = JournalFile.create(folder, self.session_id)
        self.path = folder / f"{self.session_id}.journal"
        self.events: list[Event] = []
        self.waiting = b""
        self.durable = 0
        self.reader = Reading([], 0, 0)
        self.seen: list[Event] = []
        self.dead = False

    def alive(self) -> bool:
        return not self.dead

    @precondition(alive)
    @rule(count=st.integers(0, 4), plan=PLANS, length=st.sampled_from([1, 300]))
    def append(self, count: int, plan: list[Fault | None], length: int) -> None:
        """New events after those that the disk has not taken yet."""
        for _ in range(count):
            event = turn(self.session_id, len(self.events) + 1, text="x" * length)
            self.events.append(event)
            self.waiting += encode(event)
        if not self.waiting:
            return
        with self.disk.under(plan):
            done = self.file.append(self.waiting, time.time())
        assert self.waiting[: done.size].endswith(b"\n") or not done.size
        assert (done.size == len(self.waiting)) == (done.error is None)
        self.durable += self.waiting[: done.size].count(b"\n")
        self.waiting = self.waiting[done.size :]

    @precondition(alive)
    @rule(limit=st.sampled_from([None, 1, 3]))
    def follow(self, limit: int | None) -> None:
        """A reader goes on from where it was, whatever was cut and written again meanwhile."""
        self.reader = read(self.path, self.reader.offset, limit)
        self.seen += [record.event for record in self.reader.records]

    @precondition(alive)
    @rule(share=st.floats(0, 1), forgetful=st.booleans(), garbage=GARBAGE)
    def crash(self, share: float, forgetful: bool, garbage: bytes) -> None:
        self.file.close()
        self.dead = True
        data = self.path.read_bytes()
        kept = self.disk.after_crash(data, size=int(share * len(data)), forgetful=forgetful)
        self.path.write_bytes(kept + garbage)

    @precondition(lambda self: self.dead)
    @rule(plan=PLANS)
    def recover(self, plan: list[Fault | None]) -> None:
        """Recovery on that disk: done wholly, or not at all."""
        before = self.path.read_bytes()
        reading, was = read(self.path), has_ended(self.path)
        disk = FailingDisk()
        try:
            with disk.under(plan):
                assert recover(self.path, EndReason.ERROR) == (not was)
        except OSError:
            assert self.path.read_bytes() == before
            return
        after = [record.event for record in read(self.path).records]
        assert has_ended(self.path)
        whole = self.path.read_bytes()
        assert disk.after_crash(whole, size=0, forgetful=True) == whole
        if was:
            assert self.path.read_bytes() == before
        else:
            assert after[:-1] == [record.event for record in reading.records]
            end = after[-1]
            assert isinstance(end, Ended)
            assert end.receipt.turn_count == len(after) - 1
            expected = Completeness.PARTIAL if reading.torn else Completeness.RECOVERED
            assert end.receipt.completeness is expected

    @invariant()
    def what_is_durable_is_there(self) -> None:
        """In order, once; and nothing that was not written."""
        reading = read(self.path)
        found = [record.event for record in reading.records]
        ends = [event for event in found if isinstance(event, Ended)]
        assert len(ends) <= 1
        told = found[: len(found) - len(ends)]
        assert told[: self.durable] == self.events[: self.durable]
        assert in_order(told, self.events)
        assert self.seen == self.events[: len(self.seen)]
        lines = b"".join(encode(event) for event in found)
        assert reading.torn == len(self.path.read_bytes()) - len(lines)

    @invariant()
    def a_failed_append_leaves_no_half_line_before_a_good_one(self) -> None:
        if not self.dead:
            data = self.path.read_bytes()
            whole = b"".join(map(encode, self.events))
            assert whole.startswith(data)

    def teardown(self) -> None:
        if not self.dead:
            self.crash(1.0, True, b"torn")
            self.what_is_durable_is_there()
        self.recover([])
        assert has_ended(self.path)
        assert not is_locked(self.path)
        self.place.cleanup()


def in_order(some: Sequence[Event], events: Sequence[Event]) -> bool:
    rest = iter(events)
    return all(event in rest for event in some)


def converge(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Journal,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_what_any_disk_called_durable_is_read_back_in_order_once() -> None:
    converge(examples=80, steps=20)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_what_many_disks_called_durable_is_read_back_in_order_once() -> None:
    converge(examples=5000, steps=40)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    plan=st.lists(st.one_of(st.none(), FAULTS), max_size=20),
    batches=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    limit=st.sampled_from([ROOMY, ROOMY, 1500, 0]),
    finished=st.booleans(),
)
def test_any_writer_gets_all_to_the_disk_once_that_works_again(
    plan: list[Fault | None], batches: list[int], limit: int, finished: bool
) -> None:
    """Through its thread, its retries and its limit: in order, once, and its trouble is told."""
    with (
        tempfile.TemporaryDirectory(prefix="voice-coach-test-", dir="/tmp") as place,
        pytest.MonkeyPatch.context() as patched,
        FailingDisk().under(plan),
    ):
        patched.setattr(writers, "_FIRST_RETRY_SECONDS", 0.0005)
        patched.setattr(writers, "_LONGEST_RETRY_SECONDS", 0.002)
        asyncio.run(write(Path(place), batches, limit, finished=finished))


async def write(folder: Path, batches: list[int], limit: int, *, finished: bool) -> None:
    session_id = uuid4()
    path = folder / f"{session_id}.journal"
    journal = JournalWriter.create(folder, session_id, max_bytes=limit)
    said: list[Event] = []
    for count in batches:
        for _ in range(count):
            said.append(turn(session_id, len(said) + 1))
            journal.append(said[-1])
        if await journal.durable(30 if limit == ROOMY else 0.01):
            assert events_in(path) == said
        else:
            assert limit != ROOMY
    if finished:
        said.append(ended())
        journal.append(said[-1])
    assert await asyncio.to_thread(journal.close, 20)
    assert events_in(path) == said
    assert has_ended(path) == finished
    if limit != ROOMY and len(b"".join(map(encode, said[:-1]))) > limit:
        assert journal.trouble is not None


def events_in(path: Path) -> list[Event]:
    reading = read(path)
    assert reading.torn == 0
    return [record.event for record in reading.records]
