"""The warehouse's SQL, as dbt compiles it once, run again and again in one process.

dbt builds a tiny shop twice, the second time with nothing new, and writes down every statement:
the first build holds how each table is made in full, the second how it follows what changed.
None of the statements of an increment holds a value of its run, so that they can be replayed on
other data; what dbt decides in between (in full, or not) is asked of the same query.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from perennial.children import clean_environment

PROJECT = Path(__file__).parents[2]

# Small windows and limits, so that a few dozen rows reach every branch.
SETTINGS = {
    "timezone": "Europe/Berlin",
    "week_start": "sunday",
    "max_quarantine_share": 1,
    "similarity": {"way": "sql", "min_count": 1, "max_items": 3},
    "churn_horizon_days": 10,
    "churn_step_days": 7,
    "churn_snapshots": 5,
    "churn_activity_days": 40,
    "churn_training_customers": 3,
}
# The raw tables that random sequences fill; the others stay empty.
USED = ["orders", "order_items", "refunds", "customers", "events", "products", "exchange_rates"]
# Those of which nothing but their own checked model hears.
MARKETING = ["reviews", "coupons", "coupon_grants", "campaigns", "campaign_touches"]


@dataclass
class Node:
    """One model: how it is made, in full and by what changed."""

    name: str
    schema: str
    materialized: str
    whole: str
    compares: bool
    before: list[str] = field(default_factory=list)  # the decision, hours, touched keys and rows
    increment: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)
    difference: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)  # the mark, and the hours taken in

    @property
    def relation(self) -> str:
        return f'"replay"."{self.schema}"."{self.name}"'


@dataclass
class Recording:
    """All models in the order of their building, and the raw tables they read."""

    nodes: list[Node]
    start: list[str]
    raw_columns: dict[str, list[str]]
    seeds: dict[str, tuple[str, list[tuple]]]


def contract() -> dict[str, list[str]]:
    import yaml

    source = yaml.safe_load((PROJECT / "models" / "staging" / "_raw.yml").read_text())
    return {
        table["name"]: [column["name"] for column in table["columns"]]
        for table in source["sources"][0]["tables"]
    }


def make_raw_tables(connection: duckdb.DuckDBPyConnection, columns: dict[str, list[str]]) -> None:
    connection.execute("create schema if not exists raw")
    for table, names in columns.items():
        listed = ", ".join(f"{name} varchar" for name in names)
        connection.execute(f"create table raw.{table} ({listed})")


def record(folder: Path) -> Recording:
    """Let dbt build an all but empty shop twice; return what it did."""
    warehouse = folder / "replay.duckdb"
    columns = contract()
    with duckdb.connect(str(warehouse)) as connection:
        make_raw_tables(connection, columns)
        # An increment needs an as_of, and as_of an order.
        connection.execute(
            "insert into raw.orders (order_id, ordered_at, status, ingested_at) "
            "values ('o', '2024-01-01', 'paid', '2024-01-01')"
        )
    first = _dbt(folder, warehouse)
    second = _dbt(folder, warehouse)
    manifest = json.loads((folder / "target" / "manifest.json").read_text())

    # The tables that are always made in full are not of interest, unless others wait for them.
    tracked = {
        key for key, node in manifest["nodes"].items()
        if node["config"].get("materialized") == "tracked"
    }  # fmt: skip
    wanted = tracked | {above for key in tracked for above in _above(manifest, key)}
    nodes = []
    for key in first.order:
        node = manifest["nodes"][key]
        if key not in wanted:
            continue
        made = Node(
            name=node["alias"],
            schema=node["schema"],
            materialized=node["config"]["materialized"],
            whole=first.compiled[key],
            compares=bool(node["config"]["meta"].get("compare")),
        )
        for statement in second.statements.get(key, []):
            kind = statement.split("perennial: ")[1].split(" ")[0]
            if kind == "mark" or (
                kind == "hours"
                and "increments.loads where" in statement
                and statement.lstrip().startswith("/* perennial: hours */\n")
            ):
                made.after.append(statement)
            elif kind in ("decision", "hours", "touched", "rows"):
                made.before.append(statement)
            elif kind == "increment":
                made.increment.append(statement)
            elif kind == "difference":
                made.difference.append(statement)
        for statement in first.statements.get(key, []):
            if "perennial: rebuilt" in statement:
                made.rebuilt.append(statement)
        nodes.append(made)
    return Recording(nodes, second.start, columns, seeds_of(warehouse))


def seeds_of(warehouse: Path) -> dict[str, tuple[str, list[tuple]]]:
    """The reference tables: of each its columns as SQL, and its rows."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        tables = connection.execute(
            "select table_name, string_agg(column_name || ' ' || data_type, ', ')"
            " from duckdb_columns() where schema_name = 'reference' group by all"
        ).fetchall()
        return {
            name: (columns, connection.execute(f"select * from reference.{name}").fetchall())
            for name, columns in tables
        }


@dataclass
class _Run:
    order: list[str]
    compiled: dict[str, str]
    statements: dict[str, list[str]]
    start: list[str]


def _above(manifest: dict, key: str) -> set[str]:
    parents = {p for p in manifest["nodes"][key]["depends_on"]["nodes"] if p.startswith("model.")}
    return parents.union(*(_above(manifest, parent) for parent in parents))


def _dbt(folder: Path, warehouse: Path) -> _Run:
    environment = clean_environment(PERENNIAL_SHOP="tables", PERENNIAL_WAREHOUSE=warehouse)
    logs = folder / "logs"
    for file in logs.glob("*"):
        file.unlink()
    done = subprocess.run(
        [
            sys.executable, "-c", "import sys; from dbt.cli.main import cli; sys.exit(cli())",
            "build", "--project-dir", PROJECT, "--profiles-dir", PROJECT, "--threads", "1",
            "--target-path", folder / "target", "--log-path", logs,
            "--log-format-file", "json", "--log-level-file", "debug",
            "--vars", json.dumps(SETTINGS), "--exclude",
            "py_churn_models+ py_churn_scores+ py_similar_items+ item_lists+",
            "resource_type:test", "resource_type:unit_test",
        ],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stdout[-4000:] + done.stderr[-2000:])
    order, statements, start = [], {}, []
    for line in (logs / "dbt.log").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["info"]["name"] == "LogStartLine":
            order.append(event["data"]["node_info"]["unique_id"])
        if event["info"]["name"] != "SQLQuery":
            continue
        sql = event["data"]["sql"].strip()
        if sql.startswith('/* {"app"'):
            sql = sql.split("*/", 1)[1]
        key = event["data"]["conn_name"]
        if "/* perennial:" in sql:
            statements.setdefault(key, []).append(sql)
        elif key == "master" and "increments." in sql:
            start.append(sql)
    results = json.loads((folder / "target" / "run_results.json").read_text())
    compiled = {result["unique_id"]: result["compiled_code"] for result in results["results"]}
    seeds = [key for key in order if not key.startswith("model.")]
    return _Run([k for k in order if k not in seeds], compiled, statements, start)


class Warehouse:
    """A warehouse in memory, or in a file, that is built from a recording."""

    def __init__(
        self, recording: Recording, used: list[str] = USED, file: str | Path = ":memory:"
    ) -> None:
        self.recording = recording
        self.connect(file)
        make_raw_tables(self.connection, recording.raw_columns)
        for schema in {node.schema for node in recording.nodes}:
            self.execute(f"create schema {schema}")
        self.execute("create schema increments")
        self.execute("create schema reference")
        for name, (columns, rows) in recording.seeds.items():
            self.execute(f"create table reference.{name} ({columns})")
            if not rows:
                continue
            places = ", ".join("?" for _ in rows[0])
            self.connection.executemany(f"insert into reference.{name} values ({places})", rows)
        self.made: set[str] = set()
        self.never_change = {
            f"checked_{table}" for table in recording.raw_columns if table not in used
        }
        self.reasons: dict[str, str | None] = {}

    def connect(self, file: str | Path) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        self.execute("set timezone = 'UTC'")
        self.execute(f"attach '{file}' as replay; use replay")

    def of_file(self, file: Path) -> Warehouse:
        """This warehouse, as it is found in a copy of its file."""
        found = copy.copy(self)
        found.connect(file)
        found.made = set(self.made)
        return found

    def execute(self, sql: str) -> duckdb.DuckDBPyConnection:
        return self.connection.execute(sql)

    def build(
        self,
        as_of: str | None = None,
        stop_after: int | None = None,
        in_full: bool = False,
        plainly: bool = False,
    ) -> None:
        """Build all models, or the first few only.

        `in_full` is as under --full-refresh; `plainly` makes tables without noting what changed.
        """
        for statement in self.recording.start:
            self.execute(statement)
        if in_full:
            self.execute("delete from increments.marks")
        self.reasons = {}
        for node in self.recording.nodes[:stop_after]:
            self.make(node, plainly)
            if node.name == "clock" and as_of is not None:
                self.execute(
                    f"create or replace table intermediate.clock as select timestamp '{as_of}' "
                    f"as as_of, cast((timestamp '{as_of}' at time zone 'UTC') "
                    f"at time zone '{SETTINGS['timezone']}' as date) as as_of_on"
                )

    def make(self, node: Node, plainly: bool = False) -> None:
        if node.materialized == "view" or node.name in self.never_change:
            if node.name not in self.made:
                kind = "view" if node.materialized == "view" else "table"
                self.execute(f"create {kind} {node.relation} as {node.whole}")
                self.made.add(node.name)
        elif node.materialized == "table":
            self.execute(f"create or replace table {node.relation} as {node.whole}")
        elif plainly:
            # The hours of loads are read by other models, the notes of changes by none.
            for statement in [s for s in node.before if "perennial: hours" in s]:
                self.execute(statement)
            self.execute(f"create or replace table {node.relation} as {node.whole}")
            for statement in [s for s in node.after if "perennial: hours" in s]:
                self.execute(statement)
        else:
            self.make_tracked(node)

    def make_tracked(self, node: Node) -> None:
        reason = None
        touched = []
        for statement in node.before:
            if "perennial: touched" in statement or "perennial: rows" in statement:
                touched.append(statement)
                continue
            self.execute(statement)
            if "perennial: decision" in statement:
                reason = self.execute(
                    f"select rebuild_reason from increment_{node.name}"
                ).fetchone()[0]
        increments = bool(node.increment)
        self.reasons[node.name] = reason if increments else "always"
        self.execute("begin")
        if increments and reason is None:
            for statement in touched + node.increment:
                self.execute(statement)
        else:
            temporary = f'"replay"."{node.schema}"."{node.name}__dbt_tmp"'
            exists = self.execute(
                "select count(*) from duckdb_tables() where database_name = 'replay' and "
                f"schema_name = '{node.schema}' and table_name = '{node.name}'"
            ).fetchone()[0]
            self.execute(f"create or replace table {temporary} as {node.whole}")
            for statement in node.difference if exists and node.compares else node.rebuilt:
                self.execute(statement)
            self.execute(f"drop table if exists {node.relation}")
            self.execute(f'alter table {temporary} rename to "{node.name}"')
        for statement in node.after:
            self.execute(statement)
        self.execute("commit")

    def build_in_full(self, raw: Warehouse, as_of: str | None = None) -> None:
        """Build everything from another warehouse's raw rows, as if nothing had been before."""
        for table in self.recording.raw_columns:
            rows = raw.execute(f"from raw.{table}").fetchall()
            self.execute(f"delete from raw.{table}")
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                self.connection.executemany(f"insert into raw.{table} values ({marks})", rows)
        self.execute("drop schema increments cascade; create schema increments")
        self.build(as_of, plainly=True)

    def fingerprints(self) -> dict[str, tuple]:
        """Of each table and view: its number of rows, and the sum of their hashes."""
        found = {}
        for node in self.recording.nodes:
            columns = [row[0] for row in self.execute(f"describe {node.relation}").fetchall()]
            listed = ", ".join(f'"{name}"' for name in sorted(columns))
            found[node.name] = self.execute(
                f"select count(*), sum(cast(hash({listed}) as hugeint)) from {node.relation}"
            ).fetchone()
        return found

    def rows(self, name: str) -> list[tuple]:
        node = next(node for node in self.recording.nodes if node.name == name)
        columns = sorted(row[0] for row in self.execute(f"describe {node.relation}").fetchall())
        listed = ", ".join(f'"{column}"' for column in columns)
        return self.execute(f"select {listed} from {node.relation} order by all").fetchall()
