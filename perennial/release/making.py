"""Write a release from the marts of a warehouse, and hold what was written against them."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from perennial.errors import UserError
from perennial.fingerprints import Fingerprint, fingerprint, first_line, marts_of, quoted
from perennial.release.contract import Change, Contract
from perennial.release.store import DATABASE, MANIFEST, PARQUET
from perennial.verdict import Verdict

# Names of attached databases; whatever the files are called.
WAREHOUSE, MADE = "warehouse", "made"

Say = Callable[[str], None]


@contextmanager
def open_warehouse(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Attach a warehouse read-only as `warehouse`; no build can change it meanwhile."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; build the warehouse first with `perennial build`.")
    with _session() as connection:
        try:
            _attach(connection, path, WAREHOUSE, "(read_only)")
        except duckdb.Error as error:
            if "lock" in str(error).lower():
                raise UserError(
                    f"{path} is in use by another program; wait until it has finished."
                ) from error
            raise UserError(
                f"{path} cannot be opened ({first_line(error)}); give the file that "
                "`perennial build` wrote."
            ) from error
        yield connection


def take_fingerprints(
    connection: duckdb.DuckDBPyConnection, contract: Contract, say: Say
) -> dict[str, Fingerprint]:
    """Return the fingerprint of every mart of the contract, saying how far it is."""
    found = {}
    for table in contract:
        found[table] = fingerprint(connection, f"{WAREHOUSE}.marts.{quoted(table)}")
        say(f"  {table:<28}{found[table].n_rows:>14,} rows")
    return found


def settings_of(connection: duckdb.DuckDBPyConnection, contract: Contract) -> dict[str, str | None]:
    """Return what the warehouse was built with, as marts.settings has it."""
    if "settings" not in contract:
        return {}
    return dict(
        connection.execute(
            f"select name, value from {WAREHOUSE}.marts.settings order by name"
        ).fetchall()
    )


def manifest_of(
    contract: Contract,
    found: dict[str, Fingerprint],
    settings: dict[str, str | None],
    verdict: Verdict,
) -> dict:
    """Return what a release says of its data: all of it follows from the warehouse alone."""
    tables = {
        table: {"n_rows": found[table].n_rows, "fingerprint": found[table].hash, "columns": columns}
        for table, columns in sorted(contract.items())
    }
    return {
        "fingerprint": fingerprint_of(tables),
        "as_of": settings.get("as_of"),
        "perennial_version": verdict.perennial_version,
        "duckdb_version": verdict.duckdb_version,
        "settings": settings,
        "tables": tables,
    }


def fingerprint_of(tables: dict) -> str:
    """Return the fingerprint of all tables of a manifest together."""
    return hashlib.sha256(json.dumps(tables).encode()).hexdigest()


def with_origin(
    manifest: dict, name: str, previous: str | None, found: list[Change], has_parquet: bool
) -> dict:
    """Return the whole manifest: which release it is, and what it changes."""
    return {
        "release": name,
        "previous_release": previous,
        "created_at": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "has_parquet": has_parquet,
        **manifest,
        "changes": [change.as_dict() for change in found],
        "erasures": [],
    }


def write_release(
    connection: duckdb.DuckDBPyConnection, place: Path, manifest: dict, say: Say
) -> None:
    """Write the DuckDB file, the parquet files if wished, and the manifest into a folder."""
    _attach(connection, place / DATABASE, MADE)
    connection.execute(f"create schema {MADE}.marts")
    for table in manifest["tables"]:
        say(f"  {table}")
        name = quoted(table)
        connection.execute(f"create table {MADE}.marts.{name} as from {WAREHOUSE}.marts.{name}")
    _write_manifest_tables(connection, manifest)
    _copy_run_log(connection)
    # Everything goes into the one file: a reader who may not write cannot use a log beside it.
    connection.execute(f"checkpoint {MADE}")
    connection.execute(f"detach {MADE}")
    if manifest["has_parquet"]:
        (place / PARQUET).mkdir()
        for table in manifest["tables"]:
            say(f"  {table}.parquet")
            connection.execute(
                f"copy (from {WAREHOUSE}.marts.{quoted(table)}) "
                f"to {_literal(_parquet_file(place, table))} (format parquet, compression zstd)"
            )
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (place / MANIFEST).write_text(text, "utf-8")


def _copy_run_log(connection: duckdb.DuckDBPyConnection) -> None:
    """Put the run log beside the marts, where there is one.

    It is no part of the fingerprint: a build that changes no mart makes no release.
    """
    tables = connection.execute(
        "select table_name from duckdb_tables() "
        "where database_name = ? and schema_name = 'monitoring' order by table_name",
        [WAREHOUSE],
    ).fetchall()
    if tables:
        connection.execute(f"create schema {MADE}.monitoring")
    for (table,) in tables:
        connection.execute(
            f"create table {MADE}.monitoring.{quoted(table)} "
            f"as from {WAREHOUSE}.monitoring.{quoted(table)}"
        )


def _write_manifest_tables(connection: duckdb.DuckDBPyConnection, manifest: dict) -> None:
    """Put the manifest into the file itself, as tables of the schema `release`."""
    connection.execute(f"create schema {MADE}.release")
    connection.execute(
        f"""
        create table {MADE}.release.manifest as
        select
            cast($release as varchar) as release,
            cast($previous_release as varchar) as previous_release,
            cast($created_at as timestamp) as created_at,
            cast($as_of as timestamp) as as_of,
            cast($perennial_version as varchar) as perennial_version,
            cast($duckdb_version as varchar) as duckdb_version,
            cast($fingerprint as varchar) as fingerprint,
            map(cast($names as varchar[]), cast($values as varchar[])) as settings
        """,
        {
            name: manifest[name]
            for name in (
                "release",
                "previous_release",
                "created_at",
                "as_of",
                "perennial_version",
                "duckdb_version",
                "fingerprint",
            )
        }
        | {
            "names": list(manifest["settings"].keys()),
            "values": list(manifest["settings"].values()),
        },
    )
    tables = manifest["tables"]
    _create_and_fill(
        connection,
        "tables (table_name varchar, n_rows bigint, fingerprint varchar)",
        [(name, table["n_rows"], table["fingerprint"]) for name, table in tables.items()],
    )
    _create_and_fill(
        connection,
        "columns (table_name varchar, column_number integer, column_name varchar, "
        "data_type varchar)",
        [
            (name, number, column, type_)
            for name, table in tables.items()
            for number, (column, type_) in enumerate(table["columns"].items(), start=1)
        ],
    )
    _create_and_fill(
        connection,
        "changes (change varchar, table_name varchar, column_name varchar, "
        "type_before varchar, type_after varchar)",
        [tuple(change.values()) for change in manifest["changes"]],
    )
    _create_and_fill(
        connection,
        "erasures (erased_on date, n_rows bigint)",
        [tuple(erasure.values()) for erasure in manifest["erasures"]],
    )


def _create_and_fill(connection: duckdb.DuckDBPyConnection, table: str, rows: list[tuple]) -> None:
    connection.execute(f"create table {MADE}.release.{table}")
    if rows:
        places = ", ".join("?" * len(rows[0]))
        name = table.split()[0]
        connection.executemany(f"insert into {MADE}.release.{name} values ({places})", rows)


def verify_release(place: Path, manifest: dict) -> None:
    """Read a release back from its files; UserError where it is not what its manifest says."""
    tables = manifest["tables"]
    wrong = []
    try:
        with _session() as connection:
            _attach(connection, place / DATABASE, MADE, "(read_only)")
            columns = marts_of(connection, MADE)
            wrong += [
                f"marts.{table} should not be there" for table in columns if table not in tables
            ]
            for table, said in tables.items():
                if columns.get(table) != said["columns"]:
                    wrong.append(f"marts.{table} has other columns")
                    continue
                relations = {f"marts.{table}": f"{MADE}.marts.{quoted(table)}"}
                if manifest["has_parquet"]:
                    file = _parquet_file(place, table)
                    relations[file.name] = f"read_parquet({_literal(file)})"
                for name, relation in relations.items():
                    found = fingerprint(connection, relation)
                    if (found.n_rows, found.hash) != (said["n_rows"], said["fingerprint"]):
                        wrong.append(f"{name} has other rows")
    except duckdb.Error as error:
        wrong.append(first_line(error))
    if wrong:
        raise UserError(
            f"release {manifest['release']} is not what its manifest says: {'; '.join(wrong)}; "
            "readers go on to see what they saw."
        )


@contextmanager
def _session() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


def _attach(
    connection: duckdb.DuckDBPyConnection, file: Path, name: str, options: str = ""
) -> None:
    connection.execute(f"attach {_literal(file)} as {name} {options}")


def _parquet_file(place: Path, table: str) -> Path:
    return place / PARQUET / f"{table}.parquet"


def _literal(path: Path) -> str:
    """Return a path as SQL takes it."""
    return "'" + str(path).replace("'", "''") + "'"
