"""Write a warehouse anew, because DuckDB keeps the bytes of deleted rows in its file."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb

from perennial.erasure.suppression import replace
from perennial.errors import UserError
from perennial.fingerprints import fingerprint, first_line, quoted

OLD, FRESH = "old", "fresh"


def rewrite(warehouse: Path) -> None:
    """Drop the notes that every table has read, and copy all that is left into a new file.

    The copy is compared with the warehouse, table by table, before it takes its place in one
    step. UserError if the warehouse is in use, or there is no room; it is as it was then.
    """
    fresh = warehouse.with_name(f".{warehouse.name}.rewritten")
    _remove(fresh)
    free, needed = shutil.disk_usage(warehouse.parent).free, warehouse.stat().st_size
    if free < needed:
        raise UserError(
            f"only {free / 1e6:.0f} MB are free beside {warehouse}, and to write it anew takes "
            f"{needed / 1e6:.0f} MB; make room and run the same again."
        )
    try:
        with duckdb.connect(config={"threads": 2}) as connection:
            # Not read-only: while it is open here, nobody else can change it.
            connection.execute(f"attach {_literal(warehouse)} as {OLD}")
            _purge_notes(connection)
            connection.execute(f"checkpoint {OLD}")
            connection.execute(f"attach {_literal(fresh)} as {FRESH}")
            connection.execute(f"copy from database {OLD} to {FRESH}")
            _check_equal(connection, warehouse)
            connection.execute(f"checkpoint {FRESH}")
            connection.execute(f"detach {FRESH}")
            shutil.copymode(warehouse, fresh)
            replace(fresh, warehouse)
    except (OSError, duckdb.Error) as error:
        raise UserError(
            f"{warehouse} cannot be written anew ({first_line(error)}); mend what the brackets "
            "say, such as another program that has it open, and run the same again."
        ) from error
    finally:
        _remove(fresh)


def _purge_notes(connection: duckdb.DuckDBPyConnection) -> None:
    """Delete the changes that nobody will read, as the next build would; they hold keys."""
    there = connection.execute(
        "select 1 from duckdb_tables() where database_name = ? and schema_name = 'increments' "
        "and table_name = 'changes'",
        [OLD],
    ).fetchone()
    if there:
        connection.execute(
            f"delete from {OLD}.increments.changes "
            f"where run_number <= (select min(run_number) from {OLD}.increments.marks)"
        )


def _check_equal(connection: duckdb.DuckDBPyConnection, warehouse: Path) -> None:
    views = "select schema_name, view_name, sql from duckdb_views() where database_name = ? "
    if connection.execute(
        f"{views} and not internal except {views} and not internal", [OLD, FRESH]
    ).fetchall():
        raise UserError(
            f"the copy of {warehouse} has other views; the warehouse was left as it is."
        )
    for schema, table in connection.execute(
        "select schema_name, table_name from duckdb_tables() where database_name = ?", [OLD]
    ).fetchall():
        name = f"{quoted(schema)}.{quoted(table)}"
        if fingerprint(connection, f"{OLD}.{name}") != fingerprint(connection, f"{FRESH}.{name}"):
            raise UserError(
                f"the copy of {warehouse} has other rows in {schema}.{table}; the warehouse was "
                "left as it is."
            )


def _remove(fresh: Path) -> None:
    for path in (fresh, fresh.with_name(fresh.name + ".wal")):
        path.unlink(missing_ok=True)


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
