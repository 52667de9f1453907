"""Many predictions of one gradient boosting that differ in a few features, for the price of few.

To say why a customer is at risk, every customer is scored again and again with one theme of
features put to its median. scikit-learn would walk every tree each time. Here a tree is a set of
its leaves, as bits: a split that sends a row to the right rules out the leaves on its left, and
the row ends in the leftmost leaf that is left over (QuickScorer: Lucchese et al., SIGIR 2015).
What each feature rules out is looked up once per tree; another value of a feature is then another
word in the same conjunction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

# A tree must fit into the bits of a word; candidates() stays below.
MAX_LEAVES = 16
# So many rows at once that their words stay in the processor's cache.
N_ROWS = 32_768

# The lowest bit that is set in each word.
LOWEST_BIT = np.array(
    [0] + [(word & -word).bit_length() - 1 for word in range(1, 2**MAX_LEAVES)], dtype=np.uint8
)


@dataclass(frozen=True)
class Tree:
    """One tree: for each feature the leaves that each of its bins leaves over, as words.

    Attributes:
        words: feature -> array of uint16, one word per bin of the feature.
        values: what the tree adds to the log-odds, by the word of the leaves that are left.
    """

    words: dict[int, np.ndarray]
    values: np.ndarray


class Trees:
    """A fitted binary HistGradientBoostingClassifier without categories and missing values."""

    def __init__(self, model: HistGradientBoostingClassifier):
        """Read the trees; ValueError if one has more than MAX_LEAVES leaves."""
        nodes = [predictor.nodes for (predictor,) in model._predictors]
        self.baseline = float(model._baseline_prediction.ravel()[0])
        self.thresholds = [
            np.unique(np.concatenate([_thresholds(tree, feature) for tree in nodes]))
            for feature in range(model.n_features_in_)
        ]
        self.trees = [self._tree(tree) for tree in nodes]

    def _tree(self, nodes: np.ndarray) -> Tree:
        leaves: list[float] = []
        words: dict[int, np.ndarray] = {}

        def walk(number: int) -> int:
            """Number the leaves from left to right; return those below a node as a word."""
            node = nodes[number]
            if node["is_leaf"]:
                leaves.append(float(node["value"]))
                return 1 << (len(leaves) - 1)
            left = walk(node["left"])
            feature = int(node["feature_idx"])
            thresholds = self.thresholds[feature]
            kept = words.setdefault(feature, np.full(len(thresholds) + 1, 0xFFFF, dtype=np.uint16))
            goes_right = np.searchsorted(thresholds, node["num_threshold"]) + 1
            kept[goes_right:] &= np.uint16(0xFFFF & ~left)
            return left | walk(node["right"])

        walk(0)
        if len(leaves) > MAX_LEAVES:
            raise ValueError(f"a tree has {len(leaves)} leaves; {MAX_LEAVES} fit into a word")
        values = np.array(leaves + [0.0] * (MAX_LEAVES - len(leaves)))
        return Tree(words, values[LOWEST_BIT])

    def _bins(self, matrix: np.ndarray) -> list[np.ndarray]:
        """Return for each feature into which of its bins each row falls."""
        return [
            np.searchsorted(thresholds, matrix[:, feature]).astype(np.uint16)
            for feature, thresholds in enumerate(self.thresholds)
        ]

    def log_odds(
        self, matrix: np.ndarray, neutral: np.ndarray, sets: list[list[int]]
    ) -> np.ndarray:
        """Return the log-odds of rows as they are, and with sets of features made neutral.

        Args:
            matrix: shape (n, features), without missing values.
            neutral: shape (features,), the neutral value of each feature.
            sets: the columns that are made neutral together, for each set.

        Returns:
            Shape (n, 1 + sets): as they are, then for each set.
        """
        found = np.empty((len(matrix), 1 + len(sets)))
        neutral_bins = [int(bins[0]) for bins in self._bins(neutral[None, :])]
        for first in range(0, len(matrix), N_ROWS):
            rows = slice(first, first + N_ROWS)
            found[rows] = self._log_odds_of_some(matrix[rows], neutral_bins, sets)
        return found

    def _log_odds_of_some(
        self, matrix: np.ndarray, neutral_bins: list[int], sets: list[list[int]]
    ) -> np.ndarray:
        bins = self._bins(matrix)
        sums = np.full((1 + len(sets), len(matrix)), self.baseline)
        for tree in self.trees:
            words = {feature: kept[bins[feature]] for feature, kept in tree.words.items()}
            as_it_is = tree.values[_conjunction(list(words.values()))]
            sums[0] += as_it_is
            for place, columns in enumerate(sets, 1):
                if not words.keys() & columns:
                    sums[place] += as_it_is
                    continue
                fixed = [tree.words[f][neutral_bins[f]] for f in columns if f in words]
                free = [word for feature, word in words.items() if feature not in columns]
                sums[place] += tree.values[_conjunction([*free, *fixed])]
        return sums.T


def path_contributions(
    model: DecisionTreeClassifier | RandomForestClassifier, matrix: np.ndarray
) -> np.ndarray:
    """Return what each feature adds to the probability on the way through the trees.

    Each split moves the share of churn from that of its node to that of the child which the row
    goes to, and its feature is given the difference (A. Saabas, "Interpreting random forests",
    2014). With the share at the roots they add up to the probability, exactly.

    Args:
        model: fitted on the outcomes False and True.
        matrix: float32, shape (n, features).

    Returns:
        Shape (n, features); the mean over the trees.
    """
    trees = [model] if isinstance(model, DecisionTreeClassifier) else model.estimators_
    sums = np.zeros(matrix.shape)
    for estimator in trees:
        tree = estimator.tree_
        share = tree.value[:, 0, 1] / tree.value[:, 0, :].sum(axis=1)
        of_node = np.zeros((tree.node_count, matrix.shape[1]))
        # A child's number is higher than its parent's.
        for node in range(tree.node_count):
            if tree.children_left[node] < 0:
                continue
            for child in (tree.children_left[node], tree.children_right[node]):
                of_node[child] = of_node[node]
                of_node[child, tree.feature[node]] += share[child] - share[node]
        sums += of_node[estimator.apply(matrix)]
    return sums / len(trees)


def _thresholds(nodes: np.ndarray, feature: int) -> np.ndarray:
    splits = nodes[(nodes["is_leaf"] == 0) & (nodes["feature_idx"] == feature)]
    return splits["num_threshold"]


def _conjunction(words: list[np.ndarray]) -> np.ndarray:
    if not words:
        # A tree of one leaf.
        return np.uint16(0xFFFF)
    found = words[0]
    for word in words[1:]:
        found = found & word
    return found
