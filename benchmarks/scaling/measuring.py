"""One size of shop from beginning to end: everything that is measured of it."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from polars_marts import MARTS

from perennial.errors import UserError
from scaling.builds import Bench, Build, fingerprints, shared_seconds
from scaling.children import PROC, PROJECT, measured_environment, run, say
from scaling.shops import bytes_in, rows_of, simulated, split

# A warehouse takes some 1.7 KB for an order, raw files in two copies .6, what is made beside
# them and what DuckDB writes down while it sorts as much again.
BYTES_PER_ORDER = 4_000


def machine() -> dict:
    """What the figures depend on besides the code."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
        "duckdb": version("duckdb"),
        "polars": version("polars"),
        "dbt": version("dbt-core"),
    }


def check_machine(orders: list[int], folder: Path) -> None:
    """UserError where memory cannot be measured, or the largest shop has no room."""
    if not (PROC / "self/stat").exists():
        raise UserError("memory is read from /proc, which is not here; run it on Linux.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}); name another --folder."
        ) from error
    needed = max(orders) * BYTES_PER_ORDER
    if free < needed:
        raise UserError(
            f"{max(orders):,} orders need some {needed / 1e9:.1f} GB and {folder} has "
            f"{free / 1e9:.1f} free; make room, or name another --folder."
        )


def measure(n_orders: int, share: float, folder: Path) -> dict:
    """Simulate, build and compare a shop of about so many orders; return what it took.

    `share` of its orders, the newest, come in the increment. The shop and the warehouse as it is
    in the end stay in the folder.
    """
    shop = simulated(n_orders, folder)
    rows = rows_of(shop)
    place = folder / f"{shop.name}_work"
    bench = Bench(place)
    say(f"{rows['orders']:,} orders, {rows['events']:,} events")

    bench.have(shop)
    bench.empty()
    bench.read_project()
    rebuild = told("the build from nothing", bench)
    marts = fingerprints(bench.warehouse)
    same = same_marts(bench, rebuild)
    floor = measure_floor(shop, bench.warehouse, place / "floor.duckdb")
    polars = measure_polars(shop, place / "polars")

    loads = split(shop, share, place / "split")
    bench.have(loads.first)
    bench.empty()
    told("the build without the newest orders", bench)
    for file in loads.later.iterdir():
        file.rename(loads.first / file.name)
    increment = told("the increment", bench)
    again = fingerprints(bench.warehouse)
    shutil.rmtree(place / "split")
    return {
        "orders": rows["orders"],
        "events": rows["events"],
        "rows": rows,
        "raw_bytes": bytes_in(shop),
        "rebuild": rebuild.as_json(),
        "increment": increment.as_json(),
        "held_back": {
            "share": loads.held_back["orders"] / rows["orders"],
            "after": loads.moment,
            "rows": loads.held_back,
        },
        "differing": sorted(
            mart for mart in marts.keys() | again.keys() if marts.get(mart) != again.get(mart)
        ),
        "polars": polars,
        "same_marts": same,
        "floor": floor,
    }


def told(doing: str, bench: Bench) -> Build:
    """Build, and say what it took."""
    say(f"{doing} …")
    build = bench.build(doing)
    say(f"{doing}: {build.seconds:.1f} s, {build.peak_bytes / 1e9:.2f} GB")
    return build


def same_marts(bench: Bench, rebuild: Build) -> dict:
    """What the marts that are made in Polars too took in dbt, with all that is above them.

    The seconds are their part of the time in which models were at work; `after_staging` leaves
    out what judges the raw rows, which Polars does not do.
    """
    names = bench.above(MARTS)
    beyond = {m.name for m in rebuild.models if m.name in names and m.schema != "staging"}
    return {
        "models": sorted(names),
        "seconds": shared_seconds(rebuild.models, names),
        "after_staging": shared_seconds(rebuild.models, beyond),
    }


def measure_floor(shop: Path, warehouse: Path, out: Path) -> dict:
    """What DuckDB takes to read the shop's files and to write the marts of its warehouse."""
    say("reading and writing alone …")
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "scaling.floor", shop, warehouse, out]
    cost, said = run(command, measured_environment(), "reading and writing alone")
    out.unlink()
    say(f"reading and writing alone: {cost.seconds:.1f} s")
    return asdict(cost) | json.loads(said)


def measure_polars(shop: Path, out: Path) -> dict:
    """What Polars takes to make the core marts of a shop."""
    say("the core marts in Polars …")
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, PROJECT / "benchmarks/polars_marts.py", shop, out]
    cost, said = run(command, measured_environment(), "the core marts in Polars")
    written = bytes_in(out)
    shutil.rmtree(out)
    say(f"the core marts in Polars: {cost.seconds:.1f} s, {cost.peak_bytes / 1e9:.2f} GB")
    return asdict(cost) | {"n_bytes": written, "steps": json.loads(said)}


def today() -> str:
    """The month of the measurement."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m")
