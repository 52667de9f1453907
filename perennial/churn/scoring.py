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
        pl.Series(f"reason_{n + 1}", [r[n] for r in reasons], dtype=pl.String)
        for n in range(N_REASONS)
    ).cast(SCORES_SCHEMA)


def _log_odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.log(clipped / (1 - clipped))


def _reasons(name: str, model, today: pl.DataFrame) -> list[list[str | None]]:
    matrix = feature_matrix(today)
    names = list(FEATURES)
    used = columns_of(name)
    base = _log_odds(model.predict_proba(matrix[:, used])[:, 1])
    medians = np.array([_median(matrix[:, column]) for column in range(matrix.shape[1])])

    def effect_of(columns: list[int]) -> np.ndarray:
        neutral = matrix.copy()
        neutral[:, columns] = medians[columns]
        return np.round(base - _log_odds(model.predict_proba(neutral[:, used])[:, 1]), 9)

    themes = [
        columns
        for features in THEMES.values()
        if (
            columns := [
                names.index(feature) for feature in features if names.index(feature) in used
            ]
        )
    ]
    theme_effects = np.column_stack([effect_of(columns) for columns in themes])
    feature_effects = {column: effect_of([column]) for columns in themes for column in columns}
    # Equal effects come in the order of the themes.
    order = np.argsort(-np.abs(theme_effects), axis=1, kind="stable")[:, :N_REASONS]
    values = today.select(names).rows()
    texts = []
    for row, chosen in enumerate(order):
        said: list[str | None] = []
        for theme in chosen:
            effect = theme_effects[row, theme]
            if effect == 0:
                continue
            # The feature of the theme that pushes hardest in the theme's own direction.
            column = max(themes[theme], key=lambda c: np.sign(effect) * feature_effects[c][row])
            text = describe(names[column], values[row][column])
            said.append(f"{text} ({'raises' if effect > 0 else 'lowers'} the risk)")
        texts.append(said + [None] * (N_REASONS - len(said)))
    return texts


def _median(column: np.ndarray) -> float:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if known.size else np.nan
