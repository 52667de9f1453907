"""Releases: readers always see a whole one, and nothing that was not tested gets out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
import yaml
from conftest import PROJECT, perennial

from perennial import build as building
from perennial import publish as publishing
from perennial.cli import main
from perennial.errors import UserError
from perennial.publish import go_back, publish
from perennial.release.contract import Change, broken_promises, changes, read_contract
from perennial.release.making import verify_release, write_release
from perennial.release.store import (
    clean,
    current_release,
    list_releases,
    next_number,
    only_publisher,
    too_many,
)
from perennial.verdict import GREEN, RED, part_of, read_verdict, record_verdict

CONTRACT = {
    "orders": {"order_id": "bigint", "net_amount": "decimal(18,2)", "note": "varchar"},
    "settings": {"name": "varchar", "value": "varchar"},
}
AS_DUCKDB_SAYS = {
    table: {column: type_.upper() for column, type_ in columns.items()}
    for table, columns in CONTRACT.items()
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two marts; the current folder."""
    folder = tmp_path / "project"
    write_contract(folder, CONTRACT)
    for name in ("dbt_project.yml", "profiles.yml"):
        (folder / name).touch()
    monkeypatch.chdir(folder)
    for name in ("PERENNIAL_SHOP", "PERENNIAL_WAREHOUSE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def write_contract(project: Path, contract: dict[str, dict[str, str]]) -> None:
    marts = project / "models" / "marts" / "core"
    marts.mkdir(parents=True, exist_ok=True)
    models = [
        {
            "name": table,
            "columns": [{"name": name, "data_type": type_} for name, type_ in columns.items()],
        }
        for table, columns in contract.items()
    ]
    (marts / "_core.yml").write_text(yaml.safe_dump({"models": models}), encoding="utf-8")
    # The project has such files too.
    (marts / "_core_unit_tests.yml").write_text("unit_tests: []\n", encoding="utf-8")


def fill(warehouse: Path, amount: int, n_orders: int = 3, verdict: str | None = GREEN) -> Path:
    """Write the marts; every order has the same amount, by which tests know a release."""
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("create schema if not exists marts")
        connection.execute(
            "create or replace table marts.orders as select range as order_id, "
            "cast(? as decimal(18,2)) as net_amount, cast(hash(range) as varchar) as note "
            "from range(?)",
            [amount, n_orders],
        )
        connection.execute(
            "create or replace table marts.settings as from (values ('as_of', "
            "'2024-12-31 23:00:00'), ('shop', 'files'), ('history_loaded_until', null)) "
            "as t (name, value)"
        )
    if verdict:
        record_verdict(warehouse, verdict)
    return warehouse


@pytest.fixture
def warehouse(project: Path) -> Path:
    """A green warehouse where `perennial publish` looks for it."""
    (project / "warehouse").mkdir()
    return fill(project / "warehouse" / "demo.duckdb", 1)


@pytest.fixture
def releases(project: Path) -> Path:
    """Where `perennial publish` puts the releases of that warehouse."""
    return project / "releases" / "demo"


def current_file(releases: Path) -> Path:
    return releases / "current" / "warehouse.duckdb"


def seen(releases: Path) -> int:
    """The amount that a reader sees now; the release is whole."""
    release = current_release(releases)
    assert release is not None
    verify_release(release.folder, release.manifest)
    with duckdb.connect(str(current_file(releases)), read_only=True) as connection:
        [(name, amount)] = connection.execute(
            "select (select release from release.manifest), max(net_amount) from marts.orders"
        ).fetchall()
    assert name == release.name
    return int(amount)


def names(releases: Path) -> list[str]:
    return [release.name for release in list_releases(releases)]


def leftovers(releases: Path) -> list[str]:
    allowed = {".lock", "current", *names(releases)}
    return sorted(entry.name for entry in releases.iterdir() if entry.name not in allowed)


def start(code: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# A release


def test_the_demo_is_published_as_it_is(demo, tmp_path):
    done = perennial("publish", "--warehouse", demo.warehouse, "--to", tmp_path, "--parquet")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "current" / "warehouse.duckdb"
    marts = demo.fingerprints()
    assert marts == type(demo)(file, 0, "").fingerprints()
    with duckdb.connect(str(file), read_only=True) as connection:
        [(release, as_of)] = connection.execute(
            "select release, cast(as_of as varchar) from release.manifest"
        ).fetchall()
    assert release == "000001"
    [(said,)] = demo.query("select value from marts.settings where name = 'as_of'")
    assert as_of == said
    manifest = json.loads((file.parent / "manifest.json").read_text("utf-8"))
    assert {name: table["n_rows"] for name, table in manifest["tables"].items()} == {
        name: n_rows for name, (n_rows, _) in marts.items()
    }
    assert {file.stem for file in (tmp_path / "current" / "parquet").iterdir()} == set(marts)
    again = perennial("publish", "--warehouse", demo.warehouse, "--to", tmp_path)
    assert again.returncode == 0 and "no new release was made" in again.stdout


def test_a_release_says_what_it_is(warehouse, releases, capsys):
    assert main(["publish"]) == 0
    assert str(current_file(releases)) in capsys.readouterr().out
    manifest = current_release(releases).manifest
    assert manifest["release"] == "000001" and manifest["previous_release"] is None
    assert manifest["as_of"] == "2024-12-31 23:00:00"
    assert manifest["settings"]["shop"] == "files"
    assert manifest["settings"]["history_loaded_until"] is None
    assert manifest["tables"]["orders"]["columns"] == AS_DUCKDB_SAYS["orders"]
    assert manifest["tables"]["orders"]["n_rows"] == 3
    assert manifest["changes"] == []
    with duckdb.connect(str(current_file(releases)), read_only=True) as connection:
        # DuckDB calls the database after the file, which must not change with the release.
        assert connection.execute("select current_database()").fetchone() == ("warehouse",)
        tables = connection.execute("from release.tables order by table_name").fetchall()
        columns = connection.execute(
            "select table_name, column_name, data_type from release.columns order by all"
        ).fetchall()
        row = connection.execute(
            "select release, perennial_version, duckdb_version, fingerprint, settings['shop'] "
            "from release.manifest"
        ).fetchone()
    assert tables == [
        (name, table["n_rows"], table["fingerprint"]) for name, table in manifest["tables"].items()
    ]
    assert columns == sorted(
        (table, column, type_)
        for table, found in AS_DUCKDB_SAYS.items()
        for column, type_ in found.items()
    )
    keys = ("release", "perennial_version", "duckdb_version", "fingerprint")
    assert row == (*(manifest[key] for key in keys), "files")


def test_nobody_may_write_into_a_release(warehouse, releases):
    main(["publish", "--parquet"])
    files = [path for path in (releases / "000001").rglob("*") if path.is_file()]
    assert len(files) == 4
    assert [file for file in files if file.stat().st_mode & 0o222] == []


def test_nothing_new_makes_no_release_unless_forced(warehouse, releases, capsys):
    main(["publish"])
    # The same rows in another order.
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(
            "create or replace table marts.orders as from marts.orders order by order_id desc"
        )
    assert main(["publish"]) == 0
    assert "no new release was made" in capsys.readouterr().out
    assert names(releases) == ["000001"]
    assert main(["publish", "--force"]) == 0
    assert names(releases) == ["000001", "000002"]
    # What is new is only that readers of parquet get something.
    assert main(["publish", "--parquet"]) == 0
    assert names(releases) == ["000001", "000002", "000003"]
    assert main(["publish"]) == 0
    assert names(releases) == ["000001", "000002", "000003"]


def test_one_row_more_or_less_or_other_is_another_release(warehouse, releases):
    main(["publish"])
    for n, change in enumerate(
        [
            "insert into marts.orders from marts.orders where order_id = 0",
            "update marts.orders set note = null where order_id = 1",
            "delete from marts.orders where order_id = 2",
        ],
        start=2,
    ):
        with duckdb.connect(str(warehouse)) as connection:
            connection.execute(change)
        record_verdict(warehouse, GREEN)
        assert main(["publish"]) == 0
        assert len(names(releases)) == n


def test_parquet_is_the_same_and_follows_the_current_release(warehouse, releases):
    main(["publish", "--parquet"])
    parquet = releases / "current" / "parquet" / "orders.parquet"
    first = parquet.resolve()
    fill(warehouse, 2)
    main(["publish", "--parquet", "--keep", "1"])
    assert duckdb.sql(f"select distinct net_amount::int from '{parquet}'").fetchall() == [(2,)]
    assert (
        duckdb.sql(f"describe from '{parquet}'").fetchall()
        == duckdb.sql(
            "describe select null::bigint as order_id, null::decimal(18,2) as net_amount, "
            "null::varchar as note"
        ).fetchall()
    )
    assert not first.exists()


def test_a_table_that_is_no_mart_is_left_out(warehouse, releases, capsys):
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("create table marts.scribbles as select 1 as n")
    assert main(["publish"]) == 0
    assert "scribbles" in capsys.readouterr().out
    assert set(current_release(releases).manifest["tables"]) == {"orders", "settings"}


# Readers

READER = """
import duckdb, sys
sql = "select distinct cast(net_amount as integer) from marts.orders"
old = duckdb.connect(sys.argv[1], read_only=True)
for line in sys.stdin:
    new = duckdb.connect(sys.argv[1], read_only=True)
    print(old.sql(sql).fetchall()[0][0], new.sql(sql).fetchall()[0][0], flush=True)
    new.close()
"""


def test_an_open_reader_keeps_its_release_and_a_new_one_sees_the_next(warehouse, releases):
    main(["publish"])
    reader = start(READER, current_file(releases))

    def ask() -> str:
        reader.stdin.write("\n")
        reader.stdin.flush()
        return reader.stdout.readline().strip()

    try:
        assert ask() == "1 1"
        fill(warehouse, 2, n_orders=50_000)
        # The first release is deleted under the reader.
        assert main(["publish", "--keep", "1"]) == 0
        assert names(releases) == ["000002"]
        assert ask() == "1 2"
        fresh = start(READER, current_file(releases))
        out, errors = fresh.communicate("\n")
        assert (out.strip(), errors) == ("2 2", "")
    finally:
        reader.communicate()


def test_a_log_that_somebody_left_beside_the_file_does_not_meet_the_next_release(
    warehouse, releases
):
    main(["publish"])
    current_file(releases).chmod(0o644)
    writer = start(
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); "
        "c.execute('create table scribbles as select 1'); os._exit(0)",
        current_file(releases),
    )
    writer.communicate()
    assert [path.name for path in releases.rglob("*.wal")]
    fill(warehouse, 2)
    assert main(["publish"]) == 0
    assert seen(releases) == 2


# What stops a release


def refused(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["publish", *arguments]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_build_says_what_became_of_it(project, warehouse, releases, capsys, monkeypatch):
    def run(outcome: object, select: str | None = None, exclude: str | None = None) -> bool:
        def run_dbt(*_: object) -> bool:
            # Killed from here on, the build would leave this.
            with duckdb.connect(str(warehouse), read_only=True) as connection:
                assert read_verdict(connection, "demo").word == "unfinished"
            if isinstance(outcome, BaseException):
                raise outcome
            return bool(outcome)

        monkeypatch.setattr(building, "run_dbt", run_dbt)
        return building.run_and_judge(project, warehouse, "demo", {}, select, exclude)

    assert main(["publish"]) == 0

    assert run(False) is False
    assert "had an error or a failed test" in refused(capsys)
    with pytest.raises(KeyboardInterrupt):
        run(KeyboardInterrupt())
    assert "did not come to its end" in refused(capsys)
    assert run(True, select="orders") is True
    assert "made a part of it only (--select orders)" in refused(capsys)
    assert run(True, exclude="test_type:unit") is True
    assert main(["publish"]) == 0
    assert names(releases) == ["000001"]


def test_a_build_that_makes_the_warehouse_leaves_its_word_first(project, monkeypatch):
    fresh = project / "fresh.duckdb"
    monkeypatch.setattr(building, "run_dbt", lambda *_: fill(fresh, 1, verdict=None).exists())
    assert building.run_and_judge(project, fresh, "demo", {}, None, None) is True
    assert main(["publish", "--warehouse", str(fresh)]) == 0


@pytest.mark.parametrize(
    ("select", "exclude", "environment", "part"),
    [
        (None, None, {}, ""),
        (None, "test_type:unit", {"DBT_THREADS": "2"}, ""),
        (None, "resource_type:unit_test test_type:unit", {}, ""),
        ("orders", None, {}, "--select orders"),
        (None, "test_type:unit rfm", {}, "--exclude test_type:unit rfm"),
        (None, None, {"DBT_EXCLUDE_RESOURCE_TYPES": "test"}, "DBT_EXCLUDE_RESOURCE_TYPES=test"),
    ],
)
def test_what_makes_a_build_partial(select, exclude, environment, part):
    assert part_of(select, exclude, environment) == part


def test_a_warehouse_without_a_verdict_is_refused(project, releases, capsys):
    old = fill(project / "old.duckdb", 1, verdict=None)
    assert "run `perennial build` on it" in refused(capsys, "--warehouse", str(old))
    assert "does not exist; build the warehouse first" in refused(capsys, "--warehouse", "none")
    (project / "text.duckdb").write_text("no database" * 1000)
    assert "cannot be opened" in refused(capsys, "--warehouse", "text.duckdb")


def test_marts_that_were_changed_after_the_build_are_refused(warehouse, releases, capsys):
    main(["publish"])
    fill(warehouse, 2, verdict=None)
    said = refused(capsys)
    assert "was changed after its last build: marts.orders; run" in said
    assert seen(releases) == 1


def test_marts_that_are_not_as_the_contract_says_are_refused(project, warehouse, releases, capsys):
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("alter table marts.orders rename note to remark")
        connection.execute("alter table marts.orders alter net_amount type double")
        connection.execute("drop table marts.settings")
    record_verdict(warehouse, GREEN)
    said = refused(capsys)
    for clause in [
        "marts.orders.net_amount is DOUBLE instead of DECIMAL(18,2)",
        "marts.orders.note is missing",
        "marts.orders.remark is not in the contract",
        "marts.settings is missing",
    ]:
        assert clause in said
    assert names(releases) == []


def test_a_verdict_of_another_duckdb_is_refused(warehouse, releases, capsys):
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("update build.verdict set duckdb_version = '1.9.9'")
    assert "was built with DuckDB 1.9.9 and this is" in refused(capsys)


def test_what_was_not_written_well_is_not_published(warehouse, releases, capsys, monkeypatch):
    main(["publish"])
    fill(warehouse, 2)

    def write_badly(connection, place, manifest, say):
        write_release(connection, place, manifest, say)
        with duckdb.connect(str(place / "warehouse.duckdb")) as made:
            made.execute("delete from marts.orders where order_id = 2")

    monkeypatch.setattr(publishing, "write_release", write_badly)
    said = refused(capsys)
    assert "release 000002 is not what its manifest says: marts.orders has other rows" in said
    assert (names(releases), leftovers(releases)) == (["000001"], [])
    assert seen(releases) == 1


def test_a_build_of_the_warehouse_is_waited_for(warehouse, releases, capsys):
    holder = start(
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); input()",
        warehouse,
    )
    try:
        assert holder.stdout.readline() == "open\n"
        assert "is in use by another program" in refused(capsys)
    finally:
        holder.communicate("\n")


def test_what_would_break_readers_stops_until_it_is_allowed(project, warehouse, releases, capsys):
    main(["publish"])
    write_contract(
        project,
        {
            "orders": {"order_id": "varchar", "net_amount": "decimal(18,2)", "channel": "varchar"},
            "refunds": {"refund_id": "varchar"},
        },
    )
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("alter table marts.orders alter order_id type varchar")
        connection.execute("alter table marts.orders rename note to channel")
        connection.execute("drop table marts.settings")
        connection.execute("create table marts.refunds (refund_id varchar)")
    record_verdict(warehouse, GREEN)
    said = refused(capsys)
    assert (
        "this would break what reads release 000001: marts.orders.note is removed; "
        "marts.orders.order_id is VARCHAR and was BIGINT; marts.settings is removed. Tell" in said
    )
    assert names(releases) == ["000001"] and seen(releases) == 1

    assert main(["publish", "--allow-breaking"]) == 0
    manifest = current_release(releases).manifest
    assert manifest["previous_release"] == "000001"
    assert manifest["as_of"] is None
    expected = [
        ("added", "orders", "channel", None, "VARCHAR"),
        ("removed", "orders", "note", "VARCHAR", None),
        ("retyped", "orders", "order_id", "BIGINT", "VARCHAR"),
        ("added", "refunds", None, None, None),
        ("removed", "settings", None, None, None),
    ]
    assert [tuple(change.values()) for change in manifest["changes"]] == expected
    with duckdb.connect(str(current_file(releases)), read_only=True) as connection:
        assert connection.execute("from release.changes").fetchall() == expected
        assert connection.execute("from marts.refunds").fetchall() == []


def test_what_is_only_new_stops_nothing(project, warehouse, releases):
    main(["publish"])
    write_contract(project, CONTRACT | {"refunds": {"refund_id": "varchar"}})
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("create table marts.refunds (refund_id varchar)")
    record_verdict(warehouse, GREEN)
    assert main(["publish"]) == 0
    [change] = current_release(releases).manifest["changes"]
    assert (change["change"], change["table"]) == ("added", "refunds")


def test_differences_of_contracts():
    before = {"a": {"x": "BIGINT", "y": "DATE"}, "b": {"x": "DATE"}}
    after = {"a": {"y": "TIMESTAMP", "z": "DATE"}, "c": {"x": "DATE"}}
    found = changes(before, after)
    assert found == [
        Change("removed", "a", "x", "BIGINT", None),
        Change("retyped", "a", "y", "DATE", "TIMESTAMP"),
        Change("added", "a", "z", None, "DATE"),
        Change("removed", "b"),
        Change("added", "c"),
    ]
    assert [change.is_breaking for change in found] == [True, True, False, True, False]
    assert changes(before, before) == broken_promises(before, before | after | before) == []


def test_the_contract_is_that_of_the_project(project):
    assert read_contract(project) == AS_DUCKDB_SAYS
    assert set(read_contract(PROJECT)) >= {"customers", "orders", "settings", "churn_scores"}
    write_contract(project, {"orders": {"order_id": "wholenumber"}})
    with pytest.raises(UserError, match=r"the type of orders\.order_id in .* is wholenumber"):
        read_contract(project)
    shutil.rmtree(project / "models")
    with pytest.raises(UserError, match="no mart is described"):
        read_contract(project)


# Going back, keeping, listing


def publish_several(warehouse: Path, n: int, *arguments: str) -> None:
    for amount in range(1, n + 1):
        fill(warehouse, amount)
        assert main(["publish", *arguments]) == 0


def test_going_back_and_on(warehouse, releases, capsys):
    publish_several(warehouse, 3)
    assert main(["publish", "--back"]) == 0
    assert seen(releases) == 2
    assert main(["publish", "--back", "1"]) == 0
    assert seen(releases) == 1
    assert main(["publish", "--back", "000003"]) == 0
    assert seen(releases) == 3
    assert main(["publish", "--back", "3"]) == 0
    assert "already" in capsys.readouterr().out
    main(["publish", "--back", "1"])

    fill(warehouse, 4)
    assert main(["publish"]) == 0
    assert names(releases) == ["000001", "000002", "000003", "000004"]
    assert seen(releases) == 4
    # Readers come from where they were, not from the newest number.
    assert current_release(releases).manifest["previous_release"] == "000001"


def test_going_back_to_what_is_not_there_gets_a_sentence(warehouse, releases, capsys):
    assert "there is no release in" in refused(capsys, "--back")
    assert not releases.exists()
    main(["publish"])
    assert "there is no release before 000001" in refused(capsys, "--back")
    assert "there is no release 7 in" in refused(capsys, "--back", "7")
    assert "there is no release last in" in refused(capsys, "--back", "last")
    assert seen(releases) == 1


@pytest.mark.parametrize("harm", ["changed", "cut", "parquet"])
def test_nobody_goes_back_to_a_harmed_release(harm, warehouse, releases, capsys):
    publish_several(warehouse, 2, "--parquet")
    file = releases / "000001" / "warehouse.duckdb"
    file.chmod(0o644)
    if harm == "changed":
        with duckdb.connect(str(file)) as connection:
            connection.execute("update marts.orders set net_amount = 9 where order_id = 0")
    elif harm == "cut":
        os.truncate(file, file.stat().st_size // 2)
    else:
        (releases / "000001" / "parquet" / "orders.parquet").unlink()
    assert "release 000001 is not what its manifest says" in refused(capsys, "--back")
    assert seen(releases) == 2


def test_old_releases_are_deleted_but_never_the_current_one(warehouse, releases, capsys):
    publish_several(warehouse, 4, "--keep", "3")
    assert names(releases) == ["000002", "000003", "000004"]
    main(["publish", "--back", "2"])
    # Nothing new: nothing is deleted either.
    fill(warehouse, 2)
    main(["publish", "--keep", "1"])
    assert names(releases) == ["000002", "000003", "000004"]
    fill(warehouse, 5)
    main(["publish", "--keep", "1"])
    assert names(releases) == ["000005"]
    assert "at least one release must stay" in refused(capsys, "--keep", "0")


def test_an_old_release_that_cannot_be_deleted_stops_nothing(
    warehouse, releases, capsys, monkeypatch
):
    def deny(release):
        raise PermissionError(13, "Permission denied", str(release.folder))

    monkeypatch.setattr(publishing, "delete", deny)
    publish_several(warehouse, 2, "--keep", "1")
    assert "The old release 000001 could not be deleted" in capsys.readouterr().out
    assert seen(releases) == 2
    monkeypatch.undo()
    fill(warehouse, 3)
    publish(warehouse, releases, AS_DUCKDB_SAYS, keep=1)
    assert names(releases) == ["000003"]


def test_which_releases_are_too_many(warehouse, releases):
    publish_several(warehouse, 4)
    made = list_releases(releases)
    assert too_many(made, made[3], 2) == made[:2]
    assert too_many(made, made[0], 2) == made[1:2]
    assert too_many(made, made[3], 9) == []


def test_a_number_is_never_given_twice(warehouse, releases):
    publish_several(warehouse, 2)
    (releases / "000002" / "manifest.json").unlink()
    assert names(releases) == ["000001"]
    assert next_number(releases) == 3


def test_the_list_of_releases(warehouse, releases, capsys):
    assert main(["publish", "--list"]) == 0
    assert "There is no release in" in capsys.readouterr().out
    publish_several(warehouse, 3)
    main(["publish", "--back"])
    manifest = releases / "000001" / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text("{", encoding="utf-8")
    capsys.readouterr()
    assert main(["publish", "--list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1][:3] == ["000003", "2024-12-31", "23:00:00"]
    assert lines[2][:3] == ["*", "000002", "2024-12-31"]
    # Three orders and three settings.
    assert lines[2][6] == "6" and lines[2][8] == "MB"
    assert " ".join(lines[3]).startswith("000001 its manifest cannot be read")


# Accidents


def test_leftovers_of_killed_runs_are_deleted_and_nothing_else(warehouse, releases):
    main(["publish"])
    for name in (".making-000002", ".deleting-000001", ".making-mine", "202401", "photos"):
        (releases / name).mkdir()
        (releases / name / "file").touch()
    (releases / ".current-next").symlink_to("000002")
    clean(releases)
    assert leftovers(releases) == [".making-mine", "202401", "photos"]
    fill(warehouse, 2)
    assert main(["publish", "--keep", "1"]) == 0
    assert leftovers(releases) == [".making-mine", "202401", "photos"]
    # A folder of somebody else's that looks like a number is no release, but takes its number.
    assert names(releases) == ["202402"]


def test_something_else_under_the_published_name_is_left_alone(warehouse, releases, capsys):
    releases.mkdir(parents=True)
    (releases / "current").write_text("mine")
    assert "is no link that publish has made" in refused(capsys)
    assert (releases / "current").read_text() == "mine"


# Runs a command and counts what it changes on the disk; sends itself a signal before the n-th of
# these steps. (What DuckDB writes by itself is not counted.)
STEPS = """
import os, sys
folder, left, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
changing = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.chmod"}
from perennial import publish  # what it imports is no step
from perennial.cli import main

def hook(event, values):
    global left
    writes = event == "open" and isinstance(values[1], str) and values[1][0] in "aw"
    if event in changing or (writes and folder in str(values)):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), number)

sys.addaudithook(hook)
sys.exit(main(sys.argv[4:]))
"""


def test_a_publish_killed_before_any_of_its_steps_harms_nothing(project, warehouse, tmp_path):
    fresh = tmp_path / "fresh"
    main(["publish", "--to", str(fresh), "--parquet"])
    fill(warehouse, 2)
    outcomes = []
    for step in range(1, 100):
        folder = tmp_path / "killed" / str(step)
        shutil.copytree(fresh, folder, symlinks=True)
        arguments = ["publish", "--to", str(folder), "--parquet", "--keep", "1"]
        done = start(STEPS, folder, step, int(signal.SIGKILL), *arguments)
        _, errors = done.communicate()
        amount = seen(folder)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, errors
        outcomes.append(amount)
        assert main(["publish", "--to", str(folder), "--parquet", "--keep", "1"]) == 0
        assert seen(folder) == 2
        assert leftovers(folder) == []
        shutil.rmtree(folder)
    # First the old release was there, from some step on the new one; both have been seen.
    assert amount == 2 and sorted(outcomes) == outcomes
    assert outcomes.count(1) > 10 and outcomes.count(2) > 5


def test_a_publish_killed_while_duckdb_writes_harms_nothing(project, warehouse, releases):
    main(["publish"])
    fill(warehouse, 2, n_orders=1_000_000)
    killed_half_way = 0
    for wait in (0.0, 0.02, 0.05, 0.1):
        doomed = start("import sys; from perennial.cli import main; main(['publish', '--force'])")
        while not any(releases.glob(".making-*/warehouse.duckdb")) and doomed.poll() is None:
            time.sleep(0.001)
        time.sleep(wait)
        doomed.kill()
        _, errors = doomed.communicate()
        assert errors == ""
        # A machine may be so quick that it was over.
        killed_half_way += len(leftovers(releases))
        assert seen(releases) == (1 if names(releases) == ["000001"] else 2)
    assert killed_half_way > 0
    assert main(["publish", "--force"]) == 0
    assert (seen(releases), leftovers(releases)) == (2, [])


@pytest.mark.parametrize("share", [0, 0.05, 0.6, 0.999])
def test_a_full_disk_loses_nothing(share, warehouse, releases, tmp_path):
    main(["publish"])
    fill(warehouse, 2, n_orders=200_000)
    publish(warehouse, tmp_path / "whole", AS_DUCKDB_SAYS, say=lambda _: None)
    limit = int(share * current_file(tmp_path / "whole").stat().st_size)
    # No file may become longer than this: to a program the same as a disk that is full.
    done = start(
        "import resource, sys; from perennial.cli import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); "
        "sys.exit(main(['publish', '--parquet', '--keep', '1']))",
        limit,
    )
    _, errors = done.communicate()
    assert done.returncode == 2, errors
    assert "the work could not be finished (" in errors and "Traceback" not in errors
    assert "readers still see release 000001" in errors
    assert (names(releases), leftovers(releases)) == (["000001"], [])
    assert seen(releases) == 1
    assert main(["publish"]) == 0
    assert seen(releases) == 2


def test_a_folder_that_cannot_be_written_gets_a_sentence(warehouse, releases, capsys):
    main(["publish"])
    said = refused(capsys, "--to", str(releases / "000001" / "manifest.json" / "under"))
    assert "cannot write into" in said and "choose another folder" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is denied to root")
def test_a_read_only_folder_gets_a_sentence(warehouse, releases, capsys):
    main(["publish"])
    fill(warehouse, 2)
    releases.chmod(0o555)
    try:
        assert "readers still see release 000001" in refused(capsys)
    finally:
        releases.chmod(0o755)
    assert seen(releases) == 1


def test_of_two_at_once_the_second_gets_a_sentence(warehouse, releases, capsys):
    main(["publish"])
    fill(warehouse, 2)
    # By the fourth step it has the lock and a folder for its draft.
    first = start(STEPS, releases, 4, int(signal.SIGSTOP), "publish")
    os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        assert [path.name for path in releases.glob(".making-*")] == [".making-000002"]
        assert "another publish is at work in" in refused(capsys)
        assert "another publish is at work in" in refused(capsys, "--back", "1")
        assert main(["publish", "--list"]) == 0
    finally:
        first.send_signal(signal.SIGCONT)
        _, errors = first.communicate()
    assert first.returncode == 0, errors
    assert seen(releases) == 2


def test_the_lock_is_of_one_folder_only(warehouse, releases, tmp_path):
    with only_publisher(tmp_path / "other"):
        assert main(["publish"]) == 0
    with only_publisher(releases), pytest.raises(UserError, match="another publish"):
        go_back(releases, "1")


def test_a_listener_who_goes_away_does_not_stop_it(warehouse, releases):
    done = start("import sys; from perennial.cli import main; sys.exit(main(['publish']))")
    done.stdout.close()
    assert done.wait() == 0, done.stderr.read()
    done.stderr.close()
    done.stdin.close()
    assert seen(releases) == 1


def test_a_red_verdict_is_in_the_way_of_python_too(warehouse, releases):
    record_verdict(warehouse, RED)
    with pytest.raises(UserError, match="had an error"):
        publish(warehouse, releases, AS_DUCKDB_SAYS)
