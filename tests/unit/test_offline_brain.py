"""The offline brain's words: it reflects and quotes, and makes nothing up."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from agent.local.providers import summary
from agent.local.providers.brain import Message
from agent.local.providers.reflection import (
    CRISIS,
    DISTRESS,
    GREETING,
    QUESTIONS,
    UNHEARD,
    mirrored,
    reflect,
)


def said(*texts: str) -> list[Message]:
    return [Message("system", "You are a coach."), *(Message("user", text) for text in texts)]


def test_it_greets_and_says_what_it_is() -> None:
    assert reflect(said()) == GREETING
    assert "without a language model" in GREETING


def test_it_reflects_the_clients_words_and_asks_an_open_question() -> None:
    answer = reflect(said("I have not been sleeping and my work is too much"))
    assert answer.startswith("I heard: you have not been sleeping and your work is too much.")
    assert answer.endswith("?")


def test_another_turn_gets_another_question() -> None:
    asked = [reflect(said(*["I walk"] * n)).split(". ")[-1] for n in range(1, len(QUESTIONS) + 1)]
    assert asked == list(QUESTIONS)


@pytest.mark.parametrize(
    "text", ["I want to die", "sometimes I think of suicide", "I could kill myself"]
)
def test_danger_is_answered_with_people(text: str) -> None:
    assert reflect(said("hello", text)) == CRISIS
    assert "emergency" in CRISIS


@pytest.mark.parametrize("text", ["I feel hopeless", "I am so overwhelmed", "it makes me panic"])
def test_distress_is_answered_kindly_and_with_a_human(text: str) -> None:
    assert reflect(said(text)) == DISTRESS
    assert "your coach" in DISTRESS


@pytest.mark.parametrize("text", ["", " ", "...", "?!"])
def test_what_holds_no_word_was_not_heard(text: str) -> None:
    assert reflect(said(text)) == UNHEARD


def test_the_mirror_turns_the_person_and_adds_no_word() -> None:
    assert mirrored("I'm late and I was told it by my boss") == (
        "you are late and you were told it by your boss"
    )
    long = " ".join(f"word{n}" for n in range(40))
    assert mirrored(long).split() == long.split()[-12:]


TRANSCRIPT = """Transcript of the session:
client: I sleep badly since March.
ai: What keeps you awake?
[3] client: My phone, and the news at night: all of it.
Coach Anna: And in the morning?
Nobody: not a speaker
client (client-1): I will put it away at nine.
"""


def filled(schema: dict[str, Any], text: str = TRANSCRIPT) -> Any:
    return json.loads(summary.fill(schema, [Message("user", text)]))


def test_a_summary_quotes_only_what_the_client_said() -> None:
    schema = {
        "type": "object",
        "properties": {
            "summary": {"type": "string"},
            "commitments": {"type": "array", "items": {"type": "string"}},
        },
    }
    answer = filled(schema)
    assert "without a language model" in answer["summary"]
    assert "5 turns, 3 of them the client's" in answer["summary"]
    for quote in [*answer["commitments"], *re.findall("“(.*?)”", answer["summary"])]:
        assert quote in TRANSCRIPT
    assert "My phone, and the news at night: all of it." in answer["commitments"]


def test_judgements_are_null_or_the_least_that_is_allowed() -> None:
    schema = {
        "$defs": {"Mood": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
        "type": "object",
        "properties": {
            "mood": {"$ref": "#/$defs/Mood"},
            "score": {"type": "integer", "minimum": 1},
            "sure": {"type": "boolean"},
            "level": {"enum": ["low", "high"]},
            "maybe": {"type": ["string", "null"]},
            "turns": {"type": "array", "items": {"type": "integer"}},
            "nested": {"type": "object", "properties": {"n": {"type": "number"}}},
        },
    }
    assert filled(schema) == {
        "mood": None,
        "score": 1,
        "sure": False,
        "level": "low",
        "maybe": None,
        "turns": [],
        "nested": {"n": 0},
    }


def test_an_empty_transcript_and_a_schema_of_itself_do_no_harm() -> None:
    schema: dict[str, Any] = {
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
        "$ref": "#/$defs/Node",
    }
    assert filled(schema, "")["next"]["next"]
    assert "0 turns" in filled({"type": "string"}, "")
    assert filled({"type": "array", "items": {"type": "string"}}, "") == []
