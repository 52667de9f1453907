"""Two warehouses, row by row."""

from __future__ import annotations

from pathlib import Path

import duckdb

# What a warehouse has seen is its own; how the figures stand now is not.
HISTORY = "marts.retention_revisions"
# Of the models it keeps those of before too.
REGISTRY = "marts.model_runs"
STAND = f"""
    select * from {{}}.{HISTORY}
    qualify revision_number = max(revision_number) over (
        partition by metric, segment_type, segment, cohort_start_on, period_number
    )
"""
REVISED = f"""
    select count(*)
    from ({STAND.format("one")}) as mine
    inner join ({STAND.format("other")}) as theirs
        using (metric, segment_type, segment, cohort_start_on, period_number)
    where
        (
            mine.definition <> theirs.definition
            or mine.numerator is distinct from theirs.numerator
            or mine.denominator is distinct from theirs.denominator
        )
        -- Under a clock that was set back there is no history.
        and (select as_of from one.intermediate.clock)
        >= (select max(as_of) from one.{HISTORY})
        and (select as_of from other.intermediate.clock)
        >= (select max(as_of) from other.{HISTORY})
"""


def differing(one: Path, other: Path) -> list[str]:
    """The tables of two warehouses that are not equal."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{one}' as one (read_only)")
        connection.execute(f"attach '{other}' as other (read_only)")
        tables = connection.execute(
            "select distinct table_schema || '.' || table_name from information_schema.tables "
            "where table_catalog = 'one' and table_schema in ('staging', 'intermediate', 'marts')"
        ).fetchall()
        assert len(tables) > 55
        wrong = []
        for (table,) in tables:
            if table in (HISTORY, REGISTRY):
                continue
            mine, theirs = (f"from {w}.{table}" for w in ("one", "other"))
            # Most are equal, and that is seen for a fifth of what it takes to count what is not.
            of_mine, of_theirs = (
                connection.execute(f"select count(*), sum(hash(t)) {rows} as t").fetchone()
                for rows in (mine, theirs)
            )
            if of_mine == of_theirs:
                continue
            n_other = connection.execute(
                f"select count(*) from (({mine} except all {theirs}) "
                f"union all ({theirs} except all {mine}))"
            ).fetchone()[0]
            if n_other:
                wrong.append(f"{table}: {n_other} rows")
        if (HISTORY,) in tables:
            n_other = connection.execute(REVISED).fetchone()[0]
            if n_other:
                wrong.append(f"{HISTORY}: {n_other} figures")
        return wrong
