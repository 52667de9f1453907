-- Rolling and calendar windows are counted in two ways, once by customers and once by their
-- days, which must agree: on who was active, and on the days they were active on.
with distributions as (
    select
        activity,
        window_kind,
        window_start_on,
        window_last_on,
        sum(n_exactly) as n_customers,
        sum(n_days * n_exactly) as n_customer_days,
        max(n_at_least) as n_at_least,
        max(n_active_customers) as n_active_customers
    from {{ ref('stickiness') }}
    group by all
),

days as (
    select
        *,
        sum(n_daily_to_date) over (
            partition by activity
            order by day_on
            rows between 6 preceding and current row
        ) as n_customer_days_7,
        sum(n_daily_to_date) over (
            partition by activity
            order by day_on
            rows between 27 preceding and current row
        ) as n_customer_days_28
    from {{ ref('active_customers') }}
),

expected as (
    {%- for n in [7, 28] %}
    select
        activity,
        'rolling_{{ n }}_days' as window_kind,
        day_on as window_last_on,
        n_rolling_{{ n }} as n_customers,
        case when n_rolling_{{ n }} is not null then n_customer_days_{{ n }} end
            as n_customer_days
    from days

    union all
    {%- endfor %}
    {%- for grain in ['week', 'month'] %}
    select
        activity,
        'calendar_{{ grain }}' as window_kind,
        day_on as window_last_on,
        n_calendar_{{ grain }} as n_customers,
        n_customer_days_of_{{ grain }} as n_customer_days
    from days
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    expected.*,
    distributions.n_customers as n_counted
from expected
left join distributions
    on
        expected.activity = distributions.activity
        and expected.window_kind = distributions.window_kind
        and expected.window_last_on = distributions.window_last_on
-- A calendar window has a row on its last day only.
where
    (distributions.activity is not null or expected.window_kind like 'rolling%')
    and (
        expected.n_customers <> coalesce(distributions.n_customers, -1)
        or expected.n_customers <> distributions.n_at_least
        or expected.n_customers <> distributions.n_active_customers
        or expected.n_customer_days <> distributions.n_customer_days
        or (expected.n_customers is null) <> (distributions.n_customers is null)
    )
