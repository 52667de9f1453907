"""From what a model says to how often it comes true.

Two ways compete, and leaving the score as it is. Platt's (1999) is a line through the log-odds,
fitted to outcomes that are drawn in a little from 0 and 1, so that it stays finite. Isotonic
regression (Zadrozny and Elkan, 2002) asks only that a higher score is no lower probability.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit

METHODS = ("none", "platt", "isotonic")


@dataclass(frozen=True)
class Calibration:
    """How log-odds become probabilities.

    Attributes:
        method: one of METHODS.
        slope, intercept: of the line through the log-odds ('none' and 'platt').
        log_odds, probabilities: the corners of the curve, both ascending, shape (k,)
            ('isotonic'); between them it is a straight line, beyond them it is level.
    """

    method: str = "none"
    slope: float = 1.0
    intercept: float = 0.0
    log_odds: np.ndarray = field(default_factory=lambda: np.empty(0))
    probabilities: np.ndarray = field(default_factory=lambda: np.empty(0))

    def probability(self, log_odds: np.ndarray) -> np.ndarray:
        """Return the probabilities of log-odds, shape (n,)."""
        if self.method == "isotonic":
            return np.interp(log_odds, self.log_odds, self.probabilities)
        return expit(self.slope * log_odds + self.intercept)

    def as_row(self) -> dict:
        """Return the columns of `py_churn_models` from which `of` makes it again."""
        corners = zip(self.log_odds.tolist(), self.probabilities.tolist(), strict=True)
        return {
            "calibration": self.method,
            "calibration_slope": self.slope,
            "calibration_intercept": self.intercept,
            "calibration_corners": [
                {"log_odds": score, "probability": probability} for score, probability in corners
            ],
        }

    @classmethod
    def of(cls, row: dict) -> Calibration:
        """Return the calibration that a row of `py_churn_models` holds."""
        corners = row["calibration_corners"]
        return cls(
            row["calibration"],
            row["calibration_slope"],
            row["calibration_intercept"],
            np.array([corner["log_odds"] for corner in corners]),
            np.array([corner["probability"] for corner in corners]),
        )


def calibrate(method: str, log_odds: np.ndarray, is_churned: np.ndarray) -> Calibration:
    """Return a calibration that fits outcomes which the model has not learned from.

    Args:
        method: one of METHODS.
        log_odds: what the model says, shape (n,).
        is_churned: what happened, shape (n,); both outcomes occur.
    """
    if method == "none":
        return Calibration()
    return (_platt if method == "platt" else _isotonic)(log_odds, np.asarray(is_churned, float))


def _platt(log_odds: np.ndarray, is_churned: np.ndarray) -> Calibration:
    n_churned, n_stayed = is_churned.sum(), (1 - is_churned).sum()
    target = np.where(is_churned == 1, (n_churned + 1) / (n_churned + 2), 1 / (n_stayed + 2))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        score = parameters[0] * log_odds + parameters[1]
        error = expit(score) - target
        value = np.logaddexp(0, score) - target * score
        return float(value.mean()), np.array([(error * log_odds).mean(), error.mean()])

    # A higher score is never less likely: a model that has learned nothing becomes level.
    found = minimize(
        loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)],
        options={"ftol": 1e-13, "gtol": 1e-9},
    )  # fmt: skip
    return Calibration("platt", float(found.x[0]), float(found.x[1]))


def _isotonic(log_odds: np.ndarray, is_churned: np.ndarray) -> Calibration:
    score, place = np.unique(log_odds, return_inverse=True)
    n = np.bincount(place)
    rate = np.bincount(place, is_churned) / n
    curve = isotonic_regression(rate, weights=n)
    edges = curve.blocks
    n_of_block = np.add.reduceat(n, edges[:-1])
    # Nothing is certain because it happened to a few: a customer of each outcome is added.
    level = (curve.x[edges[:-1]] * n_of_block + 0.5) / (n_of_block + 1)
    level = np.maximum.accumulate(level)
    first, last = score[edges[:-1]], score[edges[1:] - 1]
    corners = np.column_stack([first, last]).ravel(), np.repeat(level, 2)
    # A level of one score has one corner.
    kept = np.append(True, np.diff(corners[0]) > 0)
    return Calibration("isotonic", 1.0, 0.0, corners[0][kept], corners[1][kept])
