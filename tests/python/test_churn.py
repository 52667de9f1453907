"""The churn library alone: splits by time, abstaining, sameness, reasons."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import duckdb
import numpy as np
import polars as pl
import pytest
from sklearn.calibration import _sigmoid_calibration
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from perennial.churn import (
    FEATURES,
    feature_matrix,
    rows_to_learn_from,
    score_customers,
    split_snapshots,
    train_models,
)
from perennial.churn.calibration import calibrate
from perennial.churn.candidates import model_of, predict
from perennial.churn.features import THEMES
from perennial.churn.trees import Trees, path_contributions


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
    # Whoever orders again within the horizon does so on some day of its first half.
    return pl.concat(frames).with_columns(
        days_until_order=pl.when(~pl.col("is_churned")).then(pl.int_range(pl.len()) * 7 % 45 + 0.5)
    )


def train(features: pl.DataFrame) -> pl.DataFrame:
    """Train on what is labelled; the newest snapshot is today."""
    return train_models(features.filter(pl.col("is_churned").is_not_null()), today(features))


def today(features: pl.DataFrame) -> pl.DataFrame:
    return features.filter(pl.col("snapshot_on") == pl.col("snapshot_on").max())


def of_main(models: pl.DataFrame) -> pl.DataFrame:
    return models.filter(horizon_days=90)


def test_split_leaves_a_horizon_between_its_parts():
    days = [date(2024, 1, 1) + timedelta(days=30 * k) for k in range(13)]
    split = split_snapshots(days[::-1], 90)
    assert (split.test, split.select, split.calibrate) == (days[12], days[9], days[6])
    assert split.train == days[:4]
    # With less history nothing is left to calibrate, and the older part trains.
    split = split_snapshots(days[:9], 90)
    assert (split.test, split.select, split.calibrate) == (days[8], days[5], None)
    assert split.train == days[:3]


def test_split_of_a_short_history_is_none():
    assert split_snapshots([], 90) is None
    assert split_snapshots([date(2024, 1, 1), date(2024, 5, 1)], 90) is None


@pytest.fixture(scope="module")
def models() -> pl.DataFrame:
    """What was learned from the customers of make_features."""
    return train(make_features(snapshots=16))


def test_models_find_the_signal_and_a_champion(models):
    assert set(models["status"]) == {"trained"}
    assert models.group_by("horizon_days").len().sort("horizon_days").rows() == [
        (7, 4), (30, 4), (90, 8)
    ]  # fmt: skip
    assert models.filter("is_champion")["horizon_days"].sort().to_list() == [7, 30, 90]
    for row in of_main(models).iter_rows(named=True):
        predictions = pl.DataFrame(row["test_predictions"])
        assert predictions.height == 400
        churned = predictions.filter("is_churned")["probability"].mean()
        assert churned > predictions.filter(~pl.col("is_churned"))["probability"].mean() + 0.2
        # None of them is off the scale, whatever its training counted with weights.
        assert abs(predictions["probability"].mean() - predictions["is_churned"].mean()) < 0.1


def test_outcomes_of_shorter_horizons_are_their_own(models):
    shares = {
        row["horizon_days"]: pl.DataFrame(row["test_predictions"])["is_churned"].mean()
        for row in models.iter_rows(named=True)
    }
    stayed = 1 - shares[90]
    # Orders come evenly over the first half of the 90 days.
    assert 1 - shares[30] == pytest.approx(stayed * 30 / 45, abs=0.05)
    assert 1 - shares[7] == pytest.approx(stayed * 7 / 45, abs=0.05)


def test_what_calibrates_and_chooses_lies_between_training_and_test(models):
    horizon = timedelta(days=90)
    for row in of_main(models).iter_rows(named=True):
        assert row["selected_on"] + horizon <= row["tested_on"]
        assert row["trained_until_on"] + horizon <= row["tested_on"]
        if row["calibrated_on"]:
            assert row["fitted_until_on"] + horizon <= row["calibrated_on"] <= row["tested_on"]
    methods = dict(of_main(models).select("model_name", "calibration").rows())
    assert methods["linear_svm"] == "platt"
    assert methods["logistic_regression"] in ("none", "platt")
    assert methods["recency"] == methods["rfm"] == "none"


def test_a_champion_goes_only_when_it_is_beaten_by_more_than_noise():
    features = make_features(snapshots=16)
    first = train(features)

    def named(name: str) -> pl.DataFrame:
        return first.with_columns(
            is_champion=(pl.col("model_name") == name) & (pl.col("horizon_days") == 90),
            trained_from=pl.lit("other rows"),
        )

    labelled = features.filter(pl.col("is_churned").is_not_null())
    # One that is as good as the others stays.
    incumbent = "linear_svm"
    again = of_main(train_models(labelled, today(features), named(incumbent)))
    assert set(again["incumbent"]) == {incumbent}
    better = again.filter(
        pl.col("selection_gain") > pl.col("selection_noise"),
        ~pl.col("model_name").is_in(["recency", "rfm"]),
    )
    best = again.sort("selection_brier_score")["model_name"][0]
    assert better.is_empty() and best != incumbent
    assert again.filter("is_champion")["model_name"].to_list() == [incumbent]
    worse = labelled.with_columns(
        # A straight line cannot tell the middle from both ends.
        is_churned=(pl.col("recency_days") > 20) & (pl.col("recency_days") < 90),
        days_until_order=pl.when(pl.col("recency_days") <= 20).then(1.0),
    )
    beaten = of_main(train_models(worse, today(features)))
    assert beaten.filter("is_champion")["model_name"][0] not in ("logistic_regression", "recency")
    assert beaten.filter("is_champion")["selection_gain"][0] > 0.02


def test_importance_finds_what_matters(models):
    for row in models.filter("is_champion").iter_rows(named=True):
        drops = pl.DataFrame(row["importances"])
        themes = drops.filter(pl.col("feature").is_null()).sort("auc_drop")
        assert themes["theme"].n_unique() == themes.height == len(THEMES)
        assert drops.filter(pl.col("feature").is_not_null()).height == len(FEATURES)
        if row["horizon_days"] == 90:
            assert themes["theme"][-1] == "recency" and themes["auc_drop_low"][-1] > 0.05
            others = themes.filter(pl.col("theme") != "recency")
            assert (others["auc_drop_low"] < 0.02).all()


def test_stability_sees_who_is_scored(models):
    stability = of_main(models).filter("is_champion")["stability"].explode().struct.unnest()
    assert stability.height == 13
    assert stability["psi"][0] is None and (stability["psi"][1:] < 0.15).all()
    moved = make_features(snapshots=16).with_columns(
        recency_days=pl.when(pl.col("snapshot_on") == date(2024, 10, 2)).then(
            pl.col("recency_days") / 20
        ).otherwise("recency_days")
    )  # fmt: skip
    champion = of_main(train(moved)).filter("is_champion")
    stability = champion["stability"].explode().struct.unnest()
    assert stability["snapshot_on"][-1] == date(2024, 10, 2)
    assert stability["psi"][-1] > 1 > stability["psi_by_chance"][-1]


@pytest.mark.parametrize(
    "oddity",
    [
        {"net_amount": pl.lit(7.0)},
        {"net_amount": pl.lit(None, pl.Float64)},
        {"net_amount": pl.lit(float("inf"))},
        {name: pl.lit(1.0) for name in FEATURES},
    ],
)
def test_a_feature_that_says_nothing_is_borne(oddity):
    features = make_features(n=250, snapshots=16).with_columns(**oddity)
    found = train(features)
    assert set(of_main(found)["status"]) == {"trained"}
    scores = score_customers(today(features), found).filter(horizon_days=90)
    assert scores.height == 250 and scores["churn_probability"].is_between(0, 1).all()


def test_same_rows_in_any_order_give_the_same_models_and_scores():
    features = make_features()
    shuffled = features.sample(fraction=1, shuffle=True, seed=3)
    models, again = train(features), train(shuffled)
    # To the last byte, the models themselves too.
    assert models.equals(again)
    assert score_customers(today(features), models).equals(score_customers(today(shuffled), again))


@pytest.mark.parametrize(
    ("features", "why"),
    [
        (make_features(n=50), "snapshots have 50 rows"),
        (make_features(snapshots=6), "shorter than three horizons"),
        (
            make_features().with_columns(
                is_churned=pl.when(pl.col("is_churned").is_not_null()).then(pl.lit(True)),
                days_until_order=pl.lit(None, pl.Float64),
            ),
            "0 of the rarer outcome",
        ),
    ],
)
def test_too_little_data_makes_the_models_abstain(features, why):
    models = train(features)
    abstained = of_main(models)
    assert all(status.startswith("abstained: ") and why in status for status in abstained["status"])
    assert not abstained["is_champion"].any()
    assert score_customers(today(features), models).filter(horizon_days=90).is_empty()


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
    assert scores.height == 1200 and scores["churn_probability"].is_between(0, 1).all()
    assert scores.filter(pl.col("horizon_days") < 90)["reason_1"].null_count() == 800
    scores = scores.filter(horizon_days=90)
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


@pytest.mark.parametrize("kind", [DecisionTreeClassifier, RandomForestClassifier])
def test_contributions_along_the_paths_add_up_to_the_probability(boosted, kind):
    rows = boosted[1][:3000]
    outcome = (rows[:, 0] * rows[:, 1] + rows[:, 2] > 6).astype(int)
    more = {"n_estimators": 7} if kind is RandomForestClassifier else {}
    model = kind(max_depth=5, class_weight="balanced", random_state=1, **more).fit(rows, outcome)
    pushes = path_contributions(model, rows.astype(np.float32))
    assert pushes.shape == rows.shape and (pushes == 0).any()
    trees = [model] if kind is DecisionTreeClassifier else model.estimators_
    roots = np.mean([tree.tree_.value[0, 0, 1] / tree.tree_.value[0, 0].sum() for tree in trees])
    np.testing.assert_allclose(
        roots + pushes.sum(axis=1), model.predict_proba(rows)[:, 1], atol=1e-12
    )


# From what a model says to how often it comes true


def test_calibrations_are_those_of_scikit_learn():
    rng = np.random.default_rng(5)
    log_odds = np.round(rng.normal(0, 2, 3000), 2)
    churned = rng.random(3000) < 1 / (1 + np.exp(-(0.6 * log_odds - 0.8)))
    line = calibrate("platt", log_odds, churned)
    # That of the library learns from the outcomes as they are: with so many the same.
    theirs = LogisticRegression(C=1e9, tol=1e-9).fit(log_odds[:, None], churned)
    assert line.slope == pytest.approx(theirs.coef_[0, 0], rel=5e-3)
    assert line.intercept == pytest.approx(theirs.intercept_[0], rel=1e-2)
    a, b = _sigmoid_calibration(log_odds, churned.astype(int))
    assert (line.slope, line.intercept) == pytest.approx((-a, -b), rel=1e-4)
    steps = calibrate("isotonic", log_odds, churned)
    # At the ends, where few are, ours is less sure.
    asked = np.linspace(-4, 4, 999)
    found = steps.probability(asked)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(log_odds, churned).predict(asked)
    assert (np.diff(found) >= 0).all() and 0 < found.min() < found.max() < 1
    assert np.abs(found - theirs).mean() < 0.01


def test_calibration_brings_back_what_was_bent():
    rng = np.random.default_rng(6)
    truth = rng.normal(0, 1.5, 40_000)
    churned = rng.random(40_000) < 1 / (1 + np.exp(-truth))
    for bent in (3 * truth + 2, np.sinh(truth)):
        for method in ("platt", "isotonic"):
            found = calibrate(method, bent[:20_000], churned[:20_000]).probability(bent[20_000:])
            error = np.abs(found - 1 / (1 + np.exp(-truth[20_000:]))).mean()
            if method == "isotonic" or bent[0] == 3 * truth[0] + 2:
                assert error < 0.02
    # A score that says the opposite of the truth says nothing.
    level = calibrate("platt", -truth, churned)
    assert level.slope == 0 and np.ptp(level.probability(truth)) == 0
    few = calibrate("isotonic", np.array([0.0, 0.0, 1.0]), np.array([0, 1, 1]))
    assert few.probability(np.array([-9.0, 0.0, 0.5, 9.0])).tolist() == [0.5, 0.5, 0.625, 0.75]


# Kept models


def test_a_fixed_share_of_many_customers_is_learned_from():
    def learned_from(n_customers: int) -> pl.DataFrame:
        rows = pl.DataFrame({"customer_id": [f"c{n}" for n in range(n_customers)]}).join(
            pl.DataFrame({"snapshot_on": [date(2024, 1, 1), date(2024, 2, 1)]}), how="cross"
        )
        with duckdb.connect() as connection:
            connection.register("features", rows)
            return rows_to_learn_from(connection.sql("from features"), 300)

    assert learned_from(300).height == 600
    half, quarter = (set(learned_from(n)["customer_id"]) for n in (550, 1100))
    assert 220 < len(half) <= 300
    assert 220 < len(quarter) <= 300
    # Whole customers, and of those who are there already the same ones or half of them.
    assert learned_from(550).height == 2 * len(half)
    assert set(learned_from(551)["customer_id"]) >= half
    assert {c for c in quarter if int(c[1:]) < 550} < half
    assert learned_from(0).height == 0


def test_models_are_trained_again_when_anything_changes():
    features = make_features()
    today = features.filter(pl.col("snapshot_on") == date(2024, 12, 31))
    first = train_models(features, today)
    same = train_models(features.sample(fraction=1, shuffle=True, seed=2), today, first)
    assert same.equals(first)

    def was_kept(kept: pl.DataFrame, **columns: pl.Expr) -> bool:
        # A mark that training anew would not leave.
        marked = kept.with_columns(seed=pl.lit(5, pl.Int64))
        return train_models(features.with_columns(**columns), today, marked).equals(marked)

    assert was_kept(first)
    one = pl.when(pl.int_range(pl.len()) == 2000)
    assert not was_kept(first, recency_days=one.then(0.5).otherwise("recency_days"))
    assert not was_kept(first, is_churned=one.then(~pl.col("is_churned")).otherwise("is_churned"))
    assert not was_kept(first.with_columns(trained_from=pl.lit("other rows")))
    assert not was_kept(first.drop("weights"))
    assert not was_kept(first.clear())


def test_a_model_that_is_read_again_gives_the_same_scores(models):
    rows = today(make_features(snapshots=16))
    scores = score_customers(rows, models)
    for row in models.filter("is_champion").iter_rows(named=True):
        own = scores.filter(horizon_days=row["horizon_days"]).sort("customer_id")
        found = predict(*model_of(row), rows.sort("customer_id"))
        assert own["churn_probability"].to_numpy().tolist() == found.tolist()
