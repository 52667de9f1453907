"""Recommendations: what to show whom, judged by what came."""

from perennial.recommend.domains import DOMAIN_TYPES, judge_domains, recommend_across
from perennial.recommend.judging import judge, recommend
from perennial.recommend.new_items import judge_new_items, recommend_new_items
from perennial.recommend.ratings import judge_ratings

__all__ = [
    "DOMAIN_TYPES",
    "judge",
    "judge_domains",
    "judge_new_items",
    "judge_ratings",
    "recommend",
    "recommend_across",
    "recommend_new_items",
]
