"""What is learnt is written without pickle and read back equal, or refused by name."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st

from base.model_files import ModelFileRefused
from features.states import StateRefused, decode_state, encode_state

_FRAME = pd.DataFrame(
    {
        "number": [1, 2, 2],
        "text": ["x", None, "x"],
        "kind": pd.Categorical(["u", "v", "u"], ordered=True),
        "flag": pd.array([True, None, False], dtype="boolean"),
        "whole": pd.array([1, None, 3], dtype="Int64"),
        "string": pd.array(["a", None, "b"], dtype="string"),
        "at": pd.to_datetime(pd.Series(["2013-01-01", "2014-01-01", None]), utc=True),
        "naive": pd.to_datetime(pd.Series(["2013-01-01", "2014-01-01", None])),
        "length": pd.to_timedelta([1, 2, None], unit="s"),
    }
)
_KEYS = st.text() | st.integers() | st.none() | st.tuples(st.text(), st.floats(allow_nan=False))
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(UTC)).map(lambda moment: moment.replace(fold=0))
    | st.timedeltas(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


def _through_json(value: Any) -> Any:
    return decode_state(json.loads(json.dumps(encode_state(value), allow_nan=False)))


@cases(max_examples=60)
@given(value=_VALUES)
def test_plain_values_are_read_back_equal(value: Any) -> None:
    assert repr(_through_json(value)) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        _FRAME,
        _FRAME["number"],
        _FRAME.set_index("at")["number"],
        _FRAME.groupby(["number", "kind"], observed=True)["whole"].mean(),
        _FRAME.groupby("kind", observed=True)["number"].mean(),
        _FRAME["naive"].value_counts(),
        _FRAME.describe(),
        pd.Series(dtype="float64"),
    ],
)
def test_pandas_is_read_back_equal(value: Any) -> None:
    compare: Any = pd.testing.assert_frame_equal if isinstance(value, pd.DataFrame) else pd.testing.assert_series_equal
    compare(_through_json(value), value)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0).reshape(2, 3),
        np.array([1, -1], dtype=np.int8),
        np.array(["a", "bc"]),
        np.array([None, "x", 1.5, pd.NA], dtype=object),
        np.array(["2013-01-01", "NaT"], dtype="datetime64[us]"),
        np.empty((0, 2), dtype=np.float32),
    ],
)
def test_arrays_are_read_back_equal(value: Any) -> None:
    found = _through_json(value)

    assert (found.dtype, found.shape, repr(found)) == (value.dtype, value.shape, repr(value))


@pytest.mark.parametrize(
    "value",
    [
        pd.Timestamp("2013-01-01", tz="Europe/Berlin"),
        pd.Timestamp("2013-01-01 00:00:00.000000001"),
        pd.Timedelta("3s"),
        pd.NA,
        pd.NaT,
        np.float32(0.1),
        np.datetime64("2013-01-01", "D"),
        float("-inf"),
        {"__is__": "float"},
        datetime(2013, 1, 1, tzinfo=UTC),
        date(2013, 1, 1),
        timedelta(microseconds=-1),
        2**80,
        {1},
        frozenset({"a"}),
    ],
    ids=repr,
)
def test_single_values_keep_their_type(value: Any) -> None:
    found = _through_json(value)

    assert type(found) is type(value)
    assert repr(found) == repr(value)


def test_an_estimator_goes_through_a_model_file() -> None:
    from sklearn.preprocessing import StandardScaler

    scaler = _through_json({"scaler": StandardScaler().fit(np.arange(6.0).reshape(3, 2))})["scaler"]

    assert scaler.mean_.tolist() == [2.0, 3.0]


def test_an_estimator_that_could_run_code_is_refused() -> None:
    from sklearn.preprocessing import FunctionTransformer

    document = encode_state(FunctionTransformer(print))

    with pytest.raises(ModelFileRefused, match="which may not be loaded"):
        decode_state(document)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (print, r"state is of builtins\.builtin_function_or_method, which cannot be stored"),
        ({"a": [0, object()]}, r"state\.a\[1\] is of builtins\.object"),
        (np.zeros(1, dtype=[("x", float)]), "is an array of"),
    ],
)
def test_anything_else_is_refused_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(StateRefused, match=words):
        encode_state(value)


def test_a_document_of_another_kind_is_refused() -> None:
    with pytest.raises(StateRefused, match=r"holds 'os\.system'"):
        decode_state({"__is__": "os.system", "value": "ls"})
