"""Ratings and lists beside published figures, on MovieLens-100k.

The data are GroupLens' and not ours to pass on: give the folder of its `u.data` and of the five
splits `u1.base` to `u5.test` that come with it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse
from tables import markdown_table
from threadpoolctl import threadpool_limits

from perennial.recommend.lists import measures, top
from perennial.recommend.purchases import Purchases
from perennial.recommend.ratings import Ratings
from perennial.recommend.recommenders import (
    AlternatingLeastSquares,
    Ease,
    Factors,
    ItemNeighbours,
    NonNegativeFactors,
    Popular,
    UserNeighbours,
    no_warnings,
)

COLUMNS = ("customer_id", "product_id", "rating", "moment")
SPLITS = range(1, 6)
# RMSE that https://github.com/NicolasHug/Surprise reports: BaselineOnly, KNNBaseline among users.
PUBLISHED_RATINGS = {"biases": 0.9457, "neighbours": 0.9320}
SHOWN = (
    Popular, ItemNeighbours, UserNeighbours, Factors, NonNegativeFactors,
    AlternatingLeastSquares, Ease,
)  # fmt: skip
K, N_SEEDS, HELD_OUT = 10, 5, 0.25
RANKING = ("precision", "recall", "ndcg")
# https://github.com/recommenders-team/recommenders, MovieLens 100k: 25 % of each user's ratings
# held out by chance, ten items, whatever was rated counts as liked.
PUBLISHED_LISTS = {
    "SAR": (0.330753, 0.176385, 0.382461),
    "NCF": (0.347296, 0.180775, 0.396118),
    "LightGCN": (0.379626, 0.144336, 0.419846),
    "BPR": (0.388229, 0.212522, 0.441997),
    "BiVAE": (0.411771, 0.219145, 0.475077),
}


def read(file: Path) -> pl.DataFrame:
    """Return customers, products, stars and seconds of one of the files."""
    return pl.read_csv(file, separator="\t", has_header=False, new_columns=list(COLUMNS))


def rating_errors(folder: Path) -> dict[str, tuple[float, float]]:
    """Return RMSE and MAE of each predictor, as means of the five splits."""
    found = {predictor: [] for predictor in PUBLISHED_RATINGS}
    for split in SPLITS:
        train, test = (read(folder / f"u{split}.{end}") for end in ("base", "test"))
        n_customers, n_products = (
            1 + max(train[name].max(), test[name].max()) for name in COLUMNS[:2]
        )
        fitted = Ratings(*(train[name].to_numpy() for name in COLUMNS[:3]), n_customers, n_products)
        customer, product = (test[name].to_numpy() for name in COLUMNS[:2])
        # Ids are numbers already; who has rated nothing before is nobody known.
        customer = np.where(np.isin(customer, train["customer_id"]), customer, -1)
        product = np.where(np.isin(product, train["product_id"]), product, -1)
        for predictor, errors in found.items():
            off = fitted.foretold(predictor, customer, product) - test["rating"].to_numpy()
            errors.append((np.sqrt((off**2).mean()), np.abs(off).mean()))
    return {name: tuple(np.mean(errors, axis=0)) for name, errors in found.items()}


def held_out(ratings: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the ratings to learn from, and of each customer a quarter by chance."""
    draw = np.random.default_rng(seed).random(len(ratings))
    place = pl.col("draw").rank("ordinal").over("customer_id")
    is_held_out = place <= (HELD_OUT * pl.len().over("customer_id")).round()
    drawn = ratings.with_columns(draw=pl.Series(draw)).with_columns(is_held_out=is_held_out)
    return drawn.filter(~pl.col("is_held_out")), drawn.filter("is_held_out")


def list_measures(ratings: pl.DataFrame, seed: int) -> dict[str, tuple[float, ...]]:
    """Return RANKING of each way to recommend, the mean of all customers."""
    newest = ratings["moment"].max()
    rows = ratings.select(
        pl.col("customer_id", "product_id").cast(pl.String),
        "moment",
        days_ago=(newest - pl.col("moment")) // 86_400,
    )
    train, test = held_out(rows, seed)
    customers, items = (np.unique(rows[name].to_numpy().astype(str)) for name in COLUMNS[:2])
    purchases = Purchases.of(train, customers, items)
    liked = sparse.csr_array(Purchases.of(test, customers, items).owned)
    judged = np.flatnonzero(np.diff(liked.indptr))
    popularity = np.bincount(purchases.owned.indices, minlength=len(items)).astype(float)
    found = {}
    for kind in SHOWN:
        with no_warnings():
            scores = kind(purchases).scores(judged).astype(float)
        # Nobody rates a film twice.
        scores[purchases.owned[judged].nonzero()] = -np.inf
        good = measures(top(scores, popularity, K), liked[judged], np.diff(liked.indptr)[judged], K)
        found[kind.name] = tuple(good[name].mean() for name in RANKING)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where u.data and u1.base to u5.test are")
    folder = parser.parse_args(arguments).folder
    missing = [
        name
        for name in ["u.data", *(f"u{n}.{end}" for n in SPLITS for end in ("base", "test"))]
        if not (folder / name).exists()
    ]
    if missing:
        parser.error(f"{folder} lacks {', '.join(missing)}; they come with ml-100k of GroupLens")
    rows = [
        [name, *(f"{value:.4f}" for value in (*errors, PUBLISHED_RATINGS[name]))]
        for name, errors in rating_errors(folder).items()
    ]
    print(markdown_table([["ratings", "RMSE", "MAE", "published RMSE"], *rows]))
    ratings = read(folder / "u.data")
    with threadpool_limits(1):
        runs = [list_measures(ratings, seed) for seed in range(N_SEEDS)]
    ours = {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
    off = {name: np.std([run[name] for run in runs], axis=0).max() for name in runs[0]}
    rows = [[name, *(f"{value:.4f}" for value in values)] for name, values in ours.items()]
    rows += [
        [f"published: {name}", *(f"{value:.4f}" for value in values)]
        for name, values in PUBLISHED_LISTS.items()
    ]
    print(markdown_table([["lists of ten", *RANKING], *rows]))
    print(f"Standard deviation between draws: {max(off.values()):.4f} at most.")


if __name__ == "__main__":
    main()
