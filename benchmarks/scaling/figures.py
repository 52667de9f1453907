"""What the measurements come to: slopes, shares, goals, and the tables that say so."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tables import markdown_table

# A model below this shows how long dbt takes to start it, not what its rows cost.
MIN_SECONDS = 0.5
DEAREST = 10
# The goals at ten million orders.
MAX_OF_POLARS, MAX_OF_FLOOR, MAX_OF_REBUILD = 0.5, 5.0, 0.05
MAX_BYTES = 8e9
# What has a slope besides the models, and where its seconds are.
WAYS = {
    "rebuild": lambda size: size["rebuild"]["seconds"],
    "models of the rebuild": lambda size: size["rebuild"]["busy"],
    "increment": lambda size: size["increment"]["seconds"],
    "polars": lambda size: size["polars"]["seconds"],
    "floor": lambda size: size["floor"]["seconds"],
}
# How they are called in tables and in the picture.
NAMES = {
    "rebuild": "build from nothing",
    "increment": "daily increment",
    "polars": "core marts in Polars",
    "floor": "read and write alone",
}


def slope(points: Iterable[tuple[float, float]]) -> float | None:
    """The b of seconds = a * size^b by least squares on logarithms; 1 is linear.

    Points are (size, seconds), both above 0; None without two different sizes.
    """
    logs = [(math.log(size), math.log(seconds)) for size, seconds in points]
    if len({x for x, _ in logs}) < 2:
        return None
    middle_x = sum(x for x, _ in logs) / len(logs)
    middle_y = sum(y for _, y in logs) / len(logs)
    return sum((x - middle_x) * (y - middle_y) for x, y in logs) / sum(
        (x - middle_x) ** 2 for x, _ in logs
    )


def slopes(sizes: list[dict]) -> dict[str, float]:
    """The slope of each way, and of each model that takes long enough at two sizes or more."""
    found = {
        name: slope((size["orders"], seconds(size)) for size in sizes)
        for name, seconds in WAYS.items()
    }
    points: dict[str, list[tuple[float, float]]] = {}
    for size in sizes:
        for model in size["rebuild"]["models"]:
            if model["seconds"] > MIN_SECONDS:
                points.setdefault(model["name"], []).append((size["orders"], model["seconds"]))
    found |= {name: slope(of_model) for name, of_model in points.items()}
    return {name: value for name, value in found.items() if value is not None}


def measures(size: dict) -> list[tuple[str, float, float, str]]:
    """What the goals are about: name, value, the most that it may be, format."""
    return [
        (
            "core marts / Polars",
            size["same_marts"]["seconds"] / size["polars"]["seconds"],
            MAX_OF_POLARS,
            ".2f",
        ),
        (
            "rebuild / floor",
            size["rebuild"]["seconds"] / size["floor"]["seconds"],
            MAX_OF_FLOOR,
            ".1f",
        ),
        ("peak memory, GB", size["rebuild"]["peak_bytes"] / 1e9, MAX_BYTES / 1e9, ".2f"),
        (
            "increment / rebuild",
            size["increment"]["seconds"] / size["rebuild"]["seconds"],
            MAX_OF_REBUILD,
            ".1%",
        ),
    ]


def per_second(amount: float | None, seconds: float) -> float | None:
    """An amount in a second; None where it is not known or no time was measured."""
    return amount / seconds if amount is not None and seconds > 0 else None


def summary(results: dict) -> str:
    """The figures of every size, a column each, as markdown."""
    sizes = results["sizes"]

    def line(label: str, of_size) -> list[str]:
        return [label, *(of_size(size) for size in sizes)]

    def cost(part: str) -> list[str]:
        return line(
            NAMES[part],
            lambda size: f"{size[part]['seconds']:,.1f} s, {size[part]['peak_bytes'] / 1e9:.2f} GB",
        )

    lines = [
        line("orders", lambda size: f"{size['orders']:,}"),
        line("events", lambda size: f"{size['events']:,}"),
        line("raw parquet", lambda size: f"{size['raw_bytes'] / 1e6:,.0f} MB"),
        line("warehouse", lambda size: f"{size['rebuild']['n_bytes'] / 1e6:,.0f} MB"),
        cost("rebuild"),
        line("… of it models at work", lambda size: f"{size['rebuild']['busy']:,.1f} s"),
        cost("increment"),
        line("… of it models at work", lambda size: f"{size['increment']['busy']:,.1f} s"),
        line("… orders held back", lambda size: f"{size['held_back']['share']:.3%}"),
        cost("polars"),
        line(
            "the same marts in dbt, from the raw rows on",
            lambda size: f"{size['same_marts']['seconds']:,.1f} s",
        ),
        line(
            "… of it after staging",
            lambda size: f"{size['same_marts']['after_staging']:,.1f} s",
        ),
        cost("floor"),
        line(
            "… reading and writing",
            lambda size: f"{size['floor']['read']:,.1f} + {size['floor']['write']:,.1f} s",
        ),
    ]
    for k, (name, _, most, form) in enumerate(measures(sizes[0])):
        lines.append(
            line(
                f"**{name}** (goal at 10⁷: {most:{form}} at most)",
                lambda size, k=k, form=form: f"{measures(size)[k][1]:{form}}",
            )
        )
    return markdown_table(lines)


def dearest(results: dict, n: int | None = DEAREST) -> str:
    """The dearest models of the largest size, a line each, as markdown; all of them with None."""
    size = results["sizes"][-1]
    again = {model["name"]: model for model in size["increment"]["models"]}
    exponents = results["slopes"]
    head = ["model", "seconds", "rows", "rows / s", "MB", "MB / s", "slope", "increment", "made"]
    lines = [head]
    for model in size["rebuild"]["models"][:n]:
        rows = per_second(model["n_rows"], model["seconds"])
        volume = per_second(model["n_bytes"] / 1e6, model["seconds"])
        exponent = exponents.get(model["name"])
        increment = again.get(model["name"])
        lines.append(
            [
                f"`{model['name']}`",
                f"{model['seconds']:,.2f}",
                "" if model["n_rows"] is None else f"{model['n_rows']:,}",
                "" if rows is None else f"{rows:,.0f}",
                f"{model['n_bytes'] / 1e6:,.1f}",
                "" if volume is None else f"{volume:,.1f}",
                "" if exponent is None else f"{exponent:.2f}",
                "" if increment is None else f"{increment['seconds']:,.2f}",
                "" if increment is None else increment["made"] or "",
            ]
        )
    return markdown_table(lines)


def section(results: dict, picture: str | None) -> str:
    """What stands between the marks in the page of the benchmarks, as markdown."""
    machine = results["machine"]
    others = max(size[part]["others"] for size in results["sizes"] for part in NAMES)
    parts = [
        f"{machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB; Python "
        f"{machine['python']}, DuckDB {machine['duckdb']}, Polars {machine['polars']}, "
        f"dbt {machine['dbt']}; {results['measured_on']}. Other work took up to {others:.0%} of "
        "the cores meanwhile.",
        summary(results),
        *([f"![Seconds against orders, and the dearest models]({picture})"] if picture else []),
        "The dearest models of the largest build, and what they took in its increment:",
        dearest(results),
    ]
    parts += slope_line(results)
    wrong = [
        f"{size['orders']:,} orders: {', '.join(size['differing'])}"
        for size in results["sizes"]
        if size["differing"]
    ]
    if wrong:
        parts.append(f"**Increment and rebuild differ**: {'; '.join(wrong)}.")
    else:
        parts.append("After the increment every mart was equal to the one built from nothing.")
    return "\n\n".join(parts)


def slope_line(results: dict) -> list[str]:
    """A sentence with the slope of each way; no sentence where there is one size only."""
    said = ", ".join(
        f"{name} {results['slopes'][name]:.2f}" for name in WAYS if name in results["slopes"]
    )
    if not said:
        return []
    return [f"Slope of the logarithm of seconds against that of orders (1 is linear): {said}."]
