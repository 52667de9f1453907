"""What the marts must look like, and what a release changes for its readers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import yaml

from perennial.errors import UserError

# table -> column -> type, as DuckDB spells it
Contract = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Change:
    """One difference between two releases; `column` is None where it is a whole table."""

    change: str
    table: str
    column: str | None = None
    type_before: str | None = None
    type_after: str | None = None

    @property
    def is_breaking(self) -> bool:
        """A query that worked before may fail or mean something else."""
        return self.change != "added"

    def __str__(self) -> str:
        name = f"marts.{self.table}" + (f".{self.column}" if self.column else "")
        if self.change == "retyped":
            return f"{name} is {self.type_after} and was {self.type_before}"
        return f"{name} is {'new' if self.change == 'added' else 'removed'}"

    def as_dict(self) -> dict[str, str | None]:
        """Return what the manifest says of it."""
        return asdict(self)


def read_contract(project: Path) -> Contract:
    """Return the contract of the marts, from the yml files that dbt builds them by.

    These, and not dbt's manifest: that may be of an older state of the project. UserError where
    there are none, or a column has no type that DuckDB knows.
    """
    folder = project / "models" / "marts"
    contract: Contract = {}
    with duckdb.connect() as connection:
        for file in sorted(folder.rglob("*.yml")):
            for model in (yaml.safe_load(file.read_text("utf-8")) or {}).get("models") or []:
                contract[model["name"]] = {
                    column["name"]: _as_duckdb_says(
                        connection,
                        column.get("data_type"),
                        f"{model['name']}.{column['name']} in {file}",
                    )
                    for column in model.get("columns") or []
                }
    if not contract:
        raise UserError(f"no mart is described in {folder}; publish from Perennial's checkout.")
    return contract


def _as_duckdb_says(connection: duckdb.DuckDBPyConnection, type_: str | None, where: str) -> str:
    try:
        return connection.execute(f"select typeof(cast(null as {type_}))").fetchone()[0]
    except duckdb.Error as error:
        raise UserError(f"the type of {where} is {type_}, which DuckDB does not know.") from error


def broken_promises(contract: Contract, found: Contract) -> list[str]:
    """Return where marts are not what the contract says, a clause each.

    A table that is in `found` only breaks no promise. The order of columns is not looked at.
    """
    broken = []
    for table, columns in contract.items():
        if table not in found:
            broken.append(f"marts.{table} is missing")
            continue
        there = found[table]
        for column, type_ in columns.items():
            if column not in there:
                broken.append(f"marts.{table}.{column} is missing")
            elif there[column] != type_:
                broken.append(f"marts.{table}.{column} is {there[column]} instead of {type_}")
        broken += [
            f"marts.{table}.{column} is not in the contract"
            for column in there
            if column not in columns
        ]
    return broken


def changes(before: Contract, after: Contract) -> list[Change]:
    """Return what readers of `before` find changed in `after`, by table and column."""
    found = []
    for table in sorted(before.keys() | after.keys()):
        if table not in after:
            found.append(Change("removed", table))
        elif table not in before:
            found.append(Change("added", table))
        else:
            old, new = before[table], after[table]
            for column in sorted(old.keys() | new.keys()):
                if column not in new:
                    found.append(Change("removed", table, column, old[column], None))
                elif column not in old:
                    found.append(Change("added", table, column, None, new[column]))
                elif old[column] != new[column]:
                    found.append(Change("retyped", table, column, old[column], new[column]))
    return found
