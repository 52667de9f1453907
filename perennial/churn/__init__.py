"""Churn: train on past snapshots, test on later ones, score today's customers."""

from perennial.churn.features import FEATURES, feature_matrix
from perennial.churn.sample import rows_to_learn_from
from perennial.churn.scoring import score_customers
from perennial.churn.training import split_snapshots, train_models

__all__ = [
    "FEATURES",
    "feature_matrix",
    "rows_to_learn_from",
    "score_customers",
    "split_snapshots",
    "train_models",
]
