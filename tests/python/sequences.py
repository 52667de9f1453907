"""Random lives of a shop: after each load, what was built by increments is what a build from
nothing would give.

`python tests/python/sequences.py --n 1000` tries that many sequences and tells the first that
fails, made as short as it gets.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from replay import USED, Recording, Warehouse, record

START = dt.datetime(2024, 3, 1, 8)
AGES = [0, 0, 2, 24, 9 * 24, 60 * 24]  # hours by which a row may come late
STATUSES = ["placed", "paid", "completed", "cancelled"]
CUSTOMERS = ["c1", "c2", "c3", "c4", None]
EVENT_TYPES = ["page_view", "product_view", "add_to_cart", "login", "purchase"]


class Shop:
    """A shop's raw tables, and what can happen to them. Every number picks one of a few."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.now = START
        self.as_of: str | None = None
        self.serial = 0

    def insert(self, table: str, ingested_at: dt.datetime | str | None = "now", **row) -> None:
        row["ingested_at"] = self.now if ingested_at == "now" else ingested_at
        columns = self.warehouse.recording.raw_columns[table]
        values = [None if row.get(c) is None else str(row[c]) for c in columns]
        marks = ", ".join("?" * len(columns))
        self.warehouse.connection.execute(f"insert into raw.{table} values ({marks})", values)

    def row_ids(self, table: str) -> list[int]:
        query = f"select rowid from raw.{table} order by rowid"
        return [n for (n,) in self.warehouse.execute(query).fetchall()]

    def new_id(self, letter: str) -> str:
        self.serial += 1
        return f"{letter}{self.serial}"

    def happened(self, a: int) -> dt.datetime:
        return self.now - dt.timedelta(hours=AGES[a % len(AGES)], minutes=a % 7)

    def days(self, a: int, b: int, c: int) -> None:
        """Time passes; nothing comes in."""
        self.now += dt.timedelta(days=[1, 1, 6, 7, 31, 0][a % 6], minutes=b % 60)

    def order(self, a: int, b: int, c: int) -> None:
        order_id = self.new_id("o")
        self.insert(
            "orders",
            order_id=order_id,
            customer_id=CUSTOMERS[a % 5],
            ordered_at=self.happened(b),
            status=STATUSES[c % 4 if c % 3 == 0 else 1],
            currency=["EUR", "USD", None][c % 3],
            discount_amount=[None, 1, 3.33][b % 3],
            sales_channel="web",
        )
        self.lines(order_id, 1 + c % 4, a + b)

    def lines(self, order_id: str, n: int, seed: int) -> None:
        for line in range(1, n + 1):
            self.insert(
                "order_items",
                order_id=order_id,
                line_number=line,
                product_id=f"p{(seed + line) % 5}",
                quantity=1 + line % 2,
                unit_price=[10, 4.99, 0.05][(seed + line) % 3],
            )

    def lines_before_their_order(self, a: int, b: int, c: int) -> None:
        """Lines of the next order that will come; it may be a long time."""
        self.lines(f"o{self.serial + 1 + c % 2}", 1 + a % 2, b)

    def order_ingested_earlier(self, a: int, b: int, c: int) -> None:
        """A second loader is behind: its rows carry a time that others have passed."""
        order_id = self.new_id("o")
        at = self.now - dt.timedelta(days=1 + a % 40, hours=b % 5)
        self.insert(
            "orders",
            ingested_at=at if c % 4 else None,
            order_id=order_id,
            customer_id=CUSTOMERS[c % 5],
            ordered_at=at - dt.timedelta(hours=b % 30),
            status="paid",
        )
        self.lines(order_id, 1 + b % 2, a)

    def refund(self, a: int, b: int, c: int) -> None:
        linked = a % 3 and self.serial
        self.insert(
            "refunds",
            refund_id=self.new_id("r"),
            refunded_at=self.happened(b),
            amount=1 + c % 5,
            order_id=f"o{1 + c % (self.serial + 1)}" if linked else None,
            customer_id=None if linked else CUSTOMERS[c % 4],
        )

    def visit(self, a: int, b: int, c: int) -> None:
        """Some events on a device, with or without the customer's name."""
        for n in range(1 + c % 3):
            self.insert(
                "events",
                event_id=self.new_id("e"),
                occurred_at=self.happened(b) + dt.timedelta(minutes=n * [1, 29, 31][a % 3]),
                event_type=EVENT_TYPES[(c + n) % 5],
                anonymous_id=[f"d{a % 3}", None, None][c % 3 if b % 3 == 0 else 0],
                customer_id=CUSTOMERS[(a + b + n) % 5],
                session_id=f"s{a % 2}",
                url=["/", None][n % 2],
                utm_medium=["email", None, "cpc"][a % 3],
            )

    def email(self, a: int, b: int, c: int) -> None:
        self.insert(
            "events",
            event_id=self.new_id("e"),
            occurred_at=self.happened(b),
            event_type=["email_sent", "email_open", "push_open"][c % 3],
            customer_id=CUSTOMERS[a % 4],
            anonymous_id=["d0", None][b % 2],
        )

    def account(self, a: int, b: int, c: int) -> None:
        """An account, or the next version of it: another country, another channel."""
        self.insert(
            "customers",
            customer_id=CUSTOMERS[a % 4],
            country=["DE", "AT", "CH", None][b % 4],
            acquisition_channel=["ads", None][c % 2],
            created_at=self.happened(c),
        )

    def product(self, a: int, b: int, c: int) -> None:
        self.insert("products", product_id=f"p{a % 6}", category=["toys", "books", None][b % 3])

    def rate(self, a: int, b: int, c: int) -> None:
        """A rate of exchange, of today or of a day long past, or a corrected one."""
        day = (self.now - dt.timedelta(hours=AGES[a % len(AGES)])).date()
        self.warehouse.execute(
            f"delete from raw.exchange_rates where rate_date = '{day}' and {b % 2} = 0"
        )
        self.insert("exchange_rates", rate_date=day, currency="USD", rate=[0.9, 0.91, 1.1][c % 3])

    def send_again(self, a: int, b: int, c: int) -> None:
        """A row once more: as it was, or with a new time of ingestion, or without any."""
        table = USED[a % 6]
        rows = self.row_ids(table)
        if rows:
            columns = self.warehouse.recording.raw_columns[table]
            again = ["ingested_at", f"'{self.now}'", "null"][c % 3]
            listed = ", ".join(again if name == "ingested_at" else name for name in columns)
            self.warehouse.execute(
                f"insert into raw.{table} select {listed} from raw.{table} "
                f"where rowid = {rows[b % len(rows)]}"
            )

    def correct(self, a: int, b: int, c: int) -> None:
        """A new version of an order, beside the old one or in its place."""
        rows = self.row_ids("orders")
        if not rows:
            return
        row = rows[b % len(rows)]
        change = [
            "status = 'cancelled'",
            "customer_id = 'c2'",
            "customer_id = null",
            f"ordered_at = '{self.now - dt.timedelta(hours=AGES[c % len(AGES)])}'",
            "discount_amount = '5'",
            "currency = 'USD'",
        ][a % 6]
        if c % 2:
            new = "(select max(rowid) from raw.orders)"
            self.warehouse.execute(f"insert into raw.orders from raw.orders where rowid = {row}")
            row = new
        self.warehouse.execute(
            f"update raw.orders set {change}, ingested_at = '{self.now}' where rowid = {row}"
        )

    def correct_line(self, a: int, b: int, c: int) -> None:
        """Another value in its place, and nothing says when: only the row itself is other."""
        rows = self.row_ids("order_items")
        if rows:
            change = ["quantity = '3'", "product_id = 'p4'", "unit_price = '7'"][a % 3]
            self.warehouse.execute(
                f"update raw.order_items set {change} where rowid = {rows[b % len(rows)]}"
            )

    def correct_event(self, a: int, b: int, c: int) -> None:
        rows = self.row_ids("events")
        if rows:
            change = ["customer_id = 'c3'", "anonymous_id = 'd2'", "event_type = 'email_open'"]
            self.warehouse.execute(
                f"update raw.events set {change[a % 3]}, ingested_at = '{self.now}' "
                f"where rowid = {rows[b % len(rows)]}"
            )

    def delete(self, a: int, b: int, c: int) -> None:
        table = USED[a % len(USED)]
        rows = self.row_ids(table)
        if rows:
            self.warehouse.execute(f"delete from raw.{table} where rowid = {rows[b % len(rows)]}")

    def bad(self, a: int, b: int, c: int) -> None:
        """A row that is refused."""
        table, row = [
            ("orders", {"customer_id": "c1", "ordered_at": self.now, "status": "paid"}),
            ("orders", {"order_id": f"o{1 + b % (self.serial + 1)}", "ordered_at": "soon",
                        "status": "paid"}),
            ("order_items", {"order_id": "o1", "line_number": 1, "product_id": "p1",
                             "quantity": "many", "unit_price": 1}),
            ("order_items", {"line_number": 1, "product_id": "p1", "quantity": 1,
                             "unit_price": 1}),
            ("events", {"event_id": f"e{b % 9}", "occurred_at": self.now, "event_type": "dance",
                        "anonymous_id": "d0"}),
            ("refunds", {"refund_id": "r1", "refunded_at": self.now, "amount": -1,
                         "order_id": "o1"}),
        ][a % 6]  # fmt: skip
        self.insert(table, ingested_at=["now", None, "once"][c % 3], **row)

    def set_as_of(self, a: int, b: int, c: int) -> None:
        """As the setting says, before or after the newest row, or by the data again."""
        moment = self.now + dt.timedelta(days=[-40, -8, -1, 0, 1, 20][a % 6])
        self.as_of = None if b % 3 == 0 else str(moment)

    def killed(self, a: int, b: int, c: int) -> None:
        """A build that ends part of the way, under this as_of."""
        n = 1 + (a * 97 + b * 13 + c) % len(self.warehouse.recording.nodes)
        self.warehouse.build(self.as_of, stop_after=n)


ACTIONS = [
    Shop.order, Shop.order, Shop.order, Shop.visit, Shop.visit, Shop.days, Shop.days, Shop.refund,
    Shop.refund, Shop.email, Shop.account, Shop.product, Shop.rate, Shop.send_again, Shop.correct,
    Shop.correct, Shop.correct_line, Shop.correct_event, Shop.delete, Shop.bad,
    Shop.lines_before_their_order, Shop.order_ingested_earlier, Shop.set_as_of, Shop.killed,
]  # fmt: skip

NUMBER = st.integers(0, 59)
ACTION = st.tuples(st.sampled_from(ACTIONS), NUMBER, NUMBER, NUMBER)
STEP = st.lists(ACTION, min_size=1, max_size=8)
SEQUENCE = st.tuples(
    st.lists(ACTION, min_size=4, max_size=16), st.lists(STEP, min_size=1, max_size=4)
)


def play(recording: Recording, sequence: tuple, in_full_at: int | None = None) -> dict[str, int]:
    """Live a sequence of loads; raise AssertionError where a table is not as from nothing.

    Returns:
        How often a tracked table followed what changed, and how often it was made in full.
    """
    first, steps = sequence
    warehouse, shadow = Warehouse(recording), Warehouse(recording)
    shop = Shop(warehouse)
    done = {"increments": 0, "in full": 0}
    said: list[str] = []
    for number, step in enumerate([first, *steps]):
        for action, a, b, c in step:
            said.append(f"  {action.__name__}({a}, {b}, {c})")
            action(shop, a, b, c)
        said.append(f"  build, as_of {shop.as_of}")
        warehouse.build(shop.as_of, in_full=number == in_full_at)
        shadow.build_in_full(warehouse, shop.as_of)
        for reason in warehouse.reasons.values():
            done["in full" if reason else "increments"] += 1
        compare(warehouse, shadow, said)
        # Once more with nothing new: everything stays.
        shop.now += dt.timedelta(minutes=5)
    return done


def compare(warehouse: Warehouse, shadow: Warehouse, said: list[str]) -> None:
    mine, theirs = warehouse.fingerprints(), shadow.fingerprints()
    wrong = [name for name in mine if mine[name] != theirs[name]]
    if not wrong:
        return
    lines = ["after:", *said]
    for name in wrong[:3]:
        left, right = warehouse.rows(name), shadow.rows(name)
        lines.append(f"{name} ({warehouse.reasons.get(name) or 'increment'})")
        lines += [f"  increments only: {row}" for row in left if row not in right][:4]
        lines += [f"  from nothing only: {row}" for row in right if row not in left][:4]
    raise AssertionError("\n".join([*lines, f"differing: {', '.join(wrong)}"]))


def try_sequences(
    recording: Recording, n: int, seed: int | None = None, tell=None, shorten: bool = True
) -> dict:
    """Try n random sequences; raise for the first that fails, made short."""
    totals = {"sequences": 0, "builds": 0, "increments": 0, "in full": 0}

    @settings(
        max_examples=n,
        deadline=None,
        database=None,
        derandomize=seed is None,
        phases=[Phase.generate, Phase.shrink] if shorten else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(SEQUENCE)
    def one(sequence: tuple) -> None:
        done = play(recording, sequence)
        totals["sequences"] += 1
        totals["builds"] += 1 + len(sequence[1])
        for what, count in done.items():
            totals[what] += count
        if tell:
            tell(totals)

    if seed is not None:
        from hypothesis import seed as seeded

        one = seeded(seed)(one)
    one()
    return totals


def try_share(recording: Recording, n: int, seed: int | None, worker: int) -> dict:
    """What one process tries; it tells of its progress."""
    began = time.monotonic()

    def tell(totals: dict) -> None:
        if totals["sequences"] % 20 == 0:
            spent = time.monotonic() - began
            print(f"  process {worker}: {totals['sequences']} in {spent:.0f} s", flush=True)

    return try_sequences(recording, n, seed, tell)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="sequences (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="other sequences than the usual ones")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="processes that share them; with others come other sequences (default: %(default)s)",
    )
    args = parser.parse_args()
    began = time.monotonic()
    totals: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        print("dbt compiles the models once …", flush=True)
        recording = record(Path(folder))
    with ProcessPoolExecutor(args.jobs) as pool:
        shares = [
            pool.submit(
                try_share,
                recording,
                len(range(worker, args.n, args.jobs)),
                1000 * args.seed + worker,
                worker + 1,
            )
            for worker in range(min(args.jobs, args.n))
        ]
        for share in as_completed(shares):
            try:
                totals.update(share.result())
            except AssertionError as error:
                pool.shutdown(wait=False, cancel_futures=True)
                print(error, file=sys.stderr)
                return 1
    print(
        f"{totals['sequences']} sequences of {totals['builds']} builds in "
        f"{time.monotonic() - began:.0f} s: every table as from nothing. Tables followed what "
        f"changed {totals['increments']} times and were made in full {totals['in full']} times."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
