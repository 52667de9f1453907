"""Forgetting a person: gone from everything, kept away afterwards, and nobody else touched."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import duckdb
import preloaded
import pyarrow.parquet as pq
import pytest
from comparing import differing
from conftest import (
    NOTHING_LEARNED,
    ONLY_MODELS,
    PROJECT,
    Build,
    add_missing_marts,
    build,
    dbt_folder,
    green,
    once,
    perennial,
    workbench,
)

from perennial import build as building
from perennial import forget as command
from perennial.cli import main
from perennial.contract import read_contract
from perennial.erasure.files import RawFile, copy_csv, take_out
from perennial.erasure.matching import NAMES, is_distinctive, words_of, words_sql
from perennial.erasure.releases import erase_from_releases
from perennial.erasure.suppression import Forgotten, list_file
from perennial.errors import UserError
from perennial.release.making import verify_release
from perennial.release.store import current_release, list_releases
from perennial.verdict import GREEN, record_verdict

ANN, BEN = "cust-ann-4711", "cust-ben-0815"
# All that is Ann's, and all that nobody else has.
OF_ANN = [ANN, "order-a-1001", "order-a-1002", "device-ann-55", "sess-ann-901", "sess-ann-902"]

TABLES = {
    "orders_1": """
order_id,customer_id,ordered_at,status,coupon_code,ingested_at
order-a-1001,cust-ann-4711,2024-01-05 10:00:00,completed,SAVE1,2024-01-05 10:05:00
order-b-1003,cust-ben-0815,2024-01-06 10:00:00,completed,,2024-01-06 10:05:00
order-b-1004,cust-ben-0815,2024-02-16 10:00:00,paid,"SAVE ""1"", twice",2024-02-16 10:05:00
""",
    "orders_2": """
order_id,customer_id,ordered_at,status,coupon_code,ingested_at
order-a-1002, cust-ann-4711 ,2024-03-05 10:00:00,paid,,2024-03-05 10:05:00
,cust-ann-4711,2024-03-06 10:00:00,paid,,2024-03-06 10:05:00
order-c-1005,,2024-03-07 10:00:00,paid,,2024-03-07 10:05:00
order-x-1099,cust-ann-4711
""",
    "order_items": """
order_id,line_number,product_id,quantity,unit_price,ingested_at
order-a-1001,1,p1,1,10.00,2024-01-05 10:05:00
order-a-1001,2,p2,2,5.00,2024-01-05 10:05:00
order-b-1003,1,p1,1,10.00,2024-01-06 10:05:00
order-b-1004,1,p2,1,5.00,2024-02-16 10:05:00
order-a-1002,1,p1,many,10.00,2024-03-05 10:05:00
order-a-1002,2,p3,1,7.00,2024-03-05 10:05:00
order-c-1005,1,p3,1,7.00,2024-03-07 10:05:00
""",
    "refunds": """
refund_id,refunded_at,amount,order_id,customer_id,ingested_at
r1,2024-01-20 09:00:00,3.00,order-a-1001,,2024-01-20 09:05:00
r2,2024-01-21 09:00:00,2.00,,cust-ann-4711,2024-01-21 09:05:00
r3,2024-01-22 09:00:00,2.00,,cust-ben-0815,2024-01-22 09:05:00
""",
    "customers": """
customer_id,created_at,country,marketing_consent,ingested_at
cust-ann-4711,2024-01-01 09:00:00,DE,true,2024-01-01 09:05:00
cust-ben-0815,2024-01-02 09:00:00,AT,true,2024-01-02 09:05:00
""",
    "products": "product_id,name\np1,Tea\np2,Cup\np3,Pot\n",
    # Ann alone on device-ann-55, first without a name; with Ben on device-home-1.
    "events": """
event_id,occurred_at,event_type,customer_id,anonymous_id,session_id,url,properties,ingested_at
ev-000001,2024-01-03 08:00:00,page_view,,device-ann-55,sess-ann-901,/,,2024-01-03 08:05:00
ev-000002,2024-01-05 09:50:00,login,cust-ann-4711,device-ann-55,sess-ann-902,/,,2024-01-05 09:55:00
ev-000003,2024-01-09 08:00:00,page_view,,device-ann-55,sess-ann-902,/,,2024-01-09 08:05:00
ev-000004,2024-01-09 08:01:00,page_view,,,sess-ann-902,/,,2024-01-09 08:05:00
ev-000005,2024-02-01 08:00:00,login,cust-ann-4711,device-home-1,sess-home-1,/,,2024-02-01 08:05:00
ev-000006,2024-02-01 08:01:00,page_view,,device-home-1,sess-home-1,/tea,,2024-02-01 08:05:00
ev-000007,2024-02-02 08:00:00,login,cust-ben-0815,device-home-1,sess-home-2,/,,2024-02-02 08:05:00
ev-000008,2024-02-02 08:01:00,page_view,,device-home-1,sess-home-2,/cup,,2024-02-02 08:05:00
ev-000009,2024-02-02 08:00:00,page_view,,device-new-77,sess-new-1,/?ref=cust-ann-4711,,2024-02-03
ev-000010,2024-02-02 08:01:00,page_view,,device-new-77,sess-new-1,/pot,"{""page"": 4711}",2024-02-03
ev-000011,2024-02-03 08:00:00,purchase,,device-new-78,,/,"{""id"": ""order-a-1002""}",2024-02-04
ev-000012,2024-02-30 08:00:00,page_view,cust-ann-4711,,,/,,2024-02-04 08:05:00
""",
    "reviews": """
review_id,product_id,reviewed_at,rating,customer_id,body,ingested_at
v1,p1,2024-01-15 10:00:00,5,cust-ann-4711,"Good,
very good.",2024-01-15 10:05:00
v2,p1,2024-01-16 10:00:00,4,cust-ben-0815,"Fine,
all in all.",2024-01-16 10:05:00
""",
    "coupons": "coupon_code,kind,value\nSAVE1,percent,10\n",
    "coupon_grants": """
grant_id,coupon_code,customer_id,granted_at,redeemed_order_id
g1,SAVE1,cust-ann-4711,2024-01-02 10:00:00,order-a-1001
g2,SAVE1,cust-ben-0815,2024-01-02 10:00:00,
""",
    "campaigns": """
campaign_id,name,channel,starts_at,ends_at
m1,Winter,email,2024-01-01 00:00:00,2024-02-01 00:00:00
""",
    "campaign_touches": """
touch_id,campaign_id,customer_id,sent_at
t1,m1,cust-ann-4711,2024-01-02 10:00:00
t2,m1,cust-ben-0815,2024-01-02 10:00:00
""",
    "experiments": """
experiment_id,name,metric,starts_at,ends_at,allocation
x1,Checkout,orders,2024-01-01 00:00:00,2024-02-01 00:00:00,0.5
""",
    "experiment_assignments": """
experiment_id,customer_id,variant,assigned_at
x1,cust-ann-4711,treatment,2024-01-02 10:00:00
x1,cust-ben-0815,control,2024-01-02 10:00:00
""",
    "support_questions": """
question_id,asked_at,body,customer_id
q1,2024-01-10 10:00:00,Where is my parcel?,cust-ann-4711
q2,2024-01-11 10:00:00,"I am cust-ann-4711, where is it?",
q3,2024-01-12 10:00:00,Where is mine?,cust-ben-0815
""",
}  # fmt: skip

# What must be left of the lines above: those with none of Ann's keys, and none of these.
ALSO_GONE = ["ev-000006"]

SETTINGS = "{max_quarantine_share: 1, week_start: sunday}"


def stays(line: str) -> bool:
    return not any(key in line for key in OF_ANN + ALSO_GONE)


def write_shop(folder: Path) -> Path:
    """The shop as files: csv, one of them compressed with Windows' line ends, and parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in TABLES.items():
        text = text.lstrip("\n")
        if name == "refunds":
            with gzip.open(folder / "refunds.csv.gz", "wb") as out:
                out.write(text.replace("\n", "\r\n").encode())
        else:
            (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    events = duckdb.sql(
        "select * replace (cast(ingested_at as timestamp) as ingested_at) "
        f"from read_csv('{folder}/events.csv', all_varchar = true)"
    ).to_arrow_table()
    pq.write_table(events, folder / "events.parquet", row_group_size=4, compression="zstd")
    (folder / "events.csv").unlink()
    return folder


class Shop:
    """A folder with a shop's raw files, its warehouse, releases and report."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw = folder / "raw"
        self.warehouse = folder / "shop.duckdb"
        self.releases = folder / "releases"
        self.report = folder / "report.html"

    def copy_to(self, folder: Path) -> Shop:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, symlinks=True)
        return Shop(folder)

    @property
    def arguments(self) -> list[str]:
        options = {
            "--shop": "files",
            "--raw": self.raw,
            "--warehouse": self.warehouse,
            "--releases": self.releases,
            "--out": self.report,
        }
        return [str(word) for option in options.items() for word in option]

    def forget(self, *more: str, customer: str = ANN) -> int:
        """Run the command in this process; see make_quick()."""
        return main(["forget", "--customer", customer, *self.arguments, *more])

    def bytes(self) -> dict[str, str]:
        """The hash of every file, to tell whether anything was changed."""
        return {
            str(file.relative_to(self.folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(self.folder.rglob("*"))
            if file.is_file() and file.suffix != ".lock"
        }

    def query(self, sql: str) -> list[tuple]:
        with duckdb.connect(str(self.warehouse), read_only=True) as connection:
            return connection.execute(sql).fetchall()


def built(warehouse: Path, raw: Path, exclude: str = NOTHING_LEARNED) -> Path:
    green(build(warehouse, raw=raw, settings=SETTINGS, exclude=exclude))
    add_missing_marts(warehouse)
    record_verdict(warehouse, GREEN)
    return warehouse


def shop_before(tmp_path_factory: pytest.TempPathFactory, name: str, exclude: str) -> Shop:
    """The shop as it is before anybody was forgotten: two releases, of which one with parquet."""

    def make(folder: Path) -> None:
        shop = Shop(folder)
        write_shop(shop.raw)
        built(shop.warehouse, shop.raw, exclude)
        for option in (["--parquet"], ["--force"]):
            done = perennial(
                "publish", "--warehouse", shop.warehouse, "--to", shop.releases, *option
            )
            assert done.returncode == 0, done.stderr
        done = perennial("report", "--warehouse", shop.warehouse, "--out", shop.report)
        assert done.returncode == 0, done.stderr

    return Shop(once(tmp_path_factory, name, make))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The shop with every model."""
    return shop_before(tmp_path_factory, "forget_whole", ONLY_MODELS)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The shop with the models that keep rows of persons, which is enough for most."""
    return shop_before(tmp_path_factory, "forget_before", NOTHING_LEARNED)


def make_quick(
    monkeypatch: pytest.MonkeyPatch, logs: Path, excluded: str = NOTHING_LEARNED
) -> None:
    """Builds without dbt's tests and what is learned, and no word from outside."""
    for name in ("PERENNIAL_SHOP", "PERENNIAL_WAREHOUSE", "PERENNIAL_RAW"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("DBT_TARGET_PATH", str(dbt_folder("forget")))
    monkeypatch.setenv("DBT_LOG_PATH", str(logs))
    monkeypatch.setenv("DBT_LOG_LEVEL_FILE", "none")
    monkeypatch.setenv("DBT_WRITE_JSON", "false")
    monkeypatch.setenv("DBT_SEND_ANONYMOUS_USAGE_STATS", "0")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(PROJECT)

    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess:
        done = preloaded.run(command, env=env)
        sys.stdout.write(done.stdout + done.stderr)
        return done

    monkeypatch.setattr(building, "subprocess", SimpleNamespace(run=run))
    run_dbt = building.run_dbt

    def without_tests(project, shop, settings, select, exclude, full_refresh):
        return run_dbt(project, shop, settings, select, excluded, full_refresh)

    monkeypatch.setattr(building, "run_dbt", without_tests)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    make_quick(monkeypatch, tmp_path_factory.mktemp("logs"))


def shop_after(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory, excluded: str
) -> tuple[Shop, str]:
    """The shop after Ann was forgotten, and what was said. The demo's test runs dbt's tests too."""
    place = shop.copy_to(emptied(workbench() / "forget"))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as said:
        make_quick(patch, tmp_path_factory.mktemp("logs"), excluded)
        code = place.forget()
    assert code == 0, said.getvalue()[-6000:]
    return place.copy_to(tmp_path_factory.mktemp("forgotten")), said.getvalue()


@pytest.fixture(scope="module")
def whole_forgotten(whole: Shop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, str]:
    """The same, with every model."""
    return shop_after(whole, tmp_path_factory, ONLY_MODELS)


@pytest.fixture(scope="module")
def forgotten(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, str]:
    """The shop after Ann was forgotten, and what was said."""
    return shop_after(shop, tmp_path_factory, NOTHING_LEARNED)


@pytest.fixture
def place() -> Path:
    """The folder in which people are forgotten: always the same, for dbt's sake."""
    return emptied(workbench() / "forget")


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def rows_of(file: Path) -> dict[str, list[str]]:
    """Every row of every table of a DuckDB file as a text."""
    with duckdb.connect(str(file), read_only=True) as connection:
        tables = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables()"
        ).fetchall()
        return {
            table: [str(row) for row in connection.execute(f"from {table}").fetchall()]
            for (table,) in tables
        }


def where_ann_is(shop: Shop) -> list[str]:
    """Every place that names one of Ann's keys, found without any of the code under test."""
    found = []
    for database in [shop.warehouse, *shop.releases.glob("0*/warehouse.duckdb")]:
        for table, rows in rows_of(database).items():
            found += [f"{database.name} {table}: {row}" for row in rows if not stays(row)]
    for file in shop.folder.rglob("*"):
        if not file.is_file() or file.suffix == ".lock":
            continue
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
        if file.suffix == ".parquet":
            content = str(duckdb.sql(f"from '{file}'").fetchall()).encode()
        found += [f"{file.name}: {key}" for key in OF_ANN if key.encode() in content]
    return found


# Everything at once


def test_before_she_is_everywhere(whole):
    """Else the tests below would show nothing."""
    places = {place.split(": ")[0] for place in where_ann_is(whole)}
    for table in read_contract():
        if any(column.person for column in read_contract()[table].columns):
            assert f"shop.duckdb staging.checked_{table}" in places
    assert {"shop.duckdb staging.quarantine", "warehouse.duckdb marts.sessions"} <= places
    assert {"events.parquet", "orders_2.csv", "refunds.csv.gz", "sessions.parquet"} <= places
    attributed = whole.query(
        f"select event_id from marts.events where customer_id = '{ANN}' order by all"
    )
    # Her history on her own device from before she was known, and her visits on the shared one.
    assert {"ev-000001", "ev-000003", "ev-000006"} <= {event for (event,) in attributed}


def test_she_is_nowhere(whole_forgotten):
    after, said = whole_forgotten
    assert where_ann_is(after) == []
    assert "Nothing is left of the forgotten" in said
    assert not any(stays(line) is False for line in said.splitlines())


def test_the_others_keep_every_line(forgotten):
    after, _ = forgotten
    for name, text in TABLES.items():
        lines = text.lstrip("\n").splitlines(keepends=True)
        if name == "reviews":
            expected = "".join([lines[0], *lines[3:]])
        elif name == "refunds":
            expected = "".join(filter(stays, lines)).replace("\n", "\r\n")
            with gzip.open(after.raw / "refunds.csv.gz") as packed:
                assert packed.read().decode() == expected
            continue
        elif name == "events":
            continue
        else:
            expected = "".join(line for line in lines if stays(line) and "q2" not in line)
        assert (after.raw / f"{name}.csv").read_bytes().decode() == expected, name
    found = duckdb.sql(f"select event_id from '{after.raw}/events.parquet'").fetchall()
    assert [event for (event,) in found] == ["ev-000007", "ev-000008", "ev-000010"]


def test_files_that_do_not_hold_her_are_not_touched(shop, forgotten):
    after, _ = forgotten
    for name in ("products.csv", "coupons.csv", "campaigns.csv", "experiments.csv"):
        assert (after.raw / name).stat().st_mtime_ns == (shop.raw / name).stat().st_mtime_ns


def test_a_parquet_file_keeps_its_types_and_compression(shop, forgotten):
    after, _ = forgotten
    before, now = (pq.ParquetFile(s.raw / "events.parquet") for s in (shop, after))
    assert before.schema_arrow.equals(now.schema_arrow)
    assert now.metadata.row_group(0).column(0).compression == "ZSTD"
    assert before.metadata.num_row_groups == now.metadata.num_row_groups > 1


def test_on_a_shared_device_the_other_stays(forgotten):
    after, _ = forgotten
    assert after.query(
        "select event_id, customer_id from marts.events where anonymous_id = 'device-home-1' "
        "order by all"
    ) == [("ev-000007", BEN), ("ev-000008", BEN)]
    assert after.query(f"select n_sessions from marts.customers where customer_id = '{BEN}'") == [
        (1,)
    ]


def test_it_is_an_increment(forgotten):
    _, said = forgotten
    assert "is made in full" not in said


def test_the_settings_of_the_build_are_kept(forgotten):
    after, _ = forgotten
    settings = dict(after.query("select name, value from marts.settings"))
    assert (settings["week_start"], settings["max_quarantine_share"]) == ("sunday", "1")


def test_it_equals_a_build_that_never_knew_her(whole_forgotten, tmp_path):
    after, _ = whole_forgotten
    fresh = built(tmp_path / "fresh.duckdb", after.raw, ONLY_MODELS)
    assert differing(after.warehouse, fresh) == []


def test_releases_stay_whole(shop, forgotten):
    after, _ = forgotten
    before = {release.name: release.manifest for release in list_releases(shop.releases)}
    for release in list_releases(after.releases):
        manifest = release.manifest
        verify_release(release.folder, manifest)
        [erasure] = manifest["erasures"]
        n_rows = sum(table["n_rows"] for table in manifest["tables"].values())
        n_before = sum(table["n_rows"] for table in before[release.name]["tables"].values())
        assert n_rows + erasure["n_rows"] == n_before and erasure["n_rows"] > 20
        with duckdb.connect(str(release.database), read_only=True) as connection:
            assert connection.execute("select n_rows from release.erasures").fetchall() == [
                (erasure["n_rows"],)
            ]
            assert connection.execute("select fingerprint from release.manifest").fetchone() == (
                manifest["fingerprint"],
            )
            log = "select count(*) > 0 from monitoring.runs"
            assert connection.execute(log).fetchone() == (True,)
            # An aggregate of an old release is what was published.
            kept = "select cast(n_rows as varchar) from release.tables where table_name = 'rfm'"
            assert connection.execute(kept).fetchone() == (
                str(manifest["tables"]["rfm"]["n_rows"]),
            )
        assert not release.database.stat().st_mode & 0o222
    back = perennial("publish", "--warehouse", after.warehouse, "--to", after.releases, "--back")
    assert back.returncode == 0, back.stderr
    again = perennial("publish", "--warehouse", after.warehouse, "--to", after.releases)
    assert again.returncode == 0, again.stderr


def test_who_has_a_release_open_keeps_it(shop, tmp_path):
    copy = shop.copy_to(tmp_path)
    list_of_one = Forgotten("salt")
    list_of_one.add({"customer": {ANN}}, "2024-12-31")
    current = current_release(copy.releases)
    count = f"select count(*) from marts.customers where customer_id = '{ANN}'"
    with duckdb.connect(str(current.database), read_only=True) as reader:
        assert reader.execute(count).fetchone() == (1,)
        assert erase_from_releases(copy.releases, list_of_one, "2024-12-31", print) > 0
        assert reader.execute(count).fetchone() == (1,)
    with duckdb.connect(str(current.database), read_only=True) as reader:
        assert reader.execute(count).fetchone() == (0,)


# The list


def test_the_list_names_nobody(forgotten):
    after, _ = forgotten
    file = list_file(after.warehouse)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert {tuple(line) for line in lines[1:]} == {("key_hash", "forgotten_on")}
    salt = lines[0]["salt"]
    assert Forgotten(salt, {line["key_hash"]: "" for line in lines[1:]}).holds("customer", ANN)
    assert hashlib.sha256(f"{salt}customer:{ANN}".encode()).hexdigest() in file.read_text("utf-8")


def test_the_same_files_do_not_bring_her_back(forgotten, tmp_path):
    """Tomorrow's files still hold her, and she has ordered once more."""
    before, _ = forgotten
    after = before.copy_to(tmp_path / "after")
    shutil.rmtree(after.raw)
    write_shop(after.raw)
    with (after.raw / "orders_2.csv").open("a") as orders:
        orders.write(f"order-a-2001,{ANN},2024-04-01 10:00:00,paid,,2024-04-01 10:05:00\n")
    with (after.raw / "order_items.csv").open("a") as items:
        items.write("order-a-2001,1,p1,1,10.00,2024-04-01 10:05:00\n")
    built(after.warehouse, after.raw)
    fresh = Shop(tmp_path / "fresh")
    fresh.folder.mkdir()
    shutil.copy(list_file(after.warehouse), list_file(fresh.warehouse))
    built(fresh.warehouse, after.raw)
    for warehouse in (after.warehouse, fresh.warehouse):
        assert differing(warehouse, before.warehouse) == []
        text = str(rows_of(warehouse))
        assert not [key for key in [*OF_ANN, "order-a-2001"] if key in text]


def test_a_list_of_another_warehouse_stops_the_build(forgotten, tmp_path):
    after, _ = forgotten
    copy = after.copy_to(tmp_path)
    list_file(copy.warehouse).write_text('{"salt": "another"}\n')
    stopped = build(copy.warehouse, raw=copy.raw, settings=SETTINGS, exclude=NOTHING_LEARNED)
    assert stopped.returncode == 1
    assert "is not the list of this warehouse" in " ".join(stopped.output.split())
    with pytest.raises(UserError, match="their salts differ"):
        raise_instead(copy, "--check")


def raise_instead(shop: Shop, *more: str) -> None:
    """Run the command and let its error out."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args(["--customer", ANN, *shop.arguments, *more]))


# The proof


def plant_in_table(shop: Shop) -> str:
    with duckdb.connect(str(shop.warehouse)) as connection:
        connection.execute(f"create table main.notes as select 'call {ANN} back' as note")
    return "main.notes.note"


def plant_order_in_json(shop: Shop) -> str:
    with duckdb.connect(str(shop.warehouse)) as connection:
        connection.execute(
            "create table main.sent as select [{'order_id': 'order-a-1001'}] as orders"
        )
    return "main.sent.orders"


def plant_in_release(shop: Shop) -> str:
    file = current_release(shop.releases).database
    file.chmod(0o644)
    with duckdb.connect(str(file)) as connection:
        connection.execute("create table marts.old as select 'device-ann-55' as anonymous_id")
    return "marts.old.anonymous_id"


def plant_in_parquet(shop: Shop) -> str:
    folder = next(shop.releases.glob("0*/parquet"))
    duckdb.sql(f"copy (select '{ANN}' as who) to '{folder}/old.parquet'")
    return "old.parquet.who"


def plant_in_file(shop: Shop) -> str:
    with (shop.raw / "order_items.csv").open("a") as items:
        items.write("order-a-1002,9,p1,1,1.00,2024-01-01 00:00:00\n")
    return "order_items.csv.order_id"


def plant_in_broken_line(shop: Shop) -> str:
    with (shop.raw / "products.csv").open("a") as products:
        products.write(f"p9,Tin,of,{ANN}\n")
    return "products.csv.line"


def plant_in_report(shop: Shop) -> str:
    with shop.report.open("a") as page:
        page.write(f"<td>{ANN}</td>")
    return "report.html"


def plant_in_log(shop: Shop) -> str:
    log = Path(os.environ["DBT_LOG_PATH"]) / "dbt.log"
    log.write_text(f"id '{ANN}' is wrong\n")
    return "dbt.log"


PLANTS = [
    plant_in_table,
    plant_order_in_json,
    plant_in_release,
    plant_in_parquet,
    plant_in_file,
    plant_in_broken_line,
    plant_in_report,
    plant_in_log,
]


def test_the_search_finds_each_thing_that_is_left(forgotten, tmp_path, capsys):
    copy = forgotten[0].copy_to(tmp_path)
    planted = [plant(copy) for plant in PLANTS]
    assert copy.forget("--check") == 1
    left = capsys.readouterr().out.split("SOMETHING IS LEFT")[1].splitlines()
    found = [line.rsplit(maxsplit=1)[0].rsplit(": ")[-1] for line in left if line.startswith("  ")]
    assert [where for where in planted if not any(f.endswith(where) for f in found)] == []


def test_the_search_finds_bytes_that_no_table_holds(forgotten, tmp_path, capsys):
    copy = forgotten[0].copy_to(tmp_path)
    with copy.warehouse.open("ab") as file:
        file.write(b"\0" * 5 + ANN.encode() + b"\0" * 5)
    assert copy.forget("--check") == 1
    left = capsys.readouterr().out.split("SOMETHING IS LEFT")[1].splitlines()
    assert [" ".join(line.split()) for line in left if line.startswith("  ")] == [
        f"bytes of the files: {copy.warehouse} 1"
    ]


def test_the_search_alone_is_green_when_nothing_is_left(forgotten, tmp_path, capsys):
    copy = forgotten[0].copy_to(tmp_path)
    before = copy.bytes()
    assert copy.forget("--check") == 0
    assert "Nothing is left" in capsys.readouterr().out
    assert copy.bytes() == before


# What stands in the way


def test_a_customer_that_does_not_exist(shop, tmp_path, capsys):
    copy = shop.copy_to(tmp_path)
    before = copy.bytes()
    assert copy.forget("--customer", "cust-eve-1") == 2
    said = capsys.readouterr().err
    assert "no customer cust-eve-1 in" in said and "nothing was changed" in said
    assert copy.forget("--check") == 2
    assert "is not on the list" in capsys.readouterr().err
    assert copy.bytes() == before


def test_a_dry_run_changes_nothing(shop, tmp_path, capsys):
    copy = shop.copy_to(tmp_path)
    before = copy.bytes()
    assert copy.forget("--dry-run") == 0
    said = " ".join(capsys.readouterr().out.split())
    for line in ("orders 2 keys", "orders 3 rows", "devices 1 keys", "events.parquet 9 rows"):
        assert line in said
    assert copy.bytes() == before


def test_the_wrong_shop_gets_a_sentence(shop, tmp_path, capsys):
    copy = shop.copy_to(tmp_path)
    assert main(["forget", "--customer", ANN, "--warehouse", str(copy.warehouse)]) == 2
    assert "is of the shop files; say --shop files" in capsys.readouterr().err


def start(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def test_of_two_at_once_the_second_gets_a_sentence(shop, tmp_path, capsys):
    copy = shop.copy_to(tmp_path)
    holder = start(
        "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('open', flush=True); "
        "sys.stdin.read()",
        str(copy.warehouse),
    )
    assert holder.stdout.readline() == "open\n"
    assert copy.forget() == 2
    assert "open in another program" in capsys.readouterr().err
    holder.communicate("")

    first = start(
        "import sys; from pathlib import Path; from perennial.guard import only_builder\n"
        "with only_builder(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()",
        str(copy.warehouse),
    )
    assert first.stdout.readline() == "mine\n"
    assert copy.forget() == 2
    assert "another build or `perennial forget` is at work on" in capsys.readouterr().err
    first.communicate("")
    assert not list_file(copy.warehouse).exists()


@pytest.mark.parametrize("settings", ["{timezon: UTC}", "{timezone: "])
def test_a_mistake_in_the_settings_is_found_before_anything_goes(shop, place, settings, capsys):
    copy = shop.copy_to(place)
    before = copy.bytes()
    assert copy.forget("--customer", ANN, "--vars", settings) == 2
    assert "there is no setting 'timezon'" in (said := capsys.readouterr().err) or "YAML" in said
    assert copy.bytes() == before


# Kill this process when a function is called for the n-th time.
KILLED = """
import importlib, os, signal, sys
module, name, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
module = importlib.import_module(module)
real = getattr(module, name)
def counting(*arguments, **more):
    global n
    n -= 1
    if n == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **more)
setattr(module, name, counting)
from perennial import build
run_dbt = build.run_dbt
build.run_dbt = lambda p, s, v, select, exclude, full: run_dbt(p, s, v, select, EXCLUDE, full)
from perennial.cli import main
sys.exit(main(sys.argv[4:]))
""".replace("EXCLUDE", repr(NOTHING_LEARNED))


def test_killed_anywhere_the_same_command_ends_well(shop, place):
    copy = shop.copy_to(place)
    steps = [
        ("perennial.forget", "_clean_files", 1),
        # Some of the files are done.
        ("perennial.erasure.files", "replace", 3),
        # The manifest of the first release is in its place, its DuckDB file is not.
        ("perennial.erasure.releases", "replace", 2),
        ("perennial.erasure.rewrite", "_check_equal", 1),
    ]
    for module, name, n in steps:
        words = [module, name, n, "forget", "--customer", ANN, *copy.arguments]
        done = preloaded.run([sys.executable, "-c", KILLED, *words])
        assert done.returncode == -signal.SIGKILL, (name, done.stdout[-3000:], done.stderr)
        assert list_file(copy.warehouse).exists()
    assert where_ann_is(copy) != []
    assert copy.forget() == 0
    assert where_ann_is(copy) == []
    for release in list_releases(copy.releases):
        verify_release(release.folder, release.manifest)
        assert len(release.manifest["erasures"]) == 1
    hidden = [path.name for path in copy.folder.rglob(".*") if path.name != ".lock"]
    assert hidden == []


# Other shops


def test_kept_files_are_named_and_suppressed(shop, place, capsys):
    copy = shop.copy_to(place)
    before = {name: h for name, h in copy.bytes().items() if name.startswith("raw/")}
    assert copy.forget("--keep-files", "--customer", BEN) == 0
    said = capsys.readouterr().out
    assert "At the source, and kept out of the warehouse by the list (raw files)" in said
    assert "orders_1.csv.customer_id" in said
    assert {n: h for n, h in copy.bytes().items() if n.startswith("raw/")} == before
    assert copy.query("select order_id, customer_id from marts.orders") == [("order-c-1005", None)]
    # The shared device is nobody else's when both are forgotten.
    assert copy.query("select anonymous_id from marts.identity_links") == []


def test_tables_of_others_are_left_and_named(tmp_path, capsys):
    """With ids so short that only the columns' names tell what they are."""
    warehouse = tmp_path / "tables.duckdb"
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(
            """
            create schema landing;
            create table landing.orders as from (values
                (1, 7, '2024-01-01 10:00', 'paid'), (2, 8, '2024-01-02 10:00', 'paid')
            ) as t (order_id, customer_id, ordered_at, status);
            create table landing.order_items as from (values
                (1, 1, 'p', 7, 7.00), (2, 1, 'p', 7, 7.00), (2, 2, 'q', 1, 8.00)
            ) as t (order_id, line_number, product_id, quantity, unit_price);
            """
        )
    settings = "{raw_schema: landing, timezone: Asia/Tokyo}"

    def build_orders() -> Build:
        only = "+order_items +settings"
        tables = build(
            warehouse, shop="tables", settings=settings, select=only, exclude=ONLY_MODELS
        )
        return green(tables)

    build_orders()
    arguments = ["--shop", "tables", "--warehouse", str(warehouse), "--out", str(tmp_path / "no")]
    assert main(["forget", "--customer", "7", *arguments]) == 0
    source = capsys.readouterr().out.split("At the source")[1]
    assert "landing.orders.customer_id" in source and "landing.order_items.order_id" in source
    assert "quantity" not in source
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        assert connection.execute("select count(*) from landing.orders").fetchone() == (2,)
        assert connection.execute("select order_id, customer_id from marts.orders").fetchall() == [
            ("2", "8")
        ]
        assert connection.execute("select count(*) from marts.order_items").fetchone() == (2,)
        assert connection.execute("select count(*) from staging.quarantine").fetchone() == (0,)
        assert connection.execute(
            "select value from marts.settings where name = 'timezone'"
        ).fetchone() == ("Asia/Tokyo",)
    # A new order of hers, as the loader brings it.
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("insert into landing.orders values (3, 7, '2024-01-03 10:00', 'paid')")
        connection.execute("insert into landing.order_items values (3, 1, 'p', 1, 7.00)")
    later = build_orders()
    assert later.query("select order_id from marts.orders") == [("2",)]
    assert later.query("select count(*) from staging.quarantine") == [(0,)]


def test_the_demo_is_built_without_her(demo, tmp_path):
    warehouse = Path(shutil.copy(demo.warehouse, tmp_path / "demo.duckdb"))
    [(customer, n_orders)] = demo.query(
        "select customer_id, n_orders from marts.customers order by n_orders desc, 1 limit 1"
    )
    [(n_all,)] = demo.query("select count(*) from marts.orders where not is_cancelled")
    done = perennial(
        "forget", "--customer", customer, "--warehouse", warehouse, "--out", tmp_path / "no.html"
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert "is made in full" not in done.stdout
    assert "raw.orders.customer_id" in done.stdout.split("At the source")[1]
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        assert connection.execute(
            "select count(*) from marts.orders where not is_cancelled"
        ).fetchone() == (n_all - n_orders,)


# The parts


@pytest.mark.parametrize(
    ("text", "table", "expected"),
    [
        (b"order_id,customer_id\no1,x\no2,y\n", "orders", b"order_id,customer_id\no2,y\n"),
        (b"order_id,customer_id\r\no1,x\r\no2,y", "orders", b"order_id,customer_id\r\no2,y"),
        (b"\xef\xbb\xbforder_id,note\no1,\no2,o1\n", "orders",
         b"\xef\xbb\xbforder_id,note\no2,o1\n"),
        (b'order_id,note\n"o2","two\n\nlines, ""o1"""\n "o1" ,x\no1,y\n', "orders",
         b'order_id,note\n"o2","two\n\nlines, ""o1"""\n "o1" ,x\n'),
        (b"order_id,note\no2,\xff\n\n o1 ,x\n", "orders", b"order_id,note\no2,\xff\n\n"),
        (b"ORDER_ID,note\no1,x\n", "orders", b"ORDER_ID,note\n"),
        (b"order_id,note\no2,x,o1\no2,y,z\n", "orders", b"order_id,note\no2,y,z\n"),
        # A session counts only where nothing else names the sender.
        (b"event_id,session_id,anonymous_id\ne1,s1,\ne2,s1,d\n", "events",
         b"event_id,session_id,anonymous_id\ne2,s1,d\n"),
        (b"", "orders", b""),
    ],
)  # fmt: skip
def test_csv_lines_that_stay_keep_their_bytes(text, table, expected):
    forgotten = Forgotten("salt")
    forgotten.add({"order": {"o1"}, "session": {"s1"}}, "2024-12-31")
    target = io.BytesIO()
    n_gone = copy_csv(io.BytesIO(text), target, table, forgotten)
    assert target.getvalue() == expected
    assert n_gone == (text != expected)


def test_a_quote_without_its_end_swallows_nothing(tmp_path):
    file = tmp_path / "orders.csv"
    text = f'order_id,customer_id,note\no2,{BEN},"open\no3,{ANN},\no4,{BEN},\n'
    file.write_text(text)
    forgotten = Forgotten("salt")
    forgotten.add({"customer": {ANN}}, "2024-12-31")
    with pytest.raises(UserError, match="the quote before its last 3 lines is never closed"):
        take_out(RawFile("orders", file), forgotten)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("orders.csv", text)]


def test_a_linked_file_is_cleaned_where_it_is(tmp_path):
    (tmp_path / "data").mkdir()
    real = tmp_path / "data" / "o[1].csv"
    real.write_text(f"order_id,customer_id\no1,{ANN}\n")
    link = tmp_path / "orders.csv"
    link.symlink_to(real)
    forgotten = Forgotten("salt")
    forgotten.add({"customer": {ANN}}, "2024-12-31")
    assert take_out(RawFile("orders", link), forgotten) == 1
    assert link.is_symlink() and real.read_text() == "order_id,customer_id\n"
    assert take_out(RawFile("orders", link), forgotten) == 0


@pytest.mark.parametrize(
    ("word", "can_be_told"),
    [
        ("c0000181", True),
        ("ann@x.de", True),
        ("7f3e9a", True),
        ("20241231", False),
        ("c1", False),
        ("customer", False),
        ("1234567890123456", True),
    ],
)
def test_only_words_that_mean_nothing_else_are_sought_in_texts(word, can_be_told):
    assert is_distinctive(word) == can_be_told


@pytest.mark.parametrize(
    "text",
    [
        '{"user": "cust-ann-4711", "n": [12, "order-a-1001."]}',
        "https://x.de/a1b2c3d/?ref=cust-ann-4711&x=été2024#device_55_a",
        "I am ann@example.de (c0000181), C-17/3!",
        "",
    ],
)
def test_words_are_the_same_in_sql_and_python(text):
    [(words,)] = duckdb.execute(f"select {words_sql('$1')}", [text]).fetchall()
    assert set(words) == words_of(text)


def test_every_key_of_the_contract_is_sought():
    kinds = {
        column.name: column.person
        for table in read_contract().values()
        for column in table.columns
        if column.person
    }
    for name, kind in kinds.items():
        assert any(kind in found for ending, found in NAMES.items() if name.endswith(ending)), name
