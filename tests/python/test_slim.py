"""Slim CI: a branch builds what it changed and reads the rest from production, which it leaves."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from conftest import ONLY_MODELS, PROJECT, RETENTION

from perennial.children import clean_environment
from perennial.fingerprints import fingerprint

pytestmark = pytest.mark.slow

# What dbt and `make slim` need of a checkout.
PARTS = ["models", "python_models", "examples", "seeds", "macros", "snapshots", "tests"]
FILES = ["dbt_project.yml", "profiles.yml", "selectors.yml", "Makefile"]
# What the hooks write, whatever is built.
KEPT_BY_HOOKS = {"increments", "monitoring"}


@dataclass
class Slim:
    """What `make slim` did."""

    returncode: int
    output: str
    warehouse: Path

    @property
    def built(self) -> set[str]:
        return set(re.findall(r"OK created .* model \w+\.(\w+)", self.output))

    def query(self, sql: str) -> list[tuple]:
        with duckdb.connect(str(self.warehouse), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@dataclass
class Branch:
    """A checkout of the project, and the production that it is compared with."""

    folder: Path
    production: Path
    shop: str

    @property
    def state(self) -> Path:
        return self.production.parent / "state"

    def write_state(self) -> None:
        """Leave the manifest that a build of production would have left."""
        done = subprocess.run(
            [sys.executable, "-m", "dbt.cli.main", "parse", "--target-path", self.state],
            cwd=self.folder,
            env=clean_environment(PERENNIAL_SHOP=self.shop, PERENNIAL_WAREHOUSE=self.production),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout

    def change(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def restore(self, file: str) -> None:
        shutil.copy(PROJECT / file, self.folder / file)

    def slim(self, more: str = "") -> Slim:
        """Run `make slim` as it is, in the environment that the tests run in."""
        venv = Path(sys.prefix)
        arguments = [
            f"VENV={venv}",
            f"SHOP={self.shop}",
            f"STATE={self.state}",
            f"WAREHOUSE={self.production}",
            f"MORE={more}",
        ]
        done = subprocess.run(
            ["make", "-s", "slim", "-o", f"{venv}/.installed", *arguments],
            cwd=self.folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
        )
        warehouse = self.folder / "target" / "ci" / "ci.duckdb"
        return Slim(done.returncode, done.stdout + done.stderr, warehouse)

    def bytes_of_production(self) -> str:
        return hashlib.sha256(self.production.read_bytes()).hexdigest()


def checkout(folder: Path, warehouse: Path, shop: str) -> Branch:
    """A checkout in a folder, with a copy of a built warehouse as production."""
    ignore = shutil.ignore_patterns("__pycache__", "python")
    for part in PARTS:
        if (PROJECT / part).is_dir():
            shutil.copytree(PROJECT / part, folder / part, ignore=ignore)
    for file in FILES:
        shutil.copy(PROJECT / file, folder / file)
    production = folder / "production" / "shop.duckdb"
    production.parent.mkdir()
    shutil.copy(warehouse, production)
    branch = Branch(folder, production, shop)
    branch.write_state()
    return branch


@pytest.fixture(scope="module")
def branch(demo, tmp_path_factory) -> Branch:
    return checkout(tmp_path_factory.mktemp("branch"), demo.warehouse, "demo")


def schemas(slim: Slim) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for schema, table in slim.query(
        "select table_schema, table_name from information_schema.tables"
    ):
        found.setdefault(schema, set()).add(table)
    return found


def test_a_changed_mart_is_built_and_tested_alone(branch):
    before = branch.bytes_of_production()
    # One that nothing is made from.
    file = "models/marts/churn/churn_risk_by_value.sql"
    branch.change(file, "with ", "-- Another word.\nwith ")
    slim = branch.slim()
    branch.restore(file)
    assert slim.returncode == 0, slim.output[-4000:]
    assert slim.built == {"churn_risk_by_value"}
    found = schemas(slim)
    assert found.keys() == KEPT_BY_HOOKS | {"marts"} and found["marts"] == {"churn_risk_by_value"}
    assert (
        "PASS unique_together_churn_risk_by_value" in slim.output
        and "primary_key_orders" not in slim.output
    )
    assert branch.bytes_of_production() == before
    assert not list(branch.production.parent.glob("*.wal"))


def test_tracked_tables_are_made_in_full_and_equal(branch):
    """Nothing is known of what changed since, as no notes of production are read."""
    before = branch.bytes_of_production()
    # One that asks how far the clock has come.
    file = "models/marts/core/refunds.sql"
    branch.change(file, "with ", "-- Another word.\nwith ")
    others = "config.materialized:table config.materialized:view"
    slim = branch.slim(f"--exclude {others} {ONLY_MODELS}")
    branch.restore(file)
    assert slim.returncode == 0, slim.output[-4000:]
    assert {"refunds", "orders", "customers", "cohort_activity"} <= slim.built
    assert branch.bytes_of_production() == before
    with duckdb.connect() as connection:
        connection.execute(f"attach '{slim.warehouse}' as ci (read_only)")
        connection.execute(f"attach '{branch.production}' as production (read_only)")
        for schema, tables in schemas(slim).items():
            for table in tables if schema not in KEPT_BY_HOOKS else ():
                if table == "model_runs":
                    # What was trained before is told by production alone.
                    continue
                ours, theirs = (
                    fingerprint(connection, f"{database}.{schema}.{table}")
                    for database in ("ci", "production")
                )
                assert ours == theirs, table


def test_a_changed_macro_builds_its_models_and_a_failing_test_is_found(branch):
    before = branch.bytes_of_production()
    file = "macros/statistics/wilson.sql"
    branch.change(file, "{%- endmacro %}", " + 1\n{%- endmacro %}")
    slim = branch.slim(f"--exclude {RETENTION} resource_type:unit_test")
    branch.restore(file)
    assert slim.returncode != 0
    assert slim.built == {
        "cohort_retention", "churn_model_evaluation", "churn_model_deciles",
        "newcomer_evaluation",
        "next_category_evaluation",
    }  # fmt: skip
    assert re.search(r"FAIL \d+ cells_are_possible", slim.output), slim.output[-4000:]
    assert branch.bytes_of_production() == before


def test_raw_tables_and_the_forgotten_are_those_of_production(tmp_path):
    loaded = tmp_path / "loaded.duckdb"
    with duckdb.connect(str(loaded)) as connection:
        connection.execute(
            "create schema raw; create table raw.orders as select 'o1' as order_id, "
            "'c1' as customer_id, timestamp '2024-01-31 23:30:00' as ordered_at, "
            "'completed' as status; create table raw.order_items as select 'o1' as order_id, "
            "1 as line_number, 'p1' as product_id, 2 as quantity, 9.99 as unit_price"
        )
    branch = checkout(tmp_path / "branch", loaded, "tables")
    file = "models/staging/checked_orders.sql"
    branch.change(file, "{{ ", "-- Another word.\n{{ ")
    only_checked = f"--exclude stg_orders+ quarantine+ {ONLY_MODELS}"
    slim = branch.slim(only_checked)
    assert slim.returncode == 0, slim.output[-4000:]
    assert slim.built == {"checked_orders"}
    orders = "select order_id, customer_id from staging.checked_orders"
    assert slim.query(orders) == [("o1", "c1")]
    with duckdb.connect(str(branch.production)) as connection:
        connection.execute(
            "create schema erasure; create table erasure.salt as select 'abc' as salt; "
            "create table erasure.forgotten as select sha256('abccustomer:c1') as key_hash, "
            "date '2024-03-01' as forgotten_on"
        )
    before = branch.bytes_of_production()
    slim = branch.slim(only_checked)
    assert slim.returncode == 0, slim.output[-4000:]
    assert slim.query(orders) == []
    # Also the order of that person, which the raw table told of.
    assert slim.query("select count(*) from erasure.forgotten") == [(2,)]
    assert branch.bytes_of_production() == before


def test_what_is_missing_is_named(branch, tmp_path):
    none = Branch(branch.folder, tmp_path / "none.duckdb", "demo")
    slim = none.slim()
    assert slim.returncode == 2 and "There is no manifest.json of production in" in slim.output
    shutil.copytree(branch.state, none.state)
    slim = none.slim()
    assert slim.returncode == 2 and "There is no warehouse of production at" in slim.output
    same = Branch(branch.folder, tmp_path / "ci.duckdb", "demo")
    same.production.touch()
    slim = same.slim()
    assert slim.returncode == 2 and "may not be called ci.duckdb" in slim.output


def test_a_production_that_could_be_written_is_refused(branch):
    before = branch.bytes_of_production()
    branch.change("profiles.yml", "read_only: true", "read_only: false")
    branch.change("models/marts/value/rfm.sql", "with ", "-- Another word.\nwith ")
    slim = branch.slim()
    branch.restore("profiles.yml")
    branch.restore("models/marts/value/rfm.sql")
    assert slim.returncode != 0 and slim.built == set()
    assert "attach production's warehouse read-only" in " ".join(slim.output.split())
    assert branch.bytes_of_production() == before
