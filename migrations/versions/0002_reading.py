"""Lists by client, coach and state, full-text search, ratings, who read what, and following.

Triggers tell who follows a session that turns of it have landed, or that its status is another one:
whoever writes them, and once a statement, however many rows it has.

Indexes are built with their table locked for writes: shippers wait, and what is said is on disk
meanwhile. Dropping one, and a column, keeps readers off until the end of the transaction as well:
both come after all that takes long, but for the one index that needs the new column.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NEWEST_FIRST = {
    "user_id": None,
    "coach_id": None,
    "client_identity": None,
    "status": "status <> 'completed'",
    "completeness": "completeness <> 'complete'",
}


FOLLOWING = """
CREATE FUNCTION coach_turns_landed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('coach_sessions', session_id::text)
    FROM (SELECT DISTINCT session_id FROM landed) AS sessions;
    RETURN NULL;
END
$$;
CREATE FUNCTION coach_session_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('coach_sessions', NEW.id::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER turns_landed AFTER INSERT ON turns REFERENCING NEW TABLE AS landed
    FOR EACH STATEMENT EXECUTE FUNCTION coach_turns_landed();
CREATE TRIGGER session_changed AFTER UPDATE ON sessions
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION coach_session_changed();
"""

NOT_FOLLOWING = """
DROP TRIGGER session_changed ON sessions;
DROP TRIGGER turns_landed ON turns;
DROP FUNCTION coach_session_changed();
DROP FUNCTION coach_turns_landed();
"""


def upgrade() -> None:
    op.create_table('transcript_reads',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('session_id', sa.Uuid(), nullable=False),
    sa.Column('key_id', sa.Uuid(), nullable=False),
    sa.Column('identity', sa.Text(), nullable=True),
    sa.Column('what', sa.Text(), nullable=False),
    sa.Column('request_id', sa.Text(), nullable=False),
    sa.Column('read_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_transcript_reads'))
    )
    op.create_index('ix_transcript_reads_session_id_read_at', 'transcript_reads', ['session_id', 'read_at'], unique=False)
    op.create_table('session_ratings',
    sa.Column('session_id', sa.Uuid(), nullable=False),
    sa.Column('rating', sa.Integer(), nullable=False),
    sa.Column('comment', sa.Text(), nullable=True),
    sa.Column('user_id', sa.Uuid(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('rating BETWEEN 1 AND 5', name=op.f('ck_session_ratings_rating')),
    sa.ForeignKeyConstraint(['session_id'], ['sessions.id'], name=op.f('fk_session_ratings_session_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_session_ratings_user_id'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('session_id', name=op.f('pk_session_ratings'))
    )
    op.create_index(op.f('ix_session_ratings_user_id'), 'session_ratings', ['user_id'], unique=False)
    op.create_table('session_search',
    sa.Column('session_id', sa.Uuid(), nullable=False),
    sa.Column('words', postgresql.TSVECTOR(), nullable=False),
    sa.ForeignKeyConstraint(['session_id'], ['sessions.id'], name=op.f('fk_session_search_session_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('session_id', name=op.f('pk_session_search'))
    )
    op.create_index('ix_session_search_words', 'session_search', ['words'], unique=False, postgresql_using='gin')
    for column, where in NEWEST_FIRST.items():
        op.create_index(
            f"ix_sessions_{column}_started_at_id",
            "sessions",
            [column, sa.literal_column("started_at DESC"), sa.literal_column("id DESC")],
            postgresql_where=sa.text(where) if where else None,
        )
    op.create_index('ix_sessions_completed_ended_at', 'sessions', ['ended_at'], unique=False, postgresql_include=['duration_seconds'], postgresql_where=sa.text("status = 'completed'"))
    _run(FOLLOWING)
    op.drop_index(op.f('ix_sessions_user_id'), table_name='sessions')
    op.drop_index(op.f('ix_sessions_coach_id'), table_name='sessions')
    op.add_column('worker_leases', sa.Column('memory_bytes', sa.BigInteger(), nullable=True))
    op.add_column('worker_leases', sa.Column('cpu_percent', sa.Float(), nullable=True))
    op.add_column('sessions', sa.Column('is_indexed', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.create_index('ix_sessions_unindexed', 'sessions', ['id'], unique=False, postgresql_where=sa.text('NOT is_indexed'))


def downgrade() -> None:
    op.create_index(op.f('ix_sessions_coach_id'), 'sessions', ['coach_id'], unique=False)
    op.create_index(op.f('ix_sessions_user_id'), 'sessions', ['user_id'], unique=False)
    _run(NOT_FOLLOWING)
    op.drop_index('ix_sessions_unindexed', table_name='sessions')
    op.drop_index('ix_sessions_completed_ended_at', table_name='sessions')
    for column in NEWEST_FIRST:
        op.drop_index(f"ix_sessions_{column}_started_at_id", table_name="sessions")
    op.drop_column('worker_leases', 'cpu_percent')
    op.drop_column('worker_leases', 'memory_bytes')
    op.drop_column('sessions', 'is_indexed')
    op.drop_table('session_search')
    op.drop_table('session_ratings')
    op.drop_table('transcript_reads')


def _run(script: str) -> None:
    """Run several statements at once."""
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
