"""Ratings foretold: by hand, and as scikit-surprise does it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from perennial.recommend import ratings
from perennial.recommend.ratings import PREDICTORS, Ratings, judge_ratings


def random_ratings(seed: int, n: int = 600, n_customers: int = 60, n_products: int = 20):
    """Ratings that customers and products and a taste of two kinds make."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(n_customers * n_products)[:n]
    customer, product = np.divmod(pairs, n_products)
    taste = np.where((customer + product) % 2, 0.7, -0.7)
    rating = (
        3.2 + rng.normal(0, 0.5, n_customers)[customer] + rng.normal(0, 0.5, n_products)[product]
    )
    rating = np.clip(np.round(rating + taste + rng.normal(0, 0.3, n)), 1, 5)
    return customer, product, rating


def test_biases_of_three_ratings_by_hand(monkeypatch):
    """One round: mean 3; of product 0 (4 + 5 - 6) / 12, of 1 -3 + 1 of 11; then the customers'."""
    monkeypatch.setattr(ratings, "ROUNDS", 1)
    fitted = Ratings(np.array([0, 1, 0]), np.array([0, 0, 1]), np.array([4.0, 4, 1]), 2, 2)
    assert fitted.mean == 3
    assert fitted.product_bias == pytest.approx([2 / 12, -2 / 11])
    first = (1 - 2 / 12) + (-2 + 2 / 11)
    assert fitted.customer_bias == pytest.approx([first / 17, (1 - 2 / 12) / 16])
    found = fitted.foretold("biases", np.array([0, -1, -1]), np.array([0, 1, -1]))
    assert found == pytest.approx([3 + first / 17 + 2 / 12, 3 - 2 / 11, 3])


@pytest.mark.parametrize("predictor", ["biases", "neighbours"])
def test_surprise_foretells_the_same(predictor):
    surprise = pytest.importorskip("surprise")
    pandas = pytest.importorskip("pandas")
    customer, product, rating = random_ratings(1)
    frame = pandas.DataFrame({"customer": customer, "product": product, "rating": rating})
    train = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5)))
    if predictor == "biases":
        model = surprise.BaselineOnly({"method": "als"}, verbose=False)
    else:
        model = surprise.KNNBaseline(
            k=40, verbose=False,
            sim_options={"name": "pearson_baseline", "user_based": False, "shrinkage": 100},
        )  # fmt: skip
    model.fit(train.build_full_trainset())
    fitted = Ratings(customer, product, rating, 60, 20)
    # What a customer gave is its own nearest neighbour there: only what they did not rate.
    new = np.setdiff1d(np.arange(60 * 20), customer * 20 + product)
    every = np.divmod(new, 20)
    theirs = [model.predict(u, i).est for u, i in zip(*every, strict=True)]
    assert fitted.foretold(predictor, *every) == pytest.approx(theirs, abs=1e-6)


def rows_of(seed: int) -> pl.DataFrame:
    customer, product, rating = random_ratings(seed)
    held_out = np.random.default_rng(seed).random(len(rating)) < 0.25
    return pl.DataFrame(
        {
            "customer_id": [f"c{n}" for n in customer],
            "product_id": [f"p{n}" for n in product],
            "rating": rating.astype(int),
            "is_held_out": held_out,
        }
    )


def test_errors_are_those_of_the_ratings_held_out():
    rows = rows_of(2)
    found = {row["predictor"]: row for row in judge_ratings(rows).iter_rows(named=True)}
    assert [*found] == [*PREDICTORS]
    known, came = (rows.filter(pl.col("is_held_out") == held)["rating"] for held in (False, True))
    error = came - known.mean()
    assert found["mean"]["rmse"] == pytest.approx((error**2).mean() ** 0.5)
    assert found["mean"]["mae"] == pytest.approx(error.abs().mean())
    assert found["mean"]["n_ratings"] == came.len()
    for row in found.values():
        assert row["rmse_low"] < row["rmse"] < row["rmse_high"]
        assert row["mae_low"] < row["mae"] < row["mae_high"]
    assert found["neighbours"]["rmse"] < found["biases"]["rmse"] < found["mean"]["rmse"]
    # What is held out teaches nothing.
    changed = rows.with_columns(
        rating=pl.when("is_held_out").then(6 - pl.col("rating")).otherwise("rating")
    )
    assert judge_ratings(rows.sample(fraction=1, shuffle=True, seed=3)).equals(judge_ratings(rows))
    assert judge_ratings(changed)["rmse"].max() > 1.5


def test_too_few_ratings_and_unknown_customers():
    assert judge_ratings(rows_of(3).head(0)).is_empty()
    few = judge_ratings(rows_of(3).head(100))
    assert few["rmse"].null_count() == len(PREDICTORS)
    assert few["status"][0].startswith("abstained: ")
    nobody = rows_of(3).with_columns(customer_id=pl.lit(None, pl.String))
    found = judge_ratings(nobody)
    assert found["status"].unique().to_list() == ["judged"]
    assert found["rmse"].is_finite().all()
