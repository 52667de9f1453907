"""Builds that several tests look at; each is made once per run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

PROJECT = Path(__file__).parents[2]
SHARED_DATA = Path(os.environ.get("PERENNIAL_SHARED_DATA", PROJECT.parent / "shared" / "data"))


@dataclass
class Build:
    """A finished `perennial build`."""

    warehouse: Path
    returncode: int
    output: str

    def query(self, sql: str) -> list[tuple]:
        with duckdb.connect(str(self.warehouse), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def fingerprints(self) -> dict[str, tuple]:
        """Of each mart, whatever the order of its rows: their number and the sum of hashes."""
        with duckdb.connect(str(self.warehouse), read_only=True) as connection:
            tables = connection.execute(
                "select table_name from information_schema.tables where table_schema = 'marts'"
            ).fetchall()
            return {
                table: connection.execute(
                    f"select count(*), sum(cast(hash(m) as hugeint)) from marts.{table} as m"
                ).fetchone()
                for (table,) in tables
            }


def perennial(*arguments: object, cwd: Path = PROJECT) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PERENNIAL_")}
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    # Colours would stand between the words that tests look for.
    environment |= {
        "NO_COLOR": "1",
        "DBT_USE_COLORS": "false",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
        # Tests that run at the same time must not write into each other's files.
        "DBT_TARGET_PATH": str(PROJECT / "target" / f"pytest-{worker}"),
        "DBT_LOG_PATH": str(PROJECT / "target" / f"pytest-{worker}" / "logs"),
    }
    return subprocess.run(
        [sys.executable, "-m", "perennial.cli", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )


def build(
    warehouse: Path,
    shop: str = "files",
    raw: Path | None = None,
    settings: str | None = None,
    select: str | None = None,
    exclude: str = "test_type:unit",
    cwd: Path = PROJECT,
    full_refresh: bool = False,
) -> Build:
    # Unit tests do not depend on the shop: the build of the demo runs them.
    arguments: list[object] = ["build", "--shop", shop, "--warehouse", warehouse, "--no-report"]
    arguments += ["--exclude", exclude]
    for name, value in [("--raw", raw), ("--vars", settings), ("--select", select)]:
        if value is not None:
            arguments += [name, value]
    if full_refresh:
        arguments.append("--full-refresh")
    done = perennial(*arguments, cwd=cwd)
    return Build(warehouse, done.returncode, done.stdout + done.stderr)


def green(result: Build) -> Build:
    assert result.returncode == 0, result.output[-6000:]
    return result


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The demo shop: the one that `make test` has just built, else built now."""
    given = os.environ.get("PERENNIAL_TEST_WAREHOUSES")
    if given and (Path(given) / "demo.duckdb").exists():
        return Build((Path(given) / "demo.duckdb").absolute(), 0, "")
    return green(build(tmp_path_factory.mktemp("demo") / "demo.duckdb", shop="demo"))


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a clean simulated shop of 1,000 customers: enough for churn models."""
    folder = tmp_path_factory.mktemp("small_shop") / "shop"
    done = perennial("simulate", "--customers", 1000, "--seed", 11, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def small_build(small_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The warehouse of the small shop."""
    return green(build(tmp_path_factory.mktemp("small") / "small.duckdb", raw=small_shop))


@pytest.fixture(scope="session")
def real_shop(tmp_path_factory: pytest.TempPathFactory):
    """A function that builds a real shop once, or skips where its data are absent."""
    built: dict[str, Build] = {}

    def get(shop: str) -> Build:
        folder = SHARED_DATA / shop
        if not folder.is_dir():
            pytest.skip(f"the data of {shop} are not in {SHARED_DATA}")
        if shop not in built:
            warehouse = tmp_path_factory.mktemp(shop) / f"{shop}.duckdb"
            built[shop] = green(build(warehouse, shop=shop, raw=folder))
        return built[shop]

    return get
