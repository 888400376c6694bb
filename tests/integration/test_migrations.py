"""The schema: what the migrations make is what the models and Procrastinate declare."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from procrastinate.schema import SchemaManager
from psycopg import sql

import migrations
from persistence import database, migrate
from persistence.errors import (
    DatabaseRefusedError,
    DatabaseUnavailableError,
    RoleUnknownError,
    SchemaNewerError,
    SchemaOutdatedError,
)
from persistence.schema import metadata


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as db:
        return {
            name
            for (name,) in db.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
                " AND tablename <> 'alembic_version'"
            )
        }


def leftovers(url: str) -> list[tuple[str]]:
    """Functions and types of ours that no table holds."""
    with psycopg.connect(url) as db:
        return db.execute(
            "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " UNION SELECT typname::text FROM pg_type WHERE typnamespace = 'public'::regnamespace"
            " AND typname NOT LIKE '%alembic_version'"
        ).fetchall()


def test_migrations_equal_the_models(database_url: str) -> None:
    with migrate.connected(database_url) as db:
        options = {
            "compare_server_default": True,
            "include_object": lambda _, name, *__: not (name or "").startswith("procrastinate_"),
        }
        context = MigrationContext.configure(db, opts=options)
        assert compare_metadata(context, metadata) == []


def test_constraints_and_indexes_equal_the_models(
    database_url: str, empty_database_url: str
) -> None:
    """Alembic compares no checks, nor what a link does on delete, nor what an index leaves out."""
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(empty_database_url)
    )
    metadata.create_all(engine)
    engine.dispose()
    query = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace"
        " AND conrelid::regclass::text NOT LIKE '%procrastinate%'"
        " AND conrelid::regclass::text <> 'alembic_version'"
        " UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes"
        " WHERE schemaname = 'public' AND tablename NOT LIKE '%procrastinate%'"
        " AND tablename <> 'alembic_version' ORDER BY 1, 2, 3"
    )
    with psycopg.connect(database_url) as migrated, psycopg.connect(empty_database_url) as declared:
        assert migrated.execute(query).fetchall() == declared.execute(query).fetchall()


def test_procrastinates_schema_is_that_of_the_installed_release() -> None:
    """A new release needs a migration of ours: its own are in procrastinate/sql/migrations."""
    copies = sorted((Path(migrations.__path__[0]) / "procrastinate").glob("*.sql"))
    assert copies[-1].read_text() == SchemaManager.get_schema()


def test_up_and_down_and_up_again(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    first = tables(empty_database_url)
    assert first >= {"sessions", "turns", "procrastinate_jobs"}
    migrate.downgrade(empty_database_url, "base")
    assert tables(empty_database_url) == set()
    assert leftovers(empty_database_url) == []
    migrate.upgrade(empty_database_url)
    assert tables(empty_database_url) == first


WATCH_BUILDS = """
CREATE TABLE built_unread (name text);
CREATE FUNCTION note_unread() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO built_unread SELECT DISTINCT built.object_identity
    FROM pg_event_trigger_ddl_commands() AS built, pg_locks AS held
    WHERE held.pid = pg_backend_pid() AND held.mode = 'AccessExclusiveLock'
      AND held.relation IN ('sessions'::regclass, 'turns'::regclass, 'users'::regclass);
END
$$;
CREATE EVENT TRIGGER builds ON ddl_command_end WHEN TAG IN ('CREATE INDEX')
    EXECUTE FUNCTION note_unread();
"""
"""Notes each index that was built while nobody could read the tables that grow."""


def test_reading_goes_on_while_a_step_builds_its_indexes(empty_database_url: str) -> None:
    """Up and down; a new column's own index alone cannot be built before there is the column."""
    migrate.upgrade(empty_database_url, "0001")
    with psycopg.connect(empty_database_url) as db:
        db.execute(WATCH_BUILDS)
    steps = ["0002", "0003", "0004", "0005"]
    for step in steps:
        migrate.upgrade(empty_database_url, step)
    for step in ["0001", *steps[:-1]][::-1]:
        migrate.downgrade(empty_database_url, step)
    with psycopg.connect(empty_database_url) as db:
        unread = db.execute("SELECT name FROM built_unread").fetchall()
    assert unread == [("public.ix_sessions_unindexed",)]


def test_each_installation_gets_a_key_of_its_own(
    database_url: str, empty_database_url: str
) -> None:
    migrate.upgrade(empty_database_url)
    keys = set()
    for url in (database_url, empty_database_url):
        with psycopg.connect(url) as db:
            keys.add(db.execute("SELECT tombstone_key FROM installation").fetchone())
    assert len(keys) == 2


def test_migrators_that_start_at_once_wait_for_each_other(empty_database_url: str) -> None:
    failures: list[Exception] = []

    def upgrade() -> None:
        try:
            migrate.upgrade(empty_database_url)
        except Exception as error:  # noqa: BLE001 whatever it is fails the test
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert "sessions" in tables(empty_database_url)


def test_the_schema_of_this_version_is_asked_for(
    database_url: str, empty_database_url: str
) -> None:
    async def check(url: str) -> None:
        async with await database.connect(url, "test") as db:
            await database.require_current_schema(db)

    asyncio.run(check(database_url))
    with pytest.raises(SchemaOutdatedError, match="coach migrate"):
        asyncio.run(check(empty_database_url))
    with psycopg.connect(database_url) as db:
        db.execute("UPDATE alembic_version SET version_num = 'older'")
    with pytest.raises(SchemaOutdatedError):
        asyncio.run(check(database_url))


def test_a_schema_of_a_newer_version_is_said_to_be_one_and_left_alone(database_url: str) -> None:
    """`coach migrate` after a step back to an older version: running it again is no advice."""
    with psycopg.connect(database_url) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaNewerError, match="newer version"):
        migrate.upgrade(database_url)
    with psycopg.connect(database_url) as db:
        assert db.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def test_a_role_that_is_not_there_is_said_to_be_missing(database_url: str) -> None:
    with pytest.raises(RoleUnknownError, match="no such role"):
        migrate.grant(database_url, "nobody-of-that-name")


def test_a_granted_role_reads_and_writes_rows_and_changes_no_schema(database_url: str) -> None:
    name = "someone-else"
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    try:
        migrate.grant(database_url, name)
        with psycopg.connect(database_url, autocommit=True, user=name) as db:
            db.execute("INSERT INTO users (id, identity) VALUES (gen_random_uuid(), 'x')")
            db.execute("DELETE FROM users")
            db.execute("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('q', 't')")
            db.execute("SELECT procrastinate_fetch_job_v2(NULL, NULL)")
            for forbidden in ("DROP TABLE users", "UPDATE alembic_version SET version_num = ''"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    db.execute(forbidden)
    finally:
        with psycopg.connect(database_url, autocommit=True) as db:
            db.execute(sql.SQL("DROP OWNED BY {0}").format(sql.Identifier(name)))
            db.execute(sql.SQL("DROP ROLE {0}").format(sql.Identifier(name)))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
async def test_every_spelling_of_a_database_url_is_taken(database_url: str, scheme: str) -> None:
    url = database_url.replace("postgresql", scheme, 1)
    async with await database.connect(url, "test") as db:
        found = await db.execute("SELECT current_setting('application_name')")
        assert await found.fetchone() == ("voice-coach test",)
    engine = database.engine(url, "test")
    async with engine.connect() as other:
        assert (await other.execute(sqlalchemy.text("SELECT 1"))).scalar() == 1
    await engine.dispose()
    async with database.pool(url, "test") as pool, pool.connection() as third:
        await third.execute("SELECT 1")


def test_another_kind_of_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="postgresql://") as refused:
        database.normalised("mysql://user:secret@host/db")
    assert "secret" not in str(refused.value)


def test_errors_are_translated_without_what_they_quote(database_url: str) -> None:
    with (
        pytest.raises(DatabaseRefusedError, match="22P02") as refused,
        database.translated(),
        psycopg.connect(database_url) as db,
    ):
        db.execute("SELECT 'a canary'::uuid")
    assert "canary" not in str(refused.value)
    assert refused.value.__suppress_context__
    with pytest.raises(DatabaseUnavailableError, match=r"reached$"), database.translated():
        psycopg.connect(host="/nonexistent", connect_timeout=1)
    with (
        pytest.raises(DatabaseUnavailableError, match="answers, and refuses") as refused_in,
        database.translated(),
    ):
        psycopg.connect(database_url, user="canary")
    assert "canary" not in str(refused_in.value)
