"""Search all that Perennial has written for people who were forgotten, and say what is left."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import duckdb

from perennial.erasure.keys import Evidence, of_one_piece, open_evidence
from perennial.erasure.matching import is_distinctive
from perennial.erasure.place import Place
from perennial.erasure.search import (
    Finding,
    search_bytes,
    search_database,
    search_parquet,
    search_raw_files,
    search_texts,
)
from perennial.erasure.suppression import Forgotten, Keys, list_file, read_list
from perennial.errors import UserError
from perennial.release.making import WAREHOUSE
from perennial.release.store import MANIFEST

# What Perennial itself writes into a warehouse; with a shop of models all else is somebody's own.
OUR_SCHEMAS = {"staging", "intermediate", "marts", "reference"}
OUR_SCHEMAS |= {"increments", "build", "erasure", "monitoring"}

say = partial(print, flush=True)


def pieces_of(evidence: Evidence, keys: Keys) -> set[str]:
    """Return the keys that cannot stand in the bytes of a file by chance, or as part of another."""
    return of_one_piece(
        evidence,
        {key for kind in ("customer", "order", "device") for key in keys.get(kind, ())
         if is_distinctive(key)},
    )  # fmt: skip


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
        pieces = pieces_of(evidence, {"customer": customers})
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
