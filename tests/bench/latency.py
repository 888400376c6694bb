"""What recorder and journal add to the time that a client waits for an answer.

Two voices of the same make take turns with the same utterances: one with the recorder and its
journal, as a job has them, the other without. The stand-in answers at once, so that what is left of
an answer's time is the framework's and ours. Which of the two goes first changes with every pair;
voices are new after `ROUND` pairs, as sessions are.

Told apart is the same with a shipper and its Postgres at work on the same cores: they write a turn
just while its answer is made. With providers that take their time, the processor waits then; here
it does not, and on two cores they are in each other's way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uuid_utils.compat as uuids
from bare_agent import BareAgent
from livekit import rtc
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
from agent.worker.voice import make_aside, make_voice
from persistence.events import EndReason, Started
from persistence.journal import JournalWriter

GOAL_SECONDS = 0.002
ROUND = 32
"""Pairs; the length of a long conversation."""
WARM_UP = 2
"""Pairs at a round's start that do not count: connections are made in them."""
CLOSE_SECONDS = 10.0


@dataclass
class Answers:
    """How long answers took, pair by pair, in seconds."""

    recorded: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    @property
    def added(self) -> Difference:
        return paired_difference(self.recorded, self.bare)


def measure(bench: Bench) -> Result:
    """Return what recording adds, and what it adds where shipping shares the machine."""
    children = Children(bench.folder)
    with scripted_providers(children) as providers:
        settings = load(
            deepgram_api_key="none",
            openai_api_key="none",
            deepgram_base_url=providers.deepgram,
            openai_base_url=providers.openai,
            turn_detection="vad",
        )
        apart = asyncio.run(_rounds(bench, settings, "journal", bench.size(10, 1)))
        with (
            database(bench.folder) as url,
            shipper(children, _journals(bench, "shipped"), url),
        ):
            together = asyncio.run(_rounds(bench, settings, "shipped", bench.size(2, 1)))
    return _result(apart, together)


def _journals(bench: Bench, name: str) -> Path:
    folder = bench.folder / name
    folder.mkdir(exist_ok=True)
    return folder


def _result(apart: Answers, together: Answers) -> Result:
    met = apart.added.median <= GOAL_SECONDS
    rows = [
        Row(
            f"recorder and journal add ({apart.added.pairs} pairs)",
            _shown(apart.added),
            f"at most {milliseconds(GOAL_SECONDS)}",
            met,
        ),
        Row("an answer, recorded (median)", milliseconds(percentile(apart.recorded, 0.5))),
        Row("an answer, bare (median)", milliseconds(percentile(apart.bare, 0.5))),
        Row(
            f"with shipper and Postgres on these cores ({together.added.pairs} pairs)",
            _shown(together.added),
        ),
    ]
    data = {"goalSeconds": GOAL_SECONDS, **_data(apart), "withShipper": _data(together)}
    return Result(rows, data)


def _shown(added: Difference) -> str:
    return (
        f"{milliseconds(added.median)}, 95 % interval "
        f"[{milliseconds(added.low)}, {milliseconds(added.high)}]"
    )


def _data(answers: Answers) -> dict[str, object]:
    return {
        "addedSeconds": asdict(answers.added),
        "recordedMedianSeconds": percentile(answers.recorded, 0.5),
        "bareMedianSeconds": percentile(answers.bare, 0.5),
    }


async def _rounds(bench: Bench, settings: Settings, journals: str, count: int) -> Answers:
    answers = Answers()
    folder = _journals(bench, journals)
    async with utils.http_context.open():
        for number in range(count):
            pairs = await _round(bench.size(ROUND, 8), settings, folder)
            answers.recorded += [pair[0] for pair in pairs[WARM_UP:]]
            answers.bare += [pair[1] for pair in pairs[WARM_UP:]]
            so_far = _shown(answers.added)
            bench.report(f"{journals}, round {number + 1} of {count}: {so_far}")
    return answers


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
    await room.start(BareAgent(instructions, greeting))
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
    in_flight = SpeechInFlight(scribe)
    in_flight.follow(voice)
    heard = HeardText(scribe)
    heard.follow(voice)
    room = RoomInMemory(voice, heard)
    greeting = prompts.load("greeting").text
    coach = Coach(
        instructions=prompts.load("coach").text,
        greeting=greeting,
        scribe=scribe,
        aside=make_aside(rtc.Room(), settings, options, scribe),
        in_flight=in_flight,
    )
    await room.start(coach)
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
