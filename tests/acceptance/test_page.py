"""The page in a real browser, against all of `coach up`: talking, reading, and who cannot see it.

The microphone plays speech that espeak-ng spoke; who hears it is the offline recogniser, so what it
makes of the words is its own. That there are words, on both sides, is what counts here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from browser import phone
from page_site import CALL_MS, LOUDEST, Site, accessible, tab_to, watched
from playwright.sync_api import Page, Route, expect

from persistence.ids import new_id

pytestmark = pytest.mark.timeout(600)  # `coach up` on a busy machine, and a page that is not built

TYPED = "What could I try tonight?"
AUDIBLE = 0.01
"""Root mean square of samples from -1 to 1 from which on something is heard."""
PAGE_OF_SESSIONS = 50
PRESENT = re.compile("^(Listening|Thinking|Speaking)$")

HEARD = """(turns) => turns.map((turn) => {
  const heard = turn.cloneNode(true);
  heard.querySelectorAll("del").forEach((meant) => meant.remove());
  return heard.textContent;
})"""


def test_one_talks_hears_reads_and_rates(site: Site, nothing_wrong: Callable[[Page], Page]) -> None:
    """Join, speak, see both captioned, hear the coach, type, leave; all of it can be read again."""
    page = nothing_wrong(site.window())
    page.goto(site.ready["joinUrl"])
    start = page.get_by_role("button", name="Start talking")
    expect(start).to_be_visible()
    assert "key" not in page.url, "a key in the address is there for who looks over a shoulder"
    level = page.get_by_role("meter", name="Microphone level")
    expect(level).not_to_have_attribute("aria-valuenow", "0", timeout=CALL_MS)
    accessible(page)
    choose_another(page)
    expect(level).not_to_have_attribute("aria-valuenow", "0", timeout=CALL_MS)

    start.click()
    expect(page.get_by_role("status")).to_contain_text("Speaking", timeout=CALL_MS)
    assert page.evaluate(LOUDEST, AUDIBLE) >= AUDIBLE
    choose_another(page)
    captions = page.get_by_role("log", name="Captions")
    expect(captions.locator("[data-speaker=you]")).to_contain_text(
        re.compile(r"\w+ \w+"), timeout=CALL_MS
    )
    follower = nothing_wrong(following(page))

    page.get_by_label("Type a message").fill(TYPED)
    page.keyboard.press("Enter")
    expect(captions).to_contain_text(TYPED)
    expect(follower.locator("[data-role=client]").last).to_contain_text(TYPED, timeout=CALL_MS)
    accessible(page)

    page.get_by_role("button", name="Mute").click()
    expect(page.get_by_role("button", name="Unmute")).to_be_visible()
    expect(captions.locator("[data-speaker=coach]").last).to_contain_text("?", timeout=CALL_MS)
    page.get_by_role("button", name="Leave").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Thank you for talking.")
    turns = page.get_by_role("list", name="What was said")
    expect(turns).to_contain_text(TYPED, timeout=CALL_MS)
    expect(follower.get_by_text("The receipt holds")).to_be_visible(timeout=CALL_MS)
    expect(page.get_by_text("Every word of it is kept.")).to_be_visible(timeout=CALL_MS)
    stored = site.run("SELECT text FROM turns ORDER BY started_at, seq")
    assert turns.locator(".said").evaluate_all(HEARD) == [text for (text,) in stored]

    page.get_by_role("radio", name="4, Very good").check()
    page.get_by_label("A word about it").fill("I know what to try.")
    page.get_by_role("button", name="Send rating").click()
    expect(page.get_by_role("img", name="4 of 5")).to_be_visible()
    assert site.run("SELECT rating, comment FROM session_ratings") == [(4, "I know what to try.")]
    accessible(page)


def choose_another(page: Page) -> None:
    """Take another microphone: the browser has several, which all hear the same."""
    choice = page.get_by_role("combobox", name="Microphone")
    before = choice.input_value()
    values = choice.get_by_role("option").evaluate_all("(all) => all.map(({ value }) => value)")
    another = next(value for value in values if value != before)
    choice.select_option(another)
    expect(choice).to_have_value(another)


def following(page: Page) -> Page:
    """Open the session that runs now in another window of the same browser."""
    other = watched(page.context)
    other.goto(page.url.partition("?")[0] + "sessions")
    other.get_by_role("link").filter(has_text="Running").click()
    expect(other.get_by_text("Going on now")).to_be_visible()
    return other


def test_a_key_signs_in_and_its_cookie_is_out_of_every_scripts_reach(
    site: Site, nothing_wrong: Callable[[Page], Page]
) -> None:
    page = nothing_wrong(site.window())
    page.goto(site.url("sessions"))
    accessible(page)
    page.get_by_label("Key").fill("vck_" + "x" * 43)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("unknown, expired or revoked")
    accessible(page)
    page.get_by_label("Key").fill(site.ready["apiKey"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Sessions")).to_be_visible()
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Key")).to_be_visible()
    assert page.context.cookies() == []


def test_a_link_of_another_person_asks_first_and_an_address_that_leads_nowhere_says_so(
    site: Site, nothing_wrong: Callable[[Page], Page]
) -> None:
    page = nothing_wrong(site.signed_in("nowhere"))
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    held_with(site, "client-hal", None)
    link = f"{site.url('sessions')}#key={site.key('client-hal', 'client')}"
    who = page.locator(".who-name")
    me = who.inner_text()
    for chosen, shown in [(f"Go on as {me}", me), ("Sign in as Hal", "Hal")]:
        page.goto("about:blank")
        page.goto(link)
        expect(page.get_by_role("heading", name="Who is it?")).to_be_visible()
        accessible(page)
        page.get_by_role("button", name=chosen).click()
        expect(who).to_have_text(shown)


def test_sessions_are_found_and_read(site: Site, nothing_wrong: Callable[[Page], Page]) -> None:
    """More than a page of them, endless; a search marks its words; an answer cut off says so."""
    add_sessions(site, PAGE_OF_SESSIONS + 10)
    page = nothing_wrong(site.signed_in("sessions"))
    rows = page.locator(".row")
    expect(rows.first).to_be_visible()
    next_page_fails_once(page)
    expect(rows.filter(has_text="client-ada")).to_have_count(PAGE_OF_SESSIONS + 10)
    scrolled = page.evaluate("scrollY")
    rows.last.click()
    expect(page.get_by_text("Nothing was said.")).to_be_visible()
    assert page.evaluate("scrollY") == 0, "a view is seen from its top"
    page.go_back()
    expect(rows.last).to_be_in_viewport()
    assert page.evaluate("scrollY") >= scrolled, "who goes back finds the list as it was"

    page.get_by_label("Search what was said").fill("lighthouse")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("1 match")
    expect(page.locator(".excerpt")).to_have_text("Client I saw a lighthouse.")
    accessible(page)
    rows.click()
    expect(page.locator("mark")).to_have_text("lighthouse")
    answer = page.locator("[data-role=ai]").first
    expect(answer.locator("del")).to_contain_text("week look like?")
    expect(answer).to_contain_text("interrupted")
    expect(page.get_by_text("unsure, 41 %")).to_be_visible()
    expect(page.get_by_role("figure")).to_contain_text("0.80 s in the middle, 1.20 s at most")
    summary_leads_to_what_it_cites(page)
    accessible(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Markdown").click()
    assert "lighthouse" in Path(download.value.path()).read_text()

    page.get_by_role("link", name="Search results").click()
    expect(page.get_by_label("Search what was said")).to_have_value("lighthouse")
    page.get_by_label("Search what was said").fill("midnight")
    page.locator(".excerpt", has_text="midnight").click()
    turn = page.locator(".turn", has_text="It was midnight.")
    expect(turn).to_be_focused()
    expect(turn).to_be_in_viewport()
    expect(turn.locator("mark")).to_have_text("midnight")
    page.reload()
    expect(turn).to_be_in_viewport()

    page.go_back()
    expect(page.get_by_label("Search what was said")).to_have_value("midnight")
    page.get_by_text("Filters").click()
    page.get_by_label("Status").select_option("Running")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    page.goto(site.url(f"sessions/{new_id()}"))
    expect(page.get_by_role("heading", name="There is no such session")).to_be_visible()


def summary_leads_to_what_it_cites(page: Page) -> None:
    expect(page.get_by_role("region", name="Summary")).to_contain_text("Ada saw a light.")
    page.get_by_role("link", name="turn 1").click()
    expect(page.locator(".turn:target")).to_contain_text("lighthouse")
    page.go_back()


def next_page_fails_once(page: Page) -> None:
    """What was read stays, and what fails is not asked for again until the person says so."""
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=429, json={})

    page.route("**/api/admin/transcripts?*cursor=*", refuse)
    page.keyboard.press("End")
    again = page.get_by_role("alert").get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    accessible(page)
    expect(page.locator(".row")).to_have_count(PAGE_OF_SESSIONS)
    assert len(asked) == 1
    page.unroute_all()
    again.click()


def add_sessions(site: Site, count: int) -> None:
    """Add sessions of one client, of yesterday and before; in the newest, something was said."""
    for number in range(count):
        site.run(
            "INSERT INTO sessions (id, status, client_identity, room_name, started_at, ended_at,"
            " duration_seconds)"
            " SELECT %s, 'completed', 'client-ada', %s, at, at + interval '9 min', 540"
            " FROM (SELECT now() - interval '1 day' - %s * interval '1 hour' AS at) AS began",
            *(new_id(), f"room-{number}", number),
        )
    said = [
        ("client", "I saw a lighthouse.", None, False, 0.41, "{}"),
        ("ai", "What would a good", "What would a good week look like?", True, None, latency(0.4)),
        ("client", "Quiet.", None, False, 0.97, "{}"),
        ("ai", "Tell me more.", None, False, None, latency(1.2)),
        *[("client", f"Word {number}.", None, False, 0.9, "{}") for number in range(40)],
        ("client", "It was midnight.", None, False, 0.9, "{}"),
    ]
    site.run("UPDATE sessions SET ai_summary = 'Ada saw a light. [1]' WHERE room_name = 'room-0'")
    for seq, (role, text, meant, cut, confidence, metrics) in enumerate(said, start=1):
        site.run(
            "INSERT INTO turns (id, session_id, seq, item_id, role, text, generated_text,"
            " interrupted, confidence, metrics, started_at, ended_at, recorded_at, source)"
            " SELECT %s, id, %s, %s, %s, %s, %s, %s, %s, %s, at, at, at, 'voice' FROM (SELECT id,"
            " started_at + %s * interval '5 s' AS at FROM sessions WHERE room_name = 'room-0')"
            " AS said",
            *(new_id(), seq, f"item-{seq}", role, text, meant, cut, confidence, metrics, seq),
        )


def latency(seconds: float) -> str:
    return f'{{"e2e_latency": {seconds}, "llm_node_ttft": {seconds / 4}, "tts_node_ttfb": 0.1}}'


def test_a_client_and_a_coach_see_what_is_theirs_until_their_key_is_revoked(
    site: Site, nothing_wrong: Callable[[Page], Page]
) -> None:
    """What is not theirs is not there for them, by its address neither."""
    own, others = held_with(site, "client-bea", "coach-carl"), held_with(site, "client-eve", None)
    for identity, scope in (("coach-carl", "coach"), ("client-bea", "client")):
        page = nothing_wrong(site.window())
        key = site.key(identity, scope)
        page.goto(site.url(f"sessions/{own}"))
        page.get_by_label("Key").fill(key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=name_of("client-bea"))).to_be_visible()
        theirs = page.get_by_role("link", name="All their sessions")
        expect(theirs).to_have_count(1 if scope == "coach" else 0)
        if scope == "coach":
            theirs.click()
            expect(page.get_by_text("1 session", exact=True)).to_be_visible()
        page.goto(site.url(f"sessions/{others}"))
        expect(page.get_by_role("heading", name="There is no such session")).to_be_visible()
        page.get_by_role("link", name="All sessions").click()
        expect(page.locator(".row")).to_have_count(1)
        expect(page.locator(".row")).to_contain_text(name_of("client-bea"))

        site.revoke(key)
        page.get_by_label("Search what was said").fill("anything")
        expect(page.get_by_role("heading", name="Please sign in again.")).to_be_visible()
        expect(page.locator(".row")).to_have_count(0)
        accessible(page)
        page.get_by_label("Key").fill(site.key("client-eve", "client"))
        page.keyboard.press("Enter")
        expect(page.get_by_label("Search what was said")).to_have_value("anything")
        page.get_by_label("Search what was said").fill("")
        expect(page.locator(".row")).to_contain_text(name_of("client-eve"))


def test_a_coach_finds_who_is_talking_and_a_key_without_rooms_says_so(
    site: Site, nothing_wrong: Callable[[Page], Page]
) -> None:
    """Only their clients' conversations; they need not know a room by its name."""
    running = held_with(site, "client-fay", "coach-dora", running=True)
    held_with(site, "client-gil", None, running=True)
    page = nothing_wrong(site.window())
    page.goto(f"{site.url()}#key={site.key('coach-dora', 'coach')}")
    choices = page.get_by_role("radio")
    expect(choices).to_have_count(1)
    expect(page.get_by_label(name_of("client-fay"))).to_be_visible()
    accessible(page)
    site.run("UPDATE sessions SET status = 'completed', ended_at = now() WHERE id = %s", running)
    expect(page.get_by_text("None of your clients is talking")).to_be_visible()

    page = nothing_wrong(site.window())
    page.goto(f"{site.url()}#key={site.key('client-fay', 'client')}")
    expect(page.get_by_role("heading", name="No room yet")).to_be_visible()


def held_with(site: Site, client: str, coach: str | None, *, running: bool = False) -> UUID:
    """Add a session of a client with an account, and their coach's; return its id."""
    ids = {identity: new_id() for identity in (client, coach) if identity}
    for identity, id_ in ids.items():
        site.run(
            "INSERT INTO users (id, identity, display_name, role) VALUES (%s, %s, %s, %s)",
            *(id_, identity, name_of(identity), identity.partition("-")[0]),
        )
    session, end = new_id(), None if running else datetime.now(UTC) - timedelta(days=2)
    site.run(
        "INSERT INTO sessions (id, status, user_id, coach_id, client_identity, room_name,"
        " started_at, ended_at, duration_seconds) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 60)",
        *(session, "active" if running else "completed", ids[client], ids.get(coach or "")),
        *(client, f"room-of-{client}", (end or datetime.now(UTC)) - timedelta(minutes=1), end),
    )
    return session


def name_of(identity: str) -> str:
    """Return the name by which a user of these tests is shown."""
    return identity.partition("-")[2].title()


def test_a_lost_network_is_said_aloud_and_a_window_loaded_anew_comes_back_to_its_session(
    site: Site, nothing_wrong: Callable[[Page], Page]
) -> None:
    page = nothing_wrong(site.signed_in())
    page.get_by_role("button", name="Start talking").click()
    coach = page.locator("[data-speaker=coach]")
    expect(coach.first).to_be_visible(timeout=CALL_MS)

    page.context.set_offline(True)
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("Reconnecting")
    expect(page.get_by_role("status")).to_have_text("Not connected")
    accessible(page)
    page.context.set_offline(False)
    expect(notice).to_have_text("You are connected again.", timeout=CALL_MS)
    expect(notice).to_be_empty(timeout=CALL_MS)

    page.go_back()  # a slip: it hangs nothing up
    expect(page.get_by_role("button", name="Leave")).to_be_visible()
    page.go_forward()
    page.reload()
    page.get_by_role("button", name="Go on talking").click(timeout=CALL_MS)
    page.get_by_label("Type a message").fill(TYPED)
    expect(page.get_by_role("status")).to_have_text(PRESENT, timeout=CALL_MS)
    page.keyboard.press("Enter")
    expect(page.get_by_role("log")).to_contain_text(TYPED)
    expect(coach.last).to_contain_text("?", timeout=CALL_MS)
    room = re.search(r"room=([\w-]+)", page.url)
    assert room is not None
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("list", name="What was said")).to_contain_text(TYPED, timeout=CALL_MS)
    sessions = site.run("SELECT id FROM sessions WHERE room_name = %s", room[1])
    assert len(sessions) == 1, "one conversation, one session"
    assert "room=" not in page.url, "a conversation that is over is not come back to"


def test_all_of_it_is_reached_by_keyboard_alone(
    site: Site, nothing_wrong: Callable[[Page], Page]
) -> None:
    """On a phone's width, too: nothing needs a pointer, and focus goes where the eye does."""
    page = nothing_wrong(watched(phone(site.browser)))
    page.goto(site.url())
    tab_to(page, page.get_by_label("Key"))
    page.keyboard.type(site.ready["apiKey"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    tab_to(page, page.get_by_role("button", name="Start talking"))
    page.keyboard.press("Shift+Tab")

    tab_to(page, page.get_by_role("link", name="Sessions"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sessions")).to_be_focused()
    expect(page.locator(".row").first).to_be_visible()
    tab_to(page, page.get_by_text("Filters"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Status"))
    tab_to(page, page.locator(".row").first)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    tab_to(page, page.get_by_role("link", name="Markdown"))
    page.reload()
    page.get_by_role("heading", level=1).wait_for()
    page.evaluate("document.activeElement.blur()")
    tab_to(page, page.get_by_role("link", name="Skip to content"))
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
