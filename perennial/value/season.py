"""The season as a clock: in a busy month it runs faster.

If all customers buy s(t) times as often at a time t of the year, their purchases are a process
without season on a clock that runs s(t) times as fast. So the models of purchases stay what they
are, and only the times that they are fitted on and asked about are read from that clock.

How busy a month is must be told apart from how old its customers are: a shop that has just won
many customers in November sees their first repeat purchases in December. Purchases per day are
therefore taken as a product of what the age makes and what the month makes, which is fitted by
making the sums of both agree in turn (iterative proportional fitting, Deming and Stephan 1940).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from scipy.stats import gamma

# A season that has not come round once is not known.
MIN_HISTORY_DAYS = 365
# As if so many purchases had been seen in each month, as many as without season.
PRIOR_PURCHASES = 20
INTERVAL = 0.95

DAYS_IN_MONTH = np.array([31, 28.2425, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
FLAT = (1.0,) * 12

_ROUNDS = 200
_DAY_ZERO = date(1970, 1, 1)


@dataclass(frozen=True)
class Clock:
    """Days of the calendar as days of the season's clock; a year has as many by both.

    Attributes:
        today: the last day that is known.
        index: of each month of the year, how many times as fast the clock runs, shape (12,).
    """

    today: date
    index: tuple[float, ...] = FLAT

    def elapsed(self, from_day: np.ndarray, to_day: np.ndarray) -> np.ndarray:
        """Return the time from the end of a day to that of another; both in days before today."""
        if self.index == FLAT:
            return np.asarray(from_day, dtype=float) - np.asarray(to_day, dtype=float)
        before = int(np.max(from_day, initial=0))
        at = np.append(0.0, np.cumsum(self._speed(-before, 0)))
        return at[before - np.asarray(to_day)] - at[before - np.asarray(from_day)]

    def ahead(self, days: int) -> float:
        """Return how much time the next days hold."""
        return float(self._speed(0, days).sum())

    def days_until(self, time: np.ndarray) -> np.ndarray:
        """Return within how many days from today a time has passed, shape (n,)."""
        if self.index == FLAT:
            return np.asarray(time, dtype=float)
        years = 5
        at = np.append(0.0, np.cumsum(self._speed(0, round(365.2425 * years))))
        # Beyond, a year is as long as by the calendar.
        beyond = np.maximum(np.asarray(time, dtype=float) - at[-1], 0.0)
        return np.interp(time, at, np.arange(len(at))) + beyond

    def _speed(self, first: int, last: int) -> np.ndarray:
        """Return the index of the days after today + first, until today + last."""
        days = (self.today - _DAY_ZERO).days + np.arange(first + 1, last + 1)
        months = days.astype("datetime64[D]").astype("datetime64[M]").astype(int) % 12
        return np.array(self.index)[months]


@dataclass(frozen=True)
class Season:
    """How often customers buy in each month of the year, beside what their age lets expect.

    Attributes:
        index: times as often as on average over the year, shape (12,).
        low, high: interval of the index, for the counts' own chance, shape (12,).
        purchases: how many purchases it was found from, shape (12,).
    """

    index: np.ndarray
    low: np.ndarray
    high: np.ndarray
    purchases: np.ndarray

    @property
    def log_speed(self) -> float:
        """Return the sum over all purchases of the logarithm of the index of their month.

        By so much a log-likelihood on the season's clock is larger on the calendar.
        """
        return float((self.purchases * np.log(self.index)).sum())

    def as_rows(self) -> list[dict]:
        """Return a row for each month."""
        columns = zip(
            *(v.tolist() for v in (self.index, self.low, self.high, self.purchases)), strict=True
        )
        return [
            {"month_number": number, "season_index": index, "season_index_low": low,
             "season_index_high": high, "n_purchases": int(n)}
            for number, (index, low, high, n) in enumerate(columns, 1)
        ]  # fmt: skip


def fit_season(counts: pl.DataFrame) -> Season:
    """Find the season of a shop's repeat purchases.

    Args:
        counts: rows of `purchase_season_counts` of one cut: age_period, month_number,
            n_customer_days and n_purchases.

    Raises:
        ValueError: in some month nobody could have bought again.
    """
    days, purchases = (_table(counts, name) for name in ("n_customer_days", "n_purchases"))
    if not (days.sum(axis=0) > 0).all():
        raise ValueError("there is a month of the year in which nobody could have bought again")
    index = np.ones(12)
    total = purchases.sum(axis=0)
    for _ in range(_ROUNDS):
        by_age = purchases.sum(axis=1) / np.maximum(days @ index, 1e-12)
        expected = by_age @ days
        found = (total + PRIOR_PURCHASES) / (expected + PRIOR_PURCHASES)
        found /= np.average(found, weights=DAYS_IN_MONTH)
        is_settled = np.abs(found - index).max() < 1e-9
        index = found
        if is_settled:
            break
    shape = total + PRIOR_PURCHASES
    low, high = (
        index * gamma.ppf(share, shape) / shape for share in ((1 - INTERVAL) / 2, (1 + INTERVAL) / 2)
    )
    return Season(index, low, high, total)


def _table(counts: pl.DataFrame, name: str) -> np.ndarray:
    """Return a column of counts by age and month, shape (ages, 12)."""
    ages = counts["age_period"].to_numpy()
    table = np.zeros((int(ages.max()) + 1 if len(ages) else 1, 12))
    np.add.at(table, (ages, counts["month_number"].to_numpy() - 1), counts[name].to_numpy())
    return table
