"""What retention costs: every model of it in a build, and every definition of it alone.

A clean shop is simulated and its warehouse built from nothing. Then, in a copy of it, the seed of
definitions is cut down to one of them at a time and the models that follow it are made
again, by the very SQL of the build. Beside it, what reading the spine takes: one pass over
`activity_days` that groups it by customer. Prints tables of markdown; --markdown keeps them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import duckdb
from scale import orders
from scaling.builds import MEMORY, Bench, Build, models_above
from scaling.children import THREADS, say
from scaling.measuring import check_machine, machine, told
from scaling.shops import rows_of, simulated
from tables import check_page, markdown_table, replace_section

from perennial.errors import UserError

CHAIN = ("retention_bases", "retention_starts", "retention_returns", "retention")
"""What is made of the definitions, in its order."""
SPINE = """
    create or replace temp table read_spine as
    select
        customer_id,
        activity,
        count(*) as n_days,
        sum(n_times) as n_times,
        count(distinct occurred_on) as n_local_days,
        min(first_at) as first_at,
        max(last_at) as last_at
    from intermediate.activity_days
    group by customer_id, activity
"""
REPEATS = 3


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    try:
        if args.markdown:
            check_page(args.markdown, "retention")
        with tempfile.TemporaryDirectory(prefix="perennial-retention-") as scratch:
            text = measured(args.orders, Path(args.folder or scratch).absolute())
    except UserError as error:
        print(f"benchmarks/retention.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nbenchmarks/retention.py: stopped", file=sys.stderr)
        return 130
    print(f"\n{text}\n")
    if args.markdown:
        replace_section(args.markdown, "retention", text)
    return 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--orders", type=orders, default=10**6, metavar="N", help="about how many (default: 1e6)")
    add("--folder", metavar="DIR", help="keep the shop and its warehouse here, and use it again")
    add(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="replace what stands in this page between the marks of the section Retention",
    )
    return parser.parse_args(argv)


def measured(n_orders: int, folder: Path) -> str:
    """Build a shop, time what follows its definitions, and tell of both."""
    check_machine([n_orders], folder)
    shop = simulated(n_orders, folder)
    rows = rows_of(shop)
    bench = Bench(folder / f"{shop.name}_retention")
    bench.have(shop)
    bench.empty()
    bench.read_project()
    build = told("the build from nothing", bench)
    spine, definitions = each_definition(bench)
    host = machine()
    return "\n\n".join(
        [
            f"{host['cores']} cores; DuckDB {host['duckdb']}, dbt {host['dbt']}. "
            f"{rows['orders']:,} orders, {rows['events']:,} events; other work took up to "
            f"{build.others:.0%} of the cores meanwhile. The whole build took "
            f"{build.seconds:.1f} s and {build.peak_bytes / 1e9:.2f} GB.",
            in_the_build(build, bench),
            f"Reading the spine takes {spine:.2f} s. One definition at a time:",
            by_definition(spine, definitions),
        ]
    )


def each_definition(bench: Bench) -> tuple[float, list[tuple[str, int, dict[str, float]]]]:
    """Seconds to read the spine; and of each definition its cells and the seconds of its models."""
    warehouse = bench.folder / "definitions.duckdb"
    shutil.copyfile(bench.warehouse, warehouse)
    compiled = bench.folder / "target/compiled/perennial/models"
    sql = {}
    for name in CHAIN:
        (file,) = compiled.rglob(f"{name}.sql")
        sql[name] = file.read_text("utf-8").replace('"warehouse".', '"definitions".')
    found = []
    with duckdb.connect(
        str(warehouse), config={"threads": THREADS, "memory_limit": MEMORY}
    ) as connection:
        place = dict(
            connection.execute(
                "select table_name, table_schema || '.' || table_name "
                "from information_schema.tables"
            ).fetchall()
        )
        spine = min(timed(connection, SPINE) for _ in range(REPEATS))
        connection.execute(
            f"create temp table all_definitions as from {place['retention_definitions']};"
            f"create temp table all_brackets as from {place['retention_brackets']}"
        )
        names = connection.execute("select definition from all_definitions").fetchall()
        for (definition,) in names:
            for seed in ("retention_definitions", "retention_brackets"):
                connection.execute(f"delete from {place[seed]}")
                connection.execute(
                    f"insert into {place[seed]} from all_{seed.removeprefix('retention_')} "
                    "where definition = ?",
                    [definition],
                )
            seconds = {
                name: timed(connection, f"create or replace table {place[name]} as {sql[name]}")
                for name in CHAIN
            }
            (n_cells,) = connection.execute(f"select count(*) from {place['retention']}").fetchone()
            found.append((definition, n_cells, seconds))
            say(f"  {definition}: {sum(seconds.values()):.2f} s")
    warehouse.unlink()
    return spine, found


def timed(connection: duckdb.DuckDBPyConnection, sql: str) -> float:
    """The seconds that a statement takes."""
    began = time.perf_counter()
    connection.execute(sql)
    return time.perf_counter() - began


def in_the_build(build: Build, bench: Bench) -> str:
    """What each mart of retention took, and each model that only they are made of."""
    manifest = json.loads((bench.folder / "target/manifest.json").read_text("utf-8"))
    marts = {
        node["name"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and "retention" in node["fqn"][1:-1]
    }
    others = {
        node["name"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
        and "marts" in node["fqn"]
        and node["name"] not in marts
        and not models_above(manifest, [node["name"]]) & marts
    }
    own = models_above(manifest, marts) - models_above(manifest, others)
    lines = [["model", "seconds", "rows", "MB"]]
    models = [model for model in build.models if model.name in own]
    for model in models:
        lines.append(
            [
                f"`{model.name}`",
                f"{model.seconds:.2f}",
                "" if model.n_rows is None else f"{model.n_rows:,}",
                f"{model.n_bytes / 1e6:,.1f}",
            ]
        )
    lines.append(
        [
            "together",
            f"{sum(model.seconds for model in models):.2f}",
            "",
            f"{sum(model.n_bytes for model in models) / 1e6:,.1f}",
        ]
    )
    return markdown_table(lines)


def by_definition(spine: float, definitions: list[tuple[str, int, dict[str, float]]]) -> str:
    """What each definition takes alone, the dearest first."""
    lines = [["definition", *CHAIN, "seconds", "reading the spine", "cells"]]
    for definition, n_cells, seconds in sorted(
        definitions, key=lambda found: -sum(found[2].values())
    ):
        total = sum(seconds.values())
        lines.append(
            [
                f"`{definition}`",
                *(f"{seconds[name]:.2f}" for name in CHAIN),
                f"{total:.2f}",
                f"{total / spine:.1f} x",
                f"{n_cells:,}",
            ]
        )
    return markdown_table(lines)


if __name__ == "__main__":
    sys.exit(main())
