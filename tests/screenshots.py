"""Takes the pictures of the page that are in the README: of real conversations, nothing made up.

uv run python tests/screenshots.py

Three are held on a `coach up` of its own, in a real browser whose microphone plays speech; some of
it is typed. Who hears, thinks and speaks is the offline stand-in.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from browser import browser, record
from checkouts import Checkout
from page_site import Site
from playwright.sync_api import Browser, Page, ViewportSize, expect

from agent.local import running

DOCS = Path(__file__).parents[1] / "docs"
SIZE: ViewportSize = {"width": 1120, "height": 760}
TALL: ViewportSize = {"width": 1120, "height": 1280}
WAIT_MS = 60_000
GREETING_SECONDS = 14
SLOWLY = 140
"""Words a minute, which the offline recogniser understands best."""

SOME_WORDS = re.compile(r"(\w+\W+){8}")

SLEEP = "I would like to sleep better this week, and I want to stop working so late."
LESS = "I would like to do less this week, and do it well."
ADA = [
    "I lie awake and plan the next day, and then I am tired when my children need me.",
    "To be with them in the evening, and not with my mail.",
    "Tonight I stop at six, and the computer stays at work.",
]
ADA_AGAIN = ["I stopped at six on two days. I slept until five.", "I will do that again."]
BEN = ["There is always one more thing that seems urgent.", "I could say no to the third meeting."]


@contextmanager
def deployment(folder: Path) -> Iterator[tuple[Checkout, dict[str, str]]]:
    checkout = Checkout(folder)
    try:
        process, ready = checkout.up()
        yield checkout, ready
        process.terminate()
        process.wait(60)
    finally:
        checkout.clear()


def converse(page: Page, spoken: int, typed: Sequence[str], picture: Path | None = None) -> None:
    """Have a conversation: listen, speak `spoken` times, type the rest, leave.

    The last but one message is typed into the coach's words, which that cuts off.
    """
    page.get_by_role("button", name="Start talking").click()
    coach, you = page.locator("[data-speaker=coach]"), page.locator("[data-speaker=you]")
    status = page.get_by_role("status")
    expect(coach).to_have_count(1 + spoken, timeout=WAIT_MS * 2)
    for number, text in enumerate(typed, start=1):
        if number == len(typed) - 1:
            expect(coach.last).to_have_text(SOME_WORDS, timeout=WAIT_MS)
        else:
            expect(status).to_contain_text("Listening", timeout=WAIT_MS)
        page.get_by_label("Type a message").fill(text)
        page.keyboard.press("Enter")
        expect(you.last).to_contain_text(text)
        expect(coach).to_have_count(1 + spoken + number, timeout=WAIT_MS)
    if picture:
        page.get_by_label("Type a message").blur()
        expect(coach.last).to_have_text(SOME_WORDS, timeout=WAIT_MS)
        page.screenshot(path=picture)
    expect(coach.last).to_contain_text("?", timeout=WAIT_MS)
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Thank you")


def read(page: Page) -> None:
    """Rate the conversation that is over, and keep what is left of it as its coach sees it."""
    page.get_by_role("radio", name="4, Very good").check()
    page.get_by_role("button", name="Send rating").click()
    expect(page.get_by_role("heading", name="Summary")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("link", name="Open the full record").click()
    expect(page.get_by_role("figure")).to_be_visible()
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(TALL)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=DOCS / "read.png")


def window(launched: Browser, site: Site, name: str) -> Page:
    """Open the page as a client who is called `name`."""
    context = launched.new_context(viewport=SIZE, permissions=["microphone"])
    page = context.new_page()
    page.emulate_media(color_scheme="dark")
    page.goto(f"{site.url()}#key={site.key(name, 'client', rooms=[f'{name.lower()}-weekly'])}")
    return page


def hold(made: Path, checkout: Checkout, ready: dict[str, str]) -> None:
    """Hold three conversations, and take the pictures in the last one."""
    held = [("Ben", LESS, BEN), ("Ada", LESS, ADA_AGAIN), ("Ada", SLEEP, ADA)]
    for number, (name, spoken, typed) in enumerate(held, start=1):
        said = record(
            made / f"{number}.wav",
            spoken,
            before=GREETING_SECONDS,
            after=300,
            words_per_minute=SLOWLY,
        )
        last = number == len(held)
        with browser(said) as launched:
            site = Site(launched, ready, running.database_url(checkout.folder) or "", checkout)
            page = window(launched, site, name)
            converse(page, 1, typed, DOCS / "talk.png" if last else None)
            if last:
                read(page)


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made, deployment(Path(made)) as (checkout, ready):
        hold(Path(made), checkout, ready)
    sys.stdout.write(f"{DOCS}/talk.png {DOCS}/read.png\n")


if __name__ == "__main__":
    main()
