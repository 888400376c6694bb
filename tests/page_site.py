"""The page of one whole `coach up`, in a real browser; `acceptance/conftest.py` has its fixtures.

The microphone plays speech that espeak-ng spoke; who hears it is the offline recogniser, so what it
makes of the words is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import browser, record
from checkouts import Checkout
from missing import give_up
from playwright.sync_api import Browser, BrowserContext, Locator, Page

from agent.api.built import BUILT
from agent.local import running
from agent.local.livekit_server import LiveKitServer
from persistence import keys
from persistence.ids import new_id

SPEECH = "I would like to sleep better this week. I wake up at night and think about work."
LEFT_IN_A_CAPTION = "Room disconnected in the middle of receiving data"
"""What LiveKit's components let fall when one leaves while a caption arrives: no word is lost."""
CALL_MS = 60_000
PHONE, DESK = 390, 1280
"""Widths in CSS pixels."""

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
"""How loud the page gets within 20 s, if not `enough` before."""

OUTLINED = """(element) => [element, element.closest("form")].some(
  (place) => place && getComputedStyle(place).outlineStyle !== "none")"""
"""A field may share its outline with the button in it: their form has it."""


@dataclass
class Site:
    """A deployment that is up, and a browser to see it with."""

    browser: Browser
    ready: dict[str, str]
    database_url: str
    checkout: Checkout

    def url(self, path: str = "") -> str:
        return self.ready["apiUrl"] + path

    def window(self, **more: Any) -> Page:
        """Open the page as a user who has agreed to be heard; what it may not load fails."""
        return watched(self.browser.new_context(permissions=["microphone"], **more))

    def signed_in(self, path: str = "", script: str = "") -> Page:
        """Open the page as an administrator; `script` changes the browser before that."""
        page = self.window()
        page.add_init_script(script)
        page.goto(f"{self.url(path)}#key={self.ready['apiKey']}")
        return page

    def key(self, identity: str, *scopes: str, rooms: list[str] | None = None) -> str:
        """Make a key of `identity`, who may be a user; return it."""
        made = keys.generate()
        self.run(
            "INSERT INTO api_keys (id, name, key_hash, scopes, identity, rooms, user_id)"
            " VALUES (%s, 'test', %s, %s, %s, %s, (SELECT id FROM users WHERE identity = %s))",
            *(new_id(), keys.hash_of(made), list(scopes), identity, rooms, identity),
        )
        return made

    def revoke(self, key: str) -> None:
        self.run("UPDATE api_keys SET revoked_at = now() WHERE key_hash = %s", keys.hash_of(key))

    def run(self, statement: str, *parameters: Any) -> list[Any]:
        with psycopg.connect(self.database_url, autocommit=True) as db:
            cursor = db.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []


def watched(context: BrowserContext) -> Page:
    """Return a new window; what its script throws, and what its policy forbids, is an error."""
    page = context.new_page()
    page.on("pageerror", lambda error: _note_error(page, str(error)))
    page.on("console", lambda said: _note(page, said.text))
    return page


def _note_error(page: Page, error: str) -> None:
    if error != LEFT_IN_A_CAPTION:
        wrong_in(page).append(error)


def _note(page: Page, said: str) -> None:
    if "Content Security Policy" in said:
        wrong_in(page).append(said)


def wrong_in(page: Page) -> list[str]:
    """Return what has gone wrong in a window, kept with it."""
    noted: list[str] = vars(page).setdefault("wrong", [])
    return noted


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
            yield Site(launched, ready, found.database_url, checkout)
            process.terminate()
            process.wait(60)
    finally:
        checkout.clear()


@pytest.fixture
def nothing_wrong() -> Iterator[Callable[[Page], Page]]:
    """Keeps windows; at the end, none of them had an error or a breach of its policy."""
    pages: list[Page] = []

    def kept(page: Page) -> Page:
        pages.append(page)
        return page

    yield kept
    for page in pages:
        assert wrong_in(page) == []
        page.context.close()


def accessible(page: Page) -> None:
    """Assert that axe finds nothing serious, in light and dark, wide and narrow."""
    size = page.viewport_size
    for scheme in ("light", "dark"):
        for width in (DESK, PHONE):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
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


def tab_to(page: Page, wanted: Locator, most: int = 60) -> None:
    """Press Tab until `wanted` has the focus, and can be seen to have it."""
    for _ in range(most):
        if wanted.evaluate("(element) => element === document.activeElement"):
            assert wanted.evaluate(OUTLINED), "what has the focus cannot be seen to have it"
            return
        page.keyboard.press("Tab")
    pytest.fail(f"no Tab leads to {wanted}")
