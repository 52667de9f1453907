"""Builds of a warehouse: what each model took, from the run log in the warehouse itself."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import duckdb

from perennial.errors import UserError
from perennial.fingerprints import fingerprint, marts_of, quoted
from scaling.children import measured_environment, run

WAREHOUSE = "warehouse.duckdb"
# Data tests ask whether the rows are right, which is another question than what they cost.
NO_TESTS = "resource_type:test resource_type:unit_test"
# What DuckDB may take, so that with Python the whole build stays below 8 GB.
MEMORY = "6GB"


@dataclass(frozen=True)
class Model:
    """One model of a build: UTC moments, seconds as dbt counts them, bytes on the disk."""

    name: str
    schema: str
    made: str
    began: dt.datetime
    ended: dt.datetime
    seconds: float
    n_rows: int | None
    n_bytes: int


@dataclass(frozen=True)
class Build:
    """A finished build; `busy` are the seconds during which any model was at work."""

    seconds: float
    peak_bytes: int
    others: float
    busy: float
    n_bytes: int
    models: list[Model] = field(repr=False)

    def as_json(self) -> dict:
        """The build as json has it; moments are left out."""
        content = asdict(self)
        for model in content["models"]:
            del model["began"], model["ended"]
        return content


class Bench:
    """A folder in which warehouses are built, always at the same paths.

    dbt reads the whole project anew when the path of the files or of the warehouse changes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw = folder / "raw"
        self.warehouse = folder / WAREHOUSE
        self.environment = measured_environment(
            PERENNIAL_SHOP="files",
            PERENNIAL_RAW=self.raw,
            PERENNIAL_WAREHOUSE=self.warehouse,
            PERENNIAL_MEMORY=MEMORY,
            DBT_TARGET_PATH=folder / "target",
            DBT_LOG_PATH=folder / "logs",
        )
        folder.mkdir(parents=True, exist_ok=True)

    def read_project(self) -> None:
        """Have dbt read the project once, as it has on a usual day."""
        call = "import sys; from dbt.cli.main import cli; sys.exit(cli())"
        run([sys.executable, "-c", call, "parse"], self.environment, "dbt's reading of the project")

    def have(self, raw: Path) -> None:
        """Let the next build read this folder."""
        self.raw.unlink(missing_ok=True)
        self.raw.symlink_to(raw)

    def empty(self) -> None:
        """Let the next build begin from nothing."""
        for file in self.folder.glob(f"{WAREHOUSE}*"):
            file.unlink()

    def build(self, doing: str) -> Build:
        """Build what is there; return what it cost."""
        command = [sys.executable, "-m", "perennial.cli", "build", "--shop", "files"]
        command += ["--raw", self.raw, "--warehouse", self.warehouse, "--no-report"]
        cost, _ = run([*command, "--exclude", NO_TESTS], self.environment, doing)
        models = last_models(self.warehouse)
        return Build(
            **asdict(cost),
            busy=busy_seconds(models, {model.name for model in models}),
            n_bytes=self.warehouse.stat().st_size,
            models=models,
        )

    def above(self, marts: Collection[str]) -> set[str]:
        """The names of these marts and of all models that they are made of."""
        manifest = json.loads((self.folder / "target/manifest.json").read_text("utf-8"))
        return models_above(manifest, marts)


def last_models(warehouse: Path) -> list[Model]:
    """The models of a warehouse's last build, the dearest first."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        rows = connection.execute(
            """
            select node, made, started_at, ended_at, seconds, n_rows
            from monitoring.run_results
            where
                kind in ('model', 'seed')
                and status = 'success'
                and invocation_id = (
                    select max_by(invocation_id, started_at)
                    from monitoring.runs
                    where command = 'build'
                )
            order by seconds desc, node
            """
        ).fetchall()
        tables = connection.execute(
            "select table_schema, table_name, table_type from information_schema.tables "
            "where table_catalog = current_database() and table_schema <> 'raw'"
        ).fetchall()
        schema_of = {name: schema for schema, name, _ in tables}
        size_of = {
            name: table_bytes(connection, schema, name)
            for schema, name, type_ in tables
            if type_ == "BASE TABLE"
        }
    if not rows:
        raise UserError(f"the run log of {warehouse} knows no model; build it again.")
    return [
        Model(name, schema_of.get(name, ""), *rest, size_of.get(name, 0)) for name, *rest in rows
    ]


def table_bytes(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> int:
    """The bytes of all blocks that hold a table; blocks are not shared between tables."""
    name = f"{quoted(schema)}.{quoted(table)}".replace("'", "''")
    return connection.execute(
        f"""
        with blocks as (
            select unnest([block_id] || coalesce(additional_block_ids, [])) as block_id
            from pragma_storage_info('{name}')
            where persistent
        )

        select count(distinct block_id) * (select block_size from pragma_database_size())
        from blocks
        where block_id >= 0
        """
    ).fetchone()[0]


def busy_seconds(models: list[Model], names: Collection[str]) -> float:
    """The seconds during which at least one of the named models was at work."""
    total, until = 0.0, None
    for model in sorted(models, key=lambda model: model.began):
        if model.name not in names:
            continue
        began = model.began if until is None else max(model.began, until)
        if model.ended > began:
            total += (model.ended - began).total_seconds()
            until = model.ended
    return total


def shared_seconds(models: list[Model], names: Collection[str]) -> float:
    """The part of the time that the named models take of a build.

    Two models run at a time, on the same cores: each moment is shared out evenly among those at
    work. So the parts of all models add up to the time during which any was.
    """
    edges = sorted({moment for model in models for moment in (model.began, model.ended)})
    total = 0.0
    for began, ended in pairwise(edges):
        at_work = [m.name in names for m in models if m.began <= began and m.ended >= ended]
        if any(at_work):
            total += (ended - began).total_seconds() * sum(at_work) / len(at_work)
    return total


def models_above(manifest: dict, marts: Collection[str]) -> set[str]:
    """The names of these models of a manifest and of all models and seeds above them."""
    key_of = {node["name"]: key for key, node in manifest["nodes"].items()}
    wanted, waiting = set(), [key_of[mart] for mart in marts]
    while waiting:
        key = waiting.pop()
        if key in manifest["nodes"] and key not in wanted:
            wanted.add(key)
            waiting += manifest["nodes"][key]["depends_on"].get("nodes", [])
    return {manifest["nodes"][key]["name"] for key in wanted}


def fingerprints(warehouse: Path) -> dict[str, str]:
    """What tells each mart's rows from others, whatever their order."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        (database,) = connection.execute("select current_database()").fetchone()
        return {
            mart: str(fingerprint(connection, f"marts.{quoted(mart)}"))
            for mart in marts_of(connection, database)
        }
