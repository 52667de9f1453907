"""Churn models against the best that can be known, on simulated shops.

For each seed a clean shop is simulated and its warehouse built; the predictions of the
churn models on their test snapshot are then set beside those of the simulator's own
posterior (`perennial.posterior`), which sees the same customers' orders up to the same
moment. Prints one table for each seed, and their mean.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from scipy.special import gammaln, softmax
from shops import build, orders_of
from sklearn.metrics import brier_score_loss, roc_auc_score
from tables import markdown_table

from perennial.churn import train_models
from perennial.churn.features import THEMES
from perennial.errors import UserError
from perennial.posterior import Histories, Process, p_alive, p_no_order, summarise
from perennial.simulate import DEFAULTS, plan_of, write_shop

N_DRAWS = 200
# What visits and e-mails tell, of which the posterior knows nothing.
SEEN = ("visits", "unmet", "device", "e-mail")

# Column of the predictions -> what the table calls it.
ROWS = {
    "champion": "champion",
    "champion_of_orders": "champion, without visits",
    "logistic_regression": "logistic regression",
    "linear_svm": "linear support vectors",
    "decision_tree": "decision tree",
    "random_forest": "random forest",
    "gradient_boosting": "gradient boosting",
    "neural_network": "neural network",
    "recency": "recency alone",
    "rfm": "recency, frequency and value",
    "posterior_blind": "posterior, channel unknown",
    "posterior": "posterior",
    "oracle": "oracle (unknowable)",
}
LEGEND = """\
- champion: the model that the warehouse chose and scores with; it sees orders and visits.
- champion, without visits: trained anew on what the orders tell, as the posterior sees no more.
- posterior: Bayes' rule on the simulator's own process, given the times of the orders and the
  channel. Ranking by it is the best that these allow, but for what campaigns add or take away.
- posterior, channel unknown: the same without the channel, which no churn model sees either.
- oracle: knows each customer's rates, and who has left by then. Nobody can know that.
- by chance: the calibration error of a model that is right about every probability, from
  the finite number of customers alone. The posterior's own error should be about as small.
- AUC less posterior: the standard error is that of the difference on the same customers."""


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    tables = []
    try:
        with tempfile.TemporaryDirectory(prefix="perennial-churn-") as scratch:
            for seed in range(1, args.seeds + 1):
                folder = Path(args.keep or scratch).absolute() / f"seed_{seed}"
                title, predictions = play(seed, args.customers, args.horizon, folder)
                tables.append(measure_all(predictions))
                print(f"### Seed {seed}: {title}\n\n{markdown(tables[-1])}\n", flush=True)
    except UserError as error:
        print(f"benchmarks/churn.py: {error}", file=sys.stderr)
        return 2
    if len(tables) > 1:
        print(f"### Mean of {len(tables)} seeds\n\n{markdown(mean(tables))}\n")
    print(LEGEND)
    return 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    whole = {"type": int, "metavar": "N"}
    parser.add_argument("--customers", default=5000, help="of each shop (%(default)s)", **whole)
    parser.add_argument("--seeds", default=3, help="number of shops (%(default)s)", **whole)
    parser.add_argument("--horizon", default=90, help="days to predict (%(default)s)", **whole)
    parser.add_argument("--keep", metavar="DIR", help="keep shops and warehouses in this folder")
    args = parser.parse_args(argv)
    if min(args.customers, args.seeds, args.horizon) < 1:
        parser.error("--customers, --seeds and --horizon are whole numbers from 1")
    return args


def play(seed: int, n_customers: int, horizon: int, folder: Path) -> tuple[str, pl.DataFrame]:
    """Simulate, build and predict; return a title and each customer's predictions."""
    if folder.exists():
        raise UserError(f"{folder} is there already; keep this run in another folder.")
    shop, warehouse = folder / "shop", folder / "warehouse.duckdb"
    tell(f"seed {seed}: simulating {n_customers:,} customers")
    options = DEFAULTS | {"customers": str(n_customers), "seed": str(seed)}
    write_shop(plan_of(options), shop, "parquet")
    tell(f"seed {seed}: building the warehouse")
    build(shop, warehouse, settings={"churn_horizon_days": horizon})
    features, of_models, champion = read_warehouse(warehouse)
    tell(f"seed {seed}: training without visits")
    of_orders = champion_of_orders(features)
    tested_on, snapshot = of_models["snapshot_on"][0], of_models["snapshot_at"][0]
    best = best_known(shop, snapshot, horizon)
    predictions = (
        of_models.with_columns(champion=pl.col(champion))
        .join(of_orders, on="customer_id", how="left")
        .join(best, on="customer_id", how="left")
        .sort("customer_id")
    )
    if not predictions["is_churned"].equals(predictions["is_silent"], check_names=False):
        raise UserError(f"{warehouse} and {shop} disagree on who has ordered after {snapshot}.")
    churned = predictions["is_churned"].mean()
    title = (
        f"{n_customers:,} customers, tested on {tested_on}; of {predictions.height:,} scoreable "
        f"customers {churned:.1%} do not order within {horizon} days; "
        f"the champion is {ROWS[champion]}"
    )
    return title, predictions


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read_warehouse(warehouse: Path) -> tuple[pl.DataFrame, pl.DataFrame, str]:
    """The features, the test snapshot with a column for each model, the champion's name."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        features = connection.sql("from intermediate.churn_features").pl()
        models = connection.sql("from intermediate.py_churn_models").pl()
        rows = connection.sql(
            """
            select p.customer_id, f.snapshot_on, f.snapshot_at, p.is_churned, p.model_name,
                p.churn_probability
            from intermediate.churn_test_predictions as p
            inner join intermediate.churn_features as f using (customer_id, horizon_days)
            inner join intermediate.py_churn_models as m using (model_name, horizon_days)
            where f.snapshot_on = m.tested_on
            """
        ).pl()
    trained(models)
    wide = rows.pivot(
        on="model_name",
        index=["customer_id", "snapshot_on", "snapshot_at", "is_churned"],
        values="churn_probability",
    )
    main = models.filter(pl.col("horizon_days") == models["horizon_days"].max())
    return features, wide, main.filter("is_champion")["model_name"][0]


def champion_of_orders(features: pl.DataFrame) -> pl.DataFrame:
    """The test predictions of the champion among models that know nothing of visits."""
    blind = [pl.lit(None, pl.Float64).alias(name) for theme in SEEN for name in THEMES[theme]]
    models = trained(train_models(features.with_columns(blind), features))
    main = models.filter(pl.col("horizon_days") == models["horizon_days"].max())
    predictions = main.filter("is_champion")["test_predictions"].explode().struct.unnest()
    return predictions.select("customer_id", champion_of_orders="probability")


def trained(models: pl.DataFrame) -> pl.DataFrame:
    """The models, if there is a champion among them."""
    if not models["is_champion"].any():
        why = models["status"].first() or "there are no customers"
        raise UserError(f"the churn models {why}. More customers help.")
    return models


def best_known(shop: Path, snapshot, horizon: float) -> pl.DataFrame:
    """What the simulator says of its customers at a snapshot (a datetime, UTC).

    One row for each customer with an order that was known by then: is_silent (whether no
    order follows within the horizon), recency_days, and the probabilities of silence by the
    two posteriors and by the oracle. Guests' and cancelled orders count nowhere.
    """
    process = Process.of_file(shop / "truth/parameters.json")
    orders = orders_of(shop)
    now = float(process.days(np.datetime64(snapshot)))
    day = process.days(orders["ordered_at"].to_numpy())
    known = orders["ingested_at"].to_numpy() <= np.datetime64(snapshot)
    who, histories = summarise(
        orders["customer_id"].to_numpy()[known],
        orders["channel"].to_numpy()[known],
        day[known],
        now,
    )
    next_orders = orders["customer_id"].to_numpy()[(day > now) & (day <= now + horizon)]
    truth = pl.DataFrame({"customer_id": who}).join(
        pl.read_parquet(shop / "truth/customers*.parquet"),
        on="customer_id",
        how="left",
        maintain_order="left",
    )
    return pl.DataFrame(
        {
            "customer_id": who,
            "is_silent": ~np.isin(who, next_orders),
            "recency_days": now - histories.last,
            "posterior_blind": channel_unknown(process, shares(shop), histories, now, horizon),
            "posterior": p_no_order(process, histories, now, horizon),
            "oracle": oracle(process, truth, now, horizon),
        }
    )


def shares(shop: Path) -> dict[str, float]:
    """The share of all customers that come by each channel."""
    content = json.loads((shop / "truth/parameters.json").read_text(encoding="utf-8"))
    return {channel["name"]: channel["share"] for channel in content["channels"]}


def channel_unknown(
    process: Process, share: dict[str, float], known: Histories, now: float, horizon: float
) -> np.ndarray:
    """P(no order), the channels weighted by how well each explains the history."""
    silent, weight = [], []
    for name, (r, alpha, s, beta) in process.channels.items():
        if_so = Histories(np.full(len(known.first), name), known.first, known.repeats, known.last)
        silent.append(p_no_order(process, if_so, now, horizon))
        # The likelihood of the history is that of the history and life, over P(life).
        x = known.repeats
        likelihood = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
        likelihood -= (r + x) * np.log(alpha + process.tau(now) - process.tau(known.first))
        likelihood -= s * np.log(beta + now - known.first)
        likelihood -= np.log(np.maximum(p_alive(process, if_so, now), 1e-300))
        weight.append(np.log(share[name]) + likelihood)
    return (softmax(weight, axis=0) * silent).sum(axis=0)


def oracle(process: Process, truth: pl.DataFrame, now: float, horizon: float) -> np.ndarray:
    """P(no order) for who knows both rates, and whether the customer is still there."""
    edges = np.append(np.arange(now, now + horizon), now + horizon)
    tau = process.tau(edges)
    rate, dropout = (truth[name].to_numpy()[:, None] for name in ("lambda", "mu"))
    # A day at a time: the first order falls into it, and the customer is there until then.
    first = -np.diff(np.exp(-rate * (tau - tau[0])), axis=1)
    there = np.exp(-dropout * ((edges[1:] + edges[:-1]) / 2 - now))
    alive = process.days(truth["died_at"].to_numpy()) > now
    return 1 - alive * (first * there).sum(axis=1)


def measure_all(predictions: pl.DataFrame) -> dict[str, dict[str, float]]:
    """The measures of every row of the table; `predictions` are sorted by customer."""
    outcome = predictions["is_churned"].to_numpy()
    columns = {name: predictions[name].to_numpy() for name in ROWS}
    measures = {name: measure(outcome, column) for name, column in columns.items()}
    rng = np.random.default_rng(1)
    draws = rng.integers(0, len(outcome), (N_DRAWS, len(outcome)))
    base = np.array([roc_auc_score(outcome[k], columns["posterior"][k]) for k in draws])
    for name, column in columns.items():
        again = np.array([roc_auc_score(outcome[k], column[k]) for k in draws])
        measures[name]["gap"] = measures[name]["auc"] - measures["posterior"]["auc"]
        measures[name]["gap_se"] = float((again - base).std())
    return measures


def measure(outcome: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """How well probabilities foretell a binary outcome, both of shape (n,)."""
    rng = np.random.default_rng(1)
    draws = rng.random((N_DRAWS, len(outcome))) < probability
    return {
        "auc": float(roc_auc_score(outcome, probability)),
        "brier": float(brier_score_loss(outcome, probability)),
        "calibration": calibration_error(outcome, probability),
        "chance": float(np.mean([calibration_error(draw, probability) for draw in draws])),
    }


def calibration_error(outcome: np.ndarray, probability: np.ndarray) -> float:
    """The mean distance of rate and probability in deciles, as `churn_model_evaluation` has it."""
    order = np.argsort(-np.round(probability, 12), kind="stable")
    distance = (outcome.astype(float) - probability)[order]
    return float(sum(abs(part.sum()) for part in np.array_split(distance, 10)) / len(outcome))


def mean(tables: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The mean of several shops' tables; the standard error is that of the mean."""
    out = {}
    for name in tables[0]:
        out[name] = {
            key: float(np.mean([table[name][key] for table in tables])) for key in tables[0][name]
        }
        errors = [table[name]["gap_se"] for table in tables]
        out[name]["gap_se"] = float(np.linalg.norm(errors) / len(errors))
    return out


def markdown(table: dict[str, dict[str, float]]) -> str:
    """One table as markdown."""
    lines = [
        ["", "AUC", "AUC less posterior", "Brier score", "calibration error", "by chance"],
    ]
    for name, m in table.items():
        gap = "" if name == "posterior" else f"{m['gap']:+.3f} ± {m['gap_se']:.3f}"
        others = [f"{m[key]:.3f}" for key in ("brier", "calibration", "chance")]
        lines.append([ROWS[name], f"{m['auc']:.3f}", gap, *others])
    return markdown_table(lines)


if __name__ == "__main__":
    sys.exit(main())
