"""What was said is in the journal, in Postgres and in captions to the room: nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
from deployment import Deployment, Row, converse, eventually, greeted

from agent.local.providers import lines

IDENTITY = "client-canary-4711"
PHRASES = ("zero four one", "zero four two", "zero four three", "Answer zero", IDENTITY, "4711")


def written(folder: Path) -> dict[str, str]:
    """Return every file that the deployment wrote, journals apart, by name."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".journal"]
    return {str(p.relative_to(folder)): p.read_text(errors="replace") for p in files}


async def summarised(deployment: Deployment, room: str) -> Row:
    async def look() -> Row | None:
        session = await deployment.session(room)
        return session if session and session["ai_summary"] else None

    return await eventually(look, 30)


async def test_a_spoken_phrase_is_in_no_log_and_no_job(deployment: Deployment) -> None:
    """At the debug level, in every process, with faults on the way: not what, and not who."""
    worker = deployment.start_worker(COACH_LOG_LEVEL="DEBUG", COACH_LOG_FORMAT="console")
    deployment.providers.fault(stage="llm", kind="status", status=500)
    await deployment.make_room("canary")
    client = await deployment.client("canary", IDENTITY, {"name": IDENTITY})
    await greeted(client)
    deployment.providers.fault(stage="tts", kind="status", status=500)
    await converse(client, 41, 42)
    await client.type(lines.utterance(43))
    await client.until(lambda c: any(lines.reply(43) in text for text in c.agent_captions()))
    await client.leave()
    session = await summarised(deployment, "canary")
    deployment.stop_worker(worker)

    texts = " ".join(t["text"] for t in await deployment.turns("canary"))
    assert all(lines.utterance(id_) in texts for id_ in (41, 42, 43)), "the phrase was spoken"
    assert "DEBUG" in " ".join(written(deployment.folder).values()).upper(), "the logs are full"
    for name, content in written(deployment.folder).items():
        for phrase in PHRASES:
            assert phrase.lower() not in content.lower(), f"{phrase!r} is in {name}"
    with psycopg.connect(deployment.database_url) as db:
        kept = db.execute("SELECT args::text FROM procrastinate_jobs").fetchall()
        for (arguments,) in kept:
            assert json.loads(arguments) == {"session_id": str(session["id"])}


async def test_a_session_of_five_turns_is_summarised_and_a_shorter_one_is_not(
    deployment: Deployment,
) -> None:
    deployment.start_worker("summing")
    for room, ids in (("short", (1,)), ("long", (1, 2))):
        await deployment.make_room(room)
        client = await deployment.client(room)
        await greeted(client)
        await converse(client, *ids)
        await client.leave()
        await deployment.ended_session(room)
    assert (await deployment.session("long") or {})["turn_count"] == 5
    assert await summarised(deployment, "long")
    assert (await deployment.session("short") or {"ai_summary": 1})["ai_summary"] is None
    runs = await deployment.query(
        "SELECT s.room_name FROM analysis_runs r JOIN sessions s ON s.id = r.session_id "
        "WHERE s.room_name IN ('short', 'long')"
    )
    assert [r["room_name"] for r in runs] == ["long"]
