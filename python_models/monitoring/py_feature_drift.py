"""Compare today's features and scores with the models' own; see perennial.monitoring."""

from perennial.churn import rows_to_learn_from
from perennial.monitoring import feature_drift


def model(dbt, session):
    """Return one row per feature, and one for the scores."""
    dbt.config(materialized="table")
    today = dbt.ref("churn_features_today").pl()
    # The horizon of the setting.
    horizon = today["horizon_days"].max()
    return feature_drift(
        rows_to_learn_from(dbt.ref("churn_features")),
        today,
        dbt.ref("churn_test_predictions").pl().filter("is_champion", horizon_days=horizon),
        dbt.ref("py_churn_scores").pl().filter(horizon_days=horizon),
    ).to_arrow()
