"""What the report reads: DuckDB SQL over the marts in, polars data frames out.

A question that the warehouse cannot answer raises `NothingToShow` with the reason; the page
prints it in the place of the section.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl

from perennial.errors import UserError

# The columns of each mart that the report needs.
COLUMNS = {
    table: columns.split()
    for table, columns in {
        "headlines": "figure_number figure label unit value previous_value explanation",
        "cohort_retention": "grain segment_type cohort_start_on period_number is_mature "
        "n_customers retention_numerator retention_denominator retention_rate "
        "retention_rate_low retention_rate_high",
        "retention_curves": "definition kind period_grain segment_type period_number n_cohorts "
        "retention_numerator retention_denominator retention_rate retention_rate_low "
        "retention_rate_high",
        "survival_curves": "curve segment_type n_days n_at_risk survival survival_low "
        "survival_high",
        "survival_summaries": "curve segment_type n_customers n_events n_days_watched median_days "
        "median_days_low median_days_high",
        "growth_accounting": "activity grain segment_type period_start_on is_mature "
        "n_active_customers n_new n_retained n_resurrected n_churned quick_ratio",
        "retention_change": "kpi compared_with period_start_on previous_period_start_on "
        "segment_type cause value_before value_after effect",
        "scoreboard": "figure_number figure label unit compared_from value_before value_after "
        "difference difference_low difference_high is_more_than_noise explanation",
        "funnels": "funnel mode grain period_start_on segment_type step event is_mature "
        "n_entered n_reached median_hours_from_entry",
        "rfm": "segment recency_days frequency monetary_amount recency_score frequency_score",
        "segment_migrations": "from_on to_on from_segment to_segment n_customers share_of_segment",
        "weekly_forecasts": "metric week_start_on horizon_weeks status model_name expected "
        "expected_low expected_high n_tests mean_absolute_error naive_mean_absolute_error "
        "is_better_than_naive coverage_rate",
        "churn_feature_importance": "horizon_days theme feature auc_drop auc_drop_low "
        "auc_drop_high",
        "clusters": "cluster n_customers customer_share revenue_amount revenue_share "
        "median_recency_days median_frequency median_monetary_amount",
        "churn_model_evaluation": "model_name status is_champion horizon_days trained_until_on "
        "tested_on n_customers n_churned churn_rate roc_auc brier_score log_loss "
        "calibration_error top_decile_lift",
        "churn_model_deciles": "model_name horizon_days risk_decile n_customers n_churned "
        "mean_probability churn_rate churn_rate_low churn_rate_high lift cumulative_gain",
        "churn_model_metrics": "model_name horizon_days group_type group_value metric n_customers "
        "n_churned value value_low value_high",
        "churn_scores": "risk_decile reason_1",
        "churn_risk_by_value": "risk value_quarter horizon_days n_customers historical_amount "
        "expected_amount_365d",
        "customer_lifetime_value": "status model_name expected_purchases_90d expected_amount_90d "
        "expected_amount_365d",
        "lifetime_value_models": "cut model_name status is_chosen n_customers n_repeat_customers "
        "log_likelihood bic holdout_log_score",
        "lifetime_value_calibration": "grouped_by group_value horizon_days n_customers "
        "expected_purchases n_purchases expected_amount amount purchases_coverage_rate "
        "amount_coverage_rate",
        "purchase_seasons": "month_number season_index season_index_low season_index_high "
        "n_purchases is_used",
        "recommenders": "recommender status is_chosen n_customers validation_ndcg ndcg ndcg_low "
        "ndcg_high gain_over_popular gain_over_popular_low gain_over_popular_high "
        "is_better_than_popular",
        "recommendations": "customer_id recommendation_rank product_id reason explanation",
        "item_similarity": "basis product_id similar_product_id n_both n_product n_similar "
        "n_baskets lift log_likelihood_ratio",
        "products": "product_id name",
        "data_quality": "table_name outcome n_rows",
        "settings": "name value",
        "data_checks": "check_name severity table_name subject span_days checked_on value "
        "expected_value score threshold is_alert",
        "feed_days": "table_name measure span_days day_on value expected_value expected_low "
        "expected_high is_anomaly",
        "feed_freshness": "table_name last_on silent_days usual_silent_days allowed_silent_days "
        "is_judged is_stale",
        "feature_drift": "feature n_today psi psi_by_chance usual_psi is_judged is_drifted",
        "run_results": "invocation_id node kind status seconds made n_rows n_changed_keys",
        "runs": "invocation_id started_at status",
    }.items()
}

# The run log, which is no mart: a failed first build leaves it too.
RUN_LOG = {"runs", "run_results"}

MONTHS_SHOWN = 13
GROWTH_MONTHS_SHOWN = 24
SURVIVAL_DAYS_SHOWN = 365
# The days after the first order of which the table tells.
SURVIVAL_DAYS_TOLD = (7, 30, 60, 90, 180, 365)
FUNNEL_MONTHS_SHOWN = 12
RECOMMENDED_PLACES_SHOWN = 4
RECOMMENDED_CUSTOMERS_SHOWN = 3
VALUE_COHORTS_SHOWN = 12
# On the map of what goes with what.
LINKS_SHOWN = 40
PAIRS_SHOWN = 10
REASONS_SHOWN = 5
FEEDS_SHOWN = 4
FEED_DAYS_SHOWN = 90
MODELS_SHOWN = 8


class NothingToShow(Exception):  # noqa: N818 - an answer, not an error
    """A section has nothing to show; the message goes on after 'because …'."""


class Marts:
    """The marts of one opened warehouse."""

    def __init__(self, connection: duckdb.DuckDBPyConnection):
        self._connection = connection
        rows = connection.execute(
            """
            select table_name, column_name
            from information_schema.columns
            where table_catalog = 'warehouse' and table_schema in ('marts', 'monitoring')
            """
        ).fetchall()
        self.columns: dict[str, set[str]] = {}
        for table, column in rows:
            self.columns.setdefault(table, set()).add(column)

    def read(self, sql: str, *tables: str, empty: str, **values: object) -> pl.DataFrame:
        """Answer `sql`, which names `tables`; `$name` in it takes its value from `values`."""
        for table in tables:
            if table not in self.columns:
                raise NothingToShow(
                    f"this warehouse has no table {_named(table)}; "
                    "run “perennial build” and write the report again."
                )
            lacking = [c for c in COLUMNS[table] if c not in self.columns[table]]
            if lacking:
                raise NothingToShow(
                    f"{_named(table)} has no column {', '.join(lacking)}; "
                    "build the warehouse again with this version of Perennial."
                )
        frame = self._connection.sql(sql, params=values or None).pl()
        if frame.is_empty():
            raise NothingToShow(empty)
        # JSON knows no such number; to the page it is as unknown as null.
        return frame.fill_nan(None)


@contextmanager
def open_warehouse(path: Path) -> Iterator[Marts]:
    """Open a warehouse read-only; what stands in the way becomes a `UserError`."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; build the warehouse first with “perennial build”.")
    if not path.is_file():
        raise UserError(f"{path} is no file; give the warehouse's .duckdb file.")
    connection = duckdb.connect(config={"threads": 2})
    try:
        # Attached under a name of our own: a file called marts.duckdb would otherwise make
        # the name marts mean two things.
        literal = str(path).replace("'", "''")
        try:
            connection.execute(f"attach '{literal}' as warehouse (read_only)")
        except duckdb.Error as error:
            raise UserError(_why_not(path, error)) from error
        connection.execute("use warehouse")
        connection.execute("set TimeZone = 'UTC'")
        marts = Marts(connection)
        if not set(marts.columns) & (set(COLUMNS) - RUN_LOG):
            raise UserError(f"{path} holds no marts; run “perennial build” on it first.")
        try:
            yield marts
        except duckdb.Error as error:
            first_line = str(error).splitlines()[0]
            raise UserError(
                f"{path} cannot be read ({first_line}); build the warehouse again."
            ) from error
    finally:
        connection.close()


def _named(table: str) -> str:
    return f"{'monitoring' if table in RUN_LOG else 'marts'}.{table}"


def _why_not(path: Path, error: duckdb.Error) -> str:
    """Say in one sentence why a warehouse cannot be opened and what to do."""
    text = str(error)
    if "lock" in text.lower() or isinstance(error, duckdb.ResourceInUseException):
        return (
            f"{path} is in use by another program; wait until it has finished, "
            "or give a copy of the file."
        )
    if "not a valid DuckDB" in text:
        return f"{path} is not a DuckDB file; give the file that “perennial build” wrote."
    return f"{path} cannot be opened ({text.splitlines()[0]}); build the warehouse again."


def settings(marts: Marts) -> dict[str, str]:
    """Return the settings of the build, by name; none if the warehouse does not tell."""
    try:
        frame = marts.read("select name, value from marts.settings", "settings", empty="")
    except NothingToShow:
        return {}
    return {name: value for name, value in frame.iter_rows() if name and value}


def headlines(marts: Marts) -> pl.DataFrame:
    """One row per headline figure, in order."""
    return marts.read(
        """
        select figure, label, unit, value, previous_value, explanation
        from marts.headlines
        order by figure_number, figure
        """,
        "headlines",
        empty="the shop has no orders yet.",
    )


def cohort_cells(marts: Marts) -> pl.DataFrame:
    """One row per monthly cohort and month after it, for the last cohorts and months."""
    return marts.read(
        """
        with cells as (
            select *
            from marts.cohort_retention
            where grain = 'month' and segment_type = 'all'
        )

        select
            cohort_start_on,
            cast(period_number as integer) as period_number,
            is_mature,
            n_customers,
            retention_numerator as n_active,
            retention_denominator as n_whole,
            retention_rate as rate,
            retention_rate_low as rate_low,
            retention_rate_high as rate_high,
            (select count(distinct cohort_start_on) from cells) as n_cohorts
        from cells
        where
            cohort_start_on
            > (select max(cohort_start_on) from cells) - to_months(cast($months as integer))
            and period_number < $months
        order by cohort_start_on, period_number
        """,
        "cohort_retention",
        empty="no customer has ordered yet.",
        months=MONTHS_SHOWN,
    )


def return_curve(marts: Marts) -> pl.DataFrame:
    """One row per month after the first, of all cohorts together that are old enough.

    By the definition order_months, or the first exact one of months where the shop has none.
    """
    return marts.read(
        """
        with months as (
            select *
            from marts.retention_curves
            where
                kind = 'exact'
                and period_grain = 'month'
                and segment_type = 'all'
                and period_number > 0
        )

        select
            definition,
            cast(period_number as integer) as period_number,
            n_cohorts,
            retention_numerator as n_active,
            retention_denominator as n_whole,
            retention_rate as rate,
            retention_rate_low as rate_low,
            retention_rate_high as rate_high
        from months
        where
            definition = (
                select definition
                from months
                order by definition = 'order_months' desc, definition
                limit 1
            )
        order by period_number
        """,
        "retention_curves",
        empty="no cohort is old enough yet, or the shop defines no retention by months.",
    )


def second_order_curve(marts: Marts) -> pl.DataFrame:
    """Share of the customers who have ordered again, by days since the first order.

    A day without a row is like the one before it.
    """
    return marts.read(
        """
        select
            cast(n_days as integer) as n_days,
            n_at_risk,
            1 - survival as share,
            1 - survival_high as share_low,
            1 - survival_low as share_high
        from marts.survival_curves
        where curve = 'order_2' and segment_type = 'all' and n_days <= $days
        order by n_days
        """,
        "survival_curves",
        empty="no customer has ordered yet.",
        days=SURVIVAL_DAYS_SHOWN,
    )


def second_order_summary(marts: Marts) -> pl.DataFrame:
    """Return the one row about the time between the first and the second order."""
    return marts.read(
        """
        select
            n_customers,
            n_events,
            n_days_watched,
            median_days,
            median_days_low,
            median_days_high
        from marts.survival_summaries
        where curve = 'order_2' and segment_type = 'all'
        """,
        "survival_summaries",
        empty="no customer has ordered yet.",
    )


def scoreboard(marts: Marts) -> pl.DataFrame:
    """One row per figure of the scoreboard, in order."""
    return marts.read(
        """
        select *
        from marts.scoreboard
        where value_before is not null or value_after is not null
        order by figure_number, figure
        """,
        "scoreboard",
        empty="the shop has no history on either side of the date yet.",
    )


def growth(marts: Marts) -> pl.DataFrame:
    """One row per month that has wholly passed, the last ones, the oldest first."""
    return marts.read(
        """
        with months as (
            select *
            from marts.growth_accounting
            where
                activity = 'order'
                and grain = 'month'
                and segment_type = 'all'
                and is_mature
        )

        select
            period_start_on,
            n_active_customers,
            n_new,
            n_retained,
            n_resurrected,
            n_churned,
            quick_ratio
        from months
        where
            period_start_on
            > (select max(period_start_on) from months) - to_months(cast($months as integer))
        order by period_start_on
        """,
        "growth_accounting",
        empty="no month with an order has wholly passed yet.",
        months=GROWTH_MONTHS_SHOWN,
    )


def revenue_change(marts: Marts) -> pl.DataFrame:
    """One row per cause of the last whole month's change of revenue, in the order of the causes.

    Orders of guests are a segment of their own, so that the segments are added up.
    """
    return marts.read(
        """
        with changes as (
            select *
            from marts.retention_change
            where
                kpi = 'revenue'
                and compared_with = 'month before'
                and segment_type = 'all'
        ),

        added as (
            select
                period_start_on,
                previous_period_start_on,
                cause,
                case when count(value_before) = count(*) then sum(value_before) end
                    as value_before,
                case when count(value_after) = count(*) then sum(value_after) end
                    as value_after,
                case when count(effect) = count(*) then sum(effect) end as effect
            from changes
            where period_start_on = (select max(period_start_on) from changes)
            group by all
        )

        select * replace (
            round(value_before, 2) as value_before,
            round(value_after, 2) as value_after,
            round(effect, 2) as effect
        )
        from added
        order by
            list_position(
                ['calendar', 'customers', 'mix', 'behaviour', 'price', 'refunds'], cause
            ) nulls last,
            cause
        """,
        "retention_change",
        empty="a change needs two months with orders that have wholly passed.",
    )


def funnel(marts: Marts) -> pl.DataFrame:
    """One row per step of one funnel: the months that have wholly passed, the last ones, together.

    The funnel is `buying`, or the first by name where the shop has none of that name. Medians
    cannot be added up: that of the last of the months stands for itself.
    """
    return marts.read(
        """
        with months as (
            select *
            from marts.funnels
            where grain = 'month' and segment_type = 'all' and is_mature
        ),

        chosen as (
            select *
            from months
            where
                funnel = (
                    select funnel
                    from months
                    order by funnel = 'buying' desc, funnel
                    limit 1
                )
        ),

        latest as (
            select *
            from chosen
            where
                period_start_on
                > (select max(period_start_on) from chosen)
                - to_months(cast($months as integer))
        )

        select
            funnel,
            any_value(mode) as mode,
            cast(step as integer) as step,
            any_value(event) as event,
            min(period_start_on) as from_on,
            max(period_start_on) as until_on,
            cast(sum(n_entered) as bigint) as n_entered,
            cast(sum(n_reached) as bigint) as n_reached,
            arg_max_null(median_hours_from_entry, period_start_on) as median_hours
        from latest
        group by funnel, step
        order by step
        """,
        "funnels",
        empty="nobody has entered a funnel in a month whose time has wholly passed.",
        months=FUNNEL_MONTHS_SHOWN,
    )


def rfm_segments(marts: Marts) -> pl.DataFrame:
    """One row per segment: how many customers, how much revenue, what they are like."""
    return marts.read(
        """
        with segments as (
            select
                coalesce(segment, 'unnamed') as segment,
                count(*) as n_customers,
                cast(sum(monetary_amount) as double) as revenue,
                cast(median(recency_days) as double) as recency_days,
                cast(median(frequency) as double) as n_orders
            from marts.rfm
            group by all
        )

        select
            *,
            n_customers / sum(n_customers) over () as customer_share,
            case when sum(revenue) over () > 0 then revenue / sum(revenue) over () end
                as revenue_share
        from segments
        order by n_customers desc, segment
        """,
        "rfm",
        empty="no customer has ordered yet.",
    )


def rfm_cells(marts: Marts) -> pl.DataFrame:
    """One row per recency and frequency score that customers have, with their commonest segment."""
    return marts.read(
        """
        select
            recency_score,
            frequency_score,
            count(*) as n_customers,
            mode(coalesce(segment, 'unnamed') order by segment) as segment
        from marts.rfm
        where recency_score is not null and frequency_score is not null
        group by recency_score, frequency_score
        """,
        "rfm",
        empty="no customer has ordered yet.",
    )


def segment_moves(marts: Marts) -> pl.DataFrame:
    """One row per segment of the earlier day and of the last, the most customers first."""
    return marts.read(
        """
        select *
        from marts.segment_migrations
        where to_on = (select max(to_on) from marts.segment_migrations)
        order by n_customers desc, from_segment, to_segment
        """,
        "segment_migrations",
        empty="no customer has ordered yet.",
    )


def weeks(marts: Marts) -> pl.DataFrame:
    """One row per week ahead: how many orders are expected, and how good that is."""
    return marts.read(
        """
        select *
        from marts.weekly_forecasts
        where metric = 'orders'
        order by week_start_on
        """,
        "weekly_forecasts",
        empty="no week has wholly passed since the first order.",
    )


def churn_themes(marts: Marts, horizon_days: int) -> pl.DataFrame:
    """One row per theme of features: how much the model in use goes by it, the most first."""
    return marts.read(
        """
        select theme, auc_drop, auc_drop_low, auc_drop_high
        from marts.churn_feature_importance
        where horizon_days = $horizon_days and feature is null and isfinite(auc_drop)
        order by auc_drop desc, theme
        """,
        "churn_feature_importance",
        empty="the test has too few customers.",
        horizon_days=horizon_days,
    )


def clusters(marts: Marts) -> pl.DataFrame:
    """One row per group of customers that formed by itself, the one of most revenue first."""
    return marts.read(
        """
        select * replace (cast(revenue_amount as double) as revenue_amount)
        from marts.clusters
        order by revenue_amount desc, cluster
        """,
        "clusters",
        empty="there are too few customers for groups to form.",
    )


def churn_candidates(marts: Marts) -> pl.DataFrame:
    """One row per candidate model, the champion first."""
    return marts.read(
        """
        select * replace (coalesce(is_champion, false) as is_champion)
        from marts.churn_model_evaluation
        -- The horizon of the setting: the others are shorter.
        where horizon_days = (select max(horizon_days) from marts.churn_model_evaluation)
        order by is_champion desc, log_loss nulls last, model_name
        """,
        "churn_model_evaluation",
        empty="no churn model was trained: the shop has too little history.",
    )


def churn_deciles(marts: Marts, model_name: str, horizon_days: int) -> pl.DataFrame:
    """One row per risk decile of one model and horizon, the highest risk first."""
    return marts.read(
        """
        select * replace (
            coalesce(churn_rate_low, churn_rate) as churn_rate_low,
            coalesce(churn_rate_high, churn_rate) as churn_rate_high
        )
        from marts.churn_model_deciles
        where
            model_name = $model_name
            and horizon_days = $horizon_days
            and isfinite(churn_rate)
            and isfinite(mean_probability)
        order by risk_decile
        """,
        "churn_model_deciles",
        empty="the test of the churn model left no deciles.",
        model_name=model_name,
        horizon_days=horizon_days,
    )


def churn_groups(marts: Marts, model_name: str, horizon_days: int) -> pl.DataFrame:
    """One row per group of customers: how good a model was for it, everyone first."""
    measures = ", ".join(
        f"max(value{end}) filter (where metric = '{metric}') as {metric}{end}"
        for metric in ("roc_auc", "recall", "false_alarm_rate")
        for end in ("", "_low", "_high")
    )
    return marts.read(
        f"""
        select group_type, group_value, max(n_customers) as n_customers,
            max(n_churned) as n_churned, {measures}
        from marts.churn_model_metrics
        where model_name = $model_name and horizon_days = $horizon_days
        group by group_type, group_value
        order by group_type <> 'all', group_type, group_value
        """,
        "churn_model_metrics",
        empty="the test has too few customers.",
        model_name=model_name,
        horizon_days=horizon_days,
    )


def churn_reasons(marts: Marts) -> pl.DataFrame:
    """Return the commonest main reasons among the customers of the highest risk decile.

    Reasons that differ in their first number only ("last order 91 days ago") are one: `said`
    has … in its place and `middle` is the median of the numbers.
    """
    return marts.read(
        r"""
        with at_risk as (
            select
                coalesce(
                    regexp_replace(nullif(trim(reason_1), ''), '[0-9]+([.][0-9]+)?', '…'),
                    'no reason stands out'
                ) as said,
                try_cast(regexp_extract(reason_1, '[0-9]+([.][0-9]+)?') as double) as number
            from marts.churn_scores
            where risk_decile = 1
        )

        select
            said,
            cast(median(number) as double) as middle,
            count(*) as n_customers,
            (select count(*) from at_risk) as n_at_risk
        from at_risk
        group by said
        order by n_customers desc, said
        limit $reasons
        """,
        "churn_scores",
        empty="no customer was scored at this moment.",
        reasons=REASONS_SHOWN,
    )


def value_totals(marts: Marts) -> pl.DataFrame:
    """One row: what is expected of all customers together, or why nothing is."""
    return marts.read(
        """
        select
            count(*) as n_customers,
            min(status) as status,
            max(model_name) as model_name,
            sum(expected_purchases_90d) as expected_purchases_90d,
            cast(sum(expected_amount_90d) as double) as expected_amount_90d,
            cast(sum(expected_amount_365d) as double) as expected_amount_365d
        from marts.customer_lifetime_value
        having count(*) > 0
        """,
        "customer_lifetime_value",
        empty="no customer has ordered yet.",
    )


def value_models(marts: Marts) -> pl.DataFrame:
    """One row per candidate: its fit to today's customers and its score in the holdout."""
    return marts.read(
        """
        select
            models.* replace (holdout.holdout_log_score as holdout_log_score)
        from marts.lifetime_value_models as models
        left join marts.lifetime_value_models as holdout
            on models.model_name = holdout.model_name and holdout.cut = 'holdout'
        where models.cut = 'today'
        order by models.is_chosen desc, holdout.holdout_log_score desc nulls last, models.model_name
        """,
        "lifetime_value_models",
        empty="no model was fitted.",
    )


def value_calibration(marts: Marts) -> pl.DataFrame:
    """All customers first, then their cohorts, the latest ones, by month of the first order."""
    return marts.read(
        """
        select
            * replace (
                cast(expected_amount as double) as expected_amount,
                cast(amount as double) as amount
            )
        from marts.lifetime_value_calibration
        where grouped_by in ('all', 'cohort')
        qualify row_number() over (partition by grouped_by order by group_value desc) <= $cohorts
        order by grouped_by, group_value
        """,
        "lifetime_value_calibration",
        empty="nothing could be held out: too little was known a churn horizon ago.",
        cohorts=VALUE_COHORTS_SHOWN,
    )


def seasons(marts: Marts) -> pl.DataFrame:
    """The months of the year in their order."""
    return marts.read(
        "from marts.purchase_seasons order by month_number",
        "purchase_seasons",
        empty="a season is told from a year and a half of history.",
    )


def risk_by_value(marts: Marts) -> pl.DataFrame:
    """One row per band of risk and quarter of value."""
    return marts.read(
        """
        select
            * replace (
                cast(historical_amount as double) as historical_amount,
                cast(expected_amount_365d as double) as expected_amount_365d
            )
        from marts.churn_risk_by_value
        order by risk, value_quarter
        """,
        "churn_risk_by_value",
        empty="no customer was scored at this moment.",
    )


def item_pairs(marts: Marts, basis: str) -> pl.DataFrame:
    """Return the pairs of products that go together most surely, each pair once."""
    empty = (
        "no two products go together more often than chance: there are too few "
        + ("orders" if basis == "order" else "customers")
        + " with several products."
    )
    return _surest_pairs(marts, basis, 0.0, PAIRS_SHOWN, empty)


def item_map(marts: Marts) -> pl.DataFrame:
    """Return the surest links between products in orders, each once."""
    # Chance alone would give such a ratio once in a thousand pairs.
    empty = "no two products go together more often than chance."
    return _surest_pairs(marts, "order", 10.83, LINKS_SHOWN, empty)


def _surest_pairs(marts: Marts, basis: str, least_ratio: float, n: int, empty: str) -> pl.DataFrame:
    return marts.read(
        """
        with pairs as (
            -- A pair may stand in the table once or from both ends.
            select
                least(product_id, similar_product_id) as product_a,
                greatest(product_id, similar_product_id) as product_b,
                any_value(n_both) as n_both,
                any_value(if(product_id < similar_product_id, n_product, n_similar)) as n_a,
                any_value(if(product_id < similar_product_id, n_similar, n_product)) as n_b,
                any_value(n_baskets) as n_baskets,
                max(round(lift, 6)) as lift,
                -- Rounded: both ends may differ in the last bit.
                max(round(log_likelihood_ratio, 6)) as log_likelihood_ratio
            from marts.item_similarity
            where basis = $basis and product_id <> similar_product_id
            group by all
        )

        select
            coalesce(nullif(trim(a.name), ''), product_a) as name_a,
            coalesce(nullif(trim(b.name), ''), product_b) as name_b,
            pairs.*,
            n_both / n_a as confidence_a,
            n_both / n_b as confidence_b
        from pairs
        left join marts.products as a
            on product_a = a.product_id
        left join marts.products as b
            on product_b = b.product_id
        where lift > 1 and log_likelihood_ratio >= $least_ratio
        order by log_likelihood_ratio desc, product_a, product_b
        limit $n
        """,
        "item_similarity",
        "products",
        empty=empty,
        basis=basis,
        least_ratio=least_ratio,
        n=n,
    )


def recommenders(marts: Marts) -> pl.DataFrame:
    """The ways to recommend, the one in use first and then the best ones."""
    return marts.read(
        """
        from marts.recommenders
        order by is_chosen desc, ndcg desc nulls last, recommender
        """,
        "recommenders",
        empty="nobody has bought anything.",
    )


def recommendation_examples(marts: Marts) -> pl.DataFrame:
    """The first products of some customers, always the same, whose reasons are not all alike."""
    return marts.read(
        """
        with shown as (
            select customer_id
            from marts.recommendations
            where recommendation_rank <= $places
            group by customer_id
            order by count(distinct reason) desc, md5(customer_id)
            limit $customers
        )

        select
            recommendations.customer_id,
            recommendations.recommendation_rank,
            coalesce(products.name, recommendations.product_id) as product,
            recommendations.explanation
        from marts.recommendations as recommendations
        inner join shown using (customer_id)
        left join marts.products as products using (product_id)
        where recommendations.recommendation_rank <= $places
        order by md5(recommendations.customer_id), recommendations.recommendation_rank
        """,
        "recommendations",
        "products",
        empty="there are no recommendations.",
        places=RECOMMENDED_PLACES_SHOWN,
        customers=RECOMMENDED_CUSTOMERS_SHOWN,
    )


def data_quality(marts: Marts) -> pl.DataFrame:
    """One row per raw table and outcome, as long as the table had rows."""
    return marts.read(
        """
        select
            table_name,
            outcome,
            n_rows,
            cast(sum(n_rows) over (partition by table_name) as bigint) as n_rows_in
        from marts.data_quality
        where n_rows > 0
        order by table_name, outcome = 'staged' desc, n_rows desc, outcome
        """,
        "data_quality",
        empty="no raw table had any rows.",
    )


def data_checks(marts: Marts) -> pl.DataFrame:
    """One row per check of the data, alerts first, errors before warnings."""
    return marts.read(
        """
        select *
        from marts.data_checks
        order by
            is_alert desc, severity, score / nullif(threshold, 0) desc nulls last, check_name,
            table_name, subject, span_days
        """,
        "data_checks",
        empty="the shop is empty.",
    )


def feed_volumes(marts: Marts) -> pl.DataFrame:
    """Rows per day of the last days, of the tables that get most, with what was expected.

    A day that could not be judged has nulls in `expected_value`, `low` and `high`.
    """
    return marts.read(
        """
        with days as (
            select *
            from marts.feed_days
            where
                measure = 'rows'
                and span_days = 1
                and day_on > (select max(day_on) from marts.feed_days) - $days
        ),

        largest as (
            select
                table_name,
                sum(value) as n_rows
            from days
            group by all
            having count_if(value > 0) >= 0.5 * count(*)
            order by n_rows desc, table_name
            limit $feeds
        )

        select
            days.table_name,
            days.day_on,
            days.value,
            days.expected_value,
            days.expected_low as low,
            days.expected_high as high,
            days.is_anomaly
        from days
        inner join largest
            on days.table_name = largest.table_name
        order by largest.n_rows desc, days.table_name, days.day_on
        """,
        "feed_days",
        empty="no table has rows on most days.",
        days=FEED_DAYS_SHOWN,
        feeds=FEEDS_SHOWN,
    )


def feed_freshness(marts: Marts) -> pl.DataFrame:
    """One row per dated raw table, the most silent first."""
    return marts.read(
        "select * from marts.feed_freshness order by is_stale desc, silent_days desc, table_name",
        "feed_freshness",
        empty="no table has had rows before the day of as of.",
    )


def feature_drift(marts: Marts) -> pl.DataFrame:
    """One row per feature, and one for the scores, the most drifted first."""
    return marts.read(
        "select * from marts.feature_drift order by is_drifted desc, psi desc nulls last, feature",
        "feature_drift",
        empty="there are no churn features of an earlier moment to compare with.",
    )


def slowest_models(marts: Marts) -> pl.DataFrame:
    """Return the models that took longest in the last run, with the run's start and whole time."""
    return marts.read(
        """
        with last_run as (
            select *
            from monitoring.runs
            where invocation_id in (
                select invocation_id from monitoring.run_results where kind = 'model'
            )
            order by started_at desc, invocation_id
            limit 1
        )

        select
            last_run.started_at,
            last_run.status,
            results.node,
            results.seconds,
            results.made,
            results.n_rows,
            results.n_changed_keys,
            count(*) over () as n_models,
            sum(results.seconds) over () as total_seconds
        from monitoring.run_results as results
        inner join last_run
            on results.invocation_id = last_run.invocation_id
        where results.kind = 'model'
        order by results.seconds desc, results.node
        limit $models
        """,
        "runs",
        "run_results",
        empty="no build has been written down.",
        models=MODELS_SHOWN,
    )
