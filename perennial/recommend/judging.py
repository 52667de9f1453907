"""Judge recommenders by what came, let the hybrid learn from that, and recommend."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import sparse

from perennial.recommend.lists import MEASURES, blocks, interval, measures, top
from perennial.recommend.purchases import Purchases
from perennial.recommend.recommenders import RECOMMENDERS, ItemNeighbours, Popular, Recommender

# Lists are as long as this.
LENGTH = 10
LENGTHS = (5, 10, 20)
# The measure that chooses.
CHOOSING = ("ndcg", 10)
HYBRID = "hybrid"
# The hybrid looks at the first so many of each list.
DEPTH = 50
# With fewer customers who bought in the time held out nothing can be told.
MIN_CUSTOMERS = 50
# So many customers tell as well as all: they are drawn by a hash.
MOST_JUDGED = 5_000
N_DRAWS = 500
SEED = 20240229

CUTS = ("validation", "test", "today")

EVALUATION_SCHEMA = {
    "cut": pl.String,
    "recommender": pl.String,
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
MODELS_SCHEMA = {
    "recommender": pl.String,
    "status": pl.String,
    "is_chosen": pl.Boolean,
    "hybrid_weight": pl.Float64,
}
RECOMMENDATIONS_SCHEMA = {
    "customer_id": pl.String,
    "recommendation_rank": pl.Int64,
    "product_id": pl.String,
    "recommender": pl.String,
    "score": pl.Float64,
    "reason": pl.String,
    "because_product_id": pl.String,
    "n_evidence": pl.Int64,
    "n_of": pl.Int64,
}


@dataclass(frozen=True)
class Standing:
    """All recommenders as they would have stood on a day, and what came afterwards.

    Attributes:
        purchases: what was known on the day.
        recommenders: fitted to it, by name.
        customers: numbers of the customers who are judged.
        bought: 1 for what these bought in the time after the day, shape (judged, items).
    """

    purchases: Purchases
    recommenders: dict[str, Recommender]
    customers: np.ndarray
    bought: sparse.csr_array


def judge(
    rows: pl.DataFrame, products: pl.DataFrame, customers: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Judge every recommender by time: what came after a day, from what was known on it.

    The hybrid learns the weights of the others from what came in the validation's time; the best
    there is chosen; what came in the test's time, which follows, says how good it is.

    Args:
        rows: rows of `item_purchases`, in any order.
        products: rows of `products`.
        customers: customer_id, and the columns whose values are groups to judge by themselves.

    Returns:
        Rows of EVALUATION_SCHEMA and of MODELS_SCHEMA. With too few customers in a time held
        out there is no evaluation, the status says so, and the popular is chosen.
    """
    names = [kind.name for kind in RECOMMENDERS]
    standings = {cut: _standing(rows, products, cut) for cut in CUTS[:2]}
    n_least = min((len(s.customers) for s in standings.values()), default=0)
    if n_least < MIN_CUSTOMERS:
        why = f"abstained: {n_least} customers bought in a time held out; needed {MIN_CUSTOMERS}"
        status = [(name, why, name == Popular.name, None) for name in names]
        return (
            pl.DataFrame(schema=EVALUATION_SCHEMA),
            pl.DataFrame(status, MODELS_SCHEMA, orient="row"),
        )
    weights = _learned(standings["validation"])
    found = []
    for cut, standing in standings.items():
        lists = _lists(standing, weights)
        found += _evaluated(cut, standing, lists, customers)
    evaluation = pl.DataFrame(found, EVALUATION_SCHEMA)
    measure, length = CHOOSING
    scores = evaluation.filter(
        cut="validation", group_type="all", measure=measure, list_length=length
    )
    # Simpler ones come first, and stay where both are as good.
    chosen = max(
        scores.iter_rows(named=True), key=lambda row: (round(row["value"], 9), -_place(row))
    )["recommender"]
    models = [(name, "judged", name == chosen, weights[name]) for name in names]
    models.append((HYBRID, "judged", chosen == HYBRID, None))
    return evaluation, pl.DataFrame(models, MODELS_SCHEMA, orient="row")


def _place(row: dict) -> int:
    names = [kind.name for kind in RECOMMENDERS] + [HYBRID]
    return names.index(row["recommender"])


def recommend(rows: pl.DataFrame, products: pl.DataFrame, models: pl.DataFrame) -> pl.DataFrame:
    """Return what to show every customer with a purchase, by the chosen recommender.

    Args:
        rows: rows of `item_purchases`, in any order.
        products: rows of `products`.
        models: what judge returned.

    Returns:
        LENGTH rows of RECOMMENDATIONS_SCHEMA for each customer (fewer where there are fewer
        products), by customer and rank.
    """
    chosen = models.filter("is_chosen")["recommender"].to_list()
    if rows.is_empty() or not chosen:
        return pl.DataFrame(schema=RECOMMENDATIONS_SCHEMA)
    weights = dict(models.drop_nulls("hybrid_weight").select("recommender", "hybrid_weight").rows())
    wanted = set(weights) if chosen == [HYBRID] else set(chosen)
    standing = _standing(rows, products, "today", wanted)
    scored = _scorer(standing, weights)[chosen[0]]
    purchases, popularity = standing.purchases, _popularity(standing.purchases)
    neighbours = standing.recommenders.get(ItemNeighbours.name) or ItemNeighbours(purchases)
    parts = [pl.DataFrame(schema=RECOMMENDATIONS_SCHEMA)]
    for some in blocks(np.arange(len(purchases.customers))):
        scores = scored(some)
        lists = top(scores, popularity, LENGTH)
        row, place = np.nonzero(lists >= 0)
        item = lists[row, place]
        parts.append(
            pl.DataFrame({
                "customer_id": purchases.customers[some[row]],
                "recommendation_rank": place + 1,
                "product_id": purchases.items[item],
                "recommender": chosen[0],
                "score": np.round(scores[row, item], 9),
                **_reasons(purchases, neighbours, popularity, some[row], item),
            }).cast(RECOMMENDATIONS_SCHEMA)
        )  # fmt: skip
    return pl.concat(parts)


def _standing(
    rows: pl.DataFrame, products: pl.DataFrame, cut: str, wanted: set[str] | None = None
) -> Standing:
    """Return the recommenders as they stood at a cut, and what came after it."""
    known = rows.filter(pl.col("known_from").is_in(CUTS[: CUTS.index(cut) + 1]))
    horizon = rows["horizon_days"].max() or 0
    back = horizon * (len(CUTS) - 1 - CUTS.index(cut))
    customers = known["customer_id"].unique().sort().to_numpy().astype(str)
    items = known["product_id"].unique().sort().to_numpy().astype(str)
    purchases = Purchases.of(known.with_columns(pl.col("days_ago") - back), customers, items)
    later = rows.filter(pl.col("days_ago").is_between(back - horizon, back, closed="left"))
    came = Purchases.of(later, customers, items)
    judged = np.unique(came.customer)
    draw = [hashlib.md5(c.encode()).digest() for c in customers[judged]]
    judged = np.sort(judged[sorted(range(len(draw)), key=draw.__getitem__)[:MOST_JUDGED]])
    return Standing(
        purchases,
        {
            kind.name: kind(purchases, products)
            for kind in RECOMMENDERS
            if wanted is None or kind.name in wanted
        },
        judged,
        sparse.csr_array(came.owned[judged]),
    )


def _popularity(purchases: Purchases) -> np.ndarray:
    """Return how many customers ever bought each item, by the time of all."""
    return np.bincount(purchases.owned.indices, minlength=len(purchases.items)).astype(float)


def _worth(scores: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    """Return of each item what its place in a list is worth, shape (rows, items).

    One over the place plus ten, nothing behind DEPTH: lists of different ways to score can be
    added up so (reciprocal rank fusion: Cormack, Clarke and Büttcher 2009).
    """
    depth = min(DEPTH, scores.shape[1])
    lists = top(scores, popularity, depth)
    found = np.zeros(scores.shape)
    worth = np.broadcast_to(1 / (np.arange(depth) + 11.0), lists.shape)
    np.put_along_axis(found, lists, worth, axis=1)
    return found


def _learned(standing: Standing) -> dict[str, float]:
    """Return the weights of the recommenders in the hybrid.

    Of a logistic regression of what was bought on what each list says of it, over the items that
    any list has; none is below 0, for a list that says the opposite says nothing.
    """
    from sklearn.linear_model import LogisticRegression

    popularity = _popularity(standing.purchases)
    inputs, came = [], []
    for rows in blocks(np.arange(len(standing.customers))):
        some = standing.customers[rows]
        worth = np.stack(
            [_worth(r.scores(some), popularity) for r in standing.recommenders.values()], axis=-1
        )
        row, item = np.nonzero(worth.any(axis=-1))
        inputs.append(worth[row, item])
        came.append(standing.bought[rows].toarray()[row, item] > 0)
    names = list(standing.recommenders)
    matrix, happened = np.concatenate(inputs), np.concatenate(came)
    kept = list(range(len(names)))
    while kept and happened.any() and not happened.all():
        model = LogisticRegression(C=1e4, max_iter=1000).fit(matrix[:, kept], happened)
        if (model.coef_[0] >= 0).all():
            break
        kept.remove(kept[int(np.argmin(model.coef_[0]))])
    weights = dict.fromkeys(names, 0.0)
    if kept and happened.any() and not happened.all():
        total = model.coef_[0].sum()
        weights |= {
            names[k]: float(w / total)
            for k, w in zip(kept, model.coef_[0], strict=True)
            if total > 0
        }
    return weights


def _scorer(
    standing: Standing, weights: dict[str, float]
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return for each recommender, and the hybrid of them, how to score customers."""
    popularity = _popularity(standing.purchases)

    def hybrid(customers: np.ndarray) -> np.ndarray:
        total = np.zeros((len(customers), len(standing.purchases.items)))
        for name, weight in weights.items():
            if weight > 0:
                worth = _worth(standing.recommenders[name].scores(customers), popularity)
                total += weight * worth
        return total

    return {name: r.scores for name, r in standing.recommenders.items()} | {HYBRID: hybrid}


def _lists(standing: Standing, weights: dict[str, float]) -> dict[str, np.ndarray]:
    """Return the lists of each recommender for the customers who are judged."""
    popularity = _popularity(standing.purchases)
    return {
        name: np.concatenate([
            top(scores(some), popularity, max(LENGTHS)) for some in blocks(standing.customers)
        ])
        for name, scores in _scorer(standing, weights).items()
    }  # fmt: skip


def _evaluated(
    cut: str, standing: Standing, lists: dict[str, np.ndarray], customers: pl.DataFrame
) -> list[dict]:
    """Return rows of EVALUATION_SCHEMA for one cut."""
    rows = []
    groups = _groups(standing, customers)
    rng = np.random.default_rng(SEED)
    draws = rng.poisson(1.0, (N_DRAWS, len(standing.customers))).astype(np.float32)
    for length in LENGTHS:
        found = {name: measures(each, standing.bought, length) for name, each in lists.items()}
        for name, values in found.items():
            common = {"cut": cut, "recommender": name, "list_length": length}
            for (group_type, group_value), chosen in groups.items():
                for measure in MEASURES:
                    value = values[measure][chosen]
                    gain = value - found[Popular.name][measure][chosen]
                    low, high = interval(value, draws[:, chosen])
                    gain_low, gain_high = interval(gain, draws[:, chosen])
                    rows.append(common | {
                        "group_type": group_type,
                        "group_value": group_value,
                        "measure": measure,
                        "n_customers": int(chosen.sum()),
                        "value": float(value.mean()),
                        "value_low": low,
                        "value_high": high,
                        "gain": float(gain.mean()),
                        "gain_low": gain_low,
                        "gain_high": gain_high,
                    })  # fmt: skip
            rows += [
                common | {"group_type": "all", "group_value": "all", "measure": measure,
                          "n_customers": len(standing.customers), "value": value}
                for measure, value in _variety(standing, lists[name][:, :length]).items()
            ]  # fmt: skip
    return rows


def _groups(standing: Standing, customers: pl.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Return who is in which group, of the customers who are judged."""
    purchases = standing.purchases
    keys = np.unique(np.column_stack([purchases.customer, purchases.days_ago]), axis=0)[:, 0]
    n_days = np.bincount(keys, minlength=len(purchases.customers))[standing.customers]
    groups = {
        ("all", "all"): np.ones(len(n_days), dtype=bool),
        ("history", "one day with an order"): n_days == 1,
        ("history", "two to four"): (n_days >= 2) & (n_days <= 4),
        ("history", "five or more"): n_days >= 5,
    }
    ids = pl.DataFrame({"customer_id": purchases.customers[standing.customers]})
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
    of customers who bought it; diversity: the share of all pairs of neighbouring lists' items
    that differ, one minus the mean overlap of two customers' lists.
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
    popularity: np.ndarray,
    customer: np.ndarray,
    item: np.ndarray,
) -> dict[str, np.ndarray | list]:
    """Return why each item is recommended, with the numbers behind it.

    bought_before: on n_evidence days; bought_together: n_evidence of the n_of customers of
    because_product_id, the most similar product that the customer has bought, bought it too;
    popular: n_evidence of n_of customers bought it.
    """
    own = np.asarray(purchases.n_days[customer, item]).ravel()
    similar = sparse.csr_array(neighbours.similarity.T)[item]
    shared = sparse.csr_array(similar.multiply(purchases.owned[customer]))
    best = np.asarray(shared.argmax(axis=1)).ravel() if shared.shape[1] else np.zeros(len(item))
    has_link = np.diff(shared.indptr) > 0
    both = _both(purchases, best, item)
    kind = np.where(own > 0, "bought_before", np.where(has_link, "bought_together", "popular"))
    linked = kind == "bought_together"
    evidence = np.select([own > 0, linked], [own, both], popularity[item])
    of = np.where(linked, popularity[best], len(purchases.customers))
    return {
        "reason": kind,
        "because_product_id": [
            str(purchases.items[b]) if is_linked else None
            for b, is_linked in zip(best, linked, strict=True)
        ],
        "n_evidence": evidence.astype(np.int64),
        "n_of": pl.Series(of.astype(np.int64)).to_frame("n").select(
            pl.when(pl.Series(own > 0)).then(None).otherwise("n")
        ).to_series(),
    }  # fmt: skip


def _both(purchases: Purchases, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how many customers bought both items, for pairs of items."""
    pairs, places = np.unique(np.column_stack([one, other]), axis=0, return_inverse=True)
    by_item = sparse.csc_array(purchases.owned)
    counts = np.asarray(
        by_item[:, pairs[:, 0]].multiply(by_item[:, pairs[:, 1]]).sum(axis=0)
    ).ravel()
    return counts[places.ravel()]
