"""The figures of the two real shops, counted independently and published with the examples."""

from __future__ import annotations

import datetime as dt

import pytest

pytestmark = pytest.mark.slow


def test_online_retail_orders(real_shop):
    shop = real_shop("online_retail")
    figures = shop.query(
        """
        select count(*), count(customer_id), count(distinct customer_id),
            sum(gross_amount + shipping_amount)
        from marts.orders where not is_cancelled
        """
    )
    assert figures[0][:3] == (14_860, 13_674, 3_721)
    assert float(figures[0][3]) == 7_668_744.23


def test_online_retail_keeps_every_line(real_shop):
    shop = real_shop("online_retail")
    lines = dict(shop.query("select kind, count(*) from raw.online_retail_lines group by 1"))
    assert sum(lines.values()) == 386_807
    # Lines of goods that were sold, and the lines of postage that became amounts of orders.
    sold = shop.query(
        """
        select (select count(*) from marts.order_items inner join raw.online_retail_lines as lines
                on order_id = invoice and order_items.line_number = lines.line_number
                where is_sold and not is_cancelled),
            (select count(*) from (select distinct * from raw.online_retail_lines)
                where kind = 'shipping' and is_sold)
        """
    )
    distinct = shop.query(
        "select count(*), (select count(*) from raw.online_retail_lines) - count(*) "
        "from (select distinct * from raw.online_retail_lines)"
    )
    assert distinct == [(386_807 - 3_092, 3_092)]
    goods, postage = sold[0]
    duplicates_of_goods = shop.query(
        """
        select count(*) - count(distinct (invoice, line_number)) from raw.online_retail_lines
        where kind = 'sale' and is_sold
        """
    )[0][0]
    assert goods - duplicates_of_goods + postage == 374_644


def test_online_retail_cohorts(real_shop):
    shop = real_shop("online_retail")
    cohorts = dict(
        shop.query(
            """
            select cohort_start_on, list(n_active_customers_to_date order by period_number)
            from marts.cohort_retention where grain = 'month' and segment_type = 'all' group by 1
            """
        )
    )
    assert cohorts[dt.date(2010, 12, 1)] == [885, 324, 286, 340, 321, 352, 321, 309, 313, 350, 123]
    assert cohorts[dt.date(2011, 1, 1)] == [417, 92, 111, 96, 134, 120, 103, 101, 125, 51]
    assert cohorts[dt.date(2011, 2, 1)] == [380, 71, 71, 108, 103, 94, 96, 106, 20]
    assert cohorts[dt.date(2011, 9, 1)] == [299, 18]
    # October had nine days: every cohort's last cell is immature and shows no rate.
    assert shop.query(
        """
        select bool_and((period_start_on = date '2011-10-01') = (retention_rate is null))
        from marts.cohort_retention where grain = 'month'
        """
    ) == [(True,)]


def test_complete_journey(real_shop):
    shop = real_shop("complete_journey")
    assert shop.query("select count(*), count(distinct customer_id) from marts.orders") == [
        (155_848, 2_469)
    ]
    assert shop.query(
        "select table_name, reason, count(*) from staging.quarantine group by all"
    ) == [("order_items", "impossible value", 8_869)]
    assert float(shop.query("select sum(net_amount) from marts.order_items")[0][0]) == 4_596_027.06
    assert shop.query(
        "select count(*) from marts.order_items inner join marts.products using (product_id) "
        "where not is_in_catalogue"
    )[0][0] > 0  # fmt: skip
