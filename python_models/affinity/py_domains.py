"""Judge what one domain says about another; see perennial.recommend.judge_domains."""

import polars as pl

from perennial.recommend import DOMAIN_TYPES, judge_domains


def model(dbt, session):
    """Return one row per type, source, target and cut."""
    dbt.config(materialized="table")
    purchases = dbt.ref("domain_purchases")
    # One type at a time: each is as long as all that was ever bought.
    return pl.concat(
        judge_domains(purchases.filter(f"domain_type = '{domain_type}'").pl())
        for domain_type in DOMAIN_TYPES
    ).to_arrow()
