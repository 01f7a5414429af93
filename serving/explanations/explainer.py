"""One version's explainer: exact where its model is linear or made of trees, by sampling otherwise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from base.artifacts import ArtifactStore
from base.model_files import load_model
from base.user_code import UserCode
from features.fitted import FittedFeature, load_states
from features.plan import build_features, frame_from_rows, restore_missing
from registry.manifest import ModelManifest
from serving.explanations.explanation import Explanation, Method, NotExplained, RowExplanation
from serving.explanations.linear import LinearShapley, is_linear
from serving.explanations.margins import Margins
from serving.explanations.owners import find_owners
from serving.explanations.request_columns import find_sources
from serving.explanations.sampling import MOST_SAMPLES, explain_by_sampling
from serving.explanations.tree_shapley import TreeShapley
from serving.explanations.trees import Floats, NotReadable, Unit, is_tree_ensemble, read_ensemble
from serving.scoring.examples import read_examples

_log = logging.getLogger(__name__)

# Between two looks at the clock.
_ROWS_AT_ONCE = 64
_MOST_REFERENCE_ROWS = 1_000
# On which exact contributions are held against the model's own margin.
_ROWS_PROVEN = 16
# How far contributions may be from adding up to what the model says: the last bits of long sums.
_ADDITIVITY = 1e-6
# How far what is explained may be from what was answered: the compiled form's tolerance.
_AGREEMENT = 1e-3

IsOver = Callable[[], bool]


class Shapley(Protocol):
    """What computes contributions exactly."""

    unit: Unit
    base: Floats
    n_outputs: int

    def explain(self, columns: Floats) -> Floats:
        """Give contributions of shape (n_rows, n_players, n_outputs)."""


class Explainer:
    """Explains the rows of one version; made with :meth:`load`, which takes a second or more.

    ``method`` is how, and ``reason`` why not exactly, where it is by sampling.
    """

    def __init__(
        self,
        manifest: ModelManifest,
        model: Any,
        code: UserCode,
        fitted: Sequence[FittedFeature],
        *,
        reference: pd.DataFrame,
        examples: Sequence[Mapping[str, Any]],
    ) -> None:
        self.manifest = manifest
        self.features = list(manifest.plan.features)
        self.margins = Margins(manifest, model)
        self._model = model
        self._code = code
        self._fitted = tuple(fitted)
        self._reference = reference
        self._sources = self._find_sources(examples)
        self._exact, self.reason = self._find_exact()
        self.method: Method = "sampling"
        if self._exact is not None:
            self.method = "linear" if isinstance(self._exact, LinearShapley) else "tree"
            self.unit: Unit = self._exact.unit
        else:
            self.unit = self.margins.unit

    @classmethod
    def load(cls, artifacts: ArtifactStore, manifest: ModelManifest, *, trusted: Sequence[str] = ()) -> Explainer:
        """Load a version's model under the allow-list, scikit-learn's own, whatever answers requests.

        Raises
        ------
        ModelFileRefused, ArtifactMissing, ArtifactCorrupt, UserCodeError
        """
        import pyarrow.parquet as pq

        model = load_model(artifacts.read_bytes(manifest.model_file), trusted=trusted)
        code = manifest.load_code(artifacts)
        fitted = load_states(artifacts, manifest.plan.states, code, trusted=trusted)
        stored: Any = pq.read_table(artifacts.local_path(manifest.reference)).to_pandas()
        chosen = np.unique(np.linspace(0, len(stored) - 1, min(len(stored), _MOST_REFERENCE_ROWS)).astype(int))
        plan = manifest.plan
        reference = restore_missing(stored[list(plan.features)].iloc[chosen], plan.categorical).reset_index(drop=True)
        examples = read_examples(artifacts, manifest.examples).rows
        return cls(manifest, model, code, fitted, reference=reference, examples=examples)

    def explain(
        self,
        rows: Sequence[Mapping[str, Any]],
        answers: Floats | None = None,
        *,
        per_class: bool = False,
        is_over: IsOver = lambda: False,
        seed: int = 0,
        most_samples: int = MOST_SAMPLES,
    ) -> list[RowExplanation]:
        """Explain completed rows, until time is over.

        Parameters
        ----------
        answers : array of shape (n_rows,) or (n_rows, n_classes), optional
            What was answered; a row for which the model says another thing now is not explained.
        per_class : bool, default=False
            With more than two classes, explain each of them; else the predicted one. Of two classes, the second is.
        is_over : callable
            Tells whether there is time for no more rows.

        Returns
        -------
        list
            One entry for each row.
        """
        features = self._build(frame_from_rows(rows, self.manifest.plan.inputs))
        found: list[RowExplanation] = []
        step = _ROWS_AT_ONCE if self._exact is not None else 1
        draw = np.random.default_rng(seed)
        for start in range(0, len(rows), step):
            if start and is_over():
                break
            part = features.iloc[start : start + step]
            now = self.margins.answer(part)
            given = None if answers is None else answers[start : start + step]
            if self._exact is not None:
                explained = self._explain_exactly(self._exact, part, now, per_class)
            else:
                explained = [self._explain_by_sampling(part, now, per_class, draw, is_over, most_samples)]
            found += explained if given is None else self._refuse_others(explained, now, given)
        return found + [NotExplained("the time for explanations was over")] * (len(rows) - len(found))

    def _build(self, frame: pd.DataFrame) -> pd.DataFrame:
        return build_features(frame, self.manifest.plan, self._code, self._fitted)

    def _find_sources(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
        plan = self.manifest.plan
        if not plan.functions and plan.states is None:
            return {name: (name,) for name in self.features}
        return find_sources(frame_from_rows(examples, plan.inputs), self.features, self._build)

    def _explain_exactly(
        self, exact: Shapley, part: pd.DataFrame, answers: Floats, per_class: bool
    ) -> list[RowExplanation]:
        contributions = exact.explain(self.margins.encode(part))
        found: list[RowExplanation] = []
        for row, answer in zip(contributions, answers, strict=True):
            outputs = self.margins.chosen(answer, n_outputs=exact.n_outputs, per_class=per_class)
            found.append([self._describe(row[:, at], float(exact.base[at]), of, exact.unit) for at, of in outputs])
        return found

    def _explain_by_sampling(
        self,
        part: pd.DataFrame,
        answers: Floats,
        per_class: bool,
        draw: np.random.Generator,
        is_over: IsOver,
        most_samples: int,
    ) -> RowExplanation:
        ask = self.margins.of_features
        sampled = explain_by_sampling(part, self._reference, ask, draw=draw, is_over=is_over, most_samples=most_samples)
        if sampled is None:
            return NotExplained("there was no time for enough samples")
        outputs = self.margins.chosen(answers[0], n_outputs=len(sampled.base), per_class=per_class)
        return [
            self._describe(
                sampled.contributions[:, at],
                float(sampled.base[at]),
                of,
                self.unit,
                errors=sampled.errors[:, at],
                n_samples=sampled.n_samples,
            )
            for at, of in outputs
        ]

    def _describe(
        self,
        contributions: Floats,
        base: float,
        of: Any,
        unit: Unit,
        *,
        errors: Floats | None = None,
        n_samples: int | None = None,
    ) -> Explanation:
        by_feature = dict(zip(self.features, contributions.tolist(), strict=True))
        by_column: dict[str, float] = {}
        for name, value in by_feature.items():
            column = "+".join(self._sources[name]) or name
            by_column[column] = by_column.get(column, 0.0) + value
        return Explanation(
            method=self.method,
            unit=unit,
            of=of,
            base=base,
            margin=base + float(contributions.sum()),
            features=by_feature,
            columns=by_column,
            errors={} if errors is None else dict(zip(self.features, errors.tolist(), strict=True)),
            n_samples=n_samples,
        )

    def _refuse_others(self, explained: Sequence[RowExplanation], now: Floats, given: Floats) -> list[RowExplanation]:
        spread = 1.0 if now.ndim == 2 else self.margins.spread(self._reference)
        close = np.isclose(now, given, rtol=_AGREEMENT, atol=_AGREEMENT * spread)
        is_same: list[bool] = np.all(close.reshape(len(now), -1), axis=1).tolist()
        reason = "the model now gives another answer: what its feature views know has changed meanwhile"
        return [one if same else NotExplained(reason) for one, same in zip(explained, is_same, strict=True)]

    def _find_exact(self) -> tuple[Shapley | None, str | None]:
        steps = dict(getattr(self._model, "steps", ()))
        if len(steps) != 2:
            return None, f"the model is a {type(self._model).__name__} and no pipeline of an encoding and an estimator"
        encoding, estimator = steps.values()
        name = type(estimator).__name__
        owners = find_owners(encoding, self.features)
        if owners is None:
            return None, "it is not known which features the columns of its encoding come from"
        try:
            exact = self._make_exact(estimator, owners)
        except NotReadable as error:
            return None, f"{name}: {error}"
        if exact is None:
            return None, f"{name} is neither linear nor made of trees that are known here"
        expected = self.margins.of_features(self._reference.head(_ROWS_PROVEN), unit=exact.unit)
        sums = exact.explain(self.margins.encode(self._reference.head(_ROWS_PROVEN))).sum(axis=1) + exact.base
        if sums.shape != expected.shape or not np.allclose(sums, expected, rtol=_ADDITIVITY, atol=_ADDITIVITY):
            _log.warning("contributions of model %r do not add up to its answers", self.manifest.model)
            return None, f"{name}: exact contributions do not add up to its answers here"
        return exact, None

    def _make_exact(self, estimator: Any, owners: list[int]) -> Shapley | None:
        if is_tree_ensemble(estimator):
            columns = self.margins.order_columns(owners)
            return TreeShapley(read_ensemble(estimator), columns, n_players=len(self.features))
        if is_linear(estimator):
            membership = np.zeros((len(owners), len(self.features)))
            membership[np.arange(len(owners)), owners] = 1.0
            return LinearShapley(estimator, self.margins.encode(self._reference), membership)
        return None
