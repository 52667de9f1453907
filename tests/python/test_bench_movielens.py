"""The benchmark beside published figures, on ratings that are made up."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

FILE = Path(__file__).parents[2] / "benchmarks/movielens.py"
sys.path.insert(0, str(FILE.parent))
SPEC = importlib.util.spec_from_file_location("bench_movielens", FILE)
bench = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(bench)


@pytest.fixture(scope="module")
def ratings():
    """Two kinds of 40 customers, each with 20 of the 60 films of their kind, which they like."""
    rng = np.random.default_rng(3)
    rows = [
        (customer, film, 4 + int(film % 2), 880_000_000 + 86_400 * place)
        for customer in range(80)
        for place, film in enumerate((rng.permutation(60)[:20] + customer % 2 * 60).tolist())
    ]
    return pl.DataFrame(rows, schema=bench.COLUMNS, orient="row")


def test_a_quarter_of_each_customer_is_held_out(ratings):
    train, test = bench.held_out(ratings, 1)
    assert test.group_by("customer_id").len()["len"].unique().to_list() == [5]
    assert len(train) + len(test) == len(ratings)
    assert train.join(test, on=["customer_id", "product_id"], how="semi").is_empty()


def test_lists_hold_what_is_liked_and_nothing_seen(ratings):
    found = bench.list_measures(ratings, 1)
    # Of 40 films that are left 5 were held out: ten of the right kind find a quarter of them.
    assert found["item_neighbours"][1] == pytest.approx(0.25, abs=0.06)
    # What is popular with both kinds finds half as much.
    assert found["popular"][1] < 0.75 * found["item_neighbours"][1]


def test_both_tables_are_printed_and_a_missing_file_is_named(ratings, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        bench.main([str(tmp_path)])
    assert stopped.value.code == 2 and "lacks u.data, u1.base" in capsys.readouterr().err
    ratings.write_csv(tmp_path / "u.data", separator="\t", include_header=False)
    for split in bench.SPLITS:
        for part, end in zip(bench.held_out(ratings, split), ("base", "test"), strict=True):
            part.select(bench.COLUMNS).write_csv(
                tmp_path / f"u{split}.{end}", separator="\t", include_header=False
            )
    bench.main([str(tmp_path)])
    said = capsys.readouterr().out
    assert "| biases" in said and "| ease" in said and "published: SAR" in said
