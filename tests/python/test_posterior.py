"""The posterior against closed forms, against brute force and against the simulator."""

from datetime import date

import numpy as np
import pytest
from scipy.special import hyp2f1

from perennial import posterior
from perennial.posterior import Histories, Process
from perennial.simulate import write_shop
from perennial.simulate.orders import own_orders
from perennial.simulate.parameters import FLAT, Plan, Season
from perennial.simulate.people import draw_people

UNTIL = date(2025, 1, 1)
RATES = (0.8, 45.0, 0.7, 90.0)


def flat(rates=RATES):
    return Process(UNTIL, FLAT, {"any": rates})


def histories(first, repeats, last):
    first, repeats, last = np.broadcast_arrays(first, repeats, last)
    return Histories(np.full(first.shape, "any"), first, repeats, last)


def p_alive_closed(rates, x, t_x, t):
    """Schmittlein, Morrison and Colombo's P(alive), in Fader and Hardie's form."""
    r, alpha, s, beta = rates
    high, low = max(alpha, beta), min(alpha, beta)
    second = s + 1 if alpha >= beta else r + x

    def f(v):
        z = (high - low) / (high + v)
        return hyp2f1(r + s + x, second, r + s + x + 1, z) / (high + v) ** (r + s + x)

    a0 = f(t_x) - f(t)
    odds = s / (r + s + x) * (alpha + t) ** (r + x) * (beta + t) ** s * a0
    return 1 / (1 + odds)


@pytest.mark.parametrize("rates", [RATES, (1.2, 20.0, 2.0, 15.0), (0.5, 30.0, 0.6, 300.0)])
@pytest.mark.parametrize(
    ("x", "t_x", "t"),
    [(0, 0.0, 1.0), (0, 0.0, 700.0), (1, 100.0, 101.0), (4, 80.0, 300.0), (30, 500.0, 600.0)],
)
def test_p_alive_is_the_closed_form_where_the_season_is_flat(rates, x, t_x, t):
    got = posterior.p_alive(flat(rates), histories([5.0], [x], [5.0 + t_x]), 5.0 + t)
    assert got == pytest.approx(p_alive_closed(rates, x, t_x, t), rel=1e-6)


def test_many_orders_and_a_long_silence_do_not_overflow():
    got = posterior.p_alive(flat(), histories([0.0], [2000], [200.0]), 3000.0)
    assert 0 <= got[0] < 1e-6
    silent = posterior.p_no_order(flat(), histories([0.0], [2000], [200.0]), 3000.0, 90.0)
    assert silent[0] == pytest.approx(1.0)


def test_the_quadrature_agrees_with_a_fine_sum_under_the_season():
    process = Process(UNTIL, Season(), {"any": RATES})
    r, alpha, s, beta = RATES
    first, x, last, snapshot, horizon = 3.0, 5, 250.0, 420.0, 60.0
    v = np.linspace(last, snapshot + horizon, 2_000_001)
    tau = process.tau(v) - process.tau(np.array(first))
    density = s * (beta + v - first) ** -(s + 1) * (alpha + tau) ** -(r + x)
    step = v[1] - v[0]
    middle = (density[1:] + density[:-1]) / 2 * step
    past = v[1:] <= snapshot
    silent = (alpha + tau) ** -(r + x) * (beta + v - first) ** -s
    at = np.searchsorted(v, snapshot)
    exact = (middle.sum() + silent[-1]) / (middle[past].sum() + silent[at])
    got = posterior.p_no_order(process, histories([first], [x], [last]), snapshot, horizon)
    assert got[0] == pytest.approx(exact, abs=2e-5)


def test_no_horizon_means_no_order_and_longer_horizons_mean_fewer_silences():
    some = histories(np.zeros(3), np.array([0, 3, 10]), np.array([0.0, 90.0, 195.0]))
    assert posterior.p_no_order(flat(), some, 200.0, 0.0) == pytest.approx(1.0)
    month, year = (posterior.p_no_order(flat(), some, 200.0, h) for h in (30.0, 365.0))
    assert (year < month).all()
    # With death certain in the end, silence never falls below what has left already.
    assert (year >= 1 - posterior.p_alive(flat(), some, 200.0) - 1e-9).all()


def test_orders_are_summed_up_to_the_snapshot():
    who, known = posterior.summarise(
        np.array(["b", "a", "a", "a"]),
        np.array(["x", "y", "y", "y"]),
        np.array([4.0, 9.0, 1.0, 5.0]),
        6.0,
    )
    assert who.tolist() == ["a", "b"]
    assert known.first.tolist() == [1.0, 4.0]
    assert known.repeats.tolist() == [1, 0]
    assert known.last.tolist() == [5.0, 4.0]
    assert known.channel.tolist() == ["y", "x"]


def test_an_order_after_the_snapshot_is_refused():
    with pytest.raises(ValueError, match="after the snapshot"):
        posterior.p_alive(flat(), histories([0.0], [1], [20.0]), 10.0)


def test_a_shop_tells_its_own_process(tmp_path):
    plan = Plan(20, 1, UNTIL, 2.0)
    write_shop(plan, tmp_path / "shop")
    process = Process.of_file(tmp_path / "shop/truth/parameters.json")
    assert process == Process.of_plan(plan)
    noon = np.datetime64(plan.start) + np.timedelta64(36, "h")
    assert process.days(np.array([noon])).tolist() == [1.5]
    # A year of operational time is about a year: the season only shifts orders.
    assert 350 < process.tau(np.array(365.0)) < 420


@pytest.fixture(scope="module")
def played():
    """Own orders of 60,000 simulated customers, the snapshot half a year before the end."""
    plan = Plan(60_000, 3, UNTIL, 3.0)
    edges = plan.season.operational(plan.start, plan.n_days)
    customers, channels, days, died = [], [], [], []
    for chunk in range(1, plan.n_chunks + 1):
        crowd = draw_people(plan, chunk, edges)
        person, when = own_orders(plan, chunk, crowd, edges)
        customers.append(person + crowd.offset)
        channels.append(np.array([c.name for c in plan.channels])[crowd.channel[person]])
        days.append(when / 86_400)
        died.append(crowd.died / 86_400)
    customer, channel, day, death = map(np.concatenate, (customers, channels, days, died))
    snapshot = plan.n_days - 180.0
    who, known = posterior.summarise(customer, channel, day, snapshot)
    return Process.of_plan(plan), who, known, snapshot, customer, day, death


@pytest.mark.parametrize("horizon", [30.0, 90.0, 180.0])
def test_silence_is_calibrated_in_every_decile(played, horizon):
    process, who, known, snapshot, customer, day, _ = played
    p = posterior.p_no_order(process, known, snapshot, horizon)
    future = (day > snapshot) & (day <= snapshot + horizon)
    silent = ~np.isin(who, customer[future])
    for part in np.array_split(np.argsort(p, kind="stable"), 10):
        error = silent[part].mean() - p[part].mean()
        noise = np.sqrt((p[part] * (1 - p[part])).sum()) / len(part)
        assert abs(error) < 4 * noise + 1e-3


def test_life_and_expected_orders_are_calibrated(played):
    process, who, known, snapshot, customer, day, death = played
    alive = posterior.p_alive(process, known, snapshot)
    orders = posterior.expected_orders(process, known, snapshot, 90.0)
    future = (day > snapshot) & (day <= snapshot + 90.0)
    count = np.bincount(customer[future], minlength=len(death))[who]
    for part in np.array_split(np.argsort(alive, kind="stable"), 10):
        noise = np.sqrt((alive[part] * (1 - alive[part])).sum()) / len(part)
        assert abs((death[who[part]] > snapshot).mean() - alive[part].mean()) < 4 * noise + 1e-3
        spread = count[part].std() / np.sqrt(len(part))
        assert abs(count[part].mean() - orders[part].mean()) < 4 * spread + 1e-3


def test_each_channel_has_its_own_population(played):
    process, who, known, snapshot, customer, day, _ = played
    p = posterior.p_no_order(process, known, snapshot, 90.0)
    future = (day > snapshot) & (day <= snapshot + 90.0)
    silent = ~np.isin(who, customer[future])
    for channel in process.channels:
        own = known.channel == channel
        noise = np.sqrt((p[own] * (1 - p[own])).sum()) / own.sum()
        assert abs(silent[own].mean() - p[own].mean()) < 4 * noise
