"""Whose rows the models learn from where features are made of more customers than that takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

# A model learns no more from more of them, and a million customers with twelve snapshots each
# would not fit into a laptop's memory.
MOST_CUSTOMERS = 100_000

_DIGITS = 8
_HALVINGS = 4 * _DIGITS


def rows_to_learn_from(
    features: DuckDBPyRelation, most_customers: int = MOST_CUSTOMERS
) -> pl.DataFrame:
    """Return the rows of all customers, or of a fixed share of them that is small enough.

    The share is halved until it is; who is in it is told by a hash, as in `churn_sample`, so that
    it is the same from day to day.

    Args:
        features: `churn_features`, still in DuckDB.
        most_customers: how many customers' rows are read at most.
    """
    bounds = [f"{16**_DIGITS // 2**n - 1:0{_DIGITS}x}" for n in range(_HALVINGS + 1)]
    draw = f"left(md5(customer_id), {_DIGITS})"
    counted = ", ".join(f"count(*) filter (where draw <= '{bound}')" for bound in bounds)
    customers = features.select(f"customer_id, {draw} as draw").distinct()
    (found,) = customers.aggregate(counted).fetchall()
    bound = next((b for b, n in zip(bounds, found, strict=True) if n <= most_customers), bounds[-1])
    return (features if bound == bounds[0] else features.filter(f"{draw} <= '{bound}'")).pl()
