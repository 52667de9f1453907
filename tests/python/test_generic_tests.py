"""The generic data tests of keys find what they are made to find."""

from __future__ import annotations

import re

import duckdb
import jinja2
import pytest
from conftest import PROJECT


def failures(test: str, rows: str, **arguments: object) -> list[tuple]:
    """What a generic test finds in a table with the columns a and b."""
    text = (PROJECT / "tests" / "generic" / f"{test}.sql").read_text("utf-8")
    body = re.search(r"{% test .*? %}(.*){% endtest %}", text, re.DOTALL)[1]
    model = f"(values {rows}) as t (a, b)"
    return duckdb.sql(jinja2.Template(body).render(model=model, **arguments)).fetchall()


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ("('x', 1), ('x', 2), ('y', 1)", []),
        ("('x', 1), ('x', 2), ('x', 1)", [("x", 1, 2)]),
        ("('x', 1), (null, 2)", [(None, 2, 1)]),
        ("('x', null), ('y', 2)", [("x", None, 1)]),
    ],
)
def test_a_primary_key_is_there_and_comes_once(rows, found):
    assert failures("primary_key", rows, columns=["a", "b"]) == found


def test_a_primary_key_may_be_one_column():
    rows = "('x', 1), ('y', 1), (null, 1)"
    assert failures("primary_key", rows, column_name="a") == [(None, 1)]
    assert failures("primary_key", "('x', 1), ('x', 2)", column_name="a") == [("x", 2)]


def test_nulls_are_equal_in_what_is_unique_together():
    assert failures("unique_together", "('x', null), ('y', null)", columns=["a", "b"]) == []
    rows = "('x', null), ('x', null)"
    assert failures("unique_together", rows, columns=["a", "b"]) == [("x", None, 2)]
