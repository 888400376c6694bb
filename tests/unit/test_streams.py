"""Which journals there are, in a folder that others change, and what of them is on its way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from journaling import progress
from shipping import journal, started, turn

from persistence.streams import Streams, Taken


def test_a_journal_that_goes_while_the_folder_is_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{uuid4()}.journal" for _ in range(3)]
    for path in paths:
        path.write_bytes(b"line\n")
    real = os.scandir

    @contextmanager
    def late(folder: Path) -> Iterator[list[os.DirEntry[str]]]:
        with real(folder) as entries:
            listed = list(entries)
        Path(listed[0].path).unlink(missing_ok=True)
        yield listed

    monkeypatch.setattr(os, "scandir", late)
    streams = Streams([tmp_path], uuid4())
    assert sorted(s.path for s in streams) == sorted(p for p in paths if p.exists())


def taken(streams: Streams) -> list[Taken]:
    return streams.take(rows=10, size=10**6, enough=10, now=0.0)


def test_what_is_on_its_way_is_not_taken_again_before_it_is_settled(tmp_path: Path) -> None:
    session_id = journal(tmp_path, [started(), turn(uuid4(), 1)])
    streams = Streams([tmp_path], uuid4())
    [part] = taken(streams)
    streams.wake([session_id])
    assert taken(streams) == []
    streams.give_back([part])
    [again] = taken(streams)
    assert again.passage.records == part.passage.records
    streams.done(again)
    streams.give_back([again])
    assert taken(streams) == [], "all of it is committed"


def test_a_session_that_is_said_to_live_while_it_is_on_its_way_is_written_once_more(
    tmp_path: Path,
) -> None:
    session_id = journal(tmp_path, [started()])
    streams = Streams([tmp_path], uuid4())
    [part] = taken(streams)
    streams.reassert([session_id])
    streams.done(part)
    [again] = taken(streams)
    assert (again.passage.write_session, again.passage.records) == (True, [])


def test_a_batch_takes_no_more_than_it_has_room_for(tmp_path: Path) -> None:
    for _ in range(3):
        session_id = uuid4()
        journal(tmp_path, [started(), *(turn(session_id, n) for n in range(1, 4))], session_id)
    streams = Streams([tmp_path], uuid4())
    assert [part.rows for part in streams.take(rows=6, size=10**6, enough=6, now=0.0)] == [4, 2]
    assert [part.rows for part in streams.take(rows=6, size=1, enough=6, now=0.0)] == [1]


def test_what_makes_no_row_takes_no_room_in_a_batch_but_time_to_read(tmp_path: Path) -> None:
    for _ in range(3):
        session_id = uuid4()
        journal(tmp_path, [started(), *map(progress, range(9)), turn(session_id, 1)], session_id)
    streams = Streams([tmp_path], uuid4())
    [first] = streams.take(rows=20, size=10**6, enough=6, now=0.0)
    assert (first.rows, first.lines) == (2, 11)
    rest = streams.take(rows=20, size=10**6, enough=100, now=0.0)
    assert [part.rows for part in rest] == [2, 2]


def test_a_journal_that_was_cut_back_is_read_again_from_its_start(tmp_path: Path) -> None:
    """Its job could not sync what the shipper had seen already; what it writes then may differ."""
    session_id = journal(tmp_path, [started(), turn(uuid4(), 1)])
    path = tmp_path / f"{session_id}.journal"
    streams = Streams([tmp_path], uuid4())
    [part] = taken(streams)
    streams.done(part)
    assert taken(streams) == []
    first = path.read_bytes().splitlines(keepends=True)[0]
    path.write_bytes(first)
    streams.scan()
    [again] = taken(streams)
    assert [record.kind for record in again.passage.records] == ["started"]


def test_no_more_is_taken_than_is_durable_until_a_look_finds_more(tmp_path: Path) -> None:
    """What a job writes now, it will say is durable in a moment."""
    session_id = journal(tmp_path, [started()])
    size = (tmp_path / f"{session_id}.journal").stat().st_size
    journal(tmp_path, [started(), turn(uuid4(), 1)], session_id)
    streams = Streams([tmp_path], uuid4())
    streams.grew({session_id: size})
    [part] = taken(streams)
    assert [record.kind for record in part.passage.records] == ["started"]
    streams.done(part)
    assert taken(streams) == []
    streams.scan()
    [rest] = taken(streams)
    assert [record.kind for record in rest.passage.records] == ["turn"]
