"""Judge how well ratings are foretold; see perennial.recommend.judge_ratings."""

from perennial.recommend import judge_ratings


def model(dbt, session):
    """Return one row per predictor; none where nobody rates."""
    dbt.config(materialized="table")
    return judge_ratings(dbt.ref("item_ratings").pl()).to_arrow()
