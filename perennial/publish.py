"""Publish the marts as a release: checked, numbered, and swapped in between two reads."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from perennial.errors import UserError
from perennial.fingerprints import Fingerprint, first_line, marts_of
from perennial.release.contract import Change, Contract, broken_promises, changes, read_contract
from perennial.release.making import (
    WAREHOUSE,
    Say,
    manifest_of,
    open_warehouse,
    settings_of,
    take_fingerprints,
    verify_release,
    with_origin,
    write_release,
)
from perennial.release.store import (
    CURRENT,
    DATABASE,
    PARQUET,
    Release,
    check_link,
    clean,
    current_release,
    delete,
    draft,
    find_release,
    list_releases,
    name_of,
    next_number,
    only_publisher,
    point_to,
    settle,
    too_many,
)
from perennial.shops import add_shop_arguments, find_project, releases_of, warehouse_of
from perennial.verdict import GREEN, PARTIAL, RED, Verdict, read_verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `perennial publish` takes."""
    add_shop_arguments(parser, "the built warehouse; it is opened read-only")
    parser.add_argument(
        "--to",
        metavar="FOLDER",
        help="where the releases are (default: releases/<name of the warehouse's file>)",
    )
    parser.add_argument(
        "--keep",
        type=int,
        default=5,
        metavar="N",
        help="how many releases stay; the current one always does (default: %(default)s)",
    )
    parser.add_argument(
        "--parquet", action="store_true", help="also write a parquet file of every mart"
    )
    parser.add_argument(
        "--allow-breaking",
        action="store_true",
        help="publish although columns or tables were removed or have another type",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="make a new release although nothing has changed",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="only show the releases")
    instead.add_argument(
        "--back",
        nargs="?",
        const="",
        metavar="RELEASE",
        help="only let readers see an earlier release again (default: the one before)",
    )


def run(args: argparse.Namespace) -> int:
    """Publish, go back, or list; what stands in the way becomes a sentence."""
    if args.keep < 1:
        raise UserError(f"--keep is {args.keep}; at least one release must stay.")
    warehouse = warehouse_of(args)
    folder = releases_of(warehouse, args.to)
    if args.list:
        for line in describe(folder):
            print(line)
        return 0
    if args.back is not None:
        go_back(folder, args.back)
    else:
        publish(
            warehouse,
            folder,
            read_contract(find_project()),
            keep=args.keep,
            parquet=args.parquet,
            allow_breaking=args.allow_breaking,
            force=args.force,
        )
    return 0


def _say(line: str) -> None:
    try:
        # At once, also into a pipe: a publish may take minutes.
        print(line, flush=True)
    except BrokenPipeError:
        # Whoever listened has gone; that is no reason to leave the work half done.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def publish(
    warehouse: Path,
    folder: Path,
    contract: Contract,
    *,
    keep: int = 5,
    parquet: bool = False,
    allow_breaking: bool = False,
    force: bool = False,
    say: Say = _say,
) -> Release:
    """Make a release of the marts in `folder` and let readers see it; return what they see.

    Nothing new is made if the marts equal the current release, unless `force`. UserError, and
    readers see what they saw before, if anything is not as it must be.
    """
    with only_publisher(folder), _telling_what_is_seen(folder):
        check_link(folder)
        clean(folder)
        with open_warehouse(warehouse) as connection:
            say(f"Checking {warehouse}")
            manifest = checked_manifest(connection, warehouse, contract, say)
            current = current_release(folder)
            if current and not force and _is_same(current, manifest, parquet):
                say(
                    f"\nThe marts are those of release {current.name}, which readers see already; "
                    "no new release was made (--force makes one)."
                )
                return current
            # Without a current one readers may still remember the newest.
            before = current or next(iter(list_releases(folder)[::-1]), None)
            differences = check_readers(before, manifest, allow_breaking)
            number = next_number(folder)
            manifest = with_origin(
                manifest, name_of(number), before.name if before else None, differences, parquet
            )
            say(f"Writing release {name_of(number)}")
            with draft(folder, number) as place:
                write_release(connection, place, manifest, say)
                say("Reading it back")
                verify_release(place, manifest)
                release = settle(place, folder, number)
        point_to(folder, release)
        for line in announce(folder, manifest):
            say(line)
        _delete_old(folder, release, keep, say)
        return release


def go_back(folder: Path, said: str = "", say: Say = _say) -> Release:
    """Let readers see another release again, by default the one before; return it.

    UserError if there is none such, or it is no longer what its manifest says.
    """
    # Found first, so that a mistyped folder is not made.
    find_release(folder, said)
    with only_publisher(folder), _telling_what_is_seen(folder):
        check_link(folder)
        clean(folder)
        release = find_release(folder, said)
        current = current_release(folder)
        if current == release:
            say(f"Readers see release {release.name} already.")
            return release
        verify_release(release.folder, release.manifest)
        point_to(folder, release)
        was = f" instead of {current.name}" if current else ""
        say(f"Readers now see release {release.name}{was}, at {folder / CURRENT / DATABASE}")
        return release


def describe(folder: Path) -> list[str]:
    """Return a table of the releases in a folder as lines, the newest first."""
    releases = list_releases(folder)
    if not releases:
        return [f"There is no release in {folder}."]
    current = current_release(folder)
    lines = [f"  {'release':<10}{'as of':<21}{'made at':<21}{'rows':>14}{'size':>12}"]
    for release in reversed(releases):
        mark = "*" if release == current else " "
        size = f"{release.n_bytes / 1e6:,.1f} MB"
        try:
            manifest = release.manifest
        except UserError:
            lines.append(f"{mark} {release.name:<10}{'its manifest cannot be read':<56}{size:>12}")
            continue
        n_rows = sum(table["n_rows"] for table in manifest["tables"].values())
        lines.append(
            f"{mark} {release.name:<10}{manifest['as_of'] or 'not known':<21}"
            f"{manifest['created_at']:<21}{n_rows:>14,}{size:>12}"
        )
    seen = f"* is what readers see at {folder / CURRENT / DATABASE}"
    return [*lines, seen if current else "None is current; publish, or name one with --back."]


def announce(folder: Path, manifest: dict) -> list[str]:
    """Return what a user hears of a new release, as lines."""
    tables = manifest["tables"].values()
    n_rows = sum(table["n_rows"] for table in tables)
    as_of = manifest["as_of"] or "a moment not known"
    lines = [f"Changed: {Change(**change)}" for change in manifest["changes"]]
    lines += [
        f"\nRelease {manifest['release']}: {len(tables)} marts, {n_rows:,} rows, as of {as_of}.",
        f"Readers find it at {folder / CURRENT / DATABASE}",
    ]
    if manifest["has_parquet"]:
        lines.append(f"and as parquet in {folder / CURRENT / PARQUET}")
    return lines


def columns_of(manifest: dict) -> Contract:
    """Return the tables, columns and types that a manifest tells of."""
    return {name: table["columns"] for name, table in manifest["tables"].items()}


def checked_manifest(
    connection: duckdb.DuckDBPyConnection, warehouse: Path, contract: Contract, say: Say
) -> dict:
    """Return what a release of an attached warehouse would say of its data.

    UserError unless the last build was green, and the marts are what it left and what the
    contract says.
    """
    verdict = check_verdict(read_verdict(connection, WAREHOUSE), warehouse)
    found = marts_of(connection, WAREHOUSE)
    marts = check_contract(contract, found)
    for table in sorted(found.keys() - marts.keys()):
        say(f"  {table:<28}is no mart of this project and is left out")
    fingerprints = take_fingerprints(connection, marts, say)
    check_unchanged(verdict, fingerprints, warehouse)
    return manifest_of(marts, fingerprints, settings_of(connection, marts), verdict)


def check_verdict(verdict: Verdict | None, warehouse: Path) -> Verdict:
    """Return the verdict of the last build if it was whole and green; else UserError."""
    if verdict is None:
        raise UserError(
            f"{warehouse} does not say what became of its build (dbt alone leaves no word); run "
            "`perennial build` on it and publish again."
        )
    if verdict.word == GREEN:
        if verdict.duckdb_version != duckdb.__version__:
            raise UserError(
                f"{warehouse} was built with DuckDB {verdict.duckdb_version} and this is "
                f"{duckdb.__version__}, so that fingerprints cannot be compared; run "
                "`perennial build` again and publish then."
            )
        return verdict
    raise UserError(
        {
            RED: f"the last build of {warehouse} had an error or a failed test; mend what "
            "`perennial build` says and publish when it is green.",
            PARTIAL: f"the last build of {warehouse} made a part of it only ({verdict.part}), so "
            "that its marts may be of different moments; run `perennial build` on the whole.",
        }.get(
            verdict.word,
            f"the last build of {warehouse} did not come to its end; run `perennial build` again.",
        )
    )


def check_contract(contract: Contract, found: Contract) -> Contract:
    """Return the contract's tables with their columns in the order found; `select *` gives them so.

    UserError where they are not what the contract says.
    """
    broken = broken_promises(contract, found)
    if broken:
        raise UserError(
            f"the marts are not what their contract says: {'; '.join(broken)}. Run "
            "`perennial build` with this version of the project and publish again."
        )
    return {table: found[table] for table in sorted(contract)}


def check_unchanged(verdict: Verdict, found: dict[str, Fingerprint], warehouse: Path) -> None:
    """UserError if a mart is no longer what the green build left."""
    changed = [
        f"marts.{table}" for table in found if verdict.fingerprints.get(table) != str(found[table])
    ]
    if changed:
        raise UserError(
            f"{warehouse} was changed after its last build: {', '.join(changed)}; run "
            "`perennial build` again, so that what is published is what was tested."
        )


def check_readers(before: Release | None, manifest: dict, allow_breaking: bool) -> list[Change]:
    """Return what a release would change; UserError if that breaks queries and is not allowed."""
    if before is None:
        return []
    found = changes(columns_of(before.manifest), columns_of(manifest))
    breaking = [str(change) for change in found if change.is_breaking]
    if breaking and not allow_breaking:
        raise UserError(
            f"this would break what reads release {before.name}: {'; '.join(breaking)}. Tell the "
            "readers and publish with --allow-breaking, or build the marts as they were."
        )
    return found


def _is_same(current: Release, manifest: dict, parquet: bool) -> bool:
    """Whether readers of the current release already have all that a new one would give them."""
    return current.manifest["fingerprint"] == manifest["fingerprint"] and (
        current.parquet is not None or not parquet
    )


def _delete_old(folder: Path, current: Release, keep: int, say: Say) -> None:
    """Delete what is too old to keep. The release is out, so that a hindrance is only told."""
    for release in too_many(list_releases(folder), current, keep):
        try:
            delete(release)
        except OSError as error:
            say(
                f"The old release {release.name} could not be deleted ({error}); the next publish "
                "tries again."
            )


@contextmanager
def _telling_what_is_seen(folder: Path) -> Iterator[None]:
    """Turn an error of the disk or of DuckDB into a sentence that says what readers see now."""
    try:
        yield
    except (OSError, duckdb.Error) as error:
        current = current_release(folder)
        seen = f"readers still see release {current.name}" if current else "nothing is published"
        raise UserError(
            f"the work could not be finished ({first_line(error)}); {seen}. Mend what the brackets "
            "say, such as a full disk, and try again."
        ) from error
