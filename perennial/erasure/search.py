"""Look for what is left of forgotten people: in tables, files, and the bytes of files.

The search knows keys by their hashes, so that it finds what is left of anybody who was ever
forgotten, and runs without being told their orders and devices. Only bytes it cannot hash: there
it looks for keys that it is told.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from perennial.erasure.files import RawFile
from perennial.erasure.matching import found_in_column, kinds_of, use_list, words_of
from perennial.erasure.suppression import KINDS, Forgotten
from perennial.errors import UserError
from perennial.fingerprints import first_line, quoted

# Beyond this a file is read in parts, cut between lines.
CHUNK = 16_000_000


@dataclass
class Finding:
    """What one search found: where it looked, at how much, and in which parts something is left."""

    place: str
    searched: str
    found: dict[str, int] = field(default_factory=dict)
    # Something of others, which is not ours to change; the list keeps it out of the warehouse.
    is_source: bool = False

    @property
    def n_hits(self) -> int:
        """How many different keys were found, part by part."""
        return sum(self.found.values())


def search_database(
    file: Path, place: str, forgotten: Forgotten, source_schemas: set[str], ours: set[str] | None
) -> list[Finding]:
    """Search every column of every table of a DuckDB file.

    Tables of `source_schemas`, and where `ours` is given those of all other schemas, belong to
    somebody else and make a finding of their own. UserError if the file is in use.
    """
    own = Finding(place, "")
    theirs = Finding(f"{place}, source tables", "", is_source=True)
    n_columns = {True: 0, False: 0}
    with _searching(forgotten) as connection:
        try:
            path = str(file).replace("'", "''")
            connection.execute(f"attach '{path}' as searched (read_only)")
        except duckdb.Error as error:
            raise UserError(
                f"{file} cannot be searched ({first_line(error)}); see that no other program has "
                "it open, and run the same again with --check."
            ) from error
        columns = connection.execute(
            "select columns.schema_name, columns.table_name, column_name, data_type "
            "from duckdb_columns() as columns inner join duckdb_tables() as tables "
            "using (database_name, schema_name, table_name) where database_name = 'searched' "
            "order by all"
        ).fetchall()
        has_rows = {
            (schema, table): _has_rows(connection, f"searched.{quoted(schema)}.{quoted(table)}")
            for schema, table in {(schema, table) for schema, table, *_ in columns}
        }
        for schema, table, column, type_ in columns:
            is_source = schema in source_schemas or (ours is not None and schema not in ours)
            finding = theirs if is_source else own
            n_columns[is_source] += 1
            relation = f"searched.{quoted(schema)}.{quoted(table)}"
            if (schema, table, column) == ("increments", "changes", "value"):
                n_found = _search_notes(connection, relation)
            elif (schema, table) == ("erasure", "salt") or not has_rows[schema, table]:
                continue
            else:
                n_found = _search_column(connection, relation, column, type_)
            if n_found:
                finding.found[f"{schema}.{table}.{column}"] = n_found
    own.searched, theirs.searched = (f"{n_columns[side]:,} columns" for side in (False, True))
    return [own, theirs] if n_columns[True] else [own]


def search_table_file(relation: str, name: str, forgotten: Forgotten) -> dict[str, int]:
    """Search every column of a csv or parquet file, given as it stands after `from`."""
    found = {}
    with _searching(forgotten) as connection:
        if not _has_rows(connection, relation):
            return found
        for column, type_, *_ in connection.execute(f"describe from {relation}").fetchall():
            if n_found := _search_column(connection, relation, column, type_):
                found[f"{name}.{column}"] = n_found
    return found


def search_raw_files(files: Iterable[RawFile], forgotten: Forgotten, is_source: bool) -> Finding:
    """Search raw files, column by column and, of csv, line by line."""
    files = list(files)
    finding = Finding("raw files", f"{len(files):,} files", is_source=is_source)
    for file in files:
        found = search_table_file(file.relation, file.path.name, forgotten)
        if not found and file.lines:
            found = search_table_file(file.lines, file.path.name, forgotten)
        finding.found |= found
    return finding


def search_parquet(files: Iterable[Path], place: str, forgotten: Forgotten) -> Finding:
    """Search the parquet files of a release."""
    files = list(files)
    finding = Finding(place, f"{len(files):,} files")
    for file in files:
        path = str(file).replace("'", "''")
        finding.found |= search_table_file(f"read_parquet('{path}')", file.name, forgotten)
    return finding


def search_texts(files: Iterable[Path], place: str, forgotten: Forgotten) -> Finding:
    """Search the words of text files, such as pages and logs."""
    finding = Finding(place, "")
    n_files = 0
    for file in files:
        n_files += 1
        hits = {
            word
            for words in _words_of_file(file)
            for word in words
            if any(forgotten.holds(kind, word) for kind in KINDS)
        }
        if hits:
            finding.found[str(file)] = len(hits)
    finding.searched = f"{n_files:,} files"
    return finding


def search_bytes(files: Iterable[Path], keys: set[str]) -> Finding:
    """Search the bytes of files for keys that are given, whatever the file's format."""
    wanted = sorted(key.encode() for key in keys)
    finding = Finding("bytes of the files", "")
    n_files = 0
    for file in files:
        n_files += 1
        if file.stat().st_size == 0:
            continue
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as m:
            n_found = sum(m.find(key) >= 0 for key in wanted)
        if n_found:
            finding.found[str(file)] = n_found
    finding.searched = f"{n_files:,} files for {len(wanted):,} keys"
    return finding


def _has_rows(connection: duckdb.DuckDBPyConnection, relation: str) -> bool:
    return connection.execute(f"select exists(from {relation})").fetchone()[0]


def _search_column(
    connection: duckdb.DuckDBPyConnection, relation: str, column: str, type_: str
) -> int:
    query = found_in_column(relation, column, type_)
    return connection.execute(query).fetchone()[0] if query else 0


def _search_notes(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    """Search the notes of increments, where another column tells what a value is."""
    n_found = 0
    for (followed,) in connection.execute(
        f"select distinct followed from {relation} where followed is not null"
    ).fetchall():
        name = followed if kinds_of(followed) else "value"
        noted = f"(select value as {quoted(name)} from {relation} where followed = '{followed}')"
        n_found += _search_column(connection, noted, name, "VARCHAR")
    return n_found


def _words_of_file(file: Path) -> Iterator[set[str]]:
    with file.open("rb") as opened:
        while lines := opened.readlines(CHUNK):
            yield words_of(b"".join(lines).decode("utf-8", "replace"))


@contextmanager
def _searching(forgotten: Forgotten) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        use_list(connection, forgotten)
        yield connection
