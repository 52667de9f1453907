"""The core marts of a clean shop, written by hand in Polars for comparison.

`python benchmarks/polars_marts.py SHOP OUT` reads the raw parquet of a simulated shop and writes
one parquet file (of events and sessions: a folder of them) per mart, with the columns of the mart
of that name. It is written as a careful user of Polars would, for speed: lazy, streaming where
that holds less memory, each mart written once and read back where it is needed.

It does less than the warehouse: it believes the raw rows (no types, duplicates or refusals, no
missing exchange rate), knows only the default settings (UTC, weeks from Monday, EUR), and makes
everything anew each time. Money is in whole cents and quantities in thousandths, which is faster
than decimals and as exact.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from scipy.stats import chi2

SEGMENTS = Path(__file__).parents[1] / "seeds/reference/rfm_segments.csv"

# What is written here, by the names that the warehouse has for them.
MARTS = [
    "orders",
    "order_items",
    "refunds",
    "identity_links",
    "events",
    "sessions",
    "customers",
    "cohort_retention",
    "rfm",
    "item_similarity",
    "products",
]

HOME = "EUR"
# Rates are whole numbers of this part, to which the rates of the contract are exact enough.
RATE_UNIT = 10**8
RATE_DAYS = 7
FIRST_LOAD = dt.timedelta(days=1)
SESSION_TIMEOUT = dt.timedelta(minutes=30)
NOT_VISITS = ["email_sent", "email_open", "push_open"]
# The cheapest to write; the default takes twice as long.
COMPRESSION = "lz4"
# Events are sorted in memory, so many at a time: some .7 KB each, below the 8 GB of the goal.
EVENTS_AT_ONCE = 11_000_000
GRAINS = ["week", "month"]
COHORT_SEGMENTS = ["all", "country", "channel", "first_category"]
MAX_ITEMS = 100
MIN_PAIRS = 3
TOP_ITEMS = 50
# The 97.5 % point of the normal distribution.
Z = 1.959963984540054


@dataclass(frozen=True)
class Place:
    """The folder of a shop's raw files, and the folder of the marts."""

    raw: Path
    out: Path

    def scan(self, table: str) -> pl.LazyFrame:
        """A raw table."""
        whole = self.raw / f"{table}.parquet"
        return pl.scan_parquet(whole if whole.exists() else self.raw / f"{table}_*.parquet")

    def mart(self, name: str) -> pl.LazyFrame:
        """A mart that has been written."""
        folder = self.out / name
        return pl.scan_parquet(folder if folder.is_dir() else f"{folder}.parquet")

    def write(self, name: str, frame: pl.LazyFrame | pl.DataFrame) -> None:
        """Write a mart; its rows are in no order."""
        frame.lazy().sink_parquet(
            self.out / f"{name}.parquet", compression=COMPRESSION, maintain_order=False
        )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shop", type=Path, help="folder of the raw parquet files")
    parser.add_argument("out", type=Path, help="folder of the marts")
    args = parser.parse_args(argv)
    print(json.dumps(write_marts(Place(args.shop, args.out))))
    return 0


def write_marts(place: Place) -> dict[str, float]:
    """Write every mart; return the seconds that each step took."""
    place.out.mkdir(parents=True, exist_ok=True)
    steps = [order_items, refunds, orders, visits, customers, cohort_retention, rfm, affinity]
    seconds = {}
    for step in steps:
        began = time.monotonic()
        step(place)
        seconds[step.__name__] = round(time.monotonic() - began, 3)
    return seconds


# ---------------------------------------------------------------------------------------------
# Money and time
# ---------------------------------------------------------------------------------------------


def units(column: str) -> pl.Expr:
    """A decimal as a whole number of its last digit; nothing is 0."""
    return pl.col(column).to_physical().cast(pl.Int64).fill_null(0)


def half_away(scaled: pl.Expr, divisor: int | pl.Expr) -> pl.Expr:
    """A whole number divided by a positive one, rounded half away from zero."""
    return scaled.sign() * ((scaled.abs() + divisor // 2) // divisor)


def at_rate(cents: pl.Expr) -> pl.Expr:
    """An amount in cents at the rate of its row."""
    return half_away(cents * pl.col("rate"), RATE_UNIT)


def rates(place: Place) -> pl.LazyFrame:
    """The rate of each currency and day: the last one quoted, for a week at most."""
    next_on = pl.col("rate_date").shift(-1).over("currency", order_by="rate_date")
    last_on = pl.min_horizontal(
        next_on.fill_null(dt.date(9999, 12, 31)) - dt.timedelta(days=1),
        pl.col("rate_date") + dt.timedelta(days=RATE_DAYS - 1),
    )
    return (
        place.scan("exchange_rates")
        .filter(pl.col("currency") != HOME)
        .select(
            "currency",
            day=pl.date_ranges("rate_date", last_on),
            quoted=(pl.col("rate") * RATE_UNIT).round().cast(pl.Int64),
        )
        .explode("day")
    )


def with_rates(frame: pl.LazyFrame, day: str, place: Place) -> pl.LazyFrame:
    """The frame with the rate of each row's currency on its day."""
    return frame.join(
        rates(place), left_on=["currency", day], right_on=["currency", "day"], how="left"
    ).with_columns(
        rate=pl.when(pl.col("currency") == HOME).then(RATE_UNIT).otherwise(pl.col("quoted"))
    )


def known_at(happened_at: str, table: pl.LazyFrame) -> pl.Expr:
    """When a row became known; what came with the first load was known when it happened."""
    began = table.select(pl.col("ingested_at").min()).collect().item()
    return (
        pl.when(pl.col("ingested_at") > began + FIRST_LOAD)
        .then(pl.max_horizontal(happened_at, "ingested_at"))
        .otherwise(pl.col(happened_at))
    )


def now(place: Place) -> dt.datetime:
    """The last moment at which anything happened."""
    moments = [("orders", "ordered_at"), ("refunds", "refunded_at"), ("events", "occurred_at")]
    return max(
        frame.item()
        for frame in pl.collect_all(
            [place.scan(table).select(pl.col(column).max()) for table, column in moments]
        )
    )


# ---------------------------------------------------------------------------------------------
# Orders
# ---------------------------------------------------------------------------------------------


def priced(place: Place) -> pl.LazyFrame:
    """The raw orders with their day and rate."""
    frame = place.scan("orders").with_columns(
        currency=pl.col("currency").fill_null(HOME),
        ordered_on=pl.col("ordered_at").dt.date(),
        is_cancelled=pl.col("status") == "cancelled",
    )
    return with_rates(frame, "ordered_on", place)


def order_items(place: Place) -> None:
    """Write the lines; an order's discount is shared over them by what they cost."""
    lines = (
        place.scan("order_items")
        .select(
            "order_id",
            "line_number",
            "product_id",
            "ingested_at",
            quantity=units("quantity"),
            gross=half_away(units("quantity") * units("unit_price"), 10**5),
            line_discount=units("discount_amount"),
        )
        .join(
            priced(place).select(
                "order_id",
                "customer_id",
                "ordered_at",
                "ordered_on",
                "is_cancelled",
                "rate",
                order_discount=units("discount_amount"),
            ),
            on="order_id",
        )
        .join(place.scan("products").select("product_id", "category"), on="product_id", how="left")
        .collect(engine="streaming")
    )
    has_discount = pl.col("order_discount") > 0
    # Windows cost; most orders have no discount of their own to share out.
    lines = pl.concat(
        [
            lines.filter(~has_discount).with_columns(share=pl.lit(0, pl.Int64)),
            share_discount(lines.filter(has_discount)),
        ]
    ).lazy()
    amounts = lines.with_columns(
        gross_amount=at_rate(pl.col("gross")),
        line_discount_amount=at_rate(pl.col("line_discount")),
        order_discount_amount=at_rate(pl.col("share")),
    )
    place.write(
        "order_items",
        amounts.select(
            "order_id",
            "line_number",
            "customer_id",
            "product_id",
            pl.col("category").fill_null("unknown"),
            "is_cancelled",
            "quantity",
            "gross_amount",
            "line_discount_amount",
            "order_discount_amount",
            pl.col("gross_amount")
            .sub(pl.col("line_discount_amount") + pl.col("order_discount_amount"))
            .alias("net_amount"),
            "ordered_at",
            "ordered_on",
            "ingested_at",
        ),
    )


def share_discount(lines: pl.DataFrame) -> pl.DataFrame:
    """The lines with their share: the rounded share of all lines so far, less that before."""
    cost = pl.col("gross") - pl.col("line_discount")
    return (
        lines.sort("order_id", "line_number")
        .with_columns(total=cost.sum().over("order_id"), so_far=cost.cum_sum().over("order_id"))
        .with_columns(given=pl.min_horizontal("order_discount", "total"))
        .with_columns(
            share=pl.when(pl.col("total") > 0)
            .then(
                half_away(pl.col("given") * pl.col("so_far"), pl.col("total"))
                - half_away(pl.col("given") * (pl.col("so_far") - cost), pl.col("total"))
            )
            .otherwise(0)
        )
        .drop("total", "so_far", "given")
    )


def refunds(place: Place) -> None:
    """Write the refunds, each with the customer and the currency of its order."""
    raw = place.scan("refunds")
    frame = raw.join(
        place.scan("orders").select(
            "order_id",
            of_order=True,
            order_customer_id="customer_id",
            order_currency="currency",
            is_order_cancelled=pl.col("status") == "cancelled",
        ),
        on="order_id",
        how="left",
    )
    # Without its order a refund is in the currency of the customer's last order before it.
    last = (
        raw.filter(pl.col("order_id").is_null())
        .select("refund_id", "customer_id", "refunded_at")
        .sort("refunded_at")
        .join_asof(
            place.scan("orders")
            .select("customer_id", "order_id", "ordered_at", last_currency="currency")
            .join(raw.select("customer_id"), on="customer_id", how="semi")
            .sort("ordered_at", "order_id"),
            left_on="refunded_at",
            right_on="ordered_at",
            by="customer_id",
            check_sortedness=False,
        )
        .select("refund_id", "last_currency")
    )
    frame = frame.join(last, on="refund_id", how="left").with_columns(
        currency=pl.coalesce("order_currency", "last_currency", pl.lit(HOME)),
        refunded_on=pl.col("refunded_at").dt.date(),
        known_at=known_at("refunded_at", raw),
    )
    place.write(
        "refunds",
        with_rates(frame, "refunded_on", place).select(
            "refund_id",
            "order_id",
            "line_number",
            pl.when(pl.col("of_order").is_null())
            .then("customer_id")
            .otherwise("order_customer_id")
            .alias("customer_id"),
            "product_id",
            "reason",
            pl.col("is_order_cancelled").fill_null(False),
            pl.col("quantity").to_physical().cast(pl.Int64),
            at_rate(units("amount")).alias("amount"),
            "refunded_at",
            "refunded_on",
            "ingested_at",
            "known_at",
        ),
    )


def orders(place: Place) -> None:
    """Write the orders with the sums of their lines and refunds, numbered by customer."""
    sums = (
        place.mart("order_items")
        .group_by("order_id")
        .agg(
            pl.len().cast(pl.Int64).alias("n_lines"),
            pl.col("quantity").sum().alias("n_units"),
            pl.col("gross_amount").sum(),
            (pl.col("line_discount_amount") + pl.col("order_discount_amount"))
            .sum()
            .alias("discount_amount"),
            pl.col("net_amount").sum(),
        )
    )
    refunded = (
        place.mart("refunds")
        .filter(pl.col("order_id").is_not_null() & ~pl.col("is_order_cancelled"))
        .group_by("order_id")
        .agg(refund_amount=pl.col("amount").sum())
    )
    of_lines = ["n_lines", "n_units", "gross_amount", "discount_amount", "net_amount"]
    frame = (
        priced(place)
        .drop("discount_amount")
        .join(sums, on="order_id", how="left")
        .join(refunded, on="order_id", how="left")
        .with_columns(
            pl.col(*of_lines, "refund_amount").fill_null(0),
            at_rate(units("shipping_amount")).alias("shipping_amount"),
            at_rate(units("tax_amount")).alias("tax_amount"),
            known_at=known_at("ordered_at", place.scan("orders")),
            is_numbered=pl.col("customer_id").is_not_null() & ~pl.col("is_cancelled"),
        )
        .collect(engine="streaming")
    )
    numbered = (
        frame.filter("is_numbered")
        .sort("customer_id", "ordered_at", "order_id")
        .with_columns(
            order_number=pl.col("order_id").cum_count().over("customer_id").cast(pl.Int64),
            previous_on=pl.col("ordered_on").shift().over("customer_id"),
        )
    )
    everything = pl.concat([numbered, frame.filter(~pl.col("is_numbered"))], how="diagonal").lazy()
    place.write(
        "orders",
        everything.select(
            "order_id",
            "customer_id",
            "status",
            "sales_channel",
            "coupon_code",
            "currency",
            pl.col("customer_id").is_null().alias("is_guest"),
            "is_cancelled",
            (pl.col("order_number") == 1).fill_null(False).alias("is_first_order"),
            "order_number",
            (pl.col("ordered_on") - pl.col("previous_on"))
            .dt.total_days()
            .alias("days_since_previous_order"),
            "n_lines",
            "n_units",
            (pl.col("rate") / RATE_UNIT).alias("exchange_rate"),
            "gross_amount",
            "discount_amount",
            "net_amount",
            "refund_amount",
            (
                pl.when("is_cancelled").then(0).otherwise(pl.col("net_amount"))
                - pl.col("refund_amount")
            ).alias("revenue_amount"),
            "shipping_amount",
            "tax_amount",
            "ordered_at",
            "ordered_on",
            "ingested_at",
            "known_at",
        ),
    )


# ---------------------------------------------------------------------------------------------
# Visits
# ---------------------------------------------------------------------------------------------


def visits(place: Place) -> None:
    """Write events, sessions and identity links, a share of the visitors at a time."""
    raw = place.scan("events")
    visitor = pl.coalesce(
        pl.lit("device:") + pl.col("anonymous_id"),
        pl.lit("customer:") + pl.col("customer_id"),
        pl.lit("session:") + pl.col("session_id"),
    )
    events = raw.with_columns(visitor_id=visitor, known_at=known_at("occurred_at", raw))
    n_parts = -(-raw.select(pl.len()).collect().item() // EVENTS_AT_ONCE)
    for name in ("events", "sessions", "identity_links"):
        (place.out / name).mkdir(exist_ok=True)
    for number, part in enumerate(shares(events, n_parts, place.out / "shares")):
        write_visits(part, place.out, f"{number:05d}.parquet")


def shares(events: pl.LazyFrame, n_parts: int, folder: Path) -> Iterator[pl.LazyFrame]:
    """The events of a share of the visitors at a time.

    Many shares are written down once: to sift all events for each would take longer.
    """
    if n_parts <= 1:
        yield events
        return
    events.with_columns(share=pl.col("visitor_id").hash() % n_parts).sink_parquet(
        pl.PartitionBy(folder, key="share", include_key=False),
        compression=COMPRESSION,
        mkdir=True,
    )
    for share in sorted(folder.iterdir()):
        yield pl.scan_parquet(share / "*.parquet", hive_partitioning=False)
        shutil.rmtree(share)
    folder.rmdir()


def write_visits(events: pl.LazyFrame, out: Path, file: str) -> None:
    """Write what the events of some visitors make, into a file of each mart's folder."""
    timelines = events.sort("visitor_id", "occurred_at", "event_id").collect(engine="streaming")
    identity_links(timelines).write_parquet(out / "identity_links" / file, compression=COMPRESSION)
    cut = with_sessions(with_customers(timelines))
    del timelines
    cut.select(
        "event_id",
        "event_type",
        "customer_id",
        "anonymous_id",
        "visitor_id",
        "session_id",
        "product_id",
        "url",
        "referrer",
        "utm_source",
        "utm_medium",
        "utm_campaign",
        "device",
        "platform",
        "properties",
        "is_visit",
        "is_identified",
        "is_session_start",
        "value",
        "occurred_at",
        pl.col("occurred_at").dt.date().alias("occurred_on"),
        "ingested_at",
        "known_at",
    ).write_parquet(out / "events" / file, compression=COMPRESSION)
    sessions(cut).write_parquet(out / "sessions" / file, compression=COMPRESSION)


def identity_links(timelines: pl.DataFrame) -> pl.DataFrame:
    """One row per device and customer, from events in the order of visitor and time."""
    links = (
        timelines.lazy()
        .filter(pl.col("anonymous_id").is_not_null() & pl.col("customer_id").is_not_null())
        .select("anonymous_id", "customer_id", "occurred_at")
        .with_row_index("place")
        .group_by("anonymous_id", "customer_id")
        .agg(
            pl.col("place").min(),
            pl.len().cast(pl.Int64).alias("n_events"),
            pl.col("occurred_at").min().alias("first_linked_at"),
            pl.col("occurred_at").max().alias("last_linked_at"),
        )
    )
    return links.select(
        "anonymous_id",
        "customer_id",
        (pl.col("place") == pl.col("place").min().over("anonymous_id")).alias("is_first_of_device"),
        pl.len().over("anonymous_id").cast(pl.Int64).alias("n_customers_of_device"),
        "n_events",
        "first_linked_at",
        "last_linked_at",
    ).collect()


def with_customers(timelines: pl.DataFrame) -> pl.DataFrame:
    """Sorted events with who was last known on their timeline, or else who was known first.

    Values are filled along the whole frame, and kept where they come from the same visitor: that
    is several times faster than a window for each.
    """
    visitor = (pl.col("visitor_id") != pl.col("visitor_id").shift()).fill_null(True).cum_sum()
    known = pl.when(pl.col("customer_id").is_not_null()).then("visitor")
    return (
        timelines.lazy()
        .with_columns(visitor=visitor)
        .with_columns(
            is_identified=pl.col("customer_id").is_not_null(),
            customer_id=pl.coalesce(
                pl.when(known.forward_fill() == pl.col("visitor")).then(
                    pl.col("customer_id").forward_fill()
                ),
                pl.when(known.backward_fill() == pl.col("visitor")).then(
                    pl.col("customer_id").backward_fill()
                ),
            ),
            is_visit=~pl.col("event_type").is_in(NOT_VISITS),
        )
        .collect()
    )


def with_sessions(timelines: pl.DataFrame) -> pl.DataFrame:
    """Sorted events, visits first; a visit's session is called by the session's first event."""
    differs = [pl.col(name).ne_missing(pl.col(name).shift()) for name in ("visitor", "customer_id")]
    is_late = pl.col("occurred_at") - pl.col("occurred_at").shift() > SESSION_TIMEOUT
    seen = (
        timelines.lazy()
        .filter("is_visit")
        .with_columns(is_session_start=pl.any_horizontal(*differs, is_late).fill_null(True))
        .with_columns(session_number=pl.col("is_session_start").cum_sum())
        .with_columns(session_id=pl.when("is_session_start").then("event_id").forward_fill())
    )
    sent = timelines.lazy().filter(~pl.col("is_visit")).with_columns(is_session_start=pl.lit(False))
    return pl.concat([seen, sent], how="diagonal").collect()


def sessions(events: pl.DataFrame) -> pl.DataFrame:
    """One row per session, from events as with_sessions leaves them."""
    first = [
        pl.col("session_id", "visitor_id", "customer_id", "utm_campaign", "device", "platform"),
        pl.col("referrer", "utm_source", "utm_medium").str.to_lowercase(),
        pl.col("url").alias("entry_url"),
        pl.col("event_type").alias("entry_event_type"),
        pl.col("occurred_at").alias("started_at"),
    ]
    counted = {
        "n_page_views": "page_view",
        "n_product_views": "product_view",
        "n_searches": "search",
        "n_cart_additions": "add_to_cart",
        "n_checkouts": "checkout",
        "n_purchases": "purchase",
    }
    seen = events.lazy().filter("is_visit")
    summed = seen.group_by("session_number").agg(
        pl.col("occurred_at").max().alias("ended_at"),
        pl.col("known_at").max(),
        pl.col("url").drop_nulls().last().alias("exit_url"),
        pl.len().cast(pl.Int64).alias("n_events"),
        *(
            (pl.col("event_type") == type_).sum().cast(pl.Int64).alias(name)
            for name, type_ in counted.items()
        ),
        pl.col("event_type").is_in(["login", "signup"]).any().alias("has_login"),
    )
    return (
        seen.filter("is_session_start")
        .select("session_number", *first)
        .join(summed, on="session_number")
        .select(
            "session_id",
            "visitor_id",
            "customer_id",
            channel().alias("channel"),
            "utm_source",
            "utm_campaign",
            "device",
            "platform",
            "entry_event_type",
            "entry_url",
            "exit_url",
            "has_login",
            (pl.col("n_purchases") > 0).alias("has_purchase"),
            (pl.col("n_events") == 1).alias("is_bounce"),
            "n_events",
            *counted,
            ((pl.col("ended_at") - pl.col("started_at")).dt.total_microseconds() / 10**6).alias(
                "duration_seconds"
            ),
            "started_at",
            "ended_at",
            pl.col("started_at").dt.date().alias("started_on"),
            "known_at",
        )
        .collect()
    )


def channel() -> pl.Expr:
    """Where a session came from, by its medium, else by its referrer."""
    medium = {
        "email": "email",
        "newsletter": "email",
        "push": "push",
        "sms": "sms",
        **dict.fromkeys(["cpc", "ppc", "paid", "ads", "display", "paid_social"], "ads"),
        "social": "social",
        "organic_social": "social",
        "affiliate": "referral",
        "referral": "referral",
        "organic": "organic",
    }
    return (
        pl.when(pl.col("utm_medium").is_not_null())
        .then(pl.col("utm_medium").replace_strict(medium, default="other", return_dtype=pl.String))
        .when(pl.col("referrer").is_null())
        .then(pl.lit("direct"))
        .when(pl.col("referrer").str.contains("(google|bing|baidu|duckduckgo|yahoo|ecosia)[.]"))
        .then(pl.lit("organic"))
        .when(
            pl.col("referrer").str.contains(
                "(facebook|instagram|tiktok|weibo|twitter|pinterest|youtube)[.]"
            )
        )
        .then(pl.lit("social"))
        .otherwise(pl.lit("referral"))
    )


# ---------------------------------------------------------------------------------------------
# Customers, retention, RFM
# ---------------------------------------------------------------------------------------------


def customers(place: Place) -> None:
    """Write everyone whom any table names."""
    every_order = place.mart("orders").filter(pl.col("customer_id").is_not_null())
    bought = every_order.filter(~pl.col("is_cancelled"))
    totals = bought.group_by("customer_id").agg(
        pl.len().cast(pl.Int64).alias("n_orders"),
        pl.col("n_units", "gross_amount", "discount_amount", "net_amount").sum(),
        pl.col("ordered_at").min().alias("first_ordered_at"),
        pl.col("ordered_at").max().alias("last_ordered_at"),
    )
    first = bought.filter("is_first_order").select(
        "customer_id",
        "sales_channel",
        first_order_id="order_id",
        has_first_order_coupon=pl.col("coupon_code").is_not_null(),
    )
    cancelled = (
        every_order.filter("is_cancelled")
        .group_by("customer_id")
        .agg(n_cancelled_orders=pl.len().cast(pl.Int64))
    )
    given_back = (
        place.mart("refunds")
        .filter(pl.col("customer_id").is_not_null() & ~pl.col("is_order_cancelled"))
        .group_by("customer_id")
        .agg(n_refunds=pl.len().cast(pl.Int64), refund_amount=pl.col("amount").sum())
    )
    categories = (
        place.mart("order_items")
        .join(first.select(order_id="first_order_id"), on="order_id", how="semi")
        .group_by("customer_id", "category")
        .agg(pl.col("net_amount").sum())
        .sort(-pl.col("net_amount"), "category")
        .unique("customer_id", keep="first", maintain_order=True)
        .select("customer_id", first_category="category")
    )
    named = pl.concat(
        [
            frame.select("customer_id")
            for frame in (
                place.scan("customers"),
                every_order,
                place.mart("refunds"),
                place.mart("events"),
            )
        ]
    )
    counts = ["n_orders", "n_cancelled_orders", "n_refunds", "n_sessions", "n_units"]
    amounts = ["gross_amount", "discount_amount", "net_amount", "refund_amount"]
    frame = named.drop_nulls().unique()
    for part in (
        place.scan("customers").with_columns(has_account=True),
        totals,
        first,
        categories,
        cancelled,
        given_back,
        visits_of_customers(place, totals),
    ):
        frame = frame.join(part, on="customer_id", how="left")
    place.write(
        "customers",
        frame.with_columns(average_order_amount=half_away(pl.col("net_amount"), pl.col("n_orders")))
        .with_columns(pl.col(*counts, *amounts).fill_null(0))
        .select(
            "customer_id",
            "country",
            "region",
            "gender",
            "birth_date",
            "email_hash",
            pl.coalesce("acquisition_channel", "first_visit_channel", "sales_channel").alias(
                "channel"
            ),
            "first_category",
            "first_device",
            "first_order_id",
            pl.col("marketing_consent").fill_null(False).alias("has_marketing_consent"),
            pl.col("has_account").fill_null(False),
            "has_first_order_coupon",
            (pl.col("n_orders") >= 2).alias("is_repeat_customer"),
            *counts,
            "gross_amount",
            "discount_amount",
            "refund_amount",
            (pl.col("net_amount") - pl.col("refund_amount")).alias("revenue_amount"),
            "average_order_amount",
            "created_at",
            "first_ordered_at",
            "last_ordered_at",
            pl.col("first_ordered_at").dt.date().alias("first_ordered_on"),
            pl.col("last_ordered_at").dt.date().alias("last_ordered_on"),
            "first_visited_at",
            "last_visited_at",
        ),
    )


def visits_of_customers(place: Place, totals: pl.LazyFrame) -> pl.LazyFrame:
    """One row per customer with a session; the channel is that of one before the first order."""
    of_customers = (
        place.mart("sessions")
        .filter(pl.col("customer_id").is_not_null())
        .select("customer_id", "session_id", "started_at", "ended_at", "channel", "device")
    )
    in_order = pl.struct("started_at", "session_id")
    began = pl.col("first_ordered_at")
    first = (
        of_customers.join(
            totals.select("customer_id", "first_ordered_at"), on="customer_id", how="left"
        )
        .filter(began.is_null() | (pl.col("started_at") <= began))
        .sort("started_at", "session_id")
        .unique("customer_id", keep="first", maintain_order=True)
        .select("customer_id", first_visit_channel="channel")
    )
    return (
        of_customers.group_by("customer_id")
        .agg(
            pl.len().cast(pl.Int64).alias("n_sessions"),
            pl.col("started_at").min().alias("first_visited_at"),
            pl.col("ended_at").max().alias("last_visited_at"),
            pl.col("device").sort_by(in_order).drop_nulls().first().alias("first_device"),
        )
        .join(first, on="customer_id", how="left")
    )


def period(grain: str, day: str) -> pl.Expr:
    """The first day of the week or month that a day lies in."""
    return pl.col(day).dt.truncate({"week": "1w", "month": "1mo"}[grain])


def month_number(day: str) -> pl.Expr:
    """The months from the year 0 to a day."""
    return pl.col(day).dt.year() * 12 + pl.col(day).dt.month() - 1


def periods_between(grain: str, earlier: str, later: str) -> pl.Expr:
    """How many periods lie between the first days of two of them."""
    if grain == "month":
        return (month_number(later) - month_number(earlier)).cast(pl.Int64)
    return (pl.col(later) - pl.col(earlier)).dt.total_days() // 7


def period_after(grain: str, start: str, n: pl.Expr) -> pl.Expr:
    """The first day of the n-th period after one."""
    if grain == "month":
        months = month_number(start) + n
        return pl.date(months // 12, months % 12 + 1, 1)
    return pl.col(start) + pl.duration(days=7 * n)


def customer_periods(place: Place, grain: str) -> pl.LazyFrame:
    """One row per buyer and period with an order or a refund."""
    bought = (
        place.mart("orders")
        .filter(pl.col("customer_id").is_not_null() & ~pl.col("is_cancelled"))
        .select(
            "customer_id",
            happened_on="ordered_on",
            n_orders=pl.lit(1, pl.Int64),
            revenue_amount="net_amount",
        )
    )
    given_back = (
        place.mart("refunds")
        .filter(pl.col("customer_id").is_not_null() & ~pl.col("is_order_cancelled"))
        .select(
            "customer_id",
            happened_on="refunded_on",
            n_orders=pl.lit(0, pl.Int64),
            revenue_amount=-pl.col("amount"),
        )
    )
    return (
        pl.concat([bought, given_back])
        .group_by("customer_id", period(grain, "happened_on").alias("period_start_on"))
        .agg(pl.col("n_orders", "revenue_amount").sum())
        .join(members(place, grain), on="customer_id")
        .with_columns(
            period_number=periods_between(grain, "cohort_start_on", "period_start_on"),
            is_active=pl.col("n_orders") > 0,
        )
    )


def members(place: Place, grain: str) -> pl.LazyFrame:
    """One row per buyer: the cohort, and a column for each way of looking at it."""
    return (
        place.mart("customers")
        .filter(pl.col("first_ordered_on").is_not_null())
        .select(
            "customer_id",
            pl.col("country", "channel", "first_category").fill_null("unknown"),
            pl.lit("all").alias("all"),
            period(grain, "first_ordered_on").alias("cohort_start_on"),
        )
    )


def cohort_retention(place: Place) -> None:
    """Write every cohort's periods from its own to the current one."""
    moment = now(place)
    parts = []
    for grain in GRAINS:
        periods = customer_periods(place, grain).collect(engine="streaming").lazy()
        everyone = members(place, grain).collect(engine="streaming").lazy()
        for segment_type in COHORT_SEGMENTS:
            parts.append(cells(grain, segment_type, everyone, periods, moment))
    place.write("cohort_retention", pl.concat(parts))


def cells(
    grain: str,
    segment_type: str,
    everyone: pl.LazyFrame,
    periods: pl.LazyFrame,
    moment: dt.datetime,
) -> pl.LazyFrame:
    """One row per segment, cohort and period, whether anyone bought in it or not."""
    cohort = [pl.col(segment_type).alias("segment"), "cohort_start_on"]
    activity = periods.group_by(*cohort, "period_number").agg(
        pl.col("is_active").sum().cast(pl.Int64).alias("n_active_customers_to_date"),
        pl.col("n_orders").sum().alias("n_orders_to_date"),
        pl.col("revenue_amount").sum().alias("revenue_amount_to_date"),
    )
    to_date = ["n_active_customers_to_date", "n_orders_to_date", "revenue_amount_to_date"]
    n = pl.col("period_number")
    share = pl.col("retention_numerator") / pl.col("retention_denominator")
    return (
        everyone.group_by(*cohort)
        .agg(n_customers=pl.len().cast(pl.Int64))
        .with_columns(current=pl.lit(moment.date()))
        .with_columns(current=period(grain, "current"))
        .with_columns(
            period_number=pl.int_ranges(0, periods_between(grain, "cohort_start_on", "current") + 1)
        )
        .explode("period_number")
        .with_columns(
            period_start_on=period_after(grain, "cohort_start_on", n),
            period_end_on=period_after(grain, "cohort_start_on", n + 1),
        )
        .with_columns(is_mature=pl.col("period_end_on").cast(pl.Datetime("us")) <= moment)
        .join(activity, on=["segment", "cohort_start_on", "period_number"], how="left")
        .with_columns(pl.col(to_date).fill_null(0))
        .with_columns(
            retention_numerator=pl.when("is_mature").then("n_active_customers_to_date"),
            retention_denominator=pl.when("is_mature").then("n_customers"),
        )
        .select(
            pl.lit(grain).alias("grain"),
            pl.lit(segment_type).alias("segment_type"),
            "segment",
            "cohort_start_on",
            "period_number",
            "period_start_on",
            "period_end_on",
            "is_mature",
            "n_customers",
            *to_date,
            "retention_numerator",
            "retention_denominator",
            pl.when("is_mature").then("n_orders_to_date").alias("n_orders"),
            pl.when("is_mature").then("revenue_amount_to_date").alias("revenue_amount"),
            share.alias("retention_rate"),
            wilson(share, -1).alias("retention_rate_low"),
            wilson(share, 1).alias("retention_rate_high"),
        )
    )


def wilson(share: pl.Expr, sign: int) -> pl.Expr:
    """One end of the 95 % interval of Wilson for the retention rate."""
    n = pl.col("retention_denominator")
    spread = (share * (1 - share) / n + Z * Z / 4 / (n * n)).sqrt()
    return ((share + Z * Z / 2 / n + sign * Z * spread) / (1 + Z * Z / n)).clip(0, 1)


def rfm(place: Place) -> None:
    """Write the scores: cut where a fifth, two fifths, … of the buyers lie."""
    today = now(place).date()
    buyers = (
        place.mart("customers")
        .filter(pl.col("n_orders") > 0)
        .select(
            "customer_id",
            recency_days=(pl.lit(today) - pl.col("last_ordered_on")).dt.total_days(),
            frequency="n_orders",
            monetary_amount="revenue_amount",
        )
        .collect()
    )
    # The smallest value that so many per cent do not exceed.
    places = [-(-percent * buyers.height // 100) - 1 for percent in (20, 40, 60, 80)]

    def exceeded(column: str) -> pl.Expr:
        cuts = buyers[column].sort().gather(places).to_list() if buyers.height else []
        return pl.sum_horizontal((pl.col(column) > cut).cast(pl.Int32) for cut in cuts)

    scores = [pl.col(f"{name}_score") for name in ("recency", "frequency", "monetary")]
    scored = buyers.lazy().with_columns(
        recency_score=(5 - exceeded("recency_days")).cast(pl.Int32),
        frequency_score=(1 + exceeded("frequency")).cast(pl.Int32),
        monetary_score=(1 + exceeded("monetary_amount")).cast(pl.Int32),
    )
    segments = pl.scan_csv(SEGMENTS).with_columns(pl.selectors.integer().cast(pl.Int32))
    place.write(
        "rfm",
        scored.join(
            segments, on=["recency_score", "frequency_score", "monetary_score"], how="left"
        ).select(
            "customer_id",
            "segment",
            *scores,
            (pl.sum_horizontal(scores) / 3).alias("weighted_score"),
            "recency_days",
            "frequency",
            "monetary_amount",
        ),
    )


# ---------------------------------------------------------------------------------------------
# What is bought together
# ---------------------------------------------------------------------------------------------


def affinity(place: Place) -> None:
    """Write the most similar products of each, and the products with their sales."""
    parts, sold = [], {}
    for basis in ("order", "customer"):
        every, counted = baskets(place, basis)
        sold[basis] = every.group_by("product_id").agg(pl.len().cast(pl.Int64).alias(f"n_{basis}s"))
        months = by_month(place, every, counted) if basis == "order" else None
        parts.append(similarities(basis, counted, months))
    place.write("item_similarity", pl.concat(parts))
    products(place, sold["order"], sold["customer"])


def baskets(place: Place, basis: str) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """One row per basket and product, and those of them that are counted in pairs.

    Of a huge basket a fixed sample is counted, by the hash that the warehouse takes.
    """
    key = f"{basis}_id"
    frame = (
        place.mart("order_items")
        .filter(~pl.col("is_cancelled") & pl.col(key).is_not_null())
        .select(pl.col(key).alias("basket_id"), "product_id")
        .unique()
        .collect(engine="streaming")
    )
    sizes = frame.group_by("basket_id").len()
    huge = sizes.filter(pl.col("len") > MAX_ITEMS)
    if huge.is_empty():
        return frame.lazy(), frame
    large = frame.join(huge, on="basket_id", how="semi")
    digests = [
        hashlib.md5(f"{basket}|{product}".encode()).hexdigest()
        for basket, product in large.select("basket_id", "product_id").iter_rows()
    ]
    sampled = (
        large.with_columns(digest=pl.Series(digests))
        .sort("basket_id", "digest", "product_id")
        .group_by("basket_id", maintain_order=True)
        .head(MAX_ITEMS)
        .select(frame.columns)
    )
    return frame.lazy(), pl.concat([frame.join(huge, on="basket_id", how="anti"), sampled])


def by_month(place: Place, every: pl.LazyFrame, counted: pl.DataFrame) -> pl.LazyFrame:
    """One row per product and month: its orders, and all orders of the month."""
    month = place.mart("orders").select(
        pl.col("order_id").alias("basket_id"),
        pl.col("ordered_on").dt.truncate("1mo").alias("month"),
    )
    orders = every.select("basket_id").unique().join(month, on="basket_id")
    return (
        counted.lazy()
        .join(month, on="basket_id")
        .group_by("product_id", "month")
        .agg(n=pl.len().cast(pl.Float64))
        .join(orders.group_by("month").agg(n_orders=pl.len()), on="month")
    )


def similarities(basis: str, counted: pl.DataFrame, months: pl.LazyFrame | None) -> pl.LazyFrame:
    """One row per product and each of its most similar ones."""
    # Whole numbers instead of texts, and each pair once: both make the join several times faster.
    catalogue = counted.select(pl.col("product_id").unique().sort()).with_row_index("item")
    numbered = (
        counted.lazy()
        .join(catalogue.lazy(), on="product_id")
        .select(pl.col("basket_id").rank("dense").cast(pl.UInt32).alias("basket"), "item")
        .collect()
    )
    items = numbered.group_by("item").agg(n=pl.len().cast(pl.Int64))
    n_baskets = numbered["basket"].n_unique()
    pairs = (
        numbered.lazy()
        .join(numbered.lazy().rename({"item": "similar"}), on="basket")
        .filter(pl.col("item") < pl.col("similar"))
        .group_by("item", "similar")
        .agg(n_both=pl.len().cast(pl.Int64))
        .filter(pl.col("n_both") >= MIN_PAIRS)
        .collect(engine="streaming")
    )
    turned = pairs.select(item="similar", similar="item", n_both="n_both")
    both, n_product, n_similar = pl.col("n_both"), pl.col("n_product"), pl.col("n_similar")
    cosine = both / (n_product.cast(pl.Float64) * n_similar).sqrt()
    names = catalogue.lazy()
    share, share_similar = n_product / n_baskets, n_similar / n_baskets
    leverage = both / n_baskets - share * share_similar
    ratio = log_likelihood_ratio(both, n_product, n_similar, n_baskets)
    ranked = (
        pl.concat([pairs, turned])
        .lazy()
        .join(items.lazy().rename({"n": "n_product"}), on="item")
        .join(items.lazy().rename({"item": "similar", "n": "n_similar"}), on="similar")
        .join(names, on="item")
        .join(
            names.rename({"product_id": "similar_product_id"}), left_on="similar", right_on="item"
        )
        .sort(
            "product_id",
            -cosine.round(12),
            -both,
            "similar_product_id",
        )
        .with_columns(similarity_rank=pl.col("item").cum_count().over("item").cast(pl.Int64))
        .filter(pl.col("similarity_rank") <= TOP_ITEMS)
    )
    expected = pl.LazyFrame(schema={"product_id": pl.String, "similar_product_id": pl.String,
                                    "expected": pl.Float64})  # fmt: skip
    if months is not None:
        expected = (
            ranked.select("product_id", "similar_product_id")
            .join(months, on="product_id")
            .join(
                months.select(pl.col("product_id").alias("similar_product_id"), "month", m="n"),
                on=["similar_product_id", "month"],
            )
            .group_by("product_id", "similar_product_id")
            .agg(expected=(pl.col("n") * pl.col("m") / pl.col("n_orders")).sum())
        )
    return (
        ranked.join(expected, on=["product_id", "similar_product_id"], how="left")
        .with_columns(log_likelihood_ratio=ratio)
        .select(
            pl.lit(basis).alias("basis"),
            "product_id",
            "similar_product_id",
            "similarity_rank",
            "n_both",
            "n_product",
            "n_similar",
            pl.lit(n_baskets, pl.Int64).alias("n_baskets"),
            (both / n_baskets).alias("support"),
            (both / n_product).alias("confidence"),
            (both / n_similar).alias("confidence_back"),
            (both.cast(pl.Float64) * n_baskets / (n_product.cast(pl.Float64) * n_similar)).alias(
                "lift"
            ),
            leverage.alias("leverage"),
            pl.when(both < n_product)
            .then((1 - share_similar) / (1 - both / n_product))
            .alias("conviction"),
            cosine.alias("cosine"),
            pl.lit(None, pl.Float64).alias("decayed_cosine"),
            (both / (n_product + n_similar - both)).alias("jaccard"),
            (leverage / (share * (1 - share) * share_similar * (1 - share_similar)).sqrt()).alias(
                "pearson"
            ),
            "log_likelihood_ratio",
            pl.col("log_likelihood_ratio")
            .map_batches(lambda values: pl.Series(chi2.sf(values.to_numpy(), 1)), pl.Float64)
            .alias("log_likelihood_p_value"),
            pl.col("expected").alias("n_both_expected_by_month"),
            (both / pl.col("expected")).alias("lift_by_month"),
        )
    )


def log_likelihood_ratio(both: pl.Expr, a: pl.Expr, b: pl.Expr, n: int) -> pl.Expr:
    """Dunning's ratio (Computational Linguistics 19, 1993) of a two-by-two table."""

    def term(count: pl.Expr) -> pl.Expr:
        return pl.when(count > 0).then(count * count.cast(pl.Float64).log()).otherwise(0.0)

    inner = [both, a - both, b - both, n - a - b + both]
    margins = [a, b, n - a, n - b]
    total = sum(map(term, inner)) - sum(map(term, margins)) + term(pl.lit(n, pl.Int64))
    return (2 * total).clip(0)


def products(place: Place, by_order: pl.LazyFrame, by_customer: pl.LazyFrame) -> None:
    """Write the products of the catalogue, and those that were sold without being in it."""
    lines = place.mart("order_items")
    sales = (
        lines.filter(~pl.col("is_cancelled"))
        .group_by("product_id")
        .agg(
            pl.col("quantity").sum().alias("n_units"),
            pl.col("net_amount").sum(),
            pl.col("ordered_at").min().alias("first_sold_at"),
            pl.col("ordered_at").max().alias("last_sold_at"),
        )
    )
    catalogue = place.scan("products").with_columns(is_in_catalogue=True)
    frame = pl.concat([catalogue.select("product_id"), lines.select("product_id")]).unique()
    for part in (catalogue, sales, by_order, by_customer):
        frame = frame.join(part, on="product_id", how="left")
    place.write(
        "products",
        frame.select(
            "product_id",
            "name",
            pl.col("category").fill_null("unknown"),
            "brand",
            "description",
            pl.col("is_in_catalogue").fill_null(False),
            pl.col("price", "unit_cost").to_physical().cast(pl.Int64),
            pl.col("n_orders", "n_customers", "n_units", "net_amount").fill_null(0),
            "first_sold_at",
            "last_sold_at",
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
