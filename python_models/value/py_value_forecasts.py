"""Forecast each customer's purchases and spending; see perennial.value.forecasts.forecast."""

from perennial.stream import streamed
from perennial.value.forecasts import forecast


def model(dbt, session):
    """Return one row per cut, customer and horizon."""
    dbt.config(materialized="table")
    histories, models = dbt.ref("purchase_histories").pl(), dbt.ref("py_value_models").pl()
    return streamed(forecast(histories, models))
