"""Which keys of a definition name columns, and whether the contract lets those be used so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from base.contract import DataContract
from base.errors import nearest
from base.pipeline import PipelineSpec

_FEATURE_KEYS = ("prepare.numeric", "prepare.categorical", "prepare.ordinal", "prepare.one_hot")
_GROUP_KEYS = ("evaluate.slices", "evaluate.fairness")


@dataclass(frozen=True)
class ColumnUse:
    """One place of a definition that names a column."""

    key: str
    place: int | str
    column: str


def list_uses(spec: PipelineSpec) -> Iterator[ColumnUse]:
    """List where a definition names columns of the data, in its order."""
    prepare = spec.prepare
    named: dict[str, Iterable[str]] = {
        "time": (spec.time,) if spec.time else (),
        "target": (spec.target,) if isinstance(spec.target, str) else (),
        "prepare.exclude": prepare.exclude,
        "prepare.split.groups": prepare.split.groups,
        "prepare.numeric": prepare.numeric,
        "prepare.categorical": prepare.categorical,
        "prepare.ordinal": prepare.ordinal,
        "prepare.one_hot": prepare.one_hot,
        "evaluate.slices": spec.evaluate.slices,
        "evaluate.fairness": spec.evaluate.fairness,
        "serve.key": spec.serve.key,
    }
    for key, columns in named.items():
        for index, column in enumerate(columns):
            yield ColumnUse(key, column if key == "prepare.ordinal" else index, column)


def find_misuse(spec: PipelineSpec, contract: DataContract) -> tuple[ColumnUse, str] | None:
    """Find the first column that is named where the contract does not allow it, and say why not.

    Features and slices may be made by the user's code and by feature views; the other columns are the data's own.
    """
    makes_columns = bool(spec.prepare.features or spec.prepare.fitted or spec.prepare.views)
    for use in list_uses(spec):
        rule = contract.columns.get(use.column)
        if rule is None:
            if not (makes_columns and use.key in (*_FEATURE_KEYS, *_GROUP_KEYS)):
                return use, f"which the contract does not have{nearest(use.column, contract.columns)}"
        elif rule.personal == "drop" and use.key != "prepare.exclude":
            return use, "which the contract drops as personal; hash it (personal: hash), or do without it"
        elif rule.personal is not None and use.key in ("time", "target"):
            return use, "which the contract hashes as personal; no model can be made of hashes as its time or target"
        elif use.key == "serve.key" and use.column == spec.target_column:
            return use, "which is what is predicted: no request knows it; name columns that say whom a row is about"
        elif rule.sensitive and use.key in (*_FEATURE_KEYS, "target"):
            return use, "which the contract marks sensitive: no estimator may see it; slices may be cut by it"
    return None
