"""`make independent`: five shops are built, and each mart of retention is compared, cell by cell.

The other side is tests/python/independent_retention.py. It ends with 1 at the first mart that
differs, and shows how.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
import independent_retention
from conftest import ONLY_MODELS, PROJECT, SHARED_DATA
from independent import Shop, differences, read

from perennial.children import clean_environment

FOLDER = PROJECT / "target" / "independent"
MODELS = "+path:models/marts/retention settings"
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

# What a float of the warehouse may be off by, as a share: a p-value comes from an approximation
# of the normal distribution that is good to 1.2e-7.
APPROXIMATE = {"p_value", "q_value", "lateness"}

# What the definitions that come with the project leave out: other combinations, other events.
DEFINITIONS = """
    ('visits_from_each_order', 'exact', 'each', 'order', 'visit', 'rolling', 'month', 'week',
        8, null, true),
    ('visit_streak_after_order', 'streak', 'first', 'order', 'visit', 'calendar', 'week', 'week',
        6, null, true),
    ('rolling_ever_after', 'unbounded', 'first', 'visit', 'visit', 'rolling', 'week', 'week',
        8, null, false),
    ('rolling_within', 'unbounded', 'each', 'visit', 'order', 'rolling', 'week', 'day',
        8, 10, false),
    ('rolling_streak', 'streak', 'first', 'visit', 'visit', 'rolling', 'week', 'day',
        9, null, true),
    ('order_after_email', 'exact', 'first', 'email_open', 'order', 'calendar', 'month', 'month',
        9, null, true),
    ('rolling_day_by_day', 'exact', 'first', 'order', 'order', 'rolling', 'day', 'day',
        9, null, true),
    ('each_bracket', 'bracket', 'each', 'order', 'order', 'calendar', 'month', 'week',
        null, null, true),
    ('month_by_week', 'exact', 'first', 'order', 'order', 'calendar', 'month', 'week',
        9, null, true),
    ('login_after_purchase', 'unbounded', 'first', 'purchase', 'login', 'calendar', 'day', 'month',
        5, 5, false),
    ('of_nothing', 'exact', 'first', 'no_such_event', 'order', 'calendar', 'month', 'month',
        9, null, true)
"""
BRACKETS = "('each_bracket', 1, 0, 0), ('each_bracket', 2, 1, 2), ('each_bracket', 3, 2, 9)"


@dataclass(frozen=True)
class Built:
    """A shop to build: its kind, what it is simulated with, its settings."""

    shop: str = "files"
    simulated: str = ""
    settings: str | None = None
    more_definitions: bool = False


SHOPS = {
    "demo": Built("demo"),
    # as_of lies in the middle of the simulated time, of a week and of a day.
    "new_york": Built(
        simulated="--customers 900 --seed 31 --until 2023-11-15 --years 2",
        settings="{timezone: America/New_York, week_start: sunday, as_of: '2023-03-20 18:45:00'}",
        more_definitions=True,
    ),
    # as_of is the very moment at which March ends there.
    "auckland": Built(
        simulated="--customers 1200 --seed 32 --until 2024-07-01 --dirt 0.01",
        settings="{timezone: Pacific/Auckland, week_start: saturday, as_of: '2024-03-31 11:00:00'}",
        more_definitions=True,
    ),
    "online_retail": Built("online_retail"),
    "complete_journey": Built("complete_journey"),
}


def shop_of(warehouse: Path) -> Shop:
    """The settings that a warehouse says it was built with."""
    said = dict(read(warehouse, "marts.settings").select("name", "value").iter_rows())
    return Shop(
        said["timezone"],
        said["currency"],
        week_start=DAYS.index(said["week_start"]) + 1,
        as_of=dt.datetime.fromisoformat(said["as_of"]),
    )


def compare(warehouse: Path, shop: Shop, mart: str) -> tuple[int, list[str]]:
    """How many cells of a mart were compared, and in what it is not as computed."""
    mine = getattr(independent_retention, mart)(warehouse, shop)
    theirs = read(warehouse, f"marts.{mart}")
    keys = independent_retention.KEYS[mart]
    missing = set(mine.columns) ^ set(theirs.columns)
    if missing:
        return 0, [f"columns of one only: {', '.join(sorted(missing))}"]
    rest = [column for column in theirs.columns if column not in keys]
    rough = [column for column in rest if column in APPROXIMATE]
    fine = [column for column in rest if column not in APPROXIMATE]
    found = differences(mine, theirs, keys, fine)
    if rough and not found:
        found = differences(mine, theirs, keys, rough, tolerance=1e-6)
    return theirs.height * theirs.width, found


def perennial(*arguments: object) -> None:
    """Run the command in the project; stop with what it said where it failed."""
    environment = clean_environment(DBT_TARGET_PATH=FOLDER / "dbt", DBT_LOG_PATH=FOLDER / "logs")
    done = subprocess.run(
        [sys.executable, "-m", "perennial.cli", *map(str, arguments)],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit((done.stdout + done.stderr)[-4000:])


def make(name: str, built: Built) -> Path | None:
    """Build a shop's warehouse from nothing; None where its data are absent."""
    warehouse = FOLDER / f"{name}.duckdb"
    arguments = ["build", "--shop", built.shop, "--no-report", "--warehouse", warehouse]
    if built.simulated:
        raw = FOLDER / "raw" / name
        perennial("simulate", *built.simulated.split(), "--out", raw, "--overwrite")
        arguments += ["--raw", raw]
    elif built.shop != "demo":
        raw = SHARED_DATA / built.shop
        if not raw.is_dir():
            print(f"{name}: left out, for its data are not in {SHARED_DATA}.", flush=True)
            return None
        arguments += ["--raw", raw]
    if built.settings:
        arguments += ["--vars", built.settings]
    for file in FOLDER.glob(f"{warehouse.name}*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    exclude = ONLY_MODELS
    if built.more_definitions:
        perennial(*arguments, "--select", "resource_type:seed")
        with duckdb.connect(str(warehouse)) as connection:
            connection.execute(f"insert into reference.retention_definitions values {DEFINITIONS}")
            connection.execute(f"insert into reference.retention_brackets values {BRACKETS}")
        exclude = f"{ONLY_MODELS} resource_type:seed"
    perennial(*arguments, "--select", MODELS, "--exclude", exclude)
    return warehouse


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shops", nargs="+", choices=SHOPS, default=list(SHOPS))
    parser.add_argument("--kept", action="store_true", help="compare what was built the last time")
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    total = 0
    for name in args.shops:
        began = time.monotonic()
        warehouse = FOLDER / f"{name}.duckdb"
        if not (args.kept and warehouse.exists()):
            warehouse = make(name, SHOPS[name])
        if warehouse is None:
            continue
        shop, built_in = shop_of(warehouse), time.monotonic() - began
        began = time.monotonic()
        print(f"{name}: {shop.timezone}, as of {shop.as_of} UTC", flush=True)
        for mart in independent_retention.KEYS:
            n_cells, found = compare(warehouse, shop, mart)
            if found:
                print(f"  {mart}: not as computed independently (mine) but", file=sys.stderr)
                print("\n".join(f"    {line}" for line in found), file=sys.stderr)
                return 1
            print(f"  {mart:20}{n_cells:14,} cells equal", flush=True)
            total += n_cells
        print(f"  built in {built_in:.0f} s, compared in {time.monotonic() - began:.0f} s")
    print(f"{total:,} cells, and every one as computed independently.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
