"""Build the warehouse with dbt, then the report, and say where they are."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import yaml

from perennial.contract import read_contract
from perennial.errors import UserError
from perennial.fingerprints import first_line
from perennial.guard import check_extras, check_files, only_builder
from perennial.settings import as_environment
from perennial.shops import add_shop_arguments, find_project, raw_folder, shop_of, warehouse_of
from perennial.verdict import GREEN, PARTIAL, RED, UNFINISHED, part_of, record_verdict

# A warehouse of the demo takes 60 MB; below this a build would end half way.
MIN_FREE_BYTES = 500_000_000

# More would bury what the build says otherwise; `perennial monitor` prints them all.
ALERTS_TOLD = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perennial build`; what is not given comes from PERENNIAL_<NAME>."""
    add_shop_arguments(parser, "DuckDB file to write")
    parser.add_argument("--raw", metavar="FOLDER", help="the shop's files, for shops made of files")
    parser.add_argument("--vars", metavar="YAML", help="settings, such as '{as_of: 2024-12-31}'")
    parser.add_argument("--select", metavar="WHAT", help="part of the models, as in dbt build")
    parser.add_argument("--exclude", metavar="WHAT", help="part to leave out, as in dbt build")
    parser.add_argument(
        "--full-refresh",
        action="store_true",
        help="make every table anew instead of following what changed",
    )
    parser.add_argument(
        "--unit-tests",
        action="store_true",
        help="run dbt's unit tests, too: they test the SQL on rows made up, never the shop's",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        default="report/index.html",
        help="report page (default: %(default)s)",
    )
    parser.add_argument("--no-report", action="store_true", help="stop after the warehouse")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with 1 where the data raise an alert of severity error",
    )


def run(args: argparse.Namespace) -> int:
    """Build, while nobody else does; return dbt's verdict as the exit code."""
    warehouse = warehouse_of(args)
    check_can_write(warehouse)
    with only_builder(warehouse):
        return build(args)


def build(args: argparse.Namespace) -> int:
    """Build, where no other build can be at work; return the exit code."""
    project = find_project()
    settings = parse_vars(args.vars)
    shop = shop_of(args)
    folder = raw_folder(shop, args.raw or os.environ.get("PERENNIAL_RAW"))
    warehouse = warehouse_of(args)
    out = Path(args.out).absolute()
    as_environment(settings, project)
    check_extras(settings)
    check_can_write(out)
    check_can_open(warehouse)
    if shop == "files":
        check_files(folder, read_contract())

    os.environ["PERENNIAL_SHOP"] = shop
    os.environ["PERENNIAL_WAREHOUSE"] = str(warehouse)
    os.environ.pop("PERENNIAL_RAW", None)
    if folder:
        os.environ["PERENNIAL_RAW"] = str(folder)

    # Unit tests hold whatever the shop's rows are: once, where the SQL is changed, is enough.
    exclude = args.exclude if args.unit_tests else f"{args.exclude or ''} resource_type:unit_test"
    if not run_and_judge(
        project, warehouse, shop, settings, args.select, exclude, args.full_refresh
    ):
        print(
            "\nThe build stopped. The lines above that say ERROR or FAIL tell why; mend it and run "
            "the same command again."
        )
        return 1
    if args.no_report:
        print(f"\nWarehouse  {warehouse}")
        return tell_alerts(warehouse, args.strict)

    from perennial.report import write_report

    write_report(warehouse, out)
    print(f"\nWarehouse  {warehouse}\nReport     {out}\n")
    for line in headlines(warehouse):
        print(line)
    print(
        f"\nNext: open the report, or ask the warehouse:\n"
        f'  {sys.executable} -c "import duckdb; duckdb.connect('
        f"'{warehouse}', read_only=True).sql('from marts.cohort_retention').show()\""
    )
    return tell_alerts(warehouse, args.strict)


def tell_alerts(warehouse: Path, strict: bool) -> int:
    """Name what the data of a green build give cause to look at; return the exit code.

    An alert is no failure of the build: the marts are right about what came in. So it is 0, and
    1 for an error only if `strict`.
    """
    from perennial.monitor import ERROR, alerts_of

    alerts = alerts_of(warehouse)
    if alerts:
        print("\nThe build is green, but look at this:")
        for alert in alerts[:ALERTS_TOLD]:
            print(f"  {alert}")
        more = len(alerts) - ALERTS_TOLD
        print(
            f"{f'and {more} more. ' if more > 0 else ''}"
            f"All of it: perennial monitor --warehouse {warehouse}"
        )
    return int(strict and any(alert.severity == ERROR for alert in alerts))


def parse_vars(text: str | None) -> dict:
    """Return the settings of --vars, which may be YAML or JSON."""
    if not text:
        return {}
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(
            f"--vars is not valid YAML: {text} ({error.__class__.__name__})."
        ) from error
    if not isinstance(settings, dict):
        raise UserError(f"--vars must be a mapping such as '{{as_of: 2024-12-31}}'; got {text}.")
    # YAML turns dates into objects that the vars of dbt cannot hold.
    return json.loads(json.dumps(settings, default=str))


def check_can_write(file: Path) -> None:
    """Stop early when a file cannot be written: no room or no right."""
    if any(quote in str(file) for quote in "'\""):
        raise UserError(f"{file} has a quote in its path, which dbt cannot take; choose another.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {file.parent}: {error.strerror}.") from error
    if not os.access(file.parent, os.W_OK) or (file.exists() and not os.access(file, os.W_OK)):
        raise UserError(f"cannot write {file}: no permission; choose another place or mend it.")
    free = shutil.disk_usage(file.parent).free
    if free < MIN_FREE_BYTES:
        raise UserError(
            f"only {free / 1e6:.0f} MB are free where {file} goes; "
            f"make room for {MIN_FREE_BYTES / 1e6:.0f} MB at least."
        )


def check_can_open(warehouse: Path) -> None:
    """Stop early when the warehouse is no DuckDB file, or locked by someone."""
    if not warehouse.exists():
        return
    try:
        duckdb.connect(str(warehouse)).close()
    except duckdb.Error as error:
        if "set lock" in str(error):
            raise UserError(
                f"{warehouse} is open in another program; close it there and try again."
            ) from error
        raise UserError(
            f"{warehouse} is no DuckDB file that this version can read ({first_line(error)}); move "
            "it away and try again."
        ) from error


def run_and_judge(
    project: Path,
    warehouse: Path,
    shop: str,
    settings: dict,
    select: str | None,
    exclude: str | None,
    full_refresh: bool = False,
) -> bool:
    """Run dbt; return whether all went well, and leave in the warehouse what became of it."""
    # Before dbt touches anything, so that a build which is killed leaves this word behind.
    record_verdict(warehouse, UNFINISHED)
    is_green = run_dbt(project, shop, settings, select, exclude, full_refresh)
    part = part_of(select, exclude, os.environ)
    record_verdict(warehouse, RED if not is_green else PARTIAL if part else GREEN, part)
    return is_green


def run_dbt(
    project: Path,
    shop: str,
    settings: dict,
    select: str | None,
    exclude: str | None,
    full_refresh: bool,
) -> bool:
    """Run `dbt build`; return whether every model was built and every test passed."""
    # In a process of its own: dbt keeps the warehouse open until its process ends.
    environment, more = as_environment(settings, project)
    command = [
        sys.executable,
        "-c",
        "import sys; from dbt.cli.main import cli; sys.exit(cli())",
        "build",
        "--project-dir",
        str(project),
        "--profiles-dir",
        str(project),
        # One target folder per shop, so that dbt need not parse everything anew in between.
        "--target-path",
        os.environ.get("DBT_TARGET_PATH") or str(project / "target" / shop),
    ]
    if more:
        command += ["--vars", json.dumps(more)]
    if select:
        command += ["--select", *select.split()]
    if exclude:
        command += ["--exclude", *exclude.split()]
    if full_refresh:
        command.append("--full-refresh")
    # dbt keeps what it inherits of only_builder() open, and with it other builds away.
    done = subprocess.run(command, check=False, close_fds=False, env=os.environ | environment)
    return done.returncode == 0


def headlines(warehouse: Path) -> list[str]:
    """Return the headline figures of a built warehouse, a line each."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        figures = connection.execute(
            "select label, unit, value, previous_value from marts.headlines order by figure_number"
        ).fetchall()
        currency = connection.execute(
            "select value from marts.settings where name = 'currency'"
        ).fetchone()[0]

    def show(value: float | None, unit: str) -> str:
        if value is None:
            return "not known yet"
        if unit == "share":
            return f"{value:.1%}"
        if unit == "money":
            return f"{value:,.2f} {currency}"
        return f"{value:,.0f}"

    return [
        f"  {label:<24}{show(value, unit):>20}   before: {show(previous, unit)}"
        for label, unit, value, previous in figures
    ]
