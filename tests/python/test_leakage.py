"""Nothing of the future may reach a feature; and if it did, a test would say so."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import duckdb
from conftest import PROJECT, build, green

PAST = "select * from intermediate.churn_features where snapshot_on < '2024-06-01' order by all"


def append(folder: Path, table: str, rows: list[dict]) -> None:
    file = folder / f"{table}.csv"
    with file.open(newline="", encoding="utf-8") as lines:
        header = next(csv.reader(lines))
    with file.open("a", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, header, lineterminator="\n")
        writer.writerows(rows)


def test_later_rows_move_no_feature_of_an_earlier_snapshot(small_shop, small_build, tmp_path):
    """Plant orders, refunds, events and reviews that happen, or become known, after the snapshots.

    They lie beyond the label's window too, so that labels stay as well; the late-known ones
    are of a customer without a label before.
    """
    folder = tmp_path / "later"
    shutil.copytree(small_shop, folder)
    last = small_build.query("select cast(max(as_of) as varchar) from intermediate.clock")[0][0]
    buyers = small_build.query(
        "select customer_id, order_id, currency from marts.orders where is_first_order "
        "and ordered_on < '2024-03-01' order by order_id limit 40"
    )
    orders, items, refunds, events, reviews = [], [], [], [], []
    for n, (customer, order, currency) in enumerate(buyers):
        late = {"currency": currency, "status": "completed", "ingested_at": "2024-12-15 00:00:00"}
        # An order long after the last of the snapshots compared, and its window.
        orders.append(
            {
                "order_id": f"x{n}",
                "customer_id": customer,
                **late,
                "ordered_at": "2024-12-01 12:00:00",
            }
        )
        items.append(
            {
                "order_id": f"x{n}",
                "line_number": 1,
                "product_id": "p0001",
                "quantity": 3,
                "unit_price": 500,
                "ingested_at": "2024-12-15 00:00:00",
            }
        )
        # A refund of an old order that is known only now.
        refunds.append(
            {
                "refund_id": f"x{n}",
                "refunded_at": "2024-02-20 00:00:00",
                "amount": 1,
                "order_id": order,
                "ingested_at": "2024-12-15 00:00:00",
            }
        )
        # Old visits, searches, e-mails and reviews that are known only now, and a login that
        # links an old device now.
        for kind in ("page_view", "search", "add_to_cart", "email_sent", "email_open"):
            events.append(
                {
                    "event_id": f"x{n}{kind}",
                    "occurred_at": "2024-02-20 00:00:00",
                    "event_type": kind,
                    "customer_id": customer,
                    "device": "mobile",
                    "ingested_at": "2024-12-15 00:00:00",
                }
            )
        reviews.append(
            {
                "review_id": f"x{n}",
                "product_id": "p1",
                "reviewed_at": "2024-02-20 00:00:00",
                "rating": 1,
                "customer_id": customer,
                "ingested_at": "2024-12-15 00:00:00",
            }
        )
    strangers = small_build.query(
        "select distinct anonymous_id from marts.events where customer_id is null "
        "and occurred_on < '2024-05-01' order by all limit 40"
    )
    for n, (device,) in enumerate(strangers):
        events.append(
            {
                "event_id": f"y{n}",
                "occurred_at": "2024-12-20 00:00:00",
                "event_type": "login",
                "customer_id": buyers[n % len(buyers)][0],
                "anonymous_id": device,
                "ingested_at": "2024-12-20 00:00:01",
            }
        )
    assert buyers and strangers
    for table, rows in [
        ("orders", orders),
        ("order_items", items),
        ("refunds", refunds),
        ("events", events),
        ("reviews", reviews),
    ]:
        append(folder, table, rows)
    later = green(
        build(tmp_path / "later.duckdb", raw=folder, settings=f"{{as_of: '{last}'}}",
              select="+churn_features", exclude="resource_type:test resource_type:unit_test")
    )  # fmt: skip
    before, after = small_build.query(PAST), later.query(PAST)
    assert len(before) > 500
    assert after == before


def test_a_planted_leak_makes_tests_fail(demo, tmp_path):
    """Let the features see days beyond the snapshot: the build must not go green."""
    project = tmp_path / "project"
    shutil.copytree(
        PROJECT, project,
        ignore=shutil.ignore_patterns(
            ".git", ".venv", "target", "logs", "warehouse", "report", "__pycache__"),
    )  # fmt: skip
    model = project / "macros" / "churn" / "customer_features.sql"
    text = model.read_text()
    warehouse = Path(shutil.copy(demo.warehouse, tmp_path / "leaky.duckdb"))
    for reach in (30, 90):
        leaky = text.replace(
            "and orders.known_at <= wanted.snapshot_at\n"
            "                and orders.ordered_at <= wanted.snapshot_at\n",
            f"and orders.ordered_at <= wanted.snapshot_at + interval '{reach}' day\n",
        )
        assert leaky != text
        model.write_text(leaky)
        result = build(
            warehouse, shop="demo", cwd=project,
            select="churn_features churn_features_know_no_future",
        )  # fmt: skip
        assert result.returncode == 1
        assert "FAIL" in result.output and "churn_features_know_no_future" in result.output


def test_a_feature_that_is_the_label_is_too_good(demo):
    """The second net: whatever the way by which the future came in, such an AUC is refused."""
    from perennial.churn import train_models

    with duckdb.connect(str(demo.warehouse), read_only=True) as connection:
        features = connection.sql("from intermediate.churn_features").pl()
        today = connection.sql("from intermediate.churn_features_today").pl()
    leaked = features.with_columns(n_categories=features["is_churned"].cast(float))
    models = train_models(leaked, today)
    with duckdb.connect() as connection:
        connection.register("models", models.to_arrow())
        aucs = connection.execute(
            """
            with p as (
                select model_name, unnest(test_predictions, recursive := true) from models
                where horizon_days = 90 and model_name not in ('recency', 'rfm')
            )
            select model_name, avg(case when a.probability > b.probability then 1
                when a.probability = b.probability then 0.5 else 0 end)
            from p as a inner join p as b using (model_name)
            where a.is_churned and not b.is_churned group by all
            """
        ).fetchall()
    assert len(aucs) == 6 and all(auc > 0.98 for _, auc in aucs)
