"""Transcripts of imported sessions: one text, lines of `role: text`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from persistence.events import Role

_LINE = re.compile(r"\s*(client|coach|ai|assistant|user)\s*:(.*)", re.IGNORECASE | re.DOTALL)
_ROLES = {
    "client": Role.CLIENT,
    "user": Role.CLIENT,
    "coach": Role.COACH,
    "ai": Role.AI,
    "assistant": Role.AI,
}


@dataclass(frozen=True, slots=True)
class LegacyMessage:
    line: int
    """Its place in the text, from 1; skipped lines count."""
    role: Role
    text: str


def message_id(session_id: UUID, message: LegacyMessage) -> str:
    """Return the id of a message that has no row of its own."""
    return f"legacy-{session_id}-{message.line}"


def parse(transcript: str) -> list[LegacyMessage]:
    """Return the messages of `transcript`; lines that are none, or empty ones, are skipped."""
    messages: list[LegacyMessage] = []
    for number, line in enumerate(transcript.split("\n"), start=1):
        match = _LINE.fullmatch(line)
        if match and (text := match[2].strip()):
            messages.append(LegacyMessage(number, _ROLES[match[1].lower()], text))
    return messages
