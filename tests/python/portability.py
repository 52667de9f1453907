"""Which parts of a compiled query DuckDB and Spark read differently, and on which line.

sqlglot parses; it is never used to translate. What dispatched macros put in for one engine is
allowed for that engine only, so that a difference which no macro covers is found.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlglot
from sqlglot import exp
from sqlglot.dialects import DuckDB

# Functions that were seen to give the same on both engines, by the names of sqlglot.
SHARED = {
    "abs", "and", "arg_max", "arg_min", "case", "cast", "ceil", "coalesce", "concat_ws", "count",
    "count_if", "cume_dist", "date_trunc", "day", "dense_rank", "exp", "floor", "greatest", "hour",
    "if", "lag", "last_value", "lead", "least", "length", "ln", "log", "logical_and", "logical_or",
    "lower", "max", "md5", "median", "min", "minute", "month", "ntile", "nullif", "or",
    "percentile_cont", "percentile_disc", "power", "rank", "repeat", "replace", "round",
    "row_number", "sign", "split_part", "sqrt", "substring", "sum", "timestamp_trunc", "trim",
    "try_cast", "upper", "year",
}  # fmt: skip
# What the macros in macros/portable say on each engine.
DISPATCHED = {
    "duckdb": {
        "array_agg", "array_sort", "epoch_us", "generate_series", "explode", "hash", "isfinite",
        "json_valid", "json_extract_scalar", "to_json", "to_months", "regexp_like",
    },
    "spark": {
        "add_months", "array", "array_agg", "concat", "explode", "from_utc_timestamp",
        "generate_series", "get_json_object", "json_extract", "json_extract_scalar", "json_format",
        "regexp_like", "sort_array", "struct", "to_utc_timestamp", "try_parse_json",
        "ts_or_ds_to_date", "unix_micros", "var_map", "xxhash64",
    },
}  # fmt: skip
# Rows may be ordered by these without `nulls last`: keys, and what holds no null by its making.
NEVER_NULL = {
    "basis", "basket_id", "category", "churn_probability", "customer_id", "day_on", "event_id",
    "first_event", "frequency", "line_number", "measure", "monetary_amount", "occurred_at",
    "order_id", "ordered_at", "product_id", "rate_date", "recency_days", "refusal", "risk_decile",
    "silent_days", "similar_product_id", "span_days", "table_name",
}  # fmt: skip


class _DuckDB(DuckDB):
    """DuckDB's SQL, where an order that does not say where nulls go is seen not to say it."""

    NULL_ORDERING = "nulls_are_small"


def differences(sql: str, dialect: str) -> list[str]:
    """Return what the engines would read differently, as 'line n: what'; empty where nothing.

    Args:
        sql: one query, compiled by dbt.
        dialect: duckdb or spark, for which it was compiled.
    """
    try:
        [query] = sqlglot.parse(sql, dialect=_DuckDB if dialect == "duckdb" else dialect)
    except (sqlglot.errors.SqlglotError, ValueError) as error:
        return [f"it is not one query that sqlglot can read: {error}"]
    if not isinstance(query, exp.Query) or query.find(exp.Command):
        return ["it is no query, or holds a command that sqlglot passes through unread"]
    found = {}
    for node in query.walk():
        for what in _of(node, dialect):
            found.setdefault(f"line {_line(node)}: {what}")
    return list(found)


def _of(node: exp.Expression, dialect: str) -> Iterator[str]:
    if isinstance(node, exp.Func):
        name = node.name if isinstance(node, exp.Anonymous) else node.sql_names()[0]
        if name.lower() not in SHARED | DISPATCHED[dialect]:
            yield f"the function {name.lower()}() is not known to be the same on both engines"
    if isinstance(node, exp.IntDiv):
        yield "// is DuckDB's; write cast(floor(a / b) as bigint)"
    if isinstance(node, exp.Star) and (node.args.get("except_") or node.args.get("replace")):
        yield "* exclude and * replace differ; name the columns"
    if isinstance(node, exp.Sub) and _is_day(node.left) and _is_day(node.right):
        above = node.parent
        while isinstance(above, exp.Paren | exp.Window):
            above = above.parent
        if not isinstance(above, exp.Cast):
            yield "a date less a date is an interval on Spark; cast(a - b as integer)"
    if (
        isinstance(node, exp.Sub)
        and isinstance(node.left, exp.Window)
        and node.left.alias
        and isinstance(node.right, exp.Column)
        and not node.right.table
    ):
        yield f"Spark reads {node.left.alias} - as the beginning of a longer name; use brackets"
    if isinstance(node, exp.Ordered) and not node.args.get("desc"):
        names = {column.name for column in node.this.find_all(exp.Column)}
        if node.args.get("nulls_first") is not False and not names <= NEVER_NULL:
            yield f"nulls come first on Spark; order by {node.this.sql(dialect)} nulls last"
    if isinstance(node, exp.Bracket):
        yield "lists are counted from 1 on DuckDB and from 0 on Spark"
    if isinstance(node, exp.DataType) and node.is_type("varchar") and dialect == "spark":
        yield "varchar needs a length on Spark; use string"


def _is_day(node: exp.Expression) -> bool:
    """Whether an operand is a date, as the names of columns say it (<verb>_on)."""
    node = node.unnest()
    if isinstance(node, exp.Window):
        node = node.this
    if isinstance(node, exp.Lag | exp.Lead):
        node = node.this
    if isinstance(node, exp.Cast):
        return node.is_type("date")
    return isinstance(node, exp.Column) and node.name.endswith("_on")


def _line(node: exp.Expression) -> int:
    for part in [node, *node.walk()]:
        if part.meta.get("line"):
            return part.meta["line"]
    return 0
