"""Whose journals are whose."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from journaling import ROOMY, process, turn

from persistence.disk import is_locked
from persistence.errors import JournalTakenError, JournalUnusableError
from persistence.folders import claim, orphans
from persistence.journal import JournalWriter


def abandoned(journal_dir: Path, *, journals: int) -> Path:
    """Leave a folder of a worker that is gone."""
    folder = claim(journal_dir)
    for _ in range(journals):
        (folder.path / f"{uuid4()}.journal").touch()
    folder.close()
    return folder.path


def test_a_first_worker_gets_a_folder_named_by_its_id(tmp_path: Path) -> None:
    folder = claim(tmp_path / "journal")
    assert folder.path == tmp_path / "journal" / str(folder.worker_id)
    assert folder.worker_id.version == 7
    assert is_locked(folder.path / "worker.lock")
    assert folder.journals() == []
    folder.close()


def test_folders_are_the_workers_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        folder = claim(tmp_path / "journal")
        named = claim(tmp_path, tmp_path / "mine")
    finally:
        os.umask(before)
    for path in (tmp_path / "journal", folder.path, named.path):
        assert path.stat().st_mode & 0o777 == 0o700
    for path in (folder.path / "worker.lock", named.path / "worker.id"):
        assert path.stat().st_mode & 0o777 == 0o600
    folder.close()
    named.close()


def test_a_restarted_worker_adopts_its_folder_and_id(tmp_path: Path) -> None:
    first = claim(tmp_path)
    first.close()
    again = claim(tmp_path)
    assert again.worker_id == first.worker_id
    again.close()


def test_a_folder_with_journals_is_adopted_before_an_empty_one(tmp_path: Path) -> None:
    held = [claim(tmp_path) for _ in range(3)]
    (held[2].path / f"{uuid4()}.journal").touch()
    for folder in held:
        folder.close()
    adopted = claim(tmp_path)
    assert adopted.worker_id == held[2].worker_id
    assert len(adopted.journals()) == 1
    adopted.close()


def test_adoption_clears_what_a_kill_left_half_made(tmp_path: Path) -> None:
    path = abandoned(tmp_path, journals=1)
    for suffix in ("new", "recovering"):
        (path / f"{uuid4()}.{suffix}").touch()
    folder = claim(tmp_path)
    assert {one.suffix for one in folder.path.iterdir()} == {".lock", ".journal"}
    folder.close()


def test_workers_that_start_at_once_never_share_a_folder(tmp_path: Path) -> None:
    abandoned(tmp_path, journals=1)
    with ExitStack() as stack:
        workers = [stack.enter_context(process("claim", tmp_path)) for _ in range(6)]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        ids = {UUID(worker.stdout.readline().strip()) for worker in workers if worker.stdout}
    assert len(ids) == 6
    again = claim(tmp_path)
    assert again.worker_id in ids
    again.close()


def test_an_explicit_folder_keeps_its_id(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    first = claim(tmp_path / "journal", mine)
    first.close()
    again = claim(tmp_path / "journal", mine)
    assert (again.path, again.worker_id) == (mine, first.worker_id)
    again.close()


def test_an_explicit_folder_named_by_a_uuid_has_that_id(tmp_path: Path) -> None:
    worker_id = uuid4()
    folder = claim(tmp_path, tmp_path / str(worker_id))
    assert folder.worker_id == worker_id
    folder.close()


def test_an_explicit_folder_that_is_taken_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    holder = claim(tmp_path, Path("mine"))
    with pytest.raises(JournalTakenError) as refused:
        claim(tmp_path, Path("mine"))
    assert "mine" in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
    holder.close()


def test_a_worker_that_never_came_back_is_found_with_its_journals(tmp_path: Path) -> None:
    own = claim(tmp_path)
    live = claim(tmp_path)
    (live.path / f"{uuid4()}.journal").touch()
    left = tmp_path / str(uuid4())
    left.mkdir()
    (left / f"{uuid4()}.journal").touch()
    (tmp_path / str(uuid4())).mkdir()
    (tmp_path / "lost+found").mkdir()
    [orphan] = orphans(tmp_path, own)
    assert (orphan.path, orphan.worker_id) == (left, UUID(left.name))
    assert list(orphans(tmp_path, own)) == []
    for folder in (orphan, own, live):
        folder.close()


def test_a_folder_is_claimed_only_when_its_turn_has_come(tmp_path: Path) -> None:
    """One that fails, or takes its time, keeps the others free for whoever comes."""
    for name in (uuid4(), uuid4()):
        (tmp_path / str(name)).mkdir()
        (tmp_path / str(name) / f"{uuid4()}.journal").touch()
    own, another = claim(tmp_path, tmp_path / "own"), claim(tmp_path, tmp_path / "another")
    mine = next(orphans(tmp_path, own))
    [theirs] = orphans(tmp_path, another)
    assert mine.path != theirs.path
    for folder in (mine, theirs, own, another):
        folder.close()


def test_a_folder_goes_when_its_last_journal_is_shipped(tmp_path: Path) -> None:
    path = abandoned(tmp_path, journals=1)
    own = claim(tmp_path, tmp_path / "own")
    [orphan] = orphans(tmp_path, own)
    assert not orphan.remove()
    [orphan] = orphans(tmp_path, own)
    for journal in orphan.journals():
        journal.unlink()
    assert orphan.remove()
    assert not path.exists()
    own.close()


def test_a_folder_with_a_journal_is_not_removed_and_keeps_its_id(tmp_path: Path) -> None:
    mine = claim(tmp_path, tmp_path / "mine")
    (mine.path / f"{uuid4()}.journal").touch()
    assert not mine.remove()
    again = claim(tmp_path, tmp_path / "mine")
    assert again.worker_id == mine.worker_id
    again.close()


async def test_a_job_that_outlives_its_workers_folder_makes_it_anew(tmp_path: Path) -> None:
    path = abandoned(tmp_path, journals=0)
    own = claim(tmp_path)
    assert own.remove()
    journal = JournalWriter.create(path, uuid4(), max_bytes=ROOMY)
    journal.append(turn(1))
    assert await journal.durable(10)
    own = claim(tmp_path, tmp_path / "own")
    [orphan] = orphans(tmp_path, own)
    assert orphan.path == path
    assert journal.close(10)
    orphan.close()
    own.close()


def test_orphans_where_there_is_no_journal_directory_yet(tmp_path: Path) -> None:
    own = claim(tmp_path, tmp_path / "own")
    assert list(orphans(tmp_path / "none", own)) == []
    own.close()


def test_a_place_that_is_no_folder_is_refused_clearly(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(JournalUnusableError, match="cannot be used"):
            claim(place)
        with pytest.raises(JournalUnusableError, match="cannot be used"):
            claim(tmp_path, place)


def test_a_read_only_place_is_refused_clearly(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a read-only file system needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "none", str(tmp_path)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs to be had here: {done.stderr.strip()}")
    try:
        with pytest.raises(JournalUnusableError, match="Read-only"):
            claim(tmp_path)
        with pytest.raises(JournalUnusableError, match="Read-only"):
            claim(tmp_path, tmp_path / "mine")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
