"""The marts of retention against the same figures computed independently of their SQL.

Here the demo, and a shop made for the edges; `make independent` compares five shops.
"""

from __future__ import annotations

import datetime as dt

import duckdb
import jinja2
import numpy as np
import pytest
from conftest import ITEMS, ONLY_MODELS, ORDERS, PROJECT, build, green, write_shop
from independent import wilson
from independent_retention import KEYS
from independent_shops import MODELS, compare, shop_of
from interval_coverage import by_chance
from scipy import stats

AS_OF = dt.datetime(2024, 7, 1, 4)


@pytest.fixture(scope="module")
def edges(tmp_path_factory):
    """A shop of few customers, in New York at the moment at which June ends there.

    Twenty customers came back one after the other: seven after 10 days, three after 20, the
    others after 40. Eight buy refills every 30 or 31 days, on whose rhythm nobody is late, and one
    of them every 30. Some ordered in the last minute of a day, a guest did, one order was
    cancelled, one has no lines.
    """
    orders, items = [], []

    def order(customer: str, ordered_at: dt.datetime, product: str, status: str = "paid") -> None:
        n = f"o{len(orders)}"
        orders.append(f"{n},{customer},{ordered_at:%Y-%m-%dT%H:%M:%SZ},{status}\n")
        if product:
            items.append(f"{n},1,{product},1,5.00\n")

    began_at = dt.datetime(2024, 1, 1, 12)
    for number, n_days in enumerate(7 * [10] + 3 * [20] + 10 * [40]):
        order(f"h{number}", began_at, "bowl")
        order(f"h{number}", began_at + dt.timedelta(days=n_days), "bowl")
    for number in range(8):
        when = dt.datetime(2024, 1, 10 + number, 4 if number else 12, 59)
        for n in range(6 - number % 3):
            order(f"r{number}", when, "refill")
            when += dt.timedelta(days=30 if number == 0 or n % 2 else 31)
    order("late", dt.datetime(2024, 3, 10, 6, 59), "bowl")
    order("late", dt.datetime(2024, 3, 11, 3, 59, 59), "bowl", "cancelled")
    order("late", dt.datetime(2024, 3, 31, 4), "")
    order("today", AS_OF, "bowl")
    order("", AS_OF, "bowl")
    kinds = {"h": "half", "r": "regular"}
    customers = {line.split(",")[1] for line in orders} - {""}
    folder = tmp_path_factory.mktemp("edges")
    raw = write_shop(
        folder / "raw",
        orders=ORDERS + "".join(orders),
        order_items=ITEMS + "".join(items),
        customers="customer_id,country\n"
        + "".join(f"{name},{kinds.get(name[0], '')}\n" for name in sorted(customers)),
        products="product_id,category\nbowl,kitchen\nrefill,soap\n",
    )
    settings = f"{{timezone: America/New_York, week_start: sunday, as_of: '{AS_OF}'}}"
    only = {"select": MODELS, "exclude": ONLY_MODELS}
    return green(build(folder / "edges.duckdb", raw=raw, settings=settings, **only))


@pytest.mark.parametrize("mart", KEYS)
def test_every_cell_of_the_demo(demo, mart):
    n_cells, found = compare(demo.warehouse, shop_of(demo.warehouse), mart)
    assert not found, "\n".join(found)
    assert n_cells > 0


@pytest.mark.parametrize("mart", KEYS)
def test_every_cell_at_the_edges(edges, mart):
    n_cells, found = compare(edges.warehouse, shop_of(edges.warehouse), mart)
    assert not found, "\n".join(found)
    assert n_cells > 0


@pytest.mark.parametrize("mart", KEYS)
def test_every_cell_of_a_shop_of_one_order(tiny_shop, mart):
    one = tiny_shop("one")
    _, found = compare(one.warehouse, shop_of(one.warehouse), mart)
    assert not found, "\n".join(found)


def test_half_of_the_customers_is_half(edges):
    """Ten of twenty came back by day 20, and nobody was watched for less."""
    assert edges.query(
        """
        select median_days, share_within_30_days from marts.survival_summaries
        where curve = 'order_2' and segment = 'half'
        """
    ) == [(20, pytest.approx(0.5))]


def test_a_regular_rhythm(edges):
    """The one of 30 days has no spread of its own; drawn to its category's it is above 0."""
    own, spread, group, n = edges.query(
        """
        select customers.own_median_days, customers.log_spread, categories.log_spread,
            customers.n_intervals
        from marts.customer_rhythms as customers
        inner join marts.category_rhythms as categories on first_category = category
        where customer_id = 'r0'
        """
    )[0]
    assert (own, n) == (pytest.approx(30), 5)
    assert spread == pytest.approx(group * (4 / (4 + n - 1)) ** 0.5)


def test_a_difference_is_found(edges, monkeypatch):
    """What is compared is the warehouse, and one cell of another value is enough."""
    import independent_retention

    right = independent_retention.customer_rhythms

    def wrong(warehouse, shop):
        frame = right(warehouse, shop)
        return frame.with_columns(n_intervals=frame["n_intervals"] + (frame["customer_id"] == "r3"))

    monkeypatch.setattr(independent_retention, "customer_rhythms", wrong)
    _, found = compare(edges.warehouse, shop_of(edges.warehouse), "customer_rhythms")
    assert len(found) == 1 and "n_intervals: 1 of 30 differ" in found[0], found


@pytest.mark.parametrize(("n", "p"), [(1, 0.3), (7, 0.5), (40, 0.02), (40, 0.2), (300, 0.9)])
def test_coverage_by_chance(n, p):
    """What `make coverage` holds the intervals against, from every number that may come back."""
    bounds = [wilson(x, n) for x in range(n + 1)]
    holds = sum(
        stats.binom.pmf(x, n, p) for x, (low, high) in enumerate(bounds) if low <= p <= high
    )
    assert by_chance(np.array([n]), np.array([p]))[0] == pytest.approx(holds)


def test_the_intervals_hold_what_they_promise():
    """Where 5 of n are expected to come back, and 5 not to: on average, and never far from it."""
    cells = [(n, x / n) for n in range(10, 301) for x in np.arange(5, n / 2 + 0.01, 0.1)]
    coverage = by_chance(*(np.array(column) for column in zip(*cells, strict=True)))
    assert abs(coverage.mean() - 0.95) < 0.002
    assert abs(coverage - 0.95).max() < 0.04
    assert (abs(coverage - 0.95) <= 0.02).mean() > 0.99


@pytest.mark.parametrize(
    ("definition", "brackets", "wrong"),
    [
        (("exact", 12, None), [], None),
        (("exact", None, None), [], "n_periods is missing"),
        (("streak", -1, None), [], "n_periods is missing"),
        (("unbounded", 12, None), [], None),
        (("unbounded", 12, 12), [], None),
        (("unbounded", 12, 11), [], "horizon lies before"),
        (("exact", 12, 12), [], "a horizon belongs to unbounded"),
        (("bracket", None, None), [(1, 7), (8, 30)], None),
        (("bracket", None, None), [], "no bracket of it"),
        (("bracket", None, None), [(7, 1)], "ends before it begins"),
        (("exact", 12, None), [(1, 7)], "its kind is not bracket"),
    ],
)
def test_what_is_wrong_with_a_definition_is_found(definition, brackets, wrong):
    file = "definitions_of_retention_can_be_counted.sql"
    text = (PROJECT / "tests" / "marts" / "retention" / file).read_text("utf-8")
    sql = jinja2.Template(text).render(ref=lambda name: name)
    with duckdb.connect() as connection:
        connection.execute(
            "create table retention_definitions (definition varchar, kind varchar, "
            "n_periods integer, horizon integer);"
            "create table retention_brackets (definition varchar, from_period integer, "
            "to_period integer)"
        )
        connection.execute("insert into retention_definitions values ('d', ?, ?, ?)", definition)
        for bracket in brackets:
            connection.execute("insert into retention_brackets values ('d', ?, ?)", bracket)
        found = [text for _, text in connection.execute(sql).fetchall()]
    assert found == [] if wrong is None else [wrong in text for text in found] == [True]
