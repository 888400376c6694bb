"""Faults to survive, and who proves it. `-m full` plays all, an ordinary run the brief ones.

Each case holds Postgres against a witness that is not the code under test: what the recogniser's
stand-in sent and when, what the client's ears had of the AI (`truth`, `killing`), or what a script
of its own said to a journal (`truth.Talk`).

kill -9 of a job (before a word, in the greeting, between segment and turn, while it thinks, speaks,
    listens, closes, after its end), of the worker alone, of its whole group, of it in its recovery,
    of what it forks from, while Postgres is away: `test_kills`, `acceptance/test_killed`
kill -9 of `coach up`: `acceptance/test_up`
kill -9 of Postgres; its crash, restart, read-only moment as in a fail-over, ended connections, full
    connection table, lost rights, deadlock: `test_postgres_fails`
kill -9 of the LiveKit server; one that stays away, one that comes late: `test_livekit_dies`
kills of anything at random, by a seed: `test_chaos`
SIGTERM to the worker, to its group, twice, past its time to drain, while it recovers; to the jobs
    that run apart: `test_stops`
Postgres behind latency, little bandwidth, resets, cuts within a batch, slow closes, a black hole
    shorter and longer than the lease: `test_network_fails`
a journal's disk full, read-only, out of names, over its limit; a torn tail: `test_disks`
a client who vanishes and is back at once, in time, too late: `test_absence`
a provider that refuses, hangs, drops, babbles, stays dead: `test_providers_fail`
clocks that jump, or are hours wrong: `test_clocks`, with audio `test_clocks_in_rooms`; a compiler
    makes them so (`wrong_clocks`)
a session past its greatest length: `test_session_limit`
any interleaving of all that, without processes: `test_any_journal`, `test_any_session`,
    `test_any_shipping`, `test_any_lease`
"""

from __future__ import annotations

from brief import pytest_collection_modifyitems
from broken_postgres import database, one_database, way
from killing import stage
from wrong_clocks import wrong_clock

__all__ = [
    "database",
    "one_database",
    "pytest_collection_modifyitems",
    "stage",
    "way",
    "wrong_clock",
]
