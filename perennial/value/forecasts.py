"""Fit the models of purchases and amounts to a shop, choose one, and forecast each customer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl

from perennial.value.purchases import (
    MODELS,
    Histories,
    PurchaseModel,
    State,
    fit_purchases,
)
from perennial.value.season import FLAT, MIN_HISTORY_DAYS, Clock, Season, fit_season
from perennial.value.spend import SpendModel, fit_spend, value_below, value_quantile

# With less than this the parameters are noise: the models abstain, and say why.
MIN_CUSTOMERS = 200
MIN_REPEAT_CUSTOMERS = 50

# A channel with fewer repeat customers is one of the others.
OTHER = "(other)"
BY_CHANNEL = "_by_channel"
SEASONAL = "_seasonal"
CANDIDATES = tuple(
    name + channel + season
    for season in ("", SEASONAL) for name in MODELS for channel in ("", BY_CHANNEL)
)  # fmt: skip

HORIZONS = (28, 30, 90, 365)
# Of the outcomes a fifth at most shall lie outside of an interval, a tenth at each side.
TAIL = 0.1
# Where the models foretell next to nothing of what came, an interval still has an end.
LEAST_TAIL = 1e-4

MODELS_SCHEMA = {
    "cut": pl.String,
    "model_name": pl.String,
    "status": pl.String,
    "is_chosen": pl.Boolean,
    "n_customers": pl.Int64,
    "n_repeat_customers": pl.Int64,
    "r": pl.Float64,
    "alpha_days": pl.Float64,
    "a": pl.Float64,
    "b": pl.Float64,
    "channels": pl.List(
        pl.Struct({"channel": pl.String, "rate_effect": pl.Float64, "leaving_effect": pl.Float64})
    ),
    "season": pl.List(
        pl.Struct(
            {
                "month_number": pl.Int64,
                "season_index": pl.Float64,
                "season_index_low": pl.Float64,
                "season_index_high": pl.Float64,
                "n_purchases": pl.Int64,
            }
        )
    ),
    "log_likelihood": pl.Float64,
    "bic": pl.Float64,
    "holdout_log_score": pl.Float64,
    "purchases_tail": pl.Float64,
    "spend_status": pl.String,
    "p": pl.Float64,
    "q": pl.Float64,
    "v": pl.Float64,
    "amount_tail": pl.Float64,
}

FORECASTS_SCHEMA = {
    "cut": pl.String,
    "customer_id": pl.String,
    "horizon_days": pl.Int64,
    "model_name": pl.String,
    "expected_purchases": pl.Float64,
    "purchases_low": pl.Int64,
    "purchases_high": pl.Int64,
    "expected_amount_per_purchase": pl.Float64,
    "expected_amount": pl.Float64,
    "amount_low": pl.Float64,
    "amount_high": pl.Float64,
    "median_wait_days": pl.Float64,
}


def fit_models(
    statistics: pl.DataFrame, histories: pl.DataFrame, season_counts: pl.DataFrame
) -> pl.DataFrame:
    """Fit every candidate to the customers as they are and as they were.

    Chosen is the candidate that, fitted to what was known at the beginning of the holdout, gave
    the purchases that came in it the highest probability. Where nothing could be held out it is
    the one with the lowest BIC. What came also says how far intervals must reach.

    Args:
        statistics: rows of `purchase_statistics`.
        histories: rows of `purchase_histories`.
        season_counts: rows of `purchase_season_counts`.

    Returns:
        One row per cut and candidate with the columns of MODELS_SCHEMA. With too little data the
        status is 'abstained: ' and the reason, and there are no parameters. No row for a shop
        without customers.
    """
    rows = []
    for cut in ("holdout", "today"):
        known = statistics.filter(pl.col("cut") == cut).sort(pl.all())
        if known.height:
            customers = histories.filter(pl.col("cut") == cut).sort("customer_id")
            spend = _fitted_spend(customers)
            season = _fitted_season(season_counts.filter(pl.col("cut") == cut), known)
            cut_on = customers["cut_on"][0]
            rows += [_fitted(name, cut, cut_on, known, season) | spend for name in CANDIDATES]
    came = histories.filter(pl.col("cut") == "holdout").sort("customer_id")
    held_out = {
        row["model_name"]: _held_out(row, came, _holdout_days(histories))
        for row in rows
        if row["cut"] == "holdout" and row["status"] == "fitted"
    }
    fitted = [row for row in rows if row["cut"] == "today" and row["status"] == "fitted"]
    judged = [row for row in fitted if row["model_name"] in held_out]
    # Names of simpler models come first, and stay where both are as good.
    if judged:
        best = max(
            judged, key=lambda row: round(held_out[row["model_name"]]["holdout_log_score"], 9)
        )
    else:
        best = min(fitted, key=lambda row: round(row["bic"], 6), default={"model_name": None})
    for row in rows:
        row["is_chosen"] = row["model_name"] == best["model_name"] and row["status"] == "fitted"
        if row["status"] == "fitted":
            row |= held_out.get(row["model_name"], _no_holdout())
        if row["cut"] == "today":
            row["holdout_log_score"] = None
    # Looked for last, and for one model only: it takes longer than all the rest.
    chosen = [row for row in rows if row["is_chosen"]]
    if chosen and chosen[0]["cut"] == "holdout":
        tail = _amount_tail(chosen[0], came, _holdout_days(histories))
        for row in chosen:
            row |= tail
    return pl.DataFrame(rows, schema=MODELS_SCHEMA)


def forecast(histories: pl.DataFrame, models: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Give what each customer is expected to buy and to spend, by the chosen model.

    Args:
        histories: rows of `purchase_histories`, in any order.
        models: what fit_models returned. Forecasts of the cut 'holdout' reach until today.

    Yields:
        Of one cut and horizon at a time one row per customer with the columns of FORECASTS_SCHEMA,
        by customer; none where the models abstained. Before all others a table without rows.
        Amounts are null where those of the shop are too few or all the same.
    """
    yield pl.DataFrame(schema=FORECASTS_SCHEMA)
    for row in models.filter("is_chosen").sort("cut").iter_rows(named=True):
        customers = histories.filter(pl.col("cut") == row["cut"]).sort("customer_id")
        horizons = (_holdout_days(histories),) if row["cut"] == "holdout" else HORIZONS
        for days in horizons:
            yield _forecasts(row, customers, days)


def _holdout_days(histories: pl.DataFrame) -> int:
    """Return how long ago the cut 'holdout' is."""
    cuts = dict(histories.select("cut", "cut_on").unique().iter_rows())
    return (cuts["today"] - cuts["holdout"]).days


def _fitted_season(counts: pl.DataFrame, known: pl.DataFrame) -> Season | str:
    """Return the season of a cut, or why there is none."""
    n_old = known.filter(pl.col("age_days") >= MIN_HISTORY_DAYS)["n_customers"].sum()
    if n_old < MIN_REPEAT_CUSTOMERS:
        return (
            f"{n_old} customers came {MIN_HISTORY_DAYS} days ago or earlier; "
            f"a season needs {MIN_REPEAT_CUSTOMERS}"
        )
    try:
        return fit_season(counts)
    except ValueError as error:
        return str(error)


def _fitted(name: str, cut: str, cut_on: date, known: pl.DataFrame, season: Season | str) -> dict:
    """Return a row of MODELS_SCHEMA for a candidate, without amounts."""
    n_customers = int(known["n_customers"].sum())
    n_repeat = int(known.filter(pl.col("n_repeats") > 0)["n_customers"].sum())
    row = {
        "cut": cut,
        "model_name": name,
        "is_chosen": False,
        "n_customers": n_customers,
        "n_repeat_customers": n_repeat,
        "channels": [],
        "season": [],
    }
    if n_customers < MIN_CUSTOMERS or n_repeat < MIN_REPEAT_CUSTOMERS:
        why = (
            f"{n_customers} customers, {n_repeat} of them with a repeat purchase; "
            f"needed are {MIN_CUSTOMERS} and {MIN_REPEAT_CUSTOMERS}"
        )
        return row | {"status": f"abstained: {why}"}
    groups = _channel_groups(known) if BY_CHANNEL in name else [OTHER]
    if BY_CHANNEL in name and len(groups) == 1:
        return row | {"status": "abstained: there is one channel with enough repeat customers"}
    clock = Clock(cut_on)
    if name.endswith(SEASONAL):
        if isinstance(season, str):
            return row | {"status": f"abstained: {season}"}
        row["season"] = season.as_rows()
        clock = Clock(cut_on, tuple(season.index.tolist()))
    try:
        model = fit_purchases(_kind(name), _as_histories(known, groups, clock), len(groups))
    except ValueError as error:
        return row | {"status": f"abstained: {error}"}
    if row["season"]:
        model = replace(
            model,
            log_likelihood=model.log_likelihood + season.log_speed,
            n_more_parameters=len(FLAT) - 1,
        )
    effects = zip(groups, model.rate_effects, model.leaving_effects, strict=True)
    return row | {
        "status": "fitted",
        "r": model.r,
        "alpha_days": model.alpha,
        "a": model.a,
        "b": model.b,
        "channels": [
            {"channel": channel, "rate_effect": rate, "leaving_effect": leaving}
            for channel, rate, leaving in effects
        ],
        "log_likelihood": model.log_likelihood,
        "bic": float(model.bic),
    }


def _channel_groups(known: pl.DataFrame) -> list[str]:
    """Return the channels that have effects of their own, the one of most customers first."""
    sizes = (
        known.group_by("channel")
        .agg(
            n=pl.col("n_customers").sum(),
            n_repeat=pl.col("n_customers").filter(pl.col("n_repeats") > 0).sum(),
        )
        .with_columns(
            channel=pl.when(pl.col("n_repeat") >= MIN_REPEAT_CUSTOMERS)
            .then("channel")
            .otherwise(pl.lit(OTHER))
        )
        .group_by("channel")
        .agg(pl.col("n").sum())
        .sort(["n", "channel"], descending=[True, False])
    )
    return sizes["channel"].to_list()


def _kind(name: str) -> str:
    """Return which of MODELS a candidate is."""
    return name.removesuffix(SEASONAL).removesuffix(BY_CHANNEL)


def _as_histories(rows: pl.DataFrame, groups: list[str], clock: Clock) -> Histories:
    """Return the histories of rows with n_repeats, last_days, age_days and channel, by a clock.

    A channel that is none of the groups has the effects of the others, if those are a group,
    else none.
    """
    rest = groups.index(OTHER) if OTHER in groups else 0
    numbers = {channel: number for number, channel in enumerate(groups)}
    group = rows["channel"].replace_strict(numbers, default=rest, return_dtype=pl.Int64)
    customers = rows["n_customers"].to_numpy() if "n_customers" in rows.columns else None
    repeats, last, age = (rows[name].to_numpy() for name in ("n_repeats", "last_days", "age_days"))
    return Histories.of(
        repeats,
        clock.elapsed(age, age - last),
        clock.elapsed(age, np.zeros_like(age)),
        customers,
        group.to_numpy(),
    )


def _fitted_spend(customers: pl.DataFrame) -> dict:
    """Return the columns of MODELS_SCHEMA that are about amounts."""
    spent = customers.filter(pl.col("mean_amount").is_finite() & (pl.col("mean_amount") > 0))
    if spent.height < MIN_CUSTOMERS:
        why = f"{spent.height} customers with a known amount; needed are {MIN_CUSTOMERS}"
        return {"spend_status": f"abstained: {why}"}
    try:
        model = fit_spend(1 + spent["n_repeats"].to_numpy(), spent["mean_amount"].to_numpy())
    except ValueError as error:
        return {"spend_status": f"abstained: {error}"}
    return {"spend_status": "fitted", "p": model.p, "q": model.q, "v": model.v}


def _purchase_model(row: dict) -> tuple[PurchaseModel, list[str]]:
    """Return the model that a row of MODELS_SCHEMA tells of, and its groups."""
    channels = row["channels"]
    model = PurchaseModel(
        _kind(row["model_name"]),
        *(row[name] for name in ("r", "alpha_days", "a", "b")),
        tuple(channel["rate_effect"] for channel in channels),
        tuple(channel["leaving_effect"] for channel in channels),
    )
    return model, [channel["channel"] for channel in channels]


def _state(row: dict, customers: pl.DataFrame) -> tuple[State, np.ndarray]:
    """Return what a model knows of the distinct histories, and which is each customer's."""
    model, groups = _purchase_model(row)
    columns = ["channel", "n_repeats", "last_days", "age_days"]
    distinct = customers.select(columns).unique().sort(columns).with_row_index("place")
    places = customers.select(columns).join(
        distinct, on=columns, how="left", maintain_order="left"
    )["place"]
    return model.state(_as_histories(distinct, groups, _clock(row, customers))), places.to_numpy()


def _clock(row: dict, customers: pl.DataFrame) -> Clock:
    """Return the clock that a model of these customers' cut goes by."""
    index = tuple(month["season_index"] for month in row["season"])
    return Clock(customers["cut_on"][0], index or FLAT)


def _no_holdout() -> dict:
    """Return the columns of MODELS_SCHEMA that a holdout would tell, as the models say."""
    return {"holdout_log_score": None, "purchases_tail": TAIL, "amount_tail": TAIL}


def _held_out(row: dict, customers: pl.DataFrame, days: int) -> dict:
    """Return how a model fared with what came, and how far its intervals must reach.

    An interval leaves out what the model itself gives a probability of `tail` at each side. If
    customers differ from day to day more than the model says, more than a fifth of them lies
    outside at a tail of a tenth. So the tail is taken with which a fifth was outside. (Split
    conformal prediction: Vovk, Gammerman and Shafer 2005.) It is never larger than a tenth:
    purchases come in whole numbers, and that intervals hold more than they must is due to that
    alone.
    """
    state, places = _state(row, customers)
    time = _clock(row, customers).ahead(days)
    came = customers["n_later_purchases"].to_numpy()
    at_least, more = np.ones(len(came)), np.empty(len(came))
    for n in np.unique(came):
        rows = np.flatnonzero(came == n)
        some = state.rows(places[rows])
        more[rows] = some.more_than(n, time)
        if n:
            at_least[rows] = some.more_than(n - 1, time)
    none = 1 - state.more_than(0, time)[places]
    return _no_holdout() | {
        "holdout_log_score": float(np.log(np.maximum(at_least - more, 1e-15)).mean()),
        "purchases_tail": _tail(none, 1 - more, at_least),
    }


def _amount_tail(row: dict, customers: pl.DataFrame, days: int) -> dict:
    """Return the same for the intervals of amounts; nothing where these are not known."""
    amounts = customers["later_amount"].cast(pl.Float64)
    is_known = amounts.is_not_null().to_numpy()
    if row["spend_status"] != "fitted" or not is_known.any():
        return {}
    state, places = _state(row, customers)
    time = _clock(row, customers).ahead(days)
    spent = amounts.fill_null(0.0).to_numpy()
    below = value_below(spent, time, state.rows(places), *_spend(row, customers))
    # Whoever spends nothing spends at least nothing. That somebody gives back more than is bought
    # no interval foresees.
    at_least = np.where(spent > 0, 1 - below, (spent == 0).astype(float))
    none = 1 - state.more_than(0, time)[places]
    return {"amount_tail": _tail(none[is_known], below[is_known], at_least[is_known])}


def _tail(none: np.ndarray, at_most: np.ndarray, at_least: np.ndarray) -> float:
    """Return the tail with which intervals would have left out a fifth of what came.

    Args:
        none: the probability of nothing, shape (n,).
        at_most, at_least: the probabilities of what came and less, or more, shape (n,).
    """
    # Of whom next to nothing is to be expected the interval is nothing, whatever the tail.
    is_open = none < 1 - 2 * TAIL
    if not is_open.any():
        return TAIL
    from_zero = _from_zero(none)
    largest = np.where(from_zero, at_least / 2, np.minimum(at_most, at_least))[is_open]
    place = max(0, int(2 * TAIL * (len(largest) + 1)) - 1)
    # A little less, so that whatever has just this tail lies inside and not on the edge.
    return float(np.clip(np.sort(largest)[place] * (1 - 1e-9), LEAST_TAIL, TAIL))


def _from_zero(none: np.ndarray) -> np.ndarray:
    """Return whose interval begins with nothing, so that all that it leaves out lies above."""
    return none >= TAIL


def _spend(row: dict, customers: pl.DataFrame) -> tuple[SpendModel, np.ndarray, np.ndarray]:
    """Return the model of amounts, how many purchases each customer's mean is of, and the means."""
    mean = customers["mean_amount"].fill_null(np.nan).to_numpy()
    is_known = np.isfinite(mean)
    return (
        SpendModel(row["p"], row["q"], row["v"]),
        np.where(is_known, 1 + customers["n_repeats"].to_numpy(), 0),
        np.where(is_known, mean, 0.0),
    )


def _forecasts(row: dict, customers: pl.DataFrame, days: int) -> pl.DataFrame:
    """Return rows of FORECASTS_SCHEMA for one horizon."""
    state, places = _state(row, customers)
    clock = _clock(row, customers)
    time = clock.ahead(days)
    wait = clock.days_until(state.median_wait())
    from_zero = _from_zero(1 - state.more_than(0, time))
    low, high = _shares(row["purchases_tail"], from_zero)
    purchases = {
        "expected_purchases": state.expected_purchases(time)[places],
        "purchases_low": state.purchases_quantile(low, time)[places],
        "purchases_high": state.purchases_quantile(high, time)[places],
        "median_wait_days": np.where(np.isfinite(wait), wait, np.nan)[places],
    }
    found = customers.select("cut", "customer_id").with_columns(
        horizon_days=pl.lit(days),
        model_name=pl.lit(row["model_name"]),
        **{name: pl.Series(values) for name, values in purchases.items()},
    )
    amounts = dict.fromkeys(
        ("expected_amount_per_purchase", "expected_amount", "amount_low", "amount_high")
    )
    if row["spend_status"] == "fitted":
        spend, n, mean = _spend(row, customers)
        each = spend.expected_amount(n, mean)
        amounts = {
            "expected_amount_per_purchase": each,
            "expected_amount": each * purchases["expected_purchases"],
        }
        # Once for each history, known amounts or not; most customers share theirs.
        distinct, which = np.unique(np.column_stack([places, n]), axis=0, return_inverse=True)
        shares = _shares(row["amount_tail"], from_zero[distinct[:, 0]])
        for name, share in zip(("amount_low", "amount_high"), shares, strict=True):
            units = value_quantile(share, time, state.rows(distinct[:, 0]), spend, distinct[:, 1])
            amounts[name] = units[which] * spend.unit(n, mean)
    return found.with_columns(
        pl.lit(None, pl.Float64).alias(name) if values is None else pl.Series(name, values)
        for name, values in amounts.items()
    ).select(pl.col(name).cast(kind) for name, kind in FORECASTS_SCHEMA.items())


def _shares(tail: float, from_zero: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of no more than an interval's ends, each of shape (n,)."""
    return np.where(from_zero, 0.0, tail), 1 - np.where(from_zero, 2 * tail, tail)
