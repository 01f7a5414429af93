"""Feature views: what is known about an entity over time, declared once for training and serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from base.contract import ColumnType
from base.extract_spec import SourceSpec
from base.fingerprint import digest_document
from base.references import Rows
from base.section import NOTHING, Section, is_function
from base.times import Duration
from features.entities import Entity


def _named(value: object) -> object:
    """Take a function of the user's own file for its name, ``module:function``."""
    if not callable(value):
        return value
    return f"{str(value.__module__).rpartition('.')[-1]}:{getattr(value, '__name__', '')}"


def _function(value: str) -> str:
    if not is_function(value):
        raise ValueError("expected module:function, such as 'weather:add_wind_chill'")
    return value


class Feature(Section):
    """One column of a view: its type, and what a reader needs to know of it."""

    type: ColumnType
    unit: str = ""
    description: str = ""
    sensitive: bool = Field(False, description="No model may see it; evaluation may be cut by it.")
    personal: Literal["hash", "drop"] | None = Field(None, description="What materialisation makes of it.")

    @property
    def stored_type(self) -> ColumnType:
        """The type of what is stored: a hash is text."""
        return self.type if self.personal is None else "text"


class FeatureView(Section):
    """Features of one entity, each value with the moment since when it was true.

    Examples
    --------
    >>> view = FeatureView(
    ...     name="origin_weather",
    ...     entity=Entity(name="airport", keys=["origin"]),
    ...     source="weather.csv",
    ...     time="time_hour",
    ...     features={"temp": Feature(type="number", unit="degrees Fahrenheit")},
    ...     freshness="3 hours",
    ... )
    >>> view.freshness
    datetime.timedelta(seconds=10800)
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    entity: Entity
    source: Annotated[str, BeforeValidator(_named)] = Field(
        "", description="A file, folder, glob, URL, or a function of the user's code as module:function."
    )
    connection: str = Field("", description="A name in EVERFIT_CONNECTIONS, which holds the database's URL.")
    query: str = Field("", description="What to ask the database; with 'connection'.")
    table: str = Field("", description="The table (or schema.table) to read; with 'connection'.")
    time: str = Field(description="The column that says since when a row's values are true.")
    created: str | None = Field(None, description="The column that says when a row became known, if it came later.")
    features: dict[str, Feature] = Field(min_length=1)
    owner: str = ""
    description: str = ""
    freshness: Duration | None = Field(None, gt=NOTHING, description="How old a value may be; default: any age.")
    lateness: Duration | None = Field(
        None, ge=NOTHING, description="How far behind the newest event one may still arrive; default: any time."
    )
    transformation: Annotated[str, BeforeValidator(_named), AfterValidator(_function)] | None = Field(
        None, description="A function that takes the source's frame and returns the events."
    )

    @model_validator(mode="after")
    def _is_one_place(self) -> FeatureView:
        try:
            _ = self.place
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        return self

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> FeatureView:
        roles = [("a key of the entity", key) for key in self.entity.keys] + [("time", self.time)]
        roles += [] if self.created is None else [("created", self.created)]
        for index, (role, column) in enumerate(roles):
            if column in self.features:
                raise ValueError(f"column {column!r} is {role}, and cannot be a feature as well")
            if other := next((name for name, taken in roles[:index] if taken == column), None):
                raise ValueError(f"column {column!r} is {other} and {role}; expected a column of its own for each")
        return self

    @property
    def place(self) -> SourceSpec:
        """Where its rows come from."""
        return SourceSpec(source=self.source, connection=self.connection, query=self.query, table=self.table)

    @property
    def stored(self) -> dict[str, Feature]:
        """The features that are stored: all but the personal ones that are dropped."""
        return {name: feature for name, feature in self.features.items() if feature.personal != "drop"}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a stored event, in order."""
        created = () if self.created is None else (self.created,)
        return (*self.entity.keys, self.time, *created, *self.stored)

    @property
    def hashed(self) -> tuple[str, ...]:
        """The columns of a stored event that hold hashes of personal values."""
        features = [name for name, feature in self.features.items() if feature.personal == "hash"]
        return (*self.entity.personal, *features)


class JoinedView(BaseModel):
    """A view as a pipeline uses it: what of it comes into which columns, and the events that training saw.

    ``digest`` names the declaration with the code that makes the values: the online store answers with values of
    the same declaration or none. ``rows`` are the offline events at the moment of training. ``sensitive`` are the
    joined columns that evaluation may be cut by, and no model, function or request may see.
    """

    model_config = ConfigDict(frozen=True)

    view: FeatureView
    digest: str
    keys: dict[str, str] = Field(description="Which column of the rows holds which key.")
    columns: dict[str, str] = Field(description="Which column of the rows each feature becomes.")
    rows: Rows
    sensitive: tuple[str, ...] = ()

    @property
    def types(self) -> dict[str, ColumnType]:
        """The type of each joined column."""
        return {column: self.view.features[feature].stored_type for feature, column in self.columns.items()}

    @property
    def values_digest(self) -> str:
        """Name all that the joined values, and what may be made of them, depend on."""
        freshness = None if self.freshness is None else self.freshness.total_seconds()
        return digest_document([self.rows.digest, freshness, self.keys, self.columns, self.types, self.sensitive])

    def without_sensitive(self) -> JoinedView:
        """Return the view as a model may use it."""
        columns = {feature: column for feature, column in self.columns.items() if column not in self.sensitive}
        return self.model_copy(update={"columns": columns, "sensitive": ()})

    @property
    def freshness(self) -> timedelta | None:
        """How old a value may be."""
        return self.view.freshness


def joined_types(views: tuple[JoinedView, ...]) -> Mapping[str, ColumnType]:
    """Name the columns that some views give to a model, with their types."""
    return {column: kind for view in views for column, kind in view.without_sensitive().types.items()}


def usable_views(views: Sequence[JoinedView]) -> tuple[JoinedView, ...]:
    """Return views as a model may use them; one of which nothing is left is left out."""
    usable = [view.without_sensitive() for view in views]
    return tuple(view for view in usable if view.columns)
