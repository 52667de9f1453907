"""The raw contract, read from the one file that says it: models/staging/_raw.yml.

`python -m perennial.contract` writes docs/raw_contract.md from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl
import yaml

from perennial.errors import UserError

ROOT = Path(__file__).parents[1]
CONTRACT = ROOT / "models" / "staging" / "_raw.yml"
PAGE = ROOT / "docs" / "raw_contract.md"

DTYPES = {
    "varchar": pl.String(),
    "json": pl.String(),
    "timestamp": pl.Datetime("us"),
    "date": pl.Date(),
    "decimal(18,2)": pl.Decimal(18, 2),
    "decimal(18,3)": pl.Decimal(18, 3),
    "decimal(18,4)": pl.Decimal(18, 4),
    "bigint": pl.Int64(),
    "integer": pl.Int32(),
    "double": pl.Float64(),
    "boolean": pl.Boolean(),
}


@dataclass(frozen=True)
class Column:
    """One column of the contract, with the rules under which a row is refused."""

    name: str
    type: str
    key: bool = False
    required: bool = False
    happened: bool = False
    upper: bool = False
    min: float | None = None
    max: float | None = None
    above: float | None = None
    accepted: tuple[str, ...] | None = None
    or_else: tuple[str, ...] = ()
    parent: str | None = None
    person: str | None = None

    @property
    def dtype(self) -> pl.DataType:
        """The polars type in which the column is written where it is typed."""
        return DTYPES[self.type]


@dataclass(frozen=True)
class Table:
    """One table of the contract."""

    name: str
    description: str
    required: bool
    columns: tuple[Column, ...]


@cache
def read_contract() -> dict[str, Table]:
    """Return the contract's tables by name, in their order; UserError without the project."""
    if not CONTRACT.is_file():
        raise UserError(f"there is no {CONTRACT}; install Perennial from its checkout.")
    (source,) = yaml.safe_load(CONTRACT.read_text("utf-8"))["sources"]
    return {
        table["name"]: Table(
            table["name"],
            table["description"],
            table["config"]["meta"]["required"],
            tuple(_column(column) for column in table["columns"]),
        )
        for table in source["tables"]
    }


def _column(said: dict) -> Column:
    rules = said.get("config", {}).get("meta", {})
    # A list in the file, a tuple here: a column is frozen.
    rules = {name: tuple(rule) if isinstance(rule, list) else rule for name, rule in rules.items()}
    return Column(said["name"], said["data_type"], **rules)


def columns_of(table: str) -> tuple[Column, ...]:
    """Return the columns of a table, in the contract's order."""
    return read_contract()[table].columns


def accepted(table: str, column: str) -> tuple[str, ...]:
    """Return the only values that a column may have, in order of progress."""
    return next(c.accepted or () for c in columns_of(table) if c.name == column)


OPENING = """\
# The raw contract

What a shop hands over. Columns in brackets may be absent or null. Timestamps are UTC (text with
an offset such as `+02:00` is understood), amounts are in the order's currency unless said
otherwise, extra columns are ignored. Generated from
[`models/staging/_raw.yml`](../models/staging/_raw.yml), which has the meaning of every column
and the rules that refuse a row; a test holds the two equal.

| table | one row per | columns |
|---|---|---|
"""


def render_page() -> str:
    """Return docs/raw_contract.md."""
    page = OPENING
    for table in read_contract().values():
        columns = [c.name if c.required else f"[{c.name}]" for c in table.columns]
        required = " (required)" if table.required else ""
        grain = table.description.removeprefix("One row per ").rstrip(".")
        page += f"| {table.name}{required} | {grain} | {', '.join(columns)} |\n"
    return page


if __name__ == "__main__":
    PAGE.write_text(render_page(), "utf-8")
