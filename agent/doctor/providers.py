"""Whether the providers' keys are there and, only where that is asked, whether they are taken."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import aiohttp

from agent.doctor.check import Area, Check, bad, ok
from agent.settings import Settings, environment_name, secret

ANSWER_SECONDS = 10.0
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def present(settings: Settings, *, brought_along: bool) -> list[Check]:
    """Say which keys there are; `coach up` brings a stand-in along for those that are missing."""
    found = {"Deepgram": "deepgram_api_key", "OpenAI": "openai_api_key"}
    checks = []
    for name, field in found.items():
        if getattr(settings, field) is not None:
            checks.append(ok(Area.PROVIDERS, name, "key present"))
        elif brought_along:
            checks.append(ok(Area.PROVIDERS, name, "the offline stand-in of coach up"))
        else:
            advice = f"set {environment_name(field)}"
            checks.append(bad(Area.PROVIDERS, name, "no key", advice))
    return checks


async def examine(settings: Settings) -> list[Check]:
    """Ask the providers whose keys are there for what costs nothing."""
    deepgram = settings.deepgram_base_url.removesuffix("/listen") + "/projects"
    openai = settings.openai_base_url.rstrip("/") + "/models"
    asked = []
    async with aiohttp.ClientSession(
        trust_env=True, timeout=aiohttp.ClientTimeout(ANSWER_SECONDS)
    ) as http:
        if settings.deepgram_api_key:
            key = f"Token {secret(settings.deepgram_api_key)}"
            asked.append(_ask(http, "Deepgram answers", deepgram, key))
        if settings.openai_api_key:
            key = f"Bearer {secret(settings.openai_api_key)}"
            asked.append(_ask(http, "OpenAI answers", openai, key))
        return list(await asyncio.gather(*asked))


async def _ask(http: aiohttp.ClientSession, name: str, url: str, authorization: str) -> Check:
    try:
        async with http.get(url, headers={"Authorization": authorization}) as answer:
            status = answer.status
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        advice = "is its base URL right, does a proxy stand between, is it down?"
        return bad(Area.PROVIDERS, name, f"no: {type(error).__name__}", advice)
    if status in _REFUSED:
        return bad(Area.PROVIDERS, name, f"refuses the key ({status})", "put a valid key in")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return bad(Area.PROVIDERS, name, f"with errors ({status})", "see its status page")
    return ok(Area.PROVIDERS, name, f"yes ({status})")
