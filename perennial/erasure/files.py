"""The raw files of a shop: which there are, and how rows are taken out of them.

A csv file keeps every byte of the lines that stay; a parquet file its schema, its row groups and
the compression of its columns. A file without such rows is not touched.
"""

from __future__ import annotations

import csv
import gzip
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from perennial.contract import columns_of, read_contract
from perennial.erasure.matching import is_left_out, use_list
from perennial.erasure.suppression import Forgotten, replace
from perennial.errors import UserError
from perennial.fingerprints import first_line

EXTENSIONS = ("csv", "csv.gz", "parquet")


@dataclass(frozen=True)
class RawFile:
    """One file of a table of the raw contract."""

    table: str
    path: Path

    @property
    def is_parquet(self) -> bool:
        """Parquet; else csv, perhaps compressed."""
        return self.path.suffix == ".parquet"

    @property
    def relation(self) -> str:
        """The file as it stands after `from`; csv as a build reads it, all texts."""
        path = "'" + _as_pattern(self.path) + "'"
        if self.is_parquet:
            return f"read_parquet({path})"
        return (
            f"read_csv({path}, all_varchar = true, header = true, delim = ',', quote = '\"', "
            "escape = '\"', ignore_errors = true)"
        )

    @property
    def lines(self) -> str | None:
        """A csv file as a column of whole lines, however they are cut; None for parquet."""
        if self.is_parquet:
            return None
        return (
            f"(select line from read_csv('{_as_pattern(self.path)}', auto_detect = false, "
            "header = false, columns = {'line': 'varchar'}, delim = '\x01', quote = '', "
            "escape = '', max_line_size = 100000000, null_padding = true, ignore_errors = true))"
        )


def _as_pattern(path: Path) -> str:
    """Return a path as DuckDB's readers take it: they read some signs as a pattern."""
    return re.sub(r"([\[*?])", r"[\1]", str(path)).replace("'", "''")


def raw_files(folder: Path) -> list[RawFile]:
    """Return the files of a folder that a build reads, as the macro `file_patterns` finds them."""
    return [
        RawFile(table, path)
        for table in read_contract()
        for extension in EXTENSIONS
        for shape in ("{}.{}", "{}_*.{}", "{}/*.{}")
        for path in sorted(folder.glob(shape.format(table, extension)))
        if path.is_file()
    ]


def names_people(table: str) -> bool:
    """Whether a table of the contract has a column that can name a person."""
    return any(column.person for column in columns_of(table))


def take_out(file: RawFile, forgotten: Forgotten) -> int:
    """Rewrite a file without the rows of forgotten people, in one step; return how many there were.

    UserError if the file cannot be cut into rows, or cannot be written; it is as it was then.
    """
    # The file itself, and not a link to it, is what must not hold the person.
    path = file.path.resolve()
    fresh = path.with_name(f".{path.name}.forgetting")
    try:
        fresh.unlink(missing_ok=True)
        write = _write_parquet if file.is_parquet else _write_csv
        n_gone = write(file, path, fresh, forgotten)
        if n_gone:
            shutil.copymode(path, fresh)
            replace(fresh, path)
        return n_gone
    except (OSError, csv.Error, duckdb.Error, pa.ArrowException) as error:
        raise UserError(
            f"rows cannot be taken out of {file.path} ({first_line(error)}); mend what the "
            "brackets say, or take them out by hand and say --keep-files."
        ) from error
    finally:
        fresh.unlink(missing_ok=True)


def _write_csv(file: RawFile, path: Path, fresh: Path, forgotten: Forgotten) -> int:
    is_packed = path.suffix == ".gz"
    with (
        gzip.open(path) if is_packed else path.open("rb") as source,
        gzip.open(fresh, "wb") if is_packed else fresh.open("wb") as target,
    ):
        return copy_csv(source, target, file.table, forgotten)


def copy_csv(source: BinaryIO, target: BinaryIO, table: str, forgotten: Forgotten) -> int:
    """Copy a csv file of a raw table without the rows of forgotten people; return how many.

    A row that has not as many fields as the header counts if any field is a forgotten customer,
    order or device. csv.Error where a quote has no end, so that rows cannot be told apart.
    """
    csv.field_size_limit(sys.maxsize)
    taken: list[bytes] = []

    def lines() -> Iterator[str]:
        for line in source:
            taken.append(line)
            yield line.decode("utf-8", "surrogateescape")

    @cache
    def holds(kind: str, key: str) -> bool:
        return forgotten.holds(kind, key)

    kinds = {column.name: column.person for column in columns_of(table) if column.person}
    header: list[str] | None = None
    n_gone = 0
    for fields in csv.reader(lines()):
        if len(taken) > 1 and sum(line.count(b'"') for line in taken) % 2:
            raise csv.Error(f"the quote before its last {len(taken)} lines is never closed")
        if header is None:
            header = [name.removeprefix("\ufeff").strip().lower() for name in fields]
            is_gone = False
        elif len(fields) == len(header):
            row = {
                name: field.strip()
                for name, field in zip(header, fields, strict=True)
                if name in kinds
            }
            is_gone = _names_someone(row, kinds, holds)
        else:
            is_gone = any(
                holds(kind, word.strip())
                for word in re.split('[,"]', b"".join(taken).decode("utf-8", "surrogateescape"))
                for kind in ("customer", "order", "device")
                if word.strip()
            )
        if is_gone:
            n_gone += 1
        else:
            target.writelines(taken)
        taken.clear()
    return n_gone


def _names_someone(row: dict[str, str], kinds: dict[str, str], holds) -> bool:
    """Whether a row, of text values without blanks around them, holds a forgotten key."""
    for name, key in row.items():
        if kinds[name] == "session" and (row.get("customer_id") or row.get("anonymous_id")):
            continue
        if key and holds(kinds[name], key):
            return True
    return False


def count_rows(file: RawFile, forgotten: Forgotten) -> int:
    """Return how many rows of a file a build leaves out, lines that cannot be cut not counted."""
    with duckdb.connect(config={"threads": 2}) as connection:
        return connection.execute(
            f"select count(*) from {file.relation} where {_condition(connection, file, forgotten)}"
        ).fetchone()[0]


def _condition(connection: duckdb.DuckDBPyConnection, file: RawFile, forgotten: Forgotten) -> str:
    use_list(connection, forgotten)
    columns = [row[0] for row in connection.execute(f"describe from {file.relation}").fetchall()]
    return is_left_out(file.table, columns) or "false"


def _write_parquet(file: RawFile, path: Path, fresh: Path, forgotten: Forgotten) -> int:
    with duckdb.connect(config={"threads": 2}) as connection:
        gone = connection.execute(
            f"select file_row_number from read_parquet('{_as_pattern(path)}', "
            f"file_row_number = true) where {_condition(connection, file, forgotten)}"
        ).fetchall()
    if gone:
        _copy_parquet(path, fresh, {number for (number,) in gone})
    return len(gone)


def _copy_parquet(path: Path, fresh: Path, gone: set[int]) -> None:
    """Copy a parquet file row group by row group without the rows of these numbers, from 0."""
    with pq.ParquetFile(path) as source:
        meta = source.metadata
        compression = {
            (chunk := meta.row_group(0).column(number)).path_in_schema: chunk.compression
            for number in range(meta.num_columns)
        }
        schema = source.schema_arrow
        with pq.ParquetWriter(fresh, schema, compression=compression) as target:
            first = 0
            for group in range(meta.num_row_groups):
                table = source.read_row_group(group)
                stays = [first + number not in gone for number in range(table.num_rows)]
                target.write_table(table.filter(pa.array(stays)))
                first += table.num_rows
