"""Score today's customers with the champion, and say why."""

from __future__ import annotations

import numpy as np
import polars as pl
import skops.io

from perennial.churn.features import FEATURES, THEMES, describe, feature_matrix
from perennial.churn.training import columns_of, predict

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
    scored = today.select(
        "customer_id",
        scored_at=pl.col("snapshot_at"),
        model_name=pl.lit(name),
        horizon_days=pl.lit(champion["horizon_days"][0]),
        churn_probability=pl.Series(predict(name, model, today)),
    )
    reasons = _reasons(name, model, today)
    return scored.with_columns(
        pl.Series(f"reason_{n + 1}", reasons[:, n].tolist(), dtype=pl.String)
        for n in range(N_REASONS)
    ).cast(SCORES_SCHEMA)


def _log_odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.log(clipped / (1 - clipped))


def _reasons(name: str, model, today: pl.DataFrame) -> np.ndarray:
    """Return the texts, shape (n, N_REASONS), None where fewer themes move the score."""
    matrix = feature_matrix(today)
    names = list(FEATURES)
    used = columns_of(name)
    base = _log_odds(model.predict_proba(matrix[:, used])[:, 1])
    medians = np.array([_median(matrix[:, column]) for column in range(matrix.shape[1])])

    def effect_of(columns: list[int], rows: np.ndarray) -> np.ndarray:
        """How far the log-odds of some rows lie from what they would be at the medians."""
        effect = np.zeros(len(rows))
        # Predictions are what this costs; who is at the median already needs none.
        moved = ~np.isclose(matrix[np.ix_(rows, columns)], medians[columns], 0, 0, equal_nan=True)
        moved = moved.any(axis=1)
        if moved.any():
            neutral = matrix[rows[moved]]
            neutral[:, columns] = medians[columns]
            log_odds = _log_odds(model.predict_proba(neutral[:, used])[:, 1])
            effect[moved] = np.round(base[rows[moved]] - log_odds, 9)
        return effect

    everyone = np.arange(today.height)
    themes = [
        [names.index(feature) for feature in features if names.index(feature) in used]
        for features in THEMES.values()
    ]
    themes = [columns for columns in themes if columns]
    effects = np.column_stack([effect_of(columns, everyone) for columns in themes])
    # Equal effects come in the order of the themes.
    order = np.argsort(-np.abs(effects), axis=1, kind="stable")[:, :N_REASONS]
    texts = np.full((today.height, N_REASONS), None, dtype=object)
    values = {column: today[names[column]].to_numpy() for column in used}
    for theme, columns in enumerate(themes):
        rows, ranks = np.nonzero((order == theme) & (effects[:, [theme]] != 0))
        raises = effects[rows, theme] > 0
        chosen = np.full(len(rows), columns[0])
        if len(columns) > 1 and len(rows):
            # The feature of the theme that pushes hardest in the theme's own direction.
            pushes = np.column_stack([effect_of([column], rows) for column in columns])
            chosen = np.array(columns)[np.argmax(pushes * np.where(raises, 1, -1)[:, None], axis=1)]
        texts[rows, ranks] = [
            f"{describe(names[column], values[column][row])} "
            f"({'raises' if is_raised else 'lowers'} the risk)"
            for row, column, is_raised in zip(rows, chosen, raises, strict=True)
        ]
    return texts


def _median(column: np.ndarray) -> float:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if known.size else np.nan
