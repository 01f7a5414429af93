"""What a classifier's own probabilities say of its losses, once they are calibrated on the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from base.metrics import row_losses

Floats = npt.NDArray[np.float64]

# As probabilities are capped where losses are measured.
_SMALLEST = 1e-6
# The prior of a calibration that changes nothing, in rows' worth of evidence: it rules where there are few rows.
_PRIOR_ROWS = 5.0


@dataclass(frozen=True)
class CalibrationMap:
    """One class's calibrated probability: sigmoid(rise · log p − fall · log(1 − p) + shift).

    The beta calibration of Kull, Silva Filho & Flach 2017 (*Beta calibration*): three figures, smooth, and the
    identity among its maps. The isotonic map of NannyML jumps, and on some thousand rows learns their noise.
    """

    rise: float = 1.0
    fall: float = 1.0
    shift: float = 0.0

    def __call__(self, probability: Floats) -> Floats:
        """Calibrate probabilities.

        Examples
        --------
        >>> CalibrationMap()(np.array([0.2, 0.9])).round(6).tolist()
        [0.2, 0.9]
        """
        from scipy.special import expit

        found: Floats = expit(_odds(probability) @ np.array([self.rise, self.fall, self.shift]))
        return found


def fit_calibration(probability: Floats, happened: npt.NDArray[np.bool_]) -> CalibrationMap:
    """Fit the map under which rows that were given 30 % turn out so in 30 of 100.

    Parameters
    ----------
    probability : array of shape (n_rows,)
        Of one class.
    happened : array of bool of shape (n_rows,)
        Whether the row was of that class.

    Examples
    --------
    >>> draw = np.random.default_rng(0)
    >>> told = draw.random(5_000)
    >>> found = fit_calibration(told, draw.random(5_000) < 0.5 + (told - 0.5) / 2)
    >>> found(np.array([0.9])).round(1).tolist()
    [0.7]
    """
    from scipy.optimize import minimize

    odds, truth = _odds(probability), happened.astype(np.float64)
    same = np.array([1.0, 1.0, 0.0])

    def cost(weights: Floats) -> tuple[float, Floats]:
        margin = odds @ weights
        away = weights - same
        loss = np.logaddexp(0.0, margin).sum() - truth @ margin + _PRIOR_ROWS / 2 * away @ away
        slope = odds.T @ (1 / (1 + np.exp(-np.clip(margin, -500, 500))) - truth) + _PRIOR_ROWS * away
        return float(loss), slope

    # A falling map would rank the rows the other way round, which is for a gate to say and not for an estimate.
    bounds = [(0.0, None), (0.0, None), (None, None)]
    rise, fall, shift = minimize(cost, same, jac=True, method="L-BFGS-B", bounds=bounds).x
    return CalibrationMap(float(rise), float(fall), float(shift))


@dataclass(frozen=True)
class ConfidenceModel:
    """The expected losses of rows by their calibrated probabilities (confidence-based performance estimation).

    Kivimäki et al. 2024, *Confidence-based estimators for predictive performance in model monitoring*; NannyML's CBPE.
    It holds while P(class | answer) is what it was on the reference: rows may change, what they mean may not. Garg et
    al. 2022 (*Leveraging unlabeled data to predict out-of-distribution performance*, ATC) count the rows above a
    learnt threshold, which gives accuracy only and rests on the same assumption.
    """

    maps: tuple[CalibrationMap, ...]

    def calibrate(self, answers: Floats) -> Floats:
        """Return calibrated probabilities, of shape (n_rows, n_classes)."""
        if answers.shape[1] == 2:
            positive = self.maps[0](answers[:, 1])
            return np.column_stack([1 - positive, positive])
        each = np.column_stack([one(answers[:, code]) for code, one in enumerate(self.maps)])
        found: Floats = each / each.sum(axis=1, keepdims=True)
        return found

    def expect(self, answers: Floats, *, threshold: float) -> dict[str, Floats]:
        """Return what each row is expected to lose, by metric; see :func:`actual_losses`."""
        chance = self.calibrate(answers)
        rows = np.arange(len(answers))
        logs = -np.log(np.clip(answers, _SMALLEST, 1.0))
        if answers.shape[1] == 2:
            brier = chance[:, 1] * (1 - answers[:, 1]) ** 2 + chance[:, 0] * answers[:, 1] ** 2
        else:
            brier = (chance * (1 - answers) ** 2 + (1 - chance) * answers**2).sum(axis=1)
        return {
            "log_loss": (chance * logs).sum(axis=1),
            "accuracy": chance[rows, _called(answers, threshold)],
            "brier": brier,
        }


def fit_confidence(target: npt.NDArray[np.generic], answers: Floats) -> ConfidenceModel:
    """Calibrate each class against the rest (with two, the second) on labelled rows."""
    codes = [1] if answers.shape[1] == 2 else range(answers.shape[1])
    return ConfidenceModel(tuple(fit_calibration(answers[:, code], target == code) for code in codes))


def actual_losses(target: npt.NDArray[np.generic], answers: Floats, *, threshold: float) -> dict[str, Floats]:
    """Return what :meth:`ConfidenceModel.expect` expects, measured: each metric is the mean of its rows."""
    codes = target.astype(np.intp)
    truth = codes[:, None] == np.arange(answers.shape[1])
    squared = (answers - truth) ** 2
    return {
        "log_loss": row_losses("classification", codes, answers),
        "accuracy": (_called(answers, threshold) == codes).astype(np.float64),
        "brier": squared[:, 1] if answers.shape[1] == 2 else squared.sum(axis=1),
    }


def _called(answers: Floats, threshold: float) -> npt.NDArray[np.intp]:
    if answers.shape[1] == 2:
        return (answers[:, 1] >= threshold).astype(np.intp)
    codes: npt.NDArray[np.intp] = answers.argmax(axis=1)
    return codes


def _odds(probability: Floats) -> Floats:
    inside = np.clip(probability, _SMALLEST, 1 - _SMALLEST)
    return np.column_stack([np.log(inside), -np.log1p(-inside), np.ones(len(inside))])
