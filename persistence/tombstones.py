"""What was erased stays erased: it is dropped on its way in, on replay and retry too.

A tombstone names a session, or a person by a keyed hash of the identity, so that the table itself
tells nobody who was erased. Writers hold a shared lock from their look at the tombstones to their
commit, an erasure holds it alone: nothing slips in between.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from persistence.ids import new_id

_LOCK = 0x636F616368_02
"""`coach`, and a number: see `migrate` for the other one."""


@dataclass(frozen=True)
class Erased:
    """Which tombstones (ids) stand for which sessions and names."""

    sessions: Mapping[UUID, UUID] = field(default_factory=dict)
    names: Mapping[str, UUID] = field(default_factory=dict)

    def of(self, names: Iterable[str]) -> UUID | None:
        """Return the tombstone of one of `names`, if there is one."""
        return next((self.names[name] for name in names if name in self.names), None)


async def key(db: AsyncConnection[Any]) -> bytes:
    """Return this installation's own key."""
    found = await (await db.execute("SELECT tombstone_key FROM installation")).fetchone()
    if found is None:
        raise LookupError("the installation has no key: its row is gone")
    return bytes(found[0])


def hashed(identity: str, key: bytes) -> bytes:
    """Return what stands for `identity` in the table: an HMAC-SHA256."""
    return hmac.digest(key, identity.encode(errors="surrogatepass"), "sha256")


async def add_session(db: AsyncConnection[Any], session_id: UUID) -> None:
    """Let nothing of `session_id` in any more; in the transaction that deletes what is there."""
    await _add(db, session_id, None)


async def add_identity(db: AsyncConnection[Any], identity: str) -> None:
    """Let nothing of the person in any more; in the transaction that deletes what is there."""
    await _add(db, None, hashed(identity, await key(db)))


async def _add(
    db: AsyncConnection[Any], session_id: UUID | None, identity_hash: bytes | None
) -> None:
    async with db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        await db.execute(
            "INSERT INTO tombstones (id, session_id, identity_hash) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            [new_id(), session_id, identity_hash],
        )


async def standing(
    db: AsyncConnection[Any], key: bytes, sessions: Collection[UUID], names: Collection[str]
) -> Erased:
    """Return what of `sessions` and `names` was erased; it stays so until the transaction ends."""
    by_hash = {hashed(name, key): name for name in names}
    await db.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_LOCK])
    found = await db.execute(
        "SELECT id, session_id, identity_hash FROM tombstones"
        " WHERE session_id = ANY(%s) OR identity_hash = ANY(%s)",
        [list(sessions), list(by_hash)],
    )
    rows = await found.fetchall()
    return Erased(
        {session: tombstone for tombstone, session, _ in rows if session},
        {by_hash[bytes(digest)]: tombstone for tombstone, _, digest in rows if digest},
    )


async def count(db: AsyncConnection[Any], dropped: Mapping[UUID, int]) -> None:
    """Count what was dropped for each tombstone."""
    await db.cursor().executemany(
        "UPDATE tombstones SET dropped = dropped + %s WHERE id = %s",
        [(events, tombstone) for tombstone, events in sorted(dropped.items())],
    )
