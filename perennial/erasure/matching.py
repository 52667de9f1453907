"""Which rows hold a forgotten key, in SQL; and which words of a text might be one.

A column is known by its name: `customer_id` holds customers, `first_order_id` orders. In any
other text a key is looked for as a whole word, if it is a word that nothing else is likely to be.
"""

from __future__ import annotations

import re

import duckdb

from perennial.contract import columns_of
from perennial.erasure.suppression import KINDS, Forgotten
from perennial.fingerprints import quoted

# The end of a column's name -> the kinds of keys that it may hold.
NAMES = {
    "customer_id": ("customer",),
    "order_id": ("order",),
    "anonymous_id": ("device",),
    # In the raw tables the sender's own number, in the marts the session's first event.
    "session_id": ("session", "event"),
    "event_id": ("event",),
    "review_id": ("review",),
    "question_id": ("question",),
    "visitor_id": ("device", "customer", "session"),
    "basket_id": ("customer", "order"),
}

# Between words: what JSON, addresses and csv put around a value. RE2 and Python read both alike.
BETWEEN = r"[\s\"'`,:;=&?|/\\<>(){}\[\]#]+"
EDGES = ".-_@"
# Shorter words, and those without a digit or a letter, are too likely to mean something else.
MIN_LETTERS = 6
LONG = 16

# What the types of values that hold others look like.
NESTED = ("STRUCT", "[", "MAP", "JSON", "UNION", "VARIANT")

# Where a connection keeps the list: in its own memory, so that views of it may ask it too.
SALT, LIST = "memory.main.forgotten_salt", "memory.main.forgotten_keys"


def is_distinctive(word: str) -> bool:
    """Whether a word can be told from other words and numbers wherever it stands."""
    if "@" in word or len(word) >= LONG:
        return True
    has_digit = any(letter in "0123456789" for letter in word)
    return len(word) >= MIN_LETTERS and has_digit and any(letter.isalpha() for letter in word)


def words_of(text: str) -> set[str]:
    """Return the distinctive words of a text: between separators, and between all other signs."""
    pieces = set(re.split(BETWEEN, text))
    words = {word.strip(EDGES) for word in pieces}
    # What separates pieces is no part of a word either, so that each piece need be cut once only.
    words |= set(re.split(r"[\W_]+", " ".join(pieces)))
    return {word for word in words if is_distinctive(word)}


def words_sql(text: str) -> str:
    """Return words_of() as an SQL expression, a list."""
    between = BETWEEN.replace("'", "''")
    return (
        f"list_filter(list_distinct(list_transform(string_split_regex({text}, '{between}'), "
        f"lambda word: trim(word, '{EDGES}')) || string_split_regex({text}, '[^\\p{{L}}\\p{{N}}]+')"
        f"), lambda word: contains(word, '@') or length(word) >= {LONG} "
        f"or (length(word) >= {MIN_LETTERS} and regexp_matches(word, '[0-9]') "
        "and regexp_matches(word, '\\p{L}')))"
    )


def kinds_of(column: str) -> tuple[str, ...]:
    """Return the kinds of keys that a column holds, by its name; none for most."""
    name = column.lower()
    for ending, kinds in NAMES.items():
        if name == ending or name.endswith(f"_{ending}"):
            return kinds
    return ()


def use_list(connection: duckdb.DuckDBPyConnection, forgotten: Forgotten) -> None:
    """Give a connection in memory the list, which the conditions below ask."""
    connection.execute(f"create or replace table {SALT} (salt varchar)")
    connection.execute(f"insert into {SALT} values (?)", [forgotten.salt])
    connection.execute(
        f"create or replace table {LIST} as select unnest(cast(? as varchar[])) as key_hash",
        [list(forgotten.days)],
    )


def is_forgotten(kind: str, key: str) -> str:
    """Return the condition that a key, an SQL expression, is on the connection's list."""
    return (
        f"coalesce(sha256((select salt from {SALT}) || '{kind}:' || {key}) "
        f"in (select key_hash from {LIST}), false)"
    )


def as_text(column: str) -> str:
    """Return a column as staging compares keys: text without blanks around it."""
    return f"nullif(trim(cast({quoted(column)} as varchar)), '')"


def holds_forgotten_key(columns: list[str]) -> str | None:
    """Return the condition that a row holds a forgotten key; None if no column can."""
    conditions = []
    for column in columns:
        key = as_text(column)
        if column.lower() == "visitor_id":
            key = f"regexp_replace({key}, '^(device|customer|session):', '')"
        conditions += [is_forgotten(kind, key) for kind in kinds_of(column)]
    return " or ".join(conditions) or None


def is_left_out(table: str, columns: list[str]) -> str | None:
    """Return the condition under which a build leaves a raw row out; None if it never does.

    The same rule as the macro `sifted`.
    """
    found = {column.lower() for column in columns}
    conditions = []
    for column in columns_of(table):
        if column.person is None or column.name not in found:
            continue
        key = as_text(column.name)
        if column.person == "session":
            others = [name for name in ("customer_id", "anonymous_id") if name in found]
            unnamed = " and ".join(f"{as_text(name)} is null" for name in others) or "true"
            key = f"case when {unnamed} then {key} end"
        conditions.append(is_forgotten(column.person, key))
    return " or ".join(conditions) or None


def found_in_columns(relation: str, columns: list[tuple[str, str]]) -> str | None:
    """Return a query for how many different forgotten keys columns of a relation hold.

    `columns` has their names and types. None where none can hold any, such as a number that is
    not called like a key. The words of all columns are looked for at once: to plan a query for
    each takes longer than to run it.
    """
    candidates, texts = [], []
    for column, type_ in columns:
        is_nested = any(sign in type_ for sign in NESTED)
        name = quoted(column)
        text = f"cast(to_json({name}) as varchar)" if is_nested else f"cast({name} as varchar)"
        value = f"select {text} as value from {relation} where {name} is not null"
        key = "trim(value)"
        if column.lower() == "visitor_id":
            key = "regexp_replace(trim(value), '^(device|customer|session):', '')"
        candidates += [
            f"select distinct '{kind}' as kind, {key} as key from ({value})"
            for kind in kinds_of(column)
        ]
        if is_nested or type_ == "VARCHAR" or type_.startswith("ENUM"):
            texts.append(value)
    if texts:
        endings = ", ".join(
            f"('{ending}', '{kind}')" for ending, kinds in NAMES.items() for kind in kinds
        )
        pattern = f'"(?:\\w*_)?({"|".join(NAMES)})"\\s*:\\s*"?([^",}}\\]]*)'
        candidates.append(
            "select names.kind, pairs.key from (select "
            f"unnest(regexp_extract_all(value, '{pattern}', 1)) as name, "
            f"trim(unnest(regexp_extract_all(value, '{pattern}', 2))) as key "
            "from held where contains(value, '_id\"')) as pairs "
            f"inner join (values {endings}) as names (name, kind) on pairs.name = names.name"
        )
        all_kinds = ", ".join(f"('{kind}')" for kind in KINDS)
        candidates.append(
            "select kinds.kind, words.word from (select distinct unnest("
            f"{words_sql('value')}) as word from held) as words "
            f"cross join (values {all_kinds}) as kinds (kind)"
        )
    if not candidates:
        return None
    held = f"with held as (select distinct value from ({' union all '.join(texts)})) "
    return (
        f"{held if texts else ''}"
        f"select count(distinct key) from ({' union all '.join(candidates)}) as candidates "
        f"where sha256((select salt from {SALT}) || kind || ':' || key) "
        f"in (select key_hash from {LIST})"
    )
