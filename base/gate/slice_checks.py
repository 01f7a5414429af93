"""No slice may regress: one-sided paired tests in all slices together, held against one level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from base.errors import nearest
from base.gate.paired_comparison import adjust_for_many, probability_of_no_rise
from base.gate_spec import ValidateModelSpec
from base.judged import Check, Evaluation, SliceMetrics

_NAME = "no slice regresses"


def check_slices(
    evaluation: Evaluation, losses: pd.DataFrame, spec: ValidateModelSpec, declared: Sequence[str]
) -> Check:
    """Ask whether the loss rose by more than the tolerance in any slice, as far as the rows can tell.

    In each slice the mean of ``challenger - (1 + tolerance) * champion`` is tested, on one side, over blocks of
    time; of many slices some look worse by chance, so the p-values are adjusted (Holm, or Benjamini and Hochberg).
    A slice that was asked for and not measured fails.
    """
    tolerance = spec.max_slice_regression or 0.0
    indexed = list(enumerate(evaluation.slices))
    wanted = spec.slices or tuple(declared)
    judged = [(index, one) for index, one in indexed if not one.found]
    if missing := [name for name in wanted if not any(_is(name, one) for _, one in judged)]:
        return _failed(_tell_missing(missing[0], evaluation, [one for _, one in judged]))
    chosen = [(index, one) for index, one in judged if not spec.slices or any(_is(name, one) for name in spec.slices)]
    if spec.found_slices:
        chosen += [(index, one) for index, one in indexed if one.found]
    if not chosen:
        if spec.found_slices and not wanted:
            reason = evaluation.missing.get("found slices")
            return _failed(f"no slice was found to judge{': ' + reason if reason else ''}; evaluate must look for them")
        return _failed("a limit is set, but evaluate.slices declares no slice")
    if unmarked := [f"slice_{index}" for index, _ in chosen if f"slice_{index}" not in losses]:
        return _failed(f"the evaluation does not say which rows are in {unmarked[0]!r}")
    challenger, champion = losses["challenger"].to_numpy(), losses["champion"].to_numpy()
    members = [losses[f"slice_{index}"].to_numpy(dtype=bool) for index, _ in chosen]
    gaps = [challenger[rows] - (1 + tolerance) * champion[rows] for rows in members]
    adjusted = adjust_for_many([probability_of_no_rise(gap) for gap in gaps], correction=spec.slice_correction)
    rises = [_rise(challenger[rows], champion[rows]) for rows in members]
    names = [one.name for _, one in chosen]
    guilty = [place for place, value in enumerate(adjusted) if value < 1 - spec.confidence]
    worst = max(guilty or range(len(chosen)), key=lambda place: (-adjusted[place], rises[place]))
    verb = "has" if len(guilty) == 1 else "have"
    evidence = (
        f"{len(guilty)} of {len(chosen)} slices {verb} a loss that rose by more than {tolerance:+.1%}; worst slice "
        f"{names[worst]}: loss {rises[worst]:+.1%} on {int(members[worst].sum()):,} rows, p = {adjusted[worst]:.2g} "
        f"({spec.slice_correction}, {len(chosen)} tests)"
    )
    figures = {f"p: {name}": value for name, value in zip(names, adjusted, strict=True)}
    figures |= {f"rise: {name}": value for name, value in zip(names, rises, strict=True) if np.isfinite(value)}
    return Check(name=_NAME, passed=not guilty, evidence=evidence, figures=figures)


def _is(name: str, one: SliceMetrics) -> bool:
    return name in (one.column, one.name)


def _failed(evidence: str) -> Check:
    return Check(name=_NAME, passed=False, evidence=evidence)


def _tell_missing(name: str, evaluation: Evaluation, judged: Sequence[SliceMetrics]) -> str:
    column = name.partition(" = ")[0]
    keys = (name, column, f"slice {column}")
    reason = next((evaluation.missing[key] for key in keys if key in evaluation.missing), None)
    told = reason or "it has no value with enough rows to judge, or is not in the data"
    there = sorted({one.name for one in judged})
    return f"slice column {column!r}: {told}{nearest(name, there)}; there is {', '.join(there[:10]) or 'no slice'}"


def _rise(own: np.ndarray, other: np.ndarray) -> float:
    before, after = float(other.mean()), float(own.mean())
    if before == 0:
        return 0.0 if after == 0 else float("inf")
    return after / before - 1
