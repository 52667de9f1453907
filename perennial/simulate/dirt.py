"""Dirt: what real feeds have beside the good rows, each with the one reason to refuse it.

The good rows keep their keys and what matters in them. Refused rows are additional:
copies of good rows, then spoilt in one way, in places drawn beforehand. Besides, good rows
lose some optional values and reach the warehouse late, for which no row is refused.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from perennial.contract import Column, columns_of, read_contract
from perennial.simulate.parameters import DAY, Plan

MISSING, BAD_TYPE, IMPOSSIBLE, DUPLICATE, ORPHAN = (
    "missing key",
    "bad type",
    "impossible value",
    "duplicate",
    "unknown parent",
)
REASONS = (MISSING, BAD_TYPE, IMPOSSIBLE, DUPLICATE, ORPHAN)

# Columns in which text stands where another type should; they are written as text.
SPOILT = {
    "orders": ("ordered_at", "discount_amount", "tax_amount"),
    "order_items": ("quantity", "unit_price"),
    "refunds": ("refunded_at", "amount"),
    "customers": ("birth_date", "marketing_consent"),
    "products": ("price", "unit_cost"),
    "events": ("occurred_at", "value", "properties"),
    "reviews": ("rating", "reviewed_at"),
    "coupons": ("value", "min_spend"),
    "coupon_grants": ("granted_at", "propensity"),
    "campaigns": ("starts_at", "cost"),
    "campaign_touches": ("sent_at", "is_holdout"),
    "experiments": ("starts_at", "allocation"),
    "experiment_assignments": ("assigned_at",),
    "ad_spend": ("cost", "clicks"),
    "exchange_rates": ("rate",),
    "support_questions": ("asked_at",),
    "knowledge_base": (),
}
NONSENSE = {
    "timestamp": "31.02.2024 25:61",
    "date": "1984-13-45",
    "decimal(18,2)": "12,50 EUR",
    "decimal(18,3)": "two",
    "decimal(18,4)": "on request",
    "bigint": "many",
    "integer": "five stars",
    "double": "n/a",
    "boolean": "maybe",
    "json": '{"query": ',
}
# Optional values of good rows that may go missing without changing what the rows say.
FORGOTTEN = {
    "orders": ("sales_channel", "ingested_at"),
    "order_items": ("ingested_at",),
    "refunds": ("reason", "ingested_at"),
    "customers": ("region", "birth_date", "gender"),
    "products": ("description", "brand"),
    "events": ("device", "platform", "referrer", "ingested_at"),
    "reviews": ("title", "ingested_at"),
}
TIMESTAMP = "%Y-%m-%d %H:%M:%S"


class Dirt:
    """Spoils raw tables and keeps count of what it planted."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.counts: dict[tuple[str, str], int] = {}
        self.fresh = 0
        self.until = np.datetime64(plan.until, "us")

    def spoil(self, name: str, frame: pl.DataFrame, chunk: int) -> pl.DataFrame:
        """A typed raw table with dirt rows among its own; chunk 0 is the whole table."""
        columns = columns_of(name)
        rng = self.plan.rng(chunk, 100 + list(read_contract()).index(name))
        frame = self._neglect(name, frame, rng)
        written = frame.with_columns(
            as_text(column) for column in columns if column.name in SPOILT[name]
        )
        n = int(np.floor(self.plan.dirt * frame.height + 0.5))
        if n == 0:
            return written
        reasons = [reason for reason in REASONS if applies(reason, name)]
        # Every reason in turn, so that each is met even where there is little dirt.
        reason = (np.arange(n) + rng.integers(0, len(reasons))) % len(reasons)
        source = rng.integers(0, frame.height, n)
        parts = []
        for k, label in enumerate(reasons):
            chosen = frame[source[reason == k]]
            if not chosen.height:
                continue
            self.counts[name, label] = self.counts.get((name, label), 0) + chosen.height
            parts.append(self._plant(label, name, chosen, rng))
        planted = pl.concat(parts)
        place = np.concatenate(
            [np.arange(frame.height, dtype=float), rng.integers(0, frame.height, n) + 0.5]
        )
        return pl.concat([written, planted])[np.argsort(place, kind="stable")]

    def truth(self) -> pl.DataFrame:
        """One row per table and reason: how many rows the quarantine must show."""
        found = sorted(self.counts.items())
        return pl.DataFrame(
            {
                "table_name": pl.Series([key[0] for key, _ in found], dtype=pl.String),
                "reason": pl.Series([key[1] for key, _ in found], dtype=pl.String),
                "n_rows": pl.Series([count for _, count in found], dtype=pl.Int64),
            }
        )

    def _neglect(self, name: str, frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """Good rows that come late or without an optional value."""
        share = self.plan.dirt
        if "ingested_at" in frame.columns:
            late = rng.random(frame.height) < share
            days = rng.integers(8, 60, frame.height)
            last = pl.lit(self.until) - pl.duration(seconds=1)
            arrived = pl.min_horizontal(
                pl.col("ingested_at") + pl.duration(days=pl.Series("days", days)), last
            )
            frame = frame.with_columns(
                pl.when(pl.Series(late))
                .then(arrived)
                .otherwise(pl.col("ingested_at"))
                .alias("ingested_at")
                .cast(pl.Datetime("us"))
            )
        for column in FORGOTTEN.get(name, ()):
            kept = rng.random(frame.height) >= share
            frame = frame.with_columns(pl.when(pl.Series(kept)).then(pl.col(column)))
        return frame

    def _plant(
        self, reason: str, name: str, rows: pl.DataFrame, rng: np.random.Generator
    ) -> pl.DataFrame:
        """Copies of good rows, spoilt for one reason, with the columns' written types."""
        columns = columns_of(name)
        k = np.arange(rows.height)
        if reason != DUPLICATE:
            rows = self._with_fresh_key(name, rows)
        if reason == DUPLICATE:
            return text_of(name, self._earlier(name, rows, rng))
        written = text_of(name, rows)
        if reason == MISSING:
            ways: list[tuple[str, ...]] = [(c.name,) for c in columns if c.required]
            ways += [(c.name, *c.or_else) for c in columns if c.or_else]
            for j, way in enumerate(ways):
                hit = pl.Series(k % len(ways) == j)
                written = written.with_columns(
                    pl.when(~hit).then(pl.col(column)).alias(column) for column in way
                )
        elif reason == BAD_TYPE:
            spoilt = SPOILT[name]
            for j, column in enumerate(spoilt):
                kind = next(c.type for c in columns if c.name == column)
                written = written.with_columns(
                    pl.when(pl.Series(k % len(spoilt) == j))
                    .then(pl.lit(NONSENSE[kind]))
                    .otherwise(pl.col(column))
                    .alias(column)
                )
        elif reason == IMPOSSIBLE:
            ways = impossible(name)
            for j, (column, value) in enumerate(ways):
                hit = pl.Series(k % len(ways) == j)
                kind = written.schema[column]
                if value == "before it happened":
                    moment = next(c.name for c in columns if c.happened)
                    new = rows[moment] - pl.Series([3 * DAY * 1_000_000]).cast(pl.Duration("us"))
                    new = pl.lit(new)
                elif kind == pl.String or not isinstance(value, str):
                    new = pl.lit(value)
                else:
                    new = pl.lit(value).str.to_datetime(TIMESTAMP, time_unit="us")
                written = written.with_columns(
                    pl.when(hit).then(new.cast(kind)).otherwise(pl.col(column)).alias(column)
                )
        else:
            column = next(c for c in columns if c.parent)
            lost = self._numbers(rows.height)
            written = written.with_columns(
                (pl.lit("lost-") + lost.cast(pl.String)).alias(column.name)
            )
        return written

    def _numbers(self, n: int) -> pl.Series:
        """Numbers that no other planted row has."""
        self.fresh += n
        return pl.Series(np.arange(self.fresh - n, self.fresh) + 1)

    def _with_fresh_key(self, name: str, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with a key of their own, still of the right type and of a known parent."""
        number = self._numbers(rows.height)
        column = [c for c in columns_of(name) if c.key][-1]
        if column.type == "bigint":
            return rows.with_columns((number + 1_000_000).alias(column.name))
        return rows.with_columns((pl.lit("dirt-") + number.cast(pl.String)).alias(column.name))

    def _earlier(self, name: str, rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """Exact copies, and copies that had arrived before: the good row is the later one."""
        moment = next((c.name for c in columns_of(name) if c.happened), None)
        if moment is None or "ingested_at" not in rows.columns:
            return rows
        early = pl.Series(rng.random(rows.height) < 0.5)
        waited = pl.col("ingested_at").dt.epoch("s") - pl.col(moment).dt.epoch("s")
        middle = (pl.col(moment) + pl.duration(seconds=waited // 2)).cast(pl.Datetime("us"))
        first = pl.when(early & middle.is_not_null()).then(middle).otherwise(pl.col("ingested_at"))
        rows = rows.with_columns(first.alias("ingested_at"))
        if name == "orders":
            # The feed sent the order when it was placed, and once more when it had moved on.
            rows = rows.with_columns(
                pl.when(early & pl.col("ingested_at").is_not_null())
                .then(pl.lit("placed"))
                .otherwise(pl.col("status"))
                .alias("status")
            )
        return rows


def applies(reason: str, name: str) -> bool:
    """Whether rows of this table can be refused for this reason."""
    columns = columns_of(name)
    return {
        MISSING: True,
        BAD_TYPE: bool(SPOILT[name]),
        IMPOSSIBLE: bool(impossible(name)),
        DUPLICATE: True,
        ORPHAN: any(column.parent for column in columns),
    }[reason]


def impossible(name: str) -> list[tuple[str, object]]:
    """(column, value) of every way in which a row of this table can be impossible."""
    ways: list[tuple[str, object]] = []
    names = [column.name for column in columns_of(name)]
    for column in columns_of(name):
        number = "{:d}".format if column.name in SPOILT[name] else int
        if column.accepted:
            ways.append((column.name, "unheard of"))
        if column.min is not None:
            ways.append((column.name, number(-1)))
        if column.max is not None:
            ways.append((column.name, number(99)))
        if column.above is not None:
            ways.append((column.name, number(0)))
        if column.happened:
            ways += [(column.name, "1970-01-01 00:00:00"), (column.name, "2150-01-01 00:00:00")]
            if "ingested_at" in names:
                ways.append(("ingested_at", "before it happened"))
    return ways


def as_text(column: Column) -> pl.Expr:
    """The column as the text that a csv file would show."""
    value = pl.col(column.name)
    if column.type == "timestamp":
        return value.dt.to_string(TIMESTAMP)
    if column.type == "decimal(18,3)":
        return value.cast(pl.Int64).cast(pl.String)
    if column.type == "decimal(18,4)":
        return value.cast(pl.Decimal(18, 2)).cast(pl.String)
    return value.cast(pl.String)


def text_of(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the columns that may hold nonsense as text."""
    return rows.with_columns(as_text(c) for c in columns_of(name) if c.name in SPOILT[name])
