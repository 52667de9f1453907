"""New products: whom to show them to before enough customers have bought them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy import sparse
from threadpoolctl import threadpool_limits

from perennial.recommend.judging import MIN_CUSTOMERS, MOST_ITEMS
from perennial.recommend.lists import GAINS, blocks, held_against, named, top
from perennial.recommend.purchases import CUTS, Purchases, bought_after, known_by
from perennial.recommend.recommenders import Content, most_alike

LENGTH = 5
# By how many bought it so far, by what the customer's own products are like, by both.
POPULAR, CONTENT, BOTH = WAYS = ("popular", "content", "popular_and_content")

SCHEMA = {
    "cut": pl.String,
    "way": pl.String,
    "status": pl.String,
    "is_chosen": pl.Boolean,
    "n_items": pl.Int64,
    "n_customers": pl.Int64,
    **GAINS,
}
LISTS_SCHEMA = {
    "customer_id": pl.String,
    "recommendation_rank": pl.Int64,
    "product_id": pl.String,
    "way": pl.String,
    "score": pl.Float64,
    "because_product_id": pl.String,
}


class NewItems:
    """New products as they stood at a cut, and what each customer had bought by then.

    Attributes:
        purchases: what was known at the cut, of the new items and of the most bought others.
        new: numbers of the new items, MOST_ITEMS at most, in order, shape (new items,).
        n_customers: customers who had bought each of them by then, shape (new items,).
        likeness: how like each item is to each of them, shape (items, new items).
    """

    def __init__(self, rows: pl.DataFrame, new: pl.DataFrame, products: pl.DataFrame, cut: str):
        """Take what was known at the cut; arguments as those of judge_new_items."""
        known = known_by(rows, cut)
        own = new.filter(cut=cut).sort(["n_customers", "product_id"], descending=[True, False])
        own = own.head(MOST_ITEMS).sort("product_id")
        buyers = known.group_by("product_id").agg(n=pl.col("customer_id").n_unique())
        most = buyers.sort(["n", "product_id"], descending=[True, False]).head(MOST_ITEMS)
        items = pl.concat([most["product_id"], own["product_id"]]).unique().sort().to_numpy()
        customers = known["customer_id"].unique().sort().to_numpy()
        self.purchases = Purchases.of(known, customers.astype(str), items.astype(str))
        self.new = np.searchsorted(self.purchases.items, own["product_id"].to_numpy().astype(str))
        self.n_customers = own["n_customers"].to_numpy().astype(float)
        items = Content(self.purchases, products).items
        self.likeness = (items @ items[self.new].T).toarray()

    def scores(self, way: str, customers: np.ndarray) -> np.ndarray:
        """Return the scores of the new items for some customers, shape (customers, new items).

        By content it is the mean likeness to what the customer has bought, by both that times one
        more than the customers so far. What the customer has bought already has minus infinity.
        """
        owned = self.purchases.owned[customers]
        if way == POPULAR:
            found = np.tile(self.n_customers, (len(customers), 1))
        else:
            n_owned = np.diff(owned.indptr)[:, None]
            found = owned @ self.likeness / np.maximum(n_owned, 1)
        if way == BOTH:
            found *= self.n_customers + 1
        return np.where(owned[:, self.new].toarray() > 0, -np.inf, found)

    def lists(self, way: str, customers: np.ndarray, n: int) -> np.ndarray:
        """Return the places in `new` of the best n for some customers, -1 where there is none."""
        parts = [np.zeros((0, n), int)]
        for some in blocks(customers):
            parts.append(top(self.scores(way, some), self.n_customers, n))
        return np.concatenate(parts)


def judge_new_items(rows: pl.DataFrame, new: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """Judge by time in which order new products are best shown.

    Customers are asked who had bought before a cut and in the horizon after it bought something
    that was new at the cut, for the first time.

    Args:
        rows: rows of `item_purchases`, in any order.
        new: rows of `new_items`.
        products: rows of `products`.

    Returns:
        One row per cut and way with the columns of SCHEMA; NDCG of LENGTH, its gain over what most
        have bought so far, and 95 % bootstrap intervals. Chosen is the best in the validation of
        those whose gain is more than noise, else what is popular. With too few customers the status
        says so.
    """
    if rows.is_empty():
        return pl.DataFrame(schema=SCHEMA)
    found = []
    with threadpool_limits(1):
        for cut in CUTS[:2]:
            found += _judged(NewItems(rows, new, products, cut), rows, cut)
    better = {
        row["way"]: row["ndcg"]
        for row in found
        if row["cut"] == CUTS[0] and row.get("gain_low", 0.0) > 0
    }
    chosen = max(better, key=better.__getitem__, default=POPULAR)
    return pl.DataFrame([row | {"is_chosen": row["way"] == chosen} for row in found], SCHEMA)


def _judged(standing: NewItems, rows: pl.DataFrame, cut: str) -> list[dict]:
    purchases = standing.purchases
    came = bought_after(rows, cut)
    bought = Purchases.of(came, purchases.customers, purchases.items).owned[:, standing.new]
    before = purchases.owned[:, standing.new]
    bought = sparse.csr_array(bought - bought.multiply(before))
    bought.eliminate_zeros()
    customers = np.flatnonzero(np.diff(bought.indptr))
    common = {"cut": cut, "n_items": len(standing.new), "n_customers": len(customers)}
    if len(customers) < MIN_CUSTOMERS:
        why = (
            f"abstained: {len(customers)} customers bought a new product in the time held out; "
            f"needed are {MIN_CUSTOMERS}"
        )
        return [common | {"way": way, "status": why} for way in WAYS]
    lists = {way: standing.lists(way, customers, LENGTH) for way in WAYS}
    bought = bought[customers]
    n_bought = np.diff(bought.indptr)
    return [
        common
        | {"way": way, "status": "judged"}
        | held_against(lists[way], lists[POPULAR], bought, n_bought, LENGTH)
        for way in lists
    ]


def recommend_new_items(
    rows: pl.DataFrame, new: pl.DataFrame, products: pl.DataFrame, judged: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """Give the new products of today to show every customer with a purchase.

    Args:
        rows: rows of `item_purchases`, in any order.
        new: rows of `new_items`.
        products: rows of `products`.
        judged: what judge_new_items returned.

    Yields:
        Of some customers at a time up to LENGTH rows of LISTS_SCHEMA each, by customer and rank;
        what the customer has bought is left out. Before all others a table without rows.
    """
    yield pl.DataFrame(schema=LISTS_SCHEMA)
    if rows.is_empty() or new.filter(cut="today").is_empty():
        return
    way = judged.filter("is_chosen")["way"][0]
    with threadpool_limits(1):
        standing = NewItems(rows, new, products, "today")
        del rows
        purchases = standing.purchases
        for some in blocks(np.arange(len(purchases.customers))):
            scores = standing.scores(way, some)
            lists = top(scores, standing.n_customers, LENGTH)
            row, place = np.nonzero(lists >= 0)
            item = lists[row, place]
            # What is behind it is told where it is the reason.
            like = np.full(len(item), -1)
            if way != POPULAR:
                like = most_alike(purchases.owned[some[row]], standing.likeness, item)
            yield pl.DataFrame({
                "customer_id": purchases.customers[some[row]],
                "recommendation_rank": place + 1,
                "product_id": purchases.items[standing.new[item]],
                "way": way,
                "score": np.round(scores[row, item], 9),
                "because_product_id": named(purchases.items, like),
            }, strict=False).cast(LISTS_SCHEMA)  # fmt: skip
