"""What a shop does not want to show, whatever a recommender says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import sparse

from perennial.recommend.lists import top

# Lists that must be mixed are filled from so many of the best.
DEPTH = 500
RULES = ("out_of_stock", "not_again", "at_most", "at_least_categories")


@dataclass(frozen=True)
class Restrictions:
    """The rules of `recommendation_rules`, for the items that can be recommended.

    Attributes:
        is_out: items that are never shown, shape (items,).
        is_once: items that are not shown to who has bought them, shape (items,).
        category: number of each item's category, shape (items,).
        at_most: of each category so many items in a list at most, shape (categories,).
        at_least: a list has items of so many categories, if there are.
    """

    is_out: np.ndarray
    is_once: np.ndarray
    category: np.ndarray
    at_most: np.ndarray
    at_least: int

    @classmethod
    def of(cls, rules: pl.DataFrame, products: pl.DataFrame, items: np.ndarray) -> Restrictions:
        """Make them of rows of `recommendation_rules`.

        A rule with a product is about it, one with a category about all products of it, one with
        neither about all. Of several limits the one that shows least counts.

        Args:
            rules: rule, one of RULES; product_id, category; n, how many.
            products: rows of `products`.
            items: ids of the items, in order.
        """
        known = pl.DataFrame({"product_id": items}, schema={"product_id": pl.String})
        known = known.join(
            products.select("product_id", pl.col("category").cast(pl.String)),
            on="product_id", how="left", maintain_order="left",
        ).with_columns(pl.col("category").fill_null(""))  # fmt: skip
        categories = known["category"].unique().sort().to_list()
        is_about = {rule: np.zeros(len(items), bool) for rule in RULES}
        at_most = np.full(len(categories), np.iinfo(np.int64).max)
        at_least = 0
        for rule, product, category, n in rules.select(
            "rule", "product_id", "category", "n"
        ).iter_rows():
            if rule == "at_most":
                chosen = [category in (None, name) for name in categories]
                at_most[chosen] = np.minimum(at_most[chosen], n)
            elif rule == "at_least_categories":
                at_least = max(at_least, n)
            else:
                is_it = np.ones(len(items), bool)
                if product is not None:
                    is_it &= (known["product_id"] == product).to_numpy()
                if category is not None:
                    is_it &= (known["category"] == category).to_numpy()
                is_about[rule] |= is_it
        number = known["category"].replace_strict(categories, range(len(categories)))
        return cls(
            is_about["out_of_stock"],
            is_about["not_again"],
            number.to_numpy().astype(int),
            at_most,
            at_least,
        )

    def lists(
        self, scores: np.ndarray, popularity: np.ndarray, owned: sparse.csr_array, n: int
    ) -> np.ndarray:
        """Return the best n items of each row that may be shown, the best first; shape (rows, n).

        Args:
            scores: shape (rows, items).
            popularity: what comes first among equals, shape (items,).
            owned: what each row has bought, shape (rows, items).
            n: length of the lists; the last places are -1 where nothing may be shown.
        """
        scores = np.where(self.is_out, -np.inf, scores)
        if self.is_once.any():
            row, item = owned.nonzero()
            once = self.is_once[item]
            scores[row[once], item[once]] = -np.inf
        if self.at_least <= 1 and (self.at_most >= n).all():
            return top(scores, popularity, n)
        return self._mixed(top(scores, popularity, min(DEPTH, scores.shape[1])), n)

    def _mixed(self, lists: np.ndarray, n: int) -> np.ndarray:
        """Return the first of each list, but of each category no more than may be shown.

        An item of a category that is there already waits where the places that are left are needed
        for categories that are not.
        """
        rows = np.arange(len(lists))
        found = np.full((len(lists), n), -1)
        n_taken = np.zeros(len(lists), int)
        taken = np.zeros((len(lists), len(self.at_most)), int)
        for item in lists.T:
            category = self.category[item]
            is_there = taken[rows, category] > 0
            wanted = self.at_least - (taken > 0).sum(axis=1)
            may = (item >= 0) & (n_taken < n) & (taken[rows, category] < self.at_most[category])
            may &= ~is_there | (n - n_taken > wanted)
            found[rows[may], n_taken[may]] = item[may]
            taken[rows[may], category[may]] += 1
            n_taken[may] += 1
        return found
