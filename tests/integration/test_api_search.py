"""Searching what was said: every stored word is found at once, and marked where it stands."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from serving import Api, add_session, add_turns

from persistence import excerpts, search

LIST = "/api/admin/transcripts"


@pytest.fixture
async def admin(api: Api) -> str:
    return await api.key("admin")


async def found(api: Api, admin: str, text: str) -> dict[UUID, list[dict[str, Any]]]:
    answer = await api.get(LIST, admin, params={"text": text})
    assert answer.status_code == 200, answer.text
    return {UUID(session["id"]): session["hits"] for session in answer.json()}


async def said(api: Api, *texts: str, **fields: Any) -> UUID:
    session = await add_session(api.db, **fields)
    await add_turns(api.db, session, [{"text": text} for text in texts])
    return session


@pytest.mark.parametrize("gathered", [True, False])
async def test_words_are_found_in_any_case_whether_gathered_or_not(
    api: Api, admin: str, *, gathered: bool
) -> None:
    both = await said(api, "The heron stood", "in the cold Water")
    await said(api, "A heron flew")
    old = await add_session(api.db, legacy_transcript="client: water for the Heron")
    if gathered:
        assert await search.gather(api.db) == 3
        assert await search.gather(api.db) == 0, "each once"
    assert set(await found(api, admin, "HERON water")) == {both, old}
    assert await found(api, admin, "stork") == {}


async def test_a_running_session_is_found_as_its_turns_land(api: Api, admin: str) -> None:
    session = await said(api, "The heron", status="active")
    await search.gather(api.db)
    assert set(await found(api, admin, "heron")) == {session}


async def test_what_comes_after_the_gathering_is_found_too(api: Api, admin: str) -> None:
    session = await said(api, "Nothing yet")
    await search.gather(api.db)
    await api.db.execute("UPDATE turns SET text = 'A heron' WHERE session_id = %s", [session])
    await api.db.execute("UPDATE sessions SET is_indexed = false WHERE id = %s", [session])
    assert set(await found(api, admin, "heron")) == {session}
    await search.gather(api.db)
    assert set(await found(api, admin, "heron")) == {session}
    assert await found(api, admin, "nothing") == {}


async def test_hits_are_marked_by_where_they_stand_and_never_by_markup(
    api: Api, admin: str
) -> None:
    """In UTF-16 code units: the bird is two of them."""
    session = await said(api, "No.", "🐦 a heron, <b>Heron</b> or herons")
    ((hit,),) = (await found(api, admin, "heron")).values()
    assert hit["places"] == [[5, 10], [15, 20]]
    transcript = (await api.get(f"{LIST}/{session}", admin)).json()
    assert hit["messageId"] == transcript["messages"][1]["id"]


async def test_a_hit_in_an_imported_session_names_its_line(api: Api, admin: str) -> None:
    session = await add_session(api.db, legacy_transcript="ai: Yes?\nclient: a heron")
    ((hit,),) = (await found(api, admin, "heron")).values()
    assert hit == {
        "messageId": f"legacy-{session}-2",
        "speakerRole": "client",
        "places": [[2, 7]],
        "excerpt": {"text": "a heron", "places": [[2, 7]]},
    }


async def test_a_list_shows_what_was_said_around_the_first_words_and_notes_who_read_it(
    api: Api, admin: str
) -> None:
    """Of three messages a session; where it is cut, it says so, and its marks stand in it."""
    long = "🐦 " * 40 + "then a heron stood there, one heron " + "and waited " * 40
    session = await said(api, long, *["A heron."] * 3)
    (hits,) = (await found(api, admin, "heron")).values()
    excerpt = hits[0]["excerpt"]
    units = excerpt["text"].encode("utf-16-le")
    assert {units[2 * a : 2 * b] for a, b in excerpt["places"]} == {"heron".encode("utf-16-le")}
    assert len(excerpt["places"]) == 2
    assert excerpt["text"].startswith("…🐦")
    assert excerpt["text"].endswith("and waited…")
    assert len(excerpt["text"]) <= excerpts.LENGTH + 2 * len(excerpts.CUT)
    assert [("excerpt" in hit) for hit in hits] == [True, True, True, False]
    noted = await api.db.execute("SELECT session_id, what FROM transcript_reads")
    assert await noted.fetchall() == [(session, "excerpts")]


def test_an_excerpt_is_cut_between_words_where_there_are_any() -> None:
    assert excerpts.excerpt("a heron", ["stork"]) is None
    assert excerpts.excerpt("a heron", ["heron"]) == excerpts.Excerpt("a heron", [(2, 7)])
    endless = excerpts.excerpt("x" * 300 + "線 heron" + "y" * 300, ["線"])
    assert endless is None
    whole = excerpts.excerpt("z" * 300 + " heron " + "y" * 300, ["heron"])
    assert whole is not None
    assert [whole.text[a:b] for a, b in whole.places] == ["heron"]


@pytest.mark.parametrize(
    "text", ["'; drop table turns --", "a & !b | (c", "%", "100% <->", "\\", "\U0001f426", "."]
)
async def test_any_text_may_be_searched_for(api: Api, admin: str, text: str) -> None:
    session = await said(api, f"I said {text} then", "heron")
    await search.gather(api.db)
    assert set(await found(api, admin, text)) <= {session}


async def test_a_session_without_words_is_gathered_once_too(api: Api) -> None:
    await add_session(api.db)
    assert await search.gather(api.db) == 1
    assert await search.gather(api.db) == 0


async def test_a_session_of_more_words_than_postgres_takes_at_once_spoils_no_search(
    api: Api, admin: str
) -> None:
    many = [" ".join(f"{turn}w{word:06}" for word in range(14_000)) for turn in range(12)]
    endless = "client: " + " ".join(f"線{word:06}線" for word in range(60_000))
    large = await said(api, "x" * 5000, many[0] * 3, *many, legacy_transcript=endless)
    heron = await said(api, "a heron")
    for _ in range(2):
        assert set(await found(api, admin, "heron")) == {heron}
        assert set(await found(api, admin, "0w000001")) == {large}
        await search.gather(api.db)
    assert await search.gather(api.db) == 0


def test_a_word_that_is_said_all_the_time_is_marked_a_hundred_times() -> None:
    assert excerpts.places("🐦 a " * 500, ["a"]) == [(3 + 5 * n, 4 + 5 * n) for n in range(100)]


async def test_words_of_many_sessions_are_found_as_those_of_few(
    api: Api, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = await said(api, "a heron", client_identity="client-ada")
    running = await said(api, "heron, again", status="active")
    old = await add_session(api.db, legacy_transcript="client: the heron")
    await said(api, "a stork")
    await search.gather(api.db)
    fresh = await said(api, "another heron")
    few = await found(api, admin, "heron")
    monkeypatch.setattr(search, "FEW", 3)
    assert await search.few(api.db, "heron") is None
    assert few == await found(api, admin, "heron")
    assert set(few) == {own, running, old, fresh}
    assert set(await found(api, await api.key("client", identity="client-ada"), "heron")) == {own}


async def test_words_that_were_just_gathered_are_looked_up_like_those_of_before(api: Api) -> None:
    """Else every search goes through all that was gathered since Postgres last tidied up."""
    found = await api.db.execute(
        "SELECT reloptions FROM pg_class WHERE relname = 'ix_session_search_words'"
    )
    assert await found.fetchall() == [(["fastupdate=off"],)]
