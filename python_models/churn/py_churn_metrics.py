"""Measure the churn models on their test, also by group; see perennial.churn.metrics."""

from perennial.churn.metrics import measure_models


def model(dbt, session):
    """Return one row per model, horizon, group and metric."""
    dbt.config(materialized="table")
    groups = dbt.ref("churn_test_groups").pl()
    predictions = dbt.ref("churn_test_predictions").pl().join(groups, on="customer_id", how="left")
    return measure_models(
        predictions, {"country": "country", "gender": "gender", "age": "age_band"}
    ).to_arrow()
