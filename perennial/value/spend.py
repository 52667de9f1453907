"""How much customers spend per purchase: the Gamma-Gamma model.

What a customer spends varies around a mean of the customer's own as a gamma distribution with
shape p; the means vary among customers so that its rate is gamma distributed with q and v, and
have nothing to do with how often somebody buys. Fader and Hardie, "The Gamma-Gamma model of
monetary value" (2013).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betainc, betaln, digamma, expit, gammaln, log_expit

from perennial.value.purchases import State


@dataclass(frozen=True)
class SpendModel:
    """A fitted model; v is in the unit of the amounts.

    Attributes:
        p, q, v: its parameters.
        log_likelihood: of the means that it was fitted on.
        n_customers: how many customers those are of.
    """

    p: float
    q: float
    v: float
    log_likelihood: float = float("nan")
    n_customers: float = float("nan")

    def unit(self, purchases: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Return v plus all that customers have spent, shape (n,); arguments as below."""
        return self.v + purchases * np.where(purchases > 0, mean, 0.0)

    def expected_amount(self, purchases: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Return what customers are expected to spend per purchase, shape (n,).

        Args:
            purchases: how many purchases each mean is of; 0 for customers of whom none is known.
            mean: what they spent per purchase; ignored where there are none.
        """
        return self.p * self.unit(purchases, mean) / (self.p * purchases + self.q - 1)


def fit_spend(purchases: np.ndarray, mean: np.ndarray) -> SpendModel:
    """Fit the model by maximum likelihood.

    Args:
        purchases: of each customer, how many purchases the mean is of, shape (n,); all above 0.
        mean: mean amount per purchase, shape (n,); all above 0.

    Raises:
        ValueError: fewer than two customers, an amount that is not positive, or means that are
            all the same, for which the likelihood has no maximum.
    """
    x, m = np.asarray(purchases, dtype=float), np.asarray(mean, dtype=float)
    if len(x) < 2 or not (np.isfinite(m).all() and (m > 0).all() and (x > 0).all()):
        raise ValueError("needs two customers or more, with finite amounts above 0")
    if np.ptp(m) < 1e-9 * m.max():
        raise ValueError("all customers spend the same")
    unit = float(np.average(m, weights=x))
    scaled = m / unit

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        # Means exist for q above 1 only.
        p, q, v = np.exp(parameters)
        q = 1 + q
        total = x * scaled + v
        value = (
            gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(v)
            + (p * x - 1) * np.log(scaled) + p * x * np.log(x) - (p * x + q) * np.log(total)
        )  # fmt: skip
        by_p = x * (
            digamma(p * x + q) - digamma(p * x) + np.log(scaled) + np.log(x) - np.log(total)
        )
        by_q = digamma(p * x + q) - digamma(q) + np.log(v) - np.log(total)
        by_v = q / v - (p * x + q) / total
        gradient = np.array([by_p.sum() * p, by_q.sum() * (q - 1), by_v.sum() * v])
        return -value.mean(), -gradient / len(x)

    found = minimize(
        loss, np.log([2.0, 2.0, 2.0]), jac=True, method="L-BFGS-B", bounds=[(-12, 12)] * 3,
        options={"maxiter": 2000, "ftol": 1e-13, "gtol": 1e-8},
    )  # fmt: skip
    if not np.isfinite(found.fun):
        raise ValueError(f"the likelihood has no maximum: {found.message}")
    p, q, v = np.exp(found.x)
    value = -found.fun * len(x) - np.log(unit) * len(x)
    return SpendModel(float(p), float(1 + q), float(v * unit), float(value), float(len(x)))


def value_quantile(
    share: float | np.ndarray, time: float, state: State, spend: SpendModel, purchases: np.ndarray
) -> np.ndarray:
    """Return what customers will spend at most, with a probability of `share`, shape (n,).

    The total of n purchases is, in units of SpendModel.unit, a beta prime distribution with p * n
    and p * x + q. Over the numbers of purchases it is a mixture with a share of zeros.

    Args:
        share: from 0 to 1, for all or of shape (n,).
        time: from now on, in the unit of the histories.
        state: what the purchase model knows of the customers.
        spend: the fitted model of amounts.
        purchases: how many purchases each customer's mean is of, 0 for none.

    Returns:
        Amounts in units of SpendModel.unit: it is the same for all customers with one history.
    """
    found = np.zeros(len(purchases))
    # Whoever most likely buys nothing needs no search.
    shares = np.broadcast_to(share, found.shape)
    rows = np.flatnonzero(state.more_than(0, time) > 1 - shares)
    for chosen, mixture in _mixtures(state, spend, purchases, time, rows):
        found[chosen] = mixture.quantile(shares[chosen])
    return found


def value_below(
    amount: np.ndarray,
    time: float,
    state: State,
    spend: SpendModel,
    purchases: np.ndarray,
    mean: np.ndarray,
) -> np.ndarray:
    """Return the probability that customers will spend no more than an amount, shape (n,).

    Nobody spends less than nothing.
    """
    unit = spend.unit(purchases, mean)
    found = np.where(amount < 0, 0.0, 1 - state.more_than(0, time))
    rows = np.flatnonzero(amount > 0)
    for chosen, mixture in _mixtures(state, spend, purchases, time, rows):
        found[chosen] = mixture.below(np.log(amount[chosen] / unit[chosen]))
    return found


def _mixtures(
    state: State, spend: SpendModel, purchases: np.ndarray, time: float, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, Mixture]]:
    """Give customers with about as many purchases ahead of them at a time, and their mixture."""
    tail = spend.p * purchases + spend.q
    most = np.maximum(1, state.rows(rows).purchases_quantile(1 - 1e-6, time))
    sizes = np.ceil(2 * np.log2(most)).astype(int)
    for size in np.unique(sizes):
        same = rows[sizes == size]
        blocks = _blocks(int(most[sizes == size].max()))
        for chosen in np.array_split(same, max(1, len(same) // 5_000)):
            some = state.rows(chosen)
            more = np.array([some.more_than(first - 1, time) for first, _ in blocks])
            # What is more than that goes to the largest numbers that are looked at.
            exactly = more - np.vstack([more[1:], np.zeros(len(chosen))])
            middles = np.array([(first + last) / 2 for first, last in blocks])
            yield chosen, Mixture(spend.p * middles, tail[chosen], 1 - more[0], exactly)


def _blocks(most: int) -> list[tuple[int, int]]:
    """Return numbers of purchases that are looked at together, as the first and the last of each.

    Ten at most are alone; more are taken as their middle: what 40 or 43 purchases bring differs
    by less than what one customer's 40 may bring.
    """
    blocks, first = [], 1
    while first <= most:
        last = first if first < 10 else first + first // 8
        blocks.append((first, last))
        first = last + 1
    return blocks


@dataclass(frozen=True)
class Mixture:
    """What customers spend in all, in units of SpendModel.unit.

    Attributes:
        shapes: first parameters of the beta prime distributions, shape (blocks,).
        tail: their second parameter, shape (customers,).
        zero: probability of no purchase, shape (customers,).
        exactly: probability of as many purchases as a block stands for, shape (blocks, customers).
    """

    shapes: np.ndarray
    tail: np.ndarray
    zero: np.ndarray
    exactly: np.ndarray

    def below(self, log_amount: np.ndarray) -> np.ndarray:
        """Return the probability of no more than an amount, given as its logarithm."""
        # s / (1 + s) has a beta distribution.
        part = expit(log_amount)
        total = self.zero.copy()
        for shape, probability in zip(self.shapes, self.exactly, strict=True):
            if probability.max(initial=0) > 1e-7:
                total += probability * betainc(shape, self.tail, part)
        return total

    def density(self, log_amount: np.ndarray) -> np.ndarray:
        """Return the density of the logarithm of the amount."""
        log_part, log_rest = log_expit(log_amount), log_expit(-log_amount)
        total = np.zeros(len(self.tail))
        for shape, probability in zip(self.shapes, self.exactly, strict=True):
            if probability.max(initial=0) > 1e-7:
                log_density = shape * log_part + self.tail * log_rest - betaln(shape, self.tail)
                total += probability * np.exp(log_density)
        return total

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """Return the amount by Newton's steps, kept within an interval that only shrinks.

        The share is of shape (customers,).
        """
        low, high = np.full(len(self.tail), -40.0), np.full(len(self.tail), 40.0)
        at = np.log(np.maximum(self.shapes @ self.exactly, 1e-9) / self.tail)
        rows = np.arange(len(self.tail))
        for _ in range(100):
            some = Mixture(self.shapes, self.tail[rows], self.zero[rows], self.exactly[:, rows])
            gap = some.below(at[rows]) - share[rows]
            low[rows] = np.where(gap < 0, at[rows], low[rows])
            high[rows] = np.where(gap < 0, high[rows], at[rows])
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                step = at[rows] - gap / some.density(at[rows])
            is_inside = (step > low[rows]) & (step < high[rows])
            following = np.where(is_inside, step, (low[rows] + high[rows]) / 2)
            # A step of Newton's leaves the square of its length to go.
            is_open = np.abs(following - at[rows]) > 1e-4
            at[rows] = following
            rows = rows[is_open]
            if not rows.size:
                break
        return np.exp(at)
