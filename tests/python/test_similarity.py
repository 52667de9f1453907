"""Similar items: counted one by one, by others' libraries, and in SQL."""

from __future__ import annotations

import itertools
import json
import shutil
import warnings
from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import SHARED_DATA, build, green, write_shop
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity

from perennial.affinity import similarity
from perennial.affinity.relations import item_relations
from perennial.affinity.similarity import Baskets, count_pairs, most_similar, similar_items

BASKETS = st.lists(st.sets(st.integers(0, 11), max_size=8), max_size=25)


def baskets_of(lists: list[list[int]], n_items: int, weights=None) -> Baskets:
    lists = pa.chunked_array([pa.array(lists, pa.list_(pa.int32()))])
    if weights is not None:
        weights = pa.chunked_array([pa.array(weights, pa.list_(pa.float64()))])
    return Baskets.of(lists, weights, n_items)


def random_baskets(seed: int, n: int = 4000, n_items: int = 200) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    sizes = rng.geometric(0.2, n)
    return [
        list(dict.fromkeys((n_items * rng.random(size) ** 3).astype(int).tolist()))
        for size in sizes
    ]


def counted_one_by_one(lists) -> Counter:
    return Counter(pair for items in lists for pair in itertools.combinations(sorted(items), 2))


@pytest.mark.parametrize("sparse_from", [0, 1, 10**9])
@settings(max_examples=60, deadline=None)
@given(lists=BASKETS, least=st.integers(1, 3), lines=st.integers(1, 40), tables=st.integers(1, 5))
def test_pairs_are_those_counted_one_by_one(sparse_from, lists, least, lines, tables):
    lists = [list(items) for items in lists]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "SPARSE", sparse_from)
        patch.setattr(similarity, "LINES", lines)
        patch.setattr(similarity, "TABLES", tables)
        found = count_pairs(baskets_of(lists, 12), least)
        weights = [[1.0 + i / 7 for i in items] for items in lists]
        weighted = count_pairs(baskets_of(lists, 12, weights), least)
    wanted = {pair: n for pair, n in counted_one_by_one(lists).items() if n >= least}
    pairs = list(zip(found.one.tolist(), found.other.tolist(), strict=True))
    assert dict(zip(pairs, found.n_both.tolist(), strict=True)) == wanted
    assert pairs == sorted(pairs)
    assert weighted.n_both.tolist() == found.n_both.tolist()
    shared = [n * (1 + one / 7) * (1 + other / 7) for (one, other), n in sorted(wanted.items())]
    assert weighted.weight == pytest.approx(shared)


def ranked_one_by_one(lists, n_items: int, top_k: int, least: int) -> list[tuple[int, ...]]:
    n_item = Counter(item for items in lists for item in items)
    both = counted_one_by_one(lists)
    rows = []
    for item in range(n_items):
        partners = [
            (other, n)
            for other in range(n_items)
            if (n := both[tuple(sorted((item, other)))]) >= least and other != item
        ]
        partners.sort(
            key=lambda p: (-round(p[1] / (n_item[item] * n_item[p[0]]) ** 0.5, 12), -p[1], -p[0])
        )
        rows += [(item, other, rank, n) for rank, (other, n) in enumerate(partners[:top_k], 1)]
    return rows


# With parts of a few lines, most pairs meet floors that other parts have laid.
@pytest.mark.parametrize("lines", [1, 100, 10**6])
@pytest.mark.parametrize(("top_k", "least"), [(1, 1), (3, 2), (50, 1), (500, 3)])
def test_the_most_similar_are_those_of_sorting_everything(top_k, least, lines, monkeypatch):
    # Tables of a few rows, so that there are several.
    monkeypatch.setattr(similarity, "CELLS", 500)
    monkeypatch.setattr(similarity, "LINES", lines)
    lists = random_baskets(1, 900, 60)
    n_item = np.bincount(np.concatenate(lists), minlength=60)
    # Of equal ones the last goes first.
    found = most_similar(baskets_of(lists, 60), n_item, -np.arange(60), top_k, least)
    rows = list(zip(*(values.tolist() for values in found[:4]), strict=True))
    assert rows == ranked_one_by_one(lists, 60, top_k, least)


def test_ties_at_the_last_rank_go_by_both_and_then_by_tie():
    # Of four partners with the same cosine two stay; the fifth is closer, the sixth farther.
    lists = [[0, partner] for partner in (1, 2, 3, 4, 5, 5, 6)] + [[6], [6]]
    n_item = np.bincount(np.concatenate(lists))
    item, other, rank, n_both, _ = most_similar(
        baskets_of(lists, 7), n_item, np.array([0, 9, 3, 7, 1, 8, 0]), 3, 1
    )
    mine = item == 0
    assert other[mine].tolist() == [5, 4, 2]
    assert rank[mine].tolist() == [1, 2, 3]
    assert n_both[mine].tolist() == [2, 1, 1]
    assert len(item) == 3 + 6


@pytest.mark.parametrize("n_items", [200, 2**16 - 1, 2**16, 100_000])
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("sparse_from", [0, 10**9])
def test_lines_may_come_in_any_order(n_items, is_weighted, sparse_from, monkeypatch):
    """Sorted, sorted by basket alone, and in no order at all."""
    monkeypatch.setattr(similarity, "SPARSE", sparse_from)
    monkeypatch.setattr(similarity, "LINES", 500)
    rng = np.random.default_rng(3)
    # Numbers up to the greatest, which words of two bytes can only just hold, or not.
    lists = [[n_items - 1 - item for item in items] for items in random_baskets(4, 2000)]
    basket = np.repeat(np.arange(len(lists), dtype=np.int32), [len(items) for items in lists])
    item = np.concatenate(lists).astype(np.int32)
    weight = rng.random(len(item)) if is_weighted else None
    n_item, tie = np.bincount(item, minlength=n_items), np.arange(n_items)
    found = []
    for order in (np.lexsort((item, basket)), np.arange(len(item)), rng.permutation(len(item))):
        lines = Baskets(
            basket[order], item[order], weight[order] if is_weighted else None, len(lists), n_items
        )
        pairs = count_pairs(lines, 2)
        similar = most_similar(lines, np.maximum(n_item, 1), tie, 5, 2)
        found.append([pairs.one, pairs.other, pairs.n_both, pairs.weight, *similar])
    wanted = {pair: n for pair, n in counted_one_by_one(lists).items() if n >= 2}
    pairs = zip(found[0][0].tolist(), found[0][1].tolist(), strict=True)
    assert dict(zip(pairs, found[0][2].tolist(), strict=True)) == wanted
    for others in found[1:]:
        for mine, theirs in zip(found[0][:-1], others[:-1], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        # An item's squares are added as its lines come.
        if is_weighted:
            assert others[-1] == pytest.approx(found[0][-1], rel=1e-12)


def test_cells_and_sorting_give_the_same_weights_to_the_last_bit(monkeypatch):
    lists = random_baskets(7, 1500)
    rng = np.random.default_rng(8)
    weights = [rng.random(len(items)).tolist() for items in lists]
    found = []
    for sparse_from, lines in ((10**9, 32_000), (10**9, 50), (0, 32_000), (0, 50)):
        monkeypatch.setattr(similarity, "SPARSE", sparse_from)
        monkeypatch.setattr(similarity, "LINES", lines)
        found.append(count_pairs(baskets_of(lists, 200, weights)).weight)
    assert len(found[0]) > 1000
    for others in found[1:]:
        np.testing.assert_array_equal(found[0], others)


def weighted_one_by_one(lists, weights, n_items: int, top_k: int) -> list[tuple[int, ...]]:
    table = np.zeros((len(lists), n_items))
    for row, items, worth in zip(table, lists, weights, strict=True):
        row[items] = worth
    both = (table > 0).T.astype(int) @ (table > 0)
    cosine = table.T @ table / np.sqrt(np.outer((table**2).sum(axis=0), (table**2).sum(axis=0)))
    rows = []
    for item in range(n_items):
        partners = [other for other in np.flatnonzero(both[item]).tolist() if other != item]
        partners.sort(key=lambda o: (-round(cosine[item, o], 12), -both[item, o], o))
        rows += [(item, other, both[item, other]) for other in partners[:top_k]]
    return rows


@pytest.mark.parametrize("lines", [1, 100, 10**6])
def test_weighted_ranks_are_those_of_sorting_everything(lines, monkeypatch):
    monkeypatch.setattr(similarity, "LINES", lines)
    lists = random_baskets(9, 600, 50)
    rng = np.random.default_rng(10)
    # Powers of two, of which a sum is exact: so there are ties.
    weights = [(0.5 ** rng.integers(0, 4, len(items))).tolist() for items in lists]
    n_item = np.bincount(np.concatenate(lists), minlength=50)
    item, other, _, n_both, _ = most_similar(
        baskets_of(lists, 50, weights), n_item, np.arange(50), 7, 1
    )
    rows = list(zip(item.tolist(), other.tolist(), n_both.tolist(), strict=True))
    assert rows == weighted_one_by_one(lists, weights, 50, 7)


def test_what_is_too_old_to_weigh_anything_is_similar_to_nothing():
    # The square of the old item's weight is no number above 0.
    lists = [[0, 1, 2], [0, 1], [1, 2]]
    old = 0.5**700
    weights = [[1.0, 1.0, old], [1.0, 1.0], [1.0, old]]
    found = most_similar(baskets_of(lists, 3, weights), np.array([2, 3, 2]), np.arange(3), 2, 1)
    item, other, _, _, cosine = found
    assert list(zip(item.tolist(), other.tolist(), strict=True)) == [
        (0, 1), (0, 2), (1, 0), (1, 2), (2, 1), (2, 0),
    ]  # fmt: skip
    assert cosine[item == 2].tolist() == [0, 0]
    assert cosine[0] == pytest.approx(2 / 6**0.5)


def table_of(lists: list[list[int]], n_items: int) -> sparse.csr_matrix:
    rows = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    ones = np.ones(len(rows))
    return sparse.csr_matrix((ones, (rows, np.concatenate(lists))), (len(lists), n_items))


@pytest.mark.parametrize("library", ["scikit-learn", "implicit", "sparse_dot_topn"])
def test_cosines_are_those_of_other_libraries(library):
    lists = random_baskets(2)
    n_items, k = 200, 20
    table = table_of(lists, n_items)
    n_item = np.asarray(table.sum(axis=0)).ravel()
    if library == "scikit-learn":
        theirs = cosine_similarity(table.T)
    elif library == "implicit":
        neighbours = pytest.importorskip("implicit.nearest_neighbours")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = neighbours.CosineRecommender(K=k + 1)
            model.fit(table, show_progress=False)
        theirs = model.similarity.toarray()
    else:
        topn = pytest.importorskip("sparse_dot_topn")
        unit = sparse.csr_matrix(table @ sparse.diags(1 / np.sqrt(np.maximum(n_item, 1))))
        theirs = topn.sp_matmul_topn(unit.T.tocsr(), unit, top_n=k + 1).toarray()
    np.fill_diagonal(theirs, 0)
    item, other, rank, n_both, _ = most_similar(
        baskets_of(lists, n_items), n_item, np.arange(n_items), k, 1
    )
    cosine = n_both / np.sqrt(n_item[item] * n_item[other])
    for one in range(n_items):
        mine = cosine[item == one]
        best = np.sort(theirs[one])[::-1][: len(mine)]
        assert mine == pytest.approx(best), one
        # Where they keep the pair at all: of equal ones they may keep another.
        kept = theirs[one, other[item == one]]
        assert kept[kept > 0] == pytest.approx(mine[kept > 0])
    assert rank.max() == k


def test_old_purchases_weigh_less():
    """Two days ago weighs half of today, four days a quarter."""
    counts = pl.DataFrame(
        {
            "basis": ["order"] * 2,
            "product_id": ["tea", "mug"],
            "item_number": [0, 1],
            "n_item": [3, 2],
        }
    )
    lists = pa.table({
        "items": pa.array([[0, 1], [0, 1], [0]], pa.list_(pa.int32())),
        "days_ago": pa.array([[0.0, 0], [4, 4], [2]], pa.list_(pa.float64())),
    })  # fmt: skip
    found = similar_items(counts, {"order": lists}, 5, 1, half_life_days=2)
    tea = 1 + 1 / 16 + 1 / 4
    mug = 1 + 1 / 16
    assert found["n_both"].to_list() == [2, 2]
    assert found["decayed_cosine"].to_list() == pytest.approx([mug / (tea * mug) ** 0.5] * 2)


def test_odd_baskets():
    nothing = baskets_of([], 0)
    assert len(count_pairs(nothing).one) == 0
    assert [len(v) for v in most_similar(nothing, np.zeros(0), np.zeros(0), 5, 1)[:4]] == [0] * 4
    assert len(count_pairs(baskets_of([[0], [0]], 1)).one) == 0
    huge = count_pairs(baskets_of([list(range(5000)), [1, 0]], 5000))
    assert len(huge.one) == 5000 * 4999 // 2
    assert huge.n_both.max() == 2
    assert huge.n_both[0] == 2


# In a warehouse

ODD_IDS = ["tea 🍵 Grüner Tee, 100 g", "x" * 900, "'; drop table", "[1]", "sold once"]


def odd_shop(folder):
    """Ids of all kinds, lines twice, a product sold once and an order of 5,000 lines."""
    orders = ["order_id,customer_id,ordered_at,status"]
    items = ["order_id,line_number,product_id,quantity,unit_price"]
    for n in range(12):
        orders.append(f"o{n},c{n % 3},2024-01-{n + 1:02} 10:00:00,completed")
        for line, product in enumerate([*ODD_IDS[: 2 + n % 3], ODD_IDS[0]]):
            items.append(f'o{n},{line},"{product}",1,5.00')
    items.append(f"o0,99,{ODD_IDS[4]},1,5.00")
    orders.append("o99,c9,2024-01-20 10:00:00,completed")
    items += [f"o99,{line},bulk{line:04},1,1.00" for line in range(5000)]
    return write_shop(folder, orders="\n".join(orders) + "\n", order_items="\n".join(items) + "\n")


def query(warehouse: Path, sql: str) -> pl.DataFrame:
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return connection.sql(sql).pl()


@pytest.fixture(params=["demo", "online_retail", "odd"])
def counted_in_python(request, tmp_path) -> tuple[str, Path]:
    """A shop, and its warehouse."""
    if request.param == "demo":
        warehouse = request.getfixturevalue("demo").warehouse
    elif request.param == "online_retail":
        warehouse = request.getfixturevalue("real_shop")("online_retail").warehouse
    else:
        warehouse = tmp_path / "odd.duckdb"
        green(
            build(
                warehouse, raw=odd_shop(tmp_path / "odd"), select="+item_similarity",
                settings="{similarity: {min_count: 2}}", exclude="resource_type:test",
            )
        )  # fmt: skip
    return request.param, warehouse


def test_python_and_sql_give_the_same_table(counted_in_python, tmp_path):
    shop, warehouse = counted_in_python
    raw = {"odd": tmp_path / "odd", "online_retail": SHARED_DATA / shop}.get(shop)
    in_sql = tmp_path / "sql.duckdb"
    shutil.copy(warehouse, in_sql)
    settings = "{similarity: {way: sql%s}}" % (", min_count: 2" if shop == "odd" else "")
    green(
        build(
            in_sql, shop="files" if shop == "odd" else shop, settings=settings,
            raw=raw,
            select="item_pairs decayed_pairs item_similarity", exclude="resource_type:test",
        )
    )  # fmt: skip
    mine, theirs = (
        query(file, "from marts.item_similarity order by basis, product_id, similarity_rank")
        for file in (warehouse, in_sql)
    )
    assert mine.height > 0
    assert mine.equals(theirs)
    assert query(in_sql, "from intermediate.item_pairs").height > 0
    if shop == "odd":
        ids = set(mine["product_id"])
        assert set(ODD_IDS[:4]) <= ids
        assert ODD_IDS[4] not in ids


@pytest.mark.parametrize("half_life", [200, 1], ids=["months", "a day"])
def test_python_and_sql_weigh_alike(half_life, demo, tmp_path):
    """With a half-life of a day most purchases weigh as good as nothing."""
    found = []
    for way in ("python", "sql"):
        similarity = {"way": way, "half_life_days": half_life, "top_k": 20}
        warehouse = tmp_path / f"{way}.duckdb"
        shutil.copy(demo.warehouse, warehouse)
        green(
            build(
                warehouse, shop="demo",
                settings=json.dumps({"similarity": similarity}),
                select="affinity_settings item_lists py_similar_items item_pairs decayed_pairs "
                "item_similarity",
                exclude="resource_type:test",
            )
        )  # fmt: skip
        found.append(query(warehouse, "from marts.item_similarity order by all"))
    mine, theirs = found
    assert mine.height > 500
    assert mine.drop("decayed_cosine").equals(theirs.drop("decayed_cosine"))
    off = (mine["decayed_cosine"] - theirs["decayed_cosine"]).abs()
    assert off.max() <= 1e-12


def test_planted_complements_come_out_on_top(small_shop, small_build):
    planted = pl.read_csv(small_shop / "truth/pairs.csv")
    best = small_build.query(
        "select product_id, similar_product_id, lift, lift_by_month, log_likelihood_p_value "
        "from marts.item_similarity where basis = 'order' and similarity_rank = 1"
    )
    best = {row[0]: row for row in best}
    assert planted.height >= 4
    for one, other in planted.select("product_id", "with_product_id").iter_rows():
        for product, partner in ((one, other), (other, one)):
            _, first, lift, lift_by_month, p = best[product]
            assert first == partner
            assert min(lift, lift_by_month) > 3
            assert p < 1e-9


# What is viewed together and bought apart


def test_pairs_in_visits_and_orders_are_those_counted_one_by_one():
    visits, orders = random_baskets(5, 400, 30), random_baskets(6, 500, 35)
    # Numbers of both kinds of baskets are their own; some products were only viewed or bought.
    names = (
        [f"p{(7 * n) % 30:02}" for n in range(30)],
        [f"p{(3 * n + 5) % 35:02}" for n in range(35)],
    )
    sides = []
    for lists, ids, name in ((visits, names[0], "n_viewed"), (orders, names[1], "n_item")):
        counts = pl.DataFrame(
            {
                "product_id": ids,
                "item_number": range(len(ids)),
                name: np.bincount(np.concatenate(lists), minlength=len(ids)),
            }
        )
        sides += [counts, pa.table({"items": pa.array(lists, pa.list_(pa.int32()))})]
    found = item_relations(*sides, top_k=5, min_count=3)
    wanted = set()
    for lists, ids in ((visits, names[0]), (orders, names[1])):
        tie = np.argsort(np.argsort(ids))
        n_item = np.bincount(np.concatenate(lists), minlength=len(ids))
        one, other, *_ = most_similar(baskets_of(lists, len(ids)), n_item, tie, 5, 3)
        wanted |= {tuple(sorted((ids[a], ids[b]))) for a, b in zip(one, other, strict=True)}
    rows = {row[:2]: row[2:] for row in found.iter_rows()}
    assert set(rows) == wanted
    assert len(rows) == found.height
    for (one, other), counts in rows.items():
        for lists, ids, n_both in zip((visits, orders), names, counts, strict=True):
            held = [{ids[item] for item in items} for items in lists]
            assert sum({one, other} <= some for some in held) == n_both


@pytest.mark.parametrize(("table", "relation"), [("pairs", "complement"), ("rivals", "substitute")])
def test_complements_and_substitutes_are_the_planted_ones(small_shop, small_build, table, relation):
    planted = pl.read_csv(small_shop / f"truth/{table}.csv").select("product_id", "with_product_id")
    planted = {tuple(sorted(pair)) for pair in planted.iter_rows()}
    found = small_build.query(
        "select product_id, other_product_id from marts.item_relations "
        f"where relation = '{relation}'"
    )
    assert planted <= set(found)
    assert len(found) <= 3 * len(planted)
