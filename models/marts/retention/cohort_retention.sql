with customers as (
    select *
    from {{ ref('customers') }}
    where first_ordered_on is not null
),

-- One row per customer and way of looking: everyone together, then by one attribute at a time.
members as (
    {%- for grain in ['week', 'month'] %}
    {%- for segment_type, segment in [
        ('all', "'all'"), ('country', 'country'), ('channel', 'channel'),
        ('first_category', 'first_category'),
    ] %}
    select
        customer_id,
        '{{ grain }}' as grain,
        '{{ segment_type }}' as segment_type,
        coalesce({{ segment }}, 'unknown') as segment,
        {{ perennial.period_start(grain, 'first_ordered_on') }} as cohort_start_on
    from customers
    {{ 'union all' if not loop.last }}
    {%- endfor %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

cohorts as (
    select
        grain,
        segment_type,
        segment,
        cohort_start_on,
        count(*) as n_customers
    from members
    group by all
),

history as (
    select
        coalesce(max(cast(clock.as_of_on - customers.first_ordered_on as integer)), 0)
            as n_days
    from customers
    cross join {{ ref('clock') }} as clock
),

-- Enough for the oldest cohort in the finest grain, which is the week.
period_numbers as (
    {{ perennial.numbers(
        0, '(select cast(floor(n_days / 7) as bigint) + 1 from history)'
    ) }}
),

-- Every period from the cohort's own to the one that as_of lies in, bought in or not.
cells as (
    {%- for grain in ['week', 'month'] %}
    select
        cohorts.*,
        numbers.n as period_number,
        {{ perennial.add_periods(grain, 'cohorts.cohort_start_on', 'numbers.n') }}
            as period_start_on,
        {{ perennial.add_periods(grain, 'cohorts.cohort_start_on', 'numbers.n + 1') }}
            as period_end_on
    from cohorts
    cross join {{ ref('clock') }} as clock
    inner join period_numbers as numbers
        on
            numbers.n <= {{ perennial.periods_between(
                grain, 'cohorts.cohort_start_on', perennial.period_start(grain, 'clock.as_of_on')
            ) }}
    where cohorts.grain = '{{ grain }}'
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

counted as (
    select
        cells.*,
        -- The whole period must have passed, in the shop's time zone.
        {{ perennial.start_of_day_utc('cells.period_end_on') }}
        <= clock.as_of as is_mature,
        coalesce(activity.n_active_customers, 0) as n_active_customers,
        coalesce(activity.n_orders, 0) as n_orders,
        case
            when activity.cohort_start_on is null then 0 else activity.revenue_amount
        end as revenue_amount
    from cells
    cross join {{ ref('clock') }} as clock
    left join {{ ref('cohort_activity') }} as activity
        on
            cells.grain = activity.grain
            and cells.segment_type = activity.segment_type
            and cells.segment = activity.segment
            and cells.cohort_start_on = activity.cohort_start_on
            and cells.period_number = activity.period_number
)

select
    cast(grain as string) as grain,
    cast(segment_type as string) as segment_type,
    cast(segment as string) as segment,
    cast(cohort_start_on as date) as cohort_start_on,
    cast(period_number as bigint) as period_number,
    cast(period_start_on as date) as period_start_on,
    cast(period_end_on as date) as period_end_on,
    cast(is_mature as boolean) as is_mature,
    cast(n_customers as bigint) as n_customers,
    cast(n_active_customers as bigint) as n_active_customers_to_date,
    cast(n_orders as bigint) as n_orders_to_date,
    cast(revenue_amount as decimal(18, 2)) as revenue_amount_to_date,
    -- Immature cells are null in all four, so that BI may sum numerators and denominators.
    cast(case when is_mature then n_active_customers end as bigint)
        as retention_numerator,
    cast(case when is_mature then n_customers end as bigint) as retention_denominator,
    cast(case when is_mature then n_orders end as bigint) as n_orders,
    cast(case when is_mature then revenue_amount end as decimal(18, 2))
        as revenue_amount,
    cast(
        case
            when is_mature then cast(n_active_customers as double) / n_customers
        end as double
    ) as retention_rate,
    cast(
        case
            when
                is_mature
                then {{ perennial.wilson('low', 'n_active_customers', 'n_customers') }}
        end as double
    ) as retention_rate_low,
    cast(
        case
            when
                is_mature
                then {{ perennial.wilson('high', 'n_active_customers', 'n_customers') }}
        end as double
    ) as retention_rate_high
from counted
