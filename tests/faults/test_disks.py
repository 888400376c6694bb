"""Disks that are full, read-only, out of names or cut off: what was said is in Postgres after all.

A small disk in memory stands for the journal's. What the receipt then says is held against what
was appended here, and against what a job was told to be durable before it was killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from deployment import Deployment, converse
from journaling import ROOMY, process, until
from killing import Stage, jobs_of, outcome
from shipping import (
    Deferred,
    conversation,
    journal,
    journals,
    shipping,
    started,
    stored,
    turn,
)
from small_disks import SmallDisk

from agent.local.chaos.verdict import Kind
from agent.worker.people import Person
from agent.worker.recorder import Recorder
from agent.worker.scribe import Scribe
from persistence import folders
from persistence.events import EndReason, Role, transcript_sha256
from persistence.journal import JournalWriter, Trouble, is_locked

Mount = Callable[[str], SmallDisk]


def scribe_of(folder: Path, session_id: UUID, *, max_bytes: int = ROOMY) -> Scribe:
    """Return a session's scribe, as a job has one; its session has started."""
    journal = JournalWriter.create(folder, session_id, max_bytes=max_bytes)
    scribe = Scribe(Recorder(Person(Role.CLIENT, "client-anna"), "en"), journal)
    scribe.start(started(at=scribe.clock.now()))
    return scribe


def tell(scribe: Scribe, session_id: UUID, *seqs: int) -> None:
    """Record turns as a recorder makes them, which its receipt then counts."""
    for seq in seqs:
        now = scribe.clock.now()
        said = turn(session_id, seq, at=now, started_at=now, ended_at=now)
        scribe.write(lambda _: [scribe.recorder._kept(said)])  # noqa: B023 it calls at once


def texts(database_url: str, session_id: UUID) -> list[str]:
    turns = stored(database_url, "turns", session_id=session_id)
    return [row["text"] for row in sorted(turns, key=lambda row: row["seq"])]


def receipt_is_true(database_url: str, session_id: UUID) -> bool:
    """Return whether the receipt counts and hashes the very turns that are stored."""
    (session,) = stored(database_url, id=session_id)
    turns = stored(database_url, "turns", session_id=session_id)
    hashed = ("seq", "item_id", "role", "speaker_identity", "text", "interrupted")
    digest = transcript_sha256(tuple(row[name] for name in hashed) for row in turns)
    return (session["turn_count"], session["transcript_sha256"]) == (len(turns), digest)


def said(session_id: UUID, *seqs: int) -> list[str]:
    return [turn(session_id, seq).text for seq in seqs]


async def test_a_disk_that_is_full_for_a_while_costs_no_turn_and_the_receipt_says_so(
    small_disk: SmallDisk, database_url: str
) -> None:
    """What came before, meanwhile and after it is in Postgres, once and in order."""
    session_id = uuid4()
    async with shipping(database_url, small_disk.path):
        scribe = scribe_of(small_disk.path, session_id)
        tell(scribe, session_id, 1, 2)
        await until(lambda: texts(database_url, session_id) == said(session_id, 1, 2))
        filler = small_disk.fill()
        tell(scribe, session_id, *range(3, 60))
        await until(lambda: scribe.journal.trouble is not None)
        assert not await scribe.journal.durable(0.3)
        filler.unlink()
        tell(scribe, session_id, 60)
        scribe.end(EndReason.CLIENT_LEFT)
        assert scribe.journal.close(20)
        await until(lambda: stored(database_url, id=session_id)[0]["ended_at"])
    (session,) = stored(database_url, id=session_id)
    assert texts(database_url, session_id) == said(session_id, *range(1, 61))
    assert receipt_is_true(database_url, session_id)
    assert (session["status"], session["end_reason"]) == ("completed", "client_left")
    assert (session["completeness"], session["completeness_reason"]) == ("partial", "disk_full")
    assert journals(small_disk.path) == []


async def test_a_session_that_begins_on_a_read_only_disk_is_stored_from_its_first_turn_on(
    small_disk: SmallDisk, database_url: str
) -> None:
    session_id = uuid4()
    small_disk.remount("ro")
    async with shipping(database_url, small_disk.path):
        scribe = scribe_of(small_disk.path, session_id)
        tell(scribe, session_id, 1, 2)
        await until(lambda: scribe.journal.trouble == Trouble.READ_ONLY)
        assert not await scribe.journal.durable(0.05)
        small_disk.remount("rw")
        tell(scribe, session_id, 3)
        scribe.end(EndReason.CLIENT_LEFT)
        assert scribe.journal.close(20)
        await until(lambda: stored(database_url) and stored(database_url)[0]["ended_at"])
    (session,) = stored(database_url)
    assert texts(database_url, session_id) == said(session_id, 1, 2, 3)
    assert (session["completeness"], session["completeness_reason"]) == ("partial", "read_only")


async def test_what_is_on_a_read_only_disk_is_shipped_once_and_deleted_when_it_can_be(
    small_disk: SmallDisk, database_url: str
) -> None:
    """A job's end is journaled then too: until it is, its session is active, as far as is known."""
    whole, cut = uuid4(), uuid4()
    journal(small_disk.path, conversation(whole), whole)
    journal(small_disk.path, conversation(cut)[:-1], cut)
    small_disk.remount("ro")
    deferred = Deferred(database_url)
    async with shipping(database_url, small_disk.path, after_session=deferred) as shipper:
        await until(lambda: len(stored(database_url, "turns")) == 4)
        await until(lambda: any(stream.kept for stream in shipper._streams))
        assert stored(database_url, id=whole)[0]["ended_at"]
        assert stored(database_url, id=cut)[0]["status"] == "active"
        assert len(journals(small_disk.path)) == 2
        small_disk.remount("rw")
        await until(lambda: journals(small_disk.path) == [])
    assert stored(database_url, id=whole)[0]["status"] == "completed"
    assert stored(database_url, id=cut)[0]["end_reason"] == "worker_lost"
    assert sorted(deferred.sessions) == sorted([whole, cut])


async def test_a_full_disk_is_no_trouble_for_the_sessions_after_it(
    small_disk: SmallDisk, database_url: str
) -> None:
    first, second = uuid4(), uuid4()
    async with shipping(database_url, small_disk.path):
        filler = small_disk.fill()
        scribe = scribe_of(small_disk.path, first)
        tell(scribe, first, 1)
        await until(lambda: scribe.journal.trouble is not None)
        filler.unlink()
        scribe.end(EndReason.CLIENT_LEFT)
        assert scribe.journal.close(20)
        scribe = scribe_of(small_disk.path, second)
        tell(scribe, second, 1)
        scribe.end(EndReason.CLIENT_LEFT)
        assert scribe.journal.close(20)
        await until(lambda: len([s for s in stored(database_url) if s["ended_at"]]) == 2)
    assert stored(database_url, id=first)[0]["completeness"] == "partial"
    assert stored(database_url, id=second)[0]["completeness"] == "complete"
    assert texts(database_url, first) == texts(database_url, second)


async def test_a_kill_on_a_full_disk_keeps_all_that_was_durable_and_says_that_more_was_said(
    small_disk: SmallDisk, database_url: str
) -> None:
    """The job's own word counts for what was durable; the worker that ends it knows no more."""
    session_id = uuid4()
    path = small_disk.path / f"{session_id}.journal"
    ballast = small_disk.path / "ballast"  # the job may be quicker than who fills the disk
    ballast.write_bytes(bytes(40 * 1024))
    with process("write", small_disk.path, session_id) as job:
        assert job.stdout is not None
        durable = int(job.stdout.readline())
        filler = small_disk.fill()
        await until(lambda: path.stat().st_mode & 0o777 == 0o400)
        job.kill()
        durable = max([durable, *map(int, job.stdout.read().split())])
    await until(lambda: not is_locked(path))
    filler.unlink()
    ballast.unlink()
    async with shipping(database_url, small_disk.path):
        await until(lambda: stored(database_url) and stored(database_url)[0]["ended_at"])
    (session,) = stored(database_url)
    seqs = [row["seq"] for row in stored(database_url, "turns")]
    assert sorted(seqs) == list(range(1, len(seqs) + 1))
    assert len(seqs) >= durable
    assert receipt_is_true(database_url, session_id)
    assert session["status"] == "cancelled"
    assert session["completeness"] == "partial"
    assert "not on disk" in session["completeness_reason"]


async def test_a_torn_tail_costs_the_torn_line_alone_and_is_counted(
    tmp_path: Path, database_url: str
) -> None:
    """As a machine leaves it that loses power in the middle of a write."""
    session_id = uuid4()
    with process("write", tmp_path, session_id) as job:
        assert job.stdout is not None
        while int(job.stdout.readline()) < 20:
            pass
        job.kill()
    path = tmp_path / f"{session_id}.journal"
    whole = path.read_bytes()
    lines_before = whole.count(b"\n")
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    torn = (len(whole) - last) // 2
    os.truncate(path, last + torn)
    async with shipping(database_url, tmp_path):
        await until(lambda: stored(database_url) and stored(database_url)[0]["ended_at"])
    (session,) = stored(database_url)
    assert len(stored(database_url, "turns")) == lines_before - 1
    assert receipt_is_true(database_url, session_id)
    assert session["completeness"] == "partial"
    assert session["completeness_reason"] == f"{torn} bytes of the journal are unreadable"


async def test_over_its_size_limit_a_journal_waits_in_memory_and_all_of_it_arrives(
    tmp_path: Path, database_url: str
) -> None:
    """The limit keeps the disk for others; it keeps no session from ending."""
    session_id, folder = uuid4(), tmp_path / str(uuid4())
    async with shipping(database_url, folder):
        scribe = scribe_of(folder, session_id, max_bytes=2000)
        tell(scribe, session_id, *range(1, 40))
        await until(lambda: scribe.journal.trouble == Trouble.SIZE_LIMIT)
        assert (folder / f"{session_id}.journal").stat().st_size <= 2000
        scribe.end(EndReason.CLIENT_LEFT)
        assert scribe.journal.close(20)
        await until(lambda: stored(database_url) and stored(database_url)[0]["ended_at"])
    (session,) = stored(database_url)
    assert texts(database_url, session_id) == said(session_id, *range(1, 40))
    assert (session["completeness"], session["completeness_reason"]) == ("partial", "size_limit")


async def test_a_disk_without_room_for_a_name_holds_back_new_sessions_alone(
    mount: Mount, database_url: str
) -> None:
    """One that has its file goes on; one that has none is written as soon as there is a name."""
    disk = mount("nr_inodes=4,mode=0700")
    old, new = uuid4(), uuid4()
    async with shipping(database_url, disk.path):
        first = scribe_of(disk.path, old)
        tell(first, old, 1)
        await until(lambda: texts(database_url, old) == said(old, 1))
        names = list(_take_all_names(disk.path))
        second = scribe_of(disk.path, new)
        tell(second, new, 1)
        await until(lambda: second.journal.trouble == Trouble.DISK_FULL)
        tell(first, old, 2)
        await until(lambda: texts(database_url, old) == said(old, 1, 2))
        assert first.journal.trouble is None
        names[0].unlink()
        await until(lambda: texts(database_url, new) == said(new, 1))
        for scribe in (first, second):
            scribe.end(EndReason.CLIENT_LEFT)
            assert scribe.journal.close(20)
        await until(lambda: all(s["ended_at"] for s in stored(database_url)))
    assert stored(database_url, id=old)[0]["completeness"] == "complete"
    assert stored(database_url, id=new)[0]["completeness_reason"] == Trouble.DISK_FULL


def _take_all_names(folder: Path) -> list[Path]:
    names: list[Path] = []
    while True:
        name = folder / f"name-{len(names)}"
        try:
            name.touch(exist_ok=False)
        except OSError:
            return names
        names.append(name)


def test_a_worker_that_comes_back_to_a_full_disk_takes_its_folder_over(
    small_disk: SmallDisk,
) -> None:
    """What it left there is to be shipped, which is how the disk gets room again."""
    before = folders.claim(small_disk.path)
    (before.path / f"{uuid4()}.journal").touch()
    before.close()
    small_disk.fill()
    after = folders.claim(small_disk.path)
    assert after.worker_id == before.worker_id
    after.close()


@pytest.mark.full
async def test_nobody_in_the_room_notices_a_journal_whose_disk_is_full(
    deployment: Deployment, mount: Mount, stage: Stage
) -> None:
    """The log warns, the receipt confesses, and every word arrives once there is room."""
    disk = mount("size=256k,mode=0700")
    worker = deployment.start_worker("full", COACH_JOURNAL_DIR=str(disk.path))
    scene = await stage("full")
    await converse(scene.client, 11)
    filler = disk.fill()
    await converse(scene.client, 12, 13)
    assert "journal_degraded" in "\n".join(worker.output())
    assert len(await deployment.turns("full")) < 7
    filler.unlink()
    await scene.turns(7)
    await scene.leave()
    session = await scene.ended()
    deployment.stop_worker(worker)
    assert outcome(session) == ("completed", "client_left", "partial")
    assert session["completeness_reason"] == "disk_full"
    assert await scene.wrong() == []


@pytest.mark.full
async def test_a_job_that_is_killed_on_a_full_disk_keeps_what_was_durable_and_says_what_is_missing(
    deployment: Deployment, mount: Mount, stage: Stage
) -> None:
    disk = mount("size=256k,mode=0700")
    worker = deployment.start_worker("full-killed", COACH_JOURNAL_DIR=str(disk.path))
    scene = await stage("full-killed")
    await converse(scene.client, 14)
    await scene.turns(3)
    (job,) = jobs_of(worker)
    durable = await scene.spoken()
    filler = disk.fill()
    await converse(scene.client, 15, 16)
    await scene.kill(job.kill)
    filler.unlink()
    session = await scene.ended()
    await scene.leave()
    deployment.stop_worker(worker)
    assert outcome(session) == ("cancelled", "error", "partial")
    assert "not on disk" in session["completeness_reason"]
    stored_words = [t["text"] for t in await deployment.turns("full-killed")]
    assert stored_words[: len(durable)] == [piece.text for piece in durable]
    assert {finding.kind for finding in await scene.wrong()} <= {Kind.LOST, Kind.UNMARKED}
