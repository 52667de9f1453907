"""Take forgotten people out of past releases. Their aggregates stay as they were.

A release is made anew beside itself, read back, and put into its place file by file, the DuckDB
file last: as long as that holds the person, the next run does the release again. Who has a
connection open keeps the old file until it is closed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb

from perennial.erasure.matching import holds_forgotten_key, use_list
from perennial.erasure.suppression import Forgotten, replace
from perennial.errors import UserError
from perennial.fingerprints import first_line, marts_of, quoted
from perennial.release.making import (
    WAREHOUSE,
    Say,
    fingerprint_of,
    take_fingerprints,
    verify_release,
    write_release,
)
from perennial.release.store import (
    DATABASE,
    MANIFEST,
    Release,
    clean,
    draft,
    list_releases,
    only_publisher,
)

OLD = "old"


def rows_to_erase(release: Release, forgotten: Forgotten) -> dict[str, int]:
    """Return how many rows of each mart of a release hold a forgotten key, where there are any."""
    with _opened(release, forgotten) as connection:
        return _count(connection)


def erase_from_releases(folder: Path, forgotten: Forgotten, day: str, say: Say) -> int:
    """Make every release of a folder anew that holds a forgotten key; return how many rows went.

    UserError if another publish is at work, or a release cannot be read or written; those that
    were done stay done.
    """
    if not list_releases(folder):
        return 0
    n_rows = 0
    with only_publisher(folder):
        clean(folder)
        for release in list_releases(folder):
            try:
                n_gone = _erase_from_release(folder, release, forgotten, day)
            except (OSError, duckdb.Error) as error:
                raise UserError(
                    f"release {release.name} in {folder} cannot be made anew "
                    f"({first_line(error)}); mend what the brackets say and run the same again."
                ) from error
            say(f"  release {release.name:<18}{n_gone:>12,} rows")
            n_rows += n_gone
    return n_rows


def _erase_from_release(folder: Path, release: Release, forgotten: Forgotten, day: str) -> int:
    with _opened(release, forgotten) as connection:
        n_gone = sum(_count(connection).values())
        if not n_gone:
            return 0
        _make_views_without(connection)
        manifest = _manifest_without(connection, release, day, n_gone)
        with draft(folder, release.number) as place:
            write_release(connection, place, manifest, say=lambda _: None)
            verify_release(place, manifest)
            _put_in_place(place, release)
            shutil.rmtree(place)
    return n_gone


def _opened(release: Release, forgotten: Forgotten) -> duckdb.DuckDBPyConnection:
    """Return a connection with a release attached as `old`, read-only, and with the list."""
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("set TimeZone = 'UTC'")
    path = str(release.database).replace("'", "''")
    connection.execute(f"attach '{path}' as {OLD} (read_only)")
    use_list(connection, forgotten)
    return connection


def _count(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    counts = {}
    for table, columns in marts_of(connection, OLD).items():
        condition = holds_forgotten_key(list(columns))
        if condition is None:
            continue
        n_rows = connection.execute(
            f"select count(*) from {OLD}.marts.{quoted(table)} where {condition}"
        ).fetchone()[0]
        if n_rows:
            counts[table] = n_rows
    return counts


def _make_views_without(connection: duckdb.DuckDBPyConnection) -> None:
    """Let the release look like a warehouse that never had the rows: that can be published."""
    connection.execute(f"attach ':memory:' as {WAREHOUSE}; create schema {WAREHOUSE}.marts")
    for table, columns in marts_of(connection, OLD).items():
        condition = holds_forgotten_key(list(columns))
        where = f"where not ({condition})" if condition else ""
        name = quoted(table)
        connection.execute(
            f"create view {WAREHOUSE}.marts.{name} as select * from {OLD}.marts.{name} {where}"
        )
    connection.execute(f"create schema {WAREHOUSE}.monitoring")
    for (table,) in connection.execute(
        "select table_name from duckdb_tables() "
        "where database_name = ? and schema_name = 'monitoring'",
        [OLD],
    ).fetchall():
        # The run log is small, and a release takes tables of it only.
        name = quoted(table)
        connection.execute(
            f"create table {WAREHOUSE}.monitoring.{name} as from {OLD}.monitoring.{name}"
        )


def _manifest_without(
    connection: duckdb.DuckDBPyConnection, release: Release, day: str, n_gone: int
) -> dict:
    manifest = release.manifest
    contract = {table: said["columns"] for table, said in manifest["tables"].items()}
    found = take_fingerprints(connection, contract, say=lambda _: None)
    tables = {
        table: {**said, "n_rows": found[table].n_rows, "fingerprint": found[table].hash}
        for table, said in manifest["tables"].items()
    }
    return {
        **manifest,
        "fingerprint": fingerprint_of(tables),
        "tables": tables,
        "erasures": [*_earlier_erasures(connection), {"erased_on": day, "n_rows": n_gone}],
    }


def _earlier_erasures(connection: duckdb.DuckDBPyConnection) -> list[dict]:
    """Return what the DuckDB file says: a run that was killed may have written the manifest."""
    there = connection.execute(
        "select 1 from duckdb_tables() where database_name = ? and schema_name = 'release' "
        "and table_name = 'erasures'",
        [OLD],
    ).fetchone()
    if not there:
        return []
    rows = connection.execute(
        f"select cast(erased_on as varchar), n_rows from {OLD}.release.erasures order by rowid"
    ).fetchall()
    return [{"erased_on": day, "n_rows": n_rows} for day, n_rows in rows]


def _put_in_place(place: Path, release: Release) -> None:
    files = [path for path in place.rglob("*") if path.is_file() and path.name != DATABASE]
    files.sort(key=lambda path: path.name != MANIFEST)
    for path in [*files, place / DATABASE]:
        path.chmod(path.stat().st_mode & ~0o222)
        replace(path, release.folder / path.relative_to(place))
