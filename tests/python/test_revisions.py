"""A figure once shown is not changed silently: what builds write into retention_revisions."""

from __future__ import annotations

from conftest import build, green, write_shop

ONLY = {"select": "+retention_revisions", "exclude": "resource_type:test resource_type:unit_test"}
LAST = """
    select metric, cohort_start_on, period_number, cause, numerator
    from marts.retention_revisions
    where segment_type = 'all' and revision_number = ? and cause not in ('first mature')
    order by all
"""


class Files:
    """A shop of csv files whose rows come in on the day of which they tell, or later."""

    def __init__(self) -> None:
        self.tables = {
            "orders": ["order_id,customer_id,ordered_at,status,ingested_at"],
            "order_items": ["order_id,line_number,product_id,quantity,unit_price,ingested_at"],
            "refunds": ["refund_id,order_id,customer_id,refunded_at,amount,ingested_at"],
            "events": ["event_id,occurred_at,event_type,customer_id,anonymous_id,ingested_at"],
        }

    def order(self, name: str, customer: str, on: str, status="paid", known: str = "") -> None:
        self.tables["orders"].append(
            f"{name},{customer},{on} 12:00:00,{status},{known or on} 12:00:00"
        )
        self.tables["order_items"].append(f"{name},1,p,1,10,{known or on} 12:00:00")

    def refund(self, name: str, order: str, customer: str, on: str, known: str) -> None:
        self.tables["refunds"].append(f"{name},{order},{customer},{on} 12:00:00,4,{known} 12:00:00")

    def visit(self, name: str, on: str, customer: str, device: str, kind="page_view") -> None:
        self.tables["events"].append(
            f"{name},{on} 12:00:00,{kind},{customer},{device},{on} 12:00:00"
        )

    def write(self, folder):
        return write_shop(
            folder, **{name: "\n".join(rows) + "\n" for name, rows in self.tables.items()}
        )


def test_every_change_of_a_figure_has_its_cause(tmp_path):
    shop = Files()
    shop.order("o1", "jan", "2024-01-05")
    shop.order("o2", "feb", "2024-02-05")
    shop.order("o3", "mar", "2024-03-05")
    shop.order("o4", "apr", "2024-04-05")
    shop.order("o5", "apr", "2024-05-05")
    shop.visit("e1", "2024-01-05", "visitor", "phone", "login")
    shop.visit("e2", "2024-02-02", "", "tablet")
    # Somebody of May keeps the shop open until the first figures are mature.
    shop.order("o6", "may", "2024-06-30")
    # What a table's first load holds is never late.
    shop.refund("r0", "o6", "may", "2024-06-30", known="2024-06-30")
    raw, warehouse = shop.write(tmp_path / "raw"), tmp_path / "shop.duckdb"
    first = green(build(warehouse, raw=raw, **ONLY))
    n_first = first.query("select count(*) from marts.retention_revisions")[0][0]
    assert n_first > 500
    assert first.query("select distinct cause, revision_number from marts.retention_revisions") == [
        ("first mature", 1)
    ]

    # The same data once more: nothing is written.
    assert green(build(warehouse, raw=raw, **ONLY)).query(
        "select count(*) from marts.retention_revisions"
    ) == [(n_first,)]

    shop.order("o7", "jan", "2024-02-10", known="2024-07-02")
    shop.refund("r1", "o2", "feb", "2024-03-20", known="2024-07-02")
    shop.order("o5", "apr", "2024-05-05", status="cancelled", known="2024-07-02")
    shop.visit("e3", "2024-07-02", "visitor", "tablet", "login")
    shop.write(raw)
    second = green(build(warehouse, raw=raw, **ONLY))
    changed = second.query(LAST.replace("?", "2"))
    causes = {}
    for metric, cohort, period, cause, _ in changed:
        if not metric.startswith("every_"):
            causes.setdefault((str(cohort)[:7], cause), set()).add((metric, period))
    # o7 is of January and in February, the refund of February and in March, o5 of April and in May.
    assert ("order_months", 1) in causes["2024-01", "late order"]
    assert ("order_month_streak", 1) in causes["2024-01", "late order"]
    assert ("cohort_revenue_months", 1) in causes["2024-01", "late order"]
    assert causes["2024-02", "late refund"] == {("cohort_revenue_months", 1)}
    assert ("order_months", 1) in causes["2024-04", "correction"]
    assert ("visit_days", 28) in causes["2024-01", "identity link"]
    # Nothing else moved, and what moved says why.
    assert {cohort for cohort, _ in causes} == {"2024-01", "2024-02", "2024-04"}
    assert not any("order" in metric for metric, _ in causes["2024-01", "identity link"])
    # The figures as they are, and as they were.
    assert second.query(
        "select revision_number, numerator, denominator from marts.retention_revisions"
        " where metric = 'order_months' and segment_type = 'all' and period_number = 1"
        " and cohort_start_on = '2024-01-01' order by 1"
    ) == [(1, 0, 1), (2, 1, 1)]

    # Another week start is another definition of every figure.
    third = green(
        build(warehouse, raw=raw, settings="{week_start: sunday}", full_refresh=True, **ONLY)
    )
    assert third.query(
        "select distinct cause from marts.retention_revisions where metric = 'order_months'"
        " and segment_type = 'all' and revision_number = (select max(r.revision_number)"
        " from marts.retention_revisions as r where r.metric = 'order_months'"
        " and r.segment_type = 'all' and r.cohort_start_on = retention_revisions.cohort_start_on"
        " and r.period_number = retention_revisions.period_number)"
    ) == [("definition",)]
    n_third = third.query("select count(*) from marts.retention_revisions")

    # A build of an earlier day writes no history.
    fourth = green(
        build(warehouse, raw=raw, settings="{as_of: 2024-05-01, week_start: sunday}", **ONLY)
    )
    assert fourth.query("select count(*) from marts.retention_revisions") == n_third
