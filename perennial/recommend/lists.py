"""From scores to lists, and how good lists are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy import sparse

# So many customers at once that their scores of all items stay small.
BLOCK = 512
# And so many of those that their scores stay near the processor.
FEW = 64
# So often customers are drawn anew for an interval.
N_DRAWS = 500
SEED = 20240229

# What held_against tells.
GAINS = {f"{name}{end}": pl.Float64 for name in ("ndcg", "gain") for end in ("", "_low", "_high")}
MEASURES = ("hit_rate", "precision", "recall", "ndcg", "map", "mrr")


def blocks(customers: np.ndarray) -> Iterator[np.ndarray]:
    """Give customers by number, some at a time."""
    for first in range(0, len(customers), BLOCK):
        yield customers[first : first + BLOCK]


def top(scores: np.ndarray | sparse.csr_array, popularity: np.ndarray, n: int) -> np.ndarray:
    """Return the numbers of the best n items of each row, the best first, shape (rows, n).

    Equal scores go by popularity, then by the order of the items: whoever gets no score of their
    own gets what is popular. Scores are rounded, for two machines may differ in the last digits.

    Args:
        scores: shape (rows, items), a table or a sparse one; minus infinity where an item must not
            be in the list, whose place is then -1.
        popularity: shape (items,).
        n: length of the lists.
    """
    n_items = scores.shape[1]
    n_found = min(n, n_items)
    if n_found == 0:
        return np.full((scores.shape[0], n), -1)
    by_popularity = np.lexsort((np.arange(n_items), -popularity))
    rank = np.empty(n_items, np.int64)
    rank[by_popularity] = np.arange(n_items)
    found = [np.empty((0, n_found), int)]
    for first in range(0, scores.shape[0], FEW):
        some = scores[first : first + FEW]
        some = some.toarray() if sparse.issparse(some) else np.ascontiguousarray(some)
        if n_items < 4 * n_found:
            found.append(_sorted(some, by_popularity, n_found))
        else:
            found.append(_picked(some, by_popularity, rank, n_found))
    return np.pad(np.concatenate(found), ((0, 0), (0, n - n_found)), constant_values=-1)


def named(ids: np.ndarray, numbers: np.ndarray) -> pl.Series:
    """Return the ids with some numbers, nothing where the number is -1."""
    places = pl.Series(numbers, dtype=pl.Int64)
    return pl.Series(ids, dtype=pl.String).gather(places.set(places < 0, None))


def roughly_largest(values: np.ndarray, n: int, slack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what may be among the n largest of a row and above 0, not many more.

    Args:
        values: shape (rows, columns).
        n: how many, 1 or more.
        slack: by how much values that are not 0 may be wrong, shape (rows,).

    Returns:
        Rows and columns, one after the other.
    """
    least = np.maximum(_bound(values, n) - 2 * slack, np.finfo(values.dtype).tiny)
    places = np.flatnonzero(values >= least[:, None].astype(values.dtype))
    return np.divmod(places, values.shape[1])


def largest(row: np.ndarray, values: np.ndarray, n_rows: int, n: int) -> np.ndarray:
    """Return which values are among the n largest of their row, those above 0.

    Rounded as in top; of equal ones the first.

    Args:
        row: row of each value, in order, shape (values,).
        values: of 1 at most, so that their nine digits leave room for a place among equals.
        n_rows: how many rows there are.
        n: how many are kept of each, 1 or more.

    Returns:
        Places in values, in order.
    """
    place, widest = _within(row, n_rows)
    widest = max(n, widest)
    keys = np.full((n_rows, widest), -np.inf)
    keys[row, place] = np.rint(values * 1e9) - place * 0.5 ** (widest.bit_length() + 1)
    last = np.partition(keys, widest - n, axis=1)[:, widest - n]
    return np.flatnonzero((keys[row, place] >= last[row]) & (values > 0))


def _bound(values: np.ndarray, n: int) -> np.ndarray:
    """Return what at least n values of each row reach, and not many more, shape (rows,).

    Each row is dealt out to twice n heaps: the n largest of their maxima are n values. To find that
    takes a tenth of finding the n-th largest itself.
    """
    n_rows, n_columns = values.shape
    n_heaps = 2 * n
    if n_columns < 2 * n_heaps:
        return (
            np.partition(values, n_columns - n, axis=1)[:, n_columns - n]
            if n_columns > n
            else np.full(n_rows, -np.inf)
        )
    deep = n_columns // n_heaps
    heaps = values[:, : deep * n_heaps].reshape(n_rows, deep, n_heaps).max(axis=1)
    return np.partition(heaps, n_heaps - n, axis=1)[:, n_heaps - n]


def _within(row: np.ndarray, n_rows: int) -> tuple[np.ndarray, int]:
    """Return the place of each value in its row, and the length of the longest row.

    Args:
        row: row of each value, in order, shape (values,).
        n_rows: how many rows there are.
    """
    n_each = np.bincount(row, minlength=n_rows)
    return np.arange(len(row)) - (np.cumsum(n_each) - n_each)[row], int(n_each.max(initial=0))


def _picked(scores: np.ndarray, by_popularity: np.ndarray, rank: np.ndarray, n: int) -> np.ndarray:
    """Return the best n items of each row, sorting only what can be among them.

    Args:
        scores: shape (rows, items), of at least as many items as 4 n.
        by_popularity: numbers of the items, the most popular first.
        rank: place of each item there.
        n: length of the lists, 1 or more.
    """
    n_items = scores.shape[1]
    bound = _bound(scores, n)
    # What is rounded to as much as the bound, and a bit more.
    is_in = scores >= (bound - (1e-9 + np.abs(bound) * 1e-15))[:, None]
    tied = np.flatnonzero(np.count_nonzero(is_in, axis=1) > 6 * n)
    if len(tied):
        # Many items have the same score, mostly none: of those the most popular are enough.
        least = np.round(bound[tied], 9)
        again = scores[tied] > (least + 4e-10)[:, None]
        again[:, by_popularity[: 2 * n]] = True
        is_in[tied] = again
    row, item = np.divmod(np.flatnonzero(is_in), n_items)
    place, widest = _within(row, len(scores))
    values = np.full((len(scores), widest), -np.inf)
    values[row, place] = np.round(scores[row, item], 9)
    ranks = np.full(values.shape, n_items)
    ranks[row, place] = rank[item]
    order = np.lexsort((ranks, -values), axis=1)[:, :n]
    ranks = np.take_along_axis(ranks, order, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    found = np.where(np.isneginf(values), -1, by_popularity[np.minimum(ranks, n_items - 1)])
    if len(tied):
        last = values[tied]
        is_beyond = (last == least[:, None]) & (ranks[tied] >= 2 * n)
        is_short = (last[:, -1] < least) | is_beyond.any(axis=1)
        if is_short.any():
            # Of those that are equal, others may be more popular.
            short = tied[is_short]
            found[short] = _sorted(scores[short], by_popularity, n)
    return found


def _sorted(scores: np.ndarray, by_popularity: np.ndarray, n: int) -> np.ndarray:
    """Return the best n items of each row, whatever the scores; arguments as those of _picked."""
    ordered = np.round(scores[:, by_popularity], 9)
    # To sort all items takes several times as long as to find the last one that is wanted.
    last = -np.partition(-ordered, n - 1, axis=1)[:, [n - 1]]
    is_tied = ordered == last
    n_free = n - (ordered > last).sum(axis=1, keepdims=True)
    is_in = (ordered > last) | (is_tied & (np.cumsum(is_tied, axis=1) <= n_free))
    places = np.nonzero(is_in)[1].reshape(len(scores), n)
    values = np.take_along_axis(ordered, places, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    found = by_popularity[np.take_along_axis(places, order, axis=1)]
    return np.where(np.isneginf(np.take_along_axis(values, order, axis=1)), -1, found)


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
    hits = are_in(lists, bought)
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


def are_in(lists: np.ndarray, cells: sparse.csr_array) -> np.ndarray:
    """Return which places of lists hold an item that is a cell of its row, shape of lists.

    Args:
        lists: numbers of items, shape (rows, places), -1 where there is none.
        cells: shape (rows, items).
    """
    row, item = cells.nonzero()
    filled = np.sort(row.astype(np.int64) * cells.shape[1] + item)
    keys = np.arange(len(lists))[:, None] * cells.shape[1] + lists
    place = np.searchsorted(filled, keys)
    return (np.append(filled, -1)[place] == keys) & (lists >= 0)


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
