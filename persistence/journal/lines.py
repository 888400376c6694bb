"""The journal's lines, `crc32 json`: made, checked, read back.

Eight hex digits, a space, one compact JSON object, a newline: readable with `cat`, and a line that
was cut or changed shows. Reading takes no lock: while a job writes, the tail that it is just
writing may look torn, and is whole at the next reading.
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from pydantic_core import PydanticSerializationError

from persistence.events import Ended, Event, clean_text
from persistence.journal.records import Record, glanced, whole

_HEAD_LENGTH = len("xxxxxxxx ")
_TAIL_BYTES = 64 * 1024


class Reading(NamedTuple):
    records: list[Record]
    offset: int
    """Bytes from the file's start to the end of the last whole line: where to read on."""
    torn: int
    """Bytes seen that are no record: a torn tail, bit rot, or an event that is not understood."""


def session_id_of(path: Path) -> UUID:
    """Return the session whose journal `path` is; raises ValueError for any other name."""
    if path.suffix != ".journal":
        raise ValueError("not the name of a journal")
    return UUID(path.stem)


def encode(event: Event) -> bytes:
    """Return the line of `event`, with its newline."""
    payload = _payload(event)
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def _payload(event: Event) -> bytes:
    try:
        return event.model_dump_json().encode()
    except (PydanticSerializationError, UnicodeError):
        # Speech is never given up for what cannot be encoded beside it.
        readable = json.dumps(
            event.model_dump(), default=_plain, ensure_ascii=False, separators=(",", ":")
        )
        return clean_text(readable).encode()


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def read(path: Path, offset: int = 0, limit: int | None = None) -> Reading:
    """Read up to `limit` records of `path` from `offset` on, which is 0 or an earlier reading's.

    Whole lines after a bad one are still read. Raises OSError.
    """
    return _read(path, offset, limit, None, whole)


def glance(path: Path, offset: int, limit: int, max_bytes: int) -> Reading:
    """Read the same at a glance (see `records`), up to the record that makes `max_bytes` full."""
    return _read(path, offset, limit, max_bytes, glanced)


def _read(
    path: Path,
    offset: int,
    limit: int | None,
    max_bytes: int | None,
    recorded: Callable[[bytes], Record | None],
) -> Reading:
    records: list[Record] = []
    position, intact, torn = offset, offset, 0
    most = math.inf if limit is None else limit
    furthest = math.inf if max_bytes is None else offset + max_bytes
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            position += len(line)
            payload = _payload_of(line)
            if payload is None:
                torn += len(line)
                continue
            intact = position
            record = recorded(payload)
            if record is None:
                torn += len(line)
            else:
                records.append(record)
            if len(records) >= most or position >= furthest:
                break
    return Reading(records, intact, torn)


def _payload_of(line: bytes) -> bytes | None:
    """Return the JSON of a line; None for one that is torn, or was changed."""
    payload = line[_HEAD_LENGTH:-1]
    intact = line.endswith(b"\n") and line[:_HEAD_LENGTH] == b"%08x " % zlib.crc32(payload)
    return payload if intact else None


def last_event(path: Path) -> Event | None:
    """Return the last event that can be read in `path`, without reading all of it."""
    length = _TAIL_BYTES
    with path.open("rb") as file:
        size = file.seek(0, 2)
        while True:
            start = max(0, size - length)
            file.seek(start)
            lines = file.read(size - start).split(b"\n")[:-1]
            for line in reversed(lines if start == 0 else lines[1:]):
                payload = _payload_of(line + b"\n")
                if payload is not None and (record := whole(payload)):
                    return record.event
            if start == 0:
                return None
            length *= 4


def ended(path: Path) -> bool:
    """Return whether the session of `path` has ended by its journal."""
    return isinstance(last_event(path), Ended)


def sign_of_life(event: Event | None, mtime: float) -> datetime:
    """Return the later of `event` and `mtime` (seconds since the epoch), in UTC.

    Nobody has lived in the future: an `mtime` from there is of a clock that was wrong, unless the
    session's own times are: then the clock was set back since. Without an event it is all there is.
    """
    if event is None:
        return datetime.fromtimestamp(mtime, UTC)
    at, now = event.at.astimezone(UTC), time.time()
    touched = mtime if at.timestamp() > now else min(mtime, now)
    return max(datetime.fromtimestamp(touched, UTC), at)
