"""Claims about the migration to two looks: what was judged before stays judged, and alarms forget nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData, Table, insert, select
from sqlmodel import select as select_rows

from base.database import JsonDocument, UtcDateTime
from monitoring.alarms.alarm import AlarmState
from registry.store import MIGRATIONS, Registry
from registry.tables import AlarmMemoryRow, WindowRow

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
_OPEN: list[dict[str, Any]] = [
    {"kind": kind, "columns": [], "since": NOON.isoformat(), "last_seen": NOON.isoformat(), "n_clear": 0}
    for kind in ("drift", "performance")
]
_BEFORE = {
    "version": 3,
    "shown": {"values:fare": [True], "label:values:late": [True]},
    "open": _OPEN,
    "fortunes": [2.0],
    "strictness": 1.5,
}


def _migrate(registry: Registry, direction: Callable[[Config, str], None], revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with registry.database.engine.begin() as connection:
        config.attributes["connection"] = connection
        direction(config, revision)


def _open_table(connection: Connection, name: str, **types: Any) -> Table:
    table = Table(name, MetaData(), autoload_with=connection)
    for column, kind in types.items():
        table.c[column].type = kind
    return table


def test_windows_of_before_are_wholly_looked_at_and_alarms_keep_what_they_remember(any_registry: Registry) -> None:
    database, moment = any_registry.database, UtcDateTime()
    _migrate(any_registry, command.downgrade, "0013")
    with database.engine.begin() as connection:
        memory = _open_table(connection, "alarm_memory", state=JsonDocument(), judged_until=moment, changed_at=moment)
        kept = {"model": "churn", "revision": 7, "state": _BEFORE, "judged_until": NOON, "changed_at": NOON}
        connection.execute(insert(memory).values(**kept))
        documents = dict.fromkeys(("metrics", "drift"), JsonDocument())
        moments = dict.fromkeys(("start", "stop", "checked_at"), moment)
        window = _open_table(connection, "monitoring_window", **documents, **moments)
        told = {"start": NOON - timedelta(days=1), "stop": NOON, "checked_at": NOON, "outcome": "", "reason": ""}
        connection.execute(insert(window).values(model="churn", n_rows=1, n_labelled=1, metrics={}, drift={}, **told))

    _migrate(any_registry, command.upgrade, "0014")

    with database.read() as session:
        row, found = session.exec(select_rows(WindowRow)).one(), session.get_one(AlarmMemoryRow, "churn")
        assert row.labels_checked_at == row.checked_at == NOON
        assert found.labels_judged_until == NOON
        state = AlarmState.model_validate(found.state)
    assert (state.fortunes, state.strictness) == ((2.0,), 1.5)
    assert (state.traffic.version, state.traffic.shown) == (3, {"values:fare": (True,)})
    assert (state.labels.version, state.labels.shown) == (3, {"label:values:late": (True,)})
    assert [each.kind for each in state.traffic.open] == ["drift"]
    assert [each.kind for each in state.labels.open] == ["performance"]

    _migrate(any_registry, command.downgrade, "0013")
    with database.engine.begin() as connection:
        memory = _open_table(connection, "alarm_memory", state=JsonDocument())
        assert connection.execute(select(memory.c.state)).scalar_one() == _BEFORE
