"""All tables of the first version, Procrastinate's schema and this installation's own key.

Procrastinate's schema is a copy of the file that its release 3.10.0 brings, and not whatever is
installed on the day: a database made later would else differ from one made today and migrated.
A new release's own migrations become a migration of ours; a test compares the two.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PROCRASTINATE = Path(__file__).parents[1] / "procrastinate" / "3.10.0.sql"
TOMBSTONE_KEY_BYTES = 32


def upgrade() -> None:
    op.create_table('dead_letters',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('session_id', sa.Uuid(), nullable=False),
    sa.Column('worker_id', sa.Uuid(), nullable=True),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('payload', sa.LargeBinary(), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('sqlstate', sa.Text(), nullable=False),
    sa.Column('constraint_name', sa.Text(), nullable=True),
    sa.Column('attempts', sa.Integer(), server_default=sa.text('1'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_dead_letters')),
    sa.UniqueConstraint('session_id', 'digest', name=op.f('uq_dead_letters_session_id_digest'))
    )
    op.create_table('health_checks',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('service', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('latency_ms', sa.Float(), nullable=True),
    sa.Column('checked_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("status IN ('healthy', 'degraded', 'down')", name=op.f('ck_health_checks_status')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_health_checks'))
    )
    op.create_index('ix_health_checks_checked_at', 'health_checks', ['checked_at'], unique=False)
    op.create_table('installation',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('tombstone_key', sa.LargeBinary(), nullable=False),
    sa.CheckConstraint('id = 1', name=op.f('ck_installation_single')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_installation'))
    )
    op.create_table('sync_runs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('system', sa.Text(), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('success', sa.Boolean(), nullable=False),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('members_found', sa.Integer(), nullable=True),
    sa.Column('new_members', sa.Integer(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sync_runs'))
    )
    op.create_index('ix_sync_runs_system_finished_at', 'sync_runs', ['system', 'finished_at'], unique=False)
    op.create_table('tombstones',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('session_id', sa.Uuid(), nullable=True),
    sa.Column('identity_hash', sa.LargeBinary(), nullable=True),
    sa.Column('dropped', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('(session_id IS NULL) <> (identity_hash IS NULL)', name=op.f('ck_tombstones_subject')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tombstones')),
    sa.UniqueConstraint('identity_hash', name=op.f('uq_tombstones_identity_hash')),
    sa.UniqueConstraint('session_id', name=op.f('uq_tombstones_session_id'))
    )
    op.create_table('users',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('identity', sa.Text(), nullable=False),
    sa.Column('email', sa.Text(), nullable=True),
    sa.Column('display_name', sa.Text(), nullable=True),
    sa.Column('role', sa.Text(), server_default=sa.text("'client'"), nullable=False),
    sa.Column('is_available', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('coach_level', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('last_active_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('data_retention_consent', sa.Boolean(), nullable=True),
    sa.Column('last_data_export_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('account_deletion_requested_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("role IN ('client', 'coach', 'admin')", name=op.f('ck_users_role')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_users')),
    sa.UniqueConstraint('identity', name=op.f('uq_users_identity'))
    )
    op.create_table('worker_leases',
    sa.Column('worker_id', sa.Uuid(), nullable=False),
    sa.Column('host', sa.Text(), nullable=False),
    sa.Column('pid', sa.Integer(), nullable=False),
    sa.Column('version', sa.Text(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('renewed_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('stopped_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('worker_id', name=op.f('pk_worker_leases'))
    )
    op.create_index(op.f('ix_worker_leases_expires_at'), 'worker_leases', ['expires_at'], unique=False)
    op.create_table('api_keys',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('key_hash', sa.LargeBinary(), nullable=False),
    sa.Column('scopes', postgresql.ARRAY(sa.Text()), nullable=False),
    sa.Column('identity', sa.Text(), nullable=True),
    sa.Column('rooms', postgresql.ARRAY(sa.Text()), nullable=True),
    sa.Column('user_id', sa.Uuid(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_api_keys_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_keys')),
    sa.UniqueConstraint('key_hash', name=op.f('uq_api_keys_key_hash'))
    )
    op.create_index(op.f('ix_api_keys_user_id'), 'api_keys', ['user_id'], unique=False)
    op.create_table('appointments',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('room_name', sa.Text(), nullable=True),
    sa.Column('client_id', sa.Uuid(), nullable=True),
    sa.Column('coach_id', sa.Uuid(), nullable=True),
    sa.Column('scheduled_for', sa.DateTime(timezone=True), nullable=True),
    sa.Column('status', sa.Text(), server_default=sa.text("'scheduled'"), nullable=False),
    sa.ForeignKeyConstraint(['client_id'], ['users.id'], name=op.f('fk_appointments_client_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['coach_id'], ['users.id'], name=op.f('fk_appointments_coach_id'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_appointments')),
    sa.UniqueConstraint('room_name', name=op.f('uq_appointments_room_name'))
    )
    op.create_index(op.f('ix_appointments_client_id'), 'appointments', ['client_id'], unique=False)
    op.create_index(op.f('ix_appointments_coach_id'), 'appointments', ['coach_id'], unique=False)
    op.create_table('sessions',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('status', sa.Text(), server_default=sa.text("'active'"), nullable=False),
    sa.Column('room_name', sa.Text(), nullable=True),
    sa.Column('room_sid', sa.Text(), nullable=True),
    sa.Column('job_id', sa.Text(), nullable=True),
    sa.Column('worker_id', sa.Uuid(), nullable=True),
    sa.Column('client_identity', sa.Text(), nullable=True),
    sa.Column('user_id', sa.Uuid(), nullable=True),
    sa.Column('coach_id', sa.Uuid(), nullable=True),
    sa.Column('appointment_id', sa.Uuid(), nullable=True),
    sa.Column('pipeline', sa.Text(), nullable=True),
    sa.Column('prompt_version', sa.Text(), nullable=True),
    sa.Column('language', sa.Text(), nullable=True),
    sa.Column('scenario_id', sa.Text(), nullable=True),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_turn_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('duration_seconds', sa.Float(), nullable=True),
    sa.Column('legacy_transcript', sa.Text(), nullable=True),
    sa.Column('end_reason', sa.Text(), nullable=True),
    sa.Column('turn_count', sa.Integer(), nullable=True),
    sa.Column('transcript_sha256', sa.Text(), nullable=True),
    sa.Column('completeness', sa.Text(), nullable=True),
    sa.Column('completeness_reason', sa.Text(), nullable=True),
    sa.Column('reclaimed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ai_summary', sa.Text(), nullable=True),
    sa.Column('is_archived', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('archived_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("(status = 'active') = (ended_at IS NULL)", name=op.f('ck_sessions_ended')),
    sa.CheckConstraint("completeness IN ('complete', 'recovered', 'partial')", name=op.f('ck_sessions_completeness')),
    sa.CheckConstraint("end_reason IN ('client_left', 'coach_ended', 'completed_by_ai', 'room_deleted', 'worker_shutdown', 'worker_lost', 'max_duration', 'error')", name=op.f('ck_sessions_end_reason')),
    sa.CheckConstraint("status IN ('active', 'completed', 'cancelled')", name=op.f('ck_sessions_status')),
    sa.ForeignKeyConstraint(['appointment_id'], ['appointments.id'], name=op.f('fk_sessions_appointment_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['coach_id'], ['users.id'], name=op.f('fk_sessions_coach_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_sessions_user_id'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sessions'))
    )
    op.create_index('ix_sessions_active_worker_id', 'sessions', ['worker_id'], unique=False, postgresql_where=sa.text("status = 'active'"))
    op.create_index(op.f('ix_sessions_appointment_id'), 'sessions', ['appointment_id'], unique=False)
    op.create_index(op.f('ix_sessions_coach_id'), 'sessions', ['coach_id'], unique=False)
    op.create_index(op.f('ix_sessions_room_name'), 'sessions', ['room_name'], unique=False)
    op.create_index('ix_sessions_started_at_id', 'sessions', [sa.literal_column('started_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_index(op.f('ix_sessions_user_id'), 'sessions', ['user_id'], unique=False)
    op.create_table('analysis_runs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('session_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('transcript_sha256', sa.Text(), nullable=False),
    sa.Column('model', sa.Text(), nullable=True),
    sa.Column('prompt_version', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['session_id'], ['sessions.id'], name=op.f('fk_analysis_runs_session_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_analysis_runs')),
    sa.UniqueConstraint('session_id', 'kind', 'transcript_sha256', name=op.f('uq_analysis_runs_session_id_kind_transcript_sha256'))
    )
    op.create_table('session_events',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('session_id', sa.Uuid(), nullable=False),
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.Column('type', sa.Text(), nullable=False),
    sa.Column('role', sa.Text(), nullable=True),
    sa.Column('speaker_identity', sa.Text(), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('data', postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.ForeignKeyConstraint(['session_id'], ['sessions.id'], name=op.f('fk_session_events_session_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_session_events'))
    )
    op.create_index('ix_session_events_session_id_seq', 'session_events', ['session_id', 'seq'], unique=False)
    op.create_table('turns',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('session_id', sa.Uuid(), nullable=False),
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.Column('item_id', sa.Text(), nullable=False),
    sa.Column('role', sa.Text(), nullable=False),
    sa.Column('speaker_identity', sa.Text(), nullable=True),
    sa.Column('user_id', sa.Uuid(), nullable=True),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('generated_text', sa.Text(), nullable=True),
    sa.Column('interrupted', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('confidence', sa.Float(), nullable=True),
    sa.Column('language', sa.Text(), nullable=True),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('recorded_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('source', sa.Text(), server_default=sa.text("'voice'"), nullable=False),
    sa.Column('metrics', postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.CheckConstraint("role IN ('client', 'coach', 'ai')", name=op.f('ck_turns_role')),
    sa.CheckConstraint("source IN ('voice', 'text', 'tool')", name=op.f('ck_turns_source')),
    sa.CheckConstraint("text <> ''", name=op.f('ck_turns_text')),
    sa.CheckConstraint('confidence BETWEEN 0 AND 1', name=op.f('ck_turns_confidence')),
    sa.ForeignKeyConstraint(['session_id'], ['sessions.id'], name=op.f('fk_turns_session_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_turns_user_id'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_turns')),
    sa.UniqueConstraint('session_id', 'item_id', name=op.f('uq_turns_session_id_item_id'))
    )
    op.create_index('ix_turns_session_id_started_at_seq', 'turns', ['session_id', 'started_at', 'seq'], unique=False)
    op.create_index(op.f('ix_turns_user_id'), 'turns', ['user_id'], unique=False)
    op.get_bind().execute(
        sa.text("INSERT INTO installation (id, tombstone_key) VALUES (1, :key)"),
        {"key": secrets.token_bytes(TOMBSTONE_KEY_BYTES)},
    )
    _run(PROCRASTINATE.read_text())


def downgrade() -> None:
    _run(DROP_PROCRASTINATE)
    op.drop_table('turns')
    op.drop_table('session_events')
    op.drop_table('analysis_runs')
    op.drop_table('sessions')
    op.drop_table('appointments')
    op.drop_table('api_keys')
    op.drop_table('worker_leases')
    op.drop_table('users')
    op.drop_table('tombstones')
    op.drop_table('sync_runs')
    op.drop_table('installation')
    op.drop_table('health_checks')
    op.drop_table('dead_letters')


def _run(script: str) -> None:
    """Run several statements at once, percent signs and all."""
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})


DROP_PROCRASTINATE = r"""
DROP TABLE procrastinate_events, procrastinate_periodic_defers, procrastinate_jobs,
    procrastinate_workers CASCADE;
DO $$
DECLARE
    gone record;
BEGIN
    FOR gone IN
        SELECT oid::regprocedure AS signature FROM pg_proc
        WHERE proname LIKE 'procrastinate\_%' AND pronamespace = current_schema()::regnamespace
    LOOP
        EXECUTE 'DROP FUNCTION ' || gone.signature;
    END LOOP;
END
$$;
DROP TYPE procrastinate_job_to_defer_v1, procrastinate_job_event_type, procrastinate_job_status;
"""
