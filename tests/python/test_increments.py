"""Increments: what was built day by day is what a build from nothing gives."""

from __future__ import annotations

import copy
import datetime as dt
import shutil
from pathlib import Path

import duckdb
import pytest
from comparing import differing
from conftest import NOTHING_LEARNED, ONLY_MODELS, build, green
from replay import MARKETING, USED, Recording, Warehouse, record
from sequences import Shop, compare, try_sequences


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record(tmp_path_factory.mktemp("recording"))


def a_year(shop: Shop) -> None:
    """Some history: orders, visits, refunds, accounts, rates, products, over some weeks."""
    for n in range(14):
        if n > 4:
            shop.rate(0, 0, n)
        shop.order(n, 0, n)
        shop.visit(n, n % 2, n + 1)
        if n % 3 == 0:
            shop.refund(1, 0, n)
        if n < 4:
            shop.account(n, n, n)
            shop.product(n, n, 0)
        shop.days(2, 0, 0)


def order_of(shop: Shop, customer: str, hours_ago: int) -> None:
    order_id = shop.new_id("o")
    moment = shop.now - dt.timedelta(hours=hours_ago)
    shop.insert("orders", order_id=order_id, customer_id=customer, ordered_at=moment, status="paid")
    shop.lines(order_id, 2, 1)


# Each is a load that comes after a year of others: (what happens, which table must move).
SCENARIOS = {
    "a day without data": (lambda shop: shop.days(0, 0, 0), None),
    "new orders": (lambda shop: order_of(shop, "c1", 0), "orders"),
    "late": (lambda shop: order_of(shop, "c1", 30), "orders"),
    "very late: before every other": (
        lambda shop: order_of(shop, "c1", 24 * 300), "cohort_activity"),
    "out of order: ingested before what was read": (
        lambda shop: shop.order_ingested_earlier(20, 3, 1), "orders"),
    "duplicated": (lambda shop: [shop.send_again(t, 0, 1) for t in range(6)], None),
    "corrected: cancelled": (lambda shop: shop.correct(0, 5, 1), "customer_periods"),
    "corrected: another customer": (lambda shop: shop.correct(1, 5, 0), "customers"),
    "corrected in place, and nothing says when": (
        lambda shop: shop.correct_line(2, 3, 0), "order_items"),
    "a refund after months": (lambda shop: shop.refund(1, 0, 0), "customer_periods"),
    "a refund that names no order": (lambda shop: shop.refund(0, 0, 1), "refunds"),
    "an identity linked after months": (
        lambda shop: shop.insert(
            "events", event_id="link", occurred_at=shop.now, event_type="login",
            anonymous_id="d0", customer_id="c4"),
        "sessions"),
    "a new country": (lambda shop: shop.account(0, 2, 0), "cohort_activity"),
    "a product that changes its category": (lambda shop: shop.product(1, 0, 0), "order_items"),
    "a rate that comes late": (
        lambda shop: shop.insert("exchange_rates", rate_date="2024-03-07", currency="USD",
                                 rate=0.5), "priced_orders"),
    "lines before their order": (
        lambda shop: [shop.lines_before_their_order(0, 1, 0), shop.order(1, 0, 1)], "order_items"),
    "an order that is deleted": (lambda shop: shop.delete(0, 4, 0), "orders"),
    "a first version that is deleted": (
        lambda shop: [shop.correct(4, 2, 1), shop.delete(0, 2, 0)], "orders"),
    "rows that are refused": (
        lambda shop: [shop.bad(n, 0, c) for n in range(6) for c in range(3)], None),
    "a new moment to look back from": (lambda shop: shop.days(3, 0, 0), "churn_features"),
}  # fmt: skip


@pytest.fixture(scope="module")
def after_a_year(recording, tmp_path_factory) -> tuple[Shop, Path]:
    """A shop whose warehouse was built after a year, and the file of that."""
    file = tmp_path_factory.mktemp("year") / "year.duckdb"
    shop = Shop(Warehouse(recording, file=file))
    a_year(shop)
    shop.warehouse.build()
    shop.warehouse.connection.close()
    return shop, file


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_load_after_a_year_gives_what_a_build_from_nothing_gives(
    name, recording, after_a_year, tmp_path
):
    happens, must_move = SCENARIOS[name]
    year, file = after_a_year
    shop = copy.copy(year)
    shop.warehouse = year.warehouse.of_file(Path(shutil.copy(file, tmp_path / "shop.duckdb")))
    warehouse, shadow = shop.warehouse, Warehouse(recording)
    before = warehouse.fingerprints()
    happens(shop)
    if name == "a new moment to look back from":
        shop.order(1, 0, 1)
    warehouse.build()
    shadow.build_in_full(warehouse)
    compare(warehouse, shadow, [name])
    # It was done by increments, and something did happen.
    followed = [reason for reason in warehouse.reasons.values() if reason is None]
    assert len(followed) >= 17, warehouse.reasons
    if must_move:
        assert warehouse.fingerprints()[must_move] != before[must_move]


def test_a_new_definition_of_retention_counts_what_it_asks_for(recording):
    """Cancelled again, asked for once more: as if it had always been, or never."""
    warehouse, shadow = Warehouse(recording), Warehouse(recording)
    shop = Shop(warehouse)
    a_year(shop)
    shop.insert("events", event_id="in", occurred_at=shop.now, event_type="login", customer_id="c1")
    warehouse.build()

    def days_of_logins(sql: str) -> int:
        for each in (warehouse, shadow):
            each.execute(sql)
        warehouse.build()
        shadow.build_in_full(warehouse)
        compare(warehouse, shadow, [sql])
        counted = "select count(*) from intermediate.activity_days where activity = 'login'"
        return warehouse.execute(counted).fetchone()[0]

    asked = (
        "insert into reference.retention_definitions by name"
        " select * replace ('logins' as definition, 'login' as return_event)"
        " from reference.retention_definitions where definition = 'order_months'"
    )
    assert days_of_logins("select 1") == 0
    assert days_of_logins(asked) > 0
    assert (
        days_of_logins("delete from reference.retention_definitions where definition = 'logins'")
        == 0
    )
    assert days_of_logins(asked) > 0


def test_marketing_tables_follow_their_parents(recording):
    """A touch, a grant and reviews: before their campaign and coupon, with them, without."""
    warehouse, shadow = (Warehouse(recording, USED + MARKETING) for _ in range(2))
    shop = Shop(warehouse)
    shop.order(1, 0, 1)
    for n in range(3):
        shop.insert(
            "campaign_touches",
            touch_id=f"t{n}",
            campaign_id=f"m{n}",
            customer_id="c1",
            sent_at=shop.now,
        )
        shop.insert(
            "coupon_grants",
            grant_id=f"g{n}",
            coupon_code=f"k{n}",
            customer_id="c1",
            granted_at=shop.now,
        )
        shop.insert("reviews", review_id=f"v{n}", product_id="p1", rating=n, reviewed_at=shop.now)

    def refused() -> list[tuple]:
        warehouse.build()
        shadow.build_in_full(warehouse)
        compare(warehouse, shadow, [])
        return [
            warehouse.execute(
                f"select count(*) from staging.checked_{table} where refusal is not null"
            ).fetchone()[0]
            for table in ("campaign_touches", "coupon_grants", "reviews")
        ]

    assert refused() == [3, 3, 1]
    shop.days(0, 0, 0)
    shop.insert(
        "campaigns",
        campaign_id="m1",
        name="spring",
        channel="email",
        starts_at=shop.now,
        ends_at=shop.now,
    )
    shop.insert("coupons", coupon_code="k2", kind="percent", value=10)
    shop.insert("reviews", review_id="v0", product_id="p1", rating=5, reviewed_at=shop.now)
    # The first version of the review stays refused, a good row beside it.
    assert refused() == [2, 2, 1]
    for table in ("checked_campaign_touches", "checked_coupon_grants", "checked_reviews"):
        assert warehouse.reasons[table] is None
    warehouse.execute("delete from raw.campaigns")
    assert refused() == [3, 2, 1]


def test_random_sequences(recording):
    """A sample; `make sequences` tries more."""
    totals = try_sequences(recording, 6)
    assert totals["increments"] > 100


def test_the_comparison_finds_a_forgotten_change(recording):
    """Let one table not hear of another's changes: the sequences must fail."""
    deaf = copy.deepcopy(recording)
    node = next(node for node in deaf.nodes if node.name == "sessions")
    forgotten = "changes.model_name = 'events'"
    assert any(forgotten in statement for statement in node.before)
    node.before = [s.replace(forgotten, "changes.model_name = 'nobody'") for s in node.before]
    with pytest.raises(AssertionError, match=r"differing: .*sessions"):
        try_sequences(deaf, 12, shorten=False)


def test_dbt_itself_builds_by_increments(small_shop, tmp_path):
    """Half a shop, then the rest, a changed setting, another column, --full-refresh."""
    warehouse = tmp_path / "days.duckdb"
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("create schema landing; create schema later")
        for file in small_shop.glob("*.csv"):
            columns = "*"
            if file.stem == "refunds":
                columns = "* exclude (reason)"
            connection.execute(
                f"create table later.{file.stem} as select {columns} from read_csv('{file}')"
            )
            has_time = "ingested_at" in file.open(encoding="utf-8").readline()
            until = "where ingested_at <= '2024-11-01'" if has_time else ""
            connection.execute(
                f"create table landing.{file.stem} as from later.{file.stem} {until}"
            )

    def settings(extra: str = "") -> str:
        return "{raw_schema: landing" + extra + "}"

    def same_as_from_nothing(extra: str = "") -> None:
        fresh = tmp_path / "fresh.duckdb"
        fresh.unlink(missing_ok=True)
        with duckdb.connect(str(fresh)) as connection:
            connection.execute(f"attach '{warehouse}' as days (read_only)")
            connection.execute("create schema landing")
            for file in small_shop.glob("*.csv"):
                connection.execute(
                    f"create table landing.{file.stem} as from days.landing.{file.stem}"
                )
        green(build(fresh, shop="tables", settings=settings(extra), exclude=NOTHING_LEARNED))
        assert differing(warehouse, fresh) == []

    green(build(warehouse, shop="tables", settings=settings(), exclude=NOTHING_LEARNED))
    with duckdb.connect(str(warehouse)) as connection:
        for file in small_shop.glob("*.csv"):
            connection.execute(
                f"insert into landing.{file.stem} from later.{file.stem} "
                f"except all from landing.{file.stem}"
            )
    second = green(build(warehouse, shop="tables", settings=settings(), exclude=NOTHING_LEARNED))
    assert "is made in full" not in second.output
    same_as_from_nothing()

    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("alter table landing.refunds add column reason varchar")
        connection.execute("update landing.refunds set reason = 'broken' where amount > 20")
    zone = ", timezone: Asia/Tokyo"
    third = green(build(warehouse, shop="tables", settings=settings(zone), exclude=NOTHING_LEARNED))
    assert "orders is made in full: a table above it was made in full" in third.output
    assert "checked_orders is made in full" not in third.output
    assert "checked_refunds is made in full: its SQL" in third.output
    assert third.query("select count(*) > 0 from marts.refunds where reason = 'broken'") == [
        (True,)
    ]
    same_as_from_nothing(zone)


def test_full_refresh_makes_everything_anew(small_shop, small_build, tmp_path):
    again = Path(shutil.copy(small_build.warehouse, tmp_path / "again.duckdb"))
    with duckdb.connect(str(again)) as connection:
        connection.execute("delete from marts.orders; delete from staging.checked_events")
    # Nobody told: a build that follows changes keeps what is there.
    kept = green(build(again, raw=small_shop, select="orders", exclude=ONLY_MODELS))
    assert kept.query("select count(*) from marts.orders") == [(0,)]
    done = build(again, raw=small_shop, exclude=NOTHING_LEARNED, full_refresh=True)
    assert green(done).fingerprints() == small_build.fingerprints()
