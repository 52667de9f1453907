"""Score today's customers with the champion, and say why."""

from __future__ import annotations

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
        One row per customer with the columns of SCORES_SCHEMA, by customer_id; empty where
        there is no champion.
    """
    champion = models.filter(pl.col("is_champion"))
    today = today.sort("customer_id")
    if champion.is_empty() or today.is_empty():
        return pl.DataFrame(schema=SCORES_SCHEMA)
    # Only where there is something to score: it takes seconds to load.
    from threadpoolctl import threadpool_limits

    from perennial.churn.candidates import predict, read_again
    from perennial.churn.reasons import reasons_of

    name = champion["model_name"][0]
    model = read_again(champion["fitted_model"][0])
    # As in training: beside other models of dbt, threads that wait by spinning slow all down.
    with threadpool_limits(1):
        probability = predict(name, model, today)
        reasons = reasons_of(name, model, today)
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
