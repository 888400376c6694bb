"""Prompts are Markdown files, loaded by name, versioned by their content."""

from __future__ import annotations

import hashlib

import pytest

import prompts


@pytest.mark.parametrize("name", ["announcement", "coach", "greeting", "greeting_again", "summary"])
def test_a_prompt_has_text_and_the_version_of_that_text(name: str) -> None:
    prompt = prompts.load(name)

    assert prompt.name == name
    assert prompt.text == prompt.text.strip() != ""
    assert prompt.version == hashlib.sha256(prompt.text.encode()).hexdigest()[:12]


def test_a_prompt_is_read_once() -> None:
    assert prompts.load("coach") is prompts.load("coach")


@pytest.mark.parametrize("name", ["", "nobody", "../pyproject", "coach.md", "__init__"])
def test_an_unknown_name_raises_and_lists_the_known_ones(name: str) -> None:
    with pytest.raises(
        prompts.UnknownPromptError, match="announcement, coach, greeting, greeting_again, summary"
    ):
        prompts.load(name)


@pytest.mark.parametrize("name", prompts.names())
def test_no_prompt_has_a_placeholder_left_to_fill(name: str) -> None:
    text = prompts.load(name).text

    assert not set("{}<>") & set(text)


def test_the_coach_says_that_it_is_an_ai_and_what_to_do_in_danger() -> None:
    text = prompts.load("coach").text

    for rule in ("AI coach", "one open question", "Never make anything up", "Never diagnose"):
        assert rule in text
    assert "emergency number" in text
