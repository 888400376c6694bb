"""What is to be thought of what was measured: pure, facts in, checks out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from agent.doctor.check import Area, Check, bad, note, ok
from agent.printing import counted
from persistence.diagnosis import Count, Jobs, Role, Server, Sessions, Skew, Workers
from persistence.journal.inspection import Inspection

MIN_VERSION = 14
FEW_CONNECTIONS, SCARCE_CONNECTIONS = 20, 5
"""Left on the server: a worker, the API and the jobs take about 20 together."""
SKEW_SECONDS = 2.0
"""Leases are on Postgres's clock alone, transcripts on the workers': more than this is seen."""
LOW_FREE_BYTES, SCARCE_FREE_BYTES = 1024**3, 128 * 1024**2
FULL_SHARE = 0.8
"""Of the journals' limit: beyond it somebody should know why Postgres does not take them."""
OVERDUE_AFTER = timedelta(minutes=10)
_MEGA = 1024**2


def of_server(server: Server) -> list[Check]:
    major = server.version_num // 10000
    if major < MIN_VERSION:
        version = bad(Area.POSTGRES, "version", f"{major}", f"needs {MIN_VERSION} or later")
    else:
        version = ok(Area.POSTGRES, "version", f"{major}")
    return [version, _writable(server), _connections(server)]


def _writable(server: Server) -> Check:
    if server.is_standby:
        advice = "DATABASE_URL must lead to the primary; add target_session_attrs=read-write"
        return bad(Area.POSTGRES, "writable", "a standby", advice)
    if server.is_read_only:
        advice = "find out who set default_transaction_read_only; journals keep all meanwhile"
        return bad(Area.POSTGRES, "writable", "read-only", advice)
    return ok(Area.POSTGRES, "writable", "yes")


def _connections(server: Server) -> Check:
    left = max(0, server.max_connections - server.connections)
    found = f"{left} of {server.max_connections} left"
    advice = "raise max_connections, or see who holds them: pg_stat_activity"
    if left <= SCARCE_CONNECTIONS:
        return bad(Area.POSTGRES, "connections", found, advice)
    if left <= FEW_CONNECTIONS:
        return note(Area.POSTGRES, "connections", found, advice)
    return ok(Area.POSTGRES, "connections", found)


def of_skew(skew: Skew) -> Check:
    found = f"{skew.seconds:+.2f} s (within {skew.margin:.2f} s)"
    if abs(skew.seconds) - skew.margin > SKEW_SECONDS:
        advice = "synchronise this machine's clock, or Postgres's: times in transcripts are off"
        return bad(Area.POSTGRES, "clock", found, advice)
    return ok(Area.POSTGRES, "clock", found)


def of_role(role: Role, *, is_local: bool) -> list[Check]:
    """Judge the role; that of a `coach up` of one's own may do everything, and should."""
    if role.tables_refused:
        some = ", ".join(role.tables_refused[:3])
        found = f"may not write {len(role.tables_refused)} tables ({some} …)"
        advice = "as the schema's owner: coach migrate --grant <this role>"
        return [bad(Area.POSTGRES, "rights", found, advice)]
    if role.may_more and not is_local:
        advice = "let workers and API use a role of their own: coach migrate --grant <role>"
        more = f"more than needed: {', '.join(role.may_more)}"
        return [note(Area.POSTGRES, "rights", more, advice)]
    return [ok(Area.POSTGRES, "rights", "enough")]


def of_workers(workers: Workers) -> list[Check]:
    if not workers.alive:
        advice = "start one: coach start (or coach up); until then nobody is answered"
        alive = bad(Area.WORKERS, "alive", "none", advice)
    else:
        alive = ok(Area.WORKERS, "alive", f"{workers.alive}")
    if not workers.lapsed:
        return [alive]
    advice = "they ended without a stop: see their logs, and whether their disks are still there"
    return [alive, note(Area.WORKERS, "lost in the last day", f"{workers.lapsed}", advice)]


def of_sessions(sessions: Sessions) -> list[Check]:
    checks = [ok(Area.SESSIONS, "active", f"{sessions.active}")]
    if sessions.without_worker:
        advice = "a worker reclaims them within a minute; if not, none of them reaches Postgres"
        found = f"{sessions.without_worker}"
        checks.append(bad(Area.SESSIONS, "active without a live worker", found, advice))
    for name, count, advice in (
        ("partial in the last day", sessions.partial, "see why: coach sessions list, coach audit"),
        ("recovered in the last day", sessions.recovered, "their jobs died: see the worker's log"),
        (
            "reclaimed in the last day",
            sessions.reclaimed,
            "their workers were lost; start one on the same disk for the rest of what was said",
        ),
    ):
        if count:
            checks.append(note(Area.SESSIONS, name, f"{count}", advice))
    return checks


def of_dead_letters(letters: Sequence[Count]) -> list[Check]:
    if not letters:
        return [ok(Area.SESSIONS, "dead letters", "none")]
    advice = "mend the cause, then: coach deadletters retry (coach deadletters list says which)"
    return [
        bad(Area.SESSIONS, "dead letters", f"{times} of {what}", advice) for what, times in letters
    ]


def of_jobs(jobs: Jobs) -> list[Check]:
    checks = []
    for task, times in jobs.failed:
        advice = "every try failed: see the log for job_failed; a missing or wrong key is likely"
        checks.append(bad(Area.JOBS, f"failed: {task}", f"{times}", advice))
    if jobs.overdue:
        minutes = OVERDUE_AFTER.total_seconds() / 60
        found = f"{jobs.overdue}, for more than {minutes:.0f} min"
        advice = "nobody works on them: coach jobs, or coach start with COACH_RUN_JOBS=true"
        checks.append(bad(Area.JOBS, "overdue", found, advice))
    return checks or [ok(Area.JOBS, "waiting and failed", "none overdue, none failed")]


def of_journals(seen: Inspection | None, limit_bytes: int) -> list[Check]:
    """Judge the journal directory; `None` is one that is not there."""
    if seen is None:
        return [ok(Area.JOURNALS, "directory", "none on this machine: no worker ran here")]
    return [
        _place(seen),
        *([] if not seen.open_to_others else [_modes(seen)]),
        _room(seen),
        _size(seen, limit_bytes),
        *_left(seen),
    ]


def _place(seen: Inspection) -> Check:
    if not seen.can_write:
        advice = "nothing said would be on disk: free or remount it, or set COACH_JOURNAL_DIR"
        return bad(Area.JOURNALS, "directory", "cannot be written", advice)
    if seen.unreadable:
        advice = "workers of one directory run as one user"
        found = f"{counted(seen.unreadable, 'folder')} of another user"
        return bad(Area.JOURNALS, "directory", found, advice)
    return ok(Area.JOURNALS, "directory", f"writable, {counted(seen.held, 'worker folder')}")


def _modes(seen: Inspection) -> Check:
    advice = "they hold what was said: chmod -R go= the journal directory"
    return bad(Area.JOURNALS, "modes", f"{seen.open_to_others} are open to others", advice)


def _room(seen: Inspection) -> Check:
    found = f"{seen.free_bytes / _MEGA:,.0f} MB free"
    advice = "free some, or set COACH_JOURNAL_DIR to a larger disk"
    if seen.free_bytes < SCARCE_FREE_BYTES:
        return bad(Area.JOURNALS, "disk", found, advice)
    if seen.free_bytes < LOW_FREE_BYTES:
        return note(Area.JOURNALS, "disk", found, advice)
    return ok(Area.JOURNALS, "disk", found)


def _size(seen: Inspection, limit_bytes: int) -> Check:
    found = f"{seen.stored_bytes / _MEGA:,.1f} of {limit_bytes / _MEGA:,.0f} MB"
    if seen.stored_bytes >= FULL_SHARE * limit_bytes:
        advice = "Postgres has not taken them: bring it back, or raise COACH_JOURNAL_MAX_BYTES"
        return bad(Area.JOURNALS, "size", found, advice)
    return ok(Area.JOURNALS, "size", found)


def _left(seen: Inspection) -> list[Check]:
    checks = []
    if seen.left_behind:
        found = f"{counted(seen.left_behind, 'folder')} with {counted(seen.left_events, 'event')}"
        advice = "their workers are gone: start a worker here, it ships them"
        checks.append(bad(Area.JOURNALS, "left behind", found, advice))
    if seen.damaged_bytes:
        advice = "keep a copy of the folders before a worker takes them; look at the disk"
        found = f"{seen.damaged_bytes} bytes are no event"
        checks.append(note(Area.JOURNALS, "damage", found, advice))
    if seen.degraded:
        advice = "the disk refuses what is said: it waits in memory; free or mend the disk now"
        checks.append(bad(Area.JOURNALS, "degraded", f"{seen.degraded} sessions", advice))
    return checks


def of_rooms(rooms: int, known: int, waiting: int) -> list[Check]:
    """Judge the rooms there are, those that were looked into, and those where somebody waits."""
    checks = [ok(Area.LIVEKIT, "rooms", f"{rooms}" if known == rooms else f"{rooms}, {known} seen")]
    if waiting:
        advice = (
            "no worker took them: are workers registered, at this server, under COACH_AGENT_NAME?"
        )
        found = f"{waiting}"
        checks.append(bad(Area.LIVEKIT, "clients without an agent", found, advice))
    return checks
