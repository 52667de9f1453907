"""How often products are looked at in one visit, and bought in one order: the counts of both."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from perennial.affinity.similarity import Baskets, most_similar, pairs_in_parts

SCHEMA = {
    "product_id": pl.String,
    "other_product_id": pl.String,
    "n_viewed_both": pl.Int64,
    "n_bought_both": pl.Int64,
}


def item_relations(
    viewed: pl.DataFrame,
    visits: pa.Table,
    bought: pl.DataFrame,
    orders: pa.Table,
    top_k: int,
    min_count: int,
) -> pl.DataFrame:
    """Count pairs in visits and in orders.

    Args:
        viewed: product_id, item_number from 0 and n_viewed, visits with the product.
        visits: a row per visit that viewed several products: `items`, their numbers as a list.
        bought: product_id, item_number from 0 and n_item, orders with the product.
        orders: the same of orders as visits.
        top_k: of each product so many partners are looked at, by either cosine.
        min_count: pairs in fewer visits, or orders, are not looked at for them.

    Returns:
        One row per pair with the columns of SCHEMA, product_id the smaller one; by both. Each is
        among the most similar of one of its products, in visits or in orders; both counts are
        exact.
    """
    viewed, bought = viewed.sort("item_number"), bought.sort("item_number")
    ids = pl.concat([viewed["product_id"], bought["product_id"]]).unique().sort()
    if not len(ids):
        return pl.DataFrame(schema=SCHEMA)
    place = {product: n for n, product in enumerate(ids)}
    sides = []
    for counts, lists, name in ((viewed, visits, "n_viewed"), (bought, orders, "n_item")):
        baskets = Baskets.of(lists["items"], None, counts.height)
        places = np.array([place[product] for product in counts["product_id"]], np.int64)
        one, other, *_ = most_similar(baskets, counts[name].to_numpy(), places, top_k, min_count)
        sides.append((baskets, places, _keys(places, one, other, len(ids))))
    wanted = np.unique(np.concatenate([keys for *_, keys in sides]))
    n_both = [_given(baskets, places, wanted, len(ids)) for baskets, places, _ in sides]
    one, other = np.divmod(wanted, len(ids))
    return pl.DataFrame(
        {
            "product_id": ids.gather(one),
            "other_product_id": ids.gather(other),
            "n_viewed_both": n_both[0],
            "n_bought_both": n_both[1],
        }
    ).cast(SCHEMA)


def _keys(places: np.ndarray, one: np.ndarray, other: np.ndarray, n: int) -> np.ndarray:
    """Return a number for each pair, whichever of both comes first."""
    one, other = places[one], places[other]
    return np.minimum(one, other) * n + np.maximum(one, other)


def _given(baskets: Baskets, places: np.ndarray, wanted: np.ndarray, n: int) -> np.ndarray:
    """Return in how many baskets each of the wanted pairs lies, 0 for those in none."""
    found = np.zeros(len(wanted), np.int64)
    if not len(wanted):
        return found
    # Only what can be among them is counted, and what is not is let go at once.
    involved = np.zeros(n, bool)
    involved[np.concatenate(np.divmod(wanted, n))] = True
    some = baskets.only(np.flatnonzero(involved[places]), 2)
    for one, other, n_both, _ in pairs_in_parts(some):
        keys = _keys(places, one, other, n)
        at = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
        is_wanted = wanted[at] == keys
        found[at[is_wanted]] = n_both[is_wanted]
    return found
