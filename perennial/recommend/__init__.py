"""Recommendations: what to show whom, judged by what came."""

from perennial.recommend.judging import judge, recommend

__all__ = ["judge", "recommend"]
