"""Train churn models by time: fit on old snapshots, choose on newer ones, test on the newest."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path

import polars as pl

# With less than this a model learns noise: it abstains, and says why.
MIN_CUSTOMERS = 200
MIN_PER_CLASS = 30

# The rule that any model must beat: who bought longest ago is most likely gone.
BASELINE = "recency"

# The candidate that SQL can score by itself: see churn_linear_scores.
LINEAR = "logistic_regression"
TREES = "gradient_boosting"
CANDIDATES = (LINEAR, TREES, BASELINE)

MODELS_SCHEMA = {
    "model_name": pl.String,
    "trained_from": pl.String,
    "status": pl.String,
    "is_champion": pl.Boolean,
    "horizon_days": pl.Int64,
    "trained_until_on": pl.Date,
    "tested_on": pl.Date,
    "selection_brier_score": pl.Float64,
    "n_training_rows": pl.Int64,
    "fitted_model": pl.Binary,
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
}


@dataclass(frozen=True)
class Split:
    """Snapshots by what they are for; every label is known before the next part begins."""

    train: list[date]
    select: date
    test: date


def split_snapshots(snapshots: list[date], horizon_days: int) -> Split | None:
    """Split labelled snapshots by time.

    The newest labelled snapshot is the test. Standing there, one knows the labels of
    snapshots at least one horizon older: the newest of these chooses the champion, and what
    is a further horizon older trains for the choice.

    Args:
        snapshots: snapshot dates whose label is mature, in any order.
        horizon_days: length of the label's window in days.

    Returns:
        The split, or None where the history is too short for one.
    """
    horizon = timedelta(days=horizon_days)
    ordered = sorted(set(snapshots))
    if not ordered:
        return None
    test = ordered[-1]
    known_at_test = [day for day in ordered if day + horizon <= test]
    if not known_at_test:
        return None
    select = known_at_test[-1]
    train = [day for day in ordered if day + horizon <= select]
    return Split(train, select, test) if train else None


def _why_too_little(rows: pl.DataFrame, what: str) -> str | None:
    n_churned = int(rows["is_churned"].sum() or 0)
    rarest = min(n_churned, rows.height - n_churned)
    if rows.height < MIN_CUSTOMERS or rarest < MIN_PER_CLASS:
        return (
            f"the {what} snapshots have {rows.height} rows, {rarest} of the rarer outcome; "
            f"needed are {MIN_CUSTOMERS} and {MIN_PER_CLASS}"
        )
    return None


def train_models(
    features: pl.DataFrame, today: pl.DataFrame, kept: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Train every candidate, test it out of time and choose the champion.

    What was trained from the same rows by the same code is returned as it was: labelled
    snapshots lie on a fixed calendar, so on most days nothing has changed.

    The champion is the candidate (never the baseline) with the lowest Brier score on the
    selection snapshot, which neither its training nor the test has seen. For the test each
    candidate is fitted again on all that was known at the test snapshot; the model that is
    kept is fitted on every labelled snapshot.

    Args:
        features: rows of `churn_features`, in any order.
        today: rows of `churn_features_today`; only whether there are any matters, and their
            horizon.
        kept: what this function returned before, or None.

    Returns:
        One row per candidate, with the columns of MODELS_SCHEMA. With too little data the
        status is 'abstained: ' and the reason, and there is no model. No row at all for a
        shop without customers.
    """
    labelled = features.sort("snapshot_on", "customer_id")
    trained_from = _digest(labelled, today)
    if kept is not None and _is_of(kept, trained_from):
        return kept.select(list(MODELS_SCHEMA)).cast(MODELS_SCHEMA)
    models = _trained(labelled, today)
    return models.with_columns(trained_from=pl.lit(trained_from)).select(list(MODELS_SCHEMA))


def _is_of(kept: pl.DataFrame, trained_from: str) -> bool:
    """Whether all of some kept models were trained from what this text stands for."""
    if kept.is_empty() or not set(MODELS_SCHEMA) <= set(kept.columns):
        return False
    return (kept["trained_from"] == trained_from).all(ignore_nulls=False) or False


def _digest(labelled: pl.DataFrame, today: pl.DataFrame) -> str:
    """Return a text that is another if the models would be: of rows, code and libraries."""
    digest = hashlib.sha256()
    for name in ("training.py", "candidates.py", "features.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    horizons = today["horizon_days"].unique().sort().to_list()
    digest.update(repr([version("scikit-learn"), version("polars"), horizons]).encode())
    content = io.BytesIO()
    labelled.rechunk().write_ipc(content, compression="uncompressed")
    digest.update(content.getbuffer())
    return digest.hexdigest()


def _trained(labelled: pl.DataFrame, today: pl.DataFrame) -> pl.DataFrame:
    """As train_models, without looking back; `labelled` is sorted."""
    if labelled.is_empty() and today.is_empty():
        return pl.DataFrame(schema=MODELS_SCHEMA)
    horizon_days = int((today if labelled.is_empty() else labelled)["horizon_days"][0])
    split = split_snapshots(labelled["snapshot_on"].unique().to_list(), horizon_days)
    if split is None:
        why = f"the history is shorter than three horizons of {horizon_days} days"
        return _abstained(horizon_days, why)

    train = labelled.filter(pl.col("snapshot_on").is_in(split.train))
    select = labelled.filter(pl.col("snapshot_on") == split.select)
    test = labelled.filter(pl.col("snapshot_on") == split.test)
    known_at_test = labelled.filter(
        pl.col("snapshot_on") <= split.test - timedelta(days=horizon_days)
    )
    why = (
        _why_too_little(train, "training")
        or _why_too_little(select, "selection")
        or _why_too_little(test, "test")
    )
    if why:
        return _abstained(horizon_days, why)

    # Only now, for it takes seconds to load: most builds keep the models that they have.
    from sklearn.metrics import brier_score_loss
    from threadpoolctl import threadpool_limits

    from perennial.churn.candidates import fit, linear_weights, predict, write_down

    rows = []
    for name in CANDIDATES:
        # Threads of OpenMP wait by spinning: beside other models of dbt they cost more than
        # they bring.
        with threadpool_limits(1):
            kept = fit(name, labelled)
            chosen_by = predict(name, fit(name, train), select)
            tested = predict(name, fit(name, known_at_test), test)
        rows.append(
            {
                "model_name": name,
                "status": "trained",
                "is_champion": False,
                "horizon_days": horizon_days,
                "trained_until_on": known_at_test["snapshot_on"].max(),
                "tested_on": split.test,
                "selection_brier_score": brier_score_loss(
                    select["is_churned"].to_numpy(), chosen_by
                ),
                "n_training_rows": labelled.height,
                "fitted_model": write_down(kept),
                "weights": linear_weights(kept) if name == LINEAR else [],
                "test_predictions": test.select("customer_id", "is_churned")
                .with_columns(probability=tested)
                .to_dicts(),
            }
        )
    champion = min(
        (row for row in rows if row["model_name"] != BASELINE),
        key=lambda row: (row["selection_brier_score"], row["model_name"]),
    )
    champion["is_champion"] = True
    return pl.DataFrame(rows, schema=MODELS_SCHEMA)


def _abstained(horizon_days: int, why: str) -> pl.DataFrame:
    rows = [
        {
            "model_name": name,
            "status": f"abstained: {why}",
            "is_champion": False,
            "horizon_days": horizon_days,
            "weights": [],
            "test_predictions": [],
        }
        for name in CANDIDATES
    ]
    return pl.DataFrame(rows, schema=MODELS_SCHEMA)
