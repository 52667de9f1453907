"""The marts of retention, computed a second time in polars from the facts of marts.core.

Written from what the models' descriptions and the textbooks say, not from their SQL. A function
returns one mart with all its columns. What a customer did is looked at one by one: every start
meets every window, and is asked whether the window has passed and whether a return lies in it.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from pathlib import Path

import independent
import numpy as np
import polars as pl
from independent import Shop, Z, as_of, local_day, local_day_of
from scipy import stats

# A mart rests on others, and all on the same few tables: each is read and computed once.
read = lru_cache(maxsize=16)(independent.read)
once = lru_cache(maxsize=1)

SEGMENTS = ("all", "country", "channel", "first_category", "first_order_coupon", "device")
SECONDS = {"day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}
"""Of a rolling window."""
OFFSETS = {"day": "d", "week": "w", "month": "mo"}

KEYS = {
    "retention": ["definition", "segment_type", "segment", "cohort_start_on", "period_number"],
    "cohort_comparison": [
        "definition",
        "segment_type",
        "segment",
        "period_number",
        "cohort_start_on",
    ],
    "category_rhythms": ["category"],
    "customer_rhythms": ["customer_id"],
    "survival_times": ["curve", "customer_id"],
    "survival_curves": ["curve", "segment_type", "segment", "n_days"],
    "survival_summaries": ["curve", "segment_type", "segment"],
}
"""The marts that are computed here, in the order of their reading, and the keys of their rows."""


# ---------------------------------------------------------------------------------------------
# What customers did, and who they are
# ---------------------------------------------------------------------------------------------


def kept_orders(warehouse: Path) -> pl.DataFrame:
    """The orders that count: of a known customer, and not cancelled."""
    return read(warehouse, "marts.orders").filter(
        pl.col("customer_id").is_not_null() & ~pl.col("is_cancelled")
    )


@once
def activities(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per time that a known customer did something: customer, activity, moment, day."""
    events = read(warehouse, "marts.events").filter(pl.col("customer_id").is_not_null())
    return pl.concat(
        [
            kept_orders(warehouse).select(
                "customer_id", pl.lit("order").alias("activity"), moment="ordered_at"
            ),
            events.filter("is_visit").select(
                "customer_id", pl.lit("visit").alias("activity"), moment="occurred_at"
            ),
            events.select("customer_id", activity="event_type", moment="occurred_at"),
        ]
    ).with_columns(day=local_day("moment", shop))


@once
def segments(warehouse: Path) -> pl.DataFrame:
    """One row per customer: the segment of each type."""
    first_orders = (
        kept_orders(warehouse)
        .sort("ordered_at", "order_id")
        .group_by("customer_id", maintain_order=True)
        .agg(has_coupon=pl.col("coupon_code").is_not_null().first())
    )
    devices = (
        read(warehouse, "marts.sessions")
        .filter(pl.col("customer_id").is_not_null() & pl.col("device").is_not_null())
        .sort("started_at", "session_id")
        .group_by("customer_id", maintain_order=True)
        .agg(pl.col("device").first())
    )
    people = read(warehouse, "marts.customers").select(
        "customer_id", "country", "channel", "first_category"
    )
    with_coupon = pl.when("has_coupon").then(pl.lit("with")).otherwise(pl.lit("without"))
    return (
        people.join(first_orders, on="customer_id", how="left")
        .join(devices, on="customer_id", how="left")
        .select(
            "customer_id",
            pl.lit("all").alias("all"),
            pl.col("country", "channel", "first_category").fill_null("unknown"),
            first_order_coupon=pl.when(pl.col("has_coupon").is_not_null())
            .then(with_coupon)
            .otherwise(pl.lit("unknown")),
            device=pl.col("device").fill_null("unknown"),
        )
    )


def by_segment(frame: pl.DataFrame, warehouse: Path, types: tuple[str, ...]) -> pl.DataFrame:
    """The rows of customers, once for each type of segment, with `segment_type`, `segment`."""
    known = frame.join(segments(warehouse), on="customer_id", how="left")
    return pl.concat(
        known.select(
            *frame.columns, pl.lit(kind).alias("segment_type"), pl.col(kind).alias("segment")
        )
        for kind in types
    )


# ---------------------------------------------------------------------------------------------
# Time
# ---------------------------------------------------------------------------------------------


def first_day(day: str, grain: str, shop: Shop) -> pl.Expr:
    """The first day of the day, week or month in which a day lies."""
    if grain == "week":
        since = (pl.col(day).dt.weekday().cast(pl.Int64) - shop.week_start) % 7
        return pl.col(day) - pl.duration(days=since)
    return pl.col(day).dt.month_start() if grain == "month" else pl.col(day)


def index(day: pl.Expr, grain: str, shop: Shop) -> pl.Expr:
    """Days, weeks or months counted on, so that a difference says how many lie between."""
    if grain == "month":
        return day.dt.year().cast(pl.Int64) * 12 + day.dt.month()
    days = (day - dt.date(1970, 1, 1)).dt.total_days()
    # The 1st of January 1970 was a Thursday.
    return days if grain == "day" else (days - (shop.week_start - 4)) // 7


# ---------------------------------------------------------------------------------------------
# Retention
# ---------------------------------------------------------------------------------------------


def windows(definition: dict, brackets: pl.DataFrame) -> pl.DataFrame:
    """One row per cell of a cohort: its number, and the first and the last period that count."""
    name, kind = definition["definition"], definition["kind"]
    if kind == "bracket":
        rows = (
            brackets.filter(pl.col("definition") == name)
            .select("bracket", "from_period", "to_period")
            .rows()
        )
    else:
        numbers = range(definition["n_periods"] + 1)
        last = {n: definition["horizon"] if kind == "unbounded" else n for n in numbers}
        rows = [(n, n, last[n]) for n in numbers]
    columns = ("period_number", "from_period", "to_period")
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.Int64), orient="row")


def starts_of(definition: dict, done: pl.DataFrame, shop: Shop) -> pl.DataFrame:
    """One row per customer and cohort: when the customer started."""
    began = done.filter(pl.col("activity") == definition["start_event"]).with_columns(
        cohort_start_on=first_day("day", definition["cohort_grain"], shop)
    )
    per = ["customer_id"] if definition["starts"] == "first" else ["customer_id", "cohort_start_on"]
    return (
        began.sort("moment")
        .group_by(per, maintain_order=True)
        .agg(pl.all().first())
        .select("customer_id", "cohort_start_on", started_at="moment", started_on="day")
    )


def shares_of(definition: dict, warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per start and window that has begun: whether it has passed, who came back in it."""
    grain, now = definition["period_grain"], as_of(warehouse, shop)
    done = activities(warehouse, shop)
    starts = starts_of(definition, done, shop)
    came = done.filter(pl.col("activity") == definition["return_event"]).select(
        "customer_id", came_at="moment", came_on="day"
    )
    # Nobody comes back before having started, even in the same period.
    pairs = starts.join(came, on="customer_id").filter(pl.col("came_at") >= pl.col("started_at"))
    cohort_grain = definition["cohort_grain"]
    # Whoever joins last does so on the last day of the cohort, at the end of it.
    after = pl.col("cohort_start_on").dt.offset_by(f"1{OFFSETS[cohort_grain]}")
    if definition["clock"] == "calendar":
        today = pl.lit(local_day_of(now, shop))
        # A period has passed when today lies in a later one.
        n_begun = index(today, grain, shop) - index(pl.col("started_on"), grain, shop)
        last_day = after - pl.duration(days=1)
        starts = starts.with_columns(
            last_begun=n_begun,
            last_passed=n_begun - 1,
            all_passed=index(today, grain, shop) - index(last_day, grain, shop) - 1,
        )
        number = index(pl.col("came_on"), grain, shop) - index(pl.col("started_on"), grain, shop)
    else:
        width = SECONDS[grain] * 10**6
        # The k-th window is [k, k + 1) widths after the start: it has passed at its end.
        n_begun = (pl.lit(now) - pl.col("started_at")).dt.total_microseconds() // width
        closed_at = (
            after.cast(pl.Datetime("us"))
            .dt.replace_time_zone(shop.timezone, ambiguous="earliest", non_existent="null")
            .dt.convert_time_zone("UTC")
            .dt.replace_time_zone(None)
        )
        starts = starts.with_columns(
            last_begun=n_begun,
            last_passed=n_begun - 1,
            all_passed=(pl.lit(now) - closed_at).dt.total_microseconds() // width - 1,
        )
        number = (pl.col("came_at") - pl.col("started_at")).dt.total_microseconds() // width
    who = ["customer_id", "cohort_start_on"]
    returns = pairs.select(*who, number=number).unique()

    brackets = read(warehouse, "reference.retention_brackets")
    asked = starts.join(windows(definition, brackets), how="cross").filter(
        pl.col("last_begun").max().over("cohort_start_on") >= pl.col("from_period")
    )
    if definition["kind"] == "streak":
        # Back in every period from the first after the start on.
        runs = (
            returns.filter(pl.col("number") > 0)
            .sort(*who, "number")
            .filter(pl.col("number") == pl.int_range(1, pl.len() + 1).over(who))
            .group_by(who)
            .agg(run=pl.col("number").max())
        )
        asked = asked.join(runs, on=who, how="left").with_columns(
            is_retained=pl.col("run").fill_null(0) >= pl.col("period_number")
        )
    else:
        in_window = (
            asked.join(returns, on=who)
            .filter(
                pl.col("number").is_between(
                    pl.col("from_period"), pl.col("to_period").fill_null(2**31)
                )
            )
            .select(*who, "period_number", pl.lit(True).alias("is_retained"))
            .unique()
        )
        asked = asked.join(in_window, on=[*who, "period_number"], how="left").with_columns(
            pl.col("is_retained").fill_null(False)
        )
    # Where every return counts whenever it comes, the first period that counts must have passed.
    last = pl.coalesce("to_period", "from_period")
    return asked.with_columns(
        is_reached=pl.col("last_passed") >= last, is_mature=pl.col("all_passed") >= last
    )


def with_rates(frame: pl.DataFrame, numerator: str, denominator: str) -> pl.DataFrame:
    """The share and its 95 % interval of Wilson."""
    n, p = pl.col(denominator), pl.col(numerator) / pl.col(denominator)
    middle = p + Z**2 / (2 * n)
    spread = Z * (p * (1 - p) / n + Z**2 / (4 * n**2)).sqrt()
    return frame.with_columns(
        retention_rate=p,
        retention_rate_low=(middle - spread) / (1 + Z**2 / n),
        retention_rate_high=(middle + spread) / (1 + Z**2 / n),
    )


@once
def retention(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per definition, segment, cohort and period number."""
    parts = []
    for definition in read(warehouse, "reference.retention_definitions").iter_rows(named=True):
        types = SEGMENTS if definition["has_segments"] else SEGMENTS[:1]
        cells = (
            by_segment(shares_of(definition, warehouse, shop), warehouse, types)
            .group_by(
                "segment_type",
                "segment",
                "cohort_start_on",
                "period_number",
                "from_period",
                "to_period",
            )
            .agg(
                has_begun=(pl.col("last_begun") >= pl.col("from_period")).any(),
                is_mature=pl.col("is_mature").all(),
                n_customers=pl.len().cast(pl.Int64),
                n_reached_customers=pl.col("is_reached").sum().cast(pl.Int64),
                n_retained_customers_to_date=(pl.col("is_reached") & pl.col("is_retained"))
                .sum()
                .cast(pl.Int64),
            )
            .filter("has_begun")
            .drop("has_begun")
        )
        names = ("definition", "kind", "starts", "start_event", "return_event", "clock")
        grains = ("cohort_grain", "period_grain")
        said = [pl.lit(definition[name]).alias(name) for name in (*names, *grains)]
        parts.append(cells.with_columns(said))
    frame = pl.concat(parts)
    frame = frame.with_columns(
        retention_numerator=pl.when("is_mature").then("n_retained_customers_to_date"),
        retention_denominator=pl.when("is_mature").then("n_customers"),
    )
    return with_rates(frame, "retention_numerator", "retention_denominator")


def cohort_comparison(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per mature cell that has a mature one of an earlier cohort before it."""
    group = ["definition", "segment_type", "segment", "period_number"]
    cells = (
        retention(warehouse, shop)
        .filter("is_mature")
        .sort(*group, "cohort_start_on")
        .select(
            *group,
            "cohort_start_on",
            "retention_numerator",
            "retention_denominator",
            "retention_rate",
        )
    )
    frame = cells.with_columns(
        previous_cohort_start_on=pl.col("cohort_start_on").shift(1).over(group),
        previous_retention_rate=pl.col("retention_rate").shift(1).over(group),
        n_before=pl.col("retention_denominator").shift(1).over(group),
        n_both=pl.col("retention_denominator").rolling_sum(2).over(group),
        came_both=pl.col("retention_numerator").rolling_sum(2).over(group),
    ).filter(pl.col("previous_cohort_start_on").is_not_null())
    pooled = pl.col("came_both") / pl.col("n_both")
    sizes = 1 / pl.col("retention_denominator") + 1 / pl.col("n_before")
    frame = frame.with_columns(
        difference=pl.col("retention_rate") - pl.col("previous_retention_rate"),
        variance=pooled * (1 - pooled) * sizes,
        # Five or more were to be expected to come back, and five or more not to, in each: told in
        # whole numbers, so that five is five.
        is_tested=pl.min_horizontal("came_both", pl.col("n_both") - pl.col("came_both"))
        * pl.min_horizontal("retention_denominator", "n_before")
        >= 5 * pl.col("n_both"),
    )
    is_tested = frame["is_tested"].to_numpy()
    tested = frame.filter("is_tested")
    z = tested["difference"].abs() / tested["variance"].sqrt()
    p, q = np.full((2, frame.height), np.nan)
    p[is_tested] = 2 * stats.norm.sf(z.to_numpy())
    q[is_tested] = stats.false_discovery_control(p[is_tested], method="bh") if tested.height else 0
    return frame.select(
        *cells.columns,
        "previous_cohort_start_on",
        "previous_retention_rate",
        "difference",
        p_value=pl.Series(p).fill_nan(None),
        q_value=pl.Series(q).fill_nan(None),
        is_more_than_noise=pl.Series(q).fill_nan(None) < 0.05,
    )


# ---------------------------------------------------------------------------------------------
# Rhythms
# ---------------------------------------------------------------------------------------------


def rhythm(days: pl.DataFrame, by: str) -> pl.DataFrame:
    """Of the days on which customers bought, by group: the days between, median and spread.

    The middle is the median; the spread the variance (n - 1) of the logarithms.
    """
    who = ["customer_id"] if by == "customer_id" else ["customer_id", by]
    gaps = (
        days.unique([*who, "day"])
        .sort(*who, "day")
        .with_columns(gap=pl.col("day").diff().over(who).dt.total_days())
    )
    return gaps.group_by(by).agg(
        n_intervals=pl.col("gap").count().cast(pl.Int64),
        own_median_days=pl.col("gap").median(),
        own_variance=pl.col("gap").log().var(),
    )


def drawn(own: str, n: pl.Expr, group: str, weight: int) -> pl.Expr:
    """The weighted mean of one's own figure and that of the group, whichever there are."""
    both = (n * pl.col(own) + weight * pl.col(group)) / (n + weight)
    return pl.coalesce(both, own, group)


def with_group(frame: pl.DataFrame, weight: int, n_of_variance: pl.Expr) -> pl.DataFrame:
    """Median and spread drawn towards `group_median` and `group_variance`: on logarithms."""
    n = pl.col("n_intervals")
    return frame.with_columns(
        own_log=pl.col("own_median_days").log(), group_log=pl.col("group_median").log()
    ).with_columns(
        median_days=drawn("own_log", n, "group_log", weight).exp(),
        log_spread=drawn("own_variance", n_of_variance, "group_variance", weight).sqrt(),
    )


@once
def category_rhythms(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per category that a known customer bought of."""
    bought = (
        read(warehouse, "marts.order_items")
        .filter(pl.col("customer_id").is_not_null() & ~pl.col("is_cancelled"))
        .select("customer_id", "category", day=local_day("ordered_at", shop))
    )
    ordered = kept_orders(warehouse).select("customer_id", day=local_day("ordered_at", shop))
    # Of all orders together: the days between them, whatever was bought.
    everyone = (
        ordered.unique()
        .sort("customer_id", "day")
        .select(gap=pl.col("day").diff().over("customer_id").dt.total_days())
        .select(group_median=pl.col("gap").median(), group_variance=pl.col("gap").log().var())
    )
    frame = rhythm(bought, "category").join(everyone, how="cross")
    return with_group(frame, 30, pl.col("n_intervals")).select(
        "category", "n_intervals", "own_median_days", "median_days", "log_spread"
    )


@once
def customer_rhythms(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per customer with an order."""
    today = local_day_of(as_of(warehouse, shop), shop)
    ordered = kept_orders(warehouse).select("customer_id", day=local_day("ordered_at", shop))
    categories = category_rhythms(warehouse, shop).select(
        first_category="category",
        group_median="median_days",
        group_variance=pl.col("log_spread") ** 2,
    )
    last = ordered.group_by("customer_id").agg(last_ordered_on=pl.col("day").max())
    frame = (
        rhythm(ordered, "customer_id")
        .join(last, on="customer_id")
        .join(segments(warehouse).select("customer_id", "first_category"), on="customer_id")
        .join(categories, on="first_category", how="left")
    )
    since = (pl.lit(today) - pl.col("last_ordered_on")).dt.total_days()
    frame = (
        with_group(frame, 4, pl.col("n_intervals") - 1)
        .rename({"median_days": "expected_days"})
        .with_columns(n_days_since_order=since)
    )
    expected, spread = (frame[c].to_numpy() for c in ("expected_days", "log_spread"))
    since = frame["n_days_since_order"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        late = stats.norm.cdf((np.log(since) - np.log(expected)) / spread)
        nine_of_ten = np.ceil(np.round(expected * np.exp(stats.norm.ppf(0.9) * spread), 6))
    frame = frame.with_columns(
        lateness=pl.Series(late).fill_nan(None),
        dormant_after_days=pl.Series(nine_of_ten).fill_nan(None).cast(pl.Int64),
    ).with_columns(is_dormant=pl.col("n_days_since_order") > pl.col("dormant_after_days"))

    # The first day on which more days have passed, since any order, than the rhythm allows: it
    # comes no later than the next order, or today.
    lapses = (
        ordered.unique()
        .sort("customer_id", "day")
        .with_columns(until=pl.col("day").shift(-1).over("customer_id").fill_null(today))
        .join(frame.select("customer_id", "dormant_after_days"), on="customer_id")
        .with_columns(
            first_dormant_on=pl.col("day") + pl.duration(days=pl.col("dormant_after_days") + 1)
        )
        .filter(pl.col("first_dormant_on") <= pl.col("until"))
        .group_by("customer_id")
        .agg(pl.col("first_dormant_on").min())
    )
    return frame.join(lapses, on="customer_id", how="left").select(
        "customer_id",
        "first_category",
        "n_intervals",
        "own_median_days",
        "expected_days",
        "log_spread",
        "dormant_after_days",
        "last_ordered_on",
        "n_days_since_order",
        "lateness",
        "is_dormant",
        "first_dormant_on",
    )


# ---------------------------------------------------------------------------------------------
# Survival
# ---------------------------------------------------------------------------------------------


@once
def survival_times(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per curve and customer: the days until it happened, else until today."""
    today = local_day_of(as_of(warehouse, shop), shop)
    days = (
        kept_orders(warehouse)
        .sort("ordered_at", "order_id")
        .select("customer_id", day=local_day("ordered_at", shop))
        .group_by("customer_id", maintain_order=True)
        .agg("day")
    )
    happened = {
        f"order_{n}": days.select(
            "customer_id",
            first=pl.col("day").list.first(),
            on=pl.col("day").list.get(n - 1, null_on_oob=True),
        )
        for n in range(2, 6)
    }
    lapses = customer_rhythms(warehouse, shop).select("customer_id", on="first_dormant_on")
    happened["dormancy"] = days.select("customer_id", first=pl.col("day").list.first()).join(
        lapses, on="customer_id", how="left"
    )
    return pl.concat(
        frame.select(
            pl.lit(curve).alias("curve"),
            "customer_id",
            n_days=(pl.col("on").fill_null(today) - pl.col("first")).dt.total_days(),
            has_happened=pl.col("on").is_not_null(),
        )
        for curve, frame in happened.items()
    )


@once
def survival_curves(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per curve, segment and number of days: Kaplan and Meier, with Greenwood."""
    group = ["curve", "segment_type", "segment"]
    counts = (
        by_segment(survival_times(warehouse, shop), warehouse, SEGMENTS)
        .group_by(*group, "n_days")
        .agg(
            n_events=pl.col("has_happened").sum().cast(pl.Int64),
            n_censored=(~pl.col("has_happened")).sum().cast(pl.Int64),
        )
        .sort(*group, "n_days")
        .with_columns(n_left=pl.col("n_events") + pl.col("n_censored"))
        .with_columns(n_at_risk=pl.col("n_left").cum_sum(reverse=True).over(group))
    )
    n, d = pl.col("n_at_risk"), pl.col("n_events")
    curves = counts.with_columns(
        survival=(1 - d / n).cum_prod().over(group),
        greenwood=(d / (n * (n - d))).cum_sum().over(group),
    )
    # log(-log S) has the standard error sqrt(greenwood) / |log S|.
    log = pl.col("survival").log()
    reach = Z * pl.col("greenwood").sqrt() / log.abs()
    is_inside = pl.col("survival").is_between(0, 1, closed="none")
    return curves.with_columns(
        survival_low=pl.when(is_inside).then(pl.col("survival") ** reach.exp()),
        survival_high=pl.when(is_inside).then(pl.col("survival") ** (-reach).exp()),
    ).select(
        *group,
        "n_days",
        "n_at_risk",
        "n_events",
        "n_censored",
        "survival",
        "survival_low",
        "survival_high",
    )


def log_rank(times: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Each segment against all the others: names, expected events, chi-square and p-value.

    At each time that anything happened, the events of a segment are drawn from those at risk as
    balls from an urn (N. Mantel, 1966): hypergeometric mean and variance, added up.
    """
    names = times["segment"].unique().sort().to_numpy()
    at = times.filter("has_happened")["n_days"].unique().sort().to_numpy()

    def at_risk_and_events(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        watched = np.sort(frame["n_days"].to_numpy())
        events = np.sort(frame.filter("has_happened")["n_days"].to_numpy())
        n = len(watched) - np.searchsorted(watched, at, "left")
        return n, np.searchsorted(events, at, "right") - np.searchsorted(events, at, "left")

    n, d = at_risk_and_events(times)
    expected, square = [], []
    for name in names:
        n_own, d_own = at_risk_and_events(times.filter(pl.col("segment") == name))
        share = n_own / n
        variance = (d * share * (1 - share) * (n - d) / np.maximum(n - 1, 1)).sum()
        expected.append((d * share).sum())
        excess = d_own.sum() - expected[-1]
        square.append(excess**2 / variance if variance > 0 else np.nan)
    chi = np.array(square)
    return names, np.array(expected), chi, stats.chi2.sf(chi, 1)


def survival_summaries(warehouse: Path, shop: Shop) -> pl.DataFrame:
    """One row per curve and segment."""
    group = ["curve", "segment_type", "segment"]
    curves = survival_curves(warehouse, shop).sort(*group, "n_days")

    def first_at_half(column: str) -> pl.Expr:
        # A curve without censoring comes to one half exactly; its float may be a little above.
        return pl.col("n_days").filter(pl.col(column) <= 0.5 + 1e-12).min()

    def share_within(n_days: int) -> pl.Expr:
        happened = 1 - pl.col("survival").filter(pl.col("n_days") <= n_days).min().fill_null(1.0)
        return pl.when(pl.col("n_days").max() >= n_days).then(happened)

    frame = curves.group_by(group).agg(
        n_customers=(pl.col("n_events") + pl.col("n_censored")).sum(),
        n_events=pl.col("n_events").sum(),
        n_days_watched=pl.col("n_days").max(),
        median_days=first_at_half("survival"),
        median_days_low=first_at_half("survival_low"),
        median_days_high=first_at_half("survival_high"),
        share_within_30_days=share_within(30),
        share_within_90_days=share_within(90),
        share_within_365_days=share_within(365),
    )
    times = by_segment(survival_times(warehouse, shop), warehouse, SEGMENTS)
    tests = []
    for (curve, kind), part in times.group_by("curve", "segment_type"):
        if kind != "all":
            names, expected, chi, p = log_rank(part)
            for row in zip(names, expected, chi, p, strict=True):
                tests.append((curve, kind, *row))
    columns = ("n_expected_events", "log_rank", "p_value")
    schema = dict.fromkeys(group, pl.String) | dict.fromkeys(columns, pl.Float64)
    tested = pl.DataFrame(tests, schema=schema, orient="row")
    return frame.join(
        tested.with_columns(pl.col("log_rank", "p_value").fill_nan(None)), on=group, how="left"
    )
