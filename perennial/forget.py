"""Forget a person: take them out of files, warehouse and releases, and prove that they are gone."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
from functools import partial
from pathlib import Path

import yaml

from perennial import build
from perennial.erasure.files import count_rows, names_people, take_out
from perennial.erasure.keys import (
    Evidence,
    count_left_out,
    find_keys,
    find_known,
    open_evidence,
)
from perennial.erasure.matching import use_list
from perennial.erasure.place import Place
from perennial.erasure.proof import check, pieces_of, prove
from perennial.erasure.releases import erase_from_releases, rows_to_erase
from perennial.erasure.rewrite import rewrite
from perennial.erasure.suppression import (
    Forgotten,
    Keys,
    list_file,
    read_list,
    write_list,
)
from perennial.errors import UserError
from perennial.guard import only_builder
from perennial.release.making import WAREHOUSE, settings_of
from perennial.settings import as_environment, read_catalogue
from perennial.shops import (
    add_shop_arguments,
    find_project,
    raw_folder,
    releases_of,
    shop_of,
    warehouse_of,
)

say = partial(print, flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `perennial forget` takes."""
    parser.add_argument(
        "--customer",
        action="append",
        required=True,
        metavar="ID",
        help="the customer_id of who is to be forgotten; may be given several times",
    )
    add_shop_arguments(parser, "the warehouse")
    parser.add_argument("--raw", metavar="FOLDER", help="the shop's files, for shops made of files")
    parser.add_argument(
        "--vars",
        metavar="YAML",
        help="settings of the build (default: those that the warehouse was built with)",
    )
    parser.add_argument(
        "--releases",
        metavar="FOLDER",
        help="where the releases are (default: releases/<name of the warehouse's file>)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        default="report/index.html",
        help="report page, written again if there is one (default: %(default)s)",
    )
    parser.add_argument(
        "--keep-files",
        action="store_true",
        help="leave the raw files as they are; builds leave the person out all the same",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="only say what would go")
    instead.add_argument(
        "--check", action="store_true", help="only search for what is left of a forgotten person"
    )


def run(args: argparse.Namespace) -> int:
    """Forget, check, or say what would go; return 1 if something is left."""
    customers = {customer.strip() for customer in args.customer}
    if "" in customers:
        raise UserError("--customer is empty; give the customer_id as the raw tables have it.")
    place = find_place(args)
    # The build comes last: a mistake must not be found when the files are half done.
    as_environment(build.parse_vars(args.vars), place.project)
    with only_builder(place.warehouse):
        build.check_can_write(place.warehouse)
        build.check_can_open(place.warehouse)
        if args.check:
            return check(place, customers, args.keep_files)
        keys, pieces, forgotten, settings = collect(place, customers)
        if args.dry_run:
            preview(place, keys, forgotten)
            return 0
        return forget(place, args, keys, pieces, forgotten, settings)


def find_place(args: argparse.Namespace) -> Place:
    """Return where the shop's data are; UserError if there is no warehouse of that shop."""
    warehouse = warehouse_of(args)
    if not warehouse.is_file():
        raise UserError(f"{warehouse} does not exist; build the warehouse first, or name it.")
    if args.releases and not Path(args.releases).is_dir():
        raise UserError(f"--releases {args.releases} is no folder.")
    shop = shop_of(args)
    return Place(
        find_project(),
        shop,
        warehouse,
        releases_of(warehouse, args.releases),
        raw_folder(shop, args.raw or os.environ.get("PERENNIAL_RAW")),
        Path(args.out).absolute(),
    )


def collect(
    place: Place, customers: set[str]
) -> tuple[Keys, set[str], Forgotten, dict[str, str | None]]:
    """Return the persons' keys, those that bytes can be searched for, the list as it was, and
    the settings that the warehouse was built with.

    UserError if a customer is neither known nor forgotten, or the warehouse is of another shop.
    """
    with open_evidence(place.warehouse, place.releases, place.files) as evidence:
        settings = _settings(evidence, place)
        forgotten = read_list(place.warehouse, evidence.connection, WAREHOUSE)
        unknown = customers - find_known(evidence, customers)
        unknown = {key for key in unknown if not forgotten.holds("customer", key)}
        if unknown:
            raise UserError(
                f"no customer {', '.join(sorted(unknown))} in {place.warehouse}, its releases or "
                "its files, and none on the list of the forgotten; nothing was changed. Give the "
                "customer_id as the raw tables have it."
            )
        keys = find_keys(evidence, customers)
        return keys, pieces_of(evidence, keys), forgotten, settings


def _settings(evidence: Evidence, place: Place) -> dict[str, str | None]:
    settings = settings_of(evidence.connection, {"settings": {}})
    if settings.get("shop") not in (None, place.shop):
        raise UserError(
            f"{place.warehouse} is of the shop {settings['shop']}; say --shop {settings['shop']}."
        )
    return settings


def preview(place: Place, keys: Keys, forgotten: Forgotten) -> None:
    """Say what would go; nothing is changed."""
    forgotten.add(keys, dt.date.today().isoformat())
    say("This would go; nothing was changed.\n")
    for line in _count_lines(place, keys, forgotten):
        say(line)
    for release in place.releases:
        n_rows = sum(rows_to_erase(release, forgotten).values())
        say(f"  release {release.name:<18}{n_rows:>12,} rows")
    for file in place.files:
        if names_people(file.table) and (n_rows := count_rows(file, forgotten)):
            say(f"  {file.path.name:<26}{n_rows:>12,} rows")


def _count_lines(place: Place, keys: Keys, forgotten: Forgotten) -> list[str]:
    """Return the person's keys by kind and rows by raw table as lines."""
    with open_evidence(place.warehouse, [], []) as evidence:
        use_list(evidence.connection, forgotten)
        counts = count_left_out(evidence)
    lines = [f"  {kind + 's':<26}{len(found):>12,} keys" for kind, found in keys.items() if found]
    return lines + [f"  {table:<26}{n:>12,} rows" for table, n in counts.items() if n]


def forget(
    place: Place,
    args: argparse.Namespace,
    keys: Keys,
    pieces: set[str],
    forgotten: Forgotten,
    settings: dict[str, str | None],
) -> int:
    """Take the persons out everywhere, then search; return 1 if the build failed or they are left.

    The list comes first: from then on every step can be done again, and no build brings them back.
    """
    day = dt.date.today().isoformat()
    forgotten.add(keys, day)
    say("What goes, as the warehouse has it (of the list, from now on):")
    for line in _count_lines(place, keys, forgotten):
        say(line)
    write_list(place.warehouse, forgotten)
    say(f"\nOn the list {list_file(place.warehouse)}")
    _clean_files(place, forgotten, args.keep_files)
    say("\nReleases")
    erase_from_releases(place.releases_folder, forgotten, day, say)
    say("\nBuilding without them")
    if build.build(_build_arguments(place, args, settings)) != 0:
        say(
            "\nThe person is on the list and out of the releases, but not out of the warehouse: "
            "mend what the build says and run the same command again."
        )
        return 1
    rewrite(place.warehouse)
    say(f"\nWritten anew: {place.warehouse}")
    return prove(place, forgotten, pieces, args.keep_files)


def _clean_files(place: Place, forgotten: Forgotten, keep: bool) -> None:
    if keep or not place.files:
        return
    say("\nRaw files")
    for file in place.files:
        if names_people(file.table) and (n_gone := take_out(file, forgotten)):
            say(f"  {file.path.name:<26}{n_gone:>12,} rows")


def _build_arguments(
    place: Place, args: argparse.Namespace, settings: dict[str, str | None]
) -> argparse.Namespace:
    """Return the arguments of a whole build with the settings of the last one.

    Not as_of: it may have been the last moment in the data, which may now be an earlier one.
    """
    return argparse.Namespace(
        shop=place.shop,
        raw=str(place.raw) if place.raw else None,
        warehouse=str(place.warehouse),
        vars=json.dumps(_recorded(place.project, settings) | build.parse_vars(args.vars)),
        select=None,
        exclude=None,
        full_refresh=False,
        unit_tests=False,
        strict=False,
        out=str(place.report),
        no_report=not place.report.exists(),
    )


def _recorded(project: Path, settings: dict[str, str | None]) -> dict[str, object]:
    """Return the settings that a warehouse was built with, in their types, but for the defaults."""
    return {
        name: value if rule["type"] in ("text", "timestamp") else yaml.safe_load(value)
        for name, rule in read_catalogue(project).items()
        if (value := settings.get(name)) is not None
        and name not in ("shop", "as_of")
        and value != str(rule["default"])
    }
