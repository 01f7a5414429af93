"""Model files that cannot run code: skops under an allow-list that never comes from the file."""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np

from base.errors import EverfitError

# What scikit-learn's own estimators need beside what skops trusts by default. None of them can call a
# function that a file names; functools.partial and FunctionTransformer can, and must never be added.
TRUSTED_TYPES = frozenset(
    {
        "numpy.dtype",
        "sklearn._loss.link.HalfLogitLink",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogLink",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.AbsoluteError",
        "sklearn._loss.loss.ExponentialLoss",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfGammaLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfPoissonLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn._loss.loss.HuberLoss",
        "sklearn._loss.loss.PinballLoss",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)

# With one of these, a file names any function of any library and calls it; no setting can allow that.
NEVER_TRUSTED = (
    "functools.partial",
    "builtins.",
    "operator.methodcaller",
    "os.",
    "posix.",
    "subprocess.",
    "importlib.",
    "runpy.",
    "pickle.",
    "joblib.",
)
# The largest model that was met was a tenth of this; a compressed file of a megabyte can unpack to a thousand.
_LARGEST_UNPACKED_BYTES = 16 << 30


class ModelFileRefused(EverfitError):
    """A model file that holds what is not allowed, or is no model file."""

    def __init__(self, problem: str, types: Iterable[str] = ()) -> None:
        super().__init__(f"the model file is refused: {problem}")
        self.types = tuple(types)


def dump_model(model: object) -> bytes:
    """Write a fitted estimator as a compressed skops file.

    A gradient boosting with ``categorical_features`` holds a functools.partial of scikit-learn's own making,
    which is left out and put back by :func:`load_model`: a file that may hold one could call any function.
    """
    import skops.io

    checks = [(each, each.func) for each in _input_checks(model)]
    try:
        for each, _ in checks:
            each.func = None
        data: bytes = skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED, compresslevel=6)
    finally:
        for each, function in checks:
            each.func = function
    return data


def load_model(data: bytes, *, trusted: Iterable[str] = ()) -> Any:
    """Read a fitted estimator, if all its types are on the allow-list.

    Parameters
    ----------
    trusted : iterable of str
        Types allowed beside :data:`TRUSTED_TYPES`, from the settings.

    Raises
    ------
    ModelFileRefused
        Naming the types that are not allowed, or that the file is broken.
    """
    import skops.io

    allowed = TRUSTED_TYPES | set(trusted)
    if never := sorted(name for name in allowed if name.startswith(NEVER_TRUSTED)):
        raise ModelFileRefused(f"{', '.join(never)} can run any code; take it out of EVERFIT_TRUSTED_TYPES", never)
    _check_size(data)
    try:
        needed = set(skops.io.get_untrusted_types(file=io.BytesIO(data)))
    except Exception as error:
        raise ModelFileRefused(f"it is no skops file ({type(error).__name__}: {error})") from error
    if foreign := sorted(needed - allowed):
        raise ModelFileRefused(
            f"it holds {', '.join(foreign)}, which may not be loaded; "
            "if you trust them, name them in EVERFIT_TRUSTED_TYPES",
            foreign,
        )
    try:
        model = skops.io.load(io.BytesIO(data), trusted=sorted(needed))
    except Exception as error:
        raise ModelFileRefused(f"it cannot be read ({type(error).__name__}: {error})") from error
    for each in _input_checks(model):
        each.func = _check_input()
    return model


def _check_size(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise ModelFileRefused(f"it is no skops file ({type(error).__name__}: {error})") from error
    if size > _LARGEST_UNPACKED_BYTES:
        raise ModelFileRefused(f"it unpacks to {size:,} bytes, expected at most {_LARGEST_UNPACKED_BYTES:,}")


def _check_input() -> Any:
    """Make what ``_preprocess_X`` of scikit-learn 1.9's histogram gradient boosting keeps for its numeric columns."""
    from sklearn.utils.validation import check_array

    return functools.partial(check_array, dtype=[np.float64], ensure_all_finite=False)


def _input_checks(model: object) -> list[Any]:
    """Find the steps of histogram gradient boostings, wherever they are in a model, that check numeric columns."""
    from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
    from sklearn.preprocessing import FunctionTransformer

    found: list[Any] = []
    seen: set[int] = set()
    waiting: list[tuple[object, bool]] = [(model, False)]
    while waiting:
        each, is_preprocessing = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if is_preprocessing and isinstance(each, FunctionTransformer):
            found.append(each)
        elif isinstance(each, list | tuple):
            waiting += [(item, is_preprocessing) for item in each]
        elif isinstance(each, dict):
            waiting += [(item, is_preprocessing) for item in each.values()]
        elif type(each).__module__.startswith("sklearn.") and hasattr(each, "__dict__"):
            is_boosting = isinstance(each, BaseHistGradientBoosting)
            waiting += [
                (value, is_preprocessing or (is_boosting and name == "_preprocessor"))
                for name, value in vars(each).items()
            ]
    return found
