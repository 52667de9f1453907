"""Monitoring: faults are named, what is usual is left alone, and runs are remembered."""

from __future__ import annotations

import csv
import datetime as dt
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
import yaml
from conftest import (
    FEW_MODELS,
    ITEMS,
    ONLY_MODELS,
    PROJECT,
    Build,
    build,
    green,
    perennial,
    write_shop,
)

from perennial.churn import FEATURES
from perennial.monitoring import feature_drift, psi, psi_by_chance
from perennial.monitoring.drift import bin_counts


def monitor(warehouse: Path, *arguments: object) -> tuple[int, str]:
    done = perennial("monitor", "--warehouse", warehouse, *arguments)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


# Volumes


def root(count: float) -> float:
    """Anscombe's, of which chance moves a count by 1."""
    return 2 * math.sqrt(count + 3 / 8)


def weekdays_by_hand(values: dict[dt.date, float], day: dt.date) -> tuple[float, float] | None:
    """Of the roots of the same weekday of eight weeks: the median, and 1.4826 times the MAD."""
    days = [day - dt.timedelta(7 * n) for n in range(1, 9)]
    before = [root(values[day]) for day in days if day in values]
    if len(before) < 4:
        return None
    middle = statistics.median(before)
    return middle, 1.4826 * statistics.median(abs(value - middle) for value in before)


@pytest.mark.parametrize(("table", "moment"), [("events", "occurred_at"), ("orders", "ordered_at")])
@pytest.mark.parametrize("span", [1, 7])
def test_robust_z_is_what_plain_python_says(demo, table, moment, span):
    """From the staged rows themselves, over all days of the demo."""
    [(as_of_on,)] = demo.query("select as_of_on from intermediate.clock")
    counted = dict(
        demo.query(
            f"select cast({moment} as date), count(*) from staging.checked_{table} "
            f"where {moment} is not null group by all"
        )
    )
    [(first,)] = demo.query(f"select min(cast({moment} as date)) from staging.stg_{table}")
    days = [first + dt.timedelta(n) for n in range((as_of_on - first).days)]
    daily = {day: counted.get(day, 0) for day in days}
    values = {
        day: sum(daily[day - dt.timedelta(n)] for n in range(span)) for day in days[span - 1 :]
    }
    found = demo.query(
        "select day_on, value, robust_z, is_anomaly from marts.feed_days "
        f"where table_name = '{table}' and measure = 'rows' and span_days = {span}"
    )
    assert {day: value for day, value, *_ in found} == values
    assert len(found) > 1000
    for day, value, z, is_anomaly in found:
        usual = weekdays_by_hand(values, day)
        if usual is None:
            assert z is None and not is_anomaly
            continue
        middle, spread = usual
        by_hand = (root(value) - middle) / max(spread, 1, 0.025 * middle)
        assert z == pytest.approx(by_hand, abs=1e-9)
        assert is_anomaly == (abs(by_hand) > 4.5)


def test_feed_moments_are_those_of_the_contract():
    source = yaml.safe_load((PROJECT / "models/staging/_raw.yml").read_text())["sources"][0]
    in_contract = {
        table["name"]: column["name"]
        for table in source["tables"]
        for column in table["columns"]
        if (meta := column.get("config", {}).get("meta", {})).get("happened")
        or (column["data_type"] == "date" and meta.get("key"))
    }
    in_contract["order_items"] = in_contract["orders"]
    text = (PROJECT / "macros/monitoring/feeds.sql").read_text()
    listed = text.split("return({", 1)[1].split("})", 1)[0]
    assert yaml.safe_load("{" + listed + "}") == in_contract


# Drift


def test_psi_by_hand():
    # .5 and .5 against .4 and .6: .1 * ln(.6/.5) - .1 * ln(.4/.5) = .1 * ln(1.5).
    assert psi(np.array([50, 50]), np.array([40, 60])) == pytest.approx(0.1 * math.log(1.5))
    # An empty bin counts as half a row of a hundred.
    assert psi(np.array([100, 0]), np.array([50, 50])) == pytest.approx(
        -0.5 * math.log(0.5) + 0.495 * math.log(0.5 / 0.005), rel=0.02
    )
    assert psi(np.array([7]), np.array([9])) == 0


def psi_in_sql(reference: list[float | None], today: list[float | None]) -> float:
    """The same by DuckDB's own quantiles; every decile must be another value."""
    frames = {"r": pl.DataFrame({"x": reference}), "t": pl.DataFrame({"x": today})}
    with duckdb.connect() as connection:
        for name, frame in frames.items():
            connection.register(name, frame.cast(pl.Float64))
        return connection.execute(
            """
            with edges as (
                select unnest(quantile_disc(x, [.1, .2, .3, .4, .5, .6, .7, .8, .9])) as edge
                from r
            ),
            binned as (
                select 'r' as side, (select count(*) from edges where edge < x) as bin, x from r
                union all
                select 't', (select count(*) from edges where edge < x), x from t
            ),
            counted as (
                select
                    if(x is null, -1, bin) as bin,
                    count_if(side = 'r') / (select count(*) from r) as p,
                    count_if(side = 't') / (select count(*) from t) as q
                from binned group by all
            )
            select sum((q - p) * ln(q / p)) from counted
            """
        ).fetchone()[0]


def test_psi_is_what_sql_says():
    random = np.random.default_rng(3)
    reference = random.gamma(2, 10, 3000).tolist() + [None] * 40
    # Within what the reference has seen: below it there is a bin of its own.
    today = (random.gamma(2, 12, 1000) + min(x for x in reference if x)).tolist() + [None] * 30
    arrays = [np.array(values, dtype=float) for values in (reference, today)]
    found = psi(*bin_counts(*arrays))
    assert found == pytest.approx(psi_in_sql(reference, today), rel=1e-9)
    assert found > 0.02


def test_what_chance_does_to_the_index():
    random = np.random.default_rng(1)
    for n, m in [(200, 200), (1000, 300)]:
        indices = [
            psi(*bin_counts(random.normal(size=n), random.normal(size=m))) for _ in range(2000)
        ]
        # One in a thousand, and a little more because the bins are the reference's own.
        assert np.mean(np.array(indices) > psi_by_chance(10, n, m)) < 0.004
        assert np.mean(np.array(indices) > psi_by_chance(10, n, m) / 4) > 0.1


@pytest.mark.parametrize(
    ("reference", "today", "is_moved"),
    [
        (np.full(500, 3.0), np.full(400, 3.0), False),
        (np.full(500, 3.0), np.full(400, 2.0), True),
        (np.full(500, 3.0), np.full(400, 4.0), True),
        (np.full(500, np.nan), np.full(400, np.nan), False),
        (np.full(500, np.nan), np.full(400, 1.0), True),
        (np.full(500, 1.0), np.full(400, np.nan), True),
    ],
)
def test_constant_and_missing_features(reference, today, is_moved):
    index = psi(*bin_counts(reference, today))
    assert (index > 1) == is_moved and (index == 0) != is_moved


def snapshots(shift: float, n: int = 400, grow: float = 0.0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Features of nine snapshots and of today; every one grows by `grow`, today by `shift` too."""
    random = np.random.default_rng(5)
    days = [dt.date(2024, 1, 1) + dt.timedelta(30 * step) for step in range(10)]
    frames = [
        pl.DataFrame({name: random.normal(grow * step, 1, n) for name in FEATURES}).with_columns(
            snapshot_on=pl.lit(day)
        )
        for step, day in enumerate(days)
    ]
    return pl.concat(frames[:-1]), frames[-1].with_columns(pl.col("lateness") + shift)


NO_SCORES = pl.DataFrame(schema={"churn_probability": pl.Float64})


def test_drift_is_told_from_growth():
    features, today = snapshots(shift=2.0, grow=0.6)
    drift = feature_drift(features, today, NO_SCORES, NO_SCORES)
    assert drift["feature"].to_list() == list(FEATURES)
    rows = {row["feature"]: row for row in drift.iter_rows(named=True)}
    # As far as any two neighbours are apart, although that is beyond the customary .25.
    still = rows["n_orders"]
    assert still["psi"] > 0.25 and still["n_history"] == 8
    assert abs(still["psi"] - still["usual_psi"]) < 5 * 1.4826 * still["usual_psi_mad"]
    moved = rows["lateness"]
    assert moved["psi"] > moved["usual_psi"] + 5 * max(1.4826 * moved["usual_psi_mad"], 0.02)


def test_few_customers_and_no_snapshots_say_nothing():
    features, today = snapshots(shift=2.0, n=199)
    drift = feature_drift(features, today, NO_SCORES, NO_SCORES)
    assert drift["psi"].null_count() == len(FEATURES)
    assert feature_drift(features.clear(), today, NO_SCORES, NO_SCORES).is_empty()
    assert feature_drift(features, today.clear(), NO_SCORES, NO_SCORES).is_empty()


def test_the_order_of_customers_does_not_matter():
    features, today = snapshots(shift=1.0)
    shuffled = (frame.sample(fraction=1, shuffle=True, seed=2) for frame in (features, today))
    assert feature_drift(features, today, NO_SCORES, NO_SCORES).equals(
        feature_drift(*shuffled, NO_SCORES, NO_SCORES)
    )


# Faults that are planted


def read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def write_csv(file: Path, rows: list[dict[str, str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def faulty(small_shop: Path, small_build: Build, tmp_path_factory) -> tuple[Build, dt.date]:
    """The small shop with a fault in each of several feeds; and the last full day of it."""
    [(as_of_on,)] = small_build.query("select as_of_on from intermediate.clock")
    last = as_of_on - dt.timedelta(1)
    day_before = last - dt.timedelta(1)
    folder = tmp_path_factory.mktemp("faulty") / "shop"
    shutil.copytree(small_shop, folder)

    events = read_csv(folder / "events.csv")
    for row in events:
        if row["occurred_at"][:10] == str(day_before):
            row["device"] = ""
    # A day that is missing.
    events = [row for row in events if row["occurred_at"][:10] != str(last)]
    write_csv(folder / "events.csv", events)

    # A feed that is stuck for three days.
    spend = read_csv(folder / "ad_spend.csv")
    stuck = {str(last - dt.timedelta(n)) for n in range(4)} | {str(as_of_on)}
    write_csv(folder / "ad_spend.csv", [row for row in spend if row["spend_date"] not in stuck])

    # A feed that is sent twice on one day.
    customers = read_csv(folder / "order_items.csv")
    orders = {
        row["order_id"]
        for row in read_csv(folder / "orders.csv")
        if row["ordered_at"][:10] == str(last)
    }
    again = [row for row in customers if row["order_id"] in orders]
    assert len(again) > 5
    write_csv(folder / "order_items.csv", customers + again)
    return green(
        build(tmp_path_factory.mktemp("faulty_build") / "f.duckdb", raw=folder, exclude=FEW_MODELS)
    ), last


def test_planted_faults_are_named(faulty):
    warehouse, last = faulty[0].warehouse, faulty[1]
    code, said = monitor(warehouse)
    assert code == 1, said
    lines = said.splitlines()

    def line(*words: str) -> str:
        found = [line for line in lines if all(word in line for word in words)]
        assert found, (words, said)
        return found[0]

    assert line("missing rows", "events: 0 rows", f"on {last}").startswith("error")
    assert line("duplicates", "order_items: 50.0% of the rows", f"on {last}").startswith("error")
    assert line("empty column", "events: device has 0 values").startswith("error")
    assert line("silence", "ad_spend: no rows for 4 full days").startswith("error")
    # Nothing else: what the faults did not touch is quiet.
    errors = [line for line in lines if line.startswith("error")]
    touched = ("events:", "ad_spend:", "order_items:")
    assert [line for line in errors if not any(table in line for table in touched)] == []


def test_a_build_names_the_alerts_and_stays_green_unless_strict(faulty):
    assert "The build is green, but look at this:" in faulty[0].output
    assert "perennial monitor --warehouse" in faulty[0].output


def test_a_drifted_feature_is_named(small_build, tmp_path):
    """As if the shop had begun to give nobody a discount and all visits were lost."""
    warehouse = shutil.copy(small_build.warehouse, tmp_path / "drift.duckdb")
    assert monitor(warehouse)[0] == 0
    with duckdb.connect(str(warehouse)) as connection:
        features = connection.sql("from intermediate.churn_features").pl()
        today = connection.sql("from intermediate.churn_features_today").pl()
        drifted = feature_drift(
            features, today.with_columns(pl.col("recency_days") * 4), NO_SCORES, NO_SCORES
        )
        connection.register("drifted", drifted)
        connection.execute("create or replace table intermediate.py_feature_drift as from drifted")
    only = "feature_drift data_checks"
    rebuilt = green(build(warehouse, raw=None, shop="demo", select=only, exclude=ONLY_MODELS))
    code, said = monitor(rebuilt.warehouse)
    assert code == 1 and "recency_days has drifted" in said, said


# Shops in which nothing is wrong


def test_a_quiet_shop_is_quiet(demo, small_build):
    for quiet in (demo, small_build):
        code, said = monitor(quiet.warehouse)
        assert code == 0, said


@pytest.mark.parametrize("shop", ["online_retail", "complete_journey"])
def test_real_shops_are_quiet(shop, real_shop):
    code, said = monitor(real_shop(shop).warehouse)
    assert code == 0, said


@pytest.mark.parametrize("name", ["empty", "one"])
def test_an_empty_shop_and_a_shop_of_one_order(name, tiny_shop):
    code, said = monitor(tiny_shop(name).warehouse, "--strict")
    assert code == 0 and "No alert" in said, said


def test_the_demo_raises_few_alarms_over_its_history(demo):
    """Of all days of the demo: what would be an error."""
    [(n, n_missing)] = demo.query(
        "select count(*), count_if(robust_z < -4.5) from marts.feed_days "
        "where measure = 'rows' and is_judged and table_name <> 'experiment_assignments'"
    )
    # Ten, most of them in the two weeks after the first Christmas.
    assert n > 20_000 and n_missing <= n / 2_000


# The run log


def test_two_builds_are_remembered_with_what_failed(tiny_shop, tmp_path):
    warehouse = Path(shutil.copy(tiny_shop("one").warehouse, tmp_path / "w.duckdb"))
    # Money in a currency without a rate: tests fail.
    raw = write_shop(
        tmp_path / "raw",
        orders="order_id,customer_id,ordered_at,status,currency\n"
        "o1,c1,2024-01-31 21:30:00,paid,USD\n",
        order_items=ITEMS + "o1,1,p1,2,9.99\n",
    )
    second = build(warehouse, raw=raw, settings="{currency: GBP}")
    assert second.returncode == 1
    runs = second.query("select invocation_id, status from monitoring.runs order by started_at")
    assert [status for _, status in runs] == ["passed", "failed"] and len(set(runs)) == 2
    [(n_first, n_failed_first)] = second.query(
        "select count(*), coalesce(sum(n_failures), 0) from monitoring.run_results "
        f"where invocation_id = '{runs[0][0]}'"
    )
    assert n_first > 200 and n_failed_first == 0
    failed = second.query(
        "select node, status, n_failures, message from monitoring.run_results "
        f"where invocation_id = '{runs[1][0]}' and status = 'fail'"
    )
    assert failed and all(n >= 1 and message for _, _, n, message in failed)
    assert second.query(
        "select made, n_rows from monitoring.run_results where node = 'priced_orders' "
        "and kind = 'model' order by started_at"
    )[0] == ("in full", 1)
    code, said = monitor(warehouse)
    assert code == 1 and f"test {failed[0][0]}" in said, said
    assert sum("build    " in line for line in said.splitlines()) >= 2


def test_increments_say_how_much_changed(tmp_path):
    head = "order_id,customer_id,ordered_at,status,ingested_at\n"
    first = [f"o{n},c{n},2024-01-{n:02} 10:00:00,paid,2024-01-{n:02} 11:00:00\n" for n in (1, 2, 3)]
    raw = write_shop(tmp_path / "raw", orders=head + "".join(first), order_items=ITEMS)
    warehouse = tmp_path / "w.duckdb"
    green(build(warehouse, raw=raw, select="checked_orders", exclude=ONLY_MODELS))
    late = "o4,c1,2024-01-02 12:00:00,paid,2024-01-04 11:00:00\n"
    write_shop(raw, orders=head + "".join(first) + late)
    second = green(build(warehouse, raw=raw, select="checked_orders", exclude=ONLY_MODELS))
    assert second.query(
        "select made, n_rows, n_changed_keys from monitoring.run_results "
        "where node = 'checked_orders' order by started_at"
    ) == [("in full", 3, None), ("increment", 4, 1)]


def test_an_older_warehouse_gets_a_run_log(small_build, tmp_path):
    warehouse = shutil.copy(small_build.warehouse, tmp_path / "old.duckdb")
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("drop schema monitoring cascade")
    code, said = monitor(warehouse)
    assert code == 2 and "has no run log" in said
    green(build(warehouse, shop="demo", select="rfm_segments", exclude=ONLY_MODELS))
    code, said = monitor(warehouse)
    assert code == 0, said


def test_only_the_last_runs_are_kept(small_build, tmp_path):
    warehouse = shutil.copy(small_build.warehouse, tmp_path / "many.duckdb")
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(
            "insert into monitoring.runs select 'old' || n, 'build', "
            "timestamp '2000-01-01' + n * interval 1 hour, null, 'passed' from range(450) as t (n)"
        )
        connection.execute(
            "insert into monitoring.run_results (invocation_id, node) "
            "select invocation_id, 'orders' from monitoring.runs where invocation_id like 'old%'"
        )
    kept = green(build(warehouse, shop="demo", select="rfm_segments", exclude=ONLY_MODELS))
    assert kept.query("select count(*), min(started_at) > '2000-01-02' from monitoring.runs") == [
        (400, True)
    ]
    assert (
        kept.query(
            "select count(distinct invocation_id) from monitoring.run_results where node = 'orders'"
        )[0][0]
        <= 400
    )


def test_a_killed_build_is_told(small_shop, tmp_path):
    warehouse = tmp_path / "killed.duckdb"
    started = subprocess.Popen(
        [
            sys.executable, "-m", "perennial.cli", "build", "--shop", "files", "--raw", small_shop,
            "--warehouse", warehouse, "--no-report",
        ],
        cwd=PROJECT, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    for line in started.stdout:
        if "OK created sql" in line:
            os.killpg(started.pid, signal.SIGKILL)
            break
    started.wait()
    code, said = monitor(warehouse)
    assert code == 1 and "did not come to its end" in said, said


def test_what_cannot_be_monitored_gets_a_sentence(tmp_path):
    code, said = monitor(tmp_path / "none.duckdb")
    assert code == 2 and "does not exist" in said
    code, said = monitor(tmp_path / "none.duckdb", "--builds", 0)
    assert code == 2 and "--builds is 0" in said
