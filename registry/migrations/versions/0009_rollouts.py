"""Rollouts: which versions share the traffic, and what moved them."""

import sqlalchemy as sa
from alembic import op

from base.database import JsonDocument, UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rollout",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("champion", sa.Integer(), nullable=False),
        sa.Column("champion_revision", sa.Integer(), nullable=False),
        sa.Column("challengers", JsonDocument(), nullable=False),
        sa.Column("spec", JsonDocument(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("shares", JsonDocument(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("started_by", sa.String(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("moved_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("looker", sa.String(), nullable=True),
        sa.Column("looker_until", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["model", "champion"], ["model_version.model", "model_version.number"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_rollout_model"), "rollout", ["model"], unique=False)
    op.create_index(op.f("ix_rollout_status"), "rollout", ["status"], unique=False)
    is_running = sa.text("status = 'running'")
    op.create_index(
        "ix_rollout_running",
        "rollout",
        ["environment", "model"],
        unique=True,
        sqlite_where=is_running,
        postgresql_where=is_running,
    )
    op.create_table(
        "rollout_look",
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("labelled", JsonDocument(), nullable=False),
        sa.Column("compared", JsonDocument(), nullable=False),
        sa.Column("requests", JsonDocument(), nullable=False),
        sa.Column("looked_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollout.id"]),
        sa.PrimaryKeyConstraint("rollout_id", "number"),
    )
    op.create_table(
        "rollout_replica",
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("replica", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("refused", JsonDocument(), nullable=False),
        sa.Column("counts", JsonDocument(), nullable=False),
        sa.Column("heard_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollout.id"]),
        sa.PrimaryKeyConstraint("rollout_id", "replica"),
    )


def downgrade() -> None:
    op.drop_table("rollout_replica")
    op.drop_table("rollout_look")
    op.drop_table("rollout")
