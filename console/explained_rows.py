"""`everfit predict --explain`: what each feature contributed to the answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from base.settings import Settings
    from console.output import Output
    from registry.store import Registry
    from tasks.batch.version import LoadedVersion

# A table of more is read by nobody; --json has all of them.
_MOST_SHOWN = 5
_MOST_FEATURES = 10


def explain_rows(
    version: LoadedVersion, registry: Registry, settings: Settings, rows: Sequence[dict[str, Any]], *, output: Output
) -> list[Any]:
    """Explain rows as the service does, show the first of them, and return all as documents.

    No clock is looked at but by sampling, which gets EVERFIT_EXPLAIN_SECONDS for each row.
    """
    from serving.explanations.explainer import Explainer
    from serving.explanations.explanation import NotExplained, write_explanation

    explainer = Explainer.load(registry.artifacts, version.manifest, trusted=settings.trusted_types)
    if explainer.reason is not None:
        output.say(f"explained by sampling: {explainer.reason}")
    found = []
    for row in version.scorer.complete_rows(rows):
        found += explainer.explain([row], is_over=partial(_is_over, time.monotonic() + settings.explain_seconds))
    for at, one in enumerate(found[:_MOST_SHOWN]):
        if isinstance(one, NotExplained):
            output.say(f"row {at} is not explained: {one.reason}")
            continue
        for each in one:
            _show(at, each, output)
    if len(found) > _MOST_SHOWN:
        output.say(f"… and {len(found) - _MOST_SHOWN:,} more; --json has all")
    return [write_explanation(one) for one in found]


def _is_over(deadline: float) -> bool:
    return time.monotonic() > deadline


def _show(at: int, explanation: Any, output: Output) -> None:
    ordered = sorted(explanation.features.items(), key=lambda item: -abs(item[1]))
    rows = [[name, f"{value:+.4f}", *_error(explanation, name)] for name, value in ordered[:_MOST_FEATURES]]
    if rest := ordered[_MOST_FEATURES:]:
        gap = [""] if explanation.n_samples is not None else []
        rows.append([f"{len(rest)} others", f"{sum(value for _, value in rest):+.4f}", *gap])
    of = "" if explanation.of is None else f" of {explanation.of}"
    title = f"row {at}: {explanation.unit}{of} {explanation.margin:.4f} = {explanation.base:.4f} (base)"
    names = ["feature", "contribution"] + (["standard error"] if explanation.n_samples is not None else [])
    output.table(names, rows, title=title)


def _error(explanation: Any, name: str) -> list[str]:
    return [f"{explanation.errors[name]:.4f}"] if explanation.n_samples is not None else []
