"""The definition of a joined feature view: which one, by which keys, and under which names."""

from __future__ import annotations

from pydantic import Field

from base.section import Section


class ViewSpec(Section):
    """A feature view whose values are joined to the rows, as of each row's time."""

    view: str
    on: dict[str, str] = Field({}, description="Which column holds which key of the view; default: of the same name.")
    features: tuple[str, ...] = Field((), description="Which features of the view; default: all.")
    prefix: str = Field("", description="What their names begin with in the rows.")
