"""Numbers and dates as the page writes them."""

from __future__ import annotations

from datetime import date, datetime

NOT_KNOWN = "–"
NO_BREAK_SPACE = "\u00a0"

# Not from the system's locale: the same warehouse gives the same page everywhere.
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def count(value: float | None) -> str:
    """1234567 -> 1,234,567."""
    return NOT_KNOWN if value is None else f"{value:,.0f}"


def number(value: float | None, digits: int = 2) -> str:
    """1234.5678 -> 1,234.57."""
    return NOT_KNOWN if value is None else f"{value:,.{digits}f}"


def share(value: float | None) -> str:
    """.1234 -> 12.3%; small shares keep two digits that say something."""
    if value is None:
        return NOT_KNOWN
    if 0 < abs(value) < 0.00005:
        return "under 0.01%"
    return f"{value:.2%}" if 0 < abs(value) < 0.001 else f"{value:.1%}"


def money(value: float | None, currency: str | None = None) -> str:
    """1234.5 -> EUR 1,234.50; from ten thousand on without the cents."""
    if value is None:
        return NOT_KNOWN
    amount = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.2f}"
    return f"{currency}{NO_BREAK_SPACE}{amount}" if currency else amount


def figure(value: float | None, unit: str, currency: str | None) -> str:
    """Write a headline figure in its unit."""
    if unit == "money":
        return money(value, currency)
    return share(value) if unit == "share" else count(value)


def change(
    value: float | None, previous: float | None, unit: str, currency: str | None
) -> tuple[str, str]:
    """Say how a figure moved: ('up', 'Up 4.2% from 1,234'); the first word is for the eye."""
    if value is None:
        return "none", "Not known yet"
    if previous is None or (unit != "share" and previous <= 0):
        return "none", "Nothing earlier to compare with"
    before = figure(previous, unit, currency)
    if unit == "share":
        moved = round((value - previous) * 100, 1)
        size = f"{abs(moved):.1f} points"
    else:
        moved = round((value - previous) / previous * 100, 1)
        size = f"{abs(moved):,.1f}%"
    if not moved:
        return "same", f"Unchanged from {before}"
    return (
        ("up", f"Up {size} from {before}") if moved > 0 else ("down", f"Down {size} from {before}")
    )


def month(value: date) -> str:
    """2011-03-01 -> Mar 2011."""
    return f"{MONTHS[value.month - 1][:3]} {value.year}"


def day(value: date | None) -> str:
    """2011-03-09 -> 9 March 2011."""
    return NOT_KNOWN if value is None else f"{value.day} {MONTHS[value.month - 1]} {value.year}"


def moment(text: str | None) -> str | None:
    """2011-03-09 15:22:00 -> 9 March 2011, 15:22 UTC; what is no moment stays as it is."""
    if text is None:
        return None
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError:
        return text
    if value.tzinfo is not None and value.utcoffset():
        return text
    return f"{day(value)}, {value:%H:%M} UTC"
