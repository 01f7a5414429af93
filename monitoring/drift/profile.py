"""The reference profile: what a check of a window needs to know of the rows that a version was judged on."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from base.artifacts import Artifact, ArtifactStore
from monitoring.drift.distributions import Steps, take_steps
from monitoring.drift.findings import Kind, Role
from monitoring.drift.reading import count_levels, read_numbers, text_lengths
from monitoring.drift.unit_changes import UnitFacts, take_unit_facts
from registry.manifest import ModelManifest
from serving.loading.stored_rows import PREDICTION

TARGET = "__target__"
# The classifier that tells window from reference learns from as many; its AUC is known to two hundredths then.
_SAMPLE_ROWS = 1_000
_MOST_LEVELS = 2_000
# A text that hardly ever repeats itself, such as a name or a remark, has no categories.
_TEXT_LEVELS, _TEXT_SHARE = 100, 0.5
_LONGEST_SAMPLED = 200

Cell = float | str | None


class Levels(BaseModel):
    """How many rows hold each category; where there are very many, the rarest ones are folded into one."""

    model_config = ConfigDict(frozen=True)

    counts: dict[str, int]
    n_folded_levels: int = 0
    n_folded_rows: int = 0
    n_once: int = 0


class ReferenceColumn(BaseModel):
    """One column: the steps of its numbers (of a text, those of its length), or the counts of its categories.

    ``dtype`` is in which precision its numbers are compared, since 0.1 is another number in another one.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Kind
    role: Role = "feature"
    n_rows: int
    n_missing: int
    dtype: Literal["float32", "float64"] = "float64"
    steps: Steps | None = None
    levels: Levels | None = None
    mean: float | None = None
    deviation: float | None = None
    is_whole: bool = False
    unit: UnitFacts | None = None

    @property
    def n_present(self) -> int:
        """How many rows have a value."""
        return self.n_rows - self.n_missing


class ReferenceProfile(BaseModel):
    """All columns of the reference, and a sample of its rows; below a megabyte, however many rows it was made of.

    ``sample`` holds the features (and the prediction, as ``__prediction__``) of rows at even distances in time.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    n_rows: int
    columns: tuple[ReferenceColumn, ...]
    sample: dict[str, tuple[Cell, ...]]

    def sample_frame(self) -> pd.DataFrame:
        """The sampled rows as a frame: numbers as float64, categories as text."""
        kinds = {column.name: column.kind for column in self.columns if column.role == "feature"}
        columns = {
            name: pd.Series(values, dtype="float64" if kinds.get(name, "numeric") in ("numeric", "time") else object)
            for name, values in self.sample.items()
        }
        return pd.DataFrame(columns)


def make_profile(
    rows: pd.DataFrame,
    *,
    numeric: tuple[str, ...] = (),
    categorical: tuple[str, ...] = (),
    times: tuple[str, ...] = (),
    target: str = "",
    classes: tuple[Any, ...] | None = None,
) -> ReferenceProfile:
    """Profile reference rows, which stand in the order of time.

    Parameters
    ----------
    rows : DataFrame of shape (n_rows, …)
        The features, and where there are any ``__prediction__`` and ``__target__`` (the class's code, or the value).
    times : tuple of str
        Those of *numeric* that are moments, in seconds.
    target : str
        What the label is called.

    Examples
    --------
    >>> rows = pd.DataFrame({"age": [20.0, 30.0, None], "town": ["Aix", "Ulm", "Ulm"]})
    >>> profile = make_profile(rows, numeric=("age",), categorical=("town",))
    >>> profile.columns[0].n_missing, profile.columns[1].levels.counts
    (1, {'Ulm': 2, 'Aix': 1})
    """
    columns = [_profile_number(rows[name], name, "time" if name in times else "numeric") for name in numeric]
    columns += [_profile_levels(rows[name], name) for name in categorical]
    if PREDICTION in rows:
        columns.append(_profile_number(rows[PREDICTION], "prediction", "numeric", role="prediction"))
    if TARGET in rows and classes is None:
        columns.append(_profile_number(rows[TARGET], target or "label", "numeric", role="label"))
    elif TARGET in rows and classes is not None:
        codes = rows[TARGET].to_numpy()
        names = pd.Series([classes[int(code)] for code in codes], dtype=object)
        columns.append(_profile_levels(names, target or "label", role="label"))
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(_SAMPLE_ROWS, len(rows))).astype(int))
    kept = [*numeric, *categorical, *([PREDICTION] if PREDICTION in rows else [])]
    sample = {name: _cells(rows[name].iloc[chosen], is_text=name in categorical) for name in kept}
    return ReferenceProfile(n_rows=len(rows), columns=tuple(columns), sample=sample)


def profile_reference(manifest: ModelManifest, artifacts: ArtifactStore) -> ReferenceProfile:
    """Read a version's profile; of a version that has none, make it from the stored reference.

    Raises
    ------
    ArtifactMissing, ArtifactCorrupt
    """
    if manifest.profile is not None:
        return ReferenceProfile.model_validate_json(artifacts.read_bytes(manifest.profile))
    plan = manifest.plan
    rows: Any = pq.read_table(artifacts.local_path(manifest.reference)).to_pandas()
    return make_profile(
        rows,
        numeric=plan.numeric,
        categorical=plan.categorical,
        times=tuple(name for name in plan.numeric if plan.inputs.get(name) == "time"),
        target=manifest.target,
        classes=manifest.classes,
    )


def store_profile(manifest: ModelManifest, artifacts: ArtifactStore) -> Artifact:
    """Make the profile of a version's reference, and store it."""
    profile = profile_reference(manifest.model_copy(update={"profile": None}), artifacts)
    return artifacts.put_bytes(profile.model_dump_json(exclude_defaults=True).encode(), suffix=".json")


def _profile_number(column: pd.Series[Any], name: str, kind: Kind, *, role: Role = "feature") -> ReferenceColumn:
    dtype: Literal["float32", "float64"] = "float32" if column.dtype == np.float32 else "float64"
    numbers = read_numbers(column, dtype)
    facts: dict[str, Any] = {}
    if len(numbers.ordered):
        wide = numbers.ordered.astype(np.float64)
        with np.errstate(over="ignore"):
            mean, deviation = float(wide.mean()), float(wide.std())
        facts = {
            "steps": take_steps(numbers.ordered),
            "mean": mean if np.isfinite(mean) else None,
            "deviation": deviation if np.isfinite(deviation) else None,
            "is_whole": bool((wide == np.floor(wide)).all()),
            "unit": take_unit_facts(numbers.in_order),
        }
    return ReferenceColumn(
        name=name, kind=kind, role=role, n_rows=len(column), n_missing=numbers.n_missing, dtype=dtype, **facts
    )


def _profile_levels(column: pd.Series[Any], name: str, *, role: Role = "feature") -> ReferenceColumn:
    found = count_levels(column)
    counts = found.counts
    n_present = found.n_rows - found.n_missing
    shared = {"name": name, "role": role, "n_rows": found.n_rows, "n_missing": found.n_missing}
    if role == "feature" and len(counts) > max(_TEXT_LEVELS, _TEXT_SHARE * n_present):
        return ReferenceColumn(kind="text", steps=take_steps(text_lengths(column)), **shared)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    folded = ordered[_MOST_LEVELS:]
    levels = Levels(
        counts=dict(ordered[:_MOST_LEVELS]),
        n_folded_levels=len(folded),
        n_folded_rows=sum(n for _, n in folded),
        n_once=sum(n == 1 for n in counts.values()),
    )
    return ReferenceColumn(kind="categorical", levels=levels if counts else None, **shared)


def _cells(column: pd.Series[Any], *, is_text: bool) -> tuple[Cell, ...]:
    if is_text:
        return tuple(None if pd.isna(value) else str(value)[:_LONGEST_SAMPLED] for value in column)
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return tuple(float(value) if np.isfinite(value) else None for value in values)
