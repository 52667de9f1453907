"""The same models on Apache Spark: every table equal to DuckDB's, in SQL that both read alike."""

from __future__ import annotations

import importlib.util
import json
import sys

import duckdb
import pytest
from conftest import PROJECT
from portability import differences

spec = importlib.util.spec_from_file_location(
    "both_engines", PROJECT / "integration_tests" / "spark" / "both_engines.py"
)
both_engines = importlib.util.module_from_spec(spec)
sys.modules["both_engines"] = both_engines
spec.loader.exec_module(both_engines)

MODELS_ONLY = ["--exclude", "resource_type:test", "resource_type:unit_test"]


@pytest.fixture(scope="module")
def on_spark(small_shop, small_build, tmp_path_factory):
    """The small shop, built on Spark; the folder with its warehouse and dbt's target."""
    why = both_engines.missing()
    if why:
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("spark")
    both_engines.write_parquet(small_shop, "", folder / "raw")
    both_engines.export_weights(small_build.warehouse, folder / "raw")
    done = both_engines.build_on_spark(folder / "raw", folder / "out", *MODELS_ONLY)
    assert done.returncode == 0, done.stdout[-6000:]
    return folder / "out"


def test_every_sql_mart_is_equal_on_both_engines(on_spark, small_build):
    results = both_engines.compare(small_build.warehouse, on_spark / "warehouse")
    assert [result for result in results if not result.is_equal] == []
    marts = small_build.query(
        "select table_name from information_schema.tables where table_schema = 'marts'"
    )
    compared = {result.name for result in results}
    assert {name for (name,) in marts} - compared == both_engines.ONLY_WHERE_PYTHON_RUNS
    assert sum(result.n_rows for result in results) > 100_000


def test_models_compiled_for_spark_hold_nothing_that_differs(on_spark):
    manifest = json.loads((on_spark / "target" / "manifest.json").read_text())
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert len(models) > 60
    wrong = {
        node["name"]: found
        for node in models
        if (found := differences(node["compiled_code"], "spark"))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("theirs", "n_differing"),
    [
        ("values ('a', 1.0, 2), ('b', 0.3, 3)", 0),
        ("values ('b', 0.3 + 1e-12, 3), ('a', 1.0, 2)", 0),
        ("values ('a', 1.0 + 1e-6, 2), ('b', 0.3, 3)", 1),
        ("values ('a', null, 2), ('b', 0.3, 3)", 1),
        ("values ('a', 1.0, 2), ('b', 0.3, 4)", 1),
    ],
)
def test_the_comparison_finds_differences(theirs, n_differing):
    with duckdb.connect() as connection:
        for name, rows in (("one", "values ('a', 1.0, 2), ('b', 0.3, 3)"), ("other", theirs)):
            connection.execute(
                f"create table {name} as select cast(x as varchar) as x, cast(y as double) as y, "
                f"cast(z as integer) as z from ({rows}) as rows (x, y, z)"
            )
        found = both_engines.compare_table(connection, "one", "one", "other")
    assert (found.n_rows, found.n_rows_on_spark, found.n_differing) == (2, 2, n_differing)


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("select a // b as c from t", "// is DuckDB's"),
        ("select * exclude (x) from t", "name the columns"),
        ("select x,\n  ordered_on - first_on as d from t", "line 2: a date less a date"),
        ("select row_number() over (order by name) as n from t", "nulls come first on Spark"),
        ("select strftime(x, '%Y') as y from t", "not known to be the same"),
        ("select list_zip(x, x) as y from t", "not known to be the same"),
        ("select l[1] as y from t", "lists are counted"),
        ("select lag(x) over w - y as d from t window w as (order by x)", "use brackets"),
        ("select y - lag(x) over w as d from t window w as (order by id nulls last)", None),
        ("select cast(last_on - first_on as integer) as d from t", None),
        ("select row_number() over (order by name nulls last) as n from t", None),
    ],
)
def test_known_differences_are_named_with_their_line(sql, what):
    found = differences(sql, "duckdb")
    assert found == [] if what is None else what in found[0]
