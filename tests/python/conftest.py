"""Builds that several tests look at; each is made once per run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import preloaded
import pytest
from filelock import FileLock

from perennial.children import clean_environment
from perennial.release.contract import read_contract

PROJECT = Path(__file__).parents[2]
SHARED_DATA = Path(os.environ.get("PERENNIAL_SHARED_DATA", PROJECT.parent / "shared" / "data"))


# Where only the numbers matter: what the tests say of them is said elsewhere.
ONLY_MODELS = "resource_type:test resource_type:unit_test"
# What is made for retention alone, a third of all models.
RETENTION = (
    "retention_definitions+ retention_brackets+ retention_vendors+ funnel_steps+ calendar+ "
    "customer_segments+ revenue_months+ goods_costs+ ad_costs+ category_rhythms+"
)
# And recommendations and rules, which are made anew each time.
AFFINITY = (
    "item_purchases+ first_views+ first_purchases+ viewed_items+ py_association_rules+ "
    "domain_purchases+ item_ratings+ new_items+ category_steps+"
)
FEW_MODELS = f"{ONLY_MODELS} {RETENTION} {AFFINITY}"
# What is learned is made anew each time, too.
NOTHING_LEARNED = f"{FEW_MODELS} py_churn_models+ py_churn_scores+ py_cluster_models+"
ORDERS = "order_id,customer_id,ordered_at,status\n"
ITEMS = "order_id,line_number,product_id,quantity,unit_price\n"


# Files of tests that take minutes go first, so that no process has one left when others are done.
LONG = [
    "test_spark.py",
    "test_forget.py",
    "test_faults.py",
    "test_increments.py",
    "test_builds.py",
    "test_package.py",
    "test_monitor.py",
    "test_slim.py",
    "test_leakage.py",
    "test_bench_scale.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; within a file, and among the others, the order stays."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


@dataclass
class Build:
    """A finished `perennial build`."""

    warehouse: Path
    returncode: int
    output: str

    def query(self, sql: str) -> list[tuple]:
        with duckdb.connect(str(self.warehouse), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def fingerprints(self, schema: str = "marts") -> dict[str, tuple]:
        """Of each mart, whatever the order of its rows: their number and the sum of hashes."""
        with duckdb.connect(str(self.warehouse), read_only=True) as connection:
            tables = connection.execute(
                "select table_name from information_schema.tables where table_schema = ?", [schema]
            ).fetchall()
            return {
                table: connection.execute(
                    f"select count(*), sum(cast(hash(m) as hugeint)) from {schema}.{table} as m"
                ).fetchone()
                for (table,) in tables
            }


def workbench() -> Path:
    """A folder that is this test process's own and always at the same path.

    dbt reads the whole project anew, some seconds, whenever the path of the warehouse is not that
    of the last time. Tests that run at the same time must not write into each other's files.
    """
    folder = PROJECT / "target" / f"pytest-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def dbt_folder(*settings: object) -> Path:
    """Where dbt keeps what it has read of the project under such settings."""
    return workbench() / "dbt" / hashlib.md5(repr(settings).encode()).hexdigest()[:8]


def perennial(
    *arguments: object, cwd: Path = PROJECT, target: Path | None = None
) -> subprocess.CompletedProcess:
    environment = clean_environment(
        DBT_TARGET_PATH=target or workbench() / "dbt" / "any",
        DBT_LOG_PATH=workbench() / "logs",
        # To write down every statement and the whole project takes a sixth of a small build.
        DBT_LOG_LEVEL_FILE="none",
        DBT_WRITE_JSON="false",
    )
    return preloaded.run([sys.executable, "-m", "perennial.cli", *arguments], cwd, environment)


@contextmanager
def on_the_bench(warehouse: Path) -> Iterator[Path]:
    """Have a warehouse, and what lies beside it under its name, at the path of all of them."""
    bench = workbench() / "warehouse.duckdb"

    def move(one: Path, other: Path) -> None:
        for file in one.parent.glob(f"{one.name}*"):
            shutil.move(file, other.with_name(file.name.replace(one.name, other.name)))

    # A test that was stopped may have left its own here.
    for file in bench.parent.glob(f"{bench.name}*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    move(warehouse, bench)
    try:
        yield bench
    finally:
        move(bench, warehouse)


def build(
    warehouse: Path,
    shop: str = "files",
    raw: Path | None = None,
    settings: str | None = None,
    select: str | None = None,
    exclude: str | None = None,
    cwd: Path = PROJECT,
    full_refresh: bool = False,
) -> Build:
    arguments: list[object] = ["build", "--shop", shop, "--no-report"]
    options = {"--raw": raw, "--vars": settings, "--select": select, "--exclude": exclude}
    for name, value in options.items():
        if value is not None:
            arguments += [name, value]
    if full_refresh:
        arguments.append("--full-refresh")
    with on_the_bench(warehouse) as bench:
        arguments += ["--warehouse", bench]
        target = dbt_folder(cwd, shop)
        done = perennial(*arguments, cwd=cwd, target=target)
    return Build(warehouse, done.returncode, done.stdout + done.stderr)


def write_shop(folder: Path, **tables: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def green(result: Build) -> Build:
    assert result.returncode == 0, result.output[-6000:]
    return result


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that one of the processes that test at the same time fills for all of them."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    base = tmp_path_factory.getbasetemp()
    folder = (base if alone else base.parent) / f"once_{name}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            half = folder.with_name(f"half_{name}")
            half.mkdir()
            make(half)
            half.rename(folder)
    return folder


def add_missing_marts(warehouse: Path) -> None:
    """Make marts that a build left out, without rows: to publish asks for all of them."""
    with duckdb.connect(str(warehouse)) as connection:
        for table, columns in read_contract(PROJECT).items():
            listed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
            connection.execute(f"create table if not exists marts.{table} ({listed})")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The demo shop: the one that `make test` has just built, else built now."""
    given = os.environ.get("PERENNIAL_TEST_WAREHOUSES")
    if given and (Path(given) / "demo.duckdb").exists():
        return Build((Path(given) / "demo.duckdb").absolute(), 0, "")
    folder = once(
        tmp_path_factory, "demo", lambda folder: green(build(folder / "demo.duckdb", shop="demo"))
    )
    return Build(folder / "demo.duckdb", 0, "")


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a clean simulated shop of 1,000 customers: enough for churn models."""

    def make(folder: Path) -> None:
        done = perennial("simulate", "--customers", 1000, "--seed", 11, "--out", folder / "shop")
        assert done.returncode == 0, done.stderr

    return once(tmp_path_factory, "small_shop", make) / "shop"


@pytest.fixture(scope="session")
def small_build(small_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The warehouse of the small shop."""
    folder = once(
        tmp_path_factory,
        "small_build",
        lambda folder: green(build(folder / "small.duckdb", raw=small_shop)),
    )
    return Build(folder / "small.duckdb", 0, "")


@pytest.fixture(scope="session")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Build]:
    """A function that builds the shop `empty` or `one` (order) once, with all data tests."""
    order = ("o1,c1,2024-01-31T23:30:00+02:00,completed\n", "o1,1,p1,2,9.99\n")

    def get(name: str) -> Build:
        orders, items = order if name == "one" else ("", "")

        def make(folder: Path) -> None:
            raw = write_shop(folder / "raw", orders=ORDERS + orders, order_items=ITEMS + items)
            green(build(folder / "w.duckdb", raw=raw, settings="{currency: GBP}"))

        return Build(once(tmp_path_factory, f"shop_{name}", make) / "w.duckdb", 0, "")

    return get


@pytest.fixture(scope="session")
def real_shop(tmp_path_factory: pytest.TempPathFactory):
    """A function that builds a real shop once, or skips where its data are absent."""

    def get(shop: str) -> Build:
        data = SHARED_DATA / shop
        if not data.is_dir():
            pytest.skip(f"the data of {shop} are not in {SHARED_DATA}")
        folder = once(
            tmp_path_factory,
            shop,
            lambda folder: green(build(folder / f"{shop}.duckdb", shop=shop, raw=data)),
        )
        return Build(folder / f"{shop}.duckdb", 0, "")

    return get
