"""The simulator: same bytes, the contract's rules, the planted truth, exact dirt."""

import argparse
import hashlib
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
import yaml

from perennial import simulate
from perennial.cli import main
from perennial.contract import read_contract
from perennial.errors import UserError
from perennial.simulate import words
from perennial.simulate.catalogue import make_catalogue
from perennial.simulate.parameters import Plan

ROOT = Path(__file__).parents[2]
UNTIL = date(2025, 1, 1)


def raw_contract():
    """The contract as its own file has it: table -> list of (name, type, rules)."""
    content = yaml.safe_load((ROOT / "models/staging/_raw.yml").read_text(encoding="utf-8"))
    return {
        table["name"]: [
            (c["name"], c["data_type"], (c.get("config") or {}).get("meta", {}))
            for c in table["columns"]
        ]
        for table in content["sources"][0]["tables"]
    }


CONTRACT = raw_contract()


def write(folder, customers=600, *, seed=11, dirt=0.0, suffix="csv", **plan):
    simulate.write_shop(
        Plan(customers, seed, UNTIL, plan.pop("years", 3.0), dirt, **plan), folder, suffix
    )
    return folder


def text(folder, name):
    """A raw table as text, null where the file is empty; all its chunks."""
    files = [folder / f"{name}.csv", *sorted(folder.glob(f"{name}_[0-9]*.csv"))]
    return pl.concat(pl.read_csv(f, infer_schema=False) for f in files if f.exists())


def typed(folder, name):
    """A clean raw table with the contract's types, read by duckdb."""
    columns = {c: "varchar" if t == "json" else t for c, t, _ in CONTRACT[name]}
    return duckdb.sql(
        f"select * from read_csv('{folder}/{name}*.csv', columns = {columns}, header = true)"
    ).pl()


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write(tmp_path_factory.mktemp("shop") / "clean", 3000)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    return write(tmp_path_factory.mktemp("shop") / "dirty", 1200, dirt=0.08)


# The files.


@pytest.mark.parametrize("name", list(CONTRACT))
def test_every_table_has_the_contracts_columns_in_order(clean, name):
    with (clean / f"{name}.csv").open(encoding="utf-8") as file:
        header = file.readline().strip()
    assert header == ",".join(column for column, _, _ in CONTRACT[name])
    assert text(clean, name).height > 0


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("dirt", [0.0, 0.02])
def test_same_arguments_same_bytes(tmp_path, suffix, dirt):
    one = hashes(write(tmp_path / "one", 300, dirt=dirt, suffix=suffix))
    two = hashes(write(tmp_path / "two", 300, dirt=dirt, suffix=suffix))
    other = hashes(write(tmp_path / "other", 300, dirt=dirt, suffix=suffix, seed=12))
    assert one == two
    assert one[f"events.{suffix}"] != other[f"events.{suffix}"]


def test_hash_seed_and_number_of_threads_change_no_byte(tmp_path):
    found = []
    for hash_seed, threads in (("0", "1"), ("4711", "2")):
        out = tmp_path / hash_seed
        subprocess.run(
            [
                sys.executable,
                "-m",
                "perennial.cli",
                "simulate",
                "--customers",
                "400",
                "--dirt",
                "0.01",
                "--format",
                "parquet",
                "--out",
                str(out),
            ],
            check=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "POLARS_MAX_THREADS": threads},
        )
        found.append(hashes(out))
    assert found[0] == found[1]


def test_the_committed_demo_is_what_the_command_writes(tmp_path):
    assert main(["simulate", "--demo", str(tmp_path / "demo")]) == 0
    written = hashes(tmp_path / "demo")
    committed = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (ROOT / "seeds/demo").glob("raw_*.csv")
    }
    assert written == committed
    assert set(written) == {f"raw_{name}.csv" for name in CONTRACT}
    assert sum(p.stat().st_size for p in (tmp_path / "demo").iterdir()) < 15e6


@pytest.mark.parametrize("dirt", [0.0, 0.05])
def test_csv_and_parquet_hold_the_same_rows(tmp_path, dirt):
    csv = write(tmp_path / "csv", 250, dirt=dirt)
    parquet = write(tmp_path / "parquet", 250, dirt=dirt, suffix="parquet")
    for name, columns in CONTRACT.items():
        select = []
        for column, kind, _ in columns:
            known = "varchar" if dirt or kind == "json" else kind
            # Scale is a matter of type: 1.00 and 1 are the same number.
            plain = f"coalesce(try_cast({column} as double)::varchar, {column}::varchar)"
            numeric = kind.startswith("decimal") or kind == "double"
            select.append(plain if numeric else f"cast({column} as {known})::varchar")
        one, two = (
            duckdb.sql(f"select {', '.join(select)} from {source}").fetchall()
            for source in (
                f"read_csv('{csv}/{name}.csv', all_varchar = true, header = true)",
                f"read_parquet('{parquet}/{name}.parquet')",
            )
        )
        assert one == two, name
    for path in (csv / "truth").glob("*.csv"):
        other = pl.read_parquet(parquet / "truth" / f"{path.stem}.parquet")
        assert pl.read_csv(path).height == other.height


def test_parquet_is_typed_where_there_is_no_dirt(tmp_path):
    folder = write(tmp_path / "shop", 50, suffix="parquet")
    for name, table in read_contract().items():
        schema = pl.read_parquet_schema(folder / f"{name}.parquet")
        assert schema == {column.name: column.dtype for column in table.columns}


@pytest.mark.parametrize("customers", [1, 2, 7])
@pytest.mark.parametrize("dirt", [0.0, 0.5])
def test_a_handful_of_customers_is_a_shop(tmp_path, customers, dirt):
    for seed in range(4):
        folder = write(tmp_path / str(seed), customers, seed=seed, dirt=dirt)
        assert len(list(folder.glob("*.csv"))) == len(CONTRACT)
        if not dirt:
            assert text(folder, "customers").height == customers
            check_rules({name: typed(folder, name) for name in CONTRACT})


def test_a_window_of_weeks_is_a_shop(tmp_path):
    folder = write(tmp_path / "shop", 200, years=0.1)
    check_rules({name: typed(folder, name) for name in CONTRACT})


def test_chunks_share_no_id_and_keep_the_rules(tmp_path):
    folder = write(tmp_path / "shop", 500, chunk_customers=120, dirt=0.0)
    assert (folder / "events_00005.csv").exists() and not (folder / "events.csv").exists()
    assert (folder / "products.csv").exists()
    check_rules({name: typed(folder, name) for name in CONTRACT})
    identities = pl.concat(
        pl.read_csv(f, infer_schema=False)
        for f in sorted((folder / "truth").glob("identities_*.csv"))
    )
    once = identities.filter(pl.col("is_shared") == "false")
    assert once["anonymous_id"].is_unique().all()
    assert text(folder, "customers").height == 500


# The rules.


def check_rules(tables):
    """Every rule of the contract holds for every row of the typed tables."""
    for name, columns in CONTRACT.items():
        frame = tables[name]
        key = [column for column, _, rules in columns if rules.get("key")]
        assert not frame.select(key).is_duplicated().any(), name
        for column, _, rules in columns:
            values = frame[column]
            at = f"{name}.{column}"
            if rules.get("required"):
                assert values.null_count() == 0, at
            if "accepted" in rules:
                assert values.drop_nulls().is_in(rules["accepted"]).all(), at
            if "min" in rules:
                assert (values.drop_nulls() >= rules["min"]).all(), at
            if "max" in rules:
                assert (values.drop_nulls() <= rules["max"]).all(), at
            if "above" in rules:
                assert (values.drop_nulls() > rules["above"]).all(), at
            if "or_else" in rules:
                one_of = frame.select(
                    pl.any_horizontal(pl.col(column, *rules["or_else"]).is_not_null())
                )
                assert one_of.to_series().all(), at
            if "parent" in rules:
                table, other = rules["parent"].split(".")
                assert values.drop_nulls().is_in(tables[table][other].implode()).all(), at
            if rules.get("happened"):
                moments = values.drop_nulls()
                if len(moments):
                    assert moments.min().year >= 2021, at
                    assert moments.max().date() < UNTIL, at
                if "ingested_at" in frame.columns:
                    both = frame.select(column, "ingested_at").drop_nulls()
                    assert (both[column] <= both["ingested_at"]).all(), at


def test_clean_tables_obey_every_rule(clean):
    tables = {name: typed(clean, name) for name in CONTRACT}
    check_rules(tables)
    customers = tables["customers"]["customer_id"].implode()
    products = tables["products"]["product_id"].implode()
    for name, columns in CONTRACT.items():
        names = [column for column, _, _ in columns]
        if "customer_id" in names:
            assert tables[name]["customer_id"].drop_nulls().is_in(customers).all(), name
        if "product_id" in names:
            assert tables[name]["product_id"].drop_nulls().is_in(products).all(), name
    coupons = tables["coupons"]["coupon_code"].implode()
    assert tables["orders"]["coupon_code"].drop_nulls().is_in(coupons).all()
    redeemed = tables["coupon_grants"]["redeemed_order_id"].drop_nulls()
    assert redeemed.is_in(tables["orders"]["order_id"].implode()).all()
    assert redeemed.is_unique().all()
    touches = tables["campaign_touches"]
    assert (touches["opened_at"] >= touches["sent_at"]).drop_nulls().all()
    assert (touches["clicked_at"] >= touches["opened_at"]).drop_nulls().all()
    held_out = touches.filter("is_holdout")
    assert held_out["opened_at"].null_count() == held_out.height


def test_redeemed_coupons_are_on_their_orders(clean):
    joined = typed(clean, "coupon_grants").join(
        typed(clean, "orders"), left_on="redeemed_order_id", right_on="order_id"
    )
    assert joined.height > 50
    assert (joined["coupon_code"] == joined["coupon_code_right"]).all()
    assert (joined["customer_id"] == joined["customer_id_right"]).all()
    assert (joined["ordered_at"] >= joined["granted_at"]).all()


def test_grants_are_the_treated_of_their_campaign(clean):
    grants = typed(clean, "coupon_grants")
    touches = typed(clean, "campaign_touches").filter(~pl.col("is_holdout"))
    joined = grants.join(touches, on=["campaign_id", "customer_id"])
    assert joined.height == grants.height
    assert (joined["propensity"] == joined["propensity_right"]).all()
    treated = touches.filter(pl.col("campaign_id").is_in(grants["campaign_id"].implode()))
    assert treated.height == grants.height


def test_experiments_keep_their_allocation(clean):
    joined = typed(clean, "experiment_assignments").join(
        typed(clean, "experiments"), on="experiment_id"
    )
    shares = joined.group_by("experiment_id").agg(
        (pl.col("variant") == "treatment").mean(), pl.col("allocation").first(), pl.len()
    )
    assert shares.height == 3
    for _, share, allocation, n in shares.iter_rows():
        assert abs(share - allocation) < 4 * np.sqrt(allocation * (1 - allocation) / n)
    assert (joined["assigned_at"] >= joined["starts_at"]).all()
    assert (joined["assigned_at"] < joined["ends_at"]).all()


def test_refunds_follow_their_orders_and_never_exceed_them(clean):
    lines = typed(clean, "order_items").with_columns(
        net=pl.col("unit_price") * pl.col("quantity") - pl.col("discount_amount").fill_null(0)
    )
    total = lines.group_by("order_id").agg(pl.col("net").cast(pl.Float64).sum())
    orders = typed(clean, "orders").join(total, on="order_id")
    assert orders.height == typed(clean, "orders").height
    refunds = typed(clean, "refunds").join(orders, on="order_id")
    assert (refunds["refunded_at"] > refunds["ordered_at"]).all()
    net = refunds["net"] - refunds["discount_amount"].fill_null(0).cast(pl.Float64)
    assert (refunds["amount"].cast(pl.Float64) <= net + 0.011).all()
    assert (refunds["status"] != "cancelled").all()


def test_rates_cover_every_day_of_every_foreign_order(clean):
    rates = typed(clean, "exchange_rates")
    orders = typed(clean, "orders").filter(pl.col("currency") != "EUR")
    assert set(orders["currency"]) == {"GBP", "USD", "CNY"}
    day = orders.select("currency", rate_date=pl.col("ordered_at").dt.date())
    assert day.join(rates, on=["currency", "rate_date"], how="anti").is_empty()
    assert rates["rate_date"].max() == UNTIL


# The behaviour.


def test_the_largest_assortment_has_no_name_twice():
    catalogue = make_catalogue(Plan(10_000_000, 1, UNTIL, 3.0))
    assert catalogue.size == 4000
    assert len(set(catalogue.names)) == 4000
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 6, 100_000)
    when = rng.integers(0, 3 * 365 * 86_400, 100_000)
    drawn = catalogue.draw(rng, cluster, when)
    launched = catalogue.truth["launched_at"].dt.epoch("s").to_numpy()[drawn]
    start = launched.min()
    assert (launched - start <= when).all()
    assert np.mean(catalogue.cluster[drawn] == cluster) > 0.5


@pytest.mark.parametrize("wanted", [8, 14, 25])
def test_events_per_order_is_a_knob(tmp_path, wanted):
    folder = write(tmp_path / "shop", 1500, events_per_order=wanted)
    got = text(folder, "events").height / text(folder, "orders").height
    assert abs(got / wanted - 1) < 0.15


def test_the_shop_looks_like_a_shop(clean):
    orders = typed(clean, "orders")
    customers = typed(clean, "customers")
    count = orders.drop_nulls("customer_id")["customer_id"].value_counts()["count"]
    assert 3 < orders.height / customers.height < 5
    assert count.median() == 2
    assert 0.38 < (count == 1).mean() < 0.52
    assert 0.03 < orders["customer_id"].null_count() / orders.height < 0.08
    assert 0.01 < (orders["status"] == "cancelled").mean() < 0.04
    assert 8.5 < typed(clean, "events").height / orders.height < 11.5
    assert customers.height - count.len() > 0.05 * customers.height


def test_most_sessions_lead_to_no_purchase(clean):
    sessions = (
        typed(clean, "events")
        .drop_nulls("session_id")
        .group_by("session_id")
        .agg(bought=(pl.col("event_type") == "purchase").any())
    )
    assert 0.15 < sessions["bought"].mean() < 0.45


def test_every_order_is_the_end_of_a_session_and_its_own_event(clean):
    events = typed(clean, "events").filter(pl.col("event_type") == "purchase")
    events = events.with_columns(order_id=pl.col("properties").str.json_path_match("$.order_id"))
    orders = typed(clean, "orders")
    joined = orders.join(events, on="order_id", how="left", suffix="_event")
    assert joined["event_id"].null_count() == 0
    assert joined.height == orders.height
    assert (joined["ordered_at"] == joined["occurred_at"]).all()
    assert joined["customer_id"].eq_missing(joined["customer_id_event"]).all()


def test_identity_is_unknown_before_the_login_and_known_after(clean):
    events = typed(clean, "events").drop_nulls("session_id")
    entry = events.filter(pl.col("event_type").is_in(["login", "signup"])).select(
        "session_id", at="occurred_at"
    )
    assert entry["session_id"].is_unique().all()
    joined = events.join(entry, on="session_id")
    before = joined.filter(pl.col("occurred_at") < pl.col("at"))
    after = joined.filter(pl.col("occurred_at") >= pl.col("at"))
    assert before.height > 0 and before["customer_id"].null_count() == before.height
    assert after["customer_id"].null_count() == 0
    assert events["anonymous_id"].null_count() == 0


def test_devices_are_whose_the_truth_says(clean):
    truth = pl.read_csv(clean / "truth/identities.csv")
    seen = (
        typed(clean, "events")
        .drop_nulls(["customer_id", "anonymous_id"])
        .select("customer_id", "anonymous_id")
        .unique()
    )
    assert seen.join(truth, on=["customer_id", "anonymous_id"], how="anti").is_empty()
    owners = seen.group_by("anonymous_id").len()["len"]
    devices = seen.group_by("customer_id").len()["len"]
    assert (owners > 1).sum() > 0 and (devices > 1).mean() > 0.1


def test_signup_is_the_customers_first_moment(clean):
    signups = typed(clean, "events").filter(pl.col("event_type") == "signup")
    joined = typed(clean, "customers").join(signups, on="customer_id")
    assert joined.height == 3000
    assert (joined["created_at"] == joined["occurred_at"]).all()


def test_messages_agree_with_their_events(clean):
    touches = typed(clean, "campaign_touches").join(typed(clean, "campaigns"), on="campaign_id")
    events = typed(clean, "events")
    mails = touches.filter((pl.col("channel") == "email") & ~pl.col("is_holdout"))
    for kind, moment in (("sent", "sent_at"), ("open", "opened_at"), ("click", "clicked_at")):
        own = events.filter(pl.col("event_type") == f"email_{kind}").select(
            "customer_id", "utm_campaign", moment=pl.col("occurred_at")
        )
        expected = mails.drop_nulls(moment).select(
            "customer_id", utm_campaign="campaign_id", moment=pl.col(moment)
        )
        assert own.sort(pl.all()).equals(expected.sort(pl.all()))


def test_propensities_are_the_shares_that_they_promise(clean):
    touches = typed(clean, "campaign_touches")
    assert touches["propensity"].is_between(0.1, 0.95).all()
    bands = (
        touches.with_columns(band=(pl.col("propensity") * 5).floor())
        .group_by("band")
        .agg(p=pl.col("propensity").mean(), share=(~pl.col("is_holdout")).mean(), n=pl.len())
    )
    for _, p, share, n in bands.iter_rows():
        assert abs(p - share) < 4 * np.sqrt(p * (1 - p) / n)


def test_campaigns_move_the_persuadable_and_nobody_else(clean):
    touches = pl.read_csv(clean / "truth/touches.csv")
    by_type = {
        kind: (extra, suppressed)
        for kind, extra, suppressed in touches.group_by("type")
        .agg(pl.col("n_extra_orders").sum(), pl.col("n_suppressed_orders").sum())
        .iter_rows()
    }
    assert by_type["persuadable"][0] > 100 and by_type["persuadable"][1] == 0
    assert by_type["sleeping_dog"][0] == 0 and by_type["sleeping_dog"][1] > 10
    assert by_type["sure_thing"] == by_type["lost_cause"] == (0, 0)
    causes = pl.read_csv(clean / "truth/orders.csv")["cause"]
    assert causes.str.starts_with("campaign:").sum() == by_type["persuadable"][0]
    held_out = typed(clean, "campaign_touches").filter("is_holdout").select("touch_id")
    quiet = touches.join(held_out, on="touch_id")
    assert quiet["n_extra_orders"].sum() == quiet["n_suppressed_orders"].sum() == 0


def test_planted_pairs_are_bought_together(clean):
    items = typed(clean, "order_items").select("order_id", "product_id")
    n = items["order_id"].n_unique()
    share = dict(items.group_by("product_id").agg(pl.len() / n).iter_rows())
    together = items.join(items, on="order_id")
    lifts = []
    for left, right in (
        pl.read_csv(clean / "truth/pairs.csv").select("product_id", "with_product_id").iter_rows()
    ):
        both = together.filter(
            (pl.col("product_id") == left) & (pl.col("product_id_right") == right)
        ).height
        lifts.append(both / n / (share[left] * share[right]))
    assert min(lifts) > 3


def test_planted_rivals_are_looked_at_together_and_never_in_one_order(clean):
    rivals = pl.read_csv(clean / "truth/rivals.csv").select("product_id", "with_product_id")
    items = typed(clean, "order_items")
    views = typed(clean, "events").filter(pl.col("event_type") == "product_view")
    assert rivals.height >= 1
    for one, other in rivals.iter_rows():
        orders, visits = (
            [set(frame.filter(pl.col("product_id") == product)[key]) for product in (one, other)]
            for frame, key in ((items, "order_id"), (views, "session_id"))
        )
        assert min(map(len, orders)) > 20
        assert not orders[0] & orders[1]
        assert len(visits[0] & visits[1]) > 0.4 * max(map(len, visits))


def test_words_agree_with_stars(clean):
    reviews = typed(clean, "reviews").join(
        pl.read_csv(clean / "truth/reviews.csv").select(
            "review_id", "sentiment", spoken=pl.col("language")
        ),
        on="review_id",
    )
    assert set(reviews["spoken"]) == {"en", "zh"}
    for rating, language, body in reviews.select("rating", "spoken", "body").iter_rows():
        band = 0 if rating <= 2 else 1 if rating == 3 else 2
        assert any(
            all(part in body for part in opening.split("{noun}"))
            for opening in words.OPENINGS[language][band]
        )
        assert "{" not in body
        assert any("一" <= letter <= "鿿" for letter in body) == (language == "zh")
    good = reviews.join(pl.read_csv(clean / "truth/products.csv"), on="product_id")
    assert np.corrcoef(good["quality"], good["rating"])[0, 1] > 0.3


def test_questions_have_their_answer(clean):
    truth = pl.read_csv(clean / "truth/support_questions.csv")
    articles = typed(clean, "knowledge_base")
    joined = truth.join(articles, on="article_id", suffix="_article")
    assert joined.height == typed(clean, "support_questions").height
    own = joined.drop_nulls("product_id_article")
    assert (own["product_id"] == own["product_id_article"]).all()


def test_browsing_ends_with_the_customers_life(clean):
    truth = pl.read_csv(clean / "truth/customers.csv", try_parse_dates=True)
    visits = (
        typed(clean, "events")
        .drop_nulls(["session_id", "customer_id"])
        .unique(["session_id", "customer_id"])
    )
    joined = visits.join(truth, on="customer_id")
    after = joined.filter(pl.col("occurred_at") > pl.col("died_at")).height
    assert 0 < after < 0.15 * joined.height
    last = (
        typed(clean, "orders")
        .join(truth, on="customer_id")
        .filter(pl.col("ordered_at") > pl.col("died_at"))
    )
    assert last.is_empty()


def test_ads_cost_what_their_arrivals_should(clean):
    spend = typed(clean, "ad_spend").group_by("channel").agg(pl.col("cost").sum())
    arrivals = typed(clean, "customers")["acquisition_channel"].value_counts()
    joined = spend.join(arrivals, left_on="channel", right_on="acquisition_channel")
    assert joined.height == spend.height == 3
    each = joined["cost"].cast(pl.Float64) / joined["count"]
    assert each.is_between(5, 20).all()


# The dirt.


def quarantine(folder):
    """(table, reason) -> rows, found independently by the contract's own file."""
    raw = {name: text(folder, name) for name in CONTRACT}
    kept, counts = {}, {}
    parents_last = sorted(CONTRACT, key=lambda n: any("parent" in r for _, _, r in CONTRACT[n]))
    for name in parents_last:
        columns = CONTRACT[name]
        names = [column for column, _, _ in columns]
        casts = {
            c: f"try_cast({c} as {k})" if k != "json" else f"case when json_valid({c}) then {c} end"
            for c, k, _ in columns
        }
        missing, wrong, odd = [], [], []
        for column, kind, rules in columns:
            value = casts[column]
            if rules.get("required"):
                missing.append(f"{column} is null")
            if "or_else" in rules:
                missing.append(f"coalesce({', '.join([column, *rules['or_else']])}) is null")
            if kind != "varchar":
                wrong.append(f"({column} is not null and {value} is null)")
            if "accepted" in rules:
                accepted = ", ".join(f"'{v}'" for v in rules["accepted"])
                odd.append(f"lower({column}) not in ({accepted})")
            for rule, sign in (("min", "<"), ("max", ">"), ("above", "<=")):
                if rule in rules:
                    odd.append(f"{value} {sign} {rules[rule]}")
            if rules.get("happened"):
                odd.append(f"year({value}) not between 1990 and 2099")
                if "ingested_at" in names:
                    odd.append(f"{value} > {casts['ingested_at']} + interval 1 day")
        key = [column for column, _, rules in columns if rules.get("key")]
        latest = (
            "try_cast(ingested_at as timestamp) desc nulls last,"
            if ("ingested_at" in names)
            else ""
        )
        frame = raw[name]  # noqa: F841, read by duckdb
        any_of = lambda tests: f"coalesce({' or '.join(tests)}, false)" if tests else "false"  # noqa: E731
        staged = duckdb.sql(f"""
            with judged as (
                select *, case when {any_of(missing)} then 'missing key'
                               when {any_of(wrong)} then 'bad type'
                               when {any_of([f"coalesce({o}, false)" for o in odd])}
                               then 'impossible value' end as refused
                from frame
            ),
            ranked as (
                select *, row_number() over (
                    partition by {", ".join(key)}, refused is null
                    order by {latest} {", ".join(names)}) as rank
                from judged
            )
            select * exclude (refused, rank),
                coalesce(refused, case when rank > 1 then 'duplicate' end) as refused
            from ranked
        """).pl()
        for column, _, rules in columns:
            if "parent" in rules:
                table, other = rules["parent"].split(".")
                known = kept[table][other].implode() if table in kept else raw[table][other]
                orphan = pl.col("refused").is_null() & pl.col(column).is_not_null()
                orphan &= ~pl.col(column).is_in(known)
                staged = staged.with_columns(
                    refused=pl.when(orphan).then(pl.lit("unknown parent")).otherwise("refused")
                )
        kept[name] = staged.filter(pl.col("refused").is_null()).drop("refused")
        for reason, rows in staged.drop_nulls("refused")["refused"].value_counts().iter_rows():
            counts[name, reason] = rows
    return counts, kept


def test_dirt_is_counted_to_the_row(dirty):
    counts, kept = quarantine(dirty)
    truth = {
        (name, reason): rows
        for name, reason, rows in pl.read_csv(dirty / "truth/dirt.csv").iter_rows()
    }
    assert counts == truth
    assert {reason for _, reason in truth} == {
        "missing key",
        "bad type",
        "impossible value",
        "duplicate",
        "unknown parent",
    }
    share = sum(truth.values()) / sum(frame.height for frame in kept.values())
    assert 0.075 < share < 0.085


def test_dirt_leaves_the_good_rows_where_they_were(tmp_path, dirty):
    _, kept = quarantine(dirty)
    plain = write(tmp_path / "plain", 1200)
    loses = {
        "ingested_at",
        "sales_channel",
        "reason",
        "region",
        "birth_date",
        "gender",
        "description",
        "brand",
        "device",
        "platform",
        "referrer",
        "title",
    }
    for name, columns in CONTRACT.items():
        same = [column for column, _, _ in columns if column not in loses]
        good = text(plain, name)
        assert kept[name].height == good.height, name
        assert kept[name].select(same).sort(same).equals(good.select(same).sort(same)), name


def test_clean_shops_have_nothing_in_quarantine(clean):
    counts, _ = quarantine(clean)
    assert counts == {}
    assert pl.read_csv(clean / "truth/dirt.csv").is_empty()


def test_dirt_in_chunks_adds_up(tmp_path):
    folder = write(tmp_path / "shop", 400, chunk_customers=150, dirt=0.2)
    counts, _ = quarantine(folder)
    truth = pl.read_csv(folder / "truth/dirt.csv")
    assert counts == {(name, reason): rows for name, reason, rows in truth.iter_rows()}


def test_half_of_everything_may_be_dirt(tmp_path):
    counts, _ = quarantine(write(tmp_path / "shop", 60, dirt=0.5))
    truth = pl.read_csv(tmp_path / "shop/truth/dirt.csv")
    assert counts == {(name, reason): rows for name, reason, rows in truth.iter_rows()}


# The command.


def arguments(*words_):
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    return parser.parse_args([str(word) for word in words_])


@pytest.mark.parametrize(
    ("words_", "part"),
    [
        (("--customers", "0"), "--customers 0 must be a whole number from 1"),
        (("--customers", "many"), "--customers many is not a whole number"),
        (("--customers", "1.5"), "is not a whole number"),
        (("--seed", "-1"), "--seed -1 must be"),
        (("--dirt", "0.6"), "--dirt 0.6 must be a number from 0 to 0.5"),
        (("--dirt", "-0.1"), "--dirt -0.1 must be"),
        (("--dirt", "nan"), "--dirt nan must be"),
        (("--until", "yesterday"), "--until yesterday is not a date"),
        (("--until", "1980-01-01"), "outside the years"),
        (("--years", "0"), "--years 0 must be"),
        (("--events-per-order", "1"), "--events-per-order 1 must be"),
        (("--prefix", "a/b"), "holds a slash"),
    ],
)
def test_bad_arguments_are_one_sentence(tmp_path, words_, part):
    with pytest.raises(UserError) as error:
        simulate.run(arguments("--out", tmp_path / "shop", *words_))
    assert part in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "shop").exists()


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        simulate.run(arguments("--out", tmp_path, "--customers", "5"))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_demo_takes_no_other_option(tmp_path):
    with pytest.raises(UserError, match="--demo is one fixed shop"):
        simulate.run(arguments("--demo", tmp_path / "demo", "--customers", "5"))


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    assert simulate.run(arguments("--out", tmp_path, "--customers", "5")) == 0
    assert text(tmp_path, "customers").height == 5


def test_overwrite_replaces_the_shop_and_nothing_else(tmp_path):
    out = tmp_path / "shop"
    assert simulate.run(arguments("--out", out, "--customers", "5", "--format", "parquet")) == 0
    (out / "notes.txt").write_text("mine")
    (out / "truth/notes.txt").write_text("mine")
    assert simulate.run(arguments("--out", out, "--customers", "6", "--overwrite")) == 0
    assert (out / "truth/notes.txt").exists()
    assert (out / "notes.txt").read_text() == "mine"
    assert not list(out.rglob("*.parquet"))
    assert text(out, "customers").height == 6
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_the_truth_may_go_elsewhere(tmp_path):
    run = arguments("--out", tmp_path / "shop", "--truth", tmp_path / "truth", "--customers", "5")
    assert simulate.run(run) == 0
    assert not (tmp_path / "shop/truth").exists()
    assert (tmp_path / "truth/parameters.json").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "shop").write_text("")
    with pytest.raises(UserError, match="is a file"):
        simulate.run(arguments("--out", tmp_path / "shop"))


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("perennial.simulate.shop.marketing.shop_frames", stop)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "shop", 20)
    assert not list(tmp_path.iterdir())
