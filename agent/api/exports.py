"""One transcript as a file: JSON, Markdown, WebVTT or plain text, escaped for each.

What people said is data in every one of them: it cannot become a heading, a cue, a tag or the line
of another speaker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from agent.api.messages import Transcript
from agent.api.shapes import iso

SHORTEST_CUE = timedelta(milliseconds=1)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_LINES = re.compile(r"\s*[\r\n\u2028\u2029]+\s*")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&:@/=$^])")
"""What CommonMark, or one of the dialects that GitHub and others speak, takes for its own."""


class Export(NamedTuple):
    media_type: str
    render: Callable[[Transcript], str]


def as_json(transcript: Transcript) -> str:
    """Return what the API answers, indented for a person."""
    return transcript.model_dump_json(indent=2, exclude_none=True, by_alias=True) + "\n"


def as_text(transcript: Transcript) -> str:
    """Return a line a message: time of day in UTC, speaker, words."""
    lines = [
        f"[{_clock(message.timestamp)}] {_line(message.speaker_name or message.speaker_role)}:"
        f" {_line(message.content)}{' [interrupted]' if message.interrupted else ''}"
        for message in transcript.messages
    ]
    return "\n".join([*_facts(transcript), "", *lines]) + "\n"


def as_markdown(transcript: Transcript) -> str:
    """Return a document with the summary first, and a paragraph a message."""
    parts = [f"# Session of {transcript.start_time.astimezone(UTC):%Y-%m-%d %H:%M} UTC", ""]
    parts += [f"- {_markdown(fact)}" for fact in _facts(transcript)]
    if transcript.summary:
        parts += ["", "## Summary", "", _markdown(transcript.summary)]
    parts += ["", "## Transcript", ""]
    for message in transcript.messages:
        speaker = _markdown(message.speaker_name or message.speaker_role)
        cut_off = " *(interrupted)*" if message.interrupted else ""
        parts += [
            f"**{speaker}** {_clock(message.timestamp)}{cut_off}  ",
            _markdown(message.content),
            "",
        ]
    return "\n".join(parts).rstrip("\n") + "\n"


def as_webvtt(transcript: Transcript) -> str:
    """Return captions, a cue a message, with times from the session's start."""
    cues = ["WEBVTT"]
    for message in transcript.messages:
        start = max(timedelta(0), message.timestamp - transcript.start_time)
        end = (message.end_time or message.timestamp) - transcript.start_time
        speaker = _vtt(message.speaker_name or message.speaker_role)
        cues.append(
            f"{message.id}\n{_cue_time(start)} --> {_cue_time(max(end, start + SHORTEST_CUE))}\n"
            f"<v {speaker}>{_vtt(message.content)}"
        )
    return "\n\n".join(cues) + "\n"


EXPORTS: Mapping[str, Export] = {
    "json": Export("application/json", as_json),
    "md": Export("text/markdown; charset=utf-8", as_markdown),
    "vtt": Export("text/vtt; charset=utf-8", as_webvtt),
    "txt": Export("text/plain; charset=utf-8", as_text),
}


def _facts(transcript: Transcript) -> list[str]:
    """Return what is known of the session as a whole, a line each."""
    facts = [
        f"session {transcript.id}",
        f"started {iso(transcript.start_time)}",
        f"{transcript.duration_minutes} min, {transcript.status}"
        + (f" ({transcript.end_reason})" if transcript.end_reason else ""),
    ]
    if transcript.client_name:
        facts.append(f"client {_line(transcript.client_name)}")
    if transcript.coach_name:
        facts.append(f"coach {_line(transcript.coach_name)}")
    if transcript.receipt:
        facts.append(f"transcript {transcript.completeness}, {len(transcript.messages)} messages")
    return facts


def _line(text: str) -> str:
    """Return text on one line, without control characters: no second speaker can be forged."""
    return _CONTROL.sub("\ufffd", _LINES.sub(" ", text)).strip()


def _markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", _line(text))


def _vtt(text: str) -> str:
    escaped = _line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped or "\u00a0"


def _clock(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%H:%M:%S")


def _cue_time(since_start: timedelta) -> str:
    milliseconds = since_start // timedelta(milliseconds=1)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}"
