"""Who reclaims sessions tells of them itself: many at once, for less than a trigger a row.

Whatever else changes a status is told of by the trigger, as before; a provisional end that is taken
back, too.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

CHANGED = "OLD.status IS DISTINCT FROM NEW.status"
NOT_RECLAIMED = "(NEW.reclaimed_at IS NULL OR NEW.reclaimed_at = OLD.reclaimed_at)"


def upgrade() -> None:
    _tell_when(f"{CHANGED} AND {NOT_RECLAIMED}")


def downgrade() -> None:
    _tell_when(CHANGED)


def _tell_when(condition: str) -> None:
    op.execute(f"""
        CREATE OR REPLACE TRIGGER session_changed AFTER UPDATE ON sessions
        FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION coach_session_changed()
    """)
