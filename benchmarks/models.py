"""The models beside what people use instead, each on the same data in one run.

- BG/NBD and its modification against the archived library `lifetimes`, on the CDNOW sample that it
  brings: time to fit, and log-likelihood of what was found.
- The churn pipeline against a plain scikit-learn notebook: recency, frequency and money of the last
  snapshot whose outcome is known, a random forest with its defaults, tested on the same customers.
- The dbt Python model against the bare call of the library on the same rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from shops import build
from sklearn.ensemble import RandomForestClassifier
from tables import markdown_table

from perennial.churn import train_models
from perennial.churn.metrics import METRICS, rank
from perennial.errors import UserError
from perennial.simulate import DEFAULTS, plan_of, write_shop
from perennial.value.purchases import Histories, _log_likelihood, fit_purchases

N_FITS = 7
ASKED = ("roc_auc", "brier_score", "expected_calibration_error")

# Fits in the other library's own environment; prints what it found as JSON.
LIFETIMES = """
import json, statistics, sys, time, warnings
warnings.simplefilter("ignore")
from lifetimes import BetaGeoFitter, ModifiedBetaGeoFitter
from lifetimes.datasets import load_cdnow_summary
rows = load_cdnow_summary(index_col=[0])
found = {}
for name, kind in (("bg_nbd", BetaGeoFitter), ("mbg_nbd", ModifiedBetaGeoFitter)):
    seconds = []
    for _ in range(int(sys.argv[1])):
        began = time.perf_counter()
        model = kind(penalizer_coef=0.0).fit(rows["frequency"], rows["recency"], rows["T"])
        seconds.append(time.perf_counter() - began)
    found[name] = [statistics.median(seconds), dict(model.params_)]
print(json.dumps([rows[["frequency", "recency", "T"]].values.tolist(), found]))
"""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lifetimes", metavar="PYTHON", help="an interpreter that has lifetimes")
    parser.add_argument("--retail", metavar="DIR", help="the folder of Online Retail, if at hand")
    parser.add_argument("--customers", type=int, default=5000, help="of the simulated shop")
    args = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="perennial-models-") as scratch:
            folder = Path(scratch)
            if args.lifetimes:
                print(f"### Purchases: CDNOW\n\n{beside_lifetimes(args.lifetimes)}\n", flush=True)
            shop = folder / "shop"
            options = DEFAULTS | {"customers": str(args.customers), "seed": "1"}
            write_shop(plan_of(options), shop, "parquet")
            warehouses = {f"simulated, {args.customers:,}": folder / "simulated.duckdb"}
            build(shop, folder / "simulated.duckdb")
            if args.retail:
                warehouses["Online Retail"] = folder / "retail.duckdb"
                build(Path(args.retail), folder / "retail.duckdb", "online_retail")
            print(f"### Churn\n\n{beside_a_notebook(warehouses)}\n", flush=True)
            print(f"### What dbt adds\n\n{beside_the_bare_call(warehouses)}", flush=True)
    except UserError as error:
        print(f"benchmarks/models.py: {error}", file=sys.stderr)
        return 2
    return 0


def beside_lifetimes(python: str) -> str:
    """Fit both models by both libraries to the same customers."""
    done = subprocess.run(
        [python, "-c", LIFETIMES, str(N_FITS)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"{python} does not run lifetimes: {done.stderr[-600:]}")
    rows, theirs = json.loads(done.stdout)
    x, t_x, age = np.array(rows).T
    everyone = Histories.of(x, t_x, age)
    # As the warehouse gives them: each history once, with its customers.
    distinct, customers = np.unique(np.array(rows), axis=0, return_counts=True)
    once = Histories.of(*distinct.T, customers)
    lines = [["model", "log-likelihood", "lifetimes", "fit, ms", "lifetimes, ms", "ratio"]]
    for name, (their_seconds, found) in theirs.items():
        seconds = []
        for _ in range(N_FITS):
            began = time.perf_counter()
            model = fit_purchases(name, once)
            seconds.append(time.perf_counter() - began)
        parameters = np.log([found[key] for key in ("r", "alpha", "a", "b")])
        ours, their = model.log_likelihood, _log_likelihood(name, parameters, everyone, 1)[0]
        own = statistics.median(seconds)
        lines.append(
            [name, f"{ours:.4f}", f"{their:.4f}", f"{1000 * own:.0f}",
             f"{1000 * their_seconds:.0f}", f"{own / their_seconds:.2f}"]
        )  # fmt: skip
    return markdown_table(lines)


def beside_a_notebook(warehouses: dict[str, Path]) -> str:
    """The champion and a notebook's model, on the customers of the test."""
    lines = [["shop", "model", "customers", "ROC AUC", "Brier score", "ECE"]]
    for shop, warehouse in warehouses.items():
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            champion = connection.sql(
                """
                select model_name, tested_on, horizon_days, test_predictions
                from intermediate.py_churn_models
                where is_champion and horizon_days = 90
                """
            ).pl()
            if champion.is_empty():
                raise UserError(f"the churn models of {shop} abstained; more customers help.")
            [tested_on] = champion["tested_on"]
            test = champion["test_predictions"].explode().struct.unnest()
            before = connection.sql(
                """
                select max(snapshot_on) as day from intermediate.churn_features
                where snapshot_on + 90 <= $day
                """,
                params={"day": tested_on},
            ).fetchall()[0][0]
            learned, asked = (rfm(connection, day) for day in (before, tested_on))
        notebook = RandomForestClassifier(random_state=0).fit(
            learned.select("recency", "frequency", "money").to_numpy(), learned["is_churned"]
        )
        asked = asked.with_columns(
            notebook=notebook.predict_proba(
                asked.select("recency", "frequency", "money").to_numpy()
            )[:, 1]
        )
        # Whose last order was a year ago to the day may be in one of them alone.
        both = test.join(asked.select("customer_id", "notebook"), on="customer_id")
        for name, column in ((champion["model_name"][0], "probability"), ("notebook", "notebook")):
            ranking = rank(both[column].to_numpy(), both["is_churned"].to_numpy())
            values = [f"{METRICS[metric](ranking):.4f}" for metric in ASKED]
            lines.append([shop, name.replace("_", " "), f"{both.height:,}", *values])
    return markdown_table(lines)


def rfm(connection: duckdb.DuckDBPyConnection, day) -> pl.DataFrame:
    """What a notebook makes of the orders: three columns and a label, on one day."""
    return connection.sql(
        """
        select customer_id,
            date_diff('day', max(ordered_at) filter (where ordered_at < $day), $day) as recency,
            count(*) filter (where ordered_at < $day) as frequency,
            cast(sum(net_amount) filter (where ordered_at < $day) as double) as money,
            count(*) filter (where ordered_at >= $day and ordered_at < $day + 90) = 0
                as is_churned
        from marts.orders
        where customer_id is not null and not is_cancelled
        group by customer_id
        having recency <= 365
        """,
        params={"day": day},
    ).pl()


def beside_the_bare_call(warehouses: dict[str, Path]) -> str:
    """How long the dbt model took, and the library on the same rows."""
    lines = [["shop", "rows", "dbt model, s", "library, s", "ratio"]]
    for shop, warehouse in warehouses.items():
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            features = connection.sql("from intermediate.churn_features").pl()
            today = connection.sql("from intermediate.churn_features_today").pl()
            [(in_dbt,)] = connection.sql(
                "select seconds from monitoring.run_results "
                "where node like '%py_churn_models' and seconds > 0"
            ).fetchall()
        began = time.perf_counter()
        train_models(features, today)
        bare = time.perf_counter() - began
        lines.append(
            [shop, f"{features.height:,}", f"{in_dbt:.1f}", f"{bare:.1f}", f"{in_dbt / bare:.2f}"]
        )
    return markdown_table(lines)


if __name__ == "__main__":
    sys.exit(main())
