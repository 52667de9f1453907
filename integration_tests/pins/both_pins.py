"""Build the demo with the lowest and with the newest packages, and compare the marts.

`make pins` makes the two environments and runs this in the newer one, whose DuckDB can read what
the older one wrote.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import duckdb
from packaging.requirements import Requirement

from perennial.children import clean_environment
from perennial.fingerprints import fingerprint, marts_of

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "integration_tests" / "spark"))

from both_engines import compare_table  # noqa: E402

FOLDER = PROJECT / "target" / "pins"
# Rows that rest on models which another version of scikit-learn learns otherwise: boosting, trees,
# forests, networks. All other rows must be equal.
OTHER_MODELS = "model_name not in ('logistic_regression', 'recency', 'rfm')"
LEARNED = {
    "churn_scores": OTHER_MODELS,
    "purchase_predictions": OTHER_MODELS,
    "churn_model_evaluation": OTHER_MODELS,
    "churn_model_deciles": OTHER_MODELS,
    "churn_model_metrics": OTHER_MODELS,
    "churn_feature_importance": OTHER_MODELS,
    "churn_score_stability": OTHER_MODELS,
    # They say with which versions.
    "model_runs": "true",
    "churn_risk_by_value": "true",
    "customer_profiles": "churn_probability is not null",
    "customer_tags": "true",
    "feature_drift": "feature = 'churn_probability'",
    "data_checks": "check_name = 'drift' and subject = 'churn_probability'",
}


def direct_dependencies() -> list[Requirement]:
    """Return what pyproject.toml asks for."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(text) for text in project["dependencies"]]


def versions(python: Path) -> dict[str, str]:
    """Return the versions of the direct dependencies in an environment, by name."""
    names = [requirement.name for requirement in direct_dependencies()]
    code = (
        "import json, sys; from importlib.metadata import version; "
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run([python, "-c", code, *names], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def build(name: str) -> bool:
    """Build the demo in .venv-<name> with every test, and publish it; whether all is green."""
    python = PROJECT / f".venv-{name}" / "bin" / "python"
    print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in versions(python).items()), flush=True)
    environment = clean_environment(
        DBT_TARGET_PATH=FOLDER / name / "target", DBT_LOG_PATH=FOLDER / name / "logs"
    )
    perennial = [python, "-m", "perennial.cli"]
    warehouse = ["--shop", "demo", "--warehouse", FOLDER / name / "demo.duckdb"]
    for command in (
        ["build", *warehouse, "--unit-tests", "--out", FOLDER / name / "report.html"],
        ["publish", *warehouse, "--to", FOLDER / name / "releases", "--parquet"],
    ):
        done = subprocess.run(
            [*perennial, *command],
            cwd=PROJECT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            print(done.stdout[-6000:])
            return False
    return True


def compare(low: Path, high: Path) -> bool:
    """Print which marts of two warehouses differ, and in what; return whether that may be.

    Doubles may differ by both_engines.TOLERANCE, and LEARNED in everything.
    """
    is_right = True
    with duckdb.connect() as connection:
        connection.execute(f"attach '{low}' as low (read_only)")
        connection.execute(f"attach '{high}' as high (read_only)")
        tables = marts_of(connection, "high")
        if tables != marts_of(connection, "low"):
            print("WRONG: the marts of the two have different columns.")
            return False
        for table in tables:
            lines, is_equal = describe(connection, table)
            print(*(f"{table:<28}{line}" for line in lines), sep="\n", end="\n" * bool(lines))
            is_right &= is_equal
        print(f"{len(tables)} marts; those not named are the same bit for bit.")
    return is_right


def describe(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[list[str], bool]:
    """Return in what a mart of the attached `low` and `high` differs, and whether it may."""
    mine, theirs = f"high.marts.{table}", f"low.marts.{table}"
    if fingerprint(connection, mine) == fingerprint(connection, theirs):
        return [], True
    lines = []
    learned = LEARNED.get(table)
    if learned:
        mine, theirs = (
            f"(select * from {one} where ({learned}) is not true)" for one in (mine, theirs)
        )
        lines.append(f"rows of what was learned differ ({learned})")
    if not learned or fingerprint(connection, mine) != fingerprint(connection, theirs):
        result = compare_table(connection, table, mine, theirs)
        if not result.is_equal:
            return [
                *lines,
                f"WRONG: {result.n_differing:,} of {result.n_rows:,} rows differ",
            ], False
        lines.append("equal but for the last digits of floats")
    return lines, True


def main() -> int:
    """Build with both and print how they differ; 1 where they may not, or one is not green."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    if not all([build("low"), build("high")]):
        return 1
    print("Every build, test and publish was green.")
    return 0 if compare(FOLDER / "low" / "demo.duckdb", FOLDER / "high" / "demo.duckdb") else 1


if __name__ == "__main__":
    sys.exit(main())
