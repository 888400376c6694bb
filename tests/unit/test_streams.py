"""Which journals there are, in a folder that others change at the same moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from persistence.streams import Streams


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
