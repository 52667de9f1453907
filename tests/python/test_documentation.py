"""Dbt's own account of the project, held against the warehouse, the macros and the house rules.

Lists of what breaks a rule are compared with nothing, so that a failure names every case.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property

import jinja2
import pytest
import sqlglot
import yaml
from conftest import PROJECT
from dbt.parser.schemas import is_valid_type
from dbt_common.clients.jinja import parse as parse_jinja
from portability import differences
from sqlglot import exp

from perennial.children import clean_environment
from perennial.churn import FEATURES
from perennial.settings import read_catalogue

# Marts without a unit test, and why.
WITHOUT_UNIT_TEST = {
    "settings": "a list of constants: what they must be, the settings' own tests say",
}
# Models without a key test of their own, and why.
WITHOUT_KEY_TEST = {
    "item_lists": "baskets without their names, for Python to count",
    "viewed_lists": "visits without their names, for Python to count",
}

SUBJECTS = [
    "retention", "value", "affinity", "churn", "voice", "campaigns", "activation", "monitoring",
]  # fmt: skip
BELOW_SUBJECTS = {"reference", "intermediate", "python", "core"}
MAY_READ = {
    "raw": {"raw"},
    "staging": {"raw", "staging"},
    "intermediate": {"staging", *BELOW_SUBJECTS},
    "core": {"staging", "reference", "intermediate", "core"},
    "python": {*BELOW_SUBJECTS, *SUBJECTS},
    **{
        subject: {*BELOW_SUBJECTS, *SUBJECTS[: place + 1]} for place, subject in enumerate(SUBJECTS)
    },
    "semantic": {"core", *SUBJECTS},
    "snapshots": {"core", *SUBJECTS},
}

# What sqlglot knows no name for, what it does, and words that become a moment by a cast.
CLOCK = {"now", "get_current_time", "get_current_timestamp", "transaction_timestamp"}
CLOCK |= {"current_localtime", "current_localtimestamp"}
CLOCK_NODES = (
    exp.CurrentDate,
    exp.CurrentDatetime,
    exp.CurrentTime,
    exp.CurrentTimestamp,
    exp.CurrentTimestampLTZ,
    exp.Localtime,
    exp.Localtimestamp,
)
CLOCK_WORDS = {"now", "today", "yesterday", "tomorrow"}


@dataclass(frozen=True, repr=False)
class Docs:
    """What `dbt docs generate` wrote about the demo shop."""

    manifest: dict
    catalog: dict
    output: str

    def of_type(self, *types: str) -> dict[str, dict]:
        """The package's enabled nodes of these types."""
        return {
            key: node
            for key, node in self.manifest["nodes"].items()
            if node["resource_type"] in types and node["package_name"] == "perennial"
        }

    @cached_property
    def models(self) -> dict[str, dict]:
        return self.of_type("model")

    @cached_property
    def marts(self) -> dict[str, dict]:
        return {key: node for key, node in self.models.items() if node["schema"] == "marts"}

    @cached_property
    def sources(self) -> dict[str, dict]:
        """The raw contract: table -> source."""
        return {source["name"]: source for source in self.manifest["sources"].values()}

    @cached_property
    def examples(self) -> dict[str, dict]:
        """The models of the shops in examples/, which are disabled for the demo."""
        return {
            key: node
            for key, [node, *_] in self.manifest["disabled"].items()
            if node["resource_type"] == "model"
        }

    @cached_property
    def macros(self) -> dict[str, dict]:
        return {
            macro["name"]: macro
            for macro in self.manifest["macros"].values()
            if macro["package_name"] == "perennial"
        }

    @cached_property
    def compiled(self) -> dict[str, exp.Expression]:
        """Each compiled SQL model as sqlglot reads it."""
        trees = {}
        for key, node in self.models.items():
            if node["language"] == "sql":
                [trees[key]] = sqlglot.parse(node["compiled_code"], dialect="duckdb")
        return trees

    def node(self, key: str) -> dict:
        return self.manifest["nodes"].get(key) or self.manifest["sources"][key]

    def ancestors(self, key: str) -> set[str]:
        parents = self.node(key).get("depends_on", {}).get("nodes", [])
        return set(parents).union(*(self.ancestors(parent) for parent in parents))


@pytest.fixture(scope="module")
def docs(demo, tmp_path_factory) -> Docs:
    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(demo.warehouse, folder / "warehouse.duckdb")
    environment = clean_environment(
        PERENNIAL_SHOP="demo",
        PERENNIAL_WAREHOUSE=folder / "warehouse.duckdb",
        DBT_TARGET_PATH=folder / "target",
        DBT_LOG_PATH=folder / "logs",
    )
    done = subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "docs", "generate"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    manifest, catalog = (
        json.loads((folder / "target" / f"{name}.json").read_text())
        for name in ("manifest", "catalog")
    )
    return Docs(manifest, catalog, done.stdout)


def layer(node: dict) -> str:
    """The part of the house that a node lies in, from its file's folder."""
    parts = node["original_file_path"].split("/")
    if node["resource_type"] == "source" or parts[0] == "examples":
        return "raw"
    if parts[0] == "seeds":
        return {"demo": "raw", "reference": "reference"}[parts[1]]
    if parts[0] == "python_models":
        return "python"
    if parts[0] == "snapshots":
        return "snapshots"
    return parts[2] if parts[1] == "marts" else parts[1]


def subject(node: dict) -> str:
    """The mart's folder that a node lies in or, of a Python model, belongs to; else empty."""
    parts = node["original_file_path"].split("/")
    if parts[0] == "python_models":
        return parts[1]
    return parts[2] if parts[:2] == ["models", "marts"] else ""


def rules(column: dict) -> dict:
    """What the raw contract demands of a column."""
    return column["config"].get("meta", {})


def result_of(macro: str, file: str, *arguments: str) -> object:
    """What a macro that only returns a value returns."""
    returned: list = []
    environment = jinja2.Environment(extensions=["jinja2.ext.do"])
    template = environment.from_string((PROJECT / file).read_text())
    module = template.make_module({"return": returned.append})
    getattr(module, macro)(*arguments)
    [result] = returned
    return result


# Descriptions


def test_dbt_has_nothing_to_warn_of(docs):
    # Of a description whose model or macro is gone, dbt says no more than a warning.
    assert [line for line in docs.output.splitlines() if "WARNING" in line] == []
    assert "Did not find" not in docs.output


def test_everything_has_a_description(docs):
    described = docs.of_type("model", "seed", "snapshot") | docs.examples
    for kind in ("sources", "exposures", "metrics", "semantic_models", "saved_queries"):
        described |= docs.manifest[kind]
    assert [key for key, node in described.items() if not (node["description"] or "").strip()] == []
    assert all(source["source_description"].strip() for source in docs.sources.values())


def test_descriptions_open_with_the_grain(docs):
    nodes = docs.of_type("model", "seed", "snapshot") | docs.examples | docs.manifest["sources"]
    assert [
        f"{key}: {node['description'][:60]}"
        for key, node in nodes.items()
        if not re.match(r"One row\b", node["description"])
    ] == []


def test_columns_of_the_warehouse_and_described_columns_are_the_same(docs):
    nodes = docs.of_type("model", "seed", "snapshot")
    wrong = []
    for key, node in nodes.items():
        found = set(docs.catalog["nodes"][key]["columns"])
        described = {name for name, column in node["columns"].items() if column["description"]}
        wrong += [f"{key}.{name} is not described" for name in sorted(found - described)]
        wrong += [
            f"{key}.{name} is not in the warehouse" for name in sorted({*node["columns"]} - found)
        ]
    assert wrong == []
    assert not docs.catalog["errors"]
    assert {node["schema"] for node in nodes.values()} >= {
        "raw",
        "reference",
        "staging",
        "intermediate",
        "marts",
    }


def test_everything_in_the_warehouse_is_in_the_project(docs, demo):
    nodes = docs.of_type("model", "seed", "snapshot").values()
    found = demo.query(
        "select table_schema, table_name from information_schema.tables"
        " where table_catalog = current_database()"
    )
    # What became of the build dbt cannot write: it ends before that is known. And what the
    # tracked tables remember of each other, and the run log.
    beside = {("build", "verdict"), ("monitoring", "runs"), ("monitoring", "run_results")} | {
        ("increments", table) for table in ("changes", "loads", "marks", "runs")
    }
    assert set(found) == {(node["schema"], node["alias"]) for node in nodes} | beside


# Marts


def test_marts_and_nothing_else_are_public_with_an_enforced_contract(docs):
    in_folder = {
        key for key, node in docs.models.items() if "/marts/" in node["original_file_path"]
    }
    public = {key for key, node in docs.models.items() if node["access"] == "public"}
    assert set(docs.marts) == in_folder == public
    assert [
        key for key, node in docs.marts.items() if not node["config"]["contract"]["enforced"]
    ] == []


def test_no_mart_is_a_view(docs):
    # DuckDB before 2.0 keeps its database's name in a view: attached under another one, as the
    # report, publish and a BI tool do, it cannot be read.
    views = [key for key in docs.marts if docs.node(key)["config"]["materialized"] == "view"]
    assert views == []


def test_every_model_has_a_key_test(docs):
    tested = {
        test["attached_node"]
        for test in docs.of_type("test").values()
        if (test.get("test_metadata") or {}).get("name") in ("primary_key", "unique_together")
        and test["config"]["severity"].lower() == "error"
        and test["config"]["where"] is None
    }
    nodes = docs.models | {
        key: node for key, node in docs.of_type("seed").items() if layer(node) == "reference"
    }
    without = {
        node["name"]
        for key, node in nodes.items()
        # A raw row has no key: it may come twice.
        if key not in tested and not node["name"].startswith("checked_")
    }
    assert without == {*WITHOUT_KEY_TEST}


def test_every_mart_has_a_unit_test(docs):
    tested = {test["model"] for test in docs.manifest["unit_tests"].values()}
    without = {node["name"] for node in docs.marts.values()} - tested
    assert without == set(WITHOUT_UNIT_TEST)


def test_no_mart_ends_in_select_star(docs):
    def starred(query: exp.Expression) -> bool:
        query = query.unnest()
        if isinstance(query, exp.SetOperation):
            return starred(query.left) or starred(query.right)
        return any(column.is_star for column in query.selects)

    assert [key for key in docs.marts if starred(docs.compiled[key])] == []


# Increments

# Plain tables that a tracked model may read although nobody says what changed in them.
HEEDED_OTHERWISE = {
    "clock": "is_increment() and newly_happened() look at as_of",
    "item_counts": "item_pairs needs it only to count everything anew",
    "quarantine": "only waited for",
    "identity_links": "of a device, and made of its own events only",
}


def tracked_or_plain_above(docs, node) -> set[str]:
    """The names of the tables that a model reads, directly or by way of views."""
    found = set()
    for parent in node["depends_on"]["nodes"]:
        above = docs.node(parent)
        if above["config"]["materialized"] == "view":
            found |= tracked_or_plain_above(docs, above)
        elif above["resource_type"] == "model":
            found.add(above["name"])
    return found


def test_tracked_models_follow_all_that_they_read(docs):
    tracked = {
        key: node for key, node in docs.models.items()
        if node["config"]["materialized"] == "tracked"
    }  # fmt: skip
    assert len(tracked) > 20
    wrong = []
    for key, node in tracked.items():
        code = node["raw_code"]
        if "call perennial.touched()" not in code:
            if not node["config"]["meta"].get("compare"):
                wrong.append(f"{key} is made in full and does not compare")
            continue
        block = code.split("call perennial.touched()")[1].split("endcall")[0]
        # What a call block only reads, it does not follow.
        block = re.sub(r"ref\('[^)]*\)", "", block)
        for name in tracked_or_plain_above(docs, node) - {*HEEDED_OTHERWISE}:
            if f"'{name}'" not in block:
                wrong.append(f"{key} reads {name} and does not follow it")
            elif f"model.perennial.{name}" not in tracked:
                wrong.append(f"{key} follows {name}, which is not tracked")
    assert wrong == []


# Macros


def is_of_one_engine(name: str) -> bool:
    """Whether a macro is what an engine puts in the place of another: spark__numbers."""
    return name.split("__")[0] in ("default", "duckdb", "spark") and "__" in name


def test_every_macro_and_argument_is_documented(docs):
    wrong = []
    for name, macro in docs.macros.items():
        if is_of_one_engine(name):
            continue
        if not macro["description"].strip():
            wrong.append(f"{name} has no description")
        if name.startswith("materialization_"):
            continue
        [block] = parse_jinja(macro["macro_sql"]).find_all(jinja2.nodes.Macro)
        real = [argument.name for argument in block.args]
        written = [argument["name"] for argument in macro["arguments"]]
        if real != written:
            wrong.append(f"{name} has the arguments {real}, documented are {written}")
        for argument in macro["arguments"]:
            where = f"{name}({argument['name']})"
            if not argument["description"].strip():
                wrong.append(f"{where} has no description")
            # The types that dbt's flag validate_macro_args knows. The flag itself would warn of
            # every generic test: dbt does not look at the arguments of those.
            if not is_valid_type(argument["type"] or ""):
                wrong.append(f"{where} has the type {argument['type']}")
    assert wrong == []


def test_every_documented_macro_exists(docs):
    documented = [
        macro["name"]
        for path in ("macros/_macros.yml", "tests/generic/_generic_tests.yml")
        for macro in yaml.safe_load((PROJECT / path).read_text())["macros"]
    ]
    assert sorted(documented) == sorted(n for n in docs.macros if not is_of_one_engine(n))


def test_what_one_engine_says_stands_for_what_all_say(docs):
    """A version for an engine takes the arguments of the macro that asks for it."""
    wrong = []
    for name, macro in docs.macros.items():
        asking = name.split("__", 1)[-1]
        # collect_freshness is asked for by dbt.
        if not is_of_one_engine(name) or asking == "collect_freshness":
            continue
        own, asked = (
            [
                [argument.name for argument in block.args]
                for block in parse_jinja(sql).find_all(jinja2.nodes.Macro)
            ]
            for sql in (macro["macro_sql"], docs.macros.get(asking, macro)["macro_sql"])
        )
        if asking not in docs.macros or own != asked:
            wrong.append(name)
    assert wrong == []


# Settings and the raw contract


def test_settings_are_documented_and_few():
    settings = read_catalogue(PROJECT)
    page = (PROJECT / "docs" / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", page, flags=re.MULTILINE))
    assert set(rows) == set(settings)
    for name, rule in settings.items():
        if isinstance(rule["default"], str):
            assert rows[name] == f"`{rule['default']}`", name
        elif isinstance(rule["default"], int | float):
            assert float(rows[name].strip("`")) == rule["default"], name
    assert len(settings) <= 25


def test_sql_and_python_learn_from_the_same_features():
    names = result_of("churn_feature_names", "macros/churn/churn_feature_names.sql")
    assert names == list(FEATURES)


def test_lists_of_tables_agree_with_the_contract(docs):
    tables = result_of("contract_tables", "macros/input/raw.sql")
    assert sorted(tables) == sorted(docs.sources)
    for table, source in docs.sources.items():
        parents = {
            rules(column)["parent"].split(".")[0]
            for column in source["columns"].values()
            if rules(column).get("parent")
        }
        listed = result_of("parents_of", "macros/input/checked.sql", table)
        assert sorted(listed) == sorted(parents), table
        # Parents first: quarantine and start_run() go through the tables in this order.
        assert all(tables.index(parent) < tables.index(table) for parent in parents), table


def test_parents_in_the_contract_are_keys(docs):
    for source in docs.sources.values():
        for column in source["columns"].values():
            if parent := rules(column).get("parent"):
                table, key = parent.split(".")
                columns = docs.sources[table]["columns"].values()
                assert [c["name"] for c in columns if rules(c).get("key")] == [key]


def test_staging_has_the_columns_of_the_contract(docs):
    wrong = []
    for table, source in docs.sources.items():
        expected = {
            # Engines keep json as text.
            name: "VARCHAR" if column["data_type"] == "json" else column["data_type"].upper()
            for name, column in source["columns"].items()
        }
        if "ingested_at" in expected:
            expected["first_ingested_at"] = "TIMESTAMP"
        found = {
            name: column["type"].upper()
            for name, column in docs.catalog["nodes"][f"model.perennial.stg_{table}"][
                "columns"
            ].items()
        }
        wrong += [f"stg_{table}: {said}" for said in sorted(found.items() ^ expected.items())]
    assert wrong == []


def test_demo_seeds_have_the_columns_of_the_contract(docs):
    seeds = {
        node["name"].removeprefix("raw_"): node
        for node in docs.of_type("seed").values()
        if layer(node) == "raw"
    }
    assert set(seeds) == set(docs.sources)
    for table, seed in seeds.items():
        assert list(seed["config"]["column_types"]) == list(docs.sources[table]["columns"]), table
        assert set(seed["config"]["column_types"].values()) == {"varchar"}, table
        header = (PROJECT / seed["original_file_path"]).open(encoding="utf-8").readline()
        assert header.strip().split(",") == list(docs.sources[table]["columns"]), table


# Layers


def test_data_go_one_way(docs):
    nodes = docs.of_type("model", "snapshot")
    assert [
        f"{key} ({layer(node)}) reads {parent} ({layer(docs.node(parent))})"
        for key, node in nodes.items()
        for parent in node["depends_on"]["nodes"]
        if layer(docs.node(parent)) not in MAY_READ[layer(node)]
    ] == []


def test_no_subject_depends_on_a_later_one(docs):
    # Also by way of intermediate and Python models.
    order = ["core", *SUBJECTS]
    assert [
        f"{key} depends on {ancestor}"
        for key, node in docs.models.items()
        if subject(node)
        for ancestor in docs.ancestors(key)
        if subject(docs.node(ancestor))
        and order.index(subject(docs.node(ancestor))) > order.index(subject(node))
    ] == []


def test_only_staging_reaches_for_raw_tables(docs):
    # Whatever the shop: for another one than the demo, raw() gives other nodes.
    ways_in = {f"macro.perennial.{name}" for name in ("raw", "checked", "relation_as_found")}
    assert [
        key
        for key, node in docs.models.items()
        if layer(node) != "staging" and ways_in & {*node["depends_on"]["macros"]}
    ] == []
    for key, node in docs.examples.items():
        shop = node["original_file_path"].split("/")[1]
        assert all(ref["name"].startswith(f"{shop}_") for ref in node["refs"]), key


def test_models_name_no_table_that_dbt_does_not_know_of(docs):
    # A schema's name written out would hide a dependency.
    # What is tracked remembers its changes in the schema increments.
    wrong = []
    for key, tree in docs.compiled.items():
        parents = [docs.node(parent) for parent in docs.models[key]["depends_on"]["nodes"]]
        # What is written in steps reads itself, too.
        known = {(node["schema"], node["alias"]) for node in [*parents, docs.models[key]]}
        wrong += [
            f"{key} reads {table.sql()}"
            for table in tree.find_all(exp.Table)
            if table.db and (table.db, table.name) not in known
        ]
    assert wrong == []


def test_exposures_stand_on_marts(docs):
    assert [
        f"{key} reads {parent}"
        for key, exposure in docs.manifest["exposures"].items()
        for parent in exposure["depends_on"]["nodes"]
        if parent not in docs.marts and not parent.startswith(("metric.", "semantic_model."))
    ] == []


# SQL


def test_every_model_is_in_the_sql_that_both_engines_read_alike(docs):
    wrong = []
    for key, node in docs.models.items():
        if node["language"] != "sql":
            continue
        wrong += [f"{key}, {what}" for what in differences(node["compiled_code"], "duckdb")]
    assert wrong == []


def asks_the_clock(node: exp.Expression) -> bool:
    """Whether a part of a query asks the machine for the time."""
    if isinstance(node, exp.Anonymous):
        # With one argument, age() counts from today.
        name = node.name.lower()
        return name in CLOCK or (name == "age" and len(node.expressions) == 1)
    if isinstance(node, exp.Cast):
        moment = node.this.name.lower() if isinstance(node.this, exp.Literal) else ""
        return moment in CLOCK_WORDS and node.to.is_type(*exp.DataType.TEMPORAL_TYPES)
    return isinstance(node, CLOCK_NODES)


def test_no_model_asks_the_clock(docs):
    assert [
        f"{key}: {node.sql('duckdb')}"
        for key, tree in docs.compiled.items()
        for node in tree.walk()
        if asks_the_clock(node)
    ] == []


@pytest.mark.parametrize(
    ("expression", "asks"),
    [
        ("current_date", True),
        ("current_time", True),
        ("current_timestamp", True),
        ("localtime", True),
        ("transaction_timestamp()", True),
        ("now()", True),
        ("today()", True),
        ("get_current_timestamp()", True),
        ("localtimestamp", True),
        ("current_localtime()", True),
        ("'now'::timestamp", True),
        ("try_cast('today' as date)", True),
        ("age(ordered_at)", True),
        ("age(a, b)", False),
        ("'now' as moment", False),
        ("cast('now' as varchar)", False),
        ("timestamp '2024-01-01'", False),
        ("clock.today", False),
    ],
)
def test_a_question_to_the_clock_is_found(expression, asks):
    tree = sqlglot.parse_one(f"select {expression} from orders", dialect="duckdb")
    assert any(map(asks_the_clock, tree.walk())) == asks


def test_python_models_do_not_ask_the_clock():
    models = sorted((PROJECT / "python_models").rglob("*.py"))
    assert models
    files = set(models)
    for model in models:
        for node in ast.walk(ast.parse(model.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("perennial."):
                library = PROJECT / node.module.replace(".", "/")
                files |= {*library.rglob("*.py")} or {library.with_suffix(".py")}
    assert [
        f"{file.relative_to(PROJECT)}: {node.attr}"
        for file in sorted(files)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today")
    ] == []
