"""Numbers and dates as the page writes them."""

from __future__ import annotations

import math
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


def signed(value: float | None, digits: int = 1) -> str:
    """-1234.56 -> −1,234.6; 2 -> +2.0."""
    if value is None:
        return NOT_KNOWN
    text = f"{abs(value):,.{digits}f}"
    if not float(text.replace(",", "")):
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def duration(hours: float | None) -> str:
    """.03 -> 2 minutes; 36 -> 1.5 days."""
    if hours is None:
        return NOT_KNOWN
    if hours * 60 < 1.5:
        return f"{hours * 3600:,.0f} seconds"
    if hours < 1.5:
        return f"{hours * 60:,.0f} minutes"
    return f"{hours:,.1f} hours" if hours < 36 else f"{hours / 24:,.1f} days"


def wilson(numerator: int, denominator: int) -> tuple[float, float]:
    """Return the ends of the 95 % Wilson interval of a share.

    >>> [round(end, 4) for end in wilson(5, 10)]
    [0.2366, 0.7634]
    """
    z = 1.959963984540054
    rate, n = numerator / denominator, denominator
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)
