"""Retention as other tools count it, counted once more from single orders and visits."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import itertools
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from conftest import PROJECT, Build

LAST_PERIOD = {"day": 14, "week": 12, "month": 12}
DAYS = {"day": 1, "week": 7, "month": 30}
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
ACTIVITIES = {
    "order": ("order", "order"),
    "visit": ("visit", "visit"),
    "visit_after_order": ("order", "visit"),
}
WINDOWS = {
    "day": ["calendar", "moments", "hours"],
    "week": ["calendar", "own_days", "moments"],
    "month": ["calendar", "own_days", "own_30_days", "moments"],
}
VENDORS = PROJECT / "seeds" / "reference" / "retention_vendors.csv"
Moment = tuple[dt.datetime, dt.date]


@dataclass
class Shop:
    """Everything that happened, by customer, and how the shop reads the calendar."""

    zone: ZoneInfo
    week_start: int
    as_of: dt.datetime
    # event -> customer -> moments with their days, in order
    happened: dict[str, dict[str, list[Moment]]]

    def moment(self, at: dt.datetime) -> Moment:
        return at, at.replace(tzinfo=dt.UTC).astimezone(self.zone).date()

    def midnight(self, day: dt.date) -> dt.datetime:
        local = dt.datetime.combine(day, dt.time(), self.zone)
        return local.astimezone(dt.UTC).replace(tzinfo=None)

    def first_day(self, grain: str, day: dt.date) -> dt.date:
        if grain == "month":
            return day.replace(day=1)
        if grain == "week":
            return day - dt.timedelta(days=(day.weekday() - self.week_start) % 7)
        return day

    def day_after(self, grain: str, first_day: dt.date) -> dt.date:
        if grain == "month":
            return (first_day + dt.timedelta(days=31)).replace(day=1)
        return first_day + dt.timedelta(days=DAYS[grain])


def the_shop(build: Build) -> Shop:
    settings = dict(build.query("select name, value from marts.settings"))
    as_of = [at for (at,) in build.query("select as_of from intermediate.clock")]
    week_start = WEEKDAYS.index(settings["week_start"])
    shop = Shop(ZoneInfo(settings["timezone"]), week_start, as_of[0] if as_of else None, {})
    for name, sql in [
        ("order", "select customer_id, ordered_at from marts.orders where not is_cancelled"),
        ("visit", "select customer_id, occurred_at from marts.events where is_visit"),
    ]:
        moments = defaultdict(list)
        for customer, at in build.query(f"{sql} and customer_id is not null order by 2"):
            moments[customer].append(shop.moment(at))
        shop.happened[name] = moments
    return shop


def month_later(day: dt.date, n: int) -> dt.date:
    year, month = divmod(day.year * 12 + day.month - 1 + n, 12)
    for last in (31, 30, 29, 28):
        with contextlib.suppress(ValueError):
            return dt.date(year, month + 1, min(day.day, last))
    raise AssertionError


def period(shop: Shop, windows: str, grain: str, start: Moment, moment: Moment) -> int:
    """The number of the period after a start in which a moment lies."""
    (start_at, start_day), (at, day) = start, moment
    if windows == "calendar":
        one, other = shop.first_day(grain, start_day), shop.first_day(grain, day)
        if grain == "month":
            return (other.year - one.year) * 12 + other.month - one.month
        return (other - one).days // DAYS[grain]
    if windows == "moments":
        return (at - start_at) // dt.timedelta(days=DAYS[grain])
    if windows == "hours":
        one, other = (m.replace(minute=0, second=0, microsecond=0) for m in (start_at, at))
        return (other - one) // dt.timedelta(days=DAYS[grain])
    if windows == "own_days" and grain == "month":
        n = (day - start_day).days // 28
        while month_later(start_day, n) > day:
            n -= 1
        return n
    return (day - start_day).days // DAYS[grain]


def is_passed(shop: Shop, windows: str, grain: str, cohort: dt.date, n: int) -> bool:
    """Whether period n is over for whoever may have joined in the last moment of the cohort."""
    end = shop.midnight(shop.day_after(grain, cohort))
    if windows in ("moments", "hours"):
        return end + (n + 1) * dt.timedelta(days=DAYS[grain]) <= shop.as_of
    last_joiner = shop.moment(end - dt.timedelta(microseconds=1))
    return period(shop, windows, grain, last_joiner, shop.moment(shop.as_of)) > n


def counted(shop: Shop, activity: str, grain: str, windows: str) -> dict[tuple, tuple]:
    """(cohort, period) -> (customers, in it, again in it, in it or later, again so, mature)."""
    start_event, return_event = ACTIVITIES[activity]
    cohorts = defaultdict(list)
    for customer, moments in shop.happened[start_event].items():
        start = moments[0]
        later = [m for m in shop.happened[return_event].get(customer, []) if m >= start]
        periods = [period(shop, windows, grain, start, m) for m in later]
        # The first of them is the start, if the two are the same event.
        again = periods[1:] if start_event == return_event else periods
        cohorts[shop.first_day(grain, start[1])].append(
            (set(periods), set(again), max(periods, default=-1), max(again, default=-1))
        )
    cells = {}
    for cohort, members in cohorts.items():
        first_joiner = shop.moment(shop.midnight(cohort))
        begun = period(shop, windows, grain, first_joiner, shop.moment(shop.as_of))
        for n in range(min(begun, LAST_PERIOD[grain]) + 1):
            cells[cohort, n] = (
                len(members),
                sum(n in periods for periods, _, _, _ in members),
                sum(n in again for _, again, _, _ in members),
                sum(last >= n for _, _, last, _ in members),
                sum(last >= n for _, _, _, last in members),
                is_passed(shop, windows, grain, cohort, n),
            )
    return cells


def windows_of(rules: dict, grain: str) -> str:
    windows = rules["day_windows" if grain == "day" else "longer_windows"]
    if rules["clock"] == "calendar":
        return "calendar"
    if windows == "dates":
        return {"day": "calendar", "week": "own_days", "month": "own_30_days"}[grain]
    return windows


def as_the_rules_say(rules: dict, cells: dict[tuple, tuple]) -> dict[tuple, tuple]:
    """(cohort, period) -> (customers, retained, is mature)."""
    told = {}
    for (cohort, n), (customers, on, again, after, again_after, is_mature) in cells.items():
        if n == 0 and rules["period_zero"] == "always":
            retained = customers
        elif n == 0 and rules["period_zero"] == "again":
            retained = again_after if rules["kind"] == "unbounded" else again
        else:
            retained = after if rules["kind"] == "unbounded" else on
        told[cohort, n] = (customers, retained, is_mature)
    return told


def check(build: Build) -> int:
    """Compare everything; return how many cells there are."""
    shop = the_shop(build)
    expected_counts = {
        (activity, grain, windows): counted(shop, activity, grain, windows)
        for activity in ACTIVITIES
        for grain, ways in WINDOWS.items()
        for windows in ways
    }
    found_counts = {key: {} for key in expected_counts}
    for activity, grain, windows, cohort, n, *cell in build.query(
        "select activity, period_grain, windows, cohort_start_on, period_number, n_customers, "
        "n_on, n_again_on, n_on_or_after, n_again_on_or_after, is_mature "
        "from intermediate.retention_parity_counts where is_begun"
    ):
        found_counts[activity, grain, windows][cohort, n] = tuple(cell)
    for key, cells in expected_counts.items():
        assert found_counts[key] == cells, key
    found_cells, found_averages = defaultdict(dict), defaultdict(dict)
    for rule_set, activity, grain, cohort, n, *cell in build.query(
        "select rule_set, activity, period_grain, cohort_start_on, period_number, n_customers, "
        "n_retained_customers_to_date, is_mature, dashboard_rate, retention_rate "
        "from marts.retention_parity"
    ):
        found_cells[rule_set, activity, grain][cohort, n] = tuple(cell)
    for rule_set, activity, grain, n, rule, *figures in build.query(
        "select rule_set, activity, period_grain, period_number, average_rule, is_default, "
        "average_rate from marts.retention_parity_averages"
    ):
        found_averages[rule_set, activity, grain][n, rule] = tuple(figures)
    with VENDORS.open(encoding="utf-8") as file:
        all_rules = list(csv.DictReader(file))
    n_cells = 0
    for rules, activity, grain in itertools.product(all_rules, ACTIVITIES, LAST_PERIOD):
        key = rules["rule_set"], activity, grain
        cells = as_the_rules_say(rules, expected_counts[activity, grain, windows_of(rules, grain)])
        shown = {}
        for cell, (customers, retained, is_mature) in cells.items():
            rate = retained / customers
            is_shown = is_mature or rules["running_period"] == "shown"
            rates = rate if is_shown else None, rate if is_mature else None
            shown[cell] = (customers, retained, is_mature, *rates)
        assert found_cells[key] == shown, key
        expected = averages(cells, rules["average"])
        assert set(found_averages[key]) == set(expected), key
        for place, (is_default, mean) in expected.items():
            found_default, found_mean = found_averages[key][place]
            assert found_default == is_default
            assert (found_mean is None) == (mean is None)
            if mean is not None:
                assert found_mean == pytest.approx(float(mean), abs=1e-11)
        n_cells += len(cells)
    return n_cells


def averages(cells: dict[tuple, tuple], default: str) -> dict[tuple, tuple]:
    """(period, rule) -> (whether it is the rule, the mean over mature cohorts)."""
    means = {}
    for n in {n for _, n in cells}:
        cohorts = [(c, r) for (_, m), (c, r, is_mature) in cells.items() if m == n and is_mature]
        total = sum(c for c, _ in cohorts)
        figures = dict.fromkeys(["pooled", "weighted", "simple"])
        if cohorts:
            figures["pooled"] = Fraction(sum(r for _, r in cohorts), total)
            figures["simple"] = sum(Fraction(r, c) for c, r in cohorts) / len(cohorts)
            # As Mixpanel's page has it: both means weighted by who entered, then divided.
            retained = sum(r * Fraction(c, total) for c, r in cohorts)
            entered = sum(c * Fraction(c, total) for c, r in cohorts)
            figures["weighted"] = retained / entered
        means |= {(n, rule): (rule == default, mean) for rule, mean in figures.items()}
    return means


def test_the_example_that_mixpanel_publishes():
    """500 of 1000 and 400 of 500, and 10 of 700 whose day is not over."""
    cells = {("1", 1): (1000, 500, True), ("2", 1): (500, 400, True), ("3", 1): (700, 10, False)}
    means = {rule: float(mean) for (_, rule), (_, mean) in averages(cells, "weighted").items()}
    assert means == pytest.approx({"weighted": 0.56, "pooled": 0.60, "simple": 0.65})


def test_every_cell_of_the_demo(demo):
    assert check(demo) > 100_000


def test_tools_differ_on_the_demo(demo):
    """Each rule is seen to change something, so that the test above is no test of nothing."""
    found = {rule for (rule,) in demo.query("select rule from marts.retention_parity_differences")}
    assert found == {
        "running_period", "kind", "clock", "month", "hours", "floor", "period_zero", "average",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("shop", ["online_retail"])
def test_every_cell_of_a_real_shop(real_shop, shop):
    assert check(real_shop(shop)) > 10_000


@pytest.mark.parametrize("shop", ["empty", "one"])
def test_tiny_shops(tiny_shop, shop):
    build = tiny_shop(shop)
    assert (check(build) > 0) == (shop == "one")
