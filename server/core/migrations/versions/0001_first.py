"""The first schema."""

from __future__ import annotations

from alembic import op

from server.core.tables import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this schema."""
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    """Back to nothing."""
    metadata.drop_all(op.get_bind())
