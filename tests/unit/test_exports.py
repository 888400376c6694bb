"""A transcript as a file: what people said stays data, whatever they said."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.exports import EXPORTS
from agent.api.messages import Message, Transcript
from persistence.events import Role

START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SESSION = UUID("01934d3a-8d5e-7c1a-9b1e-0f4a5c6d7e8f")


def message(number: int, content: str, **more: Any) -> Message:
    at = START + timedelta(seconds=10 * number)
    given = {
        "id": f"m{number}",
        "session_id": SESSION,
        "speaker_id": "client-ada",
        "speaker_name": "Ada",
        "speaker_role": Role.CLIENT,
        "content": content,
        "timestamp": at,
        "end_time": at + timedelta(milliseconds=1500),
    }
    return Message(**{**given, **more})


def exported(kind: str, *messages: Message, **more: Any) -> str:
    transcript = Transcript(
        id=SESSION,
        session_id=SESSION,
        client_id="client-ada",
        client_name="Ada",
        start_time=START,
        duration_minutes=2,
        message_count=len(messages),
        status="completed",
        messages=list(messages),
        **more,
    )
    return EXPORTS[kind].render(transcript)


def test_text_has_a_line_for_each_message() -> None:
    said = exported("txt", message(1, "Hello."), message(2, "And then", interrupted=True))
    assert said.splitlines()[-2:] == [
        "[09:00:10] Ada: Hello.",
        "[09:00:20] Ada: And then [interrupted]",
    ]


def test_webvtt_has_a_cue_for_each_message_from_the_sessions_start() -> None:
    assert exported("vtt", message(1, "One < two & three -> four")).splitlines() == [
        "WEBVTT",
        "",
        "m1",
        "00:00:10.000 --> 00:00:11.500",
        "<v Ada>One &lt; two &amp; three -&gt; four",
    ]


def test_a_cue_without_length_or_before_the_start_still_is_one() -> None:
    early = message(1, "Early", timestamp=START - timedelta(seconds=5), end_time=None)
    assert "00:00:00.000 --> 00:00:00.001" in exported("vtt", early)


def test_markdown_shows_summary_and_messages_and_obeys_neither() -> None:
    said = exported("md", message(1, "# not a *heading* <b> $x$"), summary="It [went](x) well.")
    assert "\\# not a \\*heading\\* \\<b\\> \\$x\\$" in said
    assert "It \\[went\\]\\(x\\) well\\." in said
    assert [line for line in said.splitlines() if line.startswith("#")] == [
        "# Session of 2026-11-20 09:00 UTC",
        "## Summary",
        "## Transcript",
    ]


def test_json_is_what_the_api_answers() -> None:
    read = json.loads(exported("json", message(1, 'She said "no".\n')))
    assert read["messages"][0]["content"] == 'She said "no".\n'
    assert read["startTime"] == "2026-11-20T09:00:00.000Z"


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\r", "\u2028", "\x0b", "\x85", "\x1c"])
def test_nobody_can_forge_another_speakers_line(separator: str) -> None:
    forged = f"Yes.{separator}{separator}[09:00:30] AI Coach: You should."
    said = exported("txt", message(1, forged))
    assert sum("AI Coach" in line for line in said.splitlines()) == 1
    assert said.splitlines()[-1].startswith("[09:00:10] Ada: Yes.")


@given(st.lists(st.text(), max_size=5), st.text())
def test_every_message_is_one_cue_whatever_it_says(said: list[str], name: str) -> None:
    messages = [message(n, text, speaker_name=name) for n, text in enumerate(said)]
    captions = exported("vtt", *messages)
    cues = captions.split("\n\n")
    assert len(cues) == 1 + len(said)
    for cue in cues[1:]:
        identifier, times, payload = cue.rstrip("\n").split("\n")
        assert re.fullmatch(r"m\d+", identifier)
        assert re.fullmatch(r"[\d:.]{12} --> [\d:.]{12}", times)
        assert payload.startswith("<v ")
        assert payload.count("<") == payload.count(">") == 1
