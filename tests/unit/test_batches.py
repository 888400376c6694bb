"""What goes to Postgres at a time: durable before it goes, and no more than a slow one can take."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import TypeAdapter, ValidationError
from shipping import journal, started, turn

from persistence import batches
from persistence.batches import Batches
from persistence.journal import records
from persistence.streams import Streams


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the inodes that were synced from here on."""
    inodes: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: inodes.append(os.fstat(fd).st_ino))
    return inodes


def told(folder: Path, turns: int = 1) -> tuple[UUID, Path]:
    session_id = uuid4()
    said = [turn(session_id, n) for n in range(1, turns + 1)]
    journal(folder, [started(), *said], session_id)
    return session_id, folder / f"{session_id}.journal"


async def test_what_a_job_has_written_is_durable_before_it_goes(
    tmp_path: Path, synced: list[int]
) -> None:
    _, path = told(tmp_path)
    synced.clear()
    [part] = await Batches(Streams([tmp_path], uuid4())).next()
    assert part.offset == path.stat().st_size
    assert synced == [path.stat().st_ino]


async def test_what_a_job_says_is_durable_is_not_synced_again(
    tmp_path: Path, synced: list[int]
) -> None:
    session_id, path = told(tmp_path)
    synced.clear()
    streams = Streams([tmp_path], uuid4())
    streams.grew({session_id: path.stat().st_size})
    assert len(await Batches(streams).next()) == 1
    assert synced == []


async def test_what_the_disk_does_not_sync_waits_and_holds_up_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, bad), (good, _) = told(tmp_path), told(tmp_path)
    worn = bad.stat().st_ino

    def refuse(fd: int) -> None:
        if os.fstat(fd).st_ino == worn:
            raise OSError

    monkeypatch.setattr(os, "fdatasync", refuse)
    monkeypatch.setattr(batches, "_SYNC_AGAIN_SECONDS", 0.0)
    ahead = Batches(Streams([tmp_path], uuid4()))
    assert [part.stream.session_id for part in await ahead.next()] == [good]
    worn = 0
    assert [part.stream.path for part in await ahead.next()] == [bad]


async def test_a_batch_that_found_no_time_comes_again_in_halves_until_one_goes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(tmp_path, turns=40)
    monkeypatch.setattr(batches, "BATCH_ROWS", 32)
    streams = Streams([tmp_path], uuid4())
    ahead = Batches(streams)

    async def rows() -> int:
        batch = await ahead.next()
        streams.give_back(batch)
        return sum(part.rows for part in batch)

    seen = [await rows()]
    for change in (ahead.smaller, ahead.smaller, ahead.larger, ahead.larger):
        change()
        seen.append(await rows())
    assert seen == [32, 16, 8, 16, 32]
    for _ in range(20):
        ahead.smaller()
    assert await rows() == 1


async def test_a_turn_that_a_glance_alone_understands_is_in_the_batch_for_its_writer_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated `item_id` is read whole: what fails there has its place among the dead letters."""
    session_id = uuid4()
    said = turn(session_id, 1)
    journal(tmp_path, [started(), said, said], session_id)
    monkeypatch.setattr(records, "EVENTS", TypeAdapter(int))
    [part] = await Batches(Streams([tmp_path], uuid4())).next()
    with pytest.raises(ValidationError):
        _ = part.passage.turns
