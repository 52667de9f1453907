"""The churn library alone: splits by time, abstaining, sameness, reasons."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from perennial.churn import FEATURES, feature_matrix, score_customers, split_snapshots, train_models
from perennial.churn.features import THEMES
from perennial.churn.trees import Trees


def make_features(n: int = 400, snapshots: int = 13, seed: int = 0) -> pl.DataFrame:
    """Customers whose churn follows their recency; nothing else matters."""
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(snapshots):
        day = date(2024, 12, 31) - timedelta(days=30 * k)
        recency = rng.exponential(60, n)
        risk = 1 / (1 + np.exp(-(np.log1p(recency) - 4) * 2))
        frame = {name: rng.exponential(3, n) for name in FEATURES} | {"recency_days": recency}
        frames.append(
            pl.DataFrame(frame).with_columns(
                customer_id=pl.Series([f"c{i:04}" for i in range(n)]),
                snapshot_on=pl.lit(day),
                snapshot_at=pl.lit(datetime(day.year, day.month, day.day)),
                horizon_days=pl.lit(90),
                is_churned=pl.Series(rng.random(n) < risk) if k >= 3 else pl.lit(None, pl.Boolean),
                days_since_visit=pl.lit(None, pl.Float64),
            )
        )
    return pl.concat(frames)


def train(features: pl.DataFrame) -> pl.DataFrame:
    """Train on what is labelled; the newest snapshot is today."""
    return train_models(features.filter(pl.col("is_churned").is_not_null()), today(features))


def today(features: pl.DataFrame) -> pl.DataFrame:
    return features.filter(pl.col("snapshot_on") == pl.col("snapshot_on").max())


def test_split_leaves_a_horizon_between_its_parts():
    days = [date(2024, 1, 1) + timedelta(days=30 * k) for k in range(10)]
    split = split_snapshots(days[::-1], 90)
    assert split.test == days[9] and split.select == days[6] and split.train == days[:4]


def test_split_of_a_short_history_is_none():
    assert split_snapshots([], 90) is None
    assert split_snapshots([date(2024, 1, 1), date(2024, 5, 1)], 90) is None


def test_models_find_the_signal_and_a_champion():
    models = train(make_features())
    assert models["status"].to_list() == ["trained"] * 3
    champion = models.filter(pl.col("is_champion"))
    assert champion.height == 1 and champion["model_name"][0] != "recency"
    predictions = champion["test_predictions"].explode().struct.unnest()
    assert predictions.height == 400
    churned = predictions.filter("is_churned")["probability"].mean()
    assert churned > predictions.filter(~pl.col("is_churned"))["probability"].mean() + 0.2


def test_same_rows_in_any_order_give_the_same_models_and_scores():
    features = make_features()
    shuffled = features.sample(fraction=1, shuffle=True, seed=3)
    models, again = train(features), train(shuffled)
    assert models.drop("fitted_model").equals(again.drop("fitted_model"))
    assert score_customers(today(features), models).equals(score_customers(today(shuffled), again))


@pytest.mark.parametrize(
    ("features", "why"),
    [
        (make_features(n=50), "snapshots have 50 rows"),
        (make_features(snapshots=6), "shorter than three horizons"),
        (
            make_features().with_columns(
                is_churned=pl.when(pl.col("is_churned").is_not_null()).then(pl.lit(True))
            ),
            "0 of the rarer outcome",
        ),
    ],
)
def test_too_little_data_makes_the_models_abstain(features, why):
    models = train(features)
    assert all(status.startswith("abstained: ") and why in status for status in models["status"])
    assert not models["is_champion"].any()
    assert score_customers(today(features), models).is_empty()


def test_no_customers_no_models():
    nobody = make_features().clear()
    assert train(nobody).is_empty()
    assert score_customers(nobody, train(nobody)).is_empty()


def test_odd_values_are_missing_values():
    features = make_features(n=3, snapshots=1).with_columns(
        net_amount=pl.Series([float("inf"), float("nan"), -5.0])
    )
    column = feature_matrix(features)[:, list(FEATURES).index("net_amount")]
    assert np.isnan(column[:2]).all() and column[2] == pytest.approx(-np.log(6))


def test_reasons_name_what_drives_the_score():
    features = make_features()
    scores = score_customers(today(features), train(features))
    assert scores.height == 400 and scores["churn_probability"].is_between(0, 1).all()
    riskiest = scores.sort("churn_probability")[-1]
    assert riskiest["reason_1"][0].startswith("last order ")
    assert riskiest["reason_1"][0].endswith("(raises the risk)")


def test_every_feature_has_one_theme():
    themed = [feature for features in THEMES.values() for feature in features]
    assert sorted(themed) == sorted(FEATURES)


# Why


@pytest.fixture(scope="module")
def boosted() -> tuple[HistGradientBoostingClassifier, np.ndarray]:
    """A gradient boosting on features with ties, one of which says nothing, and other rows."""
    random = np.random.default_rng(3)
    rows = random.integers(-3, 9, (2000, 5)).astype(float)
    rows[:, 4] = 7.0
    rows[:, 2] += random.normal(size=2000)
    chance = 1 / (1 + np.exp(-(rows[:, 0] - rows[:, 2] * (rows[:, 1] > 2))))
    model = HistGradientBoostingClassifier(
        max_iter=40, max_leaf_nodes=12, early_stopping=False, random_state=1
    ).fit(rows, random.random(2000) < chance)
    return model, random.integers(-5, 12, (40_000, 5)).astype(float)


def test_trees_as_words_are_the_trees(boosted):
    model, rows = boosted
    neutral = np.array([1.0, 2.0, 0.5, -1.0, 7.0])
    sets = [[0], [1, 2], [4], [0, 1, 2, 3, 4]]
    found = Trees(model).log_odds(rows, neutral, sets)
    assert found.shape == (40_000, 5)
    for place, columns in enumerate([[], *sets]):
        changed = rows.copy()
        changed[:, columns] = neutral[columns]
        np.testing.assert_allclose(found[:, place], model.decision_function(changed), atol=1e-12)
    assert len(np.unique(found[:, 4])) == 1


def test_a_tree_without_a_split_and_one_with_too_many_leaves(boosted):
    rows = np.arange(100.0)[:, None]
    stump = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=60, early_stopping=False)
    stump.fit(rows, rows[:, 0] > 70)
    found = Trees(stump).log_odds(rows, np.zeros(1), [[0]])
    np.testing.assert_allclose(found[:, 0], stump.decision_function(rows), atol=1e-12)
    large = HistGradientBoostingClassifier(max_leaf_nodes=20, min_samples_leaf=1)
    with pytest.raises(ValueError, match="a tree has 20 leaves; 16 fit into a word"):
        Trees(
            large.fit(
                *[boosted[1][:, :1] % 97 + np.arange(40_000)[:, None], np.arange(40_000) % 7 > 3]
            )
        )


# Kept models


def test_models_are_trained_again_when_anything_changes():
    features = make_features()
    today = features.filter(pl.col("snapshot_on") == date(2024, 12, 31))
    first = train_models(features, today)
    # A kept model is a zip file, which holds the time of its making: bytes tell what was kept.
    same = train_models(features.sample(fraction=1, shuffle=True, seed=2), today, first)
    assert same.equals(first)

    def was_kept(kept: pl.DataFrame, **columns: pl.Expr) -> bool:
        return train_models(features.with_columns(**columns), today, kept).equals(kept)

    assert was_kept(first)
    one = pl.when(pl.int_range(pl.len()) == 2000)
    assert not was_kept(first, recency_days=one.then(0.5).otherwise("recency_days"))
    assert not was_kept(first, is_churned=one.then(~pl.col("is_churned")).otherwise("is_churned"))
    assert not was_kept(first.with_columns(trained_from=pl.lit("other rows")))
    assert not was_kept(first.drop("weights"))
    assert not was_kept(first.clear())
