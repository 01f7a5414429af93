"""The tables of the loop: pipelines, runs, steps, versions, aliases, decisions, windows."""

import sqlalchemy as sa
from alembic import op

from base.database import JsonDocument, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "decision",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("evidence", JsonDocument(), nullable=False),
        sa.Column("decided_at", UtcDateTime(), nullable=False),
        sa.Column("previous_digest", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index(op.f("ix_decision_pipeline"), "decision", ["pipeline"], unique=False)
    op.create_index(op.f("ix_decision_run_id"), "decision", ["run_id"], unique=False)
    op.create_table(
        "monitoring_window",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("start", UtcDateTime(), nullable=False),
        sa.Column("stop", UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("n_rows", sa.Integer(), nullable=False),
        sa.Column("n_labelled", sa.Integer(), nullable=False),
        sa.Column("metrics", JsonDocument(), nullable=False),
        sa.Column("drift", JsonDocument(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("checked_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("model", "start", "stop"),
    )
    op.create_index(op.f("ix_monitoring_window_model"), "monitoring_window", ["model"], unique=False)
    op.create_table(
        "pipeline",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("definition", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "pipeline_version",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("package", JsonDocument(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["pipeline"], ["pipeline.name"]),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index(op.f("ix_pipeline_version_pipeline"), "pipeline_version", ["pipeline"], unique=False)
    op.create_table(
        "run",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("pipeline_version", sa.String(), nullable=False),
        sa.Column("parameters", JsonDocument(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("prefect_run", sa.String(), nullable=True),
        sa.Column("under_way", sa.String(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["pipeline"], ["pipeline.name"]),
        sa.ForeignKeyConstraint(["pipeline_version"], ["pipeline_version.digest"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("under_way"),
    )
    op.create_index(op.f("ix_run_pipeline"), "run", ["pipeline"], unique=False)
    op.create_table(
        "model_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("pipeline_version", sa.String(), nullable=False),
        sa.Column("manifest", JsonDocument(), nullable=False),
        sa.Column("metrics", JsonDocument(), nullable=False),
        sa.Column("verdict", JsonDocument(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["pipeline_version"], ["pipeline_version.digest"]),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("model", "number"),
        sa.UniqueConstraint("run_id"),
    )
    op.create_index(op.f("ix_model_version_model"), "model_version", ["model"], unique=False)
    op.create_table(
        "alias",
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("moved_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["model", "number"], ["model_version.model", "model_version.number"]),
        sa.PrimaryKeyConstraint("environment", "model", "alias"),
    )
    op.create_table(
        "alias_move",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("previous", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("moved_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["model", "number"], ["model_version.model", "model_version.number"]),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("environment", "model", "alias", "revision"),
    )
    op.create_table(
        "step_execution",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("components", JsonDocument(), nullable=False),
        sa.Column("output", JsonDocument(), nullable=False),
        sa.Column("output_digest", sa.String(), nullable=False),
        sa.Column("reused_from", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["reused_from"], ["step_execution.id"]),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_step_execution_key"), "step_execution", ["key"], unique=False)
    op.create_index(op.f("ix_step_execution_pipeline"), "step_execution", ["pipeline"], unique=False)
    op.create_index(op.f("ix_step_execution_run_id"), "step_execution", ["run_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_step_execution_run_id"), table_name="step_execution")
    op.drop_index(op.f("ix_step_execution_pipeline"), table_name="step_execution")
    op.drop_index(op.f("ix_step_execution_key"), table_name="step_execution")
    op.drop_table("step_execution")
    op.drop_table("alias_move")
    op.drop_table("alias")
    op.drop_index(op.f("ix_model_version_model"), table_name="model_version")
    op.drop_table("model_version")
    op.drop_index(op.f("ix_run_pipeline"), table_name="run")
    op.drop_table("run")
    op.drop_index(op.f("ix_pipeline_version_pipeline"), table_name="pipeline_version")
    op.drop_table("pipeline_version")
    op.drop_table("pipeline")
    op.drop_index(op.f("ix_monitoring_window_model"), table_name="monitoring_window")
    op.drop_table("monitoring_window")
    op.drop_index(op.f("ix_decision_run_id"), table_name="decision")
    op.drop_index(op.f("ix_decision_pipeline"), table_name="decision")
    op.drop_table("decision")
