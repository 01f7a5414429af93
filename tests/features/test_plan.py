"""The law against training-serving skew, and what a feature function may not do."""

from __future__ import annotations

import json
import textwrap
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import settings as cases
from hypothesis import strategies as st

from base.contract import ColumnRule, ColumnType, DataContract
from base.errors import UserCodeError
from base.user_code import UserCode
from features.columns import FeatureRefused, as_categories
from features.feature_plan import FeaturePlan
from features.plan import (
    apply_functions,
    build_features,
    frame_from_rows,
    frame_from_table,
    rows_from_frame,
    select_features,
)

_INPUTS: dict[str, ColumnType] = {"n": "number", "i": "integer", "t": "text", "b": "boolean", "m": "time"}
_ARROW = {
    "n": pa.float64(),
    "i": pa.int64(),
    "t": pa.string(),
    "b": pa.bool_(),
    "m": pa.timestamp("us", "UTC"),
}
_PLAIN = FeaturePlan(inputs=_INPUTS, numeric=("n", "i"), categorical=("t", "b"))
# Everything as a category, and as a quantity what can be one.
_EVERYTHING = FeaturePlan(
    inputs=_INPUTS,
    functions=("features:add",),
    numeric=("n", "i", "b", "m", "half", "hour", "length", "late"),
    categorical=("t", "half_text", "i_text", "month", "is_night", "mixed", "n_text"),
)
_FEATURES = UserCode(
    {
        "features.py": textwrap.dedent(
            """
            import pandas as pd

            def add(frame):
                frame["half"] = frame["n"] / 2
                frame["half_text"] = frame["half"]
                frame["i_text"] = frame["i"]
                frame["n_text"] = frame["n"].astype(str)
                frame["hour"] = frame["m"].dt.hour
                frame["month"] = frame["m"].dt.month_name()
                frame["is_night"] = frame["hour"].lt(6) & frame["b"]
                frame["length"] = frame["t"].str.len()
                frame["late"] = frame["m"] - pd.Timestamp("2013-01-01", tz="UTC")
                rows = zip(frame["t"], frame["b"], frame["n"])
                frame["mixed"] = [t if b is pd.NA else b if b else n for t, b, n in rows]
                frame.loc[frame["n"] > 1e6, "n"] = 0
                return frame
            """
        ).encode()
    }
)

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "n": st.floats(allow_nan=False, allow_infinity=False) | st.floats(width=32, allow_nan=False, allow_infinity=False),
    "i": st.integers(-(2**53), 2**53),
    "t": st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["nan", "None", "", "1", "1.0"]),
    "b": st.booleans(),
    "m": st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
}
_ROWS = st.lists(st.fixed_dictionaries({name: st.none() | values for name, values in _VALUES.items()}), max_size=12)


def _as_stored(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as training finds them: Parquet's types."""
    return pa.table({name: pa.array([row.get(name) for row in rows], kind) for name, kind in _ARROW.items()})


def _as_sent(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as a client sends them: through JSON, moments as text, whole numbers as either kind."""
    sent: list[dict[str, Any]] = json.loads(json.dumps(rows, default=lambda moment: moment.isoformat()))
    return sent


def _assert_equal(served: pd.DataFrame, trained: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(served, trained, check_exact=True)
    # assert_frame_equal takes None for NaN; an estimator's categories do not.
    for name in trained:
        assert list(map(repr, served[name])) == list(map(repr, trained[name]))


@pytest.mark.slow
@cases(max_examples=150)
@given(rows=_ROWS)
@example(rows=[{"n": 9007199254740991.0, "i": 9007199254740991}, {"n": 9007199254740992.0, "i": 9007199254740992}])
@example(rows=[{"n": 0.1 + 0.2, "i": -0, "t": "nan", "b": True}, {"n": -0.0, "t": None, "b": None}])
@pytest.mark.parametrize("plan", [_PLAIN, _EVERYTHING], ids=["plain", "everything"])
def test_rows_as_served_give_the_features_that_training_saw(plan: FeaturePlan, rows: list[dict[str, Any]]) -> None:
    trained = build_features(frame_from_table(_as_stored(rows), _INPUTS), plan, _FEATURES)
    served = build_features(frame_from_rows(_as_sent(rows), _INPUTS), plan, _FEATURES)

    _assert_equal(served, trained)


@pytest.mark.slow
@cases(max_examples=100)
@given(rows=_ROWS.filter(len), data=st.data())
def test_a_row_alone_gives_the_features_that_it_gives_among_others(
    rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(rows) - 1))

    among = build_features(frame_from_rows(_as_sent(rows), _INPUTS), _EVERYTHING, _FEATURES)
    alone = build_features(frame_from_rows(_as_sent(rows[index : index + 1]), _INPUTS), _EVERYTHING, _FEATURES)
    _assert_equal(alone, among.iloc[index : index + 1].reset_index(drop=True))


@cases(max_examples=100)
@given(rows=_ROWS)
def test_rows_written_from_a_frame_pass_the_contract_and_read_back_equal(rows: list[dict[str, Any]]) -> None:
    contract = DataContract(columns={name: ColumnRule(type=kind) for name, kind in _INPUTS.items()})
    frame = frame_from_table(_as_stored(rows), _INPUTS)
    written = json.loads(json.dumps(rows_from_frame(frame, _INPUTS), allow_nan=False))

    assert contract.find_faults(written) == []
    pd.testing.assert_frame_equal(frame_from_rows(written, _INPUTS), frame, check_exact=True)


@cases(max_examples=100)
@given(
    moment=st.datetimes(timezones=st.none() | st.sampled_from([UTC, timezone(timedelta(hours=-7))])),
    style=st.sampled_from(["T", " "]),
)
def test_every_moment_that_the_contract_lets_pass_is_read(moment: datetime, style: str) -> None:
    row = {"m": moment.isoformat(style)}

    if not DataContract(columns={"m": ColumnRule(type="time")}).find_faults([row]):
        expected = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        assert frame_from_rows([row], {"m": "time"})["m"].tolist() == [expected]


def test_an_input_that_the_stored_rows_lack_is_missing() -> None:
    frame = frame_from_table(pa.table({"n": [1.0]}), _INPUTS)

    pd.testing.assert_frame_equal(frame, frame_from_rows([{"n": 1}], _INPUTS))


@pytest.mark.parametrize(
    ("stored", "kind", "sent"),
    [
        (pa.array([1, None, 3], pa.int8()), "integer", [1, None, 3]),
        (pa.array([1.5, None], pa.float32()), "number", [1.5, None]),
        (pa.array([2**60, 1], pa.int64()), "number", [float(2**60), 1.0]),
        (pa.array(["a", None, "a"]).dictionary_encode(), "text", ["a", None, "a"]),
        (pa.array([1, None], pa.timestamp("ns", "UTC")), "time", ["1970-01-01T00:00:00", None]),
        (pa.array([datetime(2013, 1, 1, tzinfo=UTC)], pa.timestamp("s")), "time", ["2013-01-01"]),
        (pa.array([None, None], pa.null()), "boolean", [None, None]),
    ],
)
def test_however_a_column_was_stored_it_is_typed_as_served(stored: pa.Array, kind: ColumnType, sent: list[Any]) -> None:
    trained = frame_from_table(pa.table({"x": stored}), {"x": kind})

    pd.testing.assert_frame_equal(trained, frame_from_rows([{"x": value} for value in sent], {"x": kind}))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([9.0, None, 10.5]), ["9", None, "10.5"]),
        (pd.Series([2**53 - 1, 2**53]), ["9007199254740991", "9007199254740992"]),
        (pd.Series([0.1 + 0.2, -0.0]), ["0.30000000000000004", "0"]),
        (pd.Series([True, 1, 1.0, "1", None, float("nan")], dtype=object), ["True", "1", "1", "1", None, None]),
        (pd.Series([True, None], dtype="boolean"), ["True", None]),
        (pd.Series([True, False]), ["True", "False"]),
        (pd.Series(["a", None, "nan"]), ["a", None, "nan"]),
        (pd.Series(["a", None], dtype="string"), ["a", None]),
        (pd.Series(["b", None, "a"], dtype="category"), ["b", None, "a"]),
        (pd.Series([9, None], dtype="Int64"), ["9", None]),
        (pd.Series([[1], None], dtype=object), ["[1]", None]),
        (pd.Series([], dtype=object), []),
    ],
)
def test_a_category_is_text_or_missing(column: pd.Series[Any], expected: list[str | None]) -> None:
    found = as_categories(column)

    assert [value if isinstance(value, str) else None for value in found] == expected
    assert found.dtype == object
    assert {type(value) for value in found} <= {str, float}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([1e39, -np.inf, 1.5]), [None, None, 1.5]),
        (pd.Series([True, None], dtype="boolean"), [1.0, None]),
        (pd.Series([True, None, "12", 3], dtype=object), [1.0, None, 12.0, 3.0]),
        (pd.Series([7, None], dtype="Int64"), [7.0, None]),
        (pd.Series(["5", None], dtype="category"), [5.0, None]),
        (pd.Series([pd.Timestamp("1970-01-02", tz="UTC"), pd.NaT]), [86400.0, None]),
        (pd.Series([pd.Timestamp("1970-01-02"), pd.NaT]).astype("datetime64[ms]"), [86400.0, None]),
        (pd.Series(pd.to_timedelta([90, None], unit="s")), [90.0, None]),
    ],
)
def test_a_quantity_is_float32_or_missing(column: pd.Series[Any], expected: list[float | None]) -> None:
    plan = FeaturePlan(inputs={}, numeric=("x",))

    found = select_features(pd.DataFrame({"x": column}), plan)["x"]
    assert found.dtype == np.float32
    assert [None if np.isnan(value) else value for value in found] == expected


def test_a_quantity_that_holds_words_is_refused_by_name() -> None:
    frame = pd.DataFrame({"age": ["12", "old", None]})

    with pytest.raises(FeatureRefused, match="'age' is a quantity, but 1 of its values are no numbers, such as 'old'"):
        select_features(frame, FeaturePlan(inputs={}, numeric=("age",)))


def test_a_feature_that_nothing_makes_is_refused_by_name() -> None:
    with pytest.raises(FeatureRefused, match=r"'hours' is neither an input nor made .*; did you mean 'hour'\?"):
        select_features(pd.DataFrame({"hour": [1]}), FeaturePlan(inputs={}, numeric=("hours",)))


def _code(body: str) -> UserCode:
    return UserCode({"features.py": f"import pandas as pd\ndef add(frame):\n    {body}\n".encode()})


_FRAME = pd.DataFrame({"age": [3.0, 1.0, 2.0], "name": ["c", "a", "b"]})


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("return frame['height']", r"raised KeyError: 'height' \(features.py, line 3\)"),
        ("raise SystemExit(3)", r"raised SystemExit: 3 \(features.py, line 3\)"),
        ("return None", "returned NoneType; return the DataFrame with the new columns in it"),
        ("return frame['age']", "returned Series; return the DataFrame"),
        ("return frame.head(2)", "returned 2 rows for 3; a feature function adds columns and keeps every row"),
        ("return pd.concat([frame, frame])", "returned 6 rows for 3"),
        ("return frame.sort_values('age')", "changed the index; a feature function keeps the rows and their order"),
        (
            "return frame.sort_values('age', ignore_index=True)",
            r"changed the order of the rows \(see columns \['age', 'name'\]",
        ),
        ("return frame[['name']]", r"lost columns \['age'\]; return all columns that came in"),
        ("return frame.rename(columns={'age': 'years'})", r"lost columns \['age'\]"),
        ("return pd.concat([frame, frame[['age']]], axis=1)", r"returned columns \['age'\] twice"),
    ],
)
def test_a_feature_function_that_breaks_the_rules_is_named(body: str, problem: str) -> None:
    with pytest.raises(UserCodeError, match=rf"user function 'features:add' {problem}"):
        apply_functions(_FRAME, ["features:add"], _code(body))


@pytest.mark.parametrize(
    "body",
    [
        "frame['age'] += 1; return frame",
        "frame.loc[frame['age'] > 1, 'age'] = 0; return frame",
        "frame['age'].to_numpy()[:] = 7; return frame",
        "frame.iloc[0, 1] = 'z'; return frame",
        "frame.drop(columns='age', inplace=True); frame['age'] = 0.0; return frame",
        "frame['age'] = frame['age'].fillna(0).astype('int64'); return frame",
        "return frame.merge(pd.DataFrame({'name': ['a', 'b', 'c'], 'x': [1, 2, 3]}), how='left', on='name')",
    ],
)
def test_a_feature_function_may_write_into_its_frame_and_the_callers_stays(body: str) -> None:
    frame = _FRAME.copy()

    result = apply_functions(frame, ["features:add"], _code(body))
    pd.testing.assert_frame_equal(frame, _FRAME)
    assert len(result) == 3


def test_functions_build_on_one_another() -> None:
    code = UserCode(
        {
            "one.py": b"def add(frame):\n    return frame.assign(x=frame['age'] + 1)\n",
            "two.py": b"def add(frame):\n    return frame.assign(y=frame['x'] * 2)\n",
        }
    )

    assert apply_functions(_FRAME, ["one:add", "two:add"], code)["y"].tolist() == [8.0, 4.0, 6.0]
