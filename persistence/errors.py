"""What can go wrong in storage; the docstring of each is what a person reads."""

from __future__ import annotations


class PersistenceError(Exception):
    """Something in storage went wrong."""

    def __str__(self) -> str:
        """Return what was said at the raise, or the class's own sentence."""
        return super().__str__() or (self.__doc__ or "").strip()


class DatabaseUnavailableError(PersistenceError):
    """Postgres cannot be reached."""


class DatabaseRefusedError(PersistenceError):
    """Postgres refused a statement."""

    def __init__(self, sqlstate: str | None = None, constraint: str | None = None) -> None:
        super().__init__(
            f"Postgres refused a statement: SQLSTATE {sqlstate}"
            + (f", constraint {constraint}" if constraint else "")
        )
        self.sqlstate = sqlstate
        self.constraint = constraint


class SchemaOutdatedError(PersistenceError):
    """The database's schema is not the one that this version needs: run `coach migrate`."""


class SchemaNewerError(PersistenceError):
    """A newer version has changed the database's schema: run that version, or a later one."""


class RoleUnknownError(PersistenceError):
    """The database has no such role."""


class JournalTakenError(PersistenceError):
    """That journal folder belongs to a running worker."""


class JournalUnusableError(PersistenceError):
    """The journal folder cannot be written."""
