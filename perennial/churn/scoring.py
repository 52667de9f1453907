"""Score today's customers with the champion, and say why."""

from __future__ import annotations

import numpy as np
import polars as pl
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from perennial.churn.features import FEATURES, THEMES, describe, feature_matrix
from perennial.churn.training import columns_of, predict
from perennial.churn.trees import Trees

N_REASONS = 3

SCORES_SCHEMA = {
    "customer_id": pl.String,
    "scored_at": pl.Datetime("us"),
    "model_name": pl.String,
    "horizon_days": pl.Int64,
    "churn_probability": pl.Float64,
    **{f"reason_{n + 1}": pl.String for n in range(N_REASONS)},
}

# What skops asks us to vouch for: the types of arrays, and the trees of scikit-learn's
# histogram gradient boosting. A model that holds any other unknown type is not loaded.
TRUSTED_TYPES = [
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
]


def score_customers(today: pl.DataFrame, models: pl.DataFrame) -> pl.DataFrame:
    """Return each scoreable customer's probability of churn, with the three main reasons.

    A reason's weight is how far the log-odds move when the features of its theme are set to
    the median of all scored customers; for the logistic regression that is exact.

    Args:
        today: rows of `churn_features_today`, in any order.
        models: what `train_models` returned.

    Returns:
        One row per customer with the columns of SCORES_SCHEMA, by customer_id; empty where
        there is no champion.
    """
    champion = models.filter(pl.col("is_champion"))
    today = today.sort("customer_id")
    if champion.is_empty() or today.is_empty():
        return pl.DataFrame(schema=SCORES_SCHEMA)
    name = champion["model_name"][0]
    model = skops.io.loads(champion["fitted_model"][0], trusted=TRUSTED_TYPES)
    # As in training: beside other models of dbt, threads that wait by spinning slow all down.
    with threadpool_limits(1):
        probability = predict(name, model, today)
        reasons = _reasons(name, model, today)
    scored = today.select(
        "customer_id",
        scored_at=pl.col("snapshot_at"),
        model_name=pl.lit(name),
        horizon_days=pl.lit(champion["horizon_days"][0]),
        churn_probability=pl.Series(probability),
    )
    return scored.with_columns(
        pl.Series(f"reason_{n + 1}", reasons[:, n].tolist(), dtype=pl.String)
        for n in range(N_REASONS)
    ).cast(SCORES_SCHEMA)


def _log_odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.log(clipped / (1 - clipped))


def _effects(model, matrix: np.ndarray, sets: list[list[int]]) -> np.ndarray:
    """Return how far each row's log-odds lie from those with a set of columns at its medians.

    Args:
        model: a fitted pipeline of candidates().
        matrix: the columns that it uses, shape (n, columns).
        sets: columns that are put to their medians together.

    Returns:
        Shape (n, sets), rounded so that equal rows have equal effects.
    """
    medians = np.array([_median(column) for column in matrix.T])
    classifier = model[-1]
    if isinstance(classifier, HistGradientBoostingClassifier):
        filled, neutral = (model[:-1].transform(rows) for rows in (matrix, medians[None, :]))
        log_odds = Trees(classifier).log_odds(filled, neutral[0], sets)
    else:
        rows = [matrix]
        for columns in sets:
            rows.append(matrix.copy())
            rows[-1][:, columns] = medians[columns]
        log_odds = np.column_stack([_log_odds(model.predict_proba(r)[:, 1]) for r in rows])
    return np.round(log_odds[:, [0]] - log_odds[:, 1:], 9)


def _reasons(name: str, model, today: pl.DataFrame) -> np.ndarray:
    """Return the texts, shape (n, N_REASONS), None where fewer themes move the score."""
    used = columns_of(name)
    names = [list(FEATURES)[column] for column in used]
    themes = [[names.index(f) for f in features if f in names] for features in THEMES.values()]
    themes = [columns for columns in themes if columns]
    singles = [[column] for columns in themes if len(columns) > 1 for column in columns]
    effects = _effects(model, feature_matrix(today)[:, used], themes + singles)
    pushes = {column: effects[:, len(themes) + n] for n, (column,) in enumerate(singles)}
    effects = effects[:, : len(themes)]
    # Equal effects come in the order of the themes.
    order = np.argsort(-np.abs(effects), axis=1, kind="stable")[:, :N_REASONS]
    texts = np.full((today.height, N_REASONS), None, dtype=object)
    for theme, columns in enumerate(themes):
        rows, ranks = np.nonzero((order == theme) & (effects[:, [theme]] != 0))
        raises = effects[rows, theme] > 0
        chosen = np.full(len(rows), columns[0])
        if len(columns) > 1:
            # The feature of the theme that pushes hardest in the theme's own direction.
            own = np.column_stack([pushes[column][rows] for column in columns])
            chosen = np.array(columns)[np.argmax(own * np.where(raises, 1, -1)[:, None], axis=1)]
        for column in columns:
            for is_raised in (True, False):
                here = (chosen == column) & (raises == is_raised)
                texts[rows[here], ranks[here]] = _texts(
                    names[column], today[names[column]].to_numpy()[rows[here]], is_raised
                )
    return texts


def _texts(feature: str, values: np.ndarray, raises: bool) -> np.ndarray:
    """Return the reason of each value; most values come many times."""
    distinct, places = np.unique(values, return_inverse=True)
    verb = "raises" if raises else "lowers"
    texts = [f"{describe(feature, value)} ({verb} the risk)" for value in distinct]
    return np.array(texts, dtype=object)[places]


def _median(column: np.ndarray) -> float:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if known.size else np.nan
