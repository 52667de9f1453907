"""Recommend new products; see perennial.recommend.recommend_new_items."""

from perennial.recommend import recommend_new_items
from perennial.stream import streamed


def model(dbt, session):
    """Return up to five rows per customer."""
    dbt.config(materialized="table")
    return streamed(
        recommend_new_items(
            dbt.ref("item_purchases").pl(),
            dbt.ref("new_items").pl(),
            dbt.ref("products").pl(),
            dbt.ref("py_new_item_ways").pl(),
        )
    )
