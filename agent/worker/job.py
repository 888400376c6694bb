"""One job: one room, one session. `CoachJob.coach` is its table of contents."""

from __future__ import annotations

import asyncio
import signal
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import structlog
import uuid_utils.compat as uuids
from livekit.agents import (
    AgentSession,
    AutoSubscribe,
    JobContext,
    JobProcess,
    get_job_context,
    room_io,
)

import prompts
from agent import logs
from agent.settings import Pipeline, Settings
from agent.worker import voice as voices
from agent.worker.absence import Absence
from agent.worker.aside import Aside
from agent.worker.clock import hold_steady
from agent.worker.coach import Coach, HeardText
from agent.worker.departure import leave_for_good
from agent.worker.ending import Ending
from agent.worker.fallbacks import Takeovers, trusted
from agent.worker.limit import Limit, lengths
from agent.worker.listening import SpeechInFlight, listen
from agent.worker.options import SessionOptions, session_options
from agent.worker.people import Person
from agent.worker.presence import Arrival, another_agent, hear_again, wait_for_client
from agent.worker.recorder import Recorder, Utterance
from agent.worker.scribe import Scribe
from agent.worker.silence import Silence
from persistence.events import Started
from persistence.journal import JournalWriter

log = structlog.get_logger("coach.job")

FLUSH_SECONDS = 240.0
"""How long an ended job tries to get its last events onto a disk that refuses them."""

START_SECONDS = 30.0
"""How long a voice may take to start: its client hears nothing meanwhile. Then the job fails."""

_SESSION = "coach_session"
_WORK = "coach_work"


@dataclass
class CoachSession:
    """What belongs to one session while it lasts."""

    id: UUID
    client: Person
    options: SessionOptions
    prompt: prompts.Prompt
    voice: AgentSession[None]
    scribe: Scribe
    in_flight: SpeechInFlight
    ending: Ending
    absence: Absence
    limit: Limit
    aside: Aside
    silence: Silence


@dataclass(frozen=True)
class CoachJob:
    """What the worker hands to its job processes; pickled into each."""

    settings: Settings
    journal_folder: Path

    def set_up(self, _process: JobProcess) -> None:
        """Prepare a job process, before it has a job."""
        if threading.current_thread() is threading.main_thread():  # in the console it is a thread
            # a signal to the whole group must not end sessions: the worker tells its jobs to stop
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        logs.configure(self.settings)
        trusted()

    async def run(self, ctx: JobContext) -> None:
        """Join the room. What follows goes on beside: a job that waits must hear a stop."""
        await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
        hear_again(ctx.room)
        if another_agent(ctx.room, self.settings.agent_name):
            return ctx.shutdown("another agent is here")
        work = asyncio.create_task(self.coach(ctx), name="coach")
        work.add_done_callback(partial(_report_failure, ctx))
        ctx.proc.userdata[_WORK] = work
        return None

    async def coach(self, ctx: JobContext) -> None:
        """Coach one client in one room."""
        client = await wait_for_client(ctx)
        if client is None:
            return ctx.shutdown("nobody came")
        if not ctx.is_fake_job():  # in the console the process is not the job's own
            hold_steady()
        session = self._open_session(ctx, client)
        self._journal_start(ctx, session)
        listen(session.voice, session.scribe)
        Takeovers(session.scribe).watch(session.voice.stt, session.voice.llm, session.voice.tts)
        session.silence.watch()
        session.in_flight.follow(session.voice)
        session.ending.watch()
        session.absence.watch(ctx, client)
        await self._start_voice(ctx, session, client)
        await session.ending.voice_started()
        return await session.limit.keep()

    async def finish(self, ctx: JobContext) -> None:
        """See the session's end onto the disk; the last hook that is sure to have its time."""
        work: asyncio.Task[None] | None = ctx.proc.userdata.pop(_WORK, None)
        if work is not None:
            work.cancel()
        session: CoachSession | None = ctx.proc.userdata.pop(_SESSION, None)
        if session is None:
            return
        session.ending.journal_end()
        durable = await asyncio.to_thread(session.scribe.journal.close, FLUSH_SECONDS)
        level = log.info if durable else log.error
        level("session_ended", session_id=str(session.id), durable=durable)
        try:
            if session.ending.for_good:
                await leave_for_good(ctx, self.settings.agent_name)
        finally:
            await session.aside.aclose()

    def _open_session(self, ctx: JobContext, arrival: Arrival) -> CoachSession:
        session_id = uuids.uuid7()
        structlog.contextvars.bind_contextvars(session_id=str(session_id))
        options = self._options(ctx)
        # what a wrong setting may forbid comes before the journal: its file is a session's birth
        prompt = prompts.load(options.prompt)
        voice = voices.make_voice(self.settings, options)
        journal = JournalWriter.create(
            self.journal_folder, session_id, max_bytes=self.settings.journal_max_bytes
        )
        scribe = Scribe(Recorder(arrival.person, options.language), journal)
        in_flight = SpeechInFlight(scribe)
        aside = voices.make_aside(ctx.room, self.settings, options, scribe)
        ending = Ending(ctx, voice, scribe, in_flight, aside.farewell)
        silence = Silence(voice, aside, scribe, ending.give_up)
        absence = Absence(ending, scribe, grace_seconds=self.settings.client_grace_seconds)
        limit = Limit(voice, ending, absence, in_flight, scribe, options, *lengths(self.settings))
        session = CoachSession(
            session_id,
            arrival.person,
            options,
            prompt,
            voice,
            scribe,
            in_flight,
            ending,
            absence,
            limit,
            aside,
            silence,
        )
        ctx.proc.userdata[_SESSION] = session
        return session

    def _options(self, ctx: JobContext) -> SessionOptions:
        return session_options(
            self.settings,
            room_metadata=ctx.job.room.metadata,
            job_metadata=ctx.job.metadata,
            prompts=prompts.names(),
        )

    def _journal_start(self, ctx: JobContext, session: CoachSession) -> None:
        job = ctx.job
        session.scribe.start(
            Started(
                at=session.scribe.clock.now(),
                room_name=job.room.name,
                room_sid=job.room.sid,
                job_id=job.id,
                client_identity=session.client.identity,
                client_user=session.client.user,
                pipeline=session.options.pipeline,
                prompt_version=session.prompt.version,
                language=session.options.language,
                scenario_id=session.options.scenario_id,
            )
        )
        log.info("session_started", pipeline=session.options.pipeline)
        if session.options.ignored:
            log.warning("metadata_ignored", fields=session.options.ignored)
            session.scribe.write(
                lambda now: session.scribe.recorder.marker(
                    now, "metadata_ignored", fields=list(session.options.ignored)
                )
            )

    async def _start_voice(self, ctx: JobContext, session: CoachSession, client: Arrival) -> None:
        heard = HeardText(session.scribe)
        heard.follow(session.voice)
        coach = Coach(
            instructions=session.prompt.text,
            greeting=prompts.load(_greeting(session.options)).text,
            scribe=session.scribe,
            aside=session.aside,
            in_flight=session.in_flight,
        )
        async with asyncio.timeout(START_SECONDS):  # the framework itself sets no limit here
            await session.voice.start(
                coach,
                room=ctx.room,
                room_options=voices.room_options(client.identity, heard, _typed),
                record=False,
            )
        if session.options.pipeline is Pipeline.REALTIME:
            session.in_flight.follow_provider(coach.realtime_llm_session)


def _greeting(options: SessionOptions) -> str:
    return "greeting_again" if options.resumed else "greeting"


def _report_failure(ctx: JobContext, work: asyncio.Task[None]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        log.error("job_failed", error=type(error).__name__, exc_info=error)
        session: CoachSession | None = ctx.proc.userdata.get(_SESSION)
        if session is not None:
            session.ending.fail()
        ctx.shutdown("job failed")


async def _typed(voice: AgentSession[None], event: room_io.TextInputEvent) -> None:
    """Record a typed message before the framework decides what becomes of it, then answer it."""
    session: CoachSession = get_job_context().proc.userdata[_SESSION]
    recorder = session.scribe.recorder
    utterance = Utterance(item_id="", text=event.text, typed=True)
    session.scribe.write(lambda now: recorder.segment(now, utterance, recorder.client))
    if not session.limit.telling:  # that is heard to its end, and the answer comes after
        await voice.interrupt()
    voice.generate_reply(user_input=event.text)
