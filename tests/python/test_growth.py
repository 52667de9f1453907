"""Growth, active customers and stickiness against sets of customers, counted by the definitions.

Nothing here runs the SQL of the marts. Who was active when is computed from the staged tables; the
segments are those of marts.customers.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import independent
import polars as pl
import pytest
from independent import Shop, differences, midnight_utc, period_after, read, wilson
from test_independent import remember, shop, warehouses  # noqa: F401

DAY = dt.timedelta(days=1)
GROWTH = ["growth_accounting", "revenue_growth", "active_customers", "stickiness"]

Segments = dict[tuple[str, str], set[str]]
Active = dict[dt.date, set[str]]


# Counting


def start_of(day: dt.date, grain: str, its: Shop) -> dt.date:
    return day if grain == "day" else independent.period_start(day, grain, its)


def after(start: dt.date, grain: str) -> dt.date:
    return start + DAY if grain == "day" else period_after(start, 1, grain)


def periods(first: dt.date, last: dt.date, grain: str) -> Iterator[dt.date]:
    """The first days of all periods from one that begins on `first` to the one of `last`."""
    while first <= last:
        yield first
        first = after(first, grain)


def active_days(warehouse: Path, its: Shop) -> dict[str, Active]:
    """Of each activity, who did it on which day of the shop."""
    orders = independent.orders(warehouse, its)
    bought = orders.filter(~pl.col("is_cancelled"), pl.col("customer_id").is_not_null())
    seen = (
        independent.events(warehouse, its)
        .filter(pl.col("is_visit"), pl.col("customer_id").is_not_null())
        .with_columns(occurred_on=independent.local_day("occurred_at", its))
    )
    found: dict[str, Active] = {"order": defaultdict(set), "visit": defaultdict(set)}
    for customer, day in bought.select("customer_id", "ordered_on").iter_rows():
        found["order"][day].add(customer)
    for customer, day in seen.select("customer_id", "occurred_on").iter_rows():
        found["visit"][day].add(customer)
    return {activity: days for activity, days in found.items() if days}


def segments(warehouse: Path) -> Segments:
    """The customers of each segment."""
    found: Segments = defaultdict(set)
    coupon = {None: "unknown", True: "with", False: "without"}
    for row in read(warehouse, "marts.customers").iter_rows(named=True):
        found["all", "all"].add(row["customer_id"])
        for name, column in [("device", "first_device"), *((c, c) for c in COLUMNS)]:
            found[name, row[column] or "unknown"].add(row["customer_id"])
        found["first_order_coupon", coupon[row["has_first_order_coupon"]]].add(row["customer_id"])
    return found


COLUMNS = ("country", "channel", "first_category")


def rate(numerator: int | None, denominator: int | None) -> tuple:
    """A share and its bounds; nothing where nobody could have."""
    if not denominator:
        return None, None, None
    return numerator / denominator, *wilson(numerator, denominator)


def growth(warehouse: Path, its: Shop) -> pl.DataFrame:
    now = independent.as_of(warehouse, its)
    today = independent.local_day_of(now, its)
    rows = []
    for activity, days in active_days(warehouse, its).items():
        for grain in ("day", "week", "month"):
            everyone: Active = defaultdict(set)
            for day, customers in days.items():
                everyone[start_of(day, grain, its)] |= customers
            for (segment_type, segment), members in segments(warehouse).items():
                if grain == "day" and segment_type != "all":
                    continue
                active = {start: c & members for start, c in everyone.items() if c & members}
                if not active:
                    continue
                ever: set[str] = set()
                before: set[str] = set()
                for start in periods(min(active), today, grain):
                    here = active.get(start, set())
                    kept = here & before
                    is_mature = midnight_utc(after(start, grain), its) <= now
                    counts = {
                        "n_active_customers": len(here),
                        "n_new": len(here - ever),
                        "n_retained": len(kept),
                        "n_resurrected": len((here & ever) - before),
                    }
                    n_churned = len(before - here)
                    grown = counts["n_new"] + counts["n_resurrected"]
                    share = rate(len(kept), len(before)) if is_mature else (None, None, None)
                    all_counts = counts | {
                        "n_previously_active_customers": len(before),
                        "n_churned": n_churned,
                        "n_dormant": len(ever - before - here),
                        "n_customers": len(ever | here),
                    }
                    rows.append(
                        {
                            "activity": activity,
                            "grain": grain,
                            "segment_type": segment_type,
                            "segment": segment,
                            "period_start_on": start,
                            "period_end_on": after(start, grain),
                            "is_mature": is_mature,
                            **{f"{name}_to_date": n for name, n in counts.items()},
                            **{name: n if is_mature else None for name, n in all_counts.items()},
                            "quick_ratio": grown / n_churned if is_mature and n_churned else None,
                            "retained_rate": share[0],
                            "retained_rate_low": share[1],
                            "retained_rate_high": share[2],
                        }
                    )
                    ever |= here
                    before = here
    return pl.DataFrame(rows, infer_schema_length=None)


def revenue(warehouse: Path, its: Shop) -> pl.DataFrame:
    """Amounts in cents; no amount of these shops lacks its exchange rate."""
    now = independent.as_of(warehouse, its)
    today = independent.local_day_of(now, its)
    orders = independent.orders(warehouse, its).filter(~pl.col("is_cancelled"))
    refunds = independent.refunds(warehouse, its).filter(~pl.col("is_order_cancelled"))
    facts = [
        *orders.select("customer_id", "ordered_on", "net_amount", pl.lit(True)).rows(),
        *refunds.select("customer_id", "refunded_on", -pl.col("amount"), pl.lit(False)).rows(),
    ]
    buyers = set(orders["customer_id"].drop_nulls())
    rows = []
    for grain in ("week", "month"):
        money: dict[dt.date, Counter] = defaultdict(Counter)
        ordered: Active = defaultdict(set)
        guests: Counter = Counter()
        for customer, day, amount, is_order in facts:
            start = start_of(day, grain, its)
            if customer not in buyers:
                guests[start] += amount
                continue
            money[start][customer] += amount
            if is_order:
                ordered[start].add(customer)
        for (segment_type, segment), members in segments(warehouse).items():
            starts = {start for start, amounts in money.items() if members & set(amounts)}
            if segment_type == "all":
                starts |= set(guests)
            if not starts:
                continue
            ever: set[str] = set()
            before: set[str] = set()
            previous: dict[str, int] = {}
            for start in periods(min(starts), today, grain):
                amounts = {c: a for c, a in money.get(start, {}).items() if c in members}
                here = ordered.get(start, set()) & members
                changes = [amounts[c] - previous[c] for c in here & before]
                guest = guests[start] if segment_type == "all" else 0
                grown = {
                    "new_amount": sum(amounts[c] for c in here - ever),
                    "resurrected_amount": sum(amounts[c] for c in (here & ever) - before),
                    "expansion_amount": sum(x for x in changes if x > 0),
                }
                lost = {
                    "contraction_amount": -sum(x for x in changes if x < 0),
                    "churned_amount": sum(previous[c] for c in before - here),
                }
                is_mature = midnight_utc(after(start, grain), its) <= now
                all_amounts = {
                    "revenue_amount": sum(amounts.values()),
                    "previous_revenue_amount": sum(previous.values()),
                    **grown,
                    **lost,
                    "refund_only_amount": sum(a for c, a in amounts.items() if c not in here),
                    "previous_refund_only_amount": sum(
                        a for c, a in previous.items() if c not in before
                    ),
                    "guest_revenue_amount": guest,
                    "total_revenue_amount": sum(amounts.values()) + guest,
                }
                ratio = None
                if is_mature and sum(lost.values()) > 0:
                    ratio = sum(grown.values()) / sum(lost.values())
                rows.append(
                    {
                        "grain": grain,
                        "segment_type": segment_type,
                        "segment": segment,
                        "period_start_on": start,
                        "period_end_on": after(start, grain),
                        "is_mature": is_mature,
                        "revenue_amount_to_date": sum(amounts.values()),
                        "guest_revenue_amount_to_date": guest,
                        **{name: a if is_mature else None for name, a in all_amounts.items()},
                        "quick_ratio": ratio,
                    }
                )
                ever |= here
                before, previous = here, amounts
    return pl.DataFrame(rows, infer_schema_length=None)


def window(days: Active, first: dt.date, n: int) -> Counter:
    """On how many of n days from the first on each customer was active."""
    return Counter(c for i in range(n) for c in days.get(first + i * DAY, ()))


def daily(warehouse: Path, its: Shop) -> pl.DataFrame:
    now = independent.as_of(warehouse, its)
    today = independent.local_day_of(now, its)
    rows = []
    for activity, days in active_days(warehouse, its).items():
        opened = min(days)

        def found(first: dt.date, n: int, days=days, opened=opened) -> Counter | None:
            """The window's customers, once it lies between the first day and now."""
            if first < opened or midnight_utc(first + n * DAY, its) > now:
                return None
            return window(days, first, n)

        for day in periods(opened, today, "day"):
            n = {k: found(day - (k - 1) * DAY, k) for k in (1, 7, 28, 30)}
            n = {k: None if counter is None else len(counter) for k, counter in n.items()}
            row = {
                "activity": activity,
                "day_on": day,
                "is_mature": n[1] is not None,
                "n_daily_to_date": len(days.get(day, ())),
                "n_daily": n[1],
                **{f"n_rolling_{k}": n[k] for k in (7, 28, 30)},
            }
            for name, (few, many) in {
                "dau_wau": (1, 7), "dau_mau": (1, 28), "wau_mau": (7, 28)
            }.items():  # fmt: skip
                share = rate(n[few], n[many])
                row |= zip(
                    [f"{name}_rate", f"{name}_rate_low", f"{name}_rate_high"], share, strict=True
                )
            for grain, name in {"week": "dau_wau", "month": "dau_mau"}.items():
                start = start_of(day, grain, its)
                n_days = (after(start, grain) - start).days
                counter = found(start, n_days)
                row |= {
                    f"{grain}_start_on": start,
                    f"n_calendar_{grain}": None if counter is None else len(counter),
                    f"n_customer_days_of_{grain}": None if counter is None else counter.total(),
                    f"calendar_{name}_rate": (
                        counter.total() / n_days / len(counter) if counter else None
                    ),
                }
            rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def sticky(warehouse: Path, its: Shop) -> pl.DataFrame:
    now = independent.as_of(warehouse, its)
    today = independent.local_day_of(now, its)
    rows = []
    for activity, days in active_days(warehouse, its).items():
        opened = min(days)
        windows = [
            (f"rolling_{n}_days", day - (n - 1) * DAY, n)
            for n in (7, 28)
            for day in periods(opened, today, "day")
        ]
        for grain in ("week", "month"):
            windows += [
                (f"calendar_{grain}", start, (after(start, grain) - start).days)
                for start in periods(start_of(opened, grain, its), today, grain)
            ]
        for kind, first, n in windows:
            is_mature = first >= opened and midnight_utc(first + n * DAY, its) <= now
            on = Counter(window(days, first, n).values()) if is_mature else Counter()
            n_active = on.total() if is_mature else None
            for k in range(1, n + 1):
                exactly = on[k] if is_mature else None
                at_least = sum(on[j] for j in range(k, n + 1)) if is_mature else None
                what = (activity, kind, first, first + (n - 1) * DAY, n, k, is_mature, n_active)
                shares = (exactly, *rate(exactly, n_active), at_least, *rate(at_least, n_active))
                rows.append((*what, *shares))
    names = ["activity", "window_kind", "window_start_on", "window_last_on", "n_window_days"]
    names += ["n_days", "is_mature", "n_active_customers"]
    for name in ("exactly", "at_least"):
        names += [f"n_{name}", *(f"{name}_rate{side}" for side in ("", "_low", "_high"))]
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)


# Comparing


@pytest.mark.parametrize(
    ("table", "counted", "keys"),
    [
        (
            "growth_accounting",
            growth,
            ["activity", "grain", "segment_type", "segment", "period_start_on"],
        ),
        ("revenue_growth", revenue, ["grain", "segment_type", "segment", "period_start_on"]),
        ("active_customers", daily, ["activity", "day_on"]),
        ("stickiness", sticky, ["activity", "window_kind", "window_last_on", "n_days"]),
    ],
)
def test_every_cell_is_as_counted(shop, table, counted, keys):  # noqa: F811
    mine, theirs = counted(*shop), read(shop[0], f"marts.{table}")
    assert set(mine.columns) == set(theirs.columns)
    assert mine.height > 100
    assert differences(mine, theirs, keys) == []


def test_the_identities_hold(shop):  # noqa: F811
    """In the table itself, whichever way it was made: of customers, and of cents."""
    warehouse, _ = shop
    cells = ["activity", "grain", "segment_type", "segment"]
    table = read(warehouse, "marts.growth_accounting").sort(*cells, "period_start_on")
    mature = table.with_columns(
        before=pl.col("n_active_customers").shift(1).over(cells).fill_null(0),
        ever=pl.col("n_new").cum_sum().over(cells),
    ).filter("is_mature")
    n = {name: mature[name] for name in mature.columns}
    assert (n["n_active_customers"] == n["n_new"] + n["n_retained"] + n["n_resurrected"]).all()
    assert (n["before"] == n["n_retained"] + n["n_churned"]).all()
    assert (n["ever"] == n["n_active_customers"] + n["n_churned"] + n["n_dormant"]).all()
    assert (n["ever"] == n["n_customers"]).all()
    # A shop in which nobody ever lapses or comes back would prove little.
    assert min(n[name].sum() for name in ("n_resurrected", "n_churned", "n_dormant")) > 0

    table = read(warehouse, "marts.revenue_growth").sort(*cells[1:], "period_start_on")
    mature = table.with_columns(
        before=pl.col("revenue_amount").shift(1).over(cells[1:]).fill_null(0)
    ).filter("is_mature")
    a = {name: mature[name] for name in mature.columns}
    gained = a["new_amount"] + a["resurrected_amount"] + a["expansion_amount"]
    lost = a["contraction_amount"] + a["churned_amount"]
    refunds = a["refund_only_amount"] - a["previous_refund_only_amount"]
    assert (a["revenue_amount"] == a["before"] + gained - lost + refunds).all()
    assert min(x.sum() for x in (gained, lost)) > 0


# Shops that have next to nothing


def test_an_empty_shop_has_empty_tables(tiny_shop):
    counts = [tiny_shop("empty").query(f"select count(*) from marts.{t}") for t in GROWTH]
    assert counts == [[(0,)]] * len(GROWTH)


def test_a_shop_of_one_order_runs_its_first_periods(tiny_shop):
    one = tiny_shop("one")
    assert one.query(
        "select grain, n_new_to_date, n_active_customers, n_churned, is_mature"
        " from marts.growth_accounting where segment_type = 'all' order by 1"
    ) == [(grain, 1, None, None, False) for grain in ("day", "month", "week")]
    assert one.query(
        "select grain, cast(revenue_amount_to_date as double), revenue_amount"
        " from marts.revenue_growth where segment_type = 'all' order by 1"
    ) == [("month", 19.98, None), ("week", 19.98, None)]
    assert one.query(
        "select n_daily_to_date, n_daily, n_rolling_7 from marts.active_customers"
    ) == [(1, None, None)]
    assert one.query("select count(*), count(n_exactly) from marts.stickiness") == [
        # A week, a month of 31 days, and the windows of 7 and 28 days that end today.
        (7 + 31 + 7 + 28, 0)
    ]
