"""New products: who sees which, and how good that is."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import numpy as np
import polars as pl
import pytest

from perennial.recommend import judge_new_items, new_items, recommend_new_items

CATEGORIES = ("tea", "mugs", "pens", "bags")
PRODUCTS = pl.DataFrame(
    {
        "product_id": [f"{kind}-{n}" for kind in CATEGORIES for n in range(8)],
        "category": [kind for kind in CATEGORIES for _ in range(8)],
    }
)
# The sixth of each category is new at the validation, the seventh at the test, the eighth now.
NEW = pl.DataFrame(
    [(cut, f"{kind}-{n}", 0) for n, cut in ((5, "validation"), (6, "test"), (7, "today"))
     for kind in CATEGORIES],
    ["cut", "product_id", "n_customers"], orient="row",
)  # fmt: skip


def shop(seed: int, faithful: float = 0.9, n: int = 400, horizon: int = 50) -> pl.DataFrame:
    """Rows of `item_purchases` of customers who mostly stay with a category."""
    rng = np.random.default_rng(seed)
    rows = []
    for c in range(n):
        own = CATEGORIES[c % 4]
        for day in rng.integers(0, 200, 6):
            kind = own if rng.random() < faithful else CATEGORIES[rng.integers(0, 4)]
            there = 5 + (day < 100) + (day < 50)
            # What is new is bought by many.
            item = there - 1 if rng.random() < 0.4 and there > 5 else rng.integers(0, 5)
            rows.append((f"c{c:03}", f"{kind}-{item}", int(day)))
    known_from = (
        pl.when(pl.col("days_ago") >= 2 * horizon).then(pl.lit("validation"))
        .when(pl.col("days_ago") >= horizon).then(pl.lit("test")).otherwise(pl.lit("today"))
    )  # fmt: skip
    names = ["customer_id", "product_id", "days_ago"]
    return (
        pl.DataFrame(rows, names, orient="row")
        .unique()
        .with_columns(known_from=known_from, horizon_days=pl.lit(horizon))
    )


def test_who_stays_with_a_category_sees_what_is_new_in_it():
    rows = shop(1)
    judged = judge_new_items(rows, NEW, PRODUCTS)
    assert dict(judged.schema) == new_items.SCHEMA
    (chosen,) = judged.filter("is_chosen")["way"].unique()
    validation = judged.filter(cut="validation")
    assert validation.filter(way=chosen)["ndcg"].item() == validation["ndcg"].max()
    assert chosen != "popular"
    content = judged.filter(way="content")
    assert (content["gain_low"] > 0.2).all()
    assert judged.filter(way="popular")["gain"].to_list() == [0, 0]
    # Who bought something new for the first time, counted one by one.
    for cut, first, last, kind in (("validation", 50, 100, 5), ("test", 0, 50, 6)):
        before = rows.filter(pl.col("days_ago") >= last)
        own = {(c, p) for c, p in before.select("customer_id", "product_id").iter_rows()}
        came = rows.filter(pl.col("days_ago").is_between(first, last, closed="left"))
        who = {
            c
            for c, p in came.select("customer_id", "product_id").iter_rows()
            if p.endswith(f"-{kind}") and (c, p) not in own and c in {c for c, _ in own}
        }
        assert judged.filter(cut=cut)["n_customers"].unique().to_list() == [len(who)]
    shown = pl.concat(recommend_new_items(rows, NEW, PRODUCTS, judged))
    assert dict(shown.schema) == new_items.LISTS_SCHEMA
    first = shown.filter(recommendation_rank=1)
    mine = {f"c{c:03}": CATEGORIES[c % 4] for c in range(400)}
    hits = [p == f"{mine[c]}-7" for c, p in first.select("customer_id", "product_id").iter_rows()]
    assert np.mean(hits) > 0.9
    told = first.drop_nulls("because_product_id")
    assert (
        told["because_product_id"].str.split("-").list.first()
        == told["product_id"].str.split("-").list.first()
    ).all()
    bought = rows.select("customer_id", "product_id").unique()
    assert shown.join(bought, on=["customer_id", "product_id"], how="semi").is_empty()
    assert (
        told.rename({"product_id": "new", "because_product_id": "product_id"})
        .join(bought, on=["customer_id", "product_id"], how="anti")
        .is_empty()
    )
    shuffled = rows.sample(fraction=1, shuffle=True, seed=2)
    assert judge_new_items(shuffled, NEW.reverse(), PRODUCTS).equals(judged)
    assert pl.concat(recommend_new_items(shuffled, NEW.reverse(), PRODUCTS, judged)).equals(shown)


def test_where_nobody_stays_the_popular_is_shown():
    rows = shop(2, faithful=0)
    judged = judge_new_items(rows, NEW, PRODUCTS)
    assert judged.filter("is_chosen")["way"].unique().to_list() == ["popular"]
    new = NEW.with_columns(n_customers=pl.when(product_id="pens-7").then(9).otherwise(3))
    shown = pl.concat(recommend_new_items(rows, new, PRODUCTS, judged))
    bought = rows.filter(product_id="pens-7")["customer_id"].to_list()
    first = shown.filter(~pl.col("customer_id").is_in(bought), recommendation_rank=1)
    assert first["product_id"].unique().to_list() == ["pens-7"]
    assert shown["because_product_id"].null_count() == shown.height


def test_later_purchases_change_nothing_of_the_validation():
    rows = shop(3)
    judged = judge_new_items(rows, NEW, PRODUCTS)
    later = rows.filter(pl.col("days_ago") < 50).with_columns(product_id=pl.lit("bags-5"))
    changed = pl.concat([rows.filter(pl.col("days_ago") >= 50), later]).unique(
        ["customer_id", "product_id", "days_ago"]
    )
    again = judge_new_items(changed, NEW, PRODUCTS)
    assert again.filter(cut="validation").equals(judged.filter(cut="validation"))
    assert not again.filter(cut="test").equals(judged.filter(cut="test"))


@pytest.mark.parametrize("n", [0, 1, 30])
def test_few_purchases_or_none(n):
    rows = shop(4).sort(pl.all()).head(n)
    judged = judge_new_items(rows, NEW, PRODUCTS)
    shown = pl.concat(recommend_new_items(rows, NEW, PRODUCTS, judged))
    assert (dict(judged.schema), dict(shown.schema)) == (new_items.SCHEMA, new_items.LISTS_SCHEMA)
    if n:
        assert judged["status"].str.starts_with("abstained: ").all()
        assert judged.filter("is_chosen")["way"].unique().to_list() == ["popular"]
        assert shown["customer_id"].n_unique() == rows["customer_id"].n_unique()
    none = pl.concat(recommend_new_items(rows, NEW.filter(cut="test"), PRODUCTS, judged))
    assert none.is_empty() and dict(none.schema) == new_items.LISTS_SCHEMA


@pytest.mark.parametrize("shop", ["demo", "online_retail", "complete_journey"])
def test_the_warehouse_knows_what_is_new(shop, demo, real_shop):
    built = demo if shop == "demo" else real_shop(shop)
    with duckdb.connect(str(built.warehouse), read_only=True) as connection:
        items, orders, found, shown, judged = (
            connection.sql(f"from {table}").pl()
            for table in (
                "marts.order_items", "marts.orders", "intermediate.new_items",
                "marts.new_item_recommendations", "marts.new_item_evaluation",
            )
        )  # fmt: skip
        listed = connection.sql(
            "select product_id, cast(first_ingested_at as date) as day from staging.stg_products"
        ).fetchall()
        ((today, zone),) = connection.execute(
            "select as_of_on, (select value from marts.settings where name = 'timezone') "
            "from intermediate.clock"
        ).fetchall()
    known = dict(
        orders.select(
            "order_id",
            pl.col("known_at").dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.date(),
        ).iter_rows()
    )
    expected = set()
    for cut, days in (("validation", 180), ("test", 90), ("today", 0)):
        cut_on = today - timedelta(days=days)
        first: dict[str, tuple] = {}
        for row in items.filter(~pl.col("is_cancelled")).iter_rows(named=True):
            # Whatever is in the warehouse is known today.
            if cut == "today" or known[row["order_id"]] <= cut_on:
                day, who = first.get(row["product_id"], (row["ordered_on"], set()))
                if row["customer_id"] is not None:
                    who.add(row["customer_id"])
                first[row["product_id"]] = min(day, row["ordered_on"]), who
        for product, (day, who) in first.items():
            if day > cut_on - timedelta(days=30):
                expected.add((cut, product, day, len(who)))
        for product, day in listed:
            if product not in first and (cut == "today" or (day is not None and day <= cut_on)):
                expected.add((cut, product, None, 0))
    rows = found.select("cut", "product_id", "first_sold_on", "n_customers").iter_rows()
    assert set(rows) == expected
    assert shown.filter(pl.col("recommendation_rank") > new_items.LENGTH).is_empty()
    is_told = shown["because_product_id"].is_not_null()
    assert shown.filter(is_told)["explanation"].str.starts_with("new, and like ").all()
    if shop == "demo":
        # New products are planted, most of them liked by one kind of customers.
        assert judged["status"].unique().to_list() == ["judged"]
        assert shown["customer_id"].n_unique() > 1000
