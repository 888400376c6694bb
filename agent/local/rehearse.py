"""`coach rehearse`: talk to a whole deployment as a client would, and check what Postgres has.

It joins rooms, speaks, listens, leaves, and reads the sessions back through the HTTP API: what was
captioned in the room must be what Postgres holds. How well speech was recognised is shown, and
fails nothing.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from agent.local import running
from agent.local.rehearsal import monologue, report
from agent.local.rehearsal.conversation import Bounds, Conversation, Script
from agent.local.rehearsal.deployment import KEY_NEEDED, Deployment, DeploymentError
from agent.local.rehearsal.progress import Progress
from agent.local.rehearsal.record import Record

PASSED, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 128 + signal.SIGINT
MIN_WIDTH = 100


@dataclass(frozen=True)
class Target:
    url: str
    key: str

    def __repr__(self) -> str:
        return f"Target({self.url!r})"


def run(
    *,
    url: str | None = None,
    api_key: str | None = None,
    minutes: float | None = None,
    sessions: int = 1,
    as_json: bool = False,
) -> int:
    """Rehearse and print what came of it; return the exit code.

    0: passed. 1: failed, and it is said where. 2: nothing to rehearse with. Without `url` it is the
    `coach up` of the current folder. `minutes` is how long to keep talking.
    """
    scripts = [script(number, minutes) for number in range(sessions)]
    try:
        target = find_target(url, api_key)
        records = asyncio.run(rehearse(target, scripts))
    except DeploymentError as error:
        _say_refused(str(error), as_json=as_json)
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    judged = report.judged(records)
    if as_json:
        print(json.dumps(report.as_object(target.url, judged), ensure_ascii=False))  # noqa: T201 - the result
    else:
        report.show(_wide(Console(highlight=False)), judged)
    return PASSED if all(session.passed for session in judged) else FAILED


def script(number: int, minutes: float | None) -> Script:
    """Return what session `number` (from 0) says."""
    count = monologue.UTTERANCES if minutes is None else None
    return Script(monologue.sentences(number), count, seconds=(minutes or 0.0) * 60)


def find_target(url: str | None, api_key: str | None) -> Target:
    """Return the deployment to rehearse with; raises DeploymentError where there is none."""
    if url is not None:
        if not api_key:
            raise DeploymentError(f"no key for {url}: give --key or COACH_API_KEY. {KEY_NEEDED}")
        return Target(url, api_key)
    local = running.find(Path.cwd())
    if local is None:
        raise DeploymentError(
            "there is nothing to rehearse with: run coach up in this folder first, or name a "
            "deployment with --url and --key"
        )
    return Target(local.api_url, api_key or local.api_key)


async def rehearse(
    target: Target, scripts: Sequence[Script], bounds: Bounds | None = None
) -> list[Record]:
    """Hold one session for each of `scripts`, all at once, and return what each yielded.

    Raises DeploymentError if not all of them can begin.
    """
    progress = Progress(Console(stderr=True, highlight=False), len(scripts))
    try:
        async with Deployment(target.url, target.key) as deployment:
            await deployment.check()
            held = [
                Conversation(number, deployment, _room(), bounds or Bounds(), progress)
                for number in range(len(scripts))
            ]
            await _join(held)
            async with asyncio.TaskGroup() as talks:
                for conversation, said in zip(held, scripts, strict=True):
                    talks.create_task(conversation.hold(said))
            return [conversation.record for conversation in held]
    finally:
        progress.close()


async def _join(held: Sequence[Conversation]) -> None:
    """Join all rooms, or none; raises DeploymentError."""
    joined: list[Conversation] = []
    try:
        for conversation in held:
            joined.append(conversation)
            await conversation.join()
    except BaseException:
        await asyncio.gather(*(conversation.leave() for conversation in joined))
        raise


def _room() -> str:
    return f"rehearsal-{secrets.token_hex(6)}"


def _wide(console: Console) -> Console:
    """Let tables be read where the output is no terminal."""
    if not console.is_terminal:
        console.width = max(console.width, MIN_WIDTH)
    return console


def _say_refused(why: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"ok": False, "error": why}, ensure_ascii=False))  # noqa: T201 - the result
    Console(stderr=True, highlight=False).print(Text(f"coach: {why}", style="red"), soft_wrap=True)
