"""The season as a clock: in a busy month it runs faster.

If all customers buy s(t) times as often at a time t of the year, their purchases are a process
without season on a clock that runs s(t) times as fast. So the models of purchases stay what they
are, and only the times that they are fitted on and asked about are read from that clock.

How busy a month is must be told apart from who its customers are. A shop that has just won many
customers in November sees their first repeat purchases in December; a warehouse that begins in
January takes all who come then for new ones, the most loyal first. Purchases per day are therefore
taken as a product of what the age makes, what the month of the first purchase makes and what the
month of the year makes, which is fitted by making the sums of each agree in turn (iterative
proportional fitting, Deming and Stephan 1940).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

# What has come once is no season: half the months at least were there twice.
MIN_HISTORY_DAYS = 548
# As if so many purchases more had been seen in each month, as many as without season.
PRIOR_PURCHASES = 20
Z = 1.959963984540054

DAYS_IN_MONTH = np.array([31, 28.2425, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
FLAT = (1.0,) * 12

# As in purchase_season_counts.
PERIOD_DAYS = 28

_ROUNDS = 2000
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
        low, high: its interval of 95 %, shape (12,).
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

    Customers grow old by the season's clock, too: after a busy December they look tired in January
    by the calendar. So once a season is known, ages are read from its clock and it is fitted again.

    Args:
        counts: rows of `purchase_season_counts` of one cut, in any order.

    Raises:
        ValueError: in some month nobody could have bought again.
    """
    rows = counts.sort("cohort_start_on", "age_period", "month_number")
    days, purchases = (rows[name].to_numpy() for name in ("n_customer_days", "n_purchases"))
    month = rows["month_number"].to_numpy() - 1
    if len(np.unique(month)) < 12:
        raise ValueError("there is a month of the year in which nobody could have bought again")
    cohort, age = (
        rows[name].rank("dense").to_numpy() - 1 for name in ("cohort_start_on", "age_period")
    )
    index, _ = _fitted(days, purchases, month, cohort, age)
    age = np.unique(_periods_by_clock(rows, index), return_inverse=True)[1]
    index, expected = _fitted(days, purchases, month, cohort, age)
    reach = np.exp(Z * _errors(expected, month, cohort, age))
    return Season(index, index / reach, index * reach, np.bincount(month, purchases).astype(int))


def _fitted(
    days: np.ndarray, purchases: np.ndarray, month: np.ndarray, cohort: np.ndarray, age: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of each month, and the purchases that it lets expect in each cell.

    Args:
        days, purchases: of each cell, both of shape (n,).
        month, cohort, age: which each cell is of, numbered from 0.
    """

    def factor(of: np.ndarray, rest: np.ndarray, prior: float) -> np.ndarray:
        """Return how many times as often purchases came as the rest lets expect."""
        came, expected = np.bincount(of, purchases), np.bincount(of, days * rest)
        return (came + prior) / np.maximum(expected + prior, 1e-12)

    index, by_cohort = np.ones(12), np.ones(cohort.max() + 1)
    for _ in range(_ROUNDS):
        by_age = factor(age, index[month] * by_cohort[cohort], 0.0)
        by_cohort = factor(cohort, index[month] * by_age[age], PRIOR_PURCHASES)
        found = factor(month, by_age[age] * by_cohort[cohort], PRIOR_PURCHASES)
        found /= np.average(found, weights=DAYS_IN_MONTH)
        is_settled = np.abs(found - index).max() < 1e-9
        index = found
        if is_settled:
            break
    return index, days * by_age[age] * by_cohort[cohort] * index[month]


def _periods_by_clock(rows: pl.DataFrame, index: np.ndarray) -> np.ndarray:
    """Return the age of each cell in periods of the season's clock, by the middle of its days."""
    from_day = rows["cohort_start_on"].to_numpy().astype("datetime64[D]") + 15
    to_day = from_day + rows["age_period"].to_numpy() * PERIOD_DAYS + PERIOD_DAYS // 2
    today = to_day.max()
    clock = Clock(today.item(), tuple(index.tolist()))
    time = clock.elapsed((today - from_day).astype(int), (today - to_day).astype(int))
    return (time // PERIOD_DAYS).astype(int)


def _errors(expected: np.ndarray, *of: np.ndarray) -> np.ndarray:
    """Return the standard errors of the logarithms of the first factor, shape (12,).

    From the information that Poisson counts hold of all factors at once: where months cannot be
    told from ages or from cohorts, they are large.

    Args:
        expected: the counts that are expected, shape (n,).
        of: which month, cohort and age each is of, numbered from 0, each of shape (n,).
    """
    begins = np.cumsum([0, *(numbers.max() + 1 for numbers in of)])
    design = np.zeros((len(expected), begins[-1]))
    for numbers, begin in zip(of, begins[:-1], strict=True):
        design[np.arange(len(numbers)), begin + numbers] = 1
    # Months and cohorts have the prior; ages only so much that the matrix can be inverted.
    prior = np.where(np.arange(begins[-1]) < begins[2], PRIOR_PURCHASES, 1e-6)
    spread = np.linalg.inv(design.T @ (design * expected[:, None]) + np.diag(prior))[:12, :12]
    # Of the index, whose mean over the year is 1.
    centred = np.eye(12) - DAYS_IN_MONTH / DAYS_IN_MONTH.sum()
    # Linear algebra adds up in an order of its own: the last digits differ from run to run.
    return np.round(np.sqrt(np.diag(centred @ spread @ centred.T)), 9)
