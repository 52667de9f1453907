"""Customer lifetime value: published figures, integrals done numerically, simulated lives."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import polars as pl
import pytest
from conftest import ITEMS, ONLY_MODELS, ORDERS, SHARED_DATA, build, green, write_shop
from scipy.optimize import approx_fprime
from scipy.special import hyp2f1
from scipy.stats import beta, gamma

from perennial.value import forecasts, spend
from perennial.value import purchases as module
from perennial.value.forecasts import (
    FORECASTS_SCHEMA,
    HORIZONS,
    LEAST_TAIL,
    MODELS_SCHEMA,
    TAIL,
    fit_models,
    forecast,
)
from perennial.value.purchases import MODELS, Histories, PurchaseModel, fit_purchases
from perennial.value.season import DAYS_IN_MONTH, FLAT, Clock, fit_season
from perennial.value.spend import SpendModel, fit_spend, value_quantile

# Weeks, as in Fader, Hardie and Lee (2005).
PUBLISHED = PurchaseModel("bg_nbd", r=0.243, alpha=4.414, a=0.793, b=2.426)


@pytest.fixture(scope="module")
def cdnow() -> pl.DataFrame:
    """Purchases of the CDNOW sample; those of one day are one."""
    file = SHARED_DATA / "cdnow_sample" / "CDNOW_sample.txt"
    if not file.exists():
        pytest.skip(f"the CDNOW sample is not in {SHARED_DATA}")
    rows = [line.split() for line in file.read_text().splitlines()]
    return (
        pl.DataFrame({
            "customer_id": [row[1] for row in rows],
            "day": [date.fromisoformat(row[2]) for row in rows],
            "amount": [float(row[4]) for row in rows],
        })
        .group_by("customer_id", "day")
        .agg(pl.col("amount").sum())
        .sort("customer_id", "day")
    )  # fmt: skip


@pytest.fixture(scope="module")
def calibration(cdnow) -> pl.DataFrame:
    """What the papers fit on: x, t_x and T in weeks until the end of September 1997."""
    end = date(1997, 9, 30)
    return (
        cdnow.filter(pl.col("day") <= end)
        .group_by("customer_id", maintain_order=True)
        .agg(
            x=pl.len() - 1,
            t_x=(pl.col("day").max() - pl.col("day").min()).dt.total_days() / 7,
            age=(pl.lit(end) - pl.col("day").min()).dt.total_days() / 7,
            mean=pl.col("amount").slice(1).mean(),
        )
    )


def test_bg_nbd_on_cdnow_is_as_published(calibration):
    model = fit_purchases(
        "bg_nbd", Histories.of(calibration["x"], calibration["t_x"], calibration["age"])
    )
    found = (model.r, model.alpha, model.a, model.b)
    assert found == pytest.approx((0.2425945, 4.4136019, 0.7929199, 2.4258881), rel=1e-4)
    assert model.log_likelihood == pytest.approx(-9582.429, abs=5e-4)


def test_gamma_gamma_on_cdnow_is_as_published(calibration):
    spent = calibration.filter((pl.col("x") > 0) & (pl.col("mean") > 0))
    model = fit_spend(spent["x"].to_numpy(), spent["mean"].to_numpy())
    assert (model.p, model.q, model.v) == pytest.approx((6.2488, 3.7446, 15.4477), rel=1e-3)
    assert model.log_likelihood == pytest.approx(-4055.9177, abs=5e-4)


def test_expected_purchases_are_as_published():
    # The paper's customer 0001, and the example of the R package BTYD with 26 repeats.
    states = PUBLISHED.state(Histories.of([2, 26], [30.43, 30.86], [38.86, 31.0]))
    assert states.expected_purchases(39.0)[0] == pytest.approx(1.226, abs=2e-3)
    assert states.expected_purchases(52.0)[1] == pytest.approx(25.76, abs=5e-3)


def test_the_warehouse_finds_the_published_parameters(cdnow, tmp_path):
    numbered = cdnow.with_row_index("n")
    orders = ORDERS + "".join(
        f"o{n},{customer},{day}T12:00:00,completed\n" for n, customer, day, _ in numbered.rows()
    )
    items = ITEMS + "".join(f"o{n},1,cd,1,{amount}\n" for n, _, _, amount in numbered.rows())
    built = green(
        build(
            tmp_path / "cdnow.duckdb",
            raw=write_shop(tmp_path / "raw", orders=orders, order_items=items),
            settings="{as_of: '1997-09-30 23:59:59'}",
            select="+lifetime_value_models +customer_lifetime_value",
            exclude=ONLY_MODELS,
        )
    )
    ((r, alpha, a, b),) = built.query(
        "select r, alpha_days / 7, a, b from marts.lifetime_value_models"
        " where cut = 'today' and model_name = 'bg_nbd'"
    )
    assert (r, alpha, a, b) == pytest.approx((0.2425945, 4.4136019, 0.7929199, 2.4258881), rel=1e-3)
    assert built.query(
        "select count(*), min(status), max(status), bool_and(purchases_365d_low <= "
        "expected_purchases_365d + 1) from marts.customer_lifetime_value"
    ) == [(2357, "forecast", "forecast", True)]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("x", "last", "age"), [(0, 0.0, 5.0), (1, 2.0, 5.0), (4, 6.0, 6.5)])
def test_the_likelihood_is_the_integral_over_all_customers(name, x, last, age):
    r, alpha, a, b = 2.8, 3.0, 2.7, 3.2

    # Midpoints of a grid over everything that customers can be like.
    p, rate = (np.arange(400) + 0.5) / 400, (np.arange(20_000) + 0.5) / 1000
    p, rate = p[:, None], rate[None, :]
    # Chances to leave come after each repeat purchase, in the modified model after all.
    chances = x + MODELS[name]
    stays = (1 - p) ** chances * np.exp(-rate * age)
    left = p * (1 - p) ** (chances - 1) * np.exp(-rate * last) if chances else 0.0
    density = gamma.pdf(rate, r, scale=1 / alpha) * beta.pdf(p, a, b)
    whole = (rate**x * (stays + left) * density).sum() / (400 * 1000)
    value, _ = module._log_likelihood(
        name, np.log([r, alpha, a, b]), Histories.of([x], [last], [age]), 1
    )
    assert value == pytest.approx(np.log(whole), abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_is_that_of_the_likelihood(name):
    rng = np.random.default_rng(3)
    age = rng.uniform(5, 50, 40)
    x = rng.poisson(2, 40)
    last = np.where(x > 0, age * rng.random(40), 0)
    histories = Histories.of(x, last, age, rng.integers(1, 5, 40), rng.integers(0, 3, 40))
    point = rng.normal(0, 0.5, 8)
    _, gradient = module._log_likelihood(name, point, histories, 3)
    numeric = approx_fprime(
        point, lambda at: module._log_likelihood(name, at, histories, 3)[0], 1e-6
    )
    assert gradient == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def lives(
    name: str, n: int, parameters: tuple, age: np.ndarray, ahead: float, seed: int
) -> tuple[Histories, np.ndarray]:
    """Customers who live as the model says: their histories and what they buy afterwards."""
    r, alpha, a, b = parameters
    rng = np.random.default_rng(seed)
    rates, leaving = rng.gamma(r, 1 / np.broadcast_to(alpha, n)), rng.beta(a, b, n)
    is_active = rng.random(n) >= leaving if MODELS[name] else np.ones(n, dtype=bool)
    now, x, last, later = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    while is_active.any():
        now = now + rng.exponential(1 / rates)
        is_known, is_ahead = is_active & (now <= age), is_active & (now > age)
        x += is_known
        last = np.where(is_known, now, last)
        later += is_ahead & (now <= age + ahead)
        is_active &= (now <= age + ahead) & (rng.random(n) >= leaving)
    return Histories.of(x, last, age), later


@pytest.mark.parametrize("name", MODELS)
def test_forecasts_hold_for_customers_who_live_as_the_model_says(name):
    rng = np.random.default_rng(1)
    age = rng.uniform(10, 60, 40_000)
    truth = PurchaseModel(name, 0.9, 12.0, 0.8, 2.5)
    histories, later = lives(name, 40_000, (0.9, 12.0, 0.8, 2.5), age, 20.0, 2)
    found = fit_purchases(name, histories)
    own, true = (model.state(histories).expected_purchases(20.0) for model in (found, truth))
    assert (found.r, found.alpha) == pytest.approx((0.9, 12.0), rel=0.1)
    assert own.mean() == pytest.approx(later.mean(), rel=0.03)
    assert np.abs(own - true).mean() < 0.03 * true.mean()
    for n in (0, 1, 3):
        some = histories.repeats == n
        assert true[some].mean() == pytest.approx(later[some].mean(), rel=0.12)
    state = truth.state(histories)
    for n in range(4):
        assert state.more_than(n, 20.0).mean() == pytest.approx((later > n).mean(), abs=0.006)
    low, high = state.purchases_quantile(0.1, 20.0), state.purchases_quantile(0.9, 20.0)
    assert (later < low).mean() <= 0.1
    assert (later > high).mean() <= 0.1
    # Among those of whom much is to be expected, purchases are nearly continuous.
    busy = true > 3
    assert busy.sum() > 300
    assert ((later >= low) & (later <= high))[busy].mean() == pytest.approx(0.86, abs=0.06)


def test_expected_purchases_are_those_of_the_published_formula():
    # Fader, Hardie and Lee (2005), equation 10.
    x, t_x, age = (np.array(v, dtype=float) for v in ([0, 1, 5, 12], [0, 3, 20, 29], [30] * 4))
    r, alpha, a, b, t = 0.5, 6.0, 0.9, 1.6, 50.0
    series = hyp2f1(r + x, b + x, a + b + x - 1, t / (alpha + age + t))
    above = (a + b + x - 1) / (a - 1)
    above *= 1 - ((alpha + age) / (alpha + age + t)) ** (r + x) * series
    below = 1 + (x > 0) * a / np.maximum(b + x - 1, 0.1) * ((alpha + age) / (alpha + t_x)) ** (
        r + x
    )
    state = PurchaseModel("bg_nbd", r, alpha, a, b).state(Histories.of(x, t_x, age))
    assert state.expected_purchases(t) == pytest.approx(above / below, rel=1e-9)


def test_forecasts_are_finite_where_nobody_or_everybody_leaves():
    histories = Histories.of([0, 3, 200], [0, 20, 299], [300, 300, 300])
    for a, b in ((1e-5, 1e5), (1e5, 1e5), (1e5, 1e-5)):
        state = PurchaseModel("mbg_nbd", 0.5, 10.0, a, b).state(histories)
        assert np.isfinite(state.expected_purchases(365.0)).all()
    # Where nobody leaves it is the negative binomial model: (r + x) / (alpha + T) * t.
    stay = PurchaseModel("bg_nbd", 0.5, 10.0, 1e-9, 1e3).state(histories)
    assert stay.expected_purchases(31.0) == pytest.approx([0.05, 0.35, 20.05], rel=1e-5)


def test_channels_may_differ():
    n = 20_000
    group = np.arange(n) % 2
    age = np.random.default_rng(5).uniform(20, 60, n)
    histories, _ = lives("bg_nbd", n, (1.0, 10.0 * np.exp(-0.7 * group), 0.6, 2.4), age, 1.0, 6)
    both = Histories.of(histories.repeats, histories.last, age, group=group)
    model = fit_purchases("bg_nbd", both, 2)
    assert model.rate_effects == pytest.approx((0, 0.7), abs=0.06)
    assert model.leaving_effects == pytest.approx((0, 0), abs=0.15)
    assert model.bic < fit_purchases("bg_nbd", histories).bic


def test_equal_histories_count_as_often_as_they_are():
    rows = [(0, 0, 9), (2, 5, 9), (2, 5, 9), (2, 5, 9), (1, 8, 9)]
    one = fit_purchases("mbg_nbd", Histories.of(*zip(*rows, strict=True)))
    other = fit_purchases("mbg_nbd", Histories.of([0, 2, 1], [0, 5, 8], [9, 9, 9], [1, 3, 1]))
    assert (one.r, one.log_likelihood) == pytest.approx((other.r, other.log_likelihood), rel=1e-6)


def test_the_unit_of_time_does_not_matter(calibration):
    weeks = Histories.of(calibration["x"], calibration["t_x"], calibration["age"])
    days = Histories.of(weeks.repeats, 7 * weeks.last, 7 * weeks.age)
    one, other = (fit_purchases("bg_nbd", histories) for histories in (weeks, days))
    assert (other.r, other.alpha, other.a) == pytest.approx((one.r, 7 * one.alpha, one.a), rel=1e-4)
    assert other.log_likelihood == pytest.approx(
        one.log_likelihood - np.log(7) * weeks.repeats.sum(), abs=1e-3
    )


def test_amounts_are_spread_as_their_model_says():
    rng = np.random.default_rng(8)
    purchases, model = PurchaseModel("mbg_nbd", 0.6, 6.0, 0.9, 1.6), SpendModel(2.0, 4.0, 40.0)
    state = purchases.state(Histories.of([3, 0, 20], [20, 0, 29], [30, 30, 30]))
    n_known, mean = np.array([4, 0, 21]), np.array([25.0, 0.0, 12.0])
    found = {
        share: model.unit(n_known, mean) * value_quantile(share, 30.0, state, model, n_known)
        for share in (0.1, 0.9)
    }
    expected = state.expected_purchases(30.0) * model.expected_amount(n_known, mean)
    for customer in range(3):
        one = state.rows(np.array([customer] * 200_000))
        rates, leaving = rng.gamma(one.shape, 1 / one.rate), rng.beta(one.a, one.b)
        bought = np.minimum(rng.poisson(rates * 30.0), rng.geometric(leaving))
        bought = np.where(rng.random(200_000) < one.active, bought, 0)
        scale = rng.gamma(
            model.q + model.p * n_known[customer],
            1 / (model.v + n_known[customer] * mean[customer]),
            200_000,
        )
        spent = np.where(bought > 0, rng.gamma(np.maximum(model.p * bought, 0.1), 1 / scale), 0)
        assert spent.mean() == pytest.approx(expected[customer], rel=0.03)
        for share, values in found.items():
            assert (spent <= values[customer] + 1e-9).mean() >= share - 0.004
            assert (spent < values[customer] - 1e-9).mean() <= share + 0.004


def test_numbers_of_purchases_may_be_looked_at_together(monkeypatch):
    x = np.array([0, 3, 30, 300])
    histories = Histories.of(x, np.where(x > 0, 350, 0), [360] * 4)
    state = PurchaseModel("mbg_nbd", 0.6, 60.0, 0.8, 2.5).state(histories)
    model = SpendModel(1.6, 6.0, 60.0)
    together = [value_quantile(share, 365.0, state, model, 1 + x) for share in (0.2, 0.9)]
    monkeypatch.setattr(spend, "_blocks", lambda most: [(n, n) for n in range(1, most + 1)])
    alone = [value_quantile(share, 365.0, state, model, 1 + x) for share in (0.2, 0.9)]
    assert np.array(together) == pytest.approx(np.array(alone), rel=0.01)


NO_SEASON = pl.DataFrame(
    schema={
        "cut": pl.String, "cohort_start_on": pl.Date, "age_period": pl.Int64,
        "month_number": pl.Int32, "n_customer_days": pl.Int64, "n_purchases": pl.Int64,
    }
)  # fmt: skip
INDEX = np.array([0.8, 0.7, 0.85, 0.9, 0.95, 1.0, 1.05, 1.0, 0.9, 0.95, 1.3, 1.6])
INDEX = INDEX / np.average(INDEX, weights=DAYS_IN_MONTH)


def test_the_clock_of_a_season_counts_days_by_their_month():
    index = tuple(INDEX.tolist())
    clock, today = Clock(date(2024, 3, 10), index), date(2024, 3, 10)

    def by_hand(first: date, last: date) -> float:
        return sum(
            index[(first + timedelta(days=n)).month - 1] for n in range(1, (last - first).days + 1)
        )

    for back, forth in ((0, 0), (9, 0), (10, 3), (400, 30), (400, 400)):
        first, last = today - timedelta(days=back), today - timedelta(days=forth)
        found = clock.elapsed(np.array([back]), np.array([forth]))
        assert found == pytest.approx([by_hand(first, last)])
    assert clock.ahead(30) == pytest.approx(by_hand(today, today + timedelta(days=30)))
    assert clock.ahead(365) == pytest.approx(365, abs=1.0)
    # A day that is reached by a time, and one that nobody reaches.
    days = np.array([0.0, 1.0, 90.0, 400.0])
    times = np.array([clock.ahead(int(n)) for n in days])
    assert clock.days_until(times) == pytest.approx(days)
    assert clock.days_until(np.array([1e5, np.inf])) == pytest.approx([1e5, np.inf], rel=0.01)
    calendar = Clock(today, FLAT)
    assert calendar.elapsed(np.array([400]), np.array([30])).tolist() == [370.0]
    assert calendar.ahead(30) == 30.0


def months_of_a_shop(n_days: int, begin: date, seed: int, new_per_day: float = 6.0) -> pl.DataFrame:
    """`purchase_season_counts` of one cut: later customers are less loyal, old ones buy less."""
    rng = np.random.default_rng(seed)
    parts = []
    for n in range(n_days):
        first = begin + timedelta(days=n)
        # The first days find all the customers that there are; the loyal ones come first.
        new = int(rng.poisson(new_per_day * (1 if n > 30 else 8)))
        ages = np.arange(1, n_days - n)
        day = np.datetime64(first) + ages
        months = day.astype("datetime64[M]").astype(int) % 12
        rate = 0.01 * np.exp(-ages / 400) * (0.5 + np.exp(-n / 60)) * INDEX[months]
        parts.append(pl.DataFrame({
            "cohort_start_on": [first.replace(day=1)] * len(ages),
            "age_period": (ages - 1) // 28,
            "month_number": months + 1,
            "n_customer_days": np.full(len(ages), new),
            "n_purchases": rng.poisson(new * rate),
        }))  # fmt: skip
    keys = ["cohort_start_on", "age_period", "month_number"]
    return pl.concat(parts).group_by(keys).agg(pl.col("n_customer_days", "n_purchases").sum())


def test_a_season_is_told_apart_from_ages_and_cohorts():
    inside = []
    for seed in range(6):
        season = fit_season(months_of_a_shop(900, date(2022, 1, 1), seed))
        assert season.index == pytest.approx(INDEX, abs=0.17)
        assert np.average(season.index, weights=DAYS_IN_MONTH) == pytest.approx(1)
        inside += ((season.low <= INDEX) & (season.high >= INDEX)).tolist()
    assert np.mean(inside) >= 0.9
    assert np.sqrt(((season.index - INDEX) ** 2).mean()) < 0.4 * INDEX.std()


def test_where_months_cannot_be_told_from_ages_the_interval_says_so():
    # All customers came on one day, a year ago.
    counts = months_of_a_shop(360, date(2023, 1, 1), 1)
    one = counts.filter(pl.col("cohort_start_on") == date(2023, 1, 1))
    season = fit_season(one)
    assert season.purchases.sum() > 1500
    # The falling rate is taken for a season, but not for a sure one.
    by_chance = 2 * 1.96 / np.sqrt(season.purchases)
    assert (np.log(season.high / season.low) > 1.3 * by_chance).all()
    with pytest.raises(ValueError, match="a month of the year in which nobody"):
        fit_season(one.filter(pl.col("month_number") != 7))


def shop_with_a_season(seed: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, np.ndarray]:
    """A shop on the season's clock until the end of December; what comes in 90 days after it."""
    rng = np.random.default_rng(seed)
    n, begin, today = 6000, date(2022, 1, 1), 1094
    n_days = today + 1 + 90
    joined = rng.integers(0, today, n)
    month = (np.datetime64(begin) + np.arange(n_days)).astype("datetime64[M]").astype(int) % 12
    rates = rng.gamma(1.2, 1 / 80, n)
    days = np.arange(n_days)
    buys = (rng.random((n, n_days)) < rates[:, None] * INDEX[month]) & (days > joined[:, None])
    buys &= np.cumsum(buys, axis=1) <= rng.geometric(rng.beta(1.0, 6.0, n))[:, None]
    buys[np.arange(n), joined] = True
    histories, counts = [], []
    for cut, last_day in (("holdout", today - 90), ("today", today)):
        there = joined <= last_day
        known = buys[there] & (days <= last_day)
        first = joined[there]
        last = n_days - 1 - np.argmax(known[:, ::-1], axis=1)
        histories.append(pl.DataFrame({
            "cut": cut,
            "customer_id": [f"c{i:05}" for i in np.flatnonzero(there)],
            "cut_on": begin + timedelta(days=last_day),
            "channel": "ads",
            "n_repeats": known.sum(axis=1) - 1,
            "last_days": last - first,
            "age_days": last_day - first,
            "mean_amount": 10.0,
            "n_later_purchases":
                (buys[there] & (days > last_day) & (days <= last_day + 90)).sum(axis=1),
            "later_amount": 0.0,
        }))  # fmt: skip
        for start in np.unique(first):
            of_day = np.flatnonzero(first == start)
            ages = np.arange(1, last_day - start + 1)
            of_month = (np.datetime64(begin) + int(start)).astype("datetime64[M]").astype(date)
            counts.append(pl.DataFrame({
                "cut": [cut] * len(ages),
                "cohort_start_on": [of_month] * len(ages),
                "age_period": (ages - 1) // 28,
                "month_number": month[start + ages] + 1,
                "n_customer_days": np.full(len(ages), len(of_day)),
                "n_purchases": known[of_day][:, start + 1 : last_day + 1].sum(axis=0),
            }))  # fmt: skip
    histories = pl.concat(histories)
    keys = ["cut", "channel", "n_repeats", "last_days", "age_days"]
    season = ["cut", "cohort_start_on", "age_period", "month_number"]
    return (
        histories.group_by(keys).agg(n_customers=pl.len()),
        histories,
        pl.concat(counts).group_by(season).agg(pl.col("n_customer_days", "n_purchases").sum()),
        histories.filter(pl.col("cut") == "today")["n_later_purchases"].to_numpy(),
    )


def test_forecasts_of_january_know_that_christmas_is_over():
    statistics, histories, counts, later = shop_with_a_season(7)
    models = fit_models(statistics, histories, counts)
    (name,) = models.filter("is_chosen")["model_name"].unique()
    assert name.endswith("_seasonal")
    without = models.filter(~pl.col("model_name").str.ends_with("_seasonal"))
    best = without.filter(pl.col("cut") == "holdout").sort("holdout_log_score")["model_name"][-1]
    without = without.with_columns(is_chosen=pl.col("model_name") == best)
    ratio = {}
    for kind, some in (("season", models), ("calendar", without)):
        found = pl.concat(forecast(histories, some)).filter(cut="today", horizon_days=90)
        ratio[kind] = found["expected_purchases"].sum() / later.sum()
    assert ratio["season"] == pytest.approx(1, abs=0.08)
    assert ratio["calendar"] > 1.2
    # On the calendar's clock both likelihoods are of the same thing.
    score = dict(models.filter(pl.col("cut") == "today").select("model_name", "bic").iter_rows())
    assert score[name] < score[best]


def test_a_fifth_is_outside_of_intervals_that_begin_with_nothing():
    # Gone for certain, likely to buy nothing, and certain to buy.
    none = np.array([0.95, 0.5, 0.01])
    assert forecasts._from_zero(none).tolist() == [True, True, False]
    low, high = forecasts._shares(0.1, forecasts._from_zero(none))
    assert low == pytest.approx([0, 0, 0.1])
    assert high == pytest.approx([0.8, 0.8, 0.9])


def shop_that_lives(seed: int, unevenness: float) -> tuple[pl.DataFrame, pl.DataFrame, np.ndarray]:
    """A shop of customers as BG/NBD says, but for good and bad quarters of their own.

    With what each buys in the 90 days after today.
    """
    rng = np.random.default_rng(seed)
    n = 3000
    joined = rng.integers(0, 300, n)
    # Days 0 to 599: the holdout begins after day 419, today is day 509.
    quarter = rng.gamma(1 / unevenness, unevenness, (n, 7)) if unevenness else np.ones((n, 7))
    rates = rng.gamma(1.5, 1 / 20, n)
    buys = rng.random((n, 600)) < rates[:, None] * quarter[:, np.arange(600) // 90]
    leaves_at = rng.geometric(rng.beta(1.0, 12.0, n))
    bought = np.cumsum(buys, axis=1) <= leaves_at[:, None]
    days = np.arange(600)[None, :]
    buys &= bought & (days > joined[:, None])
    buys[np.arange(n), joined] = True
    rows = []
    for cut, last_day in (("holdout", 419), ("today", 509)):
        known = buys & (days <= last_day)
        last = 599 - np.argmax(known[:, ::-1], axis=1)
        rows.append(pl.DataFrame({
            "cut": cut,
            "customer_id": [f"c{i:05}" for i in range(n)],
            "cut_on": date(2024, 1, 1) if cut == "holdout" else date(2024, 3, 31),
            "channel": "ads",
            "n_repeats": known.sum(axis=1) - 1,
            "last_days": last - joined,
            "age_days": last_day - joined,
            "mean_amount": 10.0,
            "n_later_purchases": (buys & (days > last_day) & (days <= last_day + 90)).sum(axis=1),
            "later_amount": 0.0,
        }))  # fmt: skip
    histories = pl.concat(rows)
    keys = ["cut", "channel", "n_repeats", "last_days", "age_days"]
    later = rows[1]["n_later_purchases"].to_numpy()
    return histories.group_by(keys).agg(n_customers=pl.len()), histories, later


@pytest.mark.parametrize("unevenness", [0.0, 1.5])
def test_intervals_hold_what_comes_next_also_where_customers_are_less_even_than_the_model(
    unevenness,
):
    statistics, histories, later = shop_that_lives(3, unevenness)
    models = fit_models(statistics, histories, NO_SEASON)
    tail = models.filter("is_chosen")["purchases_tail"].min()
    assert tail == TAIL if unevenness == 0 else tail < 0.09
    found = pl.concat(forecast(histories, models)).filter(
        (pl.col("cut") == "today") & (pl.col("horizon_days") == 90)
    )
    low, high = (found[f"purchases_{end}"].to_numpy() for end in ("low", "high"))
    assert ((later < low) | (later > high)).mean() <= 0.22
    assert ((later < low) | (later > high))[high > 0].mean() <= 0.22


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (([0, 0], [0, 0], [5, 6]), "nobody has bought twice"),
        (([1], [np.inf], [np.inf]), "not finite"),
        (([1], [6], [5]), "0 <= last <= age"),
        (([0], [2], [5]), "0 <= last <= age"),
        (([-1], [0], [5]), "0 <= last <= age"),
    ],
)
def test_what_is_no_history_gets_a_sentence(rows, why):
    with pytest.raises(ValueError, match=why):
        fit_purchases("bg_nbd", Histories.of(*rows))


@pytest.mark.parametrize(
    ("mean", "why"),
    [
        ([10, 10, 10], "all customers spend the same"),
        ([10, 0, 12], "above 0"),
        ([10, np.nan, 12], "finite"),
        ([10], "two customers"),
    ],
)
def test_amounts_that_cannot_be_fitted_get_a_sentence(mean, why):
    with pytest.raises(ValueError, match=why):
        fit_spend(np.ones(len(mean)), np.array(mean, dtype=float))


def shop_of(n: int, **columns) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`purchase_statistics` and `purchase_histories` of n customers at both cuts."""
    rng = np.random.default_rng(4)
    age = rng.integers(30, 300, n)
    x = rng.poisson(1.0, n)
    one = pl.DataFrame({
        "customer_id": [f"c{i:05}" for i in range(n)],
        "channel": ["ads" if i % 3 else "mail" for i in range(n)],
        "n_repeats": x,
        "last_days": np.where(x > 0, np.maximum(1, age * rng.random(n)).astype(int), 0),
        "age_days": age,
        "mean_amount": rng.gamma(5, 4, n),
        "n_later_purchases": rng.poisson(0.3, n),
        "later_amount": rng.gamma(2, 4, n),
    }).with_columns(**columns)  # fmt: skip
    cuts = {"holdout": date(2024, 1, 1), "today": date(2024, 3, 31)}
    histories = pl.concat(
        one.with_columns(cut=pl.lit(cut), cut_on=pl.lit(day)) for cut, day in cuts.items()
    )
    keys = ["cut", "channel", "n_repeats", "last_days", "age_days"]
    return histories.group_by(keys).agg(n_customers=pl.len()), histories


def test_one_model_is_chosen_and_forecasts_everyone_whatever_the_order_of_rows():
    statistics, histories = shop_of(400)
    models = fit_models(statistics, histories, NO_SEASON)
    assert dict(models.schema) == MODELS_SCHEMA
    assert models.filter("is_chosen")["cut"].sort().to_list() == ["holdout", "today"]
    best = models.filter(pl.col("cut") == "holdout").sort("holdout_log_score")[-1]
    assert best["is_chosen"].item()
    found = pl.concat(forecast(histories, models))
    assert dict(found.schema) == FORECASTS_SCHEMA
    assert found.group_by("cut", "horizon_days").len().sort("horizon_days")["len"].to_list() == (
        [400] * (1 + len(HORIZONS))
    )
    assert found.null_count().sum_horizontal().item() == 0
    assert (found["purchases_low"] <= found["purchases_high"]).all()
    assert (found["amount_low"] <= found["amount_high"]).all()
    shuffled = [table.sample(fraction=1, shuffle=True, seed=1) for table in (statistics, histories)]
    again = fit_models(*shuffled, NO_SEASON)
    assert again.equals(models)
    assert pl.concat(forecast(shuffled[1], again)).equals(found)


@pytest.mark.parametrize(
    ("n", "columns", "status", "spend_status"),
    [
        (1, {}, "abstained: 1 customers", "abstained: 1 customers"),
        (300, {"n_repeats": 0, "last_days": 0}, "abstained: 300 customers, 0 of them", "fitted"),
        (300, {"mean_amount": 5.0}, "fitted", "abstained: all customers spend the same"),
        (300, {"mean_amount": None}, "fitted", "abstained: 0 customers with a known amount"),
        (300, {"mean_amount": 0.0}, "fitted", "abstained: 0 customers with a known amount"),
    ],
)
def test_too_little_is_said_and_forecast_as_nothing(n, columns, status, spend_status):
    literals = {
        name: pl.lit(value, pl.Float64 if name == "mean_amount" else pl.Int64)
        for name, value in columns.items()
    }
    statistics, histories = shop_of(n, **literals)
    models = fit_models(statistics, histories, NO_SEASON)
    plain = models.filter(pl.col("model_name") == "bg_nbd")
    assert plain["status"].str.starts_with(status).all()
    assert plain["spend_status"].str.starts_with(spend_status).all()
    found = pl.concat(forecast(histories, models))
    assert found.height == (0 if status.startswith("abstained") else (1 + len(HORIZONS)) * n)
    if spend_status.startswith("abstained"):
        assert found["expected_amount"].null_count() == found.height


def test_intervals_end_where_what_came_was_next_to_impossible():
    statistics, histories = shop_of(300, n_later_purchases=pl.lit(80), later_amount=pl.lit(1e9))
    models = fit_models(statistics, histories, NO_SEASON)
    assert models.filter("is_chosen")["amount_tail"].to_list() == [LEAST_TAIL] * 2
    found = pl.concat(forecast(histories, models))
    assert found["purchases_high"].max() < 2_000
    assert found["amount_high"].max() < 1e7


def test_a_shop_without_customers_has_no_models():
    statistics, histories = (table.clear() for table in shop_of(5))
    models = fit_models(statistics, histories, NO_SEASON)
    assert (models.height, dict(models.schema)) == (0, MODELS_SCHEMA)
    assert pl.concat(forecast(histories, models)).height == 0


@pytest.mark.parametrize(("shop", "n", "status"), [("empty", 0, None), ("one", 1, "abstained: 1")])
def test_tiny_shops_have_typed_marts(tiny_shop, shop, n, status):
    built = tiny_shop(shop)
    rows = built.query("select status, expected_amount_365d from marts.customer_lifetime_value")
    assert len(rows) == n
    assert all(said.startswith(status) and amount is None for said, amount in rows)
    assert built.query("select count(*) from marts.lifetime_value_calibration") == [(0,)]


@pytest.mark.parametrize("shop", ["demo", "online_retail", "complete_journey"])
def test_histories_are_as_counted_in_polars(shop, demo, real_shop):
    built = demo if shop == "demo" else real_shop(shop)
    with duckdb.connect(str(built.warehouse), read_only=True) as connection:
        orders, refunds, found = (
            connection.sql(f"from {table}").pl()
            for table in ("marts.orders", "marts.refunds", "intermediate.purchase_histories")
        )
        ((today, zone),) = connection.execute(
            "select as_of_on, (select value from marts.settings where name = 'timezone') "
            "from intermediate.clock"
        ).fetchall()
    orders = orders.filter(pl.col("customer_id").is_not_null() & ~pl.col("is_cancelled"))
    refunds = refunds.filter(pl.col("customer_id").is_not_null() & ~pl.col("is_order_cancelled"))
    expected = {}
    for cut, cut_on in (("today", today), ("holdout", today - timedelta(days=90))):
        midnight = datetime.combine(cut_on + timedelta(days=1), time(), ZoneInfo(zone))
        cut_at = midnight.astimezone(UTC).replace(tzinfo=None)
        days: dict[str, dict[date, float]] = defaultdict(lambda: defaultdict(float))
        later = defaultdict(lambda: defaultdict(float))
        for row in orders.iter_rows(named=True):
            if row["ordered_on"] > cut_on:
                later[row["customer_id"]][row["ordered_on"]] += float(row["net_amount"])
            elif row["known_at"] < cut_at:
                days[row["customer_id"]][row["ordered_on"]] += float(row["net_amount"])
        back, later_back = defaultdict(float), defaultdict(float)
        for row in refunds.iter_rows(named=True):
            if row["refunded_on"] > cut_on:
                later_back[row["customer_id"]] += float(row["amount"])
            elif row["known_at"] < cut_at:
                back[row["customer_id"]] += float(row["amount"])
        for customer, amounts in days.items():
            mean = max(0.0, (sum(amounts.values()) - back[customer]) / len(amounts))
            came = sum(later[customer].values()) - later_back[customer]
            expected[cut, customer] = (
                len(amounts) - 1,
                (max(amounts) - min(amounts)).days,
                (cut_on - min(amounts)).days,
                pytest.approx(mean, abs=1e-6),
                len(later[customer]) if cut == "holdout" else None,
                pytest.approx(came, abs=0.005) if cut == "holdout" else None,
            )
    rows = {
        (row["cut"], row["customer_id"]): (
            row["n_repeats"],
            row["last_days"],
            row["age_days"],
            row["mean_amount"],
            row["n_later_purchases"],
            None if row["later_amount"] is None else float(row["later_amount"]),
        )
        for row in found.iter_rows(named=True)
    }
    assert rows.keys() == expected.keys()
    assert [key for key, row in rows.items() if row != expected[key]] == []
    assert len(rows) > 2000
