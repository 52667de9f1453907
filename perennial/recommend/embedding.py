"""Two towers that PyTorch learns: one turns items into points, the other customers.

PyTorch is an optional extra (`embeddings` in pyproject.toml): this module can be imported without
it, and asks for it when a recommender is fitted. What was learned is kept as arrays: scores need no
PyTorch, and threads can score many customers at once.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import polars as pl
from scipy import sparse

from perennial.errors import UserError
from perennial.recommend.purchases import Purchases
from perennial.recommend.recommenders import Recommender, _learners

# As the extra `embeddings` has it; with numpy 2 earlier ones do not work.
REQUIRED = "torch>=2.3"
FEATURES = ("category", "brand")


def check_torch() -> None:
    """UserError that says what to install where PyTorch is missing."""
    if importlib.util.find_spec("torch") is None:
        raise UserError(
            "the setting recommenders.embeddings is true, but PyTorch is not installed; install it "
            f"with {sys.executable} -m pip install '{REQUIRED}', or set recommenders.embeddings to "
            "false."
        )


class TwoTower(Recommender):
    """Customers and items as points of a space: a score is their product and a share of the item.

    An item's point is the sum of those of its id, its category and its brand; what is not known
    adds nothing. A customer's point is the weighted mean of the points of what the customer bought,
    of which a purchase weighs half after HALF_LIFE_DAYS, and a step from there by a network of one
    hidden layer. Both are learned so that of all items of a batch those score highest that were
    bought on a day, from what was bought before that day: softmax over the batch, less the
    logarithm of how often an item is drawn, for the popular are in more batches (X. Yi et al.,
    "Sampling-bias-corrected neural modeling for large corpus item recommendations", RecSys 2019).
    Of many customers a fixed share is learned from, in MOST_STEPS steps at most.

    Attributes:
        items: points of the items, shape (items, DIMENSIONS).
        share: what each item scores with everybody: the logarithm of how often it is bought, as
            learned, shape (items,).
    """

    name = "two_tower"
    DIMENSIONS = 32
    HIDDEN = 64
    HALF_LIFE_DAYS = 180.0
    # Of a customer's purchases so many count, the latest.
    MOST_HISTORY = 50
    BATCH = 512
    # So often each purchase is looked at, if that is no more steps than this.
    PASSES = 20
    MOST_STEPS = 2_000
    STEP_SIZE = 0.003
    SEED = 5

    def _fit(self) -> None:
        purchases = self.purchases
        self.mixture = self._mixture()
        rng = np.random.default_rng(self.SEED)
        pairs = _pairs(purchases, self.MOST_HISTORY)
        n_items = len(purchases.items)
        counts = np.bincount(pairs.target, minlength=n_items) + 1.0
        self.share = np.log(counts / max(1.0, counts.sum()))
        size = (self.DIMENSIONS, self.HIDDEN)
        # To begin with, a customer is where what the customer bought is.
        self.items = np.zeros((n_items, self.DIMENSIONS))
        self.layers = [
            rng.normal(0, size[0] ** -0.5, size),
            np.zeros(size[1]),
            np.zeros(size[::-1]),
            np.zeros(size[0]),
        ]
        # Where nobody came back, or there is one item only, the share is all that can be told.
        if len(pairs.target) and n_items > 1:
            self._learn(pairs, rng)

    def _scores(self, customers: np.ndarray) -> np.ndarray:
        first, first_bias, second, second_bias = self.layers
        mean = self.mixture[customers] @ self.items
        step = np.maximum(mean @ first + first_bias, 0) @ second + second_bias
        return (mean + step) @ self.items.T + self.share

    def _mixture(self) -> sparse.csr_array:
        """Return what each item weighs in each customer's mean, shape (customers, items)."""
        purchases = self.purchases
        order = np.lexsort((purchases.item, purchases.days_ago, purchases.customer))
        customer, item = purchases.customer[order], purchases.item[order]
        n_each = np.bincount(customer, minlength=len(purchases.customers))
        first = np.cumsum(n_each) - n_each
        # From each customer's last purchase on: that all are older together changes no share.
        age = purchases.days_ago[order] - purchases.days_ago[order][first[customer]]
        weight = 0.5 ** (age / self.HALF_LIFE_DAYS)
        weight[np.arange(len(item)) - first[customer] >= self.MOST_HISTORY] = 0
        total = np.bincount(customer, weight, len(purchases.customers))
        table = sparse.csr_array((weight / total[customer], (customer, item)), purchases.shape)
        table.sum_duplicates()
        return table

    def _learn(self, pairs: Pairs, rng: np.random.Generator) -> None:
        """Learn points, shares and layers step by step; all that is drawn comes from rng."""
        check_torch()
        import torch

        n_items, n_pairs = len(self.purchases.items), len(pairs.target)
        parts = [np.arange(n_items), *_features(self.purchases, self.products)]
        sizes = [int(part.max()) + 1 for part in parts]
        n_steps = min(self.MOST_STEPS, -(-self.PASSES * n_pairs // self.BATCH))
        drawn_as_often = np.log(np.bincount(pairs.target, minlength=n_items) / n_pairs + 1e-30)
        with _as_always(torch):

            def learned(values: np.ndarray):
                return torch.tensor(values, dtype=torch.float32, requires_grad=True)

            tables = [learned(rng.normal(0, 0.1, (size, self.DIMENSIONS))) for size in sizes]
            # What is not known has any place, which is not counted.
            known = [torch.from_numpy((part >= 0).astype(np.float32)[:, None]) for part in parts]
            places = [torch.from_numpy(np.where(part >= 0, part, 0)) for part in parts]
            share = learned(self.share)
            layers = [learned(layer) for layer in self.layers]
            correction = torch.tensor(drawn_as_often, dtype=torch.float32)
            steps = torch.optim.Adam([*tables, share, *layers], lr=self.STEP_SIZE)

            def points():
                found = [t[p] * k for t, p, k in zip(tables, places, known, strict=True)]
                return torch.stack(found).sum(dim=0)

            for step in range(n_steps):
                for group in steps.param_groups:
                    group["lr"] = self.STEP_SIZE * (1 - step / n_steps)
                some = rng.integers(0, n_pairs, min(self.BATCH, n_pairs))
                history, starts, weights = pairs.histories(some, self.HALF_LIFE_DAYS)
                target = torch.from_numpy(pairs.target[some])
                items = points()
                mean = torch.nn.functional.embedding_bag(
                    torch.from_numpy(history),
                    items,
                    torch.from_numpy(starts),
                    mode="sum",
                    per_sample_weights=torch.from_numpy(weights),
                )
                hidden = torch.relu(mean @ layers[0] + layers[1])
                customers = mean + hidden @ layers[2] + layers[3]
                scores = customers @ items[target].T + (share - correction)[target]
                # The same item in another row of the batch is no wrong answer.
                is_same = (target[:, None] == target[None, :]).fill_diagonal_(False)
                scores = scores.masked_fill(is_same, -torch.inf)
                loss = torch.nn.functional.cross_entropy(scores, torch.arange(len(some)))
                steps.zero_grad()
                loss.backward()
                steps.step()
            self.items = points().detach().numpy().astype(float)
            self.share = share.detach().numpy().astype(float)
            self.layers = [layer.detach().numpy().astype(float) for layer in layers]


class Pairs:
    """What was bought on a day, and what the customer had bought before that day.

    Attributes:
        item: all purchases by customer and time, the earliest first, shape (purchases,).
        days_ago: and how many days ago they were.
        target: the items bought on days that others came before, shape (pairs,).
        begin: of each pair, where in item the history begins.
        end: and where it ends, the end left out; one purchase at least.
    """

    def __init__(self, item, days_ago, target, begin, end):
        """Keep the arrays."""
        self.item, self.days_ago = item, days_ago
        self.target, self.begin, self.end = target, begin, end

    def histories(
        self, some: np.ndarray, half_life_days: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the histories of some pairs by number, one after the other.

        Returns:
            The items; where each pair's begin, shape (pairs,); and what each item weighs, float32,
            in sum 1 for each pair.
        """
        begin, n_each = self.begin[some], (self.end - self.begin)[some]
        starts = np.cumsum(n_each) - n_each
        pair = np.repeat(np.arange(len(some)), n_each)
        place = begin[pair] + np.arange(len(pair)) - starts[pair]
        age = self.days_ago[place] - self.days_ago[self.end[some] - 1][pair]
        weight = 0.5 ** (age / half_life_days)
        weight /= np.bincount(pair, weight, len(some))[pair]
        return self.item[place], starts, weight.astype(np.float32)


def _pairs(purchases: Purchases, most_history: int) -> Pairs:
    """Return what is learned from: of so many customers as others learn from, too."""
    is_learner = np.zeros(len(purchases.customers), bool)
    is_learner[_learners(purchases)] = True
    kept = np.flatnonzero(is_learner[purchases.customer])
    customer, item, days_ago = (
        each[kept] for each in (purchases.customer, purchases.item, purchases.days_ago)
    )
    order = np.lexsort((item, -days_ago, customer))
    customer, item, days_ago = customer[order], item[order], days_ago[order]
    places = np.arange(len(order))
    is_first = np.diff(customer, prepend=-1) != 0
    is_new_day = is_first | (np.diff(days_ago, prepend=-1) != 0)
    # Where the customer begins, and where the day.
    begin = np.maximum.accumulate(np.where(is_first, places, 0))
    end = np.maximum.accumulate(np.where(is_new_day, places, 0))
    has_history = end > begin
    return Pairs(
        item.astype(np.int64),
        days_ago,
        item[has_history].astype(np.int64),
        np.maximum(begin, end - most_history)[has_history],
        end[has_history],
    )


def _features(purchases: Purchases, products: pl.DataFrame | None) -> list[np.ndarray]:
    """Return a number for each item's value of each feature, -1 where it is not known."""
    if products is None:
        return []
    known = pl.DataFrame({"product_id": pl.Series(purchases.items, dtype=pl.String)})
    known = known.join(products, on="product_id", how="left", maintain_order="left")
    found = []
    for name in FEATURES:
        if name in known.columns and known[name].null_count() < known.height:
            # By value, so that the order of rows does not matter.
            number = known[name].cast(pl.String).rank("dense").cast(pl.Int64) - 1
            found.append(number.fill_null(-1).to_numpy())
    return found


@contextmanager
def _as_always(torch: ModuleType) -> Iterator[None]:
    """Have PyTorch compute in one thread and always alike; what was asked of it before returns."""
    n_threads, is_strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.use_deterministic_algorithms(is_strict)
        torch.set_num_threads(n_threads)
