"""Which keys are a person's: what a shop's rows, and those of old releases, tell together.

A device that only this person ever logged in on is theirs, with all that was seen on it. On a
device that others use too, only the events that the warehouse gives to the person are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from perennial.contract import columns_of, read_contract
from perennial.erasure.files import RawFile, names_people
from perennial.erasure.matching import as_text, is_left_out, words_sql
from perennial.erasure.suppression import Keys
from perennial.errors import UserError
from perennial.fingerprints import first_line, quoted
from perennial.release.making import WAREHOUSE, open_warehouse
from perennial.release.store import Release

# Rows that may speak of a person without naming them as customer: kind of their own key.
SPEAKING = {"events": "event", "reviews": "review", "support_questions": "question"}


@dataclass(frozen=True)
class Evidence:
    """An open connection on all that may tell of a person.

    It has a view per raw table (as `checked_` has it, and as the raw files have it now), all
    keys as text, and the views `resolved_orders`, `resolved_events` and `links` of the marts of
    the warehouse and its releases.
    """

    connection: duckdb.DuckDBPyConnection

    def ask(self, sql: str) -> set[str]:
        """Return the values of a query of one column, without null."""
        rows = self.connection.execute(sql).fetchall()
        return {value for (value,) in rows if value is not None}


@contextmanager
def open_evidence(
    warehouse: Path, releases: list[Release], files: list[RawFile]
) -> Iterator[Evidence]:
    """Open a warehouse, its releases and its raw files for reading.

    UserError if the warehouse is in use or was never built, or a release cannot be opened.
    """
    with open_warehouse(warehouse) as connection:
        names = [WAREHOUSE]
        for release in releases:
            name = f"release_{release.name}"
            path = str(release.database).replace("'", "''")
            try:
                connection.execute(f"attach '{path}' as {name} (read_only)")
            except duckdb.Error as error:
                raise UserError(
                    f"release {release.name} cannot be read ({first_line(error)}); mend it, or "
                    f"delete {release.folder} if nobody needs it."
                ) from error
            names.append(name)
        if not _columns(connection, f"{WAREHOUSE}.staging.checked_orders"):
            raise UserError(
                f"{warehouse} has no table staging.checked_orders; build it first with "
                "`perennial build`, so that it is known which rows are a person's."
            )
        for table in read_contract():
            if names_people(table):
                _make_raw_view(connection, table, [f for f in files if f.table == table])
        _make_mart_view(connection, "resolved_orders", names, "orders", "order_id, customer_id")
        _make_mart_view(
            connection, "resolved_events", names, "events", "event_id, customer_id, anonymous_id"
        )
        _make_mart_view(connection, "links", names, "identity_links", "anonymous_id, customer_id")
        _make_mart_view(connection, "resolved_customers", names, "customers", "customer_id")
        yield Evidence(connection)


def find_known(evidence: Evidence, customers: set[str]) -> set[str]:
    """Return those of the customers that any raw table or mart names."""
    _make_list(evidence, "wanted", customers)
    views = ["resolved_orders", "resolved_events", "links", "resolved_customers"]
    views += [
        table
        for table in read_contract()
        if any(column.name == "customer_id" for column in columns_of(table))
    ]
    named = " union ".join(f'select customer_id from temp."{view}"' for view in views)
    return evidence.ask(f"select key from wanted where key in ({named})")


def find_keys(evidence: Evidence, customers: set[str]) -> Keys:
    """Return all keys of some customers, by kind; what others share is not theirs."""
    _make_list(evidence, "persons", customers)
    is_person = "customer_id in (select key from persons)"
    keys: Keys = {"customer": customers}
    keys["order"] = evidence.ask(
        f"select order_id from temp.orders where {is_person} "
        f"union select order_id from temp.resolved_orders where {is_person}"
    )
    keys["device"] = evidence.ask(
        f"""
        select anonymous_id
        from (
            select anonymous_id, customer_id from temp.events
            union
            select anonymous_id, customer_id from temp.links
        ) as linked
        where anonymous_id is not null and customer_id is not null
        group by anonymous_id
        having bool_and({is_person})
        """
    )
    _make_list(evidence, "devices", keys["device"])
    is_device = "anonymous_id in (select key from devices)"
    keys["session"] = evidence.ask(
        f"""
        select session_id
        from temp.events
        where session_id is not null
        group by session_id
        having
            bool_or(coalesce({is_person}, false) or coalesce({is_device}, false))
            and bool_and(
                coalesce({is_person}, false)
                or (customer_id is null and (anonymous_id is null or {is_device}))
            )
        """
    )
    keys["event"] = evidence.ask(
        f"select event_id from temp.resolved_events where {is_person} "
        f"and anonymous_id is not null and not {is_device}"
    )
    _make_list(evidence, "words", keys["customer"] | keys["order"] | keys["device"])
    for table, kind in SPEAKING.items():
        keys[kind] = keys.get(kind, set()) | _speaking_rows(evidence, table, f"{kind}_id")
    return keys


def count_left_out(evidence: Evidence) -> dict[str, int]:
    """Return how many rows of each raw table, as last built, the connection's list leaves out."""
    counts = {}
    for table in filter(names_people, read_contract()):
        relation = f"{WAREHOUSE}.staging.checked_{table}"
        condition = is_left_out(table, _columns(evidence.connection, relation))
        counts[table] = evidence.connection.execute(
            f"select count(*) from {relation} where {condition}"
        ).fetchone()[0]
    return counts


def of_one_piece(evidence: Evidence, keys: set[str]) -> set[str]:
    """Return those of the keys that are no part of a key of somebody else.

    Only these can be looked for in the bytes of a file, where keys may stand side by side.
    """
    _make_list(evidence, "pieces", keys)
    everybody = " union ".join(
        f"select {column} as key from temp.{table}"
        for table, column in (
            ("orders", "order_id"),
            ("orders", "customer_id"),
            ("customers", "customer_id"),
            ("events", "customer_id"),
            ("events", "anonymous_id"),
        )
    )
    return keys - evidence.ask(
        f"select pieces.key from pieces inner join ({everybody}) as others "
        "on contains(others.key, pieces.key) and others.key <> pieces.key"
    )


def _speaking_rows(evidence: Evidence, table: str, own_key: str) -> set[str]:
    """Return the keys of rows that name no customer and have a word of `words` in a text."""
    texts = [
        column.name
        for column in columns_of(table)
        if column.type in ("varchar", "json") and column.person is None
    ]
    glued = f"concat_ws(' ', {', '.join(texts)})"
    return evidence.ask(
        f"select distinct {own_key} from (select {own_key}, unnest({words_sql(glued)}) as word "
        f"from temp.{table} where customer_id is null) as spoken "
        "where word in (select key from words)"
    )


def _make_raw_view(connection: duckdb.DuckDBPyConnection, table: str, files: list[RawFile]) -> None:
    relations = [f"{WAREHOUSE}.staging.checked_{table}", *(file.relation for file in files)]
    parts = []
    for relation in relations:
        found = {column.lower() for column in _columns(connection, relation)}
        columns = [
            f"{as_text(column.name) if column.name in found else 'null'} as {quoted(column.name)}"
            for column in columns_of(table)
            if column.type in ("varchar", "json")
        ]
        parts.append(f"select {', '.join(columns)} from {relation}")
    connection.execute(f"create temp view {quoted(table)} as {' union all '.join(parts)}")


def _make_mart_view(
    connection: duckdb.DuckDBPyConnection, view: str, databases: list[str], mart: str, columns: str
) -> None:
    wanted = columns.split(", ")
    parts = [f"select {', '.join(f'null::varchar as {name}' for name in wanted)} where false"]
    for database in databases:
        relation = f"{database}.marts.{mart}"
        # An old release may not have it, or not yet with these columns.
        if set(wanted) <= set(_columns(connection, relation)):
            parts.append(f"select {columns} from {relation}")
    connection.execute(f"create temp view {view} as {' union all '.join(parts)}")


def _columns(connection: duckdb.DuckDBPyConnection, relation: str) -> list[str]:
    """Return the names of a relation's columns; none if it is not there."""
    try:
        return [row[0] for row in connection.execute(f"describe from {relation}").fetchall()]
    except duckdb.CatalogException:
        return []


def _make_list(evidence: Evidence, name: str, keys: set[str]) -> None:
    evidence.connection.execute(
        f"create or replace temp table {name} as select unnest(cast(? as varchar[])) as key",
        [sorted(keys)],
    )
