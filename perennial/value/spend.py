"""How much customers spend per purchase: the Gamma-Gamma model.

What a customer spends varies around a mean of the customer's own as a gamma distribution with
shape p; the means vary among customers so that its rate is gamma distributed with q and v, and
have nothing to do with how often somebody buys. Fader and Hardie, "The Gamma-Gamma model of
monetary value" (2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betainc, digamma, gammaln

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

    def expected_amount(self, purchases: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Return what customers are expected to spend per purchase, shape (n,).

        Args:
            purchases: how many purchases each mean is of; 0 for customers of whom none is known.
            mean: what they spent per purchase; ignored where there are none.
        """
        spent = purchases * np.where(purchases > 0, mean, 0.0)
        return self.p * (self.v + spent) / (self.p * purchases + self.q - 1)


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
    share: float,
    time: float,
    state: State,
    spend: SpendModel,
    purchases: np.ndarray,
    mean: np.ndarray,
) -> np.ndarray:
    """Return what customers will spend at most, with a probability of `share`, shape (n,).

    The total of n purchases is, in units of v + x * mean, a beta prime distribution with p * n
    and p * x + q. Over the numbers of purchases it is a mixture with a share of zeros.

    Args:
        share: between 0 and 1.
        time: from now on, in the unit of the histories.
        state: what the purchase model knows of the customers.
        spend: the fitted model of amounts.
        purchases: how many purchases each mean is of, 0 for none.
        mean: what was spent per purchase.
    """
    known = np.where(purchases > 0, purchases, 0.0)
    unit = spend.v + known * np.where(known > 0, mean, 0.0)
    tail = spend.p * known + spend.q
    found = np.zeros(len(unit))
    # Whoever most likely buys nothing needs no search.
    rows = np.flatnonzero(state.more_than(0, time) > 1 - share)
    most = state.rows(rows).purchases_quantile(1 - (1 - share) / 1000, time)
    # Those with about as many purchases ahead of them at a time: the others' terms are zeros.
    sizes = np.ceil(np.log2(most + 1)).astype(int)
    for size in np.unique(sizes):
        for chosen in np.array_split(rows[sizes == size], max(1, (sizes == size).sum() // 20_000)):
            found[chosen] = unit[chosen] * _mixture_quantile(
                share, state.rows(chosen), spend.p, tail[chosen], time, 2 ** int(size)
            )
    return found


def _mixture_quantile(
    share: float, state: State, p: float, tail: np.ndarray, time: float, most: int
) -> np.ndarray:
    """Return the quantile of the total in units of `unit`, by halving the odds' interval."""
    more = np.array([state.more_than(n, time) for n in range(most + 1)])
    exactly = more[:-1] - more[1:]
    exactly[-1] += more[-1]
    zero = 1 - more[0]
    # s / (1 + s) lies between 0 and 1, and its distribution is a beta distribution.
    low, high = np.zeros(len(tail)), np.ones(len(tail))
    for _ in range(40):
        middle = (low + high) / 2
        below = zero + sum(
            exactly[n - 1] * betainc(p * n, tail, middle) for n in range(1, most + 1)
        )
        is_below = below < share
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return low / (1 - low)
