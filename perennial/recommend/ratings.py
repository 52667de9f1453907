"""How well ratings can be foretold, from those that were known before."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import sparse

from perennial.recommend.lists import N_DRAWS, SEED, interval

# With fewer ratings in the time held out nothing can be told.
MIN_RATINGS = 50
# So many tell as well as all.
MOST_JUDGED = 20_000
# Who rated little is believed little: so many ratings like all are added, of a product and of a
# customer. These and the rounds are the defaults of scikit-surprise.
PRODUCT_RIDGE = 10.0
CUSTOMER_RIDGE = 15.0
ROUNDS = 10
# So many products are looked at, and so many common customers added that say nothing.
NEIGHBOURS = 40
SHRINKAGE = 100.0

PREDICTORS = ("mean", "product", "biases", "neighbours")
SCHEMA = {
    "predictor": pl.String,
    "status": pl.String,
    "n_ratings": pl.Int64,
    "n_customers": pl.Int64,
    "rmse": pl.Float64,
    "rmse_low": pl.Float64,
    "rmse_high": pl.Float64,
    "mae": pl.Float64,
    "mae_low": pl.Float64,
    "mae_high": pl.Float64,
}


class Ratings:
    """What customers gave to products, fitted.

    The baseline of a rating is mean + customer's bias + product's bias, by alternating least
    squares (Y. Koren, "Factor in the neighbors", ACM TKDD 4, 2010). Whoever is unknown has none.

    Attributes:
        mean: of all ratings.
        product_bias: by product, shape (products,).
        customer_bias: by customer, shape (customers,).
    """

    def __init__(self, customer: np.ndarray, product: np.ndarray, rating: np.ndarray,
                 n_customers: int, n_products: int):  # fmt: skip
        """Fit to ratings: numbers of customers and products, and stars, shape (ratings,) each."""
        self.mean = float(rating.mean()) if len(rating) else 0.0
        self.customer_bias, self.product_bias = np.zeros(n_customers), np.zeros(n_products)
        n_of = [
            np.bincount(customer, minlength=n_customers),
            np.bincount(product, minlength=n_products),
        ]
        for _ in range(ROUNDS):
            left = rating - self.mean - self.customer_bias[customer]
            self.product_bias = np.bincount(product, left, n_products) / (PRODUCT_RIDGE + n_of[1])
            left = rating - self.mean - self.product_bias[product]
            self.customer_bias = np.bincount(customer, left, n_customers) / (
                CUSTOMER_RIDGE + n_of[0]
            )
        beyond = rating - self.mean - self.product_bias[product]
        self.product_mean = np.bincount(product, rating - self.mean, n_products) / (
            PRODUCT_RIDGE + n_of[1]
        )
        residual = beyond - self.customer_bias[customer]
        self.residuals = sparse.csr_array(
            (residual, (customer, product)), (n_customers, n_products)
        )
        self.similarity = self._similar(customer, product, residual, n_customers, n_products)

    @staticmethod
    def _similar(customer, product, residual, n_customers, n_products) -> sparse.csr_array:
        """Return the correlations of two products' residuals, of the customers who rated both."""
        shape = (n_customers, n_products)
        rated = sparse.csr_array((np.ones(len(customer)), (customer, product)), shape)
        values = sparse.csr_array((residual, (customer, product)), shape)
        squares = sparse.csr_array((residual**2, (customer, product)), shape)
        both = sparse.csr_array(rated.T @ rated)
        shared = sparse.csr_array(values.T @ values)
        # Only of those who rated the other one, too.
        own = sparse.csr_array(squares.T @ rated)
        found = shared.tocoo()
        row, column = found.coords
        n = np.asarray(both[row, column]).ravel()
        spread = np.sqrt(
            np.asarray(own[row, column]).ravel() * np.asarray(own[column, row]).ravel()
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(spread > 0, found.data / spread, 0.0) * (n - 1) / (n - 1 + SHRINKAGE)
        kept = (row != column) & (value > 0)
        return sparse.csr_array((value[kept], (row[kept], column[kept])), (n_products, n_products))

    def foretold(self, predictor: str, customer: np.ndarray, product: np.ndarray) -> np.ndarray:
        """Return the expected stars of some pairs by one of PREDICTORS; -1 is somebody unknown."""

        def of(values: np.ndarray, number: np.ndarray) -> np.ndarray:
            return np.append(values, 0.0)[number]

        if predictor == "mean":
            return np.full(len(customer), self.mean)
        if predictor == "product":
            return np.clip(self.mean + of(self.product_mean, product), 1, 5)
        found = self.mean + of(self.customer_bias, customer) + of(self.product_bias, product)
        if predictor == "neighbours":
            found = found + np.array([
                self._pull(one, other) for one, other in zip(customer, product, strict=True)
            ])  # fmt: skip
        return np.clip(found, 1, 5)

    def _pull(self, customer: int, product: int) -> float:
        """Return by how much the customer's ratings of similar products move this one."""
        if customer < 0 or product < 0:
            return 0.0
        mine = self.residuals[[customer]]
        alike = self.similarity[[product]].toarray().ravel()[mine.indices]
        nearest = np.argsort(-alike, kind="stable")[:NEIGHBOURS]
        weight = alike[nearest]
        return float(weight @ mine.data[nearest] / weight.sum()) if weight.sum() > 0 else 0.0


def judge_ratings(rows: pl.DataFrame) -> pl.DataFrame:
    """Judge predictors of ratings by time: those of a time held out, from those known before.

    Args:
        rows: rows of `item_ratings`, in any order: customer_id (null where unknown), product_id,
            rating, and is_held_out.

    Returns:
        One row per predictor with the columns of SCHEMA: root of the mean squared error and mean
        absolute error in stars, with 95 % bootstrap intervals over ratings. With too few
        ratings the status says so, and there are no figures. No row without any rating.
    """
    if rows.is_empty():
        return pl.DataFrame(schema=SCHEMA)
    rows = rows.sort("customer_id", "product_id", "rating", nulls_last=True)
    known, came = rows.filter(~pl.col("is_held_out")), rows.filter("is_held_out")
    if known.is_empty() or came.height < MIN_RATINGS:
        why = f"abstained: {came.height} ratings in the time held out; needed are {MIN_RATINGS}"
        return pl.DataFrame([{"predictor": name, "status": why} for name in PREDICTORS], SCHEMA)
    if came.height > MOST_JUDGED:
        chosen = np.random.default_rng(SEED).choice(came.height, MOST_JUDGED, replace=False)
        came = came[np.sort(chosen)]
    # Several ratings of a product by one customer: the mean counts. Each whom nobody knows is
    # somebody else.
    train = (
        known.with_row_index()
        .with_columns(
            pl.when(pl.col("customer_id").is_null()).then("index").alias("stranger"),
        )
        .group_by("customer_id", "stranger", "product_id")
        .agg(pl.col("rating").mean())
        .sort("customer_id", "stranger", "product_id")
    )
    customers, products = (
        train[name].drop_nulls().unique().sort() for name in ("customer_id", "product_id")
    )

    def numbers(frame: pl.DataFrame, name: str, ids: pl.Series) -> np.ndarray:
        places = dict(zip(ids, range(len(ids)), strict=True))
        return np.array([places.get(value, -1) for value in frame[name]], int)

    customer = numbers(train, "customer_id", customers)
    strangers = customer < 0
    customer[strangers] = len(customers) + np.arange(strangers.sum())
    fitted = Ratings(
        customer, numbers(train, "product_id", products), train["rating"].to_numpy(),
        len(customers) + int(strangers.sum()), len(products),
    )  # fmt: skip
    asked = numbers(came, "customer_id", customers), numbers(came, "product_id", products)
    draws = np.random.default_rng(SEED).poisson(1.0, (N_DRAWS, came.height)).astype(np.float32)
    found = []
    for name in PREDICTORS:
        error = fitted.foretold(name, *asked) - came["rating"].to_numpy()
        mean, low, high = interval(np.column_stack([error**2, np.abs(error)]), draws)
        found.append({
            "predictor": name, "status": "judged", "n_ratings": came.height,
            "n_customers": came["customer_id"].n_unique(),
            "rmse": mean[0] ** 0.5, "rmse_low": low[0] ** 0.5, "rmse_high": high[0] ** 0.5,
            "mae": mean[1], "mae_low": low[1], "mae_high": high[1],
        })  # fmt: skip
    return pl.DataFrame(found, SCHEMA)
