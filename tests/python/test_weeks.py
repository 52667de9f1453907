"""Forecasts of the weeks ahead: by hand, on series whose truth is known, on real shops."""

from __future__ import annotations

import datetime as dt
import itertools
import math

import duckdb
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge

from perennial.prediction import weeks
from perennial.prediction.weeks import FORECASTS_SCHEMA, HORIZONS, MIN_WEEKS, forecast_weeks

MONDAY = dt.date(2022, 1, 3)


def series(value, metric: str = "orders") -> pl.DataFrame:
    days = [MONDAY + dt.timedelta(weeks=n) for n in range(len(value))]
    return pl.DataFrame({"metric": metric, "week_start_on": days, "value": np.asarray(value)})


def yearly(n: int, seed: int, strength: float = 0.5) -> np.ndarray:
    """Counts of a shop that grows slowly and sells most around the new year."""
    rng = np.random.default_rng(seed)
    week = np.arange(n)
    level = np.cumsum(rng.normal(0.002, 0.03, n)) + 5
    return rng.poisson(np.exp(level + strength * np.cos(2 * np.pi * week / 52)))


def test_the_line_is_ridge_regression():
    logs = np.log1p(yearly(150, 1))
    for h in (1, 5):
        known = range(weeks.LOOK_BACK_A_YEAR - 1, len(logs) - h)
        rows = np.array([weeks._seen(logs, t, h, weeks.LOOK_BACK_A_YEAR) for t in known])
        target = np.array([logs[t + h] - logs[t - 3 : t + 1].mean() for t in known])
        middle, spread = rows.mean(axis=0), rows.std(axis=0)
        ridge = Ridge(alpha=weeks.RIDGE).fit((rows - middle) / spread, target)
        last = len(logs) - 1
        seen = weeks._seen(logs, last, h, weeks.LOOK_BACK_A_YEAR)
        expected = logs[-4:].mean() + ridge.predict(((seen - middle) / spread)[None, :])[0]
        assert weeks._line(logs, last, h) == pytest.approx(expected, abs=1e-9)


def test_what_comes_later_moves_no_forecast():
    value = yearly(150, 2)
    later = np.concatenate([value, value[:20] * 9 + 5])
    for h in HORIZONS:
        for forecast in (weeks._line, weeks._naive):
            logs = np.log1p(value)
            assert forecast(logs, 149, h) == forecast(np.log1p(later), 149, h)
    short = forecast_weeks(series(value))
    assert short["week_start_on"].to_list() == [
        MONDAY + dt.timedelta(weeks=149 + h) for h in HORIZONS
    ]


def test_a_season_is_seen_and_the_naive_forecast_beaten():
    found = [forecast_weeks(series(yearly(170, seed, 0.7))) for seed in range(4)]
    chosen = [forecasts["model_name"].unique().item() for forecasts in found]
    assert chosen.count("regression") >= 2
    assert any(forecasts["is_better_than_naive"][:3].all() for forecasts in found)
    assert np.mean([f["gain"].mean() for f in found]) > 0


def test_where_last_year_says_it_all_the_naive_forecast_stays():
    rng = np.random.default_rng(3)
    year = rng.integers(50, 500, 52)
    found = forecast_weeks(series(np.tile(year, 3)))
    assert found["model_name"].to_list() == ["seasonal_naive"] * 8
    assert not found["is_better_than_naive"].any()
    assert found["expected"].to_list() == pytest.approx(year[:8].tolist())
    assert found["naive_mean_absolute_error"].max() < 1e-9
    assert (found["gain"] < 0).all()


def test_intervals_hold_four_of_five():
    """Of series without memory, what then came lies in the intervals as often as they say."""
    held, covered = [], []
    for seed in range(60):
        rng = np.random.default_rng(100 + seed)
        value = rng.poisson(np.exp(rng.normal(5, 0.2, 128)))
        found = forecast_weeks(series(value[:120]))
        came = pl.Series(value[120:]).cast(pl.Float64)
        held += ((found["expected_low"] <= came) & (came <= found["expected_high"])).to_list()
        covered.append(found["coverage_rate"][0])
    assert np.mean(held) == pytest.approx(0.8, abs=0.04)
    assert np.mean(covered) == pytest.approx(0.8, abs=0.04)


def test_a_gain_by_chance_is_no_gain():
    rng = np.random.default_rng(4)
    n_better = 0
    for _ in range(300):
        # Neighbours are alike, as errors of overlapping forecasts are.
        difference = np.convolve(rng.normal(size=29), np.ones(4) / 4, mode="valid")
        gain, noise = weeks._gain(difference, 4)
        n_better += gain > noise
    assert 0 < n_better < 0.08 * 300


@pytest.mark.parametrize("value", [np.zeros(80), np.full(80, 7.0), np.arange(80.0) ** 3])
def test_odd_series_are_borne(value):
    found = forecast_weeks(series(value))
    assert set(found["status"]) == {"forecast"}
    assert found.select(pl.col("expected", "expected_low", "expected_high").is_finite().all()).row(
        0
    ) == (True, True, True)
    assert (found["expected_low"] >= 0).all() and (found["expected"] >= 0).all()
    if len(set(value)) == 1:
        assert found["expected"].to_list() == pytest.approx([value[0]] * 8)


def test_a_short_history_is_said_and_no_history_is_an_empty_table():
    found = forecast_weeks(series(np.ones(MIN_WEEKS - 1)))
    assert found.height == 8 and dict(found.schema) == FORECASTS_SCHEMA
    assert set(found["status"]) == {
        f"abstained: {MIN_WEEKS - 1} whole weeks are known; needed are {MIN_WEEKS}"
    }
    assert found["expected"].null_count() == 8
    assert forecast_weeks(series([])).height == 0
    assert set(forecast_weeks(series(yearly(MIN_WEEKS, 1)))["status"]) == {"forecast"}


def test_metrics_and_rows_in_any_order():
    both = pl.concat([series(yearly(90, 1)), series(yearly(90, 2), "active_customers")])
    found = forecast_weeks(both)
    assert found.height == 16
    assert found.equals(forecast_weeks(both.sample(fraction=1, shuffle=True, seed=1)))
    alone = forecast_weeks(both.filter(metric="orders"))
    assert found.filter(metric="orders").equals(alone)


# In the warehouse


def read(build, sql: str) -> pl.DataFrame:
    with duckdb.connect(str(build.warehouse), read_only=True) as connection:
        return connection.sql(sql).pl()


def test_weekly_counts_are_those_of_a_plain_loop(demo):
    [(as_of_on,)] = demo.query("select as_of_on from intermediate.clock")
    orders = demo.query("select ordered_on, customer_id, is_cancelled from marts.orders")
    counts: dict[dt.date, list] = {}
    for day, customer, is_cancelled in orders:
        if not is_cancelled:
            monday = day - dt.timedelta(days=day.weekday())
            counts.setdefault(monday, []).append(customer)
    week = min(day for day, *_ in orders)
    week += dt.timedelta(days=(7 - week.weekday()) % 7)
    expected = []
    while week + dt.timedelta(days=7) <= as_of_on:
        who = counts.get(week, [])
        expected.append(("active_customers", week, len({c for c in who if c is not None})))
        expected.append(("orders", week, len(who)))
        week += dt.timedelta(days=7)
    found = demo.query("select metric, week_start_on, value from intermediate.weekly_counts")
    assert sorted(found) == sorted(expected) and len(found) > 200


WEIGHTS = (0.5, 1, 2, 5, 10, 20, 50, 100)


def likelihood(bought: dict, steps: dict, share: dict, weight: float) -> float:
    """How likely all orders were, each foretold from the customer's orders before it."""
    total = 0.0
    for history in bought.values():
        for n in range(1, len(history)):
            after, category = steps[history[n - 1]], history[n]
            like_others = (after.count(category) + 10 * share[category]) / (len(after) + 10)
            own = history[:n].count(category)
            total += math.log((own + weight * like_others) / (n + weight))
    return total


def test_next_categories_are_those_of_a_plain_loop(demo):
    lines = demo.query(
        """
        select o.customer_id, o.ordered_at, o.order_id, i.category, i.net_amount
        from marts.orders as o inner join marts.order_items as i using (order_id)
        where o.customer_id is not null and not o.is_cancelled
        """
    )
    spent: dict[tuple, dict[str, float]] = {}
    for customer, moment, order, category, amount in lines:
        basket = spent.setdefault((customer, moment, order), {})
        basket[category] = basket.get(category, 0) + amount
    bought: dict[str, list[str]] = {}
    for (customer, _, _), basket in sorted(spent.items(), key=lambda item: item[0]):
        main = min(basket, key=lambda category: (-basket[category], category))
        bought.setdefault(customer, []).append(main)
    everything = [category for history in bought.values() for category in history]
    share = {c: everything.count(c) / len(everything) for c in sorted(set(everything))}
    steps: dict[str, list[str]] = {c: [] for c in share}
    for history in bought.values():
        for one, other in itertools.pairwise(history):
            steps[one].append(other)
    found = {row[0]: row[1:] for row in demo.query("from marts.next_categories")}
    assert found.keys() == bought.keys()
    weight = max(WEIGHTS, key=lambda w: likelihood(bought, steps, share, w))
    for customer, history in bought.items():
        after = steps[history[-1]]
        likely = {
            c: (
                history.count(c)
                + weight * (after.count(c) + 10 * share[c]) / (len(after) + 10)
            )
            / (len(history) + weight)
            for c in share
        }  # fmt: skip
        assert sum(likely.values()) == pytest.approx(1)
        last, category, probability = found[customer]
        assert last == history[-1]
        assert probability == pytest.approx(max(likely.values()), abs=1e-11)
        assert likely[category] == pytest.approx(probability, abs=1e-9)


@pytest.mark.parametrize("shop", ["demo", "online_retail", "complete_journey"])
def test_what_is_foretold_is_said_how_well(shop, demo, real_shop):
    built = demo if shop == "demo" else real_shop(shop)
    [row] = read(built, "from marts.next_category_evaluation").to_dicts()
    assert row["n_customers"] > 100
    assert 0 <= row["hit_rate_low"] <= row["hit_rate"] <= row["hit_rate_high"] <= 1
    # Probabilities come true about as often as they say.
    assert row["hit_rate"] == pytest.approx(row["expected_hit_rate"], abs=0.08)
    better = row["hit_rate"] > row["last_category_hit_rate"]
    assert better or not row["is_better_than_last_category"]
    found = read(
        built,
        """
        select count(*) as n, count(purchase_probability_7d) as n_scored,
            bool_and(purchase_probability_7d between 0 and 1) as is_share,
            sum(expected_amount_28d) as expected
        from marts.customer_predictions
        """,
    ).to_dicts()[0]
    assert found["n"] > 500
    if found["n_scored"]:
        assert found["is_share"]
