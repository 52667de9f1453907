"""Recommend products to every customer with an order; see perennial.recommend.recommend."""

from perennial.recommend import recommend
from perennial.stream import streamed


def model(dbt, session):
    """Return up to ten rows per customer."""
    dbt.config(materialized="table")
    return streamed(
        recommend(
            dbt.ref("item_purchases").pl(),
            dbt.ref("products").pl(),
            dbt.ref("py_recommenders").pl(),
            dbt.ref("recommendation_rules").pl(),
        )
    )
