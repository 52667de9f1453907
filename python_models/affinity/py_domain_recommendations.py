"""Recommend where customers have not bought yet; see perennial.recommend.recommend_across."""

from perennial.recommend import DOMAIN_TYPES, recommend_across
from perennial.stream import streamed


def model(dbt, session):
    """Return up to five rows per customer and type."""
    dbt.config(materialized="table")
    purchases, judged = dbt.ref("domain_purchases"), dbt.ref("py_domains").pl()
    # One type at a time: each is as long as all that was ever bought.
    return streamed(
        part
        for domain_type in DOMAIN_TYPES
        for part in recommend_across(
            purchases.filter(f"domain_type = '{domain_type}'").pl(), judged
        )
    )
