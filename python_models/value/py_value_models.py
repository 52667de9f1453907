"""Fit the models of purchases and amounts; see perennial.value.forecasts.fit_models."""

from perennial.value.forecasts import fit_models


def model(dbt, session):
    """Return one row per cut and candidate."""
    dbt.config(materialized="table")
    statistics = dbt.ref("purchase_statistics").pl()
    return fit_models(statistics, dbt.ref("purchase_histories").pl()).to_arrow()
