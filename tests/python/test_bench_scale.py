"""The benchmark of scale: its marts in Polars are the warehouse's, and its figures are right."""

from __future__ import annotations

import copy
import datetime as dt
import json
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
from conftest import PROJECT
from independent import differences, read

from perennial.errors import UserError
from perennial.fingerprints import marts_of
from perennial.simulate import DEFAULTS, plan_of, write_shop

sys.path.insert(0, str(PROJECT / "benchmarks"))

import polars_marts
import scale
from polars_marts import MARTS, Place, baskets, visits, write_marts
from scaling import children, floor, measuring
from scaling.builds import (
    Build,
    Model,
    busy_seconds,
    fingerprints,
    last_models,
    models_above,
    shared_seconds,
)
from scaling.figures import (
    WAYS,
    dearest,
    section,
    slope,
    slopes,
    summary,
)
from scaling.picture import draw
from scaling.shops import rows_of, simulated, split, tables_of
from tables import marks, replace_section

BEGIN, END = marks("scale")
KEYS = {
    "orders": ["order_id"],
    "order_items": ["order_id", "line_number"],
    "refunds": ["refund_id"],
    "identity_links": ["anonymous_id", "customer_id"],
    "events": ["event_id"],
    "sessions": ["session_id"],
    "customers": ["customer_id"],
    "cohort_retention": ["grain", "segment_type", "segment", "cohort_start_on", "period_number"],
    "rfm": ["customer_id"],
    "item_similarity": ["basis", "product_id", "similar_product_id"],
    "products": ["product_id"],
}


@pytest.fixture(scope="module")
def parquet_shop(tmp_path_factory):
    """The shop of the fixture small_shop, as parquet."""
    folder = tmp_path_factory.mktemp("scale") / "shop"
    write_shop(plan_of(DEFAULTS | {"customers": "1000", "seed": "11"}), folder, "parquet")
    return folder


@pytest.fixture(scope="module")
def place(parquet_shop):
    """The marts of that shop in Polars, of its visitors a fifth at a time."""
    made = Place(parquet_shop, parquet_shop.parent / "marts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(polars_marts, "EVENTS_AT_ONCE", 10_000)
        seconds = write_marts(made)
    assert len(list((made.out / "events").iterdir())) > 3
    assert min(seconds.values()) > 0
    return made


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Decimals as whole numbers of their last digit, as `read` has them."""
    return frame.with_columns(
        frame[name].to_physical().cast(pl.Int64)
        for name, kind in frame.schema.items()
        if isinstance(kind, pl.Decimal)
    )


@pytest.mark.parametrize("mart", MARTS)
def test_a_mart_in_polars_is_the_mart_of_the_warehouse(mart, place, small_build):
    mine, theirs = plain(place.mart(mart).collect()), read(small_build.warehouse, f"marts.{mart}")
    assert mine.columns == theirs.columns
    assert mine.height > 40
    # Its terms are some thousand times what is left of them.
    loose = {"absolute": 1e-6} if mart == "item_similarity" else {}
    assert differences(mine, theirs, KEYS[mart], **loose) == []


def test_visitors_at_one_go_or_a_part_at_a_time(place, tmp_path):
    whole = Place(place.raw, tmp_path)
    visits(whole)
    for mart in ("events", "sessions", "identity_links"):
        assert len(list((tmp_path / mart).iterdir())) == 1
        assert differences(whole.mart(mart).collect(), place.mart(mart).collect(), KEYS[mart]) == []


def test_of_a_huge_basket_the_same_items_are_counted_as_in_sql(tmp_path):
    items = pl.DataFrame(
        {
            "order_id": ["huge"] * 130 + ["small"] * 3,
            "product_id": [f"p{n}" for n in range(130)] + ["p1", "p2", "p2"],
            "is_cancelled": False,
        }
    )
    items.write_parquet(tmp_path / "order_items.parquet")
    every, counted = baskets(Place(tmp_path, tmp_path), "order")
    assert every.collect().height == 132
    expected = duckdb.sql(
        """
        select order_id as basket_id, product_id
        from (select distinct order_id, product_id from items)
        qualify row_number() over (
            partition by order_id order by md5(order_id || '|' || product_id), product_id
        ) <= 100
        """
    ).pl()
    assert counted.height == 102
    assert counted.sort(pl.all()).equals(expected.sort(pl.all()))


def test_the_slope_of_a_power_law_is_its_exponent():
    points = [(size, 0.003 * size**1.3) for size in (1e5, 1e6, 1e7)]
    assert slope(points) == pytest.approx(1.3)
    assert slope(points[:1]) is None
    assert slope([points[0], points[0]]) is None


def model(name: str, began: float, ended: float, seconds: float | None = None) -> Model:
    start = dt.datetime(2025, 1, 1)
    moments = [start + dt.timedelta(seconds=second) for second in (began, ended)]
    return Model(name, "marts", "in full", *moments, seconds or ended - began, 10, 0)


def test_time_is_shared_among_the_models_that_are_at_work():
    #   a ────────────        0 to 6
    #   b    ───              1 to 3
    #   c            ───      5 to 8, then nothing until d
    models = [model("a", 0, 6), model("b", 1, 3), model("c", 5, 8), model("d", 10, 11)]
    assert busy_seconds(models, "abcd") == 9
    assert busy_seconds(models, "bc") == 5
    assert busy_seconds(models, "") == 0
    parts = [shared_seconds(models, name) for name in "abcd"]
    assert parts == [4.5, 1, 2.5, 1]
    assert shared_seconds(models, "ab") == 5.5


def test_what_a_mart_is_made_of_is_everything_above_it():
    above = {
        "model.p.checked": ["source.p.raw.orders"],
        "model.p.orders": ["model.p.checked", "seed.p.names"],
        "model.p.other": ["model.p.checked"],
        "seed.p.names": None,
    }
    nodes = {
        # A seed depends on macros only.
        key: {"name": key.split(".")[-1], "depends_on": {"nodes": parents} if parents else {}}
        for key, parents in above.items()
    }
    assert models_above({"nodes": nodes}, ["orders"]) == {"orders", "checked", "names"}


def test_the_run_log_tells_what_each_model_took(small_build):
    models = {model.name: model for model in last_models(small_build.warehouse)}
    [(n_orders,)] = small_build.query("select count(*) from marts.orders")
    assert models["orders"].n_rows == n_orders
    assert models["orders"].made == "in full"
    assert models["orders"].schema == "marts"
    assert models["stg_orders"].n_bytes == 0
    assert models["events"].n_bytes > models["rfm"].n_bytes > 0
    size = small_build.warehouse.stat().st_size
    assert 0.5 * size < sum(model.n_bytes for model in models.values()) < size
    assert [m.seconds for m in models.values()] == sorted(m.seconds for m in models.values())[::-1]


def test_a_split_shop_is_the_shop(parquet_shop, tmp_path):
    loads = split(parquet_shop, 0.01, tmp_path / "split")
    moment = dt.datetime.fromisoformat(loads.moment)
    whole, first = rows_of(parquet_shop), rows_of(loads.first)
    assert {table: first[table] + loads.held_back[table] for table in first} == whole
    assert 0.005 < loads.held_back["orders"] / whole["orders"] <= 0.01
    assert loads.held_back["events"] > 0
    assert loads.held_back["exchange_rates"] == 0
    for table in ("orders", "events"):
        newest = pl.scan_parquet(loads.first / f"{table}_*.parquet")
        oldest = pl.scan_parquet(loads.later / f"{table}_*.parquet")
        assert newest.select(pl.col("ingested_at").max()).collect().item() <= moment
        assert oldest.select(pl.col("ingested_at").min()).collect().item() > moment
    for file in loads.later.iterdir():
        file.rename(loads.first / file.name)
    with duckdb.connect() as connection:
        for table, relation in tables_of(loads.first).items():
            before = tables_of(parquet_shop)[table]
            more = connection.execute(
                f"select count(*) from (from {relation} except all from {before})"
            ).fetchone()[0]
            assert more == 0, table
    with pytest.raises(UserError, match="are none"):
        split(parquet_shop, 1e-9, tmp_path / "split")


def test_a_shop_is_used_again_only_if_it_is_the_same(tmp_path):
    shop = simulated(100, tmp_path)
    assert rows_of(shop)["orders"] > 0
    before = (shop / "orders.parquet").stat()
    assert simulated(100, tmp_path) == shop
    assert (shop / "orders.parquet").stat() == before
    truth = shop / "truth/parameters.json"
    truth.write_text(json.dumps(json.loads(truth.read_text()) | {"dirt": 0.1}))
    with pytest.raises(UserError, match="no clean simulated shop of 24 customers"):
        simulated(100, tmp_path)


def test_memory_is_that_of_all_processes_of_a_command():
    hold = "held = b'x' * 150_000_000; import time; time.sleep(.5)"
    call = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}]); print('done')"
    )
    cost, said = children.run(
        [sys.executable, "-c", call], children.measured_environment(), "the test"
    )
    assert said == "done\n"
    assert 150e6 < cost.peak_bytes < 400e6
    assert cost.seconds > 0.5
    assert 0 <= cost.others <= 1


def test_a_command_that_fails_ends_with_a_sentence(capfd):
    call = "import sys; print('why it failed', file=sys.stderr); sys.exit(3)"
    with pytest.raises(UserError, match="the test ended with exit code 3"):
        children.run([sys.executable, "-c", call], children.measured_environment(), "the test")
    assert "why it failed" in capfd.readouterr().err


def test_settings_of_whoever_starts_it_reach_no_build(monkeypatch):
    monkeypatch.setenv("PERENNIAL_TIMEZONE", "Europe/Berlin")
    monkeypatch.setenv("DBT_FULL_REFRESH", "1")
    environment = children.measured_environment(PERENNIAL_SHOP="files")
    assert not {"PERENNIAL_TIMEZONE", "DBT_FULL_REFRESH"} & environment.keys()
    assert environment["PERENNIAL_SHOP"] == "files"


def test_the_floor_reads_everything_and_writes_the_marts(small_build, parquet_shop, tmp_path):
    out = tmp_path / "floor.duckdb"
    found = measuring.measure_floor(parquet_shop, small_build.warehouse, out)
    assert found["seconds"] > found["read"] + found["write"] > 0
    assert not out.exists()
    assert floor.write(small_build.warehouse, out) > 0
    assert fingerprints(out) == fingerprints(small_build.warehouse)
    with duckdb.connect(str(out)) as connection:
        connection.execute(f"attach '{small_build.warehouse}' as built (read_only)")
        assert marts_of(connection, "floor") == marts_of(connection, "built")


@pytest.fixture(scope="module")
def results(small_build):
    """What measuring two sizes gives, the second ten times as large and as slow."""
    models = last_models(small_build.warehouse)
    build = Build(20.0, 2_000_000_000, 0.25, 15.0, 10**8, models).as_json()
    increment = copy.deepcopy(build) | {"seconds": 3.0, "busy": 1.0}
    costs = {"peak_bytes": 10**9, "n_bytes": 10**7, "others": 0.0}
    size = {
        "orders": 4000,
        "events": 40_000,
        "raw_bytes": 10**7,
        "rebuild": build,
        "increment": increment,
        "held_back": {"share": 0.001},
        "differing": [],
        "polars": {"seconds": 10.0, **costs},
        "same_marts": {"seconds": 4.0, "after_staging": 3.0},
        "floor": {"seconds": 2.0, "read": 0.5, "write": 1.0, **costs},
    }
    large = copy.deepcopy(size)
    large["orders"] *= 10
    for part in ("rebuild", "increment", "polars", "floor"):
        large[part]["seconds"] *= 10
        large[part]["busy"] = 10 * size[part].get("busy", 0)
    for built in large["rebuild"]["models"]:
        built["seconds"] *= 100
    sizes = [size, large]
    return {
        "measured_on": "2025-01",
        "machine": measuring.machine(),
        "sizes": sizes,
        "slopes": slopes(sizes),
    }


def test_slopes_are_told_of_models_that_take_their_time(results):
    assert results["slopes"]["rebuild"] == pytest.approx(1)
    assert results["slopes"]["floor"] == pytest.approx(1)
    slow = {m["name"] for m in results["sizes"][0]["rebuild"]["models"] if m["seconds"] > 0.5}
    assert results["slopes"].keys() - WAYS.keys() == slow
    assert [results["slopes"][name] for name in slow] == pytest.approx([2] * len(slow))


def test_tables_hold_the_figures(results):
    text = summary(results)
    assert "| 4,000 |" in " ".join(text.split())
    assert "0.40" in text  # 4 s of the marts, 10 s of Polars
    assert "10.0" in text  # 20 s and 2 s
    assert "15.0%" in text  # 3 s and 20 s
    assert len({len(line) for line in text.splitlines()}) == 1
    every = dearest(results, None).splitlines()
    assert len(every) == 2 + len(results["sizes"][1]["rebuild"]["models"])
    assert len(dearest(results).splitlines()) == 12
    first = results["sizes"][1]["rebuild"]["models"][0]
    assert f"`{first['name']}`" in every[2]
    assert f"{first['seconds']:,.2f}" in every[2]


def test_a_page_gets_what_stands_between_its_marks(results, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        replace_section(page, "scale", section(results, "scale.svg"))
        text = page.read_text()
        assert text.startswith(f"before\n{BEGIN}\n\n")
        assert text.endswith(f"\n\n{END}\nafter\n")
        assert "old" not in text
        assert text.count("](scale.svg)") == 1
        assert "every mart was equal" in text
        assert "up to 25% of the cores" in text
        assert "rebuild 1.00, models of the rebuild 1.00" in text
    wrong = copy.deepcopy(results)
    wrong["sizes"][1]["differing"] = ["rfm"]
    assert "differ**: 40,000 orders: rfm" in section(wrong, None)
    page.write_text("no marks")
    with pytest.raises(UserError, match="lacks the lines"):
        replace_section(page, "scale", "text")


def test_the_picture_shows_every_way_and_the_dearest_models(results, tmp_path):
    file = tmp_path / "scale.svg"
    draw(results, file)
    text = file.read_text("utf-8")
    for words in ("build from nothing", "daily increment", "in Polars", "read and write alone"):
        assert words in text
    for dear in results["sizes"][1]["rebuild"]["models"][:10]:
        assert dear["name"] in text


def test_earlier_results_are_told_again(results, tmp_path, capsys):
    page, kept, again = tmp_path / "page.md", tmp_path / "kept.json", tmp_path / "again.json"
    page.write_text(f"{BEGIN}\n{END}\n")
    kept.write_text(json.dumps(results))
    picture = tmp_path / "pictures" / "scale.svg"
    picture.parent.mkdir()
    arguments = ["--results", kept, "--json", again, "--svg", picture, "--markdown", page]
    assert scale.main([str(argument) for argument in arguments]) == 0
    assert json.loads(again.read_text()) == results
    assert "](pictures/scale.svg)" in page.read_text()
    printed = capsys.readouterr().out
    assert summary(results) in printed
    assert "(1 is linear): rebuild 1.00" in printed
    results = copy.deepcopy(results)
    results["sizes"][0]["differing"] = ["orders"]
    kept.write_text(json.dumps(results))
    assert scale.main(["--results", str(kept)]) == 1
    assert "differ in orders" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "one of the arguments --orders --results is required"),
        (["--orders", "many"], "many is no number of orders; give a whole one from 1,000"),
        (["--orders", "10"], "10 is no number of orders"),
        (["--orders", "1e5", "nan"], "nan is no number of orders"),
        (["--orders", "1e5", "--share", "0"], "0 is no share; give a number above 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stopped:
        scale.main(arguments)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--svg", "picture.gif"], "picture.gif is neither .svg nor .png"),
        (["--json", "nowhere/x.json"], "nowhere for x.json; make it"),
        (["--markdown", "nowhere.md"], "nowhere.md cannot be read (No such file or directory)"),
    ],
)
def test_what_cannot_be_written_is_named_before_anything_is_measured(
    arguments, sentence, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert scale.main(["--orders", "1e5", "--folder", str(tmp_path / "kept"), *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()


def test_a_shop_for_which_there_is_no_room_is_not_begun(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measuring, "BYTES_PER_ORDER", 10**15)
    assert scale.main(["--orders", "1e5", "--folder", str(tmp_path)]) == 2
    assert "100,000 orders need some" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_results_of_something_else_are_refused(tmp_path, capsys):
    file = tmp_path / "x.json"
    file.write_text("{}")
    assert scale.main(["--results", str(file)]) == 2
    assert "no file that --json has written" in capsys.readouterr().err


def test_every_mart_of_polars_has_its_key():
    assert KEYS.keys() == set(MARTS)
    assert Path(polars_marts.SEGMENTS).is_file()
