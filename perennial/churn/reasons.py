"""Why a customer's probability of churn is what it is."""

from __future__ import annotations

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from perennial.churn.candidates import Fitted, columns_of, raw_log_odds
from perennial.churn.features import FEATURES, THEMES, describe, feature_matrix
from perennial.churn.scoring import N_REASONS
from perennial.churn.trees import Trees, path_contributions


def reasons_of(fitted: Fitted, today: pl.DataFrame) -> np.ndarray:
    """Return the main reasons of every score, the weightiest first.

    A reason's weight is how far the log-odds move when the features of its theme are set to
    the median of all scored customers; for sums that is exact. For single trees and forests it
    is what the splits on those features add to the probability on the customer's way through
    the trees.

    Args:
        fitted: a candidate.
        today: n rows of `churn_features_today`.

    Returns:
        Texts of shape (n, N_REASONS), None where fewer themes move the score.
    """
    used = columns_of(fitted.name)
    names = [list(FEATURES)[column] for column in used]
    themes = [[names.index(f) for f in features if f in names] for features in THEMES.values()]
    themes = [columns for columns in themes if columns]
    singles = [[column] for columns in themes if len(columns) > 1 for column in columns]
    effects = _effects(fitted.model, feature_matrix(today)[:, used], themes + singles)
    pushes = {column: effects[:, len(themes) + n] for n, (column,) in enumerate(singles)}
    effects = effects[:, : len(themes)]
    # Equal effects come in the order of the themes.
    order = np.argsort(-np.abs(effects), axis=1, kind="stable")[:, :N_REASONS]
    texts = np.full((today.height, N_REASONS), None, dtype=object)
    for theme, columns in enumerate(themes):
        rows, ranks = np.nonzero((order == theme) & (effects[:, [theme]] != 0))
        raises = effects[rows, theme] > 0
        chosen = np.full(len(rows), columns[0])
        if len(columns) > 1:
            # The feature of the theme that pushes hardest in the theme's own direction.
            own = np.column_stack([pushes[column][rows] for column in columns])
            chosen = np.array(columns)[np.argmax(own * np.where(raises, 1, -1)[:, None], axis=1)]
        for column in columns:
            for is_raised in (True, False):
                here = (chosen == column) & (raises == is_raised)
                texts[rows[here], ranks[here]] = _texts(
                    names[column], today[names[column]].to_numpy()[rows[here]], is_raised
                )
    return texts


def _effects(model: Pipeline, matrix: np.ndarray, sets: list[list[int]]) -> np.ndarray:
    """Return how far each row's log-odds lie from those with a set of columns at its medians.

    Args:
        model: a fitted pipeline of candidates().
        matrix: the columns that it uses, shape (n, columns).
        sets: columns that are put to their medians together.

    Returns:
        Shape (n, sets), rounded so that equal rows have equal effects.
    """
    classifier = model[-1]
    if isinstance(classifier, DecisionTreeClassifier | RandomForestClassifier):
        filled = model[:-1].transform(matrix).astype(np.float32)
        pushes = path_contributions(classifier, filled)
        return np.round(np.column_stack([pushes[:, c].sum(axis=1) for c in sets]), 9)
    medians = np.array([_median(column) for column in matrix.T])
    if isinstance(classifier, HistGradientBoostingClassifier):
        filled, neutral = (model[:-1].transform(rows) for rows in (matrix, medians[None, :]))
        log_odds = Trees(classifier).log_odds(filled, neutral[0], sets)
        return np.round(log_odds[:, [0]] - log_odds[:, 1:], 9)
    as_it_is = raw_log_odds(model, matrix)
    effects = np.empty((len(matrix), len(sets)))
    for place, columns in enumerate(sets):
        rows = matrix.copy()
        rows[:, columns] = medians[columns]
        effects[:, place] = as_it_is - raw_log_odds(model, rows)
    return np.round(effects, 9)


def _texts(feature: str, values: np.ndarray, raises: bool) -> np.ndarray:
    """Return the reason of each value; most values come many times."""
    distinct, places = np.unique(values, return_inverse=True)
    verb = "raises" if raises else "lowers"
    texts = [f"{describe(feature, value)} ({verb} the risk)" for value in distinct]
    return np.array(texts, dtype=object)[places]


def _median(column: np.ndarray) -> float:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if known.size else np.nan
