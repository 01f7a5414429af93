"""The prediction log: segments in the artifact store, and what was counted."""

import sqlalchemy as sa
from alembic import op

from base.database import JsonDocument, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "traffic_segment",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("writer", sa.String(), nullable=True),
        sa.Column("first_seq", sa.BigInteger(), nullable=True),
        sa.Column("n_rows", sa.Integer(), nullable=False),
        sa.Column("artifact", JsonDocument(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("first_predicted_at", UtcDateTime(), nullable=True),
        sa.Column("last_predicted_at", UtcDateTime(), nullable=True),
        sa.Column("first_event_time", UtcDateTime(), nullable=True),
        sa.Column("last_event_time", UtcDateTime(), nullable=True),
        sa.Column("moved_at", UtcDateTime(), nullable=False),
        sa.Column("removed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("writer", "model", "kind", "version", "first_seq"),
    )
    op.create_index("ix_traffic_segment_range", "traffic_segment", ["model", "kind", "last_event_time"], unique=False)
    op.create_table(
        "traffic_writer",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("written_at", UtcDateTime(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("totals", JsonDocument(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    op.drop_table("traffic_writer")
    op.drop_index("ix_traffic_segment_range", table_name="traffic_segment")
    op.drop_table("traffic_segment")
