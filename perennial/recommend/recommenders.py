"""Ways to tell what a customer will buy next. Each gives every product a score for each customer.

A score has no unit: only the order within one customer means something. Where a way knows nothing
of a product it says 0. All are deterministic: the same purchases give the same scores.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from typing import ClassVar

import numpy as np
import polars as pl
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, eigsh

from perennial.recommend.lists import blocks, largest, roughly_largest, top
from perennial.recommend.purchases import Purchases, drawn

# Of these days what is popular is counted.
POPULAR_DAYS = 90
# So many neighbours are looked at: of an item, and of a customer.
ITEM_NEIGHBOURS = 50
USER_NEIGHBOURS = 100
# Dimensions of what customers and items are boiled down to.
FACTORS = 32
# So many customers are asked for their neighbours, and learned from step by step.
MOST_LEARNERS = 20_000
# A table of which more than this share is filled is faster, and no larger, with its zeros.
FULL_SHARE = 0.2


@contextmanager
def no_warnings() -> Iterator[None]:
    """Keep scikit-learn from saying that factors could be refined: an order of products is enough.

    For the one who calls recommenders, around all threads: which warnings are shown is one setting
    of the whole process.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")
        yield


class Recommender(ABC):
    """A way to recommend; fitted when it is made.

    Attributes:
        name: what it is called in the marts.
    """

    name: ClassVar[str]

    def __init__(self, purchases: Purchases, products: pl.DataFrame | None = None):
        """Fit to purchases; products are described by rows of `products`."""
        self.purchases = purchases
        self.products = products
        self._fit()

    def scores(self, customers: np.ndarray) -> np.ndarray:
        """Return the scores of all items for some customers by number, shape (n, items)."""
        found = self._scores(customers)
        return found.toarray() if sparse.issparse(found) else found

    def lists(self, customers: np.ndarray, popularity: np.ndarray, n: int) -> np.ndarray:
        """Return the best n items of some customers, the best first, shape (customers, n).

        Args:
            customers: numbers of the customers.
            popularity: what comes first among equals, shape (items,).
            n: length of the lists; the last places are -1 where there are fewer items.
        """
        return top(self._scores(customers), popularity, n)

    @abstractmethod
    def _fit(self) -> None: ...

    @abstractmethod
    def _scores(self, customers: np.ndarray) -> np.ndarray | sparse.csr_array: ...


class Popular(Recommender):
    """What most customers bought of late; the same for all."""

    name = "popular"

    def _fit(self) -> None:
        purchases = self.purchases
        self.n_customers = _sums(purchases.since(POPULAR_DAYS).owned)

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        return np.tile(self.n_customers, (len(customers), 1))

    def lists(self, customers: np.ndarray, popularity: np.ndarray, n: int) -> np.ndarray:
        """Return the one list that there is, for everybody."""
        return np.tile(top(self.n_customers[None], popularity, n), (len(customers), 1))


class PopularInCategory(Recommender):
    """What most customers bought of late who like the same category best.

    The best-liked category is that of most of a customer's products, the first by name among
    equals. A tenth is what is popular with all: a category of few customers says little.
    """

    name = "popular_in_category"
    OF_ALL = 0.1

    def _fit(self) -> None:
        bought = self.purchases.owned @ categories(self.purchases, self.products)[1]
        # As numbers of the categories that anybody likes best.
        kinds, self.favourite = np.unique(first_largest(bought), return_inverse=True)
        n_customers = len(self.favourite)
        members = sparse.csr_array(
            (np.ones(n_customers), (np.arange(n_customers), self.favourite)),
            (n_customers, max(1, len(kinds))),
        )
        of_late = self.purchases.since(POPULAR_DAYS).owned
        counts = (members.T @ of_late).toarray()
        shares = counts / np.maximum(_sums(members), 1)[:, None]
        everybody = _sums(of_late) / max(1, len(self.purchases.customers))
        self.shares = shares + self.OF_ALL * everybody

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        return self.shares[self.favourite[customers]]

    def lists(self, customers: np.ndarray, popularity: np.ndarray, n: int) -> np.ndarray:
        """Return for each customer the list of their category."""
        kinds, places = np.unique(self.favourite[customers], return_inverse=True)
        return top(self.shares[kinds], popularity, n)[places]


class BuyAgain(Recommender):
    """What the customer bought before, the more the oftener and the more it is bought again.

    How often it is bought again is a gamma-Poisson rate: the customer's own repeats and days since
    the first, with a year added of what all customers of the product do.
    """

    name = "buy_again"
    PRIOR_DAYS = 365.0

    def _fit(self) -> None:
        purchases = self.purchases
        # They are in order: of each customer and product the oldest comes last.
        customer, item = purchases.customer, purchases.item
        is_first = (np.diff(customer, prepend=-1) != 0) | (np.diff(item, prepend=-1) != 0)
        first = np.flatnonzero(is_first)
        last = np.append(first[1:], len(item)) - 1 if len(first) else first
        age = purchases.days_ago[last].astype(float)
        repeats = (last - first).astype(float)
        customer, item = customer[first], item[first]
        n_items = len(purchases.items)
        of_item = np.bincount(item, repeats, n_items) / np.maximum(
            np.bincount(item, age, n_items), 1.0
        )
        rate = (repeats + of_item[item] * self.PRIOR_DAYS) / (age + self.PRIOR_DAYS)
        self.rate = sparse.csr_array((rate, (customer, item)), purchases.shape)

    def _scores(self, customers: np.ndarray) -> sparse.csr_array:
        return self.rate[customers]


class ItemNeighbours(Recommender):
    """What is bought by those who bought the customer's products: item-based nearest neighbours.

    Cosine of the customers of two items; of every candidate only its nearest neighbours count
    (pruned per candidate, not per product in the history: else popular products crowd out all).
    """

    name = "item_neighbours"

    def _fit(self) -> None:
        owned = self.purchases.owned
        by_item = sparse.csr_array(owned.T)
        n_items = by_item.shape[0]
        scale = 1 / np.sqrt(np.maximum(np.diff(by_item.indptr), 1))
        found = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0), np.zeros(0))]
        # Of all pairs only some at once: most popular items share a customer.
        for some in blocks(np.arange(n_items)):
            both = (by_item[some] @ owned).toarray()
            both[np.arange(len(some)), some] = 0
            cosines = both * scale * scale[some, None]
            lists = top(cosines, np.zeros(n_items), ITEM_NEIGHBOURS)
            row, place = np.nonzero(lists >= 0)
            item = lists[row, place]
            is_near = both[row, item] > 0
            row, item = row[is_near], item[is_near]
            found.append((item, some[row], cosines[row, item], both[row, item]))
        item, candidate, cosine, n_both = (
            np.concatenate(each) for each in zip(*found, strict=True)
        )
        shape = (n_items, n_items)
        self.similarity = sparse.csc_array((cosine, (item, candidate)), shape)
        # How many customers bought both, of the same pairs.
        self.n_both = sparse.csr_array((n_both, (item, candidate)), shape)
        self._by_row = sparse.csr_array(self.similarity)

    def _scores(self, customers: np.ndarray) -> sparse.csr_array:
        return self.purchases.owned[customers] @ self._by_row


class UserNeighbours(Recommender):
    """What those have bought who bought the same: user-based nearest neighbours by cosine.

    Of many customers a fixed share is asked.
    """

    name = "user_neighbours"

    def _fit(self) -> None:
        self._ask(self.purchases.owned)
        lengths = np.sqrt(np.diff(self.table.indptr))
        self.scale = 1 / np.where(lengths > 0, lengths, 1.0)
        self._rough_scale = self.scale[self.asked].astype(np.float32)

    def _ask(self, table: sparse.csr_array) -> None:
        """Keep the table that customers are compared by, and its part of those who are asked."""
        self.table = table
        self.asked = _learners(self.purchases)
        self.of_asked = table[self.asked]
        row, item = self.of_asked.nonzero()
        # Most customers share a popular item with thousands: a full table of whole numbers is the
        # shortest way then, and the narrower these are, the shorter. This is the most that sums
        # can come to.
        most = np.zeros(table.shape[1])
        np.maximum.at(most, item, self.of_asked.data)
        kind = np.min_scalar_type(int((table @ most).max(initial=0)))
        self.by_item = np.zeros((table.shape[1], len(self.asked)), kind)
        self.by_item[item, row] = self.of_asked.data

    def _scores(self, customers: np.ndarray) -> sparse.csr_array:
        n_asked = len(self.asked)
        table = self.table[customers]
        items = np.repeat(table.indices, table.data.astype(int))
        ends = np.append(0, np.cumsum(table.data.astype(int)))[table.indptr]
        own = np.searchsorted(self.asked, customers)
        is_asked = self.asked[np.minimum(own, n_asked - 1)] == customers
        # Few rows at once stay near the processor.
        shared = np.empty((8, n_asked), self.by_item.dtype)
        rough = np.empty((8, n_asked), np.float32)
        taken = np.empty((64, n_asked), self.by_item.dtype)
        found = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
        for first in range(0, len(customers), len(shared)):
            some = customers[first : first + len(shared)]
            n = len(some)
            shared[:n] = 0
            for row, (begin, end) in enumerate(pairwise(ends[first : first + n + 1].tolist())):
                for part in range(begin, end, len(taken)):
                    rows = items[part : min(part + len(taken), end)]
                    np.take(self.by_item, rows, axis=0, out=taken[: len(rows)], mode="clip")
                    shared[row] += np.add.reduce(taken[: len(rows)], axis=0, dtype=shared.dtype)
            # Nobody is their own neighbour.
            is_own = np.flatnonzero(is_asked[first : first + n])
            shared[is_own, own[first + is_own]] = 0
            slack = self._roughly_alike(shared[:n], some, rough[:n])
            row, column = roughly_largest(rough[:n], USER_NEIGHBOURS, slack)
            alike = self._alike(shared[row, column], some[row], self.asked[column])
            chosen = largest(row, alike, n, USER_NEIGHBOURS)
            found.append((row[chosen] + first, column[chosen], alike[chosen]))
        row, column, alike = (np.concatenate(parts) for parts in zip(*found, strict=True))
        near = sparse.csr_array((alike, (row, column)), (len(customers), n_asked))
        return near @ self.of_asked

    def _roughly_alike(
        self, shared: np.ndarray, customers: np.ndarray, found: np.ndarray
    ) -> np.ndarray:
        """Put into found how alike customers and all asked are, in a unit of each customer's own.

        Args:
            shared: products of their rows, shape (customers, asked).
            customers: numbers of the customers.
            found: what is written, shape (customers, asked).

        Returns:
            By how much it may be wrong, shape (customers,).
        """
        np.multiply(shared, self._rough_scale, out=found)
        # Nothing to do with each other is exactly 0.
        return np.full(len(customers), 1e-6 * found.max(initial=0))

    def _alike(self, shared: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the cosines of customers by number, from how many items they share."""
        return shared * (self.scale[one] * self.scale[other])


class PearsonNeighbours(UserNeighbours):
    """What those have bought who buy alike: nearest neighbours by Pearson's correlation.

    Of the days on which two customers bought each product, less what they buy on average: products
    that neither bought are 0. What a neighbour bought counts by how often beyond their average.
    """

    name = "pearson_neighbours"

    def _fit(self) -> None:
        self._ask(self.purchases.n_days)
        table, n_items = self.table, max(1, self.table.shape[1])
        self.mean = np.asarray(table.sum(axis=1), dtype=float).ravel() / n_items
        squares = np.asarray(table.multiply(table).sum(axis=1), dtype=float).ravel() / n_items
        spread = np.sqrt(np.maximum(squares - self.mean**2, 0))
        self.spread = np.where(spread > 0, spread, np.inf)

        of_asked = 1 / self.spread[self.asked]
        self._rough_scale = (of_asked / n_items).astype(np.float32)
        self._rough_mean = (self.mean[self.asked] * of_asked).astype(np.float32)

    def _roughly_alike(
        self, shared: np.ndarray, customers: np.ndarray, found: np.ndarray
    ) -> np.ndarray:
        np.multiply(shared, self._rough_scale, out=found)
        largest = found.max(axis=1, initial=0)
        for row, customer in zip(found, customers, strict=True):
            row -= self._rough_mean * np.float32(self.mean[customer])
        return 1e-6 * largest

    def _alike(self, shared: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the correlations; who shares no product correlates below 0.

        The averages of the neighbours are the same for all products, and need not be added.
        """
        alike = shared / max(1, self.table.shape[1]) - self.mean[one] * self.mean[other]
        return alike / (self.spread[one] * self.spread[other])


class Factors(Recommender):
    """Customers and items as points of few dimensions: singular value decomposition.

    Of the table of who bought what, each customer's row of length 1.
    """

    name = "svd"

    def _fit(self) -> None:
        table = _unit(self.purchases.owned)
        k = min(FACTORS, min(table.shape) - 1)
        if k < 1 or table.nnz == 0:
            self.items = np.zeros((table.shape[1], 0))
        else:
            # The eigenvectors of the products' own table: nobody asks for those of the customers.
            product = LinearOperator(
                (table.shape[1],) * 2, lambda items: table.T @ (table @ items), dtype=float
            )
            self.items = eigsh(product, k, v0=np.ones(table.shape[1]))[1]
        self.table = table

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        return (self.table[customers] @ self.items) @ self.items.T


class NonNegativeFactors(Recommender):
    """Customers as mixtures of a few kinds of taste: non-negative matrix factorisation.

    Of the table of who bought what, by coordinate descent (A. Cichocki and A.-H. Phan 2009), as
    scikit-learn has it. Of many customers a fixed share is learned from.
    """

    name = "nmf"
    ROUNDS = 60

    def _fit(self) -> None:
        from sklearn.decomposition import NMF

        owned = self.purchases.owned
        learners = owned[_learners(self.purchases)]
        k = min(FACTORS, min(learners.shape))
        self.model = None
        if k and learners.nnz:
            self.model = NMF(k, init="nndsvda", random_state=0, max_iter=self.ROUNDS, tol=1e-3)
            self.model.fit(sparse.csr_array(learners))

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        if self.model is None:
            return np.zeros((len(customers), self.purchases.shape[1]))
        mixture = self.model.transform(sparse.csr_array(self.purchases.owned[customers]))
        return mixture @ self.model.components_


class AlternatingLeastSquares(Recommender):
    """Factors of who bought what, that nobody bought counting little: implicit feedback.

    Y. Hu, Y. Koren and C. Volinsky, "Collaborative filtering for implicit feedback datasets"
    (2008): confidence 1 + 10 for what was bought, squares of factors with weight 5. Of many
    customers a fixed share is learned from; everybody's own factors follow from those of the items.
    """

    name = "als"
    CONFIDENCE = 10.0
    RIDGE = 5.0
    ROUNDS = 5

    def _fit(self) -> None:
        owned = self.purchases.owned[_learners(self.purchases)]
        by_item = sparse.csr_array(owned.T)
        self.items = np.random.default_rng(1).normal(0, 0.1, (owned.shape[1], FACTORS))
        for _ in range(self.ROUNDS):
            self.users = self._solved(owned, self.items)
            self.items = self._solved(by_item, self.users)

    def _solved(self, table: sparse.csr_array, other: np.ndarray) -> np.ndarray:
        """Return the factors of the rows, those of the columns given."""
        gram = other.T @ other + self.RIDGE * np.eye(FACTORS)
        found = np.zeros((table.shape[0], FACTORS))
        n_each = np.diff(table.indptr)
        # Rows of as many values are solved together, so many that they take some megabytes.
        for n in np.unique(n_each[n_each > 0]):
            alike = np.flatnonzero(n_each == n)
            step = max(1, 200_000 // (FACTORS * (FACTORS + n)))
            for first in range(0, len(alike), step):
                rows = alike[first : first + step]
                chosen = other[table.indices[table.indptr[rows][:, None] + np.arange(n)]]
                left = gram + (self.CONFIDENCE * chosen).transpose(0, 2, 1) @ chosen
                right = (1 + self.CONFIDENCE) * chosen.sum(axis=1)
                found[rows] = np.linalg.solve(left, right[:, :, None])[:, :, 0]
        return found

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        return self._solved(self.purchases.owned[customers], self.items) @ self.items.T


class Ease(Recommender):
    """Each item as a weighted sum of the others, found in one step.

    H. Steck, "Embarrassingly shallow autoencoders for sparse data" (2019). The most bought items
    only: the table of all pairs is inverted.
    """

    name = "ease"
    RIDGE = 50.0
    MOST_ITEMS = 3_000

    def _fit(self) -> None:
        purchases = self.purchases
        counts = _sums(purchases.owned)
        self.chosen = np.sort(np.argsort(-counts, kind="stable")[: self.MOST_ITEMS])
        table = purchases.owned[:, self.chosen]
        gram = (table.T @ table).toarray() + self.RIDGE * np.eye(len(self.chosen))
        inverse = np.linalg.inv(gram)
        self.weights = -inverse / np.diag(inverse)
        np.fill_diagonal(self.weights, 0)
        self.table = sparse.csr_array(table)
        # The others get nothing.
        self._for_all = np.zeros((len(self.chosen), len(purchases.items)))
        self._for_all[:, self.chosen] = self.weights

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        return self.table[customers] @ self._for_all


class NextInSequence(Recommender):
    """What others bought on the next day with an order after what this customer bought last."""

    name = "sequence"

    def _fit(self) -> None:
        purchases = self.purchases
        n_items = len(purchases.items)
        order = np.lexsort((purchases.item, -purchases.days_ago, purchases.customer))
        customer, item = purchases.customer[order], purchases.item[order]
        day = -purchases.days_ago[order]
        is_new = np.append(True, (np.diff(customer) != 0) | (np.diff(day) != 0))[: len(order)]
        basket = np.cumsum(is_new) - 1
        n_baskets = int(basket[-1]) + 1 if len(basket) else 0
        baskets = sparse.csr_array((np.ones(len(item)), (basket, item)), (n_baskets, n_items))
        owner = customer[is_new]
        follows = np.flatnonzero(np.diff(owner) == 0)
        before, after = baskets[follows], baskets[follows + 1]
        steps = sparse.csr_array(before.T @ after)
        # As if ten steps more had led from each item to nothing: few steps say little.
        scale = sparse.diags_array(1 / (_sums(before) + 10))
        self.steps = _full(sparse.csr_array(scale @ steps))

    def _scores(self, customers: np.ndarray) -> np.ndarray | sparse.csr_array:
        return self.purchases.last_basket[customers] @ self.steps


class Content(Recommender):
    """What is like what the customer bought: category, brand, price and the words of its name.

    Needs nobody to have bought a product, so that new ones are found.
    """

    name = "content"
    PRICE_STEPS = 8

    def _fit(self) -> None:
        purchases = self.purchases
        known = pl.DataFrame({"product_id": purchases.items}, schema={"product_id": pl.String})
        if self.products is not None:
            known = known.join(self.products, on="product_id", how="left", maintain_order="left")
        parts = [
            _one_hot(known[name].cast(pl.String))
            for name in ("category", "brand")
            if name in known.columns
        ]
        if "price" in known.columns:
            price = known["price"].cast(pl.Float64).fill_nan(None)
            step = (price.rank("average") / max(1, price.count()) * self.PRICE_STEPS).ceil()
            parts.append(_one_hot(step.cast(pl.Int64).cast(pl.String)))
        words = [name for name in ("name", "description") if name in known.columns]
        if words:
            text = known.select(pl.concat_str(words, separator=" ", ignore_nulls=True)).to_series()
            parts.append(_words(text.fill_null("").to_list()))
        parts = [_unit(part) for part in parts if part.nnz]
        self.items = (
            _unit(sparse.csr_array(sparse.hstack(parts)))
            if parts
            else sparse.csr_array((len(purchases.items), 1))
        )

    @cached_property
    def similarity(self) -> np.ndarray | sparse.csr_array:
        """Return the products of all pairs: a customer has fewer items than these have words."""
        return _full(sparse.csr_array(self.items @ self.items.T))

    def _scores(self, customers: np.ndarray) -> np.ndarray | sparse.csr_array:
        return self.purchases.owned[customers] @ self.similarity


class OtherCategories(Recommender):
    """What one category says about the others: nothing of those where the customer has bought.

    Of the customers of each of the customer's categories, how many bought a product; the mean of
    the categories, each weighing by how many products of it the customer has.
    """

    name = "other_categories"

    def _fit(self) -> None:
        owned = self.purchases.owned
        kinds = sparse.csr_array(categories(self.purchases, self.products)[1])
        self.kind = kinds.indices
        self.bought = sparse.csr_array(owned @ kinds)
        member = self.bought.copy()
        member.data[:] = 1
        # As if ten customers more had the category and bought nothing.
        self.shares = (member.T @ owned).toarray() / (_sums(member) + 10)[:, None]

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        bought = self.bought[customers]
        scale = sparse.diags_array(1 / np.maximum(_sums(bought.T), 1))
        found = (scale @ bought) @ self.shares
        found *= (bought.toarray() == 0)[:, self.kind]
        return found


RECOMMENDERS: tuple[type[Recommender], ...] = (
    Popular, PopularInCategory, BuyAgain, ItemNeighbours, UserNeighbours, PearsonNeighbours,
    Factors, NonNegativeFactors, AlternatingLeastSquares, Ease, NextInSequence, Content,
    OtherCategories,
)  # fmt: skip


def categories(
    purchases: Purchases, products: pl.DataFrame | None
) -> tuple[pl.Series, sparse.csr_array]:
    """Return categories in order, and 1 for each item's, shape (items, categories).

    Items of which none is known share one, whose name is null.
    """
    known = pl.DataFrame({"product_id": purchases.items}, schema={"product_id": pl.String})
    found = pl.Series([""]).new_from_index(0, len(known))
    if products is not None and "category" in products.columns:
        found = known.join(products, on="product_id", how="left", maintain_order="left")["category"]
        found = found.cast(pl.String).fill_null("")
    names = found.unique().sort() if len(found) else pl.Series([""])
    nameless = names.is_in(["", "unknown"])
    return (
        names.to_frame("n").select(pl.when(~pl.Series(nameless)).then("n")).to_series(),
        _one_hot(found),
    )


def cells(table: sparse.csr_array, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return the values of some cells of a table, given by rows and columns, shape (cells,)."""
    # Of no cells scipy returns a table.
    return np.asarray(table[row, column], dtype=float).ravel() if len(row) else np.zeros(0)


def first_largest(table: sparse.csr_array) -> np.ndarray:
    """Return the column of each row's largest value, the first of equals, shape (rows,).

    Values are above 0; of an empty row it is 0. scipy's argmax goes row by row.
    """
    table = sparse.csr_array(table)
    found = np.zeros(table.shape[0], np.int64)
    n_each = np.diff(table.indptr)
    filled = np.flatnonzero(n_each)
    if len(filled):
        first = table.indptr[:-1][filled]
        largest = np.repeat(np.maximum.reduceat(table.data, first), n_each[filled])
        columns = np.where(table.data == largest, table.indices, table.shape[1])
        found[filled] = np.minimum.reduceat(columns, first)
    return found


def most_alike(owned: sparse.csr_array, likeness: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return which of each row's items is most like another one: its number, -1 where none is.

    Args:
        owned: whose cells are the items of each row, shape (rows, items).
        likeness: of items to others, 0 or more, shape (items, others).
        other: number of the other one, shape (rows,).
    """
    alike = likeness[owned.indices, np.repeat(other, np.diff(owned.indptr))]
    table = sparse.csr_array((alike, owned.indices, owned.indptr), owned.shape)
    table.eliminate_zeros()
    return np.where(np.diff(table.indptr) > 0, first_largest(table), -1)


def _full(table: sparse.csr_array) -> np.ndarray | sparse.csr_array:
    """Return a table with its zeros where these are few, for what is multiplied by it often."""
    n_cells = table.shape[0] * table.shape[1]
    return table.toarray() if table.nnz > FULL_SHARE * n_cells else table


def _sums(table: sparse.sparray) -> np.ndarray:
    """Return the sums of the columns."""
    return np.asarray(table.sum(axis=0), dtype=float).ravel()


def _learners(purchases: Purchases) -> np.ndarray:
    """Return the numbers of the customers who are learned from, in order."""
    return drawn(purchases.customers, MOST_LEARNERS)


def _one_hot(values: pl.Series) -> sparse.csr_array:
    """Return a column for each value; nothing where it is missing."""
    rows = np.flatnonzero(values.is_not_null().to_numpy())
    kinds, places = np.unique(values.drop_nulls().to_numpy().astype(str), return_inverse=True)
    return sparse.csr_array((np.ones(len(rows)), (rows, places)), (len(values), max(1, len(kinds))))


def _words(texts: list[str]) -> sparse.csr_array:
    """Return the words of texts, rare ones weighing more (TF-IDF)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return sparse.csr_array(TfidfVectorizer(sublinear_tf=True).fit_transform(texts))
    except ValueError:
        # No text has a word.
        return sparse.csr_array((len(texts), 1))


def _unit(table: sparse.csr_array) -> sparse.csr_array:
    """Return a table whose rows have length 1, or are empty."""
    lengths = np.sqrt(np.asarray(table.multiply(table).sum(axis=1), dtype=float).ravel())
    return sparse.csr_array(sparse.diags_array(1 / np.where(lengths > 0, lengths, 1.0)) @ table)
