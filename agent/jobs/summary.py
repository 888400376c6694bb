"""The after-session summary: what was said in one session, each statement with its turn.

The LLM is asked outside of any transaction; then one short transaction looks that the transcript is
still the one that was read, records the run first and writes the summary. A statement whose quote
was not said is dropped; if none is left there is no summary, the job fails and is tried again.
"""

from __future__ import annotations

from uuid import UUID

import structlog
from procrastinate import JobContext
from pydantic import BaseModel, ConfigDict

import prompts
from agent.jobs.evidence import Statement, supported
from agent.jobs.llm import LlmAnswerError
from agent.jobs.tools import Tools
from persistence import analyses
from persistence.analyses import Run, Transcript, TranscriptTurn
from persistence.events import Role, clean_text

KIND = "summary"
MIN_TURNS = 5
"""A shorter session gets no summary, nor does one in which only the AI spoke."""
MAX_STATEMENTS = 12
MAX_STATEMENT_CHARACTERS = 500

log = structlog.get_logger("coach.jobs")


class TranscriptChangedError(Exception):
    """The transcript changed while it was being summarised: it is read again at the next try."""


class CitedStatement(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str
    turn: int
    quote: str


class Summary(BaseModel):
    """What the LLM is asked for."""

    model_config = ConfigDict(extra="forbid")

    statements: list[CitedStatement]


async def summarise(context: JobContext, session_id: str) -> None:
    """Write the summary of a session that has ended, once per transcript.

    Raises LlmError, TranscriptChangedError or PersistenceError; the job is then tried again.
    """
    session, tools = UUID(session_id), Tools.of(context)
    transcript = await _due(tools, session)
    if transcript is None:
        return
    prompt = prompts.load("summary")
    answer = await tools.llm.ask(prompt.text, rendered(transcript.turns), Summary)
    statements = checked(answer, transcript.turns)
    await _store(tools, session, transcript, summary_text(statements), prompt.version)
    dropped = len(answer.statements) - len(statements)
    log.info("session_summarised", session=session_id, kept=len(statements), dropped=dropped)


def rendered(turns: tuple[TranscriptTurn, ...]) -> str:
    """Return the transcript as the prompt describes it, one turn a line."""
    return "\n".join(f"[{turn.seq}] {turn.role}: {' '.join(turn.text.split())}" for turn in turns)


def checked(answer: Summary, turns: tuple[TranscriptTurn, ...]) -> list[Statement]:
    """Return the statements that rest on what was said; raise LlmAnswerError if there is none."""
    statements = [
        Statement(text=clean_text(" ".join(cited.text.split())), turn=cited.turn, quote=cited.quote)
        for cited in answer.statements
    ]
    usable = [s for s in statements if 0 < len(s.text) <= MAX_STATEMENT_CHARACTERS]
    kept = supported(usable, turns)[:MAX_STATEMENTS]
    if not kept:
        raise LlmAnswerError("no statement rests on what was said")
    return kept


def summary_text(statements: list[Statement]) -> str:
    """Return the summary as it is stored: one statement a line, its turn in brackets."""
    return "\n".join(f"{statement.text} [{statement.turn}]" for statement in statements)


async def _due(tools: Tools, session: UUID) -> Transcript | None:
    """Return the transcript to summarise, None where there is nothing to do."""
    async with tools.transaction() as db:
        transcript = await analyses.transcript(db, session)
        if transcript is None:
            reason = "no_session"
        elif transcript.active:
            reason = "active"
        elif len(transcript.turns) < MIN_TURNS:
            reason = "short"
        elif all(turn.role == Role.AI for turn in transcript.turns):
            reason = "nobody_spoke"  # what the AI says to itself is nothing to report
        elif await analyses.has_run(db, session, KIND, transcript.sha256):
            reason = "done"
        else:
            return transcript
    log.info("summary_not_due", session=str(session), reason=reason)
    return None


async def _store(
    tools: Tools, session: UUID, transcript: Transcript, summary: str, prompt_version: str
) -> None:
    """Write the summary unless it is there; raise TranscriptChangedError if it is out of date."""
    async with tools.transaction() as db:
        await analyses.lock_session(db, session)
        if await analyses.transcript(db, session) != transcript:
            raise TranscriptChangedError
        run = Run(session, KIND, transcript.sha256, tools.llm.model, prompt_version)
        if await analyses.begin(db, run):
            await analyses.write_summary(db, session, summary)
