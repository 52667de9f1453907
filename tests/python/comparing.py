"""Two warehouses, row by row."""

from __future__ import annotations

from pathlib import Path

import duckdb


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
            described = connection.execute(f"describe one.{table}").fetchall()
            # A kept model is a zip file, which holds the time of its making.
            columns = ", ".join(f'"{row[0]}"' for row in described if row[0] != "fitted_model")
            mine, theirs = (f"select {columns} from {w}.{table}" for w in ("one", "other"))
            n_other = connection.execute(
                f"select count(*) from (({mine} except all {theirs}) "
                f"union all ({theirs} except all {mine}))"
            ).fetchone()[0]
            if n_other:
                wrong.append(f"{table}: {n_other} rows")
        return wrong
