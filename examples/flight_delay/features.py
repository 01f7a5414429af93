"""Flights that left New York in 2013: as they were scheduled, and what a schedule tells beside its columns."""

import pandas as pd
from records import data_folder


def load_flights() -> pd.DataFrame:
    """Flights as they were scheduled, and whether they arrived 15 minutes late; nothing that a later moment told.

    Flights that were cancelled or diverted never arrived: they are neither late nor on time. dep_time, dep_delay,
    arr_time and air_time would tell the answer; the weather and the plane come from the feature store.
    """
    columns = ["carrier", "tailnum", "origin", "dest", "distance", "minute", "sched_arr_time", "time_hour", "arr_delay"]
    flights = pd.read_csv(data_folder() / "flights.csv.zip", usecols=columns).dropna(subset="arr_delay")
    flights["departure"] = pd.to_datetime(flights["time_hour"], utc=True) + pd.to_timedelta(flights["minute"], unit="m")
    flights["late"] = flights["arr_delay"] >= 15
    return flights.drop(columns=["minute", "time_hour", "arr_delay"])


def add_schedule(flights: pd.DataFrame) -> pd.DataFrame:
    """Add the weekday and the minute of the day of the scheduled departure, by New York's clocks."""
    local = flights["departure"].dt.tz_convert("America/New_York")
    return flights.assign(weekday=local.dt.weekday, departure_minute=local.dt.hour * 60 + local.dt.minute)
