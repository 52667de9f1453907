"""The floor: what DuckDB alone needs to read a shop's raw files and to write the marts.

`python -m scaling.floor SHOP WAREHOUSE OUT` reads every column of every raw table, and
copies the marts of a finished warehouse into a new DuckDB file. No build can be faster that reads
and writes as much with the same engine. Prints the seconds of both as JSON.

Columns are read into a hash of each row: that looks at every value and keeps none, where a plain
count reads no column at all, and a copy would write what no build has to write.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import duckdb

from perennial.fingerprints import marts_of
from perennial.fingerprints import quoted as named
from scaling.children import THREADS
from scaling.shops import quoted, tables_of


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shop", type=Path, help="folder of the raw parquet files")
    parser.add_argument("warehouse", type=Path, help="finished warehouse of that shop")
    parser.add_argument("out", type=Path, help="DuckDB file to write")
    args = parser.parse_args(argv)
    print(json.dumps({"read": read(args.shop), "write": write(args.warehouse, args.out)}))
    return 0


def read(shop: Path) -> float:
    """Read all raw tables; return the seconds."""
    relations = tables_of(shop)
    began = time.monotonic()
    with duckdb.connect(config={"threads": THREADS}) as connection:
        for relation in relations.values():
            connection.execute(f"select bit_xor(hash(*columns(*))) from {relation}").fetchall()
    return time.monotonic() - began


def write(warehouse: Path, out: Path) -> float:
    """Copy the marts of a warehouse into a new file; return the seconds."""
    began = time.monotonic()
    with duckdb.connect(str(out), config={"threads": THREADS}) as connection:
        connection.execute(f"attach {quoted(warehouse)} as built (read_only)")
        connection.execute("create schema marts")
        for mart in marts_of(connection, "built"):
            connection.execute(
                f"create table marts.{named(mart)} as from built.marts.{named(mart)}"
            )
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
