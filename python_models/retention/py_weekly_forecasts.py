"""Forecast the weeks ahead; see perennial.prediction.weeks.forecast_weeks."""

from perennial.prediction.weeks import forecast_weeks


def model(dbt, session):
    """Return one row per metric and week ahead."""
    dbt.config(materialized="table")
    return forecast_weeks(dbt.ref("weekly_counts").pl()).to_arrow()
