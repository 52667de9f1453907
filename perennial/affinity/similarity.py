"""Which items lie in the same baskets, counted exactly, and the most similar of each.

A basket of n items holds n * (n - 1) / 2 pairs. Here a pair is met once: items are numbered from
the most frequent on, and each is counted with those of a greater number in the same baskets. What
follows an item in its baskets is gathered for some items at a time and counted by number, in
arrays that fit into the processor's cache. Pairs below the least count are let go at once, and so
are those that cannot be among the most similar of either item.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import sparse

if TYPE_CHECKING:
    import pyarrow as pa

THREADS = 2
# So many lines are put in order, or their pairs gathered, at a time.
LINES = 32_000
# So many items of a basket are copied at once.
WIDTH = 4
# Lines are sorted by item in so many tables: what is written at a time shall fit into the cache.
TABLES = 8
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
    words = _Words.of(baskets)
    with ThreadPoolExecutor(THREADS) as threads:
        yield from threads.map(lambda part: _count(words, *part, min_count), words.parts())


@dataclass(frozen=True)
class _ByBasket:
    """Lines, one basket after the other.

    Attributes:
        item: as in Baskets, shape (lines,).
        weight: as in Baskets, shape (lines,), or None.
        starts: where the lines of each basket begin and the last ends, shape (n_baskets + 1,).
    """

    item: np.ndarray
    weight: np.ndarray | None
    starts: np.ndarray

    @staticmethod
    def of(baskets: Baskets) -> _ByBasket:
        """Sort lines by basket, unless they are; items of a basket may be in any order."""
        basket, item, weight = baskets.basket, baskets.item, baskets.weight
        if (basket[1:] >= basket[:-1]).all():
            firsts = np.flatnonzero(np.append(True, basket[1:] != basket[:-1])[: len(basket)])
            lengths = np.zeros(baskets.n_baskets, np.int64)
            lengths[basket[firsts]] = np.diff(firsts, append=len(basket))
            return _ByBasket(item, weight, np.append(0, np.cumsum(lengths)))
        data = np.zeros(len(item), np.int8) if weight is None else weight
        table = _counted_out(data, basket, item, (baskets.n_baskets, baskets.n_items))
        weight = None if weight is None else table.data
        return _ByBasket(table.indices, weight, table.indptr.astype(np.int64))


@dataclass(frozen=True)
class _ByItem:
    """Lines that others follow in their basket, by item and basket.

    Attributes:
        starts: where the lines of each item begin and the last ends, shape (n_items + 1,).
        word: the word in which begins what follows, shape (lines,).
        n_words: how many words that are, at least one; shape (lines,).
        weight: as in Baskets, shape (lines,), or None.
    """

    starts: np.ndarray
    word: np.ndarray
    n_words: np.ndarray
    weight: np.ndarray | None


@dataclass(frozen=True)
class _Words:
    """Baskets in words of some items each, so that what follows a line is copied by the word.

    The items of a basket stand in order, from the beginning of a word on; its last word is filled
    up with a number that no item has. What follows a line may begin within a word: what stands
    before it there has a smaller number, is counted too, and left out where counts are read.

    Attributes:
        item: numbers of items, shape (words, WIDTH).
        weight: what they weigh, of the same shape, or None.
        lines: the lines of some baskets, then those of the next.
        n_items: how many items there are, and what words are filled up with.
    """

    item: np.ndarray
    weight: np.ndarray | None
    lines: list[_ByItem]
    n_items: int

    @staticmethod
    def of(baskets: Baskets) -> _Words:
        """Put baskets in words."""
        by_basket = _ByBasket.of(baskets)
        starts, n_items = by_basket.starts, baskets.n_items
        # Where the words of each basket begin and the last ends.
        bounds = np.append(0, np.cumsum(-(-np.diff(starts) // WIDTH)))
        shape = (int(bounds[-1]), WIDTH)
        item = np.full(shape, n_items, np.uint16 if n_items < 2**16 else np.int32)
        weight = None if baskets.weight is None else np.zeros(shape)
        words = _Words(item, weight, [], n_items)
        cuts = np.searchsorted(starts, np.linspace(0, starts[-1], TABLES + 1)).tolist()
        cuts[-1] = len(starts) - 1
        with ThreadPoolExecutor(THREADS) as threads:
            words.lines.extend(
                threads.map(lambda part: words._write(by_basket, bounds, *part), pairwise(cuts))
            )
        return words

    def _write(self, by_basket: _ByBasket, bounds: np.ndarray, begin: int, end: int) -> _ByItem:
        """Write some baskets, of which the words are known, and return their lines."""
        starts = by_basket.starts[begin : end + 1]
        bounds = bounds[begin : end + 1]
        lengths = np.diff(starts)
        # How much further lines stand for the words filled up before them.
        shift = WIDTH * bounds[:-1] - starts[:-1]
        n_lines = int(starts[-1] - starts[0]) - np.count_nonzero(lengths)
        kind = _whole(max(self.n_items, len(self.item)))
        item, word = np.empty(n_lines, kind), np.empty(n_lines, kind)
        n_words = np.empty(n_lines, np.min_scalar_type(int(np.diff(bounds).max(initial=0))))
        weight = None if self.weight is None else np.empty(n_lines)
        done = 0
        for first, last in _parts(starts):
            lines = slice(starts[first], starts[last])
            basket = np.repeat(np.arange(first, last), lengths[first:last])
            key = basket * self.n_items
            key += by_basket.item[lines]
            own_weight = None if weight is None else by_basket.weight[lines]
            if not (key[1:] > key[:-1]).all():
                # Baskets stand in order already, which a stable sort makes use of.
                if weight is None:
                    key.sort(kind="stable")
                else:
                    order = np.argsort(key, kind="stable")
                    key, own_weight = key[order], own_weight[order]
            key -= basket * self.n_items
            own = key.astype(self.item.dtype)
            place = np.arange(lines.start, lines.stop)
            place += shift[basket]
            self.item.ravel()[place] = own
            if weight is not None:
                self.weight.ravel()[place] = own_weight
            after = (place + 1) // WIDTH
            # The last of a basket is followed by none.
            is_followed = np.append(basket[1:] == basket[:-1], False)[: len(basket)]
            some = slice(done, done + np.count_nonzero(is_followed))
            item[some], word[some] = own[is_followed], after[is_followed]
            n_words[some] = (bounds[basket + 1] - after)[is_followed]
            if weight is not None:
                weight[some] = own_weight[is_followed]
            done = some.stop
        data = n_words if weight is None else np.arange(n_lines, dtype=_whole(n_lines))
        table = _counted_out(data, item, word, (self.n_items, len(self.item)))
        if weight is not None:
            weight, n_words = weight[table.data], n_words[table.data]
        else:
            n_words = table.data
        return _ByItem(table.indptr, table.indices, n_words, weight)

    def parts(self) -> list[tuple[int, int]]:
        """Return from which item to which to count at a time."""
        return _parts(sum(lines.starts.astype(np.int64) for lines in self.lines))

    def after(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Return what follows the lines of some items, item by item.

        Returns:
            Numbers of items, less `first`; among them are some up to that of the item itself, and
            some that no item has. Products of both weights, or None. Where what follows each item
            begins and the last ends.
        """
        # From all tables, by item.
        counts = np.stack([np.diff(lines.starts[first : last + 1]) for lines in self.lines])
        starts = np.append(0, np.cumsum(counts.sum(axis=0)))
        begins = starts[:-1] + np.cumsum(counts, axis=0) - counts
        word, n_words = np.empty((2, starts[-1]), np.intp)
        weight = None if self.weight is None else np.empty(starts[-1])
        for lines, count, begin in zip(self.lines, counts, begins, strict=True):
            some = slice(lines.starts[first], lines.starts[last])
            place = np.arange(some.stop - some.start)
            place += np.repeat(begin - (lines.starts[first:last] - some.start), count)
            word[place], n_words[place] = lines.word[some], lines.n_words[some]
            if weight is not None:
                weight[place] = lines.weight[some]
        # From word to word, and from the last of a line to the first of the next.
        offset = np.append(0, np.cumsum(n_words))
        which = np.ones(offset[-1], np.intp)
        which[offset[:-1]] = word
        which[offset[1:-1]] -= (word + n_words - 1)[:-1]
        np.cumsum(which, out=which)
        found = self.item.take(which, axis=0).ravel()
        np.maximum(found, first, out=found)
        found -= found.dtype.type(first)
        if weight is not None:
            weight = (self.weight.take(which, axis=0) * np.repeat(weight, n_words)[:, None]).ravel()
        return found, weight, WIDTH * offset[starts]


def _counted_out(
    data: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_array:
    """Sort by row, by counting; in a row the order stays as it is."""
    table = sparse.coo_array((data, (rows, columns)), shape)
    # Else scipy would look for cells that are there twice.
    table.has_canonical_format = True
    return table.tocsr()


def _parts(starts: np.ndarray) -> list[tuple[int, int]]:
    """Cut rows that begin at these lines into runs of at most LINES lines, or of one row."""
    bounds = [0]
    while bounds[-1] < len(starts) - 1:
        last = int(np.searchsorted(starts, starts[bounds[-1]] + LINES, side="right")) - 1
        bounds.append(max(last, bounds[-1] + 1))
    return list(pairwise(bounds))


def _count(words: _Words, first: int, last: int, least: int) -> tuple[np.ndarray, ...]:
    """Return the arrays of Pairs of some items with those of a greater number."""
    found, worth, starts = words.after(first, last)
    n = words.n_items - first
    count = _by_cell if len(found) * SPARSE > (last - first) * n else _by_sorting
    one, other, n_both, weight = count(found, worth, starts, n, least)
    return (
        (one + first).astype(np.int32),
        (other + first).astype(np.int32),
        n_both.astype(np.int32),
        weight,
    )


def _by_cell(
    found: np.ndarray, worth: np.ndarray | None, starts: np.ndarray, n: int, least: int
) -> tuple[np.ndarray, ...]:
    """Count what one item after the other met: a cell for each of n that it could meet."""
    ones, others, counts, weights = [], [], [], []
    for one, (start, end) in enumerate(pairwise(starts.tolist())):
        if end - start < least:
            continue
        after = slice(one + 1, n)
        cells = np.bincount(found[start:end], minlength=n)[after]
        other = np.flatnonzero(cells >= least)
        counts.append(cells[other])
        if worth is not None:
            weights.append(np.bincount(found[start:end], worth[start:end], n)[after][other])
        ones.append(one)
        others.append(other + after.start)
    return (
        np.repeat(_joined([ones], np.int64), [len(other) for other in others]),
        _joined(others, np.int64),
        _joined(counts, np.int64),
        None if worth is None else _joined(weights, float),
    )


def _by_sorting(
    found: np.ndarray, worth: np.ndarray | None, starts: np.ndarray, n: int, least: int
) -> tuple[np.ndarray, ...]:
    """Count what some items met: equal pairs stand side by side once they are sorted."""
    one = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    met = np.flatnonzero((found > one) & (found < n))
    key = one[met] * n + found[met]
    if worth is None:
        key.sort()
    else:
        order = np.argsort(key, kind="stable")
        key, worth = key[order], worth[met[order]]
    heads = np.flatnonzero(np.diff(key, prepend=-1))
    counts = np.diff(heads, append=len(key))
    often = counts >= least
    if worth is not None:
        # Added one by one, as by cell: the sum is the same to the last bit.
        worth = np.bincount(np.repeat(np.arange(len(counts)), counts), worth, len(counts))[often]
    return *np.divmod(key[heads[often]], n), counts[often], worth


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
    n_items = baskets.n_items
    if baskets.weight is None:
        length = n_item.astype(float)
    else:
        length = np.bincount(baskets.item, baskets.weight**2, n_items)
    words = _Words.of(baskets)
    # A pair below it is not among the top of the item, by what is known of the item so far.
    floor = np.full(n_items, -np.inf)

    def near(part: tuple[int, int]) -> tuple[np.ndarray, ...]:
        one, other, n_both, weight = _count(words, *part, min_count)
        norm = np.sqrt(length[one] * length[other])
        # What is so old that its weight cannot be told from none is similar to nothing.
        norm[norm == 0] = np.inf
        cosine = (n_both if weight is None else weight) / norm
        starts = np.searchsorted(one, np.arange(part[0], part[1] + 1))
        for item in np.flatnonzero(np.diff(starts) > top_k).tolist():
            mine = cosine[starts[item] : starts[item + 1]]
            # Lower by more than rounding to twelve digits can move a cosine.
            floor[part[0] + item] = np.partition(mine, -top_k)[-top_k] - 1e-11
        kept = np.flatnonzero(cosine >= np.minimum(floor[one], floor[other]))
        return one[kept], other[kept], n_both[kept], cosine[kept]

    # Rare items first: when a frequent one meets them, most of their floors are known. Which pairs
    # stay hangs on what the other thread has done by then; which are found in the end does not.
    with ThreadPoolExecutor(THREADS) as threads:
        parts = list(threads.map(near, reversed(words.parts())))[::-1]
    one, other, n_both = (_joined([part[n] for part in parts], np.int32) for n in range(3))
    cosine = _joined([part[3] for part in parts], float)
    del parts
    rounded = np.round(cosine, 12)

    def seen_from(rows: np.ndarray, columns: np.ndarray) -> sparse.csr_array:
        kept = np.flatnonzero(cosine >= floor[rows])
        kept = kept.astype(_whole(len(rows)), copy=False)
        return _counted_out(kept, rows[kept], columns[kept], (n_items, n_items))

    with ThreadPoolExecutor(THREADS) as threads:
        ends = list(threads.map(seen_from, (other, one), (one, other)))
    n_of = sum(np.diff(table.indptr) for table in ends)
    starts = np.append(0, np.cumsum(np.minimum(n_of, top_k)))
    nearest, pair = np.empty(starts[-1], np.int64), np.empty(starts[-1], np.int64)

    def rank(items: np.ndarray) -> None:
        which = _rows(*ends, items)
        values = np.where(which >= 0, rounded[which], -np.inf)
        order = np.argsort(-values, axis=1, kind="stable")
        which, values = (np.take_along_axis(table, order, axis=1) for table in (which, values))
        near = which >= 0
        if which.shape[1] > top_k:
            # All that are as similar as the last one kept: ties are settled below.
            near &= values >= values[:, top_k - 1, None]
        row, column = np.nonzero(near)
        which, values = which[near], values[near]
        others = one[which] + other[which] - items[row]
        is_new = np.append(True, (values[1:] != values[:-1]) | (row[1:] != row[:-1]))
        tied = np.flatnonzero(~(is_new & np.append(is_new[1:], True)))
        run = np.cumsum(is_new)[tied]
        settled = tied[np.lexsort((tie[others[tied]], -n_both[which[tied]], run))]
        which[tied], others[tied] = which[settled], others[settled]
        first = column < top_k
        place = starts[items[row[first]]] + column[first]
        nearest[place], pair[place] = others[first], which[first]

    # Items with about as many partners are looked at together, as rows of a table.
    rising = np.argsort(n_of, kind="stable")[np.count_nonzero(n_of == 0) :]
    tables, first = [], 0
    while first < len(rising):
        widest = n_of[rising[first]] * 5 // 4 + 16
        last = int(np.searchsorted(n_of[rising], widest, side="right"))
        tables.append(rising[first : min(last, first + max(1, CELLS // widest))])
        first += len(tables[-1])
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(rank, tables))
    item = np.repeat(np.arange(n_items), np.diff(starts))
    return (
        item,
        nearest,
        np.arange(1, len(item) + 1) - starts[item],
        n_both[pair],
        None if baskets.weight is None else rounded[pair],
    )


def _rows(one: sparse.csr_array, other: sparse.csr_array, rows: np.ndarray) -> np.ndarray:
    """Return what some rows of both tables hold, those of the one first, -1 behind the last.

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
