"""The warehouse's main figures computed a second time, in polars, from the staged tables.

Nothing here runs the SQL of the marts: every function follows the definitions in words. Only the
channel of a session is taken from the marts as it is. Money is held in whole cents, quantities
in thousandths, so that sums and halves are exact.
"""

import datetime as dt
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import polars as pl
from scipy import sparse

Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""

NOT_VISITS = ("email_sent", "email_open", "push_open")
SESSION_TIMEOUT = dt.timedelta(minutes=30)


@dataclass(frozen=True)
class Shop:
    """What a shop's figures depend on besides its data."""

    timezone: str
    currency: str
    week_start: int = 1
    """ISO number of the first day of the week: Monday is 1, Sunday 7."""
    as_of: dt.datetime | None = None
    """A moment in UTC; without it, the last moment in the data."""


# ---------------------------------------------------------------------------------------------
# Reading and comparing
# ---------------------------------------------------------------------------------------------


def read(warehouse: Path, table: str) -> pl.DataFrame:
    """One table, its decimals as whole numbers of their last digit (2.50 as 250)."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        frame = pl.from_arrow(connection.sql(f"from {table}").to_arrow_table())
    decimals = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Decimal)]
    return frame.with_columns(frame[name].to_physical().cast(pl.Int64) for name in decimals)


def differences(
    mine: pl.DataFrame,
    theirs: pl.DataFrame,
    keys: list[str],
    columns: list[str] | None = None,
    tolerance: float = 1e-9,
    absolute: float = 1e-12,
) -> list[str]:
    """Every way in which two tables differ, in words: rows of one only, then unequal cells."""
    columns = columns or [c for c in mine.columns if c not in keys]
    found = []
    for name, frame in (("mine", mine), ("theirs", theirs)):
        repeated = frame.height - frame.select(keys).n_unique()
        if repeated:
            found.append(f"{name}: {repeated} rows repeat the key {keys}")
    joined = mine.select(*keys, *columns, pl.lit(True).alias("_mine")).join(
        theirs.select(*keys, *columns, pl.lit(True).alias("_theirs")),
        on=keys,
        how="full",
        coalesce=True,
        nulls_equal=True,
        suffix="_theirs",
    )
    for name, other, end in (("mine", "_theirs", ""), ("theirs", "_mine", "_theirs")):
        only = joined.filter(pl.col(other).is_null()).sort(keys)
        if only.height:
            first = only.select(*keys, *(f"{column}{end}" for column in columns)).row(0, named=True)
            found.append(f"{only.height} rows only in {name}; the first: {first}")
    both = joined.filter(pl.col("_mine") & pl.col("_theirs"))
    for column in columns:
        a, b = pl.col(column), pl.col(f"{column}_theirs")
        if mine[column].dtype.is_float() or theirs[column].dtype.is_float():
            limit = absolute + tolerance * pl.max_horizontal(a.abs(), b.abs())
            equal = ((a - b).abs() <= limit).fill_null(False) | (a.is_null() & b.is_null())
        else:
            equal = a.eq_missing(b)
        wrong = both.filter(~equal).sort(keys)
        if wrong.height:
            example = wrong.select(*keys, column, f"{column}_theirs").row(0, named=True)
            found.append(f"{column}: {wrong.height} of {both.height} differ; the first: {example}")
    return found


# ---------------------------------------------------------------------------------------------
# Time and money
# ---------------------------------------------------------------------------------------------


def as_of(warehouse: Path, shop: Shop) -> dt.datetime:
    """The shop's now: as set, otherwise the last moment on which anything happened."""
    if shop.as_of:
        return shop.as_of
    moments = [
        read(warehouse, f"staging.{table}")[column].max()
        for table, column in (
            ("stg_orders", "ordered_at"),
            ("stg_refunds", "refunded_at"),
            ("stg_events", "occurred_at"),
        )
    ]
    return max(moment for moment in moments if moment is not None)


def local_day(column: str, shop: Shop) -> pl.Expr:
    """The calendar day in the shop's time zone of a UTC timestamp."""
    return pl.col(column).dt.replace_time_zone("UTC").dt.convert_time_zone(shop.timezone).dt.date()


def local_day_of(moment: dt.datetime, shop: Shop) -> dt.date:
    """As local_day, of one moment."""
    return moment.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(shop.timezone)).date()


def midnight_utc(day: dt.date, shop: Shop) -> dt.datetime:
    """The moment, in UTC without a zone, at which a local day begins."""
    start = dt.datetime.combine(day, dt.time(), ZoneInfo(shop.timezone))
    return start.astimezone(dt.UTC).replace(tzinfo=None)


def period_start(day: dt.date, grain: str, shop: Shop) -> dt.date:
    """The first day of the week or month that a day lies in."""
    if grain == "month":
        return day.replace(day=1)
    return day - dt.timedelta(days=(day.isoweekday() - shop.week_start) % 7)


def period_after(start: dt.date, n: int, grain: str) -> dt.date:
    """The first day of the n-th period after a period."""
    if grain == "week":
        return start + dt.timedelta(days=7 * n)
    months = start.year * 12 + start.month - 1 + n
    return dt.date(months // 12, months % 12 + 1, 1)


def period_number(start: dt.date, period: dt.date, grain: str) -> int:
    """How many periods after the first one a period comes."""
    if grain == "week":
        return (period - start).days // 7
    return (period.year - start.year) * 12 + period.month - start.month


def half_away(scaled: pl.Expr, divisor: int) -> pl.Expr:
    """A whole number divided by another, rounded half away from zero."""
    return scaled.sign() * ((scaled.abs() + divisor // 2) // divisor)


# ---------------------------------------------------------------------------------------------
# Orders and customers
# ---------------------------------------------------------------------------------------------


def with_rates(frame: pl.DataFrame, day: str, warehouse: Path, shop: Shop) -> pl.DataFrame:
    """The exchange rate of each row's currency and day, in units of 1e-8, as `rate`.

    The rate of a day serves until the next one, for seven days at most.
    """
    quoted = (
        read(warehouse, "staging.stg_exchange_rates")
        .select(
            "currency",
            (pl.col("rate") * 1e8).round().cast(pl.Int64),
            quoted_on="rate_date",
        )
        .sort("quoted_on")
    )
    found = (
        frame.with_row_index("_row")
        .sort(day)
        .join_asof(quoted, left_on=day, right_on="quoted_on", by="currency", check_sortedness=False)
        .sort("_row")
    )
    is_home = pl.col("currency") == shop.currency
    is_fresh = pl.col(day) - pl.col("quoted_on") < dt.timedelta(days=7)
    return found.with_columns(
        rate=pl.when(is_home).then(10**8).when(is_fresh).then(pl.col("rate"))
    ).drop("_row", "quoted_on")


def at_rate(cents: pl.Expr) -> pl.Expr:
    """An amount in cents at the rate of its row."""
    return half_away(cents * pl.col("rate"), 10**8)


def staged_orders(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """The orders that have happened by as_of, with their local day and their rate."""
    frame = (
        read(warehouse, "staging.stg_orders")
        .with_columns(
            pl.col("discount_amount", "shipping_amount", "tax_amount").fill_null(0),
            is_cancelled=pl.col("status") == "cancelled",
            ordered_on=local_day("ordered_at", shop),
            known_at=known_at("ordered_at"),
        )
        .filter(pl.col("ordered_at") <= as_of(warehouse, shop))
    )
    return with_rates(frame, "ordered_on", warehouse, shop)


def known_at(happened_at: str) -> pl.Expr:
    """When a row became known: its first version counts; the first day's load is history."""
    load_ended_at = pl.col("ingested_at").min() + dt.timedelta(days=1)
    return (
        pl.when(pl.col("first_ingested_at") > load_ended_at)
        .then(pl.max_horizontal(happened_at, "first_ingested_at"))
        .otherwise(pl.col(happened_at))
    )


def order_lines(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per order line, amounts in cents.

    The order's discount falls on its lines in proportion to what they cost: rounded, line by
    line, as the share of all lines so far, so that the cents add up. From lines that cost
    nothing nothing can be taken off.
    """
    after = pl.col("gross") - pl.col("line_discount")
    total = after.sum().over("order_id")
    # Whole numbers: twice the share, so that its half can be told.
    so_far = pl.col("order_discount") * after.cum_sum().over("order_id")
    rounded = (so_far * total).sign() * ((2 * so_far.abs() + total.abs()) // (2 * total.abs()))
    lines = (
        read(warehouse, "staging.stg_order_items")
        .sort("order_id", "line_number")
        .select(
            "order_id",
            "line_number",
            "product_id",
            "quantity",
            gross=half_away(pl.col("quantity") * pl.col("unit_price"), 10**5),
            line_discount=pl.col("discount_amount").fill_null(0),
        )
        .join(
            staged_orders(warehouse, shop).select(
                "order_id",
                "customer_id",
                "ordered_at",
                "ordered_on",
                "is_cancelled",
                "rate",
                order_discount="discount_amount",
            ),
            on="order_id",
            how="inner",
            maintain_order="left",
        )
        .with_columns(share_so_far=pl.when(total != 0).then(rounded).otherwise(0))
        .with_columns(
            order_discount=pl.col("share_so_far")
            - pl.col("share_so_far").shift(1).over("order_id").fill_null(0)
        )
    )
    return lines.select(
        "order_id",
        "line_number",
        "product_id",
        "customer_id",
        "ordered_at",
        "ordered_on",
        "is_cancelled",
        "quantity",
        gross_amount=at_rate(pl.col("gross")),
        line_discount_amount=at_rate(pl.col("line_discount")),
        order_discount_amount=at_rate(pl.col("order_discount")),
    ).with_columns(
        net_amount=pl.col("gross_amount")
        - pl.col("line_discount_amount")
        - pl.col("order_discount_amount")
    )


def orders(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per order, amounts in cents."""
    sums = (
        order_lines(warehouse, shop)
        .group_by("order_id")
        .agg(
            n_lines=pl.len().cast(pl.Int64),
            n_units=pl.col("quantity").sum(),
            gross_amount=pl.col("gross_amount").sum(),
            discount_amount=pl.sum("line_discount_amount") + pl.sum("order_discount_amount"),
            net_amount=pl.col("net_amount").sum(),
        )
    )
    refunded = (
        refunds(warehouse, shop)
        .filter(pl.col("order_id").is_not_null() & ~pl.col("is_order_cancelled"))
        .group_by("order_id")
        .agg(refund_amount=pl.col("amount").sum())
    )
    zero_where_absent = [c for c in (*sums.columns, *refunded.columns) if c != "order_id"]
    frame = (
        staged_orders(warehouse, shop)
        .drop("discount_amount")
        .join(sums, on="order_id", how="left")
        .join(refunded, on="order_id", how="left")
        .with_columns(
            pl.col(zero_where_absent).fill_null(0).cast(pl.Int64),
            at_rate(pl.col("shipping_amount")),
            at_rate(pl.col("tax_amount")),
            is_guest=pl.col("customer_id").is_null(),
        )
    )
    numbered = (
        frame.filter(~pl.col("is_cancelled") & pl.col("customer_id").is_not_null())
        .sort("customer_id", "ordered_at", "order_id")
        .select(
            "order_id",
            order_number=pl.int_range(1, pl.len() + 1).over("customer_id"),
            days_since_previous_order=(
                pl.col("ordered_on") - pl.col("ordered_on").shift(1).over("customer_id")
            ).dt.total_days(),
        )
    )
    return frame.join(numbered, on="order_id", how="left").select(
        "order_id",
        "customer_id",
        "status",
        "sales_channel",
        "is_guest",
        "is_cancelled",
        "order_number",
        "days_since_previous_order",
        "n_lines",
        "n_units",
        "gross_amount",
        "discount_amount",
        "net_amount",
        "refund_amount",
        "shipping_amount",
        "tax_amount",
        "ordered_at",
        "ordered_on",
        "known_at",
    )


def refunds(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per refund, with its customer and whether its order was cancelled."""
    staged = (
        read(warehouse, "staging.stg_refunds")
        .with_columns(refunded_on=local_day("refunded_at", shop), known_at=known_at("refunded_at"))
        .filter(pl.col("refunded_at") <= as_of(warehouse, shop))
    )
    linked = read(warehouse, "staging.stg_orders").select(
        "order_id",
        order_customer_id="customer_id",
        order_currency="currency",
        is_order_cancelled=pl.col("status") == "cancelled",
    )
    # Without its order a refund is in the currency of the customer's last order before it.
    last = (
        staged.filter(pl.col("order_id").is_null())
        .select("refund_id", "customer_id", "refunded_at")
        .join(staged_orders(warehouse, shop), on="customer_id")
        .filter(pl.col("ordered_at") <= pl.col("refunded_at"))
        .sort("ordered_at", "order_id")
        .group_by("refund_id", maintain_order=True)
        .agg(last_currency=pl.col("currency").last())
    )
    frame = (
        staged.join(linked, on="order_id", how="left")
        .join(last, on="refund_id", how="left")
        .with_columns(
            currency=pl.coalesce("order_currency", "last_currency", pl.lit(shop.currency))
        )
    )
    return with_rates(frame, "refunded_on", warehouse, shop).select(
        "refund_id",
        "order_id",
        "refunded_at",
        "refunded_on",
        "known_at",
        amount=at_rate(pl.col("amount")),
        customer_id=pl.coalesce("order_customer_id", "customer_id"),
        is_order_cancelled=pl.col("is_order_cancelled").fill_null(False),
    )


def first_categories(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per customer: the category with the largest net amount in the first order."""
    first = orders(warehouse, shop).filter(pl.col("order_number") == 1).select("order_id")
    categories = read(warehouse, "staging.stg_products").select("product_id", "category")
    return (
        order_lines(warehouse, shop)
        .join(first, on="order_id", how="semi")
        .join(categories, on="product_id", how="left")
        # What is in no category is a category of its own, here as in marts.order_items.
        .with_columns(pl.col("category").fill_null("unknown"))
        .group_by("customer_id", "category")
        .agg(pl.col("net_amount").sum())
        .sort("customer_id", -pl.col("net_amount"), "category")
        .group_by("customer_id", maintain_order=True)
        .agg(first_category=pl.col("category").first())
    )


def customers(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per customer whom any table names, amounts in cents."""
    all_orders = orders(warehouse, shop).filter(pl.col("customer_id").is_not_null())
    kept = all_orders.filter(~pl.col("is_cancelled"))
    bought = (
        kept.sort("order_number")
        .group_by("customer_id", maintain_order=True)
        .agg(
            n_orders=pl.len().cast(pl.Int64),
            n_units=pl.col("n_units").sum(),
            gross_amount=pl.col("gross_amount").sum(),
            discount_amount=pl.col("discount_amount").sum(),
            net=pl.col("net_amount").sum(),
            first_order_id=pl.col("order_id").first(),
            first_sales_channel=pl.col("sales_channel").first(),
            first_ordered_at=pl.col("ordered_at").min(),
            last_ordered_at=pl.col("ordered_at").max(),
            first_ordered_on=pl.col("ordered_on").min(),
            last_ordered_on=pl.col("ordered_on").max(),
        )
    )
    cancelled = (
        all_orders.filter("is_cancelled")
        .group_by("customer_id")
        .agg(n_cancelled_orders=pl.len().cast(pl.Int64))
    )
    all_refunds = refunds(warehouse, shop).filter(pl.col("customer_id").is_not_null())
    given_back = all_refunds.filter(~pl.col("is_order_cancelled"))
    returned = given_back.group_by("customer_id").agg(
        n_refunds=pl.len().cast(pl.Int64), refund_amount=pl.col("amount").sum()
    )
    listed = read(warehouse, "staging.stg_customers").select(
        "customer_id", "country", "acquisition_channel"
    )
    known = pl.concat(
        [
            listed.select("customer_id"),
            all_orders.select("customer_id"),
            all_refunds.select("customer_id"),
            events(warehouse, shop).select("customer_id").drop_nulls(),
        ]
    ).unique()
    # How a session's channel is told from its first page is not computed again here.
    first_visits = (
        read(warehouse, "marts.sessions")
        .filter(pl.col("customer_id").is_not_null())
        .sort("started_at", "session_id")
        .group_by("customer_id", maintain_order=True)
        .agg(first_visit_channel=pl.col("channel").first())
    )
    counts = [
        "n_orders",
        "n_cancelled_orders",
        "n_refunds",
        "n_units",
        "gross_amount",
        "discount_amount",
        "refund_amount",
        "net",
    ]
    frame = known
    categories = first_categories(warehouse, shop)
    for part in (listed, bought, cancelled, returned, first_visits, categories):
        frame = frame.join(part, on="customer_id", how="left")
    return frame.with_columns(pl.col(counts).fill_null(0)).select(
        "customer_id",
        "country",
        "first_category",
        "first_order_id",
        *counts[:-1],
        "first_ordered_at",
        "last_ordered_at",
        "first_ordered_on",
        "last_ordered_on",
        channel=pl.coalesce("acquisition_channel", "first_visit_channel", "first_sales_channel"),
        revenue_amount=pl.col("net") - pl.col("refund_amount"),
    )


# ---------------------------------------------------------------------------------------------
# Retention
# ---------------------------------------------------------------------------------------------


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of Wilson for a share."""
    share = successes / trials
    middle = share + Z * Z / (2 * trials)
    spread = Z * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    scale = 1 + Z * Z / trials
    return (middle - spread) / scale, (middle + spread) / scale


def cohort_retention(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per grain, segment, cohort and period since, amounts in cents."""
    now = as_of(warehouse, shop)
    today = local_day_of(now, shop)
    bought = orders(warehouse, shop).filter(pl.col("order_number").is_not_null())
    gave_back = refunds(warehouse, shop).filter(
        ~pl.col("is_order_cancelled") & pl.col("customer_id").is_not_null()
    )
    people = customers(warehouse, shop).filter(pl.col("n_orders") > 0)
    rows = []
    for grain in ("week", "month"):
        starts = {
            day: period_start(day, grain, shop)
            for day in {*bought["ordered_on"], *gave_back["refunded_on"]}
        }
        current = period_start(today, grain, shop)
        cohort_of = {
            customer: starts[day]
            for customer, day in people.select("customer_id", "first_ordered_on").iter_rows()
        }
        n_orders: dict[tuple[str, dt.date], int] = {}
        revenue: dict[tuple[str, dt.date], int] = {}
        for customer, day, net in bought.select(
            "customer_id", "ordered_on", "net_amount"
        ).iter_rows():
            cell = customer, starts[day]
            n_orders[cell] = n_orders.get(cell, 0) + 1
            revenue[cell] = revenue.get(cell, 0) + net
        for customer, day, amount in gave_back.select(
            "customer_id", "refunded_on", "amount"
        ).iter_rows():
            cell = customer, starts[day]
            revenue[cell] = revenue.get(cell, 0) - amount

        for segment_type in ("all", "country", "channel", "first_category"):
            if segment_type == "all":
                segment_of = dict.fromkeys(people["customer_id"], "all")
            else:
                segment_of = dict(
                    people.select("customer_id", pl.col(segment_type).fill_null("unknown")).rows()
                )
            cohorts: dict[tuple[str, dt.date], int] = {}
            for customer, cohort in cohort_of.items():
                group = segment_of[customer], cohort
                cohorts[group] = cohorts.get(group, 0) + 1
            active: dict[tuple[str, dt.date, dt.date], int] = {}
            ordered: dict[tuple[str, dt.date, dt.date], int] = {}
            earned: dict[tuple[str, dt.date, dt.date], int] = {}
            for (customer, period), n in n_orders.items():
                cell = segment_of[customer], cohort_of[customer], period
                active[cell] = active.get(cell, 0) + 1
                ordered[cell] = ordered.get(cell, 0) + n
            for (customer, period), amount in revenue.items():
                if customer in cohort_of:
                    cell = segment_of[customer], cohort_of[customer], period
                    earned[cell] = earned.get(cell, 0) + amount
            for (segment, cohort), size in cohorts.items():
                for number in range(period_number(cohort, current, grain) + 1):
                    start = period_after(cohort, number, grain)
                    end = period_after(start, 1, grain)
                    cell = segment, cohort, start
                    here = active.get(cell, 0)
                    is_mature = midnight_utc(end, shop) <= now
                    low, high = wilson(here, size)
                    to_date = here, ordered.get(cell, 0), earned.get(cell, 0)
                    final = (here, size, *to_date[1:], here / size, low, high)
                    rows.append(
                        (grain, segment_type, segment, cohort, number, start, end, is_mature, size)
                        + to_date
                        + (final if is_mature else (None,) * len(final))
                    )
    names = {
        "grain": pl.String,
        "segment_type": pl.String,
        "segment": pl.String,
        "cohort_start_on": pl.Date,
        "period_number": pl.Int64,
        "period_start_on": pl.Date,
        "period_end_on": pl.Date,
        "is_mature": pl.Boolean,
        "n_customers": pl.Int64,
        "n_active_customers_to_date": pl.Int64,
        "n_orders_to_date": pl.Int64,
        "revenue_amount_to_date": pl.Int64,
        "retention_numerator": pl.Int64,
        "retention_denominator": pl.Int64,
        "n_orders": pl.Int64,
        "revenue_amount": pl.Int64,
        "retention_rate": pl.Float64,
        "retention_rate_low": pl.Float64,
        "retention_rate_high": pl.Float64,
    }
    return pl.DataFrame(rows, schema=names, orient="row")


# ---------------------------------------------------------------------------------------------
# Recency, frequency, money
# ---------------------------------------------------------------------------------------------


def cuts(values: list[int]) -> list[int]:
    """The smallest values whose cumulative share reaches 20, 40, 60 and 80 per cent."""
    ordered = sorted(values)
    # Whole numbers, because 0.6 * n is not what it seems in floating point.
    return [ordered[-(-percent * len(ordered) // 100) - 1] for percent in (20, 40, 60, 80)]


def rfm(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per customer who has ordered, amounts in cents."""
    today = local_day_of(as_of(warehouse, shop), shop)
    frame = (
        customers(warehouse, shop)
        .filter(pl.col("n_orders") > 0)
        .select(
            "customer_id",
            recency_days=(pl.lit(today) - pl.col("last_ordered_on")).dt.total_days(),
            frequency="n_orders",
            monetary_amount="revenue_amount",
        )
    )

    def exceeded(column: str) -> pl.Expr:
        return pl.sum_horizontal(
            (pl.col(column) > cut).cast(pl.Int32) for cut in cuts(frame[column].to_list())
        )

    return frame.with_columns(
        recency_score=(5 - exceeded("recency_days")).cast(pl.Int32),
        frequency_score=(1 + exceeded("frequency")).cast(pl.Int32),
        monetary_score=(1 + exceeded("monetary_amount")).cast(pl.Int32),
    )


# ---------------------------------------------------------------------------------------------
# Items bought together
# ---------------------------------------------------------------------------------------------


def baskets(warehouse: Path, shop: Shop, basis: str, max_items: int = 100) -> pl.DataFrame:
    """One row per basket and distinct item, of large baskets a fixed sample."""
    key = {"order": "order_id", "customer": "customer_id"}[basis]
    pairs = (
        order_lines(warehouse, shop)
        .filter(~pl.col("is_cancelled") & pl.col(key).is_not_null())
        .select(basket_id=key, product_id="product_id")
        .drop_nulls()
        .unique()
        .with_columns(size=pl.len().over("basket_id"))
    )
    large = pairs.filter(pl.col("size") > max_items)
    digests = [
        hashlib.md5(f"{basket}|{product}".encode()).hexdigest()
        for basket, product in large.select("basket_id", "product_id").iter_rows()
    ]
    sampled = (
        large.with_columns(digest=pl.Series(digests, dtype=pl.String))
        .sort("basket_id", "digest", "product_id")
        .group_by("basket_id", maintain_order=True)
        .head(max_items)
        .select("basket_id", "product_id")
    )
    small = pairs.filter(pl.col("size") <= max_items).select("basket_id", "product_id")
    return pl.concat([small, sampled])


def expected_by_month(
    warehouse: Path, shop: Shop, counted: pl.DataFrame, pairs: pl.DataFrame
) -> list[float | None]:
    """Orders with both products of each pair if within every month the two were independent."""
    lines = order_lines(warehouse, shop).filter(~pl.col("is_cancelled"))
    month = lines.group_by(basket_id="order_id").agg(
        month=pl.col("ordered_on").first().dt.truncate("1mo")
    )
    n_orders = dict(month["month"].value_counts().iter_rows())
    sold: dict[str, dict[dt.date, int]] = {}
    for product, start, n in (
        counted.join(month, on="basket_id").group_by("product_id", "month").len().iter_rows()
    ):
        sold.setdefault(product, {})[start] = n
    expected = []
    for one, other in pairs.iter_rows():
        shared = sold[one].keys() & sold[other].keys()
        terms = [sold[one][m] * sold[other][m] / n_orders[m] for m in shared]
        expected.append(math.fsum(terms) if shared else None)
    return expected


def entropy_terms(*counts: np.ndarray) -> np.ndarray:
    """The sum of k * ln(k) over counts, with 0 * ln(0) = 0."""
    return sum(np.where(k > 0, k * np.log(np.maximum(k, 1)), 0.0) for k in counts)


def item_similarity(
    warehouse: Path, shop: Shop, basis: str, min_count: int = 3, top: int = 50
) -> pl.DataFrame:
    """One row per item and its rank-th most similar other item."""
    contents = baskets(warehouse, shop, basis)
    basket_ids = contents["basket_id"].unique().sort()
    product_ids = contents["product_id"].unique().sort()
    rows = contents["basket_id"].cast(pl.Enum(basket_ids)).to_physical().to_numpy()
    columns = contents["product_id"].cast(pl.Enum(product_ids)).to_physical().to_numpy()
    matrix = sparse.csr_matrix(
        (np.ones(contents.height, dtype=np.int32), (rows, columns)),
        shape=(len(basket_ids), len(product_ids)),
    )
    counts = np.asarray(matrix.sum(axis=0)).ravel().astype(np.int64)
    together = (matrix.T @ matrix).tocoo()
    keep = (together.data >= min_count) & (together.row != together.col)
    a, b, both = together.row[keep], together.col[keep], together.data[keep].astype(np.int64)
    n_a, n_b, n = counts[a], counts[b], len(basket_ids)
    a_only, b_only = n_a - both, n_b - both
    neither = n - both - a_only - b_only
    # Equal cosines must be seen as equal: for one product the order of the cosine is the order
    # of n_both^2 / n_similar, which whole numbers hold exactly (the fractional part to 1e-11,
    # and two different such fractions are further apart than that).
    square = both * both
    frame = pl.DataFrame(
        {
            "product_id": product_ids.gather(a),
            "similar_product_id": product_ids.gather(b),
            "n_both": both,
            "n_product": n_a,
            "n_similar": n_b,
            "whole": square // n_b,
            "fraction": (square % n_b) * 10**11 // n_b,
            "support": both / n,
            "confidence": both / n_a,
            "confidence_back": both / n_b,
            "leverage": both / n - n_a / n * (n_b / n),
            "conviction": np.where(
                a_only > 0, (1 - n_b / n) / np.maximum(a_only / n_a, 1e-300), np.nan
            ),
            "pearson": (both / n - n_a / n * (n_b / n))
            / np.sqrt(n_a / n * (1 - n_a / n) * (n_b / n) * (1 - n_b / n)),
            "lift": both * float(n) / (n_a.astype(float) * n_b),
            "cosine": both / np.sqrt(n_a.astype(float) * n_b),
            "jaccard": both / (n_a + n_b - both),
            "log_likelihood_ratio": 2
            * (
                entropy_terms(both, a_only, b_only, neither, np.full_like(both, n))
                - entropy_terms(n_a, n - n_a)
                - entropy_terms(n_b, n - n_b)
            ),
        }
    )
    frame = frame.with_columns(pl.col("conviction").fill_nan(None))
    found = (
        frame.sort(
            "product_id",
            -pl.col("whole"),
            -pl.col("fraction"),
            -pl.col("n_both"),
            "similar_product_id",
        )
        .with_columns(
            similarity_rank=pl.int_range(1, pl.len() + 1).over("product_id"),
            basis=pl.lit(basis),
            n_baskets=pl.lit(n, dtype=pl.Int64),
        )
        .filter(pl.col("similarity_rank") <= top)
        .drop("whole", "fraction")
    )
    expected = [None] * found.height
    if basis == "order":
        names = found.select("product_id", "similar_product_id")
        expected = expected_by_month(warehouse, shop, contents, names)
    return found.with_columns(
        n_both_expected_by_month=pl.Series(expected, dtype=pl.Float64),
    ).with_columns(lift_by_month=pl.col("n_both") / pl.col("n_both_expected_by_month"))


# ---------------------------------------------------------------------------------------------
# Visits
# ---------------------------------------------------------------------------------------------


def events(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per event: its visitor, its customer and, of a visit, the number of its session.

    The customer of an event is its own; else the last one seen earlier on the device; else the
    first one ever linked with the device.
    """
    rows = (
        read(warehouse, "staging.stg_events")
        .filter(pl.col("occurred_at") <= as_of(warehouse, shop))
        .sort("occurred_at", "event_id")
        .select("event_id", "occurred_at", "event_type", "customer_id", "anonymous_id")
        .rows()
    )
    first_of: dict[str, tuple[dt.datetime, str]] = {}
    for _, moment, _, customer, device in rows:
        if device is not None and customer is not None:
            first_of[device] = min(first_of.get(device, (moment, customer)), (moment, customer))
    last_on: dict[str, str] = {}
    before: dict[str, tuple[dt.datetime, str | None, int]] = {}
    out = []
    for event, moment, kind, own, device in rows:
        customer = own
        if device is not None and own is not None:
            last_on[device] = own
        elif device is not None and device in first_of:
            customer = last_on.get(device, first_of[device][1])
        visitor = f"device:{device}" if device is not None else f"customer:{own}"
        is_visit = kind not in NOT_VISITS
        number, is_start = None, False
        if is_visit:
            number, is_start = 1, True
            if visitor in before:
                last_moment, last_customer, number = before[visitor]
                is_start = moment - last_moment > SESSION_TIMEOUT or customer != last_customer
                number += is_start
            before[visitor] = moment, customer, number
        out.append((event, visitor, customer, is_visit, number, is_start, moment))
    return pl.DataFrame(
        out,
        schema={
            "event_id": pl.String,
            "visitor_id": pl.String,
            "customer_id": pl.String,
            "is_visit": pl.Boolean,
            "session_number": pl.Int64,
            "is_session_start": pl.Boolean,
            "occurred_at": pl.Datetime("us"),
        },
        orient="row",
    )


def sessions(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per session, called by its first event."""
    return (
        events(warehouse, shop)
        .filter("is_visit")
        .group_by("visitor_id", "session_number", maintain_order=True)
        .agg(
            session_id=pl.col("event_id").first(),
            customer_id=pl.col("customer_id").first(),
            n_events=pl.len().cast(pl.Int64),
            started_at=pl.col("occurred_at").min(),
            ended_at=pl.col("occurred_at").max(),
        )
    )


# ---------------------------------------------------------------------------------------------
# Churn
# ---------------------------------------------------------------------------------------------


def in_days(duration: pl.Expr) -> pl.Expr:
    return duration.dt.total_microseconds() / (86_400 * 10**6)


def share(part: pl.Expr | str, whole: pl.Expr | str) -> pl.Expr:
    """A part by the whole; null where there is no whole."""
    part, whole = (pl.col(x) if isinstance(x, str) else x for x in (part, whole))
    return pl.when(whole != 0).then(part / whole)


def churn_features(
    warehouse: Path,
    shop: Shop,
    snapshot_at: dt.datetime,
    horizon_days: int = 90,
    activity_days: int = 365,
) -> pl.DataFrame:
    """One row per customer with an order in the activity window before a snapshot."""
    day = dt.timedelta(days=1)
    now = as_of(warehouse, shop)
    coupons = read(warehouse, "staging.stg_orders").select("order_id", "coupon_code")
    bought = (
        orders(warehouse, shop)
        .filter(pl.col("order_number").is_not_null())
        .join(coupons, on="order_id")
    )
    past = bought.filter(
        (pl.col("ordered_at") <= snapshot_at) & (pl.col("known_at") <= snapshot_at)
    )
    horizon_end = snapshot_at + horizon_days * day
    future = bought.filter(
        (pl.col("ordered_at") > snapshot_at) & (pl.col("ordered_at") <= horizon_end)
    )
    recent = pl.col("ordered_at") > snapshot_at - 90 * day
    before = (pl.col("ordered_at") > snapshot_at - 180 * day) & ~recent
    ahead = (pl.col("ordered_at") > snapshot_at - 365 * day) & (
        pl.col("ordered_at") < snapshot_at - (365 - horizon_days) * day
    )
    label = ~pl.col("customer_id").is_in(future["customer_id"].unique().implode())
    buyers = (
        past.sort("ordered_at", "order_id")
        .group_by("customer_id")
        .agg(
            first=pl.col("ordered_at").min(),
            last=pl.col("ordered_at").max(),
            longest_gap_days=in_days(pl.col("ordered_at").diff().max()),
            n_orders=pl.len().cast(pl.Float64),
            n_orders_90d=recent.sum().cast(pl.Float64),
            n_ahead=ahead.sum().cast(pl.Float64),
            coupon_share=pl.col("coupon_code").is_not_null().mean(),
            n_sales_channels=pl.col("sales_channel").drop_nulls().n_unique().cast(pl.Float64),
            net_amount=pl.col("net_amount").sum() / 100,
            now=pl.col("net_amount").filter(recent).sum(),
            then=pl.col("net_amount").filter(before).sum(),
        )
        .filter(pl.col("last") > snapshot_at - activity_days * day)
    )
    seen = buyers.select("customer_id", "last")
    reviews = (
        read(warehouse, "staging.stg_reviews")
        .with_columns(known_at=known_at("reviewed_at"))
        .filter(pl.col("reviewed_at") <= snapshot_at, pl.col("known_at") <= snapshot_at)
        .group_by("customer_id")
        .agg(n_reviews=pl.len().cast(pl.Float64), mean_rating=pl.col("rating").mean())
    )
    kind = pl.col("event_type")
    visits = ~kind.is_in(["email_sent", "email_open", "push_open"])
    since_order = pl.col("occurred_at") > pl.col("last")
    of_device = pl.col("device").filter(visits).drop_nulls()
    events = (
        read(warehouse, "staging.stg_events")
        .with_columns(known_at=known_at("occurred_at"))
        .filter(
            pl.col("occurred_at") <= snapshot_at,
            pl.col("known_at") <= snapshot_at,
            pl.col("occurred_at") > snapshot_at - 365 * day,
        )
        .join(seen, on="customer_id")
        .with_columns(occurred_on=local_day("occurred_at", shop))
        .group_by("customer_id")
        .agg(
            views=kind.is_in(["page_view", "product_view"]).sum(),
            days=pl.col("occurred_on").filter(visits).n_unique(),
            n_searches_since_order=((kind == "search") & since_order).sum(),
            n_cart_additions_since_order=((kind == "add_to_cart") & since_order).sum(),
            mobile_share=(of_device == "mobile").mean(),
            opened=(kind == "email_open").sum(),
            sent=(kind == "email_sent").sum(),
        )
    )
    counts = ["n_reviews", "n_searches_since_order", "n_cart_additions_since_order"]
    of_year = pl.col("first") <= snapshot_at - 365 * day
    return (
        buyers.join(reviews, on="customer_id", how="left")
        .join(events, on="customer_id", how="left")
        .select(
            "customer_id",
            "n_orders",
            "n_orders_90d",
            "net_amount",
            "longest_gap_days",
            "coupon_share",
            "n_sales_channels",
            "mean_rating",
            "mobile_share",
            *(pl.col(name).cast(pl.Float64).fill_null(0) for name in counts),
            n_orders_ahead_a_year_ago=pl.when(of_year).then("n_ahead"),
            net_amount_trend=share(pl.col("now") - pl.col("then"), pl.col("now") + pl.col("then")),
            views_per_visit_day=share("views", "days"),
            email_open_share=share("opened", "sent"),
            recency_days=in_days(pl.lit(snapshot_at) - pl.col("last")),
            is_churned=label if horizon_end <= now else pl.lit(None, dtype=pl.Boolean),
        )
    )


# ---------------------------------------------------------------------------------------------
# Online Retail, straight from its file
# ---------------------------------------------------------------------------------------------


def online_retail_counts(file: Path) -> dict[str, int]:
    """The counts that the project publishes, from the file alone; the amount in cents."""
    raw = pl.read_parquet(file)
    lines = raw.unique()
    sold = lines.filter(
        ~pl.col("InvoiceNo").str.starts_with("C")
        & ~pl.col("InvoiceNo").str.starts_with("A")
        & (pl.col("Quantity") > 0)
        & (pl.col("UnitPrice") > 0)
    ).with_columns(
        # Prices have up to three decimals: whole thousandths keep the sum exact.
        thousandths=pl.col("Quantity").cast(pl.Int64)
        * (pl.col("UnitPrice") * 1000).round().cast(pl.Int64),
    )
    named = sold.filter(pl.col("CustomerID").is_not_null())
    return {
        "duplicates": raw.height - lines.height,
        "sale_lines": sold.height,
        "invoices": sold["InvoiceNo"].n_unique(),
        "invoices_with_customer": named["InvoiceNo"].n_unique(),
        "customers": named["CustomerID"].n_unique(),
        "gross_cents": sold.select(half_away(pl.col("thousandths"), 10).sum()).item(),
    }
