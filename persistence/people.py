"""Who somebody is: from what a participant claims to the user's id, in SQL."""

from __future__ import annotations


def lookup(claimed: str, given: str | None = None) -> str:
    """Return a subselect: the id of the user whom the fields of `rows.claim` name, or null.

    Those are parameters, or columns of the relation `given`. An id that is right wins over an
    identity, the whole identity over one without its prefix.
    """
    user_id, names = (
        (f"{given}.{claimed}_id", f"{given}.{claimed}_names")
        if given
        else (f"%({claimed}_id)s::uuid", f"%({claimed}_names)s::text[]")
    )
    return (
        f"(SELECT u.id FROM users u WHERE u.id = {user_id} OR u.identity = ANY({names})"  # noqa: S608
        f" ORDER BY u.id = {user_id} DESC NULLS LAST, array_position({names}, u.identity) LIMIT 1)"
    )
