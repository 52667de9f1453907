"""The two towers: what they find, that they find it again, odd shops, and life without PyTorch."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_recommend import PEOPLE, PRODUCTS, everyone, purchases_of, random_purchases, shop

from perennial.errors import UserError
from perennial.guard import check_extras
from perennial.recommend import embedding, judge, recommend
from perennial.recommend.embedding import TwoTower
from perennial.recommend.purchases import Purchases
from perennial.recommend.recommenders import Popular


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def two_tastes(seed: int = 1, n_customers: int = 300) -> tuple[Purchases, pl.DataFrame]:
    """Half of the customers buy a0 to a9, half b0 to b9, all of them c, which is most popular."""
    rng = np.random.default_rng(seed)
    rows = []
    for customer in range(n_customers):
        taste = "ab"[customer % 2]
        for day in rng.choice(300, 4, replace=False):
            name = "c" if rng.random() < 0.3 else f"{taste}{rng.integers(0, 10)}"
            rows.append((f"c{customer:03}", name, int(day)))
    purchases = purchases_of(rows)
    products = pl.DataFrame({
        "product_id": purchases.items, "category": [item[0] for item in purchases.items],
    })  # fmt: skip
    return purchases, products


def share_of_own_taste(way, purchases: Purchases) -> float:
    """Of the ten first beside c, how many are of the customer's taste."""
    popularity = np.asarray(purchases.owned.sum(axis=0), dtype=float).ravel()
    lists = way.lists(everyone(purchases), popularity, 11)
    found = purchases.items[lists]
    taste = np.array(["ab"[int(name[1:]) % 2] for name in purchases.customers])
    is_own = np.char.startswith(found, taste[:, None])
    return (is_own[:, :10].sum(axis=1) / (found[:, :10] != "c").sum(axis=1)).mean()


# With PyTorch


@pytest.mark.parametrize("with_products", [True, False])
def test_two_tastes_are_told_apart(torch, with_products):
    purchases, products = two_tastes(n_customers=1000)
    way = TwoTower(purchases, products if with_products else None)
    assert share_of_own_taste(way, purchases) > 0.95
    assert share_of_own_taste(Popular(purchases), purchases) == pytest.approx(0.5, abs=0.1)


def test_what_is_never_bought_again_by_the_same_is_found_by_its_category(torch):
    """An item that a few bought, and those of one taste: only its category says whose it is."""
    purchases, products = two_tastes()
    rows = pl.DataFrame({
        "customer_id": purchases.customers[purchases.customer],
        "product_id": purchases.items[purchases.item],
        "days_ago": purchases.days_ago,
    })  # fmt: skip
    new = pl.DataFrame({"customer_id": ["c000"], "product_id": ["a-new"], "days_ago": [0]})
    rows = pl.concat([rows, new])
    items = np.sort(np.append(purchases.items, "a-new"))
    purchases = Purchases.of(rows, purchases.customers, items)
    products = pl.concat([products, pl.DataFrame({"product_id": ["a-new"], "category": ["a"]})])
    scores = TwoTower(purchases, products).scores(everyone(purchases))
    place = np.searchsorted(items, "a-new")
    likes_a = np.arange(len(purchases.customers)) % 2 == 0
    assert scores[likes_a, place].mean() > scores[~likes_a, place].mean() + 1


def test_the_same_purchases_give_the_same_scores(torch):
    purchases, products = two_tastes()
    n_threads, was_strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(1)
    one = TwoTower(purchases, products).scores(everyone(purchases))
    torch.manual_seed(2)
    np.random.seed(2)
    other = TwoTower(purchases, products.reverse()).scores(everyone(purchases))
    assert (one == other).all()
    # And PyTorch is left as it was.
    assert torch.get_num_threads() == n_threads
    assert torch.are_deterministic_algorithms_enabled() == was_strict
    # Of few customers at a time the scores are those of all.
    way = TwoTower(purchases, products)
    assert way.scores(np.array([7, 3])) == pytest.approx(one[[7, 3]])


def test_odd_customers_and_items(torch):
    """No purchase among the items, no feature, one purchase; scores are finite, and plausible."""
    rows = pl.DataFrame(
        [("a", "x", 5), ("a", "y", 3), ("b", "x", 9), ("b", "y", 2), ("c", "z", 1)],
        ["customer_id", "product_id", "days_ago"],
        orient="row",
    )
    purchases = Purchases.of(rows, np.array(["a", "b", "c"]), np.array(["x", "y"]))
    products = pl.DataFrame({
        "product_id": ["x", "y"], "category": ["tea", None], "brand": [None, None],
    })  # fmt: skip
    for described in (products, products.drop("category"), products.head(0), None):
        scores = TwoTower(purchases, described).scores(everyone(purchases))
        assert scores.shape == (3, 2)
        assert np.isfinite(scores).all()
    # Whoever has bought nothing of these gets the shares, and where the network goes from nowhere.
    way = TwoTower(purchases, products)
    _, first_bias, second, second_bias = way.layers
    start = np.maximum(first_bias, 0) @ second + second_bias
    assert way.scores(np.array([2]))[0] == pytest.approx(start @ way.items.T + way.share)


@pytest.mark.parametrize(
    "rows",
    [
        [("a", "x", 0)],
        [("a", "x", 0), ("a", "x", 9)],
        [("a", "x", 0), ("a", "y", 9)],
        [("a", "x", 0), ("b", "x", 0), ("c", "x", 3)],
        [("ä" * 300, "茶" * 200, 0), ("b", "'; --", 9)],
        [("a", f"p{n:04}", n) for n in range(300)],
    ],
)
def test_odd_shops_get_finite_scores(torch, rows):
    purchases = purchases_of(rows)
    products = pl.DataFrame({"product_id": purchases.items})
    scores = TwoTower(purchases, products).scores(everyone(purchases))
    assert scores.shape == purchases.shape
    assert np.isfinite(scores).all()


def test_it_is_judged_and_recommends_like_all_others(torch):
    rows = shop()
    models = judge(rows, PRODUCTS, PEOPLE, embeddings=True)
    assert models["recommender"].to_list()[-2:] == ["two_tower", "hybrid"]
    found = models.filter(recommender="two_tower")
    assert found["status"].to_list() == ["judged"]
    assert found["hybrid_weight"][0] >= 0
    (ndcg,) = (
        row["value"]
        for row in found["evaluation"][0]
        if (row["cut"], row["measure"], row["list_length"], row["group_type"])
        == ("test", "ndcg", 10, "all")
    )
    popular = next(
        row["gain"]
        for row in found["evaluation"][0]
        if row["cut"] == "test" and row["measure"] == "ndcg" and row["group_type"] == "all"
    )
    assert ndcg > 0 and popular > 0
    # Where it is chosen, and where the hybrid uses it.
    alone = models.with_columns(is_chosen=pl.col("recommender") == "two_tower")
    mixed = models.with_columns(
        is_chosen=pl.col("recommender") == "hybrid",
        hybrid_weight=pl.when(pl.col("recommender").is_in(["two_tower", "popular"])).then(0.5),
    )
    for chosen in (alone, mixed):
        shown = pl.concat(recommend(rows, PRODUCTS, chosen))
        assert shown["customer_id"].n_unique() == rows["customer_id"].n_unique()
        assert shown.equals(pl.concat(recommend(rows.reverse(), PRODUCTS, chosen)))


# Without PyTorch


@pytest.fixture
def no_torch(monkeypatch):
    """Have `import torch` fail, whether it is installed or not."""
    monkeypatch.setitem(sys.modules, "torch", None)


def test_without_pytorch_the_sentence_says_what_to_install(no_torch):
    with pytest.raises(UserError, match=r"PyTorch is not installed; install it with .* -m pip"):
        judge(shop(), PRODUCTS, PEOPLE, embeddings=True)
    # Also for a shop where nothing could be judged, so that it is not the first sale that stops it.
    with pytest.raises(UserError, match=r"recommenders\.embeddings to false"):
        judge(shop().head(0), PRODUCTS, PEOPLE, embeddings=True)


def test_a_build_stops_before_it_begins(no_torch, monkeypatch):
    wanted = {"recommenders": {"embeddings": True}}
    with pytest.raises(UserError, match="PyTorch is not installed"):
        check_extras(wanted)
    monkeypatch.setenv("PERENNIAL_RECOMMENDERS", '{"embeddings": true}')
    with pytest.raises(UserError, match="PyTorch is not installed"):
        check_extras({})
    # The command line comes first; what no setting can be is dbt's to say.
    check_extras({"recommenders": {"embeddings": False}})
    for given in ("{}", "", "yes", "[1]", '{"embeddings": 1}'):
        monkeypatch.setenv("PERENNIAL_RECOMMENDERS", given)
        check_extras({})


def test_pytorch_is_not_asked_for_unless_it_is_wanted(no_torch):
    rows = shop(n=150)
    models = judge(rows, PRODUCTS, PEOPLE)
    assert "two_tower" not in models["recommender"].to_list()
    assert not pl.concat(recommend(rows, PRODUCTS, models)).is_empty()


def test_what_is_learned_from_is_what_came_before():
    purchases = purchases_of([
        ("a", "x", 9), ("a", "y", 9), ("a", "z", 5), ("a", "x", 2), ("b", "x", 4), ("b", "y", 4),
        ("c", "x", 8), ("c", "y", 1),
    ])  # fmt: skip
    pairs = embedding._pairs(purchases, 50)
    found = [
        (
            purchases.items[target],
            purchases.items[pairs.item[begin:end]].tolist(),
        )
        for target, begin, end in zip(pairs.target, pairs.begin, pairs.end, strict=True)
    ]
    # b bought on one day only.
    assert found == [("z", ["x", "y"]), ("x", ["x", "y", "z"]), ("y", ["x"])]
    item, starts, weights = pairs.histories(np.array([1, 2]), half_life_days=4)
    assert (purchases.items[item].tolist(), starts.tolist()) == (["x", "y", "z", "x"], [0, 3])
    # 9 days ago is 4 days before 5 days ago: half as much.
    assert weights.tolist() == pytest.approx([0.25, 0.25, 0.5, 1])
    assert embedding._pairs(purchases, 1).begin.tolist() == [1, 2, 6]


def test_the_mean_of_a_customer_is_by_time():
    purchases = purchases_of([("a", "x", 183), ("a", "y", 3), ("a", "z", 3), ("b", "x", 500)])
    made = TwoTower.__new__(TwoTower)
    made.purchases = purchases
    assert made._mixture().toarray() == pytest.approx(np.array([[0.2, 0.4, 0.4], [1, 0, 0]]))
    made.MOST_HISTORY = 2
    assert made._mixture().toarray() == pytest.approx(np.array([[0, 0.5, 0.5], [1, 0, 0]]))


def test_what_is_to_be_installed_is_the_extra():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert extras["embeddings"] == [embedding.REQUIRED]


def test_random_purchases_are_learned_from_without_a_warning(torch, recwarn):
    way = TwoTower(random_purchases(3))
    assert np.isfinite(way.scores(np.array([0]))).all()
    assert not [warning for warning in recwarn if "torch" in str(warning.filename)]
