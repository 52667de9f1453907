"""Similar items, association rules and recommenders beside the libraries that people use instead.

Each way runs in a process of its own, one after the other in every round, from a parquet file of
baskets and items to a parquet file of results: reading, fitting and writing are all in the time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import polars as pl

TOP_K = 50
MIN_COUNT = 3
SUPPORT, CONFIDENCE = 0.0005, 0.05


def simulate(n_baskets: int, n_items: int, seed: int = 7) -> pl.DataFrame:
    """Return lines of baskets as a grocer has them: nine products on average, some of a theme."""
    rng = np.random.default_rng(seed)
    size = np.clip(rng.lognormal(np.log(7.2), 0.78, n_baskets).round().astype(int), 1, 145)
    share = 1 / (np.arange(n_items) + 60.0) ** 0.95
    basket = np.repeat(np.arange(n_baskets, dtype=np.int32), size)
    item = np.searchsorted(np.cumsum(share / share.sum()), rng.random(size.sum()))
    item = np.minimum(item, n_items - 1)
    # Four of ten are of the basket's theme.
    n_themes = max(1, n_items // 125)
    theme = rng.integers(0, n_themes, n_baskets)
    is_of_theme = rng.random(size.sum()) < 0.4
    item[is_of_theme] = np.minimum(
        item[is_of_theme] // n_themes * n_themes + theme[basket[is_of_theme]], n_items - 1
    )
    item = rng.permutation(n_items)[item].astype(np.int32)
    # One basket after the other, as orders come in.
    return pl.DataFrame({"basket": basket, "item": item}).unique(maintain_order=True)


def read(file: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the baskets and items of lines."""
    lines = pl.read_parquet(file)
    return lines["basket"].to_numpy(), lines["item"].to_numpy()


def table(file: str):
    """Return baskets by items, 1 where a basket holds an item."""
    from scipy import sparse

    basket, item = read(file)
    return sparse.coo_matrix((np.ones(len(basket)), (basket, item))).tocsr()


def by_perennial(file: str) -> pl.DataFrame:
    from perennial.affinity.similarity import Baskets, most_similar

    basket, item = read(file)
    # In pieces, as numpy makes greater numbers of all that it counts.
    n_items = int(item.max()) + 1
    n_item = sum(np.bincount(some, minlength=n_items) for some in np.array_split(item, 100))
    order = np.lexsort((np.arange(n_items), -n_item))
    number = np.empty(len(n_item), np.int32)
    number[order] = np.arange(len(n_item), dtype=np.int32)
    baskets = Baskets(basket, number[item], None, int(basket.max()) + 1, len(n_item))
    one, other, rank, n_both, _ = most_similar(baskets, n_item[order], order, TOP_K, MIN_COUNT)
    cosine = n_both / np.sqrt(n_item[order][one].astype(float) * n_item[order][other])
    return pl.DataFrame(
        {"item": order[one], "other": order[other], "rank": rank, "n": n_both, "cosine": cosine}
    )


def _of_table(similar) -> pl.DataFrame:
    similar = similar.tocoo()
    is_other = similar.row != similar.col
    return pl.DataFrame(
        {
            "item": similar.row[is_other],
            "other": similar.col[is_other],
            "cosine": similar.data[is_other],
        }
    )


def by_implicit(file: str) -> pl.DataFrame:
    from implicit.nearest_neighbours import CosineRecommender

    model = CosineRecommender(K=TOP_K + 1, num_threads=2)
    model.fit(table(file), show_progress=False)
    return _of_table(model.similarity)


def by_sparse_dot_topn(file: str) -> pl.DataFrame:
    from scipy import sparse
    from sparse_dot_topn import sp_matmul_topn

    lines = table(file)
    length = np.sqrt(np.asarray(lines.sum(axis=0)).ravel())
    unit = (lines @ sparse.diags(1 / np.where(length > 0, length, 1))).tocsr()
    return _of_table(sp_matmul_topn(unit.T.tocsr(), unit, top_n=TOP_K + 1, n_threads=2))


def by_sql(file: str) -> pl.DataFrame:
    """Do as the warehouse does with similarity.way sql, in a database on the disk."""
    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        connection = duckdb.connect(f"{folder}/w.duckdb")
        connection.execute("set threads = 2; set memory_limit = '6GB'")
        connection.execute(
            f"""
            create table items as
            select item, count(*) as n,
                cast(row_number() over (order by item) as integer) as number
            from '{file}' group by item
            """
        )
        connection.execute(
            f"""
            create table pairs as
            with lines as (
                select lines.basket, items.number
                from '{file}' as lines inner join items using (item)
            )
            select one.number as a, other.number as b, count(*) as n_both
            from lines as one
            inner join lines as other on one.basket = other.basket and one.number < other.number
            group by all
            """
        )
        return connection.sql(
            f"""
            with directed as (
                select a as one, b as other, n_both from pairs where n_both >= {MIN_COUNT}
                union all
                select b, a, n_both from pairs where n_both >= {MIN_COUNT}
            )
            select items.item, others.item as other, n_both,
                n_both / sqrt(items.n * cast(others.n as double)) as cosine
            from directed
            inner join items on directed.one = items.number
            inner join items as others on directed.other = others.number
            qualify row_number() over (
                partition by items.item order by round(cosine, 12) desc, n_both desc, others.item
            ) <= {TOP_K}
            """
        ).pl()


def rules_by_perennial(file: str) -> pl.DataFrame:
    import pyarrow as pa

    from perennial.affinity.rules import association_rules

    lines = pl.read_parquet(file)
    counts = (
        lines.group_by("item").agg(n_item=pl.len().cast(pl.Int64))
        .sort("n_item", "item", descending=[True, False]).with_row_index("item_number")
        .with_columns(
            pl.col("item_number").cast(pl.Int32), product_id=pl.col("item").cast(pl.String),
            n_baskets=pl.lit(lines["basket"].n_unique(), pl.Int64),
        )
    )  # fmt: skip
    lists = (
        lines.join(counts, on="item").group_by("basket").agg(items="item_number").select("items")
    )
    found = lists.to_arrow().cast(pa.schema([("items", pa.list_(pa.int32()))]))
    return association_rules(counts, found, SUPPORT, CONFIDENCE, 4, 10**6)


def rules_by_mlxtend(file: str) -> pl.DataFrame:
    import pandas as pd
    from mlxtend.frequent_patterns import association_rules, fpgrowth

    lines = table(file)
    lines = lines[np.asarray(lines.sum(axis=1)).ravel() > 0]
    frame = pd.DataFrame.sparse.from_spmatrix(
        lines.astype(bool), columns=map(str, range(lines.shape[1]))
    )
    sets = fpgrowth(frame, SUPPORT, use_colnames=True, max_len=4)
    found = association_rules(sets, metric="confidence", min_threshold=CONFIDENCE)
    return pl.DataFrame(
        {side: [sorted(items) for items in found[side]] for side in ("antecedents", "consequents")}
    )


def rules_by_efficient_apriori(file: str) -> pl.DataFrame:
    from efficient_apriori import apriori

    baskets = pl.read_parquet(file).group_by("basket").agg("item")["item"].to_list()
    _, rules = apriori(
        [tuple(map(str, basket)) for basket in baskets],
        min_support=SUPPORT, min_confidence=CONFIDENCE, max_length=4,
    )  # fmt: skip
    return pl.DataFrame({"lhs": [list(rule.lhs) for rule in rules]})


def _recommended(name: str, file: str) -> pl.DataFrame:
    """Lists of ten for 500 customers."""
    from perennial.recommend import recommenders
    from perennial.recommend.lists import top
    from perennial.recommend.purchases import Purchases

    lines = pl.read_parquet(file).select(
        customer_id=pl.col("basket").cast(pl.String).str.zfill(9),
        product_id=pl.col("item").cast(pl.String).str.zfill(9),
        days_ago=pl.lit(1, pl.Int64),
    )
    ids = [lines[c].unique().sort().to_numpy().astype(str) for c in ("customer_id", "product_id")]
    purchases = Purchases.of(lines, *ids)
    model = getattr(recommenders, name)(purchases)
    lists = top(model.scores(np.arange(min(500, len(ids[0])))), np.zeros(len(ids[1])), 10)
    return pl.DataFrame({"lists": lists.tolist()})


def _surprised(model, file: str) -> pl.DataFrame:
    import pandas as pd
    from surprise import Dataset, Reader

    lines = pl.read_parquet(file)
    frame = pd.DataFrame({c: lines[c].to_numpy() for c in ("basket", "item")})
    # A rating that says how popular the product is: of ones alone nothing is to be learned.
    frame["rating"] = 1.0 + frame["item"] % 5
    train = Dataset.load_from_df(frame, Reader(rating_scale=(1, 5))).build_full_trainset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(train)
    lists = []
    for user in list(train.all_users())[:500]:
        scores = [model.predict(train.to_raw_uid(user), train.to_raw_iid(i)).est
                  for i in train.all_items()]  # fmt: skip
        lists.append(np.argsort(scores)[::-1][:10].tolist())
    return pl.DataFrame({"lists": lists})


def items_by_perennial(file: str) -> pl.DataFrame:
    return _recommended("ItemNeighbours", file)


def users_by_perennial(file: str) -> pl.DataFrame:
    return _recommended("UserNeighbours", file)


def svd_by_perennial(file: str) -> pl.DataFrame:
    return _recommended("Factors", file)


def items_by_surprise(file: str) -> pl.DataFrame:
    from surprise import KNNBasic

    options = {"name": "cosine", "user_based": False}
    return _surprised(KNNBasic(k=50, sim_options=options, verbose=False), file)


def users_by_surprise(file: str) -> pl.DataFrame:
    from surprise import KNNBasic

    options = {"name": "cosine", "user_based": True}
    return _surprised(KNNBasic(k=100, sim_options=options, verbose=False), file)


def svd_by_surprise(file: str) -> pl.DataFrame:
    from surprise import SVD

    return _surprised(SVD(n_factors=32, random_state=1), file)


def daily(file: str, share: float) -> dict:
    """Count all pairs in SQL, then those that a share of new lines adds, as `item_pairs` does."""
    import duckdb

    count = """
        select one.item as a, other.item as b, count(*) as n_both
        from {} as one inner join {} as other
            on one.basket = other.basket and one.item < other.item
        group by all
    """
    with tempfile.TemporaryDirectory() as folder:
        connection = duckdb.connect(f"{folder}/w.duckdb")
        connection.execute("set threads = 2; set memory_limit = '6GB'")
        # A line is new by its hash: most lie in baskets that have old ones.
        for name, sign in (("old", ">="), ("new", "<")):
            connection.execute(
                f"create table {name}_lines as select * from '{file}' "
                f"where hash(basket, item) % 1000000 {sign} {share * 1e6}"
            )
        connection.execute(f"create table pairs as {count.format('old_lines', 'old_lines')}")
        start = time.perf_counter()
        connection.execute(
            """
            create temp table items as
            select *, true as is_new from new_lines
            union all
            select *, false from old_lines where basket in (select basket from new_lines);
            create temp table added as
            select one.item as a, other.item as b, count(*) as n_more
            from items as one inner join items as other
                on one.basket = other.basket and one.item < other.item
                    and (one.is_new or other.is_new)
            group by all;
            create temp table changed as
            select added.a, added.b, coalesce(pairs.n_both, 0) + added.n_more as n_both
            from added left join pairs on added.a = pairs.a and added.b = pairs.b;
            delete from pairs where (a, b) in (select (a, b) from added);
            insert into pairs select a, b, n_both from changed;
            """
        )
        by_difference = time.perf_counter() - start
        start = time.perf_counter()
        connection.execute(f"create table anew as {count.format(repr(file), repr(file))}")
        anew = time.perf_counter() - start
        n_other = connection.execute(
            "select count(*) from ((from pairs except all from anew) "
            "union all (from anew except all from pairs))"
        ).fetchall()[0][0]
        n_pairs = connection.execute("select count(*) from pairs").fetchall()[0][0]
    if n_other:
        raise SystemExit(f"{n_other} pairs are not as counted anew")
    return {"difference": by_difference, "anew": anew, "pairs": n_pairs}


# What is compared, on how many baskets and items; the first way is ours.
PARTS = {
    "similarity": ((3_400_000, 50_000), ["by_perennial", "by_sparse_dot_topn", "by_implicit"]),
    "sql": ((3_400_000, 50_000), ["by_perennial", "by_sql"]),
    "rules": ((100_000, 2_000), ["rules_by_perennial", "rules_by_mlxtend",
                                 "rules_by_efficient_apriori"]),
    "item neighbours": ((5_000, 1_000), ["items_by_perennial", "items_by_surprise"]),
    "user neighbours": ((5_000, 1_000), ["users_by_perennial", "users_by_surprise"]),
    "svd": ((5_000, 1_000), ["svd_by_perennial", "svd_by_surprise"]),
}  # fmt: skip


def timed(way: str, file: Path) -> dict:
    """Run one way in a process of its own."""
    command = [sys.executable, __file__, "--way", way, "--lines", str(file)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-3000:]}")
    return {"way": way, "seconds": seconds} | json.loads(done.stdout.splitlines()[-1])


def _simulated(n_baskets: int, n_items: int, file: Path) -> int:
    """Write lines, in a process of its own so that its memory is not ours; return how many."""
    command = [sys.executable, __file__, "--simulate", str(n_baskets), str(n_items)]
    subprocess.run([*command, "--lines", str(file)], check=True)
    return pl.scan_parquet(file).select(pl.len()).collect().item()


def _daily(file: Path, scale: float) -> None:
    n_lines = _simulated(max(100, int(3_400_000 * scale)), 50_000, file)
    print(f"\ndaily: {n_lines:,} lines")
    for share in (0.01, 0.001):
        found = daily(str(file), share)
        print(
            f"  {share:.1%} new lines: {found['difference']:.2f} s, anew {found['anew']:.2f} s, "
            f"ratio {found['difference'] / found['anew']:.3f}, {found['pairs']:,} pairs, equal",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*PARTS, "daily"]
    parser.add_argument("--parts", nargs="+", default=names, choices=names)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the baskets")
    parser.add_argument("--simulate", nargs=2, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--lines", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.simulate:
        simulate(*options.simulate).write_parquet(options.lines)
        return
    if options.way:
        with tempfile.TemporaryDirectory() as folder:
            found = globals()[options.way](options.lines)
            found.write_parquet(f"{folder}/found.parquet")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps({"rows": found.height, "gigabytes": peak}))
        return
    with tempfile.TemporaryDirectory() as folder:
        for part in options.parts:
            if part == "daily":
                _daily(Path(folder) / "lines.parquet", options.scale)
                continue
            (n_baskets, n_items), ways = PARTS[part]
            n_baskets = max(100, int(n_baskets * options.scale))
            file = Path(folder) / "lines.parquet"
            n_lines = _simulated(n_baskets, n_items, file)
            print(f"\n{part}: {n_baskets:,} baskets, {n_lines:,} lines, {n_items:,} items")
            rounds = [[timed(way, file) for way in ways] for _ in range(options.rounds)]
            for place, way in enumerate(ways):
                runs = [found[place] for found in rounds]
                ratios = [found[0]["seconds"] / found[place]["seconds"] for found in rounds]
                print(
                    f"  {way:28} {np.median([run['seconds'] for run in runs]):8.2f} s "
                    f"{max(run['gigabytes'] for run in runs):6.2f} GB {runs[0]['rows']:>12,} rows"
                    + ("" if place == 0 else f"   ours / theirs {np.median(ratios):.2f} "
                       f"({min(ratios):.2f} to {max(ratios):.2f})"),
                    flush=True,
                )  # fmt: skip


if __name__ == "__main__":
    main()
