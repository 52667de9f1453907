"""The page: sections made of what the marts answer, put together by a Jinja template."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import networkx as nx
import polars as pl
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from perennial import __version__
from perennial.checks import sentence
from perennial.report import charts, formatting, queries
from perennial.report.formatting import share
from perennial.report.queries import Marts, NothingToShow

HERE = Path(__file__).parent

# How many steps of colour the cohort table has; report.css defines as many.
HEAT_STEPS = 6

Context = dict[str, Any]


def render_page(marts: Marts, warehouse_name: str) -> str:
    """Return the whole page."""
    known = queries.settings(marts)
    currency = known.get("currency")
    sections = {
        "headlines": _section(headlines, marts, currency),
        "scoreboard": _section(scoreboard, marts),
        "cohorts": _section(cohorts, marts),
        "growth": growth(marts, currency),
        "segments": _section(segments, marts, currency),
        "churn": _section(churn, marts),
        "value": _section(value, marts, currency),
        "funnel": _section(funnel, marts),
        "pairs": _section(pairs, marts),
        "recommendations": _section(recommendations, marts),
        "quality": _section(quality, marts),
        "health": _section(health, marts),
    }
    specs = {}
    for section in sections.values():
        specs |= section.get("charts", {})
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        **sections,
        shop=known.get("shop", Path(warehouse_name).stem),
        as_of=formatting.moment(known.get("as_of")),
        timezone=known.get("timezone"),
        currency=currency,
        warehouse_name=warehouse_name,
        version=__version__,
        specs=_json_in_html(specs),
        theme=_json_in_html(charts.THEME),
        has_charts=bool(specs),
        vega=Markup(_vega()) if specs else "",
        css=Markup((HERE / "report.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "report.js").read_text(encoding="utf-8")),
    )


def headlines(marts: Marts, currency: str | None) -> Context:
    """The figures, each with its change."""
    figures = []
    for row in queries.headlines(marts).iter_rows(named=True):
        direction, change = formatting.change(
            row["value"], row["previous_value"], row["unit"], currency
        )
        figures.append(
            {
                "label": row["label"] or row["figure"],
                "value": formatting.figure(row["value"], row["unit"], None),
                "currency": currency if row["unit"] == "money" and row["value"] is not None else "",
                "direction": direction,
                "change": change,
                "explanation": row["explanation"] or "",
            }
        )
    return {"figures": figures}


def cohorts(marts: Marts) -> Context:
    """The heat map: a row per month of first order, a column per month after it."""
    cells = queries.cohort_cells(marts)
    later = cells.filter(pl.col("period_number") > 0)
    mature = later.filter(pl.col("is_mature") & pl.col("rate").is_not_null())
    steps = heat_steps(mature["rate"].max() or 0.0)
    months = list(range(1, (later["period_number"].max() or 0) + 1))
    rows = []
    for (start,), cohort in cells.group_by("cohort_start_on", maintain_order=True):
        by_month = {row["period_number"]: row for row in cohort.iter_rows(named=True)}
        rows.append(
            {
                "month": formatting.month(start),
                "n_customers": formatting.count(cohort["n_customers"][0]),
                "cells": [_cell(by_month.get(month), steps) for month in months],
            }
        )
    curve = _section(_return_curve, marts)
    second_order = _section(_second_order, marts)
    totals = mature.group_by("period_number").agg(pl.col("n_active", "n_whole").sum())
    total_of = {row["period_number"]: row for row in totals.iter_rows(named=True)}
    return {
        "months": months,
        "rows": rows,
        "totals": [
            _rate_cell(total_of[m]["n_active"], total_of[m]["n_whole"], steps)
            if m in total_of
            else {"kind": "none"}
            for m in months
        ],
        "key": [
            f"{steps[n] * 100:g}–{steps[n + 1] * 100:g}%"
            for n in range(HEAT_STEPS)
            if not mature.is_empty() and steps[n] <= mature["rate"].max()
        ],
        "n_shown": len(rows),
        "n_cohorts": cells["n_cohorts"][0],
        "n_months": queries.MONTHS_SHOWN,
        "counts": [
            {
                "month": formatting.month(row["cohort_start_on"]),
                "after": row["period_number"],
                "active": formatting.count(row["n_active"]),
                "whole": formatting.count(row["n_whole"]),
                "rate": share(row["rate"]),
                "interval": _interval(row["rate_low"], row["rate_high"]),
            }
            for row in mature.iter_rows(named=True)
        ],
        "curve": curve,
        "second_order": second_order,
        "charts": curve.get("charts", {}) | second_order.get("charts", {}),
    }


def _return_curve(marts: Marts) -> Context:
    frame = queries.return_curve(marts)
    rows = [
        {
            "month": row["period_number"],
            "n_cohorts": formatting.count(row["n_cohorts"]),
            "active": formatting.count(row["n_active"]),
            "whole": formatting.count(row["n_whole"]),
            "rate": share(row["rate"]),
            "interval": _interval(row["rate_low"], row["rate_high"]),
        }
        for row in frame.iter_rows(named=True)
    ]
    definition = frame["definition"][0]
    return {
        "rows": rows,
        "definition": None if definition == "order_months" else words(definition),
        "first": rows[0],
        "last": rows[-1],
        "summary": "Line chart of the share of customers who came back, by months after the first; "
        + "; ".join(f"month {row['month']}: {row['rate']} ({row['interval']})" for row in rows)
        + ".",
        "charts": {"chart-return-curve": charts.return_curve(frame)},
    }


def _second_order(marts: Marts) -> Context:
    days = queries.second_order_curve(marts)
    summary = queries.second_order_summary(marts).row(0, named=True)
    last = min(summary["n_days_watched"], queries.SURVIVAL_DAYS_SHOWN)
    # The curve begins at nobody, and goes on as far as anybody was watched. A share of none or
    # of all has no interval, and takes none from the day before.
    ends = pl.DataFrame({"n_days": [0, last]}, schema={"n_days": pl.Int32})
    days = days.join(ends, on="n_days", how="full", coalesce=True).sort("n_days")
    added = pl.col("share").is_null()
    days = days.with_columns(
        pl.when(added).then(pl.col(name).shift(1)).otherwise(pl.col(name)).alias(name)
        for name in ("share_low", "share_high")
    ).with_columns(pl.col("share").forward_fill().fill_null(0.0))
    rows = []
    for day in queries.SURVIVAL_DAYS_TOLD:
        if day <= last:
            row = days.filter(pl.col("n_days") <= day).row(-1, named=True)
            rows.append(
                {
                    "days": day,
                    "share": share(row["share"]),
                    "interval": _interval(row["share_low"], row["share_high"]),
                }
            )
    return {
        "rows": rows,
        "n_customers": formatting.count(summary["n_customers"]),
        "n_back": formatting.count(summary["n_events"]),
        "last": last,
        "median": _median(summary),
        "has_median": summary["median_days"] is not None and summary["median_days"] <= last,
        "summary": "Line chart of the share of customers who have ordered again, by days since "
        "the first order; "
        + ("; ".join(f"day {row['days']}: {row['share']}" for row in rows) or "watched too shortly")
        + f". {_median(summary)}.",
        "charts": {"chart-second-order": charts.second_order(days, summary["median_days"])},
    }


def _interval(low: float | None, high: float | None) -> str:
    return formatting.NOT_KNOWN if low is None or high is None else f"{share(low)} to {share(high)}"


def _median(summary: Context) -> str:
    """Say after how long half of the customers have ordered again."""
    middle, low, high = (summary[f"median_days{end}"] for end in ("", "_low", "_high"))
    if middle is None:
        return "in the time watched so far, fewer than half of the customers have ordered again"
    if low is None:
        reach = ""
    elif high is None:
        reach = f" (95% interval: from {formatting.count(low)} days, with no upper end yet)"
    else:
        reach = f" (95% interval: {formatting.count(low)} to {formatting.count(high)} days)"
    return f"half of the customers have ordered again after {formatting.count(middle)} days{reach}"


def scoreboard(marts: Marts) -> Context:
    """What the business asks for, before and after a date, and whether it is more than noise."""
    frame = queries.scoreboard(marts)
    return {
        "compared_from": formatting.day(frame["compared_from"][0]),
        "figures": [_scored(row) for row in frame.iter_rows(named=True)],
    }


def _scored(row: Context) -> Context:
    is_share = row["unit"] == "share"
    value_of = {
        side: share(row[f"value_{side}"])
        if is_share
        else formatting.number(row[f"value_{side}"], 1)
        for side in ("before", "after")
    }
    times, unit = (100, " points") if is_share else (1, "")
    difference, low, high = (
        None if row[name] is None else row[name] * times
        for name in ("difference", "difference_low", "difference_high")
    )
    if difference is None:
        absent = "after" if row["value_after"] is None else "before"
        direction = "none"
        moved = f"Before: {value_of['before']}" if absent == "after" else "Before: not known"
        verdict = f"Not known yet: nothing can be said of the time {absent} the date."
    else:
        up = round(difference, 1)
        direction = "up" if up > 0 else "down" if up < 0 else "same"
        size = f"{abs(up):,.1f}{unit}"
        moved = (
            f"{direction.capitalize()} {size} from {value_of['before']}"
            if up
            else f"Unchanged from {value_of['before']}"
        )
        if low is None or high is None:
            verdict = "Too few weeks to tell it from noise."
        else:
            reach = f"{formatting.signed(low)} to {formatting.signed(high)}{unit}"
            verdict = (
                f"More than noise: the difference is {reach}."
                if row["is_more_than_noise"]
                else f"May be noise: the difference is {reach}."
            )
    return {
        "label": row["label"] or row["figure"],
        "value": value_of["after"],
        "direction": direction,
        "change": moved,
        "verdict": verdict,
        "explanation": row["explanation"] or "",
    }


def growth(marts: Marts, currency: str | None) -> Context:
    """Who was won and lost month by month, and why the last month's revenue changed."""
    customers = _section(_growth, marts)
    change = _section(_change, marts, currency)
    ahead = _section(_weeks_ahead, marts)
    return {
        "customers": customers,
        "change": change,
        "ahead": ahead,
        "charts": customers.get("charts", {}) | change.get("charts", {}) | ahead.get("charts", {}),
    }


def _weeks_ahead(marts: Marts) -> Context:
    frame = queries.weeks(marts)
    first = frame.row(0, named=True)
    if first["expected"] is None:
        return {"nothing": f"{first['status'] or 'nothing is forecast'}."}
    rows = [
        {
            "week": formatting.day(row["week_start_on"]),
            "expected": formatting.count(round(row["expected"])),
            "low": formatting.count(round(row["expected_low"])),
            "high": formatting.count(round(row["expected_high"])),
            "error": formatting.number(row["mean_absolute_error"], 1),
            "naive_error": formatting.number(row["naive_mean_absolute_error"], 1),
            "is_better": "yes" if row["is_better_than_naive"] else "no",
        }
        for row in frame.iter_rows(named=True)
    ]
    return {
        "rows": rows,
        "n_weeks": len(rows),
        "is_naive": first["model_name"] != "regression",
        "n_tests": formatting.count(first["n_tests"]),
        "coverage": share(first["coverage_rate"]),
        "summary": "Line chart of the orders expected per week: "
        + "; ".join(
            f"from {row['week']} {row['expected']} ({row['low']} to {row['high']})" for row in rows
        )
        + ".",
        "charts": {"chart-weeks": charts.weeks(frame)},
    }


def _growth(marts: Marts) -> Context:
    frame = queries.growth(marts).with_columns(
        month=pl.col("period_start_on").map_elements(formatting.month, return_dtype=pl.String)
    )
    rows = [
        {
            "month": row["month"],
            "active": formatting.count(row["n_active_customers"]),
            "new": formatting.count(row["n_new"]),
            "retained": formatting.count(row["n_retained"]),
            "resurrected": formatting.count(row["n_resurrected"]),
            "churned": formatting.count(row["n_churned"]),
            "quick_ratio": formatting.number(row["quick_ratio"], 2),
        }
        for row in frame.iter_rows(named=True)
    ]
    return {
        "rows": rows[::-1],
        "n_months": len(rows),
        "last": rows[-1],
        "summary": "Bar chart of customers won and lost per month; "
        + "; ".join(
            f"{row['month']}: {row['new']} new, {row['resurrected']} came back, "
            f"{row['churned']} left"
            for row in rows
        )
        + ".",
        "charts": {"chart-growth": charts.growth(frame.drop("period_start_on"))},
    }


# What each cause means, for readers who do not know the mart.
CAUSES = {
    "calendar": "the month is longer, or has more of the strong weekdays",
    "customers": "more or fewer of them bought",
    "mix": "others bought: new instead of known customers, or guests",
    "behaviour": "each bought more or fewer units",
    "price": "a unit brought more or less, also because other products were bought",
    "refunds": "more or less was paid back",
}


def _change(marts: Marts, currency: str | None) -> Context:
    frame = queries.revenue_change(marts)
    before, after = frame["value_before"][0], frame["value_after"][0]
    if frame["effect"].null_count() or before is None or after is None:
        raise NothingToShow("an exchange rate is missing in one of the two months.")
    month, previous = (
        formatting.month(frame[name][0]) for name in ("period_start_on", "previous_period_start_on")
    )
    digits = 0 if max(abs(before), abs(after)) >= 10_000 else 2
    steps = [
        {
            "name": previous,
            "start": before,
            "end": before,
            "kind": "whole",
            "text": formatting.money(before),
        }
    ]
    reached = before
    for cause, effect in frame.select("cause", "effect").iter_rows():
        steps.append(
            {
                "name": cause,
                "start": reached,
                "end": reached + effect,
                "kind": "more" if effect > 0 else "less" if effect < 0 else "none",
                "text": formatting.signed(effect, digits),
            }
        )
        reached += effect
    steps.append(
        {
            "name": month,
            "start": after,
            "end": after,
            "kind": "whole",
            "text": formatting.money(after),
        }
    )
    direction, moved = formatting.change(after, before, "money", currency)
    return {
        "month": month,
        "previous": previous,
        "before": formatting.money(before, currency),
        "after": formatting.money(after, currency),
        "moved": moved[:1].lower() + moved[1:] if direction != "none" else None,
        "currency": currency,
        "rows": [
            {
                "cause": cause,
                "meaning": CAUSES.get(cause, ""),
                "effect": formatting.signed(effect, 2),
            }
            for cause, effect in frame.select("cause", "effect").iter_rows()
        ],
        "difference": formatting.signed(after - before, 2),
        "summary": f"Waterfall chart of revenue from {previous}, {formatting.money(before)}, to "
        f"{month}, {formatting.money(after)}; "
        + ", ".join(f"{step['name']} {step['text']}" for step in steps[1:-1])
        + ".",
        "charts": {"chart-change": charts.waterfall(pl.DataFrame(steps))},
    }


def funnel(marts: Marts) -> Context:
    """How far they get on the way to an order."""
    frame = queries.funnel(marts)
    n_entered = frame["n_entered"][0]
    names: list[str] = []
    for step, event in frame.select("step", "event").iter_rows():
        name = words(event) if event else f"{step} of them"
        # The same event may stand in several steps.
        names.append(f"{name} ({step})" if name in names else name)
    # Whoever entered is at the first step: there is nothing to be unsure of.
    ends = [(None, None)] + [
        formatting.wilson(reached, n_entered) for reached in frame["n_reached"][1:]
    ]
    frame = frame.with_columns(
        name=pl.Series(names),
        share=pl.col("n_reached") / n_entered,
        share_low=pl.Series([low for low, _ in ends], dtype=pl.Float64),
        share_high=pl.Series([high for _, high in ends], dtype=pl.Float64),
        n_previous=pl.col("n_reached").shift(1),
    ).with_columns(text_at=pl.max_horizontal("share", "share_high"))
    rows = [
        {
            "name": row["name"],
            "n_reached": formatting.count(row["n_reached"]),
            "share": share(row["share"]),
            "interval": _interval(row["share_low"], row["share_high"]),
            "step_share": share(row["n_reached"] / row["n_previous"])
            if row["n_previous"]
            else formatting.NOT_KNOWN,
            "dropped": formatting.count(
                None if row["n_previous"] is None else row["n_previous"] - row["n_reached"]
            ),
            "median": formatting.duration(row["median_hours"]),
        }
        for row in frame.iter_rows(named=True)
    ]
    drops = frame.filter(pl.col("n_previous") > pl.col("n_reached")).with_columns(
        lost=1 - pl.col("n_reached") / pl.col("n_previous")
    )
    worst = drops.sort("lost", descending=True).row(0, named=True) if drops.height else None
    return {
        "rows": rows,
        "name": words(frame["funnel"][0]),
        "mode": frame["mode"][0],
        "from_month": formatting.month(frame["from_on"].min()),
        "until_month": formatting.month(frame["until_on"].max()),
        "n_entered": formatting.count(n_entered),
        "worst": None if worst is None else {"name": worst["name"], "lost": share(worst["lost"])},
        "summary": "Bar chart of the steps of a funnel; "
        + "; ".join(f"{row['name']}: {row['n_reached']}, {row['share']}" for row in rows)
        + ".",
        "charts": {
            "chart-funnel": charts.funnel(
                frame.select("name", "n_reached", "share", "share_low", "share_high", "text_at")
            )
        },
    }


def _cell(row: Context | None, steps: list[float]) -> Context:
    """One cell of the heat map: a rate, hatched because its month is not over, or none."""
    if row is None:
        return {"kind": "none"}
    if not row["is_mature"] or row["rate"] is None:
        return {"kind": "immature"}
    return _rate_cell(row["n_active"], row["n_whole"], steps)


def _rate_cell(n_active: int, n_whole: int, steps: list[float]) -> Context:
    rate = n_active / n_whole if n_whole else 0.0
    step = max(n for n in range(HEAT_STEPS) if n == 0 or rate >= steps[n])
    digits = 0 if rate >= 0.0995 or rate == 0 else 1
    return {
        "kind": "rate",
        "text": f"{rate:.{digits}%}",
        "step": step,
        "title": f"{n_active:,} of {n_whole:,} customers",
    }


def heat_steps(highest: float) -> list[float]:
    """Return the edges of the colours: HEAT_STEPS equal steps of a round size up to `highest`.

    >>> [round(edge, 2) for edge in heat_steps(.366)]
    [0.0, 0.08, 0.16, 0.24, 0.32, 0.4, 0.48]
    """
    least = max(highest / HEAT_STEPS, 0.001)
    power = 10.0 ** math.floor(math.log10(least))
    width = next(
        n * power for n in (1, 2, 3, 4, 5, 6, 8, 10, 20) if n * power >= least * (1 - 1e-9)
    )
    return [round(width * n, 6) for n in range(HEAT_STEPS + 1)]


def segments(marts: Marts, currency: str | None) -> Context:
    """RFM segments: how many customers each has and what they bring."""
    frame = queries.rfm_segments(marts)
    rows = [
        {
            "segment": row["segment"],
            "n_customers": formatting.count(row["n_customers"]),
            "customer_share": share(row["customer_share"]),
            "revenue": formatting.money(row["revenue"]),
            "revenue_share": share(row["revenue_share"]),
            "recency_days": formatting.count(row["recency_days"]),
            "n_orders": formatting.number(row["n_orders"], 1),
        }
        for row in frame.iter_rows(named=True)
    ]
    return {
        "rows": rows,
        "n_customers": formatting.count(frame["n_customers"].sum()),
        "revenue": formatting.money(frame["revenue"].sum(), currency),
        "currency": currency,
        "summary": "Bar chart of customer segments. "
        + "; ".join(
            f"{row['segment']}: {row['customer_share']} of customers, "
            f"{row['revenue_share']} of revenue"
            for row in rows
        )
        + ".",
        "map": _section(_segment_map, marts),
        "moves": _section(_segment_moves, marts),
        "clusters": _section(_clusters, marts),
        "charts": {"chart-segments": charts.rfm(frame)},
    }


def _segment_map(marts: Marts) -> Context:
    frame = queries.rfm_cells(marts)
    cells = {
        (row["recency_score"], row["frequency_score"]): row for row in frame.iter_rows(named=True)
    }
    n_all = frame["n_customers"].sum()
    steps = heat_steps(frame["n_customers"].max() / n_all)

    def cell(row: Context | None) -> Context | None:
        if row is None:
            return None
        return {
            "step": sum(row["n_customers"] / n_all >= bound for bound in steps[1:HEAT_STEPS]),
            "n_customers": formatting.count(row["n_customers"]),
            "segment": row["segment"],
        }

    return {
        "rows": [
            {
                "frequency": frequency,
                "cells": [cell(cells.get((recency, frequency))) for recency in range(1, 6)],
            }
            for frequency in range(5, 0, -1)
            # Where many bought as often, not every score is in use.
            if any(score == frequency for _, score in cells)
        ]
    }


# So many of the segments that customers went to are named.
MOVES_SHOWN = 3


def _segment_moves(marts: Marts) -> Context:
    frame = queries.segment_moves(marts)
    segments_now = set(frame["to_segment"])
    rows = []
    for (segment,), moves in frame.group_by("from_segment", maintain_order=True):
        stayed = moves.filter(pl.col("to_segment") == segment)["share_of_segment"].sum()
        elsewhere = moves.filter(pl.col("to_segment") != segment).head(MOVES_SHOWN)
        rows.append(
            {
                "segment": segment,
                "n": moves["n_customers"].sum(),
                "n_customers": formatting.count(moves["n_customers"].sum()),
                # Nobody stays what nobody is.
                "stayed": share(stayed) if segment in segments_now else "–",
                "to": [
                    f"{row['to_segment']} {share(row['share_of_segment'])}"
                    for row in elsewhere.iter_rows(named=True)
                ],
            }
        )
    return {
        "rows": sorted(rows, key=lambda row: (-row["n"], row["segment"])),
        "from_on": formatting.day(frame["from_on"][0]),
        "to_on": formatting.day(frame["to_on"][0]),
    }


def _clusters(marts: Marts) -> Context:
    return {
        "rows": [
            {
                "cluster": row["cluster"],
                "n_customers": formatting.count(row["n_customers"]),
                "customer_share": share(row["customer_share"]),
                "revenue": formatting.money(row["revenue_amount"]),
                "revenue_share": share(row["revenue_share"]),
                "recency_days": formatting.count(row["median_recency_days"]),
                "n_orders": formatting.number(row["median_frequency"], 1),
                "each": formatting.money(row["median_monetary_amount"]),
            }
            for row in queries.clusters(marts).iter_rows(named=True)
        ]
    }


def churn(marts: Marts) -> Context:
    """The champion's deciles and calibration, why customers are at risk, and all candidates."""
    frame = queries.churn_candidates(marts)
    context: Context = {
        "candidates": [_candidate(row) for row in frame.iter_rows(named=True)],
        "horizon_days": frame["horizon_days"][0],
        "test": None,
        "groups": None,
        "themes": None,
        "charts": {},
    }
    champion = frame.row(0, named=True)
    if not champion["is_champion"]:
        reasons = sorted({row["status"] or "no status" for row in frame.iter_rows(named=True)})
        context["test"] = {
            "nothing": f"no churn model was good enough to use: {'; '.join(reasons)}."
        }
    else:
        context["test"] = _section(_churn_test, marts, champion)
        context["groups"] = _section(_churn_groups, marts, champion)
        context["themes"] = _section(_churn_themes, marts, champion)
        context["charts"] = context["test"].get("charts", {})
    context["risk"] = _section(_churn_risk, marts)
    return context


def value(marts: Marts, currency: str | None) -> Context:
    """What is expected of customers, whether it came last time, and whom it is worth to keep."""
    totals = queries.value_totals(marts).row(0, named=True)
    matrix = _section(_risk_by_value, marts)
    models = _section(_value_models, marts)
    calibration = _section(_value_calibration, marts, currency)
    season = _section(_season, marts)
    return {
        "currency": currency,
        "n_customers": formatting.count(totals["n_customers"]),
        "model": words(totals["model_name"]) if totals["model_name"] else None,
        "why_not": totals["status"].removeprefix("abstained: ")
        if totals["status"] != "forecast"
        else None,
        "purchases_90d": formatting.count(totals["expected_purchases_90d"]),
        "amount_90d": formatting.money(totals["expected_amount_90d"], currency),
        "amount_365d": formatting.money(totals["expected_amount_365d"], currency),
        "matrix": matrix,
        "models": models,
        "calibration": calibration,
        "season": season,
        "charts": calibration.get("charts", {}) | season.get("charts", {}),
    }


RISKS = ("high", "middle", "low")


def _risk_by_value(marts: Marts) -> Context:
    frame = queries.risk_by_value(marts)
    cells = {(row["risk"], row["value_quarter"]): row for row in frame.iter_rows(named=True)}
    steps = heat_steps(frame["n_customers"].max() / frame["n_customers"].sum())
    n_scored = frame["n_customers"].sum()

    def cell(row: Context | None) -> Context | None:
        if row is None:
            return None
        step = sum(row["n_customers"] / n_scored >= bound for bound in steps[1:HEAT_STEPS])
        expected = row["expected_amount_365d"]
        return {
            "step": step,
            "n_customers": formatting.count(row["n_customers"]),
            "historical": formatting.money(row["historical_amount"]),
            "expected": None if expected is None else formatting.money(expected),
        }

    return {
        "horizon_days": frame["horizon_days"][0],
        "rows": [
            {"risk": risk, "cells": [cell(cells.get((risk, n))) for n in (4, 3, 2, 1)]}
            for risk in RISKS
        ],
    }


def _value_models(marts: Marts) -> Context:
    return {
        "rows": [
            {
                "name": words(row["model_name"]),
                "is_chosen": row["is_chosen"],
                "status": "in use" if row["is_chosen"] else row["status"],
                "n_customers": formatting.count(row["n_customers"]),
                "n_repeat_customers": formatting.count(row["n_repeat_customers"]),
                "bic": formatting.number(row["bic"], 1),
                "holdout_log_score": formatting.number(row["holdout_log_score"], 4),
            }
            for row in queries.value_models(marts).iter_rows(named=True)
        ]
    }


def _value_calibration(marts: Marts, currency: str | None) -> Context:
    frame = queries.value_calibration(marts)
    has_amounts = frame["expected_amount"].null_count() + frame["amount"].null_count() == 0
    what, expected, came = (
        ("revenue", "expected_amount", "amount")
        if has_amounts
        else ("purchases", "expected_purchases", "n_purchases")
    )
    frame = frame.with_columns(
        expected=pl.col(expected).cast(pl.Float64), came=pl.col(came).cast(pl.Float64)
    )

    def said(amount: float) -> str:
        return formatting.money(amount) if has_amounts else formatting.count(amount)

    rows = [
        {
            "cohort": "all"
            if row["grouped_by"] == "all"
            else formatting.month(date.fromisoformat(row["group_value"])),
            "n_customers": formatting.count(row["n_customers"]),
            "expected_purchases": formatting.number(row["expected_purchases"], 1),
            "n_purchases": formatting.count(row["n_purchases"]),
            "expected": said(row["expected"]),
            "came": said(row["came"]),
            "purchases_coverage": share(row["purchases_coverage_rate"]),
        }
        for row in frame.iter_rows(named=True)
    ]
    cohorts = frame.filter(pl.col("grouped_by") == "cohort")
    return {
        "what": what,
        "currency": currency if has_amounts else None,
        "horizon_days": frame["horizon_days"][0],
        "all": rows[0],
        "rows": rows[1:],
        "summary": f"Bar chart of expected against actual {what} by month of the first order; "
        + ", ".join(
            f"{row['cohort']}: {row['expected']} expected, {row['came']} came" for row in rows[1:]
        )
        + ".",
        "charts": {"chart-value": charts.value_by_cohort(cohorts)},
    }


def _season(marts: Marts) -> Context:
    frame = queries.seasons(marts).with_columns(
        month=pl.date(2024, "month_number", 1).dt.strftime("%B")
    )
    busiest, quietest = (
        frame.sort("season_index", descending=largest).row(0, named=True)
        for largest in (True, False)
    )
    return {
        "is_used": frame["is_used"][0],
        "busiest": busiest["month"],
        "busiest_index": formatting.number(busiest["season_index"], 2),
        "quietest": quietest["month"],
        "quietest_index": formatting.number(quietest["season_index"], 2),
        "summary": "Bar chart of how many times as often customers buy again in each month; "
        + ", ".join(
            f"{row['month']}: {formatting.number(row['season_index'], 2)}"
            for row in frame.iter_rows(named=True)
        )
        + ".",
        "charts": {"chart-season": charts.seasons(frame)},
    }


def _candidate(row: Context) -> Context:
    return {
        "name": words(row["model_name"]),
        "is_champion": row["is_champion"],
        "status": "in use" if row["is_champion"] else row["status"] or "no status",
        "trained_until_on": formatting.day(row["trained_until_on"]),
        "tested_on": formatting.day(row["tested_on"]),
        "n_customers": formatting.count(row["n_customers"]),
        "roc_auc": formatting.number(row["roc_auc"], 3),
        "brier_score": formatting.number(row["brier_score"], 3),
        "log_loss": formatting.number(row["log_loss"], 3),
        "calibration_error": formatting.number(row["calibration_error"], 3),
        "top_decile_lift": formatting.number(row["top_decile_lift"], 2),
    }


def _churn_themes(marts: Marts, champion: Context) -> Context:
    return {
        "rows": [
            {
                "theme": row["theme"],
                "auc_drop": formatting.number(row["auc_drop"], 3),
                "interval": _interval_of(row["auc_drop_low"], row["auc_drop_high"], 3),
            }
            for row in queries.churn_themes(marts, champion["horizon_days"]).iter_rows(named=True)
        ]
    }


def _interval_of(low: float | None, high: float | None, digits: int) -> str:
    if low is None or high is None:
        return "–"
    return f"{formatting.number(low, digits)} to {formatting.number(high, digits)}"


def _churn_groups(marts: Marts, champion: Context) -> Context:
    def said(row: Context, metric: str, digits: int = 2) -> str:
        ends = (row[f"{metric}_low"], row[f"{metric}_high"])
        value = formatting.number(row[metric], digits)
        low, high = (formatting.number(end, digits) for end in ends)
        return value if None in ends else f"{value} ({low} to {high})"

    return {
        "rows": [
            {
                "group": "all customers"
                if row["group_type"] == "all"
                else f"{row['group_type']}: {row['group_value']}",
                "n_customers": formatting.count(row["n_customers"]),
                "n_churned": formatting.count(row["n_churned"]),
                "roc_auc": said(row, "roc_auc"),
                "recall": said(row, "recall"),
                "false_alarm_rate": said(row, "false_alarm_rate"),
            }
            for row in queries.churn_groups(
                marts, champion["model_name"], champion["horizon_days"]
            ).iter_rows(named=True)
        ]
    }


def _churn_test(marts: Marts, champion: Context) -> Context:
    deciles = queries.churn_deciles(marts, champion["model_name"], champion["horizon_days"])
    rate = deciles["n_churned"].sum() / max(deciles["n_customers"].sum(), 1)
    rows = [
        {
            "decile": row["risk_decile"],
            "n_customers": formatting.count(row["n_customers"]),
            "n_churned": formatting.count(row["n_churned"]),
            "predicted": share(row["mean_probability"]),
            "observed": share(row["churn_rate"]),
            "interval": f"{share(row['churn_rate_low'])} to {share(row['churn_rate_high'])}",
            "lift": formatting.number(row["lift"], 2),
            "gain": share(row["cumulative_gain"]),
        }
        for row in deciles.iter_rows(named=True)
    ]
    by_decile = ", ".join(
        f"decile {row['decile']}: {row['observed']} observed, {row['predicted']} predicted"
        for row in rows
    )
    return {
        "rows": rows,
        "model": words(champion["model_name"]),
        "tested_on": formatting.day(champion["tested_on"]),
        "n_customers": formatting.count(deciles["n_customers"].sum()),
        "n_churned": formatting.count(deciles["n_churned"].sum()),
        "rate": share(rate),
        "calibration_error": share(champion["calibration_error"]),
        "first": rows[0],
        "summary_deciles": f"Bar chart of churn by risk decile; {share(rate)} on average; "
        f"{by_decile}.",
        "summary_calibration": "Dot chart of observed against predicted churn, with a diagonal "
        f"on which both are equal; {by_decile}.",
        "charts": {
            "chart-deciles": charts.churn_deciles(deciles, rate),
            "chart-calibration": charts.churn_calibration(deciles),
        },
    }


def _churn_risk(marts: Marts) -> Context:
    frame = queries.churn_reasons(marts)
    n_at_risk = frame["n_at_risk"][0]
    return {
        "n_at_risk": formatting.count(n_at_risk),
        "rows": [
            {
                "reason": _reason(row["said"], row["middle"]),
                "n_customers": formatting.count(row["n_customers"]),
                "share": share(row["n_customers"] / n_at_risk),
                "width": round(100 * row["n_customers"] / n_at_risk, 1),
            }
            for row in frame.iter_rows(named=True)
        ],
    }


def _reason(said: str, middle: float | None) -> str:
    """Put the typical number back into a reason."""
    if middle is None:
        return said
    digits = 0 if middle >= 10 or middle == round(middle) else 1
    return said.replace("…", f"{middle:,.{digits}f}", 1)


def pairs(marts: Marts) -> Context:
    """Products that are bought together, in one order and by one customer."""
    by_order = _section(_pairs_of, marts, "order")
    by_customer = _section(_pairs_of, marts, "customer")
    if "nothing" in by_order and "nothing" in by_customer:
        return by_order
    map_of_links = _section(_item_map, marts)
    return {
        "by_order": by_order,
        "by_customer": by_customer,
        "map": map_of_links,
        "charts": map_of_links.pop("charts", {}),
    }


def _item_map(marts: Marts) -> Context:
    """Products that go together as a drawing: a list of them, and an arc from one to the other."""
    links = queries.item_map(marts)
    graph = nx.Graph()
    for row in links.iter_rows(named=True):
        for end in ("a", "b"):
            graph.add_node(row[f"product_{end}"], name=row[f"name_{end}"], n=row[f"n_{end}"])
        graph.add_edge(row["product_a"], row["product_b"])
    rows = _rows_of(graph)
    n_of = Counter(name for _, name in graph.nodes(data="name"))

    def label(key: str) -> str:
        name = graph.nodes[key]["name"]
        if n_of[name] == 1:
            return _cut(name, 34)
        # Of products with the same name the id tells which.
        return f"{_cut(name, 20)} {_cut(key, 13)}"

    nodes = pl.DataFrame([
        {
            "name": graph.nodes[key]["name"],
            "label": label(key),
            "n": graph.nodes[key]["n"],
            "partners": ", ".join(sorted(graph.nodes[other]["name"] for other in graph[key])),
            "row": row,
        }
        for key, row in rows.items()
    ])  # fmt: skip
    arcs = pl.DataFrame([
        {
            "names": f"{row['name_a']}, {row['name_b']}",
            "n_both": row["n_both"],
            "lift": row["lift"],
            "first": min(rows[row["product_a"]], rows[row["product_b"]]),
            "last": max(rows[row["product_a"]], rows[row["product_b"]]),
        }
        for row in links.iter_rows(named=True)
    ])  # fmt: skip
    return {
        "n_links": links.height,
        "n_products": nodes.height,
        "summary": f"Map of {nodes.height} products and {links.height} links between those that go "
        "together; the surest: " + "; ".join(arcs["names"].head(5)) + ".",
        "charts": {"chart-map": charts.item_map(nodes, arcs)},
    }


def _cut(text: str, n: int) -> str:
    """Return a text of at most n signs; a name may be one long word."""
    return text if len(text) <= n else text[: n - 1].rstrip() + "…"


def _rows_of(graph: nx.Graph) -> dict[str, int]:
    """Return in which line each product stands, from 0: group by group, the largest first.

    From one to the next are two lines, between groups a third. Within a group linked products stand
    near each other (reverse Cuthill and McKee 1969).
    """
    rows: dict[str, int] = {}
    free = 0
    for keys in sorted(nx.connected_components(graph), key=lambda keys: (-len(keys), min(keys))):
        part = nx.Graph()
        part.add_nodes_from(sorted(keys))
        part.add_edges_from(sorted(tuple(sorted(edge)) for edge in graph.subgraph(keys).edges))
        for key in nx.utils.reverse_cuthill_mckee_ordering(part):
            rows[key] = free
            free += 2
        free += 1
    return rows


def _pairs_of(marts: Marts, basis: str) -> Context:
    frame = queries.item_pairs(marts, basis)
    ids_of: dict[str, set[str]] = {}
    for end in ("a", "b"):
        for name, product_id in frame.select(f"name_{end}", f"product_{end}").iter_rows():
            ids_of.setdefault(name, set()).add(product_id)
    return {
        "n_baskets": formatting.count(frame["n_baskets"][0]),
        "rows": [
            {
                "n_both": formatting.count(row["n_both"]),
                "lift": formatting.number(row["lift"], 1),
                "products": [
                    {
                        "name": row[f"name_{end}"],
                        # Two products of one name are told apart by their ids.
                        "id": row[f"product_{end}"] if len(ids_of[row[f"name_{end}"]]) > 1 else "",
                        "n": formatting.count(row[f"n_{end}"]),
                        "share": f"{row[f'confidence_{end}']:.0%}",
                        "width": round(100 * row[f"confidence_{end}"], 1),
                    }
                    for end in ("a", "b")
                ],
            }
            for row in frame.iter_rows(named=True)
        ],
    }


def recommendations(marts: Marts) -> Context:
    """How good each way to recommend is, and some customers' lists."""
    frame = queries.recommenders(marts)
    best = frame.row(0, named=True)
    context: Context = {
        "examples": _section(_recommendation_examples, marts),
        "chosen": words(best["recommender"]),
    }
    if best["ndcg"] is None:
        return context | {"why_not": best["status"].removeprefix("abstained: ")}
    frame = frame.drop_nulls("ndcg").with_columns(
        name=pl.col("recommender").str.replace_all("_", " ", literal=True)
    )
    low, high = best["gain_over_popular_low"], best["gain_over_popular_high"]
    return context | {
        "n_customers": formatting.count(best["n_customers"]),
        "ndcg": formatting.number(best["ndcg"], 3),
        "gain": formatting.number(best["gain_over_popular"], 3),
        "gain_interval": f"{formatting.number(low, 3)} to {formatting.number(high, 3)}",
        "is_popular": best["recommender"] == "popular",
        "is_better": best["is_better_than_popular"],
        "summary": "Bar chart of the NDCG of each way to recommend; "
        + ", ".join(
            f"{row['name']}: {formatting.number(row['ndcg'], 3)}"
            for row in frame.iter_rows(named=True)
        )
        + ".",
        "charts": {"chart-recommenders": charts.recommenders(frame)},
    }


def _recommendation_examples(marts: Marts) -> Context:
    frame = queries.recommendation_examples(marts)
    return {
        "customers": [
            part.select("product", "explanation").to_dicts()
            for part in frame.partition_by("customer_id", maintain_order=True)
        ]
    }


def quality(marts: Marts) -> Context:
    """What became of the raw rows."""
    frame = queries.data_quality(marts)
    refused = (
        frame.filter(pl.col("outcome") != "staged")
        .with_columns(share=pl.col("n_rows") / pl.col("n_rows_in"))
        .sort(["n_rows", "table_name", "outcome"], descending=[True, False, False])
        .with_columns(share_text=pl.col("share").map_elements(share, return_dtype=pl.String))
        .with_columns(
            rows_text=pl.col("n_rows").map_elements(formatting.count, return_dtype=pl.String)
            + " ("
            + pl.col("share_text")
            + ")"
        )
    )
    n_in, n_refused = frame["n_rows"].sum(), refused["n_rows"].sum()
    tables = []
    for (name,), rows in frame.group_by("table_name", maintain_order=True):
        staged = rows.filter(pl.col("outcome") == "staged")["n_rows"].sum()
        whole = rows["n_rows_in"][0]
        tables.append(
            {
                "name": name,
                "n_in": formatting.count(whole),
                "staged": formatting.count(staged),
                "refused": formatting.count(whole - staged),
                "refused_share": share((whole - staged) / whole),
                "reasons": ", ".join(
                    f"{reason} {formatting.count(n)}"
                    for reason, n in rows.filter(pl.col("outcome") != "staged")
                    .select("outcome", "n_rows")
                    .iter_rows()
                )
                or "none",
            }
        )
    return {
        "tables": tables,
        "n_in": formatting.count(n_in),
        "n_staged": formatting.count(n_in - n_refused),
        "n_refused": formatting.count(n_refused),
        "refused_share": share(n_refused / n_in),
        "any_refused": bool(n_refused),
        "summary": "Bar chart of refused rows. "
        + "; ".join(
            f"{row['table_name']}, {row['outcome']}: {row['rows_text']}"
            for row in refused.iter_rows(named=True)
        )
        + ".",
        "charts": {"chart-quality": charts.quarantine(refused)} if n_refused else {},
    }


def health(marts: Marts) -> Context:
    """Whether the data came as usual, and what the last build took."""
    checks = queries.data_checks(marts)
    alerts = checks.filter("is_alert")
    feeds = _section(_feeds, marts)
    return {
        "n_checks": formatting.count(checks.height),
        "n_alerts": alerts.height,
        "alerts": [
            {
                "severity": row["severity"],
                "check": row["check_name"],
                "table": words(row["table_name"]),
                "sentence": sentence(
                    row["check_name"],
                    words(row["subject"]),
                    row["span_days"],
                    row["checked_on"],
                    row["value"],
                    row["expected_value"],
                    row["threshold"],
                ),
            }
            for row in alerts.iter_rows(named=True)
        ],
        "feeds": feeds,
        "freshness": _section(_freshness, marts),
        "drift": _section(_drift, marts),
        "build": _section(_last_build, marts),
        "charts": feeds.get("charts", {}),
    }


def _feeds(marts: Marts) -> Context:
    frame = queries.feed_volumes(marts)
    tables, specs = [], {}
    for (name,), days in frame.group_by("table_name", maintain_order=True):
        chart = f"chart-feed-{name.replace('_', '-')}"
        specs[chart] = charts.feed(days)
        odd = days.filter("is_anomaly")["day_on"].to_list()
        tables.append(
            {
                "name": words(name),
                "chart": chart,
                "summary": f"Line chart of the rows of {words(name)} per day, from "
                f"{formatting.day(days['day_on'][0])} to {formatting.day(days['day_on'][-1])}; "
                + (
                    f"outside the expected band on {', '.join(map(formatting.day, odd))}."
                    if odd
                    else "never outside the expected band."
                ),
            }
        )
    return {"tables": tables, "n_days": queries.FEED_DAYS_SHOWN, "charts": specs}


def _freshness(marts: Marts) -> Context:
    return {
        "rows": [
            {
                "table": words(row["table_name"]),
                "last_on": formatting.day(row["last_on"]),
                "silent": formatting.count(row["silent_days"]),
                "usual": formatting.count(row["usual_silent_days"]),
                "allowed": formatting.count(row["allowed_silent_days"]),
                "status": _verdict(row["is_judged"], row["is_stale"], "silent for too long"),
            }
            for row in queries.feed_freshness(marts).iter_rows(named=True)
        ]
    }


def _drift(marts: Marts) -> Context:
    return {
        "rows": [
            {
                "feature": words(row["feature"]),
                "n_today": formatting.count(row["n_today"]),
                "psi": formatting.number(row["psi"], 3),
                "by_chance": formatting.number(row["psi_by_chance"], 3),
                "usual": formatting.number(row["usual_psi"], 3),
                "status": _verdict(row["is_judged"], row["is_drifted"], "drifted"),
            }
            for row in queries.feature_drift(marts).iter_rows(named=True)
        ]
    }


def _verdict(is_judged: bool, is_bad: bool, bad: str) -> str:
    return bad if is_bad else "as usual" if is_judged else "not judged"


def _last_build(marts: Marts) -> Context:
    frame = queries.slowest_models(marts)
    return {
        "started_at": formatting.moment(str(frame["started_at"][0])[:16]),
        "status": frame["status"][0],
        "n_models": formatting.count(frame["n_models"][0]),
        "seconds": formatting.count(frame["total_seconds"][0]),
        "rows": [
            {
                "model": row["node"],
                "seconds": formatting.number(row["seconds"], 1),
                "made": row["made"] or "not made",
                "n_rows": formatting.count(row["n_rows"]),
                "n_changed": formatting.count(row["n_changed_keys"]),
            }
            for row in frame.iter_rows(named=True)
        ],
    }


def words(name: str | None) -> str:
    """logistic_regression -> logistic regression."""
    return (name or "unnamed").replace("_", " ")


def _section(make: Callable[..., Context], *arguments: Any) -> Context:
    """Make a section, or say why there is nothing in it."""
    try:
        return make(*arguments)
    except NothingToShow as nothing:
        return {"nothing": str(nothing)}


def _json_in_html(value: Any) -> Markup:
    """JSON that no product name can break out of a <script> with."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@functools.cache
def _vega() -> str:
    """The JavaScript that draws the charts, once for all of them."""
    return vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;").replace(
        "</script", "<\\/script"
    )
