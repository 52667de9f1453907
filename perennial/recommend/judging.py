"""Judge recommenders by what came, let the hybrid learn from that, and recommend."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from scipy import sparse
from threadpoolctl import threadpool_limits

from perennial.recommend.embedding import TwoTower, check_torch
from perennial.recommend.lists import (
    MEASURES,
    N_DRAWS,
    SEED,
    blocks,
    interval,
    measures,
    top,
)
from perennial.recommend.purchases import (
    CUTS,
    Purchases,
    came_after,
    drawn,
    known_by,
    numbered,
)
from perennial.recommend.recommenders import (
    RECOMMENDERS,
    ItemNeighbours,
    Popular,
    Recommender,
    categories,
    cells,
    first_largest,
    no_warnings,
)
from perennial.recommend.restrictions import Restrictions

# Lists are as long as this.
LENGTH = 10
LENGTHS = (5, 10, 20)
# The measure that chooses.
CHOOSING = {"measure": "ndcg", "list_length": 10}
HYBRID = "hybrid"
# The hybrid looks at the first so many of each list.
DEPTH = 50
# With fewer customers who bought in the time held out nothing can be told.
MIN_CUSTOMERS = 50
# So many customers tell as well as all: they are drawn by a hash.
MOST_JUDGED = 5_000
# Of the products only those with most buyers are recommended.
MOST_ITEMS = 5_000
# So many blocks of customers are worked on at once: numpy lets others work while it does.
N_THREADS = min(4, os.cpu_count() or 1)

MODELS_SCHEMA = {
    "recommender": pl.String,
    "status": pl.String,
    "is_chosen": pl.Boolean,
    "hybrid_weight": pl.Float64,
    "evaluation": pl.List(
        pl.Struct(
            {
                "cut": pl.String,
                "group_type": pl.String,
                "group_value": pl.String,
                "list_length": pl.Int64,
                "measure": pl.String,
                "n_customers": pl.Int64,
                "value": pl.Float64,
                "value_low": pl.Float64,
                "value_high": pl.Float64,
                "gain": pl.Float64,
                "gain_low": pl.Float64,
                "gain_high": pl.Float64,
            }
        )
    ),
}
RECOMMENDATIONS_SCHEMA = {
    "customer_id": pl.String,
    "recommendation_rank": pl.Int64,
    "product_id": pl.String,
    "recommender": pl.String,
    "score": pl.Float64,
    "reason": pl.String,
    "because_product_id": pl.String,
    "segment": pl.String,
    "n_evidence": pl.Int64,
    "n_of": pl.Int64,
}


Part = TypeVar("Part")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Standing:
    """All recommenders as they would have stood on a day, and what came afterwards.

    Attributes:
        purchases: what was known on the day.
        recommenders: fitted to it, by name.
        customers: numbers of the customers who are judged.
        bought: 1 for what these bought in the time after the day, shape (judged, items).
        n_bought: how many products these bought then that had been sold before, be they among
            the items or not, shape (judged,).
        n_days: on how many days these had ordered before, shape (judged,).
    """

    purchases: Purchases
    recommenders: dict[str, Recommender]
    customers: np.ndarray
    bought: sparse.csr_array
    n_bought: np.ndarray
    n_days: np.ndarray


def judge(
    rows: pl.DataFrame, products: pl.DataFrame, customers: pl.DataFrame, embeddings: bool = False
) -> pl.DataFrame:
    """Judge every recommender by time: what came after a day, from what was known on it.

    The hybrid learns the weights of the others from what came in the validation's time; the best
    there is chosen; what came in the test's time, which follows, says how good it is.

    Args:
        rows: rows of `item_purchases`, in any order.
        products: rows of `products`.
        customers: customer_id, and the columns whose values are groups to judge by themselves.
        embeddings: whether the two towers, which need PyTorch, compete too.

    Returns:
        One row per recommender with the columns of MODELS_SCHEMA. With too few customers in a
        time held out nothing is judged, the status says so, and the popular is chosen. No row
        for a shop without purchases.

    Raises:
        UserError: if the two towers are wanted and PyTorch is not installed.
    """
    if embeddings:
        # At once, not only when their turn comes.
        check_torch()
    if rows.is_empty():
        return pl.DataFrame(schema=MODELS_SCHEMA)
    kinds = (*RECOMMENDERS, TwoTower) if embeddings else RECOMMENDERS
    names = [kind.name for kind in kinds]
    n_least = min(came_after(rows, cut)["customer_id"].n_unique() for cut in CUTS[:2])
    if n_least < MIN_CUSTOMERS:
        why = (
            f"abstained: {n_least} customers bought before and in a time held out; "
            f"needed are {MIN_CUSTOMERS}"
        )
        return pl.DataFrame(
            [_row(name, why, is_chosen=name == Popular.name) for name in (*names, HYBRID)],
            MODELS_SCHEMA,
        )
    # Threads of linear algebra wait by spinning: beside other models of dbt they slow all down. And
    # sums in another order are other sums.
    with threadpool_limits(1), no_warnings():
        return _judged(rows, products, customers, kinds)


def _judged(
    rows: pl.DataFrame,
    products: pl.DataFrame,
    customers: pl.DataFrame,
    kinds: Sequence[type[Recommender]],
) -> pl.DataFrame:
    names = [kind.name for kind in kinds]
    found: dict[str, list[dict]] = {name: [] for name in (*names, HYBRID)}
    weights: dict[str, float] = {}
    # One after the other: each takes the room of all that was bought.
    for cut in CUTS[:2]:
        standing = _standing(rows, products, cut, kinds)
        lists = _lists(standing, standing.customers)
        if cut == CUTS[0]:
            weights = _learned(standing, lists)
        lists[HYBRID] = _hybrid_lists(standing, lists, weights)
        for name, evaluation in _evaluated(standing, lists, customers).items():
            found[name] += [{"cut": cut} | row for row in evaluation]
        del standing
    scores = {name: _choosing_score(evaluation) for name, evaluation in found.items()}
    # Simpler ones come first, and stay where both are as good.
    chosen = max(scores, key=scores.get)
    return pl.DataFrame(
        [
            _row(name, "judged", name == chosen, weights.get(name), evaluation)
            for name, evaluation in found.items()
        ],
        MODELS_SCHEMA,
    )


def _row(
    name: str,
    status: str,
    is_chosen: bool,
    weight: float | None = None,
    evaluation: list[dict] | None = None,
) -> dict:
    return {
        "recommender": name,
        "status": status,
        "is_chosen": is_chosen,
        "hybrid_weight": weight,
        "evaluation": evaluation or [],
    }


def _choosing_score(evaluation: list[dict]) -> float:
    """Return by what a recommender is chosen, from its rows."""
    wanted = {"cut": CUTS[0], "group_type": "all"} | CHOOSING
    (value,) = (row["value"] for row in evaluation if wanted.items() <= row.items())
    return round(value, 9)


def recommend(
    rows: pl.DataFrame,
    products: pl.DataFrame,
    models: pl.DataFrame,
    rules: pl.DataFrame | None = None,
) -> Iterator[pl.DataFrame]:
    """Give what to show every customer with a purchase, by the chosen recommender.

    Args:
        rows: rows of `item_purchases`, in any order.
        products: rows of `products`.
        models: what judge returned.
        rules: what is not to be shown, rows of `recommendation_rules`; none by default.

    Yields:
        Of some customers at a time LENGTH rows of RECOMMENDATIONS_SCHEMA each (fewer where there
        are fewer products that may be shown), by customer and rank. Before all others a table
        without rows.

    Raises:
        UserError: if the two towers are among the models that are used, and PyTorch is missing.
    """
    chosen = models.filter("is_chosen")["recommender"].to_list()
    if rows.is_empty() or not chosen:
        yield pl.DataFrame(schema=RECOMMENDATIONS_SCHEMA)
        return
    weights = dict(models.drop_nulls("hybrid_weight").select("recommender", "hybrid_weight").rows())
    (name,) = chosen
    wanted = {n for n, w in weights.items() if w > 0} if name == HYBRID else {name}
    kinds = [kind for kind in (*RECOMMENDERS, TwoTower) if kind.name in wanted]
    with threadpool_limits(1), no_warnings():
        standing = _standing(rows, products, CUTS[-1], kinds)
        # What is known now is in the standing, in half the room.
        del rows
        yield from _recommended(standing, products, name, weights, rules)


def _recommended(
    standing: Standing,
    products: pl.DataFrame,
    name: str,
    weights: dict[str, float],
    rules: pl.DataFrame | None,
) -> Iterator[pl.DataFrame]:
    purchases, popularity = standing.purchases, _popularity(standing.purchases)
    neighbours = standing.recommenders.get(ItemNeighbours.name) or ItemNeighbours(purchases)
    restrictions = None if rules is None else Restrictions.of(rules, products, purchases.items)
    ids = [pl.Series(known, dtype=pl.String) for known in (purchases.customers, purchases.items)]
    segments = Segments.of(purchases, products)

    def shown(some: np.ndarray) -> pl.DataFrame:
        if name == HYBRID:
            lists = _lists_of(standing, some, popularity)
            scores = _fused(lists, weights, len(purchases.items))
        else:
            scores = standing.recommenders[name].scores(some)
        if restrictions is None:
            lists = top(scores, popularity, LENGTH)
        else:
            lists = restrictions.lists(scores, popularity, purchases.owned[some], LENGTH)
        row, place = np.nonzero(lists >= 0)
        item = lists[row, place]
        return pl.DataFrame({
            "customer_id": ids[0].gather(some[row]),
            "recommendation_rank": place + 1,
            "product_id": ids[1].gather(item),
            "recommender": pl.repeat(name, len(item), eager=True),
            "score": np.round(scores[row, item], 9),
            **_reasons(purchases, neighbours, segments, popularity, some, row, item, ids[1]),
        }).cast(RECOMMENDATIONS_SCHEMA)  # fmt: skip

    yield pl.DataFrame(schema=RECOMMENDATIONS_SCHEMA)
    yield from _in_threads(shown, blocks(np.arange(len(purchases.customers))))


@dataclass(frozen=True)
class Segments:
    """Customers by the category of most of their products, the first by name among equals.

    Attributes:
        names: the categories, in order; null where products have none.
        member: which of them each customer is in, shape (customers,).
        n_members: how many are in each, shape (segments,).
        n_buyers: how many of each bought each item, shape (segments, items).
    """

    names: pl.Series
    member: np.ndarray
    n_members: np.ndarray
    n_buyers: sparse.csr_array

    @classmethod
    def of(cls, purchases: Purchases, products: pl.DataFrame) -> Segments:
        """Make them of purchases; products are described by rows of `products`."""
        names, kinds = categories(purchases, products)
        member = first_largest(purchases.owned @ kinds)
        n = len(member)
        members = sparse.csr_array((np.ones(n), (member, np.arange(n))), (len(names), n))
        return cls(
            names,
            member,
            np.bincount(member, minlength=len(names)),
            sparse.csr_array(members @ purchases.owned),
        )


def _in_threads(work: Callable[[Part], Found], parts: Iterable[Part]) -> Iterator[Found]:
    """Give what work makes of each part, in the order of the parts."""
    with ThreadPoolExecutor(N_THREADS) as pool:
        yield from pool.map(work, parts)


def _standing(
    rows: pl.DataFrame,
    products: pl.DataFrame,
    cut: str,
    kinds: Sequence[type[Recommender]] = RECOMMENDERS,
) -> Standing:
    """Return the recommenders as they stood at a cut, and what came after it."""
    purchases, came, each = _asked(rows, cut)
    # All of them need these: made once, before any of them asks.
    _ = purchases.owned, purchases.n_days, purchases.last_basket
    fitted = _in_threads(lambda kind: kind(purchases, products), kinds)
    return Standing(
        purchases,
        {kind.name: recommender for kind, recommender in zip(kinds, fitted, strict=True)},
        each["customer"].to_numpy(),
        came,
        each["n_bought"].to_numpy(),
        each["n_days"].to_numpy(),
    )


def _asked(rows: pl.DataFrame, cut: str) -> tuple[Purchases, sparse.csr_array, pl.DataFrame]:
    """Return what was known at a cut, what those bought who are judged, and who they are."""
    known = known_by(rows, cut)
    customers = known["customer_id"].unique().sort().to_numpy().astype(str)
    buyers = known.group_by("product_id").agg(n=pl.col("customer_id").n_unique())
    most = buyers.sort(["n", "product_id"], descending=[True, False]).head(MOST_ITEMS)
    items = most["product_id"].sort().to_numpy().astype(str)
    came = came_after(rows, cut)
    each = (
        came.group_by("customer_id")
        .agg(n_bought=pl.col("product_id").n_unique())
        .join(
            known.join(came, on="customer_id", how="semi")
            .group_by("customer_id")
            .agg(n_days=pl.col("days_ago").n_unique()),
            on="customer_id",
        )
        .join(numbered("customer", customers), on="customer_id")
        .sort("customer")
    )
    each = each[drawn(each["customer_id"].to_numpy().astype(str), MOST_JUDGED)]
    bought = Purchases.of(came, customers, items).owned[each["customer"].to_numpy()]
    return Purchases.of(known, customers, items), sparse.csr_array(bought), each


def _popularity(purchases: Purchases) -> np.ndarray:
    """Return how many customers ever bought each item, by the time of all."""
    return np.bincount(purchases.owned.indices, minlength=len(purchases.items)).astype(float)


def _lists(standing: Standing, customers: np.ndarray) -> dict[str, np.ndarray]:
    """Return the first DEPTH of each recommender's list, shape (customers, DEPTH)."""
    popularity = _popularity(standing.purchases)
    parts = list(_in_threads(lambda some: _lists_of(standing, some, popularity), blocks(customers)))
    return {name: np.concatenate([part[name] for part in parts]) for name in standing.recommenders}


def _lists_of(
    standing: Standing, customers: np.ndarray, popularity: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the same for one block of customers."""
    return {
        name: recommender.lists(customers, popularity, DEPTH)
        for name, recommender in standing.recommenders.items()
    }


def _worth(lists: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the items that any of a customer's lists holds, and what each list says of them.

    That is one over the place plus ten, nothing behind the list's end: lists of different ways to
    score can be added up so (reciprocal rank fusion: Cormack, Clarke and Büttcher 2009).

    Args:
        lists: numbers of items, each of shape (customers, places), -1 where there is none.

    Returns:
        Customers and items, each of shape (pairs,), in order; worth, of shape (pairs, lists).
    """
    n_items = 1 + max(int(each.max(initial=0)) for each in lists)
    filled = [np.nonzero(each >= 0) for each in lists]
    keys = [at[0] * n_items + each[at] for at, each in zip(filled, lists, strict=True)]
    pairs = np.unique(np.concatenate(keys))
    worth = np.zeros((len(pairs), len(lists)))
    for column, ((_, place), each) in enumerate(zip(filled, keys, strict=True)):
        worth[np.searchsorted(pairs, each), column] = 1 / (place + 11.0)
    return *np.divmod(pairs, n_items), worth


def _fused(lists: dict[str, np.ndarray], weights: dict[str, float], n_items: int) -> np.ndarray:
    """Return the scores that the hybrid gives from the lists of the others, shape (rows, items)."""
    rows = len(next(iter(lists.values())))
    # What is missing, -1, goes to a column that is cut off.
    total = np.zeros((rows, n_items + 1))
    for name, weight in weights.items():
        if weight > 0:
            worth = weight * (1 / (np.arange(lists[name].shape[1]) + 11.0))
            # Of what is missing only the last counts, of what is there each place is another.
            total[np.arange(rows)[:, None], lists[name]] += worth
    return total[:, :-1]


def _hybrid_lists(
    standing: Standing, lists: dict[str, np.ndarray], weights: dict[str, float]
) -> np.ndarray:
    """Return the hybrid's lists of the customers who are judged."""
    popularity = _popularity(standing.purchases)
    n_items = len(standing.purchases.items)
    parts = []
    for rows in blocks(np.arange(len(standing.customers))):
        some = {name: each[rows] for name, each in lists.items()}
        parts.append(top(_fused(some, weights, n_items), popularity, DEPTH))
    return np.concatenate(parts)


def _learned(standing: Standing, lists: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the weights of the recommenders in the hybrid.

    Of a logistic regression of what was bought on what each list says of it, over the items that
    any list has; none is below 0, for a list that says the opposite says nothing.
    """
    from sklearn.linear_model import LogisticRegression

    inputs, came = [], []
    for rows in blocks(np.arange(len(standing.customers))):
        row, item, worth = _worth([each[rows] for each in lists.values()])
        inputs.append(worth)
        came.append(standing.bought[rows].toarray()[row, item] > 0)
    names = list(lists)
    matrix, happened = np.concatenate(inputs), np.concatenate(came)
    weights = dict.fromkeys(names, 0.0)
    kept = list(range(len(names)))
    while kept and happened.any() and not happened.all():
        # Inputs are so small that lbfgs takes a slope for flat, far from the best weights.
        model = LogisticRegression(C=1e4, solver="newton-cholesky", tol=1e-8, max_iter=1000)
        found = model.fit(matrix[:, kept], happened).coef_[0]
        if (found >= 0).all():
            total = max(found.sum(), 1e-12)
            shares = np.round(found / total, 6)
            return weights | {names[k]: float(w) for k, w in zip(kept, shares, strict=True)}
        kept.remove(kept[int(np.argmin(found))])
    return weights


def _evaluated(
    standing: Standing, lists: dict[str, np.ndarray], customers: pl.DataFrame
) -> dict[str, list[dict]]:
    """Return the measures of each recommender at one cut, as rows of `evaluation`."""
    rows: dict[str, list[dict]] = {name: [] for name in lists}
    groups = _groups(standing, customers)
    rng = np.random.default_rng(SEED)
    draws = rng.poisson(1.0, (N_DRAWS, len(standing.customers))).astype(np.float32)
    for length in LENGTHS:
        found = {
            name: np.column_stack(
                list(measures(each, standing.bought, standing.n_bought, length).values())
            )
            for name, each in lists.items()
        }
        for name, values in found.items():
            common = {"list_length": length}
            both = np.hstack([values, values - found[Popular.name]])
            for (group_type, group_value), chosen in groups.items():
                mean, low, high = interval(both[chosen], draws[:, chosen])
                rows[name] += [
                    common
                    | {
                        "group_type": group_type,
                        "group_value": group_value,
                        "measure": measure,
                        "n_customers": int(chosen.sum()),
                        "value": mean[n],
                        "value_low": low[n],
                        "value_high": high[n],
                        "gain": mean[n + len(MEASURES)],
                        "gain_low": low[n + len(MEASURES)],
                        "gain_high": high[n + len(MEASURES)],
                    }
                    for n, measure in enumerate(MEASURES)
                ]
            rows[name] += [
                common | {"group_type": "all", "group_value": "all", "measure": measure,
                          "n_customers": len(standing.customers), "value": value}
                for measure, value in _variety(standing, lists[name][:, :length]).items()
            ]  # fmt: skip
    return rows


def _groups(standing: Standing, customers: pl.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Return who is in which group, of the customers who are judged."""
    n_days = standing.n_days
    groups = {
        ("all", "all"): np.ones(len(n_days), dtype=bool),
        ("history", "one day with an order"): n_days == 1,
        ("history", "two to four"): (n_days >= 2) & (n_days <= 4),
        ("history", "five or more"): n_days >= 5,
    }
    ids = pl.DataFrame({"customer_id": standing.purchases.customers[standing.customers]})
    known = ids.join(customers, on="customer_id", how="left", maintain_order="left")
    for column in known.columns[1:]:
        for value in known[column].drop_nulls().unique().sort():
            groups[column, str(value)] = (known[column] == value).fill_null(False).to_numpy()
    return {key: chosen for key, chosen in groups.items() if chosen.sum() >= MIN_CUSTOMERS
            or key[0] == "all"}  # fmt: skip


def _variety(standing: Standing, lists: np.ndarray) -> dict[str, float]:
    """Return what lists are like beside being right.

    coverage: the share of all items that stand in any list; novelty: the mean of minus the
    binary logarithm of the share of customers who bought the item; popularity: the mean share
    of customers who bought it; diversity: one minus the mean overlap of two customers' lists.
    """
    purchases = standing.purchases
    items = lists[lists >= 0]
    share = _popularity(purchases) / max(1, len(purchases.customers))
    shown = np.bincount(items, minlength=len(share))
    pairs = len(lists) * (len(lists) - 1)
    together = (shown * (shown - 1.0)).sum()
    return {
        "coverage": float((shown > 0).mean()),
        "novelty": float(-np.log2(share[items]).mean()),
        "popularity": float(share[items].mean()),
        "diversity": float(1 - together / (pairs * lists.shape[1])) if pairs else 0.0,
    }


def _reasons(
    purchases: Purchases,
    neighbours: ItemNeighbours,
    segments: Segments,
    popularity: np.ndarray,
    customers: np.ndarray,
    row: np.ndarray,
    item: np.ndarray,
    ids: pl.Series,
) -> dict[str, np.ndarray | pl.Series]:
    """Return why each item is recommended, with the numbers behind it.

    bought_before: on n_evidence days; bought_together: n_evidence of the n_of customers of
    because_product_id, the most similar product that the customer has bought, bought it too;
    popular_in_segment: n_evidence of the n_of customers bought it who like the same category best;
    popular: n_evidence of n_of customers bought it.

    Args:
        purchases: what customers bought.
        neighbours: what is similar to what.
        segments: who likes which category best.
        popularity: how many customers ever bought each item, shape (items,).
        customers: numbers of some customers.
        row: of each recommendation, which of these customers it is for.
        item: and which item is recommended.
        ids: ids of the items.
    """
    # Of few customers: to look something up in all their purchases takes a walk through them.
    own = cells(purchases.n_days[customers], row, item)
    similar = sparse.csr_array(neighbours.similarity.T)[item]
    shared = sparse.csr_array(similar.multiply(purchases.owned[customers][row]))
    best = first_largest(shared)
    has_link = np.diff(shared.indptr) > 0
    both = cells(neighbours.n_both, best, item)
    segment = segments.member[customers][row]
    in_segment = cells(segments.n_buyers, segment, item)
    is_known = segments.names.is_not_null().to_numpy()[segment]
    kinds = [own > 0, has_link, is_known & (in_segment > 0)]
    names = ["bought_before", "bought_together", "popular_in_segment"]
    kind = np.select(kinds, names, "popular")
    evidence = np.select(kinds, [own, both, in_segment], popularity[item])
    of = np.select(
        kinds[1:], [popularity[best], segments.n_members[segment]], len(purchases.customers)
    )
    return {
        "reason": pl.Series(kind, dtype=pl.String),
        "because_product_id": ids.gather(best).to_frame("b").select(
            pl.when(pl.Series(kind == names[1])).then("b")
        ).to_series(),
        "segment": segments.names.gather(segment).to_frame("s").select(
            pl.when(pl.Series(kind == names[2])).then("s")
        ).to_series(),
        "n_evidence": evidence.astype(np.int64),
        "n_of": pl.Series(of.astype(np.int64)).to_frame("n").select(
            pl.when(pl.Series(own > 0)).then(None).otherwise("n")
        ).to_series(),
    }  # fmt: skip
