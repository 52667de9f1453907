"""Association rules: by trying everything, and by others' libraries."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.affinity import rules
from perennial.affinity.rules import association_rules

BASKETS = st.lists(st.sets(st.integers(0, 7), max_size=6), max_size=30)


def found_in(baskets, support=0.1, confidence=0.5, max_items=5, max_itemsets=10**6) -> dict:
    """The rules, by both sides."""
    baskets = [sorted(basket) for basket in baskets]
    items = sorted({item for basket in baskets for item in basket})
    counts = pl.DataFrame(
        {
            "product_id": [f"p{item:03}" for item in items],
            "item_number": range(len(items)),
            "n_item": [sum(item in basket for basket in baskets) for item in items],
            "n_baskets": [sum(map(bool, baskets))] * len(items),
        },
        {
            "product_id": pl.String,
            "item_number": pl.Int32,
            "n_item": pl.Int64,
            "n_baskets": pl.Int64,
        },
    )
    number = {item: n for n, item in enumerate(items)}
    lists = [[number[item] for item in basket] for basket in baskets if len(basket) > 1]
    table = pa.table({"items": pa.array(lists, pa.list_(pa.int32()))})
    found = association_rules(counts, table, support, confidence, max_items, max_itemsets)
    rows = {
        (tuple(row["antecedent"]), tuple(row["consequent"])): row
        for row in found.iter_rows(named=True)
    }
    assert len(rows) == found.height
    return rows


def by_trying_everything(baskets, support, confidence, max_items) -> dict:
    baskets = [frozenset(f"p{item:03}" for item in basket) for basket in baskets if basket]
    items = sorted(frozenset().union(*baskets))
    n = len(baskets)

    def count(some) -> int:
        return sum(set(some) <= basket for basket in baskets)

    found = {}
    for size in range(2, max_items + 1):
        for itemset in itertools.combinations(items, size):
            n_both = count(itemset)
            if n_both < 2 or n_both < Fraction(str(support)) * n:
                continue
            for n_left in range(1, size):
                for left in itertools.combinations(itemset, n_left):
                    right = tuple(item for item in itemset if item not in left)
                    if n_both >= Fraction(str(confidence)) * count(left):
                        found[left, right] = (n_both, count(left), count(right), n)
    return found


@settings(max_examples=100, deadline=None)
@given(BASKETS, st.sampled_from([0, 0.1, 0.25, 0.3]), st.sampled_from([0, 0.2, 0.7, 0.8, 1]))
def test_rules_are_those_of_trying_everything(baskets, support, confidence):
    wanted = by_trying_everything(baskets, support, confidence, 5)
    rows = found_in(baskets, support, confidence)
    names = ("n_both", "n_antecedent", "n_consequent", "n_baskets")
    assert {rule: tuple(row[name] for name in names) for rule, row in rows.items()} == wanted


def random_baskets(seed: int, n: int = 600, n_items: int = 25) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [
        sorted(set((n_items * rng.random(1 + rng.poisson(3)) ** 2).astype(int).tolist()))
        for _ in range(n)
    ]


def test_mlxtend_finds_the_same_but_for_what_it_rounds_away():
    frequent_patterns = pytest.importorskip("mlxtend.frequent_patterns")
    pandas = pytest.importorskip("pandas")
    baskets = random_baskets(1)
    items = [f"p{item:03}" for item in range(25)]
    table = pandas.DataFrame(
        [[name in {f"p{i:03}" for i in basket} for name in items] for basket in baskets],
        columns=items,
    )
    frequent = frequent_patterns.fpgrowth(table, 0.01, use_colnames=True, max_len=5)
    theirs = frequent_patterns.association_rules(frequent, metric="confidence", min_threshold=0.4)
    theirs = {
        (tuple(sorted(row.antecedents)), tuple(sorted(row.consequents))): row
        for row in theirs.itertuples()
    }
    mine = found_in(baskets, 0.01, 0.4)
    assert len(mine) > 100
    assert set(theirs) <= set(mine)
    # What it loses lies on the edge.
    for rule in set(mine) - set(theirs):
        row = mine[rule]
        assert (
            row["n_both"] * 5 == row["n_antecedent"] * 2 or row["n_both"] * 100 == row["n_baskets"]
        )
    for rule, row in theirs.items():
        assert row.support == pytest.approx(mine[rule]["n_both"] / 600)
        assert row.confidence == pytest.approx(mine[rule]["n_both"] / mine[rule]["n_antecedent"])


def test_efficient_apriori_finds_the_same():
    efficient = pytest.importorskip("efficient_apriori")
    baskets = random_baskets(2)
    _, theirs = efficient.apriori(
        [tuple(f"p{item:03}" for item in basket) for basket in baskets],
        min_support=0.02, min_confidence=0.41, max_length=4,
    )  # fmt: skip
    theirs = {
        (tuple(sorted(r.lhs)), tuple(sorted(r.rhs))): (r.count_full, r.count_lhs, r.count_rhs)
        for r in theirs
    }
    mine = found_in(baskets, 0.02, 0.41, 4)
    names = ("n_both", "n_antecedent", "n_consequent")
    assert {rule: tuple(row[name] for name in names) for rule, row in mine.items()} == theirs


def test_nothing_is_lost_at_the_edge():
    """4 of 5 are .8, however the division is rounded; 7 of 100 are .07."""
    baskets = [[0, 1]] * 4 + [[0]] + [[2]] * 95
    assert (("p000",), ("p001",)) in found_in(baskets, 0.01, 0.8)
    baskets = [[0, 1]] * 7 + [[2]] * 93
    assert len(found_in(baskets, 0.07, 0.1)) == 2
    assert len(found_in(baskets, 0.0701, 0.1)) == 0


@pytest.mark.parametrize("most", [1, 3, 10, 40])
def test_of_too_many_the_most_frequent_stay_and_are_complete(most):
    baskets = random_baskets(3)
    everything = found_in(baskets, 0.01, 0)
    rows = found_in(baskets, 0.01, 0, max_itemsets=most)
    for size in range(2, 6):
        of_size = {rule for rule in rows if len(rule[0]) + len(rule[1]) == size}
        sets = {tuple(sorted(rule[0] + rule[1])) for rule in of_size}
        assert len(sets) <= most
        if of_size:
            (least,) = {rows[rule]["n_least"] for rule in of_size}
            assert of_size == {
                rule
                for rule, row in everything.items()
                if len(rule[0]) + len(rule[1]) == size and row["n_both"] >= least
            }


def test_a_huge_basket_explodes_nothing(monkeypatch):
    monkeypatch.setattr(rules, "CANDIDATES_PER_SET", 2)
    baskets = [list(range(300))] * 2 + [[0, 1, 2]] * 5
    rows = found_in(baskets, 0, 0.5, 4, 1000)
    assert set(rows) == set(found_in([[0, 1, 2]] * 7, 0, 0.5, 4))


def test_many_baskets_are_counted_in_parts(monkeypatch):
    baskets = random_baskets(4)
    whole = found_in(baskets)
    monkeypatch.setattr(rules, "BYTES", 4096)
    assert found_in(baskets) == whole


def test_nothing_to_find():
    assert found_in([]) == {}
    assert found_in([[], [1], [2]]) == {}
    assert found_in([[1, 2]]) == {}


def test_the_demo_has_the_rules_of_its_orders(demo):
    """Each rule of the mart, counted among the baskets by itself."""
    lines = demo.query(
        "select basket_id, product_id from intermediate.item_baskets where basis = 'order'"
    )
    baskets: dict[str, set[str]] = {}
    for basket, product in lines:
        baskets.setdefault(basket, set()).add(product)
    found = demo.query(
        "select antecedent, consequent, n_both, n_antecedent, n_consequent, n_orders, lift, "
        "conviction from marts.association_rules"
    )
    assert len(found) > 10
    for antecedent, consequent, n_both, n_left, n_right, n, lift, conviction in found:
        left, right = set(json.loads(antecedent)), set(json.loads(consequent))
        counted = [
            sum(some <= basket for basket in baskets.values())
            for some in (left | right, left, right)
        ]
        assert counted == [n_both, n_left, n_right]
        assert n == len(baskets)
        assert n_both * 200 >= n
        assert n_both * 5 >= n_left
        assert lift == pytest.approx(n_both * n / n_left / n_right)
        if n_both < n_left:
            assert conviction == pytest.approx((1 - n_right / n) / (1 - n_both / n_left))
