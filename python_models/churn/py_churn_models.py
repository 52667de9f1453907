"""Train, test and choose the churn models; see perennial.churn.train_models."""

from perennial.churn import train_models


def model(dbt, session):
    """Return one row per candidate model."""
    dbt.config(materialized="table")
    return train_models(
        dbt.ref("churn_features").pl(), dbt.ref("churn_features_today").pl()
    ).to_arrow()
