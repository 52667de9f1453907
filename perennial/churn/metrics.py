"""How good scores are: every usual measure, with an interval, for everyone and for groups.

All of them are read off the same list: the distinct scores from the highest down, each with how
many customers who churned and who stayed have it. Equal scores stay together, so that no measure
depends on the order of the rows, and a bootstrap sample is the same list with other counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import isotonic_regression
from scipy.special import betainc

SEED = 20240229
N_BOOTSTRAP = 200
# Half of what a 95 % interval leaves out.
TAIL = 0.025

# From this probability on a score counts as "will churn".
CUT = 0.5
N_BINS = 10

# Groups with fewer customers, or fewer of either outcome, say nothing.
MIN_CUSTOMERS = 100
MIN_PER_CLASS = 10

METRICS_SCHEMA = {
    "model_name": pl.String,
    "horizon_days": pl.Int64,
    "group_type": pl.String,
    "group_value": pl.String,
    "metric": pl.String,
    "n_customers": pl.Int64,
    "n_churned": pl.Int64,
    "value": pl.Float64,
    "value_low": pl.Float64,
    "value_high": pl.Float64,
}


@dataclass(frozen=True)
class Retention:
    """What keeping a customer costs and brings; amounts in one currency.

    Whoever is offered an incentive accepts it with a probability that is itself uncertain: it is
    beta distributed. Verbraken, Verbeke and Baesens, IEEE TKDE 25 (2013), whose parameters for
    customer churn these are.

    Attributes:
        alpha, beta: of the distribution of the probability that a churner takes the offer.
        value: what a customer who stays is worth.
        incentive: cost of the incentive.
        contact: cost of contacting somebody.
    """

    alpha: float = 6.0
    beta: float = 14.0
    value: float = 200.0
    incentive: float = 10.0
    contact: float = 1.0


@dataclass(frozen=True)
class Ranking:
    """Scores from the highest down, each array of shape (n,).

    Attributes:
        score: distinct scores.
        churned: customers with this score who churned.
        stayed: customers with this score who stayed.
    """

    score: np.ndarray
    churned: np.ndarray
    stayed: np.ndarray

    @property
    def is_both(self) -> bool:
        """Whether both outcomes occur."""
        return self.churned.sum() > 0 and self.stayed.sum() > 0


def roc_auc(ranking: Ranking) -> float:
    """Return the probability that who churned has a higher score than who stayed, ties half."""
    lower = ranking.stayed.sum() - np.cumsum(ranking.stayed)
    pairs = ranking.churned.sum() * ranking.stayed.sum()
    return float((ranking.churned * (lower + ranking.stayed / 2)).sum() / pairs)


def pr_auc(ranking: Ranking) -> float:
    """Return average precision: the sum of precision times the gain in recall."""
    taken = np.cumsum(ranking.churned + ranking.stayed)
    # Nobody may be left of a score in a bootstrap sample.
    precision = np.divide(
        np.cumsum(ranking.churned), taken, out=np.zeros(len(taken)), where=taken > 0
    )
    return float((precision * ranking.churned).sum() / ranking.churned.sum())


def brier_score(ranking: Ranking) -> float:
    """Return the mean squared difference of score and outcome."""
    loss = ranking.churned * (1 - ranking.score) ** 2 + ranking.stayed * ranking.score**2
    return float(loss.sum() / (ranking.churned + ranking.stayed).sum())


def log_loss(ranking: Ranking) -> float:
    """Return the mean negative logarithm of the probability of what happened."""
    score = np.clip(ranking.score, 1e-15, 1 - 1e-15)
    loss = -ranking.churned * np.log(score) - ranking.stayed * np.log1p(-score)
    return float(loss.sum() / (ranking.churned + ranking.stayed).sum())


def calibration_error(ranking: Ranking) -> float:
    """Return the mean distance of score and share of churn over bins of equal width.

    Naeini, Cooper and Hauskrecht (2015): N_BINS bins from 0 to 1, weighted by their customers.
    """
    bins = np.minimum((ranking.score * N_BINS).astype(int), N_BINS - 1)
    n = ranking.churned + ranking.stayed
    expected = np.bincount(bins, n * ranking.score, N_BINS)
    happened = np.bincount(bins, ranking.churned, N_BINS)
    return float(np.abs(expected - happened).sum() / n.sum())


def _at_cut(ranking: Ranking) -> tuple[float, float, float, float]:
    """Return true and false positives, false and true negatives at the cut."""
    above = ranking.score >= CUT
    hits, false_alarms = ranking.churned[above].sum(), ranking.stayed[above].sum()
    return hits, false_alarms, ranking.churned.sum() - hits, ranking.stayed.sum() - false_alarms


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def accuracy(ranking: Ranking) -> float:
    """Return the share of customers on the right side of the cut."""
    hits, false_alarms, misses, rejections = _at_cut(ranking)
    return _ratio(hits + rejections, hits + false_alarms + misses + rejections)


def precision(ranking: Ranking) -> float:
    """Return the share of churners above the cut; NaN where nobody is."""
    hits, false_alarms, *_ = _at_cut(ranking)
    return _ratio(hits, hits + false_alarms)


def recall(ranking: Ranking) -> float:
    """Return which share of churners is above the cut."""
    hits, _, misses, _ = _at_cut(ranking)
    return _ratio(hits, hits + misses)


def f1(ranking: Ranking) -> float:
    """Return the harmonic mean of precision and recall."""
    hits, false_alarms, misses, _ = _at_cut(ranking)
    return _ratio(2 * hits, 2 * hits + false_alarms + misses)


def false_alarm_rate(ranking: Ranking) -> float:
    """Return which share of those who stayed is above the cut."""
    _, false_alarms, _, rejections = _at_cut(ranking)
    return _ratio(false_alarms, false_alarms + rejections)


def top_decile_lift(ranking: Ranking) -> float:
    """Return how many times the average the tenth with the highest scores churned.

    Of a score that lies on the edge the tenth has its share.
    """
    n = ranking.churned + ranking.stayed
    left = n.sum() / 10 - (np.cumsum(n) - n)
    part = np.divide(np.clip(left, 0, n), n, out=np.zeros(len(n)), where=n > 0)
    return float((part * ranking.churned).sum() / (n.sum() / 10) * n.sum() / ranking.churned.sum())


def expected_profit(ranking: Ranking, costs: Retention | None = None) -> tuple[float, float]:
    """Return the expected maximum profit per customer, and the share of customers to contact.

    For each probability of taking the offer the campaign ends where profit is highest, and that is
    always at a corner of the convex hull of the ROC curve; the profit is then averaged over that
    probability (EMPC of the paper that Retention names).
    """
    costs = costs or Retention()
    n_churned, n_stayed = ranking.churned.sum(), ranking.stayed.sum()
    share_churned = n_churned / (n_churned + n_stayed)
    share_stayed = 1 - share_churned
    gains_true, gains_false = _hull(ranking)
    true = np.concatenate([[0.0], np.cumsum(gains_true) / n_churned])
    false = np.concatenate([[0.0], np.cumsum(gains_false) / n_stayed])
    delta, phi = costs.incentive / costs.value, costs.contact / costs.value
    # From which probability of acceptance on it pays to go on to the next corner.
    gain = share_churned * (1 - delta) * np.diff(true)
    cost = share_stayed * (delta + phi) * np.diff(false) + share_churned * phi * np.diff(true)
    with np.errstate(divide="ignore"):
        edges = np.divide(cost, gain, out=np.full(len(gain), np.inf), where=gain > 0)
    edges = np.concatenate([[0.0], np.minimum(edges, 1.0), [1.0]])
    a, b = costs.alpha, costs.beta
    weight = np.diff(betainc(a, b, edges))
    # The mean of the probability within each interval, times the interval's weight.
    mean = np.diff(betainc(a + 1, b, edges)) * a / (a + b)
    profit = costs.value * (
        (1 - delta) * share_churned * true * mean
        - (phi * share_churned * true + (delta + phi) * share_stayed * false) * weight
    )
    contacted = (share_churned * true + share_stayed * false) * weight
    return float(profit.sum()), float(contacted.sum())


def _hull(ranking: Ranking) -> tuple[np.ndarray, np.ndarray]:
    """Return the segments of the ROC curve's convex hull, the steepest first.

    As churned and stayed of each: the customers whom isotonic regression of the outcomes on the
    scores gives the same rate.
    """
    n = ranking.churned + ranking.stayed
    some = n > 0
    rate = isotonic_regression(ranking.churned[some] / n[some], weights=n[some], increasing=False).x
    block = np.concatenate([[0], np.cumsum(np.diff(rate) != 0)])
    return np.bincount(block, ranking.churned[some]), np.bincount(block, ranking.stayed[some])


# Of one number each; measure() adds the two of expected_profit.
METRICS: dict[str, Callable[[Ranking], float]] = {
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "false_alarm_rate": false_alarm_rate,
    "roc_auc": roc_auc,
    "pr_auc": pr_auc,
    "brier_score": brier_score,
    "log_loss": log_loss,
    "expected_calibration_error": calibration_error,
    "top_decile_lift": top_decile_lift,
}
PROFIT_METRICS = ("empc", "empc_share")


def rank(score: np.ndarray, is_churned: np.ndarray) -> Ranking:
    """Return the ranking of scores between 0 and 1, shape (n,), and outcomes.

    Raises:
        ValueError: a score is not between 0 and 1.
    """
    places, distinct = _places(score)
    return _ranking(distinct, places, is_churned, None)


def _places(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    score = np.asarray(score, dtype=float)
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("scores must lie between 0 and 1")
    # What differs after the twelfth digit only is the same score.
    distinct, places = np.unique(-np.round(score, 12), return_inverse=True)
    return places, -distinct


def _ranking(distinct, places, is_churned, weights) -> Ranking:
    weights = np.ones(len(places)) if weights is None else weights
    churned = np.bincount(places, weights * is_churned, len(distinct))
    return Ranking(distinct, churned, np.bincount(places, weights, len(distinct)) - churned)


def measure(
    score: np.ndarray, is_churned: np.ndarray, n_bootstrap: int = N_BOOTSTRAP
) -> dict[str, tuple[float, float, float]]:
    """Return every metric with the ends of its 95 % interval.

    The interval is that of the percentiles of bootstrap samples of customers.

    Args:
        score: probabilities of churn, shape (n,).
        is_churned: outcomes, shape (n,).
        n_bootstrap: how many samples.

    Raises:
        ValueError: a score is not between 0 and 1, or only one outcome occurs.
    """
    is_churned = np.asarray(is_churned, dtype=float)
    places, distinct = _places(score)
    ranking = _ranking(distinct, places, is_churned, None)
    if not ranking.is_both:
        raise ValueError("both outcomes must occur")
    rng = np.random.default_rng(SEED)
    n = len(places)
    samples = []
    for _ in range(n_bootstrap):
        weights = np.bincount(rng.integers(0, n, n), minlength=n)
        sample = _ranking(distinct, places, is_churned, weights)
        if sample.is_both:
            samples.append(_all_metrics(sample))
    found = {}
    for name, value in _all_metrics(ranking).items():
        values = np.array([sample[name] for sample in samples])
        values = values[np.isfinite(values)]
        low, high = np.quantile(values, [TAIL, 1 - TAIL]) if len(values) else (np.nan, np.nan)
        found[name] = (value, float(low), float(high))
    return found


def _all_metrics(ranking: Ranking) -> dict[str, float]:
    profit = zip(PROFIT_METRICS, expected_profit(ranking), strict=True)
    return {name: metric(ranking) for name, metric in METRICS.items()} | dict(profit)


def measure_models(predictions: pl.DataFrame, groups: dict[str, str]) -> pl.DataFrame:
    """Return every metric of every model, for everyone and by group.

    Args:
        predictions: one row per model_name, horizon_days and customer_id, with is_champion,
            is_churned, churn_probability and the columns of the groups.
        groups: group_type -> column.

    Returns:
        Rows of METRICS_SCHEMA; groups of champions only. Groups that are too small have none; a
        metric that is not defined, such as the precision of a model that warns of nobody, is null.
    """
    rows = []
    ordered = predictions.sort("model_name", "horizon_days", "customer_id")
    for key, model in ordered.group_by("model_name", "horizon_days", maintain_order=True):
        parts = [("all", "all", model)]
        for group_type, column in groups.items() if model["is_champion"].any() else ():
            known = model.filter(pl.col(column).is_not_null())
            parts += [
                (group_type, str(value), part)
                for (value,), part in sorted(
                    known.group_by(column), key=lambda item: str(item[0][0])
                )
            ]
        for group_type, value, part in parts:
            rows += _measured((*key, group_type, value), part.sort("customer_id"))
    return pl.DataFrame(rows, schema=METRICS_SCHEMA, orient="row").with_columns(
        pl.col("value", "value_low", "value_high").fill_nan(None)
    )


def _measured(key: tuple[str, int, str, str], part: pl.DataFrame) -> list:
    n_churned = int(part["is_churned"].sum())
    rarest = min(n_churned, part.height - n_churned)
    is_small = part.height < MIN_CUSTOMERS or rarest < MIN_PER_CLASS
    # Everyone is measured however few they are: the models abstain where that says nothing.
    if (is_small and key[2] != "all") or rarest == 0:
        return []
    found = measure(part["churn_probability"].to_numpy(), part["is_churned"].to_numpy())
    return [(*key, metric, part.height, n_churned, *values) for metric, values in found.items()]
