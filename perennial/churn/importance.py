"""What a model goes by on the whole, and whether it scores the same kind of people over time."""

from __future__ import annotations

from datetime import date

import numpy as np

from perennial.churn.candidates import Fitted
from perennial.churn.features import FEATURES, THEMES
from perennial.churn.metrics import rank, roc_auc
from perennial.churn.training import SEED
from perennial.psi import MIN_CUSTOMERS, bin_counts, psi, psi_by_chance

N_REPEATS = 20
# So many customers tell as much as all of them: the interval says how much that is.
MAX_CUSTOMERS = 1000
# Half the width of a 95 % interval, in standard deviations.
WIDTH = 1.96


def importances(fitted: Fitted, matrix: np.ndarray, is_churned: np.ndarray) -> list[dict]:
    """Return by how much the area under the ROC curve falls where a feature is shuffled.

    Permutation importance (L. Breiman, "Random forests", 2001) on customers that the model has
    not learned from. Features that say the same stand in for each other, so that a theme can
    matter although none of its features does. Each repeat draws the customers anew, with
    replacement: the interval, of the normal distribution, holds both kinds of chance.

    Args:
        fitted: the model.
        matrix: features as feature_matrix gives them, shape (n, len(FEATURES)).
        is_churned: outcomes, shape (n,).

    Returns:
        One dict per theme, whose feature is None, and per feature, with auc_drop, auc_drop_low
        and auc_drop_high.
    """
    rng = np.random.default_rng(SEED)
    n = min(len(matrix), MAX_CUSTOMERS)
    samples = [rng.choice(len(matrix), n) for _ in range(N_REPEATS)]
    samples = [sample for sample in samples if 0 < is_churned[sample].sum() < n]
    if not samples:
        return []
    orders = [rng.permutation(n) for _ in samples]
    as_it_is = matrix[np.concatenate(samples)]
    shuffled = matrix[np.concatenate([s[order] for s, order in zip(samples, orders, strict=True)])]
    happened = is_churned[np.concatenate(samples)]
    names = list(FEATURES)

    def aucs(rows: np.ndarray) -> np.ndarray:
        score = fitted.log_odds(rows)
        # Only the order matters: as ranks they lie between 0 and 1.
        places = np.searchsorted(np.unique(score), score) / len(score)
        parts = zip(np.split(places, len(samples)), np.split(happened, len(samples)), strict=True)
        return np.array([roc_auc(rank(score, outcome)) for score, outcome in parts])

    before = aucs(as_it_is)

    def drop(features: list[str]) -> dict:
        columns = [names.index(feature) for feature in features]
        rows = as_it_is.copy()
        rows[:, columns] = shuffled[:, columns]
        drops = before - aucs(rows)
        middle, width = float(drops.mean()), WIDTH * float(drops.std(ddof=1))
        return {
            "auc_drop": middle, "auc_drop_low": middle - width, "auc_drop_high": middle + width
        }  # fmt: skip

    found = []
    for theme, features in THEMES.items():
        whole = drop(features)
        found.append({"theme": theme, "feature": None, **whole})
        for feature in features:
            alone = drop([feature]) if len(features) > 1 else whole
            found.append({"theme": theme, "feature": feature, **alone})
    return found


def stability(
    days: list[date], snapshot: np.ndarray, probability: np.ndarray, is_churned: np.ndarray
) -> list[dict]:
    """Compare a model's scores on each snapshot with those on the one before.

    Args:
        days: the snapshots in order.
        snapshot: of each row, which of them it belongs to, shape (n,).
        probability: the model's scores, shape (n,).
        is_churned: outcomes, shape (n,).

    Returns:
        One dict per snapshot with its customers, how many churned, the mean score, and the
        population stability index, which is None for the first and for few customers.
    """
    found = []
    before = np.empty(0)
    for number, day in enumerate(days):
        scores = probability[snapshot == number]
        row = {
            "snapshot_on": day,
            "n_customers": len(scores),
            "n_churned": int(is_churned[snapshot == number].sum()),
            "mean_probability": float(scores.mean()),
            "psi": None,
            "psi_by_chance": None,
        }
        if min(len(before), len(scores)) >= MIN_CUSTOMERS:
            counts = bin_counts(before, scores)
            row["psi"] = psi(*counts)
            row["psi_by_chance"] = psi_by_chance(len(counts[0]), len(before), len(scores))
        found.append(row)
        before = scores
    return found
