"""The benchmark of the churn models: what it knows of a shop, and how it measures."""

import importlib.util
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from perennial.posterior import Histories, Process, p_no_order
from perennial.simulate import Plan, write_shop

FILE = Path(__file__).parents[2] / "benchmarks/churn.py"
sys.path.insert(0, str(FILE.parent))
SPEC = importlib.util.spec_from_file_location("bench_churn", FILE)
bench = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(bench)

UNTIL = date(2025, 1, 1)
SNAPSHOT = datetime(2024, 9, 1, 12)
HORIZON = 90


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "shop"
    write_shop(Plan(3000, 5, UNTIL, 3.0), folder, "parquet")
    return folder


@pytest.fixture(scope="module")
def best(shop):
    return bench.best_known(shop, SNAPSHOT, HORIZON)


def test_history_and_outcome_are_those_of_the_raw_files(shop, best):
    orders = (
        pl.read_parquet(shop / "orders.parquet")
        .filter(pl.col("customer_id").is_not_null(), pl.col("status") != "cancelled")
        .with_columns(age=(pl.lit(SNAPSHOT) - pl.col("ordered_at")).dt.total_seconds() / 86_400)
    )
    known = orders.filter(pl.col("ingested_at") <= SNAPSHOT)
    recency = known.group_by("customer_id").agg(pl.col("age").min()).sort("customer_id")
    assert best["customer_id"].to_list() == recency["customer_id"].to_list()
    assert best["recency_days"].to_numpy() == pytest.approx(recency["age"].to_numpy())
    after = orders.filter(
        pl.col("ordered_at") > SNAPSHOT, pl.col("ordered_at") <= SNAPSHOT + timedelta(days=HORIZON)
    )
    ordered = best["customer_id"].is_in(after["customer_id"].to_list())
    assert (best["is_silent"] == ~ordered).all()


def test_what_is_known_later_changes_nothing(shop, best, tmp_path):
    for table in ("orders", "customers"):
        frame = pl.read_parquet(shop / f"{table}.parquet")
        if table == "orders":
            frame = frame.filter(pl.col("ingested_at") <= SNAPSHOT)
        frame.write_parquet(tmp_path / f"{table}.parquet")
    (tmp_path / "truth").symlink_to(shop / "truth")
    cut = bench.best_known(tmp_path, SNAPSHOT, HORIZON)
    assert cut["is_silent"].all()
    assert cut["posterior"].equals(best["posterior"])


def test_the_more_is_known_the_better_the_ranking(best):
    silent = best["is_silent"].to_numpy()
    recency, blind, posterior, oracle = (
        roc_auc_score(silent, best[name].to_numpy())
        for name in ("recency_days", "posterior_blind", "posterior", "oracle")
    )
    assert recency + 0.01 < blind < posterior < oracle - 0.01


def test_with_one_channel_there_is_nothing_more_to_know(shop):
    process = Process.of_file(shop / "truth/parameters.json")
    process = Process(process.start, process.season, {"organic": process.channels["organic"]})
    days = np.array([[10.0, 10.0, 10.0], [0, 3, 40], [10.0, 300.0, 1000.0]])
    known = Histories(np.full(3, "organic"), days[0], days[1], days[2])
    got = bench.channel_unknown(process, {"organic": 0.26}, known, 1010.0, HORIZON)
    assert got == pytest.approx(p_no_order(process, known, 1010.0, HORIZON))


def test_posteriors_and_oracle_are_calibrated(best):
    for name in ("posterior_blind", "posterior", "oracle"):
        measures = bench.measure(best["is_silent"].to_numpy(), best[name].to_numpy())
        # Campaigns bring a few orders of which neither knows.
        assert measures["calibration"] < measures["chance"] + 0.02


def test_calibration_error_is_the_mean_distance_in_deciles():
    probability = np.repeat(np.arange(10) / 10 + 0.05, 20)
    assert bench.calibration_error(np.zeros(200), probability) == pytest.approx(0.5)
    rng = np.random.default_rng(3)
    probability = rng.random(40_000)
    right = rng.random(40_000) < probability
    assert bench.calibration_error(right, probability) < 0.01
    assert bench.calibration_error(right, probability * 0.8) == pytest.approx(0.1, abs=0.01)


def test_a_table_has_a_row_for_each_model_and_a_gap_to_the_posterior(best):
    columns = dict.fromkeys(bench.ROWS, best["posterior"])
    columns |= {"recency": 1 - 1 / (2 + best["recency_days"]), "oracle": best["oracle"]}
    table = bench.measure_all(pl.DataFrame({"is_churned": best["is_silent"], **columns}))
    assert table["champion"]["gap"] == table["champion"]["gap_se"] == 0
    assert table["recency"]["gap"] < -2 * table["recency"]["gap_se"] < 0
    twice = bench.mean([table, table])
    assert twice["recency"]["auc"] == pytest.approx(table["recency"]["auc"])
    assert twice["recency"]["gap_se"] == pytest.approx(table["recency"]["gap_se"] / 2**0.5)
    lines = bench.markdown(twice).splitlines()
    assert len(lines) == 2 + len(bench.ROWS)
    assert len({len(line) for line in lines}) == 1
    assert lines[1].replace("-", "").replace(" ", "") == "||:|:|:|:|:|"


def test_wrong_arguments_end_with_a_sentence(capsys):
    with pytest.raises(SystemExit) as stopped:
        bench.main(["--seeds", "0"])
    assert stopped.value.code == 2
    assert "whole numbers from 1" in capsys.readouterr().err
