"""What the AI is saying right now: generated so far, and heard so far.

The framework adds a reply to the conversation only after it was played or cut short, and some
speech never (`say(add_to_chat_ctx=False)`). So the two streams are kept here meanwhile, by the
framework's id of the speech: what is known when something breaks is then in the journal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass
class Reply:
    """One reply of the AI while it lasts; `speech_id` is the framework's id of the speech.

    A speech may be several items, one after the other: steps around a tool, messages of one
    Realtime response. Each of them is a reply, and `step` counts them from 1.
    """

    speech_id: str
    step: int = 1
    generated: str = ""
    heard: str = ""
    heard_since: datetime | None = None
    journaled: str = ""

    @property
    def reply_id(self) -> str:
        """What the journal knows it by: a later step's progress is not in an earlier one's turn."""
        return self.speech_id if self.step == 1 else f"{self.speech_id}#{self.step}"

    def split(self, text: str, since: datetime) -> Reply | None:
        """Let go of what comes after `text`: the next step, from `since` on; None if nothing does.

        Messages of one response are items only when the last of them was heard. Words that were
        made and not heard may be either's: they are this one's too.
        """
        generated, heard = _rest(self.generated, text), _rest(self.heard, text)
        if not (generated or heard):
            return None
        if heard:
            self.generated = self.heard = text
        return Reply(self.speech_id, self.step + 1, generated, heard, since if heard else None)

    def generate(self, delta: str) -> None:
        """Take text that the model made."""
        self.generated += delta

    def hear(self, delta: str, now: datetime) -> None:
        """Take text whose audio has been played to the room."""
        self.heard_since = self.heard_since or now
        self.heard += delta

    def journal(self) -> bool:
        """Take note that what was heard is for the journal; return whether it was not there yet.

        Each word counts: nobody knows how long the pause after it is, and a crash in that pause
        must not lose it.
        """
        before, self.journaled = self.journaled, self.heard.strip()
        return before != self.journaled

    def meant(self, heard: str) -> str | None:
        """Return what was generated where it differs from what was `heard`, else None."""
        generated = self.generated.strip()
        return generated if generated and generated != heard.strip() else None


def _rest(whole: str, text: str) -> str:
    """Return what stands behind `text` in `whole`, nothing if `whole` does not begin with it."""
    whole = whole.strip()
    return whole[len(text) :].lstrip() if whole.startswith(text) else ""
