"""Association rules: who buys these products in an order often buys those in it, too.

Sets of items that enough baskets hold are found size by size, as every part of a frequent set is
frequent (R. Agrawal and R. Srikant, "Fast algorithms for mining association rules", 1994). All
comparisons are of whole numbers: none is lost because a fraction was rounded.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import ceil

import numpy as np
import polars as pl
import pyarrow as pa

from perennial.affinity.similarity import Baskets, count_pairs

# A set that a single basket holds is no habit.
FEWEST_BASKETS = 2
# So many candidates of one size are counted for each set that may be kept.
CANDIDATES_PER_SET = 10
# Bits are made and looked at in tables of about so many bytes.
BYTES = 1 << 26

SCHEMA = {
    "antecedent": pl.List(pl.String),
    "consequent": pl.List(pl.String),
    "n_both": pl.Int64,
    "n_antecedent": pl.Int64,
    "n_consequent": pl.Int64,
    "n_baskets": pl.Int64,
    "n_least": pl.Int64,
}


def frequent_itemsets(
    baskets: Baskets, n_item: np.ndarray, min_count: int, max_items: int, max_itemsets: int
) -> list[pl.DataFrame]:
    """Find the sets of items that enough baskets hold.

    Where there are more than max_itemsets of a size, those in most baskets are kept: the least
    count rises for this size and the larger ones, until no more are left, and what is above it is
    complete.

    Args:
        baskets: the baskets; those of one item may be missing.
        n_item: baskets with each item, shape (n_items,).
        min_count: baskets that must hold a set.
        max_items: how large a set may be.
        max_itemsets: how many of one size are kept.

    Returns:
        For each size from 1 on a frame with the items' numbers, rising, as `item_0`, `item_1`, …,
        with `n`, the baskets with all of them, and `n_least`, the least count that was asked; by
        item. It ends where no set is frequent.
    """
    number = np.arange(baskets.n_items)
    sets = pl.DataFrame({"item_0": number, "n": n_item}, {"item_0": pl.Int32, "n": pl.Int64})
    sets, least = _kept(sets, max(1, min_count), max_itemsets)
    found = []
    while sets.height:
        found.append(sets.with_columns(n_least=pl.lit(least, pl.Int64)))
        size = len(found) + 1
        if size > max_items:
            break
        if size == 2:
            baskets = baskets.only(sets["item_0"].to_numpy(), 2)
            pairs = count_pairs(baskets, least)
            sets = pl.DataFrame({"item_0": pairs.one, "item_1": pairs.other, "n": pairs.n_both})
            sets = sets.cast({"n": pl.Int64})
        else:
            candidates, least = _candidates(sets, least, CANDIDATES_PER_SET * max_itemsets)
            baskets = baskets.only(candidates.to_numpy().ravel(), size)
            counts = pl.Series("n", _count(baskets, candidates.to_numpy()), pl.Int64)
            sets = candidates.with_columns(counts)
        sets, least = _kept(sets, least, max_itemsets)
    return found


def association_rules(
    counts: pl.DataFrame,
    lists: pa.Table,
    min_support: float,
    min_confidence: float,
    max_items: int,
    max_itemsets: int,
) -> pl.DataFrame:
    """Find rules in orders: of those with the antecedent, many hold the consequent, too.

    Args:
        counts: product_id, item_number, n_item and n_baskets of the basis order; rows of
            `item_counts`.
        lists: a row per order of more than one product: `items`, their numbers as a list.
        min_support: share of all orders that must hold both sides, FEWEST_BASKETS at least.
        min_confidence: share of the orders with the antecedent that must hold the consequent.
        max_items: products of both sides together.
        max_itemsets: how many sets of one size are looked at.

    Returns:
        One row per rule with the columns of SCHEMA: products by their ids, rising; by antecedent
        and consequent.
    """
    counts = counts.sort("item_number")
    if counts.is_empty():
        return pl.DataFrame(schema=SCHEMA)
    n_baskets = counts["n_baskets"][0]
    # As the number was written: 0.1 is a tenth, not the nearest fraction of powers of two.
    support, confidence = Fraction(str(min_support)), Fraction(str(min_confidence))
    levels = frequent_itemsets(
        Baskets.of(lists["items"], None, counts.height),
        counts["n_item"].to_numpy(),
        max(ceil(support * n_baskets), FEWEST_BASKETS),
        max_items,
        max_itemsets,
    )
    ids = counts["product_id"]
    parts = [pl.DataFrame(schema=SCHEMA)]
    for sets in levels[1:]:
        size = sets.width - 2
        for n_left in range(1, size):
            for left in combinations(range(size), n_left):
                right = [place for place in range(size) if place not in left]
                rules = _counted(sets, levels, list(left), "n_antecedent")
                rules = rules.filter(
                    pl.col("n") * confidence.denominator
                    >= pl.col("n_antecedent") * confidence.numerator
                )
                rules = _counted(rules, levels, right, "n_consequent")
                parts.append(
                    rules.select(
                        antecedent=_named(rules, list(left), ids),
                        consequent=_named(rules, right, ids),
                        n_both="n",
                        n_antecedent="n_antecedent",
                        n_consequent="n_consequent",
                        n_baskets=pl.lit(n_baskets, pl.Int64),
                        n_least="n_least",
                    )
                )
    return pl.concat(parts).sort("antecedent", "consequent")


def _counted(
    rules: pl.DataFrame, levels: list[pl.DataFrame], places: list[int], name: str
) -> pl.DataFrame:
    """Add how many baskets hold the items at some places."""
    part = levels[len(places) - 1].drop("n_least").rename({"n": name})
    return rules.join(
        part,
        left_on=[f"item_{place}" for place in places],
        right_on=[f"item_{place}" for place in range(len(places))],
        how="inner",
    )


def _named(rules: pl.DataFrame, places: list[int], ids: pl.Series) -> pl.Series:
    """Return lists of the ids of the items at some places."""
    if rules.is_empty():
        return pl.Series([], dtype=pl.List(pl.String))
    names = [ids.gather(rules[f"item_{place}"]) for place in places]
    return pl.select(pl.concat_list(names).list.sort()).to_series()


def _kept(sets: pl.DataFrame, least: int, most: int) -> tuple[pl.DataFrame, int]:
    """Return the sets in enough baskets, and how many are enough so that they are not too many."""
    sets = sets.filter(pl.col("n") >= least)
    if sets.height > most:
        least = int(sets["n"].top_k(most + 1).min()) + 1
        sets = sets.filter(pl.col("n") >= least)
    return sets.sort(sets.columns[:-1]), least


def _candidates(sets: pl.DataFrame, least: int, most: int) -> tuple[pl.DataFrame, int]:
    """Return the larger sets of which every part is frequent, and the least count they can have.

    Where too many could be, only the more frequent half of the parts is taken, until they are not.
    """
    items = sets.columns[:-1]
    first, last = items[:-1], items[-1]
    while True:
        # Two that differ in their last item only make one that is larger by one.
        groups = sets.group_by(first).len()["len"] if first else pl.Series([sets.height])
        if sets.is_empty() or (groups * (groups - 1) // 2).sum() <= most:
            break
        least = int(sets["n"].median()) + 1
        sets = sets.filter(pl.col("n") >= least)
    larger = f"item_{len(items)}"
    parts = sets.select(items)
    candidates = parts.join(parts.rename({last: larger}), on=first).filter(
        pl.col(last) < pl.col(larger)
    )
    for gone in items[:-2]:
        others = [name for name in (*items, larger) if name != gone]
        candidates = candidates.join(parts, left_on=others, right_on=items, how="semi")
    # Those without the last but one or the last item are the two that it was made of.
    others = [name for name in (*items, larger) if name != items[-2]]
    return candidates.join(parts, left_on=others, right_on=items, how="semi").select(
        *items, larger
    ), least


def _count(baskets: Baskets, sets: np.ndarray) -> np.ndarray:
    """Count the baskets with all items of each set: a bit per basket and item, and those in common.

    Shape of sets (n, size), of the counts (n,).
    """
    counts = np.zeros(len(sets), np.int64)
    used, places = np.unique(sets, return_inverse=True)
    places = places.reshape(sets.shape)
    row = np.zeros(baskets.n_items, np.int32)
    row[used] = np.arange(len(used))
    # Some baskets after the other; a whole number of words of 64 bits.
    width = max(64, BYTES // max(1, len(used)) // 64 * 64)
    order = np.argsort(baskets.basket, kind="stable")
    basket, item = baskets.basket[order], row[baskets.item[order]]
    for start in range(0, baskets.n_baskets, width):
        some = slice(*np.searchsorted(basket, (start, start + width)))
        n_words = -(-min(width, baskets.n_baskets - start) // 64)
        table = np.zeros((len(used), n_words * 64), bool)
        table[item[some], basket[some] - start] = True
        bits = np.packbits(table, axis=1).view(np.uint64)
        step = max(1, BYTES // (8 * n_words))
        for low in range(0, len(sets), step):
            of = places[low : low + step].T
            common = bits[of[0]]
            for one in of[1:]:
                common &= bits[one]
            counts[low : low + step] += np.bitwise_count(common).sum(axis=1, dtype=np.int64)
    return counts
