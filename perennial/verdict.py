"""What became of the last build, kept in the warehouse itself: the table `build.verdict`.

dbt's own account of a run lies beside the project and may be of another warehouse, or of another
time. This one travels with the file, and its fingerprints tell whether a mart was changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from perennial import __version__
from perennial.errors import UserError
from perennial.fingerprints import fingerprint, first_line, marts_of, quoted

UNFINISHED, GREEN, RED, PARTIAL = "unfinished", "green", "red", "partial"

# Unit tests look at the code, not at the rows: without them the marts are as well tested.
NO_PART = {"test_type:unit", "resource_type:unit_test"}
# By these, too, dbt is told to leave something out.
PART_VARIABLES = [
    "DBT_RESOURCE_TYPES",
    "DBT_EXCLUDE_RESOURCE_TYPES",
    "DBT_EMPTY",
    "DBT_SAMPLE",
    "DBT_EVENT_TIME_START",
    "DBT_EVENT_TIME_END",
]


@dataclass(frozen=True)
class Verdict:
    """What the last build of a warehouse left: a word, what it left out, the marts it made.

    `fingerprints` has one text per mart; it is empty unless the word is green.
    """

    word: str
    part: str
    perennial_version: str
    duckdb_version: str
    fingerprints: dict[str, str]


def part_of(select: str | None, exclude: str | None, environment: Mapping[str, str]) -> str:
    """Return what makes a build partial, as it was typed; an empty text if it is whole.

    A part that succeeds may have made some marts from newer rows than the others, so it says
    nothing about the marts together.
    """
    said = []
    if select:
        said.append(f"--select {select}")
    if exclude and set(exclude.split()) - NO_PART:
        said.append(f"--exclude {exclude}")
    said += [f"{name}={environment[name]}" for name in PART_VARIABLES if environment.get(name)]
    return " ".join(said)


def record_verdict(warehouse: Path, word: str, part: str = "") -> None:
    """Write the verdict into the warehouse, with the marts' fingerprints if it is green.

    UserError if the file cannot be written, for instance because another program has it open.
    """
    try:
        with duckdb.connect(str(warehouse)) as connection:
            database = connection.execute("select current_database()").fetchone()[0]
            found = {
                table: str(fingerprint(connection, f"{quoted(database)}.marts.{quoted(table)}"))
                for table in (marts_of(connection, database) if word == GREEN else [])
            }
            connection.execute("begin")
            connection.execute("create schema if not exists build")
            connection.execute(
                """
                create or replace table build.verdict as
                select
                    cast($word as varchar) as verdict,
                    cast($part as varchar) as part,
                    cast($perennial_version as varchar) as perennial_version,
                    cast($duckdb_version as varchar) as duckdb_version,
                    map(cast($marts as varchar[]), cast($found as varchar[])) as fingerprints
                """,
                {
                    "word": word,
                    "part": part,
                    "perennial_version": __version__,
                    "duckdb_version": duckdb.__version__,
                    "marts": list(found.keys()),
                    "found": list(found.values()),
                },
            )
            connection.execute("commit")
    except duckdb.Error as error:
        raise UserError(
            f"what became of the build cannot be written into {warehouse} ({first_line(error)}); "
            "see that no other program has it open, and build again."
        ) from error


def read_verdict(connection: duckdb.DuckDBPyConnection, database: str) -> Verdict | None:
    """Return the verdict in an attached warehouse; None if no build has left one."""
    there = connection.execute(
        "select 1 from duckdb_tables() where database_name = ? and schema_name = 'build' "
        "and table_name = 'verdict'",
        [database],
    ).fetchone()
    if not there:
        return None
    row = connection.execute(
        "select verdict, part, perennial_version, duckdb_version, fingerprints "
        f"from {quoted(database)}.build.verdict"
    ).fetchone()
    return Verdict(*row) if row else None
