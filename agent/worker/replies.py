"""What the AI is saying right now: generated so far, and heard so far.

The framework adds a reply to the conversation only after it was played or cut short, and some
speech never (`say(add_to_chat_ctx=False)`). So the two streams are kept here meanwhile, by the
framework's id of the speech: what is known when something breaks is then in the journal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

PROGRESS_INTERVAL = timedelta(milliseconds=200)
"""How often what was heard is journaled; a crash loses at most this much of the AI's words."""


@dataclass
class Reply:
    """One reply of the AI while it lasts; `reply_id` is the framework's id of the speech."""

    reply_id: str
    generated: str = ""
    heard: str = ""
    heard_since: datetime | None = None
    journaled_at: datetime | None = None
    journaled: str = ""

    def generate(self, delta: str) -> None:
        """Take text that the model made."""
        self.generated += delta

    def hear(self, delta: str, now: datetime) -> None:
        """Take text whose audio has been played to the room."""
        self.heard_since = self.heard_since or now
        self.heard += delta

    def progress_due(self, now: datetime, *, last: bool = False) -> bool:
        """Return whether what was heard should be journaled now; `last` asks for any remainder."""
        if self.heard.strip() == self.journaled:
            return False
        return last or self.journaled_at is None or now - self.journaled_at >= PROGRESS_INTERVAL

    def journal(self, now: datetime) -> None:
        """Note that what was heard so far is in the journal."""
        self.journaled, self.journaled_at = self.heard.strip(), now

    def meant(self, heard: str) -> str | None:
        """Return what was generated where it differs from what was `heard`, else None."""
        generated = self.generated.strip()
        return generated if generated and generated != heard.strip() else None
