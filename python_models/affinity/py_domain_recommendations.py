"""Recommend where customers have not bought yet; see perennial.recommend.recommend_across."""

from perennial.recommend import recommend_across


def model(dbt, session):
    """Return up to five rows per customer and type."""
    dbt.config(materialized="table")
    return recommend_across(dbt.ref("domain_purchases").pl(), dbt.ref("py_domains").pl()).to_arrow()
