"""What a build looks at before it begins, so that a fault costs a sentence and not a half build."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from perennial.errors import UserError
from perennial.fingerprints import first_line
from perennial.locking import locked

# As the macro file_patterns seeks them.
EXTENSIONS = ["csv", "csv.gz", "parquet"]


@contextmanager
def only_builder(warehouse: Path) -> Iterator[None]:
    """Keep other builds from a warehouse, whose folder must be there.

    DuckDB's own lock is not enough: it is free while dbt starts, so that two builds could begin.
    UserError if another is at work.
    """
    path = warehouse.with_name(f"{warehouse.name}.lock")
    lock = locked(
        path,
        busy=f"another build or `perennial forget` is at work on {warehouse}; wait until it has "
        "ended, then try again.",
        instead="choose another place for the warehouse",
    )
    with lock as file:
        # dbt has it too, and may outlive whoever started it.
        os.set_inheritable(file.fileno(), True)
        yield


def check_files(folder: Path, tables: Iterable[str]) -> None:
    """Read the beginning or the end of each file of a shop; UserError for one that is not whole.

    dbt would find that too, but only after it had dropped the raw tables of the last build. A csv
    file that was cut off cannot be told from a short one.
    """
    for table in tables:
        for extension in EXTENSIONS:
            for shape in ("", "_*", "/*"):
                for file in sorted(folder.glob(f"{table}{shape}.{extension}")):
                    check_file(file)


def check_extras(settings: dict) -> None:
    """UserError if the settings of a build, or the environment, ask for what is not installed.

    Args:
        settings: those of the command line, which come first.
    """
    given = settings.get("recommenders")
    if given is None:
        with suppress(ValueError):
            # What cannot be read is told by dbt, as of any setting.
            given = json.loads(os.environ.get("PERENNIAL_RECOMMENDERS") or "{}")
    if isinstance(given, dict) and given.get("embeddings") is True:
        from perennial.recommend.embedding import check_torch

        check_torch()


def check_file(file: Path) -> None:
    """UserError if a file of a shop is empty or cannot be read, or is a part of a parquet file."""
    try:
        with file.open("rb") as opened:
            is_empty = not opened.read(1)
    except OSError as error:
        raise UserError(
            f"the file {file} cannot be read ({error.strerror}); mend that and build again."
        ) from error
    if is_empty:
        raise UserError(
            f"the file {file} is empty, without even the names of its columns; have it sent again "
            "and build again, or take it away if the shop has no such table."
        )
    if file.suffix == ".parquet":
        try:
            with duckdb.connect() as connection:
                connection.execute("select * from read_parquet(?) limit 0", [str(file)])
        except duckdb.Error as error:
            raise UserError(
                f"the file {file} is no whole parquet file ({first_line(error)}); have it sent "
                "again and build again."
            ) from error
