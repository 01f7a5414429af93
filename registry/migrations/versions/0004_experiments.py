"""Experiments: every fit with its parameters and metrics."""

import sqlalchemy as sa
from alembic import op

from base.database import JsonDocument, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("estimator", sa.String(), nullable=False),
        sa.Column("parameters", JsonDocument(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("window", sa.String(), nullable=False),
        sa.Column("loss", sa.Float(), nullable=True),
        sa.Column("document", JsonDocument(), nullable=False),
        sa.Column("n_rows", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("is_chosen", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run_id", "number"),
    )
    op.create_index(op.f("ix_experiment_pipeline"), "experiment", ["pipeline"], unique=False)
    op.create_index(op.f("ix_experiment_run_id"), "experiment", ["run_id"], unique=False)


def downgrade() -> None:
    op.drop_table("experiment")
