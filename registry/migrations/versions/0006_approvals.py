"""Approvals: who was asked, and who answered."""

import sqlalchemy as sa
from alembic import op

from base.database import JsonDocument, UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "approval",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("requester", sa.String(), nullable=False),
        sa.Column("needed", sa.Integer(), nullable=False),
        sa.Column("approvers", JsonDocument(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.ForeignKeyConstraint(["model", "number"], ["model_version.model", "model_version.number"]),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_index(op.f("ix_approval_model"), "approval", ["model"], unique=False)
    op.create_index(op.f("ix_approval_status"), "approval", ["status"], unique=False)
    op.create_table(
        "approval_answer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("answered_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["approval.run_id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run_id", "actor"),
    )
    op.create_index(op.f("ix_approval_answer_run_id"), "approval_answer", ["run_id"], unique=False)


def downgrade() -> None:
    op.drop_table("approval_answer")
    op.drop_table("approval")
