"""Groups of customers that form by themselves: k-means on recency, frequency and money.

Each of the three is taken as ln(1 + x), for they have long tails, and standardised. How many groups
there are is asked of the data: the silhouette says how well they are apart (Rousseeuw 1987), the
adjusted Rand index of two fits on halves of the customers whether they would be found again
(Hubert and Arabie 1985).
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

SEED = 20240229
COLUMNS = ("recency_days", "frequency", "monetary_amount")

# With fewer customers, or fewer that differ, groups mean nothing.
MIN_CUSTOMERS = 100
MIN_DISTINCT = 20

# So many customers tell the centres, and so many the silhouette, which takes the square of them.
N_FITTED = 20_000
N_SILHOUETTE = 2_000
# Two groups, of good and of bad customers, always lie furthest apart, and say nothing new.
FEWEST_CLUSTERS, MOST_CLUSTERS = 3, 8
# Less agreement of two halves than this is chance and taste.
MIN_STABILITY = 0.7

# So far from the mean of all customers, in standard deviations, a centre has a name of its own.
APART = 0.5
WORDS = {
    "recency_days": ("recent", "long gone"),
    "frequency": ("rare", "frequent"),
    "monetary_amount": ("small spenders", "big spenders"),
}

MODELS_SCHEMA = {
    "method": pl.String,
    "n_clusters": pl.Int64,
    "status": pl.String,
    "is_chosen": pl.Boolean,
    "n_customers": pl.Int64,
    "silhouette": pl.Float64,
    "stability": pl.Float64,
    "noise_share": pl.Float64,
    "agreement": pl.Float64,
    "centres": pl.List(pl.Struct({"cluster": pl.String} | dict.fromkeys(COLUMNS, pl.Float64))),
    "means": pl.List(pl.Float64),
    "deviations": pl.List(pl.Float64),
}
CLUSTERS_SCHEMA = {"customer_id": pl.String, "cluster": pl.String, "distance": pl.Float64}


def fit_clusters(rfm: pl.DataFrame) -> pl.DataFrame:
    """Try numbers of clusters and ways to find them, and choose one.

    Chosen is the number of k-means clusters with the best silhouette among those that are found
    again; where none is, the one that is found again most surely. Clustering by density (DBSCAN)
    and by merging (Ward) stand beside it, on as many customers as they can take, with how far
    they agree.

    Args:
        rfm: rows of `rfm`, in any order.

    Returns:
        One row per method and number with the columns of MODELS_SCHEMA; one with the status
        'abstained: ' and the reason where there are too few customers; none without customers.
    """
    known = rfm.filter(pl.all_horizontal(pl.col(*COLUMNS).is_not_null()))
    if rfm.is_empty():
        return pl.DataFrame(schema=MODELS_SCHEMA)
    n_distinct = known.select(COLUMNS).n_unique()
    if known.height < MIN_CUSTOMERS or n_distinct < MIN_DISTINCT:
        why = (
            f"{known.height} customers, {n_distinct} of them different; "
            f"needed are {MIN_CUSTOMERS} and {MIN_DISTINCT}"
        )
        row = {"method": "k_means", "status": f"abstained: {why}", "is_chosen": False}
        return pl.DataFrame([row | {"n_customers": known.height}], schema=MODELS_SCHEMA)
    # Only where there is something to fit: it takes seconds to load.
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return _fitted(_drawn(known))


def assign_clusters(rfm: pl.DataFrame, models: pl.DataFrame) -> pl.DataFrame:
    """Return the cluster of each customer, with the distance from its centre.

    Args:
        rfm: rows of `rfm`, in any order.
        models: what fit_clusters returned.

    Returns:
        Rows of CLUSTERS_SCHEMA, sorted by customer; customers whose revenue is not known are in no
        cluster. The distance is in standard deviations.
    """
    chosen = models.filter("is_chosen")
    known = rfm.filter(pl.all_horizontal(pl.col(*COLUMNS).is_not_null())).sort("customer_id")
    if chosen.is_empty() or known.is_empty():
        return pl.DataFrame(schema=CLUSTERS_SCHEMA)
    row = chosen.row(0, named=True)
    means, deviations = np.array(row["means"]), np.array(row["deviations"])
    points = (_logarithms(known) - means) / deviations
    original = pl.DataFrame(row["centres"])
    centres = (_logarithms(original) - means) / deviations
    distances = np.linalg.norm(points[:, None, :] - centres[None, :, :], axis=2)
    # Equal distances, as far as floats can say, go to the first centre.
    nearest = np.argmin(np.round(distances, 9), axis=1)
    return known.select("customer_id").with_columns(
        cluster=pl.Series(original["cluster"].to_numpy()[nearest], dtype=pl.String),
        distance=pl.Series(distances[np.arange(len(points)), nearest]),
    )


def _logarithms(rows: pl.DataFrame) -> np.ndarray:
    """Return ln(1 + x) of the three, shape (n, 3); whoever brought less than nothing, nothing."""
    values = rows.select(pl.col(column).cast(pl.Float64) for column in COLUMNS).to_numpy()
    return np.log1p(np.maximum(values, 0.0))


def _drawn(known: pl.DataFrame) -> pl.DataFrame:
    """Return N_FITTED customers at most, drawn by a hash: the same whatever the order of rows."""
    draws = [hashlib.md5(customer.encode()).hexdigest() for customer in known["customer_id"]]
    return known.with_columns(draw=pl.Series(draws)).sort("draw", "customer_id").head(N_FITTED)


def _fitted(drawn: pl.DataFrame) -> pl.DataFrame:
    from sklearn.cluster import DBSCAN, AgglomerativeClustering, KMeans
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    logarithms = _logarithms(drawn)
    means, deviations = logarithms.mean(axis=0), logarithms.std(axis=0)
    deviations[deviations < 1e-9] = 1.0
    points = (logarithms - means) / deviations
    few = points[:N_SILHOUETTE]
    halves = points[0::2], points[1::2]

    def k_means(rows: np.ndarray, n: int) -> KMeans:
        return KMeans(n_clusters=n, n_init=4, random_state=SEED).fit(rows)

    def silhouette(labels: np.ndarray) -> float | None:
        clustered = labels >= 0
        if not 1 < len(set(labels[clustered])) < clustered.sum():
            return None
        return float(silhouette_score(few[clustered], labels[clustered]))

    rows, models = [], {}
    for n in range(FEWEST_CLUSTERS, MOST_CLUSTERS + 1):
        model = models[n] = k_means(points, n)
        found = [k_means(half, n).predict(points) for half in halves]
        rows.append(
            {
                "method": "k_means",
                "n_clusters": n,
                "silhouette": silhouette(model.labels_[: len(few)]),
                "stability": float(adjusted_rand_score(*found)),
                "noise_share": 0.0,
            }
        )

    def rank(row: dict) -> tuple:
        is_stable = row["stability"] >= MIN_STABILITY
        apart = row["silhouette"] if row["silhouette"] is not None else -1.0
        return is_stable, round(apart if is_stable else row["stability"], 9), -row["n_clusters"]

    chosen = max(rows, key=rank)
    best = models[chosen["n_clusters"]].labels_[: len(few)]
    others = {
        "dbscan": DBSCAN(eps=_reach(few), min_samples=10),
        "ward": AgglomerativeClustering(n_clusters=chosen["n_clusters"], linkage="ward"),
    }
    for method, other in others.items():
        labels = other.fit_predict(few)
        rows.append(
            {
                "method": method,
                "n_clusters": len(set(labels[labels >= 0])),
                "silhouette": silhouette(labels),
                "noise_share": float((labels < 0).mean()),
                "agreement": float(adjusted_rand_score(best, labels)),
            }
        )
    centres = models[chosen["n_clusters"]].cluster_centers_
    for row in rows:
        row |= {
            "status": "fitted",
            "is_chosen": row is chosen,
            "n_customers": len(points if row["method"] == "k_means" else few),
        }
    chosen |= {
        "centres": _named(centres, means, deviations),
        "means": means.tolist(),
        "deviations": deviations.tolist(),
    }
    return pl.DataFrame(rows, schema=MODELS_SCHEMA)


def _reach(points: np.ndarray) -> float:
    """Return how far DBSCAN looks: where nine of ten points have their tenth neighbour."""
    from sklearn.neighbors import NearestNeighbors

    distances, _ = NearestNeighbors(n_neighbors=10).fit(points).kneighbors(points)
    return float(max(np.quantile(distances[:, -1], 0.9), 1e-6))


def _named(centres: np.ndarray, means: np.ndarray, deviations: np.ndarray) -> list[dict]:
    """Return the centres in the units of the columns, named by what sets them apart.

    The name is the cluster's identity: it stays from run to run as long as its customers stay
    what they are. Of several with the same name the one with most money is the first.
    """
    original = np.expm1(centres * deviations + means)
    order = np.lexsort((original[:, 0], -original[:, 1], -original[:, 2]))
    named: list[dict] = []
    for place in order:
        words = [
            WORDS[column][int(value > 0)]
            for column, value in zip(COLUMNS, centres[place], strict=True)
            if abs(value) >= APART
        ]
        name = ", ".join(words) or "average"
        n_same = sum(row["cluster"].split(" (")[0] == name for row in named)
        named.append(
            {"cluster": f"{name} ({n_same + 1})" if n_same else name}
            | dict(zip(COLUMNS, original[place].tolist(), strict=True))
        )
    return named
