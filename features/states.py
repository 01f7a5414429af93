"""What a fitted feature has learnt, as a JSON document: no pickle, so that reading it can run no code."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from base.errors import EverfitError
from base.model_files import dump_model, load_model

_TAG = "__is__"
_PLAIN_KINDS = "biufcmMSU"


class StateRefused(EverfitError):
    """Something that was learnt cannot be written down, or what was written cannot be read."""

    exit_code = 2


def encode_state(value: Any, *, place: str = "state") -> Any:
    """Write a learnt value as JSON: plain values, containers, NumPy, pandas, and scikit-learn's estimators.

    Raises
    ------
    StateRefused
        Naming where a value of another kind lies.

    Examples
    --------
    >>> decode_state(encode_state({"mean": np.float64(1.5), ("a", 1): [None, {2}]}))
    {'mean': np.float64(1.5), ('a', 1): [None, {2}]}
    """
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else _tagged("float", repr(value))
    if type(value) is list:
        return [encode_state(item, place=f"{place}[{index}]") for index, item in enumerate(value)]
    if type(value) in (tuple, set, frozenset):
        items = value if type(value) is tuple else sorted(value, key=repr)
        return _tagged(type(value).__name__, encode_state(list(items), place=place))
    if type(value) is dict:
        if _TAG not in value and all(isinstance(key, str) for key in value):
            return {key: encode_state(item, place=f"{place}.{key}") for key, item in value.items()}
        return _tagged("dict", encode_state([list(pair) for pair in value.items()], place=place))
    if (encoded := _encode_moment(value)) is not None:
        return encoded
    if isinstance(value, np.ndarray):
        return _encode_array(value, place)
    if isinstance(value, np.generic) and value.dtype.kind in _PLAIN_KINDS:
        return _tagged("scalar", _encode_array(np.asarray(value), place))
    if isinstance(value, pd.Series | pd.Index | pd.DataFrame | pd.api.extensions.ExtensionArray):
        return _encode_pandas(value, place)
    if type(value).__module__.startswith("sklearn."):
        return _tagged("estimator", base64.b64encode(dump_model(value)).decode())
    raise StateRefused(
        f"{place} is {_name(value)}, which cannot be stored; keep plain values, NumPy arrays, pandas Series or "
        "frames, or scikit-learn's estimators, or give the class get_state() -> dict and set_state(dict)"
    )


def decode_state(document: Any, *, trusted: Sequence[str] = ()) -> Any:
    """Read what :func:`encode_state` wrote.

    Raises
    ------
    StateRefused, ModelFileRefused
        If the document is no such state, or an estimator in it holds a type that is not on the allow-list.
    """
    if isinstance(document, list):
        return [decode_state(item, trusted=trusted) for item in document]
    if not isinstance(document, dict):
        return document
    if _TAG not in document:
        return {key: decode_state(item, trusted=trusted) for key, item in document.items()}
    kind, held = document[_TAG], document["value"]
    if kind == "array":
        return _decode_array(held, trusted)
    if kind == "estimator":
        return load_model(base64.b64decode(held), trusted=trusted)
    value = decode_state(held, trusted=trusted)
    if kind not in _READERS:
        raise StateRefused(f"a stored state holds {kind!r}, expected one of {', '.join(_READERS)}; train again")
    return _READERS[kind](value)


_READERS: dict[str, Any] = {
    "float": float,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "scalar": lambda array: array[()],
    "timestamp": lambda parts: _timestamp(*parts),
    "timedelta": lambda parts: pd.Timedelta(parts[0], unit=parts[1]),
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "seconds": lambda parts: timedelta(*parts),
    "missing": {"NA": pd.NA, "NaT": pd.NaT}.__getitem__,
    "categorical": lambda held: pd.Categorical.from_codes(held["codes"], held["categories"], ordered=held["ordered"]),
    "extension": lambda held: pd.array(held["values"], dtype=held["dtype"]),
    "series": lambda held: pd.Series(held["values"], index=held["index"], name=held["name"]),
    "multi": lambda held: pd.MultiIndex.from_arrays(held["levels"], names=held["names"]),
    "index": lambda held: pd.Index(held["values"], name=held["name"]),
    "range": lambda held: pd.RangeIndex(held["start"], held["stop"], held["step"], name=held["name"]),
    "frame": lambda held: _frame(held["columns"], held["values"], held["index"]),
}


def _timestamp(count: int, unit: Any, zone: str | None) -> pd.Timestamp:
    moment = pd.Timestamp(count, unit=unit).as_unit(unit)
    return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)


def _frame(columns: pd.Index[Any], values: list[Any], index: pd.Index[Any]) -> pd.DataFrame:
    frame = pd.DataFrame(dict(enumerate(values)), index=index)
    frame.columns = columns
    return frame


def _tagged(kind: str, value: Any) -> dict[str, Any]:
    return {_TAG: kind, "value": value}


def _encode_moment(value: Any) -> dict[str, Any] | None:
    if value is pd.NA or value is pd.NaT:
        return _tagged("missing", str(value) if value is pd.NaT else "NA")
    if isinstance(value, pd.Timestamp):
        return _tagged(
            "timestamp", [int(value.asm8.astype(np.int64)), value.unit, None if value.tz is None else str(value.tz)]
        )
    if isinstance(value, pd.Timedelta):
        return _tagged("timedelta", [int(value.asm8.astype(np.int64)), value.unit])
    if type(value) in (datetime, date):
        return _tagged(type(value).__name__, value.isoformat())
    if type(value) is timedelta:
        return _tagged("seconds", [value.days, value.seconds, value.microseconds])
    return None


def _encode_array(array: np.ndarray[Any, Any], place: str) -> dict[str, Any]:
    held: dict[str, Any] = {"shape": list(array.shape)}
    if array.dtype.kind in _PLAIN_KINDS:
        held |= {"dtype": array.dtype.str, "bytes": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()}
    elif array.dtype == object:
        held["values"] = [encode_state(item, place=f"{place}[{i}]") for i, item in enumerate(array.ravel().tolist())]
    else:
        raise StateRefused(f"{place} is an array of {array.dtype}, which cannot be stored")
    return _tagged("array", held)


def _decode_array(held: dict[str, Any], trusted: Sequence[str]) -> np.ndarray[Any, Any]:
    if "bytes" in held:
        flat = np.frombuffer(base64.b64decode(held["bytes"]), dtype=np.dtype(held["dtype"])).copy()
    else:
        flat = np.empty(len(held["values"]), dtype=object)
        for index, item in enumerate(held["values"]):
            flat[index] = decode_state(item, trusted=trusted)
    return flat.reshape(held["shape"])


def _encode_pandas(value: Any, place: str) -> dict[str, Any]:
    if isinstance(value, pd.DataFrame):
        columns = [_encode_values(value.iloc[:, number].array, place) for number in range(value.shape[1])]
        index, names = (encode_state(each, place=f"{place}'s index") for each in (value.index, value.columns))
        return _tagged("frame", {"columns": names, "values": columns, "index": index})
    if isinstance(value, pd.RangeIndex):
        held = {"start": value.start, "stop": value.stop, "step": value.step, "name": encode_state(value.name)}
        return _tagged("range", held)
    if isinstance(value, pd.MultiIndex):
        levels = [_encode_values(value.get_level_values(number).array, place) for number in range(value.nlevels)]
        return _tagged("multi", {"levels": levels, "names": encode_state(list(value.names))})
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return _encode_values(value, place)
    held = {"values": _encode_values(value.array, place), "name": encode_state(value.name)}
    if isinstance(value, pd.Series):
        return _tagged("series", held | {"index": encode_state(value.index, place=f"{place}'s index")})
    return _tagged("index", held)


def _encode_values(values: Any, place: str) -> dict[str, Any]:
    if type(values) is pd.arrays.NumpyExtensionArray:
        return _encode_array(values.to_numpy(), place)
    if isinstance(values, pd.Categorical):
        held = {"codes": values.codes, "categories": values.categories, "ordered": values.ordered}
        return _tagged("categorical", encode_state(held, place=place))
    held = {"values": encode_state(list(values), place=place), "dtype": str(values.dtype)}
    return _tagged("extension", held)


def _name(value: object) -> str:
    return f"of {type(value).__module__}.{type(value).__qualname__}"
