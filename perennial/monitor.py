"""Say what is wrong with a warehouse: its last builds, and the checks of its data."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from perennial.checks import sentence
from perennial.errors import UserError
from perennial.fingerprints import first_line
from perennial.release.making import WAREHOUSE, open_warehouse
from perennial.shops import add_shop_arguments, warehouse_of

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Alert:
    """One thing that is wrong; `severity` is error or warning."""

    severity: str
    check: str
    place: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.severity:<8} {self.check:<13} {self.place}: {self.sentence}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `perennial monitor` takes."""
    add_shop_arguments(parser, "the warehouse; it is opened read-only")
    parser.add_argument(
        "--builds",
        type=int,
        default=5,
        metavar="N",
        help="how many of the last builds to show (default: %(default)s)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 where there are only warnings, too"
    )


def run(args: argparse.Namespace) -> int:
    """Print the last builds and the alerts; return 1 if one of them is an error, else 0."""
    if args.builds < 1:
        raise UserError(f"--builds is {args.builds}; at least the last build must be shown.")
    warehouse = warehouse_of(args)
    with _opened(warehouse) as connection:
        _check_that_it_is_monitored(connection, warehouse)
        builds = describe_builds(connection, args.builds)
        alerts = all_alerts(connection)
        as_of = _as_of(connection)
    print(f"Warehouse  {warehouse}\nData as of {as_of}\n")
    print("\n".join(builds))
    print("\n" + "\n".join(describe_alerts(alerts)))
    worst = {alert.severity for alert in alerts}
    return int(ERROR in worst or (args.strict and bool(worst)))


def alerts_of(warehouse: Path) -> list[Alert]:
    """Return the alerts of a built warehouse, errors first; UserError if it cannot be read."""
    with _opened(warehouse) as connection:
        return all_alerts(connection)


@contextmanager
def _opened(warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_warehouse(warehouse) as connection:
        connection.execute(f"use {WAREHOUSE}")
        try:
            yield connection
        except duckdb.Error as error:
            raise UserError(
                f"{warehouse} cannot be read ({first_line(error)}); run `perennial build` on it "
                "with this version."
            ) from error


def all_alerts(connection: duckdb.DuckDBPyConnection) -> list[Alert]:
    """Return what is wrong with the opened warehouse, errors first."""
    found = failed_build(connection) + odd_models(connection) + data_alerts(connection)
    return sorted(found, key=lambda alert: alert.severity)


def data_alerts(connection: duckdb.DuckDBPyConnection) -> list[Alert]:
    """Return the alerts of marts.data_checks, the worst first."""
    if not _has(connection, "marts", "data_checks"):
        return []
    rows = connection.execute(
        """
        select
            severity, check_name, table_name, subject, span_days, checked_on, value,
            expected_value, threshold
        from marts.data_checks
        where is_alert
        order by severity, score / nullif(threshold, 0) desc nulls last, table_name, subject,
            check_name, span_days
        """
    ).fetchall()
    return [
        Alert(severity, check, table, sentence(check, *said))
        for severity, check, table, *said in rows
    ]


def failed_build(connection: duckdb.DuckDBPyConnection) -> list[Alert]:
    """Return what went wrong in the last run: an alert per failed node, or that it has no end."""
    if not _has(connection, "monitoring", "runs"):
        return []
    last = connection.execute(
        "select invocation_id, started_at, status from monitoring.runs order by started_at desc "
        "limit 1"
    ).fetchone()
    if last is None:
        return []
    invocation, started_at, status = last
    if status == "unfinished":
        text = f"the run of {started_at:%Y-%m-%d %H:%M} UTC did not come to its end; run it again"
        return [Alert(ERROR, "build", "run", text)]
    rows = connection.execute(
        """
        select status, kind, node, message
        from monitoring.run_results
        where
            invocation_id = ?
            and status in ('error', 'fail', 'runtime error', 'partial success', 'warn')
        order by status, node
        """,
        [invocation],
    ).fetchall()
    return [
        Alert(
            WARNING if outcome == "warn" else ERROR,
            "build",
            f"{kind} {node}",
            " ".join((message or outcome).split()),
        )
        for outcome, kind, node, message in rows
    ]


def odd_models(connection: duckdb.DuckDBPyConnection) -> list[Alert]:
    """Return the tables that the last build made much slower, or much smaller, than others did.

    Slower: by ten seconds and five robust deviations than in five earlier builds that made the
    table in the same way. Smaller: it has lost more than half of its rows.
    """
    if not _has(connection, "monitoring", "run_results"):
        return []
    rows = connection.execute(
        """
        with tables as (
            select
                results.node,
                results.made,
                results.seconds,
                results.n_rows,
                lag(results.n_rows) over (
                    partition by results.node
                    order by runs.started_at
                ) as n_rows_before,
                runs.started_at = max(runs.started_at) over () as is_last
            from monitoring.run_results as results
            inner join monitoring.runs as runs
                on results.invocation_id = runs.invocation_id
            where results.kind = 'model' and results.n_rows is not null
        ),

        medians as (
            select
                node,
                made,
                count(*) as n_builds,
                median(seconds) as usual_seconds
            from tables
            where not is_last
            group by all
        ),

        usual as (
            select
                medians.*,
                1.4826 * median(abs(tables.seconds - medians.usual_seconds)) as scale
            from medians
            inner join tables
                on
                    medians.node = tables.node
                    and medians.made = tables.made
                    and not tables.is_last
            group by all
        )

        select
            tables.node,
            tables.seconds,
            usual.usual_seconds,
            tables.n_rows,
            tables.n_rows_before,
            coalesce(
                usual.n_builds >= 5
                and tables.seconds - usual.usual_seconds > greatest(10, 5 * usual.scale),
                false
            ) as is_slow,
            coalesce(2 * tables.n_rows < tables.n_rows_before, false) as is_small
        from tables
        left join usual
            on tables.node = usual.node and tables.made = usual.made
        where tables.is_last and (is_slow or is_small)
        order by tables.node
        """
    ).fetchall()
    alerts = []
    for node, seconds, usual, n_rows, n_rows_before, is_slow, is_small in rows:
        if is_small:
            text = f"{n_rows:,} rows, {n_rows_before:,} in the build before"
            alerts.append(Alert(WARNING, "build", f"model {node}", text))
        if is_slow:
            text = f"took {seconds:.0f} seconds, usually {usual:.0f}"
            alerts.append(Alert(WARNING, "build", f"model {node}", text))
    return alerts


def describe_builds(connection: duckdb.DuckDBPyConnection, n_builds: int) -> list[str]:
    """Return a table of the last runs as lines, the newest first."""
    rows = connection.execute(
        """
        select
            runs.started_at,
            runs.command,
            runs.status,
            epoch(runs.ended_at - runs.started_at) as seconds,
            count(*) filter (results.kind = 'model' and results.status = 'success') as n_models,
            count(*) filter (results.made = 'increment') as n_increments,
            count(*) filter (
                results.kind in ('test', 'unit_test') and results.status = 'pass'
            ) as n_passed,
            count(*) filter (
                results.status in ('error', 'fail', 'runtime error')
            ) as n_failed,
            arg_max(results.node, results.seconds) filter (results.kind = 'model') as slowest,
            max(results.seconds) filter (results.kind = 'model') as slowest_seconds
        from monitoring.runs as runs
        left join monitoring.run_results as results
            on runs.invocation_id = results.invocation_id
        group by runs.invocation_id, runs.started_at, runs.command, runs.status, runs.ended_at
        order by runs.started_at desc, runs.invocation_id
        limit ?
        """,
        [n_builds],
    ).fetchall()
    lines = [
        f"{'run at (UTC)':<18}{'command':<9}{'status':<12}{'took':>8}{'models':>8}"
        f"{'increm.':>9}{'tests':>7}{'failed':>8}  slowest model"
    ]
    for at, command, status, seconds, models, increments, passed, failed, slowest, took in rows:
        time = "" if seconds is None else f"{seconds:,.0f} s"
        slow = f"{slowest}, {took:.1f} s" if slowest else ""
        lines.append(
            f"{at:%Y-%m-%d %H:%M}  {command:<9}{status:<12}{time:>8}{models:>8}"
            f"{increments:>9}{passed:>7}{failed:>8}  {slow}".rstrip()
        )
    return lines


def describe_alerts(alerts: list[Alert]) -> list[str]:
    """Return the alerts as lines, and a last line that counts them."""
    n_errors = sum(alert.severity == ERROR for alert in alerts)
    n_warnings = len(alerts) - n_errors
    if not alerts:
        return ["No alert: volumes, freshness, quarantine and drift are as usual."]
    return [
        *map(str, alerts),
        f"\n{_counted(n_errors, 'error')}, {_counted(n_warnings, 'warning')}; docs/monitoring.md "
        "says what to do.",
    ]


def _counted(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"


def _check_that_it_is_monitored(connection: duckdb.DuckDBPyConnection, warehouse: Path) -> None:
    if not _has(connection, "monitoring", "runs"):
        raise UserError(
            f"{warehouse} has no run log: it was built by an older version, or by something else; "
            "run `perennial build` on it once."
        )


def _has(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> bool:
    return bool(
        connection.execute(
            "select 1 from duckdb_tables() where database_name = ? and schema_name = ? "
            "and table_name = ?",
            [WAREHOUSE, schema, table],
        ).fetchone()
    )


def _as_of(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the moment that the marts are of, as marts.settings has it."""
    if not _has(connection, "marts", "settings"):
        return "a moment not known: no build has come so far"
    row = connection.execute("select value from marts.settings where name = 'as_of'").fetchone()
    return f"{row[0]} UTC" if row and row[0] else "no moment: the shop is empty"
