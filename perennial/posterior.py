"""The best that can be known of a simulated customer from the orders alone.

The simulator's own process, turned round: while alive a customer orders at rate
lambda * season(t), leaves at rate mu, and the rates of a channel's customers are
Gamma(r, alpha) and Gamma(s, beta). Given when somebody has ordered, Bayes' rule says how
likely the next order is. No model that sees orders only can rank better on average, so
this is the ceiling against which a churn model is measured. (A model that also sees the
browsing may pass it, since browsing ends with the customer's life as orders do.)

With tau(t) the operational time, the integral of season over calendar time, orders are a
homogeneous process in tau, and both rates integrate out in closed form. What is left is
one integral over the moment of leaving, done by Gauss and Legendre's rule:

    P(no order in (T, T+h] | x, t_x) = (D + E + A(T + h)) / (D + A(T)),
    A(v) = (alpha + tau(v) - tau(t0))^-(r + x) * (beta + v - t0)^-s        alive at v, silent
    D, E = integral over (t_x, T], (T, T+h] of
           s (beta + v - t0)^-(s + 1) * (alpha + tau(v) - tau(t0))^-(r + x) dv     left at v

Orders that campaigns and experiments add or take away are ignored, as are cancelled
orders if the caller leaves them out; both are a few in a hundred. Days are counted from
the start of the simulated window.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from perennial.simulate.parameters import FLAT, Plan, Season

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
# On (0, 1). Powers of the nodes crowd them where the integrand falls steeply.
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2
_BLOCK = 20_000


@dataclass(frozen=True)
class Process:
    """The process of purchase and dropout: a season, and each channel's population.

    `channels` maps a channel's name to (r, alpha, s, beta), rates per day.
    """

    start: date
    season: Season
    channels: dict[str, tuple[float, float, float, float]]

    @classmethod
    def of_plan(cls, plan: Plan) -> Process:
        """The process of a simulator's plan."""
        return cls(
            plan.start, plan.season, {c.name: (c.r, c.alpha, c.s, c.beta) for c in plan.channels}
        )

    @classmethod
    def of_file(cls, path: Path | str) -> Process:
        """The process that a shop's `truth/parameters.json` describes."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        season = {k: v for k, v in content["season"].items() if k != "formula"}
        season["peaks"] = tuple(tuple(peak) for peak in season["peaks"])
        season["week"] = tuple(season["week"])
        return cls(
            date.fromisoformat(content["start"]),
            Season(**season),
            {c["name"]: (c["r"], c["alpha"], c["s"], c["beta"]) for c in content["channels"]},
        )

    def days(self, moments: np.ndarray) -> np.ndarray:
        """UTC moments (datetime64, any shape) as days from start."""
        return (np.asarray(moments) - np.datetime64(self.start)) / np.timedelta64(1, "D")

    def tau(self, days: np.ndarray) -> np.ndarray:
        """Operational time at calendar times `days` (any shape), both in days from start."""
        if self.season == FLAT:
            return np.asarray(days, dtype=float)
        calendar, operational = self._grid(int(np.ceil(np.max(days, initial=0.0))) + 1)
        return np.interp(days, calendar, operational)

    def _grid(self, n_days: int) -> tuple[np.ndarray, np.ndarray]:
        return self.season.operational(self.start, n_days)


@dataclass(frozen=True)
class Histories:
    """What is known of each customer at a snapshot, as arrays of shape (customers,).

    Attributes
    ----------
    channel : names of the channels by which they came.
    first : time of the first order.
    repeats : number of orders after the first, up to the snapshot.
    last : time of the last order up to the snapshot (the first, where there is no repeat).

    """

    channel: np.ndarray
    first: np.ndarray
    repeats: np.ndarray
    last: np.ndarray


def summarise(
    customer: np.ndarray, channel: np.ndarray, days: np.ndarray, snapshot: float
) -> tuple[np.ndarray, Histories]:
    """Sum up orders (customer, channel, time in days) as of a snapshot.

    Orders after the snapshot are left out. Returns the customers in ascending order and
    their histories.
    """
    customer, channel, days = (np.asarray(values) for values in (customer, channel, days))
    seen = days <= snapshot
    customer, channel, days = customer[seen], channel[seen], days[seen]
    order = np.lexsort((days, customer))
    who, begin, count = np.unique(customer[order], return_index=True, return_counts=True)
    return who, Histories(
        channel[order][begin], days[order][begin], count - 1, days[order][begin + count - 1]
    )


def p_no_order(
    process: Process, histories: Histories, snapshot: float, horizon: float
) -> np.ndarray:
    """The probability of no order in (snapshot, snapshot + horizon] for each customer.

    Snapshot and horizon in days; every first and last order must be before the snapshot.
    """
    return _in_blocks(_no_order, process, histories, snapshot, horizon)


def p_alive(process: Process, histories: Histories, snapshot: float) -> np.ndarray:
    """The probability that each customer has not left by the snapshot."""
    return _in_blocks(_alive, process, histories, snapshot, 0.0)


def expected_orders(
    process: Process, histories: Histories, snapshot: float, horizon: float
) -> np.ndarray:
    """The expected number of orders in (snapshot, snapshot + horizon] for each customer."""
    return _in_blocks(_expected, process, histories, snapshot, horizon)


def _in_blocks(function, process, histories, snapshot, horizon) -> np.ndarray:
    """Apply a function to blocks of customers, so that memory stays small."""
    if np.max(histories.last, initial=-np.inf) > snapshot:
        raise ValueError("a last order lies after the snapshot")
    # One grid of operational time for all blocks.
    calendar, operational = process._grid(int(np.ceil(snapshot + horizon)) + 1)
    if process.season == FLAT:
        calendar, operational = calendar[[0, -1]], operational[[0, -1]]

    def tau(days):
        return np.interp(days, calendar, operational)

    out = np.empty(len(histories.first))
    names, code = np.unique(histories.channel, return_inverse=True)
    table = np.array([process.channels[str(name)] for name in names], dtype=float).reshape(-1, 4)
    for begin in range(0, len(out), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        rates = table[code[part]].T
        out[part] = function(
            tau,
            rates,
            np.asarray(histories.first[part], dtype=float),
            np.asarray(histories.repeats[part], dtype=float),
            np.asarray(histories.last[part], dtype=float),
            float(snapshot),
            float(horizon),
        )
    return out


def _log_silent(tau, rates, first, repeats, until) -> np.ndarray:
    """log A(until), for `until` of shape (customers,) or a number."""
    r, alpha, s, beta = rates
    return -(r + repeats) * np.log(alpha + tau(until) - tau(first)) - s * np.log(
        beta + until - first
    )


def _left(tau, rates, first, repeats, begin, end, power, level) -> np.ndarray:
    """The integral of the density of leaving over (begin, end], times exp(-level)."""
    r, alpha, s, beta = (rate[:, None] for rate in rates)
    nodes = _NODES**power
    width = (end - begin)[:, None]
    v = begin[:, None] + width * nodes[None, :]
    log_density = (
        np.log(s)
        - (s + 1) * np.log(beta + v - first[:, None])
        - (r + repeats[:, None]) * np.log(alpha + tau(v) - tau(first)[:, None])
        - level[:, None]
    )
    weights = _WEIGHTS * power * _NODES ** (power - 1)
    return (np.exp(log_density) @ weights) * width[:, 0]


def _parts(tau, rates, first, repeats, last, snapshot):
    """A(T) and D, both times exp(-level), and the level that keeps them from overflow."""
    _, _, s, beta = rates
    alive = _log_silent(tau, rates, first, repeats, snapshot)
    highest = (
        _log_silent(tau, rates, first, repeats, last)
        + np.log(s)
        - np.log(beta + last - first)
        + np.log1p(snapshot - last)
    )
    level = np.maximum(alive, highest)
    left = _left(tau, rates, first, repeats, last, np.full_like(last, snapshot), 4, level)
    return np.exp(alive - level), left, level


def _no_order(tau, rates, first, repeats, last, snapshot, horizon) -> np.ndarray:
    alive, left, level = _parts(tau, rates, first, repeats, last, snapshot)
    begin = np.full_like(last, snapshot)
    leaves = _left(tau, rates, first, repeats, begin, begin + horizon, 2, level)
    stays = np.exp(_log_silent(tau, rates, first, repeats, snapshot + horizon) - level)
    return np.clip((left + leaves + stays) / (left + alive), 0.0, 1.0)


def _alive(tau, rates, first, repeats, last, snapshot, _) -> np.ndarray:
    alive, left, _ = _parts(tau, rates, first, repeats, last, snapshot)
    return alive / (left + alive)


def _expected(tau, rates, first, repeats, last, snapshot, horizon) -> np.ndarray:
    r, alpha, s, beta = rates
    chance = _alive(tau, rates, first, repeats, last, snapshot, horizon)
    # Given life at the snapshot the two rates are independent again: E[lambda] times the
    # integral of d tau over the chance to be still there. A day at a time follows the season.
    rate = (r + repeats) / (alpha + tau(snapshot) - tau(first))
    edges = np.append(np.arange(snapshot, snapshot + horizon, 1.0), snapshot + horizon)
    gain = np.diff(tau(edges))
    middle = (edges[1:] + edges[:-1]) / 2
    ratio = (beta + snapshot - first)[:, None] / (beta[:, None] + middle - first[:, None])
    return chance * rate * (ratio ** s[:, None] @ gain)
