"""The models that compete to foretell churn: made, fitted, asked, written down and read again."""

from __future__ import annotations

import numpy as np
import polars as pl
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from perennial.churn.features import FEATURES, feature_matrix
from perennial.churn.training import BASELINE, LINEAR, TREES

SEED = 20240229

# What skops asks us to vouch for: the types of arrays, and the trees of scikit-learn's
# histogram gradient boosting. A model that holds any other unknown type is not loaded.
TRUSTED_TYPES = [
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
]


def candidates() -> dict[str, Pipeline]:
    """Return the unfitted models by name."""
    return {
        LINEAR: make_pipeline(
            # A feature that is missing for everyone is kept, as zeros: columns must not shift.
            SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
            StandardScaler(),
            LogisticRegression(C=0.1, max_iter=2000),
        ),
        TREES: make_pipeline(
            # A value of its own for what is missing: the trees' own way of handling it fails
            # on a feature that is missing for everyone.
            SimpleImputer(strategy="constant", fill_value=-99.0, keep_empty_features=True),
            HistGradientBoostingClassifier(
                learning_rate=0.05,
                max_iter=150,
                max_leaf_nodes=12,
                min_samples_leaf=40,
                l2_regularization=1.0,
                early_stopping=False,
                random_state=SEED,
            ),
        ),
        BASELINE: make_pipeline(StandardScaler(), LogisticRegression()),
    }


def columns_of(model_name: str) -> list[int]:
    """Return which columns of the feature matrix a model uses."""
    if model_name == BASELINE:
        return [list(FEATURES).index("recency_days")]
    return list(range(len(FEATURES)))


def fit(model_name: str, rows: pl.DataFrame) -> Pipeline:
    """Return a candidate fitted on labelled rows of `churn_features`."""
    model = candidates()[model_name]
    matrix = feature_matrix(rows)[:, columns_of(model_name)]
    return model.fit(matrix, rows["is_churned"].to_numpy().astype(int))


def linear_weights(model: Pipeline) -> list[dict]:
    """Return a fitted logistic regression as a sum that SQL can add up.

    The log-odds of churn are the intercept plus, for each feature, weight times its value on
    the scale of `feature_matrix`, or where it is missing, weight * fill_value +
    weight_if_missing.

    Args:
        model: the fitted pipeline `logistic_regression` of candidates().

    Returns:
        One dict per feature and one for the feature 'intercept', with feature, fill_value,
        weight and weight_if_missing.
    """
    imputer, scaler, regression = (step for _, step in model.steps)
    weights = regression.coef_[0] / scaler.scale_
    intercept = regression.intercept_[0] - weights @ scaler.mean_
    # Behind the features stand the marks of what is missing, for those that ever were.
    marks = dict(zip(imputer.indicator_.features_, weights[len(FEATURES) :], strict=True))
    terms = [
        {
            "feature": feature,
            "fill_value": float(imputer.statistics_[column]),
            "weight": float(weights[column]),
            "weight_if_missing": float(marks.get(column, 0.0)),
        }
        for column, feature in enumerate(FEATURES)
    ]
    return [
        {
            "feature": "intercept",
            "fill_value": 0.0,
            "weight": float(intercept),
            "weight_if_missing": 0.0,
        },
        *terms,
    ]


def predict(model_name: str, model: Pipeline, rows: pl.DataFrame) -> np.ndarray:
    """Return the probability of churn, shape (n,), for n rows of `churn_features`."""
    return model.predict_proba(feature_matrix(rows)[:, columns_of(model_name)])[:, 1]


def write_down(model: Pipeline) -> bytes:
    """Return a fitted model as bytes that read_again takes."""
    return skops.io.dumps(model)


def read_again(content: bytes) -> Pipeline:
    """Return the model that was written down; an error if it holds anything unknown."""
    return skops.io.loads(content, trusted=TRUSTED_TYPES)
