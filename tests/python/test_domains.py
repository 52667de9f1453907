"""What one category, sales channel or platform says about another."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import numpy as np
import polars as pl
import pytest

from perennial.recommend import domains, judge_domains, recommend_across
from perennial.recommend.purchases import CUTS

SHOPS = ("web", "app")


def shop(seed: int, is_alike: bool = True, n: int = 640) -> pl.DataFrame:
    """Rows of `domain_purchases`: who likes a kind on the web likes its twin in the app, or not."""
    rng = np.random.default_rng(seed)
    rows = {}
    for c in range(n):
        tastes = [c % 4, c % 4 if is_alike else int(rng.integers(0, 4))]
        # Some were in the app before the validation, some come after it, some after the test.
        entered = (c // 4) % 4
        for cut in range(3):
            for place, name in enumerate(SHOPS):
                if place and (entered > cut or entered == 3):
                    continue
                for _ in range(2):
                    item = f"{name}-{tastes[place]}-{rng.integers(0, 5)}"
                    key = (f"c{c:03}", item, "sales_channel", name)
                    first, after = rows.get(key, (cut, [False, False]))
                    if cut:
                        after[cut - 1] = True
                    rows[key] = first, after
    return pl.DataFrame(
        [(*key, CUTS[first], *after) for key, (first, after) in rows.items()],
        [
            "customer_id", "product_id", "domain_type", "domain", "known_from",
            "is_bought_after_validation", "is_bought_after_test",
        ],
        orient="row",
    )  # fmt: skip


def test_what_is_liked_here_is_liked_there():
    rows = shop(1)
    judged = judge_domains(rows)
    assert dict(judged.schema) == domains.SCHEMA
    into_app = judged.filter(target="app")
    assert into_app["status"].unique().to_list() == ["judged"]
    assert set(into_app.select("source", "cut").iter_rows()) == {
        (domains.EVERY, "validation"), (domains.EVERY, "test"), ("web", "test"),
    }  # fmt: skip
    assert (into_app["gain_low"] > 0.2).all()
    assert into_app.filter(cut="validation")["n_customers"].item() == 160
    # Nobody begins in the app.
    assert (
        judged.filter(target="any", cut="test")["gain"].item()
        == into_app.filter(cut="test", source=domains.EVERY)["gain"].item()
    )
    assert judged.filter(target="web")["status"].str.starts_with("abstained: 0 customers").all()
    shown = pl.concat(recommend_across(rows, judged))
    assert dict(shown.schema) == domains.LISTS_SCHEMA
    # Shown to who is not in the app yet: a quarter; of their own kind, by those who are in both.
    assert shown["customer_id"].n_unique() == 160
    assert shown["domain"].unique().to_list() == ["app"]
    assert shown["way"].unique().to_list() == ["elsewhere"]
    kinds = shown["product_id"].str.split("-").list.get(1).cast(pl.Int64)
    assert (kinds == shown["customer_id"].str.slice(1).cast(pl.Int64) % 4).all()
    owners = {
        (domain, product): set(who)
        for domain, product, who in rows.group_by("domain", "product_id")
        .agg("customer_id")
        .iter_rows()
    }
    in_app = set(rows.filter(domain="app")["customer_id"])
    for row in shown.iter_rows(named=True):
        because = owners["web", row["because_product_id"]]
        assert row["customer_id"] in because
        assert row["n_of"] == len(because & in_app)
        assert row["n_evidence"] == len(because & owners["app", row["product_id"]])
    shuffled = rows.sample(fraction=1, shuffle=True, seed=2)
    assert judge_domains(shuffled).equals(judged)
    assert pl.concat(recommend_across(shuffled, judged)).equals(shown)


def test_where_it_says_nothing_the_popular_is_shown():
    rows = shop(2, is_alike=False)
    judged = judge_domains(rows)
    assert (judged["gain_low"].fill_null(0) <= 0).all()
    shown = pl.concat(recommend_across(rows, judged))
    assert shown["way"].unique().to_list() == ["popular"]
    assert shown["because_product_id"].null_count() == shown.height
    app = rows.filter(domain="app")
    n_buyers = dict(app.group_by("product_id").len().iter_rows())
    for product, n, of in shown.select("product_id", "n_evidence", "n_of").unique().iter_rows():
        assert (n, of) == (n_buyers[product], app["customer_id"].n_unique())


def test_later_purchases_change_nothing_of_the_validation():
    rows = shop(3)
    judged = judge_domains(rows)
    # What became known after the validation, and did not come in its horizon.
    later = pl.col("known_from").is_in(["test", "today"]) & ~pl.col("is_bought_after_validation")
    changed = judge_domains(rows.filter(~later))
    assert changed.filter(cut="validation").equals(judged.filter(cut="validation"))
    assert not changed.filter(cut="test").equals(judged.filter(cut="test"))


@pytest.mark.parametrize("n", [0, 1, 40])
def test_few_purchases_or_none(n):
    rows = shop(4).sort(pl.all()).head(n)
    judged = judge_domains(rows)
    shown = pl.concat(recommend_across(rows, judged))
    assert (dict(judged.schema), dict(shown.schema)) == (domains.SCHEMA, domains.LISTS_SCHEMA)
    assert judged["status"].str.starts_with("abstained: ").all()
    # One domain leads nowhere.
    alone = rows.filter(domain="web")
    assert pl.concat(recommend_across(alone, judge_domains(alone))).is_empty()


@pytest.mark.parametrize("shop", ["demo", "complete_journey"])
def test_the_warehouse_asks_whom_it_says(shop, demo, real_shop):
    built = demo if shop == "demo" else real_shop(shop)
    with duckdb.connect(str(built.warehouse), read_only=True) as connection:
        lines = connection.sql(
            "select items.customer_id, items.product_id, items.ordered_on, orders.known_at, "
            "orders.sales_channel, nullif(products.category, 'unknown') as category "
            "from marts.order_items as items join marts.orders as orders using (order_id) "
            "join marts.products as products using (product_id) "
            "where items.customer_id is not null and not items.is_cancelled"
        ).pl()
        made = connection.sql("select distinct domain_type from intermediate.domain_purchases")
        types = [domain_type for (domain_type,) in made.order("all").fetchall()]
        judged = connection.sql("from marts.cross_domain_evaluation").pl()
        shown = connection.sql("from marts.cross_domain_recommendations").pl()
        ((today, zone),) = connection.execute(
            "select as_of_on, (select value from marts.settings where name = 'timezone') "
            "from intermediate.clock"
        ).fetchall()
    known_on = pl.col("known_at").dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.date()
    lines = lines.with_columns(known_on=known_on).filter(pl.col("ordered_on") <= today)
    assert judged.height > 20
    # The models ask for one type after the other.
    assert set(types) <= set(domains.DOMAIN_TYPES)
    assert shop != "demo" or tuple(types) == domains.DOMAIN_TYPES
    rows = judged.filter(
        (pl.col("source") == domains.EVERY)
        & (pl.col("target") != domains.ANY)
        & (pl.col("domain_type") != "platform")
    )
    pooled = judged.filter(target=domains.ANY, status="judged")
    assert pooled.height >= 2
    for row in rows.iter_rows(named=True):
        cut_on = today - timedelta(days=180 if row["cut"] == "validation" else 90)
        own = lines.drop_nulls(row["domain_type"])
        before = own.filter((pl.col("known_on") <= cut_on) & (pl.col("ordered_on") <= cut_on))
        after = own.filter(
            (pl.col("ordered_on") > cut_on)
            & (pl.col("ordered_on") <= cut_on + timedelta(days=90))
            & (pl.col(row["domain_type"]) == row["target"])
        )
        there = before.filter(pl.col(row["domain_type"]) == row["target"])
        sold = after.join(there, on="product_id", how="semi")
        new = set(before["customer_id"]) - set(there["customer_id"])
        assert row["n_customers"] == len(new & set(sold["customer_id"])), row
    # A domain in which the customer has bought is not shown.
    for domain_type in ("category", "sales_channel"):
        own = lines.select("customer_id", domain=domain_type).drop_nulls().unique()
        mine = shown.filter(domain_type=domain_type)
        assert mine.join(own, on=["customer_id", "domain"], how="semi").is_empty()
        assert mine.group_by("customer_id").agg(pl.col("domain").n_unique())["domain"].max() in (
            1, None,
        )  # fmt: skip
