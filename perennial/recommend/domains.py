"""What one category, sales channel or platform says about another.

A domain is a category of products, a sales channel or a platform. Who buys in one for the first
time has a history in others: what goes with it there is told by customers who buy in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import sparse
from threadpoolctl import threadpool_limits

from perennial.recommend.judging import MIN_CUSTOMERS, MOST_ITEMS, MOST_JUDGED
from perennial.recommend.lists import GAINS, blocks, held_against, named, top
from perennial.recommend.purchases import CUTS, drawn, known_cuts, numbered
from perennial.recommend.recommenders import MOST_LEARNERS, most_alike

# What domains there are, in order.
DOMAIN_TYPES = ("category", "platform", "sales_channel")
# Lists are judged by so many places, and so many are shown.
JUDGED_LENGTH = 10
LENGTH = 5
# Of each type those with most customers; and of these, so many one by one as a source.
MOST_DOMAINS = 20
MOST_SOURCES = 6
EVERY = "every other"
# All targets of a type together.
ANY = "any"
POPULAR, ELSEWHERE = "popular", "elsewhere"

SCHEMA = {
    "domain_type": pl.String,
    "source": pl.String,
    "target": pl.String,
    "cut": pl.String,
    "status": pl.String,
    "n_customers": pl.Int64,
    **GAINS,
}
LISTS_SCHEMA = {
    "customer_id": pl.String,
    "domain_type": pl.String,
    "domain": pl.String,
    "recommendation_rank": pl.Int64,
    "product_id": pl.String,
    "way": pl.String,
    "score": pl.Float64,
    "because_product_id": pl.String,
    "n_evidence": pl.Int64,
    "n_of": pl.Int64,
}


@dataclass(frozen=True)
class Domains:
    """Purchases in the domains of one type, as they were known at a cut.

    Attributes:
        names: the domains, those with most customers first.
        customers: ids of customers, in order, shape (n,).
        items: ids of the most bought products, in order, shape (m,).
        owned: of each domain 1 for what each customer bought there, shape (n, m).
        is_there: of each domain who had bought anything there, be it among the items or not,
            shape (n,).
        came: of each domain 1 for what each bought there in the horizon after the cut, shape
            (n, m).
        n_came: of each domain how many products each bought there in that horizon that had been
            sold there before, be they among the items or not, shape (n,).
    """

    names: list[str]
    customers: np.ndarray
    items: np.ndarray
    owned: list[sparse.csr_array]
    is_there: list[np.ndarray]
    came: list[sparse.csr_array]
    n_came: list[np.ndarray]

    @classmethod
    def of(cls, rows: pl.DataFrame, cut: str) -> Domains:
        """Make them of rows of `domain_purchases` of one type."""
        known = rows.filter(pl.col("known_from").is_in(known_cuts(cut)))
        names = (
            known.group_by("domain").agg(n=pl.col("customer_id").n_unique())
            .sort(["n", "domain"], descending=[True, False]).head(MOST_DOMAINS)["domain"].to_list()
        )  # fmt: skip
        buyers = known.group_by("product_id").agg(n=pl.col("customer_id").n_unique())
        most = buyers.sort(["n", "product_id"], descending=[True, False]).head(MOST_ITEMS)
        customers = known["customer_id"].unique().sort().to_numpy().astype(str)
        items = most["product_id"].sort().to_numpy().astype(str)
        shape = len(customers), len(items)
        # Nothing has come after today.
        later = rows.filter(f"is_bought_after_{cut}") if cut != CUTS[-1] else rows.clear()
        sold = known.select("product_id", "domain").unique()
        later = later.join(sold, on=["product_id", "domain"], how="semi")

        def by_number(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
            """Return the customers of each domain with what they bought there, as numbers."""
            frame = (
                frame.lazy()
                .select("domain", "customer_id", "product_id")
                .join(numbered("customer", customers).lazy(), on="customer_id")
                .join(numbered("product", items).lazy(), on="product_id", how="left")
                .select("domain", "customer", "product")
                .collect()
            )
            return {name: frame.filter(domain=name).drop("domain") for name in names}

        def table(frame: pl.DataFrame) -> sparse.csr_array:
            who, what = (column.to_numpy() for column in frame.drop_nulls())
            return sparse.csr_array((np.ones(len(who)), (who, what)), shape)

        def n_each(frame: pl.DataFrame) -> np.ndarray:
            return np.bincount(frame["customer"].to_numpy(), minlength=len(customers))

        before, after = by_number(known), by_number(later)
        return cls(
            names,
            customers,
            items,
            [table(frame) for frame in before.values()],
            [n_each(frame) > 0 for frame in before.values()],
            [table(frame) for frame in after.values()],
            [n_each(frame) for frame in after.values()],
        )

    def source(self, target: int, source: int | None = None) -> sparse.csr_array:
        """Return 1 for what each customer bought in a domain, or in every one but the target."""
        if source is not None:
            return self.owned[source]
        found = sum(
            (table for n, table in enumerate(self.owned) if n != target),
            sparse.csr_array(self.owned[target].shape),
        )
        found = sparse.csr_array(found)
        found.data[:] = 1
        return found


class Transfer:
    """From what customers bought in a source to what they buy in a target, by those in both.

    Attributes:
        source: 1 for what each customer bought in the source, shape (n, m).
        target: the same of the target.
        sold: numbers of the items that were bought in the target, in order, shape (sold,).
        popularity: customers of each of these there, shape (sold,).
        shared: customers of an item of the source who bought a sold one in the target, over the
            customers of the former who bought anything there and PRIOR more; shape (m, sold).
        unknown: of each item of the source, the share of PRIOR in that sum, shape (m,).
    """

    # To each item's customers so many are added who bought what everybody did.
    PRIOR = 10.0

    def __init__(self, source: sparse.csr_array, target: sparse.csr_array, learners: np.ndarray):
        """Learn from the customers with the numbers `learners`."""
        self.source, self.target = source, target
        popularity = np.asarray(target.sum(axis=0)).ravel()
        self.sold = np.flatnonzero(popularity)
        self.popularity = popularity[self.sold]
        self.n_there = int((np.diff(target.indptr) > 0).sum())
        learners = learners[np.diff(target.indptr)[learners] > 0]
        here, there = source[learners], sparse.csr_array(target[learners][:, self.sold])
        n_here = np.asarray(here.sum(axis=0)).ravel()
        self.shared = sparse.csr_array(
            sparse.diags_array(1 / (n_here + self.PRIOR)) @ (here.T @ there)
        )
        self.unknown = self.PRIOR / (n_here + self.PRIOR)

    def scores(self, way: str, customers: np.ndarray) -> np.ndarray:
        """Return the scores of what is sold in the target, shape (customers, sold).

        By ELSEWHERE: of the customers of what each bought in the source, how many bought it in the
        target; the mean over what they bought.
        """
        share = self.popularity / max(1, self.n_there)
        if way == POPULAR:
            return np.tile(share, (len(customers), 1))
        owned = self.source[customers]
        n_owned = np.maximum(np.diff(owned.indptr), 1)[:, None]
        return ((owned @ self.shared).toarray() + np.outer(owned @ self.unknown, share)) / n_owned

    def lists(self, way: str, customers: np.ndarray, n: int) -> np.ndarray:
        """Return the numbers of the best n items for some customers, shape (customers, n)."""
        parts = [np.zeros((0, n), int)]
        for some in blocks(customers):
            parts.append(top(self.scores(way, some), self.popularity, n))
        places = np.concatenate(parts)
        return np.append(self.sold, -1)[places]


def judge_domains(rows: pl.DataFrame) -> pl.DataFrame:
    """Judge by time what purchases in one domain say about another.

    Customers are asked who at a cut had bought in the source and never in the target, and bought
    there in the horizon that followed.

    Args:
        rows: rows of `domain_purchases`, in any order.

    Returns:
        One row of SCHEMA per type, source, target and cut: NDCG of JUDGED_LENGTH by what was bought
        in the source, its gain over what most have bought in the target, with 95 % bootstrap
        intervals. The source EVERY is all domains but the target; single sources are
        judged in the test only. The target ANY is all targets together, where a customer
        counts once for each that they enter. With too few customers the status says so.
    """
    found = []
    with threadpool_limits(1):
        for domain_type in rows["domain_type"].unique().sort():
            some = rows.filter(domain_type=domain_type)
            for cut in CUTS[:2]:
                found += [
                    {"domain_type": domain_type, "cut": cut} | row
                    for row in _judged(Domains.of(some, cut), cut)
                ]
    return pl.DataFrame(found, SCHEMA)


def _judged(domains: Domains, cut: str) -> list[dict]:
    """Return the rows of one type and cut."""
    learners = drawn(domains.customers, MOST_LEARNERS)
    found, pooled = [], []
    for target, name in enumerate(domains.names):
        asked = _asked(domains, None, target, learners)
        pooled.append(asked)
        found.append({"source": EVERY, "target": name} | _held_against(asked))
        for source, other in enumerate(domains.names[:MOST_SOURCES] if cut == CUTS[1] else []):
            if source != target:
                asked = _asked(domains, source, target, learners)
                found.append({"source": other, "target": name} | _held_against(asked))
    if pooled:
        found.append({"source": EVERY, "target": ANY} | _held_against(Asked.all(pooled)))
    return found


@dataclass(frozen=True)
class Asked:
    """Customers who entered a domain, what they would have been shown, and what they bought.

    Attributes:
        lists: numbers of items by each of ELSEWHERE and POPULAR, shape (customers, places).
        came: 1 for what they bought there, shape (customers, items).
        n_came: how many products they bought there, shape (customers,).
        n: how many customers there were, of whom MOST_JUDGED at most are asked.
    """

    lists: dict[str, np.ndarray]
    came: sparse.csr_array
    n_came: np.ndarray
    n: int

    @classmethod
    def all(cls, parts: list[Asked]) -> Asked:
        """Return those of several domains together."""
        return cls(
            {way: np.concatenate([part.lists[way] for part in parts]) for way in parts[0].lists},
            sparse.csr_array(sparse.vstack([part.came for part in parts])),
            np.concatenate([part.n_came for part in parts]),
            sum(part.n for part in parts),
        )


def _asked(domains: Domains, source: int | None, target: int, learners: np.ndarray) -> Asked:
    """Return who entered a target from a source after the cut."""
    # Whoever is known and not in the target is in another.
    is_here = True if source is None else domains.is_there[source]
    who = np.flatnonzero(is_here & ~domains.is_there[target] & (domains.n_came[target] > 0))
    n = len(who)
    who = who[drawn(domains.customers[who], MOST_JUDGED)]
    transfer = Transfer(domains.source(target, source), domains.owned[target], learners)
    lists = {way: transfer.lists(way, who, JUDGED_LENGTH) for way in (ELSEWHERE, POPULAR)}
    return Asked(lists, domains.came[target][who], domains.n_came[target][who], n)


def _held_against(asked: Asked) -> dict[str, str | int | float]:
    if asked.n < MIN_CUSTOMERS:
        why = (
            f"abstained: {asked.n} customers bought there for the first time in the time held "
            f"out; needed are {MIN_CUSTOMERS}"
        )
        return {"status": why, "n_customers": asked.n}
    lists = asked.lists[ELSEWHERE], asked.lists[POPULAR]
    judged = held_against(*lists, asked.came, asked.n_came, JUDGED_LENGTH)
    return {"status": "judged", "n_customers": asked.n} | judged


def recommend_across(rows: pl.DataFrame, judged: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Give what to show each customer in the domain that they are likeliest to enter next.

    Of each type it is the domain, of those where the customer has bought nothing, in which most of
    the customers have bought who bought most products in the same domain as this one.

    Args:
        rows: rows of `domain_purchases`, in any order.
        judged: what judge_domains returned. What was bought elsewhere is used where its gain in
            the validation is more than noise, else what is popular in the target. Where a target
            has too few customers to tell, all together decide.

    Yields:
        Of some customers at a time up to LENGTH rows of LISTS_SCHEMA per customer and type, by
        type, domain, customer and rank; before all others a table without rows. Of the n_of
        customers of because_product_id who bought anything in that domain n_evidence bought the
        product; where there is no such product, of all its customers.
    """
    gain = {
        (row["domain_type"], row["target"]): row["gain_low"]
        for row in judged.filter(cut=CUTS[0], source=EVERY, status="judged").iter_rows(named=True)
    }
    yield pl.DataFrame(schema=LISTS_SCHEMA)
    with threadpool_limits(1):
        for domain_type in rows["domain_type"].unique().sort():
            some = rows.filter(domain_type=domain_type)
            domains = Domains.of(some, CUTS[-1])
            target = _next_domain(domains)
            learners = drawn(domains.customers, MOST_LEARNERS)
            for number, name in enumerate(domains.names):
                customers = np.flatnonzero(target == number)
                if len(customers):
                    pooled = gain.get((domain_type, ANY), 0.0)
                    is_better = gain.get((domain_type, name), pooled) > 0
                    way = ELSEWHERE if is_better else POPULAR
                    transfer = Transfer(domains.source(number), domains.owned[number], learners)
                    for shown in _shown(domains, transfer, way, customers):
                        yield shown.with_columns(
                            domain_type=pl.lit(domain_type), domain=pl.lit(name), way=pl.lit(way)
                        ).select(*LISTS_SCHEMA)


def _next_domain(domains: Domains) -> np.ndarray:
    """Return the domain that each customer is likeliest to enter, -1 where there is none left."""
    n_bought = np.column_stack([np.diff(table.indptr) for table in domains.owned])
    main = n_bought.argmax(axis=1)
    has = np.column_stack(domains.is_there)
    share = np.stack(
        [has[main == n].mean(axis=0) if (main == n).any() else has.mean(axis=0)
         for n in range(len(domains.names))]
    )  # fmt: skip
    open_to = np.where(has, -1.0, share[main])
    return np.where(open_to.max(axis=1) >= 0, open_to.argmax(axis=1), -1)


def _shown(
    domains: Domains, transfer: Transfer, way: str, customers: np.ndarray
) -> Iterator[pl.DataFrame]:
    """Give the lists of some customers in one domain, with the numbers behind them."""
    is_there = np.diff(transfer.target.indptr) > 0
    n_of_source = np.asarray(transfer.source[is_there].sum(axis=0)).ravel()
    shared = transfer.shared.toarray()
    # How many customers bought an item in the source and a sold one in the target.
    n_both = (transfer.source.T @ transfer.target[:, transfer.sold]).toarray()
    for some in blocks(customers):
        scores = transfer.scores(way, some)
        lists = top(scores, transfer.popularity, LENGTH)
        row, place = np.nonzero(lists >= 0)
        sold = lists[row, place]
        item = transfer.sold[sold]
        best = np.full(len(item), -1)
        if way == ELSEWHERE:
            best = most_alike(transfer.source[some[row]], shared, sold)
        is_told = best >= 0
        evidence = np.where(is_told, n_both[best, sold], transfer.popularity[sold])
        yield pl.DataFrame({
            "customer_id": domains.customers[some[row]],
            "recommendation_rank": place + 1,
            "product_id": domains.items[item],
            "score": np.round(scores[row, sold], 9),
            "because_product_id": named(domains.items, best),
            "n_evidence": evidence.astype(np.int64),
            "n_of": np.where(is_told, n_of_source[best], transfer.n_there).astype(np.int64),
        })  # fmt: skip
