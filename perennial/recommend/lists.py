"""From scores to lists, and how good lists are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

# So many customers at once that their scores of all items stay small.
BLOCK = 512
# So often customers are drawn anew for an interval.
N_DRAWS = 500
SEED = 20240229

MEASURES = ("hit_rate", "precision", "recall", "ndcg", "map", "mrr")


def blocks(customers: np.ndarray) -> Iterator[np.ndarray]:
    """Give customers by number, some at a time."""
    for first in range(0, len(customers), BLOCK):
        yield customers[first : first + BLOCK]


def top(scores: np.ndarray, popularity: np.ndarray, n: int) -> np.ndarray:
    """Return the numbers of the best n items of each row, the best first, shape (rows, n).

    Equal scores go by popularity, then by the order of the items: whoever gets no score of their
    own gets what is popular. Scores are rounded, for two machines may differ in the last digits.

    Args:
        scores: shape (rows, items); minus infinity where an item must not be in the list, whose
            place is then -1.
        popularity: shape (items,).
        n: length of the lists.
    """
    n_items = scores.shape[1]
    n_found = min(n, n_items)
    if n_found == 0:
        return np.full((len(scores), n), -1)
    by_popularity = np.lexsort((np.arange(n_items), -popularity))
    ordered = np.round(scores[:, by_popularity], 9)
    # To sort all items takes several times as long as to find the last one that is wanted.
    last = -np.partition(-ordered, n_found - 1, axis=1)[:, [n_found - 1]]
    is_tied = ordered == last
    n_free = n_found - (ordered > last).sum(axis=1, keepdims=True)
    is_in = (ordered > last) | (is_tied & (np.cumsum(is_tied, axis=1) <= n_free))
    places = np.nonzero(is_in)[1].reshape(len(scores), n_found)
    values = np.take_along_axis(ordered, places, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    found = by_popularity[np.take_along_axis(places, order, axis=1)]
    found = np.where(np.isneginf(np.take_along_axis(values, order, axis=1)), -1, found)
    return np.pad(found, ((0, 0), (0, n - n_found)), constant_values=-1)


def measures(
    lists: np.ndarray, bought: sparse.csr_array, n_bought: np.ndarray, k: int
) -> dict[str, np.ndarray]:
    """Return how good each list is, an array of shape (rows,) for each of MEASURES.

    Of the first k of a list, with what was bought counting 1 and everything else 0:
    hit_rate whether any was bought; precision the share of k; recall the share of what was
    bought; ndcg by sum of 1 / log2(place + 1), over that of the best list possible (Järvelin and
    Kekäläinen 2002); map the mean of the precisions at the places of what was bought, over the
    smaller of k and what was bought; mrr one over the first such place.

    Args:
        lists: numbers of items, shape (rows, places), -1 where there is none.
        bought: 1 for what was bought, shape (rows, items).
        n_bought: how many products were bought in all, also such that are in no list, shape
            (rows,); 1 or more.
        k: how many places count.
    """
    lists = lists[:, :k]
    customer, item = bought.nonzero()
    keys = np.arange(len(lists))[:, None] * bought.shape[1] + lists
    hits = np.isin(keys, customer * bought.shape[1] + item) & (lists >= 0)
    places = np.arange(1, hits.shape[1] + 1)
    gains = 1 / np.log2(places + 1)
    possible = np.minimum(n_bought, k)
    ideal = np.append(0.0, np.cumsum(1 / np.log2(np.arange(1, k + 1) + 1)))[possible.astype(int)]
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)
    precisions = np.cumsum(hits, axis=1) / places
    return {
        "hit_rate": hits.any(axis=1).astype(float),
        "precision": hits.sum(axis=1) / k,
        "recall": hits.sum(axis=1) / n_bought,
        "ndcg": (hits * gains).sum(axis=1) / ideal,
        "map": (hits * precisions).sum(axis=1) / possible,
        "mrr": 1 / first,
    }


def interval(values: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the means of columns and their 95 % intervals by the bootstrap, shape (columns,).

    Args:
        values: a row for each customer, shape (n, columns).
        draws: how often each customer was drawn, shape (draws, n).
    """
    means = draws @ values / np.maximum(draws.sum(axis=1, keepdims=True), 1)
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    # Linear algebra adds up in an order of its own: the last digits differ from run to run.
    mean, low, high = (np.round(found, 9) for found in (values.mean(axis=0), low, high))
    return mean, low, high


def held_against(
    lists: np.ndarray, others: np.ndarray, bought: sparse.csr_array, n_bought: np.ndarray, k: int
) -> dict[str, float]:
    """Return the NDCG of lists, and by how much it is above that of others for the same customers.

    Args:
        lists: numbers of items, shape (rows, places), -1 where there is none.
        others: the same of the other way.
        bought: 1 for what was bought, shape (rows, items).
        n_bought: how many products were bought in all, shape (rows,); 1 or more.
        k: how many places count.

    Returns:
        ndcg and gain, each with _low and _high, the ends of its 95 % bootstrap interval.
    """
    draws = np.random.default_rng(SEED).poisson(1.0, (N_DRAWS, len(lists))).astype(np.float32)
    own, other = (measures(each, bought, n_bought, k)["ndcg"] for each in (lists, others))
    mean, low, high = interval(np.column_stack([own, own - other]), draws)
    return {
        f"{name}{end}": float(values[n])
        for n, name in enumerate(("ndcg", "gain"))
        for end, values in (("", mean), ("_low", low), ("_high", high))
    }
