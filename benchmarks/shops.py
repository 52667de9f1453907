"""Shops for benchmarks: their warehouses, built as a user would, and their raw orders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl

from perennial.children import clean_environment
from perennial.errors import UserError

PROJECT = Path(__file__).parents[1]


def build(
    raw: Path,
    warehouse: Path,
    shop: str = "files",
    select: str | None = None,
    settings: dict | None = None,
) -> None:
    """Build the warehouse of a shop's files, without its tests; UserError where that stops."""
    command = [sys.executable, "-m", "perennial.cli", "build", "--shop", shop, "--no-report"]
    command += ["--raw", str(raw), "--warehouse", str(warehouse)]
    command += ["--exclude", "resource_type:test resource_type:unit_test"]
    command += ["--select", select] if select else []
    command += ["--vars", json.dumps(settings)] if settings else []
    environment = clean_environment(DBT_TARGET_PATH=warehouse.with_suffix(".target"))
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:], sep="\n", file=sys.stderr)
        raise UserError(f"the build of {warehouse.name} stopped; the lines above tell why.")


def orders_of(shop: Path) -> pl.DataFrame:
    """Return a simulated shop's orders that count, with the channel that brought the customer."""
    people = pl.read_parquet(shop / "customers*.parquet").select(
        "customer_id", channel="acquisition_channel"
    )
    return (
        pl.read_parquet(shop / "orders*.parquet")
        .filter(pl.col("customer_id").is_not_null() & (pl.col("status") != "cancelled"))
        .join(people, on="customer_id")
    )
