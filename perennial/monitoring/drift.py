"""Whether today's customers look like those that the models learned from."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from perennial.churn import FEATURES
from perennial.psi import MIN_CUSTOMERS, bin_counts, psi, psi_by_chance

SCHEMA = {
    "feature": pl.String,
    "reference_on": pl.Date,
    "today_on": pl.Date,
    "n_reference": pl.Int64,
    "n_today": pl.Int64,
    "reference_median": pl.Float64,
    "today_median": pl.Float64,
    "reference_missing_share": pl.Float64,
    "today_missing_share": pl.Float64,
    "n_bins": pl.Int64,
    "psi": pl.Float64,
    "psi_by_chance": pl.Float64,
    "n_history": pl.Int64,
    "usual_psi": pl.Float64,
    "usual_psi_mad": pl.Float64,
}


def feature_drift(
    features: pl.DataFrame,
    today: pl.DataFrame,
    predictions: pl.DataFrame,
    scores: pl.DataFrame,
) -> pl.DataFrame:
    """Compare today's features, and today's scores, with those of the newest labelled snapshot.

    Features move by themselves as a shop grows older and through its seasons. So each earlier
    pair of snapshots that lie as far apart is compared as well: what the index usually is.

    Args:
        features: rows of `churn_features`.
        today: rows of `churn_features_today`.
        predictions: `churn_probability` of the model in use on its test snapshot.
        scores: `churn_probability` of today's customers.

    Returns:
        One row per feature, and one called churn_probability, with the columns of `SCHEMA`;
        none where there is nothing to compare. The index is null below `MIN_CUSTOMERS`.
    """
    rows = []
    days = sorted(features["snapshot_on"].unique())
    if days and not today.is_empty():
        now = today["snapshot_on"][0]
        by_day = {day: part for (day,), part in features.group_by("snapshot_on")}
        pairs = _pairs_as_far_apart(days, now)
        for feature in FEATURES:
            values = {day: _values(part, feature) for day, part in by_day.items()}
            row = _compared(feature, values[days[-1]], _values(today, feature))
            usual = [_index(values[before], values[after]) for before, after in pairs]
            rows.append(row | {"reference_on": days[-1], "today_on": now} | _usual(usual))
        if not predictions.is_empty() and not scores.is_empty():
            column = "churn_probability"
            row = _compared(column, _values(predictions, column), _values(scores, column))
            rows.append(row | {"reference_on": None, "today_on": now} | _usual([]))
    return pl.DataFrame(rows, schema=SCHEMA)


def _pairs_as_far_apart(days: list[dt.date], now: dt.date) -> list[tuple[dt.date, dt.date]]:
    """Return the pairs of earlier snapshots whose distance is that from the newest to now."""
    if len(days) < 2:
        return []
    step = max(1, round((now - days[-1]) / (days[-1] - days[-2])))
    return list(zip(days[:-step], days[step:], strict=True))


def _values(rows: pl.DataFrame, column: str) -> np.ndarray:
    values = rows[column].cast(pl.Float64).to_numpy().astype(float)
    return np.where(np.isfinite(values), values, np.nan)


def _index(reference: np.ndarray, today: np.ndarray) -> float | None:
    if min(reference.size, today.size) < MIN_CUSTOMERS:
        return None
    return psi(*bin_counts(reference, today))


def _compared(name: str, reference: np.ndarray, today: np.ndarray) -> dict:
    row = {
        "feature": name,
        "n_reference": reference.size,
        "n_today": today.size,
        "reference_median": _median(reference),
        "today_median": _median(today),
        "reference_missing_share": float(np.isnan(reference).mean()),
        "today_missing_share": float(np.isnan(today).mean()),
    }
    if min(reference.size, today.size) < MIN_CUSTOMERS:
        return row
    counts = bin_counts(reference, today)
    return row | {
        "n_bins": counts[0].size,
        "psi": psi(*counts),
        "psi_by_chance": psi_by_chance(counts[0].size, reference.size, today.size),
    }


def _usual(indices: list[float | None]) -> dict:
    known = np.array([index for index in indices if index is not None])
    if not known.size:
        return {"n_history": 0}
    middle = float(np.median(known))
    return {
        "n_history": known.size,
        "usual_psi": middle,
        "usual_psi_mad": float(np.median(np.abs(known - middle))),
    }


def _median(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else None
