"""Simulated shops as parquet files, and the same rows in two loads: until a moment, and after."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb

from perennial.contract import read_contract
from perennial.errors import UserError
from scaling.children import measured_environment, run, say

# What the simulator's defaults come to over three years.
ORDERS_PER_CUSTOMER = 4.23
SEED = 1


@dataclass(frozen=True)
class Split:
    """Where the two loads are, the moment between them, and rows held back by table."""

    first: Path
    later: Path
    moment: str
    held_back: dict[str, int]


def simulated(n_orders: int, folder: Path) -> Path:
    """Return the folder of a clean shop of about so many orders, simulated unless it is there."""
    n_customers = max(1, round(n_orders / ORDERS_PER_CUSTOMER))
    shop = folder / f"shop_{n_customers}"
    if shop.exists():
        check_whole(shop, n_customers)
        say(f"{shop} is there already and is used again")
        return shop
    say(f"simulating {n_customers:,} customers")
    command = [sys.executable, "-m", "perennial.cli", "simulate", "--format", "parquet"]
    command += ["--customers", n_customers, "--seed", SEED, "--out", shop]
    run(command, measured_environment(), f"the simulation of {n_customers:,} customers")
    return shop


def check_whole(shop: Path, n_customers: int) -> None:
    """UserError if a folder is not the shop that this benchmark would simulate."""
    try:
        truth = json.loads((shop / "truth/parameters.json").read_text("utf-8"))
        said = truth["n_customers"], truth["seed"], truth["dirt"]
    except (OSError, ValueError, KeyError):
        said = None
    if said != (n_customers, SEED, 0):
        raise UserError(
            f"{shop} is no clean simulated shop of {n_customers:,} customers and seed {SEED}; move "
            "it away, or name another folder."
        )


def tables_of(shop: Path) -> dict[str, str]:
    """The shop's raw tables, each as DuckDB reads it whole."""
    found = {}
    for table in read_contract():
        files = [*shop.glob(f"{table}.parquet"), *shop.glob(f"{table}_*.parquet")]
        if files:
            listed = ", ".join(quoted(file) for file in sorted(files))
            found[table] = f"read_parquet([{listed}], union_by_name = true)"
    if "orders" not in found:
        raise UserError(f"{shop} holds no parquet file of orders; name a simulated shop.")
    return found


def rows_of(shop: Path) -> dict[str, int]:
    """The number of rows of each raw table."""
    with duckdb.connect() as connection:
        return {
            table: connection.execute(f"select count(*) from {relation}").fetchone()[0]
            for table, relation in tables_of(shop).items()
        }


def split(shop: Path, share: float, folder: Path) -> Split:
    """Write a shop's rows as two loads; the later one has the newest share of the orders.

    Of the other tables it has what was ingested after the same moment. A table that does not say
    when its rows were ingested is whole in the first load.
    """
    shutil.rmtree(folder, ignore_errors=True)
    first, later = folder / "first", folder / "later"
    first.mkdir(parents=True)
    later.mkdir()
    relations = tables_of(shop)
    held_back = {}
    with duckdb.connect() as connection:
        moment = connection.execute(
            f"select quantile_disc(ingested_at, ?) from {relations['orders']}", [1 - share]
        ).fetchone()[0]
        for table, relation in relations.items():
            described = connection.execute(f"describe from {relation}").fetchall()
            is_late = "false"
            if "ingested_at" in [row[0] for row in described]:
                is_late = f"coalesce(ingested_at > timestamp '{moment}', false)"
            counted = f"select count(*) from {relation} where {is_late}"
            held_back[table] = connection.execute(counted).fetchone()[0]
            copy(connection, f"{relation} where not {is_late}", first / f"{table}_1.parquet")
            if held_back[table]:
                copy(connection, f"{relation} where {is_late}", later / f"{table}_2.parquet")
    if not held_back["orders"]:
        raise UserError(
            f"{share:.2%} of the orders in {shop} are none; give --share a larger share, or "
            "--orders a larger shop."
        )
    return Split(first, later, str(moment), held_back)


def copy(connection: duckdb.DuckDBPyConnection, rows: str, file: Path) -> None:
    """Write rows, given as they stand after `from`, into a parquet file."""
    connection.execute(f"copy (from {rows}) to {quoted(file)} (format parquet, compression zstd)")


def bytes_in(folder: Path) -> int:
    """The size of all files in a folder but the truth."""
    return sum(
        file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and "truth" not in file.relative_to(folder).parts
    )


def quoted(file: Path) -> str:
    """A path as a text of SQL."""
    return "'" + str(file).replace("'", "''") + "'"
