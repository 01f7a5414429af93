"""What monitoring keeps: findings of windows, alarms and their state."""

import sqlalchemy as sa
from alembic import op

from base.database import JsonDocument, UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("monitoring_window") as table:
        table.add_column(sa.Column("verdict", sa.String(), nullable=False, server_default=""))
        table.add_column(sa.Column("findings", JsonDocument(), nullable=False, server_default="{}"))
        table.add_column(sa.Column("measured", JsonDocument(), nullable=False, server_default="{}"))
        table.add_column(sa.Column("is_quiet", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "alarm_memory",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("state", JsonDocument(), nullable=False),
        sa.Column("judged_until", UtcDateTime(), nullable=True),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("model"),
    )
    op.create_table(
        "alarm",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("columns", JsonDocument(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("evidence", JsonDocument(), nullable=False),
        sa.Column("p_adjusted", sa.Float(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("window_start", UtcDateTime(), nullable=False),
        sa.Column("window_stop", UtcDateTime(), nullable=False),
        sa.Column("n_windows", sa.Integer(), nullable=False),
        sa.Column("raised_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("closed_because", sa.String(), nullable=False),
        sa.Column("open_for", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("open_for"),
    )
    op.create_index("ix_alarm_model", "alarm", ["model"])
    op.create_table(
        "alarm_mute",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("feature", sa.String(), nullable=True),
        sa.Column("kind", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("muted_by", sa.String(), nullable=False),
        sa.Column("muted_at", UtcDateTime(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.Column("lifted_at", UtcDateTime(), nullable=True),
        sa.Column("lifted_by", sa.String(), nullable=True),
        sa.Column("active_for", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("active_for"),
    )
    op.create_index("ix_alarm_mute_model", "alarm_mute", ["model"])


def downgrade() -> None:
    op.drop_table("alarm_mute")
    op.drop_table("alarm")
    op.drop_table("alarm_memory")
    for column in ("is_quiet", "measured", "findings", "verdict"):
        op.drop_column("monitoring_window", column)
