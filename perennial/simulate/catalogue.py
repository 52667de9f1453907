"""The shop's products: what they are, who likes them, what goes together and what competes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from perennial.simulate import words
from perennial.simulate.parameters import DAY, N_CLUSTERS, Plan

QUARTER = 91 * DAY


@dataclass
class Catalogue:
    """The products as arrays of shape (n_products,), and the tables to draw from them.

    `draw_edges` is the cumulated choice probability of every (cluster, quarter), one after
    another, each raised by its own number, so that one search draws for all of them.
    """

    frame: pl.DataFrame
    truth: pl.DataFrame
    pairs: pl.DataFrame
    rivals: pl.DataFrame
    names: np.ndarray
    nouns: np.ndarray
    chinese: np.ndarray
    price: np.ndarray
    cluster: np.ndarray
    quality: np.ndarray
    partner: np.ndarray
    rival: np.ndarray
    draw_edges: np.ndarray
    n_quarters: int

    @property
    def size(self) -> int:
        """Number of products."""
        return len(self.price)

    def draw(self, rng: np.random.Generator, cluster: np.ndarray, when: np.ndarray) -> np.ndarray:
        """One product index for each (taste cluster, moment in seconds)."""
        group = cluster * self.n_quarters + np.minimum(when // QUARTER, self.n_quarters - 1)
        # Rounding down keeps the draw inside its own group when the uniform is next to 1.
        point = group + np.minimum(rng.random(len(group)), 1 - 1e-9)
        found = np.searchsorted(self.draw_edges, point, side="right")
        return np.minimum(found - group * self.size, self.size - 1)

    def ids(self) -> pl.Series:
        """The products' ids as text."""
        return self.frame["product_id"]


def make_catalogue(plan: Plan) -> Catalogue:
    """Make the shop's products.

    The assortment grows with the square root of the number of customers: 60 products for
    1,500 customers, at least 24 and at most 4,000.
    """
    rng = plan.rng(0, 1)
    n = int(np.clip(60 * np.sqrt(plan.n_customers / 1500), 24, 4000))
    categories = list(words.CATEGORIES)
    category = np.arange(n) % len(categories)
    round_ = np.arange(n) // len(categories)
    names, nouns, chinese, median = [], [], [], np.empty(n)
    winter = np.empty(n)
    for k in range(n):
        weight, price, own_nouns, adjectives, zh = words.CATEGORIES[categories[category[k]]]
        noun = own_nouns[round_[k] % len(own_nouns)]
        adjective = adjectives[
            (round_[k] // len(own_nouns) + round_[k] % len(own_nouns)) % len(adjectives)
        ]
        series = round_[k] // (len(own_nouns) * len(adjectives))
        names.append(f"{adjective} {noun}" + (f" No. {series + 1}" if series else ""))
        nouns.append(noun.lower())
        chinese.append(zh)
        median[k], winter[k] = price, weight
    brand = rng.integers(0, len(words.BRANDS), n)
    price = np.maximum(3.0, np.round(median * np.exp(rng.normal(0, 0.45, n)))) - 0.10
    cost = np.round(price * rng.uniform(0.35, 0.68, n), 2)
    quality = rng.normal(0.55, 0.75, n)
    # A category belongs to a cluster, but one product in five has strayed into another.
    cluster = np.where(rng.random(n) < 0.8, category % N_CLUSTERS, rng.integers(0, N_CLUSTERS, n))
    popularity = 1.0 / (rng.permutation(n) + 2.0) ** 0.8
    seconds = plan.seconds
    launched = np.where(rng.random(n) < 0.75, 0, (rng.random(n) * 0.8 * seconds).astype(np.int64))
    launched[: min(n, 2 * N_CLUSTERS)] = 0
    # In each of the last three quarters some are brought out that many are to see; they are first
    # drawn in the quarter that follows, and the last ones as the window ends.
    n_quarters = -(-seconds // QUARTER)
    for quarters_back, fresh in enumerate(np.array_split(np.arange(n - n // 6, n), 3)):
        launched[fresh] = max(0, n_quarters - 1 - quarters_back) * QUARTER
        popularity[fresh] = 0.3

    n_pairs = max(3, n // 10)
    # Partners are of one cluster's neighbourhood only by chance: a pair is a fact of its own.
    chosen = rng.permutation(np.flatnonzero(launched == 0))[: 2 * n_pairs]
    left, right = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 : len(chosen) // 2 * 2]
    partner = np.full(n, -1)
    partner[left], partner[right] = right, left
    rival = _rivals(category, popularity, (launched == 0) & (partner < 0))

    edges = []
    for own in range(N_CLUSTERS):
        for quarter in range(n_quarters):
            middle = plan.epoch + (quarter + 0.5) * QUARTER
            # 1 in mid-January, 0 in mid-July.
            cold = 0.5 + 0.5 * np.cos(2 * np.pi * (middle / DAY / 365.25 - 14 / 365.25))
            weight = popularity * np.where(cluster == own, 12.0, 1.0) * winter ** (2 * cold - 1)
            weight = np.where(launched <= quarter * QUARTER, weight, 0.0)
            total = np.cumsum(weight / weight.sum())
            total[-1] = 1.0
            edges.append(len(edges) + total)

    ids = pl.Series([f"p{k + 1:04d}" for k in range(n)])
    frame = pl.DataFrame(
        {
            "product_id": ids,
            "name": names,
            "category": [categories[k] for k in category],
            "brand": [words.BRANDS[k] for k in brand],
            "price": price,
            "unit_cost": cost,
            "description": [
                f"{name} by {words.BRANDS[b]}, from our {categories[c]} range."
                for name, b, c in zip(names, brand, category, strict=True)
            ],
            "ingested_at": moments(plan, launched + 3600),
        }
    )
    truth = pl.DataFrame(
        {
            "product_id": ids,
            "cluster": cluster,
            "quality": np.round(quality, 4),
            "popularity": np.round(popularity, 6),
            "winter_weight": winter,
            "launched_at": moments(plan, launched),
        }
    )
    probability = plan.behaviour.pair_probability
    pairs = pl.DataFrame(
        {
            "product_id": ids.gather(left),
            "with_product_id": ids.gather(right),
            "probability": np.full(len(left), probability),
        }
    )
    one = np.flatnonzero(rival > np.arange(n))
    rivals = pl.DataFrame(
        {
            "product_id": ids.gather(one),
            "with_product_id": ids.gather(rival[one]),
            "probability": np.full(len(one), plan.behaviour.rival_probability),
        }
    )
    return Catalogue(
        frame,
        truth,
        pairs,
        rivals,
        np.array(names, dtype=object),
        np.array(nouns, dtype=object),
        np.array(chinese, dtype=object),
        price,
        cluster,
        quality,
        partner,
        rival,
        np.concatenate(edges),
        n_quarters,
    )


def _rivals(category: np.ndarray, popularity: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The product that each competes with, -1 for most: two popular ones of a category.

    Only products that are `free` do; one pair in each of some categories.
    """
    rival = np.full(len(category), -1)
    pairs = []
    for kind in np.unique(category):
        own = np.flatnonzero(free & (category == kind))
        best = own[np.argsort(-popularity[own], kind="stable")][:2]
        if len(best) == 2:
            pairs.append((popularity[best[1]], *np.sort(best)))
    for _, one, other in sorted(pairs, reverse=True)[: max(1, len(category) // 20)]:
        rival[one], rival[other] = other, one
    return rival


def moments(plan: Plan, seconds: np.ndarray, known: np.ndarray | None = None) -> pl.Series:
    """Seconds since the window's start as UTC timestamps; null where `known` is False."""
    series = pl.Series((np.asarray(seconds, dtype=np.int64) + plan.epoch) * 1_000_000)
    series = series.cast(pl.Datetime("us"))
    return series if known is None else masked(series, known)


def masked(series: pl.Series, known: np.ndarray) -> pl.Series:
    """The series with nulls where `known` is False."""
    return pl.select(pl.when(pl.Series(known)).then(series)).to_series()


def labels(values: list | tuple | pl.Series, index: np.ndarray) -> pl.Series:
    """`values` taken at `index`; null where the index is negative."""
    series = values if isinstance(values, pl.Series) else pl.Series(list(values), dtype=pl.String)
    index = np.asarray(index)
    picker = pl.Series(index.astype(np.int64))
    if len(index) and index.min() < 0:
        picker = masked(picker, index >= 0)
    return series.gather(picker)


def numbered(prefix: str, number: np.ndarray, width: int) -> pl.Series:
    """Ids such as o00000012: the prefix, then the number with leading zeros."""
    text = pl.Series(np.asarray(number, dtype=np.int64)).cast(pl.String).str.zfill(width)
    return pl.select(pl.lit(prefix) + text).to_series()
