"""What recorder and journal add to the time that a client waits for an answer.

Two voices of the same make take turns with the same utterances: one with the recorder, its journal
and a shipper to a real Postgres, as a job has them, the other without. The stand-in answers at
once, so that what is left of an answer's time is the framework's and ours. Which of the two goes
first changes with every pair; voices are new after `ROUND` pairs, as sessions are.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import uuid_utils.compat as uuids
from bare_agent import BareAgent
from livekit.agents import utils
from results import Bench, Result, Row, milliseconds
from room_in_memory import SAMPLE_RATE, RoomInMemory
from samples import Difference, paired_difference, percentile
from stand import database, scripted_providers, shipper

import prompts
from agent.local.processes import Children
from agent.local.providers import tones
from agent.settings import Settings, load
from agent.worker.coach import Coach, HeardText
from agent.worker.listening import SpeechInFlight, listen
from agent.worker.options import SessionOptions
from agent.worker.people import person_of
from agent.worker.recorder import Recorder
from agent.worker.scribe import Scribe
from agent.worker.voice import make_voice
from persistence.events import EndReason, Started
from persistence.journal import JournalWriter

GOAL_SECONDS = 0.002
ROUND = 32
"""Pairs; the length of a long conversation."""
WARM_UP = 2
"""Pairs at a round's start that do not count: connections are made in them."""
CLOSE_SECONDS = 10.0


def measure(bench: Bench) -> Result:
    children = Children(bench.folder)
    journals = bench.folder / "journal"
    journals.mkdir()
    with (
        database(bench.folder) as url,
        shipper(children, journals, url),
        scripted_providers(children) as providers,
    ):
        settings = load(
            deepgram_api_key="none",
            openai_api_key="none",
            deepgram_base_url=providers.deepgram,
            openai_base_url=providers.openai,
            turn_detection="vad",
        )
        recorded, bare = asyncio.run(_rounds(bench, settings, journals))
    return _result(recorded, bare)


def _result(recorded: list[float], bare: list[float]) -> Result:
    added = paired_difference(recorded, bare)
    medians = percentile(recorded, 0.5), percentile(bare, 0.5)
    rows = [
        Row(
            f"recorder and journal add ({added.pairs} pairs)",
            f"{milliseconds(added.median)}, 95 % of it in "
            f"[{milliseconds(added.low)}, {milliseconds(added.high)}]",
            f"at most {milliseconds(GOAL_SECONDS)}",
            added.median <= GOAL_SECONDS,
        ),
        Row("an answer, recorded (median)", milliseconds(medians[0])),
        Row("an answer, bare (median)", milliseconds(medians[1])),
    ]
    return Result(rows, _data(added, medians))


def _data(added: Difference, medians: tuple[float, float]) -> dict[str, object]:
    return {
        "addedSeconds": asdict(added),
        "goalSeconds": GOAL_SECONDS,
        "recordedMedianSeconds": medians[0],
        "bareMedianSeconds": medians[1],
    }


async def _rounds(
    bench: Bench, settings: Settings, journals: Path
) -> tuple[list[float], list[float]]:
    recorded: list[float] = []
    bare: list[float] = []
    async with utils.http_context.open():
        for number in range(bench.size(10, 1)):
            pairs = await _round(bench.size(ROUND, 8), settings, journals)
            recorded += [pair[0] for pair in pairs[WARM_UP:]]
            bare += [pair[1] for pair in pairs[WARM_UP:]]
            so_far = milliseconds(paired_difference(recorded, bare).median)
            bench.report(f"{len(recorded)} pairs after round {number + 1}, {so_far} so far")
    return recorded, bare


async def _round(count: int, settings: Settings, journals: Path) -> list[tuple[float, float]]:
    """Return the answer times of `count` pairs, recorded and bare, in seconds."""
    pairs = []
    async with _recorded(settings, journals) as recorded, _bare(settings) as bare:
        for number in range(count):
            pcm = tones.encode(random.randint(1, 899), sample_rate=SAMPLE_RATE)
            if number % 2:
                took = await recorded.answer(pcm), await bare.answer(pcm)
            else:
                second, first = await bare.answer(pcm), await recorded.answer(pcm)
                took = first, second
            pairs.append(took)
        recorded.require_turns(count)
        bare.require_turns(count)
    return pairs


@asynccontextmanager
async def _bare(settings: Settings) -> AsyncIterator[RoomInMemory]:
    voice = make_voice(settings, _options(settings))
    room = RoomInMemory(voice)
    instructions, greeting = prompts.load("coach").text, prompts.load("greeting").text
    await voice.start(BareAgent(instructions, greeting), record=False)
    await room.listening()
    yield room
    await voice.aclose()


@asynccontextmanager
async def _recorded(settings: Settings, journals: Path) -> AsyncIterator[RoomInMemory]:
    """Yield a voice with all that a job attaches to it (`agent.worker.job`)."""
    options = _options(settings)
    journal = JournalWriter.create(journals, uuids.uuid7(), max_bytes=settings.journal_max_bytes)
    scribe = Scribe(Recorder(person_of("client-7", {}), options.language), journal)
    scribe.start(_started(scribe, options))
    voice = make_voice(settings, options)
    listen(voice, scribe)
    SpeechInFlight(scribe).follow(voice)
    heard = HeardText(scribe)
    heard.follow(voice)
    room = RoomInMemory(voice, heard)
    greeting = prompts.load("greeting").text
    coach = Coach(instructions=prompts.load("coach").text, greeting=greeting, scribe=scribe)
    await voice.start(coach, record=False)
    await room.listening()
    yield room
    await voice.aclose()
    scribe.end(EndReason.CLIENT_LEFT)
    await asyncio.to_thread(journal.close, CLOSE_SECONDS)


def _options(settings: Settings) -> SessionOptions:
    return SessionOptions(settings.pipeline, settings.language, settings.prompt)


def _started(scribe: Scribe, options: SessionOptions) -> Started:
    return Started(
        at=scribe.clock.now(),
        room_name="bench",
        pipeline=options.pipeline,
        prompt_version=prompts.load(options.prompt).version,
    )
