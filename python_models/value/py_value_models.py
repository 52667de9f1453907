"""Fit the models of purchases and amounts; see perennial.value.forecasts.fit_models."""

from perennial.value.forecasts import fit_models


def model(dbt, session):
    """Return one row per cut and candidate."""
    dbt.config(materialized="table")
    return fit_models(
        dbt.ref("purchase_statistics").pl(),
        dbt.ref("purchase_histories").pl(),
        dbt.ref("purchase_season_counts").pl(),
    ).to_arrow()
