"""The journal on a disk that works."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journaling import ROOMY, T0, process, progress, segment, started, turn, until

from persistence.events import Completeness, Ended, EndReason, Event, Turn
from persistence.journal import (
    JournalWriter,
    ended,
    is_locked,
    read,
    recover,
    session_id_of,
    takeover,
    try_lock,
)
from persistence.journal import file as files
from persistence.journal import writer as writers
from persistence.journal.file import Appended, JournalFile
from persistence.journal.lines import encode, sign_of_life
from persistence.recovery import receipt_of

Opener = Callable[..., tuple[JournalWriter, Path]]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """Open journals in the test's folder; they are closed after it."""
    writers = []

    def open_one(**options: Any) -> tuple[JournalWriter, Path]:
        session_id = uuid4()
        writer = JournalWriter.create(tmp_path, session_id, **({"max_bytes": ROOMY} | options))
        writers.append(writer)
        return writer, tmp_path / f"{session_id}.journal"

    yield open_one
    for writer in writers:
        writer.close(10)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, list[int]]]:
    """Hold every fdatasync until the event is set; count them."""
    go, calls, sync = threading.Event(), [], os.fdatasync

    def wait_and_sync(fd: int) -> None:
        calls.append(fd)
        go.wait(30)
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", wait_and_sync)
    yield go, calls
    go.set()


def events_of(path: Path) -> list[Event]:
    return [record.event for record in read(path).records]


def seqs_of(events: Sequence[Event]) -> list[int]:
    """Return the numbers of events that are all turns."""
    turns = [event for event in events if isinstance(event, Turn)]
    assert turns == events
    return [turn.seq for turn in turns]


def written(path: Path, events: Sequence[Event], tail: bytes = b"") -> Path:
    """Leave at `path` what a dead job has: its events and a torn tail."""
    path.write_bytes(b"".join(map(encode, events)) + tail)
    return path


def an_end() -> Ended:
    receipt = receipt_of([], trouble=None, recovered=False)
    return Ended(at=T0, reason=EndReason.CLIENT_LEFT, receipt=receipt)


async def test_what_is_appended_is_read_back_in_order(opened: Opener) -> None:
    journal, path = opened()
    said: list[Event] = [started(), segment(1), progress(2), turn(1), turn(2)]
    for event in said:
        journal.append(event)
    assert await journal.durable(10)
    reading = read(path)
    assert [record.event for record in reading.records] == said
    assert (reading.offset, reading.torn) == (path.stat().st_size, 0)
    assert journal.trouble is None


async def test_reading_goes_on_where_it_stopped(opened: Opener) -> None:
    journal, path = opened()
    for seq in range(1, 6):
        journal.append(turn(seq))
    assert await journal.durable(10)
    first = read(path, limit=2)
    rest = read(path, first.offset)
    assert seqs_of([r.event for r in first.records + rest.records]) == [1, 2, 3, 4, 5]
    assert len(first.records) == 2
    assert read(path, rest.offset) == ([], rest.offset, 0)


async def test_a_line_is_a_checksum_and_json_that_a_person_can_read(opened: Opener) -> None:
    journal, path = opened()
    journal.append(turn(1, "Guten Morgen, schön"))
    assert await journal.durable(10)
    line = path.read_text(encoding="utf-8")
    checksum, _, payload = line.partition(" ")
    assert len(checksum) == 8
    assert payload.startswith('{"at":')
    assert "Guten Morgen, schön" in payload
    assert read(path).records[0].payload.decode() == payload.rstrip("\n")


async def test_the_end_is_the_last_word(opened: Opener) -> None:
    journal, path = opened()
    journal.append(an_end())
    with pytest.raises(RuntimeError):
        journal.append(turn(1))
    assert journal.close(10)
    assert ended(path)
    with pytest.raises(RuntimeError):
        journal.append(turn(1))


async def test_speech_survives_what_cannot_be_encoded_beside_it(opened: Opener) -> None:
    journal, path = opened()
    odd = turn(1, "hello \udc00").model_copy(update={"metrics": {"odd": object(), "at": T0}})
    journal.append(odd)
    assert await journal.durable(10)
    [kept] = events_of(path)
    assert isinstance(kept, Turn)
    assert kept.text == "hello \ufffd"


async def test_one_sync_serves_all_who_wait(
    opened: Opener, slow_disk: tuple[threading.Event, list[int]]
) -> None:
    """Appending does not wait for the disk; what gathers meanwhile is committed at once."""
    go, syncs = slow_disk
    journal, path = opened()
    for seq in range(500):
        journal.append(turn(seq))
    assert not await journal.durable(0.01)
    go.set()
    assert await journal.durable(10)
    assert len(events_of(path)) == 500
    assert len(syncs) <= 4


async def test_nothing_counts_as_durable_before_its_own_sync(
    opened: Opener, slow_disk: tuple[threading.Event, list[int]]
) -> None:
    go, syncs = slow_disk
    journal, path = opened()
    journal.append(turn(1))
    await until(lambda: bool(syncs))
    assert len(events_of(path)) == 1
    assert not await journal.durable(0.05)
    go.set()
    assert await journal.durable(10)


async def test_the_name_of_a_journal_is_durable_before_its_first_event_counts(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is synced in a file that a power cut leaves without a name is lost."""
    done: list[object] = []
    sync = os.fdatasync

    def sync_events(fd: int) -> None:
        done.append("events")
        sync(fd)

    monkeypatch.setattr(files, "sync_folder", done.append)
    monkeypatch.setattr(os, "fdatasync", sync_events)
    writer, _ = opened()
    writer.append(started())
    assert await writer.durable(10)
    assert done == [tmp_path, "events"]


async def test_a_commit_tells_nobody_whose_events_came_later(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, calls, sync = threading.Semaphore(0), [], os.fdatasync

    def one_at_a_time(fd: int) -> None:
        calls.append(fd)
        go.acquire(timeout=30)
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", one_at_a_time)
    journal, _ = opened()
    journal.append(turn(1))
    await until(lambda: len(calls) == 1)
    first = asyncio.create_task(journal.durable(30))
    await asyncio.sleep(0)
    journal.append(turn(2))
    second = asyncio.create_task(journal.durable(30))
    await asyncio.sleep(0)
    go.release()
    assert await first
    await until(lambda: len(calls) == 2)
    assert not second.done()
    go.release()
    assert await second


async def test_events_that_belong_together_are_never_half_on_their_way_to_the_disk(
    opened: Opener,
    slow_disk: tuple[threading.Event, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A turn absorbs what was heard of a reply, and what comes after it tells what it does not."""
    go, calls = slow_disk
    writer, _ = opened()
    writer.append(started())
    await until(lambda: bool(calls))
    waiting: list[int] = []

    def counted(event: Event) -> bytes:
        waiting.append(len(writer._backlog))
        return encode(event)

    monkeypatch.setattr(writers, "encode", counted)
    writer.append(turn(1), progress(2))
    assert waiting == [1, 1]
    assert len(writer._backlog) == 3
    go.set()


async def test_a_live_journal_is_locked_and_a_closed_one_is_not(opened: Opener) -> None:
    journal, path = opened()
    journal.append(turn(1))
    assert await journal.durable(10)
    assert is_locked(path)
    with try_lock(path) as dead:
        assert dead is None
    assert not recover(path, EndReason.ERROR)
    journal.close(10)
    assert not is_locked(path)


async def test_a_journal_has_no_name_before_it_is_locked(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    named_locked = []
    rename = Path.rename

    def watch(self: Path, target: Path) -> Path:
        named_locked.append((target.exists(), is_locked(self)))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watch)
    journal, _ = opened()
    journal.append(turn(1))
    assert await journal.durable(10)
    assert named_locked == [(False, True)]


async def test_files_are_the_workers_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        session_id = uuid4()
        journal = JournalWriter.create(tmp_path / "new", session_id, max_bytes=ROOMY)
        journal.append(turn(1))
        assert await journal.durable(10)
        journal.close(10)
    finally:
        os.umask(before)
    path = tmp_path / "new" / f"{session_id}.journal"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_journal_is_never_written_over(tmp_path: Path, opened: Opener) -> None:
    session_id = uuid4()
    path = written(tmp_path / f"{session_id}.journal", [turn(1)])
    other = JournalWriter.create(tmp_path, session_id, max_bytes=ROOMY)
    other.append(turn(2))
    assert not other.close(0.2)
    assert seqs_of(events_of(path)) == [1]


async def test_an_idle_journal_keeps_saying_that_its_job_lives(opened: Opener) -> None:
    _, path = opened(touch_seconds=0.02)
    await until(path.exists)
    os.utime(path, (0, 0))
    await until(lambda: path.stat().st_mtime > time.time() - 60)
    os.utime(path, (0, 0))
    await until(lambda: path.stat().st_mtime > time.time() - 60)


def test_the_last_sign_of_life_is_the_later_of_event_and_mtime() -> None:
    last = turn(60)
    later = last.at + timedelta(hours=1)
    assert sign_of_life(last, 0.0) == last.at
    assert sign_of_life(last, later.timestamp()) == later


def test_no_sign_of_life_is_from_the_future() -> None:
    """Of a clock that was wrong: a session is not said to have lasted until next year."""
    ahead = datetime.now(UTC) + timedelta(days=365)
    assert sign_of_life(turn(1), ahead.timestamp()) <= datetime.now(UTC)


async def test_a_jump_of_the_wall_clock_is_no_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own writes bear the wall clock's time: the journal says that of its session instead."""
    real, session_id = time.time, uuid4()
    monkeypatch.setattr(time, "time", lambda: real() - 7200)
    journal = JournalWriter.create(tmp_path, session_id, max_bytes=ROOMY)
    journal.append(turn(1))
    assert await journal.durable(10)
    assert (tmp_path / f"{session_id}.journal").stat().st_mtime < real() - 7000
    assert journal.close(10)


async def test_not_even_while_the_disk_is_writing_is_it_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is killed then leaves the file as it stands; so does a machine that loses its power."""
    real, sync = time.time, os.fdatasync
    standing: list[float] = []

    def watched(fd: int) -> None:
        standing.append(os.fstat(fd).st_mtime)
        sync(fd)

    monkeypatch.setattr(time, "time", lambda: real() - 7200)
    monkeypatch.setattr(os, "fdatasync", watched)
    journal = JournalWriter.create(tmp_path, uuid4(), max_bytes=ROOMY)
    journal.append(turn(1))
    assert journal.close(10)
    assert standing
    assert max(standing) < real() - 7000


def test_a_clock_that_was_set_back_since_takes_no_life_from_a_session() -> None:
    """One that began while it was ahead, and was silent at its end."""
    ahead = turn(1).model_copy(update={"at": datetime.now(UTC) + timedelta(hours=2)})
    silent_until = ahead.at + timedelta(minutes=5)
    assert sign_of_life(ahead, silent_until.timestamp()) == silent_until


def test_where_no_event_reached_the_disk_the_file_says_when_its_job_lived() -> None:
    ahead = datetime.now(UTC) + timedelta(hours=2)
    assert sign_of_life(None, ahead.timestamp()) == ahead


async def test_a_journal_that_nothing_is_in_yet_bears_its_sessions_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may refuse all that is written until the job is killed."""
    real, session_id = time.time, uuid4()
    monkeypatch.setattr(time, "time", lambda: real() - 7200)
    full = Appended(0, OSError(errno.ENOSPC, "full"))
    monkeypatch.setattr(JournalFile, "append", lambda *_: full)
    journal = JournalWriter.create(tmp_path, session_id, max_bytes=ROOMY)
    journal.append(turn(1))
    await until(lambda: journal.trouble is not None)
    assert (tmp_path / f"{session_id}.journal").stat().st_mtime < real() - 7000
    assert not journal.close(0)


def test_the_last_event_is_found_behind_a_long_corrupt_tail(tmp_path: Path) -> None:
    path = written(tmp_path / f"{uuid4()}.journal", [turn(1), an_end()], b"\0" * 300_000)
    assert ended(path)
    assert not recover(path, EndReason.ERROR)


def test_a_lock_on_a_file_that_was_replaced_meanwhile_is_void(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / f"{uuid4()}.journal", [turn(1)])
    flock = fcntl.flock

    def replaced_before(fd: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX:
            written(tmp_path / "other", [turn(1), an_end()]).rename(path)
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", replaced_before)
    with try_lock(path) as dead:
        assert dead is None


def test_only_a_journals_name_names_a_session(tmp_path: Path) -> None:
    session_id = uuid4()
    assert session_id_of(tmp_path / f"{session_id}.journal") == session_id
    for name in (f"{session_id}.new", "worker.journal"):
        with pytest.raises(ValueError, match=r"journal|UUID|hexadecimal"):
            session_id_of(tmp_path / name)


@pytest.mark.parametrize("seed", range(5))
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, seed: int) -> None:
    session_id = uuid4()
    with process("write", tmp_path, session_id) as job:
        assert job.stdout is not None
        for _ in range(random.Random(seed).randrange(1, 120)):
            said = job.stdout.readline()
        job.kill()
        acknowledged = int((job.stdout.read().splitlines() or [said])[-1])
    path = tmp_path / f"{session_id}.journal"
    assert not is_locked(path)
    seqs = seqs_of(events_of(path))
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= acknowledged
    assert recover(path, EndReason.ERROR)
    assert ended(path)


def test_children_of_a_killed_job_do_not_keep_its_lock(tmp_path: Path) -> None:
    session_id = uuid4()
    with process("fork", tmp_path, session_id) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "ready\n"
        assert is_locked(tmp_path / f"{session_id}.journal")
        os.kill(job.pid, 9)
        os.waitid(os.P_PID, job.pid, os.WEXITED | os.WNOWAIT)
        assert not is_locked(tmp_path / f"{session_id}.journal")


def test_a_tail_torn_at_any_byte_is_cut_and_counted(tmp_path: Path) -> None:
    path = tmp_path / f"{uuid4()}.journal"
    whole: list[Event] = [started(), turn(1)]
    last = encode(segment(2))
    for length in range(1, len(last)):
        written(path, whole, last[:length])
        size = path.stat().st_size
        reading = read(path)
        assert ([r.event for r in reading.records], reading.torn) == (whole, length)
        assert reading.offset == size - length
        assert recover(path, EndReason.ERROR)
        *events, end = events_of(path)
        assert (events, read(path).torn) == (whole, 0)
        assert isinstance(end, Ended)
        assert end.receipt.completeness is Completeness.PARTIAL
        assert f"{length} bytes" in (end.receipt.reason or "")


def test_lines_after_bit_rot_are_still_read(tmp_path: Path) -> None:
    path = written(tmp_path / f"{uuid4()}.journal", [turn(1), turn(2), turn(3)])
    data, rotten = bytearray(path.read_bytes()), encode(turn(2))
    data[len(encode(turn(1))) + 40] ^= 1
    path.write_bytes(data)
    reading = read(path)
    assert seqs_of([record.event for record in reading.records]) == [1, 3]
    assert (reading.torn, reading.offset) == (len(rotten), len(data))
    assert recover(path, EndReason.ERROR)
    assert path.read_bytes().startswith(bytes(data))
    *_, end = events_of(path)
    assert isinstance(end, Ended)
    assert (end.receipt.turn_count, end.receipt.completeness) == (2, Completeness.PARTIAL)


def test_an_event_of_another_version_is_counted_and_never_cut(tmp_path: Path) -> None:
    payload = b'{"kind":"whisper","at":"2026-03-01T12:00:00Z"}'
    unknown = b"%08x %b\n" % (zlib.crc32(payload), payload)
    path = written(tmp_path / f"{uuid4()}.journal", [turn(1)], unknown)
    assert read(path).torn == len(unknown)
    assert recover(path, EndReason.ERROR)
    assert unknown in path.read_bytes()
    assert [event.kind for event in events_of(path)] == ["turn", "ended"]


def test_recovery_ends_a_session_once(tmp_path: Path) -> None:
    path = written(tmp_path / f"{uuid4()}.journal", [started(), turn(1), segment(5), progress(6)])
    os.utime(path, (T0.timestamp() + 900, T0.timestamp() + 900))
    assert recover(path, EndReason.WORKER_LOST)
    whole = path.read_bytes()
    assert not recover(path, EndReason.ERROR)
    assert path.read_bytes() == whole
    *_, first, second, end = events_of(path)
    assert isinstance(first, Turn)
    assert isinstance(second, Turn)
    assert [first.item_id[:9], second.item_id[:9]] == ["segment:" + first.item_id[8], "progress:"]
    assert isinstance(end, Ended)
    assert (end.reason, end.at.timestamp()) == (EndReason.WORKER_LOST, T0.timestamp() + 900)
    assert path.stat().st_mtime == T0.timestamp() + 900


def test_what_a_recovery_has_put_in_the_journals_place_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is durable once it is the new file's."""
    path = tmp_path / f"{uuid4()}.journal"
    path.write_bytes(encode(started()))
    synced: list[tuple[Path, bool]] = []
    monkeypatch.setattr(
        takeover, "sync_folder", lambda folder: synced.append((folder, ended(path)))
    )
    assert recover(path, EndReason.ERROR)
    assert synced == [(tmp_path, True)]


def test_recovery_of_an_empty_or_missing_journal(tmp_path: Path) -> None:
    path = written(tmp_path / f"{uuid4()}.journal", [])
    assert recover(path, EndReason.ERROR)
    assert [event.kind for event in events_of(path)] == ["ended"]
    assert not recover(tmp_path / f"{uuid4()}.journal", EndReason.ERROR)


@pytest.mark.parametrize("step", ["fsync", "utime"])
def test_a_recovery_that_breaks_off_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """So the next one sees the same torn tail and last sign of life, and makes the same rows."""
    session_id = UUID(int=1)
    left: list[Event] = [started(), turn(1), segment(5)]
    copy, path = (written(tmp_path / f"{UUID(int=n)}.journal", left, b"torn") for n in (2, 1))
    for one in (copy, path):
        os.utime(one, (T0.timestamp() + 900, T0.timestamp() + 900))
    before = path.read_bytes()

    def broken(*_: object) -> None:
        raise OSError(5, "I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, broken)
        with pytest.raises(OSError, match="I/O"):
            recover(path, EndReason.ERROR)
    assert path.read_bytes() == before
    assert session_id_of(path) == session_id
    assert not is_locked(path)
    assert recover(path, EndReason.ERROR)
    assert recover(copy, EndReason.ERROR)
    assert events_of(path) == events_of(copy)
    assert not list(tmp_path.glob("*.recovering"))


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts=st.lists(_TEXTS, max_size=8), cut=st.integers(0, 600))
def test_any_events_come_back_and_any_cut_recovers_to_the_same(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], cut: int
) -> None:
    said = [turn(n, text) if n % 2 else segment(n, text) for n, text in enumerate(texts, 1)]
    path = tmp_path_factory.mktemp("any") / f"{uuid4()}.journal"
    written(path, said)
    assert events_of(path) == said
    data = path.read_bytes()
    path.write_bytes(data[: max(0, len(data) - cut)])
    kept = events_of(path)
    assert kept == said[: len(kept)]
    assert recover(path, EndReason.ERROR)
    once = events_of(path)
    assert not recover(path, EndReason.ERROR)
    assert once[: len(kept)] == kept
    words = [
        event.text for event in said[: len(kept)] if event.text.strip() or isinstance(event, Turn)
    ]
    turns = [event.text for event in once if isinstance(event, Turn)]
    assert sorted(turns) == sorted(words)
    path.unlink()
