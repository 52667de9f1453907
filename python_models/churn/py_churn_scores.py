"""Score every scoreable customer at as_of; see perennial.churn.score_customers."""

from perennial.churn import score_customers


def model(dbt, session):
    """Return one row per customer and horizon with probability and reasons."""
    dbt.config(materialized="table")
    today = dbt.ref("churn_features_today").pl()
    models = dbt.ref("py_churn_models").pl()
    return score_customers(today, models).to_arrow()
