"""How often customers will buy: BG/NBD, its modification, and what follows from them.

While customers are active they buy at a rate of their own, spread among them as a gamma
distribution with shape r and rate alpha; after a purchase they leave for good with a probability
of their own, spread as a beta distribution with a and b. BG/NBD: Fader, Hardie and Lee, Marketing
Science 24 (2005). The modified model lets customers leave after their first purchase too:
Batislam, Denizel and Filiztekin, IJRM 24 (2007). Effects of covariates: Fader and Hardie,
"Incorporating time-invariant covariates into the Pareto/NBD and BG/NBD models" (2007).

All of it needs of a customer only how many repeat purchases there were (x), when the last was
(t_x) and how long it is since the first (T). Times have any unit as long as it is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import minimize
from scipy.special import betainc, betaln, digamma, gammaln

# How often somebody who has just made a first purchase could have left so far.
MODELS = {"bg_nbd": 0, "mbg_nbd": 1}

# Where sums over numbers of purchases end at the latest.
MOST_PURCHASES = 10_000

# Effects of covariates are held near zero, as if each had been seen once to have none: a channel
# with three customers must not be all on its own.
EFFECT_SPREAD = 1.0


@dataclass(frozen=True)
class Histories:
    """What the models see of customers, each array of shape (n,).

    Attributes:
        repeats: x, repeat purchases.
        last: t_x, time from the first purchase to the last; 0 where it was the only one.
        age: T, time from the first purchase to the moment of looking back.
        customers: how many customers have this history.
        group: number of the customer's group, 0 for the one that others are compared with.
    """

    repeats: np.ndarray
    last: np.ndarray
    age: np.ndarray
    customers: np.ndarray
    group: np.ndarray

    @classmethod
    def of(cls, repeats, last, age, customers=None, group=None) -> Histories:
        """Return histories of any numbers; ValueError where one cannot be a history."""
        x, t_x, t = (np.asarray(values, dtype=float) for values in (repeats, last, age))
        n = np.ones(len(x)) if customers is None else np.asarray(customers, dtype=float)
        groups = np.zeros(len(x), dtype=int) if group is None else np.asarray(group, dtype=int)
        if not (np.isfinite(x).all() and np.isfinite(t_x).all() and np.isfinite(t).all()):
            raise ValueError("a history has a number that is not finite")
        if ((x < 0) | (t_x < 0) | (t_x > t) | ((x == 0) & (t_x > 0))).any():
            raise ValueError("a history needs 0 <= last <= age, and last = 0 without repeats")
        return cls(x, t_x, t, n, groups)

    @cached_property
    def distinct(self) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return of `repeats`, `last` and `age` the distinct pairs with the group.

        As values, groups and the place of each history among them. There are few, so that what is
        dear to compute is computed once for each.
        """
        found = {}
        for name in ("repeats", "last", "age"):
            values, numbers = np.unique(getattr(self, name), return_inverse=True)
            keys = numbers * (self.group.max(initial=0) + 1) + self.group
            _, firsts, places = np.unique(keys, return_index=True, return_inverse=True)
            found[name] = values[numbers[firsts]], self.group[firsts], places
        return found


@dataclass(frozen=True)
class PurchaseModel:
    """A fitted model.

    Attributes:
        name: one of MODELS.
        r, alpha, a, b: its parameters, alpha in the unit of time of the histories.
        rate_effects: by group, the logarithm of how many times as often its customers buy.
        leaving_effects: by group, the logarithm of how many times a is as large.
        log_likelihood: of the histories, without the penalty on effects.
        n_customers: how many customers it was fitted on.
        n_more_parameters: parameters of the clock that its times were read from.
    """

    name: str
    r: float
    alpha: float
    a: float
    b: float
    rate_effects: tuple[float, ...] = (0.0,)
    leaving_effects: tuple[float, ...] = (0.0,)
    log_likelihood: float = float("nan")
    n_customers: float = float("nan")
    n_more_parameters: int = 0

    @property
    def n_parameters(self) -> int:
        """Parameters that were fitted; the first group has no effects."""
        return 4 + 2 * (len(self.rate_effects) - 1) + self.n_more_parameters

    @property
    def bic(self) -> float:
        """Bayesian information criterion: the smaller, the better the model."""
        return self.n_parameters * np.log(self.n_customers) - 2 * self.log_likelihood

    def state(self, histories: Histories) -> State:
        """Return what the model knows of customers with these histories."""
        alpha = self.alpha * np.exp(-np.asarray(self.rate_effects)[histories.group])
        a = self.a * np.exp(np.asarray(self.leaving_effects)[histories.group])
        chances = histories.repeats + MODELS[self.name]
        stays, left = _stays_and_left(self.r, alpha, a, self.b, histories, chances)
        return State(
            shape=self.r + histories.repeats,
            rate=alpha + histories.age,
            a=a,
            b=self.b + chances,
            active=np.exp(stays - np.logaddexp(stays, left)),
        )


@dataclass(frozen=True)
class State:
    """What is known of customers after their histories, each array of shape (n,).

    Attributes:
        shape, rate: of the gamma distribution of the purchase rate of who is still active.
        a, b: of the beta distribution of their probability to leave after a purchase.
        active: the probability of being active. It is 1 for every customer of one purchase
            under BG/NBD, and no measure of churn.
    """

    shape: np.ndarray
    rate: np.ndarray
    a: np.ndarray
    b: np.ndarray
    active: np.ndarray

    def expected_purchases(self, time: float) -> np.ndarray:
        """Return the expected number of purchases within a time from now, shape (n,).

        The sum of the probabilities of more than 0, 1, 2, … of them. The papers' closed form
        has a hypergeometric function that overflows for busy customers and where nobody leaves.
        """
        total = np.zeros(len(self.shape))
        open_rows = np.arange(len(total))
        for n in range(MOST_PURCHASES):
            more = self.rows(open_rows).more_than(n, time)
            total[open_rows] += more
            # What is left falls at least as fast as it did before.
            open_rows = open_rows[more > 1e-12 * total[open_rows]]
            if not open_rows.size:
                break
        return total

    def more_than(self, n: int, time: float) -> np.ndarray:
        """Return the probability of more than n purchases within a time from now, shape (n,).

        Whoever is active buys as a negative binomial distribution says, and of n + 1 purchases
        the first n must not have been the last: rate and leaving are independent.
        """
        kept = self.rate / (self.rate + time)
        stayed = betaln(self.a, self.b + n) - betaln(self.a, self.b)
        return self.active * betainc(n + 1, self.shape, 1 - kept) * np.exp(stayed)

    def purchases_quantile(self, share: float | np.ndarray, time: float) -> np.ndarray:
        """Return the least number that purchases do not exceed with a probability of `share`.

        The share is a number or of shape (n,), below 1.
        """
        found = np.zeros(len(self.shape), dtype=int)
        rest = 1 - np.broadcast_to(share, found.shape)
        open_rows = np.arange(len(found))
        for n in range(MOST_PURCHASES):
            rows = self.rows(open_rows)
            open_rows = open_rows[rows.more_than(n, time) > rest[open_rows]]
            if not open_rows.size:
                break
            found[open_rows] = n + 1
        return found

    def median_wait(self) -> np.ndarray:
        """Return within which time half of those who are still active will have bought again."""
        return self.rate * np.expm1(np.log(2) / self.shape)

    def rows(self, chosen: np.ndarray) -> State:
        """Return the state of some of the customers."""
        return State(*(values[chosen] for values in self.__dict__.values()))


def fit_purchases(name: str, histories: Histories, n_groups: int = 1) -> PurchaseModel:
    """Fit a model by maximum likelihood.

    Args:
        name: one of MODELS.
        histories: equal ones may be given once with their number of customers.
        n_groups: more than one lets rate and leaving differ by group.

    Returns:
        The fitted model.

    Raises:
        ValueError: nobody has bought again, or the search for the maximum has failed.
    """
    total = histories.customers.sum()
    if not (histories.repeats * histories.customers).sum() > 0:
        raise ValueError("nobody has bought twice")
    # Times of about 1 make all parameters of one size.
    unit = float((histories.age * histories.customers).sum() / total)
    scaled = Histories(
        histories.repeats, histories.last / unit, histories.age / unit,
        histories.customers, histories.group,
    )  # fmt: skip

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _log_likelihood(name, parameters, scaled, n_groups)
        effects = parameters[4:]
        gradient[4:] -= effects / EFFECT_SPREAD**2
        value -= (effects**2).sum() / (2 * EFFECT_SPREAD**2)
        return -value / total, -gradient / total

    found = minimize(
        loss, np.zeros(4 + 2 * (n_groups - 1)), jac=True, method="L-BFGS-B",
        bounds=[(-12, 12)] * 4 + [(-5, 5)] * (2 * (n_groups - 1)),
        options={"maxiter": 2000, "ftol": 1e-13, "gtol": 1e-8},
    )  # fmt: skip
    if not np.isfinite(found.fun):
        raise ValueError(f"the likelihood has no maximum: {found.message}")
    r, alpha, a, b = np.exp(found.x[:4])
    effects = found.x[4:].reshape(2, n_groups - 1)
    # A change of the unit of time changes the likelihood of each repeat purchase by it.
    value, _ = _log_likelihood(name, found.x, scaled, n_groups)
    value -= np.log(unit) * (histories.repeats * histories.customers).sum()
    return PurchaseModel(
        name, float(r), float(alpha * unit), float(a), float(b),
        (0.0, *effects[0].tolist()), (0.0, *effects[1].tolist()), float(value), float(total),
    )  # fmt: skip


def _stays_and_left(r, alpha, a, b, histories: Histories, chances) -> tuple[np.ndarray, np.ndarray]:
    """Return logarithms of what still being active and having left add to the likelihood.

    Both lack the same factor.
    """
    stays = -(r + histories.repeats) * np.log(alpha + histories.age)
    could_leave = chances > 0
    left = np.where(
        could_leave,
        np.log(a)
        - np.log(np.where(could_leave, b + chances - 1, 1.0))
        - (r + histories.repeats) * np.log(alpha + histories.last),
        -np.inf,
    )
    return stays, left


def _log_likelihood(
    name: str, parameters: np.ndarray, histories: Histories, n_groups: int
) -> tuple[float, np.ndarray]:
    """Return the log-likelihood and its gradient by log r, log alpha, log a, log b and effects."""
    r, alpha_0, a_0, b = np.exp(parameters[:4])
    effects = np.zeros((2, n_groups))
    effects[:, 1:] = parameters[4:].reshape(2, n_groups - 1)
    alphas, a_of = alpha_0 * np.exp(-effects[0]), a_0 * np.exp(effects[1])
    x, n = histories.repeats, histories.customers

    # What depends on the number of purchases and the group alone.
    some_x, some_group, by_x = histories.distinct["repeats"]
    chances, some_a = some_x + MODELS[name], a_of[some_group]
    could_leave = chances > 0
    left_at = np.where(could_leave, b + chances - 1, 1.0)
    factor = (
        gammaln(r + some_x) - gammaln(r) + r * np.log(alphas[some_group])
        + gammaln(some_a + b) + gammaln(b + chances) - gammaln(b) - gammaln(some_a + b + chances)
    )  # fmt: skip
    log_left = np.where(could_leave, np.log(some_a) - np.log(left_at), -np.inf)
    factor_by_r = digamma(r + some_x) - digamma(r) + np.log(alphas[some_group])
    factor_by_a = digamma(some_a + b) - digamma(some_a + b + chances)
    factor_by_b = factor_by_a + digamma(b + chances) - digamma(b)

    # And what depends on a time and the group alone.
    log_age, log_last = (
        np.log(alphas[groups] + times)[places]
        for times, groups, places in (histories.distinct[name] for name in ("age", "last"))
    )
    stays, left = -(r + x) * log_age, log_left[by_x] - (r + x) * log_last
    both = np.logaddexp(stays, left)
    value = factor[by_x] + both
    active = np.exp(stays - both)
    gone = 1 - active
    alpha, a = alphas[histories.group], a_of[histories.group]
    by_r = factor_by_r[by_x] - active * log_age - gone * log_last
    by_alpha = r / alpha - (r + x) * (
        active / (alpha + histories.age) + gone / (alpha + histories.last)
    )
    by_a = factor_by_a[by_x] + gone / a
    by_b = factor_by_b[by_x] - np.where(could_leave[by_x], gone / left_at[by_x], 0.0)
    # By the logarithms of the parameters.
    log_alpha, log_a = n * by_alpha * alpha, n * by_a * a
    gradient = [(n * by_r).sum() * r, log_alpha.sum(), log_a.sum(), (n * by_b).sum() * b]
    gradient += (-np.bincount(histories.group, log_alpha, n_groups)[1:]).tolist()
    gradient += np.bincount(histories.group, log_a, n_groups)[1:].tolist()
    return float((n * value).sum()), np.array(gradient)
