"""The checks of marts.data_checks, in words."""

from __future__ import annotations

from datetime import date

# What each check says of a table; {when} is a day or a week.
SENTENCES = {
    "missing rows": "{value:,.0f} rows {when}, expected {expected:,.0f}",
    "surplus rows": "{value:,.0f} rows {when}, expected {expected:,.0f}",
    "refused": "{value:.1%} of the rows {when} were refused, usually {expected:.1%}",
    "duplicates": "{value:.1%} of the rows {when} were duplicates, usually {expected:.1%}",
    "empty column": "{subject} has {value:,.0f} values {when}, expected {expected:,.0f}",
    "silence": "no rows for {value:.0f} full days until {on}, at most {threshold:.0f} are usual",
    "quarantine": "{value:.1%} of all rows are in quarantine, {threshold:.1%} are allowed",
    "drift": "{subject} has drifted: stability index {value:.2f}, usually {expected:.2f}",
}


def sentence(
    check: str,
    subject: str,
    span_days: int | None,
    on: date,
    value: float,
    expected: float | None,
    threshold: float,
) -> str:
    """Return what a row of marts.data_checks says; the arguments are its columns."""
    return SENTENCES[check].format(
        subject=subject,
        when=f"in the {span_days} days to {on}" if span_days and span_days > 1 else f"on {on}",
        on=on,
        value=value,
        expected=expected,
        threshold=threshold,
    )
