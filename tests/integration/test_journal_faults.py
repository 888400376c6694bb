"""The journal on a disk that does not work: nothing is lost or doubled, and it says so."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from uuid import uuid4

import pytest
from journaling import ROOMY, T0, progress, turn, until
from small_disks import SmallDisk

from persistence.events import Completeness, Ended, EndReason, Turn
from persistence.journal import JournalWriter, Trouble, ended, read, recover
from persistence.recovery import receipt_of


def seqs(path: Path) -> list[int]:
    return [r.event.seq for r in read(path).records if isinstance(r.event, Turn)]


async def test_a_full_disk_loses_doubles_and_reorders_nothing(small_disk: SmallDisk) -> None:
    session_id = uuid4()
    path = small_disk.path / f"{session_id}.journal"
    journal = JournalWriter.create(small_disk.path, session_id, max_bytes=ROOMY)
    journal.append(turn(1))
    assert await journal.durable(10)
    filler = small_disk.fill()
    for seq in range(2, 60):
        journal.append(turn(seq))
    await until(lambda: journal.trouble is not None)
    assert not await journal.durable(0.1)
    assert journal.trouble == Trouble.DISK_FULL
    kept = read(path)
    assert kept.torn == 0
    assert seqs(path) == list(range(1, len(kept.records) + 1))
    assert len(kept.records) < 59
    filler.unlink()
    journal.append(turn(60))
    assert await journal.durable(10)
    await until(lambda: journal.state.recovered)
    assert seqs(path) == list(range(1, 61))
    assert journal.trouble == Trouble.DISK_FULL
    assert journal.close(10)


async def test_a_job_killed_with_a_full_disk_leaves_word_that_something_is_missing(
    small_disk: SmallDisk,
) -> None:
    session_id = uuid4()
    journal = JournalWriter.create(small_disk.path, session_id, max_bytes=ROOMY)
    journal.append(turn(1))
    assert await journal.durable(10)
    filler = small_disk.fill()
    for seq in range(2, 60):
        journal.append(turn(seq))
    await until(lambda: journal.trouble is not None)
    assert not journal.close(0)
    filler.unlink()
    path = small_disk.path / f"{session_id}.journal"
    await until(lambda: recover(path, EndReason.ERROR))
    end = read(path).records[-1].event
    assert isinstance(end, Ended)
    assert end.receipt.completeness is Completeness.PARTIAL
    assert "not on disk" in (end.receipt.reason or "")


def test_a_recovery_on_a_full_disk_waits_for_space(small_disk: SmallDisk) -> None:
    path = small_disk.path / f"{uuid4()}.journal"
    path.touch()
    filler = small_disk.fill()
    with pytest.raises(OSError, match="No space"):
        recover(path, EndReason.ERROR)
    assert not list(small_disk.path.glob("*.recovering"))
    filler.unlink()
    assert recover(path, EndReason.ERROR)
    assert ended(path)


async def test_a_read_only_disk_is_written_when_it_can_be(small_disk: SmallDisk) -> None:
    session_id = uuid4()
    small_disk.remount("ro")
    journal = JournalWriter.create(small_disk.path, session_id, max_bytes=ROOMY)
    for seq in (1, 2, 3):
        journal.append(turn(seq))
    await until(lambda: journal.trouble is not None)
    assert journal.trouble == Trouble.READ_ONLY
    assert not await journal.durable(0.05)
    small_disk.remount("rw")
    assert await journal.durable(10)
    assert seqs(small_disk.path / f"{session_id}.journal") == [1, 2, 3]
    assert journal.close(10)


@pytest.mark.parametrize(
    ("call", "code", "trouble"),
    [
        ("fdatasync", errno.EIO, Trouble.IO_ERROR),
        ("pwrite", errno.EROFS, Trouble.READ_ONLY),
        ("pwrite", errno.EDQUOT, Trouble.DISK_FULL),
        ("ftruncate", errno.EIO, Trouble.IO_ERROR),
    ],
)
async def test_what_a_disk_refused_is_written_again_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, trouble: Trouble
) -> None:
    """After a failed sync too, of which the kernel may have lost the pages."""
    session_id = uuid4()
    path = tmp_path / f"{session_id}.journal"
    journal = JournalWriter.create(tmp_path, session_id, max_bytes=ROOMY)
    journal.append(turn(1))
    assert await journal.durable(10)
    with monkeypatch.context() as patch:
        break_call(patch, call, code)
        for seq in (2, 3):
            journal.append(turn(seq))
        await until(lambda: journal.trouble is not None)
        assert not await journal.durable(0.05)
        if call != "ftruncate":
            await until(lambda: seqs(path) == [1] and read(path).torn == 0)
    assert journal.trouble == trouble
    journal.append(turn(4))
    assert await journal.durable(10)
    assert (seqs(path), read(path).torn) == ([1, 2, 3, 4], 0)
    assert journal.close(10)


def break_call(patch: pytest.MonkeyPatch, call: str, code: int) -> None:
    def broken(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    def half(fd: int, data: bytes, offset: int) -> int:
        real(fd, bytes(data[: len(data) // 2]), offset)
        raise OSError(code, os.strerror(code))

    real = os.pwrite
    patch.setattr(os, call, broken)
    if call == "ftruncate":  # what is half written cannot even be cut
        patch.setattr(os, "pwrite", half)


async def test_the_size_limit_holds_turns_back_until_there_is_room(tmp_path: Path) -> None:
    worker, other = tmp_path / str(uuid4()), tmp_path / str(uuid4())
    other.mkdir()
    shipped = other / f"{uuid4()}.journal"
    shipped.write_bytes(b"\0" * 5000)
    session_id = uuid4()
    journal = JournalWriter.create(worker, session_id, max_bytes=5100)
    journal.append(turn(1))
    await until(lambda: journal.trouble is not None)
    assert journal.trouble == Trouble.SIZE_LIMIT
    shipped.unlink()
    assert await journal.durable(10)
    await until(lambda: journal.state.recovered)
    assert seqs(worker / f"{session_id}.journal") == [1]
    assert journal.close(10)


async def test_a_session_can_end_over_the_size_limit(tmp_path: Path) -> None:
    """Or nothing would ever be deleted again."""
    session_id = uuid4()
    journal = JournalWriter.create(tmp_path, session_id, max_bytes=10)
    said = turn(1)
    journal.append(said)
    await until(lambda: journal.trouble is not None)
    receipt = receipt_of([said], trouble=journal.trouble, recovered=False)
    journal.append(Ended(at=T0, reason=EndReason.CLIENT_LEFT, receipt=receipt))
    assert await journal.durable(10)
    assert seqs(tmp_path / f"{session_id}.journal") == [1]
    assert journal.close(10)


async def test_short_of_memory_only_progress_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = uuid4()
    path = tmp_path / f"{session_id}.journal"
    journal = JournalWriter.create(tmp_path, session_id, max_bytes=ROOMY, memory_bytes=4000)
    with monkeypatch.context() as patch:
        break_call(patch, "pwrite", errno.ENOSPC)
        for seq in range(1, 51):
            journal.append(turn(seq))
            journal.append(progress(seq))
        await until(lambda: journal.trouble is not None)
    assert await journal.durable(10)
    assert seqs(path) == list(range(1, 51))
    heard = sum(record.event.kind == "progress" for record in read(path).records)
    assert heard + journal.state.progress_dropped == 50
    assert journal.state.progress_dropped > 0
    assert journal.trouble == "disk_full; progress dropped"
    assert journal.close(10)


async def test_closing_says_when_something_stays_unwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = uuid4()
    journal = JournalWriter.create(tmp_path, session_id, max_bytes=ROOMY)
    break_call(monkeypatch, "pwrite", errno.EIO)
    journal.append(turn(1))
    assert not journal.close(0.1)
    assert not await journal.durable(1)


async def test_a_folder_that_is_taken_away_comes_back(tmp_path: Path) -> None:
    folder, session_id = tmp_path / "gone" / "worker", uuid4()
    journal = JournalWriter.create(folder, session_id, max_bytes=ROOMY)
    journal.append(turn(1))
    assert await journal.durable(10)
    assert journal.close(10)
    assert seqs(folder / f"{session_id}.journal") == [1]
