"""The picture of the page: seconds against orders, and the dearest models."""

from __future__ import annotations

from pathlib import Path

import altair as alt
import polars as pl

from perennial.errors import UserError
from scaling.figures import DEAREST, NAMES

WIDTH = 620
INK, SOFT, GRID = "#1f2328", "#59636e", "#e4e8ec"
# Okabe and Ito's colours, told apart also by those who see few of them; shapes say it again.
STYLES = {
    "rebuild": ("#0072B2", "circle"),
    "increment": ("#009E73", "triangle-up"),
    "polars": ("#D55E00", "square"),
    "floor": ("#7f7f7f", "diamond"),
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def check_picture(file: Path) -> None:
    """UserError where a file's name does not say in which format it is drawn."""
    if file.suffix not in (".svg", ".png"):
        raise UserError(f"{file} is neither .svg nor .png; call the picture by one of them.")


def draw(results: dict, file: Path) -> None:
    """Write the picture; the end of the file's name says which format (svg or png)."""
    chart = (
        alt.vconcat(lines(results), bars(results), spacing=36)
        # GitHub shows it on white and on black: its own ground makes it readable on both.
        .configure(background="white", padding=20, font=FONT)
        .configure_view(stroke=None)
        .configure_axis(
            domain=False,
            ticks=False,
            gridColor=GRID,
            labelColor=SOFT,
            titleColor=SOFT,
            titleFontWeight="normal",
            labelFontSize=12,
            titleFontSize=12,
            labelPadding=6,
        )
        .configure_title(anchor="start", color=INK, fontSize=15, offset=12)
    )
    chart.save(str(file), scale_factor=2 if file.suffix == ".png" else 1)


def lines(results: dict) -> alt.LayerChart:
    """Seconds against orders, both on logarithmic axes, a line for each way."""
    rows = [
        {"way": NAMES[way], "orders": size["orders"], "seconds": size[way]["seconds"]}
        for size in results["sizes"]
        for way in STYLES
    ]
    frame = pl.DataFrame(rows)
    # Room on the right for the names.
    reach = [frame["orders"].min() / 1.3, frame["orders"].max() * 4]
    base = alt.Chart(frame).encode(
        x=alt.X(
            "orders:Q",
            title="orders (ten events each)",
            scale=alt.Scale(type="log", domain=reach, nice=False),
            axis=alt.Axis(format="~s", values=frame["orders"].unique().to_list(), grid=False),
        ),
        y=alt.Y(
            "seconds:Q",
            title="seconds",
            scale=alt.Scale(type="log"),
            axis=alt.Axis(format="~s", tickCount=5),
        ),
        color=alt.Color(
            "way:N",
            scale=alt.Scale(
                domain=[NAMES[way] for way in STYLES], range=[s[0] for s in STYLES.values()]
            ),
            legend=None,
        ),
    )
    shape = alt.Shape(
        "way:N",
        scale=alt.Scale(
            domain=[NAMES[way] for way in STYLES], range=[s[1] for s in STYLES.values()]
        ),
        legend=None,
    )
    last = base.transform_filter(alt.datum.orders == frame["orders"].max())
    return alt.layer(
        base.mark_line(strokeWidth=2),
        base.mark_point(filled=True, size=80, opacity=1).encode(shape=shape),
        last.transform_calculate(label="datum.way + '  ' + format(datum.seconds, ',.1f') + ' s'")
        .mark_text(align="left", dx=10, fontSize=12)
        .encode(text="label:N"),
    ).properties(width=WIDTH, height=300, title="Seconds against orders")


def bars(results: dict) -> alt.LayerChart:
    """The dearest models of the largest build."""
    size = results["sizes"][-1]
    frame = pl.DataFrame(
        [
            {"model": model["name"], "seconds": model["seconds"]}
            for model in size["rebuild"]["models"][:DEAREST]
        ]
    )
    base = alt.Chart(frame).encode(
        y=alt.Y(
            "model:N",
            sort=frame["model"].to_list(),
            title=None,
            axis=alt.Axis(labelLimit=200, labelColor=INK),
        ),
        x=alt.X(
            "seconds:Q",
            axis=None,
            scale=alt.Scale(domain=[0, frame["seconds"].max() * 1.12], nice=False),
        ),
    )
    return alt.layer(
        base.mark_bar(color=STYLES["rebuild"][0], height={"band": 0.7}),
        base.mark_text(align="left", dx=6, fontSize=12, color=INK).encode(
            text=alt.Text("seconds:Q", format=",.1f")
        ),
    ).properties(
        width=WIDTH - 140,
        height=24 * frame.height,
        title=f"The dearest models at {size['orders']:,} orders, seconds",
    )
