"""Ways to tell what a customer will buy next. Each gives every product a score for each customer.

A score has no unit: only the order within one customer means something. Where a way knows nothing
of a product it says 0. All are deterministic: the same purchases give the same scores.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import polars as pl
from scipy import linalg, sparse
from scipy.sparse.linalg import svds

from perennial.recommend.lists import blocks, top
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
        return self._scores(customers)

    @abstractmethod
    def _fit(self) -> None: ...

    @abstractmethod
    def _scores(self, customers: np.ndarray) -> np.ndarray: ...


class Popular(Recommender):
    """What most customers bought of late; the same for all."""

    name = "popular"

    def _fit(self) -> None:
        purchases = self.purchases
        self.n_customers = _sums(purchases.since(POPULAR_DAYS).owned)

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        return np.tile(self.n_customers, (len(customers), 1))


class PopularInCategory(Recommender):
    """What most customers bought of late who like the same category best.

    The best-liked category is that of most of a customer's products, the first by name among
    equals. A tenth is what is popular with all: a category of few customers says little.
    """

    name = "popular_in_category"
    OF_ALL = 0.1

    def _fit(self) -> None:
        bought = self.purchases.owned @ _categories(self.purchases, self.products)
        self.favourite = np.asarray(bought.toarray().argmax(axis=1)).ravel()
        of_late = self.purchases.since(POPULAR_DAYS).owned
        members = _one_hot(pl.Series(self.favourite))
        counts = (members.T @ of_late).toarray()
        shares = counts / np.maximum(_sums(members), 1)[:, None]
        everybody = _sums(of_late) / max(1, len(self.purchases.customers))
        # As numbers of the members, which are those of the categories that anybody likes best.
        self.shares = shares + self.OF_ALL * everybody
        self.favourite = members.indices

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        return self.shares[self.favourite[customers]]


class BuyAgain(Recommender):
    """What the customer bought before, the more the oftener and the more it is bought again.

    How often it is bought again is a gamma-Poisson rate: the customer's own repeats and days since
    the first, with a year added of what all customers of the product do.
    """

    name = "buy_again"
    PRIOR_DAYS = 365.0

    def _fit(self) -> None:
        purchases = self.purchases
        keys = purchases.customer * len(purchases.items) + purchases.item
        distinct, places = np.unique(keys, return_inverse=True)
        age = np.zeros(len(distinct))
        np.maximum.at(age, places, purchases.days_ago)
        repeats = np.bincount(places, minlength=len(distinct)) - 1.0
        customer, item = np.divmod(distinct, max(1, len(purchases.items)))
        n_items = len(purchases.items)
        of_item = np.bincount(item, repeats, n_items) / np.maximum(
            np.bincount(item, age, n_items), 1.0
        )
        rate = (repeats + of_item[item] * self.PRIOR_DAYS) / (age + self.PRIOR_DAYS)
        self.rate = sparse.csr_array((rate, (customer, item)), purchases.shape)

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        return self.rate[customers].toarray()


class ItemNeighbours(Recommender):
    """What is bought by those who bought the customer's products: item-based nearest neighbours.

    Cosine of the customers of two items; of every candidate only its nearest neighbours count
    (pruned per candidate, not per product in the history: else popular products crowd out all).
    """

    name = "item_neighbours"

    def _fit(self) -> None:
        purchases = self.purchases
        both = sparse.csc_array(purchases.owned.T @ purchases.owned)
        self.similarity = _nearest(_cosine(both), ITEM_NEIGHBOURS)

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        return (self.purchases.owned[customers] @ self.similarity).toarray()


class UserNeighbours(Recommender):
    """What those have bought who bought the same: user-based nearest neighbours by cosine.

    Of many customers a fixed share is asked.
    """

    name = "user_neighbours"

    def _fit(self) -> None:
        self.unit = _unit(self.purchases.owned)
        self.asked = _learners(self.purchases)

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        alike = sparse.csc_array(self.unit[self.asked] @ self.unit[customers].T)
        alike = _nearest(_without(alike, self.asked, customers), USER_NEIGHBOURS)
        return (alike.T @ self.purchases.owned[self.asked]).toarray()


class PearsonNeighbours(UserNeighbours):
    """What those have bought who buy alike: nearest neighbours by Pearson's correlation.

    Of the days on which two customers bought each product, less what they buy on average: products
    that neither bought are 0. What a neighbour bought counts by how often beyond their average.
    """

    name = "pearson_neighbours"

    def _fit(self) -> None:
        self.asked = _learners(self.purchases)
        table = self.purchases.n_days
        n_items = max(1, table.shape[1])
        self.mean = np.asarray(table.sum(axis=1), dtype=float).ravel() / n_items
        squares = np.asarray(table.multiply(table).sum(axis=1), dtype=float).ravel() / n_items
        self.spread = np.sqrt(np.maximum(squares - self.mean**2, 0))

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        table, n_items = self.purchases.n_days, self.purchases.shape[1]
        # Who shares no product correlates below 0.
        both = sparse.coo_array(table[self.asked] @ table[customers].T)
        one, other = self.asked[both.row], customers[both.col]
        spread = np.where(self.spread > 0, self.spread, np.inf)
        alike = (both.data / max(1, n_items) - self.mean[one] * self.mean[other]) / (
            spread[one] * spread[other]
        )
        alike = sparse.csc_array((np.maximum(alike, 0), (both.row, both.col)), both.shape)
        near = _nearest(_without(alike, self.asked, customers), USER_NEIGHBOURS)
        # The averages of the neighbours are the same for all products.
        return (near.T @ table[self.asked]).toarray()


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
            _, _, items = svds(table, k=k, v0=np.ones(min(table.shape)))
            self.items = items.T
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
            with warnings.catch_warnings():
                # So many rounds are enough for an order of products.
                warnings.simplefilter("ignore")
                self.model.fit(sparse.csr_array(learners))

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        if self.model is None:
            return np.zeros((len(customers), self.purchases.shape[1]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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
        for row in np.flatnonzero(np.diff(table.indptr)):
            chosen = other[table.indices[table.indptr[row] : table.indptr[row + 1]]]
            left = gram + self.CONFIDENCE * chosen.T @ chosen
            found[row] = np.linalg.solve(left, (1 + self.CONFIDENCE) * chosen.sum(axis=0))
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
        inverse = linalg.inv(gram, assume_a="pos")
        self.weights = -inverse / np.diag(inverse)
        np.fill_diagonal(self.weights, 0)
        self.table = sparse.csr_array(table)

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        found = np.zeros((len(customers), len(self.purchases.items)))
        found[:, self.chosen] = self.table[customers] @ self.weights
        return found


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
        self.steps = sparse.csr_array(sparse.diags_array(1 / (_sums(before) + 10)) @ steps)

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        return (self.purchases.last_basket[customers] @ self.steps).toarray()


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

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        profile = self.purchases.owned[customers] @ self.items
        return (profile @ self.items.T).toarray()


class OtherCategories(Recommender):
    """What one category says about the others: nothing of those where the customer has bought.

    Of the customers of each of the customer's categories, how many bought a product; the mean of
    the categories, each weighing by how many products of it the customer has.
    """

    name = "other_categories"

    def _fit(self) -> None:
        owned = self.purchases.owned
        self.kinds = sparse.csr_array(_categories(self.purchases, self.products))
        self.bought = sparse.csr_array(owned @ self.kinds)
        member = self.bought.copy()
        member.data[:] = 1
        # As if ten customers more had the category and bought nothing.
        self.shares = (member.T @ owned).toarray() / (_sums(member) + 10)[:, None]

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        bought = self.bought[customers].toarray()
        weight = bought / np.maximum(bought.sum(axis=1, keepdims=True), 1)
        is_other = (bought @ self.kinds.T.toarray()) == 0
        return (weight @ self.shares) * is_other


RECOMMENDERS: tuple[type[Recommender], ...] = (
    Popular, PopularInCategory, BuyAgain, ItemNeighbours, UserNeighbours, PearsonNeighbours,
    Factors, NonNegativeFactors, AlternatingLeastSquares, Ease, NextInSequence, Content,
    OtherCategories,
)  # fmt: skip


def _categories(purchases: Purchases, products: pl.DataFrame | None) -> sparse.csr_array:
    """Return 1 for each item's category, shape (items, categories); unknown ones share one."""
    known = pl.DataFrame({"product_id": purchases.items}, schema={"product_id": pl.String})
    if products is None or "category" not in products.columns:
        return sparse.csr_array(np.ones((len(known), 1)))
    found = known.join(products, on="product_id", how="left", maintain_order="left")["category"]
    return _one_hot(found.cast(pl.String).fill_null(""))


def _sums(table: sparse.sparray) -> np.ndarray:
    """Return the sums of the columns."""
    return np.asarray(table.sum(axis=0), dtype=float).ravel()


def _cosine(both: sparse.csc_array) -> sparse.csc_array:
    """Return the cosines of items from how many customers bought both, none with itself."""
    counts = both.diagonal()
    scale = sparse.diags_array(1 / np.sqrt(np.maximum(counts, 1.0)))
    found = sparse.csc_array(scale @ both @ scale)
    found.setdiag(0)
    found.eliminate_zeros()
    return found


def _learners(purchases: Purchases) -> np.ndarray:
    """Return the numbers of the customers who are learned from, in order."""
    return drawn(purchases.customers, MOST_LEARNERS)


def _without(table: sparse.csc_array, rows: np.ndarray, columns: np.ndarray) -> sparse.csc_array:
    """Return a table of customers by customers without anybody's own cell."""
    is_same = rows[:, None] == columns[None, :]
    own = sparse.csc_array(is_same.astype(float))
    found = sparse.csc_array(table - table.multiply(own))
    found.eliminate_zeros()
    return found


def _nearest(table: sparse.csc_array, n: int) -> sparse.csc_array:
    """Return the n largest values of each column, those above 0; of equal ones the first rows'."""
    values, rows, columns = [np.zeros(0)], [np.zeros(0, int)], [np.zeros(0, int)]
    for some in blocks(np.arange(table.shape[1])):
        dense = table[:, some].toarray().T
        lists = top(dense, np.zeros(table.shape[0]), n)
        found = np.take_along_axis(dense, np.maximum(lists, 0), axis=1) if lists.size else lists
        column, place = np.nonzero((lists >= 0) & (found > 0))
        values.append(found[column, place])
        rows.append(lists[column, place])
        columns.append(some[column])
    where = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csc_array((np.concatenate(values), where), table.shape)


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
