"""The table of snapshots: what data was extracted when, and out of which parent."""

import sqlalchemy as sa
from alembic import op

from base.database import JsonDocument, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "snapshot",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("parent", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("state", JsonDocument(), nullable=False),
        sa.Column("document", JsonDocument(), nullable=False),
        sa.Column("n_rows", sa.Integer(), nullable=False),
        sa.Column("n_new", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["pipeline"], ["pipeline.name"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("pipeline", "digest"),
    )
    op.create_index(op.f("ix_snapshot_pipeline"), "snapshot", ["pipeline"], unique=False)
    op.create_index(op.f("ix_snapshot_digest"), "snapshot", ["digest"], unique=False)


def downgrade() -> None:
    op.drop_table("snapshot")
