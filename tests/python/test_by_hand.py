"""A shop of eight people, small enough to be counted on paper, at the edges where numbers go wrong.

It lies in New York and its weeks begin on Sunday. It is built twice: on Sunday the 10th of
November 2024 at midnight, and, with what came in late, on the 1st of January 2025 at midnight.
Whatever a sentence below says was counted by hand.
"""

from __future__ import annotations

from datetime import date

import pytest
from conftest import ONLY_MODELS, Build, build, green, write_shop

# In UTC; New York is five hours behind, four from the 10th of March to the 3rd of November.
ORDERS = """\
order_id,customer_id,ordered_at,status,ingested_at
a1,ann,2024-02-01T04:30:00,completed,2024-02-01T04:31:00
a3,ann,2024-03-01T05:00:00,completed,2024-03-01T05:01:00
b1,bea,2024-03-09T17:00:00,completed,2024-03-09T17:01:00
b2,bea,2024-03-10T16:30:00,completed,2024-03-10T16:31:00
b3,bea,2024-03-10T17:00:00,completed,2024-03-10T17:01:00
c1,cal,2024-11-02T16:00:00,completed,2024-11-02T16:01:00
c2,cal,2024-11-03T16:30:00,completed,2024-11-03T16:31:00
d1,dee,2024-01-10T17:00:00,completed,2024-01-10T17:01:00
d2,dee,2024-02-10T17:00:00,completed,2024-02-10T17:01:00
f1,fay,2024-01-05T17:00:00,cancelled,2024-01-05T17:01:00
f2,fay,2024-02-03T17:00:00,completed,2024-02-03T17:01:00
n1,,2024-01-20T17:00:00,completed,2024-01-20T17:01:00
"""
# Ann's order of the last second of February came in nine months late.
LATE_ORDERS = """\
a2,ann,2024-03-01T04:59:59,completed,2024-12-01T05:00:00
e1,eve,2024-11-20T18:00:00,completed,2024-11-20T18:01:00
g1,gil,2025-01-01T05:00:00,completed,2025-01-01T05:00:00
g2,gil,2025-01-01T05:00:01,completed,2025-01-01T05:00:01
"""
ITEMS = """\
order_id,line_number,product_id,quantity,unit_price
a1,1,tea,1,100
a3,1,tea,1,30
b1,1,tea,1,10
b2,1,tea,1,10
b3,1,tea,1,10
c1,1,tea,1,10
c2,1,tea,1,10
d1,1,tea,1,60
d2,1,tea,1,40
f1,1,tea,1,70
f2,1,tea,1,20
n1,1,tea,1,15
"""
LATE_ITEMS = """\
a2,1,tea,1,50
e1,1,tea,1,10
g1,1,tea,1,5
g2,1,tea,1,5
"""
# All of d2 went back in March, which was heard of in December. The refund of nothing makes the
# feed an old one: what comes with the first load of a table counts as known all along.
REFUNDS = """\
refund_id,refunded_at,amount,order_id,ingested_at
r0,2024-03-12T17:00:00,0,b1,2024-03-12T17:01:00
"""
LATE_REFUNDS = "r1,2024-03-05T17:00:00,40,d2,2024-12-02T05:00:00\n"
# Somebody on device x a second before, and right at, midnight of the first Saturday.
EVENTS = """\
event_id,occurred_at,event_type,customer_id,anonymous_id,ingested_at
1,2024-01-03T17:00:00,page_view,hal,y,2024-01-03T17:01:00
2,2024-01-07T04:59:59,page_view,,x,2024-01-07T05:01:00
3,2024-01-07T05:00:00,page_view,,x,2024-01-07T05:01:00
"""
# Eve logs in on it ten months later.
LATE_EVENTS = """\
4,2024-11-20T17:00:00,login,eve,x,2024-11-20T17:01:00
5,2024-11-20T17:10:00,product_view,,x,2024-11-20T17:11:00
6,2024-11-20T17:20:00,add_to_cart,,x,2024-11-20T17:21:00
7,2024-11-20T17:30:00,checkout,,x,2024-11-20T17:31:00
8,2024-11-20T19:00:00,email_open,eve,,2024-11-20T19:01:00
"""
CUSTOMERS = """\
customer_id,country,acquisition_channel
ann,US,ads
bea,CA,ads
cal,US,word
dee,US,ads
eve,CA,word
fay,US,word
gil,US,word
hal,US,word
"""

NEW_YORK = "timezone: America/New_York, week_start: sunday, currency: USD"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("by_hand")
    first = {
        "orders": ORDERS,
        "order_items": ITEMS,
        "refunds": REFUNDS,
        "events": EVENTS,
        "customers": CUSTOMERS,
    }
    late = {
        "orders": LATE_ORDERS,
        "order_items": LATE_ITEMS,
        "refunds": LATE_REFUNDS,
        "events": LATE_EVENTS,
    }
    # The second one has all tests of the data, too.
    for tables, as_of, exclude in [
        (first, "2024-11-10 05:00:00", ONLY_MODELS),
        (
            {name: text + late.get(name, "") for name, text in first.items()},
            "2025-01-01 05:00:00",
            "resource_type:unit_test",
        ),
    ]:
        built = green(
            build(
                folder / "by_hand.duckdb",
                raw=write_shop(folder / "raw", **tables),
                settings=f"{{{NEW_YORK}, as_of: '{as_of}'}}",
                exclude=exclude,
            )
        )
    return built


def kept(definition: str, cohort: str, *periods: int) -> str:
    """Numerator and denominator of some cells of one cohort."""
    return f"""
        select period_number, retention_numerator, retention_denominator
        from marts.retention
        where
            definition = '{definition}'
            and cohort_start_on = '{cohort}'
            and segment_type = 'all'
            and period_number in {(*periods, -1)}
        order by period_number
    """


def lives(activity: str, grain: str, *starts: str) -> str:
    return f"""
        select n_active_customers, n_new, n_retained, n_resurrected, n_churned, n_dormant
        from marts.growth_accounting
        where
            activity = '{activity}'
            and grain = '{grain}'
            and segment_type = 'all'
            and period_start_on in {(*map(str, starts), "1900-01-01")}
        order by period_start_on
    """


BY_HAND: dict[str, tuple[str, list[tuple]]] = {
    # Exact, calendar.
    "the guest and the cancelled order found no cohort": (
        """
        select cohort_start_on, n_customers from marts.retention
        where definition = 'order_months' and segment_type = 'all' and period_number = 0
        order by 1
        """,
        [
            (date(2024, 1, 1), 2),  # dee, and ann at half past eleven on the 31st
            (date(2024, 2, 1), 1),  # fay
            (date(2024, 3, 1), 1),  # bea
            (date(2024, 11, 1), 2),  # cal, eve
            (date(2025, 1, 1), 1),  # gil, on the stroke of as_of
        ],
    ),
    "ann's orders a second apart are of February and of March; dee's stays an order when it went "
    "back; December has passed on the stroke of midnight, January has not": (
        kept("order_months", "2024-01-01", 0, 1, 2, 3, 11, 12),
        [(0, 2, 2), (1, 2, 2), (2, 1, 2), (3, 0, 2), (11, 0, 2), (12, None, None)],
    ),
    "one of two is somewhere between 9 and 91 in a hundred": (
        """
        select round(retention_rate_low, 4), round(retention_rate_high, 4) from marts.retention
        where
            definition = 'order_months' and segment_type = 'all'
            and cohort_start_on = '2024-01-01' and period_number = 2
        """,
        [(0.0945, 0.9055)],
    ),
    "all of January's cohort came by ads": (
        """
        select segment, period_number, retention_numerator, retention_denominator
        from marts.retention
        where
            definition = 'order_months' and segment_type = 'channel'
            and cohort_start_on = '2024-01-01' and period_number in (1, 2)
        order by 1, 2
        """,
        [("ads", 1, 2, 2), ("ads", 2, 1, 2)],
    ),
    "bea's Saturday and Sunday are two weeks": (
        kept("order_weeks", "2024-03-03", 0, 1, 2),
        [(0, 1, 1), (1, 1, 1), (2, 0, 1)],
    ),
    "so are cal's": (kept("order_weeks", "2024-10-27", 0, 1), [(0, 1, 1), (1, 1, 1)]),
    "ann's day 29 is the leap day; fay, whose week is the same, stays away": (
        kept("order_days", "2024-01-28", 28, 29, 30),
        [(28, 0, 2), (29, 1, 2), (30, 1, 2)],
    ),
    "a day of 23 hours is a day": (kept("order_days_of_day", "2024-03-09", 1), [(1, 1, 1)]),
    "and so is one of 25": (kept("order_days_of_day", "2024-11-02", 1), [(1, 1, 1)]),
    # Exact, rolling.
    "23 and a half hours after bea's start are day 0, 24 are day 1": (
        kept("order_rolling_days", "2024-03-03", 0, 1, 2),
        [(0, 1, 1), (1, 1, 1), (2, 0, 1)],
    ),
    "cal's next noon comes after 24 and a half": (
        kept("order_rolling_days", "2024-10-27", 1),
        [(1, 1, 1)],
    ),
    "29 days and 29 minutes after ann's start are day 29, and so is a second later": (
        kept("order_rolling_days", "2024-01-28", 29, 30),
        [(29, 1, 2), (30, 0, 2)],
    ),
    "dee's 31 days are a month of 30, ann's 29 are none": (
        kept("order_rolling_months", "2024-01-01", 0, 1, 2),
        [(0, 2, 2), (1, 1, 2), (2, 0, 2)],
    ),
    # Unbounded.
    "a horizon of twelve months has passed for nobody": (
        kept("order_months_on_or_after", "2024-01-01", 0, 1, 2),
        [(0, None, None), (1, None, None), (2, None, None)],
    ),
    "in March or later is ann alone": (
        kept("order_months_ever_after", "2024-01-01", 0, 1, 2, 3),
        [(0, 2, 2), (1, 2, 2), (2, 1, 2), (3, 0, 2)],
    ),
    "bea's second week is her last": (
        kept("order_weeks_on_or_after", "2024-03-03", 0, 1, 2),
        [(0, 1, 1), (1, 1, 1), (2, 0, 1)],
    ),
    "ann alone is there in week 4 or after, and nobody in week 5": (
        kept("order_weeks_on_or_after", "2024-01-28", 0, 1, 4, 5),
        [(0, 2, 2), (1, 1, 2), (4, 1, 2), (5, 0, 2)],
    ),
    "eve's device comes in two weeks running, hal in one": (
        kept("visit_week_streak", "2023-12-31", 0, 1, 2),
        [(0, 2, 2), (1, 1, 2), (2, 0, 2)],
    ),
    # Brackets: days 1 to 7, 8 to 30, 31 to 60.
    "ann comes back on day 29, dee on day 31": (
        kept("order_brackets", "2024-01-01", 1, 2, 3, 4),
        [(1, 0, 2), (2, 1, 2), (3, 1, 2), (4, 0, 2)],
    ),
    "in hours likewise": (
        kept("order_rolling_brackets", "2024-01-01", 1, 2, 3, 4),
        [(1, 0, 2), (2, 1, 2), (3, 1, 2), (4, 0, 2)],
    ),
    # Streaks and recurring starts.
    "dee's streak ends in March, ann's in April": (
        kept("order_month_streak", "2024-01-01", 0, 1, 2, 3),
        [(0, 2, 2), (1, 2, 2), (2, 1, 2), (3, 0, 2)],
    ),
    "of the three who bought in February one did in March": (
        kept("every_order_month", "2024-02-01", 0, 1, 2),
        [(0, 3, 3), (1, 1, 3), (2, 0, 3)],
    ),
    # Visits, and the login that says whose they were.
    "the visits on device x are eve's since she logged in on it, and lie in two weeks": (
        kept("visit_days", "2023-12-31", 0, 1, 2),
        [(0, 2, 2), (1, 1, 2), (2, 0, 2)],
    ),
    "but not a day of 24 hours apart": (
        kept("visit_rolling_days", "2023-12-31", 0, 1),
        [(0, 2, 2), (1, 0, 2)],
    ),
    "eve has a first visit, but may start anew in every week": (
        kept("every_visit_week", "2024-01-07", 0, 1),
        [(0, 1, 1), (1, 0, 1)],
    ),
    "a visit within the next 26 weeks": (
        kept("visit_weeks_on_or_after", "2024-01-01", 1, 2),
        [(1, 1, 2), (2, 0, 2)],
    ),
    "eve's visits before her order are no return, nor is an e-mail she opened after it": (
        kept("visit_after_order_weeks", "2024-11-01", 0),
        [(0, 0, 2)],
    ),
    "a cart ten months after the first visit is beyond 26 weeks": (
        """
        select max(n_retained_customers_to_date) from marts.retention
        where definition = 'cart_after_visit_weeks'
        """,
        [(0,)],
    ),
    # Growth.
    "nobody is lost in February; in March dee and fay are, and by April all": (
        lives("order", "month", "2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"),
        [(2, 2, 0, 0, 0, 0), (3, 1, 2, 0, 0, 0), (2, 1, 1, 0, 2, 0), (0, 0, 0, 0, 2, 2)],
    ),
    "November has two new ones, December none, January runs": (
        lives("order", "month", "2024-11-01", "2024-12-01", "2025-01-01"),
        [(2, 2, 0, 0, 0, 4), (0, 0, 0, 0, 2, 4), (None, None, None, None, None, None)],
    ),
    "weeks begin on Sunday": (
        lives("order", "week", "2024-03-03", "2024-03-10"),
        [(1, 1, 0, 0, 1, 2), (1, 0, 1, 0, 0, 3)],
    ),
    "eve's visits come to life again": (
        lives("visit", "month", "2024-11-01"),
        [(1, 0, 0, 1, 0, 1)],
    ),
    "revenue adds up when all that dee brought is given back": (
        """
        select
            revenue_amount, previous_revenue_amount, new_amount, resurrected_amount,
            expansion_amount, contraction_amount, churned_amount, refund_only_amount,
            previous_refund_only_amount, guest_revenue_amount
        from marts.revenue_growth
        where
            grain = 'month' and segment_type = 'all'
            and period_start_on between '2024-01-01' and '2024-04-30'
        order by period_start_on
        """,
        [
            (160, 0, 160, 0, 0, 0, 0, 0, 0, 15),
            (110, 160, 20, 0, 0, 50 + 20, 0, 0, 0, 0),
            (30 + 30 - 40, 110, 30, 0, 0, 20, 40 + 20, -40, 0, 0),
            (0, 20, 0, 0, 0, 0, 30 + 30, 0, -40, 0),
        ],
    ),
    "ann bought on one day of March, bea on two": (
        """
        select n_days, n_active_customers, n_exactly, n_at_least from marts.stickiness
        where
            activity = 'order' and window_kind = 'calendar_month'
            and window_start_on = '2024-03-01' and n_days <= 3
        order by n_days
        """,
        [(1, 2, 1, 2), (2, 2, 1, 1), (3, 2, 0, 0)],
    ),
    "of four weeks to the 10th of March ann and bea are the month, bea is the week": (
        """
        select n_daily, n_rolling_7, n_rolling_28, n_calendar_week from marts.active_customers
        where activity = 'order' and day_on = '2024-03-10'
        """,
        [(1, 1, 2, 1)],
    ),
    # Survival and rhythms.
    "bea and cal come back on day 1, ann on day 29, dee on day 31; gil, eve and fay still may": (
        """
        select n_days, n_at_risk, n_events, n_censored, round(survival, 4)
        from marts.survival_curves
        where curve = 'order_2' and segment_type = 'all'
        order by n_days
        """,
        [
            (0, 7, 0, 1, 1.0),
            (1, 6, 2, 0, 0.6667),
            (29, 4, 1, 0, 0.5),
            (31, 3, 1, 0, 0.3333),
            (42, 2, 0, 1, 0.3333),
            (333, 1, 0, 1, 0.3333),
        ],
    ),
    "half of them are back by day 29": (
        """
        select n_customers, n_events, median_days from marts.survival_summaries
        where curve = 'order_2' and segment_type = 'all'
        """,
        [(7, 4, 29)],
    ),
    "two orders of one day are one; ann's intervals are of 29 days and of 1": (
        """
        select customer_id, n_intervals, round(own_median_days, 3), n_days_since_order
        from marts.customer_rhythms
        order by 1
        """,
        [
            ("ann", 2, 15.0, 306),
            ("bea", 1, 1.0, 297),
            ("cal", 1, 1.0, 59),
            ("dee", 1, 31.0, 326),
            ("eve", 0, None, 42),
            ("fay", 0, None, 333),
            ("gil", 0, None, 0),
        ],
    ),
    # Money.
    "January's cohort gives 40 back in March, in which ann brings 30": (
        """
        select
            period_number, n_orders, revenue_amount, cumulative_revenue_amount,
            cumulative_revenue_per_customer, repeat_numerator, repeat_denominator
        from marts.cohort_revenue
        where
            grain = 'month' and segment_type = 'all' and cohort_start_on = '2024-01-01'
            and period_number in (0, 1, 2, 12)
        order by 1
        """,
        [
            (0, 2, 160, 160, 80.0, 0, 2),
            (1, 2, 90, 250, 125.0, 2, 2),
            (2, 1, -10, 240, 120.0, 2, 2),
            (12, None, None, None, None, None, None),
        ],
    ),
    "of February's 110 March keeps 30 of ann's 50, and loses fay's 20 and twice dee's 40": (
        """
        select
            n_customers, base_amount, after_amount, kept_amount,
            retention_numerator, retention_denominator
        from marts.revenue_retention
        where window_months = 1 and segment_type = 'all' and base_start_on = '2024-02-01'
        """,
        [(3, 110, 30 - 40, 30, 1, 3)],
    ),
    "what moved revenue from February to March adds up, the refund is one of the causes": (
        """
        select sum(effect), sum(effect) filter (where cause = 'refunds')
        from marts.retention_change
        where
            kpi = 'revenue' and compared_with = 'month before' and segment_type = 'all'
            and period_start_on = '2024-03-01'
        """,
        [(20 - 110, -40)],
    ),
    # Funnels and paths.
    "who comes back for a second and a third order": (
        """
        select
            period_start_on, step, n_entered, n_reached,
            round(median_hours_from_entry, 3), round(p90_hours_from_previous, 3)
        from marts.funnels
        where
            funnel = 'coming_back' and grain = 'month' and segment_type = 'all'
            and period_start_on in ('2024-01-01', '2024-02-01')
        order by 1, 2
        """,
        [
            (date(2024, 1, 1), 1, 2, 2, None, None),
            # ann after 696 h 29 min 59 s, dee after 744 h; nine of ten: 696.5 + 0.9 x 47.5
            (date(2024, 1, 1), 2, 2, 2, 720.25, 739.25),
            (date(2024, 1, 1), 3, 2, 1, 696.5, 0.0),
            (date(2024, 2, 1), 1, 3, 3, None, None),
            (date(2024, 2, 1), 2, 3, 1, 0.0, 0.0),
            (date(2024, 2, 1), 3, 3, 0, None, None),
        ],
    ),
    "eve goes all the way": (
        """
        select step, n_entered, n_reached, round(median_hours_from_entry, 3) from marts.funnels
        where funnel = 'buying' and grain = 'month' and segment_type = 'all' and n_entered > 0
        order by 1
        """,
        [(1, 1, 1, None), (2, 1, 1, 0.167), (3, 1, 1, 0.333), (4, 1, 1, 0.833)],
    ),
    "her last steps": (
        """
        select path, n_paths, n_all_paths from marts.paths
        where path_end = 'purchase' and n_steps = 3
        """,
        [("product_view > add_to_cart > checkout", 1, 1)],
    ),
    # What other tools say.
    "a second after midnight is the next day in Perennial, and day 0 where 24 hours count": (
        """
        select rule_set, n_retained_customers_to_date from marts.retention_parity
        where
            rule_set in ('perennial', 'amplitude_on', 'mixpanel_on') and activity = 'visit'
            and period_grain = 'day' and cohort_start_on = '2024-01-06' and period_number = 1
        order by 1
        """,
        [("amplitude_on", 0), ("mixpanel_on", 0), ("perennial", 1)],
    ),
    "24 hours to the second are day 1 with all of them": (
        """
        select rule_set, n_retained_customers_to_date from marts.retention_parity
        where
            rule_set in ('perennial', 'amplitude_on', 'mixpanel_on') and activity = 'order'
            and period_grain = 'day' and cohort_start_on = '2024-03-09' and period_number = 1
        order by 1
        """,
        [("amplitude_on", 1), ("mixpanel_on", 1), ("perennial", 1)],
    ),
    # What was shown before.
    "every figure that moved says why": (
        """
        select metric, cohort_start_on, period_number, revision_number, numerator, cause
        from marts.retention_revisions
        where
            segment_type = 'all'
            and (metric, cohort_start_on, period_number) in (
                ('order_months', date '2024-01-01', 1),
                ('cohort_revenue_months', date '2024-01-01', 2),
                ('visit_days', date '2023-12-31', 1)
            )
        order by metric, revision_number
        """,
        [
            ("cohort_revenue_months", date(2024, 1, 1), 2, 1, 30.0, "first mature"),
            ("cohort_revenue_months", date(2024, 1, 1), 2, 2, -10.0, "late order, late refund"),
            ("order_months", date(2024, 1, 1), 1, 1, 1.0, "first mature"),
            ("order_months", date(2024, 1, 1), 1, 2, 2.0, "late order"),
            ("visit_days", date(2023, 12, 31), 1, 1, 0.0, "first mature"),
            ("visit_days", date(2023, 12, 31), 1, 2, 1.0, "identity link"),
        ],
    ),
}


@pytest.mark.parametrize("sentence", BY_HAND)
def test_counted_by_hand(sentence: str, shop: Build):
    query, expected = BY_HAND[sentence]
    assert shop.query(query) == expected
