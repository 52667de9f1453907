"""The churn scores in SQL are those of scikit-learn's linear models."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl
import pytest
from conftest import Build

from perennial.churn import FEATURES
from perennial.churn.candidates import model_of, predict
from perennial.churn.training import SUMS


def read(build: Build, sql: str) -> pl.DataFrame:
    with duckdb.connect(str(build.warehouse), read_only=True) as connection:
        return connection.sql(sql).pl()


@pytest.fixture(scope="module")
def models(demo) -> list[dict]:
    models = read(demo, "from intermediate.py_churn_models order by horizon_days, model_name")
    return models.filter(pl.col("model_name").is_in(SUMS)).to_dicts()


@pytest.mark.parametrize("horizon", [7, 30, 90])
def test_sql_scores_as_python_does(demo, models, horizon):
    today = read(demo, "from intermediate.churn_features_today order by customer_id")
    scores = read(
        demo,
        f"from intermediate.churn_scores_sql where horizon_days = {horizon} order by customer_id",
    )
    assert scores.height == today.height > 500
    assert scores["customer_id"].equals(today["customer_id"])
    # Without missing values one half of the sum would not be tried.
    assert today["mean_gap_days"].null_count() > 50
    [model] = [
        model for model in models
        if (model["model_name"], model["horizon_days"]) == (scores["model_name"][0], horizon)
    ]  # fmt: skip
    expected = predict(*model_of(model), today)
    assert np.abs(scores["churn_probability"].to_numpy() - expected).max() < 1e-9


def test_sql_and_python_give_one_score_where_a_sum_is_champion(demo, models):
    """The tables themselves: what Python has written, and what SQL makes of the weights."""
    champions = [model["horizon_days"] for model in models if model["is_champion"]]
    assert champions
    differences = read(
        demo,
        """
        select s.horizon_days, s.model_name = p.model_name as is_same,
            max(abs(s.churn_probability - p.churn_probability)) as difference
        from intermediate.churn_scores_sql as s
        inner join intermediate.py_churn_scores as p using (customer_id, horizon_days)
        group by all
        """,
    )
    same = differences.filter("is_same")
    assert sorted(same["horizon_days"]) == champions
    assert same["difference"].max() < 1e-9


def test_weights_add_up_to_the_log_odds(demo, models):
    """By plain arithmetic, one customer at a time; the support vectors too."""
    assert {model["model_name"] for model in models} == {"logistic_regression", "linear_svm"}
    for model in models:
        weights_add_up(demo, model)


def weights_add_up(demo, model) -> None:
    today = read(demo, "from intermediate.churn_features_today order by customer_id limit 60")
    terms = {term["feature"]: term for term in model["weights"]}
    assert list(terms) == ["intercept", *FEATURES]
    assert any(term["weight_if_missing"] for term in terms.values())
    for row, expected in zip(today.to_dicts(), predict(*model_of(model), today), strict=True):
        log_odds = terms["intercept"]["weight"]
        for feature in FEATURES:
            term, value = terms[feature], row[feature]
            if value is None:
                log_odds += term["weight"] * term["fill_value"] + term["weight_if_missing"]
            else:
                log_odds += term["weight"] * np.sign(value) * np.log1p(abs(value))
        assert 1 / (1 + np.exp(-log_odds)) == pytest.approx(expected, abs=1e-12)
