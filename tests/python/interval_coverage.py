"""`make coverage`: does the true retention lie in the stated intervals as often as they promise?

The customers of one simulated shop are drawn again and again: the same catalogue, campaigns and
season, other people. Each draw is a segment (the country) of one warehouse, which is built once.
What all draws together show is taken for the truth of a cell (definition, cohort and period), and
each draw's interval of Wilson holds it or does not.

An interval that is meant to be right 19 times in 20 can be so only on average: of n customers
whole ones come back, and with few of them its coverage jumps up and down with n and p (L. D. Brown,
T. T. Cai, A. DasGupta, Statistical Science 16, 2001). Where 5 or more are expected to come back,
and 5 or more not to, it is 91 to 98 % and 95.2 % on average; where one or less is, it is 83 to
100 %. So the promise is asserted from 5 on, and all cells are told. What the coverage is for the
very same n and p, where every customer decides alone, is computed from the binomial distribution
and told beside it; a dispersion above 1, the square of the distance from the truth by its variance,
would mean that customers do not. A draw is itself a part of the truth it is held against: of 24
draws that makes half a point.

With --shops each draw is a shop of its own, with campaigns of its own. The intervals do not speak
of other shops, and what these differ by comes on top.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from conftest import ONLY_MODELS
from independent import Z, read
from independent_shops import FOLDER, perennial
from scipy import stats

from perennial.simulate import Plan, write_shop

UNTIL = date(2025, 1, 1)
CELL = ["definition", "cohort_start_on", "period_number"]
PROMISED, MARGIN = 0.95, 0.02
EXPECTED = 5
"""Of how many who come back, and how many who do not, the promise is asserted."""


def draw(
    folder: Path, n_draws: int, n_customers: int, years: float, seed: int, shops: bool
) -> None:
    """Write the raw tables of a shop whose countries are the draws, numbered from 1."""
    shutil.rmtree(folder, ignore_errors=True)
    parts: dict[str, list[pl.DataFrame]] = {"customers": [], "orders": [], "order_items": []}
    if shops:
        plans = [Plan(n_customers, seed + n, UNTIL, years) for n in range(n_draws)]
    else:
        n_all = n_draws * n_customers
        plans = [Plan(n_all, seed, UNTIL, years, chunk_customers=n_customers)]
    for number, plan in enumerate(plans):
        write_shop(plan, folder / "one", "parquet", keep_truth=False, overwrite=True)
        for name, frames in parts.items():
            files = sorted((folder / "one").glob(f"{name}*.parquet"))
            frame = pl.concat(pl.read_parquet(file) for file in files)
            if name == "customers":
                serial = pl.col("customer_id").str.slice(1).cast(pl.Int64) - 1
                which = pl.lit(number) if shops else serial // n_customers
                frame = frame.with_columns(country=(which + 1).cast(pl.String))
            ids = [c for c in ("customer_id", "order_id") if c in frame.columns]
            frames.append(
                frame.with_columns((pl.lit(f"{number}-") + pl.col(c)).alias(c) for c in ids)
            )
    shutil.rmtree(folder / "one")
    for name, frames in parts.items():
        pl.concat(frames).write_parquet(folder / f"{name}.parquet")


def by_chance(n: np.ndarray, p: np.ndarray) -> np.ndarray:
    """How often the interval of Wilson holds p, where n customers come back each with chance p.

    It holds p where |x - n p| <= z sqrt(n p (1 - p)), of which its bounds are the solutions.
    """
    reach = Z * np.sqrt(n * p * (1 - p))
    low, high = np.ceil(n * p - reach), np.floor(n * p + reach)
    return stats.binom.cdf(high, n, p) - stats.binom.cdf(low - 1, n, p)


def cells_of(warehouse: Path) -> pl.DataFrame:
    """One row per mature cell of a draw, with the pooled rate of all draws for its truth."""
    retention = read(warehouse, "marts.retention").filter("is_mature")
    pooled = retention.filter(pl.col("segment_type") == "all").select(
        *CELL, truth="retention_rate", n_all="retention_denominator"
    )
    cells = (
        retention.filter((pl.col("segment_type") == "country") & (pl.col("segment") != "unknown"))
        .join(pooled, on=CELL)
        # Where everybody came back, or nobody of all, there is nothing to be wrong about.
        .filter(pl.col("truth").is_between(0, 1, closed="none"))
    )
    chance = by_chance(cells["retention_denominator"].to_numpy(), cells["truth"].to_numpy())
    n, p = pl.col("retention_denominator"), pl.col("truth")
    # The variance of a draw around what it is itself a part of.
    variance = n * p * (1 - p) * (1 - n / pl.col("n_all"))
    square = (pl.col("retention_numerator") - n * p) ** 2
    return cells.select(
        *CELL,
        draw="segment",
        expected=pl.min_horizontal(p, 1 - p) * n,
        is_inside=p.is_between("retention_rate_low", "retention_rate_high"),
        by_chance=pl.Series(chance),
        dispersion=pl.when(variance > 0).then(square / variance),
    )


def table(cells: pl.DataFrame) -> list[tuple[str, int, float, float, float, float]]:
    """Rows of a name, cells, coverage, its standard error, coverage by chance and dispersion.

    The cells of one draw hang together: the error is that between the draws.
    """
    expected = pl.col("expected")
    enough = expected >= EXPECTED
    groups = {
        "all cells": pl.lit(True),
        "expected below 1": expected < 1,
        f"expected 1 to {EXPECTED}": expected.is_between(1, EXPECTED, closed="left"),
        f"expected {EXPECTED} and more": enough,
        "expected 20 and more": expected >= 20,
    }
    for name in cells["definition"].unique().sort():
        groups[f"  {name}, {EXPECTED} and more"] = enough & (pl.col("definition") == name)
    rows = []
    for name, wanted in groups.items():
        some = cells.filter(wanted)
        # Of a handful of cells for each draw there is no error to tell.
        if some.height >= 10 * cells["draw"].n_unique():
            draws = some.group_by("draw").agg(pl.col("is_inside").mean())["is_inside"]
            error = draws.std() / len(draws) ** 0.5
            mean = [some[c].mean() for c in ("is_inside", "by_chance", "dispersion")]
            rows.append((name, some.height, mean[0], error, *mean[1:]))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60, help="draws (default: %(default)s)")
    parser.add_argument("--customers", type=int, default=1500, help="of each (%(default)s)")
    parser.add_argument("--years", type=float, default=1.0, help="simulated (%(default)s)")
    parser.add_argument("--seed", type=int, default=100, help="the first seed (%(default)s)")
    parser.add_argument("--shops", action="store_true", help="each draw is another shop")
    args = parser.parse_args()
    began = time.monotonic()
    folder, warehouse = FOLDER / "raw" / "coverage", FOLDER / "coverage.duckdb"
    draw(folder, args.seeds, args.customers, args.years, args.seed, args.shops)
    warehouse.unlink(missing_ok=True)
    what = ["--select", "+retention settings", "--exclude", ONLY_MODELS]
    files = ["--shop", "files", "--raw", folder, "--warehouse", warehouse]
    perennial("build", *files, "--no-report", "--vars", f"{{as_of: '{UNTIL}'}}", *what)
    rows = table(cells_of(warehouse))
    kind = "shops" if args.shops else "draws of the customers of one shop"
    print(f"{args.seeds} {kind}, {args.customers:,} customers each, {args.years:g} years")
    print(f"{'':48}{'cells':>10}{'covered':>10}{'± s.e.':>8}{'by chance':>11}{'dispersion':>12}")
    for name, n, covered, error, chance, dispersion in rows:
        print(f"{name:48}{n:10,}{covered:10.2%}{error:8.2%}{chance:11.2%}{dispersion:12.3f}")
    print(f"in {time.monotonic() - began:.0f} s")
    covered = {row[0]: row[2] for row in rows}[f"expected {EXPECTED} and more"]
    if abs(covered - PROMISED) > MARGIN:
        print(f"That is not {PROMISED:.0%} ± {MARGIN:.0%}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
