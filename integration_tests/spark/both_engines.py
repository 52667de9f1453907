"""Build one shop on DuckDB and on Spark, and compare every table that both hold.

`python integration_tests/spark/both_engines.py` does so with the demo shop (`make spark`), and with
`--connect` by way of a Spark Connect server that it starts; the tests use its functions with a
smaller shop.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from perennial.children import clean_environment

PROJECT = Path(__file__).parents[2]
SPARK_BIN = PROJECT / ".venv-spark" / "bin"
SPARK_DBT = SPARK_BIN / "dbt"

# What stands for a table of DuckDB where Python has a part in it. Python scores with its champion;
# Spark has a model that is a sum. Drift is measured by Python.
INSTEAD = {
    "data_checks": "select * from duck.marts.data_checks where check_name <> 'drift'",
    "churn_scores": """
        select
            *,
            cast(ntile(10) over (
                order by round(churn_probability, 12) desc, customer_id
            ) as integer) as risk_decile
        from duck.intermediate.churn_scores_sql
        where horizon_days = 90
    """,
    # Counted in Python there, where only those that are shown are kept.
    "item_pairs": """
        select one.basis, one.product_id as product_id_a, other.product_id as product_id_b,
            count(*) as n_both
        from duck.intermediate.item_baskets as one
        inner join duck.intermediate.item_baskets as other
            on one.basis = other.basis and one.basket_id = other.basket_id
                and one.product_id < other.product_id
        where one.is_counted and other.is_counted
        group by all
    """,
    "purchase_predictions": """
        select
            customer_id, horizon_days, model_name,
            1 - churn_probability as purchase_probability, scored_at
        from duck.intermediate.churn_scores_sql
    """,
}
# Models are fitted and tested there, and what rests on them is there.
ONLY_WHERE_PYTHON_RUNS = {
    "churn_model_evaluation", "churn_model_deciles", "churn_model_metrics", "churn_risk_by_value",
    "churn_feature_importance", "churn_score_stability", "model_runs", "weekly_forecasts",
    "customer_predictions",
    "customer_lifetime_value", "lifetime_value_models", "lifetime_value_calibration",
    "purchase_seasons", "recommenders", "recommendation_evaluation", "recommendations",
    "association_rules", "association_rule_items", "item_relations",
    "new_item_recommendations", "new_item_evaluation", "rating_evaluation",
    "cross_domain_recommendations", "cross_domain_evaluation",
    "customer_clusters", "clusters", "cluster_models", "customer_profiles", "customer_tags",
    "feature_drift",
}  # fmt: skip
TOLERANCE = 1e-9
# They are written in DuckDB's types.
NO_UNIT_TESTS = ["--exclude", "resource_type:unit_test"]


@dataclass
class Comparison:
    """One table on both engines."""

    name: str
    n_rows: int
    n_rows_on_spark: int
    n_differing: int

    @property
    def is_equal(self) -> bool:
        """Whether both have the same rows."""
        return self.n_rows == self.n_rows_on_spark and self.n_differing == 0


def missing() -> str | None:
    """Return what Spark lacks on this machine, or None where it can run."""
    if not SPARK_DBT.exists():
        return "Spark is not installed; `make install-spark` does it"
    if not shutil.which("java") and not os.environ.get("JAVA_HOME"):
        return "Spark needs Java 17 or later, and there is no `java` here"
    return None


def write_parquet(csv_folder: Path, prefix: str, raw: Path) -> None:
    """Write a shop's csv files as parquet files of texts, so that both engines read the same."""
    raw.mkdir(parents=True)
    for file in sorted(csv_folder.glob(f"{prefix}*.csv")):
        table = file.stem.removeprefix(prefix)
        duckdb.execute(
            f"copy (from read_csv('{file}', all_varchar = true, header = true, delim = ',', "
            f"quote = '\"', escape = '\"')) to '{raw / table}.parquet'"
        )


def export_weights(warehouse: Path, raw: Path) -> None:
    """Put what was learned on DuckDB beside the raw files, where Spark looks for it."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute(f"copy intermediate.churn_weights to '{raw / 'churn_weights.parquet'}'")


def spark_environment(**more: object) -> dict[str, str]:
    """Return the environment of a Spark that listens to this machine only."""
    return clean_environment(
        SPARK_LOCAL_IP="127.0.0.1",
        SPARK_CONF_DIR=PROJECT / "integration_tests" / "spark" / "conf",
        **more,
    )


def build_on_spark(
    raw: Path, folder: Path, *arguments: str, remote: str | None = None
) -> subprocess.CompletedProcess:
    """Run `dbt build` on parquet files; the tables go to folder/warehouse.

    With the target `spark`, or `spark_connect` where the address of a server is given.
    """
    shutil.rmtree(folder / "target", ignore_errors=True)
    environment = spark_environment(
        PERENNIAL_SHOP="files",
        PERENNIAL_RAW=raw,
        DBT_LOG_PATH=folder / "logs",
        DBT_TARGET_PATH=folder / "target",
    )
    if remote:
        environment["PERENNIAL_SPARK_REMOTE"] = remote
    else:
        shutil.rmtree(folder / "warehouse", ignore_errors=True)
        environment["PERENNIAL_SPARK_WAREHOUSE"] = str(folder / "warehouse")
    return subprocess.run(
        [SPARK_DBT, "build", "--target", "spark_connect" if remote else "spark",
         "--project-dir", PROJECT, "--profiles-dir", PROJECT, *arguments],
        env=environment, cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False,
    )  # fmt: skip


@contextmanager
def connect_server(folder: Path) -> Iterator[str]:
    """Run a Spark Connect server on this machine whose tables go to folder/warehouse.

    Gives its address. TimeoutError if it does not answer within two minutes.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": folder / "warehouse",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
    }
    command = [SPARK_BIN / "spark-submit", "--class",
               "org.apache.spark.sql.connect.service.SparkConnectServer"]  # fmt: skip
    for name, value in settings.items():
        command += ["--conf", f"{name}={value}"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "spark-internal"],
            env=spark_environment(PYSPARK_PYTHON=SPARK_BIN / "python"), cwd=folder,
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_for(port, server, folder / "server.log")
        yield f"sc://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def wait_for(port: int, server: subprocess.Popen, log: Path, seconds: float = 120) -> None:
    """Return when a server takes connections; TimeoutError with its log if it does not."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"the Spark Connect server does not answer: {log.read_text()[-2000:]}")


def compare(warehouse: Path, spark_warehouse: Path) -> list[Comparison]:
    """Compare every table that Spark wrote with the one of the same name on DuckDB."""
    done = []
    with duckdb.connect() as connection:
        connection.execute(f"set timezone = 'UTC'; attach '{warehouse}' as duck (read_only)")
        for folder in sorted(spark_warehouse.glob("*.db/*")):
            schema = folder.parent.name.removesuffix(".db")
            files = [str(file) for file in folder.glob("*.parquet")]
            mine = f"duck.{schema}.{folder.name}"
            if folder.name in INSTEAD:
                mine = f"({INSTEAD[folder.name]})"
            done.append(compare_table(connection, folder.name, mine, f"read_parquet({files})"))
    return done


def compare_table(
    connection: duckdb.DuckDBPyConnection, name: str, mine: str, theirs: str
) -> Comparison:
    """Compare two relations; numbers of type double may differ by TOLERANCE."""
    columns = connection.execute(f"describe (from {mine})").fetchall()
    exact = [f'"{column}"' for column, kind, *_ in columns if kind != "DOUBLE"]
    floats = [f'"{column}"' for column, kind, *_ in columns if kind == "DOUBLE"]
    typed = ", ".join(f'cast("{column}" as {kind}) as "{column}"' for column, kind, *_ in columns)
    # Rows are paired by their order: first by what must be equal, then by rounded floats.
    order = ", ".join(exact + [f"round({column}, 6)" for column in floats])
    for side, relation in (("mine", mine), ("theirs", theirs)):
        connection.execute(
            f"create or replace temp table {side} as select row_number() over (order by {order}) "
            f"as place, * from (select {typed} from {relation})"
        )
    unequal = [f"mine.{column} is distinct from theirs.{column}" for column in exact] + [
        f"(mine.{column} is null) <> (theirs.{column} is null) or "
        f"abs(mine.{column} - theirs.{column}) > {TOLERANCE} * greatest(1, abs(mine.{column}))"
        for column in floats
    ]
    counts = connection.execute(
        "select (select count(*) from mine), (select count(*) from theirs), count(*) "
        f"from mine inner join theirs using (place) where {' or '.join(unequal)}"
    ).fetchone()
    return Comparison(name, *counts)


def main() -> int:
    """Build the demo on both engines and print the comparison; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=PROJECT / "target" / "both_engines")
    parser.add_argument(
        "--connect",
        action="store_true",
        help="by way of a Spark Connect server on this machine, started here",
    )
    args = parser.parse_args()
    folder = args.folder.absolute()
    why = missing()
    if why:
        print(why, file=sys.stderr)
        return 2
    shutil.rmtree(folder, ignore_errors=True)
    raw, warehouse = folder / "raw", folder / "duckdb.duckdb"
    write_parquet(PROJECT / "seeds" / "demo", "raw_", raw)
    print("On DuckDB …", flush=True)
    subprocess.run(
        [sys.executable, "-m", "perennial.cli", "build", "--shop", "files", "--raw", raw,
         "--warehouse", warehouse, "--no-report"],
        check=True, cwd=PROJECT,
    )  # fmt: skip
    export_weights(warehouse, raw)
    if args.connect:
        print("On Spark, by way of Spark Connect …", flush=True)
        with connect_server(folder / "spark") as remote:
            done = build_on_spark(raw, folder / "spark", *NO_UNIT_TESTS, remote=remote)
    else:
        print("On Spark …", flush=True)
        done = build_on_spark(raw, folder / "spark", *NO_UNIT_TESTS)
    print(done.stdout[-3000:])
    if done.returncode:
        return 1
    results = compare(warehouse, folder / "spark" / "warehouse")
    for result in results:
        verdict = "equal" if result.is_equal else f"{result.n_differing} ROWS DIFFER"
        print(f"{result.name:<32}{result.n_rows:>10,} rows  {verdict}")
    n_wrong = sum(not result.is_equal for result in results)
    print(f"\n{len(results)} tables, {n_wrong} with a difference (floats to {TOLERANCE:g}).")
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
