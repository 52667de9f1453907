"""The models that compete to foretell churn: made, fitted, asked, written down and read again."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from dataclasses import dataclass

import numpy as np
import polars as pl
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from perennial.churn.calibration import Calibration
from perennial.churn.features import FEATURES, feature_matrix
from perennial.churn.training import (
    FOREST,
    LINEAR,
    NETWORK,
    RULES,
    SEED,
    TREE,
    TREES,
    VECTORS,
)

# What skops asks us to vouch for: the types of arrays and of scikit-learn's trees, and what a
# network's training leaves behind. A model that holds any other unknown type is not loaded.
TRUSTED_TYPES = [
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
]

# Whose loss is no proper score counts the rarer outcome as much as the other, by weights. What
# they foretell is then put back on the scale of the outcomes as they are.
BALANCED = (VECTORS, TREE, FOREST)

# Beyond this the logarithm of the odds says no more: one in a million.
MOST_LOG_ODDS = float(np.log(1e6))


def _filled() -> list:
    """Return the steps of a model that weighs sums of features."""
    return [
        # A feature that is missing for everyone is kept, as zeros: columns must not shift.
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
    ]


def _marked() -> SimpleImputer:
    """Return the first step of trees: a value of its own for what is missing.

    Their own way of handling it fails on a feature that is missing for everyone.
    """
    return SimpleImputer(strategy="constant", fill_value=-99.0, keep_empty_features=True)


def candidates() -> dict[str, Pipeline]:
    """Return the unfitted models by name."""
    return {
        LINEAR: make_pipeline(*_filled(), LogisticRegression(C=0.1, max_iter=2000)),
        VECTORS: make_pipeline(
            *_filled(), LinearSVC(C=0.01, class_weight="balanced", dual=False, max_iter=2000)
        ),
        TREE: make_pipeline(
            _marked(),
            DecisionTreeClassifier(
                max_leaf_nodes=32, min_samples_leaf=50, class_weight="balanced", random_state=SEED
            ),
        ),
        FOREST: make_pipeline(
            _marked(),
            RandomForestClassifier(
                n_estimators=100,
                max_depth=8,
                min_samples_leaf=20,
                max_samples=0.5,
                class_weight="balanced",
                random_state=SEED,
            ),
        ),
        TREES: make_pipeline(
            _marked(),
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
        NETWORK: make_pipeline(
            *_filled(),
            MLPClassifier(
                hidden_layer_sizes=(16,),
                alpha=1.0,
                batch_size=256,
                max_iter=100,
                early_stopping=True,
                random_state=SEED,
            ),
        ),
        **{name: make_pipeline(*_filled(), LogisticRegression()) for name in RULES},
    }


def columns_of(model_name: str) -> list[int]:
    """Return which columns of the feature matrix a model uses."""
    return [list(FEATURES).index(feature) for feature in RULES.get(model_name, FEATURES)]


@dataclass(frozen=True)
class Fitted:
    """A candidate that was fitted on rows whose outcome is known.

    Attributes:
        name: the candidate's.
        model: its fitted pipeline.
        shift: what is added to its log-odds, because its training counted outcomes with weights.
    """

    name: str
    model: Pipeline
    shift: float

    def log_odds(self, matrix: np.ndarray) -> np.ndarray:
        """Return the log-odds of churn, shape (n,); of the support vectors, their margin.

        Args:
            matrix: features as feature_matrix gives them, shape (n, len(FEATURES)).
        """
        return raw_log_odds(self.model, matrix[:, columns_of(self.name)]) + self.shift


def raw_log_odds(model: Pipeline, matrix: np.ndarray) -> np.ndarray:
    """Return what a fitted pipeline says of rows of its own columns, before any shift."""
    if hasattr(model[-1], "decision_function"):
        return model.decision_function(matrix)
    probability = np.clip(model.predict_proba(matrix)[:, 1], 1e-15, 1 - 1e-15)
    return np.clip(np.log(probability / (1 - probability)), -MOST_LOG_ODDS, MOST_LOG_ODDS)


def fit(model_name: str, matrix: np.ndarray, is_churned: np.ndarray) -> Fitted:
    """Return a candidate fitted on features, as feature_matrix gives them, and outcomes."""
    model = candidates()[model_name]
    with warnings.catch_warnings():
        # The network stops after so many passes at the latest.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(matrix[:, columns_of(model_name)], is_churned)
    return Fitted(model_name, model, shift_of(model_name, is_churned))


def shift_of(model_name: str, is_churned: np.ndarray) -> float:
    """Return what brings log-odds learned with balanced weights back to the outcomes' own."""
    if model_name not in BALANCED:
        return 0.0
    n_churned = np.count_nonzero(is_churned)
    return float(np.log(n_churned / (len(is_churned) - n_churned)))


def linear_weights(fitted: Fitted, calibration: Calibration) -> list[dict]:
    """Return a fitted linear model as a sum that SQL can add up.

    The log-odds of churn are the intercept plus, for each feature, weight times its value on
    the scale of `feature_matrix`, or where it is missing, weight * fill_value +
    weight_if_missing.

    Args:
        fitted: the logistic regression or the support vector machine.
        calibration: its calibration: a line, which is part of the weights then.

    Returns:
        One dict per feature and one for the feature 'intercept', with feature, fill_value,
        weight and weight_if_missing.

    Raises:
        ValueError: the calibration is no line.
    """
    if calibration.method == "isotonic":
        raise ValueError("steps are no sum")
    imputer, scaler, regression = (step for _, step in fitted.model.steps)
    weights = regression.coef_[0] / scaler.scale_
    intercept = regression.intercept_[0] - weights @ scaler.mean_ + fitted.shift
    weights = calibration.slope * weights
    intercept = calibration.slope * intercept + calibration.intercept
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


def predict(fitted: Fitted, calibration: Calibration, rows: pl.DataFrame) -> np.ndarray:
    """Return the probability of churn, shape (n,), for n rows of `churn_features`."""
    return calibration.probability(fitted.log_odds(feature_matrix(rows)))


def parameters_of(model_name: str) -> str:
    """Return what a candidate is made of, as JSON: the settings of its last step."""
    estimator = candidates()[model_name][-1]
    return json.dumps(
        {"estimator": type(estimator).__name__, **estimator.get_params()}, sort_keys=True
    )


def write_down(model: Pipeline) -> bytes:
    """Return a fitted model as bytes that read_again takes; the same model, the same bytes.

    skops names the parts of a model after their places in memory, and its zip file holds the time
    of day. Here they are numbered in their order instead, at the beginning of time.
    """
    names: dict[object, str] = {}

    def renamed(node: object) -> object:
        if isinstance(node, list):
            return [renamed(part) for part in node]
        if not isinstance(node, dict):
            return node
        node = {key: renamed(part) for key, part in node.items() if key != "__id__"} | {
            key: node[key] for key in ("__id__",) if key in node
        }
        if "__id__" in node:
            # Which texts and numbers share a place differs from run to run, and means nothing.
            what = object() if node.get("is_json") else node["__id__"]
            node["__id__"] = int(names.setdefault(what, str(len(names))))
        if str(node.get("file", "")).endswith(".npy"):
            node["file"] = names.setdefault(node["file"], f"{len(names)}.npy")
        return node

    content = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as made,
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as written,
    ):
        schema = json.dumps(renamed(json.loads(made.read("schema.json"))))
        files = {name: made.read(name) for name in made.namelist() if name != "schema.json"}
        parts = {names[name]: files[name] for name in files if name in names}
        for name, part in sorted(parts.items(), key=lambda item: int(item[0].split(".")[0])):
            written.writestr(zipfile.ZipInfo(name), part, zipfile.ZIP_DEFLATED)
        written.writestr(zipfile.ZipInfo("schema.json"), schema, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def read_again(content: bytes) -> Pipeline:
    """Return the model that was written down; an error if it holds anything unknown."""
    return skops.io.loads(content, trusted=TRUSTED_TYPES)


def model_of(row: dict) -> tuple[Fitted, Calibration]:
    """Return the model of a row of `py_churn_models`, ready to be asked."""
    fitted = Fitted(row["model_name"], read_again(row["fitted_model"]), row["shift"])
    return fitted, Calibration.of(row)
