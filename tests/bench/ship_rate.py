"""How many turns a second one shipper brings from journals into Postgres, and at what cost.

Against it: one SQLModel add-and-commit per turn, as a recorder in the job would do it, and pgbench
with 32 clients that each commit one turn at a time with the shipper's own INSERT of one row. All on
the same Postgres, in turns. The CPU is this process's own, Postgres's is not counted: for the
shipper reading journals, ON CONFLICT statements, ends and deletion are all in it.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import backlog
import psycopg
from psycopg.conninfo import conninfo_to_dict
from results import Bench, Result, Row
from samples import median_ratio, percentile
from sqlalchemy import create_engine
from sqlmodel import Session as AlchemySession
from stand import database

from agent.local import postgres_programs
from persistence import models, turns
from persistence.deferring import Db
from persistence.shipper import Shipper

SESSIONS = 300
ORM_TURNS = 1500
CLIENTS = 32
GOALS = {"rows": 30.0, "cpu": 40.0, "pgbench": 1.5, "replay": 20_000.0}
_VALUES = {
    "id": "gen_random_uuid()",
    "session_id": "('00000000-0000-7000-8000-' || lpad((:client_id + 1)::text, 12, '0'))::uuid",
    "seq": ":seq",
    "item_id": "gen_random_uuid()::text",
    "role": "'client'",
    "speaker_identity": "'client-7'",
    "text": f"'{backlog.SAID}'",
    "generated_text": "NULL",
    "interrupted": "false",
    "confidence": "0.97",
    "language": "NULL",
    "started_at": "now()",
    "ended_at": "now()",
    "recorded_at": "now()",
    "source": "'voice'",
    "metrics": '\'{"transcription_delay": 0.21, "end_of_turn_delay": 0.52}\'::jsonb',
    "speaker_id": "NULL",
    "speaker_names": "'{client-7,7}'",
}


class Rate(NamedTuple):
    per_second: float
    cpu: float
    """Seconds of this process a turn."""


def measure(bench: Bench) -> Result:
    """Return rates and their ratios, medians over repetitions in turns."""
    measured: dict[str, list[Rate]] = {name: [] for name in ("shipper", "orm", "pgbench", "replay")}
    with database(bench.folder) as url:
        _make_sessions(url)
        for number in range(bench.size(5, 2) + 1):
            found = _repetition(bench, url, number)
            if number:  # the first one warms up
                for name, rate in found.items():
                    measured[name].append(rate)
            bench.report(", ".join(f"{n} {r.per_second:,.0f}/s" for n, r in found.items()))
    return _result(measured)


def _repetition(bench: Bench, url: str, number: int) -> dict[str, Rate]:
    sessions = bench.size(SESSIONS, SESSIONS // 5)
    turns_only, talk = (bench.folder / f"{kind}-{number}" for kind in ("turns", "talk"))
    return {
        "orm": _orm(url, bench.size(ORM_TURNS, 100)),
        "shipper": _shipped(turns_only, url, backlog.write(turns_only, sessions, talk=False)),
        "pgbench": _pgbench(url, bench.size(3, 1)),
        "replay": _shipped(talk, url, backlog.write(talk, sessions, talk=True)),
    }


def _make_sessions(url: str) -> None:
    with psycopg.connect(url) as db:
        db.execute(
            "INSERT INTO sessions (id, started_at)"
            " SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, now()"
            " FROM generate_series(1, 100) AS n"
        )


def _shipped(folder: Path, url: str, count: int) -> Rate:
    """Ship all of `folder`, which holds `count` turns; the connection is part of it."""
    began, cpu = time.perf_counter(), time.process_time()
    asyncio.run(_ship(folder, url, count // backlog.TURNS_A_SESSION))
    took = time.perf_counter() - began
    return Rate(count / took, (time.process_time() - cpu) / count)


async def _ship(folder: Path, url: str, left: int) -> None:
    """Ship what is in `folder` until the `left` sessions have ended."""
    ended = asyncio.Event()

    async def after_session(_db: Db, session_ids: Sequence[UUID]) -> None:
        nonlocal left
        left -= len(session_ids)
        if not left:
            ended.set()

    shipper = Shipper([folder], url, uuid4(), after_session)
    running = asyncio.create_task(shipper.run())
    await ended.wait()
    shipper.stop()
    await running
    if shipper.status().unshipped:
        raise RuntimeError("not all was shipped")


def _orm(url: str, count: int) -> Rate:
    """Add and commit turns one at a time, as `models.Turn`."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    fields = [_fields(seq) for seq in range(1, count + 1)]
    with AlchemySession(engine) as db:
        db.connection()
        began, cpu = time.perf_counter(), time.process_time()
        for given in fields:
            db.add(models.Turn(**given))
            db.commit()
        rate = Rate(count / (time.perf_counter() - began), (time.process_time() - cpu) / count)
    engine.dispose()
    return rate


def _fields(seq: int) -> dict[str, Any]:
    said = backlog.turn(datetime.now(UTC), seq)
    fields = said.model_dump(
        exclude={"at", "kind", "turn_id", "segment_ids", "reply_id", "speaker_user"}
    )
    return {
        **fields,
        "id": said.turn_id,
        "session_id": UUID(f"00000000-0000-7000-8000-{seq % 100 + 1:012}"),
        "recorded_at": said.at,
    }


def _pgbench(url: str, seconds: int) -> Rate:
    """Commit one turn at a time from `CLIENTS` connections, prepared."""
    insert = turns.INSERT
    for name, value in _VALUES.items():
        insert = insert.replace(f"%({name})s", value)
    script = f"\\set seq random(1, 1000000)\n{' '.join(insert.split())};\n"
    place = conninfo_to_dict(url)
    environment = {**os.environ, "PGHOST": str(place["host"]), "PGUSER": str(place["user"])}
    command = [str(postgres_programs.folder() / "pgbench"), "-n", "-M", "prepared", "-f", "-"]
    command += ["-c", str(CLIENTS), "-j", "2", "-T", str(seconds), str(place["dbname"])]
    done = subprocess.run(
        command, input=script, env=environment, capture_output=True, text=True, check=True
    )
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if found is None:
        raise RuntimeError("pgbench said no rate")
    return Rate(float(found[1]), 0.0)


def _result(measured: dict[str, list[Rate]]) -> Result:
    rates = {name: [rate.per_second for rate in found] for name, found in measured.items()}
    cpu = {name: [rate.cpu for rate in measured[name]] for name in ("shipper", "orm", "replay")}
    ratios = {
        "rows": median_ratio(rates["shipper"], rates["orm"]),
        "cpu": median_ratio(cpu["orm"], cpu["shipper"]),
        "pgbench": median_ratio(rates["shipper"], rates["pgbench"]),
    }
    middle = {name: percentile(found, 0.5) for name, found in rates.items()}
    costs = {name: 1e6 * percentile(found, 0.5) for name, found in cpu.items()}
    rows = [
        Row(
            "shipper, one SQLModel commit a turn",
            f"{middle['shipper']:,.0f}/s, {middle['orm']:,.0f}/s: {ratios['rows']:.1f}x",
            f"{GOALS['rows']:.0f}x",
            ratios["rows"] >= GOALS["rows"],
        ),
        Row(
            "their CPU a turn",
            f"{costs['shipper']:.1f} µs, {costs['orm']:.0f} µs: 1/{ratios['cpu']:.1f}",
            f"1/{GOALS['cpu']:.0f}",
            ratios["cpu"] >= GOALS["cpu"],
        ),
        Row(
            f"shipper, pgbench with {CLIENTS} clients",
            f"{middle['shipper']:,.0f}/s, {middle['pgbench']:,.0f}/s: {ratios['pgbench']:.1f}x",
            f"{GOALS['pgbench']}x",
            ratios["pgbench"] >= GOALS["pgbench"],
        ),
        Row(
            "replay of conversations",
            f"{middle['replay']:,.0f} turns/s, {costs['replay']:.1f} µs CPU a turn",
            f"{GOALS['replay']:,.0f} turns/s",
            middle["replay"] >= GOALS["replay"],
        ),
    ]
    data = {"perSecond": rates, "cpuSeconds": cpu, "ratios": ratios}
    return Result(rows, data)
