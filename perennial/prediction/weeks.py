"""Forecast weekly counts, and say whether that is worth more than looking at last year.

A forecast of week t + h that is made at the end of week t is a straight line through a few things
known by then, on the scale ln(1 + count): how the last week lies above the last four, those above
the last thirteen, and how much the same weeks of last year lay above their own four. It is fitted
anew for each h (a direct forecast) by ridge regression on all earlier weeks.

The seasonal naive forecast, what the same week of last year brought, must lose to it in weeks that
were not known to either; where it does not, it is used.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from scipy.special import stdtrit

HORIZONS = range(1, 9)
YEAR = 52

# Weeks that a line looks back on, without and with last year.
LOOK_BACK, LOOK_BACK_A_YEAR = 13, 56
# A line is fitted to so many weeks at least.
MIN_FITTED = 20
# The newest weeks test the forecasts: a third of those that could, and half a year of them.
MAX_TESTS, MIN_TESTS = 26, 10
MIN_WEEKS = LOOK_BACK + MIN_FITTED + MIN_TESTS + max(HORIZONS)
RIDGE = 1.0

# Of what comes a tenth is to lie below the interval and a tenth above.
TAIL = 0.1
# A gain that chance alone gives no more often than this is one.
TOO_RARE = 0.025

LINE, NAIVE = "regression", "seasonal_naive"

FORECASTS_SCHEMA = {
    "metric": pl.String,
    "week_start_on": pl.Date,
    "horizon_weeks": pl.Int64,
    "status": pl.String,
    "model_name": pl.String,
    "expected": pl.Float64,
    "expected_low": pl.Float64,
    "expected_high": pl.Float64,
    "n_tests": pl.Int64,
    "mean_absolute_error": pl.Float64,
    "naive_mean_absolute_error": pl.Float64,
    "gain": pl.Float64,
    "gain_noise": pl.Float64,
    "is_better_than_naive": pl.Boolean,
    "coverage_rate": pl.Float64,
}


def forecast_weeks(counts: pl.DataFrame) -> pl.DataFrame:
    """Forecast each metric for the weeks ahead, with the evidence of its own past.

    Args:
        counts: one row per metric and whole week without gaps, with metric, week_start_on and
            value (0 or more), in any order.

    Returns:
        One row per metric and week of HORIZONS, with the columns of FORECASTS_SCHEMA. With fewer
        than MIN_WEEKS weeks the status is 'abstained: ' and why, and nothing is forecast.
    """
    rows = []
    for (metric,), weeks in counts.sort("metric", "week_start_on").group_by(
        "metric", maintain_order=True
    ):
        value = weeks["value"].cast(pl.Float64).to_numpy()
        last_on = weeks["week_start_on"][-1]
        for row in _of_metric(value):
            week_on = last_on + dt.timedelta(weeks=row["horizon_weeks"])
            rows.append({"metric": metric, "week_start_on": week_on, **row})
    return pl.DataFrame(rows, schema=FORECASTS_SCHEMA)


def _of_metric(value: np.ndarray) -> list[dict]:
    if len(value) < MIN_WEEKS:
        why = f"abstained: {len(value)} whole weeks are known; needed are {MIN_WEEKS}"
        return [{"horizon_weeks": h, "status": why} for h in HORIZONS]
    logs = np.log1p(value)
    tests = [_tested(logs, h) for h in HORIZONS]
    # One way for all weeks ahead, so that they fit together.
    line, naive = (sum(test[name].mean() for test in tests) for name in (LINE, NAIVE))
    chosen = LINE if line <= naive else NAIVE
    held = np.concatenate([_held(test[f"{chosen}_logs"]) for test in tests])
    rows = []
    for h, test in zip(HORIZONS, tests, strict=True):
        gain, noise = _gain(test[NAIVE] - test[LINE], h)
        errors = test[f"{chosen}_logs"]
        middle = (_line if chosen == LINE else _naive)(logs, len(logs) - 1, h)
        low, high = _interval(errors)
        rows.append(
            {
                "horizon_weeks": h,
                "status": "forecast",
                "model_name": chosen,
                "expected": float(np.expm1(middle)),
                "expected_low": max(0.0, float(np.expm1(middle + low))),
                "expected_high": float(np.expm1(middle + high)),
                "n_tests": len(errors),
                "mean_absolute_error": float(test[LINE].mean()),
                "naive_mean_absolute_error": float(test[NAIVE].mean()),
                "gain": gain,
                "gain_noise": noise,
                "is_better_than_naive": noise is not None and gain > noise,
                "coverage_rate": float(held.mean()),
            }
        )
    return rows


def _tested(logs: np.ndarray, h: int) -> dict[str, np.ndarray]:
    """Return the errors of both forecasts in the newest weeks, as if those were not known."""
    n = len(logs)
    n_tests = min(MAX_TESTS, n - (LOOK_BACK + MIN_FITTED + h))
    origins = range(n - h - n_tests, n - h)
    found = {}
    for name, forecast in ((LINE, _line), (NAIVE, _naive)):
        foretold = np.array([forecast(logs[: t + 1], t, h) for t in origins])
        actual = np.array([logs[t + h] for t in origins])
        found[f"{name}_logs"] = actual - foretold
        found[name] = np.abs(np.expm1(actual) - np.expm1(foretold))
    return found


def _naive(logs: np.ndarray, t: int, h: int) -> float:
    """Return what the same week of last year brought; before that, the last week."""
    return float(logs[t + h - YEAR] if t + h >= YEAR else logs[t])


def _line(logs: np.ndarray, t: int, h: int) -> float:
    """Return the forecast of week t + h from the weeks up to t, fitted to them."""
    look_back = LOOK_BACK_A_YEAR
    if t - h - look_back + 2 < MIN_FITTED:
        look_back = LOOK_BACK
    known = np.arange(look_back - 1, t - h + 1)
    rows = np.array([_seen(logs, u, h, look_back) for u in known])
    target = logs[known + h] - np.array([logs[u - 3 : u + 1].mean() for u in known])
    middle = rows.mean(axis=0)
    spread = rows.std(axis=0)
    spread[spread == 0] = 1.0
    scaled = (rows - middle) / spread
    weights = np.linalg.solve(
        scaled.T @ scaled + RIDGE * np.eye(scaled.shape[1]), scaled.T @ (target - target.mean())
    )
    seen = (_seen(logs, t, h, look_back) - middle) / spread
    return float(max(0.0, logs[t - 3 : t + 1].mean() + target.mean() + seen @ weights))


def _seen(logs: np.ndarray, t: int, h: int, look_back: int) -> np.ndarray:
    """Return what is known of week t + h at the end of week t."""
    last_four = logs[t - 3 : t + 1].mean()
    seen = [logs[t] - last_four, last_four - logs[t - 12 : t + 1].mean()]
    if look_back == LOOK_BACK_A_YEAR:
        # The weeks beside it as well: Easter, and the days of a sale, move.
        same = logs[t + h - YEAR - 1 : min(t + h - YEAR + 2, t + 1)].mean()
        seen.append(same - logs[t - YEAR - 3 : t - YEAR + 1].mean())
    return np.array(seen)


def _gain(difference: np.ndarray, h: int) -> tuple[float, float | None]:
    """Return the mean of a difference of losses and what chance may make of it.

    Forecasts of h weeks overlap, so that neighbours are alike. Means of h weeks that follow each
    other hardly are: they are compared by Student's test (batch means; R. Conway, "Some tactical
    problems in digital simulation", 1963). With less than two of them chance is not known.
    """
    n_blocks = len(difference) // h
    newest = difference[len(difference) - n_blocks * h :].reshape(n_blocks, h).mean(axis=1)
    if n_blocks < 2:
        return float(difference.mean()), None
    error = newest.std(ddof=1) / np.sqrt(n_blocks)
    return float(difference.mean()), float(stdtrit(n_blocks - 1, 1 - TOO_RARE) * error)


def _interval(errors: np.ndarray) -> tuple[float, float]:
    """Return between which errors the next one is to lie: a conformal interval.

    Of n errors and the next, which may be the smallest as well as any other, the k-th smallest of
    the n has the share k / (n + 1) below it; between two of them lies a straight line.
    """
    low, high = np.quantile(errors, [TAIL, 1 - TAIL], method="weibull")
    return float(low), float(high)


def _held(errors: np.ndarray) -> np.ndarray:
    """Return which errors lay in the interval that the errors before them give."""
    held = []
    for place in range(MIN_TESTS - 1, len(errors)):
        low, high = _interval(errors[:place])
        held.append(low <= errors[place] <= high)
    return np.array(held)
