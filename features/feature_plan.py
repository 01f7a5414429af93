"""What a model's features are made of, as its manifest keeps it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from base.artifacts import Artifact
from base.contract import ColumnType
from features.views import JoinedView


class FeaturePlan(BaseModel):
    """Which raw columns come in, which user functions and fitted classes add to them, and which features go out.

    ``states`` holds what the fitted classes have learnt; ``ordinal`` the ranked categories among the numeric features.
    ``inputs`` are the columns that a request sends and those that ``views`` add to it.

    Numeric features become float32: the compiled form of a model computes in float32, and one that was
    fitted on float32 values agrees with it exactly.
    """

    model_config = ConfigDict(frozen=True)

    inputs: dict[str, ColumnType]
    functions: tuple[str, ...] = ()
    states: Artifact | None = None
    ordinal: dict[str, tuple[str, ...]] = {}
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    views: tuple[JoinedView, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that the estimator sees, in order."""
        return (*self.numeric, *self.categorical)
