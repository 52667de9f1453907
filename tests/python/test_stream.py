"""Tables that are written while they are made."""

import duckdb
import polars as pl
import pytest

from perennial.stream import streamed

SCHEMA = {"name": pl.String, "n": pl.Int64, "kinds": pl.List(pl.Struct({"share": pl.Float64}))}


def parts(sizes, fails_at=None):
    yield pl.DataFrame(schema=SCHEMA)
    for place, size in enumerate(sizes):
        if place == fails_at:
            raise ValueError("there is no such customer")
        rows = [(f"{place}-{n}", n, [{"share": n / 7}] if n % 3 else None) for n in range(size)]
        yield pl.DataFrame(rows, SCHEMA, orient="row")


@pytest.mark.parametrize("sizes", [(), (1,), (3, 0, 5000, 2)])
def test_what_is_written_is_all_that_was_made_in_order(sizes):
    with duckdb.connect() as connection:
        connection.register("made", streamed(parts(sizes)))
        connection.execute("create table written as select * from made")
        written = connection.sql("from written").pl()
    assert written.equals(pl.concat(parts(sizes)))
    assert written.schema == pl.Schema(SCHEMA)


def test_what_fails_half_way_leaves_no_table_and_says_why():
    with duckdb.connect() as connection:
        connection.register("made", streamed(parts((10, 10, 10), fails_at=2)))
        with pytest.raises(duckdb.Error, match="there is no such customer"):
            connection.execute("create table written as select * from made")
        assert connection.sql("from duckdb_tables()").fetchall() == []


def test_nothing_is_made_before_it_is_asked_for():
    made = []

    def noted():
        for part in parts((1, 1, 1)):
            made.append(len(part))
            yield part

    reader = streamed(noted())
    assert made == [0]
    assert sum(batch.num_rows for batch in reader) == 3
    assert made == [0, 1, 1, 1]
