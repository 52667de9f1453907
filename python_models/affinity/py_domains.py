"""Judge what one domain says about another; see perennial.recommend.judge_domains."""

from perennial.recommend import judge_domains


def model(dbt, session):
    """Return one row per type, source, target and cut."""
    dbt.config(materialized="table")
    return judge_domains(dbt.ref("domain_purchases").pl()).to_arrow()
