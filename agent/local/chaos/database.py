"""The Postgres of a campaign, and what can go wrong with it.

A durable server on data of its own: what it has acknowledged has to be there after it was killed.
Workers reach it through a fault proxy, as a role that is nobody's superuser, so that "too many
connections" can be brought about and our own looks still get through.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from agent.local import postgres
from agent.local.loopback import HOST, free_port
from agent.local.postgres import Postgres, PostgresError
from persistence import migrate

ROLE = "coach_chaos"
LEASE_SECONDS = 1.5
_RESTART_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_EMPTIED = (
    "sessions", "appointments", "worker_leases", "dead_letters", "tombstones", "analysis_runs",
    "procrastinate_jobs", "procrastinate_workers", "chaos_ends",
    "chaos_summaries", "chaos_renewals",
)  # fmt: skip
_WITNESS = """
CREATE TABLE chaos_ends (
    session_id uuid NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    end_reason text, provisional boolean NOT NULL, lease_held boolean NOT NULL
);
CREATE TABLE chaos_renewals (worker_id uuid NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE FUNCTION chaos_renewed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos_renewals (worker_id) VALUES (NEW.worker_id);
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_renewed AFTER INSERT OR UPDATE ON worker_leases FOR EACH ROW
    WHEN (NEW.stopped_at IS NULL AND NEW.renewed_at > '-infinity')
    EXECUTE FUNCTION chaos_renewed();
CREATE FUNCTION chaos_witness() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos_ends (session_id, end_reason, provisional, lease_held)
    VALUES (NEW.id, NEW.end_reason, NEW.reclaimed_at IS NOT NULL, EXISTS (
        SELECT FROM chaos_renewals r WHERE r.worker_id = NEW.worker_id
            AND r.at > now() - {lease_seconds} * interval '1 s'));
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_witness AFTER UPDATE OF status ON sessions FOR EACH ROW
    WHEN (OLD.status = 'active' AND NEW.status <> 'active') EXECUTE FUNCTION chaos_witness();
CREATE TABLE chaos_summaries (session_id uuid NOT NULL);
CREATE FUNCTION chaos_reader() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos_summaries (session_id) VALUES (NEW.id);
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_reader AFTER UPDATE OF ai_summary ON sessions FOR EACH ROW
    EXECUTE FUNCTION chaos_reader();
"""
"""Sees every end of a session, also one that is taken back, and every summary that is written: rows
alone show only the last. Whether a worker had been in touch, it saw by its renewals, not by when it
says that its lease runs out."""


class Database:
    """A server with the project's schema; made by `created`."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._port = free_port()
        self._password = secrets.token_urlsafe(24)
        self._server: Postgres = postgres.start(self._data, port=self._port)

    @classmethod
    @contextmanager
    def created(cls, folder: Path, lease_seconds: float = LEASE_SECONDS) -> Iterator[Database]:
        """Give a server on new data, which goes at the end of the block.

        It belongs to who has `folder`, and so does what an earlier, killed owner left of it.
        `lease_seconds` is how long after a renewal no session of a worker may be reclaimed.
        """
        data = postgres.data_dir(folder)
        if (data / "PG_VERSION").exists():
            postgres.start(data).stop()  # what still runs on it ends first
        shutil.rmtree(data, ignore_errors=True)
        database = cls(data)
        try:
            database.set_up(lease_seconds)
            yield database
        finally:
            database.stop()
            shutil.rmtree(data.parent, ignore_errors=True)

    @property
    def port(self) -> int:
        """Where it listens, on the loopback interface."""
        return self._port

    def url(self, port: int) -> str:
        """Return the URL for workers, by way of `port`."""
        return f"postgresql://{ROLE}:{self._password}@{HOST}:{port}/postgres"

    def admin(self) -> psycopg.Connection[Any]:
        """Return a connection of our own, which writes even while others may only read.

        Waits for a server that is still recovering.
        """
        deadline = time.monotonic() + _RESTART_SECONDS
        while True:
            try:
                db = psycopg.connect(self._server.url, autocommit=True, row_factory=dict_row)
                db.execute("SET default_transaction_read_only = off")
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_SECONDS)
            else:
                return db

    def query(
        self, statement: str, parameters: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return the rows of a `SELECT`."""
        with self.admin() as db:
            return list(db.execute(statement.encode(), parameters).fetchall())

    def empty(self) -> None:
        """Forget all sessions, and what earlier campaigns left broken."""
        self.allow_writes()
        self.admit()
        with self.admin() as db:
            db.execute(f"TRUNCATE {', '.join(_EMPTIED)} CASCADE".encode())

    def kill(self) -> None:
        """Kill the server, as a machine does that has no memory left."""
        self._postmaster().kill()
        self._server.stop()

    def restart(self) -> None:
        """Stop the server, if it runs, and start it."""
        self._server.stop()
        self.start()

    def start(self) -> None:
        """Start the server after `kill`; its last processes may take a moment to go."""
        deadline = time.monotonic() + _RESTART_SECONDS
        while True:
            try:
                self._server = postgres.start(self._data, port=self._port)
            except PostgresError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_SECONDS)
            else:
                return

    def crash(self) -> None:
        """Kill one of its processes: it throws everybody out and recovers."""
        with self.admin() as db:
            backend = psutil.Process(db.info.backend_pid)
            backend.kill()
            try:
                db.execute("SELECT 1")
            except psycopg.OperationalError:
                return

    def cut(self) -> None:
        """End all connections of workers."""
        self.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %(role)s",
            {"role": ROLE},
        )

    def refuse(self) -> None:
        """Have no connection left for workers."""
        self._alter_role("CONNECTION LIMIT 0")
        self.cut()

    def admit(self) -> None:
        """Have connections for workers."""
        self._alter_role("CONNECTION LIMIT -1")

    def forbid_writes(self) -> None:
        """Be read-only, as a standby is in a fail-over."""
        self._configure("ALTER SYSTEM SET default_transaction_read_only = on")

    def allow_writes(self) -> None:
        self._configure("ALTER SYSTEM RESET default_transaction_read_only")

    def stop(self) -> None:
        self._server.stop()

    def _configure(self, statement: str) -> None:
        with self.admin() as db:
            db.execute(statement.encode())
            db.execute("SELECT pg_reload_conf()")

    def _alter_role(self, how: str) -> None:
        with self.admin() as db:
            db.execute(f"ALTER ROLE {ROLE} {how}".encode())

    def _postmaster(self) -> psutil.Process:
        pid = (self._data / "postmaster.pid").read_text().split("\n", 1)[0]
        return psutil.Process(int(pid))

    def set_up(self, lease_seconds: float) -> None:
        """Make the schema, the role of workers, and the witness of every end."""
        migrate.upgrade(self._server.url)
        with self.admin() as db:
            password = sql.Literal(self._password)
            db.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(_ROLE, password))
        migrate.grant(self._server.url, ROLE)
        with self.admin() as db:
            db.execute(_WITNESS.format(lease_seconds=lease_seconds).encode())


_ROLE = sql.Identifier(ROLE)
