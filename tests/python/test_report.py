"""The report page: what it says, what it survives, and how a real browser draws it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import duckdb
import networkx
import pytest

from perennial import __version__
from perennial.cli import main
from perennial.errors import UserError
from perennial.report import formatting, write_report
from perennial.report import page as page_module
from perennial.report.page import heat_steps

SECTIONS = [
    "headlines",
    "scoreboard",
    "cohorts",
    "growth",
    "segments",
    "churn",
    "value",
    "funnel",
    "pairs",
    "recommendations",
    "quality",
    "health",
]
CHARTS = [
    "chart-return-curve",
    "chart-second-order",
    "chart-growth",
    "chart-change",
    "chart-weeks",
    "chart-segments",
    "chart-deciles",
    "chart-calibration",
    "chart-value",
    "chart-season",
    "chart-funnel",
    "chart-map",
    "chart-recommenders",
    "chart-quality",
    "chart-feed-order-items",
    "chart-feed-orders",
]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
NASTY = """</script><script>alert("x")</script> 'quoted' & “büro” 茶杯"""

SCHEMA = """
create schema marts;
create table marts.headlines (
    figure_number int, figure varchar, label varchar, unit varchar, value double,
    previous_value double, explanation varchar
);
create table marts.cohort_retention (
    grain varchar, segment_type varchar, segment varchar, cohort_start_on date,
    period_number bigint, is_mature boolean, n_customers bigint, retention_numerator bigint,
    retention_denominator bigint, retention_rate double, retention_rate_low double,
    retention_rate_high double
);
create table marts.retention_curves (
    definition varchar, kind varchar, period_grain varchar, segment_type varchar,
    segment varchar, period_number bigint, n_cohorts bigint, retention_numerator bigint,
    retention_denominator bigint, retention_rate double, retention_rate_low double,
    retention_rate_high double
);
create table marts.survival_curves (
    curve varchar, segment_type varchar, segment varchar, n_days int, n_at_risk bigint,
    survival double, survival_low double, survival_high double
);
create table marts.survival_summaries (
    curve varchar, segment_type varchar, segment varchar, n_customers bigint, n_events bigint,
    n_days_watched int, median_days int, median_days_low int, median_days_high int
);
create table marts.growth_accounting (
    activity varchar, grain varchar, segment_type varchar, segment varchar,
    period_start_on date, is_mature boolean, n_active_customers bigint, n_new bigint,
    n_retained bigint, n_resurrected bigint, n_churned bigint, quick_ratio double
);
create table marts.retention_change (
    kpi varchar, compared_with varchar, period_start_on date, previous_period_start_on date,
    segment_type varchar, segment varchar, cause varchar, value_before double,
    value_after double, effect double
);
create table marts.scoreboard (
    figure_number int, figure varchar, label varchar, unit varchar, compared_from date,
    value_before double, value_after double, difference double, difference_low double,
    difference_high double, is_more_than_noise boolean, explanation varchar
);
create table marts.funnels (
    funnel varchar, mode varchar, grain varchar, period_start_on date, segment_type varchar,
    segment varchar, step bigint, event varchar, is_mature boolean, n_entered bigint,
    n_reached bigint, median_hours_from_entry double
);
create table marts.rfm (
    customer_id varchar, segment varchar, recency_days bigint, frequency bigint,
    monetary_amount decimal(18, 2), recency_score bigint, frequency_score bigint
);
create table marts.segment_migrations (
    from_on date, to_on date, from_segment varchar, to_segment varchar, n_customers bigint,
    share_of_segment double
);
create table marts.weekly_forecasts (
    metric varchar, week_start_on date, horizon_weeks bigint, status varchar, model_name varchar,
    expected double, expected_low double, expected_high double, n_tests bigint,
    mean_absolute_error double, naive_mean_absolute_error double, is_better_than_naive boolean,
    coverage_rate double
);
create table marts.churn_feature_importance (
    horizon_days bigint, theme varchar, feature varchar, auc_drop double, auc_drop_low double,
    auc_drop_high double
);
create table marts.churn_model_evaluation (
    model_name varchar, status varchar, is_champion boolean, horizon_days bigint,
    trained_until_on date, tested_on date, n_customers bigint, n_churned bigint,
    churn_rate double, roc_auc double, brier_score double, log_loss double,
    calibration_error double, top_decile_lift double
);
create table marts.churn_model_deciles (
    model_name varchar, horizon_days bigint, risk_decile bigint, n_customers bigint,
    n_churned bigint, mean_probability double, churn_rate double, churn_rate_low double,
    churn_rate_high double, lift double, cumulative_gain double
);
create table marts.churn_scores (
    customer_id varchar, scored_at timestamp, model_name varchar, horizon_days bigint,
    churn_probability double, risk_decile bigint, reason_1 varchar, reason_2 varchar,
    reason_3 varchar
);
create table marts.clusters (
    cluster varchar, n_customers bigint, customer_share double, revenue_amount decimal(18, 2),
    revenue_share double, median_recency_days double, median_frequency double,
    median_monetary_amount double
);
create table marts.churn_model_metrics (
    model_name varchar, horizon_days bigint, group_type varchar, group_value varchar,
    metric varchar, n_customers bigint, n_churned bigint, value double, value_low double,
    value_high double
);
create table marts.customer_lifetime_value (
    customer_id varchar, status varchar, model_name varchar, expected_purchases_90d double,
    expected_amount_90d decimal(18, 2), expected_amount_365d decimal(18, 2)
);
create table marts.lifetime_value_models (
    cut varchar, model_name varchar, status varchar, is_chosen boolean, n_customers bigint,
    n_repeat_customers bigint, log_likelihood double, bic double, holdout_log_score double
);
create table marts.lifetime_value_calibration (
    grouped_by varchar, group_value varchar, model_name varchar, horizon_days bigint,
    n_customers bigint, expected_purchases double, n_purchases bigint,
    expected_amount decimal(18, 2), amount decimal(18, 2), purchases_coverage_rate double,
    amount_coverage_rate double
);
create table marts.purchase_seasons (
    month_number int, season_index double, season_index_low double, season_index_high double,
    n_purchases bigint, is_used boolean
);
create table marts.recommenders (
    recommender varchar, status varchar, is_chosen boolean, n_customers bigint,
    validation_ndcg double, ndcg double, ndcg_low double, ndcg_high double,
    gain_over_popular double, gain_over_popular_low double, gain_over_popular_high double,
    is_better_than_popular boolean
);
create table marts.recommendations (
    customer_id varchar, recommendation_rank int, product_id varchar, reason varchar,
    explanation varchar
);
create table marts.churn_risk_by_value (
    risk varchar, value_quarter int, horizon_days int, n_customers bigint,
    historical_amount decimal(18, 2), expected_amount_365d decimal(18, 2)
);
create table marts.products (product_id varchar, name varchar);
create table marts.item_similarity (
    basis varchar, product_id varchar, similar_product_id varchar, n_both bigint,
    n_product bigint, n_similar bigint, n_baskets bigint, lift double,
    log_likelihood_ratio double
);
create table marts.data_quality (
    table_name varchar, outcome varchar, n_rows bigint, share_of_table double
);
create table marts.settings (name varchar, value varchar);
create table marts.data_checks (
    check_name varchar, severity varchar, table_name varchar, subject varchar, span_days int,
    checked_on date, value double, expected_value double, score double, threshold double,
    is_alert boolean
);
create table marts.feed_days (
    table_name varchar, measure varchar, span_days int, day_on date, value double,
    expected_value double, expected_low double, expected_high double, is_anomaly boolean
);
create table marts.feed_freshness (
    table_name varchar, last_on date, silent_days int, usual_silent_days int,
    allowed_silent_days int, is_judged boolean, is_stale boolean
);
create table marts.feature_drift (
    feature varchar, n_today bigint, psi double, psi_by_chance double, usual_psi double,
    is_judged boolean, is_drifted boolean
);
create schema monitoring;
create table monitoring.runs (invocation_id varchar, started_at timestamp, status varchar);
create table monitoring.run_results (
    invocation_id varchar, node varchar, kind varchar, status varchar, seconds double,
    made varchar, n_rows bigint, n_changed_keys bigint
);
"""

ROWS = """
insert into marts.headlines values
    (2, 'revenue', 'Revenue', 'money', 123456.7, 100000, 'Net, in the last 90 days.'),
    (1, 'active_customers', 'Active customers', 'customers', 1200, 1000, 'In the last 90 days.'),
    (3, 'average_order', 'Average order', 'money', 45.5, 45.5, 'Per order.'),
    (4, 'second_order_rate', 'Second order', 'share', 0.41, 0.436, 'Within 90 days.'),
    (5, 'month_1_retention', 'Month 1 retention', 'share', null, null, 'Of the last cohort.');
-- Sixteen cohorts, of which the last thirteen are shown.
insert into marts.cohort_retention
select
    'month', 'all', 'all', cast(date '2023-01-01' + to_months(c) as date), p,
    c + p < 15, 100 + c,
    case when c + p < 15 then if(p = 0, 100 + c, 40 - 2 * p) end,
    case when c + p < 15 then 100 + c end,
    case when c + p < 15 then if(p = 0, 1, (40 - 2 * p) / (100 + c)) end,
    case when c + p < 15 then 0.1 end,
    case when c + p < 15 then 0.5 end
from (select cast(unnest(range(16)) as int) as c)
cross join (select cast(unnest(range(16)) as int) as p)
where c + p <= 15;
insert into marts.cohort_retention values
    ('week', 'all', 'all', date '2024-04-01', 1, true, 7, 7, 7, 1, 1, 1),
    ('month', 'country', 'FR', date '2024-04-01', 1, true, 7, 7, 7, 1, 1, 1);
-- A definition that comes first by name, and a segment: neither is shown.
insert into marts.retention_curves values
    ('order_months', 'exact', 'month', 'all', 'all', 0, 16, 900, 900, 1, 1, 1),
    ('order_months', 'exact', 'month', 'all', 'all', 1, 15, 200, 800, .25, .22, .28),
    ('order_months', 'exact', 'month', 'all', 'all', 2, 14, 150, 750, .2, .17, .23),
    ('order_months', 'exact', 'month', 'country', 'FR', 1, 9, 7, 70, .1, .05, .2),
    ('a_visit_month', 'exact', 'month', 'all', 'all', 1, 9, 77, 100, .77, .7, .8),
    ('a_streak', 'streak', 'month', 'all', 'all', 1, 9, 66, 100, .66, .6, .7);
insert into marts.survival_curves values
    ('order_2', 'all', 'all', 3, 900, .9, .88, .92),
    ('order_2', 'all', 'all', 40, 500, .6, .55, .64),
    ('order_2', 'all', 'all', 70, 300, .45, .4, .5), ('order_2', 'all', 'all', 400, 5, .1, .05, .2),
    ('order_2', 'country', 'FR', 5, 9, .2, .1, .3), ('order_3', 'all', 'all', 5, 9, .3, .1, .4);
insert into marts.survival_summaries values
    ('order_2', 'all', 'all', 900, 480, 450, 70, 65, null),
    ('order_3', 'all', 'all', 480, 100, 450, 99, 98, 100);
-- Twenty-six months, of which the last has not passed and the last 24 others are shown.
insert into marts.growth_accounting
select
    'order', 'month', 'all', 'all', cast(date '2022-03-01' + to_months(m) as date), m < 25,
    case when m < 25 then 100 + m end, case when m < 25 then 40 end,
    case when m < 25 then 50 end, case when m < 25 then 10 + m end,
    case when m < 25 then 45 end, case when m < 25 then (50 + m) / 45 end
from (select cast(unnest(range(26)) as int) as m);
insert into marts.growth_accounting values
    ('visit', 'month', 'all', 'all', date '2024-03-01', true, 7777, 7, 7, 7, 7, 7);
-- Guests are a segment of their own.
insert into marts.retention_change
select
    'revenue', 'month before', date '2024-03-01', date '2024-02-01', 'all', s.name, c.cause,
    s.before, s.before + s.change, case when c.cause = s.cause then s.change else 0 end
from (values ('all', 20000.0, 4500.5, 'customers'), ('guest', 1000.0, -300.25, 'price'))
    as s (name, before, change, cause)
cross join (
    select unnest(['refunds', 'price', 'behaviour', 'mix', 'customers', 'calendar']) as cause
) as c;
insert into marts.retention_change values
    ('revenue', 'month before', '2024-02-01', '2024-01-01', 'all', 'all', 'mix', 1, 2, 1),
    ('revenue', 'year before', '2024-03-01', '2023-03-01', 'all', 'all', 'mix', 9, 8, -1),
    ('month_1_retention', 'month before', '2024-04-01', '2024-03-01', 'all', 'all', 'mix', 0, 0, 0);
insert into marts.scoreboard values
    (2, 'high_value_churn', 'Yearly churn', 'share', date '2024-01-10', .32, null, null, null,
     null, null, 'Of the best.'),
    (1, 'back', 'Back within 30 days', 'share', date '2024-01-10', .2, .35, .15, .05, .25, true,
     'Of the new.'),
    (3, 'daily', 'Daily customers', 'customers', date '2024-01-10', 21.04, 20.5, -.54, -2, 1,
     false, 'On a mean day.'),
    (4, 'reviews', 'Satisfied', 'share', date '2024-01-10', null, null, null, null, null, null,
     'Nobody reviewed.');
-- Thirteen whole months, of which the last twelve are added up, and one that has not passed.
insert into marts.funnels
select
    'buying', 'ordered', 'month', cast(date '2023-03-01' + to_months(m) as date), 'all', 'all',
    s.step, s.event, m < 13, case when m < 13 then 100 end, case when m < 13 then s.n end,
    case when m < 13 and s.step > 1 then if(m = 12, s.hours, 99) end
from (select cast(unnest(range(14)) as int) as m)
cross join (values (1, 'product_view', 100, null), (2, 'add_to_cart', 50, .5), (3, 'order', 40, 60))
    as s (step, event, n, hours);
insert into marts.funnels values
    ('a_funnel', 'strict', 'month', '2024-03-01', 'all', 'all', 1, 'search', true, 9, 9, null),
    ('buying', 'ordered', 'week', '2024-03-04', 'all', 'all', 1, 'product_view', true, 7, 7, null);
insert into marts.rfm values
    ('1', 'Champions', 3, 9, 900, 5, 5), ('2', 'Champions', 5, 7, 600, 5, 5),
    ('3', 'Lost', 300, 1, 20, 1, 1), ('4', 'Needs <b>care</b>', 80, 2, -10, 3, 4);
insert into marts.segment_migrations values
    ('2023-10-12', '2024-01-10', 'Lost', 'Champions', 9, 1),
    ('2024-01-10', '2024-04-09', 'Champions', 'Champions', 30, .75),
    ('2024-01-10', '2024-04-09', 'Champions', 'Lost', 8, .2),
    ('2024-01-10', '2024-04-09', 'Champions', 'Needs <b>care</b>', 2, .05),
    ('2024-01-10', '2024-04-09', 'Not yet a customer', 'Champions', 60, 1);
insert into marts.weekly_forecasts
select m, date '2024-04-08' + cast(7 * n as int), n, 'forecast', 'regression', 20 + n, 15, 30 + n,
    26, 3.25, 5, n < 4, .81
from (select unnest(range(1, 9)) as n), (values ('orders'), ('active_customers')) as of (m);
insert into marts.churn_feature_importance values
    (90, 'visits', null, .12, .09, .15), (90, 'visits', 'days_since_visit', .02, .01, .03),
    (90, 'recency', null, .2, .1, .3), (7, 'device', null, .5, .4, .6);
insert into marts.churn_model_evaluation values
    ('logistic_regression', 'trained', true, 30, date '2024-01-01', date '2024-04-01', 7, 7, 1,
     .6, .2, .5, .07, 1.1),
    ('recency', 'trained', false, 90, date '2024-01-01', date '2024-04-01', 1000, 450, .45,
     .7, .21, .6, .08, 1.6),
    ('logistic_regression', 'trained', true, 90, date '2024-01-01', date '2024-04-01', 1000, 450,
     .45, .8, .19, .55, .021, 1.9);
insert into marts.churn_model_deciles
select 'logistic_regression', 90, d, 100, 90 - 9 * (d - 1), .92 - .09 * (d - 1),
    .9 - .09 * (d - 1), greatest(.82 - .09 * (d - 1), 0), .95 - .085 * (d - 1), 2 - d / 10, d / 10
from (select cast(unnest(range(1, 11)) as int) as d);
insert into marts.churn_model_deciles values ('recency', 90, 1, 7, 7, 1, 1, 1, 1, 1, 1);
insert into marts.churn_model_deciles values
    ('logistic_regression', 30, 1, 7, 7, 1, 1, 1, 1, 1, 1);
insert into marts.churn_scores
select n, timestamp '2024-04-10', 'logistic_regression', 90, .9, if(n < 9, 1, 2),
    'last order ' || (90 + n) || ' days ago (raises the risk)', null, null
from (select unnest(range(20)) as n);

insert into marts.clusters values
    ('rare', 3, .75, 20, .02, 200, 1, 7), ('recent, big spenders', 1, .25, 980, .98, 3, 9, 980);
insert into marts.churn_model_metrics values
    ('logistic_regression', 90, 'country', 'DE', 'roc_auc', 300, 120, .81, .77, .85),
    ('logistic_regression', 90, 'country', 'DE', 'recall', 300, 120, .5, null, null),
    ('logistic_regression', 90, 'all', 'all', 'roc_auc', 1000, 450, .8, .78, .82),
    ('recency', 90, 'country', 'FR', 'roc_auc', 300, 120, .61, .57, .65);
insert into marts.customer_lifetime_value values
    ('1', 'forecast', 'mbg_nbd', 1.25, 40, 120), ('2', 'forecast', 'mbg_nbd', 11.25, 60, 200);
insert into marts.lifetime_value_models values
    ('today', 'bg_nbd', 'fitted', false, 1000, 400, -900, 1828, null),
    ('today', 'mbg_nbd', 'fitted', true, 1000, 400, -890, 1808, null),
    ('holdout', 'bg_nbd', 'fitted', false, 900, 350, -800, 1627, -.62),
    ('holdout', 'mbg_nbd', 'fitted', true, 900, 350, -795, 1617, -.61);
insert into marts.lifetime_value_calibration values
    ('all', 'all', 'mbg_nbd', 90, 900, 200, 250, 8000, 10000, .91, .9),
    ('channel', 'ads', 'mbg_nbd', 90, 900, 200, 250, 8000, 10000, .91, .9),
    ('cohort', '2023-12-01', 'mbg_nbd', 90, 100, 40, 50, 1600, 2000, .93, .9),
    ('cohort', '2024-01-01', 'mbg_nbd', 90, 50, 30, 20, 1200, 900, .88, .9);
insert into marts.recommenders values
    ('popular', 'judged', false, 900, .2, .25, .2, .3, 0, 0, 0, false),
    ('buy_again', 'judged', true, 900, .4, .42, .4, .44, .17, .1, .2, true);
insert into marts.recommendations values
    ('1', 1, 'A', 'bought_before', 'bought before, on 2 days'),
    ('1', 2, 'B', 'popular', 'bought by 9 of 20 customers');
insert into marts.purchase_seasons
select n, case n when 12 then 1.5 when 2 then .75 else 1 end, .7, 1.6, 100 + n, true
from range(1, 13) as months (n);
insert into marts.churn_risk_by_value values
    ('high', 4, 90, 30, 9000, 300), ('low', 4, 90, 60, 30000, 20000), ('low', 1, 90, 10, 50, null);
insert into marts.products values ('A', $nasty), ('B', null), ('C', 'Cup'), ('D', 'Cup');
insert into marts.item_similarity values
    ('order', 'A', 'B', 30, 60, 40, 1000, 12.5, 99.00000001),
    ('order', 'B', 'A', 30, 40, 60, 1000, 12.5, 99.00000002),
    ('order', 'D', 'C', 5, 50, 10, 1000, 10, 20),
    ('order', 'A', 'C', 1, 60, 50, 1000, 0.3, 500),
    ('customer', 'C', 'D', 8, 10, 16, 300, 15, 44);
insert into marts.data_quality values
    ('orders', 'staged', 990, .99), ('orders', 'duplicate', 7, .007),
    ('orders', 'missing key', 3, .003),
    ('order_items', 'staged', 2000, 1), ('reviews', 'staged', 0, null);
insert into marts.settings values
    ('shop', 'tiny & sons'), ('timezone', 'Europe/Berlin'), ('currency', 'EUR'),
    ('week_start', 'monday'), ('as_of', '2024-04-10 09:30:00');
insert into marts.data_checks values
    ('missing rows', 'error', 'order_items', 'rows', 7, date '2024-04-09', 1200, 2400, 9, 4.5,
     true),
    ('surplus rows', 'warning', 'orders', 'rows', 1, date '2024-04-08', 90, 30, 6, 4.5, true),
    ('drift', 'error', 'churn_features_today', 'n_orders', null, date '2024-04-10', .1, .1, .1,
     .25, false);
-- The oldest days are not shown, nor is a table that seldom has rows.
insert into marts.feed_days
select
    t.name, 'rows', 1, cast(date '2024-04-09' - cast(n as int) as date),
    case when t.name = 'reviews' and n % 3 > 0 then 0 else t.size end,
    case when n < 80 then t.size end, case when n < 80 then .5 * t.size end,
    case when n < 80 then 2 * t.size end, n = 4 and t.name = 'orders'
from (values ('orders', 30), ('order_items', 300), ('reviews', 9000)) as t (name, size)
cross join (select unnest(range(120)) as n);
insert into marts.feed_freshness values
    ('orders', date '2024-04-09', 0, 1, 2, true, false),
    ('ad_spend', date '2024-04-01', 8, 0, 1, true, true),
    ('reviews', date '2024-04-09', 0, 0, 1, false, false);
insert into marts.feature_drift values
    ('n_orders', 500, .61, .05, .02, true, true), ('tenure_days', 500, .3, .05, .28, true, false),
    ('churn_probability', 500, null, null, null, false, false);
-- A run of tests alone came after the last build.
insert into monitoring.runs values
    ('a', timestamp '2024-04-10 09:00', 'passed'), ('b', timestamp '2024-04-10 10:00', 'failed'),
    ('c', timestamp '2024-04-10 11:00', 'passed');
insert into monitoring.run_results values
    ('a', 'orders', 'model', 'success', 99, 'in full', 1, null),
    ('b', 'orders', 'model', 'success', 1.25, 'increment', 4321, 17),
    ('b', 'events', 'model', 'skipped', 0, null, null, null),
    ('c', 'unique_orders', 'test', 'pass', 5, null, null, null);
"""


def make_warehouse(path: Path, *statements: str, rows: bool = True) -> Path:
    """Write a tiny warehouse, then change it by `statements`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute(SCHEMA)
        if rows:
            connection.execute(ROWS.replace("$nasty", "'" + NASTY.replace("'", "''") + "'"))
        for statement in statements:
            connection.execute(statement)
    return path


def page_of(warehouse: Path) -> str:
    """Write the report beside the warehouse and return its text."""
    return write_report(warehouse, warehouse.with_suffix(".html")).read_text(encoding="utf-8")


def section_of(page: str, name: str) -> str:
    """Return one section of a page, as text with its tags taken out."""
    source = re.search(rf'<section id="{name}".*?</section>', page, re.S)[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", source)).split())


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def warehouse(folder) -> Path:
    return make_warehouse(folder / "shop.duckdb")


@pytest.fixture(scope="module")
def page(warehouse) -> str:
    return page_of(warehouse)


# What the page says


def test_every_section_has_its_figures(page):
    for name in SECTIONS:
        assert "Nothing to show" not in section_of(page, name), name
    headlines = section_of(page, "headlines")
    assert headlines.index("Active customers") < headlines.index("Revenue")
    assert "1,200 Up 20.0% from 1,000" in headlines
    assert "EUR 123,457" in headlines
    assert "Unchanged from EUR 45.50" in headlines
    assert "Down 2.6 points from 43.6%" in headlines
    assert "Month 1 retention – Not known yet" in headlines
    segments = section_of(page, "segments")
    assert "4 customers with an order" in segments
    assert "Champions 2 50.0% 1,500.00 99.3%" in segments
    assert "5 2 Champions 4 1 Needs <b>care</b> 1 1 Lost" in segments
    assert "Champions 40 75.0% Lost 20.0%, Needs <b>care</b> 5.0%" in segments
    assert "Not yet a customer 60 – Champions 100.0%" in segments
    assert "recent, big spenders 1 25.0% 980.00 98.0% 3 9.0 980.00 rare 3 75.0%" in segments


def test_cohorts_are_the_last_thirteen_months_of_everyone(page):
    cohorts = section_of(page, "cohorts")
    assert "Mar 2023" not in cohorts
    assert "Apr 2023 103" in cohorts
    assert "Apr 2024 115" in cohorts
    assert "Only the last 13 months of first orders are shown, of 16 in the warehouse." in cohorts
    # One unfinished month per cohort, and only those within the twelve columns.
    assert page.count('<td class="immature"') == 12
    assert "Apr 2023 1 38 103 36.9% 10.0% to 50.0%" in cohorts


def test_sum_of_cohorts_divides_customers_by_customers(folder):
    path = make_warehouse(
        folder / "sum.duckdb",
        "delete from marts.cohort_retention",
        """insert into marts.cohort_retention values
        ('month', 'all', 'all', date '2024-01-01', 1, true, 10, 5, 10, .5, .2, .8),
        ('month', 'all', 'all', date '2024-02-01', 1, true, 90, 9, 90, .1, 0, .2),
        ('month', 'all', 'all', date '2024-03-01', 1, false, 50, null, null, null, null, null)""",
    )
    assert "All shown 14%" in section_of(page_of(path), "cohorts")


def specs_of(page: str) -> dict:
    return json.loads(re.search(r'id="chart-specs">(.*?)</script>', page, re.S)[1])


def drawn(page: str, chart: str) -> list[dict]:
    """Return the rows that a chart draws."""
    spec = specs_of(page)[chart]
    return (spec["data"] if "data" in spec else spec["layer"][0]["data"])["values"]


def test_curves_are_of_everyone_by_the_first_definition(page, folder):
    cohorts = section_of(page, "cohorts")
    assert "the share that ordered in it: 25.0% in month 1" in cohorts
    assert "1 15 800 200 25.0% 22.0% to 28.0% 2 14 750 150 20.0% 17.0% to 23.0%" in cohorts
    assert [row["rate"] for row in drawn(page, "chart-return-curve")] == [0.25, 0.2]
    other = make_warehouse(
        folder / "other.duckdb",
        "delete from marts.retention_curves where definition = 'order_months'",
    )
    said = "the share that came back in it by the definition “a visit month”: 77.0% in month 1"
    assert said in section_of(page_of(other), "cohorts")


def test_time_to_the_second_order(page, folder):
    cohorts = section_of(page, "cohorts")
    said = "half of the customers have ordered again after 70 days (95% interval: from 65 days"
    assert said in cohorts and "So far 480 of 900 customers have." in cohorts
    # Between two days with orders the share is that of the earlier one, up to the year.
    rows = "7 10.0% 8.0% to 12.0% 30 10.0% 8.0% to 12.0% 60 40.0% 36.0% to 45.0%"
    assert rows in cohorts and "365 55.0% 50.0% to 60.0%" in cohorts
    days = drawn(page, "chart-second-order")
    assert [row["n_days"] for row in days] == [0, 3, 40, 70, 365]
    assert days[0]["share"] == 0 and days[-1]["share"] == pytest.approx(0.55)
    # A share of all has no interval, nor has it that of the days before.
    whole = make_warehouse(
        folder / "whole.duckdb",
        """update marts.survival_curves set survival = 0, survival_low = null, survival_high = null
        where n_days = 70""",
    )
    assert "60 40.0% 36.0% to 45.0% 90 100.0% –" in section_of(page_of(whole), "cohorts")
    young = make_warehouse(
        folder / "young.duckdb",
        "update marts.survival_summaries set median_days = null, n_days_watched = 40",
        "delete from marts.survival_curves where n_days > 40",
    )
    cohorts = section_of(page_of(young), "cohorts")
    assert "fewer than half of the customers have ordered again" in cohorts
    assert "half of them" not in cohorts and "60 40.0%" not in cohorts


def test_scoreboard_says_what_is_more_than_noise(page):
    board = section_of(page, "scoreboard")
    assert "since 10 January 2024" in board
    assert board.index("Back within") < board.index("Yearly churn") < board.index("Daily")
    said = "35.0% Up 15.0 points from 20.0% More than noise: the difference is +5.0 to +25.0 points"
    assert said in board
    assert "– Before: 32.0% Not known yet: nothing can be said of the time after" in board
    assert "20.5 Down 0.5 from 21.0 May be noise: the difference is −2.0 to +1.0." in board
    assert "Satisfied" not in board


def test_growth_shows_the_last_whole_months(page):
    growth = section_of(page, "growth")
    months = drawn(page, "chart-growth")
    assert len(months) == 24 and "The last 24 whole months" in growth
    assert "7,777" not in growth
    assert months[0]["month"] == "Apr 2022" and months[-1]["month"] == "Mar 2024"
    assert months[-1]["won"] == 74 and months[-1]["lost"] == -45 and months[-1]["net"] == 29
    # The newest month stands first in the table.
    assert "(quick ratio) Mar 2024 124 40 50 34 45 1.64" in growth


def test_causes_lead_from_one_month_to_the_next(page, folder):
    growth = section_of(page, "growth")
    assert "in Mar 2024 was EUR 25,200, up 20.0% from EUR 21,000 in Feb 2024" in growth
    assert "customers +4,500.50" in growth and "price −300.25" in growth
    assert "in all +4,200.25" in growth
    steps = drawn(page, "chart-change")
    assert [step["name"] for step in steps] == [
        *["Feb 2024", "calendar", "customers", "mix", "behaviour", "price", "refunds", "Mar 2024"]
    ]
    for before, after in pairwise(steps):
        assert after["start"] == pytest.approx(before["end"])
    assert steps[0]["end"] == 21000 and steps[-1]["end"] == 25200.25
    unknown = make_warehouse(
        folder / "rates.duckdb",
        "update marts.retention_change set value_after = null, effect = null "
        "where segment = 'guest'",
    )
    growth = section_of(page_of(unknown), "growth")
    assert "because an exchange rate is missing" in growth and "24 whole months" in growth


def test_funnel_adds_up_whole_months(page, folder):
    funnel = section_of(page, "funnel")
    assert "“buying”, from Apr 2023 to Mar 2024" in funnel and "the 1,200 who entered" in funnel
    assert "The largest share is lost before “add to cart”: 50.0%" in funnel
    assert "product view 1,200 100.0% – – – –" in funnel
    # The median is the last whole month's.
    assert "add to cart 600 50.0% 47.2% to 52.8% 50.0% 600 30 minutes" in funnel
    assert "order 480 40.0% 37.3% to 42.8% 80.0% 120 2.5 days" in funnel
    other = make_warehouse(
        folder / "strict.duckdb", "delete from marts.funnels where funnel = 'buying'"
    )
    funnel = section_of(page_of(other), "funnel")
    assert "“a funnel”, in Mar 2024" in funnel and "right after the one before" in funnel


def test_churn_shows_the_champion_only(page):
    churn = section_of(page, "churn")
    assert "(logistic regression) was tested on 1,000 customers" in churn
    assert "in group 1, 90 of 100 churned, 1.90 times the average" in churn
    assert "calibration error over all tested customers is 2.1%" in churn
    # Nine reasons that differ in their number are one, with the median.
    assert "last order 94 days ago (raises the risk) 100.0% (9)" in churn
    assert "all customers 1,000 450 0.80 (0.78 to 0.82) – – country: DE 300 120 0.81" in churn
    assert "country: FR" not in churn
    assert churn.index("logistic regression in use") < churn.index("recency trained")


def test_value_says_what_is_expected_and_what_came(page, folder):
    value = section_of(page, "value")
    assert "The 2 customers with an order are expected to order on 12 days" in value
    assert "bring EUR 100.00 in that time and EUR 320.00 within a year" in value
    # The highest quarter first; an empty cell stays empty, and so does what is not forecast.
    assert "high 30 9,000.00 so far 300.00 expected middle low 60" in value
    assert "10 50.00 so far Customers who" in value
    assert "Of all 900 customers 8,000.00 was expected and 10,000 came; 91.0%" in value
    assert "Dec 2023 100 40.0 50 1,600.00 2,000.00 93.0%" in value
    # Chosen by the holdout's score, which stands beside today's fit.
    assert "most in December (1.50), least in February (0.75). What customers will" in value
    assert value.index("mbg nbd in use 1,000 400 1,808.0 -0.6100") < value.index("bg nbd fitted")
    without = make_warehouse(
        folder / "no_amounts.duckdb",
        "update marts.customer_lifetime_value set status = 'abstained: all spend the same', "
        "expected_amount_90d = null, expected_amount_365d = null",
        "update marts.lifetime_value_calibration set expected_amount = null",
        "update marts.purchase_seasons set is_used = false",
    )
    value = section_of(page_of(without), "value")
    assert "expected to order on 12 days within the next 90 days. New customers are not in" in value
    assert "in these figures, nor is the season." in value
    assert "because the models abstained: all spend the same." in value
    assert "Of all 900 customers 200 was expected and 250 came" in value


def test_each_pair_stands_once_with_both_confidences(page):
    pairs = section_of(page, "pairs")
    assert pairs.count("12.5× lift") == 1
    assert "50% of 60 B 75% of 40 30 together" in pairs
    assert "Cup C 50% of 10 Cup D 10% of 50 5 together" in pairs
    # A pair that meets less often than chance is none.
    assert "0.3×" not in pairs
    assert "15.0× lift" in pairs


def test_the_map_joins_what_goes_together(page):
    layers = specs_of(page)["chart-map"]["layer"]
    curves, nodes = (layers[n]["data"]["values"] for n in (0, 1))
    # A pair that meets less often than chance is no link.
    assert {(curve["n_both"], curve["lift"]) for curve in curves} == {(5, 10), (30, 12.5)}
    assert [(node["n"], node["partners"]) for node in nodes if node["name"] == "B"] == [(40, NASTY)]
    assert sorted(node["n"] for node in nodes) == [10, 40, 50, 60]
    # Two have the same name, and their ids behind it.
    assert {"Cup C", "Cup D", "B"} < {node["label"] for node in nodes}
    assert len({node["row"] for node in nodes}) == 4
    for names in {curve["names"] for curve in curves}:
        y = [curve["y"] for curve in curves if curve["names"] == names]
        rows = {node["row"] for node in nodes if node["name"] in names}
        assert rows == {min(y), max(y)}
    # Each line of the axis names its product.
    axis = layers[0]["encoding"]["y"]["axis"]
    labels = json.loads(axis["labelExpr"].removesuffix("[datum.value]"))
    assert {labels[node["row"]] for node in nodes} == {node["label"] for node in nodes}


def test_groups_of_the_map_stand_together():
    graph = networkx.Graph()
    networkx.add_cycle(graph, "abcde")
    graph.add_edge("x", "y")
    networkx.add_path(graph, "psrq")
    rows = page_module._rows_of(graph)
    turned = networkx.Graph([(b, a) for a, b in reversed(list(graph.edges))])
    assert page_module._rows_of(turned) == rows
    in_order = "".join(sorted(rows, key=rows.get))
    assert [set(group) for group in (in_order[:5], in_order[5:9], in_order[9:])] == [
        set("abcde"), set("pqrs"), set("xy")
    ]  # fmt: skip
    # Neighbours of a path stand side by side.
    assert in_order[5:9] in ("psrq", "qrsp")
    assert sorted(rows.values()) == [0, 2, 4, 6, 8, 11, 13, 15, 17, 20, 22]


@pytest.mark.parametrize(
    ("name", "label"),
    [("Tea", "Tea"), ("茶" * 40, "茶" * 33 + "…"), ("a" * 32 + " " + "b" * 9, "a" * 32 + "…")],
)
def test_names_of_the_map_are_cut_where_they_are_too_long(name, label):
    assert page_module._cut(name, 34) == label


def test_recommendations_say_how_good_they_are_and_why(page, folder):
    shown = section_of(page, "recommendations")
    assert "by buy again , which was best" in shown or "by buy again, which was best" in shown
    assert "(NDCG 0.420, 0.170 more; 95% interval 0.100 to 0.200)" in shown
    assert "B bought by 9 of 20 customers" in shown
    no_better = make_warehouse(
        folder / "no_better.duckdb",
        "update marts.recommenders set is_better_than_popular = false",
    )
    assert "no more than a list of what is popular" in section_of(
        page_of(no_better), "recommendations"
    )
    not_judged = make_warehouse(
        folder / "not_judged.duckdb",
        "update marts.recommenders set ndcg = null, status = 'abstained: too few', "
        "is_chosen = recommender = 'popular'",
    )
    shown = section_of(page_of(not_judged), "recommendations")
    assert "because nothing could be judged: too few." in shown


def test_data_quality_adds_up(page):
    quality = section_of(page, "quality")
    assert "3,000 raw rows came in: 2,990 were staged and 10 (0.3%) were quarantined" in quality
    assert "orders 1,000 990 10 1.0% duplicate 7, missing key 3" in quality
    assert "reviews" not in quality


def test_health_says_what_is_unusual(page):
    health = section_of(page, "health")
    assert "Of 3 checks of the data, 2 raise an alert." in health
    said = "order items missing rows 1,200 rows in the 7 days to 2024-04-09, expected 2,400"
    assert said in health and "orders surplus rows 90 rows on 2024-04-08, expected 30" in health
    assert health.index("order items missing") < health.index("orders surplus")
    assert "ad spend 1 April 2024 8 0 1 silent for too long" in health
    assert "reviews 9 April 2024 0 0 1 not judged" in health
    assert "n orders 500 0.610 0.050 0.020 drifted" in health
    assert "tenure days 500 0.300 0.050 0.280 as usual" in health
    # The last run that made models, not the run of tests after it.
    assert "The run of 10 April 2024, 10:00 UTC failed; its 2 models took 1 seconds" in health
    assert "orders 1.2 increment 4,321 17" in health
    days = drawn(page, "chart-feed-orders")
    assert len(days) == 90 and sum(day["is_anomaly"] for day in days) == 1
    summary = (
        "of orders per day, from 11 January 2024 to 9 April 2024; outside the expected band on 5"
    )
    assert summary in page


def test_footer_and_title(page):
    footer = page[page.index("<footer>") :]
    for said in ("tiny &amp; sons", "10 April 2024, 09:30 UTC", "Europe/Berlin", "EUR"):
        assert said in footer
    assert "shop.duckdb" in footer
    assert f"Perennial {__version__}" in footer
    assert "<title>Retention report: tiny &amp; sons</title>" in page


# What the page is


def test_page_is_self_contained_and_small(page):
    for tag, attributes in Tags(page).tags:
        assert tag not in ("iframe", "object", "embed", "base", "img"), tag
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert "@import" not in page
    assert not re.search(r"url\(\s*['\"]?https?:", page)
    assert page.count("window.vegaEmbed=") == 1
    assert len(page.encode()) < 2_500_000


def test_page_is_accessible(page):
    tags = Tags(page).tags
    assert ("html", {"lang": "en"}) in tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in tags:
        if (attributes.get("href") or "").startswith("#"):
            assert attributes["href"][1:] in ids
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids
        classes = (attributes.get("class") or "").split()
        if "chart" in classes:
            assert attributes["role"] == "img" and len(attributes["aria-label"]) > 40
        if "scroller" in classes:
            assert attributes["tabindex"] == "0" and attributes["aria-label"]
    for chart in ("cohorts", "growth", "segments", "churn", "value", "funnel", "quality"):
        section = re.search(rf'<section id="{chart}".*?</section>', page, re.S)[0]
        assert "<figcaption>" in section and "<details" in section and "<table" in section


def test_data_cannot_break_out_of_the_page(page):
    assert "<script>alert" not in page
    assert "<b>care" not in page
    assert html.escape("茶杯") in section_of(page, "pairs")
    assert NASTY in section_of(page, "pairs")
    specs = specs_of(page)
    assert list(specs) == sorted(CHARTS)
    assert "Needs <b>care</b>" in json.dumps(specs["chart-segments"])


def test_same_warehouse_gives_the_same_bytes(warehouse, page, folder):
    out = folder / "again" / "index.html"
    code = (
        f"from perennial.report import write_report; write_report({str(warehouse)!r}, {str(out)!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert out.read_text(encoding="utf-8") == page


def luminance(colour: str) -> float:
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrasts(page, scheme):
    blocks = re.findall(r":root \{(.*?)\}", page, re.S)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[scheme]))
    for text in ("ink", "ink-soft", "accent"):
        for ground in ("surface", "ground"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for n in range(6):
        assert contrast(colours[f"on-heat-{n}"], colours[f"heat-{n}"]) >= 4.5, n
    for mark in ("first", "second"):
        assert contrast(colours[mark], colours["surface"]) >= 3, mark
    # The steps of the cohort table differ in lightness, not in colour alone.
    ramp = [luminance(colours[f"heat-{n}"]) for n in range(6)]
    assert ramp == sorted(ramp, reverse=scheme == 0)


# What the page survives


def test_empty_shop(folder):
    page = page_of(make_warehouse(folder / "empty.duckdb", rows=False))
    for name in SECTIONS:
        assert "Nothing to show, because " in section_of(page, name), name
    assert "vegaEmbed" not in page
    assert "empty.duckdb" in page


def test_shop_of_one_order(folder):
    path = make_warehouse(
        folder / "one.duckdb",
        """insert into marts.headlines values
        (1, 'active_customers', 'Active customers', 'customers', 1, 0, 'Now.'),
        (2, 'average_order', 'Average order', 'money', 9.5, null, 'Now.')""",
        """insert into marts.cohort_retention values
        ('month', 'all', 'all', date '2024-04-01', 0, false, 1, null, null, null, null, null)""",
        "insert into marts.rfm values ('1', 'New customers', 0, 1, 0, 5, 1)",
        """insert into marts.segment_migrations values
        ('2024-01-10', '2024-04-09', 'Not yet a customer', 'New customers', 1, 1)""",
        """insert into marts.weekly_forecasts values ('orders', '2024-04-15', 1,
        'abstained: 0 whole weeks are known; needed are 51', null, null, null, null, null, null,
        null, null, null)""",
        """insert into marts.churn_model_evaluation values ('logistic_regression',
        'abstained: the history is shorter than three horizons of 90 days', false, 90,
        null, null, null, null, null, null, null, null, null, null)""",
        "insert into marts.data_quality values ('orders', 'staged', 1, 1)",
        rows=False,
    )
    page = page_of(path)
    assert "Nothing earlier to compare with" in section_of(page, "headlines")
    assert "because no cohort is old enough yet" in section_of(page, "cohorts")
    assert "New customers 1 100.0%" in section_of(page, "segments")
    churn = section_of(page, "churn")
    assert "abstained: the history is shorter than three horizons of 90 days" in churn
    assert "because no customer was scored" in churn
    assert "too few orders" in section_of(page, "pairs")
    assert "No row was refused" in section_of(page, "quality")


def test_missing_table_and_missing_column(folder):
    path = make_warehouse(
        folder / "old.duckdb",
        "drop table marts.headlines",
        "drop table marts.settings",
        "drop table marts.churn_scores",
        "alter table marts.rfm drop column segment",
        "drop table marts.scoreboard",
        "drop table marts.retention_curves",
        "drop table marts.survival_summaries",
        "drop table marts.retention_change",
        "drop table marts.funnels",
    )
    page = page_of(path)
    assert "no table marts.headlines; run “perennial build”" in section_of(page, "headlines")
    assert "marts.rfm has no column segment" in section_of(page, "segments")
    assert "no table marts.churn_scores" in section_of(page, "churn")
    for table, section in (
        *(("scoreboard", "scoreboard"), ("funnels", "funnel"), ("retention_change", "growth")),
        *(("retention_curves", "cohorts"), ("survival_summaries", "cohorts")),
    ):
        assert f"no table marts.{table}; run" in section_of(page, section)
    # What is beside them stays.
    assert "Apr 2023 103" in section_of(page, "cohorts")
    assert "24 whole months" in section_of(page, "growth")
    assert "not recorded in the warehouse" in page
    assert "Shop <strong>old</strong>" in page


def test_cohorts_that_never_came_back(folder):
    path = make_warehouse(
        folder / "gone.duckdb",
        """update marts.cohort_retention set retention_numerator = 0, retention_rate = 0
        where period_number > 0 and is_mature""",
    )
    assert "Apr 2023 103 0% 0%" in section_of(page_of(path), "cohorts")


def test_numbers_that_are_none(folder):
    path = make_warehouse(
        folder / "nan.duckdb",
        "update marts.headlines set value = 'nan', previous_value = 'nan'",
        "update marts.churn_model_deciles set lift = 'nan', churn_rate_low = null",
        "update marts.churn_model_deciles set mean_probability = 'nan' where risk_decile = 10",
        "update marts.rfm set monetary_amount = 0",
    )
    page = page_of(path)
    assert "nan" not in section_of(page, "headlines") + section_of(page, "churn")
    assert "Champions 2 50.0% 0.00 –" in section_of(page, "segments")


def test_file_called_marts(folder):
    path = make_warehouse(folder / "it's here" / "shop.duckdb")
    path = path.rename(path.with_name("marts.duckdb"))
    assert "1,200" in page_of(path)


def sentence(warehouse: Path, out: Path) -> str:
    with pytest.raises(UserError) as error:
        write_report(warehouse, out)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_bad_warehouses(folder, warehouse):
    out = folder / "bad.html"
    assert "does not exist; build the warehouse first" in sentence(folder / "none.duckdb", out)
    assert "is no file" in sentence(folder, out)
    text = folder / "text.duckdb"
    text.write_text("hello " * 1000, encoding="utf-8")
    assert "is not a DuckDB file" in sentence(text, out)
    bare = folder / "bare.duckdb"
    duckdb.connect(str(bare)).close()
    assert "holds no marts; run “perennial build”" in sentence(bare, out)
    assert not out.exists()


def test_locked_warehouse(folder):
    path = make_warehouse(folder / "locked.duckdb")
    code = f"import duckdb; c = duckdb.connect({str(path)!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdout.readline() == "open\n"
            assert "in use by another program; wait" in sentence(path, folder / "locked.html")
        finally:
            writer.communicate("\n")
    # This very process may hold it as well.
    with duckdb.connect(str(path)):
        assert "in use by another program; wait" in sentence(path, folder / "locked.html")


def test_bad_places_for_the_page(folder, warehouse):
    assert "is a folder" in sentence(warehouse, folder)
    before = warehouse.read_bytes()
    assert "is the warehouse itself" in sentence(warehouse, warehouse)
    assert warehouse.read_bytes() == before
    assert "cannot be written" in sentence(warehouse, warehouse / "index.html")


def test_command(warehouse, folder, capsys):
    out = folder / "deep" / "er" / "index.html"
    assert main(["report", "--warehouse", str(warehouse), "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert [file.name for file in out.parent.iterdir()] == ["index.html"]
    assert main(["report", "--warehouse", str(folder / "none.duckdb")]) == 2
    assert "perennial report: " in capsys.readouterr().err


# The parts


@pytest.mark.parametrize(
    ("highest", "width"), [(0.0, 0.001), (0.366, 0.08), (1.0, 0.2), (0.06, 0.01), (0.05, 0.01)]
)
def test_heat_steps(highest, width):
    steps = heat_steps(highest)
    assert steps == pytest.approx([width * n for n in range(7)])
    assert steps[-1] >= highest


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0.0%"), (0.1234, "12.3%"), (0.00042, "0.04%"), (1e-6, "under 0.01%")],
)
def test_shares(value, text):
    assert formatting.share(value) == text


def test_changes():
    assert formatting.change(0.2, 0.1, "share", None) == ("up", "Up 10.0 points from 10.0%")
    assert formatting.change(5, 0, "customers", None)[0] == "none"
    assert formatting.change(-5, 10, "money", "EUR")[1].startswith("Down 150.0% from EUR")
    assert formatting.moment("2024-02-29T05:00:00+00:00") == "29 February 2024, 05:00 UTC"
    assert formatting.moment("when the till closed") == "when the till closed"


# What a browser makes of it

# Waits for the charts, opens every table, then writes what it saw into the page's title.
PROBE = """
<script>
window.seen = [];
addEventListener("error", (event) => window.seen.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => window.seen.push(event.blockedURI));
for (const kind of ["error", "warn"]) {
    const say = console[kind].bind(console);
    console[kind] = (...words) => { window.seen.push(words.join(" ")); say(...words); };
}
addEventListener("load", () => setTimeout(() => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    const root = document.documentElement;
    document.title = "probe " + JSON.stringify({
        seen: window.seen,
        drawn: root.dataset.charts || "no",
        inner: root.clientWidth,
        scroll: Math.max(root.scrollWidth, document.body.scrollWidth),
        charts: [...document.querySelectorAll(".chart")].map((chart) => {
            const svg = chart.querySelector("svg");
            const box = svg ? svg.getBoundingClientRect() : {width: 0, height: 0};
            return [chart.id, Math.round(box.width), Math.round(box.height),
                chart.querySelectorAll("svg path").length];
        }),
        ground: getComputedStyle(document.body).backgroundColor,
        bar: getComputedStyle(document.querySelector(".mark-rect path")).fill,
    });
}, 1500));
</script>
"""


def in_browser(page: str, folder: Path, width: int, scheme: str) -> dict:
    """Open a page in a frame of the given width and return what the probe saw."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "page.html").write_text(page.replace("<style>", PROBE + "<style>", 1), "utf-8")
    # A window cannot be as narrow as a phone; a frame can. Its title is copied out.
    (folder / "frame.html").write_text(
        f"""<!doctype html><iframe src="page.html" width="{width}" height="900" style="border:0">
        </iframe><script>setInterval(() => {{
            document.title = document.querySelector("iframe").contentDocument.title;
        }}, 100);</script>""",
        "utf-8",
    )
    result = subprocess.run(
        [
            CHROMIUM,
            *["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
            *["--disable-background-networking", "--disable-component-update", "--disable-sync"],
            "--allow-file-access-from-files",
            f"--blink-settings=preferredColorScheme={1 if scheme == 'light' else 0}",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1400,1000",
            "--virtual-time-budget=8000",
            "--dump-dom",
            (folder / "frame.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    title = html.unescape(re.search(r"<title>(.*?)</title>", result.stdout, re.S)[1])
    assert title.startswith("probe "), result.stdout[:500]
    return json.loads(title.removeprefix("probe "))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "light"), (360, "dark")])
def test_in_a_browser(page, tmp_path, width, scheme):
    saw = in_browser(page, tmp_path, width, scheme)
    assert saw["seen"] == []
    assert saw["drawn"] == "drawn"
    assert saw["scroll"] <= saw["inner"] <= width
    assert [chart[0] for chart in saw["charts"]] == CHARTS
    for name, chart_width, chart_height, n_paths in saw["charts"]:
        assert 200 < chart_width <= width and chart_height > 60 and n_paths > 3, name
    dark = scheme == "dark"
    assert saw["ground"] == ("rgb(11, 16, 20)" if dark else "rgb(245, 246, 244)")
    # The charts take their colours from the page's scheme.
    assert saw["bar"] == ("rgb(86, 180, 233)" if dark else "rgb(0, 114, 178)")
