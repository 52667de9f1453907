"""Which items lie in the same baskets, counted exactly, and the most similar of each.

A basket of n items holds n * (n - 1) / 2 pairs. Here a pair is met once: items are numbered from
the most frequent on, and each is counted with those of a greater number in the same baskets. What
follows an item in its baskets is gathered for some items at a time and counted by number, in
arrays that fit into the processor's cache; pairs below the least count are let go at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
from scipy import sparse

# Of so many lines the pairs are gathered at a time.
LINES = 50_000
THREADS = 2
# A table of partners has so many cells.
CELLS = 1_000_000
# Where fewer than one in so many cells of a block would be counted, its pairs are sorted instead.
SPARSE = 64

SCHEMA = {
    "basis": pl.String,
    "product_id": pl.String,
    "similar_product_id": pl.String,
    "similarity_rank": pl.Int64,
    "n_both": pl.Int64,
    "decayed_cosine": pl.Float64,
}


@dataclass(frozen=True)
class Baskets:
    """Items in baskets, by number; the same place in each array is one line, in any order.

    Attributes:
        basket: whose line it is, shape (lines,).
        item: what it is, each item once in a basket; shape (lines,).
        weight: what it weighs, or None where all weigh the same; shape (lines,).
        n_baskets: how many baskets there are.
        n_items: how many items there are.
    """

    basket: np.ndarray
    item: np.ndarray
    weight: np.ndarray | None
    n_baskets: int
    n_items: int

    @staticmethod
    def of(lists: pa.ChunkedArray, weights: pa.ChunkedArray | None, n_items: int) -> Baskets:
        """Make baskets of lists of item numbers, and of lists of weights of the same lengths."""
        lengths = _joined([np.diff(chunk.offsets) for chunk in lists.chunks], np.int32)
        items = _joined([chunk.flatten().to_numpy() for chunk in lists.chunks], np.int32)
        if weights is not None:
            weights = _joined([chunk.flatten().to_numpy() for chunk in weights.chunks], float)
        basket = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        return Baskets(basket, items, weights, len(lengths), n_items)

    def only(self, items: np.ndarray, size: int) -> Baskets:
        """Return what they hold of some items, and of baskets those with at least so many of them.

        Baskets are numbered anew, items are not.
        """
        wanted = np.zeros(self.n_items, bool)
        wanted[items] = True
        lines = wanted[self.item]
        is_large = np.bincount(self.basket[lines], minlength=self.n_baskets) >= size
        lines &= is_large[self.basket]
        number = np.cumsum(is_large, dtype=np.int32) - 1
        return Baskets(
            number[self.basket[lines]],
            self.item[lines],
            None if self.weight is None else self.weight[lines],
            int(is_large.sum()),
            self.n_items,
        )


@dataclass(frozen=True)
class Pairs:
    """Pairs of items that share baskets: the same place in each array is one pair.

    Attributes:
        one: number of the one item.
        other: number of the other, which is greater.
        n_both: baskets with both.
        weight: sum of the products of both lines' weights, or None.
    """

    one: np.ndarray
    other: np.ndarray
    n_both: np.ndarray
    weight: np.ndarray | None


def count_pairs(baskets: Baskets, min_count: int = 1) -> Pairs:
    """Count in how many baskets each pair of items lies together.

    Args:
        baskets: the baskets.
        min_count: pairs in fewer are left out.

    Returns:
        The pairs, by the numbers of their items.
    """
    parts = list(pairs_in_parts(baskets, min_count))
    return Pairs(
        *(_joined([part[place] for part in parts], np.int32) for place in range(3)),
        None if baskets.weight is None else _joined([part[3] for part in parts], float),
    )


def pairs_in_parts(baskets: Baskets, min_count: int = 1) -> Iterator[tuple[np.ndarray, ...]]:
    """Give the pairs of some items after the other, so that not all need be kept.

    Args and order are those of count_pairs.

    Yields:
        The arrays of Pairs, of one part.
    """
    n_items, n_lines = baskets.n_items, len(baskets.item)
    lines = np.arange(n_lines, dtype=_whole(n_lines))
    # By item, and from there by basket: so the items of a basket stand in order, and each line of
    # an item knows its place among those of its basket. Both sort by counting.
    shape = (n_items, baskets.n_baskets)
    by_item = sparse.coo_array((lines, (baskets.item, baskets.basket)), shape)
    # Else scipy would look for lines that are there twice.
    by_item.has_canonical_format = True
    by_item = by_item.tocsr()
    source, by_item.data = by_item.data, lines
    by_basket = by_item.tocsc()
    items, starts = by_basket.indices, by_item.indptr
    basket, ends = by_item.indices, by_basket.indptr[1:]
    place = np.empty_like(lines)
    place[by_basket.data] = lines
    weight = weights = None
    if baskets.weight is not None:
        weight = baskets.weight[source]
        weights = weight[by_basket.data]
    del by_basket, by_item, source, lines

    def counted(bounds: tuple[int, int]) -> list[tuple[np.ndarray, ...]]:
        first, last = bounds
        some = slice(starts[first], starts[last])
        # The places that follow each line's own in its basket.
        n_after = ends[basket[some]] - place[some] - 1
        offset = np.append(0, np.cumsum(n_after, dtype=np.int64))
        after = np.arange(offset[-1])
        after += np.repeat(place[some] + 1 - offset[:-1], n_after)
        found = items[after]
        n_met = np.diff(offset[starts[first : last + 1] - starts[first]])
        worth = None
        if weights is not None:
            worth = weights[after] * np.repeat(weight[some], n_after)
        is_dense = len(found) * SPARSE > (last - first) * (n_items - first)
        count = _by_cell if is_dense else _by_sorting
        return list(count(found, worth, n_met, first, n_items, min_count))

    bounds = [0]
    while bounds[-1] < n_items:
        last = int(np.searchsorted(starts, starts[bounds[-1]] + LINES, side="right")) - 1
        bounds.append(min(max(last, bounds[-1] + 1), n_items))
    with ThreadPoolExecutor(THREADS) as threads:
        for rows in threads.map(counted, pairwise(bounds)):
            yield from rows


def _by_cell(
    found: np.ndarray, worth: np.ndarray | None, n_met: np.ndarray, first: int, n: int, least: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """Count what one item after the other met: a cell for each that it could meet."""
    found = found - first
    start = 0
    for one, end in enumerate(np.cumsum(n_met), first):
        if end - start >= least:
            counts = np.bincount(found[start:end], minlength=n - first)
            others = np.flatnonzero(counts >= least)
            yield (
                np.full(len(others), one, np.int32),
                (others + first).astype(np.int32),
                counts[others].astype(np.int32),
                None
                if worth is None
                else np.bincount(found[start:end], worth[start:end], n - first)[others],
            )
        start = end


def _by_sorting(
    found: np.ndarray, worth: np.ndarray | None, n_met: np.ndarray, first: int, n: int, least: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """Count what some items met: equal pairs stand side by side once they are sorted."""
    key = found + np.repeat(np.arange(len(n_met), dtype=np.int64) * n, n_met)
    if worth is None:
        key.sort()
    else:
        order = np.argsort(key, kind="stable")
        key, worth = key[order], worth[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    counts = np.diff(starts, append=len(key))
    often = counts >= least
    one, other = np.divmod(key[starts[often]], n)
    yield (
        (one + first).astype(np.int32),
        other.astype(np.int32),
        counts[often].astype(np.int32),
        None
        if worth is None
        else (np.add.reduceat(worth, starts)[often] if len(starts) else np.zeros(0)),
    )


def most_similar(
    baskets: Baskets, n_item: np.ndarray, tie: np.ndarray, top_k: int, min_count: int
) -> tuple[np.ndarray, ...]:
    """Find the items most similar to each by cosine.

    With weights it is the cosine of weighted lines. Ties, to twelve digits, go by the number of
    baskets with both, then by `tie`.

    Args:
        baskets: the baskets.
        n_item: baskets with each item, shape (n_items,).
        tie: what comes first among equals, shape (n_items,).
        top_k: so many are kept of each.
        min_count: pairs in fewer baskets are none.

    Returns:
        Item, similar item, rank from 1, baskets with both, and the weighted cosine or None; by
        item and rank.
    """
    pairs = count_pairs(baskets, min_count)
    if pairs.weight is None:
        length = n_item.astype(float)
        shared = pairs.n_both
    else:
        length = np.bincount(baskets.item, baskets.weight**2, baskets.n_items)
        shared = pairs.weight
    cosine = shared / np.sqrt(length[pairs.one] * length[pairs.other])
    rounded = np.round(cosine, 12)
    # From both ends, by item; they come in the order of the one.
    place = np.arange(len(pairs.one), dtype=_whole(len(pairs.one)))
    starts = np.searchsorted(pairs.one, np.arange(baskets.n_items + 1))
    shape = (baskets.n_items, baskets.n_items)
    ends = sparse.csr_array((place, pairs.other, starts), shape)
    back = ends.tocsc()
    n_of = np.diff(ends.indptr) + np.diff(back.indptr)

    def nearest(items: np.ndarray) -> tuple[np.ndarray, ...]:
        which = _rows(ends, back, items)
        values = np.where(which >= 0, rounded[which], -1.0)
        near = which >= 0
        if which.shape[1] > top_k:
            # All that are as similar as the last one kept: ties are settled below.
            near &= values >= np.partition(values, -top_k, axis=1)[:, -top_k, None]
        row, column = np.nonzero(near)
        which, values = which[row, column], values[row, column]
        other = pairs.one[which] + pairs.other[which] - items[row]
        order = np.lexsort((tie[other], -pairs.n_both[which], -values, row))
        rank = np.arange(len(order)) - np.searchsorted(row, row) + 1
        order, rank = order[rank <= top_k], rank[rank <= top_k]
        return items[row[order]], other[order], rank, which[order]

    # Items with about as many partners are looked at together, as rows of a table.
    rising = np.argsort(n_of, kind="stable")[np.count_nonzero(n_of == 0) :]
    tables, first = [], 0
    while first < len(rising):
        widest = n_of[rising[first]] * 5 // 4 + 16
        last = int(np.searchsorted(n_of[rising], widest, side="right"))
        tables.append(rising[first : min(last, first + max(1, CELLS // widest))])
        first += len(tables[-1])
    with ThreadPoolExecutor(THREADS) as threads:
        found = list(threads.map(nearest, tables))
    item, other, rank, which = (_joined([part[n] for part in found], np.int64) for n in range(4))
    order = np.lexsort((rank, item))
    item, other, rank, which = (values[order] for values in (item, other, rank, which))
    return (
        item,
        other,
        rank,
        pairs.n_both[which],
        None if pairs.weight is None else cosine[which],
    )


def _rows(one: sparse.csr_array, other: sparse.csc_array, rows: np.ndarray) -> np.ndarray:
    """Return what some rows of the one and some columns of the other hold, -1 behind the last.

    Shape (rows, most that any holds).
    """
    starts = np.stack([table.indptr[rows] for table in (one, other)], axis=1)
    lengths = np.stack([table.indptr[rows + 1] for table in (one, other)], axis=1) - starts
    found = np.full((len(rows), lengths.sum(axis=1).max()), -1, one.data.dtype)
    for table, start, n, at in (
        (one, starts[:, 0], lengths[:, 0], np.zeros(len(rows), int)),
        (other, starts[:, 1], lengths[:, 1], lengths[:, 0]),
    ):
        step = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        cell = np.repeat(np.arange(len(rows)) * found.shape[1] + at, n) + step
        found.ravel()[cell] = table.data[np.repeat(start, n) + step]
    return found


def _whole(n: int) -> type:
    """Return the smallest type that counts to n."""
    return np.int32 if n < 2**31 else np.int64


def _joined(parts: list[np.ndarray], kind: type) -> np.ndarray:
    """Return arrays one after the other, of one type; an empty one where there are none."""
    return np.concatenate([np.zeros(0, kind), *parts]).astype(kind, copy=False)


def similar_items(
    counts: pl.DataFrame,
    lists: dict[str, pa.Table],
    top_k: int,
    min_count: int,
    half_life_days: float | None = None,
) -> pl.DataFrame:
    """Return the most similar items of each, of every kind of baskets.

    Args:
        counts: basis, product_id, item_number from 0 within the basis, and n_item; rows of
            `item_counts`.
        lists: of each basis a row per basket: `items`, numbers as a list; with a half-life also
            `days_ago`, how old each line is.
        top_k: so many are kept of each item.
        min_count: pairs in fewer baskets are none.
        half_life_days: a line this old weighs half; None for equal weights.

    Returns:
        Rows of SCHEMA, by basis, item number and rank.
    """
    parts = [pl.DataFrame(schema=SCHEMA)]
    for basis, table in sorted(lists.items()):
        items = counts.filter(basis=basis).sort("item_number")
        weigh = half_life_days is not None
        baskets = Baskets.of(table["items"], table["days_ago"] if weigh else None, len(items))
        if weigh:
            baskets = replace(baskets, weight=0.5 ** (baskets.weight / half_life_days))
        item, other, rank, n_both, cosine = most_similar(
            baskets,
            items["n_item"].to_numpy(),
            items["product_id"].rank("ordinal").to_numpy(),
            top_k,
            min_count,
        )
        parts.append(
            pl.DataFrame({
                "basis": pl.repeat(basis, len(item), eager=True),
                "product_id": items["product_id"].gather(item),
                "similar_product_id": items["product_id"].gather(other),
                "similarity_rank": rank,
                "n_both": n_both,
                "decayed_cosine": pl.Series(cosine, dtype=pl.Float64)
                if cosine is not None
                else pl.repeat(None, len(item), dtype=pl.Float64, eager=True),
            }).cast(SCHEMA)
        )  # fmt: skip
    return pl.concat(parts)
