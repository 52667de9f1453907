"""Build one shop on DuckDB and on Spark, and compare every table that both hold.

`python integration_tests/spark/both_engines.py` does so with the demo shop (`make spark`); the
tests use its functions with a smaller one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb

from perennial.children import clean_environment

PROJECT = Path(__file__).parents[2]
SPARK_DBT = PROJECT / ".venv-spark" / "bin" / "dbt"

# What stands for a table of DuckDB where Python has a part in it. Python scores with its champion;
# Spark has the logistic regression as a sum. Drift is measured by Python.
INSTEAD = {
    "data_checks": "select * from duck.marts.data_checks where check_name <> 'drift'",
    "churn_scores": """
        select
            *,
            cast(ntile(10) over (
                order by round(churn_probability, 12) desc, customer_id
            ) as integer) as risk_decile
        from duck.intermediate.churn_linear_scores
    """,
}
# Models are tested where they are trained, and drift is measured there.
ONLY_WHERE_PYTHON_RUNS = {"churn_model_evaluation", "churn_model_deciles", "feature_drift"}
TOLERANCE = 1e-9


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


def build_on_spark(raw: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run `dbt build --target spark` on parquet files; the tables go to folder/warehouse."""
    shutil.rmtree(folder, ignore_errors=True)
    environment = clean_environment(
        PERENNIAL_SHOP="files",
        PERENNIAL_RAW=raw,
        PERENNIAL_SPARK_WAREHOUSE=folder / "warehouse",
        SPARK_LOCAL_IP="127.0.0.1",
        SPARK_CONF_DIR=PROJECT / "integration_tests" / "spark" / "conf",
        DBT_LOG_PATH=folder / "logs",
        DBT_TARGET_PATH=folder / "target",
    )
    return subprocess.run(
        [SPARK_DBT, "build", "--target", "spark", "--project-dir", PROJECT,
         "--profiles-dir", PROJECT, *arguments],
        env=environment, cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False,
    )  # fmt: skip


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
    folder = parser.parse_args().folder.absolute()
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
    print("On Spark …", flush=True)
    done = build_on_spark(raw, folder / "spark")
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
