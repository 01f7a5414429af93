"""Which versions came through their first load, and in which environment."""

import sqlalchemy as sa
from alembic import op

from base.database import JsonDocument, UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "version_proof",
        sa.Column("loaded", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("document", JsonDocument(), nullable=False),
        sa.Column("proven_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("loaded", "environment"),
    )


def downgrade() -> None:
    op.drop_table("version_proof")
