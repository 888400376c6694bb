"""After-session jobs on a real Postgres, with an LLM that answers whatever the test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import procrastinate.utils
import psycopg
import pytest
import structlog
from aiohttp import web
from procrastinate import App, PsycopgConnector
from psycopg.rows import scalar_row

from agent.jobs import after_session, llm, runner, summary
from agent.jobs import app as jobs_app
from agent.jobs.llm import Llm
from agent.jobs.tools import Tools
from agent.local.providers import summary as stand_in
from agent.local.providers.brain import Message
from agent.settings import Settings
from persistence import database, migrate
from persistence.analyses import TranscriptTurn
from persistence.ids import new_id

CANARY = "marmalade zeppelin umbrella"
SAID = [
    ("ai", "What would you like to use this time for?"),
    ("client", "I keep putting off the hard phone calls."),
    ("ai", "What happens just before you put one off?"),
    ("client", f"I think of my {CANARY} and make some tea."),
    ("client", "Tomorrow at nine I will call the bank."),
]
GOOD = [
    {
        "text": "Hard calls are put off.",
        "turn": 2,
        "quote": "keep putting off the hard phone calls",
    },
    {"text": "A call to the bank is planned.", "turn": 5, "quote": "at nine I will call the bank"},
]
SUMMARY = "Hard calls are put off. [2]\nA call to the bank is planned. [5]"

Answer = Callable[[str], web.Response]


def completion(content: Any, **message: Any) -> Answer:
    finish = message.pop("finish_reason", "stop")
    choice = {"message": {"role": "assistant", "content": content, **message}}
    body = {"choices": [{"index": 0, "finish_reason": finish, **choice}]}
    return lambda _material: web.json_response(body)


def statements(*cited: dict[str, Any]) -> Answer:
    return completion(json.dumps({"statements": list(cited)}))


def failing(status: int, **headers: str) -> Answer:
    """An error that quotes the request, as providers do."""
    return lambda material: web.json_response(
        {"error": {"message": f"cannot do {material}", "type": "x"}}, status=status, headers=headers
    )


def raw(body: str, content_type: str = "application/json") -> Answer:
    return lambda _material: web.Response(text=body, content_type=content_type)


@dataclass
class ScriptedLlm:
    """Gives `answers` in order, then good ones."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        if self.meanwhile:
            await self.meanwhile()
        answer = self.answers.pop(0) if self.answers else statements(*GOOD)
        return answer(self.asked[-1]["messages"][-1]["content"])


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedLlm]:
    model = ScriptedLlm()
    server = web.Application()
    server.router.add_post("/v1/chat/completions", model.handle)
    served = web.AppRunner(server)
    await served.setup()
    site = web.TCPSite(served, "127.0.0.1", 0)
    await site.start()
    model.url = f"http://127.0.0.1:{served.addresses[0][1]}/v1"
    yield model
    await served.cleanup()


@dataclass
class Jobs:
    app: App
    tools: Tools
    db: psycopg.AsyncConnection

    async def run_due(self) -> None:
        """Run what is due; a job behind another's lock takes a second round."""
        for _ in range(2):
            await runner.serve(self.app, self.tools, wait=False)

    async def run_retries(self) -> None:
        await self.db.execute(
            "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo'"
        )
        await self.run_due()

    async def defer(self, *sessions: UUID, delay: timedelta | None = None) -> None:
        async with self.db.transaction():
            await after_session.defer(self.db, sessions, delay=delay)

    async def value(self, query: str, *parameters: Any) -> Any:
        async with self.db.cursor(row_factory=scalar_row) as cursor:
            await cursor.execute(query, parameters)
            return await cursor.fetchone()

    async def summary(self, session: UUID) -> str | None:
        summary: str | None = await self.value(
            "SELECT ai_summary FROM sessions WHERE id = %s", session
        )
        return summary

    async def waiting(self) -> list[tuple[str, int]]:
        """Return status and attempts of the jobs that are not done."""
        query = "SELECT status::text, attempts FROM procrastinate_jobs ORDER BY id"
        return await (await self.db.execute(query)).fetchall()

    async def session(self, said: list[tuple[str, str]], status: str = "completed") -> UUID:
        session = new_id()
        query = """
            INSERT INTO sessions (id, status, started_at, ended_at)
            VALUES (%s, %s, now(), CASE WHEN %s = 'active' THEN NULL ELSE now() END)
        """
        await self.db.execute(query, (session, status, status))
        for seq, (role, text) in enumerate(said, start=1):
            await self.say(session, seq, role, text)
        return session

    async def say(self, session: UUID, seq: int, role: str, text: str) -> None:
        at = datetime(2026, 1, 5, 9, tzinfo=UTC) + timedelta(seconds=seq)
        query = """
            INSERT INTO turns
            (id, session_id, seq, item_id, role, text, started_at, ended_at, recorded_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        """
        await self.db.execute(
            query, (new_id(), session, seq, f"item_{seq}", role, text, at, at, at)
        )


@pytest.fixture
async def jobs(database_url: str, scripted: ScriptedLlm) -> AsyncIterator[Jobs]:
    app = jobs_app.build(PsycopgConnector(conninfo=database_url, min_size=1, max_size=2))
    async with (
        database.pool(database_url, "test", max_size=2) as pool,
        app.open_async(),
        llm.client("key", scripted.url) as client,
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as db,
    ):
        yield Jobs(app, Tools(pool, Llm(client, "a-model")), db)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm, "_backoff", lambda _state: 0.0)


async def test_five_turns_get_one_summary_though_deferred_twice(
    jobs: Jobs, scripted: ScriptedLlm
) -> None:
    session = await jobs.session(SAID)
    await jobs.defer(session)
    await jobs.defer(session)

    await jobs.run_due()

    assert await jobs.summary(session) == SUMMARY
    assert await jobs.waiting() == []
    assert len(scripted.asked) == 1
    runs = await jobs.value("SELECT count(*) FROM analysis_runs WHERE session_id = %s", session)
    assert runs == 1


async def test_the_llm_is_given_the_numbered_transcript_and_the_form_of_its_answer(
    jobs: Jobs, scripted: ScriptedLlm
) -> None:
    session = await jobs.session([("client", "two\n[9] client:  lines"), *SAID])
    await jobs.defer(session)

    await jobs.run_due()

    material = scripted.asked[0]["messages"][1]["content"].splitlines()
    assert material[0] == "[1] client: two [9] client: lines"
    assert len(material) == 6
    assert scripted.asked[0]["model"] == "a-model"
    assert scripted.asked[0]["response_format"]["json_schema"]["strict"] is True


async def test_four_turns_defer_nothing(jobs: Jobs) -> None:
    await jobs.defer(await jobs.session(SAID[:4]))

    assert await jobs.waiting() == []


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM turns WHERE seq = 1",
        "UPDATE turns SET role = 'ai', speaker_identity = NULL",
        "UPDATE sessions SET status = 'active', ended_at = NULL",
        "DELETE FROM sessions",
    ],
    ids=["short", "only the AI spoke", "live again", "erased"],
)
async def test_a_session_that_tells_nothing_or_is_live_or_erased_by_then_gets_no_summary(
    jobs: Jobs, scripted: ScriptedLlm, change: str
) -> None:
    await jobs.defer(await jobs.session(SAID))
    await jobs.db.execute(change)

    await jobs.run_due()

    assert scripted.asked == []
    assert await jobs.waiting() == []


async def test_a_job_deferred_in_a_transaction_that_fails_is_not_deferred(jobs: Jobs) -> None:
    session = await jobs.session(SAID)

    with contextlib.suppress(psycopg.errors.UniqueViolation):
        async with jobs.db.transaction():
            await after_session.defer(jobs.db, [session])
            await jobs.db.execute("INSERT INTO sessions SELECT * FROM sessions")

    assert await jobs.waiting() == []


async def test_the_shipper_gets_the_drivers_own_error(jobs: Jobs) -> None:
    session = await jobs.session(SAID)

    async with jobs.db.transaction(force_rollback=True):
        with contextlib.suppress(psycopg.errors.DivisionByZero):
            await jobs.db.execute("SELECT 1/0")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            await after_session.defer(jobs.db, [session])


async def test_a_true_end_is_summarised_at_once_though_a_reclaim_put_it_off(jobs: Jobs) -> None:
    session = await jobs.session(SAID)
    await jobs.defer(session, delay=timedelta(minutes=15))

    await jobs.run_due()
    assert await jobs.summary(session) is None

    await jobs.defer(session)
    await jobs.run_due()
    assert await jobs.summary(session) == SUMMARY
    put_off = "scheduled_at BETWEEN now() + interval '14 min' AND now() + interval '16 min'"
    assert await jobs.value(f"SELECT {put_off} FROM procrastinate_jobs") is True


async def test_a_reclaim_by_a_worker_whose_clock_is_wrong_puts_off_for_no_longer(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=5)
    monkeypatch.setattr(procrastinate.utils, "utcnow", lambda: ahead)
    await jobs.defer(await jobs.session(SAID), delay=timedelta(minutes=15))
    put_off = "scheduled_at BETWEEN now() + interval '14 min' AND now() + interval '16 min'"
    assert await jobs.value(f"SELECT {put_off} FROM procrastinate_jobs") is True


async def test_what_a_reclaim_put_off_is_summarised_when_it_is_due(
    jobs: Jobs, scripted: ScriptedLlm
) -> None:
    """One job stands for many sessions until then; a short one among them gets no summary."""
    long = [await jobs.session(SAID) for _ in range(2)]
    short = await jobs.session(SAID[:4])
    await jobs.defer(*long, short, delay=timedelta(minutes=15))
    assert len(await jobs.waiting()) == 1

    await jobs.run_retries()

    assert [await jobs.summary(session) for session in (*long, short)] == [SUMMARY, SUMMARY, None]
    assert (await jobs.waiting(), len(scripted.asked)) == ([], 2)


async def test_many_sessions_put_off_are_followed_up_in_portions(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_session, "SESSIONS_A_JOB", 2)
    sessions = [await jobs.session(SAID) for _ in range(3)]
    await jobs.defer(*sessions, delay=timedelta(minutes=15))
    assert len(await jobs.waiting()) == 2

    await jobs.run_retries()

    assert [await jobs.summary(session) for session in sessions] == [SUMMARY] * 3


@pytest.mark.parametrize("status", [429, 500, 503, 408])
async def test_an_llm_that_fails_for_a_moment_is_asked_again(
    jobs: Jobs, scripted: ScriptedLlm, status: int
) -> None:
    scripted.answers = [failing(status, **{"Retry-After": "0"}), failing(status)]
    session = await jobs.session(SAID)
    await jobs.defer(session)

    await jobs.run_due()

    assert await jobs.summary(session) == SUMMARY
    assert len(scripted.asked) == 3


async def test_a_statement_that_nobody_made_is_dropped(jobs: Jobs, scripted: ScriptedLlm) -> None:
    invented = {"text": "The client hates tea.", "turn": 4, "quote": "I hate tea so much"}
    scripted.answers = [statements(invented, *GOOD)]
    session = await jobs.session(SAID)
    await jobs.defer(session)

    await jobs.run_due()

    assert await jobs.summary(session) == SUMMARY


NOTHING_USABLE = {
    "invented": statements({"text": "No.", "turn": 4, "quote": "I hate tea so much"}),
    "no statements": statements(),
    "empty": completion(""),
    "null": completion(None),
    "not json": completion(f"Sure! {CANARY}"),
    "half json": completion('{"statements": [{"text": "' + CANARY),
    "another form": completion(json.dumps({"summary": CANARY})),
    "more than asked": completion(json.dumps({"statements": GOOD, "mood": CANARY})),
    "refusal": completion(None, refusal=f"I will not talk of {CANARY}"),
    "cut off": completion(json.dumps({"statements": GOOD}), finish_reason="length"),
    "filtered": completion("", finish_reason="content_filter"),
    "huge": completion(json.dumps({"statements": [*GOOD, {**GOOD[0], "text": "x" * 300_000}]})),
    "no choices": raw('{"choices": []}'),
    "a list": raw(f'["{CANARY}"]'),
    "broken json": raw('{"choices": [{"message": {"content": "' + CANARY),
    "a page": raw(f"<html>{CANARY}</html>", "text/html"),
    "rejected": failing(400),
    "wrong key": failing(401),
}


@pytest.mark.parametrize("answer", NOTHING_USABLE.values(), ids=NOTHING_USABLE.keys())
async def test_an_unusable_answer_invents_nothing_and_the_job_is_tried_again(
    jobs: Jobs, scripted: ScriptedLlm, answer: Answer
) -> None:
    scripted.answers = [answer]
    session = await jobs.session(SAID)
    await jobs.defer(session)

    await jobs.run_due()
    assert await jobs.summary(session) is None
    assert await jobs.value("SELECT count(*) FROM analysis_runs") == 0
    assert await jobs.waiting() == [("todo", 1)]

    await jobs.run_retries()
    assert await jobs.summary(session) == SUMMARY
    assert await jobs.waiting() == []


async def test_a_job_that_failed_too_often_stays_visible_as_failed(
    jobs: Jobs, scripted: ScriptedLlm
) -> None:
    session = await jobs.session(SAID)
    await jobs.defer(session)
    await jobs.db.execute("UPDATE procrastinate_jobs SET attempts = 8")
    scripted.answers = [failing(401)]

    await jobs.run_due()

    assert await jobs.waiting() == [("failed", 9)]
    assert await jobs.summary(session) is None


async def test_a_transcript_completed_later_is_summarised_again(
    jobs: Jobs, scripted: ScriptedLlm
) -> None:
    session = await jobs.session(SAID)
    await jobs.defer(session)
    await jobs.run_due()
    await jobs.say(session, 6, "client", "And I will tell my sister about it.")
    later = {"text": "The sister will be told.", "turn": 6, "quote": "I will tell my sister"}
    scripted.answers = [statements(later)]

    await jobs.defer(session)
    await jobs.run_due()

    assert await jobs.summary(session) == "The sister will be told. [6]"
    assert await jobs.value("SELECT count(*) FROM analysis_runs") == 2


async def test_a_summary_of_a_transcript_that_changed_meanwhile_is_not_stored(
    jobs: Jobs, scripted: ScriptedLlm
) -> None:
    session = await jobs.session(SAID)
    await jobs.defer(session)

    async def one_more_turn() -> None:
        scripted.meanwhile = None
        await jobs.say(session, 6, "client", "One more thing before I go.")

    scripted.meanwhile = one_more_turn
    await jobs.run_due()
    assert await jobs.summary(session) is None
    assert await jobs.waiting() == [("todo", 1)]

    await jobs.run_retries()
    assert await jobs.summary(session) == SUMMARY
    assert scripted.asked[1]["messages"][1]["content"].endswith("One more thing before I go.")


async def test_what_was_said_is_in_no_log_and_in_no_job(
    jobs: Jobs,
    scripted: ScriptedLlm,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # whichever test ran before, Procrastinate may say all it has to say of a failed job
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="procrastinate")
    scripted.answers = list(NOTHING_USABLE.values())
    session = await jobs.session(SAID)
    await jobs.defer(session)

    await jobs.run_due()
    for _ in NOTHING_USABLE:
        await jobs.db.execute("UPDATE procrastinate_jobs SET attempts = 0")
        await jobs.run_retries()

    assert await jobs.summary(session) == SUMMARY
    printed = "".join(capsys.readouterr())
    logged = caplog.text + printed
    assert "session_summarised" in logged
    assert "job_failed" in logged
    assert "Traceback" in logged
    stored = await jobs.value(
        """SELECT concat((SELECT json_agg(j)::text FROM procrastinate_jobs j),
                         (SELECT json_agg(e)::text FROM procrastinate_events e))"""
    )
    for word in re.split(r"\W+", f"{CANARY} {SUMMARY}"):
        if len(word) > 4:
            assert word not in logged
            assert word not in stored


async def test_the_offline_stand_in_gives_a_summary_that_only_quotes() -> None:
    long = "word by word " * 30
    turns = tuple(
        TranscriptTurn(seq, role, text)
        for seq, (role, text) in enumerate([*SAID, ("client", long)], start=1)
    )
    material = Message("user", summary.rendered(turns))

    answer = stand_in.fill(summary.Summary.model_json_schema(), [material])
    kept = summary.checked(summary.Summary.model_validate_json(answer), turns)

    assert [statement.turn for statement in kept] == [2, 4, 6]
    assert kept[0].text.endswith("the client said “I keep putting off the hard phone calls”.")


async def test_the_job_of_a_dead_worker_is_put_back_and_one_tried_too_often_fails(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [await jobs.session(SAID) for _ in range(3)]
    for session in sessions:
        await jobs.defer(session)
    dead, alive = [
        await jobs.value("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        for _ in range(2)
    ]
    await jobs.db.execute(
        "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '2 min' WHERE id = %s",
        (dead,),
    )
    for session, worker, attempts in zip(sessions, (dead, dead, alive), (0, 8, 0), strict=True):
        await jobs.db.execute(
            """UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s, attempts = %s
               WHERE args->>'session_id' = %s""",
            (worker, attempts, str(session)),
        )

    await runner.put_back_stalled(jobs.app)

    assert await jobs.waiting() == [("todo", 1), ("failed", 9), ("doing", 0)]


@contextlib.asynccontextmanager
async def running(database_url: str, scripted: ScriptedLlm) -> AsyncIterator[asyncio.Task[None]]:
    settings = Settings(
        database_url=database_url, openai_api_key="key", openai_base_url=scripted.url
    )
    task = asyncio.create_task(runner.run(settings))
    yield task
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(query: Callable[[], Coroutine[Any, Any, Any]], wanted: Any) -> None:
    """Wait, for at most 30 s, until `query` gives `wanted`."""
    async with asyncio.timeout(30):
        while await query() != wanted:  # noqa: ASYNC110 - Postgres has no event for it
            await asyncio.sleep(0.05)


async def test_the_runner_is_woken_by_a_commit_and_outlives_the_loss_of_its_connections(
    jobs: Jobs, database_url: str, scripted: ScriptedLlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RESTART_SECONDS", 0.1)
    async with running(database_url, scripted):
        first = await jobs.session(SAID)
        await jobs.defer(first)
        await until(lambda: jobs.summary(first), SUMMARY)

        await jobs.db.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )
        second = await jobs.session(SAID)
        await jobs.defer(second)
        await until(lambda: jobs.summary(second), SUMMARY)


async def test_the_runner_outlives_a_database_that_cannot_serve_it_yet(
    empty_database_url: str, scripted: ScriptedLlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RESTART_SECONDS", 0.1)
    with structlog.testing.capture_logs() as logged:
        async with running(empty_database_url, scripted):
            await until(lambda: _said(logged, "jobs_interrupted"), wanted=True)
            await asyncio.to_thread(migrate.upgrade, empty_database_url)
            async with await psycopg.AsyncConnection.connect(
                empty_database_url, autocommit=True
            ) as db:
                jobs = Jobs(jobs_app.build(PsycopgConnector()), cast("Tools", None), db)
                session = await jobs.session(SAID)
                await jobs.defer(session)
                await until(lambda: jobs.summary(session), SUMMARY)


async def _said(logged: list[Any], event: str) -> bool:
    return any(entry["event"] == event for entry in logged)


@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancelled_runner_lets_its_job_end_and_leaves_no_worker_behind(
    jobs: Jobs, database_url: str, scripted: ScriptedLlm, times: int
) -> None:
    """Who stops a worker cancels again what does not end at once."""
    session = await jobs.session(SAID)
    asked, stopping = asyncio.Event(), asyncio.Event()

    async def until_stopping() -> None:
        asked.set()
        await stopping.wait()

    scripted.meanwhile = until_stopping
    async with running(database_url, scripted) as task:
        await jobs.defer(session)
        await asked.wait()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.1)
        stopping.set()

    assert await jobs.summary(session) == SUMMARY
    assert await jobs.value("SELECT count(*) FROM procrastinate_workers") == 0


async def test_a_runner_without_a_job_ends_although_its_cancellation_was_swallowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "CANCEL_AGAIN_SECONDS", 0.01)
    began = asyncio.Event()

    async def stubborn(*_: object) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            began.set()
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    monkeypatch.setattr(runner, "_work_on", stubborn)
    task = asyncio.create_task(runner.run(Settings()))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 20)


async def test_a_runner_stops_whose_rescue_took_the_cancellation_for_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A library may do so at a time-out of its own; what waits for it must not wait for good."""
    began, swallowed = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def opened(_: str) -> AsyncIterator[tuple[None, None]]:
        yield None, None

    async def deaf(_: object) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
        await asyncio.Event().wait()

    async def serve(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(runner, "_llm", opened)
    monkeypatch.setattr(runner, "Tools", lambda *_: None)
    monkeypatch.setattr(runner, "opened", opened)
    monkeypatch.setattr(runner, "serve", serve)
    monkeypatch.setattr(runner, "_put_back_regularly", deaf)
    monkeypatch.setattr(runner, "CANCEL_AGAIN_SECONDS", 0.01)
    task = asyncio.create_task(runner.run(Settings()))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 20)
    assert swallowed.is_set()
