"""The page: sections made of what the marts answer, put together by a Jinja template."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
        "cohorts": _section(cohorts, marts),
        "segments": _section(segments, marts, currency),
        "churn": _section(churn, marts),
        "pairs": _section(pairs, marts),
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
                "interval": f"{share(row['rate_low'])} to {share(row['rate_high'])}",
            }
            for row in mature.iter_rows(named=True)
        ],
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
        "charts": {"chart-segments": charts.rfm(frame)},
    }


def churn(marts: Marts) -> Context:
    """The champion's deciles and calibration, why customers are at risk, and all candidates."""
    frame = queries.churn_candidates(marts)
    context: Context = {
        "candidates": [_candidate(row) for row in frame.iter_rows(named=True)],
        "horizon_days": frame["horizon_days"][0],
        "test": None,
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
        context["charts"] = context["test"].get("charts", {})
    context["risk"] = _section(_churn_risk, marts)
    return context


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


def _churn_test(marts: Marts, champion: Context) -> Context:
    deciles = queries.churn_deciles(marts, champion["model_name"])
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
    return {"by_order": by_order, "by_customer": by_customer}


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
