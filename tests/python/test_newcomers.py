"""Lists for newcomers, counted again in plain Python from events and orders."""

from collections import Counter, defaultdict
from datetime import timedelta

import duckdb
import pytest

HORIZON, YEAR, LIKE_ALL = 90, 365, 20


@pytest.fixture(scope="module")
def tables(demo):
    with duckdb.connect(str(demo.warehouse), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        ((today, zone),) = connection.execute(
            "select as_of_on, (select value from marts.settings where name = 'timezone') "
            "from intermediate.clock"
        ).fetchall()

        def rows(query):
            relation = connection.sql(query.format(zone=f"'UTC' at time zone '{zone}'"))
            return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]

        yield (
            today,
            newcomers(rows),
            rows("from marts.newcomer_recommendations"),
            {row["segment_type"]: row for row in rows("from marts.newcomer_evaluation")},
        )


def newcomers(rows):
    """Return a dictionary per customer who has ordered."""
    categories = {row["product_id"]: row["category"] for row in rows("from marts.products")}
    held = defaultdict(set)
    for row in rows("from marts.order_items"):
        held[row["order_id"]].add(row["product_id"])
    known = {
        row["order_id"]: row["day"]
        for row in rows(
            "select order_id, cast(known_at at time zone {zone} as date) as day from marts.orders"
        )
    }
    visits = {}
    for row in rows("from marts.sessions where customer_id is not null"):
        visit = row["started_at"], row["session_id"]
        visits[row["customer_id"]] = min(visit, visits.get(row["customer_id"], visit))
    views = defaultdict(list)
    for row in rows(
        "select *, cast(known_at at time zone {zone} as date) as day from marts.events "
        "where event_type = 'product_view' and session_id is not null order by occurred_at"
    ):
        views[row["session_id"]].append(row)
    people = []
    for customer in rows("from marts.customers where n_orders > 0"):
        order = customer["first_order_id"]
        _, session = visits.get(customer["customer_id"], (None, None))
        seen = [row for row in views[session] if row["occurred_at"] < customer["first_ordered_at"]]
        products = [row["product_id"] for row in seen]
        people.append(
            {
                "all": "all",
                "country": customer["country"],
                "channel": customer["channel"],
                "first_device": customer["first_device"],
                "first_viewed_product": looked_at_most(products),
                "first_viewed_category": looked_at_most(
                    [categories[each] for each in products if categories[each] is not None]
                ),
                "viewed_known_on": max((row["day"] for row in seen), default=None),
                "ordered_on": customer["first_ordered_on"],
                "known_on": known[order],
                "products": held[order],
            }
        )
    return people


def looked_at_most(seen):
    times = Counter(seen)
    return max(seen, key=lambda each: (times[each], last(seen, each)), default=None)


def last(seen, each):
    return len(seen) - seen[::-1].index(each)


def lists(people, segment_type):
    """Return the ten of each segment, each as (product, buyers, members, score)."""
    everybody = Counter(product for person in people for product in person["products"])
    members, buyers = Counter(), defaultdict(Counter)
    for person in people:
        if person[segment_type] is not None:
            members[person[segment_type]] += 1
            buyers[person[segment_type]].update(person["products"])

    def score(segment, product):
        alike = everybody[product] / len(people)
        return (buyers[segment][product] + LIKE_ALL * alike) / (members[segment] + LIKE_ALL)

    return {
        segment: [
            (product, buyers[segment][product], n, score(segment, product))
            for product in sorted(
                everybody, key=lambda each: (-round(score(segment, each), 12), each)
            )[:10]
        ]
        for segment, n in members.items()
    }


def test_lists_are_those_of_all_products_counted(tables):
    today, people, shown, _ = tables
    lately = [person for person in people if person["ordered_on"] > today - timedelta(days=YEAR)]
    for segment_type in {row["segment_type"] for row in shown}:
        found = defaultdict(list)
        for row in sorted(shown, key=lambda row: row["recommendation_rank"]):
            if row["segment_type"] == segment_type:
                found[row["segment"]].append(
                    (
                        row["product_id"], row["n_buyers"], row["n_newcomers"],
                        pytest.approx(row["score"], abs=1e-12),
                    )
                )  # fmt: skip
        assert lists(lately, segment_type) == dict(found)


def test_hits_are_counted_of_what_was_known(tables):
    today, people, shown, judged = tables
    cut = today - timedelta(days=HORIZON)
    earlier = [
        person if person["viewed_known_on"] is None or person["viewed_known_on"] <= cut
        else person | {"first_viewed_product": None, "first_viewed_category": None}
        for person in people
        if cut - timedelta(days=YEAR) < person["ordered_on"] <= cut and person["known_on"] <= cut
    ]  # fmt: skip
    assert set(judged) == {row["segment_type"] for row in shown}
    for segment_type, row in judged.items():
        tens = {
            segment: {product for product, *_ in ten}
            for segment, ten in lists(earlier, segment_type).items()
        }
        came = [
            person for person in people
            if person["ordered_on"] > cut and person[segment_type] in tens
        ]  # fmt: skip
        hits = sum(bool(person["products"] & tens[person[segment_type]]) for person in came)
        assert (row["n_newcomers"], row["n_hits"]) == (len(came), hits)


def test_what_is_looked_at_first_tells_what_is_bought_first(tables):
    """In the simulated shop most of what is bought was looked at, in the same visit or before."""
    *_, judged = tables
    for segment_type in ("first_viewed_category", "first_viewed_product"):
        assert judged[segment_type]["is_better_than_all"]
    assert not judged["all"]["is_better_than_all"]
