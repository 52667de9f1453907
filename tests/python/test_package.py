"""Perennial installed as a package by a dbt project that brings models of its own."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FEW_MODELS, PROJECT, Build, green, perennial

from perennial.children import clean_environment

pytestmark = pytest.mark.slow

# What a checkout of the package is made of, as far as dbt and the Python models are concerned.
PACKAGE = ["models", "python_models", "examples", "seeds", "macros", "snapshots", "tests"]
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")


def install(folder: Path) -> Path:
    """Copy the package, and the project that installs it, into a folder; return the project."""
    ignore = shutil.ignore_patterns(
        "__pycache__", "target", "logs", "dbt_packages", "package-lock.yml", "*.duckdb*"
    )
    for part in [*PACKAGE, "perennial", "integration_tests"]:
        if (PROJECT / part).is_dir():
            shutil.copytree(PROJECT / part, folder / part, ignore=ignore)
    shutil.copy(PROJECT / "dbt_project.yml", folder)
    return folder / "integration_tests"


def dbt(project: Path, *arguments: str) -> Build:
    # The library beside the package, not the one that the tests run with.
    environment = clean_environment(**NO_NETWORK, PYTHONPATH=project.parent)
    done = subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
    )
    return Build(project / "my_shop.duckdb", done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The project in integration_tests, built with every data test of it and of the package."""
    project = install(tmp_path_factory.mktemp("package"))
    green(dbt(project, "deps"))
    return green(dbt(project, "build", "--exclude", "resource_type:unit_test"))


def tables(build: Build) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for schema, table in build.query(
        "select table_schema, table_name from information_schema.tables"
    ):
        found.setdefault(schema, set()).add(table)
    return found


def test_the_marts_hold_the_shop(installed):
    # Thirteen pieces on seven receipts, one of them a guest's; the eighth was cancelled.
    assert installed.query(
        "select count(*), count(*) filter (is_cancelled), count(*) filter (is_guest), "
        "cast(sum(revenue_amount) as varchar) from retention_marts.orders"
    ) == [(8, 1, 1, "130.50")]
    # dot has an account and never ordered.
    assert installed.query(
        "select customer_id, country, n_orders, first_ordered_on from retention_marts.customers "
        "order by all"
    ) == [
        ("ann", "DE", 3, dt.date(2024, 1, 5)),
        # Half past midnight in Berlin.
        ("bob", "AT", 2, dt.date(2024, 2, 1)),
        ("cem", "DE", 1, dt.date(2024, 2, 20)),
        ("dot", "CH", 0, None),
    ]
    assert installed.query(
        "select cohort_start_on, list(retention_numerator order by period_number) "
        "from retention_marts.cohort_retention where grain = 'month' and segment_type = 'all' "
        "and is_mature group by all order by all"
    ) == [(dt.date(2024, 1, 1), [1, 1, 0]), (dt.date(2024, 2, 1), [2, 1])]
    assert installed.query("select table_name, reason from retention_staging.quarantine") == [
        ("order_items", "unknown parent")
    ]


def test_the_vars_of_the_project_are_heeded(installed):
    settings = dict(installed.query("select name, value from retention_marts.settings"))
    assert (settings["shop"], settings["timezone"], settings["currency"]) == (
        "models",
        "Europe/Berlin",
        "CHF",
    )
    assert settings["as_of"] == "2024-04-02 09:00:00"
    assert installed.query("select distinct currency from retention_marts.orders") == [("CHF",)]


def test_a_model_on_top_of_a_mart(installed):
    schema = next(name for name, found in tables(installed).items() if "second_month" in found)
    came_back = installed.query(f"select n_came_back, n_customers from {schema}.second_month")
    assert came_back == [(2, 3)]


def test_the_python_models_ran(installed):
    # Three months cannot teach what ninety days without an order mean, and the models say so.
    statuses = installed.query("select distinct status from retention_work.py_churn_models")
    assert statuses and all(status.startswith("abstained") for (status,) in statuses)
    assert installed.query("select count(*) from retention_work.py_churn_scores") == [(0,)]


def test_the_sources_of_the_project_are_read_and_tested(installed):
    found = tables(installed)
    assert found["till"] == {"receipts", "lines", "clients"}
    assert found["main_shop"] == {"shop_orders", "shop_order_lines", "shop_customers"}
    assert "source_unique_till_receipts_receipt" in installed.output


def test_tables_go_where_the_project_says(installed):
    found = tables(installed)
    assert {schema for schema in found if schema.startswith("retention")} == {
        "retention_staging",
        "retention_work",
        "retention_reference",
        "retention_marts",
    }
    assert not found.keys() & {"staging", "intermediate", "reference", "marts", "main"}


def test_neither_demo_nor_examples_are_loaded(installed):
    assert "raw" not in tables(installed)
    assert not re.search(r"raw_orders|online_retail|complete_journey", installed.output)


def test_the_build_warns_of_nothing(installed):
    assert "WARN=0" in installed.output
    assert "WARNING" not in installed.output


def test_a_project_may_use_the_names_of_marts_and_of_schemas(installed, tmp_path):
    project = install(tmp_path / "package")
    own = project / "models" / "reporting"
    (own / "customers.sql").write_text("select 'hers' as customer_id\n", encoding="utf-8")
    # One of them is itself what the package reads.
    (project / "models" / "shop" / "shop_orders.sql").rename(own / "orders.sql")
    (project / "models" / "_models.yml").unlink()
    file = project / "dbt_project.yml"
    text = file.read_text(encoding="utf-8").replace("orders: shop_orders", "orders: orders")
    file.write_text(text, encoding="utf-8")
    green(dbt(project, "deps"))
    stopped = dbt(project, "build")
    assert stopped.returncode != 0
    sentence = "models of the same name as models of Perennial: customers, orders. Set require_ref"
    assert sentence in " ".join(stopped.output.split())

    flag = "flags:\n  require_ref_searches_node_package_before_root: true\n"
    assert "flags:\n" in text
    text, where_tables_go = text.replace("flags:\n", flag).split("  # Where Perennial's tables go.")
    assert "+schema: retention_marts" in where_tables_go
    file.write_text(text, encoding="utf-8")
    shared = green(dbt(project, "build", "--exclude", FEW_MODELS))
    mine, theirs = shared.fingerprints(), installed.fingerprints("retention_marts")
    assert {"customers", "orders", "rfm", "settings"} <= mine.keys() <= theirs.keys()
    assert {table for table in mine if mine[table] != theirs[table]} == {"settings"}
    # The command line knows the marts by the schema's own name.
    page = tmp_path / "report.html"
    done = perennial("report", "--warehouse", shared.warehouse, "--out", page)
    assert done.returncode == 0 and page.exists(), done.stderr
    done = perennial("report", "--warehouse", installed.warehouse, "--out", page)
    assert done.returncode == 2 and "marts" in done.stderr
