"""Flights that left New York in 2013: with their weather and planes, and what a schedule tells beside its columns."""

import pandas as pd
from records import load_planes, load_schedule, load_weather


def load_flights() -> pd.DataFrame:
    """Flights with the weather at their scheduled hour and the plane that flew them.

    Only what is known before departure stays; dep_time, dep_delay, arr_time and air_time would tell the answer.
    """
    rows = load_schedule()
    rows["time_hour"] = rows["departure"].dt.floor("h")
    rows = rows.merge(load_weather(), on=["origin", "time_hour"], how="left")
    rows = rows.merge(load_planes(), on="tailnum", how="left")
    rows = rows.drop(columns=["tailnum", "time_hour", "registered"])
    last = ["departure", "late"]
    return rows[[*rows.columns.difference(last, sort=False), *last]]


def add_schedule(flights: pd.DataFrame) -> pd.DataFrame:
    """Add the weekday and the minute of the day of the scheduled departure, by New York's clocks."""
    local = flights["departure"].dt.tz_convert("America/New_York")
    return flights.assign(weekday=local.dt.weekday, departure_minute=local.dt.hour * 60 + local.dt.minute)
