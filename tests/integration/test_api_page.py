"""The page as the API serves it: one document for its views, its files, and what it may load."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from serving import NOBODY, Api, settings

from agent.api import errors, page
from agent.api.edge import Edge
from agent.api.measures import Measures

SCRIPT = b"console.log('here')" * 100


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder as the build leaves it."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>voice-coach</title>")
    (tmp_path / "assets" / "page-1a2b.js").write_bytes(SCRIPT)
    (tmp_path / "assets" / "page-1a2b.js.gz").write_bytes(gzip.compress(SCRIPT))
    (tmp_path / "assets" / "letters.woff2").write_bytes(b"wOF2")
    (tmp_path / "secret.js").write_text("nobody's business")
    return tmp_path


@pytest.fixture
async def http(built: Path) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()
    page.install(app, settings("postgresql://nobody@127.0.0.1:1/none"), built)
    app.add_middleware(Edge, measures=Measures())
    errors.install(app)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://coach.test") as client:
        yield client


@pytest.mark.parametrize("view", ["/", "/sessions", "/sessions/0193", "/?room=demo&role=client"])
async def test_each_view_is_the_one_document_and_may_load_nothing_from_elsewhere(
    http: httpx2.AsyncClient, view: str
) -> None:
    answer = await http.get(view)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    connect = next(part for part in policy.split("; ") if part.startswith("connect-src"))
    assert connect == f"connect-src 'self' {NOBODY} {NOBODY.replace('ws', 'http')}"
    assert "microphone=(self)" in answer.headers["permissions-policy"]
    assert (
        await http.get(view, headers={"If-None-Match": answer.headers["etag"]})
    ).status_code == 304


async def test_a_browser_at_an_address_that_leads_nowhere_is_shown_the_page_that_says_so(
    http: httpx2.AsyncClient,
) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = await http.get("/nowhere/at/all", headers=browser)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "<title>voice-coach</title>" in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    for path, headers in [("/nowhere", {}), ("/api/nowhere", browser)]:
        answer = await http.get(path, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (404, "not found")
    assert (await http.post("/nowhere", headers=browser)).json()["error"] == "not found"


async def test_files_are_kept_for_good_and_come_compressed_to_who_takes_them_so(
    http: httpx2.AsyncClient,
) -> None:
    for encoding, sent in [("gzip", "gzip"), ("identity", None)]:
        answer = await http.get("/assets/page-1a2b.js", headers={"Accept-Encoding": encoding})
        assert answer.headers.get("content-encoding") == sent
        assert answer.content == SCRIPT
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["vary"] == "Accept-Encoding"
    assert (await http.get("/assets/letters.woff2")).headers["content-type"] == "font/woff2"


@pytest.mark.parametrize(
    "name",
    ["none.js", "page-1a2b.js.gz", "..%2fsecret.js", "%2e%2e/secret.js", "%00.js", "a%0a.js"],
)
async def test_nothing_else_is_a_file_of_the_page(http: httpx2.AsyncClient, name: str) -> None:
    answer = await http.get(f"/assets/{name}")
    assert answer.status_code == 404
    assert b"business" not in answer.content


async def test_where_no_page_was_built_it_is_said_and_one_built_later_is_served(
    http: httpx2.AsyncClient, built: Path
) -> None:
    document = built / "index.html"
    document.rename(built / "elsewhere")
    answer = await http.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "text/plain; charset=utf-8",
    )
    assert "it was not built" in answer.text
    (built / "elsewhere").rename(document)
    assert "<!doctype html>" in (await http.get("/")).text


@pytest.mark.parametrize(
    ("url", "sources"),
    [
        ("ws://127.0.0.1:7880", ["ws://127.0.0.1:7880", "http://127.0.0.1:7880"]),
        ("https://live.example", ["wss://live.example", "https://live.example"]),
        (
            "wss://coach-1a2b.livekit.cloud",
            [
                *("wss://coach-1a2b.livekit.cloud", "https://coach-1a2b.livekit.cloud"),
                *("wss://*.livekit.cloud", "https://*.livekit.cloud"),
            ],
        ),
        ("wss://evil.example/.livekit.cloud", ["wss://evil.example", "https://evil.example"]),
        ("", []),
    ],
)
def test_the_page_may_talk_to_livekit_and_to_nobody_else(url: str, sources: list[str]) -> None:
    (connect,) = [part for part in page.policy(url).split("; ") if part.startswith("connect-src")]
    assert connect.split()[1:] == ["'self'", *sources]


async def test_the_page_stands_beside_the_api(api: Api) -> None:
    """No view of the page hides a route, and what is neither is a 404 as ever."""
    assert (await api.http.get("/")).status_code == 200
    assert (await api.http.get("/api/me")).status_code == 401
    assert (await api.http.get("/nowhere")).json()["error"] == "not found"
    assert not [path for path in api.app.openapi()["paths"] if path in page.VIEWS]
