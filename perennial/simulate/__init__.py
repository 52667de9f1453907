"""The simulated shop: every table of the raw contract, and the hidden truth behind it.

`perennial simulate --customers 1500 --seed 7 --out shop` writes a shop whose customers
buy until they leave (Pareto/NBD with a known season), and beside it `truth/`: each
customer's rates and type, each product's quality, which products go together, why each
order was placed, and how many rows of dirt were planted. Same arguments, same bytes.

With `--dirt` the columns in which wrong types are planted are text, in parquet too
(`perennial.simulate.dirt.SPOILT`); without it parquet files are typed.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from perennial.errors import UserError
from perennial.simulate.dirt import Dirt
from perennial.simulate.parameters import Plan
from perennial.simulate.shop import simulate
from perennial.simulate.write import TRUTH, Writer, publish, shop_files

DEFAULTS = {
    "customers": "1500",
    "seed": "7",
    "until": "2025-01-01",
    "years": "3",
    "dirt": "0",
    "events_per_order": "10",
    "format": "csv",
    "prefix": "",
}
DEMO = DEFAULTS | {"dirt": "0.002", "prefix": "raw_"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perennial simulate`."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", metavar="DIR", help="folder for the tables; truth/ goes inside")
    where.add_argument(
        "--demo",
        metavar="DIR",
        help="write the demo's seeds instead: 1,500 customers, seed 7, a little dirt, files "
        "named raw_<table>.csv in place of those that are there, truth only where --truth says",
    )
    add = parser.add_argument
    add(
        "--customers",
        metavar="N",
        help="customers with an account (default 1500: some 6,000 orders)",
    )
    add("--seed", metavar="S", help="whole number from 0 (default 7)")
    add("--until", metavar="DATE", help="first day after the observed window (default 2025-01-01)")
    add("--years", metavar="Y", help="length of the window in years, 0.1 to 20 (default 3)")
    add(
        "--dirt",
        metavar="SHARE",
        help="bad rows planted beside the good ones, a share of each table, 0 to 0.5 (default 0)",
    )
    add(
        "--events-per-order",
        metavar="E",
        help="events for each order on average, 8 to 100 (default 10)",
    )
    add("--format", choices=("csv", "parquet"), help="format of all files (default csv)")
    add("--truth", metavar="DIR", help="folder for the truth (default OUT/truth)")
    add("--prefix", metavar="TEXT", help="put before each raw table's file name")
    add(
        "--overwrite",
        action="store_true",
        help="replace the shop that is in the folder; other files stay",
    )


def run(args: argparse.Namespace) -> int:
    """Simulate a shop as the arguments say; return the exit code."""
    began = time.monotonic()
    given = {name: getattr(args, name) for name in DEFAULTS if getattr(args, name) is not None}
    if args.demo and given:
        option = "--" + next(iter(given)).replace("_", "-")
        raise UserError(f"--demo is one fixed shop; use --out together with {option}.")
    options = DEMO if args.demo else DEFAULTS | given
    plan = plan_of(options)
    if "/" in options["prefix"] or "\\" in options["prefix"]:
        raise UserError(f"--prefix {options['prefix']} holds a slash; it starts file names only.")
    target = Path(args.demo or args.out)
    truth = Path(args.truth) if args.truth else None
    rows = write_shop(
        plan,
        target,
        options["format"],
        truth=truth,
        keep_truth=truth is not None or not args.demo,
        prefix=options["prefix"],
        overwrite=args.overwrite or bool(args.demo),
    )
    print(
        f"{target}: {rows['customers']:,} customers, {rows['orders']:,} orders, "
        f"{rows['events']:,} events in {time.monotonic() - began:.0f} s",
        file=sys.stderr,
    )
    return 0


def plan_of(options: dict[str, str]) -> Plan:
    """The plan that options as text describe, or a sentence about the wrong one."""
    try:
        until = date.fromisoformat(options["until"])
    except ValueError:
        raise UserError(f"--until {options['until']} is not a date such as 2025-01-01.") from None
    years = _number(options, "years", 0.1, 20)
    if until.year - years < 1995 or until.year > 2090:
        raise UserError(f"--until {until} puts the window outside the years 1995 to 2090.")
    return Plan(
        int(_number(options, "customers", 1, 50_000_000, whole=True)),
        int(_number(options, "seed", 0, 2**63 - 1, whole=True)),
        until,
        years,
        _number(options, "dirt", 0, 0.5),
        _number(options, "events_per_order", 8, 100),
    )


def write_shop(
    plan: Plan,
    target: Path,
    suffix: str = "csv",
    *,
    truth: Path | None = None,
    keep_truth: bool = True,
    prefix: str = "",
    overwrite: bool = False,
) -> dict[str, int]:
    """Simulate `plan` into the folder `target`; return the number of rows of each table.

    All is written to a folder beside the target and moved when it is whole, so that an
    interrupted run leaves no half shop. The truth goes to `target/truth`, to the folder
    `truth` where that is given, or nowhere.
    """
    target = target.absolute()
    for place in (target, truth):
        if place is None:
            continue
        if place.exists() and not place.is_dir():
            raise UserError(f"{place} is a file; name a folder.")
        if place.exists() and any(place.iterdir()) and not overwrite:
            raise UserError(f"{place} is not empty; choose another folder or add --overwrite.")
    work = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        # A temporary folder is private; the shop is not.
        work.chmod(0o755)
        hidden = work / "truth" if keep_truth else None
        writer = Writer(
            work,
            hidden,
            suffix,
            prefix=prefix,
            many=plan.n_chunks > 1,
            dirt=Dirt(plan) if plan.dirt else None,
        )
        simulate(plan, writer)
        if truth is not None and hidden is not None:
            publish(hidden, truth.absolute(), shop_files(truth, names=TRUTH))
        old = shop_files(target, prefix) + shop_files(target / "truth", names=TRUTH)
        publish(work, target, old)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
    return writer.rows


def _number(
    options: dict[str, str], name: str, low: float, high: float, *, whole: bool = False
) -> float:
    """The option's number, or a sentence that says what it should be."""
    text, option = options[name], "--" + name.replace("_", "-")
    kind = "a whole number" if whole else "a number"
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        raise UserError(f"{option} {text} is not {kind}.") from None
    if not (math.isfinite(value) and low <= value <= high):
        raise UserError(f"{option} {text} must be {kind} from {low:,} to {high:,}.")
    return value


__all__ = ["Plan", "add_arguments", "plan_of", "run", "write_shop"]
