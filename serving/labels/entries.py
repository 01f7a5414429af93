"""Judge labels one by one: each becomes a label, or faults that say what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from base.errors import Fault, nearest
from base.json_values import show_value
from base.rows.personal import protect_rows
from base.times import as_utc, parse_duration, parse_moment
from registry.manifest import ModelManifest
from serving.labels.key_values import plain_key_value
from serving.labels.label import KeyedLabel, Label, LabelBatch, Value

MOST_FAULTS = 10_000
"""More faults than anybody reads; beyond them, refused labels are only counted."""

FIELDS = ("id", "key", "time", "within", "value", "observed_at")
"""What a label may say."""

_LONGEST_ID = 200
# As in the contract: no measured value and no code of a class is beyond what a double holds exactly, or float32.
_LARGEST_LABEL = 2**53
_MOMENT = "a moment such as '2013-04-01T06:00Z'"
_NOTHING = timedelta(0)


class EntryJudge:
    """Judges labels by the model that they are about.

    A class that the model has never seen is taken, since the world may have got a new one; a value of another
    type than the model's classes, or no number for a regression, is a fault.

    Parameters
    ----------
    now : datetime
        When a label was observed that does not say so.
    within : timedelta
        How much older than its time the prediction of a key may be, where a label does not say so.
    personal_key : bytes, optional
        By which personal values of a key are hashed, as those of the served rows were.
    """

    def __init__(
        self,
        manifest: ModelManifest,
        *,
        now: datetime,
        within: timedelta = _NOTHING,
        personal_key: bytes | None = None,
    ) -> None:
        self._manifest = manifest
        self._now = now
        self._within = within
        self._personal_key = personal_key
        self._kinds = None if manifest.classes is None else {_kind(known) for known in manifest.classes}

    def judge(self, entries: Iterable[Any], *, first: int = 0) -> LabelBatch:
        """Judge labels; *first* is the number of the first one, by which faults name their rows."""
        labels: list[Label] = []
        keyed: list[KeyedLabel] = []
        faults: list[Fault] = []
        n_refused = 0
        for row, entry in enumerate(entries, start=first):
            found = self._judge_one(entry, row)
            if isinstance(found, Label):
                labels.append(found)
            elif isinstance(found, KeyedLabel):
                keyed.append(found)
            else:
                n_refused += 1
                if len(faults) < MOST_FAULTS:
                    faults += found
        return LabelBatch(labels, keyed, faults, n_refused)

    def _judge_one(self, entry: Any, row: int) -> Label | KeyedLabel | list[Fault]:
        if isinstance(entry, Fault):
            return [entry]
        if not isinstance(entry, dict):
            return [Fault(None, show_value(entry), "an object", row=row)]
        faults = [
            Fault(
                show_value(name)[1:-1],
                "an unknown key",
                f"only {', '.join(FIELDS)}{nearest(str(name), FIELDS)}",
                row=row,
            )
            for name in entry
            if name not in FIELDS
        ]
        value = entry.get("value")
        if not self._is_value(value):
            faults.append(Fault("value", _show(entry, "value"), self._expected_value(), row=row))
        is_dated = entry.get("observed_at") is not None
        observed_at = _read_moment(entry, "observed_at", faults, row) if is_dated else self._now
        if "key" not in entry:
            name = entry.get("id")
            if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID or not _is_sound(name):
                faults.append(Fault("id", _show(entry, "id"), "the id of a prediction, a text", row=row))
            faults += [
                Fault(field, _show(entry, field), "a label without it: it belongs to a key", row=row)
                for field in ("time", "within")
                if entry.get(field) is not None
            ]
            return faults or Label(str(name), _as_value(value), observed_at, is_dated)
        if entry.get("id") is not None:
            faults.append(Fault("id", _show(entry, "id"), "either an id or a key", row=row))
        key = self._read_key(entry["key"], faults, row)
        time = _read_moment(entry, "time", faults, row)
        within = self._within
        if entry.get("within") is not None:
            within = _read_within(entry, faults, row)
        return faults or KeyedLabel(key, time, _as_value(value), observed_at, within, is_dated)

    def _read_key(self, key: Any, faults: list[Fault], row: int) -> dict[str, Any]:
        expected = self._manifest.key
        if not expected:
            faults.append(
                Fault("key", show_value(key), "the id of a prediction: the pipeline declares no 'serve.key'", row=row)
            )
            return {}
        if not isinstance(key, dict):
            faults.append(Fault("key", show_value(key), f"an object with {', '.join(expected)}", row=row))
            return {}
        n_faults = len(faults)
        for name in key:
            if name not in expected:
                faults.append(Fault("key", f"the column {show_value(name)}", f"only {', '.join(expected)}", row=row))
        columns = self._manifest.contract.columns
        for name in expected:
            if key.get(name) is None:
                faults.append(Fault(name, "nothing", columns[name].type, row=row))
            elif (misfit := columns[name].find_misfit(key[name])) is not None:
                faults.append(Fault(name, *misfit, row=row))
        if len(faults) > n_faults:
            return {}
        if any(columns[name].personal is not None for name in expected):
            if self._personal_key is None:
                faults.append(Fault("key", "a personal value", "the installation's key, to hash it by", row=row))
                return {}
            return dict(protect_rows([key], self._manifest.contract, self._personal_key)[0])
        return {
            name: plain_key_value(parse_moment(value) if columns[name].type == "time" else value)
            for name, value in key.items()
        }

    def _is_value(self, value: object) -> bool:
        if isinstance(value, int | float) and not (abs(value) <= _LARGEST_LABEL and math.isfinite(value)):
            return False
        if isinstance(value, str) and not _is_sound(value):
            return False
        kind = _kind(value)
        return kind == "number" if self._kinds is None else kind in self._kinds

    def _expected_value(self) -> str:
        if self._manifest.classes is None:
            return "a number"
        return f"a class such as {', '.join(repr(known) for known in self._manifest.classes[:5])}"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _as_value(value: Any) -> Value:
    judged: Value = value
    return judged


def _is_sound(text: str) -> bool:
    """Tell whether a text holds whole characters only: JSON can escape half of one, no file can hold it."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _read_moment(entry: dict[str, Any], field: str, faults: list[Fault], row: int) -> datetime:
    found = entry.get(field)
    try:
        if isinstance(found, str | datetime):
            return as_utc(parse_moment(found))
    except (ValueError, OverflowError):
        pass
    faults.append(Fault(field, _show(entry, field), _MOMENT, row=row))
    return datetime.min.replace(tzinfo=UTC)


def _read_within(entry: dict[str, Any], faults: list[Fault], row: int) -> timedelta:
    try:
        found = entry["within"] if isinstance(entry["within"], timedelta) else parse_duration(entry["within"])
    except ValueError:
        found = None
    if isinstance(found, timedelta) and found >= _NOTHING:
        return found
    faults.append(Fault("within", _show(entry, "within"), "a duration such as '2 hours'", row=row))
    return _NOTHING


def _show(entry: dict[str, Any], field: str) -> str:
    return show_value(entry[field]) if field in entry else "nothing"
