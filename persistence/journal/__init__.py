"""The journal: what is said is here, synced, before anything else happens to it.

One append-only file a session, `<session uuid>.journal`, in the folder of its worker. A job process
can be killed at any instant and Postgres can be away for hours; only a local fdatasync is quick
enough to stand between hearing a turn and losing it. Who does what with the file:

- the job appends (`JournalWriter`) and holds the file's lock for its life,
- the shipper reads (`glance`), woken by `Wakeups`, and deletes what is ended and committed,
- the worker finishes what a dead job left (`recover`).

A free lock without an end is a dead job, since a journal gets its name only once it is locked.
"""

from persistence.disk import is_locked
from persistence.journal.file import Trouble
from persistence.journal.lines import (
    Reading,
    ended,
    glance,
    read,
    session_id_of,
)
from persistence.journal.lost_jobs import lost_jobs
from persistence.journal.records import Record
from persistence.journal.takeover import DeadJournal, recover
from persistence.journal.takeover import try_lock_journal as try_lock
from persistence.journal.wakeups import Wakeups, wake_address
from persistence.journal.writer import JournalState, JournalWriter

__all__ = [
    "DeadJournal",
    "JournalState",
    "JournalWriter",
    "Reading",
    "Record",
    "Trouble",
    "Wakeups",
    "ended",
    "glance",
    "is_locked",
    "lost_jobs",
    "read",
    "recover",
    "session_id_of",
    "try_lock",
    "wake_address",
]
