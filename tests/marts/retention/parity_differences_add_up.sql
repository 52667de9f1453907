-- From Perennial's own number, difference by difference, to the dashboard's, to the last digit.
-- Where Perennial shows nothing, from what it has counted so far.
with shown as (
    select
        rule_set,
        'cell' as level,
        activity,
        period_grain,
        cohort_start_on,
        period_number,
        is_mature,
        n_customers,
        n_retained_customers_to_date,
        dashboard_rate as rate
    from {{ ref('retention_parity') }}
    where dashboard_rate is not null

    union all

    select
        rule_set,
        'average' as level,
        activity,
        period_grain,
        cast(null as date) as cohort_start_on,
        period_number,
        is_mature,
        n_customers,
        n_retained_customers,
        average_rate as rate
    from {{ ref('retention_parity_averages') }}
    where is_default and is_mature
),

explained as (
    select
        rule_set,
        level,
        activity,
        period_grain,
        cohort_start_on,
        period_number,
        sum(difference) as difference,
        -- Rate of departure: without any, everything that follows stands on it.
        min(rule_number) as first_rule_number,
        min(case when rate_before is null then rate_after end) as first_rate
    from {{ ref('retention_parity_differences') }}
    group by all
)

select
    shown.*,
    perennial.rate as perennial_rate,
    explained.difference
from shown
left join shown as perennial
    on
        perennial.rule_set = 'perennial'
        and shown.level = perennial.level
        and shown.activity = perennial.activity
        and shown.period_grain = perennial.period_grain
        and shown.period_number = perennial.period_number
        and coalesce(shown.cohort_start_on, date '1970-01-01')
        = coalesce(perennial.cohort_start_on, date '1970-01-01')
left join explained
    on
        shown.rule_set = explained.rule_set
        and shown.level = explained.level
        and shown.activity = explained.activity
        and shown.period_grain = explained.period_grain
        and shown.period_number = explained.period_number
        and coalesce(shown.cohort_start_on, date '1970-01-01')
        = coalesce(explained.cohort_start_on, date '1970-01-01')
where
    shown.rule_set <> 'perennial'
    and not coalesce(
        cast(shown.rate as decimal(18, 12))
        = cast(coalesce(perennial.rate, explained.first_rate) as decimal(18, 12))
        + coalesce(explained.difference, 0),
        false
    )
