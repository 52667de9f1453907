"""Compare today's features and scores with the models' own; see perennial.monitoring."""

from perennial.monitoring import feature_drift


def model(dbt, session):
    """Return one row per feature, and one for the scores."""
    dbt.config(materialized="table")
    predictions = dbt.ref("churn_test_predictions").pl()
    champions = dbt.ref("py_churn_models").pl().filter("is_champion").select("model_name")
    return feature_drift(
        dbt.ref("churn_features").pl(),
        dbt.ref("churn_features_today").pl(),
        predictions.join(champions, on="model_name", how="semi"),
        dbt.ref("py_churn_scores").pl(),
    ).to_arrow()
