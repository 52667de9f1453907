{%- set windows = [7, 28, 30] -%}
with days as (
    select distinct
        activity,
        customer_id,
        occurred_on as day_on
    from {{ ref('activity_days') }}
    where activity in ('order', 'visit')
),

gaps as (
    select
        activity,
        day_on,
        cast(day_on - lag(day_on) over customer_days as integer) as days_since,
        cast((lead(day_on) over customer_days) - day_on as integer) as days_until
    from days
    window customer_days as (
        partition by activity, customer_id
        order by day_on
    )
),

-- A day of activity counts its customer for n days: who is not counted yet begins to be on
-- it, and ceases n days later unless active again by then.
by_day as (
    select
        activity,
        day_on,
        {%- for n in windows %}
        count_if(coalesce(days_since >= {{ n }}, true)) as n_beginning_{{ n }},
        count_if(coalesce(days_until >= {{ n }}, true)) as n_ceasing_{{ n }},
        {%- endfor %}
        count(*) as n_daily
    from gaps
    group by all
),

first_days as (
    select
        activity,
        min(day_on) as first_on
    from by_day
    group by all
),

-- Every day up to that of as_of, so that the row n rows before is n days before.
counted as (
    select
        firsts.activity,
        firsts.first_on,
        calendar.day_on,
        weeks.period_start_on as week_start_on,
        months.period_start_on as month_start_on,
        {%- for n in windows %}
        coalesce(by_day.n_beginning_{{ n }}, 0) as n_beginning_{{ n }},
        coalesce(by_day.n_ceasing_{{ n }}, 0) as n_ceasing_{{ n }},
        {%- endfor %}
        coalesce(by_day.n_daily, 0) as n_daily
    from first_days as firsts
    inner join {{ ref('calendar') }} as calendar
        on
            calendar.grain = 'day'
            and firsts.first_on <= calendar.day_on
    inner join {{ ref('calendar') }} as weeks
        on
            weeks.grain = 'week'
            and calendar.day_on = weeks.day_on
    inner join {{ ref('calendar') }} as months
        on
            months.grain = 'month'
            and calendar.day_on = months.day_on
    left join by_day
        on
            firsts.activity = by_day.activity
            and calendar.day_on = by_day.day_on
),

rolled as (
    select
        *,
        sum(n_daily) over (partition by activity, week_start_on)
            as n_customer_days_of_week,
        sum(n_daily) over (partition by activity, month_start_on)
            as n_customer_days_of_month,
        count(*) over (partition by activity, month_start_on) as n_days_of_month,
        {%- for n in windows %}
        sum(n_beginning_{{ n }}) over earlier
        - coalesce(
            sum(n_ceasing_{{ n }}) over (
                partition by activity
                order by day_on
                rows between unbounded preceding and {{ n }} preceding
            ),
            0
        ) as n_rolling_{{ n }},
        {%- endfor %}
        row_number() over earlier as n_days_passed
    from counted
    window earlier as (
        partition by activity
        order by day_on
        rows between unbounded preceding and current row
    )
),

-- A window is mature when all of it lies between the activity's first day and as_of.
matured as (
    select
        rolled.activity,
        rolled.day_on,
        rolled.week_start_on,
        rolled.month_start_on,
        rolled.n_days_of_month,
        rolled.n_daily as n_daily_to_date,
        {%- for n in windows %}
        case when rolled.n_days_passed >= {{ n }} then rolled.n_rolling_{{ n }} end
            as n_rolling_{{ n }},
        {%- endfor %}
        {%- for grain, periods in [('week', 'weeks'), ('month', 'months')] %}
        case
            when rolled.{{ grain }}_start_on >= rolled.first_on
                then {{ periods }}.n_active_customers
        end as n_calendar_{{ grain }},
        case
            when
                rolled.{{ grain }}_start_on >= rolled.first_on
                and {{ periods }}.is_mature
                then rolled.n_customer_days_of_{{ grain }}
        end as n_customer_days_of_{{ grain }},
        {%- endfor %}
        {{ perennial.start_of_day_utc(perennial.add_days('rolled.day_on', 1)) }}
        <= clock.as_of as is_mature
    from rolled
    cross join {{ ref('clock') }} as clock
    {%- for grain, periods in [('week', 'weeks'), ('month', 'months')] %}
    left join {{ ref('growth_accounting') }} as {{ periods }}
        on
            {{ periods }}.segment_type = 'all'
            and {{ periods }}.grain = '{{ grain }}'
            and rolled.activity = {{ periods }}.activity
            and rolled.{{ grain }}_start_on = {{ periods }}.period_start_on
    {%- endfor %}
),

figures as (
    select
        activity,
        day_on,
        week_start_on,
        month_start_on,
        is_mature,
        n_daily_to_date,
        case when is_mature then n_daily_to_date end as n_daily,
        {%- for n in windows %}
        case when is_mature then n_rolling_{{ n }} end as n_rolling_{{ n }},
        {%- endfor %}
        n_calendar_week,
        n_customer_days_of_week,
        n_calendar_month,
        n_customer_days_of_month,
        n_days_of_month
    from matured
)

select
    cast(activity as string) as activity,
    cast(day_on as date) as day_on,
    cast(is_mature as boolean) as is_mature,
    cast(n_daily_to_date as bigint) as n_daily_to_date,
    cast(n_daily as bigint) as n_daily,
    {%- for n in windows %}
    cast(n_rolling_{{ n }} as bigint) as n_rolling_{{ n }},
    {%- endfor %}
    {%- for name, numerator, denominator in [
        ('dau_wau', 'n_daily', 'n_rolling_7'),
        ('dau_mau', 'n_daily', 'n_rolling_28'),
        ('wau_mau', 'n_rolling_7', 'n_rolling_28'),
    ] %}
    cast(
        case
            when {{ denominator }} is not null
                then
                    cast({{ numerator }} as double)
                    / nullif(cast({{ denominator }} as double), 0)
        end as double
    ) as {{ name }}_rate,
    {%- for side in ['low', 'high'] %}
    cast({{ perennial.wilson(side, numerator, denominator) }} as double)
        as {{ name }}_rate_{{ side }},
    {%- endfor %}
    {%- endfor %}
    cast(week_start_on as date) as week_start_on,
    cast(n_calendar_week as bigint) as n_calendar_week,
    cast(n_customer_days_of_week as bigint) as n_customer_days_of_week,
    cast(
        cast(n_customer_days_of_week as double) / 7
        / nullif(cast(n_calendar_week as double), 0) as double
    ) as calendar_dau_wau_rate,
    cast(month_start_on as date) as month_start_on,
    cast(n_calendar_month as bigint) as n_calendar_month,
    cast(n_customer_days_of_month as bigint) as n_customer_days_of_month,
    cast(
        cast(n_customer_days_of_month as double) / n_days_of_month
        / nullif(cast(n_calendar_month as double), 0) as double
    ) as calendar_dau_mau_rate
from figures
