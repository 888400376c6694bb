"""A real Chromium for tests of the page, with real speech for its microphone."""

from __future__ import annotations

import os
import shutil
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from missing import give_up
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from agent.local import speech

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
RATE = 48_000

QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
"""A test talks to this machine alone."""


def chromium() -> str:
    """Return the system's Chromium; gives up where there is none."""
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    return found or give_up("no Chromium: install it (on Debian: apt-get install chromium)")


@contextmanager
def browser(microphone: Path | None = None) -> Iterator[Browser]:
    """Run Chromium, headless; its microphone plays the wave file `microphone`, again and again."""
    flags = [*QUIET, "--autoplay-policy=no-user-gesture-required"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    if microphone is not None:
        flags += [
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        ]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=flags)
        try:
            yield launched
        finally:
            launched.close()


def record(
    target: Path,
    *texts: str,
    before: float,
    after: float,
    between: float = 0,
    words_per_minute: int = 150,
) -> Path:
    """Write `texts`, spoken, to the wave file `target`, with silence around them (seconds)."""
    silence = _silence(between)
    spoken = silence.join(_spoken(text, words_per_minute) for text in texts)
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(_silence(before) + spoken + _silence(after))
    return target


def _spoken(text: str, words_per_minute: int) -> bytes:
    return speech.synthesize(
        text, sample_rate=RATE, voice="en-us", words_per_minute=words_per_minute
    )


def phone(launched: Browser, **more: Any) -> BrowserContext:
    """Return a window as small as a phone's."""
    return launched.new_context(viewport={"width": 390, "height": 844}, has_touch=True, **more)


def _silence(seconds: float) -> bytes:
    return b"\0\0" * round(seconds * RATE)
