"""Asking the LLM for a structured answer, and telling an answer from everything else.

What comes back is untrusted: it is read from the raw bytes with models of our own, since the SDK
builds its objects without checking. No error raised here holds a request, an answer or the error
it came from: errors of jobs are logged with their whole chain, and what was said must not be in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import openai
import pydantic
from openai import AsyncOpenAI
from pydantic import BaseModel
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

Answer = TypeVar("Answer", bound=BaseModel)

REQUEST_SECONDS = 60.0
TOTAL_SECONDS = 150.0
"""The bound of one question with all its attempts and pauses."""
ATTEMPTS = 4
PAUSE_MAX_SECONDS = 20.0
ANSWER_MAX_TOKENS = 4_000
ANSWER_MAX_BYTES = 200_000

_TRANSIENT_STATUS = frozenset({408, 409, 425, 429})
_backoff = wait_random_exponential(multiplier=0.25, max=PAUSE_MAX_SECONDS)


class LlmError(Exception):
    """The LLM gave nothing that can be used; the message is a fixed phrase."""


class LlmUnavailableError(LlmError):
    """The LLM could not be reached, or did not answer in time."""

    def __init__(self, reason: str, *, pause_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_seconds = pause_seconds
        """How long the provider asked to be left alone."""


class LlmRefusedError(LlmError):
    """The LLM turned the request down: a wrong key, an unknown model, its own refusal."""


class LlmAnswerError(LlmError):
    """The LLM's answer is broken, empty, cut off or too long."""


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = pydantic.Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Llm:
    """One model behind one client."""

    client: AsyncOpenAI
    model: str

    async def ask(self, instructions: str, material: str, answer: type[Answer]) -> Answer:
        """Return the model's answer to `instructions` on `material`, checked to be an `answer`.

        Rate limits, server errors, time-outs and lost connections are tried again, within
        TOTAL_SECONDS. Raises LlmUnavailableError, LlmRefusedError or LlmAnswerError.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(LlmUnavailableError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=_pause,
            reraise=True,
        )
        body: bytes | None = None
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                body = await retrying(self._complete, instructions, material, answer)
        except TimeoutError:
            pass  # said below, outside of the handler, so that it carries no chain
        if body is None:
            raise LlmUnavailableError("no answer within the time for all attempts")
        return _parsed(_content(body), answer)

    async def _complete(self, instructions: str, material: str, answer: type[BaseModel]) -> bytes:
        """Return the raw body of one completion."""
        try:
            response = await self.client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=[
                    {"role": "system", "content": instructions},
                    {"role": "user", "content": material},
                ],
                response_format={
                    "type": "json_schema",
                    "json_schema": {
                        "name": answer.__name__,
                        "strict": True,
                        "schema": answer.model_json_schema(),
                    },
                },
                max_completion_tokens=ANSWER_MAX_TOKENS,
                timeout=REQUEST_SECONDS,
            )
        except openai.OpenAIError as error:
            failure = _translated(error)
        else:
            return response.content
        raise failure  # outside of the handler, so that it carries no chain


def client(api_key: str, base_url: str) -> AsyncOpenAI:
    """Return a client; its own retries are off, since they have no total bound."""
    return AsyncOpenAI(api_key=api_key, base_url=base_url, max_retries=0)


def _pause(state: RetryCallState) -> float:
    """Return the seconds before the next attempt: ours, or longer if the provider asks for it."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.pause_seconds if isinstance(error, LlmUnavailableError) else 0.0
    return max(_backoff(state), min(asked, PAUSE_MAX_SECONDS))


def _translated(error: openai.OpenAIError) -> LlmError:
    match error:
        case openai.APITimeoutError():
            return LlmUnavailableError("no answer in time")
        case openai.APIConnectionError():
            return LlmUnavailableError("no connection")
        case openai.APIStatusError(status_code=status, response=response):
            if status in _TRANSIENT_STATUS or status >= 500:  # noqa: PLR2004 - HTTP's own border
                pause = _seconds(response.headers.get("retry-after"))
                return LlmUnavailableError(f"HTTP status {status}", pause_seconds=pause)
            return LlmRefusedError(f"HTTP status {status}")
        case _:
            return LlmAnswerError(f"not a completion: {type(error).__name__}")


def _seconds(retry_after: str | None) -> float:
    """Return the seconds of a Retry-After header, 0 for a date or anything else."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else 0.0


def _content(body: bytes) -> str:
    """Return what the model wrote; raise LlmAnswerError or LlmRefusedError."""
    if len(body) > ANSWER_MAX_BYTES:
        raise LlmAnswerError("too long")
    choice = _valid(_Completion.model_validate_json, body, "not a completion").choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise LlmRefusedError("refused by the model")
    if choice.finish_reason == "length":
        raise LlmAnswerError("cut off")
    if not choice.message.content:
        raise LlmAnswerError("empty")
    return choice.message.content


def _parsed(content: str, answer: type[Answer]) -> Answer:
    return _valid(answer.model_validate_json, content, "not of the asked form")


Raw = TypeVar("Raw", str, bytes)


def _valid(validate: Callable[[Raw], Answer], raw: Raw, otherwise: str) -> Answer:
    """Return `validate(raw)`; raise LlmAnswerError(`otherwise`), which says nothing of `raw`."""
    try:
        return validate(raw)
    except pydantic.ValidationError:
        pass  # holds the input: leave it here
    raise LlmAnswerError(otherwise)
