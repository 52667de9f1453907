"""The money of cohorts, fixed bases and channels, computed again customer by customer.

Nothing here follows the SQL: no running sums, no sums of squares, no windows. Every cell goes
through the orders and refunds of its customers. Amounts are whole cents.
"""

import datetime as dt
import math
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import independent
import polars as pl
import pytest
from independent import (
    Shop,
    differences,
    local_day_of,
    midnight_utc,
    period_after,
    period_number,
    period_start,
    read,
)
from scipy import stats
from test_independent import shop, warehouses  # noqa: F401

SEGMENT_TYPES = (
    "all",
    "country",
    "channel",
    "first_category",
    "first_order_coupon",
    "device",
)


@dataclass
class Customer:
    """What somebody ordered and gave back; a cost of None is unknown."""

    segments: dict[str, str]
    orders: list[tuple[dt.date, int, int, int | None]] = field(default_factory=list)
    """Day, sold for, of that with known cost, cost."""
    refunds: list[tuple[dt.date, int, int | None]] = field(default_factory=list)
    """Day, given back, cost of the goods that came back."""


def half_up(x: Fraction) -> int:
    """A number that is not negative, rounded to the nearest whole one."""
    return math.floor(x + Fraction(1, 2))


def plus(values) -> int | None:
    """A sum, unknown where any part is."""
    values = list(values)
    return None if None in values else sum(values)


def rate_of(rates: pl.DataFrame, currency: str, day: dt.date, home: str) -> float | None:
    """The rate of a day: the last one quoted, at most six days before."""
    if currency == home:
        return 1.0
    recent = rates.filter(
        (pl.col("currency") == currency)
        & (pl.col("rate_date") <= day)
        & (pl.col("rate_date") > day - dt.timedelta(days=7))
    ).sort("rate_date")
    return recent["rate"][-1] if recent.height else None


def customers_of(warehouse: Path, settings: Shop) -> dict[str, Customer]:
    """Everybody who ever ordered, with all that was ordered and given back."""
    unit_costs = dict(read(warehouse, "marts.products").select("product_id", "unit_cost").rows())
    people = {
        row["customer_id"]: Customer({**row, "all": "all"})
        for row in read(warehouse, "intermediate.customer_segments").iter_rows(named=True)
    }
    orders = read(warehouse, "marts.orders").filter(pl.col("status") != "cancelled")
    cancelled = set(read(warehouse, "marts.orders")["order_id"]) - {*orders["order_id"]}
    refunds = read(warehouse, "marts.refunds").sort("refunded_at", "refund_id")
    items = (
        read(warehouse, "marts.order_items")
        .join(read(warehouse, "marts.products").select("product_id", "unit_cost"), on="product_id")
        # Thousandths of a piece by cents, to the nearest cent.
        .with_columns(cost=(pl.col("quantity") * pl.col("unit_cost") + 500) // 1000)
    )
    is_costed = pl.col("cost").is_not_null()
    totals = {
        row["order_id"]: row
        for row in items.group_by("order_id")
        .agg(
            net=pl.when(pl.col("net_amount").is_not_null().all()).then(pl.sum("net_amount")),
            costed=pl.when(pl.col("net_amount").filter(is_costed).is_not_null().all()).then(
                pl.col("net_amount").filter(is_costed).sum()
            ),
            cost=pl.when(is_costed.all()).then(pl.sum("cost")),
        )
        .iter_rows(named=True)
    }
    products = {
        (order_id, line_number): product_id
        for order_id, line_number, product_id in items.join(refunds, on="order_id", how="semi")
        .select("order_id", "line_number", "product_id")
        .iter_rows()
    }
    nothing = {"net": 0, "costed": 0, "cost": 0}
    for order_id, customer, day in orders.select("order_id", "customer_id", "ordered_on").rows():
        if customer is not None:
            own = totals.get(order_id, nothing)
            people[customer].orders.append((day, own["net"], own["costed"], own["cost"]))

    rates = read(warehouse, "staging.stg_exchange_rates")
    given_back = defaultdict(float)
    named_so_far = defaultdict(list)
    returned_so_far = defaultdict(int)
    refunded = orders.join(refunds, on="order_id", how="semi").iter_rows(named=True)
    order_of = {order["order_id"]: order for order in refunded}
    for refund in refunds.iter_rows(named=True):
        order_id = refund["order_id"]
        if refund["customer_id"] is None or order_id in cancelled:
            continue
        product = refund["product_id"] or products.get((order_id, refund["line_number"]))
        named: int | None = 0
        if product is not None and refund["quantity"] is not None:
            cost = unit_costs.get(product)
            named = None if cost is None else (refund["quantity"] * cost + 500) // 1000
        if order_id in order_of and order_id in totals:
            order = order_of[order_id]
            rate = rate_of(rates, order["currency"], refund["refunded_on"], settings.currency)
            if refund["amount"] is not None and rate is not None:
                given_back[order_id] += refund["amount"] * order["exchange_rate"] / rate
            named_so_far[order_id].append(named)
            whole, net = totals[order_id]["cost"], totals[order_id]["net"]
            so_far = plus(named_so_far[order_id])
            if net is not None and net > 0 and given_back[order_id] >= 0.99 * net:
                so_far = whole
            elif so_far is not None and whole is not None:
                so_far = min(so_far, whole)
            before = returned_so_far[order_id]
            named = None if None in (so_far, before) else so_far - before
            returned_so_far[order_id] = so_far
        people[refund["customer_id"]].refunds.append(
            (refund["refunded_on"], refund["amount"], named)
        )
    return {name: person for name, person in people.items() if person.orders}


@pytest.fixture(scope="module")
def known():
    """Customers of each warehouse, read once."""
    kept: dict[Path, dict[str, Customer]] = {}

    def get(warehouse: Path, settings: Shop) -> dict[str, Customer]:
        if warehouse not in kept:
            kept[warehouse] = customers_of(warehouse, settings)
        return kept[warehouse]

    return get


def near(mine: float | None, theirs: float | None, middle: float | None = None) -> bool:
    """Equal; the ends of an interval by the expansion of t, which is 0.011 % too low at worst."""
    if mine is None or theirs is None:
        return mine is theirs
    reach = 0.00011 * abs(mine - middle) if middle is not None else 0.0
    return math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-7 + reach)


def test_cohort_revenue(shop, known):  # noqa: F811
    warehouse, settings = shop
    now = independent.as_of(warehouse, settings)
    today = local_day_of(now, settings)
    groups = defaultdict(list)
    for person in known(warehouse, settings).values():
        first = min(day for day, *_ in person.orders)
        for grain in ("week", "month"):
            cohort = period_start(first, grain, settings)
            for segment_type in SEGMENT_TYPES if grain == "month" else ["all"]:
                groups[grain, segment_type, person.segments[segment_type], cohort].append(person)
    rows, bounds = [], {}
    for (grain, segment_type, segment, cohort), people in groups.items():
        # Of each number of a period, what was ordered and given back in it, and by whom.
        orders_of, refunds_of = defaultdict(list), defaultdict(list)
        for who, person in enumerate(people):
            for day, *amounts in person.orders:
                n = period_number(cohort, period_start(day, grain, settings), grain)
                orders_of[n].append((who, *amounts))
            for day, *amounts in person.refunds:
                n = period_number(cohort, period_start(day, grain, settings), grain)
                refunds_of[n].append((who, *amounts))
        last = period_number(cohort, period_start(today, grain, settings), grain)
        per_customer: list[int | None] = [0] * len(people)
        margin_so_far: int | None = 0
        n_orders_of = [0] * len(people)
        for n in range(last + 1):
            start, end = period_after(cohort, n, grain), period_after(cohort, n + 1, grain)
            is_mature = midnight_utc(end, settings) <= now
            sales = plus(o[1] for o in orders_of[n])
            costed = plus(o[2] for o in orders_of[n])
            revenue = plus([sales, *(-r[1] if r[1] is not None else None for r in refunds_of[n])])
            back = plus(r[2] for r in refunds_of[n])
            sold = plus(o[3] for o in orders_of[n])
            margin = None if None in (revenue, sold, back) else revenue - sold + back
            n_orders = len(orders_of[n])
            key = (grain, segment_type, segment, cohort, n)
            row = (*key, start, end, is_mature, len(people), n_orders, revenue, margin)
            if not is_mature:
                rows.append((*row, *[None] * 12))
                bounds[key] = (None,) * 8
                continue
            margin_so_far = plus([margin_so_far, margin])
            for who, amount, *_ in orders_of[n]:
                per_customer[who] = plus([per_customer[who], amount])
                n_orders_of[who] += 1
            for who, amount, _ in refunds_of[n]:
                back = None if amount is None else -amount
                per_customer[who] = plus([per_customer[who], back])
            n_so_far, n_repeat = sum(n_orders_of), sum(n > 1 for n in n_orders_of)
            total = plus(per_customer)
            squares = None if total is None else sum(x * x for x in per_customer)
            average = half_up(Fraction(sales, n_orders)) if n_orders else None
            row += (n_orders, sales, revenue, costed, margin, average, n_so_far, total, squares)
            rows.append((*row, margin_so_far, n_repeat, len(people)))
            mean = low = high = None
            if total is not None:
                mean = total / len(people) / 100
                if len(people) > 1:
                    spread = sum((x / 100 - mean) ** 2 for x in per_customer)
                    error = math.sqrt(spread / (len(people) - 1) / len(people))
                    # Exact, where the warehouse has an expansion.
                    reach = stats.t.ppf(0.975, len(people) - 1) * error
                    low, high = mean - reach, mean + reach
            bounds[key] = (
                costed / sales if sales else None, mean, low, high, n_so_far / len(people),
                n_repeat / len(people), *independent.wilson(n_repeat, len(people)),
            )  # fmt: skip
    keys = ["grain", "segment_type", "segment", "cohort_start_on", "period_number"]
    names = [
        *keys, "period_start_on", "period_end_on", "is_mature", "n_customers",
        "n_orders_to_date", "revenue_amount_to_date", "contribution_margin_amount_to_date",
        "n_orders", "sales_amount", "revenue_amount", "costed_sales_amount",
        "contribution_margin_amount", "average_order_amount", "cumulative_n_orders",
        "cumulative_revenue_amount", "cumulative_revenue_squares",
        "cumulative_contribution_margin_amount", "repeat_numerator", "repeat_denominator",
    ]  # fmt: skip
    theirs = read(warehouse, "marts.cohort_revenue")
    mine = pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)
    found = differences(mine, theirs, keys)
    assert not found, "\n".join(found)
    floats = [
        "costed_sales_share", "cumulative_revenue_per_customer",
        "cumulative_revenue_per_customer_low", "cumulative_revenue_per_customer_high",
        "orders_per_customer", "repeat_purchase_rate", "repeat_purchase_rate_low",
        "repeat_purchase_rate_high",
    ]  # fmt: skip
    for row in theirs.iter_rows(named=True):
        expected = bounds[tuple(row[key] for key in keys)]
        for name, value in zip(floats, expected, strict=True):
            assert near(value, row[name], expected[1]), (name, value, row)


def test_revenue_retention(shop, known):  # noqa: F811
    warehouse, settings = shop
    now = independent.as_of(warehouse, settings)
    today = local_day_of(now, settings)
    people = list(known(warehouse, settings).values())
    orders = read(warehouse, "marts.orders").filter(pl.col("status") != "cancelled")
    opened_on = orders["ordered_on"].min()
    month = opened_on.replace(day=1)
    expected = {}
    # By month, to be summed over windows.
    months = []
    for person in people:
        revenue, n_orders = defaultdict(list), defaultdict(int)
        for day, net, *_ in person.orders:
            revenue[day.replace(day=1)].append(net)
            n_orders[day.replace(day=1)] += 1
        for day, amount, _ in person.refunds:
            revenue[day.replace(day=1)].append(None if amount is None else -amount)
        months.append((person, n_orders, {key: plus(parts) for key, parts in revenue.items()}))
    while month <= today:
        for length in (1, 3, 12):
            base_start = period_after(month, 1 - length, "month")
            base_end = period_after(month, 1, "month")
            after_end = period_after(base_end, length, "month")
            if base_start < opened_on or midnight_utc(base_end, settings) > now:
                continue
            is_mature = midnight_utc(after_end, settings) <= now
            base_months = [period_after(base_start, n, "month") for n in range(length)]
            after_months = [period_after(base_end, n, "month") for n in range(length)]
            cells = defaultdict(list)
            for person, n_orders, revenue in months:
                if not any(n_orders.get(m) for m in base_months):
                    continue
                one = (
                    plus(revenue.get(m, 0) for m in base_months),
                    plus(revenue.get(m, 0) for m in after_months),
                    any(n_orders.get(m) for m in after_months),
                )
                for segment_type in SEGMENT_TYPES:
                    cells[segment_type, person.segments[segment_type]].append(one)
            for (segment_type, segment), ones in cells.items():
                key = (length, segment_type, segment, base_start)
                expected[key] = (base_end, after_end, is_mature, *cell_of(ones, is_mature))
        month = period_after(month, 1, "month")
    theirs = read(warehouse, "marts.revenue_retention")
    keys = ["window_months", "segment_type", "segment", "base_start_on"]
    columns = [name for name in theirs.columns if name not in keys]
    found = {tuple(row[k] for k in keys): row for row in theirs.iter_rows(named=True)}
    assert theirs.height == len(found)
    assert set(found) == set(expected)
    for key, values in expected.items():
        for name, value in zip(columns, values, strict=True):
            other = found[key][name]
            if not isinstance(value, float):
                assert value == other, (key, name, value, other)
                continue
            middle = found[key][name.removesuffix("_low").removesuffix("_high")]
            reach = 0.0012 * abs(value - middle) if "revenue" in name else 0.0
            assert near(value, other) or abs(value - other) <= reach, (key, name, value, other)


def cell_of(ones: list[tuple], is_mature: bool) -> tuple:
    """All figures of customers of (base, after, came back), in the order of the mart."""
    size = len(ones)
    retained = sum(back for *_, back in ones)
    logo = (retained, size, retained / size, *independent.wilson(retained, size))
    logo = logo if is_mature else (None,) * len(logo)
    if any(None in one for one in ones):
        return (size, *[None] * 12, *logo)
    inside = [(base, after) for base, after, _ in ones if base > 0]
    outside = [(base, after) for base, after, _ in ones if base <= 0]
    base = sum(x for x, _ in inside)
    other = (sum(x for x, _ in outside), sum(y for _, y in outside))
    if not is_mature:
        return (size, len(inside), base, *[None] * 8, other[0], None, *logo)
    kept = [(x, min(max(y, 0), x)) for x, y in inside]
    net, gross = ratio(inside), ratio(kept)
    if gross[1] is not None:
        gross = (gross[0], max(0.0, gross[1]), min(1.0, gross[2]))
    sums = (sum(y for _, y in inside), sum(y for _, y in kept))
    return (size, len(inside), base, *sums, *net, *gross, *other, *logo)


def ratio(pairs: list[tuple[int, int]]) -> tuple:
    """The sum of y by that of x, with the bounds of the delta method."""
    base = sum(x for x, _ in pairs)
    if not base:
        return None, None, None
    share = sum(y for _, y in pairs) / base
    n = len(pairs)
    if n < 2:
        return share, None, None
    residuals = [y - share * x for x, y in pairs]
    error = math.sqrt(sum(r * r for r in residuals) / (n - 1) * n) / base
    reach = float(stats.t.ppf(0.975, n - 1)) * error
    return share, share - reach, share + reach


def test_channel_payback(shop, known):  # noqa: F811
    warehouse, settings = shop
    now = independent.as_of(warehouse, settings)
    today = local_day_of(now, settings)
    rates = read(warehouse, "staging.stg_exchange_rates")
    spent = defaultdict(list)
    for row in read(warehouse, "staging.stg_ad_spend").iter_rows(named=True):
        if row["spend_date"] <= today:
            rate = rate_of(rates, row["currency"], row["spend_date"], settings.currency)
            cents = None if rate is None else half_up(row["cost"] * Fraction(str(rate)))
            spent[row["channel"], row["spend_date"].replace(day=1)].append(cents)
    came = defaultdict(list)
    for person in known(warehouse, settings).values():
        first = min(day for day, *_ in person.orders)
        came[person.segments["channel"], first.replace(day=1)].append(person)
    kinds = ["customers only", *(["spend only", "spend and customers"] if spent else [])]
    rows = []
    for channel, cohort in {*spent, *came}:
        people = came[channel, cohort]
        cost = plus(spent[channel, cohort]) if spent[channel, cohort] else None
        coverage = "customers only" if not spent[channel, cohort] else "spend and customers"
        coverage = coverage if people else "spend only"
        cells = []
        for n in range(period_number(cohort, today, "month") + 1):
            end = period_after(cohort, n + 1, "month")
            if midnight_utc(end, settings) > now:
                cells.append((n, False, None, None, None))
                continue
            orders = [o for person in people for o in person.orders if o[0] < end]
            refunds = [
                r for person in people for r in person.refunds if cohort <= r[0] < end
            ]  # fmt: skip
            sales, given = plus(o[1] for o in orders), plus(r[1] for r in refunds)
            revenue = None if None in (sales, given) else sales - given
            sold, back = plus(o[3] for o in orders), plus(r[2] for r in refunds)
            margin = None if None in (revenue, sold, back) else revenue - sold + back
            costed = plus(o[2] for o in orders)
            share = costed / sales if sales and costed is not None else None
            cells.append((n, True, revenue, margin, share))
        passed = sum(cell[1] for cell in cells)

        def reached(amount: int | None, cost=cost) -> bool | None:
            return None if None in (amount, cost) else amount >= cost

        firsts = [
            next((cell[0] for cell in cells if reached(cell[place])), None) for place in (3, 2)
        ]
        price = half_up(Fraction(cost, len(people))) if cost is not None and people else None
        for n, is_mature, revenue, margin, share in cells:
            key = channel, cohort, n
            figures = coverage, is_mature, passed, len(people), cost, price if passed else None
            paid = reached(margin), firsts[0], reached(revenue), firsts[1]
            rows.append((*key, *figures, revenue, margin, share, *paid))
    theirs = read(warehouse, "marts.channel_payback")
    names = theirs.columns
    mine = pl.DataFrame(rows, schema=theirs.schema, orient="row")
    found = differences(mine, theirs, names[:3])
    assert not found, "\n".join(found)
    assert {row[3] for row in rows} == {*kinds}


def test_shops_of_nothing_and_of_one_order(tiny_shop):
    marts = ("cohort_revenue", "revenue_retention", "channel_payback")
    empty, one = tiny_shop("empty"), tiny_shop("one")
    assert [empty.query(f"select count(*) from marts.{mart}") for mart in marts] == [[(0,)]] * 3
    assert one.query(
        "select grain, period_number, n_customers, n_orders_to_date, revenue_amount_to_date, "
        "contribution_margin_amount_to_date, is_mature, revenue_amount from marts.cohort_revenue "
        "where segment_type = 'all' order by grain"
    ) == [(grain, 0, 1, 1, Decimal("19.98"), None, False, None) for grain in ("month", "week")]
    # No month has passed.
    assert one.query("select count(*) from marts.revenue_retention") == [(0,)]
    assert one.query(
        "select channel, coverage, n_customers, ad_spend_amount from marts.channel_payback"
    ) == [("unknown", "customers only", 1, None)]
