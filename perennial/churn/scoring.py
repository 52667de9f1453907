"""Score today's customers with the champion, and say why."""

from __future__ import annotations

import numpy as np
import polars as pl

N_REASONS = 3

SCORES_SCHEMA = {
    "customer_id": pl.String,
    "scored_at": pl.Datetime("us"),
    "model_name": pl.String,
    "horizon_days": pl.Int64,
    "churn_probability": pl.Float64,
    **{f"reason_{n + 1}": pl.String for n in range(N_REASONS)},
}


def score_customers(today: pl.DataFrame, models: pl.DataFrame) -> pl.DataFrame:
    """Return each scoreable customer's probability of churn, with the three main reasons.

    Args:
        today: rows of `churn_features_today`, in any order.
        models: what `train_models` returned.

    Returns:
        One row per customer and horizon with the columns of SCORES_SCHEMA, by horizon and
        customer_id; none for a horizon without a champion. Reasons are given for the horizon of
        the setting only.
    """
    champions = models.filter("is_champion").sort("horizon_days")
    today = today.sort("customer_id")
    if champions.is_empty() or today.is_empty():
        return pl.DataFrame(schema=SCORES_SCHEMA)
    main = today["horizon_days"][0]
    return pl.concat(
        _scored(today, champion, champion["horizon_days"] == main)
        for champion in champions.iter_rows(named=True)
    )


def _scored(today: pl.DataFrame, champion: dict, with_reasons: bool) -> pl.DataFrame:
    # Only where there is something to score: it takes seconds to load.
    from threadpoolctl import threadpool_limits

    from perennial.churn.candidates import model_of, predict
    from perennial.churn.reasons import reasons_of

    fitted, calibration = model_of(champion)
    # As in training: beside other models of dbt, threads that wait by spinning slow all down.
    with threadpool_limits(1):
        probability = predict(fitted, calibration, today)
        reasons = (
            reasons_of(fitted, today)
            if with_reasons
            else np.full((today.height, N_REASONS), None, dtype=object)
        )
    scored = today.select(
        "customer_id",
        scored_at=pl.col("snapshot_at"),
        model_name=pl.lit(champion["model_name"]),
        horizon_days=pl.lit(champion["horizon_days"]),
        churn_probability=pl.Series(probability),
    )
    return scored.with_columns(
        pl.Series(f"reason_{n + 1}", reasons[:, n].tolist(), dtype=pl.String)
        for n in range(N_REASONS)
    ).cast(SCORES_SCHEMA)
