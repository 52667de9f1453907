"""Customer value against what then came, on simulated shops.

For each seed a clean shop is simulated; its warehouse is built as it would have been a year before
the end, and what `customer_lifetime_value` says is set beside what the same customers then bought
and spent. Beside it stands the simulator's own posterior (`perennial.posterior`), which knows the
process that makes the orders. Prints a table, the mean of all seeds with the standard error between
them; exits with 1 where intervals of a year's value hold less or more often than they should.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from shops import build, orders_of
from tables import markdown_table

from perennial.errors import UserError
from perennial.posterior import Process, expected_orders, summarise
from perennial.simulate import DEFAULTS, plan_of, write_shop

HORIZONS = (30, 90, 365)
PROMISED, MARGIN = 0.80, 0.04

MEASURES = {
    "customers": "{:,.0f}",
    "purchases, expected / came": "{:.2f}",
    "posterior": "{:.2f}",
    "error, posterior = 1": "{:.3f}",
    "revenue, expected / came": "{:.2f}",
    "open": "{:.2f}",
    "held of the open": "{:.3f}",
    "held of all": "{:.3f}",
    "purchases held of the open": "{:.3f}",
}
LEGEND = """\
- posterior: what Bayes' rule on the simulator's own process expects, by what came: orders that
  campaigns add or take away are not in it, nor that two orders of a day are one purchase.
- error, posterior = 1: root of the mean squared error of each customer's purchases, by the
  posterior's.
- open: share of customers whose interval of revenue is more than nothing. Whoever buys nothing
  with a probability of four fifths or more has the interval 0 to 0, which holds more often.
- held: share of customers whose revenue, refunds taken off, lay in their 80 % interval. Purchases
  come in whole numbers, so that their intervals hold 80 % at least."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    whole = {"type": int, "metavar": "N"}
    parser.add_argument("--customers", default=5000, help="of each shop (%(default)s)", **whole)
    parser.add_argument("--seeds", default=5, help="number of shops (%(default)s)", **whole)
    parser.add_argument("--years", default=3, help="simulated, the last held out (3)", **whole)
    args = parser.parse_args(argv)
    if min(args.customers, args.seeds) < 1 or args.years < 2:
        parser.error("--customers and --seeds are whole numbers from 1, --years from 2")
    rows = []
    try:
        with tempfile.TemporaryDirectory(prefix="perennial-value-") as scratch:
            for seed in range(1, args.seeds + 1):
                tell(f"seed {seed} of {args.seeds}: {args.customers:,} customers")
                folder = Path(scratch) / f"seed_{seed}"
                rows += play(seed, args.customers, args.years, folder)
    except UserError as error:
        print(f"benchmarks/value.py: {error}", file=sys.stderr)
        return 2
    print(f"{markdown(rows)}\n\n{LEGEND}")
    held = np.mean([row["held of the open"] for row in rows if row["days"] == HORIZONS[-1]])
    if abs(held - PROMISED) > MARGIN:
        print(f"{held:.1%} is not {PROMISED:.0%} ± {MARGIN:.0%}.", file=sys.stderr)
        return 1
    return 0


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def play(seed: int, n_customers: int, years: int, folder: Path) -> list[dict[str, float]]:
    """Simulate, build as of a year before the end, and measure; one row per horizon."""
    shop, then, later = folder / "shop", folder / "then.duckdb", folder / "later.duckdb"
    options = {"customers": str(n_customers), "seed": str(seed), "years": str(years)}
    plan = plan_of(DEFAULTS | options)
    write_shop(plan, shop, "parquet")
    end = plan.until - timedelta(days=1)
    cut = end - timedelta(days=HORIZONS[-1])
    build(shop, then, select="+customer_lifetime_value", settings={"as_of": f"{cut} 23:59:59"})
    build(shop, later, select="+orders +refunds", settings={"as_of": f"{end} 23:59:59"})
    posterior = best_known(shop, cut)
    rows = []
    for days in HORIZONS:
        frame = outcomes(then, later, days).join(posterior[days], on="customer_id")
        rows.append({"days": days} | measure(frame))
    return rows


def outcomes(then: Path, later: Path, days: int) -> pl.DataFrame:
    """What was forecast for each customer, and what came within so many days."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{then}' as told (read_only)")
        connection.execute(f"attach '{later}' as came (read_only)")
        frame = connection.sql(
            f"""
            with clock as (select as_of_on as cut_on from told.intermediate.clock),

            bought as (
                select customer_id, count(distinct ordered_on) as n, sum(net_amount) as amount
                from came.marts.orders, clock
                where not is_cancelled and ordered_on - cut_on between 1 and {days}
                group by customer_id
            ),
            returned as (
                select customer_id, sum(amount) as amount
                from came.marts.refunds, clock
                where not is_order_cancelled and refunded_on - cut_on between 1 and {days}
                group by customer_id
            )
            select
                customer_id, status,
                expected_purchases_{days}d as expected_purchases,
                purchases_{days}d_low as purchases_low, purchases_{days}d_high as purchases_high,
                cast(expected_amount_{days}d as double) as expected_amount,
                cast(amount_{days}d_low as double) as amount_low,
                cast(amount_{days}d_high as double) as amount_high,
                coalesce(bought.n, 0) as n,
                cast(coalesce(bought.amount, 0) - coalesce(returned.amount, 0) as double) as amount
            from told.marts.customer_lifetime_value as value
            left join bought using (customer_id)
            left join returned using (customer_id)
            order by customer_id
            """
        ).pl()
    if (frame["status"] != "forecast").any() or frame.is_empty():
        why = frame["status"].filter(frame["status"] != "forecast").first()
        raise UserError(f"there are no forecasts: {why or 'no customers'}. More customers help.")
    return frame


def best_known(shop: Path, cut: date) -> dict[int, pl.DataFrame]:
    """The orders that the simulator's own process expects of each customer, by horizon."""
    process = Process.of_file(shop / "truth/parameters.json")
    orders = orders_of(shop)
    now = float(process.days(np.datetime64(cut + timedelta(days=1))))
    who, histories = summarise(
        orders["customer_id"].to_numpy(),
        orders["channel"].to_numpy(),
        process.days(orders["ordered_at"].to_numpy()),
        now,
    )
    return {
        days: pl.DataFrame(
            {"customer_id": who, "posterior": expected_orders(process, histories, now, days)}
        )
        for days in HORIZONS
    }


def measure(frame: pl.DataFrame) -> dict[str, float]:
    """The measures of one shop and horizon."""
    is_open = frame["amount_high"] > 0
    held = frame["amount"].is_between(frame["amount_low"], frame["amount_high"])
    counted = frame["n"].is_between(frame["purchases_low"], frame["purchases_high"])

    def error(column: str) -> float:
        return float(np.sqrt(((frame[column] - frame["n"]) ** 2).mean()))

    values = (
        frame.height,
        frame["expected_purchases"].sum() / frame["n"].sum(),
        frame["posterior"].sum() / frame["n"].sum(),
        error("expected_purchases") / error("posterior"),
        frame["expected_amount"].sum() / frame["amount"].sum(),
        is_open.mean(),
        held.filter(is_open).mean(),
        held.mean(),
        counted.filter(frame["purchases_high"] > 0).mean(),
    )
    return dict(zip(MEASURES, values, strict=True))


def markdown(rows: list[dict[str, float]]) -> str:
    """The means over all shops, with the standard errors between them."""
    lines = [["days ahead", *MEASURES]]
    for days in HORIZONS:
        cells = []
        for name, form in MEASURES.items():
            values = np.array([row[name] for row in rows if row["days"] == days])
            error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
            has_error = name != "customers" and np.isfinite(error)
            cells.append(form.format(values.mean()) + (f" ± {error:.3f}" if has_error else ""))
        lines.append([str(days), *cells])
    return markdown_table(lines)


if __name__ == "__main__":
    sys.exit(main())
