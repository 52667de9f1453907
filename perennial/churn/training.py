"""Train churn models by time: fit, calibrate, choose and test on snapshots that follow each other.

Whatever is asked on a day uses only what was known on that day. A model that is asked at snapshot
S was calibrated on the newest snapshot whose outcome was known by then, a horizon before S or
more, and fitted on what was known by that one. One that needs no calibration was fitted on all
that was known at S.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from perennial.churn.calibration import Calibration
    from perennial.churn.candidates import Fitted

SEED = 20240229

# With less than this a model learns noise: it abstains, and says why.
MIN_CUSTOMERS = 200
MIN_PER_CLASS = 30

# The candidates that are sums: SQL can score them by itself, see churn_scores_sql.
LINEAR = "logistic_regression"
VECTORS = "linear_svm"
TREE = "decision_tree"
FOREST = "random_forest"
TREES = "gradient_boosting"
NETWORK = "neural_network"

# The rules that any model must beat, and what they look at. They never become champion.
RULES = {
    "recency": ["recency_days"],
    "rfm": ["recency_days", "n_orders", "net_amount"],
}
CANDIDATES = (LINEAR, VECTORS, TREE, FOREST, TREES, NETWORK, *RULES)
SUMS = (LINEAR, VECTORS)
# For horizons beside that of the setting: one model of each kind, and the rules.
FEW_CANDIDATES = (LINEAR, TREES, *RULES)

# Days within which a purchase is foretold, beside the setting churn_horizon_days.
PURCHASE_HORIZONS = (7, 30)

# A challenger must be better than the incumbent by so many standard errors.
NOISE = 1.96

MODELS_SCHEMA = {
    "model_name": pl.String,
    "horizon_days": pl.Int64,
    "run_id": pl.String,
    "trained_from": pl.String,
    "status": pl.String,
    "is_champion": pl.Boolean,
    "incumbent": pl.String,
    "fitted_from_on": pl.Date,
    "fitted_until_on": pl.Date,
    "calibrated_on": pl.Date,
    "trained_until_on": pl.Date,
    "tested_on": pl.Date,
    "selected_on": pl.Date,
    "selection_brier_score": pl.Float64,
    "selection_gain": pl.Float64,
    "selection_noise": pl.Float64,
    "n_training_rows": pl.Int64,
    "data_fingerprint": pl.String,
    "parameters": pl.String,
    "libraries": pl.String,
    "seed": pl.Int64,
    "fitted_model": pl.Binary,
    "shift": pl.Float64,
    "calibration": pl.String,
    "calibration_slope": pl.Float64,
    "calibration_intercept": pl.Float64,
    "calibration_corners": pl.List(pl.Struct({"log_odds": pl.Float64, "probability": pl.Float64})),
    "weights": pl.List(
        pl.Struct(
            {
                "feature": pl.String,
                "fill_value": pl.Float64,
                "weight": pl.Float64,
                "weight_if_missing": pl.Float64,
            }
        )
    ),
    "test_predictions": pl.List(
        pl.Struct({"customer_id": pl.String, "is_churned": pl.Boolean, "probability": pl.Float64})
    ),
    "importances": pl.List(
        pl.Struct(
            {
                "theme": pl.String,
                "feature": pl.String,
                "auc_drop": pl.Float64,
                "auc_drop_low": pl.Float64,
                "auc_drop_high": pl.Float64,
            }
        )
    ),
    "stability": pl.List(
        pl.Struct(
            {
                "snapshot_on": pl.Date,
                "n_customers": pl.Int64,
                "n_churned": pl.Int64,
                "mean_probability": pl.Float64,
                "psi": pl.Float64,
                "psi_by_chance": pl.Float64,
            }
        )
    ),
}
NOTHING = {name: [] for name, kind in MODELS_SCHEMA.items() if isinstance(kind, pl.List)}


@dataclass(frozen=True)
class Split:
    """Snapshots by what they are for; every label is known before the next part begins.

    Attributes:
        train: the oldest, from which the models that are chosen among have learned.
        calibrate: calibrates them; None where the history is too short for that.
        select: chooses how to calibrate, and the champion.
        test: the newest, which measures them.
    """

    train: list[date]
    calibrate: date | None
    select: date
    test: date


def split_snapshots(snapshots: list[date], horizon_days: int) -> Split | None:
    """Split labelled snapshots by time.

    The newest labelled snapshot is the test. Standing there, one knows the labels of
    snapshots at least one horizon older: the newest of these chooses, the newest that is a
    further horizon older calibrates, and what is older still by a horizon trains. Without
    enough history for all four, nothing calibrates.

    Args:
        snapshots: snapshot dates whose label is mature, in any order.
        horizon_days: length of the label's window in days.

    Returns:
        The split, or None where the history is too short for one.
    """
    ordered = sorted(set(snapshots))
    if not ordered:
        return None
    test = ordered[-1]
    select = known_at(ordered, test, horizon_days)
    if not select:
        return None
    calibrate = known_at(ordered, select[-1], horizon_days)
    if not calibrate:
        return None
    train = known_at(ordered, calibrate[-1], horizon_days)
    if not train:
        return Split(calibrate, None, select[-1], test)
    return Split(train, calibrate[-1], select[-1], test)


def known_at(snapshots: list[date], day: date, horizon_days: int) -> list[date]:
    """Return the snapshots whose outcome was known on a day, in order."""
    return [earlier for earlier in snapshots if earlier + timedelta(days=horizon_days) <= day]


def _why_too_little(is_churned: np.ndarray, what: str) -> str | None:
    n_churned = int(np.count_nonzero(is_churned))
    rarest = min(n_churned, len(is_churned) - n_churned)
    if len(is_churned) < MIN_CUSTOMERS or rarest < MIN_PER_CLASS:
        return (
            f"the {what} snapshots have {len(is_churned)} rows, {rarest} of the rarer outcome; "
            f"needed are {MIN_CUSTOMERS} and {MIN_PER_CLASS}"
        )
    return None


def train_models(
    features: pl.DataFrame, today: pl.DataFrame, kept: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Train every candidate for every horizon, test it out of time and choose the champions.

    What was trained from the same rows by the same code is returned as it was: labelled
    snapshots lie on a fixed calendar, so on most days nothing has changed.

    For each horizon there is an incumbent: the champion of before, else the logistic regression.
    A candidate (never a rule) takes its place if its Brier score on the selection snapshot, which
    neither its training nor its calibration nor the test has seen, is better by more than NOISE
    standard errors of the difference on the same customers.

    Args:
        features: rows of `churn_features`, in any order.
        today: rows of `churn_features_today`; only whether there are any matters, and their
            horizon.
        kept: what this function returned before, or None.

    Returns:
        One row per candidate and horizon, with the columns of MODELS_SCHEMA. With too little
        data the status is 'abstained: ' and the reason, and there is no model. No row at all
        for a shop without customers.
    """
    labelled = features.sort("snapshot_on", "customer_id")
    data_fingerprint = _digest_of(labelled)
    trained_from = _digest(data_fingerprint, today)
    if kept is not None and _is_of(kept, trained_from):
        return kept.select(list(MODELS_SCHEMA)).cast(MODELS_SCHEMA)
    if labelled.is_empty() and today.is_empty():
        return pl.DataFrame(schema=MODELS_SCHEMA)
    main = int((today if labelled.is_empty() else labelled)["horizon_days"][0])
    rows = []
    horizons = (*(days for days in PURCHASE_HORIZONS if days < main), main)
    incumbents = {horizon: _incumbent(kept, horizon) for horizon in horizons}
    for horizon, incumbent in incumbents.items():
        names = CANDIDATES if horizon == main else FEW_CANDIDATES
        rows += _trained(labelled, horizon, names, incumbent)
    common = {
        "run_id": hashlib.sha256(f"{trained_from} {incumbents}".encode()).hexdigest()[:16],
        "trained_from": trained_from,
        "data_fingerprint": data_fingerprint,
        "libraries": json.dumps(_libraries()),
        "seed": SEED,
    }
    return pl.DataFrame([row | common for row in rows], schema=MODELS_SCHEMA)


def _incumbent(kept: pl.DataFrame | None, horizon: int) -> str:
    """Return the model that has scored this horizon so far."""
    if kept is None or not {"model_name", "horizon_days", "is_champion"} <= set(kept.columns):
        return LINEAR
    champion = kept.filter("is_champion", horizon_days=horizon)["model_name"].to_list()
    return champion[0] if champion and champion[0] in CANDIDATES else LINEAR


def _is_of(kept: pl.DataFrame, trained_from: str) -> bool:
    """Whether all of some kept models were trained from what this text stands for."""
    if kept.is_empty() or not set(MODELS_SCHEMA) <= set(kept.columns):
        return False
    return (kept["trained_from"] == trained_from).all(ignore_nulls=False) or False


def _libraries() -> dict[str, str]:
    names = ("numpy", "polars", "scikit-learn", "scipy", "skops")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def _digest_of(labelled: pl.DataFrame) -> str:
    content = io.BytesIO()
    labelled.rechunk().write_ipc(content, compression="uncompressed")
    return hashlib.sha256(content.getbuffer()).hexdigest()


def _digest(data_fingerprint: str, today: pl.DataFrame) -> str:
    """Return a text that is another if the models would be: of rows, code and libraries."""
    digest = hashlib.sha256(data_fingerprint.encode())
    for name in (
        "training.py", "candidates.py", "calibration.py", "features.py", "importance.py",
    ):  # fmt: skip
        digest.update(Path(__file__).with_name(name).read_bytes())
    horizons = today["horizon_days"].unique().sort().to_list()
    digest.update(repr([sorted(_libraries().items()), horizons]).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Learning:
    """The labelled rows of one horizon, by snapshot.

    Attributes:
        rows: labelled rows, sorted by snapshot and customer.
        matrix: their features, as feature_matrix gives them.
        is_churned: their outcome within this horizon.
        snapshot: of each row, which of `days` it belongs to.
        days: the snapshots in order.
    """

    rows: pl.DataFrame
    matrix: np.ndarray
    is_churned: np.ndarray
    snapshot: np.ndarray
    days: list[date]

    @classmethod
    def of(cls, labelled: pl.DataFrame, horizon_days: int) -> _Learning:
        from perennial.churn.features import feature_matrix

        days = labelled["snapshot_on"].unique().sort().to_list()
        return cls(
            labelled,
            feature_matrix(labelled),
            churned_within(labelled, horizon_days),
            np.searchsorted(np.array(days, "datetime64[D]"), labelled["snapshot_on"].to_numpy()),
            days,
        )

    def until(self, day: date) -> np.ndarray:
        """Return which rows are of this snapshot or an earlier one."""
        return self.snapshot <= self.days.index(day)

    def on(self, day: date) -> np.ndarray:
        """Return which rows are of this snapshot."""
        return self.snapshot == self.days.index(day)


def churned_within(labelled: pl.DataFrame, horizon_days: int) -> np.ndarray:
    """Return whether no order came within so many days, shape (n,), for labelled rows."""
    if horizon_days == labelled["horizon_days"].max():
        return labelled["is_churned"].to_numpy().astype(bool)
    return ~(labelled["days_until_order"] <= horizon_days).fill_null(False).to_numpy()


class _Candidate:
    """One candidate for one horizon, as it would have stood at any snapshot."""

    def __init__(self, name: str, learning: _Learning):
        self.name = name
        self.learning = learning
        self._fits: dict[date, Fitted] = {}

    def _fitted(self, until: date) -> Fitted:
        from perennial.churn.candidates import fit

        if until not in self._fits:
            rows = self.learning.until(until)
            self._fits[until] = fit(
                self.name, self.learning.matrix[rows], self.learning.is_churned[rows]
            )
        return self._fits[until]

    def standing(
        self, method: str, newest: date, older: date | None
    ) -> tuple[Fitted, Calibration, date]:
        """Return it as known when `newest` was the newest snapshot with a known outcome.

        Args:
            method: how it is calibrated.
            newest: calibrates it; without calibration it is the newest that it learns from.
            older: the newest snapshot whose outcome was known at `newest`.

        Returns:
            The fitted model, its calibration, and the newest snapshot that it was fitted on.
        """
        from perennial.churn.calibration import Calibration, calibrate

        if method == "none":
            return self._fitted(newest), Calibration(), newest
        fitted = self._fitted(older)
        rows = self.learning.on(newest)
        return (
            fitted,
            calibrate(
                method, fitted.log_odds(self.learning.matrix[rows]), self.learning.is_churned[rows]
            ),
            older,
        )

    def foretold(self, fitted: Fitted, calibration: Calibration, on: date) -> np.ndarray:
        """Return the probabilities of the customers of a snapshot."""
        return calibration.probability(fitted.log_odds(self.learning.matrix[self.learning.on(on)]))


def _methods(name: str, split: Split) -> list[str]:
    """Return how a candidate may be calibrated."""
    if split.calibrate is None or name in RULES:
        return [] if name == VECTORS else ["none"]
    if name == VECTORS:
        # A margin is no probability.
        return ["platt"]
    # A sum stays a sum only under a line.
    return ["none", "platt"] if name in SUMS else ["none", "platt", "isotonic"]


def _trained(
    labelled: pl.DataFrame, horizon_days: int, names: tuple[str, ...], incumbent: str
) -> list[dict]:
    """Return the rows of one horizon; `labelled` is sorted."""
    days = labelled["snapshot_on"].unique().sort().to_list()
    split = split_snapshots(days, horizon_days)
    if split is None:
        why = f"the history is shorter than three horizons of {horizon_days} days"
        return [_abstained(name, horizon_days, why) for name in names]
    churned = churned_within(labelled, horizon_days)
    on = {day: (labelled["snapshot_on"] == day).to_numpy() for day in (split.select, split.test)}
    why = (
        _why_too_little(churned[labelled["snapshot_on"].is_in(split.train).to_numpy()], "training")
        or _why_too_little(churned[on[split.select]], "selection")
        or _why_too_little(churned[on[split.test]], "test")
    )
    if why:
        return [_abstained(name, horizon_days, why) for name in names]
    if split.calibrate is not None and _why_too_little(
        churned[(labelled["snapshot_on"] == split.calibrate).to_numpy()], "calibration"
    ):
        split = Split([*split.train, split.calibrate], None, split.select, split.test)

    # Only now, for it takes seconds to load: most builds keep the models that they have.
    from threadpoolctl import threadpool_limits

    learning = _Learning.of(labelled, horizon_days)
    # Threads of OpenMP wait by spinning: beside other models of dbt they cost more than they bring.
    with threadpool_limits(1):
        return _competition(learning, split, horizon_days, names, incumbent)


def _competition(
    learning: _Learning, split: Split, horizon_days: int, names: tuple[str, ...], incumbent: str
) -> list[dict]:
    from perennial.churn.candidates import parameters_of

    happened = learning.is_churned[learning.on(split.select)]
    newest = split.calibrate or split.train[-1]
    losses: dict[str, np.ndarray] = {}
    chosen: dict[str, str] = {}
    standing = {name: _Candidate(name, learning) for name in names}
    for name, candidate in standing.items():
        for method in _methods(name, split):
            fitted, calibration, _ = candidate.standing(method, newest, split.train[-1])
            loss = (candidate.foretold(fitted, calibration, split.select) - happened) ** 2
            if name not in losses or loss.mean() < losses[name].mean():
                losses[name], chosen[name] = loss, method
    if incumbent not in losses:
        incumbent = LINEAR
    gains = {name: _gain(losses[incumbent], loss) for name, loss in losses.items()}
    better = {
        name: gain for name, (gain, noise) in gains.items() if gain > noise and name not in RULES
    }
    champion = max(better, key=better.get, default=incumbent)

    rows = []
    at_select, at_test = (
        known_at(learning.days, day, horizon_days)[-1] for day in (split.select, split.test)
    )
    for name, candidate in standing.items():
        if name not in losses:
            why = "a margin becomes a probability only where a snapshot is left to calibrate it"
            rows.append(_abstained(name, horizon_days, why))
            continue
        method = chosen[name]
        tested, calibration, _ = candidate.standing(method, at_test, at_select)
        is_champion = name == champion
        gain, noise = gains[name]
        kept = None
        if is_champion or name in SUMS or name in RULES:
            kept = candidate.standing(method, split.test, at_test)
        rows.append(
            NOTHING
            | {
                "model_name": name,
                "horizon_days": horizon_days,
                "status": "trained",
                "is_champion": is_champion,
                "incumbent": incumbent,
                "fitted_from_on": learning.days[0],
                "trained_until_on": at_test,
                "selected_on": split.select,
                "tested_on": split.test,
                "selection_brier_score": float(losses[name].mean()),
                "selection_gain": gain,
                "selection_noise": noise,
                "parameters": parameters_of(name),
                "calibration": method,
                "test_predictions": learning.rows.filter(learning.on(split.test))
                .select("customer_id")
                .with_columns(
                    is_churned=learning.is_churned[learning.on(split.test)],
                    probability=candidate.foretold(tested, calibration, split.test),
                )
                .to_dicts(),
            }
            | (_kept(*kept, learning, split) if kept else {})
            | (_evidence(tested, *kept, learning, split) if is_champion else {})
        )
    return rows


def _kept(
    fitted: Fitted, calibration: Calibration, until: date, learning: _Learning, split: Split
) -> dict:
    """Return the columns of a model that stays: the champion, the sums and the rules."""
    from perennial.churn.candidates import linear_weights, write_down

    return {
        "fitted_from_on": learning.days[0],
        "fitted_until_on": until,
        "calibrated_on": None if calibration.method == "none" else split.test,
        "n_training_rows": int(learning.until(until).sum()),
        "fitted_model": write_down(fitted.model),
        "shift": fitted.shift,
        **calibration.as_row(),
        "weights": linear_weights(fitted, calibration) if fitted.name in SUMS else [],
    }


def _evidence(
    tested: Fitted,
    kept: Fitted,
    calibration: Calibration,
    _: date,
    learning: _Learning,
    split: Split,
) -> dict:
    """Return what a champion goes by, and whether it scores the same kind of people over time."""
    from perennial.churn.importance import importances, stability

    rows = learning.on(split.test)
    return {
        "importances": importances(tested, learning.matrix[rows], learning.is_churned[rows]),
        "stability": stability(
            learning.days,
            learning.snapshot,
            calibration.probability(kept.log_odds(learning.matrix)),
            learning.is_churned,
        ),
    }


def _gain(incumbent: np.ndarray, loss: np.ndarray) -> tuple[float, float]:
    """Return by how much a loss is smaller on average, and what chance alone may make of it."""
    difference = incumbent - loss
    noise = NOISE * difference.std(ddof=1) / np.sqrt(len(difference))
    return float(difference.mean()), float(noise)


def _abstained(name: str, horizon_days: int, why: str) -> dict:
    return NOTHING | {
        "model_name": name,
        "status": f"abstained: {why}",
        "is_champion": False,
        "horizon_days": horizon_days,
    }
