"""What a row's explanation says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from serving.explanations.trees import Unit

Method = Literal["linear", "tree", "sampling"]


@dataclass(frozen=True)
class Explanation:
    """How a row's margin came about: ``base`` and the contributions add up to ``margin``.

    ``of`` is the class whose margin it is, None for a value. ``columns`` are the contributions of the request's
    columns, where it is known what the features are made of; a feature that is made of several counts for them
    together, their names joined by "+". ``errors`` are standard errors where the contributions are estimated, from
    ``n_samples`` permutations.
    """

    method: Method
    unit: Unit
    of: Any
    base: float
    margin: float
    features: dict[str, float]
    columns: dict[str, float]
    errors: dict[str, float] = field(default_factory=dict)
    n_samples: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The explanation as the service gives it."""
        document: dict[str, Any] = {"method": self.method, "unit": self.unit}
        if self.of is not None:
            document["class"] = self.of
        document |= {"base": self.base, "margin": self.margin, "features": self.features, "columns": self.columns}
        if self.n_samples is not None:
            document |= {"standard_errors": self.errors, "samples": self.n_samples}
        return document


@dataclass(frozen=True)
class NotExplained:
    """Why a row has no explanation."""

    reason: str

    def as_json(self) -> dict[str, Any]:
        """The reason as the service gives it."""
        return {"not_explained": self.reason}


RowExplanation = list[Explanation] | NotExplained
"""A row's explanations: one for each class that was asked for."""


def write_explanation(found: RowExplanation) -> Any:
    """Write what a row gets: one document, or with several classes a list of them."""
    if isinstance(found, NotExplained):
        return found.as_json()
    return found[0].as_json() if len(found) == 1 else [one.as_json() for one in found]
