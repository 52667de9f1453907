"""Whether two tables hold the same rows, in whatever order."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb


@dataclass(frozen=True)
class Fingerprint:
    """Of one table, whatever the order of its rows: their number and the sum of their hashes."""

    n_rows: int
    hash: str

    def __str__(self) -> str:
        return f"{self.n_rows} rows, {self.hash}"


def marts_of(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, dict[str, str]]:
    """Return the types of the columns of every mart of an attached database, by name, in order."""
    marts: dict[str, dict[str, str]] = {}
    for table, column, type_ in connection.execute(
        "select table_name, column_name, data_type from duckdb_columns() "
        "where database_name = ? and schema_name = 'marts' order by table_name, column_index",
        [database],
    ).fetchall():
        marts.setdefault(table, {})[column] = type_
    return marts


def fingerprint(connection: duckdb.DuckDBPyConnection, relation: str) -> Fingerprint:
    """Return the fingerprint of a relation, given as it stands after `from` in SQL."""
    # A column may have any name but hardly this one; it would be hashed in the place of the row.
    n_rows, total = connection.execute(
        f'select count(*), sum(cast(hash("the whole row") as hugeint)) from {relation} '
        'as "the whole row"'
    ).fetchone()
    return Fingerprint(n_rows, f"{total or 0:032x}")


def quoted(name: str) -> str:
    """Return a name as SQL takes it whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def first_line(error: Exception) -> str:
    """Return the first line of what an exception says."""
    return str(error).strip().split("\n")[0]
