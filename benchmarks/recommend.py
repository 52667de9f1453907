"""How many customers a second get a list from the hybrid with all its parts, in what memory.

The shop is made up: a few products are bought by most (Zipf), half of what a customer buys is of a
kind that the customer likes, and some things are bought again. Each size runs in a process of its
own, from a parquet file of purchases to the table of lists: reading, fitting, scoring and reasons
are all in the time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

HORIZON_DAYS = 90
N_KINDS = 40
PURCHASES_EACH = 8


def simulate(
    n_customers: int, n_items: int, seed: int = 11, each: float = PURCHASES_EACH
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return rows of `item_purchases` and of `products` for a shop that is made up.

    Args:
        n_customers: customers, each with one purchase at least.
        n_items: products; not all of a small shop's are bought.
        seed: the same seed, the same shop.
        each: purchases of a customer on average, of which some are of the same product and day.
    """
    rng = np.random.default_rng(seed)
    n_each = 1 + rng.negative_binomial(1.5, 1.5 / (each + 0.5), n_customers)
    customer = np.repeat(np.arange(n_customers), n_each)
    share = 1 / (np.arange(n_items) + 10.0) ** 0.9
    item = np.searchsorted(np.cumsum(share / share.sum()), rng.random(len(customer)))
    item = np.minimum(item, n_items - 1)
    liked = rng.integers(0, N_KINDS, n_customers)[customer]
    is_liked = rng.random(len(item)) < 0.5
    item[is_liked] = np.minimum(item[is_liked] // N_KINDS * N_KINDS + liked[is_liked], n_items - 1)
    # One of ten is what the customer bought the time before.
    is_again = (rng.random(len(item)) < 0.1) & (np.diff(customer, prepend=-1) == 0)
    item[is_again] = item[np.flatnonzero(is_again) - 1]
    # Two or three products come on one day.
    first = rng.integers(1, 900, n_customers)[customer]
    day = (first * rng.random(len(item))).astype(int)
    is_same = (rng.random(len(item)) < 0.4) & (np.diff(customer, prepend=-1) == 0)
    day[is_same] = day[np.flatnonzero(is_same) - 1]
    name = rng.permutation(n_items)[item]
    rows = pl.DataFrame({"customer": customer, "product": name, "days_ago": day}).unique()
    rows = rows.select(
        customer_id="c" + pl.col("customer").cast(pl.String).str.zfill(8),
        product_id="p" + pl.col("product").cast(pl.String).str.zfill(6),
        days_ago=pl.col("days_ago").cast(pl.Int64),
        known_from=pl.when(pl.col("days_ago") >= 2 * HORIZON_DAYS)
        .then(pl.lit("validation"))
        .when(pl.col("days_ago") >= HORIZON_DAYS)
        .then(pl.lit("test"))
        .otherwise(pl.lit("today")),
        horizon_days=pl.lit(HORIZON_DAYS),
    ).sort("customer_id", "product_id", "days_ago")
    kind = np.arange(n_items) % N_KINDS
    words = np.array([f"word{n}" for n in range(max(2, n_items // 20))])
    text = [" ".join(found) for found in words[rng.integers(0, len(words), (n_items, 4))]]
    order = rng.permutation(n_items)
    number = np.empty(n_items, int)
    number[order] = np.arange(n_items)
    products = pl.DataFrame({
        "product_id": [f"p{n:06}" for n in range(n_items)],
        "category": [f"kind {kind[k]}" for k in number],
        "brand": [f"brand {b}" for b in rng.integers(0, 60, n_items)],
        "price": np.round(rng.lognormal(3, 0.8, n_items), 2),
        "name": text,
    })  # fmt: skip
    return rows, products


def hybrid_of_all() -> pl.DataFrame:
    """Return what `judge` would where every recommender has the same weight in the hybrid."""
    from perennial.recommend.judging import HYBRID
    from perennial.recommend.recommenders import RECOMMENDERS

    names = [kind.name for kind in RECOMMENDERS]
    return pl.DataFrame({
        "recommender": [*names, HYBRID],
        "is_chosen": [False] * len(names) + [True],
        "hybrid_weight": [1 / len(names)] * len(names) + [None],
    })  # fmt: skip


def measured(folder: str) -> dict:
    """Recommend to everybody; return seconds, memory and how many."""
    from perennial.recommend import recommend

    start = time.perf_counter()
    rows, products = (pl.read_parquet(f"{folder}/{name}.parquet") for name in ("rows", "products"))
    found = pl.concat(recommend(rows, products, hybrid_of_all()))
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": seconds,
        "purchases": rows.height,
        "customers": found["customer_id"].n_unique(),
        "lists": found.height,
        # One number that tells whether two versions show the same.
        "checksum": int(found.select("customer_id", "recommendation_rank", "product_id", "reason")
                        .hash_rows(seed=1).sum() % 10**9),
        "processor_seconds": used.ru_utime + used.ru_stime,
        "gb": used.ru_maxrss / 2**20,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", nargs="+", type=int, default=[100_000])
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--purchases-each", type=float, default=PURCHASES_EACH)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measured(args.measure)))
        return
    for n_customers in args.customers:
        with tempfile.TemporaryDirectory() as folder:
            rows, products = simulate(n_customers, args.items, each=args.purchases_each)
            rows.write_parquet(Path(folder, "rows.parquet"))
            products.write_parquet(Path(folder, "products.parquet"))
            del rows, products
            command = [sys.executable, __file__, "--measure", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{n_customers} customers failed:\n{done.stderr[-3000:]}")
            found = json.loads(done.stdout.splitlines()[-1])
        rate = found["customers"] / found["seconds"]
        print(
            f"{found['customers']:>9,} customers, {found['purchases']:>10,} purchases: "
            f"{found['seconds']:7.1f} s ({found['processor_seconds']:.1f} s of processors), "
            f"{rate:7,.0f} customers a second, "
            f"{found['gb']:.2f} GB, checksum {found['checksum']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
