"""The page in a real browser, against all of `coach up`: talking, reading, and who cannot see it.

The microphone plays speech that espeak-ng spoke; who hears it is the offline recogniser, so what it
makes of the words is its own. That there are words, on both sides, is what counts here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import browser, phone, record
from checkouts import Checkout
from missing import give_up
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from agent.api.built import BUILT
from agent.local import running
from agent.local.livekit_server import LiveKitServer
from persistence.ids import new_id

pytestmark = pytest.mark.timeout(600)  # `coach up` on a busy machine, and a page that is not built

SPEECH = "I would like to sleep better this week. I wake up at night and think about work."
TYPED = "What could I try tonight?"
AUDIBLE = 0.01
"""Root mean square of samples from -1 to 1 from which on something is heard."""
LEFT_IN_A_CAPTION = "Room disconnected in the middle of receiving data"
"""What LiveKit's components let fall when one leaves while a caption arrives: no word is lost."""
CALL_MS = 60_000
PAGE_OF_SESSIONS = 50

HEARD = """(turns) => turns.map((turn) => {
  const heard = turn.cloneNode(true);
  heard.querySelectorAll("del").forEach((meant) => meant.remove());
  return heard.textContent;
})"""

LOUDEST = """async (enough) => {
  const context = new AudioContext();
  await context.resume();
  const streams = [...document.querySelectorAll("audio")].map(({ srcObject }) => srcObject);
  const analysers = streams.filter(Boolean).map((stream) => {
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(stream).connect(analyser);
    return analyser;
  });
  let loudest = 0;
  const end = Date.now() + 20000;
  while (loudest < enough && Date.now() < end) {
    for (const analyser of analysers) {
      const samples = new Float32Array(analyser.fftSize);
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      loudest = Math.max(loudest, Math.sqrt(power));
    }
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  await context.close();
  return loudest;
}"""


@dataclass
class Site:
    """A deployment that is up, and a browser to see it with."""

    browser: Browser
    ready: dict[str, str]
    database_url: str

    def url(self, path: str = "") -> str:
        return self.ready["apiUrl"] + path

    def window(self, **more: Any) -> Page:
        """Open the page as a user who has agreed to be heard; what it may not load fails."""
        return watched(self.browser.new_context(permissions=["microphone"], **more))

    def signed_in(self, path: str = "", **more: Any) -> Page:
        page = self.window(**more)
        page.goto(f"{self.url(path)}#key={self.ready['apiKey']}")
        return page

    def run(self, statement: str, *parameters: Any) -> list[Any]:
        with psycopg.connect(self.database_url, autocommit=True) as db:
            cursor = db.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []


def watched(context: BrowserContext) -> Page:
    """Return a new window; what its script throws, and what its policy forbids, is an error."""
    page = context.new_page()
    page.wrong = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: _note_error(page, str(error)))
    page.on("console", lambda said: _note(page, said.text))
    return page


def _note_error(page: Page, error: str) -> None:
    if error != LEFT_IN_A_CAPTION:
        page.wrong.append(error)  # type: ignore[attr-defined]


def _note(page: Page, said: str) -> None:
    if "Content Security Policy" in said:
        page.wrong.append(said)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def site(livekit: LiveKitServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`livekit` sees to it that there is a server's binary."""
    folder = tmp_path_factory.mktemp("page")
    speech = record(folder / "speech.wav", SPEECH, before=3, after=9)
    checkout = Checkout(folder)
    try:
        with browser(speech) as launched:
            process, ready = checkout.up()
            if not (BUILT / "index.html").exists():
                give_up(f"the page is not built: {checkout.said.read_text()}")
            found = running.find(folder)
            assert found is not None
            yield Site(launched, ready, found.database_url)
            process.terminate()
            process.wait(60)
    finally:
        checkout.clear()


@pytest.fixture
def nothing_wrong() -> Iterator[Callable[[Page], Page]]:
    """Keeps windows; at the end, none of them had an error or a breach of its policy."""
    pages: list[Page] = []
    yield lambda page: (pages.append(page), page)[1]
    for page in pages:
        assert page.wrong == []  # type: ignore[attr-defined]
        page.context.close()


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

    start.click()
    expect(page.get_by_role("status")).to_contain_text("Speaking", timeout=CALL_MS)
    assert page.evaluate(LOUDEST, AUDIBLE) >= AUDIBLE
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


def following(page: Page) -> Page:
    """Open the session that runs now in another window of the same browser."""
    other = watched(page.context)
    other.goto(page.url.partition("?")[0] + "sessions")
    other.get_by_role("link").filter(has_text="Running").click()
    expect(other.get_by_text("Going on now")).to_be_visible()
    return other


def accessible(page: Page) -> None:
    """Assert that axe finds nothing serious, in light and dark, wide and narrow."""
    size = page.viewport_size
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": 844})
            found = Axe().run(page).response["violations"]
            serious = [
                (v["id"], [node["target"] for node in v["nodes"]], v["nodes"][0]["failureSummary"])
                for v in found
                if v["impact"] in ("serious", "critical")
            ]
            assert serious == [], f"{scheme}, {width} wide"
            assert not page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"), width
    page.set_viewport_size(size or {"width": 1280, "height": 720})


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


def test_sessions_are_found_and_read(site: Site, nothing_wrong: Callable[[Page], Page]) -> None:
    """More than a page of them, endless; a search marks its words; an answer cut off says so."""
    add_sessions(site, PAGE_OF_SESSIONS + 10)
    page = nothing_wrong(site.signed_in("sessions"))
    rows = page.locator(".row")
    expect(rows.first).to_be_visible()
    accessible(page)
    page.keyboard.press("End")
    expect(rows.filter(has_text="client-ada")).to_have_count(PAGE_OF_SESSIONS + 10)

    page.get_by_label("Search what was said").fill("lighthouse")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("1 match")
    rows.click()
    expect(page.locator("mark")).to_have_text("lighthouse")
    answer = page.locator("[data-role=ai]").first
    expect(answer.locator("del")).to_contain_text("week look like?")
    expect(answer).to_contain_text("interrupted")
    expect(page.get_by_text("unsure, 41 %")).to_be_visible()
    expect(page.get_by_role("figure")).to_contain_text("0.80 s in the middle, 1.20 s at most")
    accessible(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Markdown").click()
    assert "lighthouse" in Path(download.value.path()).read_text()

    page.go_back()
    expect(page.get_by_label("Search what was said")).to_have_value("lighthouse")
    page.get_by_text("Filters").click()
    page.get_by_label("Status").select_option("Running")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    page.goto(site.url(f"sessions/{new_id()}"))
    expect(page.get_by_role("heading", name="There is no such session")).to_be_visible()


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
    ]
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


def tab_to(page: Page, wanted: Locator, most: int = 60) -> None:
    """Press Tab until `wanted` has the focus, and can be seen to have it."""
    for _ in range(most):
        if wanted.evaluate("(element) => element === document.activeElement"):
            assert page.evaluate(
                "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
            ), "what has the focus cannot be seen to have it"
            return
        page.keyboard.press("Tab")
    pytest.fail(f"no Tab leads to {wanted}")
