"""The picture of the page: seconds against orders, and the dearest models."""

from __future__ import annotations

import math
from pathlib import Path

import altair as alt
import polars as pl

from perennial.errors import UserError
from scaling.figures import DEAREST, NAMES

WIDTH, HEIGHT = 640, 300
ROOM_FOR_NAMES = 200
LINE_HEIGHT = 16
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
    frame = pl.DataFrame(
        [
            {"way": NAMES[way], "orders": size["orders"], "seconds": size[way]["seconds"]}
            for size in results["sizes"]
            for way in STYLES
        ]
    )
    lowest = math.floor(math.log10(frame["seconds"].min()))
    highest = math.ceil(math.log10(frame["seconds"].max()))
    sizes = frame["orders"].unique().sort().to_list()
    # One size alone would lie on the left edge.
    ends = [sizes[0] / 2, sizes[-1] * 2] if len(sizes) == 1 else [sizes[0], sizes[-1]]
    x = alt.X(
        "orders:Q",
        title="orders, with ten events each",
        # Pixels, because the names on the right need the same room at any size.
        scale=alt.Scale(type="log", domain=ends, nice=False, range=[30, WIDTH - ROOM_FOR_NAMES]),
        axis=alt.Axis(format=".2~s", values=sizes, grid=False),
    )
    scale = alt.Scale(type="log", domain=[10**lowest, 10**highest])
    decades = [10**n for n in range(lowest, highest + 1)]
    axis = alt.Axis(format="~s", values=decades)
    ways = [NAMES[way] for way in STYLES]
    colours, shapes = zip(*STYLES.values(), strict=True)
    color = alt.Color("way:N", scale=alt.Scale(domain=ways, range=colours), legend=None)
    shape = alt.Shape("way:N", scale=alt.Scale(domain=ways, range=shapes), legend=None)
    base = alt.Chart(frame).encode(
        x=x, y=alt.Y("seconds:Q", title="seconds", scale=scale, axis=axis), color=color
    )
    names = alt.Chart(labels(frame, highest - lowest)).encode(
        x=x, y=alt.Y("label_at:Q", scale=scale, axis=axis), text="label:N", color=color
    )
    return alt.layer(
        base.mark_line(strokeWidth=2),
        base.mark_point(filled=True, size=80, opacity=1).encode(shape=shape),
        names.mark_text(align="left", dx=12, fontSize=12),
    ).properties(width=WIDTH, height=HEIGHT, title="Seconds against orders")


def labels(frame: pl.DataFrame, n_decades: int) -> pl.DataFrame:
    """What stands beside the last points, moved upwards where it would meet the one below."""
    last = frame.filter(pl.col("orders") == pl.col("orders").max()).sort("seconds", "way")
    gap = 10 ** (LINE_HEIGHT / HEIGHT * n_decades)
    places: list[float] = []
    for seconds in last["seconds"]:
        places.append(max(seconds, places[-1] * gap) if places else seconds)
    return last.with_columns(
        label_at=pl.Series(places),
        label=pl.Series([f"{w}, {s:,.1f} s" for w, s in last.select("way", "seconds").rows()]),
    )


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
        width=WIDTH - 150,
        height=24 * frame.height,
        title=f"The dearest models at {size['orders']:,} orders, seconds",
    )
