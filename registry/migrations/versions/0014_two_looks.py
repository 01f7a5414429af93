"""Two looks at a window: its traffic as soon as it is over, its labels when they have matured."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from base.database import JsonDocument, UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_LABEL_KINDS = ("label drift", "performance", "missing labels")
_memory = sa.table("alarm_memory", sa.column("model", sa.String()), sa.column("state", JsonDocument()))


def upgrade() -> None:
    with op.batch_alter_table("monitoring_window") as table:
        table.add_column(sa.Column("labels_checked_at", UtcDateTime(), nullable=True))
    with op.batch_alter_table("alarm_memory") as table:
        table.add_column(sa.Column("labels_judged_until", UtcDateTime(), nullable=True))
    # Until now both looks were one.
    op.execute("UPDATE monitoring_window SET labels_checked_at = checked_at")
    op.execute("UPDATE alarm_memory SET labels_judged_until = judged_until")
    _rewrite_states(_part)


def downgrade() -> None:
    _rewrite_states(_join)
    # An older Everfit would never look at their labels, and look at all of them again instead.
    op.execute("DELETE FROM monitoring_window WHERE labels_checked_at IS NULL")
    op.execute("UPDATE alarm_memory SET judged_until = labels_judged_until")
    with op.batch_alter_table("alarm_memory") as table:
        table.drop_column("labels_judged_until")
    with op.batch_alter_table("monitoring_window") as table:
        table.drop_column("labels_checked_at")


def _rewrite_states(rewrite: Any) -> None:
    connection = op.get_bind()
    for model, state in connection.execute(sa.select(_memory.c.model, _memory.c.state)).all():
        connection.execute(sa.update(_memory).where(_memory.c.model == model).values(state=rewrite(state)))


def _part(state: dict[str, Any]) -> dict[str, Any]:
    """Give each look its own: measures of the label are named ``label:…``."""
    if not state:
        return state
    parted: dict[str, Any] = {name: state[name] for name in ("fortunes", "strictness") if name in state}
    for look, is_of_labels in (("traffic", False), ("labels", True)):
        parted[look] = {
            "version": state.get("version"),
            "shown": {
                name: flags
                for name, flags in state.get("shown", {}).items()
                if name.startswith("label:") is is_of_labels
            },
            "open": [each for each in state.get("open", ()) if (each["kind"] in _LABEL_KINDS) is is_of_labels],
        }
    return parted


def _join(state: dict[str, Any]) -> dict[str, Any]:
    if not state:
        return state
    joined: dict[str, Any] = {name: state[name] for name in ("fortunes", "strictness") if name in state}
    looks = [state.get(look) or {} for look in ("traffic", "labels")]
    return joined | {
        "version": looks[0].get("version"),
        "shown": {name: flags for look in looks for name, flags in look.get("shown", {}).items()},
        "open": [each for look in looks for each in look.get("open", ())],
    }
