"""Groups of customers: planted ones are found, and nothing depends on chance or order."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score

from perennial.value.clusters import (
    CLUSTERS_SCHEMA,
    MODELS_SCHEMA,
    assign_clusters,
    fit_clusters,
)

# Days since the last order, orders, money.
PLANTED = {
    "loyal": (5, 20, 2000),
    "new": (6, 1.2, 30),
    "gone": (400, 1.2, 40),
    "were": (300, 15, 900),
}


def planted(n: int = 150, seed: int = 1) -> tuple[pl.DataFrame, np.ndarray]:
    """Customers of four kinds, and which each is."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(len(PLANTED)), n)
    centres = np.array(list(PLANTED.values()))[kinds]
    values = np.exp(np.log(centres) + rng.normal(0, 0.25, centres.shape))
    frame = pl.DataFrame({
        "customer_id": [f"c{i:04}" for i in rng.permutation(len(kinds))],
        "recency_days": values[:, 0].astype(int),
        "frequency": np.maximum(1, values[:, 1].astype(int)),
        "monetary_amount": values[:, 2],
    })  # fmt: skip
    return frame, kinds


def test_planted_groups_are_found_and_named_by_what_they_are():
    frame, kinds = planted()
    models = fit_clusters(frame)
    chosen = models.filter("is_chosen").row(0, named=True)
    assert dict(models.schema) == MODELS_SCHEMA
    assert (chosen["method"], chosen["n_clusters"]) == ("k_means", 4)
    assert chosen["stability"] > 0.95
    found = frame.join(assign_clusters(frame, models), on="customer_id", maintain_order="left")
    assert adjusted_rand_score(kinds, found["cluster"].to_list()) > 0.97
    names = {
        kind: found["cluster"].to_numpy()[kinds == place] for place, kind in enumerate(PLANTED)
    }
    common = {kind: max(set(values), key=list(values).count) for kind, values in names.items()}
    assert common["loyal"] == "recent, frequent, big spenders"
    assert common["new"] == "recent, rare, small spenders"
    assert common["gone"] == "long gone, rare, small spenders"
    assert common["were"] == "long gone, frequent, big spenders"
    ward = models.filter(pl.col("method") == "ward")
    assert ward["agreement"].item() > 0.95
    assert models.filter(pl.col("method") == "dbscan")["noise_share"].item() < 0.3


def test_the_order_of_rows_does_not_matter_and_every_customer_is_in_the_nearest():
    frame, _ = planted()
    models = fit_clusters(frame)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=2)
    assert fit_clusters(shuffled).equals(models)
    found = assign_clusters(frame, models)
    assert dict(found.schema) == CLUSTERS_SCHEMA
    assert assign_clusters(shuffled, models).equals(found)
    row = models.filter("is_chosen").row(0, named=True)
    columns = ("recency_days", "frequency", "monetary_amount")
    for one in frame.join(found, on="customer_id").sample(40, seed=3).iter_rows(named=True):
        distances = {}
        for centre in row["centres"]:
            squares = 0.0
            for place, column in enumerate(columns):
                apart = np.log1p(one[column]) - np.log1p(centre[column])
                squares += (apart / row["deviations"][place]) ** 2
            distances[centre["cluster"]] = squares**0.5
        nearest = min(distances, key=distances.get)
        assert (one["cluster"], one["distance"]) == (
            nearest,
            pytest.approx(distances[nearest], abs=1e-6),
        )


def test_names_stay_when_a_day_passes():
    frame, _ = planted()
    later = frame.with_columns(pl.col("recency_days") + 1)
    one, other = (
        assign_clusters(rows, fit_clusters(rows)).rename({"cluster": name})
        for rows, name in ((frame, "one"), (later, "other"))
    )
    both = one.join(other, on="customer_id")
    assert (both["one"] == both["other"]).mean() > 0.97


def test_names_are_never_given_twice():
    rng = np.random.default_rng(4)
    frame = pl.DataFrame({
        "customer_id": [f"c{i:04}" for i in range(400)],
        "recency_days": rng.integers(0, 3, 400),
        "frequency": rng.integers(1, 3, 400),
        "monetary_amount": rng.gamma(0.3, 1000, 400),
    })  # fmt: skip
    names = [row["cluster"] for row in fit_clusters(frame).filter("is_chosen")["centres"].item()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"recency_days": 1, "frequency": 1, "monetary_amount": 5.0}, "600 customers, 1 of them"),
        ({"monetary_amount": None}, "0 customers, 0 of them different"),
    ],
)
def test_too_little_is_said(columns, why):
    frame, _ = planted()
    literals = {
        name: pl.lit(value, pl.Float64 if name == "monetary_amount" else pl.Int64)
        for name, value in columns.items()
    }
    models = fit_clusters(frame.with_columns(**literals))
    assert models["status"].to_list()[0].startswith(f"abstained: {why}")
    assert assign_clusters(frame, models).height == 0


def test_what_is_odd_is_grouped_too():
    """A constant column, revenue below nothing, and nobody at all."""
    frame, _ = planted()
    odd = frame.with_columns(frequency=pl.lit(1), monetary_amount=pl.col("monetary_amount") - 50)
    found = assign_clusters(odd, fit_clusters(odd))
    assert (found.height, found["distance"].is_finite().all()) == (600, True)
    assert dict(fit_clusters(frame.clear()).schema) == MODELS_SCHEMA
    assert assign_clusters(frame.clear(), fit_clusters(frame)).height == 0
