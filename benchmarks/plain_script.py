"""The floor: the work of one `everfit train examples/flight_delay` in one plain script of pandas and scikit-learn.

``python -m benchmarks.plain_script FOLDER [--expectations]`` does what the steps do to a first model: it
chooses how much of the past to learn from, fits, measures with intervals, looks at the features' importance, and fits
again on all rows. It keeps none of what the loop remembers: no snapshot, no lineage, no verdict, nothing to resume,
nothing proven in another process. Its intervals are those of the metrics that are means; 1,000 resamples of AUC by
scikit-learn would take longer than all the rest. With
``--expectations`` Great Expectations judges the rows, as it does in Everfit; without it a few lines of pandas do.
The last line of the output is JSON: the seconds of each part, and the metrics, by which one sees that it is the
same work.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

STARTED = time.perf_counter()

import joblib  # noqa: E402  (the imports are a part of what is measured)
import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: E402
from sklearn.inspection import permutation_importance  # noqa: E402
from sklearn.metrics import (  # noqa: E402
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import StratifiedKFold  # noqa: E402
from sklearn.pipeline import Pipeline  # noqa: E402
from sklearn.preprocessing import TargetEncoder  # noqa: E402

EXAMPLE = Path(__file__).parent.parent / "examples" / "flight_delay"
TARGET, TIME = "late", "departure"
LABEL_DELAY = pd.Timedelta(days=1)
NOT_NULL = ["departure", "carrier", "origin", "dest", "distance", "sched_arr_time", "late"]
BOUNDS = {"distance": (1, None), "sched_arr_time": (0, 2400)}
ORIGINS = ["EWR", "JFK", "LGA"]
CATEGORICAL = ["carrier", "origin", "dest", "engine"]
PARAMETERS = {"max_iter": 150, "learning_rate": 0.08, "min_samples_leaf": 100, "random_state": 0}
SLICES = ["origin", "carrier"]

_FEWEST_ROWS, _FEWEST_SLICE_ROWS, _MOST_SLICES = 50, 30, 20
_LEARNT_SHARE, _MOST_PROBE_ROWS = 8 / 9, 20_000
_N_BLOCKS, _N_DRAWS, _ROWS_EXPLAINED = 30, 1_000, 2_000


def add_weather_and_planes(rows: pd.DataFrame, records: ModuleType) -> pd.DataFrame:
    """Join what feature_views.yaml declares: the plane, and the weather as of the departure, of three hours at most."""
    weather = records.load_weather().sort_values("time_hour", kind="stable").rename(columns={"time_hour": TIME})
    joined = pd.merge_asof(rows, weather, on=TIME, by="origin", tolerance=pd.Timedelta(hours=3))
    planes = records.load_planes().drop(columns="registered")
    return joined.merge(planes, on="tailnum", how="left").drop(columns="tailnum")


def check(rows: pd.DataFrame) -> None:
    """Check the rules of contract.yaml with pandas."""
    assert len(rows) >= _FEWEST_ROWS
    assert rows[TARGET].nunique() == 2
    for name in NOT_NULL:
        assert rows[name].notna().all(), name
    for name, (low, high) in BOUNDS.items():
        values = rows[name].dropna()
        assert low is None or (values >= low).all(), name
        assert high is None or (values <= high).all(), name
    assert rows["origin"].dropna().isin(ORIGINS).all()


def check_with_great_expectations(rows: pd.DataFrame) -> None:
    """Check the same rules with Great Expectations."""
    import great_expectations as gx
    import great_expectations.expectations

    gxe: Any = great_expectations.expectations
    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    suite = gx.ExpectationSuite(name="flights")
    suite.add_expectation(gxe.ExpectTableRowCountToBeBetween(min_value=_FEWEST_ROWS))
    for name in NOT_NULL:
        suite.add_expectation(gxe.ExpectColumnValuesToNotBeNull(column=name))
    for name, (low, high) in BOUNDS.items():
        suite.add_expectation(gxe.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high))
    suite.add_expectation(gxe.ExpectColumnValuesToBeInSet(column="origin", value_set=ORIGINS))
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("flights")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": rows})
    result = batch.validate(suite, result_format="SUMMARY")
    assert result.success, result


def cut(moments: pd.Series[Any], share: float) -> int:
    """Return the row, near *share* of all, at which the moment changes."""
    changes = np.flatnonzero(np.diff(moments.astype("int64").to_numpy())) + 1
    return int(changes[np.argmin(np.abs(changes - round(len(moments) * share)))])


def measure(truth: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]) -> dict[str, float]:
    """Measure probabilities against the truth."""
    called = score >= 0.5
    return {
        "log_loss": log_loss(truth, score),
        "accuracy": accuracy_score(truth, called),
        "brier": brier_score_loss(truth, score),
        "f1": f1_score(truth, called, zero_division=0),
        "roc_auc": roc_auc_score(truth, score),
        "average_precision": average_precision_score(truth, score),
    }


def choose_window(make: Callable[[], Pipeline], features: pd.DataFrame, truth: npt.NDArray[np.bool_], stop: int) -> int:
    """Return how many of the newest rows before *stop* to learn from: all, half or a quarter."""
    start = round(stop * _LEARNT_SHARE)
    step = max(1, start // _MOST_PROBE_ROWS)
    losses = {}
    for part in (1, 2, 4):
        rows = slice(start - start // part, start, step)
        probe = make().fit(features[rows], truth[rows])
        losses[part] = log_loss(truth[start:stop], probe.predict_proba(features[start:stop])[:, 1])
    near = [part for part, loss in losses.items() if loss <= min(losses.values()) * 1.01]
    return stop // min(near)


def bound(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Bound a mean of rows in time order, by a bootstrap over blocks."""
    blocks = np.array([block.mean() for block in np.array_split(values, _N_BLOCKS)])
    drawn = np.random.default_rng(0).integers(_N_BLOCKS, size=(_N_DRAWS, _N_BLOCKS))
    low, high = np.quantile(blocks[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Extract, check, prepare, fit, measure, fit again on all rows, save."""
    folder = Path(sys.argv[1])
    clock = {"imports": time.perf_counter() - STARTED}

    def lap(name: str) -> None:
        clock[name] = time.perf_counter() - STARTED - sum(clock.values())

    sys.path.insert(0, str(EXAMPLE))
    example = import_module("features")
    rows = example.load_flights().sort_values(TIME, kind="stable", ignore_index=True)
    rows = add_weather_and_planes(rows, import_module("records"))
    lap("extract")
    (check_with_great_expectations if "--expectations" in sys.argv else check)(rows)
    lap("check")
    rows = example.add_schedule(rows)
    numeric = [name for name in rows.columns if name not in {*CATEGORICAL, TARGET, TIME}]
    features = rows[numeric + CATEGORICAL].astype(dict.fromkeys(numeric, np.float32))
    truth = rows[TARGET].to_numpy(dtype=bool)
    # The validation part chooses between estimators; there is one, which is fitted on both parts.
    stop = cut(rows[TIME], 0.9)
    # What is judged begins when these flights' delays were known.
    known = int(rows[TIME].searchsorted(rows[TIME][stop] - LABEL_DELAY, side="right"))
    lap("prepare")
    encoding = ColumnTransformer(
        [
            ("numeric", "passthrough", numeric),
            ("categorical", TargetEncoder(cv=StratifiedKFold(5, shuffle=True, random_state=0)), CATEGORICAL),
        ],
        verbose_feature_names_out=False,
    )

    def make() -> Pipeline:
        steps = [("encode", clone(encoding)), ("estimate", HistGradientBoostingClassifier(**PARAMETERS))]
        return Pipeline(steps)

    window = choose_window(make, features, truth, known)
    model = make().fit(features[known - window : known], truth[known - window : known])
    lap("fit")
    score = model.predict_proba(features[stop:])[:, 1]
    newest, answers = rows[stop:], truth[stop:]
    metrics = measure(answers, score)
    baseline = measure(answers, np.full(len(answers), truth[:known].mean()))
    losses = -np.log(np.where(answers, score, 1 - score))
    slices = {}
    for column in SLICES:
        counts = newest[column].value_counts()
        for value in counts[counts >= _FEWEST_SLICE_ROWS].index[:_MOST_SLICES]:
            slices[f"{column} = {value}"] = float(losses[(newest[column] == value).to_numpy()].mean())
    bounds = {
        "log_loss": bound(losses),
        "accuracy": bound(((score >= 0.5) == answers).astype(float)),
        "brier": bound((score - answers) ** 2),
    }
    some = np.linspace(stop, len(rows) - 1, _ROWS_EXPLAINED).astype(int)
    importance = permutation_importance(
        model, features.iloc[some], truth[some], scoring="neg_log_loss", n_repeats=3, random_state=0
    )
    explained = dict(zip(features.columns, importance.importances_mean.tolist(), strict=True))
    lap("evaluate")
    model = make().fit(features[-window - len(answers) :], truth[-window - len(answers) :])
    lap("fit on all rows")
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / "model.joblib", compress=3)
    document = {
        "metrics": metrics,
        "bounds": bounds,
        "baseline": baseline,
        "slices": slices,
        "importance": explained,
        "rows": len(rows),
    }
    (folder / "metrics.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    lap("save")
    print(json.dumps({"seconds": clock, **document}))


if __name__ == "__main__":
    main()
