"""Whether two samples are of one population.

The population stability index (N. Siddiqi, "Credit Risk Scorecards", Wiley 2006, where .1 and .25
are the customary limits) compares two samples over bins: sum of (p - q) * ln(p / q). It is never
0 for two samples of one population: times n * m / (n + m) it follows a chi-square distribution
with a degree of freedom less than there are bins (B. Yurdakul and J. Naranjo, "Statistical
properties of the population stability index", Journal of Risk Model Validation 14(4), 2020).
"""

from __future__ import annotations

import numpy as np
from scipy.special import chdtri

N_BINS = 10
# Fewer customers than this, on either side, say nothing about deciles.
MIN_CUSTOMERS = 200
# As rarely as this may chance alone exceed `psi_by_chance`.
CHANCE = 0.001


def bin_counts(reference: np.ndarray, today: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count two samples in the bins between the deciles of the first.

    Args:
        reference: float array of shape (n,), n >= 1; NaN is a missing value.
        today: float array of shape (m,).

    Returns:
        Two int arrays of one shape. The first bin is below everything in the reference, the
        last holds missing values; deciles that are equal make one bin. Bins that are empty in
        both are left out.
    """
    known = np.sort(reference[~np.isnan(reference)])
    if known.size:
        # A decile is a value that is there: between two of them nothing is made up.
        at = np.ceil(np.arange(1, N_BINS) / N_BINS * known.size).astype(int) - 1
        edges = np.unique(np.concatenate([[np.nextafter(known[0], -np.inf)], known[at]]))
    else:
        edges = np.array([np.inf])
    counts = []
    for sample in (reference, today):
        missing = np.isnan(sample)
        place = np.searchsorted(edges, sample[~missing], side="left")
        counts.append(np.append(np.bincount(place, minlength=edges.size + 1), missing.sum()))
    seen = (counts[0] + counts[1]) > 0
    return counts[0][seen], counts[1][seen]


def psi(reference: np.ndarray, today: np.ndarray) -> float:
    """Return the population stability index of two arrays of counts over the same bins.

    An empty bin counts as half a row, so that the logarithm is finite. Two samples in one
    and the same bin have 0.
    """
    p, q = (np.maximum(counts, 0.5) / counts.sum() for counts in (reference, today))
    return float(np.sum((q - p) * np.log(q / p)))


def psi_by_chance(n_bins: int, n_reference: int, n_today: int) -> float:
    """Return what the index of two samples of one population exceeds once in 1,000 times."""
    if n_bins < 2:
        return 0.0
    return float(chdtri(n_bins - 1, CHANCE) * (1 / n_reference + 1 / n_today))
