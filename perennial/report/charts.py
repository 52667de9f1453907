"""The charts, as Vega-Lite specifications made with Altair.

Colours are the custom properties of report.css: the browser resolves `var(--…)` in the drawn
SVG, so that a change between light and dark needs no second drawing.
"""

from __future__ import annotations

import json
import math
from typing import Any

import altair as alt
import polars as pl

Spec = dict[str, Any]

# Of the map: so many pixels high is a line, so many pieces has an arc, so many lines reach arcs.
LINE_HEIGHT, ARC_STEPS, LEAST_REACH = 8.5, 16, 8.0

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial'

THEME = {
    "background": None,
    "font": FONT,
    "padding": {"left": 0, "right": 4, "top": 4, "bottom": 4},
    "view": {"stroke": None},
    "axis": {
        "domain": False,
        "ticks": False,
        "gridColor": "var(--grid)",
        "labelColor": "var(--ink-soft)",
        "titleColor": "var(--ink-soft)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelPadding": 6,
        "titlePadding": 10,
    },
}

# How each kind of mark looks.
STYLES = {
    "first": {"fill": "var(--first)"},
    # An outline beside a solid bar: told apart without any colour.
    "second": {"fill": "var(--second-fill)", "stroke": "var(--second)", "strokeWidth": 1.5},
    # What goes, below zero.
    "lost": {"fill": "var(--track)", "stroke": "var(--ink-soft)", "strokeWidth": 1},
    "whole": {"fill": "var(--ink)", "thickness": 4, "opacity": 1},
    "net": {"stroke": "var(--ink)", "strokeWidth": 1.75},
    "zero": {"stroke": "var(--ink-soft)", "strokeWidth": 1},
    "interval": {"stroke": "var(--ink)", "strokeWidth": 1.5},
    # Under an interval, so that it shows on a bar of any colour.
    "halo": {"stroke": "var(--surface)", "strokeWidth": 4.5},
    "predicted": {
        "fill": "var(--surface)",
        "stroke": "var(--second)",
        "strokeWidth": 2.5,
        "shape": "diamond",
        "size": 90,
        "opacity": 1,
    },
    "observed": {"fill": "var(--first)", "stroke": "var(--surface)", "size": 80, "opacity": 1},
    "reference": {"stroke": "var(--ink-soft)", "strokeWidth": 1.5, "strokeDash": [5, 4]},
    "band": {"fill": "var(--first)", "fillOpacity": 0.15},
    "line": {"stroke": "var(--first)", "strokeWidth": 1.75},
    "anomaly": {
        "fill": "var(--second-fill)",
        "stroke": "var(--second)",
        "strokeWidth": 2,
        "size": 70,
        "opacity": 1,
    },
    "number": {"fill": "var(--ink)", "fontSize": 12},
    "small": {"fill": "var(--ink)", "fontSize": 11},
}


def _finish(chart: alt.LayerChart, height: int) -> Spec:
    """Give a chart its size and return its specification, with the data inside."""
    with alt.data_transformers.enable("default", consolidate_datasets=False, max_rows=None):
        spec = chart.properties(width="container", height=height).to_dict()
    # The page has its own theme; the schema's address would be the only one on the page.
    del spec["$schema"], spec["config"]
    return spec | {"autosize": {"type": "fit-x", "contains": "padding"}}


def return_curve(months: pl.DataFrame) -> Spec:
    """Share of all cohorts together that ordered in the n-th month after, with its band."""
    last = months["period_number"].max()
    base = alt.Chart(months).encode(
        x=alt.X(
            "period_number:Q",
            title="Months after the first",
            scale=alt.Scale(domain=[1, max(last, 2)], nice=False),
            axis=alt.Axis(format="d", tickCount=min(last, 8), tickMinStep=1, grid=False),
        ),
        tooltip=[
            alt.Tooltip("period_number:Q", title="Month after"),
            alt.Tooltip("rate:Q", title="Came back", format=".1%"),
            alt.Tooltip("rate_low:Q", title="Band from", format=".1%"),
            alt.Tooltip("rate_high:Q", title="Band to", format=".1%"),
            alt.Tooltip("n_whole:Q", title="Of customers", format=","),
        ],
    )
    band = base.mark_area(**STYLES["band"]).encode(
        y=_share_axis("rate_low", months["rate_high"].max()), y2="rate_high:Q"
    )
    line = base.mark_line(**STYLES["line"]).encode(y="rate:Q")
    layers = [band, line]
    # A single month has no line.
    if months.height == 1:
        halo, interval = (
            base.mark_rule(**STYLES[style]).encode(y="rate_low:Q", y2="rate_high:Q")
            for style in ("halo", "interval")
        )
        layers += [halo, interval, base.mark_circle(**STYLES["observed"]).encode(y="rate:Q")]
    return _finish(alt.layer(*layers), 260)


def second_order(days: pl.DataFrame, median_days: int | None) -> Spec:
    """Share of the customers who have ordered again, by days since the first order."""
    base = alt.Chart(days).encode(
        x=alt.X(
            "n_days:Q",
            title="Days since the first order",
            scale=alt.Scale(domain=[0, max(days["n_days"].max(), 1)], nice=False),
            axis=alt.Axis(format="d", tickCount=6, tickMinStep=1, grid=False),
        ),
        tooltip=[
            alt.Tooltip("n_days:Q", title="Days"),
            alt.Tooltip("share:Q", title="Have ordered again", format=".1%"),
            alt.Tooltip("share_low:Q", title="Band from", format=".1%"),
            alt.Tooltip("share_high:Q", title="Band to", format=".1%"),
            alt.Tooltip("n_at_risk:Q", title="Watched and not back before", format=","),
        ],
    )
    highest = max(days["share"].max(), days["share_high"].max() or 0.0)
    band = (
        base.transform_filter("isValid(datum.share_low) && isValid(datum.share_high)")
        .mark_area(**STYLES["band"], interpolate="step-after")
        .encode(y=_share_axis("share_low", highest), y2="share_high:Q")
    )
    line = base.mark_line(**STYLES["line"], interpolate="step-after").encode(y="share:Q")
    layers = [band, line]
    if median_days is not None and median_days <= days["n_days"].max():
        half = alt.Chart(pl.DataFrame({"n_days": [median_days], "half": [0.5], "zero": [0.0]}))
        layers.append(
            half.mark_rule(**STYLES["reference"]).encode(x="n_days:Q", y="zero:Q", y2="half:Q")
        )
    return _finish(alt.layer(*layers), 260)


def growth(months: pl.DataFrame) -> Spec:
    """Customers won above zero, lost below it, and what is left of both."""
    months = months.with_columns(
        lost=-pl.col("n_churned"),
        won=pl.col("n_new") + pl.col("n_resurrected"),
        net=pl.col("n_new") + pl.col("n_resurrected") - pl.col("n_churned"),
    )
    base = alt.Chart(months).encode(
        x=alt.X(
            "month:N",
            sort=None,
            title=None,
            scale=alt.Scale(paddingInner=0.25, paddingOuter=0.1),
            axis=alt.Axis(labelAngle=0, labelOverlap="parity"),
        ),
        tooltip=[
            alt.Tooltip("month:N", title="Month"),
            alt.Tooltip("n_new:Q", title="New", format=","),
            alt.Tooltip("n_resurrected:Q", title="Came back", format=","),
            alt.Tooltip("n_churned:Q", title="Left", format=","),
            alt.Tooltip("n_retained:Q", title="Stayed", format=","),
            alt.Tooltip("net:Q", title="Net", format="+,"),
        ],
    )
    y = alt.Y("n_new:Q", title=None, axis=alt.Axis(format=",.0f", tickCount=5))
    new = base.mark_bar(**STYLES["first"]).encode(y=y)
    back = base.mark_bar(**STYLES["second"]).encode(y="n_new:Q", y2="won:Q")
    lost = base.mark_bar(**STYLES["lost"]).encode(y="lost:Q")
    zero = alt.Chart(pl.DataFrame({"zero": [0]})).mark_rule(**STYLES["zero"]).encode(y="zero:Q")
    net = base.mark_line(**STYLES["net"]).encode(y="net:Q")
    return _finish(alt.layer(new, back, lost, zero, net), 280)


def waterfall(steps: pl.DataFrame) -> Spec:
    """From one amount to another by way of what each cause added.

    The scale does not begin at zero, so that the amounts are marks and only the steps are bars.
    """
    low = min(steps["start"].min(), steps["end"].min())
    high = max(steps["start"].max(), steps["end"].max())
    span = (high - low) or max(abs(high), 1.0)
    steps = steps.with_columns(
        text_at=pl.max_horizontal("start", "end"),
        next_name=pl.col("name").shift(-1),
    )
    base = alt.Chart(steps).encode(
        y=alt.Y(
            "name:N",
            sort=None,
            title=None,
            scale=alt.Scale(paddingInner=0.3),
            axis=alt.Axis(labelLimit=130, labelColor="var(--ink)"),
        ),
        tooltip=[alt.Tooltip("name:N", title="What"), alt.Tooltip("text:N", title="Amount")],
    )
    # Room on the right for the number of the longest bar.
    scale = alt.Scale(domain=[low - 0.06 * span, high + 0.42 * span], nice=False, zero=False)
    x = alt.X("start:Q", title=None, axis=None, scale=scale)
    more = base.transform_filter("datum.kind == 'more'").mark_bar(**STYLES["first"])
    less = base.transform_filter("datum.kind == 'less'").mark_bar(**STYLES["second"])
    whole = base.transform_filter("datum.kind == 'whole'").mark_tick(**STYLES["whole"])
    links = base.transform_filter("isValid(datum.next_name)").mark_rule(**STYLES["zero"])
    numbers = base.mark_text(**STYLES["number"], align="left", dx=8).encode(
        x=alt.X("text_at:Q"), text="text:N"
    )
    return _finish(
        alt.layer(
            links.encode(x=alt.X("end:Q", scale=scale, axis=None), y2="next_name:N"),
            more.encode(x=x, x2="end:Q"),
            less.encode(x=x, x2="end:Q"),
            whole.encode(x=x),
            numbers,
        ),
        34 * steps.height,
    )


def funnel(steps: pl.DataFrame) -> Spec:
    """One bar per step: which share of those who entered got there."""
    base = alt.Chart(steps).encode(
        y=alt.Y(
            "name:N",
            sort=None,
            title=None,
            scale=alt.Scale(paddingInner=0.35),
            axis=alt.Axis(labelLimit=150, labelColor="var(--ink)"),
        ),
        tooltip=[
            alt.Tooltip("name:N", title="Step"),
            alt.Tooltip("n_reached:Q", title="Got there", format=","),
            alt.Tooltip("share:Q", title="Of those who entered", format=".1%"),
        ],
    )
    # Room on the right for the number of the longest bar.
    x = alt.X("share:Q", title=None, axis=None, scale=alt.Scale(domain=[0, 1.32], nice=False))
    bars = base.mark_bar(**STYLES["first"]).encode(x=x)
    halo, intervals = (
        base.transform_filter("isValid(datum.share_low)")
        .mark_rule(**STYLES[style])
        .encode(x="share_low:Q", x2="share_high:Q")
        for style in ("halo", "interval")
    )
    numbers = base.mark_text(**STYLES["number"], align="left", dx=10).encode(
        x=alt.X("text_at:Q"), text=alt.Text("share:Q", format=".1%")
    )
    return _finish(alt.layer(bars, halo, intervals, numbers), 44 * steps.height)


def _share_axis(column: str, highest: float) -> alt.Y:
    """Return an axis of shares from nothing to a round tenth above the highest."""
    top = min(max(math.ceil(highest * 10) / 10, 0.1), 1.0)
    return alt.Y(
        f"{column}:Q",
        title=None,
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(format=".0%", tickCount=5),
    )


def rfm(segments: pl.DataFrame) -> Spec:
    """Two bars per segment: its share of the customers and of the revenue."""
    bars = segments.unpivot(
        ["customer_share", "revenue_share"], index="segment", variable_name="of", value_name="share"
    ).with_columns(
        pl.col("of").replace(
            {"customer_share": "share of customers", "revenue_share": "share of revenue"}
        ),
        text_at=pl.max_horizontal("share", pl.lit(0.0)),
    )
    base = alt.Chart(bars).encode(
        y=alt.Y(
            "segment:N",
            sort=segments["segment"].to_list(),
            title=None,
            scale=alt.Scale(paddingInner=0.3),
            axis=alt.Axis(labelLimit=130, labelColor="var(--ink)"),
        ),
        yOffset=alt.YOffset("of:N", scale=alt.Scale(paddingInner=0.12)),
        tooltip=[
            alt.Tooltip("segment:N", title="Segment"),
            alt.Tooltip("of:N", title="Measure"),
            alt.Tooltip("share:Q", title="Share", format=".1%"),
        ],
    )
    # Room on the right for the number of the longest bar.
    longest = max(bars["share"].max() or 0.0, 0.01)
    lowest = min(bars["share"].min() or 0.0, 0.0)
    x = alt.X(
        "share:Q",
        title=None,
        axis=None,
        scale=alt.Scale(domain=[lowest, longest * 1.32], nice=False),
    )
    solid = base.transform_filter("datum.of == 'share of customers'").mark_bar(**STYLES["first"])
    hollow = base.transform_filter("datum.of == 'share of revenue'").mark_bar(**STYLES["second"])
    numbers = base.mark_text(**STYLES["number"], align="left", dx=6).encode(
        x=alt.X("text_at:Q"), text=alt.Text("share:Q", format=".1%")
    )
    return _finish(alt.layer(solid.encode(x=x), hollow.encode(x=x), numbers), 40 * segments.height)


def churn_deciles(deciles: pl.DataFrame, average: float) -> Spec:
    """Observed churn per risk decile, with its interval, against what was predicted."""
    base = alt.Chart(deciles).encode(
        x=alt.X(
            "risk_decile:O",
            title="Risk decile (1 = highest predicted risk)",
            axis=alt.Axis(labelAngle=0, labelColor="var(--ink)"),
            scale=alt.Scale(paddingInner=0.25, paddingOuter=0.1),
        ),
        tooltip=_decile_tooltip(),
    )
    y = alt.Y(
        "churn_rate:Q",
        title=None,
        axis=alt.Axis(format=".0%", tickCount=5),
        scale=alt.Scale(domain=[0, _ceiling(deciles, room=1.06)], nice=False),
    )
    bars = base.mark_bar(**STYLES["first"]).encode(y=y)
    halo, intervals = (
        base.mark_rule(**STYLES[style]).encode(y="churn_rate_low:Q", y2="churn_rate_high:Q")
        for style in ("halo", "interval")
    )
    predicted = base.mark_point(**STYLES["predicted"]).encode(y="mean_probability:Q")
    numbers = base.mark_text(**STYLES["small"], dy=-8).encode(
        y="label_at:Q", text=alt.Text("churn_rate:Q", format=".0%")
    )
    line = (
        alt.Chart(pl.DataFrame({"average": [average]}))
        .mark_rule(**STYLES["reference"])
        .encode(y="average:Q")
    )
    numbers = numbers.transform_calculate(
        label_at="max(datum.churn_rate_high, datum.mean_probability)"
    )
    return _finish(alt.layer(bars, line, halo, intervals, predicted, numbers), 300)


def churn_calibration(deciles: pl.DataFrame) -> Spec:
    """Observed against predicted churn: a trustworthy model lies on the diagonal."""
    top = _ceiling(deciles, room=1.04)
    base = alt.Chart(_with_room(deciles, top)).encode(tooltip=_decile_tooltip())
    scale = alt.Scale(domain=[0, top], nice=False)
    x = alt.X(
        "mean_probability:Q",
        title="Predicted probability of churn",
        scale=scale,
        axis=alt.Axis(format=".0%", tickCount=5),
    )
    y = alt.Y(
        "churn_rate:Q",
        title=None,
        scale=scale,
        axis=alt.Axis(format=".0%", tickCount=5),
    )
    diagonal = (
        alt.Chart(pl.DataFrame({"mean_probability": [0.0, top], "churn_rate": [0.0, top]}))
        .mark_line(**STYLES["reference"])
        .encode(x=x, y=y)
    )
    intervals = base.mark_rule(**STYLES["interval"]).encode(
        x=x, y="churn_rate_low:Q", y2="churn_rate_high:Q"
    )
    points = base.mark_circle(**STYLES["observed"]).encode(x=x, y=y)
    names = (
        base.transform_filter("datum.has_room")
        .mark_text(**STYLES["small"], dy=-8)
        .encode(x=x, y="churn_rate_high:Q", text="risk_decile:O")
    )
    return _finish(alt.layer(diagonal, intervals, points, names), 300)


def value_by_cohort(cohorts: pl.DataFrame) -> Spec:
    """Two bars per cohort: what was expected of it and what came."""
    bars = cohorts.select(
        pl.col("group_value").str.slice(0, 7).alias("cohort"), "n_customers", "expected", "came"
    ).unpivot(
        ["came", "expected"],
        index=["cohort", "n_customers"],
        variable_name="of",
        value_name="amount",
    )
    base = alt.Chart(bars).encode(
        x=alt.X(
            "cohort:O",
            title="Month of the first order",
            axis=alt.Axis(labelAngle=-40, labelColor="var(--ink)"),
            scale=alt.Scale(paddingInner=0.3, paddingOuter=0.1),
        ),
        xOffset=alt.XOffset("of:N", sort=["came", "expected"], scale=alt.Scale(paddingInner=0.1)),
        y=alt.Y("amount:Q", title=None, axis=alt.Axis(format="~s", tickCount=5)),
        tooltip=[
            alt.Tooltip("cohort:O", title="First order"),
            alt.Tooltip("n_customers:Q", title="Customers", format=","),
            alt.Tooltip("of:N", title="What"),
            alt.Tooltip("amount:Q", title="How much", format=",.0f"),
        ],
    )
    solid = base.transform_filter("datum.of == 'came'").mark_bar(**STYLES["first"])
    hollow = base.transform_filter("datum.of == 'expected'").mark_bar(**STYLES["second"])
    return _finish(alt.layer(solid, hollow), 260)


def seasons(months: pl.DataFrame) -> Spec:
    """One bar per month of the year with its interval, from the average of 1."""
    named = months.with_columns(
        month=pl.date(2024, "month_number", 1).dt.strftime("%b"), average=pl.lit(1)
    )
    base = alt.Chart(named).encode(
        x=alt.X(
            "month:O",
            sort=named["month"].to_list(),
            title=None,
            axis=alt.Axis(labelAngle=0, labelColor="var(--ink)"),
            scale=alt.Scale(paddingInner=0.3, paddingOuter=0.1),
        ),
        y=alt.Y(
            "season_index:Q",
            title=None,
            axis=alt.Axis(format=".1f", tickCount=5),
            scale=alt.Scale(zero=True),
        ),
        tooltip=[
            alt.Tooltip("month:O", title="Month"),
            alt.Tooltip("season_index:Q", title="Times as often as on average", format=".2f"),
            alt.Tooltip("season_index_low:Q", title="at least", format=".2f"),
            alt.Tooltip("season_index_high:Q", title="at most", format=".2f"),
            alt.Tooltip("n_purchases:Q", title="Repeat purchases", format=","),
        ],
    )
    bars = base.mark_bar(**STYLES["first"])
    halo, intervals = (
        base.mark_rule(**STYLES[style]).encode(y="season_index_low:Q", y2="season_index_high:Q")
        for style in ("halo", "interval")
    )
    average = alt.Chart(named.head(1)).mark_rule(**STYLES["reference"]).encode(y="average:Q")
    return _finish(alt.layer(bars, average, halo, intervals), 220)


def item_map(nodes: pl.DataFrame, arcs: pl.DataFrame) -> Spec:
    """Products one below the other, each a point, and arcs between those that go together.

    Args:
        nodes: name, label, n (orders with it), partners, row (the line, from 0).
        arcs: names, n_both, lift, first and last (the lines that it joins).
    """
    labels = [""] * (1 + nodes["row"].max())
    for row, label in nodes.select("row", "label").iter_rows():
        labels[row] = label
    # Half an ellipse each.
    steps = pl.DataFrame({"angle": [math.pi * n / ARC_STEPS for n in range(ARC_STEPS + 1)]})
    half = (pl.col("last") - pl.col("first")) / 2
    curves = arcs.with_row_index("arc").join(steps, how="cross").with_columns(
        x=(half * pl.col("angle").sin()).round(3),
        y=(pl.col("first") + half * (1 - pl.col("angle").cos())).round(3),
    )  # fmt: skip
    reach = max(curves["x"].max(), LEAST_REACH)
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[-0.03 * reach, 1.05 * reach], nice=False))
    y_scale = alt.Scale(domain=[-1, len(labels)], nice=False, reverse=True)
    names = alt.Axis(
        values=nodes["row"].to_list(),
        labelExpr=f"{json.dumps(labels)}[datum.value]",
        labelLimit=230,
        labelPadding=8,
        labelColor="var(--ink)",
        labelOverlap=False,
        grid=False,
        ticks=False,
        domain=False,
        title=None,
    )
    lines = (
        alt.Chart(curves.drop("angle", "first", "last"))
        .mark_line(stroke="var(--ink-soft)", opacity=0.7)
        .encode(
            x=x,
            y=alt.Y("y:Q", axis=names, scale=y_scale),
            order="y:Q",
            detail="arc:N",
            strokeWidth=alt.StrokeWidth(
                "n_both:Q", scale=alt.Scale(domainMin=0, range=[0.5, 5]), legend=None
            ),
            tooltip=[
                alt.Tooltip("names:N", title="Products"),
                alt.Tooltip("n_both:Q", title="Orders with both", format=","),
                alt.Tooltip("lift:Q", title="Lift", format=".1f"),
            ],
        )
    )
    points = (
        alt.Chart(nodes.with_columns(x=pl.lit(0.0)))
        .mark_circle(**STYLES["observed"])
        .encode(
            x=x,
            y=alt.Y("row:Q", axis=names, scale=y_scale),
            size=alt.Size("n:Q", scale=alt.Scale(domainMin=0, range=[15, 150]), legend=None),
            tooltip=[
                alt.Tooltip("name:N", title="Product"),
                alt.Tooltip("n:Q", title="Orders with it", format=","),
                alt.Tooltip("partners:N", title="Goes with"),
            ],
        )
    )
    return _finish(alt.layer(lines, points), round(LINE_HEIGHT * len(labels)))


def recommenders(ways: pl.DataFrame) -> Spec:
    """One bar per way to recommend, with its interval; the one in use is solid."""
    base = alt.Chart(ways).encode(
        y=alt.Y(
            "name:N",
            sort=ways["name"].to_list(),
            title=None,
            axis=alt.Axis(labelColor="var(--ink)", labelLimit=160),
            scale=alt.Scale(paddingInner=0.3, paddingOuter=0.1),
        ),
        x=alt.X(
            "ndcg:Q",
            title="NDCG of ten products",
            axis=alt.Axis(format=".2f", tickCount=5),
            scale=alt.Scale(domain=[0, 1.04 * ways["ndcg_high"].max()], nice=False),
        ),
        tooltip=[
            alt.Tooltip("name:N", title="Way to recommend"),
            alt.Tooltip("ndcg:Q", title="NDCG", format=".3f"),
            alt.Tooltip("ndcg_low:Q", title="at least", format=".3f"),
            alt.Tooltip("ndcg_high:Q", title="at most", format=".3f"),
            alt.Tooltip("gain_over_popular:Q", title="More than popular by", format="+.3f"),
        ],
    )
    solid = base.transform_filter("datum.is_chosen").mark_bar(**STYLES["first"])
    hollow = base.transform_filter("!datum.is_chosen").mark_bar(**STYLES["second"])
    halo, intervals = (
        base.mark_rule(**STYLES[style]).encode(x="ndcg_low:Q", x2="ndcg_high:Q")
        for style in ("halo", "interval")
    )
    return _finish(alt.layer(solid, hollow, halo, intervals), 30 * ways.height)


def quarantine(refused: pl.DataFrame) -> Spec:
    """One bar per table and reason: how many of the table's rows were refused."""
    rows = refused.with_columns(
        name=pl.col("table_name") + ": " + pl.col("outcome"),
        zero=pl.lit(0),
    )
    base = alt.Chart(rows).encode(
        y=alt.Y(
            "name:N",
            sort=rows["name"].to_list(),
            title=None,
            axis=None,
        ),
        tooltip=[
            alt.Tooltip("table_name:N", title="Table"),
            alt.Tooltip("outcome:N", title="Reason"),
            alt.Tooltip("n_rows:Q", title="Rows", format=","),
            alt.Tooltip("share_text:N", title="Share of the table"),
        ],
    )
    x = alt.X(
        "n_rows:Q",
        axis=None,
        scale=alt.Scale(domain=[0, rows["n_rows"].max() * 1.5], nice=False),
    )
    bars = base.mark_bar(**STYLES["first"], height=12, yOffset=8).encode(x=x)
    names = base.mark_text(**STYLES["number"], align="left", baseline="middle", dy=-8).encode(
        x=alt.X("zero:Q"), text="name:N"
    )
    numbers = base.mark_text(**STYLES["number"], align="left", dx=6, dy=8).encode(
        x=alt.X("n_rows:Q"), text="rows_text:N"
    )
    return _finish(alt.layer(bars, names, numbers), 44 * rows.height)


def feed(days: pl.DataFrame) -> Spec:
    """Rows per day of one table, the band that was expected, and the days outside it."""
    days = days.with_columns(pl.col("day_on").cast(pl.String))
    base = alt.Chart(days).encode(
        x=alt.X(
            "day_on:T",
            title=None,
            axis=alt.Axis(format="%-d %b", tickCount=5, grid=False, labelOverlap=True),
        ),
        tooltip=[
            alt.Tooltip("day_on:T", title="Day", format="%-d %B %Y"),
            alt.Tooltip("value:Q", title="Rows", format=","),
            alt.Tooltip("expected_value:Q", title="Expected", format=",.0f"),
            alt.Tooltip("low:Q", title="Band from", format=",.0f"),
            alt.Tooltip("high:Q", title="Band to", format=",.0f"),
        ],
    )
    y = alt.Y(
        "value:Q",
        title=None,
        scale=alt.Scale(domainMin=0),
        axis=alt.Axis(format=",.0f", tickCount=4),
    )
    band = base.mark_area(**STYLES["band"], interpolate="step").encode(
        y=alt.Y("low:Q", title=None), y2="high:Q"
    )
    line = base.mark_line(**STYLES["line"]).encode(y=y)
    layers = [band, line]
    # Without any, their axis would have no extent.
    if days["is_anomaly"].any():
        odd = base.transform_filter("datum.is_anomaly").mark_point(**STYLES["anomaly"])
        layers.append(odd.encode(y=y))
    return _finish(alt.layer(*layers), 180)


def weeks(ahead: pl.DataFrame) -> Spec:
    """Orders expected in each of the weeks ahead, with their interval."""
    rows = ahead.select(
        "expected",
        "expected_low",
        "expected_high",
        week=pl.col("week_start_on").dt.strftime("%-d %b"),
    )
    base = alt.Chart(rows).encode(
        x=alt.X(
            "week:O",
            sort=rows["week"].to_list(),
            title="Week from",
            axis=alt.Axis(labelAngle=-40, labelColor="var(--ink)"),
        ),
        tooltip=[
            alt.Tooltip("week:O", title="Week from"),
            alt.Tooltip("expected:Q", title="Orders", format=",.0f"),
            alt.Tooltip("expected_low:Q", title="From", format=",.0f"),
            alt.Tooltip("expected_high:Q", title="To", format=",.0f"),
        ],
    )
    y = alt.Y(
        "expected:Q",
        title=None,
        scale=alt.Scale(domainMin=0),
        axis=alt.Axis(format=",.0f", tickCount=4),
    )
    band = base.mark_area(**STYLES["band"]).encode(
        y=alt.Y("expected_low:Q", title=None), y2="expected_high:Q"
    )
    line = base.mark_line(**STYLES["line"]).encode(y=y)
    return _finish(alt.layer(band, line), 220)


def _with_room(deciles: pl.DataFrame, top: float) -> pl.DataFrame:
    """Mark the deciles whose number can stand above its interval without meeting another."""
    numbered: list[tuple[float, float]] = []
    has_room = []
    for x, y in deciles.select("mean_probability", "churn_rate_high").iter_rows():
        free = all(
            abs(x - other_x) > 0.05 * top or abs(y - other_y) > 0.05 * top
            for other_x, other_y in numbered
        )
        has_room.append(free)
        if free:
            numbered.append((x, y))
    return deciles.with_columns(has_room=pl.Series(has_room, dtype=pl.Boolean))


def _decile_tooltip() -> list[alt.Tooltip]:
    """What a decile tells when it is pointed at."""
    return [
        alt.Tooltip("risk_decile:O", title="Risk decile"),
        alt.Tooltip("n_customers:Q", title="Customers", format=","),
        alt.Tooltip("n_churned:Q", title="Churned", format=","),
        alt.Tooltip("churn_rate:Q", title="Observed churn", format=".1%"),
        alt.Tooltip("mean_probability:Q", title="Predicted churn", format=".1%"),
    ]


def _ceiling(deciles: pl.DataFrame, room: float) -> float:
    """Return the top of the scale of rates: a round tenth above everything drawn, 1 at most.

    `room` leaves space above the scale's top for what stands over the highest mark.
    """
    columns = ("churn_rate", "churn_rate_high", "mean_probability")
    highest = max(deciles[column].max() or 0.0 for column in columns)
    return min(max(math.ceil(highest * 10) / 10, 0.1), 1.0) * room
