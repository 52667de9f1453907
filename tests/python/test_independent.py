"""The built warehouses against the same figures computed independently of their SQL.

The real shops are skipped where their data are absent.
"""

import datetime as dt
import functools
from pathlib import Path

import independent
import polars as pl
import pytest
from conftest import SHARED_DATA
from independent import Shop, differences, read
from scipy.stats import chi2

DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

SHOPS = {
    "online_retail": Shop("Europe/London", "GBP"),
    "complete_journey": Shop(
        "America/New_York", "USD", week_start=7, as_of=dt.datetime(2018, 1, 1, 5, 0, 0)
    ),
}


@pytest.fixture(scope="session")
def warehouses(demo, real_shop):
    """A function from a shop's name to its warehouse's file; skips where there is none."""
    return lambda name: (demo if name == "demo" else real_shop(name)).warehouse


@pytest.fixture(scope="module", autouse=True)
def remember():
    """Read each table and compute each core table once."""
    kept = {
        name: getattr(independent, name)
        for name in ("read", "orders", "refunds", "customers", "events")
    }
    for name, function in kept.items():
        setattr(independent, name, functools.cache(function))
    yield
    for name, function in kept.items():
        setattr(independent, name, function)


@pytest.fixture(params=[*SHOPS, "demo"])
def shop(request, warehouses):
    """A warehouse and its shop; the simulated shop is as the warehouse says it is."""
    warehouse = warehouses(request.param)
    if request.param in SHOPS:
        return warehouse, SHOPS[request.param]
    said = dict(read(warehouse, "marts.settings").select("name", "value").iter_rows())
    return warehouse, Shop(
        said["timezone"],
        said["currency"],
        week_start=DAYS.index(said["week_start"]) + 1,
        as_of=dt.datetime.fromisoformat(said["as_of"]),
    )


def same(*arguments, **options):
    found = differences(*arguments, **options)
    assert not found, "\n".join(found)


def test_orders(shop):
    warehouse, settings = shop
    same(independent.orders(warehouse, settings), read(warehouse, "marts.orders"), ["order_id"])


def test_order_items(shop):
    warehouse, settings = shop
    mine = independent.order_lines(warehouse, settings)
    theirs = read(warehouse, "marts.order_items")
    same(mine, theirs, ["order_id", "line_number"])
    # Cent for cent the lines of an order add up to the order.
    sums = theirs.group_by("order_id").agg(
        gross_amount=pl.col("gross_amount").sum(),
        discount_amount=(pl.col("line_discount_amount") + pl.col("order_discount_amount")).sum(),
        net_amount=pl.col("net_amount").sum(),
    )
    orders = independent.orders(warehouse, settings).filter(pl.col("n_lines") > 0)
    same(sums, orders, ["order_id"])


def test_refunds(shop):
    warehouse, settings = shop
    same(independent.refunds(warehouse, settings), read(warehouse, "marts.refunds"), ["refund_id"])


def test_customers(shop):
    warehouse, settings = shop
    same(
        independent.customers(warehouse, settings),
        read(warehouse, "marts.customers"),
        ["customer_id"],
    )


def test_cohort_retention(shop):
    warehouse, settings = shop
    keys = ["grain", "segment_type", "segment", "cohort_start_on", "period_number"]
    same(
        independent.cohort_retention(warehouse, settings),
        read(warehouse, "marts.cohort_retention"),
        keys,
    )


def test_rfm(shop):
    warehouse, settings = shop
    theirs = read(warehouse, "marts.rfm")
    mine = independent.rfm(warehouse, settings)
    same(mine, theirs, ["customer_id"])
    scores = ["recency_score", "frequency_score", "monetary_score"]
    named = mine.join(read(warehouse, "reference.rfm_segments"), on=scores, how="left")
    same(named, theirs, ["customer_id"], ["segment"])


@pytest.mark.parametrize("basis", ["order", "customer"])
def test_item_similarity(shop, basis):
    warehouse, settings = shop
    theirs = read(warehouse, "marts.item_similarity").filter(pl.col("basis") == basis)
    # The ratio is a difference of sums as large as n * ln(n): it is compared to 1e-6 besides.
    exact = independent.item_similarity(warehouse, settings, basis)
    keys = ["product_id", "similar_product_id"]
    same(exact.drop("log_likelihood_ratio"), theirs, keys)
    same(exact, theirs, keys, ["log_likelihood_ratio"], absolute=1e-6)
    # Its p-value is fitted to 1.2e-7 of itself, and follows the ratio.
    wanted = chi2.sf(theirs["log_likelihood_ratio"].to_numpy(), 1)
    assert theirs["log_likelihood_p_value"].to_numpy() == pytest.approx(
        wanted, rel=2e-7, abs=1e-300
    )


def test_sessions(shop):
    warehouse, settings = shop
    events = independent.events(warehouse, settings)
    if events.is_empty():
        pytest.skip("this shop has no events")
    theirs = read(warehouse, "marts.events")
    same(events.drop("session_number"), theirs, ["event_id"])
    sessions = independent.sessions(warehouse, settings)
    same(sessions.drop("session_number"), read(warehouse, "marts.sessions"), ["session_id"])
    # Every visit lies in the session of ours that theirs is named after.
    ours = sessions.select("visitor_id", "session_number", "session_id")
    named = events.join(ours, on=["visitor_id", "session_number"], how="left")
    same(named.select("event_id", "session_id"), theirs, ["event_id"])


def test_churn_features(shop):
    warehouse, settings = shop
    theirs = read(warehouse, "intermediate.churn_features")
    moments = theirs["snapshot_at"].unique().sort()
    for moment in {moments[-1], moments[len(moments) // 2]}:
        same(
            independent.churn_features(warehouse, settings, moment),
            theirs.filter(pl.col("snapshot_at") == moment),
            ["customer_id"],
        )
    now = independent.as_of(warehouse, settings)
    # The label of the newest snapshot is known, and that of the next would not be.
    later = moments[-1] + dt.timedelta(days=90)
    assert later <= now < later + dt.timedelta(days=30, hours=1)
    today = read(warehouse, "intermediate.churn_features_today")
    assert today["snapshot_at"].unique().to_list() == [now]
    same(
        independent.churn_features(warehouse, settings, now).drop("is_churned"),
        today,
        ["customer_id"],
    )


PUBLISHED = {
    "duplicates": 3_092,
    "sale_lines": 374_644,
    "invoices": 14_860,
    "invoices_with_customer": 13_674,
    "customers": 3_721,
    "gross_cents": 766_874_423,
}


def online_retail_file() -> Path:
    file = SHARED_DATA / "online_retail" / "online_retail.parquet"
    if not file.exists():
        pytest.skip(f"no file at {file}")
    return file


def test_published_counts_of_online_retail():
    assert independent.online_retail_counts(online_retail_file()) == PUBLISHED


def test_published_counts_in_the_warehouse(warehouses):
    warehouse = warehouses("online_retail")
    kept = read(warehouse, "marts.orders").filter(~pl.col("is_cancelled"))
    assert kept.height == PUBLISHED["invoices"]
    assert kept["customer_id"].count() == PUBLISHED["invoices_with_customer"]
    assert kept["customer_id"].drop_nulls().n_unique() == PUBLISHED["customers"]
    total = kept.select(pl.col("gross_amount").sum() + pl.col("shipping_amount").sum()).item()
    assert total == PUBLISHED["gross_cents"]
