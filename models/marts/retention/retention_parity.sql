with grains as (
    {%- for grain in perennial.parity_periods() %}
    select '{{ grain }}' as period_grain
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

activities as (
    {%- for activity, start_event, return_event in perennial.parity_activities() %}
    select
        '{{ activity }}' as activity,
        '{{ start_event }}' as start_event,
        '{{ return_event }}' as return_event
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

rules as (
    select
        vendors.*,
        grains.period_grain,
        {{ perennial.parity_windows_of(
            'grains.period_grain', 'vendors.clock', 'vendors.month',
            "case when grains.period_grain = 'day' then vendors.day_windows"
            ~ " else vendors.longer_windows end"
        ) }} as windows
    from {{ ref('retention_vendors') }} as vendors
    cross join grains
),

counted as (
    select
        rules.rule_set,
        rules.vendor,
        rules.is_default,
        rules.kind,
        rules.running_period,
        activities.activity,
        activities.start_event,
        activities.return_event,
        rules.period_grain,
        counts.cohort_start_on,
        counts.period_number,
        counts.is_mature,
        counts.n_customers,
        {{ perennial.parity_retained('rules.kind', 'rules.period_zero', 'counts') }}
            as n_retained
    from rules
    inner join {{ ref('retention_parity_counts') }} as counts
        on
            rules.period_grain = counts.period_grain
            and rules.windows = counts.windows
    inner join activities
        on counts.activity = activities.activity
    where counts.is_begun
)

select
    cast(rule_set as string) as rule_set,
    cast(vendor as string) as vendor,
    cast(is_default as boolean) as is_default,
    cast(kind as string) as kind,
    cast(activity as string) as activity,
    cast(start_event as string) as start_event,
    cast(return_event as string) as return_event,
    cast(period_grain as string) as period_grain,
    cast(cohort_start_on as date) as cohort_start_on,
    cast(period_number as bigint) as period_number,
    cast(is_mature as boolean) as is_mature,
    cast(n_customers as bigint) as n_customers,
    cast(n_retained as bigint) as n_retained_customers_to_date,
    cast(
        case
            when is_mature or running_period = 'shown'
                then cast(n_retained as double) / n_customers
        end as double
    ) as dashboard_rate,
    cast(case when is_mature then n_retained end as bigint)
        as retention_numerator,
    cast(case when is_mature then n_customers end as bigint) as retention_denominator,
    cast(
        case when is_mature then cast(n_retained as double) / n_customers end
        as double
    ) as retention_rate,
    cast(
        case
            when
                is_mature
                then {{ perennial.wilson('low', 'n_retained', 'n_customers') }}
        end as double
    ) as retention_rate_low,
    cast(
        case
            when
                is_mature
                then {{ perennial.wilson('high', 'n_retained', 'n_customers') }}
        end as double
    ) as retention_rate_high
from counted
