"""Takes the pictures of the page that are in the README, in a real browser on a real deployment.

uv run python tests/screenshots.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from browser import browser, record
from checkouts import Checkout
from playwright.sync_api import Page, expect

from agent.local import running
from persistence.ids import new_id

DOCS = Path(__file__).parents[1] / "docs"
SIZE = {"width": 1120, "height": 760}
WAIT_MS = 60_000

TYPED = ["I would like to sleep better this week.", "I keep thinking about work at night."]
CONVERSATION = [
    ("ai", 0, 6, "Good morning, Ada. What would make this conversation useful for you?", None),
    ("client", 9, 17, "I want to stop taking work to bed. I lie awake and plan my day.", 0.96),
    ("ai", 18, 25, "You lie awake and plan. What happens in the hour before that,", None),
    ("client", 24, 32, "I answer mail until eleven. Then I am wide awake, of course.", 0.93),
    ("ai", 33, 40, "You said “of course”. What would a different last hour look like?", None),
    ("client", 44, 52, "Maybe a walk. And the telephone stays in the kitchen.", 0.71),
    ("ai", 53, 61, "A walk, and the telephone in the kitchen. Which evening will it be?", None),
    ("client", 63, 66, "Tonight. I will write to you how it went.", 0.97),
]  # fmt: skip
MEANT = "You lie awake and plan. What happens in the hour before that, before you go to bed?"
SUMMARY = (
    "Ada wants to stop taking work to bed; she lies awake and plans her day. [2]\n"
    "Tonight she tries a walk instead of mail, with the telephone left in the kitchen. [6, 8]"
)


@contextmanager
def deployment(folder: Path) -> Iterator[dict[str, str]]:
    checkout = Checkout(folder)
    try:
        process, ready = checkout.up()
        yield {**ready, "databaseUrl": running.database_url(folder) or ""}
        process.terminate()
        process.wait(60)
    finally:
        checkout.clear()


def talk(page: Page) -> None:
    """Have a conversation, by typing, and keep what it looks like while the coach speaks."""
    page.get_by_role("button", name="Start talking").click()
    coach = page.locator("[data-speaker=coach]")
    status = page.get_by_role("status")
    for count, text in enumerate(TYPED, start=1):
        expect(coach).to_have_count(count, timeout=WAIT_MS)
        expect(status).to_contain_text("Listening", timeout=WAIT_MS)
        page.get_by_label("Type a message").fill(text)
        page.keyboard.press("Enter")
    page.get_by_label("Type a message").blur()
    expect(coach.last).to_contain_text("work", timeout=WAIT_MS)
    page.screenshot(path=DOCS / "talk.png")
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Thank you")


def read(page: Page, ready: dict[str, str]) -> None:
    """Keep what a session looks like that was held with providers that hear and think."""
    session = held(ready["databaseUrl"])
    page.emulate_media(color_scheme="light")
    page.goto(f"{ready['apiUrl']}sessions/{session}")
    expect(page.get_by_role("heading", name="Summary")).to_be_visible()
    page.screenshot(path=DOCS / "read.png")


def held(database_url: str) -> str:
    """Add a session as it is after a conversation; return its id."""
    session, start = new_id(), datetime.now(UTC).replace(hour=9, minute=0) - timedelta(days=1)
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute(
            "INSERT INTO sessions (id, status, client_identity, pipeline, started_at, ended_at,"
            " duration_seconds, end_reason, completeness, ai_summary) VALUES"
            " (%s, 'completed', 'Ada', 'stt-llm-tts', %s, %s, 1140, 'client_left', 'complete', %s)",
            [session, start, start + timedelta(minutes=19), SUMMARY],
        )
        for seq, (role, begin, end, text, confidence) in enumerate(CONVERSATION, start=1):
            cut = text in MEANT and role == "ai"
            db.execute(
                "INSERT INTO turns (id, session_id, seq, item_id, role, text, generated_text,"
                " interrupted, confidence, metrics, started_at, ended_at, recorded_at, source)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'voice')",
                [new_id(), session, seq, f"item-{seq}", role, text, MEANT if cut else None, cut]
                + [confidence, latencies(seq) if role == "ai" and seq > 1 else "{}"]
                + [start + timedelta(seconds=begin)]
                + [start + timedelta(seconds=end)] * 2,
            )
    return str(session)


def latencies(seq: int) -> str:
    model, voice = 0.18 + 0.03 * seq, 0.12 + 0.02 * (seq % 3)
    whole = 0.32 + model + voice
    return f'{{"e2e_latency": {whole}, "llm_node_ttft": {model}, "tts_node_ttfb": {voice}}}'


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made, deployment(Path(made)) as ready:
        silence = record(Path(made) / "silence.wav", "", before=5, after=5)
        with browser(silence) as launched:
            context = launched.new_context(viewport=SIZE, permissions=["microphone"])  # type: ignore[arg-type]
            page = context.new_page()
            page.emulate_media(color_scheme="dark")
            page.goto(ready["joinUrl"])
            talk(page)
            read(page, ready)
    sys.stdout.write(f"{DOCS}/talk.png {DOCS}/read.png\n")


if __name__ == "__main__":
    main()
