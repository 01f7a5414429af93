"""The definition of the extract step: where rows come from, how they are joined, and what is new in them."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from base.section import NOTHING, Section, is_function
from base.times import Duration

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SECRET_PARAMETERS = re.compile(
    r"token|secret|password|passwd|signature|credential|api_?key|access_?key|^key$|^sig$", re.I
)
_WAY_OUT = "credentials come from EVERFIT_CONNECTIONS (databases) or EVERFIT_STORAGE_OPTIONS (files)"


def _columns(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or len(set(value)) < len(value):
        raise ValueError("expected one column or more, each once")
    return value


Columns = Annotated[tuple[str, ...], BeforeValidator(_columns), AfterValidator(_some)]
"""Columns that identify a row together; one may be written without a list."""


class SourceSpec(Section):
    """One place that rows come from: files, a function, or a database's table or query."""

    source: str = Field("", description="A file, folder, glob, URL, or a function of the user's code.")
    connection: str = Field("", description="A name in EVERFIT_CONNECTIONS, which holds the database's URL.")
    query: str = Field("", description="What to ask the database; with 'connection'.")
    table: str = Field("", description="The table (or schema.table) to read; with 'connection'.")

    @model_validator(mode="after")
    def _is_one_place(self) -> SourceSpec:
        _check_place(self)
        return self


class JoinSpec(Section):
    """How a side source is joined to the main one: each of its rows is found by its key."""

    source: str = Field(description="The name of the side source.")
    on: Columns = Field(description="Columns of both that say which row belongs to which.")


class IncrementalSpec(Section):
    """How to tell what is new since the last extraction."""

    watermark: str = Field(description="A column that grows with new rows: a moment, or a whole number.")
    lateness: Duration = Field(NOTHING, ge=NOTHING, description="How long before the watermark is read once more.")
    key: Annotated[tuple[str, ...], BeforeValidator(_columns)] = Field(
        (), description="Columns that identify a row, so that a corrected one supersedes the old one."
    )


class ExtractSpec(Section):
    """Where the rows come from."""

    source: str = Field("", description="A file, folder, glob, URL, or a function of the user's code.")
    connection: str = Field("", description="A name in EVERFIT_CONNECTIONS, which holds the database's URL.")
    query: str = Field("", description="What to ask the database; with 'connection'.")
    table: str = Field("", description="The table (or schema.table) to read; with 'connection'.")
    sources: dict[str, SourceSpec] = Field({}, description="Several sources by name, instead of one.")
    main: str = Field("", description="Which of the sources has a row for each row to learn from.")
    join: tuple[JoinSpec, ...] = Field((), description="How the others are joined to it (left join).")
    incremental: IncrementalSpec | None = None
    label_delay: Duration = Field(NOTHING, ge=NOTHING, description="How long after its time a row's target is known.")

    @model_validator(mode="after")
    def _sources_fit_together(self) -> ExtractSpec:
        if not self.sources:
            if self.main or self.join:
                raise ValueError("'main' and 'join' name sources, but there is no 'sources'; list them by name")
            _check_place(self)
            return self
        if any((self.source, self.connection, self.query, self.table)):
            raise ValueError("give either one source here, or several under 'sources', not both")
        for name in self.sources:
            if _NAME.fullmatch(name) is None:
                raise ValueError(f"source name {name!r}: expected letters, digits, '_' and '-'")
        if self.main not in self.sources:
            found = f"is {self.main!r}" if self.main else "is missing"
            raise ValueError(f"'main' {found}, expected one of {', '.join(self.sources)}")
        self._check_joins()
        return self

    def _check_joins(self) -> None:
        sides = [join.source for join in self.join]
        for side in sides:
            if side not in self.sources or side == self.main:
                raise ValueError(f"'join' names source {side!r}, expected one of {', '.join(self.sides) or 'none'}")
            if sides.count(side) > 1:
                raise ValueError(f"'join' names source {side!r} {sides.count(side)} times, expected once")
        for side in self.sides:
            if side not in sides:
                raise ValueError(f"source {side!r} is neither main nor joined; say so under 'join', or take it out")

    @property
    def main_source(self) -> SourceSpec:
        """The source that has a row for each row to learn from."""
        if self.sources:
            return self.sources[self.main]
        return SourceSpec(source=self.source, connection=self.connection, query=self.query, table=self.table)

    @property
    def sides(self) -> dict[str, SourceSpec]:
        """The sources that are joined to the main one, by name."""
        return {name: source for name, source in self.sources.items() if name != self.main}

    @property
    def uses_code(self) -> bool:
        """Whether a source is a function of the user's code."""
        return any(is_function(source.source) for source in (self.main_source, *self.sides.values()))


def holds_credentials(address: str) -> bool:
    """Tell whether an address carries a password or a signature.

    Examples
    --------
    >>> holds_credentials("postgresql://me:secret@db/sales"), holds_credentials("https://x.org/a.csv?sig=1a2b")
    (True, True)
    >>> holds_credentials("s3://bucket/rows.parquet"), holds_credentials("data/a@b.csv")
    (False, False)
    """
    if "://" not in address:
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return "@" in address
    if "@" in parts.netloc:
        return True
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    return any(_SECRET_PARAMETERS.search(name) for name in names)


def _check_place(spec: SourceSpec | ExtractSpec) -> None:
    # None of these messages may say what was found: it may be a password, and messages reach logs.
    if any(holds_credentials(text) for text in (spec.source, spec.connection, spec.table)):
        raise ValueError(f"this holds a password or a signature, which a definition must not; {_WAY_OUT}")
    if "://" in spec.connection:
        raise ValueError(f"'connection' is a URL, expected a name in EVERFIT_CONNECTIONS; {_WAY_OUT}")
    if spec.source and spec.connection:
        raise ValueError("give either 'source' or 'connection', not both")
    if spec.connection and bool(spec.query) == bool(spec.table):
        raise ValueError("'connection' needs one of 'query' and 'table'")
    if not spec.connection and (spec.query or spec.table):
        raise ValueError("'query' and 'table' need 'connection', a name in EVERFIT_CONNECTIONS")
    if not spec.source and not spec.connection:
        raise ValueError("expected a source, such as 'source: data.parquet', or 'connection' and 'query'")
