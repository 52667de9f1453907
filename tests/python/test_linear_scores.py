"""The churn score in SQL is the score of scikit-learn's logistic regression."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl
import pytest
import skops.io
from conftest import Build

from perennial.churn import FEATURES
from perennial.churn.candidates import TRUSTED_TYPES, linear_weights, predict
from perennial.churn.training import LINEAR


def read(build: Build, sql: str) -> pl.DataFrame:
    with duckdb.connect(str(build.warehouse), read_only=True) as connection:
        return connection.sql(sql).pl()


@pytest.fixture(scope="module")
def linear_model(demo):
    models = read(demo, "from intermediate.py_churn_models")
    kept = models.filter(pl.col("model_name") == LINEAR)["fitted_model"][0]
    return skops.io.loads(kept, trusted=TRUSTED_TYPES)


def test_sql_scores_as_python_does(demo, linear_model):
    today = read(demo, "from intermediate.churn_features_today order by customer_id")
    scores = read(demo, "from intermediate.churn_linear_scores order by customer_id")
    assert scores.height == today.height > 500
    assert scores["customer_id"].equals(today["customer_id"])
    # Without missing values one half of the sum would not be tried.
    assert today["mean_gap_days"].null_count() > 50
    expected = predict(LINEAR, linear_model, today)
    assert np.abs(scores["churn_probability"].to_numpy() - expected).max() < 1e-9


def test_weights_add_up_to_the_log_odds(demo, linear_model):
    """By plain arithmetic, one customer at a time."""
    today = read(demo, "from intermediate.churn_features_today order by customer_id limit 60")
    terms = {term["feature"]: term for term in linear_weights(linear_model)}
    assert list(terms) == ["intercept", *FEATURES]
    assert any(term["weight_if_missing"] for term in terms.values())
    for row, expected in zip(today.to_dicts(), predict(LINEAR, linear_model, today), strict=True):
        log_odds = terms["intercept"]["weight"]
        for feature in FEATURES:
            term, value = terms[feature], row[feature]
            if value is None:
                log_odds += term["weight"] * term["fill_value"] + term["weight_if_missing"]
            else:
                log_odds += term["weight"] * np.sign(value) * np.log1p(abs(value))
        assert 1 / (1 + np.exp(-log_odds)) == pytest.approx(expected, abs=1e-12)
