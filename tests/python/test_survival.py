"""Survival curves against a published trial, dressed up as a shop."""

from __future__ import annotations

import datetime as dt

import pytest
from conftest import ITEMS, ONLY_MODELS, Build, build, green, write_shop

# Weeks of remission of 42 patients (E. J. Freireich et al., Blood 21, 1963), and whether it ended.
SIX_MP = [
    *[(6, True)] * 3, (6, False), (7, True), (9, False), (10, True), (10, False), (11, False),
    (13, True), (16, True), (17, False), (19, False), (20, False), (22, True), (23, True),
    (25, False), (32, False), (32, False), (34, False), (35, False),
]  # fmt: skip
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
AS_OF = dt.datetime(2024, 6, 30, 12)


@pytest.fixture(scope="module")
def trial(tmp_path_factory) -> Build:
    """A customer for each patient: a second order for a relapse, and none so far for the others."""
    patients = [("6-MP", *patient) for patient in SIX_MP]
    patients += [("placebo", weeks, True) for weeks in PLACEBO]
    orders, items, customers = [], [], []

    def order(customer: int, n: int, ordered_at: dt.datetime) -> None:
        orders.append(f"o{customer}-{n},c{customer},{ordered_at},paid\n")
        items.append(f"o{customer}-{n},1,p1,1,1.00\n")

    for number, (arm, n_days, relapsed) in enumerate(patients):
        began_at = AS_OF - dt.timedelta(days=40 if relapsed else n_days)
        order(number, 1, began_at)
        if relapsed:
            order(number, 2, began_at + dt.timedelta(days=n_days))
        customers.append(f"c{number},{arm}\n")
    folder = tmp_path_factory.mktemp("trial")
    raw = write_shop(
        folder / "raw",
        orders="order_id,customer_id,ordered_at,status\n" + "".join(orders),
        order_items=ITEMS + "".join(items),
        customers="customer_id,country\n" + "".join(customers),
    )
    settings = f"{{as_of: '{AS_OF}'}}"
    only = {"select": "+survival_summaries", "exclude": ONLY_MODELS}
    return green(build(folder / "trial.duckdb", raw=raw, settings=settings, **only))


def test_the_published_curve(trial):
    """Kaplan-Meier of 6-MP, and Greenwood's standard errors, as textbooks print them."""
    found = trial.query(
        "select n_days, survival, survival_low, survival_high from marts.survival_curves "
        "where curve = 'order_2' and segment = '6-MP' and n_events > 0 order by all"
    )
    assert [(day, round(s, 4)) for day, s, _, _ in found] == [
        (6, 0.8571), (7, 0.8067), (10, 0.7529), (13, 0.6902), (16, 0.6275), (22, 0.5378),
        (23, 0.4482),
    ]  # fmt: skip
    # On the scale of log(-log S), as R's survfit(conf.type = "log-log") has it.
    assert [round(x, 3) for x in found[0][2:]] == [0.620, 0.952]
    assert [round(x, 3) for x in found[-1][2:]] == [0.188, 0.680]


def test_the_published_medians_and_log_rank_test(trial):
    found = {
        segment: figures
        for segment, *figures in trial.query(
            "select segment, n_customers, n_events, median_days, n_expected_events, log_rank, "
            "p_value from marts.survival_summaries "
            "where curve = 'order_2' and segment_type = 'country'"
        )
    }
    for segment, n_events, median, expected in [("6-MP", 9, 23, 19.25), ("placebo", 21, 8, 10.75)]:
        n_customers, events, median_days, n_expected, log_rank, p_value = found[segment]
        assert (n_customers, events, median_days) == (21, n_events, median)
        assert round(n_expected, 2) == expected
        assert round(log_rank, 2) == 16.79
        assert p_value == pytest.approx(4.17e-5, rel=0.01)
