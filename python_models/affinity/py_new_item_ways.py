"""Judge in which order new products are shown; see perennial.recommend.judge_new_items."""

from perennial.recommend import judge_new_items


def model(dbt, session):
    """Return one row per cut and way."""
    dbt.config(materialized="table")
    return judge_new_items(
        dbt.ref("item_purchases").pl(),
        dbt.ref("new_items").pl(),
        dbt.ref("products").pl(),
    ).to_arrow()
