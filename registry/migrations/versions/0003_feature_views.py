"""The table of feature views: what was declared, and which events were stored for it."""

import sqlalchemy as sa
from alembic import op

from base.database import JsonDocument, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feature_view",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("document", JsonDocument(), nullable=False),
        sa.Column("rows", JsonDocument(), nullable=False),
        sa.Column("n_rows", sa.Integer(), nullable=False),
        sa.Column("n_online", sa.Integer(), nullable=False),
        sa.Column("newest", UtcDateTime(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("registered_at", UtcDateTime(), nullable=False),
        sa.Column("materialized_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", "digest"),
    )
    op.create_index(op.f("ix_feature_view_name"), "feature_view", ["name"], unique=False)


def downgrade() -> None:
    op.drop_table("feature_view")
