"""The page when something is missing: the network for good, the coach, a microphone, sound, a hand.

Each says what is wrong in words for a person, and offers the way on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from page_site import CALL_MS, LOUDEST, Site, accessible, tab_to
from playwright.sync_api import Locator, Page, expect

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

LOST_MS = 180_000
"""LiveKit notices within 15 s and tries ten times, for most of a minute."""
TYPED = "What could I try tonight?"
LATE = "Your coach has not come yet."

NO_MICROPHONE = """
navigator.permissions.query = async () => ({ state: "denied" });
navigator.mediaDevices.getUserMedia = () =>
  Promise.reject(new DOMException("Permission denied", "NotAllowedError"));
"""
NO_SOUND_BEFORE_A_CLICK = """
const play = HTMLMediaElement.prototype.play;
window.clicked = false;
HTMLMediaElement.prototype.play = function () {
  if (window.clicked) return play.call(this);
  return Promise.reject(new DOMException("play() needs a gesture", "NotAllowedError"));
};
"""


def test_a_network_that_is_gone_for_good_is_said_and_one_may_join_again(
    site: Site, nothing_wrong: Callable[[Page], Page]
) -> None:
    page = nothing_wrong(talking(site))
    page.get_by_label("Type a message").fill(TYPED)
    page.context.set_offline(True)
    expect(page.get_by_role("heading", name="The connection was lost.")).to_be_visible(
        timeout=LOST_MS
    )
    accessible(page)
    again = page.get_by_role("button", name="Join again")
    again.click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.context.set_offline(False)
    again.click()
    expect(page.get_by_role("status")).to_contain_text("ing", timeout=CALL_MS)
    expect(page.locator("[data-speaker=coach]").first).to_be_visible(timeout=CALL_MS)
    expect(page.get_by_label("Type a message")).to_have_value(TYPED)
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Thank you for talking.")


def test_a_coach_who_does_not_come_is_said_to_be_late_and_what_was_typed_is_kept(
    site: Site, nothing_wrong: Callable[[Page], Page]
) -> None:
    with stopped(site.checkout.pid("worker")):
        page = nothing_wrong(site.signed_in())
        page.get_by_role("button", name="Start talking").click()
        field = page.get_by_label("Type a message")
        field.fill(TYPED, timeout=CALL_MS)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert").last).to_contain_text("not here yet")
        expect(field).to_have_value(TYPED)
        expect(page.get_by_role("status")).to_contain_text(LATE, timeout=CALL_MS)
        accessible(page)
    expect(page.locator("[data-speaker=coach]").first).to_be_visible(timeout=CALL_MS)
    field.press("Enter")
    expect(page.get_by_role("log")).to_contain_text(TYPED)
    expect(field).to_have_value("")
    page.get_by_role("button", name="Leave").click()


def test_who_may_not_be_heard_is_told_why_and_may_type(
    site: Site, nothing_wrong: Callable[[Page], Page]
) -> None:
    page = nothing_wrong(site.signed_in(script=NO_MICROPHONE))
    page.get_by_role("button", name="Check the microphone").click()
    part = page.get_by_role("region", name="Microphone")
    expect(part).to_contain_text("Allow the microphone in its settings")
    expect(part).to_contain_text("You can join without one")
    accessible(page)
    page.get_by_role("button", name="Start talking").click()
    page.get_by_role("button", name="Unmute").click(timeout=CALL_MS)
    expect(page.get_by_role("alert").last).to_contain_text("Allow the microphone in its settings")

    coach = page.locator("[data-speaker=coach]")
    expect(coach.first).to_be_visible(timeout=CALL_MS)
    for answers in range(1, 6):
        page.get_by_label("Type a message").fill(f"{TYPED} And on day {answers}?")
        page.keyboard.press("Enter")
        expect(coach).to_have_count(answers + 1, timeout=CALL_MS)
    captions = page.get_by_role("log")
    captions.evaluate("(log) => log.scrollTo(0, 0)")
    read_again = "(log) => log.scrollTop === 0"
    page.get_by_label("Type a message").fill("One more.")
    page.keyboard.press("Enter")
    expect(coach).to_have_count(7, timeout=CALL_MS)
    assert captions.evaluate(read_again), "who reads back is not torn to the end"
    page.get_by_role("button", name="Jump to latest").click()
    expect(coach.last).to_be_in_viewport()
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", name="Summary")).to_be_visible(timeout=CALL_MS)


def test_a_view_whose_file_is_gone_offers_to_load_the_page_again(
    site: Site, nothing_wrong: Callable[[Page], Page]
) -> None:
    page = nothing_wrong(site.window())
    page.route("**/assets/Talk-*.js", lambda route: route.fulfill(status=404))
    page.goto(f"{site.url()}#key={site.ready['apiKey']}")
    expect(page.get_by_role("heading", name="This view cannot be shown")).to_be_visible()
    accessible(page)
    page.unroute("**/assets/Talk-*.js")
    page.get_by_role("button", name="Load the page again").click()
    expect(page.get_by_role("button", name="Start talking")).to_be_visible()


def test_a_browser_that_lets_nothing_be_heard_unasked_is_asked(
    site: Site, nothing_wrong: Callable[[Page], Page]
) -> None:
    page = nothing_wrong(site.signed_in(script=NO_SOUND_BEFORE_A_CLICK))
    page.get_by_role("button", name="Start talking").click()
    sound = page.get_by_role("button", name="Let the coach be heard")
    expect(sound).to_be_visible(timeout=CALL_MS)
    page.evaluate("window.clicked = true")
    sound.click()
    expect(sound).to_be_hidden()
    assert page.evaluate(LOUDEST, 0.01) >= 0.01
    page.get_by_role("button", name="Leave").click()


def test_a_whole_visit_needs_no_mouse(site: Site, nothing_wrong: Callable[[Page], Page]) -> None:
    """Sign in, talk, leave, rate, read, search, keep a copy, sign out; each view has its title."""
    page = nothing_wrong(site.window())
    page.goto(site.url())
    expect(page).to_have_title("Sign in · voice-coach")
    press(page, page.get_by_label("Key"), site.ready["apiKey"])
    expect(page).to_have_title("Talk · voice-coach")
    press(page, page.get_by_role("button", name="Start talking"))
    expect(page).to_have_title("In conversation · voice-coach", timeout=CALL_MS)
    coach = page.locator("[data-speaker=coach]")
    expect(coach.first).to_be_visible(timeout=CALL_MS)
    press(page, page.get_by_role("textbox", name="Type a message"), TYPED)
    expect(coach).to_have_count(2, timeout=CALL_MS)
    press(page, page.get_by_role("button", name="Leave"))

    expect(page).to_have_title("After the conversation · voice-coach")
    stars = page.get_by_role("radio")
    expect(stars.first).to_be_visible(timeout=CALL_MS)
    tab_to(page, stars.first)
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    press(page, page.get_by_role("button", name="Send rating"))
    expect(page.get_by_role("img", name="2 of 5")).to_be_visible()

    press(page, page.get_by_role("link", name="Sessions", exact=True))
    expect(page).to_have_title("Sessions · voice-coach")
    press(page, page.get_by_label("Search what was said"), "tonight")
    found = page.locator(".excerpt").first
    expect(found).to_be_visible()
    press(page, found)
    expect(page).to_have_title("Session of client-you · voice-coach")
    expect(page.locator(".turn:focus mark")).to_have_text("tonight")
    copy = page.get_by_role("link", name="Captions")
    tab_to(page, copy)
    with page.expect_download():
        page.keyboard.press("Enter")
    press(page, page.get_by_role("button", name="Sign out"))
    expect(page.get_by_label("Key")).to_be_visible()


def press(page: Page, wanted: Locator, text: str = "") -> None:
    """Go to what is `wanted` by Tab alone, from the top; type `text`; press Enter."""
    page.evaluate("document.activeElement.blur()")
    tab_to(page, wanted)
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def talking(site: Site) -> Page:
    """Return a window in which the coach has begun to speak."""
    page = site.signed_in()
    page.get_by_role("button", name="Start talking").click()
    expect(page.locator("[data-speaker=coach]").first).to_be_visible(timeout=CALL_MS)
    return page


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Have a process stand still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
