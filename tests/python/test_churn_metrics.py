"""The measures of churn models, against scikit-learn's, published values and plain loops."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from scipy.stats import beta
from sklearn import metrics as sklearn_metrics

from perennial.churn.metrics import (
    CUT,
    METRICS,
    METRICS_SCHEMA,
    Retention,
    expected_profit,
    measure,
    measure_models,
    rank,
)

# Scores of two digits tie often; both outcomes occur.
SCORED = st.lists(
    st.tuples(st.integers(0, 100).map(lambda n: n / 100), st.booleans()), min_size=2, max_size=60
).filter(lambda rows: len({is_churned for _, is_churned in rows}) == 2)


def arrays(rows) -> tuple[np.ndarray, np.ndarray]:
    score, is_churned = zip(*rows, strict=True)
    return np.array(score), np.array(is_churned, dtype=int)


@settings(max_examples=150, deadline=None)
@given(SCORED)
def test_measures_are_those_of_scikit_learn(rows):
    score, is_churned = arrays(rows)
    found = {name: metric(rank(score, is_churned)) for name, metric in METRICS.items()}
    warned = score >= CUT
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(is_churned, warned),
        "recall": sklearn_metrics.recall_score(is_churned, warned),
        "f1": sklearn_metrics.f1_score(is_churned, warned, zero_division=0),
        "roc_auc": sklearn_metrics.roc_auc_score(is_churned, score),
        "pr_auc": sklearn_metrics.average_precision_score(is_churned, score),
        "brier_score": sklearn_metrics.brier_score_loss(is_churned, score),
        "log_loss": sklearn_metrics.log_loss(is_churned, np.clip(score, 1e-15, 1 - 1e-15)),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    if warned.any():
        assert found["precision"] == pytest.approx(
            sklearn_metrics.precision_score(is_churned, warned)
        )
    else:
        assert np.isnan(found["precision"])


@settings(max_examples=80, deadline=None)
@given(SCORED)
def test_calibration_error_and_lift_by_hand(rows):
    score, is_churned = arrays(rows)
    ranking = rank(score, is_churned)
    error = 0.0
    for n in range(10):
        inside = (score * 10).astype(int).clip(max=9) == n
        if inside.any():
            error += abs(score[inside].mean() - is_churned[inside].mean()) * inside.mean()
    assert METRICS["expected_calibration_error"](ranking) == pytest.approx(error, abs=1e-9)
    # Ten times as many customers, so that a tenth is a whole number of them; ties are shared out.
    left, churned = len(rows), 0.0
    for value in sorted(set(score), reverse=True):
        same = score == value
        taken = min(left, 10 * same.sum())
        churned += taken * is_churned[same].mean()
        left -= taken
    lift = churned / len(rows) / is_churned.mean()
    assert METRICS["top_decile_lift"](ranking) == pytest.approx(lift, abs=1e-9)


def test_expected_maximum_profit_is_as_published():
    is_churned = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    score = np.array([0.18, 0.2, 0.7, 0.8, 0.5, 0.1, 0.2, 0.9])
    profit, share = expected_profit(rank(score, is_churned), Retention())
    assert profit == pytest.approx(22.52096997, abs=5e-9)
    assert 0 < share <= 1


@settings(max_examples=40, deadline=None)
@given(SCORED, st.floats(20, 400), st.floats(0, 15), st.floats(0.1, 5))
def test_expected_maximum_profit_is_the_mean_of_the_best_cut(rows, value, incentive, contact):
    """For each probability of acceptance every cut is tried; then these are averaged."""
    score, is_churned = arrays(rows)
    costs = Retention(value=value, incentive=incentive, contact=contact)
    cuts = [np.inf, *sorted(set(score), reverse=True)]
    hits = np.array([(score[is_churned == 1] >= cut).sum() for cut in cuts]) / len(score)
    alarms = np.array([(score[is_churned == 0] >= cut).sum() for cut in cuts]) / len(score)
    accepts = (np.arange(4000) + 0.5) / 4000
    profit = (
        accepts[:, None] * (value - incentive) * hits
        - contact * hits
        - (incentive + contact) * alarms
    )
    best, weight = profit.max(axis=1), beta.pdf(accepts, costs.alpha, costs.beta)
    found, share = expected_profit(rank(score, is_churned), costs)
    assert found == pytest.approx((best * weight).sum() / weight.sum(), rel=1e-3, abs=1e-3)
    assert -1e-9 <= share <= 1 + 1e-9


def test_the_hull_is_that_of_the_roc_curve():
    rng = np.random.default_rng(7)
    is_churned = rng.integers(0, 2, 400)
    score = np.round(np.clip(rng.normal(0.4 + 0.2 * is_churned, 0.2), 0, 1), 3)
    false, true, _ = sklearn_metrics.roc_curve(is_churned, score, drop_intermediate=False)
    corners = ConvexHull(np.column_stack([np.append(false, 1), np.append(true, 0)]))
    area = corners.volume
    # With no costs but those of false alarms the hull is all that matters: its area is found
    # from the segments.
    from perennial.churn.metrics import _hull

    churned, stayed = _hull(rank(score, is_churned))
    heights = np.concatenate([[0], np.cumsum(churned) / churned.sum()])
    widths = stayed / stayed.sum()
    assert (widths * (heights[1:] + heights[:-1]) / 2).sum() == pytest.approx(area, abs=1e-9)


def test_intervals_hold_the_truth():
    """Of 60 samples of a known world nearly all intervals hold its area under the curve."""
    rng = np.random.default_rng(1)
    truth = 0.7602  # Two normal distributions one apart: the normal probability of 1 / sqrt(2).
    n_held = 0
    for _ in range(60):
        is_churned = rng.integers(0, 2, 300)
        score = 1 / (1 + np.exp(-rng.normal(is_churned, 1)))
        value, low, high = measure(score, is_churned, 100)["roc_auc"]
        assert low < value < high
        n_held += low <= truth <= high
    assert n_held >= 52


def test_the_order_of_rows_does_not_matter_and_groups_are_measured_alone():
    rng = np.random.default_rng(3)
    n = 600
    frame = pl.DataFrame({
        "model_name": ["m"] * n,
        "horizon_days": [90] * n,
        "is_champion": [True] * n,
        "customer_id": [f"c{i:04}" for i in range(n)],
        "is_churned": rng.random(n) < 0.4,
        "churn_probability": np.round(rng.random(n), 2),
        "country": ["IS" if i % 100 == 0 else ["DE", "FR", None][i % 3] for i in range(n)],
    })  # fmt: skip
    found = measure_models(frame, {"country": "country"})
    assert dict(found.schema) == METRICS_SCHEMA
    assert found.equals(
        measure_models(frame.sample(fraction=1, shuffle=True, seed=1), {"country": "country"})
    )
    # Iceland has too few customers, and nobody lives nowhere.
    assert found["group_value"].unique().sort().to_list() == ["DE", "FR", "all"]
    # Groups are looked at of the model that scores.
    others = measure_models(frame.with_columns(is_champion=False), {"country": "country"})
    assert others.equals(found.filter(pl.col("group_type") == "all"))
    french = frame.filter(pl.col("country") == "FR")
    (auc,) = found.filter((pl.col("group_value") == "FR") & (pl.col("metric") == "roc_auc"))[
        "value"
    ]
    assert auc == pytest.approx(
        sklearn_metrics.roc_auc_score(french["is_churned"], french["churn_probability"])
    )


def test_a_model_that_warns_of_nobody_has_no_precision():
    frame = pl.DataFrame({
        "model_name": ["m"] * 4,
        "horizon_days": [90] * 4,
        "is_champion": [True] * 4,
        "customer_id": ["a", "b", "c", "d"],
        "is_churned": [True, False, False, False],
        "churn_probability": [0.2, 0.1, 0.1, 0.3],
    })  # fmt: skip
    found = measure_models(frame, {})
    assert found.filter(pl.col("metric") == "precision")["value"].to_list() == [None]
    assert found.filter(pl.col("metric") == "accuracy")["value"].to_list() == [0.75]


@pytest.mark.parametrize(
    ("score", "is_churned", "why"),
    [
        ([0.5, 1.5], [0, 1], "between 0 and 1"),
        ([0.5, np.nan], [0, 1], "between 0 and 1"),
        ([0.5, 0.6], [1, 1], "both outcomes"),
    ],
)
def test_what_cannot_be_measured_gets_a_sentence(score, is_churned, why):
    with pytest.raises(ValueError, match=why):
        measure(np.array(score), np.array(is_churned))


def test_without_churn_there_is_nothing_to_measure():
    frame = pl.DataFrame({
        "model_name": ["m"] * 3,
        "horizon_days": [90] * 3,
        "is_champion": [True] * 3,
        "customer_id": ["a", "b", "c"],
        "is_churned": [False] * 3,
        "churn_probability": [0.2, 0.1, 0.3],
    })  # fmt: skip
    assert measure_models(frame, {}).height == 0
    assert measure_models(frame.clear(), {}).height == 0
