"""What customers had bought by a day, as the recommenders take it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from scipy import sparse

# Days on which it is looked back: two churn horizons ago, one, and as_of.
CUTS = ("validation", "test", "today")


@dataclass(frozen=True)
class Purchases:
    """Days on which customers bought products, until the day of looking back.

    Attributes:
        customers: ids of all customers who can be asked about, in order, shape (n,).
        items: ids of all products that can be recommended, in order, shape (m,).
        customer: of each customer, product and day, the customer's number.
        item: and the product's.
        days_ago: and how many days before the day of looking back it was, 0 or more.
    """

    customers: np.ndarray
    items: np.ndarray
    customer: np.ndarray
    item: np.ndarray
    days_ago: np.ndarray

    @classmethod
    def of(cls, rows: pl.DataFrame, customers: np.ndarray, items: np.ndarray) -> Purchases:
        """Return the purchases of rows with customer_id, product_id and days_ago.

        Rows of others than these customers and items are left out. Both must be in order.
        """
        rows = (
            rows.lazy()
            .select("customer_id", "product_id", "days_ago")
            .join(numbered("customer", customers).lazy(), on="customer_id")
            .join(numbered("product", items).lazy(), on="product_id")
            .select("customer", "product", "days_ago")
            .collect()
        )
        # As one number each they take less time and room to be put in order.
        n_days = 1 + (rows["days_ago"].max() or 0)
        keys = rows.select(
            (pl.col("customer").cast(pl.Int64) * len(items) + pl.col("product")) * n_days
            + pl.col("days_ago")
        ).to_series()
        keys = np.sort(keys.to_numpy())
        keys, days_ago = np.divmod(keys[np.diff(keys, prepend=-1) != 0], n_days)
        customer, item = np.divmod(keys, max(1, len(items)))
        return cls(customers, items, *(n.astype(np.int32) for n in (customer, item, days_ago)))

    @property
    def shape(self) -> tuple[int, int]:
        """Return the numbers of customers and items."""
        return len(self.customers), len(self.items)

    @cached_property
    def owned(self) -> sparse.csr_array:
        """Return 1 for each product that a customer ever bought, shape (customers, items)."""
        return self._table(np.ones(len(self.item)), binary=True)

    @cached_property
    def n_days(self) -> sparse.csr_array:
        """Return on how many days each customer bought each product, shape (customers, items)."""
        return self._table(np.ones(len(self.item)))

    @cached_property
    def last_basket(self) -> sparse.csr_array:
        """Return 1 for what each customer bought on the last day, shape (customers, items)."""
        last = np.full(len(self.customers), np.iinfo(np.int32).max, np.int32)
        np.minimum.at(last, self.customer, self.days_ago)
        rows = self.days_ago == last[self.customer]
        return self._table(np.ones(rows.sum()), rows, binary=True)

    def since(self, days: int) -> Purchases:
        """Return the purchases of the last days only."""
        rows = self.days_ago < days
        return Purchases(
            self.customers, self.items, self.customer[rows], self.item[rows], self.days_ago[rows]
        )

    def _table(self, values, rows=slice(None), binary: bool = False) -> sparse.csr_array:
        table = sparse.csr_array((values, (self.customer[rows], self.item[rows])), self.shape)
        table.sum_duplicates()
        if binary:
            table.data[:] = 1
        return table


def numbered(name: str, ids: np.ndarray) -> pl.DataFrame:
    """Return ids with their numbers in order, to join what has the ids."""
    return pl.DataFrame({f"{name}_id": pl.Series(ids, dtype=pl.String)}).with_columns(
        pl.int_range(pl.len(), dtype=pl.Int32).alias(name)
    )


def drawn(customers: np.ndarray, most: int) -> np.ndarray:
    """Return the places of all customers, or of so many who are drawn by a hash, in order."""
    if len(customers) <= most:
        return np.arange(len(customers))
    draw = b"".join(hashlib.md5(customer.encode()).digest() for customer in customers.tolist())
    first, second = np.frombuffer(draw, dtype=">u8").reshape(-1, 2).T
    return np.sort(np.lexsort((second, first))[:most])


def known_by(rows: pl.DataFrame, cut: str) -> pl.DataFrame:
    """Return the rows of `item_purchases` that were known at a cut, with days before it."""
    return rows.filter(pl.col("known_from").is_in(known_cuts(cut))).select(
        "customer_id", "product_id", pl.col("days_ago") - _days_back(rows, cut)
    )


def known_cuts(cut: str) -> tuple[str, ...]:
    """Return the values of `known_from` of what was known at a cut."""
    return CUTS[: CUTS.index(cut) + 1]


def bought_after(rows: pl.DataFrame, cut: str) -> pl.DataFrame:
    """Return the rows of `item_purchases` of the horizon after a cut."""
    back = _days_back(rows, cut)
    return rows.filter(
        pl.col("days_ago").is_between(back - rows["horizon_days"][0], back, closed="left")
    )


def came_after(rows: pl.DataFrame, cut: str) -> pl.DataFrame:
    """Return what was bought within a horizon after a cut, by and of whom and what was known."""
    known = known_by(rows, cut)
    return (
        bought_after(rows, cut)
        .join(known.select("customer_id").unique(), on="customer_id", how="semi")
        .join(known.select("product_id").unique(), on="product_id", how="semi")
    )


def _days_back(rows: pl.DataFrame, cut: str) -> int:
    """Return how many days before as_of a cut is."""
    return rows["horizon_days"][0] * (len(CUTS) - 1 - CUTS.index(cut))
