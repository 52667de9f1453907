"""Forget a person: take them out of files, warehouse and releases, and prove that they are gone."""

from __future__ import annotations

import argparse
import datetime as dt
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import jinja2
import yaml

from perennial import build
from perennial.contract import ROOT
from perennial.erasure.files import RawFile, count_rows, names_people, raw_files, take_out
from perennial.erasure.keys import (
    Evidence,
    count_left_out,
    find_keys,
    find_known,
    of_one_piece,
    open_evidence,
)
from perennial.erasure.matching import is_distinctive, use_list
from perennial.erasure.releases import erase_from_releases, rows_to_erase
from perennial.erasure.rewrite import rewrite
from perennial.erasure.search import (
    Finding,
    search_bytes,
    search_database,
    search_parquet,
    search_raw_files,
    search_texts,
)
from perennial.erasure.suppression import (
    Forgotten,
    Keys,
    list_file,
    read_list,
    write_list,
)
from perennial.errors import UserError
from perennial.release.making import WAREHOUSE, settings_of
from perennial.release.store import MANIFEST, Release, list_releases

# What Perennial itself writes into a warehouse; with a shop of models all else is somebody's own.
OUR_SCHEMAS = {"staging", "intermediate", "marts", "reference"}
OUR_SCHEMAS |= {"increments", "build", "erasure", "monitoring"}

say = partial(print, flush=True)


@dataclass(frozen=True)
class Place:
    """Where a shop's data are: its warehouse, releases, raw folder (if it has one) and report."""

    project: Path
    shop: str
    warehouse: Path
    releases_folder: Path
    raw: Path | None
    report: Path

    @property
    def releases(self) -> list[Release]:
        """The releases, the oldest first."""
        return list_releases(self.releases_folder)

    @property
    def files(self) -> list[RawFile]:
        """The raw files that a build of the shop `files` reads; none for any other shop."""
        return raw_files(self.raw) if self.shop == "files" and self.raw else []


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `perennial forget` takes."""
    parser.add_argument(
        "--customer",
        action="append",
        required=True,
        metavar="ID",
        help="the customer_id of who is to be forgotten; may be given several times",
    )
    parser.add_argument("--shop", choices=build.SHOPS, help="which shop (default: demo)")
    parser.add_argument("--raw", metavar="FOLDER", help="the shop's files, for shops made of files")
    parser.add_argument(
        "--warehouse",
        metavar="FILE",
        help="the warehouse (default: warehouse/<shop>.duckdb)",
    )
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
    with _alone(place.warehouse):
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
    shop = args.shop or os.environ.get("PERENNIAL_SHOP") or "demo"
    warehouse = Path(
        args.warehouse or os.environ.get("PERENNIAL_WAREHOUSE") or f"warehouse/{shop}.duckdb"
    ).absolute()
    if not warehouse.is_file():
        raise UserError(f"{warehouse} does not exist; build the warehouse first, or name it.")
    if args.releases and not Path(args.releases).is_dir():
        raise UserError(f"--releases {args.releases} is no folder.")
    return Place(
        build.find_project(),
        shop,
        warehouse,
        Path(args.releases or f"releases/{warehouse.stem}").absolute(),
        build.raw_folder(shop, args.raw or os.environ.get("PERENNIAL_RAW")),
        Path(args.out).absolute(),
    )


@contextmanager
def _alone(warehouse: Path) -> Iterator[None]:
    """Keep a second `perennial forget` from working on the same warehouse."""
    file = list_file(warehouse).with_suffix(".lock")
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another `perennial forget` is at work on {warehouse}; wait until it has finished."
            ) from error
        yield


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
        return keys, _pieces(evidence, keys), forgotten, settings


def _pieces(evidence: Evidence, keys: Keys) -> set[str]:
    """Return the keys that cannot stand in the bytes of a file by chance, or as part of another."""
    return of_one_piece(
        evidence,
        {key for kind in ("customer", "order", "device") for key in keys.get(kind, ())
         if is_distinctive(key)},
    )  # fmt: skip


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
    if build.run(_build_arguments(place, args, settings)) != 0:
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
        vars=json.dumps(_recorded(settings) | build.parse_vars(args.vars)),
        select=None,
        # They look at the code, which is as it was.
        exclude="test_type:unit",
        full_refresh=False,
        strict=False,
        out=str(place.report),
        no_report=not place.report.exists(),
    )


def _recorded(settings: dict[str, str | None]) -> dict[str, object]:
    """Return the settings that a warehouse was built with, in their types, but for the defaults."""
    catalogue: list[dict] = []
    environment = jinja2.Environment(extensions=["jinja2.ext.do"])
    text = (ROOT / "macros" / "input" / "settings.sql").read_text("utf-8")
    environment.from_string(text).make_module({"return": catalogue.append}).settings_catalogue()
    return {
        name: value if rule["type"] in ("text", "timestamp") else yaml.safe_load(value)
        for name, rule in catalogue[0].items()
        if (value := settings.get(name)) is not None
        and name not in ("shop", "as_of")
        and value != str(rule["default"])
    }


def check(place: Place, customers: set[str], keep_files: bool) -> int:
    """Search for what is left of forgotten people; return 1 if anything is.

    UserError if a customer is not on the list.
    """
    with open_evidence(place.warehouse, [], []) as evidence:
        forgotten = read_list(place.warehouse, evidence.connection, WAREHOUSE)
        missing = {key for key in customers if not forgotten.holds("customer", key)}
        if missing:
            raise UserError(
                f"{', '.join(sorted(missing))} is not on the list of the forgotten "
                f"{list_file(place.warehouse)}; run it without --check to forget them."
            )
        pieces = _pieces(evidence, {"customer": customers})
    return prove(place, forgotten, pieces, keep_files)


def prove(place: Place, forgotten: Forgotten, pieces: set[str], keep_files: bool) -> int:
    """Search everything, say what was searched and found; return 1 if something is left."""
    with duckdb.connect(str(place.warehouse), read_only=True) as connection:
        raw_schema = connection.execute(
            "select value from marts.settings where name = 'raw_schema'"
        ).fetchone()[0]
    sources = {"files": set(), "tables": {raw_schema}}.get(place.shop, {"raw"})
    ours = OUR_SCHEMAS if place.shop == "models" else None
    findings = search_database(place.warehouse, "warehouse", forgotten, sources, ours)
    has_source_inside = any(finding.is_source and finding.found for finding in findings)
    if place.files:
        findings.append(search_raw_files(place.files, forgotten, is_source=keep_files))
    for release in place.releases:
        name = f"release {release.name}"
        findings += search_database(release.database, name, forgotten, set(), None)
        if release.parquet:
            parquet = sorted(release.parquet.glob("*.parquet"))
            findings.append(search_parquet(parquet, f"{name}, parquet", forgotten))
    texts = _texts(place)
    findings.append(search_texts(texts, "report, manifests, dbt's files", forgotten))
    files = [release.database for release in place.releases] + texts
    if not has_source_inside:
        log = place.warehouse.with_name(place.warehouse.name + ".wal")
        files += [place.warehouse] + ([log] if log.exists() else [])
    if not keep_files:
        files += [file.path for file in place.files]
    findings.append(search_bytes(files, pieces))
    return report(findings, place, has_source_inside)


def _texts(place: Place) -> list[Path]:
    """Return the report, the manifests of the releases, and what dbt writes of this shop."""
    target = Path(os.environ.get("DBT_TARGET_PATH") or place.project / "target" / place.shop)
    logs = Path(os.environ.get("DBT_LOG_PATH") or place.project / "logs")
    found = {
        path
        for folder in (target, logs)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".duckdb"
    }
    found |= {release.folder / MANIFEST for release in place.releases}
    return sorted(found) + ([place.report] if place.report.exists() else [])


def report(findings: list[Finding], place: Place, has_source_inside: bool) -> int:
    """Print what was searched and found; return 1 if something is left that must not be."""
    say(f"\n  {'searched':<34}{'how much':<30}{'found':>8}")
    for finding in findings:
        say(f"  {finding.place:<34}{finding.searched:<30}{finding.n_hits:>8,}")
    if has_source_inside:
        say(
            "The bytes of the warehouse were not searched: it holds the source's tables, and the "
            "person is in them."
        )
    left = [finding for finding in findings if finding.found and not finding.is_source]
    for finding in findings:
        if finding.found and finding.is_source:
            say(f"\nAt the source, and kept out of the warehouse by the list ({finding.place}):")
            _say_parts(finding)
    if not left:
        say("\nNothing is left of the forgotten in anything that Perennial has written.")
        return 0
    say("\nSOMETHING IS LEFT:")
    for finding in left:
        _say_parts(finding)
    say(
        "\nRun the same without --check if that was a check. What stays then stands in a text of "
        "somebody else's row, or in a table or file that no build writes: mend it at the source, "
        "or delete it."
    )
    return 1


def _say_parts(finding: Finding) -> None:
    for part, n_found in finding.found.items():
        say(f"  {finding.place + ': ' + part:<64}{n_found:>8,}")
