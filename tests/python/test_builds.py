"""Whole builds: the same answer every time, odd shops, dirt, and a sentence for bad input."""

from __future__ import annotations

import csv
import random
import shutil
from pathlib import Path

import duckdb
import pytest
from conftest import (
    ITEMS,
    NOTHING_LEARNED,
    ONLY_MODELS,
    ORDERS,
    PROJECT,
    build,
    green,
    perennial,
    write_shop,
)

from perennial.settings import as_environment


def test_the_same_build_twice_is_equal(small_shop, small_build, tmp_path):
    again = shutil.copy(small_build.warehouse, tmp_path / "again.duckdb")
    assert (
        green(build(again, raw=small_shop, exclude=ONLY_MODELS)).fingerprints()
        == small_build.fingerprints()
    )


def test_shuffled_rows_in_several_parquet_files_are_equal(small_shop, small_build, tmp_path):
    folder = tmp_path / "shuffled"
    folder.mkdir()
    for file in small_shop.glob("*.csv"):
        with file.open(newline="", encoding="utf-8") as lines:
            header, *rows = list(csv.reader(lines))
        random.Random(5).shuffle(rows)
        for part in range(2):
            part_file = folder / f"{file.stem}_{part}.csv"
            with part_file.open("w", newline="", encoding="utf-8") as out:
                csv.writer(out, lineterminator="\n").writerows([header, *rows[part::2]])
            if file.stem in ("orders", "events"):
                duckdb.sql(
                    f"copy (from read_csv('{part_file}', all_varchar = true)) "
                    f"to '{part_file.with_suffix('.parquet')}'"
                )
                part_file.unlink()
    shuffled = green(build(tmp_path / "shuffled.duckdb", raw=folder, exclude=ONLY_MODELS))
    assert shuffled.fingerprints() == small_build.fingerprints()


def test_dirt_lands_in_quarantine_as_planted(tmp_path):
    folder = tmp_path / "dirty"
    simulated = perennial(
        "simulate", "--customers", 400, "--seed", 12, "--dirt", 0.01, "--out", folder
    )
    assert simulated.returncode == 0, simulated.stderr
    with (folder / "truth" / "dirt.csv").open(newline="", encoding="utf-8") as lines:
        planted = {
            (row["table_name"], row["reason"]): int(row["n_rows"])
            for row in csv.DictReader(lines)
            if int(row["n_rows"])
        }
    assert len({reason for _, reason in planted}) == 5
    only = {"select": "+quarantine", "exclude": ONLY_MODELS}
    dirty = green(build(tmp_path / "dirty.duckdb", raw=folder, **only))
    found = dirty.query("select table_name, reason, count(*) from staging.quarantine group by all")
    assert {(table, reason): n for table, reason, n in found} == planted


def test_an_empty_shop_builds(tiny_shop, tmp_path):
    empty = tiny_shop("empty")
    assert all(
        n == 0
        for table, (n, _) in empty.fingerprints().items()
        if table not in ("settings", "headlines", "data_quality")
    )
    report = perennial("report", "--warehouse", empty.warehouse, "--out", tmp_path / "report.html")
    assert report.returncode == 0, report.stderr


def test_a_shop_of_one_order_builds(tiny_shop, tmp_path):
    one = tiny_shop("one")
    assert one.query("select cast(net_amount as varchar), order_number from marts.orders") == [
        ("19.98", 1)
    ]
    # The offset of the text is heeded: half past eleven in Athens is half past nine in UTC.
    assert one.query("select cast(ordered_at as varchar) from marts.orders") == [
        ("2024-01-31 21:30:00",)
    ]
    assert one.query("select distinct is_mature, retention_rate from marts.cohort_retention") == [
        (False, None)
    ]
    statuses = one.query("select distinct status from marts.churn_model_evaluation")
    assert {status for (status,) in statuses} == {
        f"abstained: the history is shorter than three horizons of {days} days"
        for days in (7, 30, 90)
    }
    empty = ("purchase_predictions", "churn_feature_importance", "next_category_evaluation")
    for mart in (*empty, "churn_score_stability"):
        assert one.query(f"select count(*) from marts.{mart}") == [(0,)], mart
    assert one.query("select count(*), count(expected) from marts.weekly_forecasts") == [(0, 0)]
    assert one.query("select distinct from_segment, n_customers from marts.segment_migrations") == [
        ("Not yet a customer", 1)
    ]
    assert one.query("select count(*) from marts.churn_scores") == [(0,)]
    report = perennial("report", "--warehouse", one.warehouse, "--out", tmp_path / "report.html")
    assert report.returncode == 0, report.stderr


def test_a_moment_that_has_not_come_stops_the_build(tmp_path):
    orders = "".join(f"o{y},c1,{y}-01-31T12:00:00,completed\n" for y in (2024, 2089))
    items = "".join(f"o{y},1,p1,1,9.99\n" for y in (2024, 2089))
    raw = write_shop(tmp_path / "raw", orders=ORDERS + orders, order_items=ITEMS + items)
    only = {"raw": raw, "select": "+rfm as_of_has_come"}
    warehouse = tmp_path / "future.duckdb"
    stopped = build(warehouse, **only, exclude="test_type:generic resource_type:unit_test")
    assert stopped.returncode != 0
    assert "as_of_has_come" in stopped.output
    # Nothing that goes by "now" was made.
    assert stopped.query("select count(*) from duckdb_tables() where table_name = 'rfm'") == [(0,)]
    only["exclude"] = ONLY_MODELS
    mended = green(build(warehouse, settings="{as_of: '2024-12-31'}", **only))
    assert mended.query("select frequency from marts.rfm") == [(1,)]


def test_a_shop_without_events_builds(small_shop, small_build, tmp_path):
    folder = tmp_path / "no_events"
    shutil.copytree(small_shop, folder)
    (folder / "events.csv").unlink()
    only = {"select": "+churn_scores", "exclude": ONLY_MODELS}
    quiet = green(build(tmp_path / "quiet.duckdb", raw=folder, **only))
    assert quiet.query("select count(*) from marts.sessions") == [(0,)]
    assert quiet.query("select count(*) from marts.churn_scores")[0][0] > 0
    orders = "select count(*), sum(revenue_amount) from marts.orders"
    assert quiet.query(orders) == small_build.query(orders)


def test_tables_of_a_schema_are_read(small_shop, small_build, tmp_path):
    warehouse = tmp_path / "tables.duckdb"
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("create schema landing")
        for file in small_shop.glob("*.csv"):
            # Typed, as a loader leaves them, and one with its time zone.
            connection.execute(f"create table landing.{file.stem} as from read_csv('{file}')")
        connection.execute(
            "alter table landing.orders alter ordered_at type timestamptz "
            "using ordered_at at time zone 'UTC'"
        )
    tables = green(
        build(warehouse, shop="tables", settings="{raw_schema: landing}", exclude=NOTHING_LEARNED)
    )
    mine, theirs = tables.fingerprints(), small_build.fingerprints()
    assert {"customers", "orders", "sessions", "rfm"} <= mine.keys()
    assert {t for t in mine if mine[t] != theirs[t]} == {"settings"}
    # What churn is learned from.
    assert (
        tables.fingerprints("intermediate")["churn_features"]
        == small_build.fingerprints("intermediate")["churn_features"]
    )


def test_lines_that_cannot_be_read_are_kept(tmp_path):
    raw = write_shop(
        tmp_path / "raw",
        orders=ORDERS
        + 'o1,c1,2024-01-01 10:00:00,completed\no2,c1\n"o3",c2,2024-01-02 10:00:00,paid,too,many\n',
        order_items=ITEMS + 'o1,1,"a ""quoted"" name,\nover two lines",2,9.99\n',
    )
    result = green(
        build(
            tmp_path / "lines.duckdb",
            raw=raw,
            settings="{max_quarantine_share: 1}",
            select="+order_items",
            exclude=ONLY_MODELS,
        )
    )
    assert result.query("select raw_row from staging.quarantine order by all") == [
        ('"o3",c2,2024-01-02 10:00:00,paid,too,many',),
        ("o2,c1",),
    ]
    assert result.query("select product_id from marts.order_items") == [
        ('a "quoted" name,\nover two lines',)
    ]


def test_too_much_in_quarantine_stops_the_build(tmp_path):
    rows = "".join(
        f"o{n},c1,2024-01-01 10:00:00,{'lost' if n < 3 else 'paid'}\n" for n in range(10)
    )
    raw = write_shop(tmp_path / "raw", orders=ORDERS + rows, order_items=ITEMS)
    result = build(tmp_path / "w.duckdb", raw=raw)
    assert result.returncode == 1
    assert "orders: 3 of 10 rows (30.0 %) were refused" in result.output
    with duckdb.connect(str(result.warehouse), read_only=True) as connection:
        marts = connection.execute(
            "select count(*) from information_schema.tables where table_schema = 'marts'"
        ).fetchone()
    assert marts == (0,)


def shop_lacking(folder: Path, what: str) -> Path:
    write_shop(folder, orders=ORDERS, order_items=ITEMS)
    if what == "orders":
        (folder / "orders.csv").unlink()
    elif what == "a column":
        write_shop(
            folder, orders="order_id,customer,ordered_at,status\n", order_items="order_id,qty\n"
        )
    elif what == "one format":
        duckdb.sql("select 'o1' as order_id").write_parquet(str(folder / "orders.parquet"))
    return folder


@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        ("orders", "the required table 'orders' is missing. Looked in"),
        ("a column", "the table 'order_items' lacks line_number, product_id, quantity, unit_price. "
                     "Columns found: order_id, qty."),
        ("one format", "the table 'orders' lies in"),
    ],
)  # fmt: skip
def test_bad_folders_get_a_sentence(lacking, sentence, tmp_path):
    result = build(tmp_path / "w.duckdb", raw=shop_lacking(tmp_path / "raw", lacking))
    assert result.returncode == 1
    assert "Perennial stopped: " + sentence in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("{timezone: Mars/Olympus}", "setting 'timezone': Mars/Olympus is no time zone"),
        ("{as_of: yesterday}", "setting 'as_of': yesterday is no moment"),
        ("{week_start: funday}", "setting 'week_start': funday is none of monday"),
        ("{churn_horizon_days: 0}", "setting 'churn_horizon_days': 0 is not between 1 and 1095"),
        (
            "{similarity: {top_k: ten}}",
            "setting 'similarity.top_k': ten is not a whole number",
        ),
        (
            "{similarity: {topk: 10}}",
            "setting 'similarity': there is no topk; it has way, top_k, min_count,",
        ),
        (
            "{recommenders: {embeddings: maybe}}",
            "setting 'recommenders.embeddings': maybe is neither true nor false",
        ),
        (
            "{rfm_weights: {recency: 1}}",
            "setting 'rfm_weights': {'recency': 1} needs recency, frequency and",
        ),
    ],
)
def test_bad_settings_get_a_sentence(settings, sentence, tmp_path):
    raw = write_shop(tmp_path / "raw", orders=ORDERS, order_items=ITEMS)
    result = build(tmp_path / "w.duckdb", raw=raw, settings=settings)
    assert result.returncode == 1
    assert "Perennial stopped: " + sentence in " ".join(result.output.split())


def test_a_var_of_the_project_gives_way_to_one_on_the_command_line(tmp_path):
    shutil.copytree(PROJECT / "macros", tmp_path / "macros")
    (tmp_path / "dbt_project.yml").write_text(
        "vars: {week_start: sunday, perennial: {currency: X}}"
    )
    given = {"week_start": "monday", "currency": "EUR", "timezone": "UTC", "as_of": None}
    environment, more = as_environment(given, tmp_path)
    assert environment == {"PERENNIAL_TIMEZONE": "UTC"}
    assert more == {"week_start": "monday", "currency": "EUR"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--shop", "files"], "the shop files needs the folder of its files"),
        (["--shop", "files", "--raw", "/no/such/folder"], "is no folder"),
        (["--vars", "[1, 2]"], "--vars must be a mapping"),
        (["--vars", "{timezon: UTC}"], "no setting 'timezon'; did you mean 'timezone'?"),
        (["--vars", "{a: "], "--vars is not valid YAML"),
        (["--warehouse", "/proc/no/w.duckdb"], "cannot make the folder"),
    ],
)
def test_bad_arguments_get_a_sentence(arguments, sentence):
    done = perennial("build", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr and "Traceback" not in done.stderr


def test_a_locked_or_broken_warehouse_gets_a_sentence(tmp_path):
    broken = tmp_path / "broken.duckdb"
    broken.write_text("this is no database, though it is long enough to be read as one" * 100)
    done = perennial("build", "--warehouse", broken)
    assert done.returncode == 2 and "is no DuckDB file" in done.stderr

    locked = tmp_path / "locked.duckdb"
    with duckdb.connect(str(locked)):
        done = perennial("build", "--warehouse", locked)
    assert done.returncode == 2 and "open in another program" in done.stderr


def test_make_answers_an_unknown_target():
    import subprocess

    done = subprocess.run(
        ["make", "biuld"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "There is no target 'biuld'; make help lists them." in done.stderr
