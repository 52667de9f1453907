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
from perennial.erasure.matching import found_in_columns, kinds_of, use_list, words_of
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
        tables: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for schema, table, column, type_ in columns:
            tables.setdefault((schema, table), []).append((column, type_))
        for (schema, table), columns in tables.items():
            is_source = schema in source_schemas or (ours is not None and schema not in ours)
            finding = theirs if is_source else own
            n_columns[is_source] += len(columns)
            relation = f"searched.{quoted(schema)}.{quoted(table)}"
            if (schema, table) == ("erasure", "salt"):
                continue
            found = {}
            if (schema, table) == ("increments", "changes"):
                found = _search_notes(connection, relation)
                columns = [(name, type_) for name, type_ in columns if name != "value"]
            found |= _search_columns(connection, relation, columns)
            finding.found |= {f"{schema}.{table}.{column}": n for column, n in found.items()}
    own.searched, theirs.searched = (f"{n_columns[side]:,} columns" for side in (False, True))
    return [own, theirs] if n_columns[True] else [own]


def search_raw_files(files: Iterable[RawFile], forgotten: Forgotten, is_source: bool) -> Finding:
    """Search raw files, column by column and, of csv, line by line."""
    files = list(files)
    finding = Finding("raw files", f"{len(files):,} files", is_source=is_source)
    with _searching(forgotten) as connection:
        for file in files:
            found = _search_file(connection, file.relation, file.path.name)
            if not found and file.lines:
                found = _search_file(connection, file.lines, file.path.name)
            finding.found |= found
    return finding


def search_parquet(files: Iterable[Path], place: str, forgotten: Forgotten) -> Finding:
    """Search the parquet files of a release."""
    files = list(files)
    finding = Finding(place, f"{len(files):,} files")
    with _searching(forgotten) as connection:
        for file in files:
            path = str(file).replace("'", "''")
            finding.found |= _search_file(connection, f"read_parquet('{path}')", file.name)
    return finding


def search_texts(files: Iterable[Path], place: str, forgotten: Forgotten) -> Finding:
    """Search the words of text files, such as pages and logs."""
    finding = Finding(place, "")
    n_files = 0
    # Most words stand in many files.
    of_nobody: set[str] = set()
    for file in files:
        n_files += 1
        hits = set()
        for words in _words_of_file(file):
            new = words - of_nobody
            found = {word for word in new if any(forgotten.holds(kind, word) for kind in KINDS)}
            of_nobody |= new - found
            hits |= found
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


def _search_file(connection: duckdb.DuckDBPyConnection, relation: str, name: str) -> dict[str, int]:
    """Search every column of a csv or parquet file, given as it stands after `from`."""
    described = connection.execute(f"describe from {relation}").fetchall()
    columns = [(column, type_) for column, type_, *_ in described]
    found = _search_columns(connection, relation, columns)
    return {f"{name}.{column}": n_found for column, n_found in found.items()}


def _search_columns(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: list[tuple[str, str]]
) -> dict[str, int]:
    """Return in which columns something was found, and how much."""

    def n_found(columns: list[tuple[str, str]]) -> int:
        query = found_in_columns(relation, columns)
        return connection.execute(query).fetchone()[0] if query else 0

    if not connection.execute(f"select exists(from {relation})").fetchone()[0]:
        return {}
    # All at once first: which of them it is need only be asked where there is something.
    if len(columns) > 1 and not n_found(columns):
        return {}
    found = {column: n_found([(column, type_)]) for column, type_ in columns}
    return {column: n for column, n in found.items() if n}


def _search_notes(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, int]:
    """Search the notes of increments, where another column tells what a value is."""
    n_found = 0
    for (followed,) in connection.execute(
        f"select distinct followed from {relation} where followed is not null"
    ).fetchall():
        name = followed if kinds_of(followed) else "value"
        noted = f"(select value as {quoted(name)} from {relation} where followed = '{followed}')"
        n_found += sum(_search_columns(connection, noted, [(name, "VARCHAR")]).values())
    return {"value": n_found} if n_found else {}


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
